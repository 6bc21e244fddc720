"""Runs on a cluster while its processes are killed at random; each mask is compared with that of one machine.

The slide lies in a bucket of an emulator and the masks go there (``--where bucket``), or both lie in a folder. Victims
are worker processes in the middle of a region, now and then the command itself, which is started again, and seldom the
scheduler. ``--notes`` adds up kills over several calls, each of which kills for ``--seconds``, and then lets the mask
that is under way be finished.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))
from buckets import emulated
from live_cluster import LiveCluster, kill_tree
from synthetic import files_of, tissue_like, write_model, write_slide
from wsi_segment.inference import SegmentOptions, segment

RUN = """
import sys
from wsi_segment.inference import SegmentOptions, segment
options = SegmentOptions(region_size=512, overlap=0.25)
segment(sys.argv[1], out=sys.argv[2], model=sys.argv[3], options=options, quiet=True, scheduler=sys.argv[4])
"""
WORKERS, PAUSE = 3, 0.15
"""Workers wait after each batch, so that there is time to kill them without keeping the processor busy."""
FORKED = """
from distributed.utils import get_mp_context

get_mp_context().set_forkserver_preload(["distributed", "wsi_segment.inference.engine.cluster.settling", "onnxruntime"])
"""
"""Preloaded by nannies: a worker that is started again is forked from a process that has loaded the engine already."""
_BETWEEN = 0.4, 1.6
"""Seconds from one kill to the next, at least; all are alike likely."""
_IDLE_SECONDS = 30.0
"""Something is killed only once something was predicted since the last kill, or after so long."""
_END_SECONDS = 120.0
"""Seconds that a mask may take once nothing is killed any more."""


class Chaos:
    """A cluster, and what was killed of it."""

    def __init__(self, live: LiveCluster, rng: random.Random, slide: str, out: str, model: Path) -> None:
        self.live, self.rng, self.killed, self.masks = live, rng, Counter[str](), 0
        self._slide, self._out, self._model = slide, out, model
        self._preloaded = live.watched(pause=PAUSE)
        forked = live.folder / "forked.py"
        forked.write_text(FORKED)
        os.environ["DASK_DISTRIBUTED__WORKER__MULTIPROCESSING_METHOD"] = "forkserver"
        os.environ["DASK_DISTRIBUTED__NANNY__PRELOAD"] = json.dumps([str(forked)])
        self._start_workers()

    def make(self, until: float, is_made: Callable[[], bool]) -> None:
        """Have one mask made, whatever is killed meanwhile, up to some time.

        Args:
            until: When killing ends, by the monotonic clock.
            is_made: Whether the mask is there: a command that is killed at its very end leaves nothing to do.
        """
        command = self._start_command()
        due, noted = time.monotonic() + self.rng.uniform(*_BETWEEN), self._noted()
        try:
            while (ended := command.poll()) != 0:
                assert time.monotonic() < until + _END_SECONDS, "the mask is not finished"
                if ended is not None and is_made():
                    self.killed["command ended behind its mask"] += 1
                    break
                if ended is not None:  # with the scheduler; whoever started it starts it again
                    said = (self.live.folder / "command.log").read_text(errors="replace").splitlines()
                    lost = bool(said) and "the connection is lost" in said[-1]
                    self.killed["command ended with its scheduler" if lost else f"command ended: {said[-1:]}"] += 1
                    command = self._start_command()
                if until > time.monotonic() > due and (self._noted() > noted or time.monotonic() > due + _IDLE_SECONDS):
                    command = self._kill(command)
                    due, noted = time.monotonic() + self.rng.uniform(*_BETWEEN), self._noted()
                time.sleep(0.02)
        finally:
            kill_tree(command)
        self.masks += 1

    def _noted(self) -> int:
        """Bytes of what workers noted; more where something was predicted since."""
        with suppress(FileNotFoundError):
            return (self.live.folder / "noted").stat().st_size
        return 0

    def _predicting(self) -> list[psutil.Process]:
        """The worker processes that live and have predicted something."""
        found = []
        for pid in sorted({int(str(note[3])) for note in self.live.notes()}):
            with suppress(psutil.NoSuchProcess):
                process = psutil.Process(pid)
                if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def _kill(self, command: subprocess.Popen[bytes]) -> subprocess.Popen[bytes]:
        kind = self.rng.choices(("worker", "command", "scheduler"), weights=(86, 12, 2))[0]
        if kind == "worker":
            predicting = self._predicting()
            if predicting:
                self.rng.choice(predicting).kill()
                self.killed[kind] += 1
        elif kind == "command":
            command.kill()
            command.wait()
            self.killed[kind] += 1
            return self._start_command()
        else:
            assert self.live.scheduler is not None
            kill_tree(self.live.scheduler)
            self.killed[kind] += 1
            self.live.kill_workers()
            self.live.start_scheduler()
            self._start_workers()
        return command

    def _start_workers(self) -> None:
        for _ in range(WORKERS):
            self.live.add_worker(self._preloaded)

    def _start_command(self) -> subprocess.Popen[bytes]:
        given = [self._slide, self._out, str(self._model), self.live.address]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
        with (self.live.folder / "command.log").open("ab") as log:
            return subprocess.Popen([sys.executable, "-c", RUN, *given], env=environment, stdout=log, stderr=log)


def main() -> None:
    """Kill, compare, print and note."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--where", choices=("bucket", "folder"), default="bucket")
    parser.add_argument("--seconds", type=float, default=150.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--notes", type=Path)
    args = parser.parse_args()
    folder, stack = Path(tempfile.mkdtemp(prefix="chaos-")), ExitStack()
    stack.callback(shutil.rmtree, folder, ignore_errors=True)
    with stack:
        slide, model = write_slide(folder / "s.tiff", tissue_like(1500, 2000), levels=2), folder / "model"
        write_model(model)
        segment(slide, out=folder / "here.zarr", model=model, options=SegmentOptions(region_size=512, overlap=0.25))
        local = files_of(folder / "here.zarr")
        windows = json.loads((folder / "here.summary.json").read_text())["windows"]
        found: Callable[[], dict[str, bytes]]
        remove: Callable[[], None]
        is_made: Callable[[], bool]
        if args.where == "bucket":
            bucket = stack.enter_context(emulated())
            bucket.client.upload_file(str(slide), bucket.name, "s.tiff")
            source, out = f"s3://{bucket.name}/s.tiff", f"s3://{bucket.name}/m.zarr"

            def found() -> dict[str, bytes]:
                assert not bucket.names("m.zarr.partial/"), bucket.names("m.zarr.partial/")
                return bucket.objects("m.zarr/")

            def is_made() -> bool:
                return "m.zarr/zarr.json" in bucket.names("m.zarr/zarr.json")

            def remove() -> None:
                for name in bucket.names("m."):
                    bucket.client.delete_object(Bucket=bucket.name, Key=name)
        else:
            source, out = str(slide), str(folder / "m.zarr")

            def found() -> dict[str, bytes]:
                assert not (folder / "m.zarr.partial").exists()
                return files_of(folder / "m.zarr")

            def is_made() -> bool:
                return (folder / "m.zarr").exists()

            def remove() -> None:
                shutil.rmtree(folder / "m.zarr")

        live = stack.enter_context(LiveCluster(folder / "cluster"))
        chaos = Chaos(live, random.Random(args.seed), source, out, model=model)
        until = time.monotonic() + args.seconds
        while time.monotonic() < until:
            chaos.make(until, is_made)
            assert found() == local, "the mask differs"
            remove()
        done = Counter(chaos.killed) + Counter({"masks, all identical": chaos.masks})
        done += Counter({"windows predicted": live.windows(), "windows of these masks": chaos.masks * windows})
        if args.notes is not None:
            before = json.loads(args.notes.read_text()) if args.notes.exists() else {}
            done = Counter({key: before.get(key, 0) + done.get(key, 0) for key in before.keys() | done.keys()})
            args.notes.write_text(json.dumps(done, indent=1, sort_keys=True))
        print(args.where, dict(sorted(done.items())))


if __name__ == "__main__":
    main()
