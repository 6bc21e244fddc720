from __future__ import annotations

import contextlib
import functools
import os
import re
import shutil
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from buckets import emulated
from synthetic import ChannelNetwork, class_map, files_of, make_model, tissue_like, write_slide
from wsi_segment.errors import InputError, RunError, SlideError
from wsi_segment.inference.engine.options import SegmentOptions
from wsi_segment.inference.engine.segment import segment
from wsi_segment.inference.grid.box import Box
from wsi_segment.inference.places.object_file import Parts
from wsi_segment.inference.progress import Progress
from wsi_segment.inference.slides.fingerprint import slide_fingerprint
from wsi_segment.inference.slides.location import is_replaced, open_bytes, slide_location
from wsi_segment.inference.slides.open import open_slide
from wsi_segment.inference.slides.readers import scaled
from wsi_segment.inference.slides.slide_files import slide_files
from wsi_segment.service.cli.main import main
from wsi_segment.service.cli.orders import make_orders

pytest.importorskip("upath", reason="slides over the network need the extra [remote]")


class Ranged(SimpleHTTPRequestHandler):
    """A file server that answers range requests, as object stores and web servers do."""

    broken = False
    tag = ""

    def end_headers(self) -> None:
        if self.tag:
            self.send_header("ETag", self.tag)
        super().end_headers()

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if self.broken or not path.is_file():
            self.send_error(500 if self.broken else 404)
            return
        content = path.read_bytes()
        first = int(wanted[1]) if wanted else 0
        last = min(int(wanted[2] or len(content)) if wanted else len(content), len(content) - 1)
        self.send_response(206 if wanted else 200)
        self.send_header("Content-Length", str(last + 1 - first))
        self.send_header("Accept-Ranges", "bytes")
        if wanted:
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
        self.end_headers()
        self.wfile.write(content[first : last + 1])

    def log_message(self, format: str, *args: Any) -> None:
        """Not in the tests' output."""


class WholeFiles(SimpleHTTPRequestHandler):
    """A file server that gives files as a whole, as ``python -m http.server`` does."""

    def log_message(self, format: str, *args: Any) -> None:
        """Not in the tests' output."""

    def copyfile(self, source: Any, outputfile: Any) -> None:
        with contextlib.suppress(ConnectionError):  # the client goes when it has what it wants
            super().copyfile(source, outputfile)


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pixels = tissue_like(1100, 1500)
    return write_slide(tmp_path_factory.mktemp("served") / "made.tiff", pixels, levels=3, compression="jpeg")


@pytest.fixture(scope="module")
def web(local: Path) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Ranged, directory=str(local.parent)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def bucket(local: Path) -> Iterator[str]:
    """A bucket of an S3 emulator, with the slide in it."""
    with emulated() as running:
        running.client.upload_file(str(local), running.name, "case 1/made.tiff")
        yield f"s3://{running.name}"


@pytest.fixture(params=["web", "bucket"])
def address(request: pytest.FixtureRequest) -> str:
    base = request.getfixturevalue(request.param)
    return f"{base}/made.tiff" if request.param == "web" else f"{base}/case 1/made.tiff"


def test_tiles_at_a_smaller_scale_are_those_of_the_file(
    web: str, local: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scaled, "LEAST_PIXELS", 1)
    flat = write_slide(local.parent / "flat.tiff", tissue_like(1100, 1500), mpp=0.25, compression="jpeg")
    for slide, out in ((flat, "here"), (slide_location(f"{web}/flat.tiff"), "there")):
        run = SegmentOptions(workers=1)
        found = segment(slide, make_model(), tmp_path / f"{out}.zarr", run, network=ChannelNetwork())
        assert found.provenance["slide"]["decoded_at"] == {"mask": "1/4", "tissue": "1/8"}
    assert files_of(tmp_path / "here.zarr") == files_of(tmp_path / "there.zarr")


def test_pixels_over_the_network_are_those_of_the_file(address: str, local: Path) -> None:
    remote, here = open_slide(slide_location(address)), open_slide(local)
    assert remote.reader == here.reader == "tifffile"
    assert remote.pixel_size == here.pixel_size
    assert remote.levels == here.levels
    assert remote.pixel_size is not None
    assert here.pixel_size is not None
    assert remote.pixel_size.mpp == pytest.approx(here.pixel_size.mpp)
    for index, level in enumerate(here.levels):
        box = Box(-10, -10, level.width + 10, level.height + 10)
        np.testing.assert_array_equal(remote.read(index, box), here.read(index, box))
    remote.close()
    here.close()


def test_a_slide_is_the_same_slide_wherever_it_lies(address: str, local: Path, tmp_path: Path) -> None:
    location = slide_location(address)
    assert slide_fingerprint(slide_files(location)) == slide_fingerprint(slide_files(local))
    for name, path in (("remote", location), ("local", local)):
        segment(path, make_model(), tmp_path / f"{name}.zarr", SegmentOptions(), network=ChannelNetwork())
    np.testing.assert_array_equal(class_map(tmp_path / "remote.zarr"), class_map(tmp_path / "local.zarr"))


def test_a_lost_connection_is_said_and_the_run_goes_on_later(
    web: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    location, run = slide_location(f"{web}/made.tiff"), SegmentOptions(region_size=512, workers=1)
    segment(location, make_model(), tmp_path / "a.zarr", run, network=ChannelNetwork())

    class Cutting(ChannelNetwork):
        def __call__(self, windows: np.ndarray) -> np.ndarray:
            monkeypatch.setattr(Ranged, "broken", self.windows > 30)
            return super().__call__(windows)

    monkeypatch.setattr(
        "wsi_segment.inference.slides.location._BLOCK", 4096
    )  # so that not all of it is fetched already
    with pytest.raises(RunError, match=r"made.tiff: pixels at .* could not be fetched.*run the same command again"):
        segment(location, make_model(), tmp_path / "b.zarr", run, network=Cutting())
    monkeypatch.setattr(Ranged, "broken", False)
    summary = segment(location, make_model(), tmp_path / "b.zarr", run, network=ChannelNetwork())
    assert summary.regions_kept > 0
    assert files_of(tmp_path / "a.zarr") == files_of(tmp_path / "b.zarr")


def test_a_slide_that_is_replaced_on_its_server_while_it_is_read_gives_no_mask(
    web: str, local: Path, tmp_path: Path
) -> None:
    """Its mask would be of two slides, of one size and laid out alike."""
    served, other = local.with_name("changing.tiff"), tmp_path / "other.tiff"
    for seed, path in enumerate((served, other)):
        write_slide(path, tissue_like(1100, 1500, seed=seed), compression=None)
    os.utime(served, (1e9, 1e9))
    where, options = slide_location(f"{web}/{served.name}"), SegmentOptions(region_size=512, workers=1)

    def replace_it(told: Progress) -> None:
        if told.stage == "segment" and told.done and other.exists():
            shutil.move(other, served)

    with pytest.raises(SlideError, match=r"changing\.tiff: was replaced or written to while it was read"):
        segment(where, make_model(), tmp_path / "m.zarr", options, report=replace_it, network=ChannelNetwork())
    assert not (tmp_path / "m.zarr").exists()
    segment(where, make_model(), tmp_path / "m.zarr", options, network=ChannelNetwork())


def test_a_file_of_several_servers_is_one_as_long_as_they_agree_in_anything(
    web: str, local: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served, parts = local.with_name("shared.tiff"), Parts()
    shutil.copy(local, served)
    monkeypatch.setattr(Ranged, "tag", '"of one"')
    open_bytes(where := slide_location(f"{web}/shared.tiff"), parts).close()
    monkeypatch.setattr(Ranged, "tag", '"of another"')
    assert not is_replaced(where, parts)
    os.utime(served, (1e9, 1e9))
    assert is_replaced(where, parts)
    monkeypatch.setattr(Ranged, "tag", '"of one"')
    assert not is_replaced(where, parts)
    with served.open("ab") as file:
        file.write(b"more")
    assert is_replaced(where, parts)


def test_many_slides_of_a_manifest_may_lie_anywhere(bucket: str, web: str, local: Path, tmp_path: Path) -> None:
    manifest = tmp_path / "slides.csv"
    manifest.write_text(f"slide,mpp\n{bucket}/case 1/made.tiff,1.0\n")
    slides = [f"{web}/other.tiff", str(local.with_name("third.tiff"))]
    orders = make_orders(slides, manifest, out=tmp_path, options=SegmentOptions(), model=None)
    assert [order.out.name for order in orders] == ["other.zarr", "third.zarr", "made.zarr"]
    assert str(orders[2].slide) == f"{bucket}/case 1/made.tiff"


@pytest.mark.parametrize("name", ["missing.tiff", "../etc"])
def test_what_is_not_there_is_said_in_one_line(web: str, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", f"{web}/{name}"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "cannot be read" in error


def test_what_a_server_answers_is_said(web: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ranged, "broken", True)
    with pytest.raises(SlideError, match="cannot be read: 500, message='Internal Server Error'"):
        open_slide(f"{web}/other.tiff")


def test_a_server_that_ignores_ranges_is_named(local: Path) -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (1500, 1500, 3), np.uint8)
    Image.fromarray(pixels).save(local.parent / "large.tiff", compression="tiff_adobe_deflate")  # directory at its end
    whole = functools.partial(WholeFiles, directory=str(local.parent))
    with ThreadingHTTPServer(("127.0.0.1", 0), whole) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        with pytest.raises(SlideError, match="ignores the header Range"):
            open_slide(f"http://127.0.0.1:{server.server_port}/large.tiff")
        server.shutdown()
        thread.join()


def test_an_unreachable_server_and_an_unknown_scheme_are_said() -> None:
    with pytest.raises(SlideError, match="cannot be read"):
        open_slide(slide_location("http://127.0.0.1:9/slide.tiff"))
    with pytest.raises(InputError, match="that start with nosuch://"):
        slide_location("nosuch://slides/slide.tiff")
