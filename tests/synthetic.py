"""Made slides, made models and networks that are a known function; shared by all tests and by the demo."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import zarr
from numpy.typing import NDArray
from PIL import Image

from wsi_segment.model.card import MODEL_FILE, InputFormat, Model, ModelCard, SegmentClass, write_card

SHARED = Path(__file__).parents[2] / "shared" / "data"
"""Real slides and a real dataset, where a checkout has them beside it."""
SLIDES = SHARED / "slides"

CLASSES = (
    SegmentClass(name="red", color=(200, 0, 0)),
    SegmentClass(name="green", color=(0, 200, 0)),
    SegmentClass(name="blue", color=(0, 0, 200)),
)


def write_slide(
    path: Path,
    pixels: NDArray[np.uint8],
    mpp: float | None = 1.0,
    levels: int = 1,
    tile: int = 256,
    compression: str | None = "deflate",
) -> Path:
    """A tiled pyramidal TIFF; every level is the mean of 2 x 2 pixels of the one before."""
    resolution = None if mpp is None else (1e4 / mpp, 1e4 / mpp)
    with tifffile.TiffWriter(path, bigtiff=True) as tiff:
        for level in range(levels):
            if level:
                pixels = halved(pixels)
            tiff.write(
                pixels,
                tile=(tile, tile),
                photometric="rgb",
                compression=compression,
                subfiletype=1 if level else 0,
                resolution=resolution if not level else None,
                resolutionunit="CENTIMETER" if mpp is not None else None,
                metadata=None,
            )
    return path


def write_ome_tiff(
    path: Path, pixels: NDArray[np.uint8], mpp: float, levels: int = 1, compression: str | None = "deflate"
) -> Path:
    """An OME-TIFF: coarser levels in SubIFDs, the pixel size in its XML alone."""
    size = {"PhysicalSizeX": mpp, "PhysicalSizeXUnit": "µm", "PhysicalSizeY": mpp, "PhysicalSizeYUnit": "µm"}
    with tifffile.TiffWriter(path, ome=True) as tiff:
        for level in range(levels):
            tiff.write(
                pixels if not level else halved(pixels, level),
                tile=(256, 256),
                photometric="rgb",
                compression=compression,
                subifds=0 if level else levels - 1,
                subfiletype=1 if level else 0,
                metadata=None if level else {"axes": "YXS", **size},
            )
    return path


def halved(pixels: NDArray[np.uint8], times: int = 1) -> NDArray[np.uint8]:
    """The mean of 2 x 2 pixels, so many times over; an odd last row or column is dropped."""
    for _ in range(times):
        height, width = pixels.shape[0] // 2, pixels.shape[1] // 2
        blocks = pixels[: 2 * height, : 2 * width].reshape(height, 2, width, 2, 3)
        pixels = blocks.mean(axis=(1, 3)).round().astype(np.uint8)
    return pixels


def tissue_like(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """Smooth blobs of red, green and blue on white, (height, width, 3); no two neighbourhoods are alike."""
    rng = np.random.default_rng(seed)
    coarse = rng.random((3, height // 32 + 2, width // 32 + 2)).repeat(32, axis=1).repeat(32, axis=2)
    colour = coarse[:, :height, :width].argmax(axis=0)
    palette = np.array([(200, 60, 90), (160, 170, 60), (90, 50, 190)], np.uint8)
    noise = rng.integers(-20, 21, (height, width, 3))
    pixels: NDArray[np.uint8] = np.clip(palette[colour] + noise, 0, 255).astype(np.uint8)
    y, x = np.mgrid[:height, :width]
    glass = ((y - height / 2) / (0.48 * height)) ** 2 + ((x - width / 2) / (0.48 * width)) ** 2 > 1
    pixels[glass] = 255
    return pixels


def files_of(store: Path) -> dict[str, bytes]:
    """Every file of a store by its relative name."""
    return {str(path.relative_to(store)): path.read_bytes() for path in sorted(store.rglob("*")) if path.is_file()}


def class_map(store: Path, level: int = 0) -> NDArray[np.uint8]:
    """Class ids of one level of a finished mask."""
    array = zarr.open_group(store, mode="r")[f"labels/segmentation/{level}"]
    assert isinstance(array, zarr.Array)
    return np.asarray(array[:], np.uint8)


class ChannelNetwork:
    """The logit of a class is the mean of its colour channel over an output cell, sharpened; exact, any batch."""

    def __init__(self, output_stride: int = 8) -> None:
        self.output_stride = output_stride
        self.windows = 0

    def __call__(self, windows: NDArray[np.uint8]) -> NDArray[np.float32]:
        self.windows += len(windows)
        s = self.output_stride
        batch, height, width, _ = windows.shape
        cells = windows.reshape(batch, height // s, s, width // s, s, 3).sum(axis=(2, 4), dtype=np.int64)
        logits: NDArray[np.float32] = (cells.transpose(0, 3, 1, 2) / (s * s * 8)).astype(np.float32)
        return logits


def make_card(
    output_stride: int = 8, upsampling: str = "nearest", mpp: float = 1.0, digest: str = "0" * 64
) -> ModelCard:
    """A card for :class:`ChannelNetwork`."""
    return ModelCard.model_validate(
        {
            "name": "channels",
            "version": "1",
            "mpp": mpp,
            "output_stride": output_stride,
            "upsampling": upsampling,
            "classes": [entry.model_dump() for entry in CLASSES],
            "files": {MODEL_FILE: digest},
            "license": "CC0-1.0",
            "training_data": "none",
            "intended_use": "tests",
            "limitations": "all",
        }
    )


def make_model(output_stride: int = 8, upsampling: str = "nearest", mpp: float = 1.0) -> Model:
    """A model without weights, to be run with a given network."""
    return Model(Path("made"), make_card(output_stride, upsampling, mpp))


def write_model(folder: Path, form: InputFormat | None = None, output_stride: int = 8) -> Model:
    """A real ONNX model that computes what :class:`ChannelNetwork` computes."""
    from onnx import TensorProto, helper, save

    form = form or InputFormat()
    side = [128, 128]
    shape: list[str | int | None] = ["batch", *side, 3] if form.layout == "NHWC" else ["batch", 3, *side]
    pixel_type = TensorProto.UINT8 if form.dtype == "uint8" else TensorProto.FLOAT
    nodes = [helper.make_node("Cast", ["pixels"], ["float"], to=TensorProto.FLOAT)]
    nodes.append(
        helper.make_node("Transpose", ["float"], ["nchw"], perm=[0, 3, 1, 2])
        if form.layout == "NHWC"
        else helper.make_node("Identity", ["float"], ["nchw"])
    )
    constants = [helper.make_tensor("eight", TensorProto.FLOAT, [], [8.0])]
    nodes.append(
        helper.make_node(
            "AveragePool",
            ["nchw"],
            ["mean"],
            kernel_shape=[output_stride] * 2,
            strides=[output_stride] * 2,
        )
    )
    nodes.append(helper.make_node("Div", ["mean", "eight"], ["logits"]))
    cells = 128 // output_stride
    graph = helper.make_graph(
        nodes,
        "channels",
        [helper.make_tensor_value_info("pixels", pixel_type, shape)],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 3, cells, cells])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    folder.mkdir(parents=True, exist_ok=True)
    save(model, folder / MODEL_FILE)
    digest = hashlib.sha256((folder / MODEL_FILE).read_bytes()).hexdigest()
    card = make_card(output_stride, digest=digest).model_copy(update={"input": form})
    write_card(card, folder)
    return Model(folder, card)


def write_dataset(folder: Path) -> Path:
    """Six images of 160 x 128 px with masks and labels, two classes, in a folder with a manifest."""
    rng = np.random.default_rng(0)
    rows = ["image,mask,label,group,split"]
    for index in range(6):
        mask = np.ones((128, 160), np.uint8)
        if index % 2 == 0:
            mask[:, 60:] = 2
        pixels = np.where(mask[..., None] == 2, (120, 60, 160), (230, 160, 200)) + rng.integers(-15, 16, (128, 160, 3))
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{index}.png")
        Image.fromarray(mask).save(folder / f"{index}_mask.png")
        label, split = ("tumour", "stroma")[index % 2], "train" if index < 4 else "val"
        rows.append(f"{index}.png,{index}_mask.png,{label},{index},{split}")
    (folder / "manifest.csv").write_text("\n".join(rows))
    classes = [{"name": "stroma", "color": [9, 9, 9]}, {"name": "tumour", "color": [200, 0, 0]}]
    (folder / "classes.json").write_text(json.dumps({"classes": classes, "mpp": 0.5}))
    return folder


def write_convolutions(folder: Path) -> Model:
    """A model of three convolutions that tells the classes of :func:`write_dataset` apart by their green; any size."""
    from onnx import TensorProto, helper, save

    green = np.zeros((4, 3, 8, 8), np.float32)
    green[:, 1] = np.linspace(0.5, 1.0, 4)[:, None, None] / 64
    mixed = np.eye(4, dtype=np.float32)[:, :, None, None]
    scores = np.array([[1, 1, 1, 1], [-1, -1, -1, -1]], np.float32)[:, :, None, None] / 255
    bias = np.array([-330, 330], np.float32) / 255
    constants: dict[str, NDArray[np.floating]] = {"w0": green, "w1": mixed, "w2": scores, "b2": bias}
    nodes = [
        helper.make_node("Transpose", ["pixels"], ["nchw"], perm=[0, 3, 1, 2]),
        helper.make_node("Cast", ["nchw"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Conv", ["float", "w0"], ["a0"], name="first", kernel_shape=[8, 8], strides=[8, 8]),
        helper.make_node("Relu", ["a0"], ["r0"], name="relu_first"),
        helper.make_node("Conv", ["r0", "w1"], ["a1"], name="middle", kernel_shape=[1, 1]),
        helper.make_node("Relu", ["a1"], ["r1"], name="relu_middle"),
        helper.make_node("Conv", ["r1", "w2", "b2"], ["logits"], name="last", kernel_shape=[1, 1]),
    ]
    graph = helper.make_graph(
        nodes,
        "convolutions",
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["batch", "height", "width", 3])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 2, "rows", "columns"])],
        [
            helper.make_tensor(name, TensorProto.FLOAT, value.shape, value.ravel().tolist())
            for name, value in constants.items()
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    folder.mkdir(parents=True, exist_ok=True)
    save(model, folder / MODEL_FILE)
    digest = hashlib.sha256((folder / MODEL_FILE).read_bytes()).hexdigest()
    classes = (SegmentClass(name="stroma", color=(9, 9, 9)), SegmentClass(name="tumour", color=(200, 0, 0)))
    card = make_card(digest=digest, mpp=0.5).model_copy(update={"classes": classes})
    write_card(card, folder)
    return Model(folder, card)


MPP: dict[str, Any] = {"resolution": (20_000, 20_000), "resolutionunit": "CENTIMETER"}
"""Options of tifffile that state 0.5 µm a pixel."""
Pages = list[tuple[NDArray[Any], dict[str, Any]]]
"""Pictures, each with its own options of tifffile."""


def write_pages(path: Path, pages: Pages, **options: Any) -> Path:
    """A TIFF of several directories, in tiles unless said otherwise."""
    usual = {"photometric": "rgb", "metadata": None, "tile": (256, 256), "compression": "deflate"}
    with tifffile.TiffWriter(path, **options) as tiff:
        for pixels, own in pages:
            tiff.write(pixels, **{**usual, **own})
    return path
