"""Looks into slides: who waits for them, and what is remembered of them."""

from __future__ import annotations

import logging
import operator
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import web
from live_server import Served, write_slides
from wsi_segment.errors import SlideError
from wsi_segment.inference.engine.options import SegmentOptions
from wsi_segment.inference.engine.segment import segment
from wsi_segment.model.card import find_model
from wsi_segment.service.api.routes.slides import list_slides
from wsi_segment.service.api.service import Service
from wsi_segment.service.folders.root_watch import RootAwayError, RootWatch
from wsi_segment.service.folders.slide_roots import parse_roots
from wsi_segment.service.jobs.database import Database
from wsi_segment.service.logs import form_in_use, set_up_logs
from wsi_segment.service.workers import slide_pool as pixels_module
from wsi_segment.service.workers.slide_catalogue import Catalogue
from wsi_segment.service.workers.slide_pool import BusyError, PixelPool, UnsureSlideError


class Looks:
    """In place of the pool: what a look into a slide finds, and how many there were."""

    def __init__(self) -> None:
        self.count = 0
        self.found: dict[str, Any] | Exception = {}

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """One look."""
        self.count += 1
        if isinstance(self.found, Exception):
            raise self.found
        return self.found


class Behind:
    """In place of the looks behind a list: none is done."""

    def want(self, *_: Any) -> None:
        """Do nothing."""


@pytest.fixture
def looks() -> Looks:
    return Looks()


@pytest.fixture
def service(tmp_path: Path, looks: Looks) -> Iterator[Service]:
    (tmp_path / "slides").mkdir()
    (tmp_path / "slides" / "a.svs").touch()
    (tmp_path / "slides" / "b.svs").touch()
    database = Database(tmp_path)
    database.migrate()
    catalogue = Catalogue(database, parse_roots([str(tmp_path / "slides")]), b"secret")
    rest: Any = dict.fromkeys(set(Service.__dataclass_fields__) - {"database", "catalogue", "pool", "roots", "details"})
    roots = RootWatch(database, catalogue.roots)
    yield Service(database=database, catalogue=catalogue, pool=looks, roots=roots, details=Behind(), **rest)  # type: ignore[arg-type]
    database.close()


def test_a_slide_that_could_not_be_read_is_looked_at_again(
    service: Service, looks: Looks, monkeypatch: pytest.MonkeyPatch
) -> None:
    slide = service.catalogue.by_path("slides/a.svs")
    looks.found = SlideError("its other files are missing")
    for _ in range(3):
        with pytest.raises(SlideError, match="missing"):
            service.describe(slide)
    assert looks.count == 1  # for a moment
    looks.found = {"width": 5}
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 60)
    for _ in range(3):
        assert service.describe(slide) == {"width": 5}
    assert looks.count == 2


def test_a_slide_whose_root_goes_away_under_a_look_is_not_at_fault(
    service: Service, looks: Looks, tmp_path: Path
) -> None:
    slide = service.catalogue.by_path("slides/a.svs")
    service.catalogue.remember([slide])
    assert service.roots.away() == {}
    (tmp_path / "slides").rename(tmp_path / "away")
    looks.found = SlideError("a file of the slide is no longer there")
    with pytest.raises(RootAwayError, match="root slides"):
        service.describe(slide)
    (tmp_path / "away").rename(tmp_path / "slides")
    looks.found = {"width": 5}
    assert service.describe(slide) == {"width": 5}  # nothing is remembered against it


def test_a_file_that_is_gone_when_it_is_opened_is_no_fault_of_a_decoder(tmp_path: Path) -> None:
    with pytest.raises(UnsureSlideError, match="no longer there"):
        pixels_module._guarded(pixels_module.describe, tmp_path / "none.svs")


def test_a_slide_is_looked_at_again_when_one_of_its_files_changes(
    service: Service, looks: Looks, tmp_path: Path
) -> None:
    parts = tmp_path / "slides" / "m"
    parts.mkdir()
    for file in (parts.with_suffix(".mrxs"), parts / "Slidedat.ini", parts / "Data0000.dat"):
        file.touch()
    looks.found = {"width": 5}

    def looked_again() -> bool:
        before = looks.count
        service.describe(service.catalogue.by_path("slides/m.mrxs"))  # as every request finds it
        return looks.count > before

    assert looked_again()
    assert not looked_again()
    (parts / "Data0000.dat").write_bytes(b"more")
    assert looked_again()
    (parts / "Data0001.dat").touch()
    assert looked_again()
    (parts / "Data0001.dat").unlink()
    assert looked_again()
    assert not looked_again()


def test_a_list_of_slides_looks_into_them_for_a_while_only(
    service: Service, looks: Looks, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks.found = {"width": 5}
    service.describe(service.catalogue.by_path("slides/a.svs"))
    monkeypatch.setattr("wsi_segment.service.api.routes.slides._LIST_SECONDS", -1.0)
    known, unknown = list_slides(service).slides
    assert (known.width, known.error) == (5, None)
    assert unknown.error is not None
    assert "not opened yet" in unknown.error
    assert looks.count == 1
    monkeypatch.setattr("wsi_segment.service.api.routes.slides._LIST_SECONDS", 60.0)
    assert [slide.width for slide in list_slides(service).slides] == [5, 5]


@pytest.mark.skipif(sys.platform == "win32", reason="pipes have no names in folders there")
def test_more_looks_than_may_wait_are_refused_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pixels_module, "_MOST_CALLS", 2)
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    set_up_logs("json")
    try:
        pool = PixelPool(1, 4 << 30)
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
    pipes = [tmp_path / "first", tmp_path / "second"]  # of one pipe, one look could read what both should
    answers: list[bytes] = []
    threads = [
        threading.Thread(target=lambda at: answers.append(pool.call(Path.read_bytes, at)), args=[pipe])
        for pipe in pipes
    ]
    for pipe, thread in zip(pipes, threads, strict=True):
        os.mkfifo(pipe)
        thread.start()  # waits for somebody to write
    deadline = time.monotonic() + 60
    while pool._calls._value:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    with pytest.raises(BusyError, match="try again"):
        pool.call(time.sleep, 0.0)
    for pipe, thread in zip(pipes, threads, strict=True):
        pipe.write_bytes(b"read")
        thread.join()
    assert answers == [b"read", b"read"]
    assert pool.call(operator.call, form_in_use) == "json"  # a child's log has the form of its parent's
    pool.close()


@pytest.mark.skipif(sys.platform == "win32", reason="the spy slows a module down by PYTHONPATH")
def test_tiles_come_and_the_server_lives_while_outlines_of_an_adopted_mask_are_made(
    tmp_path: Path,
) -> None:
    folder = write_slides(tmp_path / "served")
    model = find_model(folder / "models" / "channels")
    segment(folder / "slides" / "s0.tiff", model, folder / "masks" / "a.zarr", SegmentOptions())
    slow = folder / "slow"
    slow.mkdir()
    (slow / "sitecustomize.py").write_text(SLOW_OUTLINES)
    running = Served(folder, "--results", folder / "masks", "--workers", 0)
    running._environment["PYTHONPATH"] = f"{slow}:{running._environment['PYTHONPATH']}"
    with running, running.client() as client, web.client(base_url=running.url) as http:
        (job,) = client.jobs()
        answers: list[httpx.Response] = []
        at = f"{running.url}/v1/jobs/{job['id']}/results/objects.geojson"
        threads = [threading.Thread(target=lambda: answers.append(web.get(at))) for _ in range(12)]
        for thread in threads:
            thread.start()
        slide = client.find_slide("slides/s0.tiff")
        assert http.get(f"/v1/slides/{slide['id']}/tiles/0/0/0.jpg").is_success
        assert http.get("/health/live").is_success
        deadline = time.monotonic() + 60
        while not answers:  # more than may wait
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert not any(answer.is_success for answer in answers)  # they are being made all the while
        (slow / "go on").touch()
        for thread in threads:
            thread.join()
    assert {answer.status_code for answer in answers} == {200, 503}
    refused = next(answer for answer in answers if answer.status_code == 503)
    assert refused.headers["retry-after"] == "1"
    assert refused.json()["type"] == "urn:wsi-segment:problem:busy"
    made = {answer.text for answer in answers if answer.is_success}
    assert len(made) == 1


SLOW_OUTLINES = """
import importlib.abc, importlib.machinery, os, sys, time

GO_ON = os.path.join(os.path.dirname(__file__), "go on")

class Slower(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name != "wsi_segment.service.workers.outline_index":
            return None
        sys.meta_path.remove(self)
        import wsi_segment.service.workers.outline_index as objects
        write = objects.write_objects
        def slow(*arguments, **more):
            while not os.path.exists(GO_ON):
                time.sleep(0.05)
            return write(*arguments, **more)
        objects.write_objects = slow
        return importlib.machinery.ModuleSpec(name, Given(objects))

class Given(importlib.abc.Loader):
    def __init__(self, module):
        self.module = module
    def create_module(self, spec):
        return self.module
    def exec_module(self, module):
        pass

sys.meta_path.insert(0, Slower())
"""
