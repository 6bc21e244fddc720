"""Results of a server as files on this machine: masks with their summaries, and tables of a whole batch."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from wsi_segment.errors import InputError
from wsi_segment.files import replacing
from wsi_segment.inference.mask.summary import summary_paths
from wsi_segment.service.client import ENDED, Client

AREAS_FILE, FAILURES_FILE = "areas.csv", "failures.csv"
_AREAS = ("slide", "class_id", "class", "pixels", "area_mm2", "percent_of_tissue")
"""Columns of a summary's own table."""


@dataclass(frozen=True, slots=True)
class FetchedBatch:
    """What came of a batch."""

    masks: int
    failures: int
    """Jobs that ended without a mask, or whose results were removed."""
    waiting: int
    """Jobs that have not ended yet: the same call fetches them later."""


def fetch_job(client: Client, job: dict[str, Any], out: Path) -> int:
    """Copy a mask, then write its summary beside it as a run on this machine does; return the number of files.

    Args:
        client: Of the server.
        job: As the server describes it.
        out: The store to make, which must not exist.

    Raises:
        InputError: it exists, or the job has no results.
    """
    count = client.fetch(job["id"], out)
    _write_summary(client, job, out)
    return count


def fetch_batch(
    client: Client, batch_id: str, folder: Path, report: Callable[[str], None] = lambda line: None
) -> FetchedBatch:
    """Copy all masks of a batch into a folder, with one table of areas and one of what failed.

    Masks that already exist are kept, so that the same call continues where one was cut off, and fetches what has
    ended since then. Slides of the same name get the start of their job's id.

    Args:
        client: Of the server.
        batch_id: Id of the batch.
        folder: Made where it is missing; gets ``NAME.zarr`` with summaries, ``areas.csv`` and ``failures.csv``.
        report: Called with a line for each mask.
    """
    client.batch(batch_id)
    jobs = sorted(client.jobs(batch=batch_id), key=lambda job: str(job["created"]) + str(job["slide_name"]))
    folder.mkdir(parents=True, exist_ok=True)
    names = _names(jobs)
    areas: list[Sequence[Any]] = []
    failures: list[Sequence[Any]] = []
    for job in jobs:
        out = folder / f"{names[job['id']]}.zarr"
        if job["status"] not in ENDED:
            continue
        if job["status"] != "successful":
            failures.append((_slide(job), job["id"], job["status"], job["message"] or "cancelled"))
            continue
        try:
            if not out.exists():
                fetch_job(client, job, out)
                report(str(out))
            elif not summary_paths(out)[0].exists():
                _write_summary(client, job, out)
            areas += _area_rows(job, json.loads(summary_paths(out)[0].read_text(encoding="utf-8")))
        except InputError as error:
            failures.append((_slide(job), job["id"], job["status"], str(error)))
    _write_table(folder / AREAS_FILE, _AREAS, areas)
    _write_table(folder / FAILURES_FILE, ("slide", "job", "status", "reason"), failures)
    ended = sum(job["status"] in ENDED for job in jobs)
    return FetchedBatch(ended - len(failures), len(failures), len(jobs) - ended)


def _slide(job: dict[str, Any]) -> str:
    return str(job["slide_name"] or job["slide"])


def _names(jobs: Iterable[dict[str, Any]]) -> dict[str, str]:
    """Return a file name for each job, without a suffix: of its slide, and of the job too where two share one."""
    stems = {job["id"]: PurePosixPath(_slide(job)).stem for job in jobs}
    taken = [stem.lower() for stem in stems.values()]
    return {job: f"{stem}-{job[:8]}" if taken.count(stem.lower()) > 1 else stem for job, stem in stems.items()}


def _area_rows(job: dict[str, Any], summary: dict[str, Any]) -> list[Sequence[Any]]:
    return [
        (_slide(job), row["id"], row["name"], row["pixels"], row["area_mm2"], row["percent_of_tissue"])
        for row in summary["classes"]
    ]


def _write_summary(client: Client, job: dict[str, Any], out: Path) -> None:
    summary = {"slide": _slide(job), "out": str(out), **client.result(job["id"], "summary.json")}
    as_json, as_csv = summary_paths(out)
    with replacing(as_json, text=True) as file:
        file.write(json.dumps(summary, indent=2) + "\n")
    _write_table(as_csv, _AREAS, _area_rows(job, summary))


def _write_table(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    with replacing(path, text=True) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
