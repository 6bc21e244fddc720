"""TIFF files without those that they name: tifffile would follow names of other files wherever they lead."""

from __future__ import annotations

from pathlib import Path
from typing import IO, Any
from xml.etree import ElementTree

import tifffile

from wsi_segment.errors import SlideError

ALONE: dict[str, Any] = {"_multifile": False, "is_mmstack": False, "is_ndtiff": False}
"""Options of tifffile by which it opens no other file: parts of OME-TIFF, and of Micro-Manager's two formats."""


def open_tiff(source: Path | IO[bytes]) -> tifffile.TiffFile:
    """A TIFF, and nothing beside it."""
    return tifffile.TiffFile(source, **ALONE)


def refuse_parts(path: Path, tiff: tifffile.TiffFile) -> None:
    """A file whose image is spread over several would be read in part.

    Raises:
        SlideError: its OME-XML has planes in other files.
    """
    if _names_others(tiff.ome_metadata):
        raise SlideError(f"{path}: its image is spread over several files; convert it to one pyramidal TIFF")


def _names_others(ome_xml: str | None) -> bool:
    """Whether OME-XML has identifiers of several files; their names would change with every renaming."""
    try:
        root = ElementTree.fromstring(ome_xml or "")
    except ElementTree.ParseError:
        return False
    stated = {root.get("UUID")} - {None}
    return len(stated | {part.text for part in root.iterfind(".//{*}TiffData/{*}UUID")}) > 1
