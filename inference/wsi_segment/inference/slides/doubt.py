"""Doubts about a result: what a user should know although the work can be done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

DoubtCode = Literal[
    "pixel-size-differs",
    "images-left-out",
    "outlines-left-out",
    "outlines-off-tissue",
    "no-tissue",
    "unlike-training-data",
]


@dataclass(frozen=True, slots=True)
class Doubt:
    """One doubt; listed as ``warnings`` in summaries, provenance, jobs and ``info``.

    >>> print(Doubt("no-tissue", "no tissue was found; `tissue none` analyses everything").code)
    no-tissue
    """

    code: DoubtCode
    """Stable name for programs."""
    message: str
    """One line for people: what is doubtful, the values, and a remedy if there is one."""
