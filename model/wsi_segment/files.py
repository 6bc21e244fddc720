"""Making files last: what was synced survives a power cut."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def sync_file(path: Path) -> None:
    """Force a file's contents to the disk."""
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(path: Path) -> None:
    """Force a folder's entries to the disk; Windows does so by itself and has no call for it."""
    if sys.platform == "win32":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(path: Path) -> None:
    """Force everything below a folder, and itself, to the disk."""
    for folder, _, files in os.walk(path, topdown=False):
        for name in files:
            sync_file(Path(folder) / name)
        sync_folder(Path(folder))
