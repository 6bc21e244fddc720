"""How good a model is on a dataset: every image through the engine's own windows and stitching."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsi_segment.errors import DatasetError
from wsi_segment.inference.engine.networks.network import Network
from wsi_segment.inference.engine.predict import RegionPredictor
from wsi_segment.inference.engine.tissue import find_tissue
from wsi_segment.inference.engine.windows import lattice_of
from wsi_segment.inference.evaluation.shifts import Shift
from wsi_segment.inference.progress import Step, no_step
from wsi_segment.inference.slides.frame import mask_frame
from wsi_segment.inference.slides.pixels import PixelSource
from wsi_segment.inference.slides.readers.image import ImageSlide
from wsi_segment.model.card import ModelCard
from wsi_segment.model.data.dataset import Dataset, Item, Split
from wsi_segment.model.metrics import (
    Calibration,
    Confusion,
    bach_score,
    bootstrap_intervals,
    confusion_matrix,
    lesion_dice,
    score,
)


@dataclass(frozen=True, slots=True)
class ImageResult:
    """What a model made of one image."""

    item: Item
    confusion: Confusion
    """(C, C + 1) pixels, see :func:`wsi_segment.model.metrics.confusion_matrix`; all 0 without a mask."""
    label: int | None
    """The commonest in the mask of the classes that images of the split are labelled with; None without labels."""

    @property
    def accuracy(self) -> float:
        """Share of the labelled pixels that are right."""
        return float(np.trace(self.confusion) / max(1, self.confusion.sum()))


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A model's results on one split, beside that of always answering the commonest class of train."""

    split: Split
    names: tuple[str, ...]
    images: tuple[ImageResult, ...]
    """With a mask, a label, or both: figures of pixels are of those with a mask, that of labels of those with one."""
    baseline_class: int
    """Class id."""
    calibration_error: float
    """Expected calibration error of the pixels; NaN without any."""
    ordered: bool
    """Whether classes are grades."""

    @property
    def masked(self) -> tuple[ImageResult, ...]:
        """The images that have a mask."""
        return tuple(image for image in self.images if image.item.mask is not None)

    @property
    def confusion(self) -> Confusion:
        """Of all images."""
        return _sum(self.images)

    @property
    def image_accuracy(self) -> float | None:
        """Share of labelled images whose label was found; None without labels."""
        found = [image.label == image.item.label for image in self.images if image.item.label is not None]
        return sum(found) / len(found) if found else None

    def as_dict(self) -> dict[str, Any]:
        """Return all scores, plain, for JSON and for the card.

        ``confusion`` is what they come from: pixels, a row for each true class and a column for each predicted one, in
        the card's order, with those that were not analysed in the last column. Without a mask, figures of pixels
        are None.
        """
        names, confusion, masked, accuracy = list(self.names), self.confusion, self.masked, self.image_accuracy
        baseline = np.zeros_like(confusion)
        baseline[:, self.baseline_class - 1] = confusion.sum(axis=1)
        return {
            "split": self.split,
            "images": len(masked),
            "cases": len({image.item.group for image in masked}),
            **figures_of(confusion),
            "per_class": score(confusion).as_dict(names)["per_class"],
            "confusion": confusion.tolist(),
            **({"per_label": self._per_label()} if accuracy is not None else {}),
            "intervals_95": bootstrap_intervals(self._by_case()) if masked else {},
            "calibration_error": _plain(self.calibration_error),
            "image_accuracy": None if accuracy is None else round(accuracy, 4),
            **({"bach_score": self._bach_score()} if self.ordered else {}),
            "majority_baseline": {"class": names[self.baseline_class - 1], **figures_of(baseline)},
        }

    def headline(self) -> dict[str, Any]:
        """Return the few scores that a table of many evaluations has room for, with their intervals over cases."""
        return {
            **figures_of(self.confusion),
            "calibration_error": _plain(self.calibration_error),
            "intervals_95": bootstrap_intervals(self._by_case()) if self.masked else {},
        }

    def _per_label(self) -> dict[str, Any]:
        """Return figures of the images of each label."""
        rows: dict[str, Any] = {}
        for label in sorted({image.item.label for image in self.images if image.item.label is not None}):
            images = [image for image in self.images if image.item.label == label]
            figures = figures_of(_sum(images))
            found = sum(image.label == label for image in images) / len(images)
            rows[self.names[label - 1]] = {
                "images": len(images),
                "masks": sum(image.item.mask is not None for image in images),
                "lesion_dice": figures["lesion_dice"],
                "accuracy": figures["accuracy"],
                "label_found": round(found, 4),
            }
        return rows

    def _by_case(self) -> list[Confusion]:
        groups: dict[str, list[ImageResult]] = {}
        for image in self.masked:
            groups.setdefault(image.item.group, []).append(image)
        return [_sum(images) for images in groups.values()]

    def _bach_score(self) -> float | None:
        """Return the mean over cases, which are slides where slides were cut into tiles, as in the challenge."""
        scores = [bach_score(confusion) for confusion in self._by_case()]
        known = [value for value in scores if not np.isnan(value)]
        return round(float(np.mean(known)), 4) if known else None


def _sum(images: Iterable[ImageResult]) -> Confusion:
    total: Confusion = np.sum([image.confusion for image in images], axis=0)
    return total


def figures_of(confusion: Confusion) -> dict[str, float | None]:
    """Return lesion Dice, macro F1, micro F1 and accuracy, to four digits; None where nothing is labelled."""
    scores = score(confusion).as_dict([str(index) for index in range(confusion.shape[0])])
    return {"lesion_dice": _plain(lesion_dice(confusion))} | {
        key: scores[key] for key in ("macro_f1", "micro_f1", "accuracy")
    }


def _plain(value: float) -> float | None:
    return None if np.isnan(value) else round(value, 4)


def evaluate(
    dataset: Dataset,
    split: Split,
    *,
    card: ModelCard,
    network: Network,
    window: int | None = None,
    overlap: float | None = None,
    shift: Shift | None = None,
    baseline_class: int | None = None,
    step: Step = no_step,
) -> Evaluation:
    """Score a model on the images of a split that have a mask or a label.

    Args:
        dataset: Its classes must be the card's, in the same order.
        split: Which images.
        card: The model's.
        network: The model's.
        window: Side of windows or blocks, see :func:`wsi_segment.inference.engine.windows.lattice_of`.
        overlap: Share of a window that its neighbour covers too; None as for a slide.
        shift: Change of all images; None for the images as they are.
        baseline_class: The commonest of train, where it is known from an earlier call.
        step: Called with (images done, images in all).

    Raises:
        DatasetError: other classes, or no image with a mask or a label.
    """
    names = shared_names(dataset, card)
    items = [item for item in dataset.split(split) if item.mask is not None or item.label is not None]
    if not items:
        raise DatasetError(f"{dataset.name}: no image of {split} has a mask or a label; give some the split {split}")
    calibration = Calibration()
    label_classes = sorted({item.label for item in items if item.label is not None})
    results: list[ImageResult] = []
    for done, item in enumerate(items, start=1):
        truth, pixels = read_pair(dataset, item)
        if shift is not None:
            truth, pixels = shift.apply(truth, pixels)
        prediction, confidence = predict_image(
            pixels, dataset.mpp, card=card, network=network, window=window, overlap=overlap
        )
        calibration.add(truth, prediction, confidence)
        label = None
        if label_classes:
            areas = np.bincount(prediction.ravel(), minlength=len(names) + 1)[label_classes]
            label = label_classes[int(areas.argmax())]
        results.append(ImageResult(item, confusion_matrix(truth, prediction, len(names)), label))
        step(done, len(items))
    return Evaluation(
        split=split,
        names=names,
        images=tuple(results),
        baseline_class=int(dataset.count_pixels("train").argmax()) + 1 if baseline_class is None else baseline_class,
        calibration_error=calibration.error,
        ordered=dataset.ordered,
    )


def shared_names(dataset: Dataset, card: ModelCard) -> tuple[str, ...]:
    """Return the names of a dataset's classes, which must be the model's, in the same order.

    Raises:
        DatasetError: other classes.
    """
    names = tuple(entry.name for entry in dataset.classes)
    if names != tuple(entry.name for entry in card.classes):
        raise DatasetError(f"{dataset.name}: its classes {names} are not those of {card.name}")
    return names


def read_pair(dataset: Dataset, item: Item) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Read class ids (h, w), all 0 without a mask, and RGB (h, w, 3) of an item.

    Raises:
        DatasetError: they differ in size.
    """
    truth, pixels = dataset.read_mask(item), dataset.read_image(item)
    return np.zeros(pixels.shape[:2], np.uint8) if truth is None else truth, pixels


def predict_image(
    pixels: NDArray[np.uint8],
    mpp: float,
    *,
    card: ModelCard,
    network: Network,
    window: int | None = None,
    overlap: float | None = None,
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Predict class ids (h, w) of an RGB image (h, w, 3) and the probability of each, at the image's own pixel size.

    Args:
        pixels: The image; all of it is analysed.
        mpp: µm per pixel; where the model's differs, the prediction is enlarged to the nearest pixel.
        card: The model's.
        network: The model's.
        window: Side of windows or blocks, see :func:`wsi_segment.inference.engine.windows.lattice_of`.
        overlap: Share of a window that its neighbour covers too; None as for a slide.
    """
    slide = ImageSlide(pixels)
    frame = mask_frame(slide, mpp, card.mpp)
    lattice = lattice_of(frame, card, window, overlap)
    everything = find_tissue(slide, frame, mask_mpp=card.mpp, method="none", step=no_step)
    predictor = RegionPredictor(
        source=PixelSource(slide, frame),
        lattice=lattice,
        tissue=everything,
        network=network,
        card=card,
        batch_size=16,
        band_rows=lattice.rows,
    )
    prediction = predictor.predict(frame.box)
    ids = prediction.class_ids()
    confidence = np.zeros(ids.shape, np.float32)
    for class_id, plane in enumerate(prediction.probability_planes(), start=1):
        np.divide(plane, np.float32(255), out=confidence, where=ids == class_id)
    rows, columns = (
        np.minimum((np.arange(n) / frame.downsample).astype(np.int64), m - 1)
        for n, m in zip(pixels.shape[:2], ids.shape, strict=True)
    )
    return ids[np.ix_(rows, columns)], confidence[np.ix_(rows, columns)]
