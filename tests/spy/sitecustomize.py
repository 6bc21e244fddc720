"""Looks into a process and its children. Python runs this at its start where the folder is on its path.

Where ``SPY_FILE`` names a file, a line of JSON is added to it for each file that is opened or renamed: time, process,
``open`` with the path, or ``rename`` with the new path. Where ``HOLD_FILE`` names one, workers of the service stand
still while it is there: once they have begun as many regions of a job as it says.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any


def _note_to(path: str) -> None:
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    watched = {"open": 0, "os.rename": 1}

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        index = watched.get(event)
        if index is None or isinstance(arguments[index], int):
            return
        line = [time.time(), os.getpid(), event.removeprefix("os."), os.fsdecode(arguments[index])]
        os.write(file, json.dumps(line).encode() + b"\n")

    sys.addaudithook(hook)


def _hold_at(file: Path) -> None:
    from wsi_segment.inference.engine.predict import RegionPredictor

    predict, counting = RegionPredictor.predict, threading.Lock()
    job: RegionPredictor | None = None
    begun = 0

    def most() -> float:
        try:
            return float(file.read_text())
        except FileNotFoundError:
            return float("inf")

    def held(self: RegionPredictor, *arguments: Any) -> Any:
        nonlocal job, begun
        with counting:
            job, begun = self, begun + 1 if job is self else 1
            number = begun
        while number > most() and not (self.stop is not None and self.stop.is_set()):
            time.sleep(0.02)
        return predict(self, *arguments)

    RegionPredictor.predict = held  # type: ignore[method-assign, assignment]


if "SPY_FILE" in os.environ:
    _note_to(os.environ["SPY_FILE"])
if "HOLD_FILE" in os.environ and "wsi_segment.service.workers.worker" in sys.orig_argv:
    _hold_at(Path(os.environ["HOLD_FILE"]))
