"""Which kind of place a name is."""

from __future__ import annotations

from pathlib import Path

from wsi_segment.inference.places.folder import Folder, LocalFolder
from wsi_segment.inference.places.local import LocalSite
from wsi_segment.inference.places.site import Site


def site_of(final: Path) -> Site:
    """Return the place where a store of some name will stand."""
    return LocalSite(final)


def folder_of(path: Path) -> Folder:
    """Return the files below a path or an address."""
    return LocalFolder(path)
