from __future__ import annotations

import contextlib
import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from synthetic import SLIDES, ChannelNetwork, files_of, tissue_like, write_model, write_slide
from wsi_segment.errors import Cancelled, InputError, RunError
from wsi_segment.inference.engine.applicability import slide_likeness
from wsi_segment.inference.engine.applicability.slide_likeness import SQUARE, Applicability, FieldSurvey
from wsi_segment.inference.engine.options import SegmentOptions
from wsi_segment.inference.engine.segment import segment
from wsi_segment.inference.engine.tissue import TissueMask
from wsi_segment.inference.grid.box import Box
from wsi_segment.inference.mask.mask import Mask
from wsi_segment.inference.mask.preview import write_preview
from wsi_segment.inference.slides import open as opening
from wsi_segment.inference.slides.frame import mask_frame
from wsi_segment.inference.slides.open import open_slide
from wsi_segment.inference.slides.pixels import PixelSource
from wsi_segment.inference.slides.readers.image import ImageSlide
from wsi_segment.inference.slides.readers.segments import PageReader
from wsi_segment.model.card import DEFAULT_MODEL, Model, find_model, write_card
from wsi_segment.model.likeness import FIELD, describe, fit_profile

CELL = 16


def pale(pixels: NDArray[np.uint8], factor: float = 0.4) -> NDArray[np.uint8]:
    return np.clip(256 * ((pixels.astype(float) + 1) / 256) ** factor - 1, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def applicability() -> dict[str, Any]:
    """A profile of made tissue."""
    found = []
    for seed in range(14):
        pixels = tissue_like(800, 800, seed)
        found += [describe(pixels[y : y + FIELD, x : x + FIELD]) for y in (160, 400) for x in (160, 400)]
    known = [features for features in found if features is not None]
    return fit_profile(known[::2], known[1::2], "made").model_dump(mode="json")


@pytest.fixture
def model(tmp_path: Path, applicability: dict[str, Any]) -> Model:
    made = write_model(tmp_path / "model")
    card = made.card.model_copy(update={"applicability": applicability})
    write_card(card, made.folder)
    return Model(made.folder, card)


def looked_at(model: Model, pixels: NDArray[np.uint8], cells: NDArray[np.bool_] | None = None) -> Applicability:
    slide = ImageSlide(pixels)
    shape = -(-pixels.shape[0] // CELL), -(-pixels.shape[1] // CELL)
    tissue = TissueMask.of(np.ones(shape, bool) if cells is None else cells, CELL)
    source = PixelSource(slide, mask_frame(slide, 1.0, 1.0))
    found = FieldSurvey(source, tissue, model.card, mpp=1.0, stop=threading.Event()).finish()
    assert found is not None
    return found


def test_a_slide_like_the_training_images_raises_no_doubt(model: Model) -> None:
    found = looked_at(model, tissue_like(1400, 1500, 77))
    assert len(found.fields) == 9
    assert found.doubts() == ()


def test_a_pale_slide_is_told_with_its_strength(model: Model) -> None:
    ((doubt),) = looked_at(model, pale(tissue_like(1400, 1500, 77))).doubts()
    assert doubt.code == "unlike-training-data"
    assert "staining 0.4" in doubt.message


def test_fields_lie_in_the_tissue_of_their_square(model: Model) -> None:
    cells = np.zeros((96, 96), bool)
    cells[2:6, 50:60] = True
    (field,) = looked_at(model, tissue_like(1536, 1536, 5), cells).fields
    assert field.m_box.x0 // SQUARE == 1
    assert field.m_box.intersect(field.m_box.grown(0)).width == FIELD
    assert field.m_box.x0 <= 50 * CELL
    assert field.m_box.x1 >= 60 * CELL


def test_places_and_figures_are_recorded_for_each_square(model: Model) -> None:
    pixels = tissue_like(2048, 2048, 9)[512:1536, 512:1536].copy()
    pixels[:, 512:] = pale(pixels[:, 512:])
    record = looked_at(model, pixels).as_dict(downsample=2.0)
    by_place = {(square["x"], square["y"]): square["unlike"] for square in record["regions"]}
    assert by_place == {(0, 0): False, (1024, 0): True, (0, 1024): False, (1024, 1024): True}
    assert (record["unlike"], record["fields"], record["unlike_fields"]) == (False, 4, 2)
    json.dumps(record, allow_nan=False)


def test_large_slides_are_looked_at_in_so_many_places_only(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slide_likeness, "MOST_FIELDS", 24)
    slide = ImageSlide(np.zeros((64, 64, 3), np.uint8))
    frame = mask_frame(slide, 1.0, 1.0)

    class Far(PixelSource):
        def read(self, m_box: Any) -> NDArray[np.uint8]:
            return tissue_like(FIELD, FIELD, 1)

    source = Far(slide, frame)
    object.__setattr__(frame, "width", 40_000)
    object.__setattr__(frame, "height", 40_000)
    tissue = TissueMask.of(np.ones((2500, 2500), bool), CELL)
    found = FieldSurvey(source, tissue, model.card, mpp=1.0, stop=threading.Event()).finish()
    assert found is not None
    assert len(found.fields) == 24
    assert len({field.m_box.y0 // SQUARE for field in found.fields}) > 15


def test_pixels_larger_than_those_of_training_are_told(model: Model) -> None:
    slide = ImageSlide(tissue_like(600, 600, 3))
    source, tissue = PixelSource(slide, mask_frame(slide, 1.4, 1.0)), TissueMask.of(np.ones((53, 53), bool), CELL)
    found = FieldSurvey(source, tissue, model.card, mpp=1.4, stop=threading.Event()).finish()
    assert found is not None
    assert "pixels of 1.4 µm, where it learnt from 1 µm" in found.doubts()[0].message


def test_a_card_without_a_profile_says_nothing_and_a_stop_ends_it(model: Model) -> None:
    slide = ImageSlide(tissue_like(600, 600, 3))
    source, tissue = PixelSource(slide, mask_frame(slide, 1.0, 1.0)), TissueMask.of(np.ones((38, 38), bool), CELL)
    plain = model.card.model_copy(update={"applicability": None})
    assert FieldSurvey(source, tissue, plain, mpp=1.0, stop=threading.Event()).finish() is None
    stop = threading.Event()
    stop.set()
    with pytest.raises(Cancelled):
        FieldSurvey(source, tissue, model.card, mpp=1.0, stop=stop).finish()


def test_summary_mask_and_preview_say_it_and_strict_refuses_it(tmp_path: Path, model: Model) -> None:
    path = write_slide(tmp_path / "pale.tiff", pale(tissue_like(900, 900, 4), 0.5))
    out = tmp_path / "m.zarr"
    summary = segment(path, model, out, SegmentOptions(workers=1))
    assert [doubt.code for doubt in summary.warnings] == ["unlike-training-data"]
    mask = Mask.open(out)
    assert mask.provenance["applicability"]["unlike"] is True
    assert mask.provenance["warnings"][0]["code"] == "unlike-training-data"
    with contextlib.closing(open_slide(path)) as slide:
        write_preview(tmp_path / "p.png", slide, 1.0, store=out, card=model.card, areas=summary.classes)
    with Image.open(tmp_path / "p.png") as picture:
        legend = np.asarray(picture.convert("RGB"))[:, 900:]
    assert ((legend[..., 0] > 150) & (legend[..., 1] < 60)).sum() > 200  # red words
    network = ChannelNetwork()
    with pytest.raises(InputError, match=r"unlike what this model knows.*strict"):
        segment(path, model, tmp_path / "n.zarr", SegmentOptions(workers=1, strict=True), network=network)
    assert network.windows == 0
    assert not (tmp_path / "n.zarr").exists()


def test_fields_are_looked_at_while_the_tiles_of_their_region_are_kept(
    tmp_path: Path, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_slide(tmp_path / "s.tiff", tissue_like(1400, 1500, 77), compression="jpeg")
    monkeypatch.setattr(opening, "CACHE_BYTES", 5 * 5 * 256 * 256 * 3)  # of a region with the margins of its windows
    decoded, decode = list[int](), PageReader.decoded

    def count(reader: PageReader, index: int) -> NDArray[np.uint8] | None:
        decoded.append(index)
        return decode(reader, index)

    monkeypatch.setattr(PageReader, "decoded", count)
    plain, options = (
        model.card.model_copy(update={"applicability": None}),
        SegmentOptions(workers=1, region_size=512, tissue="none"),
    )
    counts = list[int]()
    for card in (plain, model.card):
        decoded.clear()
        segment(path, Model(model.folder, card), tmp_path / f"{len(counts)}.zarr", options)
        counts.append(len(decoded))
    assert counts[0] == counts[1]
    assert Mask.open(tmp_path / "1.zarr").provenance["applicability"]["fields"] == 9


def test_looking_part_by_part_finds_what_looking_at_once_does(model: Model) -> None:
    slide = ImageSlide(tissue_like(1400, 1500, 77))
    source, tissue = PixelSource(slide, mask_frame(slide, 1.0, 1.0)), TissueMask.of(np.ones((88, 94), bool), CELL)
    survey = FieldSurvey(source, tissue, model.card, mpp=1.0, stop=threading.Event())
    for m_region in reversed(list(Box(0, 0, 1500, 1024).tiles(1024))):
        survey.look_within(m_region)
    found, at_once = survey.finish(), looked_at(model, tissue_like(1400, 1500, 77))
    assert found is not None
    assert found.as_dict(1.0) == at_once.as_dict(1.0)


@pytest.mark.parametrize("strict", [False, True])
def test_a_run_that_goes_on_says_what_one_that_was_not_cut_off_says(tmp_path: Path, model: Model, strict: bool) -> None:
    path, out = write_slide(tmp_path / "s.tiff", tissue_like(1400, 1500, 77)), tmp_path / "m.zarr"
    whole = segment(path, model, tmp_path / "whole.zarr", SegmentOptions(region_size=512))

    def cut_off(*finished: object) -> None:
        raise InterruptedError("cut off")

    with pytest.raises(RunError, match="cut off"):
        segment(path, model, out, SegmentOptions(region_size=512), before_publishing=cut_off)
    summary = segment(path, model, out, SegmentOptions(region_size=512, strict=strict))
    assert summary.regions_kept == summary.regions == 9
    assert summary.provenance == whole.provenance
    assert files_of(out) == files_of(tmp_path / "whole.zarr")


@pytest.mark.skipif(not SLIDES.is_dir(), reason="real slides are not at hand")
def test_the_bundled_model_does_not_know_skin() -> None:
    card = find_model(DEFAULT_MODEL).card
    with contextlib.closing(open_slide(SLIDES / "CMU-1-Small-Region.svs")) as slide:
        frame = mask_frame(slide, 0.499, card.mpp)
        tissue = TissueMask.of(np.ones((-(-frame.height // CELL), -(-frame.width // CELL)), bool), CELL)
        found = FieldSurvey(PixelSource(slide, frame), tissue, card, mpp=0.499, stop=threading.Event()).finish()
    assert found is not None
    assert found.unlike
