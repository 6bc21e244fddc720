"""What the encoded bytes of a tile or frame say of their colours, where headers can say something else."""

from __future__ import annotations

from collections.abc import Iterator

RGB, YCBCR = 2, 6
"""TIFF's PhotometricInterpretation."""
JPEG, JPEG_2000 = 7, 34712
"""TIFF's Compression."""
APERIO_YCBCR = 33003
"""TIFF's Compression of YCbCr in JPEG 2000, as Aperio stores it; its decoder leaves the colours as they are."""
_FRAMES = (0xC0, 0xC1, 0xC2)
"""Marks of the segment of JPEG that lists its components: baseline, extended, progressive."""
_APP0, _APP14 = 0xE0, 0xEE
"""Marks of the segments of JFIF and Adobe."""
_ALONE = (0x01, *range(0xD0, 0xD8))
"""Marks of JPEG without a segment."""
_ENDS = (0xD9, 0xDA)
"""Marks of JPEG's end, and of the scan: its pixels."""
_CODING_STYLE = 0x52
"""Mark of the segment of a JPEG 2000 codestream that says whether colours are converted."""


def states_ycbcr(jpeg: bytes) -> bool | None:
    """Return whether a JPEG says that it holds YCbCr or RGB; None where it does not, or has not three components.

    It says so by its JFIF segment, or else its Adobe segment, as libjpeg has it, wherever they stand before the scan;
    without them, YCbCr by colours of fewer samples than the first component, and RGB by the names of the components.
    """
    is_jfif, transform, frame = False, None, b""
    for marker, content in _segments(jpeg):
        if marker == _APP0 and content.startswith(b"JFIF\0"):
            is_jfif = True
        elif marker == _APP14 and content.startswith(b"Adobe") and len(content) > 11:
            transform = content[11]
        elif marker in _FRAMES:
            frame = content
    if len(frame) < 15 or frame[5] != 3:
        return None
    if is_jfif:
        return True
    if transform is not None:
        return transform != 0
    names, samples = frame[6:15:3], frame[7:15:3]
    if samples[0] != samples[1]:
        return True
    return False if names == b"RGB" else None


def _segments(jpeg: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield marks and contents of the segments before the scan."""
    place = 2
    while place + 4 <= len(jpeg) and jpeg[place] == 0xFF:
        marker = jpeg[place + 1]
        if marker == 0xFF:  # any number of them may stand before a mark
            place += 1
        elif marker in _ALONE:
            place += 2
        elif marker in _ENDS:
            return
        else:
            length = int.from_bytes(jpeg[place + 2 : place + 4], "big")
            yield marker, jpeg[place + 4 : place + 2 + length]
            place += 2 + length


def other_colours(encoded: bytes, compression: int, photometric: int, *, obeys_jfif: bool) -> str | None:
    """Say that a TIFF and one of its tiles name different colours, so that readers show different ones; else None.

    Args:
        encoded: The tile or strip as it is stored.
        compression: TIFF's Compression.
        photometric: TIFF's PhotometricInterpretation.
        obeys_jfif: JPEG whose JFIF segment makes it YCbCr is read as such whatever the TIFF says.
    """
    said, held = {RGB: "RGB", YCBCR: "YCbCr"}.get(photometric), None
    if compression == JPEG and (ycbcr := states_ycbcr(encoded)) is not None:
        held = "YCbCr" if ycbcr else "RGB"
    elif compression == JPEG_2000 and photometric == YCBCR and _leaves_colours(encoded):
        held = "colours that its decoder does not convert"
    if said is None or held is None or said == held or (obeys_jfif and held == "YCbCr"):
        return None
    return f"the TIFF says that its colours are {said}, its tiles hold {held}; convert it to plain RGB"


def _leaves_colours(codestream: bytes) -> bool:
    """Return whether a bare JPEG 2000 codestream says that its components are not to be converted to RGB."""
    place = 2
    while codestream[:2] == b"\xff\x4f" and place + 9 <= len(codestream) and codestream[place] == 0xFF:
        if codestream[place + 1] == _CODING_STYLE:
            return codestream[place + 8] == 0
        place += 2 + int.from_bytes(codestream[place + 2 : place + 4], "big")
    return False
