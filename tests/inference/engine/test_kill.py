"""The engine against kill -9: at random moments, and at each step that could tear something."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import pytest

from dying_runs import run_until
from forked_runs import Forked
from synthetic import files_of, tissue_like, write_model, write_slide

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is a POSIX signal")

ROUNDS = int(os.environ.get("WSI_SEGMENT_KILLS", "25"))

Choices = Mapping[str, object]
REGIONS = 12
"""Of the slide."""
USUAL: Choices = MappingProxyType({})
"""No other choices than the usual ones."""
STEPS = [
    "before shard", "after shard", "before shard sync", "after shard sync", "before ledger", "after ledger",
    "before ledger sync", "after ledger sync", "before rename",
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kill")
    write_slide(folder / "s.tiff", tissue_like(1500, 2000))
    write_model(folder / "model")
    return folder


@pytest.fixture(scope="module")
def undisturbed(folder: Path) -> dict[str, bytes]:
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    for name in ("s.tiff", "model"):
        (elsewhere / name).symlink_to(folder / name)
    assert begin(elsewhere).wait() == 0
    return files_of(elsewhere / "m.zarr")


def begin(folder: Path, step: str = "none", number: int = 0, choices: Choices = USUAL) -> Forked:
    return Forked(run_until, step, number, dict(choices), cwd=folder)


def finished_regions(folder: Path) -> int:
    ledger = folder / "m.zarr.partial" / "ledger.jsonl"
    return max(0, ledger.read_bytes().count(b"\n") - 1) if ledger.exists() else 0


def finish_and_compare(folder: Path, undisturbed: dict[str, bytes], choices: Choices = USUAL) -> None:
    """Run to the end; at most the regions that were in flight are computed again."""
    if not (folder / "m.zarr").exists():
        kept = finished_regions(folder)
        assert begin(folder, choices=choices).wait() == 0
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
    choices: Choices = {"ome_zarr": "0.4", "probabilities": True}
    assert begin(folder, choices=choices).wait() == 0
    whole = files_of(folder / "m.zarr")
    shutil.rmtree(folder / "m.zarr")
    for step, number in (("after shard", 5), ("before ledger sync", 3), ("before rename", 1)):  # one run, three deaths
        assert begin(folder, step, number, choices).wait() == -signal.SIGKILL
    finish_and_compare(folder, whole, choices)


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
    rng = random.Random(0)
    killed = rounds = 0
    while killed < ROUNDS and rounds < 4 * ROUNDS:
        rounds += 1
        before = finished_regions(folder)
        process = begin(folder)
        most = rng.randint(before, REGIONS)  # by how far it is: how long a run takes depends on the machine
        while finished_regions(folder) < most and process.poll() is None:
            time.sleep(0.005)
        deadline = time.monotonic() + rng.uniform(0, 0.2)
        while time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.005)
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
