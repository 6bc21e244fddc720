"""The network behind onnxruntime: windows of uint8 pixels in, logits out."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from wsi_segment.errors import InputError, ModelError
from wsi_segment.model.card import InputFormat, Model

Device = Literal["auto", "cpu", "cuda"]

_CUDA, _CPU = "CUDAExecutionProvider", "CPUExecutionProvider"

_EXTERNAL = b"\n\x08location\x12"
"""How a tensor of an ONNX file begins to name the file that holds its data (key of an external_data entry)."""


class Network(Protocol):
    """Anything that maps windows to logits; called from several threads."""

    def __call__(self, windows: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(B, 128, 128, 3) RGB to logits (B, C, 128 / stride, 128 / stride)."""


class OnnxNetwork:
    """An ONNX model in one session that all threads share, one intra-op thread each.

    Several windows run at once because several regions do; on a CPU that is faster than dividing one
    convolution among threads, and its result does not depend on the number of cores.
    """

    def __init__(self, model: Model, device: Device = "auto") -> None:
        """Load a model's weights after checking their hash.

        Raises:
            ModelError: the file is changed, not ONNX, or not what its card says.
            InputError: ``cuda`` was asked for and cannot be had.
        """
        self._card = model.card
        provider = choose_provider(device)
        path = model.weights()
        if _EXTERNAL in path.read_bytes():
            raise ModelError(
                f"{path}: keeps weights in other files, which its card does not vouch for; export it whole"
            )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(path, options, providers=[provider])
        except Exception as error:  # onnxruntime's errors have no common type of their own
            raise ModelError(f"{path}: onnxruntime cannot load it: {_first_line(error)}") from error
        self.provider: str = self._session.get_providers()[0]
        if device == "cuda" and self.provider != _CUDA:
            raise InputError("--device cuda: the CUDA provider did not load; install CUDA and cuDNN, or use cpu")
        self._input = self._check(path)
        self._output = self._session.get_outputs()[0].name

    def __call__(self, windows: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See :class:`Network`."""
        batch = as_input(windows, self._card.input)
        if self.provider == _CUDA:
            return self._on_cuda(batch)
        logits: NDArray[np.float32] = self._session.run([self._output], {self._input: batch})[0]
        return logits

    def _on_cuda(self, batch: NDArray[Any]) -> NDArray[np.float32]:
        """Bound input and output: one copy each way, and none inside onnxruntime."""
        binding = self._session.io_binding()
        binding.bind_ortvalue_input(self._input, onnxruntime.OrtValue.ortvalue_from_numpy(batch, "cuda", 0))
        binding.bind_output(self._output, "cuda", 0)
        self._session.run_with_iobinding(binding)
        logits: NDArray[np.float32] = binding.copy_outputs_to_cpu()[0]
        return logits

    def _check(self, path: Path) -> str:
        """Run two white windows and compare their output with the card; the name of the input."""
        inputs = self._session.get_inputs()
        if len(inputs) != 1:
            raise ModelError(f"{path}: has {len(inputs)} inputs; a segmentation model has one")
        name: str = inputs[0].name
        card = self._card
        white = np.full((2, card.window, card.window, 3), 255, np.uint8)
        try:
            output = self._session.run(None, {name: as_input(white, card.input)})[0]
        except Exception as error:
            raise ModelError(
                f"{path}: does not take two windows as its card describes them: {_first_line(error)}"
            ) from error
        cells = card.window // card.output_stride
        expected = (2, len(card.classes), cells, cells)
        if output.shape != expected or output.dtype != np.float32:
            raise ModelError(
                f"{path}: gives {output.dtype} {output.shape}, its card promises float32 {expected}; correct the card"
            )
        return name


def as_input(windows: NDArray[np.uint8], form: InputFormat) -> NDArray[Any]:
    """Windows (B, h, w, 3) as the graph wants them; the same array where it takes uint8 NHWC."""
    batch: NDArray[Any] = windows
    if form.dtype == "float32":
        scale = np.float32(1 / 255) / np.asarray(form.std, np.float32)
        offset = np.asarray(form.mean, np.float32) / np.asarray(form.std, np.float32)
        batch = windows.astype(np.float32) * scale - offset
    if form.layout == "NCHW":
        batch = np.ascontiguousarray(batch.transpose(0, 3, 1, 2))
    return batch


def choose_provider(device: Device) -> str:
    """The execution provider for a device; ``auto`` is CUDA where a GPU and the provider are there.

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
        raise InputError(f"--device cuda: {reason}; install onnxruntime-gpu and a driver, or use --device cpu")
    return _CPU


def cuda_devices() -> int:
    """Number of CUDA devices that the driver reports, asked without loading CUDA itself."""
    name = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        driver = ctypes.CDLL(name)
    except OSError:
        return 0
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0][:300] if text else type(error).__name__
