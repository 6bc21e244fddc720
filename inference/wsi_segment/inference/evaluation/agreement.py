"""Two files of one network on the same images: what each scores, and how many pixels they agree on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsi_segment.errors import DatasetError
from wsi_segment.inference.engine.networks.network import Network
from wsi_segment.inference.evaluation.model_scores import figures_of, predict_image, read_pair, shared_names
from wsi_segment.inference.grid.box import Box
from wsi_segment.inference.progress import Step, no_step
from wsi_segment.inference.slides.frame import mask_frame
from wsi_segment.inference.slides.pixels import PixelSource
from wsi_segment.inference.slides.readers.image import ImageSlide
from wsi_segment.model.card import ModelCard
from wsi_segment.model.data.dataset import Dataset, Split
from wsi_segment.model.metrics import Confusion, confusion_matrix


@dataclass(frozen=True, slots=True)
class Agreement:
    """What two networks made of the images of a split that have a mask."""

    images: int
    first: Confusion
    """(C, C + 1) pixels, see :func:`wsi_segment.model.metrics.confusion_matrix`."""
    second: Confusion
    share: float
    """Share of all pixels to which both give the same class."""


def compare(
    dataset: Dataset,
    split: Split,
    *,
    card: ModelCard,
    first: Network,
    second: Network,
    step: Step = no_step,
) -> Agreement:
    """Run two networks on the images of a split that have a mask, in the windows or blocks that are the card's default.

    Args:
        dataset: Its classes must be the card's, in the same order.
        split: Which images.
        card: That of both networks.
        first: One of them.
        second: The other.
        step: Called with (images done, images in all).

    Raises:
        DatasetError: other classes, or no image with a mask.
    """
    names = shared_names(dataset, card)
    items = [item for item in dataset.split(split) if item.mask is not None]
    if not items:
        raise DatasetError(f"{dataset.name}: no image of {split} has a mask; give some the split {split}")
    confusions = [np.zeros((len(names), len(names) + 1), np.int64) for _ in range(2)]
    same = pixels_seen = 0
    for done, item in enumerate(items, start=1):
        truth, pixels = read_pair(dataset, item)
        found = [predict_image(pixels, dataset.mpp, card=card, network=network)[0] for network in (first, second)]
        for confusion, ids in zip(confusions, found, strict=True):
            confusion += confusion_matrix(truth, ids, len(names))
        same += int(np.count_nonzero(found[0] == found[1]))
        pixels_seen += truth.size
        step(done, len(items))
    return Agreement(len(items), confusions[0], confusions[1], same / pixels_seen)


def real_windows(dataset: Dataset, split: Split, card: ModelCard, count: int, seed: int = 0) -> NDArray[np.uint8]:
    """Draw windows as the engine reads them, spread over the images of a split.

    Args:
        dataset: Of images; what they show is not asked.
        split: Which images.
        card: Says the windows' side and pixel size.
        count: How many windows.
        seed: Of the places in the images.

    Returns:
        RGB (count, window, window, 3).

    Raises:
        DatasetError: the split is empty.
    """
    items, rng = dataset.split(split), np.random.default_rng(seed)
    if not items:
        raise DatasetError(f"{dataset.name}: has no image in {split}")
    windows = []
    for index in np.linspace(0, len(items) - 1, count).round().astype(int):
        slide = ImageSlide(dataset.read_image(items[index]))
        frame = mask_frame(slide, dataset.mpp, card.mpp)
        y = int(rng.integers(max(1, frame.height - card.window + 1)))
        x = int(rng.integers(max(1, frame.width - card.window + 1)))
        windows.append(PixelSource(slide, frame).read(Box(x, y, x + card.window, y + card.window)))
    return np.stack(windows)


def plain(agreement: Agreement) -> dict[str, Any]:
    """Return the figures of the second network, and their distance from the first's, plain, for a card."""
    return {
        "images": agreement.images,
        **figures_of(agreement.second),
        "pixels_as_default": round(agreement.share, 4),
        "default": figures_of(agreement.first),
    }
