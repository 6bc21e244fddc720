from __future__ import annotations

import functools
import io
import shutil
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from synthetic import ChannelNetwork, class_map, make_model, tissue_like, write_slide
from wsi_segment.errors import InputError, OutputError, RunError
from wsi_segment.inference.engine.options import SegmentOptions
from wsi_segment.inference.engine.segment import segment
from wsi_segment.inference.grid.box import Box
from wsi_segment.inference.mask.mask import Mask
from wsi_segment.inference.mask.ngff import OmeZarrVersion
from wsi_segment.inference.mask.summary import Summary

MADE_BY_0_1_0 = Path(__file__).parents[2] / "data" / "made_by_0_1_0.zip"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mask")
    write_slide(folder / "s.tiff", tissue_like(700, 1300), mpp=0.5)
    return folder


@pytest.fixture(scope="module", params=["0.5", "0.4"])
def made(request: pytest.FixtureRequest, folder: Path) -> tuple[Mask, Summary]:
    """A mask of half the slide's resolution."""
    out = folder / f"{request.param}.zarr"
    options = SegmentOptions(ome_zarr=request.param)
    summary = segment(folder / "s.tiff", make_model(mpp=1.0), out, options, network=ChannelNetwork())
    return Mask.open(out), summary


def test_a_mask_knows_its_levels_classes_and_place(made: tuple[Mask, Summary]) -> None:
    mask, summary = made
    assert [(level.width, level.height, level.downsample) for level in mask.levels] == [(650, 350, 2), (325, 175, 4)]
    assert [(entry.id, entry.name) for entry in mask.classes] == [
        (0, "not analysed"), (1, "red"), (2, "green"), (3, "blue"),
    ]  # fmt: skip
    assert mask.classes[2].color == (0, 200, 0)
    assert (mask.origin, mask.bounds) == ((0, 0), Box(0, 0, 1300, 700))
    assert mask.mpp == pytest.approx(1.0, rel=1e-3) == summary.mask_mpp
    assert mask.pixel_size.source == summary.mpp_source
    assert mask.provenance == summary.provenance


def test_boxes_and_points_are_those_of_the_store(made: tuple[Mask, Summary]) -> None:
    mask, _ = made
    for level, size in enumerate(mask.levels):
        expected = class_map(mask.path, level)
        assert np.array_equal(mask.read(level, Box(0, 0, size.width, size.height)), expected)
        assert np.array_equal(mask.read(level, Box(30, 40, 130, 90)), expected[40:90, 30:130])
    ids = class_map(mask.path)
    for x, y in ((640, 340), (641.9, 341.9), (200, 500), (1299, 699)):
        assert mask.at(x, y).id == ids[int(y) // 2, int(x) // 2]


def test_beyond_a_mask_nothing_was_analysed(made: tuple[Mask, Summary]) -> None:
    mask, _ = made
    around = mask.read(1, Box(-10, -20, 335, 200))
    assert around.shape == (220, 345)
    assert np.array_equal(around[20:195, 10:335], class_map(mask.path, 1))
    around[20:195, 10:335] = 0
    assert not around.any()
    assert mask.at(-1, 5).id == mask.at(1e6, 5).id == 0
    assert mask.read(0, Box(900, 900, 910, 920)).shape == (20, 10)


def test_areas_are_those_of_the_summary(made: tuple[Mask, Summary]) -> None:
    mask, summary = made
    assert mask.areas() == summary.classes


def test_outlines_lie_on_the_slide_and_hold_the_areas(made: tuple[Mask, Summary]) -> None:
    mask, summary = made
    outlines = list(mask.outlines(simplify_um=0, level=0))
    for area in summary.classes:
        own = [outline for outline in outlines if outline.class_id == area.id]
        assert sum(outline.area_um2 for outline in own) == pytest.approx(area.area_mm2 * 1e6, rel=1e-4)
        assert {outline.name for outline in own} == {area.name}
    for outline in outlines[::40]:
        point = outline.polygon.representative_point()
        assert mask.at(point.x, point.y).id == outline.class_id
        assert outline.polygon.exterior.is_ccw
        assert outline.area_um2 == pytest.approx(outline.polygon.area * mask.pixel_size.x * mask.pixel_size.y)
    large = list(mask.outlines(min_area_um2=5000))
    assert 0 < len(large) < len(outlines)
    assert max(outline.polygon.bounds[2] for outline in outlines) > 1000  # level-0 pixels, not the mask's


def test_the_picture_has_the_colours_of_the_classes(made: tuple[Mask, Summary]) -> None:
    mask, _ = made
    picture = Image.open(io.BytesIO(mask._repr_png_())).convert("RGBA")
    assert picture.size == (650, 350)
    found = {tuple(pixel) for pixel in np.unique(np.asarray(picture).reshape(-1, 4), axis=0).tolist()}
    assert (0, 0, 0, 0) in found
    assert {pixel[:3] for pixel in found if pixel[3]} == {entry.color for entry in mask.classes[1:]}
    page = mask._repr_html_()
    assert "data:image/png;base64," in page
    assert "rgb(0, 200, 0)" in page


def test_a_mask_is_one_short_line_as_text(made: tuple[Mask, Summary]) -> None:
    mask, _ = made
    assert repr(mask) == f"<Mask {mask.path}: 650 x 350 px of {mask.mpp:.4g} µm, classes red, green, blue>"


@pytest.mark.parametrize("version", ["v0_5", "v0_4"])
def test_masks_of_version_0_1_0_open(tmp_path: Path, version: str) -> None:
    with zipfile.ZipFile(MADE_BY_0_1_0) as packed:
        packed.extractall(tmp_path)
    mask = Mask.open(tmp_path / "masks" / f"{version}.zarr")
    assert mask.provenance["versions"]["wsi-segment"].startswith("0.1.0")
    assert sum(area.pixels for area in mask.areas()) == np.count_nonzero(class_map(mask.path))
    assert list(mask.outlines())


class Ranged(SimpleHTTPRequestHandler):
    """Files, and parts of them, as web servers and object stores give them."""

    broken = False

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        if self.broken or not path.is_file():
            self.send_error(500 if self.broken else 404)
            return
        content = path.read_bytes()
        start, end = 0, len(content)
        if wanted := self.headers.get("Range"):
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            start, end = (int(first), int(last or end - 1) + 1) if first else (end - int(last), end)
        self.send_response(206 if wanted else 200)
        self.send_header("Content-Length", str(len(content[start:end])))
        if wanted:
            self.send_header("Content-Range", f"bytes {start}-{start + len(content[start:end]) - 1}/{len(content)}")
        self.end_headers()
        self.wfile.write(content[start:end])

    def log_message(self, format: str, *args: Any) -> None:
        """Not in the tests' output."""


class Whole(SimpleHTTPRequestHandler):
    """Files as a whole, whatever part is asked for, as ``python -m http.server`` gives them."""

    def log_message(self, format: str, *args: Any) -> None:
        """Not in the tests' output."""


@contextmanager
def served(handler: type[SimpleHTTPRequestHandler], folder: Path) -> Iterator[str]:
    pytest.importorskip("aiohttp", reason="masks over the network need the extra [remote]")
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(handler, directory=folder)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def address(folder: Path) -> Iterator[str]:
    Ranged.broken = False
    with served(Ranged, folder) as address:
        yield address


@pytest.fixture
def whole_files(folder: Path) -> Iterator[str]:
    with served(Whole, folder) as address:
        yield address


def test_a_mask_on_a_web_server_is_the_same(made: tuple[Mask, Summary], address: str) -> None:
    local, _ = made
    remote = Mask.open(f"{address}/{local.path.name}")
    assert (remote.levels, remote.classes, remote.provenance) == (local.levels, local.classes, local.provenance)
    box = Box(100, 50, 400, 300)
    assert np.array_equal(remote.read(0, box), local.read(0, box))
    assert remote.areas() == local.areas()
    Ranged.broken = True
    with pytest.raises(RunError, match="cannot be read"):
        remote.read(0, box)
    with pytest.raises(RunError, match="cannot be read"):
        Mask.open(f"{address}/{local.path.name}")


def test_what_is_no_mask_is_refused_in_a_line(folder: Path, address: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for place in (tmp_path, tmp_path / "file", f"{address}/absent.zarr"):
        with pytest.raises(OutputError, match="not a mask that wsi-segment made"):
            Mask.open(place)
    with pytest.raises(OutputError, match="absent: no such mask"):
        Mask.open(tmp_path / "absent")
    with pytest.raises(InputError, match="give a path or an address"):
        Mask.open(b"mask.zarr")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="cannot be read"):
        Mask.open("nothing://a/b.zarr")


@pytest.mark.parametrize("version", ["0.5", "0.4"])
def test_a_mask_that_is_not_finished_is_refused(folder: Path, tmp_path: Path, version: OmeZarrVersion) -> None:
    class Stopping(ChannelNetwork):
        def __call__(self, windows: np.ndarray) -> np.ndarray:
            raise RunError("stopped")

    options = SegmentOptions(ome_zarr=version)
    with pytest.raises(RunError, match="stopped"):
        segment(folder / "s.tiff", make_model(mpp=1.0), tmp_path / "m.zarr", options, network=Stopping())
    (growing,) = (tmp_path / "m.zarr.partial").glob("store-*")
    for place in (tmp_path / "m.zarr.partial", growing):
        with pytest.raises(OutputError, match="not finished; repeat the command"):
            Mask.open(place)


def test_a_server_that_ignores_ranges_is_named(folder: Path, whole_files: str) -> None:
    options = SegmentOptions(region_size=1024)  # of several chunks, in one shard
    segment(folder / "s.tiff", make_model(mpp=1.0), folder / "sharded.zarr", options, network=ChannelNetwork())
    remote = Mask.open(f"{whole_files}/sharded.zarr")
    with pytest.raises(RunError, match="ignores the header Range"):
        remote.read(0, Box(0, 0, 10, 10))


def test_a_server_that_ignores_ranges_gives_masks_of_single_files(folder: Path, whole_files: str) -> None:
    out = folder / "files.zarr"
    segment(folder / "s.tiff", make_model(mpp=1.0), out, SegmentOptions(ome_zarr="0.4"), network=ChannelNetwork())
    box = Box(0, 0, 650, 350)
    assert np.array_equal(Mask.open(f"{whole_files}/files.zarr").read(0, box), Mask.open(out).read(0, box))


def test_boxes_are_of_whole_pixels(made: tuple[Mask, Summary]) -> None:
    mask, _ = made
    assert mask.read(0, Box(5, 5, 1, 1)).shape == (0, 0)
    assert np.array_equal(mask.read(0, Box(0, 1, 2, 3)), mask.read(0, Box(*np.arange(4))))
    with pytest.raises(TypeError):
        mask.read(0, Box(0.5, 0, 2.5, 2))  # type: ignore[arg-type]


def test_a_damaged_mask_says_so(made: tuple[Mask, Summary], tmp_path: Path) -> None:
    copy = tmp_path / "copy.zarr"
    shutil.copytree(made[0].path, copy)
    for path in (copy / "labels" / "segmentation" / "0").rglob("*"):
        if path.is_file() and path.name.isdigit():
            path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(OutputError, match="cannot be decoded"):
        Mask.open(copy).read(0, Box(0, 0, 650, 350))
