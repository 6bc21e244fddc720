"""BACH, ICIAR 2018 (Aresta et al., Med Image Anal 2019, doi 10.1016/j.media.2019.05.010), breast biopsies.

``Photos/{Normal,Benign,InSitu,Invasive}/*.tif`` have image-level labels, in ``Photos/microscopy_ground_truth.csv``
without a header; ``WSI/A01.svs`` has outlines in ``WSI/A01.xml`` (Aperio ImageScope). What is not outlined is normal.
The slides ``WSI/01.svs`` to ``20.svs`` were never outlined, and are left out. The XML itself is read by
``wsi_segment.inference.evaluation.annotations``, as any other outlines.
"""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np
from PIL import Image

from wsi_segment.errors import DatasetError
from wsi_segment.model.card import SegmentClass
from wsi_segment.model.data.dataset import Dataset, ImageFiles, Item, Pixels, open_image, picture_shape
from wsi_segment.model.data.loaders.options import OptionReader, Options
from wsi_segment.model.data.splits import split_groups

LABELS = ("Normal", "Benign", "InSitu", "Invasive")
CLASSES = (
    SegmentClass(name="normal", color=(170, 170, 170)),
    SegmentClass(name="benign", color=(0, 158, 115)),
    SegmentClass(name="in-situ", color=(230, 159, 0)),
    SegmentClass(name="invasive", color=(213, 94, 0)),
)
MPP = 0.42
"""µm per pixel of the photos; the slides state 0.467."""

TRUTH = Path("Photos") / "microscopy_ground_truth.csv"


def is_bach(folder: Path) -> bool:
    """Return whether a folder is laid out as BACH is."""
    return (folder / TRUTH).is_file() or (folder / "WSI").is_dir()


def read_bach(folder: Path, options: Options) -> Dataset:
    """Read a BACH folder: its photos, its slides, or both.

    Options: ``mpp`` (default 0.42) is what photos are reduced to and the level that slides are read at.

    Raises:
        DatasetError: a photo, a slide or the XML file of an A-numbered slide is missing, or a label is unknown.
    """
    reader = OptionReader("BACH", options)
    mpp = reader.number("mpp", MPP, MPP, 8.0)
    reader.done()
    items = [*_photos(folder), *_slides(folder)]
    if not items:
        raise DatasetError(f"{folder}: neither photos nor slides; BACH has Photos/ and WSI/")
    return Dataset(
        name="bach",
        classes=CLASSES,
        mpp=mpp,
        mpp_source=f"photos of {MPP} µm per pixel, as its authors state" + ("" if mpp == MPP else ", reduced"),
        items=tuple(items),
        attribution="BACH: Aresta et al., Medical Image Analysis 2019, doi 10.1016/j.media.2019.05.010",
        license="CC-BY-NC-ND-4.0",
        source=_Photos(MPP / mpp),
        ordered=True,
        class_of=class_of,
        unannotated=1,
    )


def class_of(name: str) -> int | None:
    """Return the class id of an outline's label, by the part of it that counts, in any case; None for no class.

    >>> class_of("Carcinoma in situ"), class_of("Lymph node")
    (3, None)
    """
    text = name.lower()
    if text.strip() == "normal":  # abnormal is something else
        return 1
    for part, class_id in (("benign", 2), ("situ", 3), ("invasive", 4)):
        if part in text:
            return class_id
    return None


class _Photos(ImageFiles):
    def __init__(self, scale: float) -> None:
        self._scale = scale

    def shape(self, item: Item) -> tuple[int, int]:
        rows, columns = picture_shape(item.image)
        return round(rows * self._scale), round(columns * self._scale)

    def image(self, item: Item) -> Pixels:
        with open_image(item.image) as image:
            rows, columns = self.shape(item)
            return np.asarray(image.convert("RGB").resize((columns, rows), Image.Resampling.BOX))


def _photos(folder: Path) -> list[Item]:
    truth = folder / TRUTH
    if not truth.is_file():
        return []
    with truth.open(newline="", encoding="utf-8-sig") as file:
        rows = [row for row in csv.reader(file) if row]
    splits = split_groups(row[0] for row in rows)
    items = []
    for line, row in enumerate(rows, start=1):
        if len(row) < 2 or row[1].strip() not in LABELS:
            raise DatasetError(f"{truth}, line {line}: {','.join(row)!r} is not FILE,LABEL with one of {LABELS}")
        name, label = row[0].strip(), row[1].strip()
        path = truth.parent / label / name
        if not path.is_file():
            raise DatasetError(f"{path}: missing, though {TRUTH.name} names it")
        items.append(
            Item(image=path, mask=None, label=LABELS.index(label) + 1, group=Path(name).stem, split=splits[row[0]])
        )
    return items


def _slides(folder: Path) -> list[Item]:
    slides = sorted((folder / "WSI").glob("*.svs")) if (folder / "WSI").is_dir() else []
    annotated = [slide for slide in slides if slide.with_suffix(".xml").is_file()]
    for slide in slides:
        if slide not in annotated and re.fullmatch(r"A\d+", slide.stem):
            raise DatasetError(
                f"{slide.with_suffix('.xml')}: missing; BACH outlines every slide that is named A and a number"
            )
    splits = split_groups(slide.stem for slide in annotated)
    outlines = sorted((folder / "WSI").glob("*.xml")) if slides else []
    for outline in outlines:
        if outline.with_suffix(".svs") not in slides:
            raise DatasetError(f"{outline.with_suffix('.svs')}: missing, though {outline.name} outlines it")
    return [
        Item(image=slide, mask=slide.with_suffix(".xml"), label=None, group=slide.stem, split=splits[slide.stem])
        for slide in annotated
    ]
