from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch", reason="training needs the extra [train]")

from wsi_segment.model.augment import augment, colour_jitter  # noqa: E402
from wsi_segment.model.dataset import Dataset  # noqa: E402
from wsi_segment.model.errors import InputError, OutputError  # noqa: E402
from wsi_segment.model.losses import classification_loss, segmentation_loss  # noqa: E402
from wsi_segment.model.manifest import read_dataset  # noqa: E402
from wsi_segment.model.network import Encoder, SegmentationNetwork, load_encoder, normalise  # noqa: E402
from wsi_segment.model.recipe import RECIPES, Recipe, make_recipe  # noqa: E402
from wsi_segment.model.run_folder import load_run, read_log  # noqa: E402
from wsi_segment.model.sampling import draw_weights, make_pool  # noqa: E402
from wsi_segment.model.training import TrainingProgress, train  # noqa: E402

TINY = Recipe(
    learning_rate=1e-3, steps=4, segmentation_batch=2, classification_batch=2, validate_every=2, flip=True, shift=8
)
TINY_MODERN = replace(
    TINY, head="lateral", optimizer="adamw", schedule="one_cycle", pooling="mean_softmax", ema_decay=0.9
)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("dataset")
    rng = np.random.default_rng(0)
    rows = ["image,mask,label,group,split"]
    for index in range(6):
        mask = np.ones((128, 160), np.uint8)
        if index % 2 == 0:
            mask[:, 60:] = 2
        pixels = np.where(mask[..., None] == 2, (120, 60, 160), (230, 160, 200)) + rng.integers(-15, 16, (128, 160, 3))
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{index}.png")
        Image.fromarray(mask).save(folder / f"{index}_mask.png")
        rows.append(f"{index}.png,{index}_mask.png,,{index},{'train' if index < 4 else 'val'}")
    (folder / "manifest.csv").write_text("\n".join(rows))
    classes = [{"name": "stroma", "color": [9, 9, 9]}, {"name": "tumour", "color": [200, 0, 0]}]
    (folder / "classes.json").write_text(json.dumps({"classes": classes, "mpp": 0.5}))
    return read_dataset(folder)


def nobody(progress: TrainingProgress) -> None:
    """A watcher that does not look."""


def weights_of(run: Path) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(run / "last.pt", weights_only=True)["network"]
    return state


@pytest.mark.parametrize(
    "recipe",
    [
        TINY,
        replace(TINY, head="lateral", optimizer="adamw", schedule="one_cycle", pooling="mean_softmax", ema_decay=0.9),
    ],
    ids=["paper", "modern"],
)
def test_a_training_that_was_cut_off_ends_with_the_same_weights(
    dataset: Dataset, tmp_path: Path, recipe: Recipe
) -> None:
    train(dataset, tmp_path / "whole", recipe, 3, nobody)

    def cut_off(progress: TrainingProgress) -> None:
        if progress.step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(dataset, tmp_path / "cut", recipe, 3, cut_off)
    assert [row["step"] for row in read_log(tmp_path / "cut")] == [2]
    train(dataset, tmp_path / "cut", recipe, 3, nobody)
    whole, cut = weights_of(tmp_path / "whole"), weights_of(tmp_path / "cut")
    assert whole.keys() == cut.keys()
    assert all(torch.equal(whole[name], cut[name]) for name in whole)
    losses = [[row["segmentation_loss"] for row in read_log(tmp_path / run)] for run in ("whole", "cut")]
    assert losses[0] == losses[1]
    train(dataset, tmp_path / "another", recipe, 4, nobody)
    another = weights_of(tmp_path / "another")
    assert not all(torch.equal(whole[name], another[name]) for name in whole)


def test_a_run_folder_of_another_recipe_is_refused(dataset: Dataset, tmp_path: Path) -> None:
    train(dataset, tmp_path, replace(TINY, steps=2), 0, nobody)
    with pytest.raises(OutputError, match="another recipe"):
        train(dataset, tmp_path, TINY, 0, nobody)


def test_the_best_weights_come_with_what_they_are(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="no training run"):
        load_run(tmp_path)
    train(dataset, tmp_path, TINY, 0, nobody)
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


@pytest.mark.parametrize(("head", "cells"), [("paper", 16), ("lateral", 32)])
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


@pytest.mark.parametrize("prefix", ["", "module.", "model.resnet."])
def test_encoder_weights_load_with_any_prefix(prefix: str) -> None:
    source, target = Encoder(), Encoder()
    state = {prefix + name: value + 1 for name, value in source.state_dict().items()}
    state |= {f"{prefix}layer4.0.conv1.weight": torch.zeros(1), f"{prefix}fc.weight": torch.zeros(1)}
    assert "layer3.1.bn2.weight" in load_encoder(target, state)
    assert torch.equal(target.conv1.weight, source.conv1.weight + 1)
    with pytest.raises(KeyError, match="conv1"):
        load_encoder(target, {"something": torch.zeros(1)})


def test_unlabelled_pixels_do_not_count() -> None:
    logits = torch.randn(1, 3, 4, 4)
    ids = torch.randint(1, 4, (1, 4, 4))
    half = ids.clone()
    half[:, :2] = 0
    expected = segmentation_loss(logits[:, :, 2:], ids[:, 2:], None)
    assert torch.isclose(segmentation_loss(logits, half, None), expected)


def test_class_pooling_by_hand() -> None:
    logits = torch.tensor([[[[2.0, 0.0]], [[1.0, 3.0]]]])
    label = torch.tensor([1])
    assert torch.isclose(classification_loss(logits, label, "max"), torch.tensor([2.0, 3.0]).softmax(0)[0].log().neg())
    mean = logits.softmax(1)[0, 0].mean()
    assert torch.isclose(classification_loss(logits, label, "mean_softmax"), mean.log().neg())


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


def test_recipes_are_data() -> None:
    assert set(RECIPES) == {"paper", "modern"}
    assert make_recipe("paper", {"steps": 5}).steps == 5
    with pytest.raises(InputError, match="no field 'speed'"):
        make_recipe("paper", {"speed": 1})
    with pytest.raises(InputError, match="recipe 'old' is unknown"):
        make_recipe("old", {})
    with pytest.raises(InputError, match="balance is 2"):
        make_recipe("paper", {"balance": 2})
