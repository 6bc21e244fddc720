"""Files that are not the slides they claim to be: each is refused or fails with a reason, and nothing else happens."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import dask.config
import httpx
import numpy as np
import psutil
import pytest

import web
from hostile_slides import LEADING_AWAY, TAGS, with_tag, write_hostile, write_ndtiff
from live_server import ROOT, FileEvent, Served, write_slides
from synthetic import tissue_like, write_slide
from wsi_segment.errors import SlideError
from wsi_segment.inference.slides.open import open_slide

FILES = int(os.environ.get("WSI_SEGMENT_HOSTILE", "50"))
"""Of the 200, evenly picked, and all that lead elsewhere."""
POOL_BYTES, WORKER_BYTES = 2 << 30, 1 << 30
SYSTEM = ("/usr", "/lib", "/etc", "/proc", "/sys", "/dev", sys.prefix, sys.base_prefix, str(ROOT), *dask.config.paths)
MAY_SUCCEED = {"flipped", "tags"}
"""A file with a wrong bit may still be an image."""


class Watched:
    """A context in which a server is asked whether it lives, and its processes for their memory."""

    def __init__(self, served: Served) -> None:
        self.slowest = 0.0
        """Seconds of an answer of ``/health/live``."""
        self.failures: list[str] = []
        self.largest_worker = self.largest_other = 0
        """Bytes in memory."""
        self._served, self._over = served, threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Watched:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        assert self._served.process is not None
        server = psutil.Process(self._served.process.pid)
        while not self._over.wait(0.1):
            started = time.monotonic()
            try:
                web.get(f"{self._served.url}/health/live", timeout=60).raise_for_status()
            except httpx.HTTPError as error:
                self.failures.append(repr(error))
            self.slowest = max(self.slowest, time.monotonic() - started)
            for child in server.children(recursive=True):
                try:
                    size = child.memory_info().rss
                    is_worker = "wsi_segment.service.workers.worker" in child.cmdline()
                except psutil.Error:
                    continue
                if is_worker:
                    self.largest_worker = max(self.largest_worker, size)
                else:
                    self.largest_other = max(self.largest_other, size)


def opened_elsewhere(noted: list[FileEvent], folder: Path) -> set[str]:
    """Files that are neither the server's nor the system's."""
    allowed = (*(str(folder / name) for name in ("slides", "models", "data")), *SYSTEM)
    paths = {os.path.normpath(one.path) for one in noted if Path(one.path).is_absolute()}
    return {path for path in paths if not path.startswith(allowed) or path in ("/etc/passwd", "/etc/shadow")}


@pytest.mark.parametrize("tag", ["width", "height"])
def test_a_slide_that_claims_to_be_larger_than_any_is_refused(tmp_path: Path, tag: str) -> None:
    sound = write_slide(tmp_path / "sound.tiff", tissue_like(600, 700)).read_bytes()
    (tmp_path / "endless.tiff").write_bytes(with_tag(sound, TAGS[tag][0], 2**31 - 1))
    with pytest.raises(SlideError, match=r"claims to be|says where"):
        open_slide(tmp_path / "endless.tiff")


@pytest.mark.parametrize("name", ["away5.svs", "away6.mrxs", "away8.ome.tiff", "set.tiff"])
def test_a_slide_that_names_files_elsewhere_has_none_of_them_opened(tmp_path: Path, name: str) -> None:
    for folder in ("slides", "secret"):
        (tmp_path / folder).mkdir()
    secret = write_slide(tmp_path / "secret" / "s.tiff", np.full((600, 700, 3), 7, np.uint8))
    LEADING_AWAY.get(name, write_ndtiff)(tmp_path / "slides" / name, secret)
    opened = files_opened_in(secret.parent)
    if name == "set.tiff":  # what it holds itself is an image
        slide = open_slide(tmp_path / "slides" / name)
        assert (slide.read(0, slide.bounds) == tissue_like(600, 700)).all()
        slide.close()
    else:
        with pytest.raises(SlideError, match="several files" if "ome" in name else "key file under a name"):
            open_slide(tmp_path / "slides" / name)
    assert not opened


def files_opened_in(folder: Path) -> list[str]:
    """A list that grows with what Python opens there from now on."""
    found: list[str] = []

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and not isinstance(arguments[0], int):
            path = os.path.realpath(os.fsdecode(arguments[0]))
            found.extend([path] if path.startswith(str(folder)) else [])

    sys.addaudithook(hook)
    return found


def test_hostile_slides_are_refused_or_fail_with_a_reason_and_the_service_goes_on(tmp_path: Path) -> None:
    folder = write_slides(tmp_path / "served")
    (folder / "secret").mkdir()
    secret = write_slide(folder / "secret" / "s.tiff", tissue_like(300, 300))
    written = write_hostile(folder / "slides", secret)
    picked = {*list(written)[:: max(1, len(written) // FILES)], *LEADING_AWAY}
    hostile = {name: kind for name, kind in written.items() if name in picked}
    served = Served(folder, "--workers", 1, "--worker-memory", WORKER_BYTES, spied_on=True)
    ends: dict[str, str] = {}
    with served, served.client() as client, Watched(served) as watched:
        assert served.process is not None
        server = served.process.pid
        jobs: dict[str, str] = {}
        for name in hostile:
            found = web.get(f"{served.url}/v1/slides", params={"path": f"slides/{name}"})
            assert found.status_code in (200, 404), found.text
            if found.status_code == 404:
                ends[name] = "unknown"
                continue
            slide = found.json()["slides"][0]["id"]
            for picture in ("thumbnail", "tiles/0/0/0.jpg"):
                answer = web.get(f"{served.url}/v1/slides/{slide}/{picture}")
                assert answer.status_code in (200, 404, 422), (name, answer.text)
                assert str(folder) not in answer.text
                assert name not in answer.text
            body = {"slide": slide, "model": "channels", "mpp": 1.0, "tissue": "none", "overlap": 0.0}
            answer = web.post(f"{served.url}/v1/jobs", json=body)
            assert answer.status_code in (201, 422), (name, answer.text)
            if answer.status_code == 422:
                ends[name] = "refused"
                assert answer.json()["detail"], name
            else:
                jobs[name] = answer.json()["id"]
        for name, job_id in jobs.items():
            job = client.wait(job_id)
            ends[name] = job["status"]
            assert name not in job["message"]
            assert job["status"] == "failed" or hostile[name] in MAY_SUCCEED, (name, job)
            assert job["message"] or job["status"] == "successful", name
        sound = client.submit("slides/s0.tiff", model="channels")
        assert client.wait(sound["id"])["status"] == "successful"
        assert served.process.pid == server
        assert served.process.poll() is None
    assert not watched.failures
    assert watched.largest_worker < WORKER_BYTES
    assert watched.largest_other < POOL_BYTES
    assert opened_elsewhere(served.noted(), folder) == set()
    counts = Counter((hostile[name], end) for name, end in ends.items())
    print(f"{len(hostile)} files: {dict(sorted(counts.items()))}; slowest answer {watched.slowest:.2f} s; worker "
          f"{watched.largest_worker >> 20} MiB, largest other child {watched.largest_other >> 20} MiB; "
          f"{served.log.count('ended: signal') + served.log.count('ended: exit')} workers ended")  # fmt: skip
