"""The task of a region: whoever watches it sees that it lives while it writes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from wsi_segment.inference.engine.region_task import RegionTask
from wsi_segment.inference.grid.box import Box
from wsi_segment.inference.grid.region import Region


def test_a_sign_of_life_is_given_between_the_planes_that_are_written() -> None:
    """Each may wait for a bucket for as long as one request is repeated, and all together for longer than a hang."""
    told = list[str]()

    def write(region: Region, ids: Any, classes: int, planes: Any) -> None:
        told.append("class map")
        for _ in planes:
            told.append("plane")

    plane = np.zeros((8, 8), np.uint8)
    prediction = SimpleNamespace(class_ids=lambda: plane, probability_planes=lambda: iter([plane] * 2))
    predictor: Any = SimpleNamespace(card=SimpleNamespace(classes="ab"), predict=lambda m_box: prediction)
    writer: Any = SimpleNamespace(write=write, store=SimpleNamespace(keeps_probabilities=True))
    task = RegionTask(predictor, writer, alive=lambda: told.append("alive"))
    task(Region(0, 0, Box(0, 0, 8, 8), windows=1))
    assert told == ["class map", "alive", "plane", "alive", "plane", "alive"]
