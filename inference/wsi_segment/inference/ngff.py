"""OME-Zarr metadata (NGFF 0.5) of a mask, as plain dictionaries.

Transforms give the centre of a pixel in µm from the centre of the slide's first pixel: for a mask pixel
that covers D level-0 pixels from x0 on, scale is mpp * D and translation mpp * (x0 + (D - 1) / 2).
"""

from __future__ import annotations

from typing import Any

from wsi_segment.inference.frame import MaskFrame
from wsi_segment.inference.slide import PixelSize
from wsi_segment.model.card import SegmentClass

VERSION = "0.5"
LABEL = "segmentation"
LABEL_PATH = f"labels/{LABEL}"

_AXES = [{"name": axis, "type": "space", "unit": "micrometer"} for axis in "yx"]


def multiscales(name: str, paths: list[str], frame: MaskFrame, size: PixelSize) -> list[dict[str, Any]]:
    """Axes, paths and transforms of a pyramid whose levels halve from path to path."""
    datasets = []
    for index, path in enumerate(paths):
        downsample = frame.downsample * 2**index
        scale = [size.y * downsample, size.x * downsample]
        translation = [
            size.y * (frame.s_y0 + (downsample - 1) / 2),
            size.x * (frame.s_x0 + (downsample - 1) / 2),
        ]
        transforms = [{"type": "scale", "scale": scale}, {"type": "translation", "translation": translation}]
        datasets.append({"path": path, "coordinateTransformations": transforms})
    return [{"name": name, "axes": _AXES, "datasets": datasets, "type": "mode 2x2"}]


def root_attributes(levels: int, frame: MaskFrame, size: PixelSize) -> dict[str, Any]:
    """The root names the label's own levels, so that a viewer shows something when it opens the root."""
    paths = [f"{LABEL_PATH}/{level}" for level in range(levels)]
    return {"version": VERSION, "multiscales": multiscales("mask", paths, frame, size)}


def labels_attributes() -> dict[str, Any]:
    """The group that lists the labels."""
    return {"version": VERSION, "labels": [LABEL]}


def label_attributes(
    levels: int, frame: MaskFrame, size: PixelSize, classes: tuple[SegmentClass, ...]
) -> dict[str, Any]:
    """The label image: pyramid, colours and names; 0 is transparent."""
    entries = list(enumerate(classes, start=1))
    return {
        "version": VERSION,
        "multiscales": multiscales(LABEL, [str(level) for level in range(levels)], frame, size),
        "image-label": {
            "colors": [{"label-value": 0, "rgba": [0, 0, 0, 0]}]
            + [{"label-value": class_id, "rgba": [*entry.color, 255]} for class_id, entry in entries],
            "properties": [{"label-value": 0, "name": "not analysed"}]
            + [{"label-value": class_id, "name": entry.name} for class_id, entry in entries],
            "source": {"image": "../../"},
        },
    }
