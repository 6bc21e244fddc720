"""Reading a finished model back, and training it further from the command line."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="export needs the extra [train]")
import onnx  # noqa: E402

from synthetic import make_card, tissue_like, write_convolutions, write_dataset  # noqa: E402
from wsi_segment.errors import ModelError, OutputError  # noqa: E402
from wsi_segment.export.finished_network import read_starting_point  # noqa: E402
from wsi_segment.export.graph import to_onnx  # noqa: E402
from wsi_segment.inference.engine.networks.onnx_network import OnnxNetwork  # noqa: E402
from wsi_segment.model.card import Model, find_model, sha256_of, write_card  # noqa: E402
from wsi_segment.model.data.loaders.manifest import read_dataset  # noqa: E402
from wsi_segment.model.training.progress import TrainingProgress  # noqa: E402
from wsi_segment.model.training.recipe import make_recipe  # noqa: E402
from wsi_segment.model.training.resnet import Head, SegmentationNetwork, Upsampling, normalise  # noqa: E402
from wsi_segment.model.training.run_folder import load_run, read_log  # noqa: E402
from wsi_segment.model.training.train import train  # noqa: E402
from wsi_segment.service.cli.main import main  # noqa: E402

SMALL = [
    *("--set", "segmentation_batch=2", "--set", "classification_batch=2", "--set", "patch=64", "--set", "jpeg=100"),
    *("--set", "validate_every=1"),
]


def varied_pixels() -> np.ndarray:
    """Noise, tissue, glass and ink: (4, 128, 128, 3)."""
    noise = np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    return np.stack([noise, tissue_like(128, 128, seed=2), np.full_like(noise, 255), np.full_like(noise, (20, 30, 90))])


def logits_of(network: SegmentationNetwork, pixels: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        found: np.ndarray = network(normalise(torch.from_numpy(pixels).permute(0, 3, 1, 2))).numpy()
    return found


def exported(folder: Path, network: SegmentationNetwork) -> Model:
    """A model folder with the graph of a network of two classes."""
    folder.mkdir()
    onnx.save(to_onnx(network), folder / "model.onnx")
    card = make_card(network.output_stride, "nearest").model_copy(
        update={
            "classes": make_card().classes[:2],
            "files": {"model.onnx": sha256_of(folder / "model.onnx")},
        }
    )
    write_card(card, folder)
    return find_model(folder)


@pytest.mark.parametrize(("head", "upsampling"), [("paper", "bilinear"), ("unet", "nearest")])
def test_each_architecture_is_read_back_from_its_graph(tmp_path: Path, head: Head, upsampling: Upsampling) -> None:
    torch.manual_seed(0)
    network = SegmentationNetwork(2, head, upsampling)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            for values in (module.bias, module.running_mean):
                torch.nn.init.normal_(values, std=0.1)
    exported(tmp_path / "model", network.eval())
    start = read_starting_point(str(tmp_path / "model"))
    assert (start.head, start.head_upsampling) == (head, upsampling)
    np.testing.assert_allclose(
        logits_of(start.network, varied_pixels()), logits_of(network, varied_pixels()), atol=1e-3, rtol=1e-4
    )


def test_the_bundled_model_gives_its_own_logits_before_the_first_further_step(tmp_path: Path) -> None:
    model = find_model("colorectal-biopsy")
    dataset = read_dataset(write_dataset(tmp_path))
    dataset = replace(dataset, classes=model.card.classes)
    recipe = make_recipe("fine-tune", {"patch": 64, "segmentation_batch": 2, "classification_batch": 2})

    def stop(progress: TrainingProgress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(dataset, tmp_path / "run", recipe, start=read_starting_point("colorectal-biopsy"), progress=stop)
    found = logits_of(load_run(tmp_path / "run").network, varied_pixels())
    np.testing.assert_allclose(found, OnnxNetwork(model, "cpu", "fp32")(varied_pixels()), atol=1e-4, rtol=0)


def test_a_run_and_its_model_are_trained_further_alike_and_the_card_says_from_what(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data").mkdir()
    data = write_dataset(tmp_path / "data")
    described = json.loads((data / "classes.json").read_text())
    (data / "classes.json").write_text(json.dumps(described | {"license": "CC0-1.0", "attribution": "first lab"}))
    first, model = str(tmp_path / "first"), str(tmp_path / "model")
    assert main(["train", str(data), "--out", first, "--recipe", "paper-0.1", "--steps", "1", *SMALL]) == 0
    assert main(["export", first, "--out", model]) == 0
    (data / "classes.json").write_text(json.dumps(described | {"license": "MIT", "attribution": "own lab", "mpp": 0.7}))
    capsys.readouterr()
    for start, out in ((first, "of-run"), (model, "of-model")):
        assert main(["train", str(data), "--from", start, "--out", str(tmp_path / out), "--steps", "2", *SMALL]) == 0
        said = capsys.readouterr()
        assert "before" in said.out
        assert "is learnt at 0.7 µm per pixel" in said.err
    rows = [read_log(tmp_path / out)[0] for out in ("of-run", "of-model")]
    assert rows[0]["step"] == 0
    assert rows[0]["val_macro_f1"] == pytest.approx(rows[1]["val_macro_f1"], abs=1e-3)
    assert main(["export", str(tmp_path / "of-model"), "--out", str(tmp_path / "further")]) == 0
    card = find_model(tmp_path / "further").card
    assert card.started_from == {"name": "model 0.1.0", "sha256": sha256_of(tmp_path / "model" / "model.onnx")}
    assert load_run(tmp_path / "of-model").described["recipe"]["head"] == "paper"
    assert "began with model 0.1.0 (" in card.training_data
    assert card.license == "MIT; of the weights that it began with: CC0-1.0"
    assert card.attribution == "own lab; first lab"
    assert load_run(tmp_path / "of-run").described["started_from"]["sha256"] == sha256_of(tmp_path / "first/best.pt")
    origin = read_starting_point(str(tmp_path / "of-run")).origin  # a third training names all that were before
    assert (origin.license, origin.attribution) == (card.license, card.attribution)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["--set", "head=unet"], "--set head: --from colorectal-biopsy settles it; leave it out"),
        (["--encoder-weights", "w.pt"], "give one of them"),
        ([], "its classes are stroma, tumour; colorectal-biopsy"),
    ],
)
def test_what_does_not_fit_a_finished_model_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], given: list[str], says: str
) -> None:
    command = ["train", str(write_dataset(tmp_path)), "--from", "colorectal-biopsy", "--out", str(tmp_path / "run")]
    assert main([*command, "--quiet", *given]) == 2
    said = capsys.readouterr().err
    assert says in said
    assert said.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_what_is_no_finished_network_of_ours_is_refused(tmp_path: Path) -> None:
    (tmp_path / "foreign").mkdir()
    write_convolutions(tmp_path / "foreign")
    with pytest.raises(ModelError, match="only models that it exported"):
        read_starting_point(str(tmp_path / "foreign"))
    with pytest.raises(ModelError, match="no such model"):
        read_starting_point(str(tmp_path / "nothing"))
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "run.json").write_text("{}")
    with pytest.raises(OutputError, match="no validated checkpoint yet"):
        read_starting_point(str(tmp_path / "begun"))


def test_a_graph_that_does_more_than_its_weights_say_is_refused(tmp_path: Path) -> None:
    shutil.copytree(find_model("colorectal-biopsy").folder, tmp_path / "model")
    path = tmp_path / "model" / "model.onnx"
    graph = onnx.load(path)
    relu = next(node for node in graph.graph.node if node.op_type == "Relu")
    relu.op_type = "Abs"
    onnx.save(graph, path)
    card = find_model(tmp_path / "model").card
    write_card(card.model_copy(update={"files": card.files | {"model.onnx": sha256_of(path)}}), tmp_path / "model")
    with pytest.raises(ModelError, match="train further from the run"):
        read_starting_point(str(tmp_path / "model"))
