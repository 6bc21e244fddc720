"""The device that a training runs on."""

from __future__ import annotations

from typing import Literal

import torch

from wsi_segment.errors import InputError

CPU = torch.device("cpu")


def training_device(name: Literal["auto", "cpu", "cuda"]) -> torch.device:
    """Choose where to train; ``auto`` is a CUDA device where PyTorch finds one.

    Raises:
        InputError: ``cuda`` was asked for and cannot be had.
    """
    if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return CPU
    if not torch.cuda.is_available():
        reason = "PyTorch finds no CUDA device" if torch.version.cuda else "this PyTorch is built without CUDA"
        raise InputError(f"`device cuda`: {reason}; install a CUDA build of PyTorch and a driver, or use `device cpu`")
    return torch.device("cuda")


def torch_version() -> str:
    """Return PyTorch's version, with the build that it names."""
    return str(torch.__version__)
