"""The row of a job that comes into the queue."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from wsi_segment.inference.slides.geojson_features import bounds_of

if TYPE_CHECKING:
    from wsi_segment.service.jobs.job_table import NewJob


def make_row(new: NewJob, number: int, turn: int, batch: str | None, now: float) -> dict[str, Any]:
    """Return the row of a job that comes into the queue now."""
    empty = dict.fromkeys(("owner", "lease", "cancel", "started", "finished", "store", "state", "removed"))
    bounds = {name: {"bounds": bounds_of(geojson)} for name, geojson in outlines_of(new).items()}
    return empty | {
        "id": new_id(),
        "number": number,
        "batch": batch,
        "slide": new.slide,
        "client": new.client,
        "parameters": new.parameters | bounds,
        "inputs": new.inputs,
        "windows": new.windows,
        "status": "accepted",
        "priority": new.priority,
        "turn": turn,
        "fence": 0,
        "crashes": 0,
        "kept": 0,
        "created": now,
        "done": 0,
        "total": 0,
        "stage": "",
        "message": "",
        "warnings": [],
    }


def outlines_of(new: NewJob) -> dict[str, Any]:
    """Return the outlines among the parameters of a job, by parameter."""
    return {name: new.parameters[name] for name in ("region", "tissue") if isinstance(new.parameters.get(name), dict)}


def new_id() -> str:
    """Return an id that cannot be guessed."""
    return secrets.token_hex(12)
