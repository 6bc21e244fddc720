from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsi_segment.model.data.dataset import Dataset, Item
from wsi_segment.model.data.loaders.manifest import read_dataset
from wsi_segment.model.data.patches import Patch, PatchKind, PatchReader, extract_patches, grid_offsets, patch_classes


def tile(*shares: tuple[int, float]) -> np.ndarray:
    ids = np.concatenate([np.full(round(share * 128 * 128), class_id, np.uint8) for class_id, share in shares])
    return np.resize(ids, (128, 128))


@pytest.mark.parametrize(
    ("mask", "classes"),
    [
        (tile((2, 1.0)), (2,)),
        (tile((2, 0.91), (1, 0.09)), (2,)),
        (tile((2, 0.91), (1, 0.04), (3, 0.05)), (2,)),
        (tile((2, 0.89), (1, 0.11)), (1, 2)),
        (tile((3, 0.5), (1, 0.5)), (1, 3)),
        (tile((3, 0.5), (1, 0.3), (2, 0.2)), ()),
        (tile((0, 1.0)), ()),
        (tile((0, 0.5), (2, 0.5)), ()),
    ],
)
def test_the_90_percent_and_two_class_rule(mask: np.ndarray, classes: tuple[int, ...]) -> None:
    assert patch_classes(mask) == classes


@given(st.integers(128, 2000))
def test_the_grid_covers_an_axis_and_stays_inside(length: int) -> None:
    offsets = grid_offsets(length)
    assert offsets[0] == 0
    assert offsets[-1] + 128 == length
    assert all(b - a <= 128 for a, b in pairwise(offsets))


def test_ebhi_seg_gives_the_known_numbers_of_patches(ebhi_seg: Path) -> None:
    dataset = read_dataset(ebhi_seg)
    counts = Counter(patch.classes for patch in extract_patches(dataset, dataset.split("train")))
    assert sum(n for classes, n in counts.items() if len(classes) == 2) == 4330
    assert counts[(1,)] == 4
    assert sum(n for classes, n in counts.items() if len(classes) == 1 and classes != (1,)) == 326
    assert counts[(6,)] == 282


def test_a_displaced_patch_stays_in_its_image_and_keeps_its_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    item = Item(image=Path("i"), mask=Path("m"), label=1, group="g", split="train")
    dataset = Dataset(name="d", classes=(), mpp=1.0, mpp_source="", items=(item,))
    ids = np.arange(150 * 160, dtype=np.uint8).reshape(150, 160)
    monkeypatch.setattr(Dataset, "read_image", lambda self, item: np.dstack([ids] * 3))
    monkeypatch.setattr(Dataset, "read_mask", lambda self, item: ids)
    reader = PatchReader(dataset)
    patch = Patch(item=item, y=0, x=0, kind=PatchKind.SEGMENTATION, classes=(1, 2))
    pixels, mask = reader.read(patch, 10, 500)
    np.testing.assert_array_equal(mask, ids[10:138, 32:160])
    np.testing.assert_array_equal(pixels[..., 0], mask)
    np.testing.assert_array_equal(reader.read(patch, -5, 0)[1], ids[:128, :128])
