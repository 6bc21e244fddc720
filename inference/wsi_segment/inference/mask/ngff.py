"""OME-Zarr metadata (NGFF 0.5 and 0.4) of a mask, as plain dictionaries.

Transforms give the centre of a pixel in µm from the centre of the slide's first pixel: for a mask pixel
that covers D level-0 pixels from x0 on, scale is mpp * D and translation mpp * (x0 + (D - 1) / 2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal
from xml.sax.saxutils import quoteattr

from wsi_segment.inference.slides.frame import MaskFrame
from wsi_segment.inference.slides.slide import PixelSize
from wsi_segment.model.card import SegmentClass

OmeZarrVersion = Literal["0.4", "0.5"]

ATTRIBUTE = "wsi_segment"
"""Key of the project's own attributes in a store."""
LABEL = "segmentation"
LABEL_PATH = f"labels/{LABEL}"
PROBABILITIES_04 = "probabilities"

_SPACE = [{"name": axis, "type": "space", "unit": "micrometer"} for axis in "yx"]
_CHANNEL = {"name": "c", "type": "channel"}


@dataclass(frozen=True, slots=True)
class MaskMetadata:
    """The attributes of every group of a mask."""

    version: OmeZarrVersion
    levels: int
    frame: MaskFrame
    size: PixelSize
    classes: tuple[SegmentClass, ...]
    probabilities: bool

    @property
    def root(self) -> dict[str, Any]:
        """The root: probabilities, or the label's own levels, so that a viewer shows something.

        In 0.4 it is always the class map itself, since QuPath passes over paths that hold ``labels``.
        """
        if self.version == "0.4":
            return self._wrap({"multiscales": self._multiscales("mask", self._own_levels)})
        if self.probabilities:
            return self._wrap(self._probability_attributes())
        paths = [f"{LABEL_PATH}/{level}" for level in range(self.levels)]
        return self._wrap({"multiscales": self._multiscales("mask", paths)})

    @property
    def labels(self) -> dict[str, Any]:
        """The group that lists the labels."""
        return self._wrap({"labels": [LABEL]})

    @property
    def label(self) -> dict[str, Any]:
        """The label image: pyramid, colours and names; 0 is transparent."""
        entries = list(enumerate(self.classes, start=1))
        image_label: dict[str, Any] = {
            "colors": [{"label-value": 0, "rgba": [0, 0, 0, 0]}]
            + [{"label-value": class_id, "rgba": [*entry.color, 255]} for class_id, entry in entries],
            "properties": [{"label-value": 0, "name": "not analysed"}]
            + [{"label-value": class_id, "name": entry.name} for class_id, entry in entries],
            "source": {"image": "../../"},
        }
        if self.version == "0.4":
            image_label["version"] = "0.4"
        return self._wrap({"multiscales": self._multiscales(LABEL, self._own_levels), "image-label": image_label})

    @property
    def probability_group(self) -> dict[str, Any]:
        """The group of probabilities of a 0.4 store."""
        return self._wrap(self._probability_attributes())

    @property
    def _own_levels(self) -> list[str]:
        return [str(level) for level in range(self.levels)]

    def _wrap(self, attributes: dict[str, Any]) -> dict[str, Any]:
        """0.5 keeps everything and the version under ``ome``; 0.4 repeats the version in each multiscale."""
        return {"ome": {"version": "0.5", **attributes}} if self.version == "0.5" else attributes

    def _probability_attributes(self) -> dict[str, Any]:
        window = {"min": 0, "max": 255, "start": 0, "end": 255}
        channels = [
            {"label": entry.name, "color": "{:02X}{:02X}{:02X}".format(*entry.color), "active": True, "window": window}
            for entry in self.classes
        ]
        multiscales = self._multiscales("probabilities", self._own_levels, channel=True)
        return {"multiscales": multiscales, "omero": {"channels": channels}}

    def _multiscales(self, name: str, paths: list[str], channel: bool = False) -> list[dict[str, Any]]:
        """Axes, paths and transforms of a pyramid whose levels halve from path to path."""
        leading = ([1.0], [0.0]) if channel else ([], [])
        datasets = []
        for index, path in enumerate(paths):
            downsample = self.frame.downsample * 2**index
            origin = (self.frame.s_y0, self.frame.s_x0)
            sizes = (self.size.y, self.size.x)
            scale = [*leading[0], *(size * downsample for size in sizes)]
            shift = [
                *leading[1],
                *(size * (start + (downsample - 1) / 2) for size, start in zip(sizes, origin, strict=True)),
            ]
            transforms = [{"type": "scale", "scale": scale}, {"type": "translation", "translation": shift}]
            datasets.append({"path": path, "coordinateTransformations": transforms})
        axes = [_CHANNEL, *_SPACE] if channel else _SPACE
        entry = {"name": name, "axes": axes, "datasets": datasets, "type": "mean 2x2" if channel else "mode 2x2"}
        return [entry | {"version": "0.4"} if self.version == "0.4" else entry]

    def ome_xml(self) -> str:
        """OME-XML with the pixel size, which QuPath takes from there and from nowhere else."""
        mpp_x, mpp_y = self.size.x * self.frame.downsample, self.size.y * self.frame.downsample
        return (
            '<?xml version="1.0" encoding="UTF-8"?>\n'
            '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">\n'
            f'  <Image ID="Image:0" Name={quoteattr(LABEL)}>\n'
            '    <Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint8" BigEndian="false" Interleaved="false" '
            f'SizeX="{self.frame.width}" SizeY="{self.frame.height}" SizeZ="1" SizeC="1" SizeT="1" '
            f'PhysicalSizeX="{mpp_x:.9g}" PhysicalSizeXUnit="µm" PhysicalSizeY="{mpp_y:.9g}" PhysicalSizeYUnit="µm">\n'
            '      <Channel ID="Channel:0:0" SamplesPerPixel="1"/>\n'
            "      <MetadataOnly/>\n"
            "    </Pixels>\n"
            "  </Image>\n"
            "</OME>\n"
        )
