"""One file out of a graph whose weights lie in others beside it."""

from __future__ import annotations

from pathlib import Path

import onnx

from wsi_segment.errors import ModelError


def save_whole(source: Path, target: Path) -> None:
    """Write a graph with all of its weights into one file.

    Args:
        source: An ONNX file; files that it names must lie beside it.
        target: The file to write.

    Raises:
        ModelError: the source cannot be read, names a file that is missing, or is larger than an ONNX file can be.
    """
    try:
        graph = onnx.load(source)
        onnx.save(graph, target)
    except Exception as error:  # onnx's errors, protobuf's and those of the disk have no common type
        reason = " ".join(str(error).split())
        raise ModelError(f"{source}: its weights cannot be put into one file: {reason}") from error
