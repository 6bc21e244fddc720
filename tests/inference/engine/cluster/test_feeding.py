"""How many items are given to a cluster at once."""

from __future__ import annotations

from typing import Any

import pytest

from wsi_segment.inference.engine.cluster.connection import Cluster
from wsi_segment.inference.engine.cluster.feeding import Feeder, Items
from wsi_segment.inference.progress import Watch
from wsi_segment.model.card import DEFAULT_MODEL, find_model

distributed = pytest.importorskip("distributed")
SLOTS, COUNT = 4, 200


def test_items_in_which_nothing_is_predicted_are_sent_many_at_once() -> None:
    full, sent, done = 40, list[list[int]](), set[int]()
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=SLOTS, processes=False, protocol="tcp://", dashboard_address="127.0.0.1:0"
        ) as local,
        Cluster(local.scheduler_address) as cluster,
    ):
        original = cluster.map

        def noted(task: Any, numbers: list[int], keys: list[Any], arguments: dict[str, Any]) -> Any:
            sent.append(numbers)
            in_flight = sum(map(len, sent)) - len(done)
            assert in_flight <= (2 if numbers[0] < full else 8) * SLOTS
            return original(task, numbers, keys, arguments)

        cluster.map = noted  # type: ignore[method-assign]
        model = find_model(DEFAULT_MODEL)
        feeder = Feeder(cluster, "0badcafe", Watch(), model=model, file=next(iter(model.card.files)))
        items = Items("region", place=lambda index: (0, index), windows=lambda index: 5 if index < full else 0)
        feeder.run(_same, range(COUNT), items, lambda index, result: done.add(result))
    assert done == set(range(COUNT))
    assert all(len(numbers) <= 2 * SLOTS for numbers in sent if numbers[0] < full)
    assert max(len(numbers) for numbers in sent if numbers[0] >= full) > 2 * SLOTS


def _same(index: int) -> int:
    return index
