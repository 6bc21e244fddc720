"""How similar a picture is to the training images, judged by its pixels alone, before any network runs.

A field is described by a few figures of stain and of detail. What is usual of them in the training images is the
model's profile: mean and covariance, ranges of density and sharpness, and a distance (Mahalanobis 1936) that few
images of `val` exceed. A network is no more doubtful about what it never saw, so this is where it shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

FIELD = 224
"""Side of a field, in pixels at the model's mpp; training images may be smaller or larger."""
FEATURES = ("density", "contrast", "red", "blue", "tint", "sharpness", "detail", "structure")
"""Features of a field, in this order, see :func:`describe`."""

FALSE_ALARMS = 0.02
"""Share of the images of `val` whose distance exceeds the threshold."""
_DENSITY_OF = (-np.log10((np.arange(256) + 1) / 256)).astype(np.float32)
"""Optical density of each value of a channel. Features differ by 1e-7 from those in double precision, and take a third
of the time: a field fits into a core's cache."""
_LEAST_TISSUE = 0.1
_FAINTEST = 0.06
"""Mean optical density of a pixel that counts as tissue."""
_RIDGE = 1e-3
"""Of each feature's variance, so that features that hardly vary decide nothing by themselves."""
_RANGE = 0.005
"""Share of the training images beyond each end of a range."""
_SLACK = 1.1
"""By how much a range is widened on both sides."""

Vector = NDArray[np.float64]


def describe(pixels: NDArray[np.uint8]) -> Vector | None:
    """Return the features (8,) of a field, None where it holds too little tissue to tell.

    ``density`` is the logarithm of the mean optical density of the tissue, ``contrast`` its relative spread, ``red``
    and ``blue`` the share of these channels in it (haematoxylin and eosin differ there), ``tint`` the spread of the
    colour; ``sharpness``, ``detail`` and ``structure`` compare what changes within 1, 2 and 4 pixels with what changes
    within twice as much, whatever the stain's strength.

    Args:
        pixels: RGB (h, w, 3) at the model's mpp, at least 32 pixels on each side.
    """
    red, green, blue = (np.take(_DENSITY_OF, pixels[..., channel]) for channel in range(3))
    grey: NDArray[np.float32] = (red + green + blue) / np.float32(3)
    tissue = grey > _FAINTEST
    if min(grey.shape) < 32 or tissue.mean() < _LEAST_TISSUE:
        return None
    stained, red, blue = grey[tissue], red[tissue], blue[tissue]
    mean = stained.mean()
    fine, middle, coarse, coarsest = _band_energies(grey, 4)
    return np.array(
        [
            np.log10(mean),
            stained.std() / mean,
            red.mean() / (3 * mean),
            blue.mean() / (3 * mean),
            ((red - blue) / (3 * mean)).std(),
            np.log10(fine / middle),
            np.log10(middle / coarse),
            np.log10(coarse / coarsest),
        ]
    )


def _band_energies(grey: NDArray[np.float32], bands: int) -> list[float]:
    """Return the mean square of what each halving of a picture (h, w) leaves out, never 0."""
    energies = []
    for _ in range(bands):
        whole = grey[: grey.shape[0] // 2 * 2, : grey.shape[1] // 2 * 2]
        # four strided sums: numpy is several times slower along axes of two
        half = ((whole[::2, ::2] + whole[::2, 1::2]) + (whole[1::2, ::2] + whole[1::2, 1::2])) * np.float32(0.25)
        detail = whole - half.repeat(2, axis=0).repeat(2, axis=1)
        energies.append(float((detail * detail).mean()) + 1e-9)
        grey = half
    return energies


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Range(_Strict):
    """What is usual of one figure."""

    low: float
    median: float
    high: float

    def holds(self, value: float) -> bool:
        """Return whether a value is usual."""
        return self.low <= value <= self.high


class Profile(_Strict):
    """What training images look like; a card's ``applicability``."""

    features: tuple[str, ...]
    """Names, as in ``FEATURES``."""
    mean: tuple[float, ...]
    precision: tuple[tuple[float, ...], ...]
    """Inverse of the covariance."""
    density: Range
    """Mean optical density of the tissue."""
    sharpness: Range
    """Ratio of what changes within 1 pixel to what changes within 2."""
    usual_distance: float
    """Median over `val`."""
    largest_distance: float
    """Distance beyond which a field is unlike the training images."""
    fitted_on: str
    """Images that the profile was fitted on, in words."""

    def distance(self, features: Vector) -> float:
        """Return the Mahalanobis distance of a field's features from those of the training images."""
        apart = features - np.array(self.mean)
        return float(np.sqrt(max(0.0, apart @ np.array(self.precision) @ apart)))

    def is_unlike(self, features: Vector) -> bool:
        """Return whether a field is outside of a range or beyond the largest distance."""
        return not (
            self.density.holds(density_of(features))
            and self.sharpness.holds(sharpness_of(features))
            and self.distance(features) <= self.largest_distance
        )


def density_of(features: Vector) -> float:
    """Return the mean optical density of a field's tissue."""
    return float(10 ** features[FEATURES.index("density")])


def sharpness_of(features: Vector) -> float:
    """Return how much changes within 1 pixel, as a share of what changes within 2."""
    return float(10 ** features[FEATURES.index("sharpness")])


def profile_of(applicability: dict[str, Any] | None) -> Profile | None:
    """Return the profile that a card states, None for none, or for one that this version does not know."""
    if applicability is None:
        return None
    try:
        profile = Profile.model_validate(applicability)
    except ValidationError:
        return None
    return profile if profile.features == FEATURES else None


def fit_profile(train: Sequence[Vector], val: Sequence[Vector], fitted_on: str) -> Profile:
    """Learn what is usual from the features of training images, and how far images of `val` are from it.

    Raises:
        ValueError: there are fewer images than features, or none of `val`.
    """
    if len(train) <= len(FEATURES) or not val:
        raise ValueError(f"{len(train)} training images and {len(val)} of val are too few")
    known = np.stack(train)
    covariance = np.cov(known, rowvar=False)
    covariance += np.diag(_RIDGE * np.diag(covariance) + 1e-9)

    def rounded(values: Vector) -> tuple[float, ...]:
        return tuple(float(f"{value:.5g}") for value in values)

    def usual(values: list[float]) -> Range:
        low, median, high = np.quantile(values, [_RANGE, 0.5, 1 - _RANGE])
        return Range(low=round(low / _SLACK, 4), median=round(float(median), 4), high=round(high * _SLACK, 4))

    profile = Profile(
        features=FEATURES,
        mean=rounded(known.mean(axis=0)),
        precision=tuple(rounded(row) for row in np.linalg.inv(covariance)),
        density=usual([density_of(features) for features in train]),
        sharpness=usual([sharpness_of(features) for features in train]),
        usual_distance=0.0,
        largest_distance=0.0,
        fitted_on=fitted_on,
    )
    distances = [profile.distance(features) for features in val]
    usual_distance, largest = np.quantile(distances, [0.5, 1 - FALSE_ALARMS])
    return profile.model_copy(
        update={"usual_distance": round(float(usual_distance), 3), "largest_distance": round(float(largest), 3)}
    )
