"""The network behind OpenVINO, which also computes in bfloat16 where the processor does.

OpenVINO's own package is used, not the onnxruntime that is built with it: that one takes the place of onnxruntime's
package, is some versions behind it, and lists no precisions of the processor.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsi_segment.errors import InputError, ModelError
from wsi_segment.extras import needs_extra
from wsi_segment.inference.engine.graphs.check import find_form, logits_of, reason_of, whole_weights
from wsi_segment.inference.engine.networks.network import PrecisionChoice
from wsi_segment.inference.engine.networks.precision import Settled
from wsi_segment.model.card import MODEL_FILE, Model, ModelCard, Precision

_HINTS: dict[Precision, str] = {"fp32": "f32", "bf16": "bf16", "fp16": "f16", "int8": "f32"}
"""``INFERENCE_PRECISION_HINT`` of what is float in the graph."""
_TYPES = {"u8": "tensor(uint8)", "f32": "tensor(float)", "f16": "tensor(float16)"}
"""Types of an input, as OpenVINO and onnxruntime spell them."""


class OpenVinoNetwork:
    """A model in OpenVINO's CPU plugin: one stream of one thread for each thread that calls.

    A call does not depend on how many others run, and neither does its result.
    """

    provider = "OpenVINO CPU"

    def __init__(self, model: Model, precision: PrecisionChoice = "auto") -> None:
        """Load a model's weights after checking their hash, and try them on varied windows.

        Raises:
            ModelError: the file is changed, not ONNX, or not what its card says.
            InputError: OpenVINO is not installed, or neither it nor the model has that precision here.
        """
        capable, version = capabilities()
        settled = settle_for_openvino(precision, model.card, set(capable))
        self.precision, self.file = settled.precision, settled.file
        self.versions = {"openvino": version}
        self._card = model.card
        path = whole_weights(model, settled.file)
        self._session = OpenVinoSession(path, _HINTS[settled.precision])
        self.form = find_form(self._session, path, model.card)
        self.batch = self.form.batch

    def __call__(self, windows: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See :class:`wsi_segment.inference.engine.networks.network.Network`."""
        return logits_of(self._session, windows, self.form, self._card)


@dataclass(frozen=True, slots=True)
class _Port:
    """An input or output, as onnxruntime describes one."""

    name: str
    shape: list[int | None]
    type: str


class OpenVinoSession:
    """A graph compiled by OpenVINO, called as an onnxruntime session is."""

    def __init__(self, path: Path, hint: str) -> None:
        """Compile a graph.

        Raises:
            ModelError: OpenVINO cannot load it.
        """
        cores = os.cpu_count() or 1
        settings = {
            "INFERENCE_PRECISION_HINT": hint,
            "NUM_STREAMS": str(cores),
            "INFERENCE_NUM_THREADS": str(cores),
            "ENABLE_CPU_PINNING": "NO",  # other work runs on the same cores
        }
        import openvino

        core = openvino.Core()
        try:
            self._compiled = core.compile_model(core.read_model(path), "CPU", settings)
        except Exception as error:  # OpenVINO's errors have no common type of their own
            raise ModelError(f"{path}: OpenVINO cannot load it: {reason_of(error)}") from error
        self._own = threading.local()

    def get_inputs(self) -> list[_Port]:
        """Return the graph's inputs."""
        return [_port(one) for one in self._compiled.inputs]

    def get_outputs(self) -> list[_Port]:
        """Return the graph's outputs."""
        return [_port(one) for one in self._compiled.outputs]

    def run(self, names: list[str], feeds: dict[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """Run the graph on this thread's own request, and return copies of the outputs."""
        if not hasattr(self._own, "request"):
            self._own.request = self._compiled.create_infer_request()
        request = self._own.request
        request.infer(feeds, share_inputs=True)
        return [np.array(request.get_tensor(name).data) for name in names]


def capabilities() -> tuple[frozenset[str], str]:
    """Return OpenVINO's ``OPTIMIZATION_CAPABILITIES`` of the CPU, and its version.

    Raises:
        InputError: OpenVINO is not installed.
    """
    with needs_extra("openvino", "`device` openvino"):
        import openvino
    return frozenset(openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")), str(openvino.__version__)


def settle_for_openvino(asked: PrecisionChoice, card: ModelCard, capable: set[str]) -> Settled:
    """Choose file and precision: OpenVINO computes the file in float in any precision that the processor has.

    Args:
        asked: The choice of the run; ``auto`` is bf16 where the processor has it, else that of ``model.onnx``.
        card: The model's.
        capable: OpenVINO's ``OPTIMIZATION_CAPABILITIES`` of the CPU, such as ``BF16``.

    Raises:
        InputError: the precision cannot be had.
    """
    files = card.files_by_precision
    offered: dict[Precision, str] = {card.precision: MODEL_FILE}
    if card.precision == "fp32":
        offered |= {one: MODEL_FILE for one in ("bf16", "fp16") if one.upper() in capable}
    offered |= {one: file for one, file in files.items() if one == "int8"}
    chosen: Precision = ("bf16" if "bf16" in offered else card.precision) if asked == "auto" else asked
    if chosen not in offered:
        raise InputError(
            f"`precision` {chosen}: {card.name} cannot be computed in it by OpenVINO on this processor; choose one "
            f"of: auto, {', '.join(offered)}"
        )
    return Settled(chosen, offered[chosen])


def _port(port: Any) -> _Port:
    kind = port.element_type.get_type_name()
    sides = [side.get_length() if side.is_static else None for side in port.partial_shape]
    return _Port(port.any_name, sides, _TYPES.get(kind, kind))
