"""Whose job comes next, where several keys post."""

from __future__ import annotations

import time

from wsi_segment.service.jobs.database import Database
from wsi_segment.service.jobs.fairness import positions
from wsi_segment.service.jobs.job_table import Jobs, NewJob
from wsi_segment.service.jobs.queue import Queue


def post(database: Database, client: str, count: int = 1, priority: int = 0, batch: str | None = None) -> list[str]:
    new = [NewJob("0" * 24, {}, priority, client)] * count
    return [job.id for job in Jobs(database).accept(new, batch).jobs]


def claim_all(database: Database) -> list[str]:
    queue, order = Queue(database, "host/1/a"), []
    while (job := queue.claim()) is not None:
        order.append(job.client)
    return order


def test_a_hundred_single_jobs_of_one_key_do_not_hold_up_another(database: Database) -> None:
    for _ in range(100):
        post(database, "anna")
    post(database, "bert")
    assert claim_all(database).index("bert") <= 1


def test_a_batch_of_one_key_and_single_jobs_of_others_take_turns(database: Database) -> None:
    post(database, "anna", 6, batch="many")
    for _ in range(3):
        post(database, "bert")
        post(database, "carl")
    assert claim_all(database) == ["anna", "bert", "carl"] * 3 + ["anna"] * 3


def test_a_key_that_had_nothing_to_do_saves_up_no_turns(database: Database) -> None:
    post(database, "anna", 50, batch="many")
    post(database, "bert")
    queue = Queue(database, "host/1/a")
    for _ in range(20):
        assert queue.claim() is not None
    post(database, "bert", 10, batch="late")
    order = claim_all(database)[:10]
    assert 4 <= order.count("bert") <= 6
    post(database, "carl", 3)
    post(database, "anna", 3)
    assert claim_all(database) == ["carl", "anna"] * 3


def test_priority_goes_before_turns_of_keys(database: Database) -> None:
    post(database, "anna", 3, priority=1)
    post(database, "bert", 3)
    assert claim_all(database) == ["anna"] * 3 + ["bert"] * 3


def test_positions_are_the_order_in_which_jobs_are_claimed(database: Database) -> None:
    post(database, "anna", 5, batch="many")
    post(database, "bert")
    post(database, "carl", 2, priority=3)
    post(database, "bert", 3, batch="few")
    expected = sorted(positions(database).items(), key=lambda one: one[1])
    queue = Queue(database, "host/1/a")
    for job_id, _ in expected:
        job = queue.claim()
        assert job is not None
        assert job.id == job_id


def test_claims_stay_quick_with_many_jobs_of_many_keys(database: Database) -> None:
    for number in range(20):
        post(database, f"key {number}", 500, batch="many")
    queue = Queue(database, "host/1/a")
    started = time.process_time()
    for _ in range(20):
        assert queue.claim() is not None
    assert time.process_time() - started < 2
