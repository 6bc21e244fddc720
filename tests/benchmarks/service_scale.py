"""A batch of 10,000 rows, and lists with 100,000 jobs in the table, on SQLite and, where there is one, PostgreSQL.

Rows name files that exist under the root, so that each is looked at on disk; no slide is opened. Lists are asked for
one after the other over HTTP: the newest, those of a state, those of a batch, a page far down, and the batches.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from live_server import Served, fresh_database, postgresql, postgresql_programs, write_slides
from wsi_segment.service.jobs.database import Database
from wsi_segment.service.jobs.job_table import Jobs, NewJob
from wsi_segment.service.jobs.queue import Queue

ROWS = 10_000


@contextmanager
def databases() -> Iterator[list[str | None]]:
    """URLs of those that can be had; None for SQLite."""
    if postgresql_programs() is None:
        yield [None]
        return
    with postgresql() as url:
        yield [None, fresh_database(url, "scale")]


def fill(database: Database, jobs: int) -> str:
    """Put jobs into the table, some of which have ended; the id of the last batch."""
    table, batch = Jobs(database), ""
    for _ in range(jobs // 5000):
        accepted = table.accept([NewJob("0" * 24, {"model": "channels"})] * 5000, "filler").batch
        assert accepted is not None
        batch = accepted.id
    queue = Queue(database, "elsewhere/1/a")
    for _ in range(500):
        if (job := queue.claim()) is not None:
            queue.end(job, "successful")
    return batch


def time_lists(http: httpx.Client, batch: str, repeats: int) -> None:
    """Print how long lists take."""
    middle = http.get("/v1/jobs", params={"page_size": 1}).json()["next_page_token"]
    for name, path in {
        "newest 50": "/v1/jobs?page_size=50",
        "state": "/v1/jobs?page_size=50&status=successful",
        "batch": f"/v1/jobs?page_size=50&batch={batch}",
        "batch and state": f"/v1/jobs?page_size=50&batch={batch}&status=accepted",
        "far down": f"/v1/jobs?page_size=50&page_token={int(middle) // 2}",
        "batches": "/v1/batches?page_size=50",
        "metrics": "/metrics",
        "readiness": "/health/ready",
    }.items():
        spent = []
        for _ in range(repeats):
            started = time.perf_counter()
            assert http.get(path).is_success
            spent.append(1000 * (time.perf_counter() - started))
        p50, p95, most = np.percentile(spent, [50, 95, 100])
        print(f"  {name:<16} median {p50:6.1f}, p95 {p95:6.1f}, longest {most:6.1f} ms", flush=True)


def main() -> None:
    """Both measurements on each database."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=40)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, databases() as urls:
        for url in urls:
            print("SQLite" if url is None else "PostgreSQL")
            folder = write_slides(Path(scratch) / ("sqlite" if url is None else "postgresql"))
            for number in range(ROWS):
                (folder / "slides" / f"{number:05d}.svs").touch()
            rows = [{"slide": f"slides/{number:05d}.svs", "model": "channels"} for number in range(ROWS)]
            content, kind = json.dumps({"jobs": rows}), {"content-type": "application/json"}
            flags = ["--workers", 0, *(["--database", url] if url else [])]
            with Served(folder, *flags) as served, httpx.Client(base_url=served.url, timeout=300) as http:
                spent = []
                for _ in range(3):
                    started = time.perf_counter()
                    assert http.post("/v1/batches", content=content, headers=kind).status_code == 201
                    spent.append(time.perf_counter() - started)
                print(f"  {ROWS} rows accepted in {', '.join(f'{one:.2f}' for one in spent)} s", flush=True)
                database = Database(served.data, url)
                batch = fill(database, args.jobs - 3 * ROWS)
                database.close()
                time_lists(http, batch, args.repeats)


if __name__ == "__main__":
    main()
