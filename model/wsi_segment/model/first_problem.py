"""Say in one line what pydantic found wrong first."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import ValidationError


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong; as text, ``FIELD: REASON``."""

    field: str
    """Its path, such as ``classes.0.color``; where the whole is wrong, the name that was given for it, or empty."""
    reason: str
    """Reason in pydantic's words."""
    value: object
    """The value that was given."""

    def __str__(self) -> str:
        return f"{self.field}: {self.reason}" if self.field else self.reason


def first_problem(error: ValidationError, whole: str = "") -> Problem:
    """Return the first of an error's problems.

    >>> from wsi_segment.model.card import SegmentClass
    >>> try:
    ...     SegmentClass.model_validate({"name": "polyp", "color": [86, 180]})
    ... except ValidationError as error:
    ...     print(first_problem(error))
    color.2: Field required

    Args:
        error: Of the validation.
        whole: What to call the whole, where it is at fault and not a field of it.
    """
    first = error.errors()[0]
    return Problem(".".join(str(part) for part in first["loc"]) or whole, first["msg"], first["input"])
