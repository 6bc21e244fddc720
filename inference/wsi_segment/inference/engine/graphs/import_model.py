"""A model folder for a graph that was made elsewhere: its card is written after the graph was run."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from wsi_segment.errors import ModelError
from wsi_segment.files import refuse_existing
from wsi_segment.inference.engine.graphs.check import (
    TYPES,
    VARIED,
    Outputs,
    are_class_numbers,
    described,
    find_form,
    reason_of,
    run_graph,
)
from wsi_segment.inference.engine.graphs.conversion import GraphForm, Layout, channels_first
from wsi_segment.inference.engine.graphs.geometry import find_geometry
from wsi_segment.inference.engine.graphs.import_options import (
    ImportOptions,
    doubts_of,
    doubts_of_names,
    doubts_of_range,
    refuse_impossible,
    refuse_other_range,
    refuse_rest_not_first,
    refuse_scaled,
    to_unit_range,
)
from wsi_segment.inference.engine.graphs.sizes import largest_same_window
from wsi_segment.inference.engine.networks.onnx_network import load_session
from wsi_segment.model.card import (
    CARD_FILE,
    MODEL_FILE,
    InputFormat,
    ModelCard,
    OutputFormat,
    SegmentClass,
    sha256_of,
    write_card,
)
from wsi_segment.model.varied_windows import varied_windows

DEFAULT_SIDE = 256
"""Window of a graph that takes any size where none is given."""

_PALETTE = (
    (170, 170, 170), (213, 94, 0), (0, 114, 178), (0, 158, 115), (230, 159, 0), (86, 180, 233), (204, 121, 167),
    (240, 228, 66), (120, 60, 20), (90, 90, 90),
)  # fmt: skip
"""Colours of classes: grey for the first, then those of Okabe and Ito, which most people can tell apart."""


@dataclass(frozen=True, slots=True)
class Imported:
    """A model folder that was made."""

    folder: Path
    card: ModelCard
    form: GraphForm
    doubts: tuple[str, ...] = ()
    """What was not stated and running the graph cannot show, one line each."""


def import_model(source: Path, out: Path, options: ImportOptions, *, overwrite: bool = False) -> Imported:
    """Find out what a graph does, and make a model folder of it.

    Args:
        source: The ONNX file, with its weights inside.
        out: The folder to make.
        options: What the user states about the graph.
        overwrite: Replace an existing model.

    Raises:
        InputError: a stated number is impossible, such as a window of 0 px.
        OutputError: the folder holds a model.
        ModelError: the graph cannot be run by the engine, or contradicts what was stated; the message says what it has
            and what would be needed.
    """
    refuse_existing(out / CARD_FILE, overwrite=overwrite)
    refuse_impossible(options)
    options, scaled = to_unit_range(options)
    session = load_session(source, "cpu")
    form, window, batch = _input_of(session, source, options)
    outputs, batch = _tried(session, source, form=form, window=window, batch=batch)
    output, layout, classes = _output_of(session, source, outputs, options)
    raw = channels_first(outputs[output], layout)
    if raw.dtype.kind == "f" and not np.isfinite(raw).all():
        raise ModelError(f"{source}: output {output} holds values that are not numbers; export it in float32")
    refuse_rest_not_first(raw, source, classes)

    def respond(windows: NDArray[np.uint8]) -> NDArray[Any]:
        return channels_first(run_graph(session, windows, form, batch)[output], layout)

    def answer(given: InputFormat) -> NDArray[Any]:
        return channels_first(run_graph(session, varied_windows(VARIED, window), given, batch)[output], layout)

    refuse_other_range(answer, source, form, options)
    doubts = (*scaled, *doubts_of_range(answer, form, options))
    stride, margin = _geometry(source, respond, window=window, layout=layout, options=options)
    digest = sha256_of(source)
    try:
        card = ModelCard(
            name=options.name,
            version=options.version,
            description=options.description,
            mpp=options.mpp,
            mpp_source=options.mpp_source,
            window=window,
            output_stride=stride,
            upsampling=options.upsampling,
            classes=tuple(
                SegmentClass(name=name, color=_PALETTE[index % len(_PALETTE)]) for index, name in enumerate(classes)
            ),
            input=form,
            output=OutputFormat(name=output, layout=layout, margin=margin),
            files={MODEL_FILE: digest},
            license=options.license,
            training_data=options.training_data,
            attribution=options.attribution,
            intended_use="Research only. Not a medical device: not for diagnosis, prognosis or treatment of patients.",
            limitations=options.limitations,
        )
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "its card"
        raise ModelError(f"{source}: {field}: {first['msg']}") from error
    found = find_form(session, source, card)
    refuse_scaled(raw, source, found)
    doubts += doubts_of_names(session.get_modelmeta().custom_metadata_map, classes)
    doubts += _doubts_of_one_colour(session, form, window=window, batch=batch, output=output)
    checked = largest_same_window(respond, stride, margin=margin, batch=batch)
    card = card.model_copy(update={"activation": found.activation, "checked_window": checked})
    out.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, out / MODEL_FILE)
    write_card(card, out)
    return Imported(out, card, found, doubts + doubts_of(raw, form, found, options=options, classes=classes))


def _doubts_of_one_colour(
    session: Any, form: InputFormat, *, window: int, batch: int | None, output: str
) -> tuple[str, ...]:
    """Say that a graph gives no numbers for a window of one colour, as where a slide was not scanned."""
    plain = np.repeat(np.array([255, 0], np.uint8), window * window * 3).reshape(2, window, window, 3)
    if np.isfinite(run_graph(session, plain, form, batch)[output]).all():
        return ()
    return ("gives values that are not numbers for windows of one colour; a run that meets one is refused",)


def _input_of(session: Any, source: Path, options: ImportOptions) -> tuple[InputFormat, int, int | None]:
    """Return how pixels enter a graph, the side of its window, and its fixed batch if it has one."""
    inputs = session.get_inputs()
    if len(inputs) != 1:
        names = ", ".join(one.name for one in inputs)
        raise ModelError(f"{source}: has {len(inputs)} inputs ({names}); a segmentation model has one, of pixels")
    shape, dtype = list(inputs[0].shape), TYPES.get(inputs[0].type)
    there = described(dtype or inputs[0].type, shape)
    if dtype is None or len(shape) != 4:
        raise ModelError(f"{source}: its input is {there}; four axes are needed, as {', '.join(TYPES.values())}")
    layout = options.layout or ("NHWC" if shape[3] == 3 and shape[1] != 3 else "NCHW")
    channels, sides = (shape[1], shape[2:]) if layout == "NCHW" else (shape[3], shape[1:3])
    if isinstance(channels, int) and channels != 3:
        raise ModelError(f"{source}: its input is {there}; three channels, red, green and blue, are needed")
    fixed = {side for side in sides if isinstance(side, int)}
    window = options.window or next(iter(fixed), DEFAULT_SIDE)
    if fixed - {window}:
        wanted = "a square window" if options.window is None else f"`window` is {window}"
        raise ModelError(f"{source}: its input is {there}, and {wanted}; export it for square windows")
    batch = shape[0] if isinstance(shape[0], int) and shape[0] > 0 else None
    form = InputFormat(
        layout=layout,
        dtype=dtype,  # type: ignore[arg-type]  # one of TYPES
        mean=options.mean or (0.0, 0.0, 0.0),
        std=options.std or (1.0, 1.0, 1.0),
        colours=options.colours,
    )
    return form, window, batch


def _tried(session: Any, source: Path, form: InputFormat, window: int, batch: int | None) -> tuple[Outputs, int | None]:
    """Return what a graph gives for varied windows, and the number of windows that each of its calls takes."""
    windows = varied_windows(VARIED, window)
    try:
        return run_graph(session, windows, form, batch), batch
    except Exception as error:  # onnxruntime's errors have no common type of their own
        try:
            return run_graph(session, windows, form, 1), 1
        except Exception:  # the same
            raise ModelError(
                f"{source}: does not run on windows of {window} px, {form.dtype} {form.layout}; give another `window` "
                f"or `layout`: {reason_of(error)}"
            ) from error


def _output_of(
    session: Any, source: Path, outputs: Outputs, options: ImportOptions
) -> tuple[str, Layout, tuple[str, ...]]:
    """Return the output to use, the order of its axes, and the names of all classes."""
    names = [output.name for output in session.get_outputs()]
    if options.output is not None and options.output not in names:
        raise ModelError(f"{source}: has no output {options.output!r}; its outputs are {', '.join(names)}")
    count, found = len(options.classes), {}
    for name, raw in outputs.items():
        if options.output in (None, name) and (layout := _layout_by_channels(raw, count)) is not None:
            found[name] = layout
    if any(layout != "NC" for layout in found.values()):
        found = {name: layout for name, layout in found.items() if layout != "NC"}  # features beside a map
    if len(found) > 1:
        raise ModelError(f"{source}: several outputs could be its classes: {', '.join(found)}; name one with `output`")
    if not found:
        there = ", ".join(f"{name} {described(str(raw.dtype), ['n', *raw.shape[1:]])}" for name, raw in outputs.items())
        raise ModelError(
            f"{source}: gives {there or 'nothing per window'}; `classes` names {count}, and one channel for each is "
            "needed, in two axes of cells or as one vector, of other than whole numbers"
        )
    name, layout = next(iter(found.items()))
    return name, layout, options.classes if count > 1 else (f"not {options.classes[0]}", options.classes[0])


def _is_one_hot(raw: NDArray[Any]) -> bool:
    """Return whether an output of a type for fractions has one 1 among zeros for each cell."""
    if raw.dtype.kind != "f" or raw.ndim not in (2, 4) or raw.max() > 1:
        return False
    return any(bool((raw.sum(axis=axis) == 1).all()) for axis in (1, -1))


def _layout_by_channels(raw: NDArray[Any], classes: int) -> Layout | None:
    """Return the order of the axes of an output for varied windows, or None where it cannot be classes.

    Channels are as many as classes, one less for sigmoids beside a background, or one for two classes.
    """
    counts = {classes, classes - 1} if classes > 2 else {1, classes}
    if are_class_numbers(raw) and not _is_one_hot(raw):
        counts = {1}
    shape = raw.shape[1:]
    if len(shape) == 3 and shape[0] in counts and shape[1] == shape[2]:
        return "NCHW"
    if len(shape) == 3 and shape[2] in counts and shape[0] == shape[1]:
        return "NHWC"
    if len(shape) == 2 and 1 in counts and shape[0] == shape[1]:
        return "NHW"
    if len(shape) < 2 and int(np.prod(shape)) in counts:
        return "NC"
    return None


def _geometry(source: Path, respond: Any, window: int, layout: Layout, options: ImportOptions) -> tuple[int, int]:
    """Return output stride and margin, as stated, else as measured."""
    cells = respond(varied_windows(1, window)).shape[2]
    if layout == "NC" or cells == 1:
        step = options.step or window
        if step > window or (window - step) % 2:
            raise ModelError(f"{source}: `step` is {step}; give one of {window} px or less, less by an even number")
        return step, (window - step) // 2
    if options.step is not None:
        raise ModelError(f"{source}: gives {cells} x {cells} cells for a window; `step` is for one vector per window")
    if options.output_stride is not None:
        margin = options.margin if options.margin is not None else (window - cells * options.output_stride) // 2
        return options.output_stride, margin
    try:
        return find_geometry(respond, window)
    except ModelError as error:
        raise ModelError(f"{source}: {error}") from error
