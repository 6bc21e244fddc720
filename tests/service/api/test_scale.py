"""Many listeners, many rows."""

from __future__ import annotations

import asyncio
import json
import random
import time
from contextlib import suppress
from pathlib import Path

import httpx

import web
from live_server import Served, write_slides
from wsi_segment.service.jobs.database import Database
from wsi_segment.service.jobs.events import read_events
from wsi_segment.service.jobs.job_table import Jobs, NewJob
from wsi_segment.service.jobs.queue import Queue

LISTENERS, JOBS, ROWS = 100, 20, 10_000


async def listen(http: httpx.AsyncClient, path: str, rng: random.Random) -> tuple[list[int], int]:
    """Follow events to their end, hanging up after every few of them; their numbers, and how often it was begun."""
    seen: list[int] = []
    for begun in range(1, 10_000):
        with suppress(httpx.TransportError):  # a connection that was lost is taken up again, like one that was let go
            if await hear_some(http, path, seen, rng.randint(1, 60)):
                return seen, begun
    raise AssertionError


async def hear_some(http: httpx.AsyncClient, path: str, seen: list[int], most: int) -> bool:
    """Add some numbers to those that were seen; whether the server ended the stream, which it does when all is over."""
    headers = {"Last-Event-ID": str(seen[-1])} if seen else {}
    async with http.stream("GET", path, headers=headers) as answer:
        assert answer.status_code == 200
        async for line in answer.aiter_lines():
            if line.startswith("id: "):
                seen.append(int(line[4:]))
                most -= 1
            elif not line and most <= 0:
                return False
    return True


async def listen_all(url: str, path: str) -> list[tuple[list[int], int]]:
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=url, timeout=120, limits=limits) as http:
        return await asyncio.gather(*(listen(http, path, random.Random(number)) for number in range(LISTENERS)))


def streams(url: str) -> float:
    """How many streams of events the server knows of."""
    metrics = web.get(f"{url}/metrics").text
    return float(metrics.partition("\nwsi_segment_event_streams ")[2].splitlines()[0])


def test_a_hundred_listeners_that_hang_up_and_come_again_miss_nothing(tmp_path: Path) -> None:
    folder = write_slides(tmp_path / "served")
    with Served(folder, "--workers", 0) as served:
        database = Database(served.data)
        batch = Jobs(database).accept([NewJob("0" * 24, {})] * JOBS, "many").batch
        assert batch is not None

        def work() -> None:
            """What a worker would write, from here."""
            queue = Queue(database, "elsewhere/1/a")
            while (job := queue.claim()) is not None:
                for done in range(5):
                    queue.progress(job, "segment", done, 5)
                    time.sleep(0.005)
                queue.end(job, "successful")

        async def both() -> list[tuple[list[int], int]]:
            working = asyncio.to_thread(work)
            heard, _ = await asyncio.gather(listen_all(served.url, f"/v1/batches/{batch.id}/events"), working)
            return heard

        heard = asyncio.run(both())
        expected = [event.number for event in read_events(database, 0, batch=batch.id, limit=100_000)]
        database.close()
        deadline = time.monotonic() + 60
        while (left := streams(served.url)) and time.monotonic() < deadline:
            time.sleep(0.2)
    assert len(expected) == JOBS * 8
    for seen, _ in heard:
        assert seen == expected
    assert left == 0
    begun = [times for _, times in heard]
    assert min(begun) > 1
    assert sum(begun) > 3 * LISTENERS
    print(f"{LISTENERS} listeners, {len(expected)} events, {sum(begun)} connections")


def test_a_batch_of_ten_thousand_rows_is_checked_and_accepted(tmp_path: Path) -> None:
    folder = write_slides(tmp_path / "served")
    for number in range(ROWS):
        (folder / "slides" / f"{number:05d}.svs").touch()
    rows = [{"slide": f"slides/{number:05d}.svs", "model": "channels"} for number in range(ROWS)]
    with Served(folder, "--workers", 0) as served, web.client(base_url=served.url) as http:
        wrong = http.post("/v1/batches", json={"jobs": [*rows, {"slide": "slides/none.svs"}]})
        assert wrong.status_code == 404
        assert [error["row"] for error in wrong.json()["errors"]] == [ROWS + 1]
        started = time.monotonic()
        answer = http.post(
            "/v1/batches", content=json.dumps({"jobs": rows}), headers={"content-type": "application/json"}
        )
        seconds = time.monotonic() - started
        assert answer.status_code == 201
        assert answer.json()["jobs"] == ROWS
        assert seconds < 90  # 5 on a machine that does nothing else
        started = time.monotonic()
        page = http.get("/v1/jobs", params={"batch": answer.json()["id"], "page_size": 50}).json()
        assert len(page["jobs"]) == 50
        print(f"{ROWS} rows in {seconds:.1f} s, a page in {1000 * (time.monotonic() - started):.0f} ms")
