"""The model card: what a network needs to be run, and what a user needs to judge it.

A model is a folder with ``card.json``, ``model.onnx`` and optionally further variants of the same
network (``model.int8.onnx``). The card is the contract between training, export and inference.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from wsi_segment.errors import ModelError
from wsi_segment.files import replacing
from wsi_segment.model.first_problem import first_problem

CARD_FILE = "card.json"
MODEL_FILE = "model.onnx"
RUN_FILE = "run.json"
"""File of a training run, which is not a model yet."""
WINDOW: Literal[128] = 128
"""Side of the square patch that this project trains networks on, in pixels at the model's mpp."""
LARGEST_WINDOW = 4096
"""Side of the largest window that a card may ask for; one takes gigabytes inside a network."""
_BILINEAR_STRIDES = (1, 2, 4, 8, 16, 32)
"""Interpolation ends at multiples of 512 mask pixels, which must be whole output cells."""
_BUNDLED = Path(__file__).parent / "bundled"
DEFAULT_MODEL = "colorectal-biopsy"

_Byte = Annotated[int, Field(ge=0, le=255)]
Colour = tuple[_Byte, _Byte, _Byte]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SegmentClass(_Strict):
    """One class of the network; its id in masks is its position in the card, counted from 1.

    >>> SegmentClass(name="polyp", color=(86, 180, 233)).name
    'polyp'
    """

    name: str = Field(min_length=1)
    """Unique within a card."""
    color: Colour
    """sRGB, 0 to 255."""


class InputFormat(_Strict):
    """How pixels enter the graph.

    ``uint8`` graphs normalise inside. For the others the engine computes ``(pixel / 255 - mean) / std`` per channel,
    in float32, and rounds it to float16 where the graph takes that.
    """

    layout: Literal["NHWC", "NCHW"] = "NHWC"
    dtype: Literal["uint8", "float32", "float16"] = "uint8"
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Means of red, green and blue, in this order, like ``std``."""
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    colours: Literal["RGB", "BGR"] | None = None
    """Order of the channels, None for RGB; OpenCV loads blue first."""

    @model_validator(mode="after")
    def _are_of_pixels_from_0_to_1(self) -> InputFormat:
        if min(self.std) <= 0 or max(self.mean) > 1:
            raise ValueError(f"std must be positive, not {self.std}; mean of pixels from 0 to 1, not {self.mean}")
        return self


Activation = Literal["logits", "softmax", "sigmoid", "argmax"]
"""Output of a graph: logits, probabilities that sum to 1, independent ones, or the number of the class from 0."""


class OutputFormat(_Strict):
    """How the classes leave the graph."""

    name: str | None = Field(default=None, min_length=1)
    """Name of the graph's output to use; needed if several outputs could be meant."""
    layout: Literal["NCHW", "NHWC", "NHW", "NC"] | None = None
    """Order of the axes: ``NHW`` has no channels, ``NC`` is one vector per window; None to tell from the shape."""
    margin: int = Field(default=0, ge=0)
    """Pixels of the window on each side for which there is no output, as convolutions without padding leave them."""


Precision = Literal["fp32", "bf16", "fp16", "int8"]
"""Precision of a network: floats of 32 or 16 bits, or integers of 8."""


class Variant(_Strict):
    """One file of the same network in another precision."""

    file: str = Field(min_length=1)
    """Its name in the folder; one of the card's ``files``."""
    precision: Precision
    metrics: dict[str, Any] = {}
    """Its own measured figures, as the card's ``metrics``."""


class ModelCard(_Strict):
    """Everything about a model that is not its weights.

    >>> card = find_model("colorectal-biopsy").card
    >>> card.mpp, card.window, len(card.classes)
    (1.13, 128, 7)

    The graph takes a batch of windows of ``window`` x ``window`` RGB pixels at ``mpp`` and returns scores
    ``(batch, classes, cells, cells)`` where ``cells = (window - 2 * output.margin) / output_stride``. A graph with one
    channel, for a card of two classes, tells the second class from the first.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")
    """Name of lower-case letters, digits, dots, hyphens and underscores."""
    version: str = Field(min_length=1)
    """Version of the model, which changes with its weights or classes; not the package's."""
    description: str = ""
    """One sentence on what it tells apart, and where."""
    mpp: float = Field(ge=0.05, le=100)
    """Pixel size the network was trained at, in µm."""
    mpp_source: str = ""
    """Source of that pixel size; an estimate is called one."""
    window: int = Field(default=WINDOW, ge=1, le=LARGEST_WINDOW)
    """Side of the square window that the network is given, in pixels at ``mpp``."""
    output_stride: int = Field(ge=1, le=LARGEST_WINDOW)
    """Input pixels per output cell, along one axis; as many as the window has where there is one vector per window."""
    upsampling: Literal["nearest", "bilinear"] = "nearest"
    """How the output is brought to full size, as it was during training."""
    classes: tuple[SegmentClass, ...] = Field(min_length=1, max_length=254)
    """Classes from id 1 on, in the order of the output channels; at most 254."""
    input: InputFormat = InputFormat()
    """How pixels enter the graph."""
    output: OutputFormat | None = None
    """How the classes leave it; None for scores in the order ``(batch, classes, rows, columns)``."""
    activation: Activation | None = None
    """Kind of the output; None if the card does not say, in which case it is measured when the network is loaded."""
    trained_window: int | None = Field(default=None, ge=1)
    """Side of the patches that the network learnt from, pixels."""
    started_from: dict[str, str] | None = None
    """``name`` and ``sha256`` of the finished network that its training began with; None for one from the beginning."""
    averaged_with: tuple[dict[str, str], ...] | None = None
    """``name`` and ``sha256`` of the networks that its weights are the mean with; None for a training's own."""
    checked_window: int | None = Field(default=None, ge=1)
    """Side of the largest window on which the network was found to compute the same as on ``window``, pixels."""
    smoothing_um: float | None = Field(default=None, ge=0)
    """Radius in µm within which kinds are smoothed; with one, the first class is given where it has a half or more."""
    variants: tuple[Variant, ...] | None = None
    """Other files of the same network; ``metrics`` are those of the default one, ``model.onnx``."""
    applicability: dict[str, Any] | None = None
    """Figures of what the training images look like, so that a slide unlike them can be recognised."""
    files: dict[str, Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]] = Field(min_length=1)
    """File name of each variant and the sha256 of its bytes."""
    license: str = Field(min_length=1)
    """License of the weights."""
    training_data: str = Field(min_length=1)
    """Name and source of the images."""
    attribution: str = ""
    """Text that names the authors."""
    intended_use: str = Field(min_length=1)
    """Purpose that it was made for."""
    limitations: str = Field(min_length=1)
    """Cases in which it fails, or was not tried."""
    metrics: dict[str, Any] = {}
    """Measured figures: on what split, how many cases, the numbers, and the confusion matrix that they come from."""

    @model_validator(mode="after")
    def _names_are_unique(self) -> ModelCard:
        names = [c.name for c in self.classes]
        if len(set(names)) != len(names):
            raise ValueError(f"class names repeat: {names}")
        return self

    @property
    def margin(self) -> int:
        """Pixels on each side of a window without output."""
        return 0 if self.output is None else self.output.margin

    @property
    def cells(self) -> int:
        """Output cells of a window, along one axis."""
        return (self.window - 2 * self.margin) // self.output_stride

    @property
    def precision(self) -> Precision:
        """Of ``model.onnx``: as a variant states it, else fp32, or fp16 where its input is."""
        stated = [one.precision for one in self.variants or () if one.file == MODEL_FILE]
        return stated[0] if stated else "fp16" if self.input.dtype == "float16" else "fp32"

    @property
    def files_by_precision(self) -> dict[Precision, str]:
        """Name of the file for each precision that the folder holds, ``model.onnx`` first."""
        return {self.precision: MODEL_FILE} | {
            one.precision: one.file for one in self.variants or () if one.file != MODEL_FILE
        }

    def with_metrics(self, file: str, metrics: dict[str, Any]) -> ModelCard:
        """Return the card with figures of one of its files: a variant's own, else those of the model."""
        variants = self.variants or ()
        if file == MODEL_FILE:
            return self.model_copy(update={"metrics": self.metrics | metrics})
        own = tuple(
            one.model_copy(update={"metrics": one.metrics | metrics}) if one.file == file else one for one in variants
        )
        return self.model_copy(update={"variants": own})

    @model_validator(mode="after")
    def _cells_are_whole(self) -> ModelCard:
        seen = self.window - 2 * self.margin
        if seen < self.output_stride or seen % self.output_stride:
            raise ValueError(
                f"window {self.window} without its margin of {self.margin} on each side is {seen} px, which is no "
                f"multiple of the output_stride {self.output_stride}"
            )
        if self.upsampling == "bilinear" and self.output_stride not in _BILINEAR_STRIDES:
            raise ValueError(
                f"upsampling bilinear needs an output_stride of {', '.join(map(str, _BILINEAR_STRIDES))}, "
                f"not {self.output_stride}"
            )
        return self

    @model_validator(mode="after")
    def _files_are_in_the_folder(self) -> ModelCard:
        for variant in self.variants or ():
            if variant.file not in self.files:
                raise ValueError(f"variant {variant.file!r} is not one of the files {sorted(self.files)}")
        for name in self.files:
            if Path(name).name != name or not name.endswith(".onnx"):
                raise ValueError(f"{name!r} is not the plain name of an .onnx file")
        return self


@dataclass(frozen=True, slots=True)
class Model:
    """A model folder whose card was read; the weights are checked when they are opened.

    >>> find_model("colorectal-biopsy").weights().name
    'model.onnx'
    """

    folder: Path
    """Folder with the card and the files that it names."""
    card: ModelCard
    """The card, read and checked."""

    def weights(self, file: str = MODEL_FILE) -> Path:
        """Return the path of a variant whose bytes are those that the card names.

        Raises:
            ModelError: the variant is not in the card, is missing, or has changed.
        """
        if file not in self.card.files:
            raise ModelError(f"{self.folder}: the card lists {sorted(self.card.files)}, not {file}")
        path = self.folder / file
        if not path.is_file():
            raise ModelError(f"{path}: missing, though {CARD_FILE} lists it; export the model again")
        found, expected = sha256_of(path), self.card.files[file]
        if found != expected:
            raise ModelError(
                f"{path}: sha256 is {found[:12]}…, the card says {expected[:12]}…; the file was changed, "
                "export the model again"
            )
        return path


def sha256_of(path: Path) -> str:
    """Return the hexadecimal sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def bundled_models() -> dict[str, Path]:
    """Return names and folders of the models that come with the package."""
    return {folder.parent.name: folder.parent for folder in sorted(_BUNDLED.glob(f"*/{CARD_FILE}"))}


def find_model(name_or_folder: str | Path) -> Model:
    """Return the bundled model of that name, or the model in that folder.

    >>> find_model("colorectal-biopsy").card.name
    'colorectal-biopsy'

    Raises:
        ModelError: neither exists, or the card is not valid.
    """
    bundled = bundled_models()
    folder = bundled.get(str(name_or_folder), Path(name_or_folder))
    card_path = folder / CARD_FILE
    if not card_path.is_file():
        known = ", ".join(bundled) or "none"
        if (folder / RUN_FILE).is_file():
            raise ModelError(f"{folder}: a training run; wsi-segment export {folder} --out MODELDIR makes it a model")
        raise ModelError(f"{name_or_folder}: no such model; give a folder that holds {CARD_FILE}, or one of: {known}")
    return Model(folder, read_card(card_path))


def read_card(path: Path) -> ModelCard:
    """Read and validate a card.

    >>> read_card(find_model("colorectal-biopsy").folder / "card.json").window
    128

    Raises:
        ModelError: the file is not JSON, or a field is wrong or unknown (the first one is named).
    """
    try:
        return ModelCard.model_validate_json(path.read_bytes())
    except ValidationError as error:
        problem = first_problem(error)
        if error.errors()[0]["type"] == "extra_forbidden":
            raise ModelError(
                f"{path}: the field {problem.field} is unknown; it is misspelt, or a newer wsi-segment "
                "wrote the card: update"
            ) from error
        said = problem if problem.field else f"the file: {problem.reason}"
        raise ModelError(f"{path}: {said}; correct the card or export the model again") from error


def write_card(card: ModelCard, folder: Path) -> Path:
    """Write ``card.json`` into a model folder, and return its path: ``Path("card.json")`` for the working folder.

    >>> write_card(find_model("colorectal-biopsy").card, Path()).exists()
    True
    """
    with replacing(folder / CARD_FILE, text=True) as file:
        file.write(card.model_dump_json(indent=2, exclude_none=True) + "\n")
    return folder / CARD_FILE
