from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="training needs the extra [train]")

from torch import Tensor  # noqa: E402

from synthetic import write_dataset  # noqa: E402
from wsi_segment.errors import DatasetError, OutputError  # noqa: E402
from wsi_segment.model.data.dataset import Dataset  # noqa: E402
from wsi_segment.model.data.loaders.manifest import read_dataset  # noqa: E402
from wsi_segment.model.training.progress import TrainingProgress  # noqa: E402
from wsi_segment.model.training.recipe import RECIPES  # noqa: E402
from wsi_segment.model.training.resnet import SegmentationNetwork  # noqa: E402
from wsi_segment.model.training.run_folder import load_run, read_log  # noqa: E402
from wsi_segment.model.training.starting_point import Origin, StartingPoint, measure_batch_norm  # noqa: E402
from wsi_segment.model.training.train import train  # noqa: E402

TINY = replace(
    RECIPES["fine-tune"], steps=4, segmentation_batch=2, classification_batch=2, validate_every=2, patch=64, jpeg=100
)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return read_dataset(write_dataset(tmp_path_factory.mktemp("dataset")))


@pytest.fixture(scope="module")
def start(dataset: Dataset) -> StartingPoint:
    torch.manual_seed(1)
    return StartingPoint(
        network=used(SegmentationNetwork(2, "unet")),
        head="unet",
        head_upsampling="nearest",
        patch=64,
        mpp=0.5,
        classes=dataset.classes,
        origin=Origin("old 1.0", "0" * 64, training_data="old images", license="MIT", attribution="their authors"),
    )


def used(network: SegmentationNetwork) -> SegmentationNetwork:
    """Give batch norm what it could have after a training: no scale of 1, no mean of 0."""
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            for values in (module.bias, module.running_mean):
                torch.nn.init.normal_(values)
            torch.nn.init.uniform_(module.running_var, 0.5, 2.0)
    return network.eval()


def largest(values: Tensor) -> float:
    return float(values.abs().max())


def stop_at(step: int) -> Any:
    def stop(progress: TrainingProgress) -> None:
        if progress.step == step:
            raise KeyboardInterrupt

    return stop


def test_measured_batch_norm_holds_the_inputs_statistics_and_changes_no_output(start: StartingPoint) -> None:
    network, inputs = copy.deepcopy(start.network), torch.randn(6, 3, 64, 64)
    measure_batch_norm(network, inputs.split(2))
    with torch.no_grad():
        expected = start.network(inputs)
        assert largest(network(inputs) - expected) < 1e-5 * largest(expected)
        # training, which divides by the statistics of its batch, sees what evaluation does
        assert largest(network.train()(inputs) - expected) < 1e-3 * largest(expected)
        assert largest(copy.deepcopy(start.network).train()(inputs) - expected) > 0.1 * largest(expected)


def test_it_begins_with_the_finished_network_and_keeps_it_until_another_is_better(
    dataset: Dataset, start: StartingPoint, tmp_path: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(dataset, tmp_path / "run", TINY, start=start, progress=stop_at(1))
    pixels = torch.randn(2, 3, 128, 128)
    with torch.no_grad():
        expected = start.network(pixels)
        assert largest(load_run(tmp_path / "run").network(pixels) - expected) < 1e-5 * largest(expected)
    train(dataset, tmp_path / "run", TINY, start=start)
    rows = read_log(tmp_path / "run")
    assert [row["step"] for row in rows] == [0, 2, 4]
    assert load_run(tmp_path / "run").row["val_macro_f1"] == max(row["val_macro_f1"] for row in rows)


def test_one_that_was_cut_off_ends_with_the_same_weights(
    dataset: Dataset, start: StartingPoint, tmp_path: Path
) -> None:
    train(dataset, tmp_path / "whole", TINY, seed=3, start=start)
    with pytest.raises(KeyboardInterrupt):
        train(dataset, tmp_path / "cut", TINY, seed=3, start=start, progress=stop_at(3))
    train(dataset, tmp_path / "cut", TINY, seed=3, start=start)
    whole, cut = (torch.load(tmp_path / run / "last.pt", weights_only=True)["average"] for run in ("whole", "cut"))
    assert all(torch.equal(whole[name], cut[name]) for name in whole)


def test_a_run_does_not_go_on_from_another_network(dataset: Dataset, start: StartingPoint, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(dataset, tmp_path / "run", TINY, start=start, progress=stop_at(1))
    other = replace(start, origin=replace(start.origin, sha256="1" * 64))
    for beginning in (other, None):
        with pytest.raises(OutputError, match=r"holds a run that differs in its (started_from|recipe: head)"):
            train(dataset, tmp_path / "run", TINY, start=beginning)


def test_other_classes_are_refused_in_one_line(dataset: Dataset, start: StartingPoint, tmp_path: Path) -> None:
    turned = replace(dataset, classes=dataset.classes[::-1])
    says = r"its classes are tumour, stroma; old 1\.0 has stroma, tumour: list all of these in this order"
    with pytest.raises(DatasetError, match=says):
        train(turned, tmp_path / "run", TINY, start=start)
    assert not (tmp_path / "run").exists()
