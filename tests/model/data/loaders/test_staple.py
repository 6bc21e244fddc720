from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from wsi_segment.model.data.loaders.staple import fuse_by_staple


def made_maps(seed: int) -> list[np.ndarray]:
    """Maps of two to six raters, each with errors of their own."""
    rng = np.random.default_rng(seed)
    truth = np.kron(rng.integers(0, 5, (6, 6)), np.ones((8, 8))).astype(np.uint8)
    maps = []
    for _ in range(rng.integers(2, 7)):
        wrong = rng.random(truth.shape) < rng.uniform(0.02, 0.5)
        maps.append(np.where(wrong, rng.integers(0, 5, truth.shape), truth).astype(np.uint8))
    return maps


def test_raters_who_agree_outweigh_one_who_does_not() -> None:
    good = np.repeat(np.array([[1, 2, 3, 4]], np.uint8), 30, axis=0)
    poor = np.roll(good, 1, axis=1)
    assert (fuse_by_staple([good, good, poor]) == good).all()
    assert (fuse_by_staple([poor, good, good]) == good).all()
    assert (fuse_by_staple([good, good]) == good).all()


def test_what_cannot_be_decided_is_unlabelled() -> None:
    first = np.array([[1, 1, 1, 2]], np.uint8)
    assert fuse_by_staple([first, first[:, ::-1]]).tolist() == [[0, 1, 1, 0]]


@pytest.mark.parametrize("seed", range(8))
def test_staple_finds_what_simpleitk_finds(seed: int) -> None:
    sitk: Any = pytest.importorskip("SimpleITK", reason="SimpleITK, of the extra [test], is the reference")
    maps = made_maps(seed)
    assert any((one != other).any() for one, other in pairwise(maps))
    reference = sitk.MultiLabelSTAPLEImageFilter()
    reference.SetLabelForUndecidedPixels(0)
    expected = sitk.GetArrayFromImage(reference.Execute([sitk.GetImageFromArray(one) for one in maps]))
    np.testing.assert_array_equal(fuse_by_staple(maps), expected)
