"""Corrections as a client sends them: checked and kept."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from wsi_segment.service.api.bodies.aside import UnsoundError, check
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


def keep_corrections(content: bytes, kept: Corrections, author: str, expected: str | None) -> tuple[Version, int]:
    """Keep what was sent as another version, and return it with the number of its features.

    Nothing at all is no first version, but may follow one: all that was corrected was taken back.

    Raises:
        UnsoundError: these are no corrections.
        ChangedError: see :meth:`Corrections.keep`.
        ValueError: a number is not finite.
    """
    sent = check(SentCorrections, content)
    if expected is None and not sent.features and not sent.rejected:
        raise UnsoundError([{"type": "value_error", "loc": ("body",), "msg": "no feature, and nothing rejected"}])
    features: list[dict[str, Any]] = [one.model_dump(mode="json") for one in sent.features]
    return kept.keep(features, author, expected, sent.rejected), len(features)
