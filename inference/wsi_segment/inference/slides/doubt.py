"""Doubts about a result: what a user should know although the work can be done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

DoubtCode = Literal["pixel-size-differs", "images-left-out", "outlines-left-out", "no-tissue", "unlike-training-data"]


@dataclass(frozen=True, slots=True)
class Doubt:
    """One doubt; listed as ``warnings`` in summaries, provenance, jobs and ``info``.

    >>> print(Doubt("no-tissue", "no tissue was found; `tissue none` analyses everything").code)
    no-tissue
    """

    code: DoubtCode
    """For programs."""
    message: str
    """For people: one line that says what, the values, and a remedy where one exists."""
