"""What the encoded bytes of a tile or frame say of their colours, where headers can say something else."""

from __future__ import annotations

_RGB, _YCBCR = 2, 6
"""TIFF's PhotometricInterpretation."""
_JPEG, _JPEG_2000 = 7, 34712
"""TIFF's Compression."""
APERIO_YCBCR = 33003
"""TIFF's Compression of YCbCr in JPEG 2000, as Aperio stores it; its decoder leaves the colours as they are."""
_FRAMES = (0xC0, 0xC1, 0xC2)
"""Marks of the segment of JPEG that lists its components: baseline, extended, progressive."""
_CODING_STYLE = 0x52
"""Mark of the segment of a JPEG 2000 codestream that says whether colours are converted."""


def states_ycbcr(jpeg: bytes) -> bool | None:
    """Return whether a JPEG says that it holds YCbCr or RGB; None where it does not.

    It says so by its JFIF or Adobe segment; without them, YCbCr by colours of fewer samples than the first component,
    and RGB by the names of the components.
    """
    place = 2
    while place + 4 <= len(jpeg) and jpeg[place] == 0xFF and jpeg[place + 1] != 0xDA:
        marker, length = jpeg[place + 1], int.from_bytes(jpeg[place + 2 : place + 4], "big")
        content = jpeg[place + 4 : place + 2 + length]
        if marker == 0xE0 and content.startswith(b"JFIF"):
            return True
        if marker == 0xEE and content.startswith(b"Adobe") and len(content) > 11:
            return content[11] == 1
        if marker in _FRAMES and len(content) >= 15 and content[5] == 3:
            components = [content[6 + 3 * index : 9 + 3 * index] for index in range(3)]
            if components[0][1] != components[1][1]:
                return True
            return False if bytes(component[0] for component in components) == b"RGB" else None
        place += 2 + length
    return None


def other_colours(encoded: bytes, compression: int, photometric: int) -> str | None:
    """Say that a TIFF and one of its tiles name different colours, so that readers show different ones; else None.

    Args:
        encoded: The tile or strip as it is stored.
        compression: TIFF's Compression.
        photometric: TIFF's PhotometricInterpretation.
    """
    said, held = {_RGB: "RGB", _YCBCR: "YCbCr"}.get(photometric), None
    if compression == _JPEG and (ycbcr := states_ycbcr(encoded)) is not None:
        held = "YCbCr" if ycbcr else "RGB"
    elif compression == _JPEG_2000 and photometric == _YCBCR and _leaves_colours(encoded):
        held = "colours that its decoder does not convert"
    if said is None or held is None or said == held:
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
