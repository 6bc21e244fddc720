"""Scores of a segmentation, all from one confusion matrix.

Definitions: per class, F1 = 2 TP / (2 TP + FP + FN), which is the Dice coefficient, and IoU =
TP / (TP + FP + FN). Macro F1 weighs classes equally, micro F1 weighs them by their share of the
ground truth, both as in Ciga and Martel (2021).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

Confusion = np.ndarray[Any, np.dtype[np.int64]]
Floats = np.ndarray[Any, np.dtype[np.float64]]
Ids = np.ndarray[Any, np.dtype[np.uint8]]


def confusion_matrix(truth: Ids, prediction: Ids, classes: int) -> Confusion:
    """Count pixels by class, (classes, classes + 1): rows truth, columns prediction.

    >>> confusion_matrix(np.array([1, 2, 2, 0], np.uint8), np.array([1, 1, 0, 2], np.uint8), classes=2)
    array([[1, 0, 0],
           [1, 0, 1]])

    The last column counts labelled pixels that were predicted as 0 (not analysed): they are misses of
    their class and nobody's false positives. Pixels whose truth is 0 (unlabelled) do not count.

    Args:
        truth: Class ids from 1, any shape, 0 = unlabelled.
        prediction: Class ids from 1, same shape, 0 = not analysed.
        classes: Number of classes.

    Raises:
        ValueError: the shapes differ.
    """
    if truth.shape != prediction.shape:
        raise ValueError(f"truth is {truth.shape}, prediction is {prediction.shape}")
    labelled = truth > 0
    rows = truth[labelled].astype(np.int64) - 1
    columns = (prediction[labelled].astype(np.int64) - 1) % (classes + 1)
    counts = np.bincount(rows * (classes + 1) + columns, minlength=classes * (classes + 1))
    return counts.reshape(classes, classes + 1)


@dataclass(frozen=True, slots=True)
class Scores:
    """Scores of one confusion matrix; NaN for a class that is in neither truth nor prediction."""

    f1: Floats
    iou: Floats
    precision: Floats
    recall: Floats
    macro_f1: float
    """Mean of F1 over the classes that occur."""
    micro_f1: float
    """Mean of F1, weighted by ground truth."""
    accuracy: float

    def as_dict(self, names: list[str]) -> dict[str, Any]:
        """Return plain numbers for JSON, rounded to 4 digits; a class that does not occur is None."""

        def plain(value: float) -> float | None:
            return None if np.isnan(value) else round(float(value), 4)

        return {
            "macro_f1": plain(self.macro_f1),
            "micro_f1": plain(self.micro_f1),
            "accuracy": plain(self.accuracy),
            "per_class": {
                name: {
                    "f1": plain(self.f1[i]),
                    "iou": plain(self.iou[i]),
                    "precision": plain(self.precision[i]),
                    "recall": plain(self.recall[i]),
                }
                for i, name in enumerate(names)
            },
        }


def score(confusion: Confusion) -> Scores:
    """Score a confusion matrix as :func:`confusion_matrix` makes it.

    >>> scores = score(np.array([[3, 1, 0], [0, 4, 0]]))
    >>> round(scores.macro_f1, 3), scores.accuracy
    (0.873, 0.875)
    """
    classes = confusion.shape[0]
    hits = np.diagonal(confusion[:, :classes]).astype(np.float64)
    truth = confusion.sum(axis=1).astype(np.float64)
    predicted = confusion[:, :classes].sum(axis=0).astype(np.float64)
    f1 = _ratio(2 * hits, truth + predicted)
    total = truth.sum()
    occurs = ~np.isnan(f1)
    return Scores(
        f1=f1,
        iou=_ratio(hits, truth + predicted - hits),
        precision=_ratio(hits, predicted),
        recall=_ratio(hits, truth),
        macro_f1=float(f1[occurs].mean()) if occurs.any() else float("nan"),
        micro_f1=float((f1[occurs] * truth[occurs]).sum() / total) if total else float("nan"),
        accuracy=float(hits.sum() / total) if total else float("nan"),
    )


def lesion_dice(confusion: Confusion, background: int = 1) -> float:
    """Return the Dice coefficient of all classes but one, taken together, against that one.

    >>> lesion_dice(np.array([[5, 0, 1, 0], [0, 2, 2, 0], [0, 0, 0, 0]]))  # which lesion it is does not count
    0.8888888888888888

    Args:
        confusion: As :func:`confusion_matrix` makes it.
        background: Class id, from 1, of what is no lesion.
    """
    classes = confusion.shape[0]
    lesion = np.arange(classes) != background - 1
    hits = confusion[lesion][:, :classes][:, lesion].sum()
    truth = confusion[lesion].sum()
    predicted = confusion[:, :classes][:, lesion].sum()
    return float(2 * hits / (truth + predicted)) if truth + predicted else float("nan")


def bootstrap_intervals(cases: list[Confusion], draws: int = 1000, seed: int = 0) -> dict[str, tuple[float, float]]:
    """Return 95 % intervals of the headline figures: percentiles over cases drawn with replacement (Efron 1979).

    Macro F1 of a draw is the mean over the classes in the truth of that draw. A class of few cases is often in none of
    those drawn: its F1 would be 0 as soon as some pixel is taken for it, and the interval would lie too low.

    Args:
        cases: One confusion matrix per case; cases are independent of each other, images are not.
        draws: How many times.
        seed: Of the draws.
    """
    rng, stacked = np.random.default_rng(seed), np.stack(cases)
    values: dict[str, list[float]] = {"lesion_dice": [], "macro_f1": [], "micro_f1": []}
    for _ in range(draws):
        confusion = stacked[rng.integers(len(cases), size=len(cases))].sum(axis=0)
        scores, occurs = score(confusion), confusion.any(axis=1)
        macro_f1 = float(scores.f1[occurs].mean()) if occurs.any() else float("nan")
        for name, value in zip(values, (lesion_dice(confusion), macro_f1, scores.micro_f1), strict=True):
            values[name].append(value)
    return {
        name: (round(float(np.nanpercentile(found, 2.5)), 4), round(float(np.nanpercentile(found, 97.5)), 4))
        for name, found in values.items()
        if not np.isnan(found).all()
    }


def bach_score(confusion: Confusion) -> float:
    """Return the score of the BACH challenge (Aresta et al. 2019) of one slide, for classes that are grades.

    >>> bach_score(np.array([[7, 0, 0, 0], [0, 1, 1, 0], [0, 0, 2, 0]]))  # one of four pixels is off by one grade
    0.8333333333333334

    1 - sum |p - g| / sum max(g, |g - (C - 1)|) over the pixels where prediction p or truth g is not grade 0, grades
    counted from 0. What was not analysed counts as grade 0. NaN where all is grade 0.

    Args:
        confusion: As :func:`confusion_matrix` makes it, classes from the mildest on.
    """
    classes = confusion.shape[0]
    counts = confusion[:, :classes].astype(np.float64)
    counts[:, 0] += confusion[:, classes]
    g, p = np.mgrid[:classes, :classes]
    counts[0, 0] = 0
    worst = (counts * np.maximum(g, np.abs(g - (classes - 1)))).sum()
    return float(1 - (counts * np.abs(p - g)).sum() / worst) if worst else float("nan")


class Calibration:
    """Expected calibration error (Guo et al. 2017), gathered over images: confidences in equal bins."""

    def __init__(self, bins: int = 15) -> None:
        self._bins = bins
        self._count, self._confidence, self._correct = (np.zeros(bins) for _ in range(3))

    def add(self, truth: Ids, prediction: Ids, confidence: np.ndarray[Any, np.dtype[np.floating[Any]]]) -> None:
        """Count the labelled pixels that were analysed.

        Args:
            truth: Class ids from 1, any shape, 0 = unlabelled.
            prediction: Class ids from 1, same shape, 0 = not analysed.
            confidence: Probability of the predicted class, same shape, 0 to 1.
        """
        counted = (truth > 0) & (prediction > 0)
        sure = confidence[counted].astype(np.float64)
        where = np.minimum((sure * self._bins).astype(np.int64), self._bins - 1)
        correct = (truth[counted] == prediction[counted]).astype(np.float64)
        self._count += np.bincount(where, minlength=self._bins)
        self._confidence += np.bincount(where, sure, self._bins)
        self._correct += np.bincount(where, correct, self._bins)

    @property
    def error(self) -> float:
        """Mean of |accuracy - confidence| over bins, weighted by their pixels; NaN before any."""
        total = self._count.sum()
        return float(np.abs(self._correct - self._confidence).sum() / total) if total else float("nan")


def _ratio(part: Floats, whole: Floats) -> Floats:
    return np.divide(part, whole, out=np.full_like(part, np.nan), where=whole > 0)
