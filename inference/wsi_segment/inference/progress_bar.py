"""Progress bars: one on a terminal for all that a process does at once, one per call in a notebook."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bar
from rich.text import Text

from wsi_segment.inference.progress import Progress, Report, silent

STAGES = {
    "waiting": "waiting",
    "tissue": "finding tissue",
    "segment": "segmenting",
    "pyramid": "writing pyramid",
    "outlines": "writing outlines",
}
"""Words for each stage."""


def words_of(progress: Progress) -> str:
    """Return what a run is at."""
    return " ".join([STAGES[progress.stage], progress.reason]).strip()


DONE, STOPPED = "done", "stopped"
_REDRAW_SECONDS = 0.2
_NARROWEST, _USUAL = 40, 80
"""Columns below which a table cannot be read, and those that are taken in their place."""


class _Speed(ProgressColumn):
    """Units per second, as soon as there are some."""

    def render(self, task: Task) -> Text:
        """Return the speed as text."""
        if not task.speed:
            return Text("")
        return Text(f"{task.speed:,.{0 if task.speed >= 10 else 1}f} {task.fields['unit']}/s")


def make_bar(console: Console) -> Bar:
    """Return the progress bar of every long command; its tasks carry a field ``unit``."""
    return Bar(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        _Speed(),
        TimeRemainingColumn(compact=True),
        console=console,
        transient=True,
        disable=console.quiet or not console.is_terminal,
        speed_estimate_period=15,
    )


class BarReport:
    """Progress of one slide, as one task per stage of a bar that is running."""

    def __init__(self, name: str, bar: Bar) -> None:
        self._name, self._bar = name, bar
        self._task = bar.add_task(f"{name}: opening", total=None, unit="")
        self._words = ""

    def __call__(self, progress: Progress) -> None:
        """Draw; see :data:`~wsi_segment.inference.progress.Report`."""
        if (words := words_of(progress)) != self._words:
            self._words = words
            unit = "windows" if progress.stage == "segment" else ""
            self._bar.remove_task(self._task)
            self._task = self._bar.add_task(
                f"{self._name}: {words}",
                total=progress.total or None,
                completed=progress.kept,
                unit=unit,
            )
        self._bar.update(self._task, completed=progress.done, total=progress.total or None)

    def close(self, outcome: str) -> None:
        """Take the task off the bar."""
        self._bar.remove_task(self._task)


class NotebookReport:
    """Progress of one slide as HTML that is drawn over itself; needs IPython, and no widgets."""

    def __init__(self, name: str) -> None:
        from IPython.display import display

        self._name, self._progress = name, Progress("tissue", 0, 0)
        self._outcome: str | None = None
        self._drawn_at = time.monotonic()
        self._lock = threading.Lock()
        self._handle: Any = display(self, display_id=True)

    def __call__(self, progress: Progress) -> None:
        """Draw now and then; see :data:`~wsi_segment.inference.progress.Report`."""
        with self._lock:
            news = words_of(progress) != words_of(self._progress)
            self._progress = progress
            if news or time.monotonic() - self._drawn_at >= _REDRAW_SECONDS:
                self._draw()

    def close(self, outcome: str) -> None:
        """Draw how it ended, with a bar that no longer moves."""
        with self._lock:
            self._outcome = outcome
            self._draw()

    def _draw(self) -> None:
        self._drawn_at = time.monotonic()
        self._handle.update(self)

    def __repr__(self) -> str:
        now = self._progress
        if self._outcome is not None:
            return f"{self._name}: {self._outcome}"
        count = f" {now.done:,} / {now.total:,}" if now.total else ""
        return f"{self._name}: {words_of(now)}{count}"

    def _repr_html_(self) -> str:
        now = self._progress
        share = f' max="{now.total}" value="{now.done}"' if now.total else ""
        if self._outcome is not None:  # one without a share would move for ever
            share = f' max="1" value="{int(self._outcome == DONE)}"'
        return f"<label><progress{share}></progress> {escape(repr(self))}</label>"


def make_console(**choices: Any) -> Console:
    """Make a console that prints whatever width is claimed: at 0 columns, as some containers say, nothing appears."""
    console = Console(**choices)
    if console.width < _NARROWEST:
        console.width = _USUAL
    return console


@contextmanager
def shown(name: str) -> Iterator[Report]:
    """Yield a report that draws how far one slide is: in a notebook, on a terminal, and nowhere else.

    Args:
        name: Of the slide, as people read it.
    """
    console = make_console(stderr=True, markup=False)
    if console.is_jupyter:
        with closed_in_the_end(NotebookReport(name)) as report:
            yield report
    elif console.is_terminal:
        with shared_bar(console) as bar, closed_in_the_end(BarReport(name, bar)) as report:
            yield report
    else:
        yield silent


@contextmanager
def closed_in_the_end(report: NotebookReport | BarReport) -> Iterator[Report]:
    """Yield a report and tell it whether what it reports on was done or stopped."""
    outcome = STOPPED
    try:
        yield report
        outcome = DONE
    finally:
        report.close(outcome)


_shared: list[Bar] = []
"""The bar that runs, once per call that draws on it: two bars would draw over each other."""
_sharing = threading.Lock()


@contextmanager
def shared_bar(console: Console) -> Iterator[Bar]:
    """Yield the bar of this process, which runs until the last call that draws on it has ended."""
    with _sharing:
        bar = _shared[0] if _shared else make_bar(console)
        if not _shared:
            bar.start()
        _shared.append(bar)
    try:
        yield bar
    finally:
        with _sharing:
            _shared.pop()
            if not _shared:
                bar.stop()
