from __future__ import annotations

import pickle

import numpy as np

from wsi_segment.inference.engine.memory import Budget
from wsi_segment.inference.engine.plan import Plan
from wsi_segment.inference.grid.region import Regions


def test_a_plan_travels_in_few_bytes() -> None:
    budget = Budget(region_size=512, band_rows=1, workers=1, bytes_per_worker=1, shared_bytes=1)
    plan = Plan(Regions(512 * 300, 512 * 300, 512, windows=np.zeros(90000, np.int64)), budget)
    packed = pickle.dumps(plan)
    assert len(packed) < 10_000
    assert list(pickle.loads(packed).regions) == list(plan.regions)
