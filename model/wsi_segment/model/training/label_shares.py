"""The paper's settings: which share of the pixel-wise and of the image-level labels a network may learn from.

Shares are in percent, drawn by seed within each class, so that a larger share of the same seed holds the
smaller one, and at least one of each class is always kept (Ciga and Martel 2021).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from wsi_segment.errors import InputError
from wsi_segment.model.data.patches import Patch, PatchKind, PatchPool, PatchSource

SettingName = Literal["S", "S+C", "S+C*", "S2+C2", "S2+C2*", "S2*+C2"]
SETTINGS: tuple[SettingName, ...] = get_args(SettingName)


@dataclass(frozen=True, slots=True)
class LabelSetting:
    """A setting at one share.

    >>> setting = LabelSetting("S+C", 20)
    >>> setting.segmentation_share, setting.classification_share
    (20, 80)

    ============  =====================  ============================
    name          segmentation patches   classification patches
    ============  =====================  ============================
    S             s %                    none
    S+C           s %                    (100 - s) %, of other images
    S+C*          s %                    all
    S2+C2         (100 - 2c) %           c %
    S2+C2*        (100 - 2c) %           50 %
    S2*+C2        all                    c %
    ============  =====================  ============================
    """

    name: SettingName
    """As results name it, such as ``S+C*``."""
    share: float
    """s or c, in percent."""

    def __post_init__(self) -> None:
        if self.name not in SETTINGS:
            raise InputError(f"setting {self.name!r} is unknown; choose one of: {', '.join(SETTINGS)}")
        most = 50 if "2" in self.name else 100
        if not 0 <= self.share <= most:
            raise InputError(f"setting {self.name}: share is {self.share} %; it must lie between 0 and {most}")

    @property
    def segmentation_share(self) -> float:
        """Percent of the segmentation patches."""
        if self.name == "S2*+C2":
            return 100.0
        return 100 - 2 * self.share if "2" in self.name else self.share

    @property
    def classification_share(self) -> float:
        """Percent of the classification patches."""
        if "2" in self.name:
            return 50.0 if self.name == "S2+C2*" else self.share
        return {"S": 0.0, "S+C": 100 - self.share, "S+C*": 100.0}[self.name]


@dataclass(frozen=True, slots=True)
class LabelSubset:
    """The patches that a setting keeps, and how much of each kind that really is."""

    pool: PatchPool
    segmentation_percent: float
    """Percent of the segmentation patches, or of their images."""
    classification_percent: float
    """Percent of the classification patches, or of their images."""


def draw_subset(pool: PatchPool, setting: LabelSetting, seed: int, source: PatchSource) -> LabelSubset:
    """Draw the part of a pool that a setting allows.

    With labels of ``tiles`` the patch is what is drawn. With labels of ``images`` it is the image with all its windows,
    and S+C takes the labels of those whose mask is not used.
    """
    segmentation = _shuffled(pool.segmentation, seed, source)
    classification = _shuffled(pool.classification, seed, source)
    masks = _first(segmentation, setting.segmentation_share)
    if setting.classification_share == 0:
        labels: set[Hashable] = set()
    elif setting.name == "S+C" and source == "images":
        labels = {unit for units in classification for unit in units if unit not in masks}
    else:
        labels = _first([units[::-1] for units in classification], setting.classification_share)
    kept = PatchPool(
        tuple(patch for patch in pool.segmentation if _unit(patch, source) in masks),
        tuple(patch for patch in pool.classification if _unit(patch, source) in labels),
    )
    return LabelSubset(kept, _percent(masks, segmentation), _percent(labels, classification))


def _unit(patch: Patch, source: PatchSource) -> Hashable:
    return patch.item if source == "images" else patch


def _shuffled(patches: Sequence[Patch], seed: int, source: PatchSource) -> list[list[Hashable]]:
    """Shuffle the units of each class by seed."""
    strata: dict[tuple[int, ...], dict[Hashable, None]] = defaultdict(dict)
    for patch in patches:
        stratum = (patch.item.label or 0,) if source == "images" else patch.classes
        strata[stratum][_unit(patch, source)] = None
    ordered = []
    for stratum in sorted(strata):
        units = list(strata[stratum])
        # both kinds of an image's patches are drawn in the same order, whatever the other setting is
        kind = 0 if source == "images" else int(patches[0].kind is PatchKind.SEGMENTATION)
        rng = np.random.default_rng([seed, kind, *stratum])
        ordered.append([units[i] for i in rng.permutation(len(units))])
    return ordered


def _first(ordered: list[list[Hashable]], percent: float) -> set[Hashable]:
    return {unit for units in ordered for unit in units[: max(1, round(len(units) * percent / 100))]}


def _percent(kept: set[Hashable], ordered: list[list[Hashable]]) -> float:
    return 100 * len(kept) / max(1, sum(len(units) for units in ordered))
