"""Two hundred files that are not the slides they claim to be."""

from __future__ import annotations

import io
import random
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

from synthetic import tissue_like, write_slide

SUFFIXES = (".svs", ".ndpi", ".mrxs", ".scn", ".bif", ".vms", ".tif", ".png", ".jpg", ".webp")
TAGS = {
    "width": (256, (0, 1, 2**31 - 1)),
    "height": (257, (0, 2**31 - 1)),
    "bits": (258, (0, 1, 16, 65535)),
    "compression": (259, (2, 6, 34712, 65000)),
    "photometric": (262, (3, 4, 9, 32803)),
    "samples": (277, (0, 1, 2, 65535)),
    "planar": (284, (2, 9)),
    "predictor": (317, (3, 77)),
    "tile width": (322, (0, 1, 15, 2**30)),
    "tile height": (323, (0, 3, 2**30)),
    "offsets": (324, (0, 7, 2**62)),
    "sizes": (325, (0, 1, 2**62)),
    "format": (339, (2, 3, 9)),
}
"""Numbers of tags and wrong values for them."""


def ome_xml(plane_of: str) -> str:
    """OME-XML of an image of 700 x 600 px whose one plane lies in another file."""
    return (
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:0"><Image ID="Image:0">'
        '<Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint8" SizeX="700" SizeY="600" SizeC="3" SizeZ="1" '
        'SizeT="1" PhysicalSizeX="1" PhysicalSizeY="1"><Channel ID="Channel:0:0" SamplesPerPixel="3"/>'
        f'<TiffData IFD="0" PlaneCount="1"><UUID FileName="{plane_of}">urn:uuid:1</UUID></TiffData>'
        "</Pixels></Image></OME>"
    )


def write_hostile(folder: Path, secret: Path) -> dict[str, str]:
    """Names of files with what is wrong with them; 200 in all.

    Args:
        folder: Gets them.
        secret: A slide outside of the folder, to which some of them lead.
    """
    rng = random.Random(0)
    sound = write_slide(folder / "sound.tiff", tissue_like(600, 700)).read_bytes()
    jpeg = write_slide(folder / "jpeg.tiff", tissue_like(600, 700), compression="jpeg").read_bytes()
    found: dict[str, str] = {}
    makers: tuple[tuple[str, Iterator[tuple[str, bytes]]], ...] = (
        ("truncated", _truncated(sound, jpeg)),
        ("flipped", _flipped(rng, sound, jpeg)),
        ("bomb", _bombs()),
        ("tags", _tags(sound)),
        ("renamed", _renamed(rng)),
    )
    for kind, files in makers:
        for number, (suffix, content) in enumerate(files):
            name = f"{kind}{number:02d}{suffix}"
            (folder / name).write_bytes(content)
            found[name] = kind
    for name, make in LEADING_AWAY.items():
        make(folder / name, secret)
        found[name] = "leading away"
    (folder / "sound.tiff").unlink()
    (folder / "jpeg.tiff").unlink()
    return found


def _truncated(*slides: bytes) -> Iterator[tuple[str, bytes]]:
    for content in slides:
        for part in range(20):
            yield ".tiff" if part % 2 else ".svs", content[: 1 + len(content) * part // 21]


def _flipped(rng: random.Random, *slides: bytes) -> Iterator[tuple[str, bytes]]:
    for content in slides:
        for number in range(20):
            changed = bytearray(content)
            for _ in range(3 ** (number // 4)):
                changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
            yield ".tiff", bytes(changed)


def _bombs() -> Iterator[tuple[str, bytes]]:
    for side in (6000, 8192):
        for compression in ("deflate", "zstd"):
            held = io.BytesIO()
            pixels = np.broadcast_to(np.uint8(0), (side, side, 3))
            with tifffile.TiffWriter(held) as tiff:
                tiff.write(pixels, tile=(side, side), photometric="rgb", compression=compression, metadata=None)
            yield ".tiff", held.getvalue()
    for side in (20_000, 60_000, 2**31 - 1):
        rows = zlib.compress(bytes(1 << 20))
        header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
        yield ".png", b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*one) for one in ((b"IHDR", header), (b"IDAT", rows)))
    held = io.BytesIO()
    Image.new("RGB", (65_000, 10)).save(held, "JPEG")
    for height in (65_000, 65_535):
        changed = bytearray(held.getvalue())
        at = changed.index(b"\xff\xc0") + 5
        changed[at : at + 2] = height.to_bytes(2, "big")
        yield ".jpg", bytes(changed)


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def _tags(sound: bytes) -> Iterator[tuple[str, bytes]]:
    """A BigTIFF whose first directory says something else, or leads nowhere or round and round."""
    first, count = _directory(sound)
    for tag, values in TAGS.values():
        for value in values:
            yield ".tiff", with_tag(sound, tag, value)
    for target in (first, 0, 8, len(sound) + 9, 2**63):
        changed = bytearray(sound)
        struct.pack_into("<Q", changed, first + 8 + 20 * count, target)  # the next directory
        struct.pack_into("<Q", changed, 8, target)
        yield ".tiff", bytes(changed)


def _directory(sound: bytes) -> tuple[int, int]:
    """Where the first directory of a BigTIFF is, and how many tags it has."""
    (first,) = struct.unpack_from("<Q", sound, 8)
    (count,) = struct.unpack_from("<Q", sound, first)
    return first, count


def with_tag(sound: bytes, tag: int, value: int) -> bytes:
    """A BigTIFF whose first directory has another value for a tag."""
    first, count = _directory(sound)
    changed = bytearray(sound)
    for index in range(count):
        at = first + 8 + 20 * index
        if struct.unpack_from("<H", sound, at)[0] == tag:
            struct.pack_into("<HQQ", changed, at + 2, 16, 1, value)
            return bytes(changed)
    struct.pack_into("<HHQQ", changed, first + 8, tag, 16, 1, value)
    return bytes(changed)


def _renamed(rng: random.Random) -> Iterator[tuple[str, bytes]]:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        archive.writestr("a.txt", "a")
    page = b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>"
    contents = (
        b"",
        b"text",
        bytes(100_000),
        rng.randbytes(50_000),
        held.getvalue(),
        b"%PDF-1.7\n",
        b"\x7fELF" + bytes(99),
        page,
    )
    for number in range(56):
        yield SUFFIXES[number % len(SUFFIXES)], contents[number % len(contents)]


def _link(path: Path, secret: Path) -> None:
    path.symlink_to(secret)


def _mirax(path: Path, secret: Path) -> None:
    path.write_bytes(b"x")
    path.with_suffix("").mkdir()
    (path.with_suffix("") / "Slidedat.ini").write_text(
        f"[DATAFILE]\nFILE_0 = ../../{secret.parent.name}/{secret.name}\n"
    )


def _hamamatsu(path: Path, secret: Path) -> None:
    path.write_text(f"[Virtual Microscope Specimen]\nImageFile=../{secret.parent.name}/{secret.name}\n")


def _disguised(path: Path, secret: Path) -> None:
    """OpenSlide knows a Hamamatsu key file by its content, whatever its name."""
    keys = ("NoLayers=1", "NoJpegColumns=1", "NoJpegRows=1", f"ImageFile=../{secret.parent.name}/{secret.name}")
    path.write_text("\n".join(("[Virtual Microscope Specimen]", *keys, "MacroImage=m.jpg", "MapFile=m.jpg", "")))


def _macro(path: Path, secret: Path) -> None:
    _disguised(path, secret)
    text = path.read_text().replace(f"../{secret.parent.name}/{secret.name}", "i.jpg")
    path.write_text(text.replace("MacroImage=m.jpg", f"MacroImage=..\\{secret.parent.name}\\{secret.name}"))


def _ome_tiff(path: Path, secret: Path) -> None:
    xml = ome_xml(f"../{secret.parent.name}/{secret.name}")
    tifffile.imwrite(path, tissue_like(600, 700), tile=(256, 256), photometric="rgb", description=xml, metadata=None)


def write_ndtiff(path: Path, secret: Path) -> None:
    """A file of a Micro-Manager set: it says that there is an index beside it, and that names the others."""
    tag = (51123, 2, 0, "{}", True)
    tifffile.imwrite(path, tissue_like(600, 700), photometric="rgb", metadata=None, extratags=[tag])
    content = bytearray(path.read_bytes())
    (first,) = struct.unpack_from("<I", content, 4)
    (count,) = struct.unpack_from("<H", content, first)
    directory = content[first : first + 2 + 12 * count] + bytes(4)
    struct.pack_into("<I", content, 4, len(content))  # the directory moves to the end, and the mark is where it was
    struct.pack_into("<5I2s", content, 8, 483729, 3, 0, 2355492, 2, b"{}")
    path.write_bytes(content + directory)
    name = f"../{secret.parent.name}/{secret.name}".encode()
    axes = b'{"time": 0}'
    entry = struct.pack("<I", len(axes)) + axes + struct.pack("<I", len(name)) + name
    (path.parent / "NDTiff.index").write_bytes(entry + struct.pack("<IiiiiIii", 0, 300, 300, 2, 0, 0, 0, 0))


LEADING_AWAY: dict[str, Callable[[Path, Path], None]] = {
    "away0.tiff": _link, "away1.svs": _link, "away2.mrxs": _mirax, "away3.vms": _hamamatsu, "away4.vmu": _hamamatsu,
    "away5.svs": _disguised, "away6.mrxs": _disguised, "away7.vms": _macro, "away8.ome.tiff": _ome_tiff,
}  # fmt: skip
