from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra [train]")

from synthetic import write_dataset  # noqa: E402
from wsi_segment.errors import DatasetError, InputError, OutputError  # noqa: E402
from wsi_segment.model.data.dataset import Dataset  # noqa: E402
from wsi_segment.model.data.loaders.manifest import read_dataset  # noqa: E402
from wsi_segment.model.data.patches import Patch, PatchKind, PatchPool, PatchReader, make_pool  # noqa: E402  # noqa: E402
from wsi_segment.model.training.augment import augment, colour_jitter, stain_jitter  # noqa: E402
from wsi_segment.model.training.device import CPU, training_device  # noqa: E402
from wsi_segment.model.training.label_shares import LabelSetting  # noqa: E402
from wsi_segment.model.training.mosaic import mosaic  # noqa: E402
from wsi_segment.model.training.progress import TrainingProgress  # noqa: E402
from wsi_segment.model.training.recipe import RECIPES, Recipe, make_recipe  # noqa: E402
from wsi_segment.model.training.resnet import Encoder, SegmentationNetwork, normalise  # noqa: E402
from wsi_segment.model.training.run_folder import load_run, read_log  # noqa: E402
from wsi_segment.model.training.sampling import Sampler, draw_weights  # noqa: E402
from wsi_segment.model.training.train import _moving_average, _Trainer, train  # noqa: E402

TINY = Recipe(
    learning_rate=1e-3, steps=4, segmentation_batch=2, classification_batch=2, validate_every=2, flip=True, shift=8
)
TINY_MODERN = replace(
    TINY, head="lateral", optimizer="adamw", schedule="one_cycle", pooling="mean_softmax", ema_decay=0.9
)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return read_dataset(write_dataset(tmp_path_factory.mktemp("dataset")))


def nobody(progress: TrainingProgress) -> None:
    """A watcher that does not look."""


def stop_at(step: int) -> Callable[[TrainingProgress], None]:
    """A watcher that ends a training after a step, as Ctrl-C does."""

    def stop(progress: TrainingProgress) -> None:
        if progress.step == step:
            raise KeyboardInterrupt

    return stop


def weights_of(run: Path) -> dict[str, Any]:
    """All that goes on being trained, and what is exported."""
    trained: dict[str, Any] = torch.load(run / "last.pt", weights_only=True)["network"]
    exported = torch.load(run / "best.pt", weights_only=True)["weights"]
    return trained | {f"exported {name}": value for name, value in exported.items()}


TINY_JOINT = replace(
    TINY_MODERN, update="joint", supervision="both", fill_drop=0.1, dice=0.5, stain=0.1, classification_patches="images"
)


@pytest.mark.parametrize("recipe", [TINY, TINY_MODERN, TINY_JOINT], ids=["paper", "modern", "joint"])
def test_a_training_that_was_cut_off_ends_with_the_same_weights(
    dataset: Dataset, tmp_path: Path, recipe: Recipe
) -> None:
    train(dataset, tmp_path / "whole", recipe, seed=3, progress=nobody)
    with pytest.raises(KeyboardInterrupt):
        train(dataset, tmp_path / "cut", recipe, seed=3, progress=stop_at(3))
    assert [row["step"] for row in read_log(tmp_path / "cut")] == [2]
    train(dataset, tmp_path / "cut", recipe, seed=3, progress=nobody)
    whole, cut = weights_of(tmp_path / "whole"), weights_of(tmp_path / "cut")
    assert whole.keys() == cut.keys()
    assert all(torch.equal(whole[name], cut[name]) for name in whole)
    losses = [[row["segmentation_loss"] for row in read_log(tmp_path / run)] for run in ("whole", "cut")]
    assert losses[0] == losses[1]
    train(dataset, tmp_path / "another", recipe, seed=4, progress=nobody)
    another = weights_of(tmp_path / "another")
    assert not all(torch.equal(whole[name], another[name]) for name in whole)


KILLED = """
import json, os, signal, sys
from pathlib import Path
from wsi_segment.model.data.loaders.manifest import read_dataset
from wsi_segment.model.training.recipe import make_recipe
from wsi_segment.model.training.train import train
def kill(progress):
    if progress.step == 3:
        os.kill(os.getpid(), signal.SIGKILL)
changes = {name: tuple(value) if isinstance(value, list) else value for name, value in json.loads(sys.argv[3]).items()}
train(read_dataset(Path(sys.argv[1])), Path(sys.argv[2]), make_recipe("paper", changes), seed=3, progress=kill)
"""


@pytest.mark.parametrize("recipe", [TINY, TINY_MODERN], ids=["paper", "modern"])
def test_a_training_that_was_killed_ends_with_the_same_weights(tmp_path: Path, recipe: Recipe) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    dataset = read_dataset(write_dataset(folder))
    train(dataset, tmp_path / "whole", recipe, seed=3, progress=nobody)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}  # as many threads, too
    command = [sys.executable, "-c", KILLED, str(folder), str(tmp_path / "cut"), json.dumps(asdict(recipe))]
    killed = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert killed.returncode == -9, killed.stderr
    assert [row["step"] for row in read_log(tmp_path / "cut")] == [2]
    train(dataset, tmp_path / "cut", recipe, seed=3, progress=nobody)
    whole, cut = weights_of(tmp_path / "whole"), weights_of(tmp_path / "cut")
    assert whole.keys() == cut.keys()
    assert all(torch.equal(whole[name], cut[name]) for name in whole)


def test_a_run_does_not_go_on_with_other_labels(dataset: Dataset, tmp_path: Path) -> None:
    train(dataset, tmp_path / "run", TINY, seed=3, progress=nobody)
    first, *rest = dataset.items
    changed = replace(dataset, items=(replace(first, label=3 - (first.label or 1)), *rest))
    with pytest.raises(OutputError, match="differs in its items"):
        train(changed, tmp_path / "run", TINY, seed=3, progress=nobody)


def test_labels_of_one_class_only_are_refused(dataset: Dataset, tmp_path: Path) -> None:
    same = replace(dataset, items=tuple(replace(item, label=1) for item in dataset.items))
    with pytest.raises(DatasetError, match="teaches nothing"):
        train(same, tmp_path / "run", replace(TINY, classification_patches="images"), seed=3, progress=nobody)
    train(
        same,
        tmp_path / "filled",
        replace(TINY, classification_patches="images", supervision="filled"),
        seed=3,
        progress=nobody,
    )


def test_a_training_goes_on_from_between_two_validations(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = replace(TINY_MODERN, validate_every=4)
    train(dataset, tmp_path / "whole", recipe, seed=3, progress=nobody)
    monkeypatch.setattr("wsi_segment.model.training.train.CHECKPOINT_SECONDS", 0.0)
    seen: list[int] = []

    def cut_off(progress: TrainingProgress) -> None:
        seen.append(progress.step)
        if seen == [1, 2]:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(dataset, tmp_path / "cut", recipe, seed=3, progress=cut_off)
    assert read_log(tmp_path / "cut") == []
    train(dataset, tmp_path / "cut", recipe, seed=3, progress=cut_off)
    assert seen == [1, 2, 3, 4]
    whole, cut = weights_of(tmp_path / "whole"), weights_of(tmp_path / "cut")
    assert all(torch.equal(whole[name], cut[name]) for name in whole)
    rows = [read_log(tmp_path / run)[0] | {"seconds": 0.0} for run in ("whole", "cut")]
    assert rows[0] == rows[1]


def test_a_training_that_cannot_begin_leaves_no_folder(dataset: Dataset, tmp_path: Path) -> None:
    only_train = replace(dataset, items=dataset.split("train"))
    with pytest.raises(DatasetError, match="no validation patch"):
        train(only_train, tmp_path / "run", TINY, seed=3, progress=nobody)
    assert not (tmp_path / "run").exists()


def test_averaged_weights_of_a_short_training_have_forgotten_where_it_began() -> None:
    update, average, now = _moving_average(0.99), [torch.zeros(3)], [torch.ones(3)]
    for count in range(1, 41):
        update(average, now, torch.tensor(count))
    assert average[0].min() > 0.99  # without a rising decay it would be 0.33
    steady = [torch.zeros(3)]
    update(steady, now, 10_000)
    assert torch.allclose(steady[0], torch.full((3,), 0.01))


def test_a_run_folder_of_another_recipe_is_refused(dataset: Dataset, tmp_path: Path) -> None:
    train(dataset, tmp_path, replace(TINY, steps=2), seed=0, progress=nobody)
    with pytest.raises(OutputError, match="differs in its recipe: steps is 2 there and 4 here; choose another `out`"):
        train(dataset, tmp_path, TINY, seed=0, progress=nobody)
    with pytest.raises(OutputError, match="differs in its setting"):
        train(dataset, tmp_path, replace(TINY, steps=2), seed=0, progress=nobody, setting=LabelSetting("S", 50))
    with pytest.raises(OutputError, match="differs in its encoder_weights"):
        train(
            dataset, tmp_path, replace(TINY, steps=2), seed=0, progress=nobody, encoder_weights=Encoder().state_dict()
        )


def test_the_best_weights_come_with_what_they_are(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="no training run"):
        load_run(tmp_path)
    train(dataset, tmp_path, TINY, seed=0, progress=nobody)
    run = load_run(tmp_path)
    best = max(read_log(tmp_path), key=lambda row: row["val_macro_f1"])
    assert run.row["val_macro_f1"] == best["val_macro_f1"]
    assert [entry.name for entry in run.classes] == ["stroma", "tumour"]
    assert run.patches.shape[1:] == (128, 128, 3)


def test_both_kinds_of_patches_are_found(dataset: Dataset) -> None:
    pool = make_pool(dataset, "train")
    assert len(pool.segmentation) == 4
    assert {patch.classes for patch in pool.classification} == {(1,)}


def test_balance_draws_rare_classes_more_often(dataset: Dataset) -> None:
    pool = make_pool(dataset, "train")
    patches = [*pool.segmentation, *pool.classification]
    assert draw_weights(patches, 0.0) == pytest.approx(np.full(len(patches), 1 / len(patches)))
    balanced = draw_weights(patches, 1.0)
    assert balanced[: len(pool.segmentation)].sum() == pytest.approx(0.5)


@pytest.mark.parametrize(("head", "cells"), [("paper", 16), ("lateral", 32), ("unet", 64)])
def test_logits_come_at_the_output_stride(head: Any, cells: int) -> None:
    network = SegmentationNetwork(7, head).eval()
    logits = network(torch.zeros(2, 3, 128, 128))
    assert logits.shape == (2, 7, cells, cells)
    assert network.full_size(logits).shape == (2, 7, 128, 128)


def test_the_paper_network_has_the_published_size() -> None:
    parameters = sum(p.numel() for p in SegmentationNetwork(4, "paper").parameters())
    assert parameters == pytest.approx(2.93e6, rel=0.01)


def test_white_glass_is_normalised_to_nothing() -> None:
    pixels = torch.tensor([255, 127, 0], dtype=torch.uint8)
    assert normalise(pixels).tolist() == [0.0, -1.0, -255 / 128]


def test_augmentation_moves_ids_with_pixels_and_can_be_repeated() -> None:
    ids = torch.randint(1, 3, (6, 16, 16))
    pixels = (ids[:, None] * 60.0).expand(-1, 3, -1, -1)
    plain = replace(TINY, jitter=(0, 0, 0, 0))
    moved, moved_ids = augment(pixels, ids, plain, torch.Generator().manual_seed(0))
    assert torch.equal(moved[:, 0], moved_ids * 60.0)
    assert not torch.equal(moved_ids, ids)
    again, _ = augment(pixels, ids, plain, torch.Generator().manual_seed(0))
    assert torch.equal(moved, again)


def test_jitter_stays_in_range_and_keeps_grey_grey() -> None:
    pixels = torch.rand(4, 3, 8, 8) * 255
    jittered = colour_jitter(pixels, (0.25, 0.75, 0.25, 0.04), torch.Generator().manual_seed(1))
    assert jittered.min() >= 0
    assert jittered.max() <= 255
    assert not torch.allclose(jittered, pixels)
    grey = torch.full((4, 3, 8, 8), 100.0)
    turned = colour_jitter(grey, (0, 0, 0, 0.5), torch.Generator().manual_seed(1))
    assert torch.allclose(turned, grey, atol=1.0)


def test_stain_jitter_changes_the_stain_and_stays_in_range() -> None:
    pixels = torch.rand(4, 3, 8, 8) * 255
    assert torch.equal(stain_jitter(pixels, 0.0, torch.Generator()), pixels)
    nothing = stain_jitter(pixels, 1e-9, torch.Generator().manual_seed(1))
    assert torch.allclose(nothing, pixels, atol=0.01)
    jittered = stain_jitter(pixels, 0.3, torch.Generator().manual_seed(1))
    assert jittered.min() >= 0
    assert jittered.max() <= 255
    assert not torch.allclose(jittered, pixels, atol=5)


def test_a_mosaic_has_each_tile_where_its_label_is() -> None:
    tiles = (np.full((128, 128, 3), 10, np.uint8), np.full((128, 128, 3), 200, np.uint8))
    for seed in range(20):
        pixels, ids = mosaic(tiles, (3, 5), np.random.default_rng(seed))
        assert set(np.unique(ids)) == {3, 5}
        np.testing.assert_array_equal(pixels[..., 0], np.where(ids == 3, 10, 200))


def test_mosaics_take_their_share_of_the_segmentation_batch(dataset: Dataset) -> None:
    whole = make_pool(dataset, "train", "images")
    recipe = replace(TINY, segmentation_batch=4, mosaic=0.5)
    segmentation, classification = Sampler(whole, PatchReader(dataset), recipe, 0).batches(0)
    assert (len(segmentation.pixels), len(classification.pixels)) == (4, 2)
    assert all(len(torch.unique(ids)) == 2 for ids in segmentation.ids[2:])


def test_a_kind_without_patches_leaves_its_places_to_the_other(dataset: Dataset) -> None:
    whole = make_pool(dataset, "train", "images")
    for pool in (PatchPool(whole.segmentation, ()), PatchPool((), whole.classification)):
        (batch,) = Sampler(pool, PatchReader(dataset), TINY, 0).batches(0)
        assert len(batch.pixels) == TINY.segmentation_batch + TINY.classification_batch


def test_labels_of_images_make_classification_patches_of_all_windows(dataset: Dataset) -> None:
    pool = make_pool(dataset, "train", "images")
    assert len(pool.segmentation) == len(pool.classification) == 8
    assert {patch.classes for patch in pool.classification} == {(1,), (2,)}
    assert pool.classification[0] == Patch(item=dataset.items[0], y=0, x=0, kind=PatchKind.CLASSIFICATION, classes=(2,))


def test_recipes_are_data() -> None:
    assert set(RECIPES) == {"paper", "paper-0.1", "modern", "fine-tune"}
    assert make_recipe("paper", {"steps": 5}).steps == 5
    with pytest.raises(InputError, match="no field 'learningrate'; did you mean learning_rate"):
        make_recipe("paper", {"learningrate": 1e-3})
    with pytest.raises(InputError, match="no field 'velocity'; the fields are: balance"):
        make_recipe("paper", {"velocity": 1})
    with pytest.raises(InputError, match="recipe 'old' is unknown"):
        make_recipe("old", {})
    with pytest.raises(InputError, match="balance is 2"):
        make_recipe("paper", {"balance": 2})
    with pytest.raises(InputError, match="head is 'vnet'; choose one of: paper, lateral, unet"):
        make_recipe("paper", {"head": "vnet"})
    with pytest.raises(InputError, match="steps is 'ten'; it must be like 3000"):
        make_recipe("paper", {"steps": "ten"})
    with pytest.raises(InputError, match="mosaic needs classification_patches=tiles"):
        make_recipe("paper-0.1", {"mosaic": 0.5, "classification_patches": "images"})
    with pytest.raises(InputError, match="fill_drop needs supervision=filled"):
        make_recipe("paper-0.1", {"fill_drop": 0.1})


def test_a_training_runs_on_cuda_where_pytorch_finds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert training_device("auto") == training_device("cpu") == CPU
    with pytest.raises(InputError, match=r"`device cuda`: .*use `device cpu`"):
        training_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert training_device("auto") == training_device("cuda") == torch.device("cuda")
    assert training_device("cpu") == CPU


@pytest.mark.parametrize("recipe", [TINY, TINY_MODERN, TINY_JOINT], ids=["paper", "modern", "joint"])
def test_all_that_a_step_needs_is_moved_to_its_device(dataset: Dataset, recipe: Recipe) -> None:
    """PyTorch's meta device computes nothing, but refuses tensors of another one as a GPU does."""
    weighted = replace(recipe, class_weights="inverse_frequency")
    trainer = _Trainer(dataset, weighted, seed=0, encoder_weights=None, setting=None, device=torch.device("meta"))
    assert {loss.device.type for loss in trainer.update(0)} == {"meta"}
    assert {value.device.type for value in trainer.state_dict()["network"].values()} == {"meta"}


needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch finds no CUDA device")


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A GPU that rounds as a CPU does; by default its convolutions are in TF32."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    return torch.device("cuda")


@needs_cuda
@pytest.mark.parametrize("recipe", [TINY, TINY_MODERN, TINY_JOINT], ids=["paper", "modern", "joint"])
def test_the_loss_on_a_gpu_is_that_of_the_cpu(dataset: Dataset, recipe: Recipe, cuda: Any) -> None:
    trainers = [
        _Trainer(dataset, recipe, seed=0, encoder_weights=None, setting=None, device=device) for device in (CPU, cuda)
    ]
    on_cpu, on_gpu = ([float(loss) for loss in trainer.update(0)] for trainer in trainers)
    before_any_update = 2 if recipe.update == "joint" else 1
    assert on_gpu[:before_any_update] == pytest.approx(on_cpu[:before_any_update], rel=1e-3)


def learnt(run: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Parameters of the network and of its average, and how many batches each normalisation has seen."""
    state: dict[str, Any] = torch.load(run / "last.pt", weights_only=True)
    both = {f"{part} {name}": value.cpu() for part in ("network", "average") for name, value in state[part].items()}
    return (
        {name: value for name, value in both.items() if name.endswith((".weight", ".bias"))},
        {name: value for name, value in both.items() if name.endswith("tracked")},
    )


@needs_cuda
def test_a_training_on_a_gpu_that_was_stopped_ends_as_one_that_was_not(
    dataset: Dataset, tmp_path: Path, cuda: Any
) -> None:
    def distance(one: dict[str, Any], other: dict[str, Any]) -> float:
        return float(sum((value.double() - other[name].double()).square().sum() for name, value in one.items()) ** 0.5)

    train(dataset, tmp_path / "whole", TINY_MODERN, seed=0, progress=nobody, device=cuda)
    with pytest.raises(KeyboardInterrupt):
        train(dataset, tmp_path / "stopped", TINY_MODERN, seed=0, progress=stop_at(3), device=cuda)
    checkpoint, _ = learnt(tmp_path / "stopped")
    train(dataset, tmp_path / "stopped", TINY_MODERN, seed=0, progress=nobody, device=cuda)
    (whole, whole_counts), (stopped, stopped_counts) = learnt(tmp_path / "whole"), learnt(tmp_path / "stopped")
    assert distance(stopped, whole) < 0.02 * distance(checkpoint, whole)
    assert stopped_counts == whole_counts


@needs_cuda
def test_a_training_goes_on_on_another_device(dataset: Dataset, tmp_path: Path, cuda: Any) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(dataset, tmp_path / "run", TINY_MODERN, seed=0, progress=stop_at(2), device=cuda)
    train(dataset, tmp_path / "run", TINY_MODERN, seed=0, progress=nobody)
    assert [int(row["step"]) for row in read_log(tmp_path / "run")] == [2, 4]
