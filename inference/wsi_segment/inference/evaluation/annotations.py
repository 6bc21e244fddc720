"""Annotations of a slide: outlines with a class, from QuPath's GeoJSON, ImageScope's or HALO's XML.

Coordinates are level-0 pixels from the corner of the slide's bounds, as QuPath counts them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.features import rasterize
from rasterio.transform import Affine

from wsi_segment.errors import DatasetError, InputError
from wsi_segment.inference.evaluation.xml_outlines import XML_SUFFIXES, read_xml_outlines
from wsi_segment.inference.grid.box import Box
from wsi_segment.inference.slides.outlines import Extent, Outline, Outlines, read_outlines


def read_annotations(path: Path, extent: Extent | None = None, what: str = "the slide") -> Outlines:
    """Read the outlines of a file, in its order: XML of ImageScope or HALO by its suffix, all else as GeoJSON.

    Args:
        path: The file.
        extent: Of the slide or mask that it belongs to; None where that is not known.
        what: Name of the slide or mask, for the message.

    Raises:
        DatasetError: the file is missing, neither GeoJSON nor such XML, or all its outlines lie beside the slide.
    """
    try:
        outlines = read_xml_outlines(path) if path.suffix.lower() in XML_SUFFIXES else read_outlines(path)
        if extent is not None:
            outlines.refuse_beside(extent, path, what)
    except InputError as error:
        raise DatasetError(str(error)) from error
    return outlines


def class_ids(id_of: Callable[[str], int | None], path: Path, unknown: str) -> Callable[[Outline], int | None]:
    """Return the look-up of an outline's class id.

    An outline counts by its class; one without a class by its own name, if that is the name of a class. Without
    either, or with a class that ends in an asterisk, which QuPath ignores, it does not count. One of a class such as
    ``Ignore*`` has the id 0: nothing is known of what lies within it, whatever other outlines say.

    Args:
        id_of: Class id of a name, None for a name of no class.
        path: The file of the outlines, for messages.
        unknown: What the message says of a class without an id, after its name.

    Returns:
        The look-up: a class id, or None for an outline that does not count. It raises DatasetError for a class without
        an id.
    """

    def look_up(outline: Outline) -> int | None:
        if not outline.name:
            return id_of(outline.title) if outline.title else None
        class_id = id_of(outline.name)
        if class_id is None and outline.ignored:
            return 0
        if class_id is None and outline.name.endswith("*"):
            return None
        if class_id is None:
            raise DatasetError(f"{path}: class {outline.name!r} {unknown}")
        return class_id

    return look_up


class AnnotationMap:
    """Class ids of pixels, in the frame of a slide's mask; where outlines overlap the later counts, or one of id 0."""

    def __init__(
        self,
        outlines: Sequence[Outline],
        class_of: Callable[[Outline], int | None],
        *,
        origin: tuple[float, float],
        downsample: float,
        unannotated: int = 0,
    ) -> None:
        """Place outlines in a frame.

        Args:
            outlines: In the order in which they count.
            class_of: Class id of an outline; None leaves it out. See :func:`class_ids`.
            origin: x and y of the first mask pixel's corner, in level-0 pixels from the corner of the slide's bounds.
            downsample: Level-0 pixels per mask pixel.
            unannotated: Class id of what no outline covers.
        """
        known = [(class_of(outline), outline.geometry) for outline in outlines]
        known.sort(key=lambda one: one[0] == 0)  # drawn last
        self._ids = [class_id for class_id, _ in known if class_id is not None]
        self._unannotated = unannotated
        self._geometries = [
            shapely.transform(geometry, lambda points: (points - np.array(origin)) / downsample)
            for class_id, geometry in known
            if class_id is not None
        ]
        self._tree = shapely.STRtree(self._geometries)

    def __call__(self, m_box: Box) -> NDArray[np.uint8]:
        """Return class ids (height, width) of a box; a pixel has the class of the outline that holds its centre."""
        shape = m_box.height, m_box.width
        near = np.sort(self._tree.query(shapely.box(m_box.x0, m_box.y0, m_box.x1, m_box.y1)))
        shapes = [(self._geometries[i], self._ids[i]) for i in near if not self._geometries[i].is_empty]
        if not shapes:
            return np.full(shape, self._unannotated, np.uint8)
        place = Affine(1, 0, m_box.x0, 0, 1, m_box.y0)
        ids: NDArray[np.uint8] = rasterize(shapes, shape, fill=self._unannotated, transform=place, dtype="uint8")
        return ids

    def touches(self, m_box: Box) -> bool:
        """Return whether some outline of a class touches a box."""
        found = self._tree.query(shapely.box(m_box.x0, m_box.y0, m_box.x1, m_box.y1), predicate="intersects")
        return any(self._ids[index] for index in found)
