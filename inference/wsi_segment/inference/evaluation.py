"""How good a model is on a dataset: every image through the engine's own windows and stitching."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsi_segment.inference.frame import mask_frame
from wsi_segment.inference.lattice import Lattice, stride_of
from wsi_segment.inference.network import Network
from wsi_segment.inference.pixels import PixelSource
from wsi_segment.inference.predict import RegionPredictor
from wsi_segment.inference.readers.image import ImageSlide
from wsi_segment.inference.tissue import find_tissue
from wsi_segment.model.card import ModelCard
from wsi_segment.model.dataset import Dataset, Split
from wsi_segment.model.errors import DatasetError
from wsi_segment.model.metrics import Calibration, Confusion, bach_score, confusion_matrix, lesion_dice, score


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A model's confusion on one split, beside that of always answering the commonest class of train."""

    split: Split
    images: int
    groups: int
    names: tuple[str, ...]
    confusion: Confusion
    """(C, C + 1) pixels, see :func:`wsi_segment.model.metrics.confusion_matrix`."""
    baseline: Confusion
    baseline_class: str
    calibration_error: float
    """Expected calibration error of the pixels."""
    bach_score: float | None
    """Mean over images, where the dataset's classes are grades; None elsewhere."""
    image_accuracy: float | None
    """Share of labelled images whose label is the commonest of the label classes in the mask; None without labels."""

    def as_dict(self) -> dict[str, Any]:
        """All scores, plain, for JSON and for the card."""
        names = list(self.names)
        return {
            "split": self.split,
            "images": self.images,
            "cases": self.groups,
            "lesion_dice": round(lesion_dice(self.confusion), 4),
            **score(self.confusion).as_dict(names),
            "calibration_error": round(self.calibration_error, 4),
            "image_accuracy": None if self.image_accuracy is None else round(self.image_accuracy, 4),
            **({} if self.bach_score is None else {"bach_score": round(self.bach_score, 4)}),
            "majority_baseline": {
                "class": self.baseline_class,
                "lesion_dice": round(lesion_dice(self.baseline), 4),
                **{
                    key: value
                    for key, value in score(self.baseline).as_dict(names).items()
                    if key in ("macro_f1", "micro_f1", "accuracy")
                },
            },
        }


def evaluate(
    dataset: Dataset,
    split: Split,
    card: ModelCard,
    network: Network,
    overlap: float,
    step: Callable[[int, int], None] = lambda done, total: None,
) -> Evaluation:
    """Score a model on the images of a split that have masks.

    Args:
        dataset: Its classes must be the card's, in the same order.
        split: Which images.
        card: The model's.
        network: The model's.
        overlap: Share of a window that its neighbour covers too.
        step: Called with (images done, images in all).

    Raises:
        DatasetError: other classes, or no image with a mask.
    """
    names = tuple(entry.name for entry in dataset.classes)
    if names != tuple(entry.name for entry in card.classes):
        raise DatasetError(f"{dataset.name}: its classes {names} are not those of {card.name}")
    items = [item for item in dataset.split(split) if item.mask is not None]
    if not items:
        raise DatasetError(f"{dataset.name}: no image with a mask in {split}")
    majority = _majority_class(dataset)
    confusion = np.zeros((len(names), len(names) + 1), np.int64)
    baseline = confusion.copy()
    calibration = Calibration()
    label_classes = sorted({item.label for item in items if item.label is not None})
    recognised: list[bool] = []
    graded: list[float] = []
    for done, item in enumerate(items, start=1):
        truth = dataset.read_mask(item)
        pixels = dataset.read_image(item)
        if truth is None or truth.shape != pixels.shape[:2]:
            raise DatasetError(f"{item.mask}: is not of the size of its image {item.image}")
        prediction, confidence = predict_image(pixels, dataset.mpp, card, network, overlap)
        calibration.add(truth, prediction, confidence)
        if item.label is not None:
            areas = np.bincount(prediction.ravel(), minlength=len(names) + 1)[label_classes]
            recognised.append(label_classes[int(areas.argmax())] == item.label)
        counts = confusion_matrix(truth, prediction, len(names))
        confusion += counts
        graded.append(bach_score(counts))
        baseline += confusion_matrix(truth, np.full_like(truth, majority), len(names))
        step(done, len(items))
    return Evaluation(
        split=split,
        images=len(items),
        groups=len({item.group for item in items}),
        names=names,
        confusion=confusion,
        baseline=baseline,
        baseline_class=names[majority - 1],
        calibration_error=calibration.error,
        bach_score=float(np.nanmean(graded)) if dataset.ordered and not np.isnan(graded).all() else None,
        image_accuracy=sum(recognised) / len(recognised) if recognised else None,
    )


def predict_image(
    pixels: NDArray[np.uint8], mpp: float, card: ModelCard, network: Network, overlap: float
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Class ids (h, w) of an RGB image (h, w, 3) and the probability of each, at the image's own pixel size.

    Args:
        pixels: The image; all of it is analysed.
        mpp: µm per pixel; where the model's differs, the prediction is enlarged to the nearest pixel.
        card: The model's.
        network: The model's.
        overlap: Share of a window that its neighbour covers too.
    """
    slide = ImageSlide(pixels)
    frame = mask_frame(slide, mpp, card.mpp)
    lattice = Lattice(frame.width, frame.height, card.window, stride_of(overlap, card.window, card.output_stride))
    everything = find_tissue(slide, frame, card.mpp, "none", lambda done, total: None)
    predictor = RegionPredictor(PixelSource(slide, frame), lattice, everything, network, card, 16, lattice.rows)
    prediction = predictor.predict(frame.box)
    ids = prediction.class_ids()
    confidence = np.maximum.reduce(list(prediction.probability_planes())).astype(np.float32) / 255
    rows, columns = (
        np.minimum((np.arange(n) / frame.downsample).astype(np.int64), m - 1)
        for n, m in zip(pixels.shape[:2], ids.shape, strict=True)
    )
    return ids[np.ix_(rows, columns)], confidence[np.ix_(rows, columns)]


def _majority_class(dataset: Dataset) -> int:
    counts = np.zeros(len(dataset.classes) + 1, np.int64)
    for item in dataset.split("train"):
        if (mask := dataset.read_mask(item)) is not None:
            counts += np.bincount(mask.ravel(), minlength=len(counts))
    return int(counts[1:].argmax()) + 1
