from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from wsi_segment.inference.evaluation.model_scores import Evaluation, ImageResult
from wsi_segment.model.data.dataset import Item


def result(case: str, *counts: list[int]) -> ImageResult:
    item = Item(image=Path(f"{case}.svs"), mask=Path(f"{case}.xml"), label=None, group=case, split="test")
    return ImageResult(item, np.array([[*row, 0] for row in counts]), None)


def evaluation(*images: ImageResult) -> Evaluation:
    return Evaluation(
        split="test",
        names=("normal", "benign", "in-situ"),
        images=images,
        baseline_class=1,
        calibration_error=0.0,
        ordered=True,
    )


def test_the_bach_score_is_the_mean_over_slides_and_not_over_their_tiles() -> None:
    figures = evaluation(
        result("A01", [5, 0, 0], [0, 9, 0], [0, 0, 0]),  # nine of benign, all right: at worst off by 1 each
        result("A01", [0, 0, 0], [0, 0, 0], [3, 0, 0]),  # three of in situ taken for normal: off by 2 each
        result("A02", [0, 0, 1], [0, 0, 0], [0, 0, 1]),  # one off by 2, one right: at worst 2 each
        result("A03", [7, 0, 0], [0, 0, 0], [0, 0, 0]),  # all normal: has no score
    ).as_dict()
    first, second = 1 - 6 / (9 * 1 + 3 * 2), 1 - 2 / 4
    assert figures["bach_score"] == pytest.approx((first + second) / 2, abs=1e-4)  # over tiles: (1 + 0 + 1/2) / 3


def test_the_figures_hold_the_matrix_that_they_come_from() -> None:
    figures = evaluation(result("a", [5, 1, 0], [2, 9, 0], [0, 0, 3]), result("b", [1, 0, 0], [0, 1, 0], [4, 0, 0]))
    assert figures.as_dict()["confusion"] == [[6, 1, 0, 0], [2, 10, 0, 0], [4, 0, 3, 0]]
