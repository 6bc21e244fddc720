"""The slides that a server may open: those under its roots, by ids that reveal nothing."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from filelock import FileLock
from sqlalchemy import select

from wsi_segment.errors import InputError, SlideError
from wsi_segment.files import replacing
from wsi_segment.inference.mask.summary import is_store_name
from wsi_segment.inference.slides.dicom import is_dicom
from wsi_segment.inference.slides.location import is_remote
from wsi_segment.inference.slides.slide_files import LARGEST_KEY_FILE, slide_files
from wsi_segment.service.folders.file_looks import FileLooks, hash_of_states
from wsi_segment.service.folders.slide_roots import Root
from wsi_segment.service.jobs.database import Database
from wsi_segment.service.jobs.tables import slides
from wsi_segment.service.jobs.upserting import insert_missing

SUFFIXES = frozenset([
    ".svs", ".tif", ".tiff", ".ndpi", ".vms", ".vmu", ".scn", ".mrxs",
    ".svslide", ".bif", ".dcm", ".btf", ".png", ".jpg", ".jpeg", ".webp",
])  # fmt: skip
_SECRET_FILE = "slides.secret"
_NAMING_KEYS = ("FILE_", "INDEXFILE", "IMAGEFILE", "MAPFILE", "OPTIMISATIONFILE", "MACROIMAGE")
"""Prefixes of the keys by which MIRAX, then Hamamatsu, name files."""
_PAGE_SECONDS = 20.0
"""Seconds that listing a page of slides may take."""


class UnknownSlideError(InputError):
    """A slide is missing, or must not be read; clients are not told which."""


@dataclass(frozen=True, slots=True)
class FoundSlide:
    """A slide under a root."""

    id: str
    root: str
    path: str
    """Below the root, with ``/``; bytes that are not UTF-8 are written as in ``M\\xfcller.svs``."""
    location: Path
    files: tuple[Path, ...]
    """All files that a library opens with it; empty for a remote slide."""
    stamp: str
    """Hash of the states of its files; changes when one changes, comes or goes. Empty for a remote slide."""
    size: int
    """Bytes of all files; 0 for a remote slide."""

    @property
    def name(self) -> str:
        """Its file name."""
        return PurePosixPath(self.path).name


class Catalogue:
    """Finds slides by id, by path, and by listing; refuses everything outside of the roots."""

    def __init__(
        self,
        database: Database,
        roots: Sequence[Root],
        secret: bytes,
        looks: FileLooks | None = None,
        refuse_away: Callable[[str], None] = lambda name: None,
    ) -> None:
        """Remember what finds slides.

        Args:
            database: Knows ids.
            roots: Where slides may lie.
            secret: Behind the ids.
            looks: Looks at files for callers that must not hang; None to look at once.
            refuse_away: Raises an error of its own if the root of a name is away; a missing slide may lie there.
        """
        self._database, self.roots, self._secret = database, tuple(roots), secret
        self._looks, self._refuse_away = looks, refuse_away

    @property
    def folders(self) -> tuple[Path, ...]:
        """Locations of all roots, which clients are not told."""
        return tuple(place for root in self.roots for place in (root.location, Path(root.given)))

    def by_id(self, slide_id: str) -> FoundSlide:
        """Return the slide with an id.

        Raises:
            UnknownSlideError: no slide under the roots has it, or no longer.
        """
        unknown = f"slide {slide_id} is unknown; GET /v1/slides lists all"
        with self._database.read() as connection:
            row = connection.execute(select(slides.c.root, slides.c.path).where(slides.c.id == slide_id)).first()
        root = next((root for root in self.roots if row is not None and root.name == row.root), None)
        if row is None or root is None:
            raise UnknownSlideError(unknown)
        try:
            return self._found(root, row.path)
        except UnknownSlideError as error:  # which names the file, and tells missing from forbidden
            raise UnknownSlideError(unknown) from error

    def by_path(self, text: str) -> FoundSlide:
        """Return the slide at a path or address as the server sees it, or at ``ROOT/path/below``.

        Raises:
            UnknownSlideError: it is missing, or not under a root; the message does not say which.
        """
        for root in self.roots:
            for prefix in (f"{root.given.rstrip('/')}/", f"{root.location}/", f"{root.name}/"):
                if text.startswith(prefix):
                    with suppress(UnknownSlideError):
                        return self._found(root, text.removeprefix(prefix))
        raise UnknownSlideError("the path is not a slide under the server's roots; check the path map, and `root`")

    def _found(self, root: Root, path: str) -> FoundSlide:
        """Look at a slide; one that is missing is looked for again, as its root may have come back meanwhile."""
        try:
            found: FoundSlide = self._look(root, self._checked, root, path)
        except UnknownSlideError:
            self._refuse_away(root.name)
            found = self._look(root, self._checked, root, path)
        return found

    def below(self, root: Root, prefix: str = "") -> Iterator[FoundSlide]:
        """Iterate over the slides of a root whose paths below it start with ``prefix``, in the order of the paths."""
        if is_remote(root.location):
            return
        for path in map(_without_bytes, _slides_in(root.location, "")):
            if path.startswith(prefix) and (slide := self._allowed(root, path)) is not None:
                yield slide

    def names(self, ids: Collection[str]) -> dict[str, str]:
        """Return the file names of slides by id; slides that are under no root are left out."""
        known = select(slides.c.id, slides.c.path).where(
            slides.c.id.in_(ids), slides.c.root.in_([root.name for root in self.roots])
        )
        with self._database.read() as connection:
            return {row.id: PurePosixPath(row.path).name for row in connection.execute(known)}

    def remember(self, found: Sequence[FoundSlide]) -> None:
        """Store ids, so that :meth:`by_id` finds them."""
        rows = [{"id": one.id, "root": one.root, "path": one.path} for one in found]
        if rows:
            with self._database.write() as connection:
                insert_missing(connection, slides, rows)

    def page(self, root: Root, prefix: str, start: int, count: int, search: str = "") -> tuple[list[FoundSlide], int]:
        """Return some of the slides that :meth:`below` finds, and the number of paths; those before are not checked.

        ``search`` is a text that the paths must have in them, in any case.
        """
        wanted = search.casefold()

        def look() -> tuple[list[FoundSlide], int]:
            every = _slides_in(root.location, "") if not is_remote(root.location) else ()
            paths = [
                path for path in map(_without_bytes, every) if path.startswith(prefix) and wanted in path.casefold()
            ]
            allowed = (self._allowed(root, path) for path in paths[start : start + count])
            return [slide for slide in allowed if slide is not None], len(paths)

        found: tuple[list[FoundSlide], int] = self._look(root, look, seconds=_PAGE_SECONDS)
        return found

    def _allowed(self, root: Root, path: str) -> FoundSlide | None:
        try:
            return self._checked(root, path)
        except UnknownSlideError:
            return None

    def roots_of(self, ids: Collection[str]) -> dict[str, str]:
        """Return the names of the roots of slides by id, whether they are there or not."""
        with self._database.read() as connection:
            known = connection.execute(select(slides.c.id, slides.c.root).where(slides.c.id.in_(ids)))
            return {row.id: row.root for row in known}

    def _look(self, root: Root, function: Callable[..., Any], *arguments: Any, seconds: float | None = None) -> Any:
        if self._looks is None or is_remote(root.location):
            return function(*arguments)
        return self._looks.call(root.name, function, *arguments, seconds=seconds)

    def _checked(self, root: Root, path: str) -> FoundSlide:
        """Return a slide after checking that each of its files lies under the root, with symbolic links resolved."""
        real = with_bytes(path)
        parts = PurePosixPath(path).parts
        if not parts or path.startswith("/") or ".." in parts or "\0" in path or "\\" in real:
            raise UnknownSlideError(f"{path!r} is not a path below a root")
        location = root.location.joinpath(*PurePosixPath(real).parts)
        normal = "/".join(parts)
        files: tuple[Path, ...] = ()
        states: list[os.stat_result] = []
        if not is_remote(location):
            try:
                _refuse_pipes(location)
                files = companions(location)
                states = [file.stat() for file in files]
                for file in {location, *files, *_read_with(location)}:
                    if not file.resolve(strict=True).is_relative_to(root.location):
                        raise UnknownSlideError("a file of the slide lies outside of its root")
            except (OSError, RuntimeError, ValueError, SlideError) as error:
                raise UnknownSlideError(f"{normal}: no such slide") from error
        digest = hmac.new(self._secret, f"{root.name}/{normal}".encode(), hashlib.sha256)
        size = sum(one.st_size for one in states)
        return FoundSlide(
            id=digest.hexdigest()[:24],
            root=root.name,
            path=normal,
            location=location,
            files=files,
            stamp=hash_of_states(states) if states else "",
            size=size,
        )


def _refuse_pipes(location: Path) -> None:
    """Refuse what is neither file nor folder: opening a pipe waits for somebody to write into it."""
    kind = location.suffix.lower()
    around: Iterator[Path] = iter(())
    if location.is_dir():
        around = location.iterdir()
    elif not location.is_file():
        raise SlideError("not a file")
    elif kind == ".mrxs":
        around = location.with_suffix("").rglob("*")
    elif kind in (".vms", ".vmu") or is_dicom(location):
        around = location.parent.iterdir()
    for part in around:
        if part.exists() and not part.is_file() and not part.is_dir():
            raise SlideError("a file of the slide is a pipe or a device")


def companions(location: Path) -> tuple[Path, ...]:
    """List every file that a library opens with a slide, without a library that decodes slides.

    Raises:
        SlideError: no file is there, or a file that names others names one in another folder.
    """
    files = slide_files(location)
    for file in files:
        if file.suffix.lower() in (".ini", ".vms", ".vmu"):
            _refuse_paths(file)
    if location.suffix.lower() in (".vms", ".vmu"):
        return tuple(dict.fromkeys([*files, *(part for part in location.parent.iterdir() if part.is_file())]))
    return files


def _read_with(location: Path) -> Iterator[Path]:
    """Yield what a library also reads to find the images of a DICOM slide: all files of its folder."""
    folder = location if location.is_dir() else location.parent if is_dicom(location) else None
    if folder is not None:
        yield from (part for part in folder.iterdir() if not part.is_dir())


def _refuse_paths(file: Path) -> None:
    """Refuse a key file of MIRAX or Hamamatsu that names files elsewhere than beside it: it is hostile."""
    if (size := file.stat().st_size) > LARGEST_KEY_FILE:
        raise SlideError(f"{file.name}: {size} bytes are too many for a key file")
    for line in file.read_text(encoding="utf-8", errors="replace").split("\n"):  # as GLib splits, and at nothing else
        key, _, value = line.partition("=")
        names_file = key.strip().upper().startswith(_NAMING_KEYS)
        if names_file and ("/" in value or "\\" in value or ".." in value):
            raise SlideError(f"{file.name}: names a file in another folder")


def _slides_in(folder: Path, below: str) -> Iterator[str]:
    """Yield paths below a root; a folder of DICOM files is one slide, and folders of MIRAX data are not searched."""
    try:
        with os.scandir(folder) as listing:
            entries = sorted(listing, key=lambda entry: entry.name)
    except OSError:
        return
    if any(entry.name.lower().endswith(".dcm") for entry in entries):
        if below:
            yield below
        entries = [entry for entry in entries if not entry.name.lower().endswith(".dcm")]
    beside_mirax = {Path(entry.name).stem for entry in entries if entry.name.lower().endswith(".mrxs")}
    for entry in entries:
        path = f"{below}/{entry.name}" if below else entry.name
        if entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False):
            if entry.name not in beside_mirax and not is_store_name(entry.name):
                yield from _slides_in(folder / entry.name, path)
        elif Path(entry.name).suffix.lower() in SUFFIXES:
            yield path


def _without_bytes(path: str) -> str:
    r"""Write the bytes of a path that are not UTF-8, which Python keeps as surrogates, as text: ``\\xfc``.

    Names have no backslash otherwise, see :meth:`Catalogue._checked`, so that :func:`with_bytes` undoes it.
    """
    return os.fsencode(path).decode("utf-8", "backslashreplace") if not path.isascii() else path


def with_bytes(path: str) -> str:
    """Return the path that was written by :func:`_without_bytes`; any other with a backslash stays as it is."""
    if "\\x" not in path:
        return path
    real = re.sub(r"\\x([89a-f][0-9a-f])", lambda code: chr(0xDC00 + int(code[1], 16)), path)
    return real if _without_bytes(real) == path else path


def read_secret(data: Path) -> bytes:
    """Return the secret behind slide ids, created once per data folder and readable by its owner only."""
    file = data / _SECRET_FILE
    with FileLock(data / f"{_SECRET_FILE}.lock"):
        if not file.exists():
            with replacing(file, private=True) as made:
                made.write(secrets.token_bytes(32))
    return file.read_bytes()
