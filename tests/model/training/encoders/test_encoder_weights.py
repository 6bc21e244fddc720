from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="training needs the extra [train]")

from synthetic import write_dataset  # noqa: E402
from wsi_segment.errors import InputError  # noqa: E402
from wsi_segment.model.training.encoders.encoder_weights import read_encoder_weights  # noqa: E402
from wsi_segment.model.training.resnet import Encoder  # noqa: E402
from wsi_segment.service.cli.main import main  # noqa: E402


def saved(path: Path, content: Any) -> Path:
    torch.save(content, path)
    return path


def whole(prefix: str = "") -> dict[str, Any]:
    """A state dict of all of a ResNet-18's names that matter, one above the encoder's own values."""
    state = {prefix + name: value + 1 for name, value in Encoder().state_dict().items()}
    return state | {f"{prefix}layer4.0.conv1.weight": torch.zeros(1), f"{prefix}fc.weight": torch.zeros(1)}


@pytest.mark.parametrize("prefix", ["", "module.", "model.resnet.", "module.encoder_q."])
@pytest.mark.parametrize("within", [(), ("state_dict",), ("model",), ("teacher", "backbone")])
def test_weights_are_found_behind_any_prefix_and_in_any_dict(
    tmp_path: Path, prefix: str, within: tuple[str, ...]
) -> None:
    state = content = whole(prefix)
    for name in within:
        content = {"epoch": 3, name: content}
    read = read_encoder_weights(saved(tmp_path / "w.pt", content))
    encoder = Encoder()
    encoder.load_state_dict(read)
    assert torch.equal(encoder.conv1.weight, state[f"{prefix}conv1.weight"])
    assert torch.equal(read["layer3.1.bn2.running_var"], state[f"{prefix}layer3.1.bn2.running_var"])
    assert not [name for name in read if name.startswith(("layer4", "fc"))]


def test_of_two_encoders_the_first_is_taken_whole(tmp_path: Path) -> None:
    both = whole("q.") | {name: value * 0 for name, value in whole("k.").items()}
    read = read_encoder_weights(saved(tmp_path / "w.pt", both))
    assert torch.equal(read["layer1.0.conv1.weight"], both["q.layer1.0.conv1.weight"])


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"something": torch.zeros(1)}, "holds no conv1.weight"),
        ([1, 2], "holds no conv1.weight"),
        (whole() | {"conv1.weight": torch.zeros(64, 1, 7, 7)}, r"conv1.weight is \(64, 1, 7, 7\), not \(64, 3, 7, 7\)"),
        ({k: v for k, v in whole().items() if k != "layer2.0.conv1.weight"}, "lacks layer2.0.conv1.weight"),
    ],
)
def test_other_files_are_refused_in_one_line_that_names_the_file(tmp_path: Path, content: Any, says: str) -> None:
    path = saved(tmp_path / "w.pt", content)
    with pytest.raises(InputError, match=says) as caught:
        read_encoder_weights(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_training_refuses_files_that_are_no_weights(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "data").mkdir()
    command = ["train", str(write_dataset(tmp_path / "data")), "--out", str(tmp_path / "run"), "--encoder-weights"]
    (tmp_path / "text.pt").write_text("no weights")
    for name, says in (("text.pt", "not weights that torch can load safely"), ("none.pt", "no such file")):
        assert main([*command, str(tmp_path / name)]) == 2
        assert says in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_folder_and_weights_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a folder"):
        read_encoder_weights(tmp_path)
    state = Encoder().state_dict()
    state["conv1.weight"][0] = float("nan")
    torch.save(state, tmp_path / "encoder.pt")
    with pytest.raises(InputError, match=r"conv1\.weight holds values that are not numbers"):
        read_encoder_weights(tmp_path / "encoder.pt")
