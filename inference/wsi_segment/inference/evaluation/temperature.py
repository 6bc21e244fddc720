"""How sure a model should be: the temperature at which its probabilities are right as often as they say.

Dividing all logits by one number leaves the likeliest class of a cell (Guo et al. 2017). What is averaged or
interpolated of cells moves a little, and so do outlines where kinds are smoothed: P(background) is a half elsewhere.
It is chosen for the whole of what a mask is made by, smoothing included, so the network runs once and its logits are
looked at many times.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from wsi_segment.inference.engine.networks.network import Network
from wsi_segment.inference.evaluation.model_scores import evaluate
from wsi_segment.inference.progress import Step, no_step
from wsi_segment.model.card import ModelCard
from wsi_segment.model.data.dataset import Dataset

TEMPERATURES = tuple(round(0.6 + 0.1 * step, 1) for step in range(13))
"""Temperatures to try."""
MOST_IMAGES = 400
"""Most images of ``val`` to use, spread evenly over it; their logits are held in memory."""


@dataclass(frozen=True, slots=True)
class Temperature:
    """The best of those that were tried."""

    value: float
    error: float
    """Expected calibration error at it."""
    error_before: float
    """Expected calibration error at 1, as the network is."""
    images: int


class _Replayed:
    """A network whose logits are kept, to be given again, in the same order, at another temperature."""

    def __init__(self, network: Network) -> None:
        self._network, self._kept = network, list[NDArray[np.float32]]()
        self._next = 0
        self.temperature = 1.0

    def __call__(self, windows: NDArray[np.uint8]) -> NDArray[np.float32]:
        if self._next == len(self._kept):
            self._kept.append(np.array(self._network(windows), np.float32))
        logits = self._kept[self._next] / np.float32(self.temperature)
        self._next += 1
        return logits

    def rewind(self, temperature: float) -> None:
        """Begin again, at another temperature."""
        self._next, self.temperature = 0, temperature


def find_temperature(dataset: Dataset, card: ModelCard, network: Network, step: Step = no_step) -> Temperature:
    """Find the temperature with the smallest calibration error on ``val``.

    Args:
        dataset: Its images of ``val`` with a mask are used.
        card: The model's.
        network: The model's, which gives logits.
        step: Called with (temperatures done, temperatures in all).

    Raises:
        DatasetError: there is no image of ``val`` with a mask.
    """
    items = [item for item in dataset.split("val") if item.mask is not None]
    if len(items) > MOST_IMAGES:
        items = [items[index] for index in np.linspace(0, len(items) - 1, MOST_IMAGES).astype(int)]
    part: Dataset = replace(dataset, items=tuple(items))
    replayed, errors = _Replayed(network), dict[float, float]()
    for done, temperature in enumerate((1.0, *(t for t in TEMPERATURES if t != 1.0)), start=1):
        replayed.rewind(temperature)
        errors[temperature] = evaluate(part, "val", card=card, network=replayed).calibration_error
        step(done, len(TEMPERATURES))
    best = min(errors, key=lambda temperature: (errors[temperature], abs(temperature - 1)))
    return Temperature(best, errors[best], errors[1.0], len(items))
