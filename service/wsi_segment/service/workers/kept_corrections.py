"""Corrections of results by people: GeoJSON, every version of which is kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock

_LOCK_SECONDS = 30.0
_FEATURES = ', "features": ['
"""No text before it holds this: JSON escapes the quotes."""
_HEAD = 10_000
"""Characters in which everything before the features lies."""


class ChangedError(Exception):
    """Another version was kept in the meantime."""


@dataclass(frozen=True, slots=True)
class Version:
    """One kept version."""

    number: int
    """Number of the version, from 1."""
    path: Path
    tag: str
    """Hash of its content; what ``ETag`` says."""


@dataclass(frozen=True, slots=True)
class Saving:
    """Who saved a version, and when."""

    version: int
    author: str
    """Name of the key; empty without one."""
    saved: str
    """ISO 8601, UTC."""


class Corrections:
    """The corrections of one job; they outlive its results, which can be made again."""

    def __init__(self, data: Path, job_id: str) -> None:
        self._folder = data / "corrections" / job_id

    def latest(self) -> Version | None:
        """Return the version that counts, or None."""
        found = sorted(self._folder.glob("[0-9]*.geojson"))
        if not found:
            return None
        digest = hashlib.sha256(found[-1].read_bytes()).hexdigest()
        return Version(int(found[-1].stem), found[-1], digest[:32])

    def earlier(self, number: int) -> Version | None:
        """Return a version by its number, or None."""
        path = self._folder / f"{number:06d}.geojson"
        try:
            return Version(number, path, hashlib.sha256(path.read_bytes()).hexdigest()[:32])
        except FileNotFoundError:
            return None

    def savings(self) -> list[Saving]:
        """Return who saved which version, the newest first."""
        return [_saving(path) for path in sorted(self._folder.glob("[0-9]*.geojson"), reverse=True)]

    def keep(
        self, features: list[dict[str, Any]], author: str, expected: str | None, rejected: Sequence[str] = ()
    ) -> Version:
        """Write another version.

        Args:
            features: GeoJSON features.
            author: Name of the key that they were sent with; empty without one.
            expected: The tag that the latest version must have; None: there must be none yet.
            rejected: Ids of outlines of the mask that were deleted.

        Raises:
            ChangedError: the latest version is another one.
            ValueError: a number is not finite.
        """
        saved = datetime.now(UTC).isoformat(timespec="seconds")
        self._folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self._folder / "lock", timeout=_LOCK_SECONDS):
            before = self.latest()
            if (None if before is None else before.tag) != expected:
                raise ChangedError
            number = 1 if before is None else before.number + 1
            content: dict[str, Any] = {"type": "FeatureCollection", "version": number, "author": author, "saved": saved}
            path = self._folder / f"{number:06d}.geojson"
            beside = path.with_suffix(".partial")
            content |= {"features": features} | ({"rejected": list(rejected)} if rejected else {})
            beside.write_text(json.dumps(content, allow_nan=False), encoding="utf-8")
            beside.replace(path)
            found = self.latest()
        assert found is not None
        return found


def _saving(path: Path) -> Saving:
    """Read what stands before the features of a version, which may be large."""
    with path.open(encoding="utf-8") as file:
        head = file.read(_HEAD).partition(_FEATURES)[0]
    found = json.loads(head + "}")
    return Saving(found["version"], author=found["author"], saved=found["saved"])
