"""Which kind of place a name is: a folder of this machine, or an object store."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import IO, Any

from wsi_segment.files import replacing
from wsi_segment.inference.places.bucket_folder import is_bucket, object_folder, object_of
from wsi_segment.inference.places.bucket_site import BucketSite
from wsi_segment.inference.places.folder import Folder, LocalFolder
from wsi_segment.inference.places.local_site import LocalSite
from wsi_segment.inference.places.site import Site


def site_of(final: Path) -> Site:
    """Return the place where a store of some name will stand."""
    return BucketSite(final) if is_bucket(final) else LocalSite(final)


def folder_of(path: Path) -> Folder:
    """Return the files below a path or an address."""
    return object_folder(path) if is_bucket(path) else LocalFolder(path)


@contextmanager
def writing(path: Path, *, text: bool = False, shared: bool = False) -> Iterator[IO[Any]]:
    """Write one file or object that appears when it is complete; see :func:`wsi_segment.files.replacing`.

    Raises:
        OSError: it cannot be written.
    """
    if not is_bucket(path):
        with replacing(path, text=text, shared=shared) as file:
            yield file
        return
    with tempfile.TemporaryFile() as content:
        if text:
            wrapped = TextIOWrapper(content, encoding="utf-8", newline="")
            yield wrapped
            wrapped.flush()
            wrapped.detach()
        else:
            yield content
            content.flush()
        folder, key = object_of(path)
        folder.put_file(key, content)
