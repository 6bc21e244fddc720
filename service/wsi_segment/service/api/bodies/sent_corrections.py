"""Corrections as a client sends them: checked and kept."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from wsi_segment.service.api.bodies.aside import check
from wsi_segment.service.api.bodies.requests import MultiPolygon, Polygon
from wsi_segment.service.workers.kept_corrections import Corrections, Version


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

    model_config = ConfigDict(extra="allow", ser_json_inf_nan="constants")  # null would be kept without a word

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


def keep_corrections(content: bytes, kept: Corrections, author: str, expected: str | None) -> tuple[Version, int]:
    """Keep what was sent as another version, and return it with the number of its features.

    Raises:
        UnsoundError: these are no corrections.
        ChangedError: see :meth:`Corrections.keep`.
        ValueError: a number is not finite.
    """
    sent = check(SentCorrections, content)
    features: list[dict[str, Any]] = [one.model_dump(mode="json") for one in sent.features]
    return kept.keep(features, author, expected, sent.rejected), len(features)
