"""The mean of the weights of networks that were trained further from one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="export needs the extra [train]")
import onnx  # noqa: E402
from onnx import numpy_helper  # noqa: E402

from synthetic import make_card, write_dataset  # noqa: E402
from wsi_segment.export.averaging import average, read_relatives  # noqa: E402
from wsi_segment.export.graph import to_onnx  # noqa: E402
from wsi_segment.model.card import Model, find_model, sha256_of, write_card  # noqa: E402
from wsi_segment.model.training.resnet import SegmentationNetwork  # noqa: E402
from wsi_segment.service.cli.main import main  # noqa: E402

SMALL = [
    *("--set", "segmentation_batch=2", "--set", "classification_batch=2", "--set", "patch=64", "--set", "jpeg=100"),
    *("--set", "validate_every=1", "--quiet"),
]
START = "0" * 64


def relative(folder: Path, seed: int, started_from: str = START) -> Model:
    """A model folder with a network of random weights and statistics, whose card says what it came from."""
    torch.manual_seed(seed)
    network = SegmentationNetwork(2, "paper")
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            for values in (module.bias, module.running_mean):
                torch.nn.init.normal_(values, std=0.1)
    folder.mkdir()
    onnx.save(to_onnx(network.eval()), folder / "model.onnx")
    card = make_card(network.output_stride, "nearest").model_copy(
        update={
            "name": folder.name,
            "classes": make_card().classes[:2],
            "files": {"model.onnx": sha256_of(folder / "model.onnx")},
            "started_from": {"name": "start 1", "sha256": started_from},
            "license": f"license {seed}",
            "attribution": "one lab",
            "metrics": {"selection": {"macro_f1": 0.5}},
        }
    )
    write_card(card, folder)
    return find_model(folder)


def weights_of(model: Model) -> dict[str, np.ndarray]:
    return {one.name: numpy_helper.to_array(one) for one in onnx.load(model.weights()).graph.initializer}


def test_every_weight_becomes_the_mean_and_figures_of_other_weights_go(tmp_path: Path) -> None:
    first, second = (relative(tmp_path / name, seed) for seed, name in enumerate(("first", "second")))
    before = [weights_of(first), weights_of(second)]
    mean = average(first, read_relatives(str(first.folder), [str(second.folder)]))
    found = weights_of(find_model(tmp_path / "first"))
    assert not np.allclose(before[0]["encoder.conv1.weight"], before[1]["encoder.conv1.weight"], atol=1e-3)
    for name, values in found.items():
        expected = np.mean([one[name] for one in before], axis=0)
        np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-6, err_msg=name)
    assert mean.card.averaged_with == ({"name": "second 1", "sha256": second.card.files["model.onnx"]},)
    assert mean.card.license == "license 0; of weights that it is averaged with: license 1"
    assert mean.card.attribution == "one lab"
    assert mean.card.metrics == {}


def test_the_mean_of_a_mean_names_all_that_it_was_made_of(tmp_path: Path) -> None:
    first, *others = (relative(tmp_path / name, seed) for seed, name in enumerate(("first", "second", "third")))
    for other in others:
        average(find_model(first.folder), read_relatives(str(first.folder), [str(other.folder)]))
    card = find_model(first.folder).card
    assert [one["name"] for one in card.averaged_with or ()] == ["second 1", "third 1"]
    assert card.attribution == "one lab"


def test_a_training_and_what_it_began_with_are_averaged_from_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data").mkdir()
    data = str(write_dataset(tmp_path / "data"))
    start, run, out = (str(tmp_path / name) for name in ("start", "run", "model"))
    assert main(["train", data, "--out", start, "--recipe", "paper-0.1", "--steps", "1", *SMALL]) == 0
    assert main(["train", data, "--from", start, "--out", run, "--steps", "1", *SMALL]) == 0
    capsys.readouterr()
    assert main(["export", run, "--average-with", start, "--out", out, "--smoothing-um", "36"]) == 0
    assert "weights are now the mean of its own and those of a training on" in capsys.readouterr().out
    card = find_model(out).card
    assert [one["sha256"] for one in card.averaged_with or ()] == [sha256_of(Path(start) / "best.pt")]
    assert card.training_data.count("averaged with") == 1
    assert card.started_from is not None
    assert (card.checked_window is not None, card.smoothing_um) == (True, 36)


def test_what_has_no_mean_is_refused_in_one_line_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    relative(tmp_path / "stranger", 0)
    out = tmp_path / "out"
    for other, says in (
        ("stranger", "not trained further from the network that colorectal-biopsy comes from"),
        ("../colorectal-biopsy", "no such model"),
    ):
        command = ["export", "colorectal-biopsy", "--average-with", str(tmp_path / other), "--out", str(out)]
        assert main(command) == 2
        said = capsys.readouterr().err
        assert says in said
        assert said.count("\n") == 1
    assert main(["export", "colorectal-biopsy", "--average-with", "colorectal-biopsy", "--out", str(out)]) == 2
    assert "named twice" in capsys.readouterr().err
    assert not out.exists()
