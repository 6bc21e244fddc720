"""Which slides are to be segmented, with which pixel size and model, and into which store."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from wsi_segment.errors import InputError
from wsi_segment.inference.slides.location import is_remote, slide_location

COLUMNS = ("slide", "mpp", "model")


@dataclass(frozen=True, slots=True)
class Order:
    """One slide to segment."""

    slide: Path
    out: Path
    mpp: float | None
    """µm per level-0 pixel, None for the slide's own."""
    model: str | None
    """Name or folder, None for the default."""


def make_orders(
    slides: Sequence[str], manifest: Path | None, out: Path, mpp: float | None, model: str | None
) -> list[Order]:
    """The orders of a command line; a row of the manifest overrides ``mpp`` and ``model``.

    Raises:
        InputError: no slides, a bad manifest (all its errors in one line), or two slides with the same store.
    """
    if "://" in str(out).replace(":/", "://", 1) and not out.is_absolute():
        raise InputError(f"--out {out}: masks are written to folders of this machine; give a path")
    wanted = [(slide_location(slide), mpp, model) for slide in slides]
    if manifest is not None:
        wanted += [
            (slide, mpp if own_mpp is None else own_mpp, own or model)
            for slide, own_mpp, own in read_manifest(manifest)
        ]
    if not wanted:
        raise InputError("no slides were given; name some, or give --manifest CSV")
    if len(wanted) == 1 and out.suffix == ".zarr":
        return [Order(wanted[0][0], out, wanted[0][1], wanted[0][2])]
    stems = [_stem(slide) for slide, _, _ in wanted]
    twice = [stem for stem, count in Counter(stems).items() if count > 1]
    if twice:
        raise InputError(f"two slides are called {twice[0]}, both would become {out / twice[0]}.zarr; run them apart")
    return [Order(row[0], out / f"{stem}.zarr", row[1], row[2]) for row, stem in zip(wanted, stems, strict=True)]


def read_manifest(path: Path) -> list[tuple[Path, float | None, str | None]]:
    """Rows of a CSV with the columns ``slide,mpp,model``, the last two optional.

    Relative paths of slides start at the manifest's folder; addresses (``https://…``, ``s3://…``) stand for themselves.

    Raises:
        InputError: the file is missing, or rows are wrong.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such manifest; it is a CSV with the columns {','.join(COLUMNS)}")
    with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
        try:
            rows, errors = parse_rows(file)
        except InputError as error:
            raise InputError(f"{path}: {error}") from error
    if errors:
        raise InputError(f"{path}: {'; '.join(f'line {number + 1}: {text}' for number, text in errors.items())}")
    return [
        (slide_location(row.slide) if "://" in row.slide else path.parent / row.slide, row.mpp, row.model)
        for row in rows.values()
    ]


@dataclass(frozen=True, slots=True)
class ManifestRow:
    """A row of a manifest, as it stands there."""

    slide: str
    mpp: float | None
    model: str | None

    @classmethod
    def of(cls, cells: dict[str, str]) -> ManifestRow:
        """The row of some cells.

        Raises:
            InputError: one is wrong.
        """
        text = cells.get("mpp", "")
        try:
            mpp = float(text) if text else None
        except ValueError:
            raise InputError(f"mpp {text!r} is no number") from None
        if not cells["slide"]:
            raise InputError("no slide")
        return cls(cells["slide"], mpp, cells.get("model") or None)


def parse_rows(lines: Iterable[str]) -> tuple[dict[int, ManifestRow], dict[int, str]]:
    """The rows of a manifest, and what is wrong with those that are none, by their numbers from 1.

    Raises:
        InputError: it is no CSV, or its columns are not those that there are.
    """
    rows: dict[int, ManifestRow] = {}
    errors: dict[int, str] = {}
    try:
        reader = csv.DictReader(lines, skipinitialspace=True, strict=True)
        reader.fieldnames = [name.strip().lower() for name in reader.fieldnames or ()]
        if "slide" not in reader.fieldnames:
            raise InputError(f"column 'slide' is missing; the columns are {','.join(COLUMNS)}")
        if unknown := [name for name in reader.fieldnames if name not in COLUMNS]:
            raise InputError(f"column {unknown[0]!r} is unknown; the columns are {','.join(COLUMNS)}")
        for number, cells in enumerate(reader, start=1):
            if None in cells:
                errors[number] = "more cells than columns"
                continue
            try:
                rows[number] = ManifestRow.of({name: (value or "").strip() for name, value in cells.items()})
            except InputError as error:
                errors[number] = str(error)
    except csv.Error as error:
        raise InputError(f"not CSV ({error}); the columns are {','.join(COLUMNS)}") from error
    return rows, errors


def _stem(slide: Path) -> str:
    return slide.resolve().name if not is_remote(slide) and slide.is_dir() else slide.stem
