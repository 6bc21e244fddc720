"""Opening a slide: which image, and which reader."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from wsi_segment.errors import SlideError
from wsi_segment.inference.slides.candidate import GENERIC, Candidate, Known, SlideImage
from wsi_segment.inference.slides.doubt import Doubt
from wsi_segment.inference.slides.location import WITHOUT_RANGES, ignores_ranges, is_remote, slide_location
from wsi_segment.inference.slides.readers.canvas import HIDDEN_BY_ALPHA
from wsi_segment.inference.slides.readers.encoded_colours import APERIO_YCBCR
from wsi_segment.inference.slides.readers.image import SUFFIXES, ImageSlide
from wsi_segment.inference.slides.readers.kept_tiles import CACHE_BYTES, KeptTiles
from wsi_segment.inference.slides.readers.levels import LEAST_SIDE, true_levels
from wsi_segment.inference.slides.readers.openslide import OpenSlideReader
from wsi_segment.inference.slides.readers.refuse import (
    damage_of,
    problem_of,
    refuse_cut_off,
    refuse_disguised,
    refuse_fluorescence,
    refuse_odd_tags,
    refuse_overview,
    too_large,
)
from wsi_segment.inference.slides.readers.tiff import find_images, has_proportions_of, refuse_parts
from wsi_segment.inference.slides.readers.tiles import TileSlide
from wsi_segment.inference.slides.slide import Slide

LARGEST_SIDE = 1 << 22
"""Level-0 pixels: a metre at 0.25 µm."""

_LOOSE = ("aperio", "dicom")
"""Formats in which OpenSlide counts as a level what need not be one: any directory in tiles, any file of a series."""

_SMALL = 0.01
"""A picture of less than this share of the slide's pixels is no second slide: a label, an icon."""


def open_slide(
    path: str | Path, image: int | None = None, known: Known | None = None, *, keep_tiles: bool = False
) -> Slide:
    """Open a slide file, a DICOM folder or one of its files.

    A vendor's format is OpenSlide's alone: what it recognises and refuses is refused. Of a TIFF of no vendor the
    largest image is the slide.

    >>> slide = open_slide("slide.tiff")
    >>> slide.reader, slide.bounds.width
    ('tifffile', 600)
    >>> slide.close()

    Args:
        path: See :func:`~wsi_segment.inference.slides.location.slide_location`; remotely, TIFF kinds and pictures.
        image: Which image of the file is meant, counted from 0; None for the slide.
        known: What opening this very file found out before; what is found out is added.
        keep_tiles: Keep the last decoded tiles, up to ``CACHE_BYTES``, as boxes that are read later share them.

    Raises:
        SlideError: there is nothing, or nothing that any reader can open, or the image is not 8-bit RGB.
    """
    location = slide_location(path)
    candidate = Candidate.look(location, known, KeptTiles(CACHE_BYTES) if keep_tiles else None)
    try:
        slide = _open(candidate, image)
    finally:
        candidate.close()
    _refuse_endless(slide, location)
    return slide


def _open(candidate: Candidate, image: int | None) -> Slide:
    file, tiff = candidate.file, candidate.tiff
    if file.suffix.lower() in SUFFIXES:
        _refuse_other_images(candidate, image)
        try:
            return ImageSlide.open(file)
        except SlideError as error:
            raise _unreadable(candidate, str(error)) from error
    refuse_overview(file)
    if not is_remote(file):
        refuse_disguised(file)
        if file.suffix.lower() == ".mrxs":
            refuse_fluorescence(file)
    if tiff is not None:
        refuse_cut_off(candidate.path, tiff)
        refuse_parts(candidate.path, tiff)
        if not tiff.is_ndpi:
            refuse_odd_tags(candidate.path, tiff)
    if tiff is None or candidate.vendor not in (None, GENERIC):
        if not is_remote(file) and not candidate.only_direct:
            _refuse_other_images(candidate, image)
            return _open_with_openslide(candidate)
        if candidate.vendor != "aperio":
            raise _unreachable(candidate)
    return _open_tiff(candidate, image)


def _open_with_openslide(candidate: Candidate) -> Slide:
    """Open a vendor's slide, its tiles directly where their pixels are the same."""
    try:
        slide = OpenSlideReader(candidate.file)
    except SlideError as error:
        raise _unreadable(candidate, f"{candidate.vendor or 'no known format'}, {error}") from error
    try:
        _refuse_pictures(candidate)
        if candidate.vendor in _LOOSE and len(slide.levels) > 1:
            _keep_true_levels(slide, candidate)
        return TileSlide.over(slide, candidate) or slide
    except BaseException:  # whatever it is, the slide is not left open
        slide.close()
        raise


def _keep_true_levels(slide: OpenSlideReader, candidate: Candidate) -> None:
    """Forget levels that show another picture; of DICOM, where no such thing is usual, say so."""
    own = true_levels(slide)
    others = [
        f"{level.width} x {level.height} px"
        for index, level in enumerate(slide.levels)
        if index not in own and min(level.width, level.height) >= LEAST_SIDE
    ]
    slide.keep(own)
    if others and candidate.vendor == "dicom":
        message = f"shows another picture than level 0 at {', '.join(others)}, which is not used"
        slide.doubts += (Doubt("images-left-out", message),)


def _refuse_pictures(candidate: Candidate) -> None:
    """Refuse a vendor's TIFF whose slide is not 8-bit RGB, or an Aperio one of which that is not certain.

    The slide is Aperio's first directory, and the largest picture of others.
    """
    if candidate.tiff is None or candidate.tiff.is_ndpi:  # whose single strip is a JPEG with marks to begin at
        return
    try:
        pictures = find_images(candidate.tiff)
    except Exception:  # a directory that only OpenSlide can read
        return
    if not pictures:
        return
    is_aperio = candidate.vendor == "aperio"
    slide = pictures[0] if is_aperio else max(pictures, key=lambda picture: picture.width * picture.height)
    tiled = (page for picture in pictures for page in picture.pages if page.is_tiled)
    problem = problem_of(slide) or next(filter(None, map(too_large, tiled)), None)  # any of them may be a level
    if problem is None and is_aperio:
        problem = candidate.other_colours(candidate.reader(slide.pages[0]))
    if problem is not None:
        raise SlideError(f"{candidate.path}: {problem}")


def _open_tiff(candidate: Candidate, image: int | None) -> Slide:
    """Open an image of a TIFF of no vendor, the same way wherever it lies."""
    try:
        images = candidate.images
    except SlideError:
        raise
    except Exception as error:  # tifffile lets errors of every kind through where a directory is damaged
        raise _unreadable(candidate, f"tifffile: {error}") from error
    if not images:
        raise _unreadable(candidate, "the TIFF holds no image")
    if candidate.misordered:
        raise SlideError(
            f"{candidate.path}: its pictures are not in the order of their sizes, as an Aperio slide needs them; "
            "convert it to a pyramidal TIFF"
        )
    chosen, doubts = _choose(candidate, images, image)
    if candidate.vendor == "aperio" and any(reader.left_out for reader in chosen.readers):
        remedy = "copy it first" if is_remote(candidate.path) else "which refuses this file; write it again in order"
        raise SlideError(f"{candidate.path}: leaves out tiles, which only OpenSlide fills as Aperio does; {remedy}")
    if chosen.readers[0].page.compression == APERIO_YCBCR:
        remedy = "copy it first" if is_remote(candidate.path) else "convert it to a pyramidal TIFF"
        raise SlideError(f"{candidate.path}: its JPEG 2000 holds YCbCr, which OpenSlide alone turns into RGB; {remedy}")
    if problem := candidate.other_colours(chosen.readers[0]):
        raise SlideError(f"{candidate.path}: {problem}")
    if chosen.readers[0].is_hidden:
        raise SlideError(f"{candidate.path}: {HIDDEN_BY_ALPHA}")
    slide = TileSlide.of_image(chosen, candidate, doubts)
    if candidate.vendor == GENERIC and not is_remote(candidate.path) and _is_other_in_openslide(slide, candidate):
        slide.close()
        raise SlideError(f"{candidate.path}: tifffile and OpenSlide see other colours in it; convert it to plain RGB")
    return slide


def _is_other_in_openslide(slide: TileSlide, candidate: Candidate) -> bool:
    """Return whether OpenSlide sees the same levels and other pixels: one library is wrong, and which is not known.

    Of JFIF under a tag of RGB it is known: OpenSlide follows the tag.
    Alpha is laid on white by whole numbers in one of them, by rounded ones in the other.
    """
    first = slide.readers[0]
    if first.obeys_jfif or first.page.samplesperpixel != 3:
        return False
    if first.page is not candidate.first_page:  # which is OpenSlide's slide
        return False
    try:
        other = OpenSlideReader(candidate.file)
    except SlideError:  # a compression or a layout that it does not know
        return False
    try:
        return other.levels == slide.levels and not slide.reads_like(other)
    except SlideError:  # damaged: said when it is read
        return False
    finally:
        other.close()


def _choose(
    candidate: Candidate, images: tuple[SlideImage, ...], wanted: int | None
) -> tuple[SlideImage, tuple[Doubt, ...]]:
    """Return the image that is meant, or the largest, with a doubt where another could be the slide."""
    listed = ", ".join(f"{index}: {one.picture}" for index, one in enumerate(images))
    if wanted is not None:
        if not 0 <= wanted < len(images):
            raise SlideError(f"{candidate.path}: `image` is {wanted}, the file holds {listed}")
        chosen = images[wanted]
    else:
        own = [one for one in images if not one.is_associated] or list(images)
        chosen = max(own, key=_area)
        if (hidden := _damaged_beside(chosen, own)) is not None:
            raise SlideError(f"{candidate.path}: one of its images, which may be the slide, {hidden}")
    if chosen.problem is not None:
        hint = f"; it holds images {listed}" if len(images) > 1 else ""
        raise SlideError(f"{candidate.path}: {chosen.problem}{hint}")
    if wanted is not None:
        return chosen, ()
    others = [
        one
        for one in own
        if one is not chosen and _area(one) >= _SMALL * _area(chosen) and not _is_copy(candidate, chosen, one)
    ]
    if any(_area(one) == _area(chosen) for one in others):
        raise SlideError(f"{candidate.path}: holds several images of the same size ({listed}); choose one as `image`")
    if not others:
        return chosen, ()
    number = images.index(chosen)
    message = f"image {number}, the largest, is the slide; the file holds {listed}; choose another as `image`"
    return chosen, (Doubt("images-left-out", message),)


def _damaged_beside(chosen: SlideImage, images: Sequence[SlideImage]) -> str | None:
    """Say what is wrong with an image that holds more bytes than the chosen one, and whose size is not its pixels'."""
    pages = [one.picture.pages[0] for one in images]
    most = sum(chosen.picture.pages[0].databytecounts)
    return next((damage for page in pages if sum(page.databytecounts) > most and (damage := damage_of(page))), None)


def _is_copy(candidate: Candidate, chosen: SlideImage, other: SlideImage) -> bool:
    """Return whether another image is a smaller version of the slide, such as an unnamed thumbnail."""
    if not other.readers or not has_proportions_of(chosen.readers[0].page, other.readers[0].page):
        return False
    finer = [reader for reader in chosen.readers if reader.width > other.readers[0].width]
    return bool(finer) and candidate.show_the_same(finer[-1], other.readers[0])


def _area(image: SlideImage) -> int:
    return image.picture.width * image.picture.height


def _refuse_other_images(candidate: Candidate, image: int | None) -> None:
    if image not in (None, 0):
        raise SlideError(f"{candidate.path}: `image` is {image}, but a file of this format is one slide; leave it out")


def _unreadable(candidate: Candidate, reason: str) -> SlideError:
    return SlideError(f"{candidate.path}: not a slide that can be read ({reason}); convert it to a pyramidal TIFF")


def _unreachable(candidate: Candidate) -> SlideError:
    if candidate.tiff is None:
        if ignores_ranges(candidate.path):
            return SlideError(f"{candidate.path}: cannot be read: {WITHOUT_RANGES}")
        return _unreadable(candidate, "over the network TIFF and pictures are read")
    return SlideError(
        f"{candidate.path}: the geometry of {candidate.vendor} slides is known to OpenSlide alone, which reads "
        "local files; copy it first"
    )


def _refuse_endless(slide: Slide, path: Path) -> None:
    """Refuse a size that a few wrong bytes can claim, and that would keep a run busy for days."""
    width, height = slide.bounds.width, slide.bounds.height
    if max(width, height) > LARGEST_SIDE:
        slide.close()
        raise SlideError(
            f"{path}: claims to be {width} x {height} px, no slide is wider than {LARGEST_SIDE}; copy it again"
        )
