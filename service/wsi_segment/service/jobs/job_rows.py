"""The row of a job that comes into the queue, and the outlines that are kept beside it."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic_core import to_json

from wsi_segment.inference.slides.geojson_features import bounds_of

if TYPE_CHECKING:
    from wsi_segment.service.jobs.job_table import NewJob


@dataclass(frozen=True, slots=True)
class Outlines:
    """Outlines that a job is given; as text, since to write a million positions would hold up everybody else."""

    geojson: str
    bounds: tuple[float, float, float, float] | None
    """x0, y0, x1, y1 in level-0 pixels; None where no outline can be read."""

    @classmethod
    def of(cls, geojson: Any) -> Outlines:
        """Write parsed GeoJSON; a number that is not finite, which JSON has no word for, becomes null."""
        return cls(to_json(geojson, inf_nan_mode="null").decode(), bounds_of(geojson))


def write_json(value: Any) -> str:
    """Return the text of what a column of JSON gets."""
    return value.geojson if isinstance(value, Outlines) else json.dumps(value)


def make_row(new: NewJob, number: int, turn: int, batch: str | None, now: float) -> dict[str, Any]:
    """Return the row of a job that comes into the queue now."""
    empty = dict.fromkeys(("owner", "lease", "cancel", "started", "finished", "store", "state", "removed"))
    bounds = {name: {"bounds": drawn.bounds} for name, drawn in outlines_of(new).items()}
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


def outlines_of(new: NewJob) -> dict[str, Outlines]:
    """Return the outlines among the parameters of a job, by parameter."""
    return {name: value for name, value in new.parameters.items() if isinstance(value, Outlines)}


def new_id() -> str:
    """Return an id that cannot be guessed."""
    return secrets.token_hex(12)
