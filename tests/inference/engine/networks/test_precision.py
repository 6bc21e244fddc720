from __future__ import annotations

import platform
import sys
from pathlib import Path

import pytest

from synthetic import make_card
from wsi_segment.errors import InputError
from wsi_segment.inference.engine.networks import instructions, precision
from wsi_segment.inference.engine.networks.network import PrecisionChoice
from wsi_segment.inference.engine.networks.openvino_network import settle_for_openvino
from wsi_segment.inference.engine.networks.precision import settle_precision
from wsi_segment.model.card import InputFormat, ModelCard, Variant

FILES = ("model.onnx", "model.int8.onnx", "model.fp16.onnx")
PLAIN = make_card()
FULL = PLAIN.model_copy(
    update={
        "files": dict.fromkeys(FILES, "0" * 64),
        "variants": (
            Variant(file="model.int8.onnx", precision="int8"),
            Variant(file="model.fp16.onnx", precision="fp16"),
        ),
    }
)
HALF = PLAIN.model_copy(update={"input": InputFormat(layout="NCHW", dtype="float16")})


@pytest.mark.parametrize(
    ("asked", "card", "gpu", "vnni", "file"),
    [
        ("auto", FULL, False, True, "model.int8.onnx"),
        ("auto", FULL, False, False, "model.onnx"),
        ("auto", FULL, False, None, "model.onnx"),  # unknown
        ("auto", FULL, True, True, "model.fp16.onnx"),
        ("auto", PLAIN, False, True, "model.onnx"),
        ("auto", PLAIN, True, True, "model.onnx"),
        ("fp32", FULL, False, True, "model.onnx"),
        ("fp32", FULL, True, True, "model.onnx"),
        ("int8", FULL, False, True, "model.int8.onnx"),
        ("int8", FULL, False, None, "model.int8.onnx"),
        ("fp16", FULL, False, True, "model.fp16.onnx"),
        ("fp16", HALF, False, True, "model.onnx"),
        ("auto", HALF, False, True, "model.onnx"),
    ],
)
def test_the_file_follows_choice_card_device_and_processor(
    monkeypatch: pytest.MonkeyPatch, asked: PrecisionChoice, card: ModelCard, gpu: bool, vnni: bool | None, file: str
) -> None:
    monkeypatch.setattr(precision, "multiplies_bytes", lambda: vnni)
    assert settle_precision(asked, card, gpu=gpu).file == file


@pytest.mark.parametrize(
    ("asked", "card", "gpu", "vnni", "message"),
    [
        ("int8", FULL, False, False, "no instructions for it .* choose auto or fp32"),
        ("int8", FULL, True, True, "on a GPU; choose one of: auto, fp32, fp16"),
        ("int8", PLAIN, False, True, "choose one of: auto, fp32; or make the file: wsi-segment export MODEL --int8"),
        ("fp16", PLAIN, True, True, "wsi-segment export MODEL --fp16"),
        ("bf16", FULL, False, True, "`device` openvino"),
        ("fp32", HALF, False, True, "choose one of: auto, fp16"),
    ],
)
def test_a_precision_that_cannot_be_had_says_what_can(
    monkeypatch: pytest.MonkeyPatch,
    asked: PrecisionChoice,
    card: ModelCard,
    gpu: bool,
    vnni: bool | None,
    message: str,
) -> None:
    monkeypatch.setattr(precision, "multiplies_bytes", lambda: vnni)
    with pytest.raises(InputError, match=message):
        settle_precision(asked, card, gpu=gpu)


@pytest.mark.parametrize(
    ("asked", "capable", "chosen", "file"),
    [
        ("auto", {"FP32", "BF16", "INT8"}, "bf16", "model.onnx"),
        ("auto", {"FP32", "INT8"}, "fp32", "model.onnx"),
        ("fp32", {"FP32", "BF16"}, "fp32", "model.onnx"),
        ("int8", {"FP32", "BF16", "INT8"}, "int8", "model.int8.onnx"),
    ],
)
def test_openvino_takes_bf16_where_the_processor_has_it(
    asked: PrecisionChoice, capable: set[str], chosen: str, file: str
) -> None:
    settled = settle_for_openvino(asked, FULL, capable)
    assert (settled.precision, settled.file) == (chosen, file)


@pytest.mark.parametrize("asked", ["bf16", "fp16"])
def test_openvino_refuses_what_the_processor_has_not(asked: PrecisionChoice) -> None:
    with pytest.raises(InputError, match="choose one of: auto, fp32"):
        settle_for_openvino(asked, PLAIN, {"FP32"})


@pytest.mark.parametrize(
    ("system", "machine", "flags", "found"),
    [
        ("linux", "x86_64", "flags : sse avx2 avx512_vnni", True),
        ("linux", "x86_64", "flags : sse avx2 avx_vnni", True),
        ("linux", "x86_64", "flags : sse avx2 avx512f", False),
        ("linux", "aarch64", "Features : fp asimd asimddp", True),
        ("linux", "aarch64", "Features : fp asimd", False),
        ("linux", "x86_64", None, None),
        ("darwin", "arm64", None, True),
        ("darwin", "x86_64", None, None),
        ("win32", "AMD64", None, None),
    ],
)
def test_instructions_are_told_by_system_and_machine(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    system: str,
    machine: str,
    flags: str | None,
    found: bool | None,
) -> None:
    if flags is not None:
        (tmp_path / "cpuinfo").write_text(f"processor : 0\n{flags}\n")
    monkeypatch.setattr(instructions, "_CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    assert instructions.multiplies_bytes.__wrapped__() is found
