"""Which file of a model a run takes: settled before the first window, by card, device and processor."""

from __future__ import annotations

from dataclasses import dataclass

from wsi_segment.errors import InputError
from wsi_segment.inference.engine.networks.instructions import multiplies_bytes
from wsi_segment.inference.engine.networks.network import PrecisionChoice
from wsi_segment.model.card import ModelCard, Precision


@dataclass(frozen=True, slots=True)
class Settled:
    """What is loaded."""

    precision: Precision
    file: str
    """Name of the file in the model folder."""


def settle_precision(asked: PrecisionChoice, card: ModelCard, *, gpu: bool) -> Settled:
    """Choose a file for this machine; see :func:`settle_for_processor`."""
    return settle_for_processor(asked, card, gpu=gpu, byte_products=multiplies_bytes())


def settle_for_processor(asked: PrecisionChoice, card: ModelCard, *, gpu: bool, byte_products: bool | None) -> Settled:
    """Choose a file for onnxruntime, which computes in the precision of the file that it is given.

    ``auto`` is int8 on a processor that multiplies bytes (see :func:`multiplies_bytes`), fp16 on a GPU, each where
    the card has such a file; else the file ``model.onnx``. Where the processor is known to lack those instructions,
    onnxruntime adds two products up in 16 bits, which saturates, and int8 is refused; see ``docs/measurements.md``.

    Args:
        asked: The choice of the run.
        card: The model's.
        gpu: Whether it runs on one.
        byte_products: See :func:`multiplies_bytes`, of the processor that it runs on.

    Raises:
        InputError: the card has no file in that precision, or the device does not compute in it.
    """
    files = card.files_by_precision
    offered = [one for one in files if not (gpu and one == "int8")]
    if asked == "auto":
        first: tuple[Precision, ...] = ("fp16",) if gpu else ("int8",) if byte_products else ()
        chosen: Precision = next((one for one in first if one in offered), card.precision)
        return Settled(chosen, files[chosen])
    if asked == "int8" and "int8" in offered and byte_products is False:
        raise InputError(
            f"`precision` int8: this processor has no instructions for it (VNNI, dotprod), and {card.name} would give "
            "other classes than it was checked to give; choose auto or fp32"
        )
    if asked in offered:
        return Settled(asked, files[asked])
    place = "a GPU" if gpu else "a CPU"
    remedy = f"choose one of: auto, {', '.join(offered)}"
    if asked == "bf16":
        remedy += "; or `device` openvino, on a processor that has it"
    elif asked in ("int8", "fp16") and asked not in files:
        remedy += f"; or make the file: wsi-segment export MODEL --{asked}"
    raise InputError(f"`precision` {asked}: {card.name} cannot be computed in it on {place}; {remedy}")
