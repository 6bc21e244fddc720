"""Result lines that differ in share and seed only, put together over seeds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import numpy as np

from wsi_segment.model.experiments.experiment import Result

METRICS = {"macro_f1": "macro F1", "micro_f1": "micro F1", "lesion_dice": "lesion Dice"}
"""The figures that are drawn and tabulated against s, with their titles."""


def over_seeds(lines: Iterable[Result], metric: str) -> list[tuple[float, float, float, int]]:
    """Return (share, mean, standard deviation, seeds) by rising share; without a second seed the deviation is NaN.

    A line that does not know the metric, such as the image's class where images have no labels, does not count.
    """
    values: dict[float, list[float]] = defaultdict(list)
    for line in lines:
        if line.get(metric) is not None:
            values[line["s"]].append(line[metric])
    return [
        (share, float(np.mean(found)), float(np.std(found, ddof=1)) if len(found) > 1 else float("nan"), len(found))
        for share, found in sorted(values.items())
    ]
