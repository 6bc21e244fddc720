"""CPU seconds and memory on the same windows: the bare runtime, this build, other checkouts of it, and its peers.

A slide of which every contender is told that it has the pixel size of its own model, so that all see the same pixels;
windows of 128 px without overlap, and the same weights for all. Every contender runs in a process of its own, in
turn, ``--repeats`` times; process start, imports and the first use of every module are left out by a run on a small
slide before. Classes are compared with this build's in fp32 first: where fewer than
``--agreement`` of the pixels that both call tissue are the same, no speed is printed. The defaults, whatever windows
they have, stand beside them.

Peers have environments of their own, and are measured where their interpreter is given. FAST needs
OpenCL too (Debian: pocl-opencl-icd)::

    python -m venv /tmp/pyfast && /tmp/pyfast/bin/pip install pyfast==4.18.0 "numpy<2"
    python -m venv /tmp/tia && /tmp/tia/bin/pip install tiatoolbox==2.1.3
    git worktree add /tmp/before COMMIT
    python -m venv /tmp/before/.venv && /tmp/before/.venv/bin/pip install /tmp/before
    python tests/benchmarks/peers.py --pyfast /tmp/pyfast/bin/python --tiatoolbox /tmp/tia/bin/python \\
        --against /tmp/before

They get the graph with float input, softmax and enlargement by four inside, since none of them enlarges by itself.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

WINDOW, STRIDE = 128, 4


class Clock:
    """CPU seconds of this process since its making, and its largest memory."""

    def __init__(self) -> None:
        self._started = time.process_time()

    def report(self, **more: Any) -> None:
        """Print what was used, as the last line."""
        status = Path("/proc/self/status").read_text()  # ru_maxrss would be that of the process that started this one
        peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1024
        print(json.dumps({"cpu": time.process_time() - self._started, "rss": peak, **more}))


def run_project(order: dict[str, Any]) -> None:
    """Segment by the command of whatever build this interpreter has."""
    from importlib.metadata import entry_points

    main = next(entry for entry in entry_points(group="console_scripts") if entry.name == "wsi-segment").load()

    def call(slide: str) -> None:
        try:
            code = main([slide, "--out", order["out"], "--overwrite", "--device", "cpu", *order["flags"]])
        except SystemExit as end:
            code = end.code
        if code:
            raise RuntimeError(f"wsi-segment ended with {code}")

    call(order["small"])
    clock = Clock()
    call(order["slide"])
    clock.report()


def run_floor(order: dict[str, Any]) -> None:
    """Call the bare session on as many windows, in batches of 16."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(order["model"], options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    windows = np.load(order["windows"])
    session.run(None, {name: windows})
    clock = Clock()
    for start in range(0, order["count"], len(windows)):
        session.run(None, {name: windows[: order["count"] - start]})
    clock.report(windows=order["count"])


def run_pyfast(order: dict[str, Any]) -> None:
    """Stream patches of the tissue through FAST's segmentation network and stitch them."""
    import fast  # needs an OpenCL driver; PoCL will do

    fast.Reporter.setGlobalReportMethod(fast.Reporter.NONE)

    def stitched(slide: str) -> Any:
        importer = fast.WholeSlideImageImporter.create(slide)
        tissue = fast.TissueSegmentation.create(useColorThresholdingMethod=True).connect(importer)
        patches = fast.PatchGenerator.create(WINDOW, WINDOW, level=0).connect(0, importer).connect(1, tissue)
        network = fast.SegmentationNetwork.create(
            order["graph"], scaleFactor=1.0, threshold=0.0, inferenceEngine=order["engine"]
        ).connect(patches)
        stitcher = fast.PatchStitcher.create().connect(network)
        pictures = list(fast.DataStream(stitcher))  # the same one, after each patch
        return pictures[-1], len(pictures)

    stitched(order["small"])
    clock = Clock()
    picture, count = stitched(order["slide"])
    clock.report(windows=count)
    np.save(order["out"], np.asarray(picture))


def run_tiatoolbox(order: dict[str, Any]) -> None:
    """Run TIAToolbox's semantic segmentor over a model whose forward pass is the onnxruntime session."""
    import onnxruntime
    import torch
    import zarr
    from tiatoolbox.models import IOSegmentorConfig
    from tiatoolbox.models.engine.semantic_segmentor import SemanticSegmentor

    torch.set_num_threads(1)
    session = onnxruntime.InferenceSession(order["graph"], providers=["CPUExecutionProvider"])

    class Network(torch.nn.Module):
        """The graph as a model of the toolbox: NHWC pixels in, NHWC probabilities out."""

        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            return torch.from_numpy(session.run(None, {"pixels": batch.numpy()})[0])

        @staticmethod
        def infer_batch(model: torch.nn.Module, batch: torch.Tensor, *, device: str) -> np.ndarray:
            pixels = batch.permute(0, 3, 1, 2).contiguous().float()
            return np.concatenate([model(one[None]).numpy() for one in pixels]).transpose(0, 2, 3, 1)

        @staticmethod
        def preproc_func(image: np.ndarray) -> np.ndarray:
            return image

        @staticmethod
        def postproc_func(shares: np.ndarray) -> np.ndarray:
            classes: np.ndarray = shares.argmax(axis=-1)
            return classes

    segmentor = SemanticSegmentor(model=Network(), batch_size=16, num_workers=0, verbose=False)
    resolution = {"units": "mpp", "resolution": 1.0}  # as it is told that the slide has
    config = IOSegmentorConfig(
        input_resolutions=[resolution],
        output_resolutions=[resolution],
        patch_input_shape=(WINDOW, WINDOW),
        patch_output_shape=(WINDOW, WINDOW),
        stride_shape=(WINDOW, WINDOW),
        save_resolution=resolution,
    )

    def segmented(slide: str) -> Any:
        written = segmentor.run(
            [Path(slide)],
            patch_mode=False,
            save_dir=Path(order["out"]).parent / "tia",
            ioconfig=config,
            wsireader_kwargs={"mpp": (1.0, 1.0)},
            auto_get_mask=True,
            output_type="zarr",
            overwrite=True,
        )
        return zarr.open(str(written[Path(slide)] if isinstance(written, dict) else written[0]), mode="r")

    segmented(order["small"])
    clock = Clock()
    found = segmented(order["slide"])
    clock.report()
    np.save(order["out"], np.asarray(found["predictions"]))


CHILDREN = {"project": run_project, "floor": run_floor, "pyfast": run_pyfast, "tiatoolbox": run_tiatoolbox}


def graph_for_peers(source: Path, target: Path) -> None:
    """Write the network with float NCHW pixels of 0 to 255 in, and probabilities at full size out."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model = onnx.load(source)
    graph = model.graph
    offset = numpy_helper.from_array(np.array(255, np.float32), "peer_offset")
    scale = numpy_helper.from_array(np.array(1 / 128, np.float32), "peer_scale")
    sizes = numpy_helper.from_array(np.array([1, 1, STRIDE, STRIDE], np.float32), "peer_sizes")
    graph.initializer.extend([offset, scale, sizes])
    normalised, classes = graph.node[1].output[0], 7
    del graph.node[:2]
    unused = [one for one in graph.initializer if one.name in ("pixel_scale", "pixel_zero_point")]
    for one in unused:
        graph.initializer.remove(one)
    graph.node.insert(0, helper.make_node("Mul", ["shifted", "peer_scale"], [normalised]))
    graph.node.insert(0, helper.make_node("Sub", ["pixels", "peer_offset"], ["shifted"]))
    graph.node.append(helper.make_node("Softmax", ["logits"], ["shares"], axis=1))
    graph.node.append(helper.make_node("Resize", ["shares", "", "peer_sizes"], ["full"], mode="linear"))
    del graph.input[:], graph.output[:]
    graph.input.append(helper.make_tensor_value_info("pixels", TensorProto.FLOAT, [1, 3, WINDOW, WINDOW]))
    graph.output.append(helper.make_tensor_value_info("full", TensorProto.FLOAT, [1, classes, WINDOW, WINDOW]))
    model.ir_version = min(model.ir_version, 8)
    onnx.checker.check_model(model)
    onnx.save(model, target)


def measure(python: str, kind: str, order: dict[str, Any]) -> dict[str, float]:
    """Run one contender in a process of its own; return what its last line says, and the CPU seconds of all of it."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [python, __file__, "--child", kind, json.dumps(order)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    lines = [line for line in done.stdout.splitlines() if line.startswith('{"cpu"')]
    if done.returncode or not lines:
        raise RuntimeError(f"{kind}: {(done.stderr or done.stdout).strip()[-400:]}")
    whole = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {**json.loads(lines[-1]), "whole": whole}


def classes_of(out: Path) -> np.ndarray:
    """Class ids that a contender left, (height, width); 0 where it saw no tissue."""
    if out.suffix == ".npy":
        counted_from_0: np.ndarray = np.squeeze(np.load(out))  # glass is among the first class
        return counted_from_0 + 1
    from synthetic import class_map

    return class_map(out)


def agreement(found: np.ndarray, reference: np.ndarray) -> float:
    """Share of the pixels that both call tissue in which the classes are the same; ids may be counted from 0."""
    height, width = (min(a, b) for a, b in zip(found.shape, reference.shape, strict=True))
    found, reference = found[:height, :width], reference[:height, :width]
    both = (found > 0) & (reference > 0)
    return float((found == reference)[both].mean()) if both.any() else 0.0


def contenders(args: argparse.Namespace, slide: Path, small: Path, scratch: Path) -> dict[str, tuple[str, str, Any]]:
    """Return interpreter, kind and order of each, by name; this build in fp32 comes first."""
    from wsi_segment.model.card import DEFAULT_MODEL, find_model

    model = find_model(args.model or DEFAULT_MODEL)
    weights, own, others = model.weights(), ["--mpp", str(model.card.mpp)], ["--mpp", str(args.against_mpp)]
    if args.model:
        own = others = [*own, "--model", str(args.model)]
    graph_for_peers(weights, scratch / "peer.onnx")
    common = {"slide": str(slide), "small": str(small), "graph": str(scratch / "peer.onnx")}
    same, defaults = ["--overlap", "0", "--workers", "1"], ["--workers", "1"]
    found: dict[str, tuple[str, str, Any]] = {}

    def add(name: str, python: str, kind: str, suffix: str = ".zarr", **more: Any) -> None:
        out = scratch / (name.replace(" ", "-") + suffix)
        found[name] = python, kind, {**common, "out": str(out), **more}

    for precision in args.precisions:
        add(f"this build {precision}", sys.executable, "project", flags=[*own, *same, "--precision", precision])
    for precision in args.precisions:
        add(
            f"this build {precision} defaults",
            sys.executable,
            "project",
            flags=[*own, *defaults, "--precision", precision],
        )
    for checkout in args.against:
        python = str(checkout / ".venv" / "bin" / "python")
        add(f"{checkout.name}", python, "project", flags=[*others, *same])
        add(f"{checkout.name} defaults", python, "project", flags=[*others, *defaults])
    if args.pyfast:
        for engine in ("OpenVINO", "ONNXRuntime"):
            add(f"pyfast {engine}", args.pyfast, "pyfast", ".npy", engine=engine)
    if args.tiatoolbox:
        add("tiatoolbox", args.tiatoolbox, "tiatoolbox", ".npy")
    batch = np.random.default_rng(0).integers(0, 255, (16, WINDOW, WINDOW, 3), np.uint8)
    np.save(scratch / "windows.npy", batch)
    count = args.windows
    add("floor", sys.executable, "floor", model=str(weights), windows=str(scratch / "windows.npy"), count=count)
    return found


def draw(rows: list[tuple[str, float, float]], path: Path) -> None:
    """Draw CPU seconds as bars."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 0.4 * len(rows) + 1), layout="constrained")
    axes.barh([name for name, _, _ in rows][::-1], [cpu for _, cpu, _ in rows][::-1], color="#0072b2")
    axes.set_xlabel("CPU seconds on the same slide, process start left out")
    figure.savefig(path, dpi=120)


def main() -> None:
    """Measure all contenders in turn, check their pixels, print one table and draw it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--slide", type=Path, help="a made one where it is left out; its own pixel size does not count")
    parser.add_argument("--side", type=int, default=6144, help="of the made slide")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--precisions", nargs="+", default=["fp32"])
    parser.add_argument("--windows", type=int, default=1401, help="of the floor; CPU seconds are in proportion")
    parser.add_argument("--against", type=Path, nargs="*", default=[], help="other checkouts, with a .venv each")
    parser.add_argument(
        "--model", type=Path, help="a folder that the checkouts can read as well; bundled models otherwise"
    )
    parser.add_argument("--against-mpp", type=float, default=1.0, help="pixel size of the bundled model of these, µm")
    parser.add_argument("--pyfast", help="interpreter of an environment that has it")
    parser.add_argument("--tiatoolbox", help="interpreter of an environment that has it")
    parser.add_argument("--agreement", type=float, default=0.95)
    parser.add_argument("--plot", type=Path)
    args = parser.parse_args()
    if args.child:
        CHILDREN[args.child[0]](json.loads(args.child[1]))
        return
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from synthetic import tissue_like, write_slide

    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        small = write_slide(scratch / "small.tiff", tissue_like(512, 512), mpp=1.0, levels=2, compression="jpeg")
        slide = args.slide or write_slide(
            scratch / "made.tiff", tissue_like(args.side, args.side), mpp=1.0, levels=4, compression="jpeg"
        )
        measured: dict[str, list[dict[str, float]]] = {}
        everyone = contenders(args, slide, small, scratch)
        for _ in range(args.repeats):
            for name, (python, kind, order) in everyone.items():
                try:
                    measured.setdefault(name, []).append(measure(python, kind, order))
                except RuntimeError as error:
                    print(f"{name} could not be measured: {error}", flush=True)
        report(args, everyone, measured)


def report(args: argparse.Namespace, everyone: dict[str, Any], measured: dict[str, list[dict[str, float]]]) -> None:
    """Compare pixels, then print medians; nothing but the agreement where that is too small."""
    names = [name for name in everyone if measured.get(name)]
    reference = classes_of(Path(everyone[names[0]][2]["out"]))
    base = statistics.median(one["cpu"] for one in measured[names[0]])
    print("contender                          pixels     CPU s   ratio   whole process   peak MiB")
    rows = []
    for name in names:
        out = Path(everyone[name][2]["out"])
        share = 1.0 if everyone[name][1] == "floor" else agreement(classes_of(out), reference)
        if share < args.agreement and not name.endswith("defaults"):
            print(f"{name:32}  {share:7.4f}   too far apart for a comparison")
            continue
        cpu, whole, rss = (statistics.median(one[key] for one in measured[name]) for key in ("cpu", "whole", "rss"))
        rows.append((name, cpu, rss))
        shown = "      -" if everyone[name][1] == "floor" else f"{share:7.4f}"
        print(f"{name:32}  {shown}  {cpu:8.2f}  {cpu / base:6.3f}  {whole:14.2f}  {rss:9.0f}", flush=True)
    if args.plot:
        draw(rows, args.plot)


if __name__ == "__main__":
    main()
