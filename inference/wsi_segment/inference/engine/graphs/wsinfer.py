"""Reading the ``config.json`` of a model of the WSInfer zoo, which classifies patches.

Its fields: https://github.com/SBU-BMI/wsinfer-zoo, ``model-config.schema.json``, ``spec_version`` 1.0. WSInfer cuts
patches of ``patch_size_pixels`` at ``spacing_um_px``, resizes them with torchvision's ``Resize``, scales them to 0..1
(``ToTensor``) and normalises them (``Normalize``). Here the slide is read at the resized scale at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from wsi_segment.errors import ModelError

Three = tuple[float, float, float]

_MEASURED = ("apply_softmax", "$schema")
"""Fields beyond the specification that need no reading: whether softmax is yet to be applied is measured."""


class _Transform(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: Literal["Resize", "ToTensor", "Normalize"]
    arguments: dict[str, Any] | None = None


class _Config(BaseModel):
    model_config = ConfigDict(extra="allow")
    spec_version: Literal["1.0"]
    architecture: str
    num_classes: int = Field(ge=1)
    patch_size_pixels: int = Field(ge=1)
    spacing_um_px: float = Field(gt=0)
    class_names: list[Annotated[str, Field(min_length=1)]]
    transform: list[_Transform]


@dataclass(frozen=True, slots=True)
class PatchModel:
    """What such a configuration says, in the engine's terms."""

    architecture: str
    classes: tuple[str, ...]
    window: int
    """Side of what the network is given, pixels."""
    mpp: float
    """µm per pixel of that."""
    mpp_source: str
    mean: Three
    std: Three
    unread: tuple[str, ...]
    """Fields that say something and are not of the specification, such as ``halo_size_pixels``."""


def read_wsinfer(path: Path) -> PatchModel:
    """Read a configuration.

    Raises:
        ModelError: the file cannot be read, a field is missing or wrong, or a transform is not one of those known.
    """
    try:
        config = _Config.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from error
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "the file"
        raise ModelError(
            f"{path}: {field}: {first['msg']}; a WSInfer configuration of spec_version 1.0 is read"
        ) from error
    if len(config.class_names) != config.num_classes:
        raise ModelError(f"{path}: num_classes is {config.num_classes}, class_names has {len(config.class_names)}")
    order = [one.name for one in config.transform]
    if order != [name for name in ("Resize", "ToTensor", "Normalize") if name in order] or "ToTensor" not in order:
        raise ModelError(
            f"{path}: transform is {' '.join(order) or 'empty'}; Resize, ToTensor and Normalize are read, in that order"
        )
    arguments = {one.name: dict(one.arguments or {}) for one in config.transform}
    window = _resized(path, arguments.get("Resize"), config.patch_size_pixels)
    mean, std = (_three(path, arguments, key, value) for key, value in (("mean", 0.0), ("std", 1.0)))
    patch = f"patches of {config.patch_size_pixels} px at {config.spacing_um_px:g} µm"
    return PatchModel(
        architecture=config.architecture,
        classes=tuple(config.class_names),
        window=window,
        mpp=config.spacing_um_px * config.patch_size_pixels / window,
        mpp_source=f"WSInfer configuration: {patch}, given to the network as {window} px",
        mean=mean,
        std=std,
        unread=tuple(name for name, value in (config.model_extra or {}).items() if value and name not in _MEASURED),
    )


def _resized(path: Path, arguments: dict[str, Any] | None, patch: int) -> int:
    """Return the side of what the network is given."""
    if arguments is None:
        return patch
    size = arguments.pop("size", None)
    for harmless in ("interpolation", "antialias"):
        arguments.pop(harmless, None)
    if isinstance(size, list) and len(set(size)) == 1:
        size = size[0]
    if not isinstance(size, int) or size < 1 or arguments:
        raise ModelError(f"{path}: Resize to {size} {arguments or ''}is not read; a size in pixels, one number, is")
    return size


def _three(path: Path, arguments: dict[Any, dict[str, Any]], key: str, default: float) -> Three:
    """Return three numbers of Normalize, one per channel."""
    values = arguments.get("Normalize", {}).get(key, [default] * 3)
    if not isinstance(values, list) or len(values) != 3 or not all(isinstance(one, int | float) for one in values):
        raise ModelError(f"{path}: Normalize {key} is {values}; three numbers are needed, for red, green and blue")
    red, green, blue = (float(one) for one in values)
    return red, green, blue
