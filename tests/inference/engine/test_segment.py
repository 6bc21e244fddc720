from __future__ import annotations

import gc
import json
import os
import sys
import threading
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from synthetic import ChannelNetwork, class_map, files_of, make_model, tissue_like, write_model, write_slide
from wsi_segment.errors import Cancelled, InputError, OutputError
from wsi_segment.inference.engine.memory import make_budget
from wsi_segment.inference.engine.networks.onnx_network import OnnxNetwork
from wsi_segment.inference.engine.options import SegmentOptions
from wsi_segment.inference.engine.predict import RegionPredictor
from wsi_segment.inference.engine.prepare import prepare
from wsi_segment.inference.engine.region_task import RegionTask
from wsi_segment.inference.engine.scheduling import local_threads as engine
from wsi_segment.inference.engine.scheduling.local_threads import run_tasks
from wsi_segment.inference.engine.segment import segment
from wsi_segment.inference.grid.box import Box
from wsi_segment.inference.grid.lattice import Lattice
from wsi_segment.inference.grid.region import Region
from wsi_segment.inference.mask.geojson import write_geojson
from wsi_segment.inference.mask.ledger import FinishedRegion
from wsi_segment.inference.mask.mask import Mask
from wsi_segment.inference.mask.preview import write_preview
from wsi_segment.inference.mask.region_writer import RegionWriter
from wsi_segment.inference.mask.store import MaskLayout, MaskStore
from wsi_segment.inference.mask.summary import Summary
from wsi_segment.inference.places.folder import LocalFolder
from wsi_segment.inference.places.ledger_records import LineRecords
from wsi_segment.inference.progress import Progress
from wsi_segment.inference.slides.doubt import Doubt
from wsi_segment.inference.slides.fingerprint import slide_fingerprint
from wsi_segment.inference.slides.frame import MaskFrame
from wsi_segment.inference.slides.open import open_slide
from wsi_segment.inference.slides.pixels import PixelSource
from wsi_segment.inference.slides.readers.image import ImageSlide
from wsi_segment.inference.slides.slide import PixelSize, Slide


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_slide(tmp_path_factory.mktemp("slide") / "made.tiff", tissue_like(1300, 1700), levels=2)


def test_a_network_of_this_process_is_refused_where_others_compute(slide: Path, tmp_path: Path) -> None:
    others = engine.LocalThreads(ChannelNetwork())
    with pytest.raises(InputError, match="`network`: is of this process, and with `scheduler` others compute"):
        segment(slide, make_model(), tmp_path / "m.zarr", SegmentOptions(), network=ChannelNetwork(), scheduler=others)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("stride", "upsampling"), [(8, "nearest"), (4, "bilinear")])
@settings(max_examples=8)
@given(
    region_size=st.sampled_from([512, 1024, 2048]),
    batch_size=st.integers(1, 40),
    workers=st.integers(1, 4),
    band_rows=st.integers(1, 20),
    order=st.randoms(use_true_random=False),
    overlap=st.sampled_from([0.0, 0.25, 0.5]),
)
def test_mask_does_not_depend_on_how_the_work_is_divided(
    slide: Path,
    tmp_path_factory: pytest.TempPathFactory,
    stride: int,
    upsampling: str,
    region_size: int,
    batch_size: int,
    workers: int,
    band_rows: int,
    order: object,
    overlap: float,
) -> None:
    model, network = make_model(stride, upsampling), ChannelNetwork(stride)
    opened = open_slide(slide)
    run = SegmentOptions(overlap=overlap, region_size=region_size)
    prepared = prepare(opened, path=slide, model=model, options=run)
    folder = tmp_path_factory.mktemp("divided") / "store"
    store = MaskStore(LocalFolder(folder), MaskLayout(prepared.metadata(model, run), region_size, {}))
    folder.mkdir()
    predictor = RegionPredictor(
        source=PixelSource(opened, prepared.frame),
        lattice=prepared.lattice,
        tissue=prepared.tissue,
        network=network,
        card=model.card,
        batch_size=batch_size,
        band_rows=band_rows,
    )
    regions = list(prepared.plan.regions)
    order.shuffle(regions)  # type: ignore[attr-defined]
    done: list[FinishedRegion] = []
    records = LineRecords(folder.parent)
    run_tasks(
        RegionTask(predictor, RegionWriter(store, records, "")),
        regions,
        workers=workers,
        done=done.append,
        stop=threading.Event(),
    )
    records.close()
    LocalFolder(folder).put(store.finish(done, {}, lambda blocks, total: None))
    assert len(done) == len(regions)

    whole_predictor = RegionPredictor(
        source=PixelSource(opened, prepared.frame),
        lattice=prepared.lattice,
        tissue=prepared.tissue,
        network=network,
        card=model.card,
        batch_size=16,
        band_rows=1000,
    )
    whole = whole_predictor.predict(prepared.frame.box).class_ids()
    opened.close()
    np.testing.assert_array_equal(class_map(folder), whole)
    assert (
        np.sum([region.pixels for region in done], axis=0).tolist() == np.bincount(whole.ravel(), minlength=4).tolist()
    )


def test_tiled_equals_a_direct_computation_of_the_whole_array(slide: Path, tmp_path: Path) -> None:
    network = ChannelNetwork()
    segment(slide, make_model(), tmp_path / "m.zarr", SegmentOptions(overlap=0.5, tissue="none"), network=network)
    pixels = np.full((1300 + 256, 1700 + 256, 3), 255, np.uint8)
    pixels[:1300, :1700] = tissue_like(1300, 1700)
    profile = np.sin(np.pi * (np.arange(16) + 0.5) / 16) ** 2
    sums, weights = np.zeros((3, 1556 // 8 + 1, 1956 // 8 + 1)), np.zeros((1556 // 8 + 1, 1956 // 8 + 1))
    for y in range(0, 1300 - 64, 64):
        for x in range(0, 1700 - 64, 64):
            logits = network(pixels[None, y : y + 128, x : x + 128])[0].astype(np.float64)
            e = np.exp(logits)
            cells = np.s_[y // 8 : y // 8 + 16, x // 8 : x // 8 + 16]
            sums[:, *cells] += e / e.sum(axis=0) * np.outer(profile, profile)
            weights[cells] += np.outer(profile, profile)
    average = sums / np.maximum(weights, 1e-30)
    expected = (average.argmax(axis=0) + 1).repeat(8, axis=0).repeat(8, axis=1)[:1300, :1700]
    margin = np.sort(average, axis=0)
    tie = (margin[-1] - margin[-2] < 1e-6).repeat(8, axis=0).repeat(8, axis=1)[:1300, :1700]
    found = class_map(tmp_path / "m.zarr")
    np.testing.assert_array_equal(found[~tie], expected[~tie])
    assert tie.mean() < 0.01 + (pixels[:1300, :1700] == 255).all(axis=2).mean()  # equal channels are glass


def test_the_same_point_is_the_same_tissue_at_every_level(tmp_path: Path) -> None:
    pixels = np.full((2400, 3000, 3), 255, np.uint8)
    places = {1: (500, 700, (220, 40, 60)), 2: (1500, 400, (150, 160, 40)), 3: (1000, 2300, (60, 40, 220))}
    for y, x, colour in places.values():
        pixels[y - 200 : y + 200, x - 200 : x + 200] = colour
    slide = write_slide(tmp_path / "known.tiff", pixels, mpp=0.5, levels=3)
    segment(slide, make_model(mpp=1.0), tmp_path / "m.zarr", SegmentOptions(), network=ChannelNetwork())
    metadata = json.loads((tmp_path / "m.zarr" / "labels" / "segmentation" / "zarr.json").read_text())
    datasets = metadata["attributes"]["ome"]["multiscales"][0]["datasets"]
    assert len(datasets) == 3
    for dataset in datasets:
        ids = class_map(tmp_path / "m.zarr", int(dataset["path"]))
        scale, translation = (t[t["type"]] for t in dataset["coordinateTransformations"])
        # the physical extent is the slide's to one mask pixel
        np.testing.assert_allclose(np.array(ids.shape) * scale, [1200, 1500], atol=scale[0])
        for class_id, (y, x, _) in places.items():
            for dy, dx in [(0, 0), (-150, 150), (180, -180)]:
                centre = np.array([(y + dy) * 0.5, (x + dx) * 0.5])
                row, column = np.rint((centre - translation) / scale).astype(int)
                assert ids[row, column] == class_id
    assert set(np.unique(class_map(tmp_path / "m.zarr"))) >= {0, 1, 2, 3}


def test_a_lossless_copy_in_another_format_gives_the_same_mask(slides: Path, tmp_path: Path) -> None:
    original = slides / "CMU-1-Small-Region.svs"
    opened = open_slide(original)
    copy = write_slide(tmp_path / "copy.tiff", opened.read(0, Box(0, 0, 2220, 2967)), mpp=0.499)
    opened.close()
    for name, path in [("a", original), ("b", copy)]:
        segment(path, make_model(), tmp_path / f"{name}.zarr", SegmentOptions(mpp=0.499), network=ChannelNetwork())
    np.testing.assert_array_equal(class_map(tmp_path / "a.zarr"), class_map(tmp_path / "b.zarr"))


class Breaking(ChannelNetwork):
    """Fails after some windows."""

    def __init__(self, after: int, error: Exception) -> None:
        super().__init__()
        self._after, self._error = after, error

    def __call__(self, windows: np.ndarray) -> np.ndarray:
        if self.windows >= self._after:
            raise self._error
        return super().__call__(windows)


def test_a_run_that_broke_continues_and_ends_with_the_same_store(slide: Path, tmp_path: Path) -> None:
    run = SegmentOptions(region_size=512, workers=1)
    undisturbed = ChannelNetwork()
    segment(slide, make_model(), tmp_path / "a.zarr", run, network=undisturbed)
    out = tmp_path / "b.zarr"
    for after in (40, 80):
        with pytest.raises(RuntimeError, match="broken"):
            segment(slide, make_model(), out, run, network=Breaking(after, RuntimeError("broken")))
        assert not out.exists()
        assert (tmp_path / "b.zarr.partial").exists()
    (growing,) = (tmp_path / "b.zarr.partial").glob("store-*")
    (growing / "left.partial").write_text("torn")
    resumed = ChannelNetwork()
    summary = segment(slide, make_model(), out, run, network=resumed)
    assert summary.regions_kept > 0
    assert 0 < resumed.windows < undisturbed.windows
    assert files_of(out) == files_of(tmp_path / "a.zarr")
    assert not (tmp_path / "b.zarr.partial").exists()


def test_a_begun_run_with_other_parameters_is_refused(slide: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.zarr"
    with pytest.raises(RuntimeError):
        segment(slide, make_model(), out, SegmentOptions(region_size=512), network=Breaking(60, RuntimeError("broken")))
    with pytest.raises(OutputError, match=r"parameters.overlap = 0.25, this run has 0.5"):
        segment(slide, make_model(), out, SegmentOptions(region_size=512, overlap=0.5), network=ChannelNetwork())
    run = SegmentOptions(region_size=512, overlap=0.5, overwrite=True)
    segment(slide, make_model(), out, run, network=ChannelNetwork())
    assert out.exists()


def test_a_begun_run_keeps_its_regions_though_less_memory_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slide, out = write_slide(tmp_path / "s.tiff", tissue_like(3100, 3100), compression=None), tmp_path / "m.zarr"
    run = SegmentOptions(workers=1, tissue="none", memory_limit=8 << 30)
    with pytest.raises(RuntimeError):
        segment(slide, make_model(), out, run, network=Breaking(600, RuntimeError("broken")))
    size = json.loads((tmp_path / "m.zarr.partial" / "ledger.jsonl").read_text().split(" ", 1)[1].splitlines()[0])[
        "parameters.region_size"
    ]
    monkeypatch.setattr("wsi_segment.inference.engine.memory.region_size_for", lambda width, height, sizes: size // 2)
    summary = segment(slide, make_model(), out, run, network=ChannelNetwork())
    assert summary.regions_kept > 0
    assert summary.provenance["parameters"]["region_size"] == size


def test_a_mask_that_appears_meanwhile_keeps_its_summary(slide: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.zarr"

    class Appearing(ChannelNetwork):
        def __call__(self, windows: np.ndarray) -> np.ndarray:
            out.mkdir(exist_ok=True)
            return super().__call__(windows)

    with pytest.raises(OutputError, match="already exists"):
        segment(slide, make_model(), out, SegmentOptions(), network=Appearing())
    assert not (tmp_path / "m.summary.json").exists()


@pytest.mark.parametrize("name", ["", ".", "/"])
def test_an_output_needs_a_name(slide: Path, name: str) -> None:
    with pytest.raises(OutputError, match=r"give `out` as NAME.zarr"):
        segment(slide, make_model(), Path(name), SegmentOptions(), network=ChannelNetwork())


def test_an_existing_output_is_kept_unless_told(slide: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.zarr"
    segment(slide, make_model(), out, SegmentOptions(), network=ChannelNetwork())
    before = files_of(out)
    with pytest.raises(OutputError, match=r"already exists.*`overwrite`"):
        segment(slide, make_model(), out, SegmentOptions(), network=ChannelNetwork())
    assert files_of(out) == before
    segment(slide, make_model(), out, SegmentOptions(overlap=0.0, overwrite=True), network=ChannelNetwork())
    assert files_of(out) != before
    assert not out.with_name("m.zarr.partial").exists()


def test_an_overwriting_run_that_fails_keeps_the_old_mask(slide: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.zarr"
    segment(slide, make_model(), out, SegmentOptions(), network=ChannelNetwork())
    before = files_of(out)
    with pytest.raises(RuntimeError):
        segment(slide, make_model(), out, SegmentOptions(overwrite=True), network=Breaking(0, RuntimeError("broken")))
    assert files_of(out) == before


def test_stopping_keeps_what_is_finished(slide: Path, tmp_path: Path) -> None:
    stop, seen = threading.Event(), []

    def watch(progress: Progress) -> None:
        seen.append(progress)
        if progress.stage == "segment" and progress.done > 60:
            stop.set()

    with pytest.raises(Cancelled):
        segment(
            slide,
            model=make_model(),
            out=tmp_path / "m.zarr",
            options=SegmentOptions(region_size=512),
            report=watch,
            stop=stop,
            network=ChannelNetwork(),
        )
    assert not (tmp_path / "m.zarr").exists()
    assert {progress.stage for progress in seen} == {"tissue", "segment"}


def test_glass_is_neither_read_nor_computed(tmp_path: Path) -> None:
    pixels = np.full((2048, 2048, 3), 245, np.uint8)
    pixels[100:400, 100:400] = (200, 60, 90)
    slide = write_slide(tmp_path / "s.tiff", pixels)
    network = ChannelNetwork()
    summary = segment(slide, make_model(), tmp_path / "m.zarr", SegmentOptions(), network=network)
    assert network.windows <= 36
    ids = class_map(tmp_path / "m.zarr")
    assert (ids[120:380, 120:380] == 1).all()
    assert (ids[600:] == 0).all()
    assert summary.tissue_mm2 == pytest.approx(0.09, rel=0.35)
    assert (summary.regions, summary.regions_skipped) == (16, 15)


def test_a_slide_without_tissue_ends_with_an_empty_mask_and_a_warning(tmp_path: Path) -> None:
    slide = write_slide(tmp_path / "white.tiff", np.full((600, 600, 3), 245, np.uint8))
    summary = segment(slide, make_model(), tmp_path / "m.zarr", SegmentOptions(), network=ChannelNetwork())
    assert summary.warnings[0].code == "no-tissue"
    assert "no tissue" in summary.warnings[0].message
    assert not class_map(tmp_path / "m.zarr").any()


def test_a_doubt_is_in_summary_and_provenance_alike(tmp_path: Path) -> None:
    slide = write_slide(tmp_path / "white.tiff", np.full((600, 600, 3), 245, np.uint8))
    summary = segment(slide, make_model(), tmp_path / "m.zarr", SegmentOptions(), network=ChannelNetwork())
    listed = json.loads((tmp_path / "m.summary.json").read_text())["warnings"]
    assert [entry["code"] for entry in listed] == ["no-tissue"]
    assert listed == summary.provenance["warnings"]
    assert zarr.open_group(tmp_path / "m.zarr", mode="r").attrs["wsi_segment"]["warnings"] == listed  # type: ignore[index, call-overload]


def test_strict_refuses_a_slide_without_tissue_before_its_network_runs(tmp_path: Path) -> None:
    slide = write_slide(tmp_path / "white.tiff", np.full((600, 600, 3), 245, np.uint8))
    network = ChannelNetwork()
    with pytest.raises(InputError, match=r"white\.tiff: no tissue was found.*`strict`"):
        segment(slide, make_model(), tmp_path / "m.zarr", SegmentOptions(strict=True), network=network)
    assert network.windows == 0
    assert not (tmp_path / "m.zarr").exists()


def test_strict_refuses_what_a_reader_doubts_before_pixels_are_read(tmp_path: Path) -> None:
    class Doubted(ImageSlide):
        doubts: tuple[Doubt, ...] = (Doubt("images-left-out", "image 1, the largest, is the slide"),)

        def read(self, level: int, l_box: Box) -> np.ndarray:
            raise AssertionError("read")

    with pytest.raises(InputError, match="image 1, the largest"):
        prepare(
            Doubted(tissue_like(300, 300)),
            path=tmp_path,
            model=make_model(),
            options=SegmentOptions(strict=True, mpp=1.0),
        )


def test_a_pixel_size_that_the_user_gives_leaves_no_doubt_about_the_stated_ones(tmp_path: Path) -> None:
    class Doubted(ImageSlide):
        doubts: tuple[Doubt, ...] = (Doubt("pixel-size-differs", "two tags say 0.25 and 0.5 µm per pixel"),)

    Image.fromarray(tissue_like(300, 300)).save(tmp_path / "s.png")
    prepared = prepare(
        Doubted(tissue_like(300, 300)),
        path=tmp_path / "s.png",
        model=make_model(),
        options=SegmentOptions(strict=True, mpp=1.0),
    )
    assert prepared.doubts == ()
    assert prepared.size.mpp == 1.0


def test_store_holds_neither_path_nor_name_nor_time(slide: Path, tmp_path: Path) -> None:
    for folder in ("x", "y"):
        segment(slide, make_model(), tmp_path / folder / "m.zarr", SegmentOptions(), network=ChannelNetwork())
    assert files_of(tmp_path / "x" / "m.zarr") == files_of(tmp_path / "y" / "m.zarr")
    assert not [name for name, content in files_of(tmp_path / "x" / "m.zarr").items() if b"made.tiff" in content]
    assert (tmp_path / "x" / "m.summary.json").exists()
    assert (tmp_path / "x" / "m.summary.csv").read_text().startswith("slide,class_id,class,")


def test_memory_that_cannot_suffice_is_refused_with_the_numbers(slide: Path, tmp_path: Path) -> None:
    from wsi_segment.errors import InputError

    with pytest.raises(InputError, match=r"takes about \d+ MiB, 100 MiB are allowed.*`memory_limit`"):
        segment(
            slide, make_model(), tmp_path / "m.zarr", SegmentOptions(memory_limit=100 << 20), network=ChannelNetwork()
        )
    assert list(tmp_path.iterdir()) == []


def test_first_failing_region_stops_the_others() -> None:
    regions = [Region(0, column, Box(0, 0, 1, 1), 1) for column in range(50)]
    begun: list[int] = []

    def task(region: Region) -> FinishedRegion:
        begun.append(region.column)
        if region.column == 3:
            raise ValueError("region 3")
        return FinishedRegion(region.key, (1,), 1, "")

    stop = threading.Event()
    with pytest.raises(ValueError, match="region 3"):
        run_tasks(task, regions, workers=2, done=lambda finished: None, stop=stop)
    assert stop.is_set()
    assert len(begun) < 50


def test_regions_are_begun_in_their_order() -> None:
    regions = [Region(0, column, Box(0, 0, 1, 1), 1) for column in range(120)]
    begun: list[int] = []

    def task(region: Region) -> FinishedRegion:
        begun.append(region.column)
        return FinishedRegion(region.key, (1,), 1, "")

    run_tasks(task, regions, workers=1, done=lambda finished: None, stop=threading.Event())
    assert begun == list(range(120))


def test_the_fullest_regions_come_first(tmp_path: Path) -> None:
    pixels = np.full((1536, 1536, 3), 245, np.uint8)
    pixels[1024:, 1024:] = pixels[1100:1200, 100:600] = (200, 60, 90)
    slide = write_slide(tmp_path / "s.tiff", pixels)
    run = SegmentOptions(region_size=512, workers=1, overlap=0.0)
    out = tmp_path / "m.zarr"
    with pytest.raises(RuntimeError):
        segment(slide, make_model(), out, run, network=Breaking(16, RuntimeError("broken")))
    lines = (tmp_path / "m.zarr.partial" / "ledger.jsonl").read_text().splitlines()
    assert [json.loads(line.split(" ", 1)[1])["key"] for line in lines[1:]] == ["2,2"]


def test_two_runs_never_write_the_same_output(slide: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.zarr"
    said: list[object] = []

    class Meanwhile(ChannelNetwork):
        """Starts a second run while the first one predicts."""

        def __call__(self, windows: np.ndarray) -> np.ndarray:
            if not said:
                with pytest.raises(OutputError, match="another run is writing it") as error:
                    segment(slide, make_model(), out, SegmentOptions(), network=ChannelNetwork())
                said.append(error)
            return super().__call__(windows)

    segment(slide, make_model(), out, SegmentOptions(workers=1), network=Meanwhile())
    assert said
    assert out.exists()


def test_a_mask_that_appeared_meanwhile_is_not_replaced(slide: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.zarr"

    class Meanwhile(ChannelNetwork):
        """Somebody else puts a folder under the final name."""

        def __call__(self, windows: np.ndarray) -> np.ndarray:
            out.mkdir(exist_ok=True)
            (out / "precious").touch()
            return super().__call__(windows)

    with pytest.raises(OutputError, match="already exists"):
        segment(slide, make_model(), out, SegmentOptions(), network=Meanwhile())
    assert (out / "precious").exists()


def test_overwriting_replaces_masks_only(slide: Path, tmp_path: Path) -> None:
    out = tmp_path / "photos"
    out.mkdir()
    (out / "holiday.jpg").touch()
    with pytest.raises(OutputError, match="is not a mask of wsi-segment"):
        segment(slide, make_model(), out, SegmentOptions(overwrite=True), network=ChannelNetwork())
    assert (out / "holiday.jpg").exists()


def test_an_output_beside_the_slide_with_its_name_can_be_continued(tmp_path: Path) -> None:
    slide = write_slide(tmp_path / "s.tiff", tissue_like(1300, 1700))
    out = tmp_path / "s" / "s.zarr"
    run = SegmentOptions(workers=1)  # with more, all regions may be cut off before one is finished
    with pytest.raises(RuntimeError):
        segment(slide, make_model(), out, run, network=Breaking(80, RuntimeError("broken")))
    assert segment(slide, make_model(), out, run, network=ChannelNetwork()).regions_kept > 0


def test_another_card_is_another_run(slide: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.zarr"
    with pytest.raises(RuntimeError):
        segment(slide, make_model(), out, SegmentOptions(), network=Breaking(60, RuntimeError("broken")))
    with pytest.raises(OutputError, match=r"mask.classes|model.card"):
        segment(slide, make_model(8, "bilinear"), out, SegmentOptions(), network=ChannelNetwork())


def test_a_small_memory_limit_makes_regions_smaller(tmp_path: Path) -> None:
    large = MaskFrame(s_x0=0, s_y0=0, downsample=1.0, width=100_000, height=80_000, level=0, l_x0=0, l_y0=0, ratio=1.0)
    lattice, card = Lattice(100_000, 80_000, 128, 96), make_model().card
    roomy = make_budget(large, lattice, card, SegmentOptions(workers=8, memory_limit=64 << 30))
    assert (roomy.region_size, roomy.workers) == (4096, 8)
    tight = make_budget(large, lattice, card, SegmentOptions(workers=8, memory_limit=roomy.peak_bytes - (200 << 20)))
    assert tight.region_size < 4096
    assert tight.workers == 8
    assert tight.peak_bytes <= roomy.peak_bytes - (200 << 20)
    least = make_budget(large, lattice, card, SegmentOptions(workers=8, memory_limit=800 << 20))
    assert 1 <= least.workers < 8
    assert least.peak_bytes <= 800 << 20


@pytest.mark.parametrize("ratio", [1.0, 1.4, 2.0, 4.0])
def test_a_worker_stays_within_what_was_planned(tmp_path: Path, ratio: float) -> None:
    pixels = tissue_like(int(1400 * ratio), int(1400 * ratio))
    path = write_slide(tmp_path / "s.tiff", pixels, mpp=1.0 / ratio)
    model, network = make_model(4, "bilinear"), ChannelNetwork(4)
    run = SegmentOptions(region_size=1024, tissue="none", batch_size=4, workers=1, probabilities=True)
    slide = open_slide(path)
    prepared = prepare(slide, path=path, model=model, options=run)
    store = MaskStore(LocalFolder(tmp_path / "m"), MaskLayout(prepared.metadata(model, run), 1024, {}))
    records = LineRecords(tmp_path)
    task = RegionTask(
        RegionPredictor(
            source=PixelSource(slide, prepared.frame),
            lattice=prepared.lattice,
            tissue=prepared.tissue,
            network=network,
            card=model.card,
            batch_size=4,
            band_rows=prepared.plan.budget.band_rows,
        ),
        RegionWriter(store, records, ""),
    )
    tracemalloc.start()
    task(prepared.plan.regions[0])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    slide.close()
    records.close()
    assert peak <= prepared.plan.budget.bytes_per_worker


def test_slides_done_one_after_the_other_do_not_pile_up_their_networks(slide: Path, tmp_path: Path) -> None:
    def alive() -> int:
        return sum(type(one) is OnnxNetwork for one in gc.get_objects())  # isinstance asks objects, and wakes some up

    model = write_model(tmp_path / "model")
    gc.collect()
    before = alive()
    gc.disable()  # as if no collection came by chance
    try:
        for number in range(3):
            segment(slide, model, tmp_path / f"{number}.zarr", SegmentOptions())
        after = alive()
    finally:
        gc.enable()
    assert after - before <= 1


def test_run_is_a_value() -> None:
    assert replace(SegmentOptions(), overlap=0.5) == SegmentOptions(overlap=0.5)


def test_the_bounds_of_a_cropped_slide_are_in_every_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scanned = Box(1008, 504, 1808, 1104)  # on whole output cells, so that edges are exact
    pixels = np.full((1300, 2000, 3), 255, np.uint8)
    pixels[504:1104, 1008:1808] = (90, 200, 90)
    pixels[600:728, 1200:1328] = (200, 90, 90)
    cropped = ImageSlide(pixels, PixelSize(1.0, 1.0, "made"))
    cropped.bounds = scanned
    monkeypatch.setattr(engine, "open_slide", lambda path, image, known, keep_tiles: cropped)
    path = tmp_path / "s.png"
    path.write_bytes(b"for the fingerprint")
    out, seen = tmp_path / "m.zarr", tmp_path / "p.png"

    def picture(slide: Slide, store: Mask, summary: Summary) -> None:
        write_preview(seen, slide, slide_mpp=summary.mpp, store=store, card=make_model().card, areas=summary.classes)

    run = SegmentOptions(tissue="none", overlap=0.0)
    segment(path, make_model(), out, run, network=ChannelNetwork(), before_publishing=picture)
    ids = class_map(out)
    assert ids.shape == (600, 800)
    assert np.argwhere(ids == 1).min(axis=0).tolist() == [96, 192]  # 600 - 504, 1200 - 1008
    label: Any = zarr.open_group(out / "labels" / "segmentation", mode="r").attrs["ome"]
    transforms = label["multiscales"][0]["datasets"][0]["coordinateTransformations"]
    assert transforms[1]["translation"] == [504.0, 1008.0]  # level 0 of the whole slide
    write_geojson(tmp_path / "m.geojson", out, simplify_um=0.0)
    features = json.loads((tmp_path / "m.geojson").read_text())["features"]
    red = np.array(next(one for one in features if one["properties"]["name"] == "red")["geometry"]["coordinates"][0])
    assert red.min(axis=0).tolist() == [192, 96]  # from the corner of the bounds, as QuPath counts
    with Image.open(seen) as drawn:
        shown = np.asarray(drawn.convert("RGB"))[:600, :800].astype(int)
    reddish = np.argwhere(shown[..., 0] - shown[..., 1] > 60)
    assert reddish.min(axis=0) == pytest.approx([96, 192], abs=2)
    square = {"type": "Polygon", "coordinates": [[[0, 0], [128, 0], [128, 128], [0, 128], [0, 0]]]}
    (tmp_path / "t.geojson").write_text(json.dumps(square))
    outlined = SegmentOptions(tissue=tmp_path / "t.geojson", overlap=0.0)
    segment(path, make_model(), tmp_path / "n.zarr", outlined, network=ChannelNetwork())
    inside = class_map(tmp_path / "n.zarr")
    assert inside[:128, :128].all()
    assert not inside[150:].any()


def test_outlines_that_go_away_while_tissue_is_looked_for_are_said(slide: Path, tmp_path: Path) -> None:
    outlines = tmp_path / "t.geojson"
    corners = [[0, 0], [1700, 0], [1700, 1300], [0, 0]]
    outlines.write_text(json.dumps({"type": "Polygon", "coordinates": [corners]}))

    def remove(progress: Progress) -> None:
        if progress.stage == "tissue":  # which is looked for to compare the outlines with, once they were read
            outlines.unlink(missing_ok=True)

    with pytest.raises(InputError, match=r"^`tissue` .*t\.geojson: cannot be read: No such file or directory; give"):
        segment(
            slide,
            make_model(),
            tmp_path / "m.zarr",
            SegmentOptions(tissue=outlines),
            network=ChannelNetwork(),
            report=remove,
        )
    assert not (tmp_path / "m.zarr").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="what is open is not replaced there")
@pytest.mark.parametrize("by_rename", [False, True])
@pytest.mark.parametrize("stage", ["tissue", "segment"])
def test_a_slide_that_is_replaced_while_it_is_read_gives_no_mask(tmp_path: Path, stage: str, by_rename: bool) -> None:
    """Its mask would be of two slides, also after a rename, where a reader opens files again."""
    path, other = tmp_path / "s.tiff", tmp_path / "other.tiff"
    for file, seed in ((path, 0), (other, 1)):  # laid out alike, so that nothing fails to decode
        write_slide(file, tissue_like(1300, 1700, seed=seed), compression=None)
    model, options = write_model(tmp_path / "model"), SegmentOptions(region_size=512, workers=1)

    def replace_it(told: Progress) -> None:
        if told.stage == stage and told.done and other.exists():
            if not by_rename:
                path.write_bytes(other.read_bytes())
                other.unlink()
            else:
                other.replace(path)

    with pytest.raises(InputError, match=r"s\.tiff: was replaced or written to .* segment it again$"):
        segment(path, model, tmp_path / "m.zarr", options, report=replace_it)
    assert not (tmp_path / "m.zarr").exists()
    segment(path, model, tmp_path / "m.zarr", options)
    segment(path, model, tmp_path / "undisturbed.zarr", options)
    assert files_of(tmp_path / "m.zarr") == files_of(tmp_path / "undisturbed.zarr")


@pytest.mark.skipif(sys.platform == "win32", reason="what is open is not written to there")
def test_a_slide_that_is_written_to_beside_what_its_fingerprint_samples_gives_no_mask(tmp_path: Path) -> None:
    """And no later run goes on with the regions of before, though it is the same run by its fingerprint."""
    path = write_slide(tmp_path / "s.tiff", tissue_like(1300, 1700), compression=None)
    model, options = write_model(tmp_path / "model"), SegmentOptions(region_size=512, workers=1)
    before, fingerprint = path.stat(), slide_fingerprint([path])

    def write_to_it(told: Progress) -> None:
        if told.stage == "segment" and told.done:
            with path.open("r+b") as file:
                file.seek(100_000)
                file.write(bytes(200_000))
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 10**9))  # whatever clock the disk has

    with pytest.raises(InputError, match=r"s\.tiff: was replaced or written to .* segment it again$"):
        segment(path, model, tmp_path / "m.zarr", options, report=write_to_it)
    assert slide_fingerprint([path]) == fingerprint
    assert not (tmp_path / "m.zarr").exists()
    segment(path, model, tmp_path / "m.zarr", options)
    segment(path, model, tmp_path / "undisturbed.zarr", options)
    assert files_of(tmp_path / "m.zarr") == files_of(tmp_path / "undisturbed.zarr")


def test_a_run_goes_on_where_its_slide_has_another_time_meanwhile(tmp_path: Path) -> None:
    """As a copy has."""
    path = write_slide(tmp_path / "s.tiff", tissue_like(1300, 1700))
    options, stop = SegmentOptions(region_size=512, workers=1), threading.Event()

    def stop_it(told: Progress) -> None:
        if told.stage == "segment" and told.done:
            stop.set()

    with pytest.raises(Cancelled):
        segment(path, make_model(), tmp_path / "m.zarr", options, report=stop_it, stop=stop, network=ChannelNetwork())
    os.utime(path, (1, 1))
    segment(path, make_model(), tmp_path / "m.zarr", options, network=ChannelNetwork())
    assert (tmp_path / "m.zarr").exists()
