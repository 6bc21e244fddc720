"""Gleason2019 (Nir et al., Med Image Anal 2018, doi 10.1016/j.media.2018.09.005), prostate cores.

``Train Imgs/slideNNN_coreNNN.jpg`` and ``Maps{1..6}_T/slideNNN_coreNNN_classimg_nonconvex.png``, one folder
per pathologist: 0 background, 1 benign, 3, 4, 5 Gleason grades, 6 disputed. Not every one of them marked every core.
"""

from __future__ import annotations

import re
import zlib
from pathlib import Path

import numpy as np

from wsi_segment.errors import DatasetError
from wsi_segment.model.card import SegmentClass
from wsi_segment.model.data.dataset import Dataset, ImageFiles, Item, Pixels, open_image
from wsi_segment.model.data.loaders.options import OptionReader, Options
from wsi_segment.model.data.loaders.staple import fuse_by_staple
from wsi_segment.model.data.splits import split_groups

CLASSES = (
    SegmentClass(name="benign", color=(170, 170, 170)),
    SegmentClass(name="gleason-3", color=(240, 228, 66)),
    SegmentClass(name="gleason-4", color=(230, 159, 0)),
    SegmentClass(name="gleason-5", color=(213, 94, 0)),
)
_IDS = {0: 0, 1: 1, 3: 2, 4: 3, 5: 4}
"""Value in a map to class id; 0 is background and stays unlabelled."""
_DISPUTED = 6
_SUFFIX = "_classimg_nonconvex.png"
_MAPS = 6


def images_folder(folder: Path) -> Path | None:
    """Find the folder of the cores, which has two spellings."""
    return next((folder / name for name in ("Train Imgs", "Train_imgs") if (folder / name).is_dir()), None)


def read_gleason2019(folder: Path, options: Options) -> Dataset:
    """Read a Gleason2019 folder, split by slide.

    Options: ``fusion`` of several pathologists' maps is ``staple`` (Warfield et al. 2004; ties stay
    unlabelled) or ``majority`` (of ties the lower grade); ``disputed``, value 6, is ``benign`` or ``unlabelled``;
    ``mpp`` (default 0.25) is that of the scans.

    Raises:
        DatasetError: a core has no map, or a name is not slideNNN_coreNNN.
    """
    reader = OptionReader("Gleason2019", options)
    fusion = reader.choice("fusion", ("staple", "majority"))
    disputed = reader.choice("disputed", ("benign", "unlabelled"))
    mpp = reader.number("mpp", 0.25, 0.05, 8.0)
    reader.done()
    images = images_folder(folder)
    assert images is not None
    cores = sorted(images.glob("*.jpg"))
    slides = {}
    for core in cores:
        named = re.fullmatch(r"(slide\d+)_core\d+", core.stem)
        if not named:
            raise DatasetError(f"{core}: not named slideNNN_coreNNN.jpg")
        slides[core] = named[1]
    splits = split_groups(slides.values())
    items = []
    for core in cores:
        if not _maps(folder, core):
            raise DatasetError(
                f"{folder / 'Maps1_T' / (core.stem + _SUFFIX)}: missing; no pathologist marked {core.name}"
            )
        items.append(Item(image=core, mask=folder, label=None, group=slides[core], split=splits[slides[core]]))
    return Dataset(
        name="gleason2019",
        classes=CLASSES,
        mpp=mpp,
        mpp_source="40x scans; the authors state no pixel size",
        items=tuple(items),
        attribution="Gleason2019: Nir et al., Medical Image Analysis 2018, doi 10.1016/j.media.2018.09.005",
        source=_Cores(fusion, disputed),
    )


def _maps(folder: Path, core: Path) -> list[Path]:
    paths = [folder / f"Maps{number}_T" / (core.stem + _SUFFIX) for number in range(1, _MAPS + 1)]
    return [path for path in paths if path.is_file()]


class _Cores(ImageFiles):
    """Cores and their fused maps, which are kept: while training a core is read again and again, six maps slowly.

    Memory bound:
        The fused map of each core that was read, compressed: some 300 KB of 26 MB each.
    """

    def __init__(self, fusion: str, disputed: str) -> None:
        self._kept: dict[Path, tuple[tuple[int, int], bytes]] = {}
        self._fusion = fusion
        self._ids = _IDS | {_DISPUTED: 1 if disputed == "benign" else 0}

    def mask(self, item: Item) -> Pixels:
        """Read one map of class ids, fused from those of all pathologists."""
        if item.image not in self._kept:
            shape = self.shape(item)
            self._kept[item.image] = shape, zlib.compress(self._fused(item, shape).tobytes(), level=1)
        shape, ids = self._kept[item.image]
        return np.frombuffer(zlib.decompress(ids), np.uint8).reshape(shape)

    def _fused(self, item: Item, shape: tuple[int, int]) -> Pixels:
        assert item.mask is not None
        maps = [self._read(path, shape) for path in _maps(item.mask, item.image)]
        if len(maps) == 1:
            return maps[0]
        return fuse_by_staple(maps) if self._fusion == "staple" else fuse_by_majority(maps)

    def _read(self, path: Path, shape: tuple[int, int]) -> Pixels:
        rows, columns = shape
        with open_image(path) as image:
            if image.size != (columns, rows):
                raise DatasetError(f"{path}: {image.width} x {image.height} px, but its core is {columns} x {rows}")
            values = np.asarray(image.convert("L"))
        table = np.full(256, 255, np.uint8)
        for value, class_id in self._ids.items():
            table[value] = class_id
        ids: Pixels = table[values]
        if (ids == 255).any():
            raise DatasetError(f"{path}: holds the value {values[ids == 255][0]}; known are 0, 1, 3, 4, 5 and 6")
        return ids


def fuse_by_majority(maps: list[Pixels]) -> Pixels:
    """Return the commonest id of each pixel; of a tie the lower class, and no label where that has the most votes."""
    counts = np.stack([sum((one == class_id).astype(np.uint8) for one in maps) for class_id in range(len(CLASSES) + 1)])
    fused: Pixels = (counts[1:].argmax(axis=0) + 1).astype(np.uint8)
    fused[counts[0] > counts[1:].max(axis=0)] = 0
    return fused
