"""Networks as others export them: each gives the mask that PyTorch gives on the same windows."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from synthetic import class_map, tissue_like, write_slide
from wsi_segment.errors import ModelError
from wsi_segment.inference.engine.graphs.import_model import Imported, import_model
from wsi_segment.inference.engine.graphs.import_options import ImportOptions, class_names_in, doubts_of_names
from wsi_segment.inference.engine.options import SegmentOptions
from wsi_segment.inference.engine.segment import segment
from wsi_segment.model.card import Model, find_model

torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")
from torch import nn  # noqa: E402

from wsi_segment.export.whole import save_whole  # noqa: E402

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
HEIGHT, WIDTH = 200, 330


class Segmenter(nn.Module):
    """A small encoder and decoder whose classes are about as frequent as one another on ``tissue_like``."""

    def __init__(self, channels: int, padding: int = 1) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.first = nn.Conv2d(3, 8, 3, padding=padding)
        self.down = nn.Conv2d(8, 16, 2, stride=2)
        self.deep = nn.Conv2d(16, 16, 3, padding=padding)
        self.up = nn.ConvTranspose2d(16, 8, 2, stride=2)
        self.head = nn.Conv2d(8, channels, 1)
        self.eval()
        with torch.no_grad():
            scores = self(as_input(tissue_like(256, 256)[None]))
            self.head.bias -= scores.mean(dim=(0, 2, 3))
            self.head.weight *= 3
            self.head.bias *= 3

    def forward(self, x: Any) -> Any:
        x = torch.relu(self.first(x))
        x = torch.relu(self.deep(torch.relu(self.down(x))))
        return self.head(torch.relu(self.up(x)))


class Then(nn.Module):
    """A network, and what is done to its output."""

    def __init__(self, network: nn.Module, after: Callable[[Any], Any]) -> None:
        super().__init__()
        self.network, self.after = network, after

    def forward(self, x: Any) -> Any:
        return self.after(self.network(x))


class Standardises(nn.Module):
    """A network that divides by the spread of its window, which is 0 where that has one colour."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Any) -> Any:
        x = x - x.amin(dim=(2, 3), keepdim=True)
        return self.network(x / x.amax(dim=(2, 3), keepdim=True))


class ChannelsLast(nn.Module):
    """NHWC in and out."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Any) -> Any:
        return self.network(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


class Bytes(nn.Module):
    """uint8 pixels in, normalised inside."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Any) -> Any:
        return self.network((x.float() / 255 - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None])


class BlueFirst(nn.Module):
    """Normalised BGR in, as of networks that were trained with OpenCV."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Any) -> Any:
        return self.network(x.flip(1))


class Divides(nn.Module):
    """Pixels of 0 to 255 in, normalised inside."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Any) -> Any:
        return self.network((x / 255 - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None])


def as_input(windows: np.ndarray) -> Any:
    """Normalised NCHW float32, written independently of the engine."""
    x = torch.from_numpy(windows.copy()).permute(0, 3, 1, 2).float() / 255
    return (x - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]


@dataclass(frozen=True)
class Kind:
    """A network as it is exported, and the class numbers (B, h, w) from 0 that it means."""

    exported: Callable[[], nn.Module]
    means: Callable[[Any], Any]
    """Of normalised NCHW windows."""
    activation: str
    classes: tuple[str, ...] = ("glass", "stroma", "gland")
    window: int = 128
    margin: int = 0
    layout: str = "NCHW"
    dtype: Any = torch.float32
    example: tuple[int, ...] = (1, 3, 128, 128)
    dynamic: dict[int, str] = field(default_factory=lambda: {0: "batch"})
    dynamo: bool = False
    told: dict[str, Any] = field(default_factory=dict)


def one() -> nn.Module:
    return Segmenter(1)


def three() -> nn.Module:
    return Segmenter(3)


def largest(x: Any) -> Any:
    return three()(x).argmax(dim=1)


def above(x: Any) -> Any:
    return (one()(x)[:, 0] > 0).long()


BINARY = ("rest", "gland")
KINDS = {
    "plain": Kind(three, largest, "logits"),
    "one-channel": Kind(one, above, "logits", BINARY),
    "sigmoid": Kind(lambda: Then(one(), torch.sigmoid), above, "sigmoid", BINARY),
    "sigmoid-one-name": Kind(lambda: Then(one(), torch.sigmoid), above, "sigmoid", ("gland",)),
    "sigmoid-without-channels": Kind(lambda: Then(one(), lambda y: y[:, 0].sigmoid()), above, "sigmoid", BINARY),
    "softmax": Kind(lambda: Then(three(), lambda y: y.softmax(dim=1)), largest, "softmax"),
    "log-softmax": Kind(lambda: Then(three(), lambda y: y.log_softmax(dim=1)), largest, "logits"),
    "percent": Kind(lambda: Then(three(), lambda y: 100 * y.softmax(dim=1)), largest, "softmax"),
    "one-hot": Kind(
        lambda: Then(three(), lambda y: nn.functional.one_hot(y.argmax(dim=1), 3).permute(0, 3, 1, 2).float()),
        largest,
        "softmax",
    ),
    "bgr": Kind(lambda: BlueFirst(three()), largest, "logits", told={"colours": "BGR"}),
    "bgr-nhwc-uint8": Kind(
        lambda: ChannelsLast(BlueFirst(Bytes(three()))),
        largest,
        "logits",
        layout="NHWC",
        dtype=torch.uint8,
        example=(1, 128, 128, 3),
        told={"colours": "BGR"},
    ),
    "divides-by-255": Kind(
        lambda: Divides(three()), largest, "logits", told={"mean": (0.0,) * 3, "std": (1 / 255,) * 3}
    ),
    "sigmoids": Kind(lambda: Then(three(), torch.sigmoid), largest, "sigmoid"),
    "sigmoids-and-rest": Kind(
        lambda: Then(three(), torch.sigmoid),
        lambda x: torch.cat([torch.zeros(len(x), 1, 128, 128), three()(x)], dim=1).argmax(dim=1),
        "sigmoid",
        ("rest", "a", "b", "c"),
    ),
    "valid": Kind(lambda: Segmenter(3, 0), lambda x: Segmenter(3, 0)(x).argmax(dim=1), "logits", margin=3),
    "valid-256": Kind(
        lambda: Segmenter(3, 0),
        lambda x: Segmenter(3, 0)(x).argmax(dim=1),
        "logits",
        window=256,
        margin=3,
        example=(1, 3, 256, 256),
    ),
    "nhwc": Kind(lambda: ChannelsLast(three()), largest, "logits", layout="NHWC", example=(1, 128, 128, 3)),
    "fp16": Kind(lambda: three().half(), largest, "logits", dtype=torch.float16),
    "uint8": Kind(lambda: Bytes(three()), largest, "logits", dtype=torch.uint8),
    "batch-1": Kind(three, largest, "logits", dynamic={}),
    "batch-4": Kind(three, largest, "logits", dynamic={}, example=(4, 3, 128, 128)),
    "batch-7": Kind(three, largest, "logits", dynamic={}, example=(7, 3, 128, 128)),
    "two-outputs": Kind(lambda: Then(three(), lambda y: (y * -1, y)), largest, "logits", told={"output": "out1"}),
    "features-beside": Kind(
        lambda: Then(three(), lambda y: (y.mean(dim=(2, 3)), y, y.repeat(1, 2, 1, 1))), largest, "logits"
    ),
    "argmax": Kind(lambda: Then(three(), lambda y: y.argmax(dim=1)), largest, "argmax"),
    "argmax-kept": Kind(lambda: Then(three(), lambda y: y.argmax(dim=1, keepdim=True)), largest, "argmax"),
    "argmax-as-float": Kind(lambda: Then(three(), lambda y: y.argmax(dim=1).float()), largest, "argmax"),
    "threshold": Kind(lambda: Then(one(), lambda y: y[:, 0] > 0), above, "argmax", BINARY),
    "dynamic-sides": Kind(
        three, largest, "logits", dynamic={0: "batch", 2: "height", 3: "width"}, told={"window": 192}, window=192
    ),
    "dynamic-sides-default": Kind(three, largest, "logits", dynamic={0: "batch", 2: "height", 3: "width"}, window=256),
    "dynamo": Kind(three, largest, "logits", dynamic={}, dynamo=True),
    "stride-4": Kind(
        lambda: Then(three(), lambda y: nn.functional.avg_pool2d(y, 4)),
        lambda x: nn.functional.avg_pool2d(three()(x), 4).argmax(dim=1).repeat_interleave(4, 1).repeat_interleave(4, 2),
        "logits",
    ),
}
"""The eleven kinds that are met most, and neighbours of each."""


def export(kind: Kind, path: Path) -> None:
    """Export as others do, with the older exporter unless the kind says otherwise."""
    network = kind.exported().eval()
    count = len(network(torch.zeros(kind.example).to(kind.dtype))) if kind.told.get("output") else 1
    names = [f"out{index}" for index in range(count)] if count == 2 else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch deprecates the exporter that most files were made with
        torch.onnx.export(
            network,
            (torch.zeros(kind.example).to(kind.dtype),),
            str(path),
            dynamo=kind.dynamo,
            input_names=["pixels"],
            output_names=names,
            dynamic_axes=None if kind.dynamo or not kind.dynamic else {"pixels": kind.dynamic},
        )


def truth(pixels: np.ndarray, kind: Kind) -> np.ndarray:
    """Class ids from 1, from PyTorch in float32 on windows side by side."""
    core = kind.window - 2 * kind.margin
    rows, columns = -(-HEIGHT // core), -(-WIDTH // core)
    white = np.full((rows * core + 2 * kind.margin, columns * core + 2 * kind.margin, 3), 255, np.uint8)
    white[kind.margin : kind.margin + HEIGHT, kind.margin : kind.margin + WIDTH] = pixels
    ids = np.zeros((rows * core, columns * core), np.uint8)
    with torch.inference_mode():
        for y in range(0, rows * core, core):
            for x in range(0, columns * core, core):
                window = white[None, y : y + kind.window, x : x + kind.window]
                ids[y : y + core, x : x + core] = kind.means(as_input(window))[0].numpy() + 1
    return ids[:HEIGHT, :WIDTH]


def imported(kind: Kind, folder: Path) -> Imported:
    path = folder / "foreign.onnx"
    export(kind, path)
    if kind.dynamo:
        save_whole(path, folder / "whole.onnx")
        path = folder / "whole.onnx"
    normalised: dict[str, Any] = {} if kind.dtype == torch.uint8 else {"mean": MEAN, "std": STD}
    words: dict[str, Any] = {
        "name": "foreign",
        "version": "1",
        "classes": kind.classes,
        "mpp": 1.0,
        "mpp_source": "made",
    }
    return import_model(path, folder / "model", ImportOptions(**(words | normalised | kind.told)))


@pytest.mark.parametrize("name", KINDS)
def test_a_foreign_network_gives_the_mask_of_pytorch(name: str, tmp_path: Path) -> None:
    kind, pixels = KINDS[name], tissue_like(HEIGHT, WIDTH)
    made = imported(kind, tmp_path)
    assert (made.card.window, made.card.margin) == (kind.window, kind.margin)
    assert (made.card.activation, made.card.input.layout) == (kind.activation, kind.layout)
    assert find_model(made.folder).card == made.card
    slide = write_slide(tmp_path / "slide.tiff", pixels)
    options = SegmentOptions(overlap=0, tissue="none", workers=1, batch_size=5)
    segment(slide, Model(made.folder, made.card), tmp_path / "m.zarr", options)
    found, expected = class_map(tmp_path / "m.zarr"), truth(pixels, kind)
    shares = np.bincount(expected.ravel(), minlength=len(made.card.classes) + 1)[1:] / expected.size
    assert np.sort(shares)[-2] > 0.02, shares  # a mask of one class would prove nothing
    assert (found == expected).mean() >= 0.999


UNTOLD = {"mean": None, "std": None}
TOLD = {"mean": MEAN, "std": STD}


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        pytest.param(
            Kind(lambda: Then(three(), lambda y: y[:, :, 10:-6, 10:-6]), largest, ""),
            r"-[23] px off its middle \(is one side cropped more\?\), which no border of the same width explains",
            id="cropped unevenly",
        ),
        pytest.param(
            Kind(lambda: Then(three(), lambda y: y[:, :, 10:-6, 6:-10]), largest, ""),
            r"[23] px off its middle",
            id="cropped unevenly, each axis on another side",
        ),
        pytest.param(
            Kind(lambda: Then(three(), lambda y: -y.log_softmax(dim=1)), largest, ""),
            "negative log-probabilities, of which the smallest is the class .* so that the largest channel is",
            id="negative log-probabilities",
        ),
        pytest.param(
            Kind(lambda: Then(three(), lambda y: -y.softmax(dim=1)), largest, ""),
            "negative probabilities",
            id="negative probabilities",
        ),
        pytest.param(
            Kind(lambda: Then(three(), lambda y: 1 - y.softmax(dim=1)), largest, ""), "1 less probabilities", id="1 - p"
        ),
        pytest.param(
            Kind(lambda: Then(three(), lambda y: y.softmax(dim=3)), largest, ""),
            "a softmax over the columns",
            id="softmax over an axis of the window",
        ),
        pytest.param(
            Kind(lambda: Divides(three()), largest, "", told=UNTOLD),
            "one class for windows of all colours .* divides by 255 itself give `std` 0.00392157",
            id="divides by 255 inside and no range was stated",
        ),
        pytest.param(
            Kind(lambda: Then(three(), torch.sigmoid), largest, "", ("a", "b", "c", "background")),
            "the first, a, is where no other is likely; that sounds like background: name it first",
            id="background named last without a channel",
        ),
        pytest.param(
            Kind(one, above, "", ("gland", "rest")), "that sounds like rest: name it first", id="one channel, rest last"
        ),
        pytest.param(
            Kind(lambda: Then(one(), lambda y: 100 * torch.sigmoid(y)), above, "", ("rest", "gland")),
            "its one channel is never below 0 .* export it as probabilities of 0 to 1",
            id="one channel of percent",
        ),
        pytest.param(
            Kind(lambda: Then(one(), lambda y: 255 * torch.sigmoid(y)), above, "", ("rest", "gland")),
            "as percent or 0 to 255 are",
            id="one channel of 0 to 255",
        ),
    ],
)
def test_a_foreign_network_that_would_give_a_wrong_mask_is_refused(kind: Kind, message: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=message):
        imported(kind, tmp_path)


def test_what_nobody_told_of_a_foreign_network_is_asked(tmp_path: Path) -> None:
    made = imported(Kind(one, above, "", ("rest", "gland"), told=UNTOLD), tmp_path)
    normalisation, rest = made.doubts
    assert "given as 0 to 1, red first; give `mean` and `std`" in normalisation
    assert "no channel for rest" in rest
    (tmp_path / "many").mkdir()
    many = imported(Kind(KINDS["argmax"].exported, largest, "", ("a", "b", "c", "d")), tmp_path / "many")
    assert "largest class number on varied windows is 2, counted from 0, and 4 classes were named" in many.doubts[0]
    (tmp_path / "losses").mkdir()
    losses = imported(
        Kind(lambda: Then(three(), lambda y: nn.functional.softplus(y) + 1), largest, ""), tmp_path / "losses"
    )
    assert "all it gives is above 0" in losses.doubts[0]
    (tmp_path / "bytes").mkdir()
    unused = imported(Kind(KINDS["uint8"].exported, largest, "", dtype=torch.uint8, told=TOLD), tmp_path / "bytes")
    assert unused.doubts[0].startswith("`mean` and `std` are not used")
    (tmp_path / "twice").mkdir()
    far: dict[str, Any] = {"mean": (-1000.0,) * 3, "std": (1.0,) * 3}
    twice = imported(Kind(three, largest, "", told=far), tmp_path / "twice")
    assert "does it normalise pixels itself?" in twice.doubts[0]
    (tmp_path / "positive").mkdir()
    positive = imported(
        Kind(lambda: Then(one(), lambda y: nn.functional.softplus(y) + 1), above, "", ("rest", "gland")),
        tmp_path / "positive",
    )
    assert "never below 0 on varied windows" in positive.doubts[0]
    assert "taken for a logit: gland is wherever it is above 0" in positive.doubts[0]
    (tmp_path / "spread").mkdir()
    plain = imported(Kind(lambda: Standardises(three()), largest, ""), tmp_path / "spread")
    assert "values that are not numbers for windows of one colour" in plain.doubts[0]
    (tmp_path / "told").mkdir()
    assert imported(Kind(three, largest, ""), tmp_path / "told").doubts == ()


def test_metadata_that_name_other_classes_are_said() -> None:
    metadata = {"names": "{0: 'Tumour', 1: 'stroma', 2: 'rest'}", "task": "segment"}
    assert doubts_of_names(metadata, ("tumour", "stroma", "rest")) == ()
    (doubt,) = doubts_of_names(metadata, ("rest", "tumour", "stroma"))
    assert "name its classes Tumour, stroma, rest, and `classes` rest, tumour, stroma" in doubt
    assert doubts_of_names(metadata, ("a", "b")) == ()
    assert doubts_of_names({"classes": '["a", "b"]'}, ("b", "a")) != ()
    assert doubts_of_names({"names": "not a list", "labels": "[1, 2]"}, ("b", "a")) == ()
    assert class_names_in({"names": str({number: f"c{number}" for number in reversed(range(12))})})[10] == "c10"
