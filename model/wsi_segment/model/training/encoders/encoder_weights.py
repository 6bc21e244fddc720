"""Weights to start an encoder from: ImageNet's, or those of a network that learned on histology without labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wsi_segment.errors import InputError
from wsi_segment.model.training.resnet import Encoder

_FIRST = "conv1.weight"


def read_encoder_weights(path: Path) -> dict[str, Tensor]:
    """Read the encoder's part of a ResNet-18 checkpoint, by the names that :class:`Encoder` and torchvision use.

    The state dict may lie within other dicts (``state_dict``, ``model``, ``teacher``, …), and its keys may carry any
    prefix (``module.encoder_q.``, ``model.resnet.``): what comes before the first ``conv1.weight`` is taken off.
    ``layer4``, ``fc`` and whatever else the file holds are left out.

    Raises:
        InputError: the file cannot be loaded safely, holds no ResNet-18, or one of other shapes.
    """
    if path.is_dir():
        raise InputError(f"{path}: is a folder; give the file of weights in it")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file") from error
    except Exception as error:  # errors of pickle, zip and torch have no common type
        raise InputError(
            f"{path}: not weights that torch can load safely ({type(error).__name__}); save the state dict alone"
        ) from error
    for state in _dicts(content):
        for key in state:
            if isinstance(key, str) and key.endswith(_FIRST) and ".layer" not in f".{key}":
                return _stripped(state, key.removesuffix(_FIRST), path)
    raise InputError(f"{path}: holds no {_FIRST}; give the state dict of a ResNet-18")


def _dicts(content: object) -> Iterator[Mapping[Any, Any]]:
    """Yield a dict and those within it, the outer ones first."""
    if isinstance(content, Mapping):
        yield content
        for value in content.values():
            yield from _dicts(value)


def _stripped(state: Mapping[Any, Any], prefix: str, path: Path) -> dict[str, Tensor]:
    found = {}
    for name, own in Encoder().state_dict().items():
        value = state.get(prefix + name)
        if name.endswith("num_batches_tracked"):  # older files have none, and nothing here reads it
            found[name] = own
            continue
        if not isinstance(value, Tensor):
            raise InputError(f"{path}: lacks {prefix + name}; give the state dict of a whole ResNet-18")
        if value.shape != own.shape:
            raise InputError(
                f"{path}: {prefix + name} is {tuple(value.shape)}, not {tuple(own.shape)}; "
                "give one of a ResNet-18 for RGB images"
            )
        if not value.isfinite().all():
            raise InputError(f"{path}: {prefix + name} holds values that are not numbers; its training went wrong")
        found[name] = value
    return found
