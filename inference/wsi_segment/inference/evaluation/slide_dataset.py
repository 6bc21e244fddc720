"""Training data of every kind, whole slides with annotations among them.

A slide is cut into tiles that some annotation touches, and into those with tissue where tissue that is not annotated
has a class; they are read by the engine's own readers at the dataset's pixel size, so that a network is trained on the
pixels that it will be given.
"""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from wsi_segment.errors import DatasetError
from wsi_segment.inference.engine.tissue import find_tissue
from wsi_segment.inference.evaluation.annotations import AnnotationMap, class_ids, read_annotations
from wsi_segment.inference.grid.box import Box
from wsi_segment.inference.progress import no_step
from wsi_segment.inference.slides.frame import mask_frame
from wsi_segment.inference.slides.open import open_slide
from wsi_segment.inference.slides.pixels import PixelSource
from wsi_segment.inference.slides.readers.scaled import with_scaled_levels
from wsi_segment.inference.slides.slide import Slide, pixel_size_of
from wsi_segment.model.card import WINDOW, SegmentClass
from wsi_segment.model.data.dataset import ANNOTATION_SUFFIXES, UNLABELLED, Dataset, ImageSource, Item, Pixels
from wsi_segment.model.data.loaders.manifest import CLASSES_FILE, read_classes, read_dataset
from wsi_segment.model.data.loaders.options import OptionReader, Options
from wsi_segment.model.data.splits import split_groups

TILE = 4 * WINDOW
"""Side of the tiles that slides are cut into, in pixels at the dataset's mpp; the last ones of a slide differ."""

_MOST_OPEN = 32
_SLIDE_MPP = "`data slide_mpp=0.5` for a folder of slides, or in a column mpp of the manifest"
"""How the pixel size of a slide is given."""

_PALETTE = (
    (170, 170, 170),
    (213, 94, 0),
    (0, 158, 115),
    (86, 180, 233),
    (240, 228, 66),
    (230, 159, 0),
    (204, 121, 167),
)
"""Okabe-Ito colours, for classes that come without."""


def read_training_data(path: Path, options: Options) -> Dataset:
    """Read the dataset of a manifest, of a folder of a known layout, or of a folder of slides with annotations.

    In a folder of slides, ``NAME.svs`` (or another suffix) goes with ``NAME.geojson``. Slides are split by name;
    a ``classes.json`` may name classes, colours and mpp, else they come from the annotations, and ``mpp`` is an option.
    The option ``slide_mpp`` is the µm per level-0 pixel of slides that state none or a wrong one.

    Args:
        path: The file or folder.
        options: Of the loader, such as ``{"mpp": 1.0}``.

    Raises:
        DatasetError: something is missing or does not fit together.
        InputError: an option is unknown.
        SlideError: a slide cannot be read.
    """
    pairs = list(_annotated_slides(path)) if path.is_dir() and not (path / "manifest.csv").exists() else []
    dataset = _of_slides(path, pairs, options) if pairs else read_dataset(path, options)
    if not dataset.outlined:
        return dataset
    source = _SlideTiles(dataset)
    items = tuple(source.items())
    return replace(dataset, items=items, source=source, left_out=tuple(source.left_out.values()))


def _annotated_slides(folder: Path) -> Iterator[tuple[Path, Path]]:
    files = sorted(folder.iterdir())
    for outlines in files:
        stem = next((outlines.name.removesuffix(s) for s in ANNOTATION_SUFFIXES if outlines.name.endswith(s)), None)
        if stem is None or outlines.name == CLASSES_FILE:
            continue
        slides = [path for path in files if path.stem == stem and not path.name.endswith(ANNOTATION_SUFFIXES)]
        if len(slides) == 1:
            yield slides[0], outlines
        elif outlines.suffix not in (".xml", ".json"):
            raise DatasetError(f"{outlines}: {'two slides' if slides else 'no slide'} of that name beside it")


def _of_slides(folder: Path, pairs: Sequence[tuple[Path, Path]], options: Options) -> Dataset:
    reader = OptionReader("a folder of slides", options)
    mpp = reader.number("mpp", 0.0, 0.0, 100.0)
    slide_mpp = reader.number("slide_mpp", 0.0, 0.0, 100.0) or None
    reader.done()
    described = folder / CLASSES_FILE
    if described.is_file():
        stated = read_classes(described)
        classes = stated.classes
        mpp, source = (mpp, "given by the user") if mpp else (stated.mpp, stated.mpp_source)
    else:
        classes, source = _classes_of(annotations for _, annotations in pairs), "given by the user"
    if not mpp:
        raise DatasetError(f"{folder}: at which pixel size? give `data mpp=1.0` (µm per pixel), or {CLASSES_FILE}")
    splits = split_groups(slide.stem for slide, _ in pairs)
    return Dataset(
        name=folder.resolve().name,
        classes=classes,
        mpp=mpp,
        mpp_source=source,
        items=tuple(
            Item(
                image=slide,
                mask=outlines,
                label=None,
                group=slide.stem,
                split=splits[slide.stem],
                slide_mpp=slide_mpp,
            )
            for slide, outlines in pairs
        ),
    )


def _classes_of(files: Iterator[Path]) -> tuple[SegmentClass, ...]:
    """Gather every class that an annotation has, by name, but those to be left out; QuPath's end in an asterisk."""
    colors: dict[str, tuple[int, int, int] | None] = {}
    titles: set[str] = set()
    for path in files:
        for outline in read_annotations(path):
            if outline.name and not outline.name.endswith("*") and not outline.ignored:
                colors[outline.name] = colors.get(outline.name) or outline.color
            titles.add(outline.title)
    if not colors:
        titles.discard("")
        named = f"; or name {', '.join(sorted(titles)[:3])} in {CLASSES_FILE}" if titles else ""
        raise DatasetError(f"no annotation has a class; set classes in QuPath and export again{named}")
    return tuple(
        SegmentClass(name=name, color=colors[name] or _PALETTE[index % len(_PALETTE)])
        for index, name in enumerate(sorted(colors))
    )


@dataclass(frozen=True, slots=True)
class _OpenSlide:
    slide: Slide
    pixels: PixelSource
    annotations: AnnotationMap


class _SlideTiles:
    """Pixels and class ids of tiles of slides; other items are left to the dataset's own source.

    Memory bound:
        ``_MOST_OPEN`` open slides with their annotations, and the tile that is read.
    """

    def __init__(self, dataset: Dataset) -> None:
        self._dataset, self._files = dataset, dataset.source
        self._open: OrderedDict[Path, _OpenSlide] = OrderedDict()
        self.left_out: dict[Path, str] = {}
        """What is not used of each file of annotations that was read."""
        self._lock = threading.RLock()
        weakref.finalize(self, _close_all, self._open)

    def items(self) -> Iterator[Item]:
        """Yield the dataset's items, each slide as its tiles of which something is known."""
        for item in self._dataset.items:
            if item.mask is None or not item.mask.name.endswith(ANNOTATION_SUFFIXES):
                yield item
                continue
            known = self._is_known(item)
            frame = self._slide(item).pixels.frame
            for y0, y1 in tile_spans(frame.height):
                for x0, x1 in tile_spans(frame.width):
                    if known(Box(x0, y0, x1, y1)):
                        yield replace(item, box=(x0, y0, x1, y1))

    def _is_known(self, item: Item) -> Callable[[Box], bool]:
        """Return the test whether any pixel of a box of a slide has a class."""
        opened = self._slide(item)
        if self._dataset.unannotated == UNLABELLED:
            return opened.annotations.touches
        frame = opened.pixels.frame
        tissue = find_tissue(opened.slide, frame, mask_mpp=self._dataset.mpp, method="otsu", step=no_step)
        return lambda box: opened.annotations.touches(box) or tissue.touches(box)

    def shape(self, item: Item) -> tuple[int, int]:
        """See :class:`wsi_segment.model.data.dataset.ImageSource`."""
        if item.box is None:
            return self._files.shape(item)
        box = Box(*item.box)
        return box.height, box.width

    def image(self, item: Item) -> Pixels:
        """See :class:`wsi_segment.model.data.dataset.ImageSource`."""
        if item.box is None:
            return self._files.image(item)
        with self._lock:  # or another thread could close the slide while it is read
            return self._slide(item).pixels.read(Box(*item.box))

    def mask(self, item: Item) -> Pixels:
        """See :class:`wsi_segment.model.data.dataset.ImageSource`."""
        if item.box is None:
            return self._files.mask(item)
        opened, box = self._slide(item), Box(*item.box)
        ids = opened.annotations(box)
        inside = box.intersect(opened.pixels.frame.box)
        ids[inside.height :], ids[:, inside.width :] = 0, 0
        return ids

    def _slide(self, item: Item) -> _OpenSlide:
        with self._lock:
            if item.image not in self._open:
                if len(self._open) == _MOST_OPEN:
                    self._open.popitem(last=False)[1].slide.close()
                self._open[item.image] = self._opened(item)
            self._open.move_to_end(item.image)
            return self._open[item.image]

    def _opened(self, item: Item) -> _OpenSlide:
        slide = with_scaled_levels(open_slide(item.image))
        try:
            return self._annotated(slide, item)
        except BaseException:  # a slide that nobody holds is closed whatever happens, Ctrl-C included
            slide.close()
            raise

    def _annotated(self, slide: Slide, item: Item) -> _OpenSlide:
        assert item.mask is not None
        path = item.mask
        size = pixel_size_of(slide, item.image, item.slide_mpp, name=_SLIDE_MPP)
        frame = mask_frame(slide, size.mpp, self._dataset.mpp)
        ids = {entry.name: index for index, entry in enumerate(self._dataset.classes, start=1)}
        unknown = f"is not among {', '.join(ids)}; correct the outline's class"
        extent = 0.0, 0.0, float(slide.bounds.width), float(slide.bounds.height)
        outlines = read_annotations(path, extent, f"the slide {item.image.name}")
        if left_out := outlines.describe_left_out(extent):
            self.left_out[path] = f"left out of {path}: {left_out}"
        placed = AnnotationMap(
            outlines.areas,
            class_ids(self._dataset.class_of or ids.get, path, unknown),
            origin=(frame.s_x0 - slide.bounds.x0, frame.s_y0 - slide.bounds.y0),
            downsample=frame.downsample,
            unannotated=self._dataset.unannotated,
        )
        return _OpenSlide(slide, PixelSource(slide, frame), placed)


def tile_spans(length: int) -> list[tuple[int, int]]:
    """Return starts and ends of tiles along an axis of a slide; none overlap, so each pixel counts once.

    >>> tile_spans(1200)
    [(0, 512), (512, 1024), (1024, 1200)]

    The last one is as long as what is left, and where that is less than a window it belongs to the one before. A slide
    smaller than a window has one tile of a window, which reaches over its edge.
    """
    starts = range(0, max(1, length - WINDOW + 1), TILE)
    return list(zip(starts, [*starts[1:], max(length, WINDOW)], strict=True))


def _close_all(slides: OrderedDict[Path, _OpenSlide]) -> None:
    while slides:
        slides.popitem()[1].slide.close()


_: type[ImageSource] = _SlideTiles
