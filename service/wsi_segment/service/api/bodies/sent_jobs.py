"""Jobs and batches as clients send them in JSON: checked, with their outlines as text."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError
from pydantic_core import from_json, to_json

from wsi_segment.model.first_problem import first_problem
from wsi_segment.service.api.bodies.aside import UnsoundError, check
from wsi_segment.service.api.bodies.requests import BatchRequest, BatchRow, JobRequest


@dataclass(slots=True)
class SentBatch:
    """A batch as it came: sound rows, and what is wrong with the others, by their numbers from 1."""

    name: str = ""
    rows: dict[int, tuple[BatchRow, dict[str, Any]]] = field(default_factory=dict)
    """Without their outlines, and the parameters that hold them; see :meth:`Choices.apart`."""
    errors: dict[int, str] = field(default_factory=dict)
    lines: dict[int, int] = field(default_factory=dict)
    """Lines of the file that rows of CSV start at, by the numbers of the rows."""
    hint: str = ""
    """What to add to a message that a slide is missing."""

    def add(self, number: int, row: Any) -> None:
        """Add a row of JSON, sound or not."""
        try:
            self.rows[number] = BatchRow.model_validate_json(to_json(row, inf_nan_mode="constants")).apart()
        except ValidationError as error:
            self.errors[number] = str(first_problem(error, "row"))


def read_job(content: bytes) -> tuple[JobRequest, dict[str, Any]]:
    """Check a job, and return it without its outlines, with the parameters that hold them.

    Raises:
        UnsoundError: it is no job.
    """
    return check(JobRequest, content).apart()


def read_batch(content: bytes) -> SentBatch:
    """Check a batch; where only rows are wrong, the sound ones are returned too.

    Raises:
        UnsoundError: more than rows is wrong.
    """
    try:
        request = check(BatchRequest, content)
    except UnsoundError as error:
        if any(one["loc"][:2] != ("body", "jobs") or len(one["loc"]) == 2 for one in error.problems):
            raise
    else:
        return SentBatch(request.name, {number: row.apart() for number, row in enumerate(request.jobs, start=1)})
    sent = SentBatch()
    for number, row in enumerate(from_json(content)["jobs"], start=1):
        sent.add(number, row)
    return sent
