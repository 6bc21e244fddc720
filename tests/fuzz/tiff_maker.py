"""TIFF files of every kind that hypothesis can think of, and what each of them shows."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tifffile
from hypothesis import strategies as st
from numpy.typing import NDArray

from fuzz.oracle import LOSSLESS, LOSSY, Expected, reduced, scene

LOSSY_CODECS = ("jpeg", "jpeg2000", "webp", "jpegxl", "aperio_jp2000_rgb")
LOSSLESS_CODECS = (None, "deflate", "lzw", "zstd", "packbits", "lzma")
EVERYDAY_CODECS = (None, "deflate", "lzw", "jpeg")
MICRONS = {"µm": 1.0, "nm": 1e-3, "mm": 1e3, "cm": 1e4, "Å": 1e-4, "pm": 1e-6, "in": 25_400.0, "pt": 25_400 / 72}
"""Units of lengths in OME-XML."""
SAMPLES = (
    "rgb8", "rgba8", "premultiplied8", "grey8", "min-is-white8", "palette8", "rgb16", "rgb12in16", "grey16",
    "cmyk8", "float", "channels5", "cielab8",
)  # fmt: skip
DECOYS = ("label", "macro", "thumbnail", "half of another")


@dataclass(frozen=True, slots=True)
class Layout:
    """How the pixels of a page are stored."""

    compression: str | None = "deflate"
    tile: tuple[int, int] | None = (128, 128)
    """(height, width); None for strips."""
    rows_per_strip: int = 64
    planar: bool = False
    predictor: bool = False


@dataclass(frozen=True, slots=True)
class TiffSpec:
    """All that is varied of a TIFF."""

    width: int = 500
    height: int = 400
    seed: int = 1
    kind: str = "plain"
    """plain, ome, aperio or imagej."""
    samples: str = "rgb8"
    layout: Layout = field(default_factory=Layout)
    levels: tuple[int, ...] = ()
    """Downsamples of the coarser levels."""
    levels_inside: bool = False
    """In SubIFDs of the slide's page, not in pages of their own."""
    levels_round_up: bool = False
    decoys_before: tuple[str, ...] = ()
    decoys_after: tuple[str, ...] = ()
    decoys_tiled: bool = False
    decoys_marked: bool = True
    """Whether NewSubfileType says that decoys are reduced images."""
    orientation: int = 1
    mpp: tuple[float, float] | None = (0.5, 0.5)
    """As stored, before any turn, by the statement that counts."""
    unit: str = "CENTIMETER"
    """Of the TIFF resolution, or of OME-XML."""
    other_mpp: float | None = None
    """What the TIFF resolution of an OME-TIFF says besides."""
    left_out: tuple[float, ...] = ()
    """Places of tiles, 0 to 1 along the page, that are not stored."""
    swapped: bool = False
    """Whether the first two tiles lie in the file where one would look for the other."""
    beyond: bool = False
    """Whether the last tile lies beyond the end of the file."""
    big: bool = False
    byteorder: Literal["<", ">"] = "<"
    suffix: str = ".tif"


@st.composite
def layouts(draw: st.DrawFn, samples: str) -> Layout:
    """Draw how pixels are stored, of what TIFF allows for a kind of pixel."""
    codecs = LOSSLESS_CODECS if samples != "rgb8" else (*LOSSLESS_CODECS, "lerc", *LOSSY_CODECS)
    compression = draw(st.sampled_from(EVERYDAY_CODECS if samples == "rgb8" and draw(st.booleans()) else codecs))
    sides = st.sampled_from((64, 112, 128, 240, 256, 512))
    tile = (draw(sides), draw(sides)) if draw(st.integers(0, 3)) else None
    predicted = compression in ("deflate", "lzw", "zstd", "lzma") and samples != "float" and draw(st.booleans())
    several = samples not in ("grey8", "min-is-white8", "palette8", "grey16")
    planar = several and compression not in LOSSY_CODECS and not draw(st.integers(0, 5))
    return Layout(compression, tile, draw(st.sampled_from((1, 16, 64, 100_000))), planar, predicted)


@st.composite
def tiffs(draw: st.DrawFn) -> TiffSpec:
    """Draw a TIFF; about half of them are everyday slides with one oddity or two."""

    def seldom(strategy: st.SearchStrategy[Any], usual: Any, odds: int = 4) -> Any:
        return draw(strategy) if draw(st.integers(1, odds)) == 1 else usual

    kind = draw(st.sampled_from(("plain", "plain", "ome", "ome", "aperio", "imagej")))
    samples = seldom(st.sampled_from(SAMPLES), "rgb8")
    layout = draw(layouts(samples))
    size = st.integers(130, 700)
    decoys = st.lists(st.sampled_from(DECOYS), max_size=3).map(tuple)
    one = draw(st.sampled_from((0.2499, 0.25, 0.5, 0.499, 1.0, 2.0)))
    mpp = seldom(st.sampled_from((None, (one, 2 * one))), (one, one), 6)
    units = tuple(MICRONS) if kind == "ome" else ("CENTIMETER", "INCH")
    levels = draw(st.sampled_from(((), (2,), (2, 4), (4,), (4, 16), (3,)))) if kind != "imagej" else ()
    tiled = draw(st.booleans())
    # OpenSlide is not tried on Aperio files that leave out tiles among pictures that it could take for levels
    sparse = not (kind == "aperio" and tiled)
    gone = st.lists(st.sampled_from((0.0, 0.3, 0.5, 0.99)), min_size=1, max_size=4).map(tuple)
    return TiffSpec(
        width=draw(size),
        height=draw(size),
        seed=draw(st.integers(0, 99)),
        kind=kind,
        samples=samples,
        layout=layout,
        levels=levels,
        levels_inside=bool(levels) and (kind == "ome" or seldom(st.just(True), False, 6)),
        levels_round_up=draw(st.booleans()),
        decoys_before=seldom(decoys, ()),
        decoys_after=seldom(decoys, (), 2),
        decoys_tiled=tiled,
        decoys_marked=draw(st.booleans()),
        orientation=seldom(st.integers(2, 8), 1, 5),
        mpp=mpp,
        unit=seldom(st.sampled_from((*units, "NONE")), units[0], 3),
        other_mpp=seldom(st.sampled_from((0.25, 1.0, 352.78, 1000.0)), None) if kind == "ome" else None,
        left_out=seldom(gone, ()) if sparse else (),
        swapped=seldom(st.just(True), False, 8),
        beyond=seldom(st.just(True), False, 20),
        big=draw(st.booleans()),
        byteorder=seldom(st.just(">"), "<"),
        suffix=".ome.tif" if kind == "ome" else draw(st.sampled_from((".tif", ".tiff", ".svs"))),
    )


def write_tiff(path: Path, spec: TiffSpec) -> Expected:
    """Write a TIFF and return what it shows."""
    shown = scene(spec.height, spec.width, spec.seed)
    pixels, shown = _samples(shown, spec.samples)
    with tifffile.TiffWriter(path, bigtiff=spec.big, byteorder=spec.byteorder, ome=spec.kind == "ome") as tiff:
        for number, decoy in enumerate(spec.decoys_before):
            _write_decoy(tiff, spec, decoy, number)
        sizes = [_level_size(spec, factor) for factor in spec.levels]
        inside = len(sizes) if spec.levels_inside else 0
        _write_page(tiff, pixels, spec, main=True, subifds=inside)
        for width, height in sizes:
            level, _ = _samples(reduced(scene(spec.height, spec.width, spec.seed), width, height), spec.samples)
            _write_page(tiff, level, spec, main=False)
        for number, decoy in enumerate(spec.decoys_after):
            _write_decoy(tiff, spec, decoy, 10 + number)
    moved = _move_tiles(path, spec, shown)
    mpp = spec.mpp if spec.mpp is None or spec.orientation < 5 else spec.mpp[::-1]
    stated = _stated(spec, mpp)
    return Expected(
        np.ascontiguousarray(turn(moved, spec.orientation)),
        stated,
        LOSSY if spec.layout.compression in LOSSY_CODECS else LOSSLESS,
        must_open=_everyday(spec),
        below=np.ascontiguousarray(turn(shown, spec.orientation)),
        doubts=_doubts(spec, stated),
    )


def turn(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Return stored pixels as TIFF's Orientation (tag 274; TIFF 6.0, page 36) has them shown."""
    turned = {2: pixels[:, ::-1], 3: pixels[::-1, ::-1], 4: pixels[::-1]}.get(orientation)
    if turned is not None:
        return turned
    swapped = pixels.swapaxes(0, 1)
    return {5: swapped, 6: swapped[:, ::-1], 7: swapped[::-1, ::-1], 8: swapped[::-1]}.get(orientation, pixels)


def _everyday(spec: TiffSpec) -> bool:
    """Whether the world is full of files like this: a refusal would be a defect."""
    return (
        spec.kind in ("plain", "ome", "aperio")
        and spec.samples == "rgb8"
        and spec.layout.compression in EVERYDAY_CODECS
        and spec.layout.tile is not None
        and not spec.layout.planar
        and not spec.decoys_before
        and all(decoy != "half of another" for decoy in spec.decoys_after)
        and spec.orientation == 1
        and (spec.mpp is None or spec.mpp[0] == spec.mpp[1])
        and not spec.swapped
        and not spec.beyond
        and spec.unit != "NONE"
        and spec.other_mpp in (None, 0.25, 1.0)
        and (spec.kind == "ome" or not spec.levels_inside)
        and 3 not in spec.levels
    )


def _stated(spec: TiffSpec, mpp: tuple[float, float] | None) -> tuple[float, float] | None:
    """What the file says of its pixel size, by the statement that counts."""
    if spec.kind == "ome" and (mpp is None or spec.unit == "NONE"):
        return None if spec.other_mpp is None else (spec.other_mpp, spec.other_mpp)
    if spec.kind == "aperio":
        return None if spec.mpp is None else (spec.mpp[0], spec.mpp[0])
    return None if spec.unit == "NONE" and spec.kind == "plain" else mpp


def _doubts(spec: TiffSpec, stated: tuple[float, float] | None) -> frozenset[str]:
    """Warnings that a reader owes its user."""
    plausible = spec.other_mpp is not None and spec.other_mpp < 100  # 72 dpi is what a writer puts that knows nothing
    told_twice = spec.kind == "ome" and spec.mpp is not None and spec.unit != "NONE" and plausible
    if told_twice and stated is not None and abs((spec.other_mpp or 0) / stated[0] - 1) > 0.1:
        return frozenset({"pixel-size-differs"})
    return frozenset()


def _level_size(spec: TiffSpec, factor: int) -> tuple[int, int]:
    up = factor - 1 if spec.levels_round_up else 0
    return max(1, (spec.width + up) // factor), max(1, (spec.height + up) // factor)


def _samples(rgb: NDArray[np.uint8], samples: str) -> tuple[NDArray[Any], NDArray[np.uint8]]:
    """Return pixels as they are stored, and the RGB that they mean."""
    grey = rgb[..., 1]
    alpha = np.full(rgb.shape[:2], 255, np.uint8)
    alpha[: len(alpha) // 3] = 0
    over_white = np.where(alpha[..., None] == 0, np.uint8(255), rgb)
    as_grey = np.repeat(grey[..., None], 3, axis=2)
    if samples == "rgba8":
        return np.dstack([rgb, alpha]), over_white
    if samples == "premultiplied8":
        return np.dstack([np.where(alpha[..., None] == 0, np.uint8(0), rgb), alpha]), over_white
    if samples in ("grey8", "grey16"):
        return (grey if samples == "grey8" else grey.astype(np.uint16) * 257), as_grey
    if samples == "min-is-white8":
        return 255 - grey, as_grey
    if samples == "palette8":
        return grey[...], np.stack([grey, 255 - grey, grey // 2], axis=-1)
    if samples in ("rgb16", "rgb12in16"):
        return rgb.astype(np.uint16) * (257 if samples == "rgb16" else 16), rgb
    if samples == "cmyk8":
        return np.dstack([255 - rgb, np.zeros_like(grey)]), rgb
    if samples == "float":
        return rgb.astype(np.float32) / 255, rgb
    if samples == "channels5":
        return np.dstack([rgb, grey, grey]), rgb
    if samples == "cielab8":
        from PIL import Image, ImageCms

        lab = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
        converted = ImageCms.applyTransform(Image.fromarray(rgb), lab)
        return np.asarray(converted), rgb
    return rgb, rgb


def _write_page(
    tiff: tifffile.TiffWriter, pixels: NDArray[Any], spec: TiffSpec, *, main: bool, subifds: int = 0
) -> None:
    layout, samples = spec.layout, spec.samples
    photometric = {
        "grey8": "minisblack", "grey16": "minisblack", "min-is-white8": "miniswhite", "palette8": "palette",
        "cmyk8": "separated", "channels5": "rgb", "cielab8": "cielab",
    }.get(samples, "rgb")  # fmt: skip
    options: dict[str, Any] = {
        "photometric": photometric, "compression": layout.compression, "predictor": layout.predictor or None,
        "subfiletype": 0 if main else 1, "metadata": None,
    }  # fmt: skip
    if layout.tile is None:
        options["rowsperstrip"] = min(layout.rows_per_strip, pixels.shape[0])
    else:
        options["tile"] = layout.tile
    if pixels.ndim == 3:
        options["planarconfig"] = "separate" if layout.planar else "contig"
    if layout.compression == "jpeg":
        options["compressionargs"] = {"level": 92}
    if samples in ("rgba8", "premultiplied8"):
        options["extrasamples"] = ["unassalpha" if samples == "rgba8" else "assocalpha"]
    if samples == "channels5":
        options["extrasamples"] = ["unspecified"] * 2
    if samples == "palette8":
        ramp = np.arange(256, dtype=np.uint16)
        options["colormap"] = np.stack([ramp, 255 - ramp, ramp // 2]) * np.uint16(257)
    if spec.orientation != 1:
        options["extratags"] = [(274, "H", 1, spec.orientation, True)]
    if main:
        options["subifds"] = subifds or None
        options |= _statement(spec)
    if layout.planar and pixels.ndim == 3:
        pixels = np.ascontiguousarray(pixels.transpose(2, 0, 1))
        if options["metadata"]:
            options["metadata"]["axes"] = "SYX"
    tiff.write(pixels, **options)


def _statement(spec: TiffSpec) -> dict[str, Any]:
    """Options by which the slide's page says how large its pixels are."""
    if spec.kind == "ome":
        stated: dict[str, Any] = {
            "axes": "YX" if spec.samples in ("grey8", "grey16", "min-is-white8", "palette8") else "YXS"
        }
        if spec.mpp is not None:
            for axis, size in zip("XY", spec.mpp, strict=True):
                stated[f"PhysicalSize{axis}"] = size / MICRONS.get(spec.unit, 1.0)
                stated[f"PhysicalSize{axis}Unit"] = "pixel" if spec.unit == "NONE" else spec.unit
        other: dict[str, Any] = {} if spec.other_mpp is None else _resolution((spec.other_mpp,) * 2, "CENTIMETER")
        return {"metadata": stated, **other}
    if spec.kind == "aperio":
        tile = f"({spec.layout.tile[1]}x{spec.layout.tile[0]})" if spec.layout.tile else ""
        whole = f"{spec.width}x{spec.height}"
        text = f"Aperio Image Library v11.2.1 \r\n{whole} [0,0 {whole}] {tile} JPEG/RGB Q=70"
        return {"description": text if spec.mpp is None else f"{text}|AppMag = 20|MPP = {spec.mpp[0]:.4f}"}
    if spec.mpp is None:
        return {}
    if spec.kind == "imagej":
        return {
            "description": "ImageJ=1.54f\nunit=micron\n",
            **_resolution(tuple(size * 1e4 for size in spec.mpp), "CENTIMETER"),
            "resolutionunit": "NONE",
        }
    return _resolution(spec.mpp, spec.unit)


def _resolution(mpp: tuple[float, ...], unit: str) -> dict[str, Any]:
    per_unit = {"CENTIMETER": 1e4, "INCH": 25_400.0, "NONE": 1.0}[unit]
    return {"resolution": (per_unit / mpp[0], per_unit / mpp[1]), "resolutionunit": unit}


def _write_decoy(tiff: tifffile.TiffWriter, spec: TiffSpec, decoy: str, number: int) -> None:
    """Write a page that is not the slide, and smaller."""
    width, height = max(33, spec.width // 3), max(33, spec.height // 3)
    if decoy == "half of another":
        width, height = spec.width // 2, spec.height // 2
    pixels = scene(height, width, 1000 + spec.seed + number)
    if decoy == "thumbnail":
        pixels = reduced(scene(spec.height, spec.width, spec.seed), width, height)
    elif decoy == "label":
        pixels = np.full((height, height, 3), 250, np.uint8)
        pixels[height // 4 : height // 2, height // 5 : height // 2] = 10
    options: dict[str, Any] = {"tile": (64, 64)} if spec.decoys_tiled else {"rowsperstrip": 32}
    if spec.kind == "ome":
        options["metadata"] = {"axes": "YXS", "Name": decoy, "PhysicalSizeX": 33.0, "PhysicalSizeY": 33.0}
    elif spec.kind == "aperio":
        named = f"Aperio Image Library v11.2.1 \r\n{decoy} {width}x{height}"
        options |= {"metadata": None, "description": named}
    else:
        options |= {"metadata": None, **_resolution((33.0, 33.0), "CENTIMETER")}
    kind = 1 if spec.decoys_marked and spec.kind != "ome" else 0
    tiff.write(pixels, photometric="rgb", compression="deflate", subfiletype=kind, **options)


def _move_tiles(path: Path, spec: TiffSpec, shown: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Leave tiles out of the slide's page, swap two, or point beyond the file; return what is shown then."""
    if not (spec.left_out or spec.swapped or spec.beyond):
        return shown
    with tifffile.TiffFile(path, mode="r+", _multifile=False) as tiff:
        page: Any = tiff.pages[len(spec.decoys_before)]
        offsets, counts = list(page.dataoffsets), list(page.databytecounts)
        rows, columns, across = _grid(page)
        shown = shown.copy()
        per_plane = len(offsets) // (page.samplesperpixel if spec.layout.planar else 1)
        blocks = [
            (
                slice(i // across * rows, (i // across + 1) * rows),
                slice(i % across * columns, (i % across + 1) * columns),
            )
            for i in range(per_plane)
        ]
        alike = per_plane > 2 and shown[blocks[0]].shape == shown[blocks[1]].shape
        if spec.swapped and alike and spec.layout.compression != "jpeg":
            for plane in range(0, len(offsets), per_plane):
                for numbers in (offsets, counts):
                    numbers[plane], numbers[plane + 1] = numbers[plane + 1], numbers[plane]
            first = shown[blocks[0]].copy()
            shown[blocks[0]], shown[blocks[1]] = shown[blocks[1]], first
        for place in spec.left_out:
            index = int(place * per_plane)
            shown[blocks[index]] = 255
            for plane in range(0, len(offsets), per_plane):
                offsets[plane + index] = counts[plane + index] = 0
        if spec.beyond and counts[-1]:
            offsets[-1] = path.stat().st_size + 1000
        page.tags["TileOffsets" if page.is_tiled else "StripOffsets"].overwrite(offsets)
        page.tags["TileByteCounts" if page.is_tiled else "StripByteCounts"].overwrite(counts)
    return shown


def _grid(page: Any) -> tuple[int, int, int]:
    """Return height and width of a page's tiles or strips, and how many there are in a row."""
    if page.is_tiled:
        return page.tilelength, page.tilewidth, -(-page.imagewidth // page.tilewidth)
    return page.rowsperstrip, page.imagewidth, 1
