"""How good a finished mask is where the slide has been annotated, so that a lab can validate on its own slides."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from wsi_segment.errors import DatasetError
from wsi_segment.inference.evaluation.annotations import AnnotationMap, class_ids, read_annotations
from wsi_segment.inference.grid.box import Box
from wsi_segment.inference.mask.mask import Mask
from wsi_segment.inference.progress import Step, no_step
from wsi_segment.model.metrics import Confusion, bach_score, confusion_matrix, lesion_dice, score

_SIDE = 2048


@dataclass(frozen=True, slots=True)
class MaskEvaluation:
    """A mask's confusion with the annotations of its slide."""

    names: tuple[str, ...]
    confusion: Confusion
    """(C, C + 1) pixels, see :func:`wsi_segment.model.metrics.confusion_matrix`."""
    mm2_per_pixel: float
    left_out: str
    """Annotations that were not used, in words; empty if all were."""

    def as_dict(self, ordered: bool) -> dict[str, Any]:
        """Return all scores, plain, for JSON; with the BACH score where classes are grades."""
        figures: dict[str, Any] = {
            "annotated_mm2": round(float(self.confusion.sum()) * self.mm2_per_pixel, 4),
            "not_analysed_mm2": round(float(self.confusion[:, -1].sum()) * self.mm2_per_pixel, 4),
            "lesion_dice": round(lesion_dice(self.confusion), 4),
            **score(self.confusion).as_dict(list(self.names)),
        }
        if self.left_out:
            figures["left_out"] = self.left_out
        return figures | ({"bach_score": round(bach_score(self.confusion), 4)} if ordered else {})


def evaluate_mask(store: Path, annotations: Path, step: Step = no_step) -> MaskEvaluation:
    """Compare a mask with annotations, pixel by pixel, where there are any.

    Args:
        store: A finished mask.
        annotations: GeoJSON or ImageScope XML of the same slide; classes bear the names of the mask's. An annotation
            without a class, or with one that ends in an asterisk, is left out, as is all within one of ``Ignore*``.
        step: Called with (squares done, squares in all).

    Raises:
        OutputError: no finished mask is there.
        DatasetError: the file is unreadable, a class is not the mask's, or nothing of the mask is annotated.

    Memory bound:
        The annotations, and one square of 2,048 px.
    """
    mask = Mask.open(store)
    finest = mask.levels[0]
    ids = {entry.name: entry.id for entry in mask.classes if entry.id}
    as_outlined = {name.replace(":", " -"): class_id for name, class_id in ids.items()}  # by this project's GeoJSON
    unknown = f"is not the mask's; its classes are {', '.join(ids)}"
    x0, y0 = mask.origin[0] - mask.bounds.x0, mask.origin[1] - mask.bounds.y0
    extent = x0, y0, x0 + finest.width * finest.downsample, y0 + finest.height * finest.downsample
    outlines = read_annotations(annotations, extent, f"the mask {store.name}")
    truth = AnnotationMap(
        outlines.areas,
        class_ids((as_outlined | ids).get, annotations, unknown),
        origin=(x0, y0),
        downsample=finest.downsample,
    )
    squares = [box for box in Box(0, 0, finest.width, finest.height).tiles(_SIDE) if truth.touches(box)]
    confusion: Confusion = np.zeros((len(ids), len(ids) + 1), np.int64)
    for done, box in enumerate(squares, start=1):
        confusion += confusion_matrix(truth(box), mask.read(0, box), len(ids))
        step(done, len(squares))
    if not confusion.any():
        raise DatasetError(
            f"{annotations}: no outline with a class lies on the mask {store.name}; is it of another slide?"
        )
    mm2 = mask.pixel_size.x * mask.pixel_size.y * finest.downsample**2 / 1e6
    return MaskEvaluation(tuple(ids), confusion, mm2, outlines.describe_left_out(extent))
