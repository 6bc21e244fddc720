"""The network behind onnxruntime: windows of uint8 pixels in, logits out."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from wsi_segment.errors import InputError, ModelError
from wsi_segment.inference.engine.graphs.check import find_form, logits_of, reason_of, whole_weights
from wsi_segment.inference.engine.networks.fixed_shape import FixedShapeCalls
from wsi_segment.inference.engine.networks.network import Device, PrecisionChoice
from wsi_segment.inference.engine.networks.precision import settle_precision
from wsi_segment.model.card import Model

_CUDA, _CPU = "CUDAExecutionProvider", "CPUExecutionProvider"


class OnnxNetwork:
    """An ONNX model in one session that all threads share, one intra-op thread each.

    Several windows run at once because several regions do; on a CPU that is faster than dividing one
    convolution among threads, and its result does not depend on the number of cores.
    """

    def __init__(
        self, model: Model, device: Device = "auto", precision: PrecisionChoice = "auto", batch_size: int = 16
    ) -> None:
        """Load a model's weights after checking their hash, and try them on varied windows.

        Raises:
            ModelError: the file is changed, not ONNX, or not what its card says.
            InputError: ``cuda`` was asked for and cannot be had, or the model not in that precision.
        """
        self._card = model.card
        self.versions: dict[str, str] = {}
        settled = settle_precision(precision, model.card, gpu=choose_provider(device) == _CUDA)
        self.precision, self.file = settled.precision, settled.file
        path = whole_weights(model, settled.file)
        self._session = load_session(path, device)
        self.provider: str = self._session.get_providers()[0]
        self.form = find_form(self._session, path, model.card)
        self.batch = self.form.batch
        self._on_gpu: FixedShapeCalls | None = None
        if self.provider == _CUDA:
            sessions = [self._session, load_session(path, device)]
            self._on_gpu = FixedShapeCalls(sessions, self.form, model.card, batch_size)

    def __call__(self, windows: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See :class:`Network`."""
        if self._on_gpu is not None:
            return self._on_gpu(windows)
        return logits_of(self._session, windows, self.form, self._card)


def load_session(path: Path, device: Device) -> Any:
    """Load a graph into an onnxruntime session with one thread per call.

    Raises:
        ModelError: onnxruntime cannot load it; the line ends with its whole reason.
        InputError: ``cuda`` was asked for and cannot be had.
    """
    provider = choose_provider(device)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.enable_mem_pattern = False  # plans memory by shape; blocks come in many, and each would keep its own
    options.log_severity_level = 3
    chosen = (provider, {"cudnn_conv_algo_search": "HEURISTIC"}) if provider == _CUDA else provider
    try:
        session = onnxruntime.InferenceSession(path, options, providers=[chosen])
    except Exception as error:  # onnxruntime's errors have no common type of their own
        raise ModelError(f"{path}: onnxruntime cannot load it: {reason_of(error)}") from error
    if device == "cuda" and session.get_providers()[0] != _CUDA:
        raise InputError("`device` cuda: the CUDA provider did not load; install CUDA and cuDNN, or use cpu")
    return session


def choose_provider(device: Device) -> str:
    """Return the execution provider for a device; ``auto`` is CUDA where a GPU and the provider are there.

    Raises:
        InputError: ``cuda`` was asked for and cannot be had.
    """
    if device == "cpu":
        return _CPU
    built_in = _CUDA in onnxruntime.get_available_providers()
    present = built_in and cuda_devices() > 0
    if present:
        if hasattr(onnxruntime, "preload_dlls"):
            onnxruntime.preload_dlls()
        return _CUDA
    if device == "cuda":
        reason = "no CUDA device was found" if built_in else "this onnxruntime has no CUDA provider"
        raise InputError(f"`device` cuda: {reason}; install onnxruntime-gpu and a driver, or use cpu")
    return _CPU


def cuda_devices() -> int:
    """Ask the driver for the number of CUDA devices without loading CUDA itself."""
    name = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        driver = ctypes.CDLL(name)
    except OSError:
        return 0
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value
