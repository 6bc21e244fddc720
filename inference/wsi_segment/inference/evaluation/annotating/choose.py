"""Which of many fields to annotate: those that a model is unsure of, and no two that are alike.

The most uncertain field comes first; each further one is that whose uncertainty, times its distance to the nearest one
that was chosen, is largest. This is the greedy k-centre of active learning (Sener and Savarese 2018) weighted with
uncertainty (Settles 2009), since the most uncertain fields alone are often one motif many times over.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def mean_entropy(shares: Floats) -> float:
    """Return the mean entropy of probabilities, 0 for certainty to 1 for equal shares.

    >>> mean_entropy(np.array([[1.0, 0.5], [0.0, 0.5]]))
    0.5

    Args:
        shares: (C, pixels), from 0 to 1; pixels whose shares are all 0 were not analysed and do not count.
    """
    total = shares.sum(axis=0)
    known = shares[:, total > 0] / total[total > 0]
    if not known.size:
        return 0.0
    terms = np.where(known > 0, known * np.log(np.maximum(known, 1e-12)), 0.0)
    return float(-terms.sum(axis=0).mean() / np.log(max(2, len(shares)))) + 0.0


def choose(uncertainty: Sequence[float], features: Floats, count: int, known: Sequence[int] = ()) -> list[int]:
    """Return the indices of fields to annotate, the most useful first.

    Args:
        uncertainty: Of each field, 0 or more.
        features: (fields, F), in any units: each is scaled to a standard deviation of 1.
        count: How many to choose; all are where there are fewer.
        known: Indices of fields that are annotated already: they are not chosen, nor what is like them.
    """
    unsure = np.array(uncertainty, np.float64)
    spread = features.std(axis=0)
    scaled = (features - features.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    nearest = np.full(len(unsure), np.inf)
    for index in known:
        nearest = np.minimum(nearest, _distances(scaled, index))
    free = np.ones(len(unsure), bool)
    free[list(known)] = False
    chosen: list[int] = []
    while len(chosen) < count and free.any():
        worth = unsure if np.isinf(nearest).all() else unsure * nearest
        best = int(np.where(free, worth, -1.0).argmax())
        chosen.append(best)
        free[best] = False
        nearest = np.minimum(nearest, _distances(scaled, best))
    return chosen


def _distances(scaled: Floats, index: int) -> Floats:
    distances: Floats = np.sqrt(((scaled - scaled[index]) ** 2).sum(axis=1))
    return distances
