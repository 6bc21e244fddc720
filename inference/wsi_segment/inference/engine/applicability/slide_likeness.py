"""Fields of a slide's tissue, each beside what the model's training images look like.

A network gives classes for whatever it is shown, and no lower probabilities where stain or focus are new to it. So one
field of each square of the tissue is described by its pixels alone (see :mod:`wsi_segment.model.likeness`), on a
grid of the whole mask, so that neither regions nor memory change what is said.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np

from wsi_segment.errors import Cancelled
from wsi_segment.inference.engine.tissue import TissueMask
from wsi_segment.inference.grid.box import Box
from wsi_segment.inference.slides.doubt import Doubt
from wsi_segment.inference.slides.pixels import PixelSource
from wsi_segment.model.card import ModelCard
from wsi_segment.model.likeness import FIELD, Profile, Vector, density_of, describe, profile_of, sharpness_of

SQUARE = 512
"""Side of the squares, mask pixels; of each that holds tissue one field is looked at."""
MOST_FIELDS = 256
"""Most fields per slide; on larger slides squares are left out, evenly."""
_COARSEST = 1.2
"""Times the model's pixel size; a slide with larger pixels is enlarged, and holds less than the model looks for."""


@dataclass(frozen=True, slots=True)
class Field:
    """What a place of a slide looks like."""

    m_box: Box
    """Box that was examined."""
    features: Vector
    distance: float
    """Distance from the training images."""
    unlike: bool


@dataclass(frozen=True, slots=True)
class Applicability:
    """How like the training images a slide is; without fields where nothing could be told."""

    profile: Profile
    fields: tuple[Field, ...]
    mpp: float
    """µm per pixel of the finest level that was read."""
    model_mpp: float

    @property
    def coarse(self) -> bool:
        """Return whether the slide's pixels are larger than those that the model learnt from."""
        return self.mpp > _COARSEST * self.model_mpp

    @property
    def unlike(self) -> bool:
        """Return whether more than half of the fields are unlike the training images, or all are too coarse."""
        return self.coarse or 2 * sum(field.unlike for field in self.fields) > len(self.fields)

    def doubts(self) -> tuple[Doubt, ...]:
        """Return the doubt that follows, if one does."""
        if not self.unlike:
            return ()
        return (
            Doubt(
                "unlike-training-data",
                f"unlike what this model knows: {', '.join(self._reasons())}; compare its classes with what you see",
            ),
        )

    def _reasons(self) -> Iterator[str]:
        if self.coarse:
            yield f"pixels of {self.mpp:.3g} µm, where it learnt from {self.model_mpp:.3g} µm"
        if not self.fields:
            return
        density, sharpness, distance = self._medians()
        ranges = self.profile
        if not ranges.density.holds(density):
            yield f"staining {density / ranges.density.median:.2g} times as strong"
        if not ranges.sharpness.holds(sharpness):
            yield f"{'less' if sharpness < ranges.sharpness.low else 'more'} sharp than it ever saw"
        elif ranges.density.holds(density) and not self.coarse:
            yield f"colour and texture {distance / max(ranges.usual_distance, 1e-6):.1f} times as far off as usual"

    def _medians(self) -> tuple[float, float, float]:
        """Return density, sharpness and distance of the middle field."""
        fields = self.fields
        rows = [(density_of(field.features), sharpness_of(field.features), field.distance) for field in fields]
        density, sharpness, distance = np.median(np.array(rows), axis=0).tolist()
        return density, sharpness, distance

    def as_dict(self, downsample: float) -> dict[str, Any]:
        """Return the record for the provenance; places are squares of the mask as level-0 pixels from its origin.

        Args:
            downsample: Level-0 pixels per mask pixel.
        """
        found: dict[str, Any] = {"unlike": self.unlike, "fields": len(self.fields), "unlike_fields": 0}
        if not self.fields:
            return found
        density, sharpness, distance = self._medians()
        side = round(SQUARE * downsample, 2)
        found |= {
            "unlike_fields": sum(field.unlike for field in self.fields),
            "density": round(density, 4),
            "density_of_training": self.profile.density.median,
            "sharpness": round(sharpness, 4),
            "sharpness_of_training": self.profile.sharpness.median,
            "distance": round(distance, 3),
            "largest_distance": self.profile.largest_distance,
            "regions": [
                {
                    "x": round(field.m_box.x0 // SQUARE * SQUARE * downsample, 2),
                    "y": round(field.m_box.y0 // SQUARE * SQUARE * downsample, 2),
                    "side": side,
                    "density": round(density_of(field.features), 4),
                    "sharpness": round(sharpness_of(field.features), 4),
                    "distance": round(field.distance, 3),
                    "unlike": field.unlike,
                }
                for field in self.fields
            ],
        }
        return found


class FieldSurvey:
    """The fields of a slide, looked at part by part, while the tiles around them are decoded anyway."""

    def __init__(
        self, source: PixelSource, tissue: TissueMask, card: ModelCard, mpp: float, stop: threading.Event
    ) -> None:
        """Choose the fields; none is read yet.

        Args:
            source: The slide's pixels at the mask's scale.
            tissue: Where to look.
            card: Of the model; one without a profile has nothing to compare fields with.
            mpp: µm per level-0 pixel.
            stop: Set to end it.
        """
        self._source, self._mpp, self._model_mpp, self._stop = source, mpp, card.mpp, stop
        self._profile = profile_of(card.applicability)
        self._chosen = [] if self._profile is None else _chosen(source.frame.box, tissue)
        self._seen: dict[Box, Field | None] = {}

    def look_within(self, m_box: Box) -> None:
        """Look at the fields of a box of whole squares; safe on several threads as long as their boxes do not overlap.

        Raises:
            Cancelled: ``stop`` was set.
            SlideError: pixels cannot be decoded.
        """
        self._look([m_field for m_field in self._chosen if not m_field.intersect(m_box).empty])

    def finish(self) -> Applicability | None:
        """Look at the fields that are left and return what all look like; None if the card has no profile.

        Raises:
            Cancelled: ``stop`` was set.
            SlideError: pixels cannot be decoded.
        """
        if self._profile is None:
            return None
        left = (m_box for m_box in self._chosen if m_box not in self._seen)
        for _, row in groupby(left, key=lambda m_box: m_box.y0 // SQUARE):
            self._look(list(row))
        seen = (self._seen[m_box] for m_box in self._chosen)
        fields = tuple(field for field in seen if field is not None)
        return Applicability(self._profile, fields, mpp=self._mpp, model_mpp=self._model_mpp)

    def _look(self, m_boxes: list[Box]) -> None:
        if not m_boxes:
            return
        profile = self._profile
        assert profile is not None
        self._source.fetch(m_boxes)
        for m_box in m_boxes:
            if self._stop.is_set():
                raise Cancelled("stopped")
            features = describe(self._source.read(m_box))
            self._seen[m_box] = (
                None
                if features is None
                else Field(m_box, features, profile.distance(features), profile.is_unlike(features))
            )


def _chosen(m_whole: Box, tissue: TissueMask) -> list[Box]:
    """Return the field with most tissue of each square that holds some, evenly thinned out where they are many."""
    squares = [square for square in m_whole.tiles(SQUARE) if tissue.touches(square)]
    if len(squares) > MOST_FIELDS:
        squares = [squares[index] for index in np.linspace(0, len(squares) - 1, MOST_FIELDS).astype(int)]
    return [_fullest(square, tissue) for square in squares]


def _fullest(square: Box, tissue: TissueMask) -> Box:
    """Return the field of a square that holds most tissue, the most central of equals."""
    cells = tissue.pixels(square)[:: tissue.cell, :: tissue.cell].astype(np.int64)
    side = max(1, FIELD // tissue.cell)
    counts = np.zeros((cells.shape[0] + 1, cells.shape[1] + 1), np.int64)
    counts[1:, 1:] = cells.cumsum(axis=0).cumsum(axis=1)
    tall, wide = min(side, cells.shape[0]), min(side, cells.shape[1])
    held = counts[tall:, wide:] - counts[:-tall, wide:] - counts[tall:, :-wide] + counts[:-tall, :-wide]
    rows, columns = np.nonzero(held == held.max())
    off = np.hypot(rows - (held.shape[0] - 1) / 2, columns - (held.shape[1] - 1) / 2)
    best = int(off.argmin())
    y, x = (
        square.y0 + min(int(rows[best]) * tissue.cell, max(0, square.height - FIELD)),
        square.x0 + min(int(columns[best]) * tissue.cell, max(0, square.width - FIELD)),
    )
    return Box(x, y, x + FIELD, y + FIELD).intersect(square)
