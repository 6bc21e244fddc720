"""Which slides are to be segmented, with which pixel size and model, and into which store."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from wsi_segment.inference.location import is_remote, slide_location
from wsi_segment.model.errors import InputError

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
    rows: list[tuple[Path, float | None, str | None]] = []
    errors: list[str] = []
    with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
        reader = csv.DictReader(file, skipinitialspace=True)
        reader.fieldnames = [name.strip().lower() for name in reader.fieldnames or ()]
        if "slide" not in reader.fieldnames:
            raise InputError(f"{path}: column 'slide' is missing; the columns are {','.join(COLUMNS)}")
        if unknown := [name for name in reader.fieldnames if name not in COLUMNS]:
            raise InputError(f"{path}: column {unknown[0]!r} is unknown; the columns are {','.join(COLUMNS)}")
        for line, row in enumerate(reader, start=2):
            if None in row:
                errors.append(f"line {line}: more cells than columns")
                continue
            row = {name: (value or "").strip() for name, value in row.items()}
            text = row.get("mpp") or ""
            try:
                mpp = float(text) if text else None
            except ValueError:
                errors.append(f"line {line}: mpp {text!r} is no number")
                continue
            if not row["slide"]:
                errors.append(f"line {line}: no slide")
                continue
            slide = slide_location(row["slide"]) if "://" in row["slide"] else path.parent / row["slide"]
            rows.append((slide, mpp, row.get("model") or None))
    if errors:
        raise InputError(f"{path}: {'; '.join(errors)}")
    return rows


def _stem(slide: Path) -> str:
    return slide.resolve().name if not is_remote(slide) and slide.is_dir() else slide.stem
