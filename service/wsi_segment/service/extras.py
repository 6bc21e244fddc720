"""Clear words where an optional part of the installation is missing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from wsi_segment.model.errors import InputError


@contextmanager
def needs_train_extra() -> Iterator[None]:
    """Turn a missing torch, onnx or matplotlib into the command that installs it."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise InputError(
            f"{error.name} is not installed; training and export need: pip install wsi-segment[train]"
        ) from error
