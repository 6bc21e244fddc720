"""Runs that die at a step, or are slow enough to be killed; :class:`forked_runs.Forked` runs them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from wsi_segment.inference.engine.networks.onnx_network import OnnxNetwork
from wsi_segment.inference.engine.options import SegmentOptions
from wsi_segment.inference.engine.segment import segment
from wsi_segment.inference.places import folder, ledger_records
from wsi_segment.inference.slides.location import slide_location
from wsi_segment.model.card import find_model


def run_slowly(out: str, seconds: float) -> None:
    """Segment ``s.tiff`` of the working folder with a network that waits before each batch."""
    _slow_down(seconds)
    options = SegmentOptions(region_size=512, overlap=0.0, workers=2)
    segment(Path("s.tiff"), find_model("model"), slide_location(out), options)


def run_until(step: str, number: int, choices: Mapping[str, Any]) -> None:
    """Segment ``s.tiff`` of the working folder, and die when a step is reached for the given time; see ``_watch``."""
    _watch(step, number)
    _slow_down(0.01)
    options = SegmentOptions(region_size=512, overlap=0.0, workers=2, **choices)
    segment(Path("s.tiff"), find_model("model"), Path("m.zarr"), options)


def _slow_down(seconds: float) -> None:
    call = OnnxNetwork.__call__

    def slower(self: OnnxNetwork, windows: Any) -> Any:
        time.sleep(seconds)
        return call(self, windows)

    OnnxNetwork.__call__ = slower  # type: ignore[method-assign]


def _watch(step: str, number: int) -> None:
    """Die before or after what could tear something: each is named by those words and by what it does."""
    seen = 0

    def die_at(name: str) -> None:
        nonlocal seen
        if name == step:
            seen += 1
            if seen == number:
                os.kill(os.getpid(), signal.SIGKILL)

    def around(owner: Any, method: str, name: str) -> None:
        original = getattr(owner, method)

        def wrapped(*args: Any, **kwargs: Any) -> Any:
            die_at(f"before {name}")
            result = original(*args, **kwargs)
            die_at(f"after {name}")
            return result

        setattr(owner, method, wrapped)

    around(folder.LocalFolder, "_write", "shard")
    around(ledger_records.LineRecords, "_append", "ledger")
    for module, name in ((folder, "shard sync"), (ledger_records, "ledger sync")):
        own = SimpleNamespace(fsync=os.fsync)  # its own, and nobody else's
        around(own, "fsync", name)
        vars(module)["os"] = own
    rename = Path.rename

    def renamed(self: Path, target: Any) -> Path:
        kind = {"store": "", "m.zarr": "old "}.get(self.name.partition("-")[0])
        if kind is not None:
            die_at(f"before {kind}rename")
        result = rename(self, target)
        if kind is not None:
            die_at(f"after {kind}rename")
        return result

    Path.rename = renamed  # type: ignore[method-assign, assignment]
