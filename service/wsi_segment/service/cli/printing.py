"""What a person sees of a run: a progress bar, and a table of areas."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.table import Table

from wsi_segment.inference.progress import Progress, Report, silent
from wsi_segment.inference.progress_bar import (
    STAGES,
    BarReport,
    closed_in_the_end,
    make_bar,
    make_console,
    shared_bar,
    words_of,
)

if TYPE_CHECKING:
    from rich.console import Console

    from wsi_segment.inference.mask.summary import Summary

LINE_SECONDS = 10.0
"""Seconds between lines of progress if there is no terminal."""


class Display:
    """Print progress to standard error, results to standard output; ``quiet`` prints neither."""

    def __init__(self, quiet: bool, spell: Callable[[str], str]) -> None:
        """Set up both streams.

        Args:
            quiet: Print errors only.
            spell: Writes a message of the library as this command's users know its fields.
        """
        self._quiet, self._spell = quiet, spell
        self._out = make_console(highlight=False, markup=False)
        self._progress = make_console(stderr=True, markup=False)

    @contextmanager
    def running(self, name: str) -> Iterator[Report]:
        """Show how far a slide is, for as long as the context lasts."""
        if self._quiet:
            yield silent
        elif not self._progress.is_terminal:
            yield _Lines(name, self._progress)
        else:
            with shared_bar(self._progress) as bar, closed_in_the_end(BarReport(name, bar)) as report:
                yield report

    def line(self, text: str) -> None:
        """Print one line of result."""
        if not self._quiet:
            self._out.print(text, soft_wrap=True)

    def error(self, text: str) -> None:
        """Print what went wrong with one of several slides."""
        print(f"wsi-segment: {self._spell(text)}", file=sys.stderr)

    def result(self, summary: Summary) -> None:
        """Print the table of a finished slide."""
        if self._quiet:
            return
        table = Table(title=None, box=None, pad_edge=False)
        for title, justify in (("id", "right"), ("class", "left"), ("mm²", "right"), ("% of tissue", "right")):
            table.add_column(title, justify=justify)  # type: ignore[arg-type]  # literals
        for area in summary.classes:
            table.add_row(str(area.id), area.name, f"{area.area_mm2:.4f}", f"{area.percent_of_tissue:.2f}")
        share = 100 * summary.tissue_mm2 / summary.slide_mm2 if summary.slide_mm2 else 0.0
        table.add_row("", "tissue", f"{summary.tissue_mm2:.4f}", f"({share:.1f} % of slide)", style="bold")
        self._out.print(table)
        self.line(
            f"{summary.out}: {summary.width} x {summary.height} px of {summary.mask_mpp:.3f} µm, "
            f"{summary.windows} windows in {summary.seconds:.1f} s ({summary.device}, {summary.precision}); "
            f"slide {summary.mpp:.4g} µm/px ({summary.mpp_source})"
        )
        if summary.regions_skipped:
            self.line(f"{summary.regions_skipped} of {summary.regions} regions hold no tissue and were left out")
        for warning in summary.warnings:
            self._progress.print(
                f"wsi-segment: warning: {summary.slide}: {self._spell(warning.message)}", soft_wrap=True
            )


class _Lines:
    """Progress as a line every 10 s, for logs; what is waited for is said at once."""

    def __init__(self, name: str, console: Console) -> None:
        self._name, self._console = name, console
        self._started = self._last = time.monotonic()
        self._words = ""

    def __call__(self, progress: Progress) -> None:
        now, words = time.monotonic(), words_of(progress)
        news = words != self._words
        if news:
            self._words, self._started = words, now
        if now - self._last < LINE_SECONDS and not (news and progress.reason):
            return
        self._last = now
        if progress.stage == "waiting":
            self._console.print(f"{self._name}: {words}", soft_wrap=True)
            return
        speed = (progress.done - progress.kept) / max(now - self._started, 1e-9)
        unit = " windows" if progress.stage == "segment" else ""
        left = f", {(progress.total - progress.done) / speed:.0f} s left" if speed > 0 else ""
        self._console.print(
            f"{self._name}: {words}: {progress.done}/{progress.total}{unit}, {speed:.0f}/s{left}",
            soft_wrap=True,
        )


class Following:
    """A job or batch of a service, followed as a bar on a terminal, else as one line per change; a context manager."""

    def __init__(self, name: str) -> None:
        self._console = make_console(stderr=True, markup=False)
        self._bar = make_bar(self._console)
        self._task = self._bar.add_task(f"{name}: waiting", total=None, unit="")
        self._name = name

    def __enter__(self) -> Following:
        self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.stop()

    def show(self, event: dict[str, Any]) -> None:
        """Show an event of the service."""
        text = event.get("stage") or event["kind"]
        if self._console.is_terminal:
            done = {"completed": event["done"], "total": event["total"] or None} if event["kind"] == "progress" else {}
            self._bar.update(self._task, description=f"{self._name}: {STAGES.get(text, text)}", **done)
        elif event["kind"] != "progress":
            self._console.print(f"{event['job']}: {text} {event.get('message', '')}".rstrip(), soft_wrap=True)
