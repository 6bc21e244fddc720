"""Splits by case, for datasets that come without."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from wsi_segment.model.data.dataset import Split

SHARES: tuple[tuple[Split, float], ...] = (("test", 0.2), ("val", 0.15))


def split_groups(groups: Iterable[str]) -> dict[str, Split]:
    """Assign each group (case, slide or patient) to a split.

    >>> split_groups(["a", "b", "c"])
    {'c': 'test', 'b': 'val', 'a': 'train'}

    Groups are ordered by the hash of their name, so that the same folder is always split in the same way. The
    first fifth is for test, the next 15 % for val; of two groups one is for val, of three one for test as well.
    """
    ordered = sorted(set(groups), key=lambda group: hashlib.sha256(group.encode()).digest())
    count = len(ordered)
    test = max(1, round(SHARES[0][1] * count)) if count > 2 else 0
    val = max(1, round(SHARES[1][1] * count)) if count > 1 else 0
    splits: dict[str, Split] = {}
    for index, group in enumerate(ordered):
        splits[group] = "test" if index < test else "val" if index < test + val else "train"
    return splits
