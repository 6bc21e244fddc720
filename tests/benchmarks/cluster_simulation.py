"""How long 1,000 workers take for 10,000 slides, and what keeps them from working: a simulation.

Nothing is computed: events are drawn from a queue in the order of their times. A command has some slides in hand; of
each it spends its own time on one core, then a worker opens and plans the slide, workers compute its regions, one makes
the coarse levels, and the command publishes it. Every task passes through the scheduler, which also has one core. The
constants are what ``cluster_constants.py`` and ``cluster.py empty`` measure; see docs/guide/cluster.md.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Constants:
    """Seconds, unless said otherwise."""

    region: float
    """A region that is full of tissue, on one slot."""
    plan: float
    """Opening and planning a slide, on one slot."""
    finish: float
    """Coarse levels and metadata of a slide, on one slot."""
    client: float
    """Of a command's core, for each slide."""
    client_task: float
    """Of a command's core, for each task."""
    scheduler_task: float
    """Of the scheduler's core, for each task."""
    regions: int = 15
    """Regions of a slide, on average; they are from a tenth full to full."""


@dataclass(slots=True)
class Slide:
    """A slide on its way."""

    command: int
    regions: int
    left: int


class Core:
    """Something that does one thing at a time, in the order of asking."""

    def __init__(self) -> None:
        self.free, self.busy = 0.0, 0.0

    def take(self, now: float, seconds: float) -> float:
        """Do something that takes some seconds; the time when it is done."""
        self.free = max(now, self.free) + seconds
        self.busy += seconds
        return self.free


class Simulation:
    """One table of slides."""

    def __init__(self, constants: Constants, *, workers: int, slides: int, commands: int, in_hand: int) -> None:
        self.constants, self.workers, self.rng = constants, workers, random.Random(3)
        self.scheduler, self.clients = Core(), [Core() for _ in range(commands)]
        self.idle, self.waiting, self.in_hand = workers, deque[tuple[float, Callable[[float], None]]](), in_hand
        self.to_start = [slides // commands + (index < slides % commands) for index in range(commands)]
        self.events: list[tuple[float, int, Callable[[float], None]]] = []
        self.numbers, self.busy, self.useful, self.done = itertools.count(), 0.0, 0.0, 0
        self.history: list[tuple[float, int]] = []
        self.peak_waiting = 0

    def run(self) -> float:
        """Seconds until the last slide is published."""
        for command in range(len(self.clients)):
            for _ in range(min(self.in_hand, self.to_start[command])):
                self._start(0.0, command)
        now = 0.0
        while self.events:
            now, _, event = heapq.heappop(self.events)
            event(now)
        return now

    def _at(self, time: float, event: Callable[[float], None]) -> None:
        heapq.heappush(self.events, (time, next(self.numbers), event))

    def _start(self, now: float, command: int) -> None:
        if self.to_start[command]:
            self.to_start[command] -= 1
            count = max(1, round(self.rng.expovariate(1 / self.constants.regions)))
            slide = Slide(command, count, count)
            ready = self.clients[command].take(now, self.constants.client / 2)
            self._task(ready, self.constants.plan, slide, lambda then: self._planned(then, slide))

    def _planned(self, now: float, slide: Slide) -> None:
        for _ in range(slide.regions):
            seconds = self.constants.region * self.rng.uniform(0.1, 1.0)
            self.useful += seconds
            self._task(now, seconds, slide, lambda then: self._computed(then, slide))

    def _computed(self, now: float, slide: Slide) -> None:
        slide.left -= 1
        if not slide.left:
            self._task(now, self.constants.finish, slide, lambda then: self._finished(then, slide))

    def _finished(self, now: float, slide: Slide) -> None:
        published = self.clients[slide.command].take(now, self.constants.client / 2)
        self.done += 1
        self._at(published, lambda then: self._start(then, slide.command))

    def _task(self, now: float, seconds: float, slide: Slide, then: Callable[[float], None]) -> None:
        sent = self.clients[slide.command].take(now, self.constants.client_task / 2)
        queued = self.scheduler.take(sent, self.constants.scheduler_task / 2)

        def ended(time: float) -> None:
            self.idle += 1
            self.busy += seconds
            told = self.scheduler.take(time, self.constants.scheduler_task / 2)
            self._next(time)
            self._at(self.clients[slide.command].take(told, self.constants.client_task / 2), then)

        def queue(time: float) -> None:
            self.waiting.append((seconds, ended))
            self.peak_waiting = max(self.peak_waiting, len(self.waiting))
            self._next(time)

        self._at(queued, queue)

    def _next(self, now: float) -> None:
        while self.idle and self.waiting:
            seconds, ended = self.waiting.popleft()
            self.idle -= 1
            self._at(now + seconds, ended)
        self.history.append((now, self.workers - self.idle))


def main() -> None:
    """Simulate, print a table, and draw how many workers were busy."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=1000)
    parser.add_argument("--slides", type=int, default=10000)
    parser.add_argument("--region", type=float, default=2.17)
    parser.add_argument("--plan", type=float, default=1.28)
    parser.add_argument("--finish", type=float, default=0.07)
    parser.add_argument("--client", type=float, default=0.2)
    parser.add_argument("--client-ms", type=float, default=0.23)
    parser.add_argument("--scheduler-ms", type=float, default=0.21)
    parser.add_argument("--figure", type=Path, metavar="PNG")
    args = parser.parse_args()
    constants = Constants(
        args.region, args.plan, args.finish, args.client, args.client_ms / 1000, args.scheduler_ms / 1000
    )
    print(constants)
    print("commands  slides in hand of each  hours  workers computing  client busy  scheduler busy  slides/s")
    drawn = []
    for commands, in_hand in ((1, 64), (1, 250), (2, 125), (4, 64), (8, 64)):
        simulation = Simulation(constants, workers=args.workers, slides=args.slides, commands=commands, in_hand=in_hand)
        seconds = simulation.run()
        computing = simulation.useful / (args.workers * seconds)
        client = max(core.busy for core in simulation.clients) / seconds
        print(
            f"{commands:8d}  {in_hand:22d}  {seconds / 3600:5.2f}  {100 * computing:14.1f} %  {100 * client:9.1f} %"
            f"  {100 * simulation.scheduler.busy / seconds:12.1f} %  {args.slides / seconds:8.2f}"
        )
        drawn.append((f"{commands} x {in_hand}", simulation.history))
    if args.figure is not None:
        draw(args.figure, drawn, args.workers)


def means(history: list[tuple[float, int]], seconds: float) -> list[tuple[float, float]]:
    """Minutes, and how many workers were busy on average in the seconds around then."""
    sums, (before, busy) = [0.0] * (int(history[-1][0] / seconds) + 1), (0.0, 0)
    for time, now_busy in history:
        while before < time:
            index = int(before / seconds)
            until = min(time, (index + 1) * seconds)
            sums[index] += busy * (until - before)
            before = until
        busy = now_busy
    lengths = [min(seconds, history[-1][0] - index * seconds) for index in range(len(sums))]
    return [
        ((index + 0.5) * seconds / 60, total / length)
        for index, (total, length) in enumerate(zip(sums, lengths, strict=True))
        if length > 0
    ]


def draw(path: Path, drawn: list[tuple[str, list[tuple[float, int]]]], workers: int) -> None:
    """Draw busy workers over time, a line for each way."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 3.2), dpi=80)
    for label, history in drawn:
        axes.plot(*zip(*means(history, 60.0), strict=True), label=label, lw=1)
    axes.set_xlabel("minutes")
    axes.set_ylabel("workers with a task, mean")
    axes.set_ylim(0, workers * 1.05)
    axes.legend(title="commands x slides in hand", fontsize=8, title_fontsize=8)
    figure.tight_layout()
    figure.savefig(path)


if __name__ == "__main__":
    main()
