"""Which slides the command line segments, how, and into which stores."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from wsi_segment.errors import InputError
from wsi_segment.files import is_there
from wsi_segment.inference.engine.options import SegmentOptions
from wsi_segment.inference.slides.location import is_remote, output_location, slide_location
from wsi_segment.service.slide_manifest import locate, read_manifest


@dataclass(frozen=True, slots=True)
class Order:
    """One slide to segment."""

    slide: Path
    out: Path
    model: str | None
    """Name or folder, None for the default."""
    options: SegmentOptions


@dataclass(frozen=True, slots=True)
class ExtraOutputs:
    """What is written in addition to the mask."""

    preview: Path | None
    geojson: Path | None
    min_area_um2: float
    simplify_um: float | None

    @property
    def wanted(self) -> bool:
        """Whether anything is."""
        return self.preview is not None or self.geojson is not None


def make_orders(
    slides: Sequence[str], manifest: Path | None, out: Path, options: SegmentOptions, model: str | None
) -> list[Order]:
    """Make the orders of a command line.

    Args:
        slides: Paths and addresses.
        manifest: A table of more; what its rows choose goes before ``options`` and ``model``.
        out: The store of a single slide if it ends in ``.zarr``, else the folder of all stores.
        options: Of the slides.
        model: Name or folder, None for the default.

    Raises:
        InputError: no slides, a bad manifest (all its errors in one line), or two slides with the same store.
    """
    out = output_location(out)
    wanted = [(slide_location(slide), model, options) for slide in slides]
    if manifest is not None:
        wanted += _rows(manifest, options, model)
    if not wanted:
        raise InputError("no slides were given; name some, or give --manifest CSV")
    if len(wanted) == 1 and PurePosixPath(out.name).suffix.lower() == ".zarr":
        slide, own_model, own = wanted[0]
        return [Order(slide, out, own_model, own)]
    stems = [_stem(slide) for slide, _, _ in wanted]
    twice = [stem for stem, count in Counter(stems).items() if count > 1]
    if twice:
        raise InputError(f"two slides are called {twice[0]}, both would become {out / twice[0]}.zarr; run them apart")
    return [
        Order(slide, out / f"{stem}.zarr", own_model, own)
        for (slide, own_model, own), stem in zip(wanted, stems, strict=True)
    ]


def _rows(path: Path, options: SegmentOptions, model: str | None) -> list[tuple[Path, str | None, SegmentOptions]]:
    """Return slide, model and options of each row of a manifest; all that is wrong with the rows is one error."""
    manifest, folder = read_manifest(path), path.parent
    found, problems = [], []
    for row in manifest.rows:
        changes: dict[str, Any] = dict(row.choices)
        own_model = changes.pop("model", model)
        try:
            if changes.get("tissue", "none") not in ("otsu", "none"):
                changes["tissue"] = locate(changes["tissue"], folder)
            if "region" in changes:
                changes["region"] = locate(changes["region"], folder)
            slide = locate(row.slide, folder)
            found.append((slide, own_model, replace(options, **changes)))
        except InputError as error:
            problems.append(f"line {row.line}: {error}")
            continue
        if manifest.hint and not row.slide.isascii() and not is_remote(slide) and not is_there(slide):
            problems.append(f"line {row.line}, column slide: {row.slide!r} is not there")
    if problems:
        raise InputError(f"{path}: {'; '.join(problems)}{manifest.hint}")
    return found


def _stem(slide: Path) -> str:
    return slide.resolve().name if not is_remote(slide) and slide.is_dir() else PurePosixPath(slide.name).stem
