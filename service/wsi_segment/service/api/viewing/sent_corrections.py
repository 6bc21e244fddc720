"""Corrections as a client sends them: read, checked and kept, large ones in a process of its own.

To read 50,000 outlines takes seconds, in which a thread would let no other request of the server go on.
"""

from __future__ import annotations

import gc
from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

import anyio.to_process
import anyio.to_thread
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from wsi_segment.service.api.requests import MultiPolygon, Polygon
from wsi_segment.service.workers.kept_corrections import Corrections, Version

_LARGE = 1 << 20
"""Bytes from which on a process of its own is worth its start."""


class Classification(BaseModel):
    """A class, as QuPath writes it."""

    model_config = ConfigDict(extra="allow")

    name: Annotated[str, Field(min_length=1, max_length=200)]


class Properties(BaseModel):
    """Of a feature; what else QuPath writes is kept."""

    model_config = ConfigDict(extra="allow")

    classification: Classification


class CorrectedFeature(BaseModel):
    """An outline with its class."""

    model_config = ConfigDict(extra="allow")

    type: Literal["Feature"]
    geometry: Annotated[Polygon | MultiPolygon, Field(discriminator="type")]
    properties: Properties


class SentCorrections(BaseModel):
    """All outlines of a slide that have a class; level-0 pixels from the corner of the slide's bounds."""

    model_config = ConfigDict(extra="forbid")

    type: Literal["FeatureCollection"]
    features: Annotated[list[CorrectedFeature], Field(max_length=200_000)]
    rejected: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=200)]],
        Field(max_length=200_000, description="ids of outlines of the mask that were deleted"),
    ] = []

    @model_validator(mode="after")
    def _say_something(self) -> Self:
        if not self.features and not self.rejected:
            raise ValueError("no feature, and nothing rejected")
        return self


class UnsoundError(Exception):
    """What was sent are no corrections; its argument lists what is wrong, as pydantic does."""

    @property
    def problems(self) -> Sequence[dict[str, Any]]:
        """What is wrong."""
        found: Sequence[dict[str, Any]] = self.args[0]
        return found


async def keep(kept: Corrections, content: bytes, author: str, expected: str | None) -> tuple[Version, int]:
    """Keep what was sent as another version, and return it with the number of its features.

    Raises:
        UnsoundError: these are no corrections.
        ChangedError: see :meth:`Corrections.keep`.
        ValueError: a number is not finite.
    """
    if len(content) < _LARGE:
        return await anyio.to_thread.run_sync(_keep, kept, content, author, expected)
    return await anyio.to_process.run_sync(_keep_large, kept, content, author, expected)


def _keep(kept: Corrections, content: bytes, author: str, expected: str | None) -> tuple[Version, int]:
    try:
        sent = SentCorrections.model_validate_json(content)
    except ValidationError as error:  # which cannot be handed from one process to another
        raise UnsoundError(error.errors(include_url=False, include_context=False, include_input=False)) from None
    features: list[dict[str, Any]] = [one.model_dump(mode="json") for one in sent.features]
    return kept.keep(features, author, expected, sent.rejected), len(features)


def _keep_large(kept: Corrections, content: bytes, author: str, expected: str | None) -> tuple[Version, int]:
    """Keep many features; to look for garbage among millions of numbers would take most of the time."""
    gc.disable()
    try:
        return _keep(kept, content, author, expected)
    finally:
        gc.enable()
