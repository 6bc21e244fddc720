from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from synthetic import ChannelNetwork, tissue_like, write_model
from wsi_segment.errors import InputError, ModelError
from wsi_segment.inference.engine.graphs.conversion import as_input
from wsi_segment.inference.engine.networks import onnx_network as network
from wsi_segment.inference.engine.networks.instructions import multiplies_bytes
from wsi_segment.inference.engine.networks.network import Device, load_network
from wsi_segment.inference.engine.networks.onnx_network import OnnxNetwork, choose_provider
from wsi_segment.model.card import DEFAULT_MODEL, InputFormat, Precision, find_model, sha256_of, write_card

WINDOWS = np.random.default_rng(0).integers(0, 256, (5, 128, 128, 3), dtype=np.uint8)


def test_uint8_pixels_go_in_as_they_are(tmp_path: Path) -> None:
    model = write_model(tmp_path / "m")
    assert as_input(WINDOWS, model.card.input) is WINDOWS
    np.testing.assert_allclose(OnnxNetwork(model, "cpu")(WINDOWS), ChannelNetwork()(WINDOWS), rtol=1e-5)


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
def test_a_foreign_float_model_gets_what_its_card_says(tmp_path: Path, layout: str) -> None:
    form = InputFormat.model_validate(
        {"layout": layout, "dtype": "float32", "mean": (0.5, 0.4, 0.3), "std": (0.2, 0.25, 0.3)}
    )
    model = write_model(tmp_path / "m", form)
    normalised = (WINDOWS / 255 - np.array([0.5, 0.4, 0.3])) / np.array([0.2, 0.25, 0.3])
    expected = normalised.reshape(5, 16, 8, 16, 8, 3).mean(axis=(2, 4)).transpose(0, 3, 1, 2) / 8
    np.testing.assert_allclose(OnnxNetwork(model, "cpu")(WINDOWS), expected, atol=1e-5)


def test_a_changed_byte_is_noticed(tmp_path: Path) -> None:
    model = write_model(tmp_path / "m")
    path = tmp_path / "m" / "model.onnx"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(ModelError, match=r"sha256 is .* the card says .*export"):
        OnnxNetwork(model, "cpu")


@pytest.mark.parametrize("device", ["cpu", "openvino"])
def test_weights_in_other_files_are_refused(tmp_path: Path, device: Device) -> None:
    import onnx

    if device == "openvino":
        pytest.importorskip("openvino", reason="needs the extra [openvino]")
    model = write_model(tmp_path / "m")
    path = tmp_path / "m" / "model.onnx"
    graph = onnx.load(path)
    graph.graph.initializer[0].raw_data = np.full(64, 8.0, np.float32).tobytes()
    graph.graph.initializer[0].ClearField("float_data")
    onnx.save(graph, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    assert (tmp_path / "m" / "weights.bin").exists()
    card = model.card.model_copy(update={"files": {"model.onnx": sha256_of(path)}})
    write_card(card, tmp_path / "m")
    with pytest.raises(ModelError, match=r"keeps weights in other files.*export it whole"):
        load_network(find_model(tmp_path / "m"), device)


def test_a_card_that_promises_another_output_is_refused(tmp_path: Path) -> None:
    model = write_model(tmp_path / "m")
    write_card(model.card.model_copy(update={"output_stride": 4}), tmp_path / "m")
    with pytest.raises(ModelError, match=r"gives float32 \(2, 3, 16, 16\).*promises float32 \(2, 3, 32, 32\)"):
        OnnxNetwork(find_model(tmp_path / "m"), "cpu")


def test_a_card_with_another_input_is_refused(tmp_path: Path) -> None:
    model = write_model(tmp_path / "m")
    form = InputFormat(layout="NCHW", dtype="float32")
    write_card(model.card.model_copy(update={"input": form}), tmp_path / "m")
    with pytest.raises(ModelError, match="does not take two windows"):
        OnnxNetwork(find_model(tmp_path / "m"), "cpu")


@pytest.mark.parametrize(
    ("device", "providers", "devices", "chosen"),
    [
        ("auto", ["CUDAExecutionProvider", "CPUExecutionProvider"], 1, "CUDAExecutionProvider"),
        ("auto", ["CUDAExecutionProvider", "CPUExecutionProvider"], 0, "CPUExecutionProvider"),
        ("auto", ["CPUExecutionProvider"], 1, "CPUExecutionProvider"),
        ("cpu", ["CUDAExecutionProvider", "CPUExecutionProvider"], 1, "CPUExecutionProvider"),
        ("cuda", ["CUDAExecutionProvider", "CPUExecutionProvider"], 2, "CUDAExecutionProvider"),
    ],
)
def test_provider_follows_device_build_and_driver(
    monkeypatch: pytest.MonkeyPatch, device: Device, providers: list[str], devices: int, chosen: str
) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: providers)
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: None, raising=False)
    monkeypatch.setattr(network, "cuda_devices", lambda: devices)
    assert choose_provider(device) == chosen


@pytest.mark.parametrize(
    ("providers", "message"),
    [
        (["CPUExecutionProvider"], "no CUDA provider"),
        (["CUDAExecutionProvider", "CPUExecutionProvider"], "no CUDA device"),
    ],
)
def test_cuda_that_cannot_be_had_says_why(monkeypatch: pytest.MonkeyPatch, providers: list[str], message: str) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: providers)
    monkeypatch.setattr(network, "cuda_devices", lambda: 0)
    with pytest.raises(InputError, match=message):
        choose_provider("cuda")


def test_on_cuda_input_and_output_are_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moved: list[str] = []
    from_numpy = onnxruntime.OrtValue.ortvalue_from_numpy
    session = onnxruntime.InferenceSession
    made: list[object] = []

    def on_cpu(array: np.ndarray, device: str, index: int) -> object:
        moved.append(device)
        return from_numpy(array, "cpu", 0)

    class Binding:
        def __init__(self, binding: object) -> None:
            self.inner = binding

        def __getattr__(self, name: str) -> object:
            return getattr(self.inner, name)

        def bind_output(self, name: str, device: str, index: int) -> None:
            moved.append(device)
            self.inner.bind_output(name, "cpu", 0)  # type: ignore[attr-defined]

    class Session(session):  # type: ignore[misc, valid-type]  # onnxruntime is untyped
        def __init__(self, path: Path, options: object, providers: list[object]) -> None:
            made.append(providers)
            super().__init__(path, options, providers=["CPUExecutionProvider"])

        def get_providers(self) -> list[str]:
            return ["CUDAExecutionProvider"]

        def io_binding(self) -> Binding:
            return Binding(super().io_binding())

        def run_with_iobinding(self, binding: Binding) -> None:
            super().run_with_iobinding(binding.inner)

    monkeypatch.setattr(onnxruntime.OrtValue, "ortvalue_from_numpy", staticmethod(on_cpu))
    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    monkeypatch.setattr(network, "choose_provider", lambda device: "CUDAExecutionProvider")
    onnx = OnnxNetwork(write_model(tmp_path / "m"), "cuda", batch_size=4)
    np.testing.assert_allclose(onnx(WINDOWS), ChannelNetwork()(WINDOWS), rtol=1e-5)
    assert moved == ["cuda", "cuda"] * 2  # once a session: the last batch, of one window, has the shape of the others
    assert made == [[("CUDAExecutionProvider", {"cudnn_conv_algo_search": "HEURISTIC"})]] * 2


@pytest.mark.parametrize("precision", find_model(DEFAULT_MODEL).card.files_by_precision)
def test_a_window_does_not_depend_on_its_batch_in_any_precision(precision: Precision) -> None:
    if precision == "int8" and multiplies_bytes() is False:
        pytest.skip("this processor has no VNNI")
    onnx = OnnxNetwork(find_model(DEFAULT_MODEL), "cpu", precision)
    together = onnx(WINDOWS)
    for size in (1, 2, 3):
        parts = [onnx(WINDOWS[start : start + size]) for start in range(0, 5, size)]
        np.testing.assert_array_equal(np.concatenate(parts), together)


@pytest.mark.skipif(network.cuda_devices() == 0, reason="the driver reports no CUDA device")
def test_a_gpu_gives_the_classes_of_the_cpu_to_several_threads_at_once() -> None:
    model = find_model(DEFAULT_MODEL)
    on_cpu, on_gpu = OnnxNetwork(model, "cpu"), OnnxNetwork(model, "auto")
    assert on_gpu.provider == "CUDAExecutionProvider"
    tissue = tissue_like(512, 2048)
    batches = [np.stack([tissue[y : y + 128, x : x + 128] for y in (0, 128, 256)]) for x in range(0, 1920, 96)]
    with ThreadPoolExecutor(8) as pool:
        found = np.concatenate(list(pool.map(on_gpu, batches)))
    expected = np.concatenate([on_cpu(batch) for batch in batches])
    np.testing.assert_allclose(found, expected, atol=0.05)  # convolutions in TF32
    assert (found.argmax(axis=1) == expected.argmax(axis=1)).mean() > 0.99
