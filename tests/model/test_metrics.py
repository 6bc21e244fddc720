from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsi_segment.model.metrics import Calibration, bach_score, bootstrap_intervals, confusion_matrix, lesion_dice, score

TRUTH = np.array([1, 1, 1, 1, 2, 2, 3, 0, 0], np.uint8)
PREDICTED = np.array([1, 1, 2, 0, 2, 3, 3, 1, 2], np.uint8)


def test_confusion_counts_labelled_pixels_only() -> None:
    assert confusion_matrix(TRUTH, PREDICTED, 3).tolist() == [[2, 1, 0, 1], [0, 1, 1, 0], [0, 0, 1, 0]]


def test_scores_by_hand() -> None:
    scores = score(confusion_matrix(TRUTH, PREDICTED, 3))
    np.testing.assert_allclose(scores.f1, [2 * 2 / (4 + 2), 2 * 1 / (2 + 2), 2 * 1 / (1 + 2)])
    np.testing.assert_allclose(scores.iou, [2 / 4, 1 / 3, 1 / 2])
    assert scores.macro_f1 == pytest.approx((2 / 3 + 1 / 2 + 2 / 3) / 3)
    assert scores.micro_f1 == pytest.approx((4 * 2 / 3 + 2 * 1 / 2 + 1 * 2 / 3) / 7)
    assert scores.accuracy == pytest.approx(4 / 7)


def test_lesion_dice_by_hand() -> None:
    # lesion = ids 2 and 3: truth 3 pixels, all predicted as lesion; 4 labelled pixels are predicted as lesion
    assert lesion_dice(confusion_matrix(TRUTH, PREDICTED, 3)) == pytest.approx(2 * 3 / (3 + 4))


def test_a_class_that_does_not_occur_does_not_count() -> None:
    scores = score(confusion_matrix(np.array([1, 1], np.uint8), np.array([1, 1], np.uint8), 3))
    assert scores.macro_f1 == 1
    assert scores.as_dict(["a", "b", "c"])["per_class"]["b"]["f1"] is None


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=60))
def test_f1_follows_iou(pairs: list[tuple[int, int]]) -> None:
    truth, predicted = (np.array(column, np.uint8) for column in zip(*pairs, strict=True))
    scores = score(confusion_matrix(truth, predicted, 4))
    occurs = ~np.isnan(scores.f1)
    np.testing.assert_allclose(scores.f1[occurs], 2 * scores.iou[occurs] / (1 + scores.iou[occurs]))
    assert confusion_matrix(truth, predicted, 4).sum() == (truth > 0).sum()


def test_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="truth is"):
        confusion_matrix(TRUTH, PREDICTED[:-1], 3)


def test_calibration_error_is_the_gap_between_confidence_and_accuracy() -> None:
    calibration = Calibration()
    assert math.isnan(calibration.error)
    truth = np.array([1, 1, 2, 2, 0, 1], np.uint8)
    prediction = np.array([1, 2, 2, 1, 1, 0], np.uint8)  # half right; the last two do not count
    calibration.add(truth, prediction, np.full(6, 0.9, np.float32))
    assert calibration.error == pytest.approx(0.4)
    calibration.add(truth[:1], prediction[:1], np.ones(1, np.float32))
    assert calibration.error == pytest.approx(4 / 5 * 0.4)


def test_bach_score_by_hand() -> None:
    truth = np.array([1, 1, 4, 3, 2], np.uint8)
    prediction = np.array([1, 3, 1, 3, 1], np.uint8)
    # of the four pixels that are not both normal: off by 2, 3, 0, 1; at worst 3, 3, 2, 2
    assert bach_score(confusion_matrix(truth, prediction, 4)) == pytest.approx(1 - 6 / 10)
    assert bach_score(confusion_matrix(truth, truth, 4)) == 1
    assert math.isnan(bach_score(confusion_matrix(truth[:1], prediction[:1], 4)))


def test_intervals_come_from_drawing_cases() -> None:
    right, wrong = np.array([[50, 0, 0], [0, 50, 0]]), np.array([[0, 50, 0], [50, 0, 0]])
    alike = bootstrap_intervals([right] * 5)
    assert alike["macro_f1"] == (1.0, 1.0)
    low, high = bootstrap_intervals([right] * 5 + [wrong] * 5)["macro_f1"]
    assert low < 0.3
    assert high > 0.7
    assert bootstrap_intervals([right, wrong]) == bootstrap_intervals([right, wrong])


def test_a_class_that_no_drawn_case_has_does_not_lower_the_interval() -> None:
    # of two draws of the first case the second class is in no truth, though some pixels are taken for it
    first, second = np.array([[90, 10, 0], [0, 0, 0]]), np.array([[0, 0, 0], [0, 100, 0]])
    assert bootstrap_intervals([first, second])["macro_f1"] == (round(180 / 190, 4), 1.0)
