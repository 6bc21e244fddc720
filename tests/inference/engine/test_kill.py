"""The engine against kill -9: at random moments, and at each step that could tear something."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from synthetic import files_of, tissue_like, write_model, write_slide

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is a POSIX signal")

ROUNDS = int(os.environ.get("WSI_SEGMENT_KILLS", "25"))

RUN = """
import os, sys, time
from pathlib import Path
from types import SimpleNamespace
from wsi_segment.inference.engine.networks import onnx_network as network
from wsi_segment.inference.places import folder, ledger_records
from wsi_segment.inference.engine.segment import segment
from wsi_segment.inference.engine.options import SegmentOptions
from wsi_segment.model.card import find_model

step, number = sys.argv[1], int(sys.argv[2])
seen = 0
OPTIONS = {"ome_zarr": "0.4", "probabilities": True} if len(sys.argv) > 3 else {}

def die_at(name):
    global seen
    if name == step:
        seen += 1
        if seen == number:
            os.kill(os.getpid(), 9)

def around(owner, method, before, after):
    original = getattr(owner, method)
    def wrapped(*args, **kwargs):
        die_at(before)
        result = original(*args, **kwargs)
        die_at(after)
        return result
    setattr(owner, method, wrapped)

around(folder.LocalFolder, "_write", "before shard", "after shard")
folder.os = SimpleNamespace(fsync=os.fsync)  # its own, and nobody else's
around(folder.os, "fsync", "before shard sync", "after shard sync")
around(ledger_records.LineRecords, "_append", "before ledger", "after ledger")
ledger_records.os = SimpleNamespace(fsync=os.fsync)
around(ledger_records.os, "fsync", "before ledger sync", "after ledger sync")

rename = Path.rename
def renamed(self, target):
    kind = {"store": "", "m.zarr": "old "}.get(self.name.partition("-")[0])
    if kind is not None:
        die_at(f"before {kind}rename")
    result = rename(self, target)
    if kind is not None:
        die_at(f"after {kind}rename")
    return result
Path.rename = renamed

call = network.OnnxNetwork.__call__
def slower(self, windows):
    time.sleep(0.01)
    return call(self, windows)
network.OnnxNetwork.__call__ = slower

options = SegmentOptions(region_size=512, overlap=0.0, workers=2, **OPTIONS)
segment(Path("s.tiff"), find_model("model"), Path("m.zarr"), options)
"""

STEPS = [
    "before shard", "after shard", "before shard sync", "after shard sync", "before ledger", "after ledger",
    "before ledger sync", "after ledger sync", "before rename",
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kill")
    write_slide(folder / "s.tiff", tissue_like(1500, 2000))
    write_model(folder / "model")
    (folder / "run.py").write_text(RUN)
    return folder


@pytest.fixture(scope="module")
def undisturbed(folder: Path) -> dict[str, bytes]:
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    for name in ("s.tiff", "model"):
        (elsewhere / name).symlink_to(folder / name)
    subprocess.run([sys.executable, folder / "run.py", "none", "0"], cwd=elsewhere, check=True)
    return files_of(elsewhere / "m.zarr")


def begin(folder: Path, step: str = "none", number: int = 0, *options: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, folder / "run.py", step, str(number), *options], cwd=folder)


def finished_regions(folder: Path) -> int:
    ledger = folder / "m.zarr.partial" / "ledger.jsonl"
    return max(0, ledger.read_bytes().count(b"\n") - 1) if ledger.exists() else 0


def finish_and_compare(folder: Path, undisturbed: dict[str, bytes], *options: str) -> None:
    """Run to the end; at most the regions that were in flight are computed again."""
    if not (folder / "m.zarr").exists():
        kept = finished_regions(folder)
        assert begin(folder, "none", 0, *options).wait() == 0
        summary = json.loads((folder / "m.summary.json").read_text())
        assert summary["regions_kept"] == kept
    assert files_of(folder / "m.zarr") == undisturbed
    assert not list((folder / "m.zarr.partial").glob("store*"))
    for name in ("m.zarr", "m.zarr.partial"):
        shutil.rmtree(folder / name, ignore_errors=True)


@pytest.mark.parametrize("step", STEPS)
def test_killed_at_a_step_the_run_continues_to_the_same_store(
    folder: Path, undisturbed: dict[str, bytes], step: str
) -> None:
    number = 1 if "rename" in step else random.Random(step).randint(2, 6)
    assert begin(folder, step, number).wait() == -signal.SIGKILL
    finish_and_compare(folder, undisturbed)


def test_both_class_maps_and_probabilities_of_version_04_continue_too(folder: Path) -> None:
    assert begin(folder, "none", 0, "0.4").wait() == 0
    whole = files_of(folder / "m.zarr")
    shutil.rmtree(folder / "m.zarr")
    for step, number in (("after shard", 5), ("before ledger sync", 3), ("before rename", 1)):  # one run, three deaths
        assert begin(folder, step, number, "0.4").wait() == -signal.SIGKILL
    finish_and_compare(folder, whole, "0.4")


def test_what_is_left_of_a_run_that_was_killed_after_its_rename_is_removed(
    folder: Path, undisturbed: dict[str, bytes]
) -> None:
    assert begin(folder, "after rename", 1).wait() == -signal.SIGKILL
    assert (folder / "m.zarr.partial").exists()
    assert begin(folder).wait() != 0  # it is finished
    assert not (folder / "m.zarr.partial").exists()
    finish_and_compare(folder, undisturbed)


def test_killed_again_and_again_the_run_continues_to_the_same_store(
    folder: Path, undisturbed: dict[str, bytes]
) -> None:
    started = time.monotonic()
    finish_and_compare(folder, undisturbed)
    whole = time.monotonic() - started  # of a run: how long that is depends on the machine
    rng = random.Random(0)
    killed = rounds = 0
    while killed < ROUNDS and rounds < 4 * ROUNDS:
        rounds += 1
        process = begin(folder)
        before = finished_regions(folder)
        deadline = time.monotonic() + rng.uniform(0.1, 0.9) * whole
        while time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.01)
        if process.poll() is None:
            process.kill()
            killed += 1
        process.wait()
        if (folder / "m.zarr").exists():
            finish_and_compare(folder, undisturbed)
        else:
            assert finished_regions(folder) >= before  # nothing that was finished is lost
    assert killed == ROUNDS
    finish_and_compare(folder, undisturbed)
