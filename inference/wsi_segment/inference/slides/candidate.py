"""A file that may be a slide, looked at once: for refusing it, choosing reader and image, and reading its tiles."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import openslide
import tifffile

from wsi_segment.errors import SlideError
from wsi_segment.inference.places.object_file import Parts
from wsi_segment.inference.slides.fingerprint import slide_fingerprint
from wsi_segment.inference.slides.location import is_remote, network_reason, open_bytes
from wsi_segment.inference.slides.readers.kept_tiles import KeptTiles
from wsi_segment.inference.slides.readers.levels import shows_the_same
from wsi_segment.inference.slides.readers.refuse import misplaced, problem_of
from wsi_segment.inference.slides.readers.segments import PageReader
from wsi_segment.inference.slides.readers.tiff import (
    NOT_COMPRESSED,
    TiffImage,
    could_be_level,
    find_images,
    has_proportions_of,
    open_tiff,
)
from wsi_segment.inference.slides.slide_files import file_of, slide_files, written

GENERIC = "generic-tiff"
"""OpenSlide's name for a tiled TIFF of no vendor that it knows."""

_MOST_UNLIKE = 256
"""Pairs of directories that may turn out to show different pictures before no more are compared, which takes some
milliseconds each: a file of very many pictures would be opened for minutes. Levels of the largest are looked for first;
one that is not found is read from a finer one."""

_FLAGS = {"is_svs": "aperio", "is_scn": "leica", "is_bif": "ventana", "is_ndpi": "hamamatsu", "is_philips": "philips"}
"""tifffile's names for what OpenSlide's vendors write, for files that OpenSlide cannot reach."""


@dataclass(slots=True)
class Known:
    """What opening a file found out; where it is opened again, in whichever process, it need not be read again."""

    alike: dict[tuple[int, int], bool] = field(default_factory=dict)
    """Whether two directories of a TIFF show the same, by where they lie in the file; the finer one is the first."""
    colours: dict[int, str | None] = field(default_factory=dict)
    """What :meth:`Candidate.other_colours` says of directories, by where they lie in the file."""
    parts: Parts = field(default_factory=Parts)
    """What was read of an object in a bucket to parse it."""
    fingerprint: str = ""
    """Of the files of this machine as they were before they were opened; empty of what is read over the network."""
    written: tuple[tuple[int, int], ...] = ()
    """Of the same, see :func:`wsi_segment.inference.slides.slide_files.written`; it says nothing on another machine."""


@dataclass(frozen=True, slots=True)
class SlideImage:
    """One picture of a file, as ``image`` counts them."""

    picture: TiffImage
    readers: tuple[PageReader, ...]
    """Readers of its levels, finest first, which all show the same; empty if the picture cannot be read."""
    problem: str | None
    """Why it cannot be segmented, or None."""
    is_associated: bool
    """Whether it is a label, a macro or a thumbnail."""


class Candidate:
    """One file and what it says of itself.

    The parsed TIFF belongs to the candidate until a reader takes it over: :meth:`close` closes what nobody took.
    """

    def __init__(
        self,
        path: Path,
        file: Path,
        tiff: tifffile.TiffFile | None,
        *,
        content: Any,
        known: Known,
        tiles: KeptTiles | None,
    ) -> None:
        """Use :meth:`look`."""
        self.path, self.file, self.tiff = path, file, tiff
        self._content, self._known, self._tiles = content, known, tiles
        self._taken, self._unlike = False, 0
        self._lock = threading.Lock()

    @classmethod
    def look(cls, path: Path, known: Known | None = None, tiles: KeptTiles | None = None) -> Self:
        """Look at a slide file, or at the first file of a DICOM folder.

        Args:
            path: Where it is.
            known: What is known of it; what is found out is added.
            tiles: Where its readers keep what they decoded; None to keep nothing.

        Raises:
            SlideError: there is nothing to look at.
        """
        file = path if is_remote(path) else _existing(path)
        if known is not None and not known.fingerprint and not is_remote(path):
            _note_files(path, known)  # later they might be those that took their place
        known = Known() if known is None else known
        content = _reach(path, known.parts) if is_remote(path) else None
        flags = {}
        if (
            content is None
            and file.suffix.lower() == ".ndpi"
            and openslide.OpenSlide.detect_format(file) != "hamamatsu"
        ):
            flags = {"is_ndpi": False}  # which tifffile takes from the name alone
        try:
            tiff = open_tiff(file if content is None else content, **flags)
        except Exception:  # not a TIFF, or one that is damaged in some way
            tiff = None
        return cls(path, file, tiff, content=content, known=known, tiles=tiles)

    @cached_property
    def vendor(self) -> str | None:
        """The format as OpenSlide names it, from tifffile's marks where OpenSlide cannot reach the file."""
        if not is_remote(self.path):
            found: str | None = openslide.OpenSlide.detect_format(self.file)
            return found
        if self.tiff is None:
            return None
        if str(self.tiff.pages.first.tags.valueof("Software", "")).startswith("MedScan"):
            return "trestle"
        return next((vendor for flag, vendor in _FLAGS.items() if getattr(self.tiff, flag)), GENERIC)

    @cached_property
    def misordered(self) -> bool:
        """Whether a tiled picture of an Aperio file follows a smaller one that it could be a level of."""
        return self._is_misordered(alike=True)

    @cached_property
    def only_direct(self) -> bool:
        """Whether an Aperio file is one that OpenSlide refuses or mistakes: tifffile reads it, as over the network.

        OpenSlide 4.0.1 takes every tiled picture of such a file for a level, from the largest to the smallest, labels
        after the levels too. Files in another order are kept from it: it refuses most of them, but some have ended
        the whole process. Of several of one size, as focal planes are, it makes as many levels. Nor does it read tiles
        without compression whose size is no multiple of 1,024 bytes.
        """
        if self.tiff is None or self.vendor != "aperio":
            return False
        return self._is_misordered(alike=False) or _is_rounded_up(self.tiff.pages.first)

    def _is_misordered(self, *, alike: bool) -> bool:
        """Return whether a tiled picture of an Aperio file follows a smaller one or one as large.

        Args:
            alike: Count only those that follow a smaller one, with the proportions of the first one and no name of a
                label or macro.
        """
        if self.tiff is None or self.vendor != "aperio":
            return False
        tiled = [page for page in (one.aspage() for one in self.tiff.pages) if page.is_tiled]
        if not alike:
            return any(after.imagewidth >= before.imagewidth for before, after in pairwise(tiled))
        return any(
            after.imagewidth > before.imagewidth and _could_be_meant_as_level(tiled[0], after)
            for before, after in pairwise(tiled)
        )

    @property
    def first_page(self) -> Any:
        """The first directory of a TIFF; None for other files."""
        return None if self.tiff is None else self.tiff.pages.first

    @cached_property
    def images(self) -> tuple[SlideImage, ...]:
        """Every picture of a TIFF in the order of its directories (of OME-XML's images); empty for other files.

        A directory is a level of a larger one where both show the same picture, which their pixels decide.
        """
        pictures = () if self.tiff is None else find_images(self.tiff)
        by_size = sorted(range(len(pictures)), key=lambda index: -pictures[index].width * pictures[index].height)
        found: dict[int, SlideImage] = {}
        levels: set[int] = set()
        for index in by_size:
            if index in levels:
                continue
            picture = pictures[index]
            problem = problem_of(picture)
            if problem is not None:
                found[index] = SlideImage(picture, (), problem, picture.is_associated)
                continue
            readers = [self.reader(picture.pages[0])]
            below: list[tuple[int | None, Any]] = [(None, page) for page in picture.pages[1:]]
            below += [(other, pictures[other].pages[0]) for other in by_size if self._may_hold(pictures, index, other)]
            for other, page in sorted(below, key=lambda level: -level[1].imagewidth * level[1].imagelength):
                if other in levels or misplaced(page) or not could_be_level(readers[-1].page, page):
                    continue
                coarser = self.reader(page)
                if self.show_the_same(readers[-1], coarser):
                    readers.append(coarser)
                    levels |= set() if other is None else {other}
            found[index] = SlideImage(picture, tuple(readers), None, picture.is_associated)
        return tuple(found[index] for index in sorted(found))

    def reader(self, page: Any) -> PageReader:
        """Return what reads one of the file's directories."""
        return PageReader(page, self.path, self._lock, content=self._content, tiles=self._tiles)

    def other_colours(self, reader: PageReader) -> str | None:
        """Say that a directory names other colours than its pixels; see :meth:`PageReader.other_colours`.

        OpenSlide alone follows the tag where JFIF asks for others, so of Aperio's slides, which it reads, none may.
        """
        colours, place = self._known.colours, int(reader.page.offset)
        if place not in colours:
            colours[place] = reader.other_colours(jfif_counts=self.vendor != "aperio")
        return colours[place]

    def show_the_same(self, fine: PageReader, coarse: PageReader) -> bool:
        """Return whether two directories are found to show the same, see ``_MOST_UNLIKE``."""
        places = int(fine.page.offset), int(coarse.page.offset)
        alike = self._known.alike
        if places not in alike:
            if self._unlike >= _MOST_UNLIKE:
                return False
            alike[places] = shows_the_same(fine, coarse)
        self._unlike += not alike[places]  # known ones count too, so that each opening finds the same
        return alike[places]

    @staticmethod
    def _may_hold(pictures: tuple[TiffImage, ...], index: int, other: int) -> bool:
        """Whether one directory can be a level of another; images of OME-XML are never levels of each other."""
        fine, coarse = pictures[index], pictures[other]
        return other != index and fine.ome is None and could_be_level(fine.pages[0], coarse.pages[0])

    def take(self) -> tifffile.TiffFile | None:
        """Hand the parsed TIFF to a reader, which closes it by :meth:`release`."""
        self._taken = True
        return self.tiff

    def close(self) -> None:
        """Close the file unless a reader has taken it."""
        if not self._taken:
            self.release()

    def release(self) -> None:
        """Close the file."""
        for one in (self.tiff, self._content):
            if one is not None:
                one.close()


def _could_be_meant_as_level(fine: Any, coarse: Any) -> bool:
    named = TiffImage(coarse.description or "", (coarse,)).is_associated
    return not named and has_proportions_of(fine, coarse)


def _is_rounded_up(page: Any) -> bool:
    """Return whether tiles without compression take bytes that libtiff, reading ahead by 1,024, takes for too many."""
    if not isinstance(page.bitspersample, int):  # of several depths
        return False
    size = page.tilewidth * page.tilelength * page.samplesperpixel * page.bitspersample // 8
    return bool(page.is_tiled and page.compression == NOT_COMPRESSED and size % 1024)


def _existing(path: Path) -> Path:
    """Return the file of a local path, which must have something in it."""
    try:
        path.stat()
    except (OSError, ValueError) as error:
        raise SlideError(f"{path}: {_why_not(error)}") from error
    file = file_of(path)
    if not file.is_file():
        raise SlideError(f"{path}: not a file; give a slide file, or the folder of one DICOM slide")
    try:
        with file.open("rb") as content:
            empty = not content.read(1)
    except OSError as error:
        raise SlideError(f"{path}: cannot be read: {error.strerror}") from error
    if empty:
        raise SlideError(f"{path}: the file is empty; copy it again")
    return file


def _note_files(path: Path, known: Known) -> None:
    try:
        files = slide_files(path)
        known.written, known.fingerprint = written(files), slide_fingerprint(files)
    except OSError as error:
        raise SlideError(f"{path}: cannot be read: {error.strerror}") from error


def _why_not(error: Exception) -> str:
    """Say why a path leads to nothing."""
    if isinstance(error, FileNotFoundError | NotADirectoryError | ValueError):  # a name with a null byte
        return "no such file"
    return f"cannot be read: {error.strerror if isinstance(error, OSError) else error}"


def _reach(address: Path, parts: Parts) -> Any:
    """Open an address, or say in words of our own why it cannot be read; every protocol has errors of its own."""
    try:
        file = open_bytes(address, parts)
        file.read(1)
        file.seek(0)
    except Exception as error:  # file systems of fsspec raise errors of their own libraries
        raise SlideError(f"{address}: cannot be read: {network_reason(error, address)}") from error
    return file
