"""The feed of events, where the database does not answer for a while."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError

from wsi_segment.service.api import feed as feed_module
from wsi_segment.service.api.feed import Feed
from wsi_segment.service.jobs.database import Database
from wsi_segment.service.jobs.events import Event, last_number
from wsi_segment.service.jobs.job_table import Jobs, NewJob


def test_a_database_that_is_away_at_the_start_costs_listeners_no_event(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = Database(tmp_path)
    database.migrate()
    failures = iter([OSError("away"), OSError("away")])

    def sometimes(asked: Database) -> int:
        for error in failures:
            raise error
        return last_number(asked)

    monkeypatch.setattr(feed_module, "last_number", sometimes)
    monkeypatch.setattr(feed_module, "POLL_SECONDS", 0.01)

    async def listen() -> list[str]:
        feed = Feed(database)
        running = asyncio.create_task(feed.run())
        job = Jobs(database).accept([NewJob("0" * 24, {})]).jobs[0]
        kinds: list[str] = []
        with feed.listening(job=job.id) as listener:
            async for event in feed.follow(listener, 0):
                kinds.append(event.kind)
                if event.kind == "accepted":
                    await asyncio.to_thread(Jobs(database).cancel, job.id)
                else:
                    feed.close()
        await running
        return kinds

    assert asyncio.run(asyncio.wait_for(listen(), 30)) == ["accepted", "dismissed"]
    database.close()


def test_an_end_is_noted_when_the_database_is_back_and_listeners_do_not_wait_for_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = Database(tmp_path)
    database.migrate()
    monkeypatch.setattr(feed_module, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(feed_module, "_AWAY_SECONDS", 0.1)
    heard, tried, noted = list[str](), list[int](), list[str]()

    async def listen() -> None:
        def note(event: Event) -> None:
            if event.kind != "dismissed":
                return
            tried.append(event.number)
            if len(tried) < 4:
                raise OperationalError("SELECT", {}, Exception("away"))
            assert heard == ["dismissed"]
            noted.append(event.kind)
            feed.close()

        feed = Feed(database, note)
        running = asyncio.create_task(feed.run())
        job = Jobs(database).accept([NewJob("0" * 24, {})]).jobs[0]
        with feed.listening(job=job.id) as listener:
            async for event in feed.follow(listener, 0):
                if event.kind == "accepted":
                    await asyncio.to_thread(Jobs(database).cancel, job.id)
                else:
                    heard.append(event.kind)
        await running

    asyncio.run(asyncio.wait_for(listen(), 30))
    assert len(tried) == 4
    assert noted == ["dismissed"]
    database.close()
