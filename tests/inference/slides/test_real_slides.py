"""The bundled model on real slides of three formats."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import ome_zarr_models
import pytest
import yaozarrs
import zarr

from synthetic import SLIDES, class_map
from wsi_segment.errors import SlideError
from wsi_segment.inference.engine.options import SegmentOptions
from wsi_segment.inference.engine.segment import segment
from wsi_segment.inference.slides.open import open_slide
from wsi_segment.model.card import DEFAULT_MODEL, find_model

SVS, JPEG2000, DICOM = "CMU-1-Small-Region.svs", "tcga-cr-7395-01a-01-ts1.svs", "dicom-cmu-1"


@pytest.fixture(scope="module")
def masks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A mask of each slide, made once; the tests ask for the slides first, and skip without them."""
    folder, made = tmp_path_factory.mktemp("masks"), {}
    for name, mpp in ((SVS, None), (JPEG2000, 0.5), (DICOM, None)):
        made[name] = folder / f"{name}.zarr"
        segment(SLIDES / name, find_model(DEFAULT_MODEL), made[name], SegmentOptions(mpp=mpp))
    return made


@pytest.fixture
def real_masks(slides: Path, request: pytest.FixtureRequest) -> dict[str, Path]:
    found: dict[str, Path] = request.getfixturevalue("masks")
    return found


@pytest.mark.parametrize("name", [SVS, JPEG2000, DICOM])
def test_masks_are_valid_and_as_large_as_the_slide(real_masks: dict[str, Path], slides: Path, name: str) -> None:
    store = real_masks[name]
    for group in (store, store / "labels" / "segmentation"):
        yaozarrs.validate_zarr_store(str(group))
        ome_zarr_models.open_ome_zarr(zarr.open_group(group, mode="r"))
    metadata = json.loads((store / "labels" / "segmentation" / "zarr.json").read_text())
    dataset = metadata["attributes"]["ome"]["multiscales"][0]["datasets"][0]
    scale = dataset["coordinateTransformations"][0]["scale"]
    slide = open_slide(slides / name)
    mpp = 0.5 if name == JPEG2000 else 0.499
    extent = np.array([slide.levels[0].height, slide.levels[0].width]) * mpp
    slide.close()
    np.testing.assert_allclose(np.array(class_map(store).shape) * scale, extent, atol=scale[0])


def test_a_recompressed_copy_gives_nearly_the_same_mask(real_masks: dict[str, Path]) -> None:
    original, copy = class_map(real_masks[SVS]), class_map(real_masks[DICOM])
    agreement = (original == copy).mean()
    tissue = (original > 0) | (copy > 0)
    print(f"DICOM against SVS: {agreement:.4%} of all pixels, {(original == copy)[tissue].mean():.4%} of tissue")
    assert agreement >= 0.97


def test_the_real_network_hardly_notices_how_work_is_divided(
    real_masks: dict[str, Path], slides: Path, tmp_path: Path
) -> None:
    run = SegmentOptions(batch_size=5, workers=3, region_size=1024)
    segment(slides / SVS, find_model(DEFAULT_MODEL), tmp_path / "m.zarr", run)
    assert (class_map(tmp_path / "m.zarr") == class_map(real_masks[SVS])).mean() >= 0.9999


@pytest.mark.parametrize("tenths", range(1, 10))
def test_a_truncated_copy_never_becomes_a_mask(slides: Path, tmp_path: Path, tenths: int) -> None:
    content = (slides / SVS).read_bytes()
    path = tmp_path / "cut.svs"
    path.write_bytes(content[: len(content) * tenths // 10])
    with pytest.raises(SlideError, match=r"cut\.svs"):
        segment(path, find_model(DEFAULT_MODEL), tmp_path / "m.zarr", SegmentOptions(mpp=0.499))
    assert not (tmp_path / "m.zarr").exists()
