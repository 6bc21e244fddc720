from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthetic import tissue_like
from wsi_segment.errors import InputError
from wsi_segment.inference.evaluation.shifts import SHIFTS, Shift, parse_shift, standard_shifts

PIXELS = tissue_like(96, 128, seed=1)
TRUTH = np.arange(96 * 128, dtype=np.uint32).reshape(96, 128).astype(np.uint8)


def shifted(name: str, amount: float) -> np.ndarray[tuple[int, int, int], np.dtype[np.uint8]]:
    return Shift(name, amount).apply(TRUTH, PIXELS)[1]


@given(st.sampled_from([shift for shift in standard_shifts() if shift.name != "size"]))
def test_what_changes_pixels_alone_leaves_truth_and_size(shift: Shift) -> None:
    truth, pixels = shift.apply(TRUTH, PIXELS)
    assert truth is TRUTH
    assert pixels.shape == PIXELS.shape
    assert (pixels != PIXELS).any()


@pytest.mark.parametrize("factor", [0.4, 0.7, 1.5])
def test_density_multiplies_the_optical_density(factor: float) -> None:
    before, after = (-np.log10((p.astype(float) + 1) / 256) for p in (PIXELS, shifted("density", factor)))
    light = PIXELS < 250  # a grey level is much of the density of what is nearly white
    assert np.abs(after - factor * before)[light & (after < 1)].max() < 0.03


def test_blur_keeps_the_mean_and_is_a_gaussian() -> None:
    point = np.zeros((41, 41, 3), np.uint8)
    point[20, 20] = 255
    soft = Shift("blur", 2.0).apply(TRUTH, point)[1][..., 0].astype(float)
    assert soft.sum() == pytest.approx(255, rel=0.2)  # of rounded values
    assert soft[20, 20] == pytest.approx(255 / (2 * np.pi * 4), abs=1)
    assert shifted("blur", 1.5).mean() == pytest.approx(PIXELS.mean(), abs=0.5)
    assert shifted("blur", 2.0).std() < shifted("blur", 1.0).std() < PIXELS.std()


def test_size_resamples_image_and_mask_alike() -> None:
    halves = np.repeat([[1, 2]], 40, axis=0).repeat(20, axis=1).astype(np.uint8)
    pixels = np.stack([halves * 100] * 3, axis=2)
    for factor in (0.7, 1.5):
        truth, resized = Shift("size", factor).apply(halves, pixels)
        assert truth.shape == resized.shape[:2] == (round(40 * factor), round(40 * factor))
        assert set(np.unique(truth)) == {1, 2}
        assert ((resized[..., 0] > 150) == (truth == 2)).mean() > 0.97


def test_lower_quality_and_less_light_show() -> None:
    errors = [np.abs(shifted("jpeg", quality).astype(int) - PIXELS).mean() for quality in (90, 50, 10)]
    assert errors == sorted(errors)
    assert shifted("brightness", 0.5).mean() == pytest.approx(PIXELS.mean() / 2, abs=1)


def test_a_shift_reads_as_it_is_written() -> None:
    assert parse_shift("density=0.4") == Shift("density", 0.4)
    assert {shift.name for shift in standard_shifts()} == set(SHIFTS)


@pytest.mark.parametrize(
    ("text", "said"),
    [("density", "NAME=AMOUNT"), ("colour=2", "choose one of"), ("jpeg=0", "give 1 to 95"), ("blur=nan", "give")],
)
def test_another_shift_is_refused_in_one_line(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        parse_shift(text)
