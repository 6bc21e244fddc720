"""What a job is made from: the slide and the model as they were when it was accepted, and a refusal of any others."""

from __future__ import annotations

import math
from dataclasses import fields
from typing import Any

from wsi_segment.errors import InputError
from wsi_segment.inference.engine.options import SegmentOptions
from wsi_segment.inference.engine.windows import settle_sides
from wsi_segment.inference.grid.lattice import stride_of
from wsi_segment.inference.slides.fingerprint import slide_fingerprint
from wsi_segment.inference.slides.slide_files import slide_files
from wsi_segment.model.card import MODEL_FILE, Model
from wsi_segment.service.jobs.job_rows import Outlines
from wsi_segment.service.jobs.job_table import Job
from wsi_segment.service.workers.slide_catalogue import FoundSlide

_MACHINE = {"device", "batch_size", "workers", "memory_limit", "region_size", "overwrite"}
CHOSEN = frozenset(field.name for field in fields(SegmentOptions)) - _MACHINE
"""Options of the engine that a job chooses; the others are the server's."""
UNBOUND = {
    "code": "inputs-not-kept",
    "message": "an earlier version accepted this job without noting slide and model; they may have changed since",
}
"""Warning of a job that has none."""
MOST_WINDOWS = 2**31 - 1
"""The largest number that a column takes, which a wrong pixel size may go beyond."""


class ChangedInputError(InputError):
    """The slide or the model is not the one that a job was accepted for."""


def inputs_of(fingerprint: str, size: int | None, described: dict[str, Any] | None, model: Model) -> dict[str, Any]:
    """Return what a job keeps of its slide and model, for JSON.

    Args:
        fingerprint: See :mod:`wsi_segment.inference.slides.fingerprint`.
        size: Bytes of all files; None where nobody tells.
        described: Width and height of the slide in pixels, where it was opened.
        model: As it is served.
    """
    seen = described or {}
    return {
        "slide": {"fingerprint": fingerprint, "bytes": size, "width": seen.get("width"), "height": seen.get("height")},
        "model": model_identity(model),
    }


def windows_at_most(described: dict[str, Any], parameters: dict[str, Any], model: Model) -> int | None:
    """Return how many windows or blocks a slide needs if all of it is tissue; None if its scale is unknown.

    Args:
        described: Width, height (pixels) and mpp of the slide.
        parameters: Of the job, as :func:`filled` returns them.
        model: Says window and scale.
    """
    mpp = parameters.get("mpp") or described.get("mpp")
    if not mpp:
        return None
    region = parameters.get("region")
    box = region.bounds if isinstance(region, Outlines) else None
    x0, y0, x1, y1 = box or (0, 0, described["width"], described["height"])
    sides = (min(x1, described["width"]) - max(x0, 0), min(y1, described["height"]) - max(y0, 0))
    card = model.card
    chosen = settle_sides(card, parameters["window"], parameters["overlap"])
    if chosen.overlap is None:
        stride = chosen.window
    else:
        stride = stride_of(chosen.overlap, card.window - 2 * card.margin, card.output_stride)
    step = stride * card.mpp / mpp
    columns, rows = (max(1, math.ceil(side / step)) for side in sides)
    return min(int(columns * rows), MOST_WINDOWS)


def filled(parameters: dict[str, Any], model: Model) -> dict[str, Any]:
    """Return the parameters of a job with the defaults that hold when it is accepted.

    Raises:
        InputError: the model cannot be shown windows of the chosen side or overlap.
    """
    options = SegmentOptions()
    defaults = {name: getattr(options, name) for name in CHOSEN}
    every = {**defaults, **parameters, "model": model.card.name}
    settle_sides(model.card, every["window"], every["overlap"])
    return every


def model_identity(model: Model) -> dict[str, Any]:
    """Return name, version and hashes of a model, for JSON."""
    card = model.card
    return {"name": card.name, "version": card.version, "sha256": card.files[MODEL_FILE], "files": dict(card.files)}


def refuse_changed_model(job: Job, model: Model) -> None:
    """Raise an error if a model is not the one that a job was accepted for.

    Raises:
        ChangedInputError: its version or bytes differ; both are named.
    """
    if job.inputs is None:
        return
    then, now = job.inputs["model"], model_identity(model)
    if then["files"] != now["files"] or then["version"] != now["version"]:
        raise ChangedInputError(
            f"the model {then['name']} was replaced after the job was accepted: version {then['version']} with sha256 "
            f"{then['sha256'][:16]}… was expected, version {now['version']} with {now['sha256'][:16]}… was found; "
            "post the slide again"
        )


def refuse_changed_slide(job: Job, slide: FoundSlide) -> None:
    """Raise an error if a slide is not the one that a job was accepted for.

    Raises:
        ChangedInputError: its fingerprint differs; both are named.
        OSError: it cannot be read.
    """
    if job.inputs is None:
        return
    then, now = job.inputs["slide"]["fingerprint"], slide_fingerprint(slide_files(slide.location))
    if then != now:
        raise ChangedInputError(
            f"the slide was replaced after the job was accepted: fingerprint {then[:16]}… was expected, "
            f"{now[:16]}… was found; post the slide again"
        )
