"""Fingerprints, which identify a slide whatever its files are called; nothing that decodes slides is loaded."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from wsi_segment.inference.places.object_file import Parts
from wsi_segment.inference.slides.location import open_bytes

_SAMPLES = 16
_SAMPLE_BYTES = 1 << 16


def slide_fingerprint(files: Sequence[Path], parts: Parts | None = None) -> str:
    """Hash the sizes of some files and 16 samples of 64 KiB of each with sha256; names do not count.

    Args:
        files: Of the slide.
        parts: Of the object in a bucket that is the slide, as far as they were read already.
    """
    digests = []
    for file in files:
        # samples are nothing that other processes read, so they are not noted for them
        with open_bytes(file, None if parts is None else replace(parts, noted={}, counted=0)) as stream:
            size = stream.seek(0, 2)
            digest = hashlib.sha256(size.to_bytes(8, "little"))
            for index in range(_SAMPLES):
                stream.seek(max(0, size - _SAMPLE_BYTES) * index // (_SAMPLES - 1))
                digest.update(stream.read(_SAMPLE_BYTES))
        digests.append(digest.digest())
    return hashlib.sha256(b"".join(sorted(digests))).hexdigest()
