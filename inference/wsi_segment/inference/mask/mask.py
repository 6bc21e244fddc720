"""A finished mask, opened for reading: on this machine or over the network, made by this version or an earlier one."""

from __future__ import annotations

import io
import math
from base64 import b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html import escape
from operator import index
from pathlib import Path
from typing import Any

import numpy as np
import shapely
import zarr
from numpy.typing import NDArray
from PIL import Image
from zarr.abc.store import Store

from wsi_segment.errors import OutputError, RunError
from wsi_segment.inference.grid.box import Box
from wsi_segment.inference.mask import ngff
from wsi_segment.inference.mask.polygons import class_polygons, oriented, split_large
from wsi_segment.inference.mask.summary import ClassArea, class_areas
from wsi_segment.inference.places.bucket_folder import refuse_unreachable
from wsi_segment.inference.places.ledger_records import LEDGER_FILE
from wsi_segment.inference.places.zarr_settings import shipped_settings
from wsi_segment.inference.places.zarr_stores import WithMetadata, zarr_store
from wsi_segment.inference.progress import Step, no_step
from wsi_segment.inference.slides.location import is_remote, network_reason, slide_location
from wsi_segment.inference.slides.slide import Level, PixelSize

_UNFINISHED = "{}: the mask is not finished; repeat the command that started it, which continues"
_PICTURE_SIDE = 1024
"""Longest side of the picture that a notebook shows, in pixels."""


@dataclass(frozen=True, slots=True)
class MaskClass:
    """A class of a mask.

    >>> from wsi_segment.inference import Mask
    >>> [entry.name for entry in Mask.open("mask.zarr").classes if entry.id == 0]
    ['not analysed']
    """

    id: int
    """Value of the class in the mask."""
    name: str
    """Name on the model's card; ``not analysed`` for 0."""
    color: tuple[int, int, int]
    """sRGB, 0 to 255."""


@dataclass(frozen=True, slots=True)
class Outline:
    """A connected piece of one class.

    >>> from wsi_segment.inference import Mask
    >>> outlines = list(Mask.open("mask.zarr").outlines(min_area_um2=1000))
    >>> all(outline.polygon.is_valid and outline.area_um2 >= 1000 for outline in outlines)
    True
    """

    class_id: int
    """Value of the class in the mask."""
    name: str
    """Name of the class."""
    polygon: shapely.Polygon
    """Outline in level-0 pixels of the slide; the shell runs counterclockwise, holes run clockwise (RFC 7946)."""
    area_um2: float
    """Area without holes, µm²."""


@dataclass(frozen=True, slots=True, repr=False)
class Mask:
    """A finished mask; reading is safe from several threads.

    >>> from wsi_segment.inference import Box, Mask
    >>> mask = Mask.open("mask.zarr")
    >>> mask.levels[0].width, mask.levels[0].height, mask.mpp
    (531, 531, 1.13)
    >>> mask.read(0, Box(0, 0, 531, 531)).shape
    (531, 531)
    >>> round(sum(area.area_mm2 for area in mask.areas()), 2) > 0
    True
    """

    path: Path
    """Path or address of the store."""
    levels: tuple[Level, ...]
    """Levels from the finest to the coarsest; ``downsample`` is in level-0 pixels of the slide."""
    classes: tuple[MaskClass, ...]
    """Classes by id: the first is "not analysed", the others are the model's in the order of its card."""
    origin: tuple[float, float]
    """Corner of the first mask pixel, x and y in level-0 pixels of the slide."""
    bounds: Box
    """The part of the slide's level 0 that was scanned, from the corner of which QuPath counts."""
    pixel_size: PixelSize
    """µm per level-0 pixel of the slide, as the mask was made with it."""
    provenance: dict[str, Any]
    """Model, slide, parameters and versions that the mask was made with."""
    _arrays: tuple[zarr.Array[Any], ...]

    @classmethod
    @shipped_settings()
    def open(cls, path: str | Path) -> Mask:
        """Open a finished mask of OME-Zarr 0.5 or 0.4.

        Args:
            path: The store, or its address: ``https://…``, ``s3://…`` and what else fsspec reads, with the extra
                ``remote``.

        Raises:
            OutputError: there is no mask of this project.
            InputError: the address cannot be read with what is installed.
            RunError: the network or the server failed.
        """
        location = slide_location(path)
        refuse_unreachable(location)
        mask = cls._of(location, zarr_store(location))
        if ngff.ATTRIBUTE not in mask._arrays[0].attrs:  # the record of regions comes last
            raise OutputError(_UNFINISHED.format(location))
        return mask

    @classmethod
    def growing(cls, store: Path) -> Mask:
        """Open a mask that a run is still writing to this machine's disk; it has no coarse levels and no areas yet."""
        return cls._of(store, zarr_store(store))

    @classmethod
    def of_parts(cls, location: Path, shards: Path, metadata: Mapping[str, bytes]) -> Mask:
        """Open a mask, by the name that it will have, whose metadata, by key, is not yet put where its shards are."""
        return cls._of(location, WithMetadata(zarr_store(shards), metadata))

    @classmethod
    @shipped_settings()
    def _of(cls, location: Path, store: Store) -> Mask:
        try:
            root = zarr.open_group(store, mode="r")
            provenance: Any = root.attrs[ngff.ATTRIBUTE]
            group = root[ngff.LABEL_PATH]
            assert isinstance(group, zarr.Group)
            label: Any = group.attrs.asdict()
            label = label.get("ome", label)
            arrays = tuple(_array(group, entry["path"]) for entry in label["multiscales"][0]["datasets"])
            return cls._read(location, provenance, label["image-label"], arrays)
        except (FileNotFoundError, NotADirectoryError, KeyError, ValueError, TypeError, AssertionError) as error:
            raise no_mask(location, error) from error
        except Exception as error:  # file systems of fsspec raise errors of their own libraries
            if not is_remote(location):
                raise
            reason = network_reason(error, location / "zarr.json")
            raise RunError(f"{location}: cannot be read: {reason}") from error

    @classmethod
    def _read(
        cls, path: Path, provenance: dict[str, Any], image_label: dict[str, Any], arrays: tuple[zarr.Array[Any], ...]
    ) -> Mask:
        slide, mask = provenance["slide"], provenance["mask"]
        colors = {entry["label-value"]: entry["rgba"] for entry in image_label["colors"]}
        return cls(
            path=path,
            levels=tuple(
                Level(width=array.shape[1], height=array.shape[0], downsample=mask["downsample"] * 2**index)
                for index, array in enumerate(arrays)
            ),
            classes=tuple(
                MaskClass(entry["label-value"], entry["name"], tuple(colors[entry["label-value"]][:3]))
                for entry in sorted(image_label["properties"], key=lambda entry: int(entry["label-value"]))
            ),
            origin=(mask["origin"][0], mask["origin"][1]),
            bounds=Box(*slide["bounds"]),
            pixel_size=PixelSize(slide["mpp_x"], slide["mpp_y"], slide["mpp_source"]),
            provenance=provenance,
            _arrays=arrays,
        )

    def __repr__(self) -> str:
        finest = self.levels[0]
        names = ", ".join(entry.name for entry in self.classes[1:])
        return f"<Mask {self.path}: {finest.width} x {finest.height} px of {self.mpp:.4g} µm, classes {names}>"

    @property
    def mpp(self) -> float:
        """Return µm per pixel of the finest level, the mean of both axes."""
        return self.pixel_size.mpp * self.levels[0].downsample

    @shipped_settings()
    def read(self, level: int, box: Box) -> NDArray[np.uint8]:
        """Return class ids (height, width) of a box.

        Args:
            level: Index in ``levels``.
            box: In pixels of that level; where it reaches beyond the mask the ids are 0, since nothing was analysed.

        Raises:
            OutputError: the store is damaged.
            RunError: it could not be fetched over the network.
        """
        size = self.levels[level]
        inner = box.intersect(Box(0, 0, size.width, size.height))
        if inner.empty:
            return np.zeros((max(0, box.height), max(0, box.width)), np.uint8)
        place = np.s_[index(inner.y0) : index(inner.y1), index(inner.x0) : index(inner.x1)]
        try:
            found = np.asarray(self._arrays[level][place], np.uint8)
        except Exception as error:  # every codec and every protocol has errors of its own
            if is_remote(self.path):
                reason = network_reason(error, self.path / "zarr.json")
                raise RunError(f"{self.path}: cannot be read: {reason}") from error
            reason = f"{' '.join(str(error).split()) or type(error).__name__:.200}"
            raise OutputError(f"{self.path}: cannot be decoded: {reason}; `wsi-segment verify` says more") from error
        return np.pad(found, ((inner.y0 - box.y0, box.y1 - inner.y1), (inner.x0 - box.x0, box.x1 - inner.x1)))

    def at(self, x: float, y: float) -> MaskClass:
        """Return the class of a point of the slide.

        Args:
            x: In level-0 pixels of the slide, to the right.
            y: In level-0 pixels of the slide, downwards. Beyond the mask nothing was analysed.

        Raises:
            OutputError: the store is damaged.
            RunError: it could not be fetched over the network.
        """
        column = math.floor((x - self.origin[0]) / self.levels[0].downsample)
        row = math.floor((y - self.origin[1]) / self.levels[0].downsample)
        return self.classes[int(self.read(0, Box(column, row, column + 1, row + 1))[0, 0])]

    def areas(self) -> tuple[ClassArea, ...]:
        """Return the areas of all classes but "not analysed", from what was counted when the mask was made."""
        record: Any = self._arrays[0].attrs[ngff.ATTRIBUTE]
        counts = np.zeros(len(self.classes), np.int64)
        for region in record["regions"].values():
            counts += np.asarray(region["pixels"], np.int64)
        return class_areas(
            counts.tolist(), [entry.name for entry in self.classes[1:]], self.pixel_size, self.levels[0].downsample
        )

    def outlines(
        self, min_area_um2: float = 0.0, simplify_um: float | None = None, level: int = 0
    ) -> Iterator[Outline]:
        """Yield the connected pieces of all classes but "not analysed", in level-0 pixels of the slide.

        Args:
            min_area_um2: Leave out smaller pieces, µm².
            simplify_um: Corners of triangles up to this side may go, µm; 0 keeps every corner. None stands for those
                of single pixels, and for triangles of up to 2 x 2 pixels where pieces of at least 3,000 pixels meet.
            level: Index in ``levels``; the finest has the areas of :meth:`areas`, coarser ones lose small pieces.

        Raises:
            OutputError: the store is damaged.
            RunError: it could not be fetched over the network.

        Memory bound:
            That of :func:`wsi_segment.inference.mask.polygons.class_polygons`.
        """
        downsample = self.levels[level].downsample
        for class_id, polygon, area_um2 in self.pieces(level, min_area_um2, simplify_um):
            placed = shapely.transform(polygon, lambda points: points * downsample + self.origin)
            yield Outline(class_id, self.classes[class_id].name, oriented(placed), area_um2)

    def pieces(
        self, level: int, min_area_um2: float, simplify_um: float | None, step: Step = no_step
    ) -> Iterator[tuple[int, shapely.Polygon, float]]:
        """Yield class id, polygon in pixels of a level, and area in µm² of what :meth:`outlines` yields.

        ``step`` is called with (rows outlined, rows in all); the other arguments are those of :meth:`outlines`.
        """
        size, mpp_x = self.levels[level], self.levels[level].downsample * self.pixel_size.x
        um2 = mpp_x * self.levels[level].downsample * self.pixel_size.y

        def read(y: int, x: int, side: int) -> NDArray[np.uint8]:
            step(y, size.height)
            return self.read(level, Box(x, y, min(x + side, size.width), min(y + side, size.height)))

        tolerance = None if simplify_um is None else simplify_um / mpp_x
        for piece in class_polygons(read, size.height, size.width, tolerance):
            if piece.polygon.area * um2 >= min_area_um2:
                for part in split_large(piece.polygon):
                    yield piece.class_id, part, part.area * um2

    def picture(self) -> Image.Image:
        """Return the mask in its colours, at most 1024 pixels wide and high; what was not analysed is transparent."""
        level = next((i for i, size in enumerate(self.levels) if max(size.width, size.height) <= _PICTURE_SIDE), -1)
        size = self.levels[level]
        image = Image.fromarray(self.read(level % len(self.levels), Box(0, 0, size.width, size.height)))
        image.putpalette([channel for entry in self.classes for channel in entry.color])
        image.info["transparency"] = 0
        return image

    def _repr_png_(self) -> bytes:
        """Return the picture that a notebook shows."""
        content = io.BytesIO()
        self.picture().save(content, format="PNG")
        return content.getvalue()

    def _repr_html_(self) -> str:
        """Return picture and areas, as a notebook shows them."""
        rows = "".join(
            f'<tr><td style="background:rgb{entry.color}">&emsp;</td><td>{escape(entry.name)}</td>'
            f"<td>{area.area_mm2:.4f} mm²</td><td>{area.percent_of_tissue:.2f} %</td></tr>"
            for entry, area in zip(self.classes[1:], self.areas(), strict=True)
        )
        finest = self.levels[0]
        return (
            f'<div><img style="max-width:100%;border:1px solid #ccc" '
            f'src="data:image/png;base64,{b64encode(self._repr_png_()).decode()}">'
            f"<table>{rows}</table><p>{finest.width} x {finest.height} px of {self.mpp:.4g} µm</p></div>"
        )


def no_mask(location: Path, error: Exception) -> OutputError:
    """Say why no finished mask can be opened."""
    if not is_remote(location):
        if not location.exists():
            return OutputError(f"{location}: no such mask")
        if (location / LEDGER_FILE).exists():
            return OutputError(_UNFINISHED.format(location))
    reason = "no Zarr group" if isinstance(error, FileNotFoundError) else f"{type(error).__name__}: {error}"
    return OutputError(f"{location}: not a mask that wsi-segment made ({reason})")


def _array(group: zarr.Group, name: str) -> zarr.Array[Any]:
    array = group[name]
    assert isinstance(array, zarr.Array)
    return array
