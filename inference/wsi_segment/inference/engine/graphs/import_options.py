"""What the user states about a graph that was made elsewhere, and checks of it against what the graph does."""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from wsi_segment.errors import InputError, ModelError
from wsi_segment.inference.engine.graphs.check import are_class_numbers
from wsi_segment.inference.engine.graphs.conversion import GraphForm
from wsi_segment.model.card import InputFormat

_ONE_CLASS = 0.005
"""Share of cells whose class differs between windows of all colours below which a graph distinguishes nothing."""
_SCALED = 20.0
"""Value that logits without negative ones do not reach on varied windows, and percent do."""
_COARSE = 4.0
"""µm per pixel from which on a number may be meant as the power of an objective."""
_REST = re.compile(r"(back ?ground|bg|rest|others?|none|nothing|void|glass|empty|unlabell?ed|non?-.*|not .*)", re.I)
"""Names that people give to whatever belongs to no other class."""


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """What the user states about a graph; whatever is None is found by running the graph."""

    name: str
    version: str
    classes: tuple[str, ...]
    """In the order of the graph's channels. One name, for a graph with one channel, gets its opposite before it."""
    mpp: float
    mpp_source: str
    mean: tuple[float, float, float] | None = None
    """Mean of red, green and blue, subtracted from pixels of 0 to 1; None if not stated, and then 0."""
    std: tuple[float, float, float] | None = None
    """Divisor of the difference; None if not stated, and then 1."""
    colours: Literal["RGB", "BGR"] | None = None
    """Order of the input's channels; None for RGB."""
    layout: Literal["NHWC", "NCHW"] | None = None
    """Order of the input's axes, where its shape does not show it."""
    window: int | None = None
    """Side of the window in pixels, for graphs that take any size."""
    output: str | None = None
    """Name of the output, where there are several."""
    output_stride: int | None = None
    margin: int | None = None
    step: int | None = None
    """For one vector per window: side of the square in its middle that it paints, pixels; None for the whole window."""
    upsampling: Literal["nearest", "bilinear"] = "nearest"
    unread: tuple[str, ...] = ()
    """Fields of a configuration that say something and were not read."""
    description: str = ""
    license: str = "not stated"
    training_data: str = "not stated"
    attribution: str = ""
    limitations: str = "Not stated by its makers. Validate it on your own slides before you rely on anything it says."


def refuse_impossible(options: ImportOptions) -> None:
    """Refuse numbers that no network has, before it is run with them."""
    for name, value, least in (
        ("window", options.window, 1),
        ("output_stride", options.output_stride, 1),
        ("margin", options.margin, 0),
        ("step", options.step, 1),
    ):
        if value is not None and value < least:
            raise InputError(f"`{name}` is {value}; give {least} or more")
    if not (math.isfinite(options.mpp) and options.mpp > 0):
        raise InputError(f"`mpp` is {options.mpp}; give the µm per pixel of the windows that it was trained on")
    for name, numbers in (("mean", options.mean), ("std", options.std)):
        if numbers is None:
            continue
        if not all(map(math.isfinite, numbers)) or (name == "std" and min(numbers) <= 0):
            raise InputError(f"`{name}` is {numbers}; give three {'positive ' if name == 'std' else ''}numbers")
    if unprintable := next((name for name in options.classes if not name.isprintable()), None):
        raise InputError(f"`classes` has {unprintable!r}, of which not all can be printed; give another name")


def to_unit_range(options: ImportOptions) -> tuple[ImportOptions, tuple[str, ...]]:
    """Return options whose ``mean`` and ``std`` are for pixels of 0 to 1, and a line where they were for 0 to 255.

    No mean of pixels from 0 to 1, and no deviation of them, is above 1.

    Raises:
        InputError: one is for pixels of 0 to 1, the other one for 0 to 255.
    """
    mean, std = options.mean or (0.0, 0.0, 0.0), options.std or (1.0, 1.0, 1.0)
    if max(*mean, *std) <= 1:
        return options, ()
    if 0 < max(mean) <= 1 or min(std) < 1:
        raise InputError(
            f"`mean` is {mean}, `std` {std}: one is for pixels of 0 to 1, the other for 0 to 255; give both for 0 to 1"
        )
    red, green, blue = ((mean[channel] / 255, std[channel] / 255) for channel in range(3))
    scaled = replace(options, mean=(red[0], green[0], blue[0]), std=(red[1], green[1], blue[1]))
    return scaled, (
        f"`mean` {mean} and `std` {std} are above 1, so they were taken as for pixels of 0 to 255, and divided by 255",
    )


def refuse_other_range(
    answer: Callable[[InputFormat], NDArray[Any]], source: Path, form: InputFormat, options: ImportOptions
) -> None:
    """Refuse a graph that distinguishes nothing in pixels of 0 to 1 but much in 0 to 255, if no range was stated.

    One that divides by 255 itself sees nothing but black in pixels of 0 to 1.

    Args:
        answer: Returns the graph's output (B, C, h, w) for varied windows in a format.
        source: Its file, for messages.
        form: The format in which it will be run.
        options: What the user states about it.
    """
    if form.dtype == "uint8" or options.mean is not None or options.std is not None:
        return
    wide = form.model_copy(update={"std": (1 / 255, 1 / 255, 1 / 255)})
    if _tells_apart(answer(form)) or not _tells_apart(answer(wide)):
        return
    raise ModelError(
        f"{source}: gives one class for windows of all colours when pixels are given as 0 to 1, and several when as 0 "
        "to 255; where it divides by 255 itself give `std` 0.00392157 0.00392157 0.00392157, else the `mean` and `std` "
        "that it was trained with, which are 0 0 0 and 1 1 1 for pixels of 0 to 1"
    )


def doubts_of_range(
    answer: Callable[[InputFormat], NDArray[Any]], form: InputFormat, options: ImportOptions
) -> tuple[str, ...]:
    """Say where the stated normalisation hides everything from a graph, or is not used.

    Args:
        answer: See :func:`refuse_other_range`, as ``form`` and ``options``.
        form: The format in which it is to be run.
        options: What the user states about it.
    """
    plain = form.model_copy(update={"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)})
    if form == plain:
        return ()
    if form.dtype == "uint8":
        return ("`mean` and `std` are not used: it takes pixels as they are, and is to normalise them itself",)
    if _tells_apart(answer(form)) or not _tells_apart(answer(plain)):
        return ()
    return (
        "gives one class for windows of all colours with this `mean` and `std`, and several without: does it normalise "
        "pixels itself?",
    )


def _tells_apart(raw: NDArray[Any]) -> bool:
    """Return whether the classes of outputs (B, C, h, w) depend on the window.

    Borders answer to padding and single cells to where they lie in a step of the network, whatever is shown.
    """
    height, width = raw.shape[2:]
    inner = raw[:, :, height // 4 : height - height // 4, width // 4 : width - width // 4]
    if inner.shape[1] > 1:
        ids = inner.argmax(axis=1)
    elif inner.dtype.kind != "f":
        ids = inner[:, 0].astype(np.int64)
    else:
        ids = (inner[:, 0] > (0 if raw.min() < 0 or raw.max() > 1.001 else 0.5)).astype(np.int64)
    return bool((ids != ids[:1]).any(axis=0).mean() > _ONE_CLASS)


def refuse_rest_not_first(raw: NDArray[Any], source: Path, classes: tuple[str, ...]) -> None:
    """Refuse names if one that is not the first sounds like the class without a channel."""
    if raw.shape[1] != len(classes) - 1 or are_class_numbers(raw):
        return
    if (rest := rest_not_first(classes)) is not None:
        raise ModelError(
            f"{source}: has {raw.shape[1]} channel(s) for {len(classes)} classes, of which the first, {classes[0]}, is "
            f"where no other is likely; that sounds like {rest}: name it first, the others in the order of channels"
        )


def rest_not_first(classes: tuple[str, ...]) -> str | None:
    """Return the class that sounds like the background if the first one does not; None where there is none."""
    rest = [name for name in classes if _REST.fullmatch(name.strip())]
    return rest[0] if rest and rest[0] != classes[0] else None


def refuse_scaled(raw: NDArray[Any], source: Path, form: GraphForm) -> None:
    """Refuse one channel of percent or of 0 to 255, which is above the threshold of a logit wherever it is not 0.

    Raises:
        ModelError: no value of ``raw`` (B, 1, h, w) for varied windows is negative, and some are far above 1.
    """
    if _is_never_negative(raw, form) and raw.max() > _SCALED:
        raise ModelError(
            f"{source}: its one channel is never below 0 (from {raw.min():.3g} to {raw.max():.3g}), as percent or 0 to "
            "255 are; export it as probabilities of 0 to 1, or as logits"
        )


def _is_never_negative(raw: NDArray[Any], form: GraphForm) -> bool:
    """Return whether one channel that is taken for a logit has no negative values; a mask of two values may."""
    return bool(
        form.channels == 1
        and form.activation == "logits"
        and raw.min() >= 0
        and (raw > 0).any()
        and len(np.unique(raw[:1])) > 2
    )


def class_names_in(metadata: Mapping[str, str]) -> tuple[str, ...]:
    """Return the names of classes that the metadata of an ONNX file hold, in their order; empty where they hold none.

    Ultralytics writes ``names`` as a Python dictionary, others a list in Python or JSON.

    >>> class_names_in({"names": "{0: 'tumour', 1: 'stroma'}"})
    ('tumour', 'stroma')
    """
    for key in ("names", "classes", "class_names", "labels"):
        try:
            found = ast.literal_eval(metadata.get(key, ""))
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
        if isinstance(found, dict):
            found = [name for _, name in sorted(found.items(), key=lambda entry: str(entry[0]).zfill(9))]
        if isinstance(found, list | tuple) and all(isinstance(name, str) for name in found):
            return tuple(found)
    return ()


def doubts_of_names(metadata: Mapping[str, str], classes: tuple[str, ...]) -> tuple[str, ...]:
    """Say where the file names as many classes as the user, and others or in another order."""
    held = class_names_in(metadata)
    if len(held) != len(classes) or [name.strip().casefold() for name in held] == [
        name.strip().casefold() for name in classes
    ]:
        return ()
    return (f"its metadata name its classes {', '.join(held)}, and `classes` {', '.join(classes)}: which are right?",)


def doubts_of(
    raw: NDArray[Any], pixels: InputFormat, form: GraphForm, options: ImportOptions, classes: tuple[str, ...]
) -> tuple[str, ...]:
    """List what was not stated and what the output (B, C, h, w) for varied windows cannot show."""
    found = []
    if options.unread:
        found.append(
            f"its configuration has {', '.join(options.unread)}, which is not read: borders that do not count, "
            "normalised stains and other colours are left to you"
        )
    if form.activation == "argmax" and raw.max() < len(classes) - 1:
        found.append(
            f"its largest class number on varied windows is {int(raw.max())}, counted from 0, and {len(classes)} "
            "classes were named: are they all of the network's, in its order?"
        )
    if form.activation == "logits" and form.channels > 1 and raw.min() > 0:
        found.append(
            "all it gives is above 0 and of no fixed sum: the largest is taken for the class; where it gives losses or "
            "distances, of which the smallest is, export it with the sign turned"
        )
    if _is_never_negative(raw, form):
        found.append(
            f"its one channel is never below 0 on varied windows (from {raw.min():.3g} to {raw.max():.3g}), and it is "
            f"taken for a logit: {classes[-1]} is wherever it is above 0"
        )
    if options.mpp >= _COARSE:
        found.append(
            f"{options.mpp:g} µm per pixel is coarse: is it the power of an objective? At 20x pixels have about 0.5 µm"
        )
    if pixels.dtype != "uint8" and options.mean is None and options.std is None:
        found.append(
            "the normalisation of its pixels was not stated: they are given as 0 to 1, red first; give `mean` and "
            "`std` if it was trained on others (0.5 for pixels of -1 to 1), and `colours` BGR if OpenCV loaded them"
        )
    if form.channels < len(classes) and form.activation != "argmax":
        found.append(f"it has no channel for {classes[0]}, which is where no other is likely")
    return tuple(found)
