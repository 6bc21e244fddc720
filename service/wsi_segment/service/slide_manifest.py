"""Tables of slides: which to segment, each with choices of its own. Read alike for ``--manifest`` and over HTTP."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wsi_segment.csv_table import Row, parse_number, read_table
from wsi_segment.errors import InputError
from wsi_segment.files import address_meant, is_there
from wsi_segment.inference.slides.location import is_remote, read_file, slide_location

TRUE = frozenset({"true", "yes", "1", "wahr", "vrai", "verdadero", "vero", "waar", "prawda"})
FALSE = frozenset({"false", "no", "0", "falsch", "faux", "falso", "onwaar", "fałsz"})
"""Excel writes these in the language of its user."""


def _parse_whole(text: str) -> int:
    number = parse_number(text)
    if number != int(number):
        raise ValueError(f"{text!r} is not a whole number")
    return int(number)


def _parse_yes_no(text: str) -> bool:
    if text.lower() not in TRUE | FALSE:
        raise ValueError(f"{text!r} is not yes or no")
    return text.lower() in TRUE


def _parse_version(text: str) -> str:
    return re.sub(",", ".", text)  # a spreadsheet takes 0.4 for a number, and may write it with a comma


_CHOICES: dict[str, Callable[[str], Any]] = {
    "mpp": parse_number,
    "model": str,
    "image": _parse_whole,
    "window": _parse_whole,
    "overlap": parse_number,
    "precision": str.lower,
    "tissue": str,
    "region": str,
    "apply_icc": _parse_yes_no,
    "ome_zarr": _parse_version,
    "probabilities": _parse_yes_no,
    "strict": _parse_yes_no,
}
COLUMNS = ("slide", *_CHOICES)
"""All but ``slide`` are optional; they are called as the flags and the fields of ``POST /v1/jobs`` are."""


@dataclass(frozen=True, slots=True)
class ManifestRow:
    """A row of a manifest."""

    line: int
    """Line of the file, from 1."""
    slide: str
    """Slide as the row names it."""
    choices: dict[str, Any]
    """Those that the row makes, by column; outlines are still text."""
    problem: str
    """Fault of the row: column, value and remedy; empty for a valid one."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """The rows of a manifest, wrong ones too."""

    rows: tuple[ManifestRow, ...]
    hint: str
    """Addition to a message that a slide is missing; see :attr:`wsi_segment.csv_table.Table.hint`."""

    @property
    def problems(self) -> list[str]:
        """What is wrong, a text per row that is."""
        return [f"line {row.line}{row.problem}" for row in self.rows if row.problem]


def parse_manifest(content: bytes, exists: Callable[[str], bool]) -> Manifest:
    """Read a manifest from the bytes of its file.

    Args:
        content: CSV with a column ``slide``; see :mod:`wsi_segment.csv_table` for what is understood.
        exists: Returns whether a slide of that name is there. It tells apart encodings that the file does not name.

    Raises:
        InputError: it is not CSV, or its columns are not those of :data:`COLUMNS`. The message does not name the file.
    """
    table = read_table(content, COLUMNS, lambda cells: exists(_unquoted(cells.get("slide", ""))))
    known = ",".join(COLUMNS)
    if "slide" not in table.columns:
        found = f", only {', '.join(table.columns)}" if table.columns else ""
        raise InputError(f"column 'slide' is missing{found}; the columns are {known}")
    if unknown := [name for name in table.columns if name not in COLUMNS]:
        raise InputError(f"column {unknown[0]!r} is unknown; the columns are {known}")
    return Manifest(tuple(_parse_row(row) for row in table.rows), table.hint)


def read_manifest(path: Path, exists: Callable[[str], bool] | None = None) -> Manifest:
    """Read a manifest.

    Args:
        path: The file, or its address.
        exists: See :func:`parse_manifest`; by default whether the slide lies beside the manifest or at a whole path.

    Raises:
        InputError: the file is missing or not a manifest, or rows are wrong: all of them in one line.
    """
    columns = ",".join(COLUMNS)
    if not is_remote(path) and not path.is_file():
        raise InputError(f"{path}: no such manifest; it is a CSV with the columns {columns}")
    try:
        manifest = parse_manifest(read_file(path), exists or (lambda slide: _is_beside(path, slide)))
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}; it is a CSV with the columns {columns}") from error
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    if manifest.problems:
        raise InputError(f"{path}: {'; '.join(manifest.problems)}")
    return manifest


def locate(slide: str, folder: Path) -> Path:
    """Return the location of a slide or file that a manifest in ``folder`` names."""
    if "://" in slide or address_meant(slide) is not None or Path(slide).is_absolute():
        return slide_location(slide)
    return slide_location(folder / slide)


def _is_beside(manifest: Path, slide: str) -> bool:
    """Return whether a slide is there; a bucket is not asked for each row."""
    return "://" not in slide and not is_remote(manifest) and is_there(manifest.parent / slide)


def _parse_row(row: Row) -> ManifestRow:
    choices: dict[str, Any] = {}
    problem = f": {row.problem}" if row.problem else ""
    slide = _unquoted(row.cells["slide"])
    if not slide and not problem:
        problem = ", column slide: the cell is empty"
    for name, parse in _CHOICES.items():
        if text := row.cells.get(name, ""):
            try:
                choices[name] = parse(text)
            except ValueError as error:
                problem = problem or f", column {name}: {error}"
    return ManifestRow(row.line, slide, choices, problem)


def _unquoted(name: str) -> str:
    """Remove the quotes that Windows puts around a path that is copied."""
    return name[1:-1] if len(name) > 2 and name[0] == name[-1] == '"' else name
