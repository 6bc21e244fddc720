"""Adapter for EBHI-Seg (Shi et al., Front Med 2023, doi 10.3389/fmed.2023.1114673), colorectal biopsies.

The folder holds ``manifest.csv`` (stem, case, diagnosis, split, ...), ``images/STEM.webp`` and
``masks/STEM.png`` (1-bit). A set pixel has the class of the image's diagnosis, any other is stroma/other.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from wsi_segment.errors import DatasetError
from wsi_segment.model.card import SegmentClass
from wsi_segment.model.data.dataset import SPLITS, Dataset, ImageFiles, Item, Pixels, open_image

COLUMNS = ("stem", "case", "diagnosis", "split")

STROMA = 1
CLASSES = (
    SegmentClass(name="stroma/other", color=(170, 170, 170)),
    SegmentClass(name="normal", color=(0, 158, 115)),
    SegmentClass(name="polyp", color=(86, 180, 233)),
    SegmentClass(name="low-grade-in", color=(240, 228, 66)),
    SegmentClass(name="high-grade-in", color=(230, 159, 0)),
    SegmentClass(name="adenocarcinoma", color=(213, 94, 0)),
    SegmentClass(name="serrated-adenoma", color=(204, 121, 167)),
)
"""Okabe-Ito colours, which every kind of colour vision can distinguish; grey for whatever is not a lesion."""

MPP = 1.13
"""The authors state 400x and no pixel size, so the glands have to tell it. Short diameters of round whole glands have
medians of 54 to 59 px in normal mucosa, 55 to 57 px in polyps; in GlaS (Sirinukunwattana et al. 2017), whose pixels are
0.62 µm, they are 62 µm in healthy and 64 µm in adenomatous tissue. That is 1.05 to 1.14 µm per pixel, and 1.12 to 1.14
where both were measured alike. Versions up to 0.2.0 said 1.0."""
MPP_SOURCE = (
    "estimate: round glands measure 54 to 59 px here and 62 to 64 µm in images of known pixel size (GlaS); the authors "
    "state 400x and no pixel size"
)


def adapt(folder: Path, rows: list[dict[str, str]]) -> Dataset:
    """Read an EBHI-Seg folder.

    Raises:
        DatasetError: a file is missing, or a diagnosis or split is unknown.
    """
    ids = {entry.name: index for index, entry in enumerate(CLASSES, start=1)}

    def item(row: dict[str, str]) -> Item:
        image, mask = folder / "images" / f"{row['stem']}.webp", folder / "masks" / f"{row['stem']}.png"
        if row["diagnosis"] not in ids or row["split"] not in SPLITS:
            raise DatasetError(f"{folder}: {row['stem']}: unknown {row['diagnosis']!r} or split {row['split']!r}")
        for path in (image, mask):
            if not path.is_file():
                raise DatasetError(f"{path}: missing, though the manifest names it")
        return Item(image=image, mask=mask, label=ids[row["diagnosis"]], group=row["case"], split=row["split"])

    return Dataset(
        name="ebhi-seg",
        classes=CLASSES,
        mpp=MPP,
        mpp_source=MPP_SOURCE,
        items=tuple(item(row) for row in rows),
        attribution="EBHI-Seg: Shi et al., Frontiers in Medicine 2023, doi 10.3389/fmed.2023.1114673; data: figshare "
        "21540159, CC BY 4.0",
        license="CC-BY-4.0",
        source=_Biopsies(),
    )


class _Biopsies(ImageFiles):
    def mask(self, item: Item) -> Pixels:
        assert item.mask is not None
        with open_image(item.mask) as image:
            foreground = np.asarray(image.convert("L")) > 127
        return np.where(foreground, np.uint8(item.label or STROMA), np.uint8(STROMA))
