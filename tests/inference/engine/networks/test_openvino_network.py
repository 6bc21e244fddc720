from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from synthetic import ChannelNetwork, class_map, tissue_like, write_convolutions, write_model, write_slide
from wsi_segment.errors import InputError
from wsi_segment.inference.engine.networks.network import PrecisionChoice
from wsi_segment.inference.engine.networks.onnx_network import OnnxNetwork
from wsi_segment.inference.engine.networks.openvino_network import OpenVinoNetwork
from wsi_segment.inference.engine.options import SegmentOptions
from wsi_segment.inference.engine.segment import segment
from wsi_segment.model.card import DEFAULT_MODEL, InputFormat, Model, find_model

WINDOWS = np.random.default_rng(0).integers(0, 256, (5, 128, 128, 3), dtype=np.uint8)


def test_without_openvino_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(InputError, match=r"`device` openvino needs the extra \[openvino\]"):
        OpenVinoNetwork(write_model(tmp_path / "m"))


class TestWithOpenVino:
    @pytest.fixture(autouse=True)
    def _installed(self) -> None:
        pytest.importorskip("openvino", reason="needs the extra [openvino]")

    @pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
    @pytest.mark.parametrize("dtype", ["uint8", "float32"])
    def test_it_computes_what_onnxruntime_computes(self, tmp_path: Path, layout: str, dtype: str) -> None:
        form = InputFormat.model_validate({"layout": layout, "dtype": dtype})
        model = write_model(tmp_path / "m", form)
        expected = OnnxNetwork(model, "cpu")(WINDOWS)
        np.testing.assert_allclose(OpenVinoNetwork(model, "fp32")(WINDOWS), expected, rtol=1e-5)

    def test_windows_may_have_any_size_from_any_thread(self, tmp_path: Path) -> None:
        network = OpenVinoNetwork(write_convolutions(tmp_path / "m"), "fp32")
        reference = OnnxNetwork(find_model(tmp_path / "m"), "cpu")
        shapes = [(1, 128, 128), (2, 256, 64), (1, 64, 512), (3, 128, 128)] * 3
        batches = [np.random.default_rng(i).integers(0, 256, (*s, 3), dtype=np.uint8) for i, s in enumerate(shapes)]
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(network, batches))
        for batch, logits in zip(batches, found, strict=True):
            np.testing.assert_allclose(logits, reference(batch), atol=1e-4)

    @pytest.mark.parametrize("precision", ["fp32", "auto"])
    def test_a_window_does_not_depend_on_its_batch(self, precision: PrecisionChoice) -> None:
        network = OpenVinoNetwork(find_model(DEFAULT_MODEL), precision)
        together = network(WINDOWS)
        for size in (1, 2, 3):
            parts = [network(WINDOWS[start : start + size]) for start in range(0, 5, size)]
            np.testing.assert_array_equal(np.concatenate(parts), together)

    def test_a_mask_is_that_of_the_other_runtime(self, tmp_path: Path) -> None:
        model: Model = write_model(tmp_path / "m")
        slide = write_slide(tmp_path / "s.tiff", tissue_like(400, 520))
        options = SegmentOptions(device="openvino", precision="fp32")
        summary = segment(slide, model, tmp_path / "a.zarr", options)
        segment(slide, model, tmp_path / "b.zarr", SegmentOptions(device="cpu"), network=ChannelNetwork())
        np.testing.assert_array_equal(class_map(tmp_path / "a.zarr"), class_map(tmp_path / "b.zarr"))
        assert (summary.device, summary.precision) == ("OpenVINO CPU", "fp32")
        assert summary.provenance["versions"]["openvino"]

    def test_bf16_changes_few_classes_of_the_bundled_model(self) -> None:
        import openvino

        if "BF16" not in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            pytest.skip("this processor has no bf16")
        model, pixels = find_model(DEFAULT_MODEL), tissue_like(128, 512)
        windows = np.stack([pixels[:, x : x + 128] for x in range(0, 512, 128)])
        network = OpenVinoNetwork(model)
        assert network.precision == "bf16"
        found, expected = network(windows), OnnxNetwork(model, "cpu", "fp32")(windows)
        assert not np.array_equal(found, expected)
        assert (found.argmax(axis=1) == expected.argmax(axis=1)).mean() > 0.99
