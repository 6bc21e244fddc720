"""Fields of slides whose masks would teach a model most, as annotations for QuPath."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from wsi_segment.errors import InputError
from wsi_segment.inference.engine.networks.network import Network
from wsi_segment.inference.engine.options import SegmentOptions
from wsi_segment.inference.engine.predict import RegionPrediction, RegionPredictor
from wsi_segment.inference.engine.prepare import Prepared, prepare
from wsi_segment.inference.engine.windows import settle_sides
from wsi_segment.inference.evaluation.annotating.choose import Floats, choose, mean_entropy
from wsi_segment.inference.grid.box import Box
from wsi_segment.inference.progress import Step, Watch, no_step
from wsi_segment.inference.slides.open import open_slide
from wsi_segment.inference.slides.pixels import PixelSource
from wsi_segment.inference.slides.readers.icc import ColourManaged
from wsi_segment.inference.slides.readers.scaled import with_scaled_levels
from wsi_segment.model.card import Model
from wsi_segment.model.likeness import FEATURES, describe

SIDE = 512
"""Of a field, mask pixels; that of the smallest blocks, so that one is computed for each."""
MOST_CANDIDATES = 200
"""Fields of a slide that are looked at, spread evenly over its tissue."""
_LEAST_TISSUE = 0.5
"""Least share of tissue of a field."""
_EVERY = 8
"""Step between the pixels along an axis that count for the uncertainty: about one per output cell."""
_NAMESPACE = uuid.UUID("6d0cbf3c-5d7e-5c1e-9a0b-0d1f6f0a7b12")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A field that could be annotated."""

    slide: Path
    fingerprint: str
    corner: tuple[float, float]
    """Corner in level-0 pixels from the corner of the slide's bounds."""
    width: float
    """Level-0 pixels."""
    height: float
    uncertainty: float
    """Mean entropy, 0 to 1."""
    features: Floats
    """What makes fields alike: mean probabilities, stain and detail."""


def candidates_of(
    path: Path, model: Model, options: SegmentOptions, network: Network, step: Step = no_step
) -> list[Candidate]:
    """Look at fields of a slide.

    Args:
        path: The slide.
        model: Whose masks are to become better.
        options: As in segmentation; those of the output are not used.
        network: The model's.
        step: Called with (fields done, fields in all).

    Raises:
        InputError: slide, model or options are at fault, or too little tissue was found.
    """
    if settle_sides(model.card, None, None).overlap is None:
        options = replace(options, window=SIDE)  # a larger block would be computed for each of its fields
    with closing(open_slide(path, options.image)) as slide:
        scaled = with_scaled_levels(slide)
        seen = ColourManaged(scaled) if options.apply_icc else scaled
        prepared = prepare(seen, path=path, model=model, options=options, look=False, watch=Watch())
        source = PixelSource(seen, prepared.frame)
        predictor = RegionPredictor(
            source=source,
            lattice=prepared.lattice,
            tissue=prepared.tissue,
            network=network,
            card=model.card,
            batch_size=prepared.batch_size,
            band_rows=prepared.plan.budget.band_rows,
        )
        boxes = _fields_of(prepared)
        if not boxes:
            raise InputError(f"{path}: no field of {SIDE} px is half of tissue; there is nothing to suggest")
        found = []
        origin = prepared.frame.s_x0 - slide.bounds.x0, prepared.frame.s_y0 - slide.bounds.y0
        for done, box in enumerate(boxes, start=1):
            uncertainty, shares = _unsure(predictor.predict(box))
            looks = describe(source.read(box))
            downsample = prepared.frame.downsample
            found.append(
                Candidate(
                    slide=path,
                    fingerprint=prepared.provenance["slide"]["fingerprint"],
                    corner=(box.x0 * downsample + origin[0], box.y0 * downsample + origin[1]),
                    width=box.width * downsample,
                    height=box.height * downsample,
                    uncertainty=uncertainty,
                    features=np.concatenate([shares, np.zeros(len(FEATURES)) if looks is None else looks]),
                )
            )
            step(done, len(boxes))
        return found


def _fields_of(prepared: Prepared) -> list[Box]:
    """Return whole fields of which half is tissue, at most ``MOST_CANDIDATES`` of them; smaller ones at the edge."""
    boxes = [
        box
        for box in prepared.frame.box.tiles(SIDE)
        if min(box.width, box.height) >= SIDE // 4 and prepared.tissue.pixels(box).mean() >= _LEAST_TISSUE
    ]
    if len(boxes) > MOST_CANDIDATES:
        boxes = [boxes[index] for index in np.linspace(0, len(boxes) - 1, MOST_CANDIDATES).astype(int)]
    return boxes


def _unsure(prediction: RegionPrediction) -> tuple[float, Floats]:
    """Return the mean entropy of a field and its mean probabilities (C,)."""
    planes = [plane[::_EVERY, ::_EVERY].ravel() / 255 for plane in prediction.probability_planes()]
    shares = np.stack(planes).astype(np.float64)
    return mean_entropy(shares), shares.mean(axis=1)


def suggest(candidates: Sequence[Candidate], count: int) -> list[Candidate]:
    """Return the fields whose masks would teach most, over all slides together, the most useful first."""
    if not candidates:
        return []
    features = np.stack([candidate.features for candidate in candidates])
    return [candidates[i] for i in choose([one.uncertainty for one in candidates], features, count)]


def as_geojson(chosen: Sequence[Candidate], slide: Path) -> dict[str, Any]:
    """Return annotations for QuPath: rectangles in level-0 pixels, numbered by their rank among all that were chosen.

    Args:
        chosen: In their order, of any slides.
        slide: Whose fields are returned.
    """
    ranked = ((rank, one) for rank, one in enumerate(chosen, start=1) if one.slide == slide)
    return {"type": "FeatureCollection", "features": list(_features(ranked))}


def _features(ranked: Iterator[tuple[int, Candidate]]) -> Iterator[dict[str, Any]]:
    for rank, one in ranked:
        x0, y0 = (round(value, 2) for value in one.corner)
        x1, y1 = round(one.corner[0] + one.width, 2), round(one.corner[1] + one.height, 2)
        yield {
            "type": "Feature",
            "id": str(uuid.uuid5(_NAMESPACE, f"{one.fingerprint}/{x0}/{y0}/{x1}/{y1}")),
            "geometry": {"type": "Polygon", "coordinates": [[[x0, y0], [x1, y0], [x1, y1], [x0, y1], [x0, y0]]]},
            "properties": {
                "objectType": "annotation",
                "name": f"annotate {rank}",
                "isLocked": True,
                "classification": {"name": "Region*", "color": [180, 180, 180]},
                "measurements": {"Rank": rank, "Uncertainty": round(one.uncertainty, 4)},
            },
        }
