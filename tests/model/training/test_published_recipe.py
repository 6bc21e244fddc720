"""The paper's recipe as published: what its text and its authors' code say, point by point."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="training needs the extra [train]")

from torch.nn import functional  # noqa: E402

from synthetic import write_dataset  # noqa: E402
from wsi_segment.errors import InputError, OutputError  # noqa: E402
from wsi_segment.model.data.dataset import Dataset  # noqa: E402
from wsi_segment.model.data.loaders.manifest import read_dataset  # noqa: E402
from wsi_segment.model.data.patches import PatchKind, PatchPool, PatchReader, make_pool  # noqa: E402
from wsi_segment.model.training.label_shares import LabelSetting  # noqa: E402
from wsi_segment.model.training.objective import Objective  # noqa: E402
from wsi_segment.model.training.progress import TrainingProgress  # noqa: E402
from wsi_segment.model.training.recipe import RECIPES, Recipe, make_recipe  # noqa: E402
from wsi_segment.model.training.resnet import SegmentationNetwork  # noqa: E402
from wsi_segment.model.training.run_folder import load_run, read_log  # noqa: E402
from wsi_segment.model.training.sampling import Batch, Sampler, inverse_label_frequency  # noqa: E402
from wsi_segment.model.training.train import train  # noqa: E402

TINY = make_recipe("paper", {"segmentation_batch": 2, "classification_batch": 2, "epochs": 2, "validate_every": 2})


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return read_dataset(write_dataset(tmp_path_factory.mktemp("dataset")))


def nobody(progress: TrainingProgress) -> None:
    """A watcher that does not look."""


def test_a_pass_holds_every_patch_once_in_an_order_of_its_own(dataset: Dataset) -> None:
    pool = make_pool(dataset, "train", "images")
    count = len(pool.segmentation) + len(pool.classification)
    recipe = replace(TINY, segmentation_batch=1, classification_batch=1)
    sampler = Sampler(pool, PatchReader(dataset), recipe, 0)
    assert sampler.steps_per_epoch == count // 2
    orders = []
    for turn in range(2):
        drawn = [batch for step in range(count // 2) for batch in sampler.batches(turn * (count // 2) + step)]
        kinds = Counter(batch.kind for batch in drawn for _ in batch.labels)
        assert kinds == {
            PatchKind.SEGMENTATION: len(pool.segmentation),
            PatchKind.CLASSIFICATION: len(pool.classification),
        }
        orders.append([float(batch.pixels.sum()) for batch in drawn])
    assert orders[0] != orders[1]


def test_a_step_draws_the_same_patches_whatever_was_drawn_before(dataset: Dataset) -> None:
    pool = make_pool(dataset, "train", "images")
    one, other = (Sampler(pool, PatchReader(dataset), TINY, 3) for _ in range(2))
    for step in range(7):
        one.batches(step)
    again, first = one.batches(5), other.batches(5)
    assert [batch.kind for batch in again] == [batch.kind for batch in first]
    assert all(torch.equal(a.pixels, b.pixels) for a, b in zip(again, first, strict=True))


def test_one_loss_counts_all_pixels_and_one_all_class_vectors() -> None:
    torch.manual_seed(0)
    network = SegmentationNetwork(3, "paper", "bilinear")
    ids = torch.ones(2, 16, 16, dtype=torch.int64)
    ids[0, :12], ids[1, 0, 0] = 3, 0  # class 3 is the most frequent of the first patch, class 1 of the second
    masks = Batch(PatchKind.SEGMENTATION, torch.zeros(2, 3, 16, 16), ids, torch.tensor([1, 1]))
    labels = Batch(PatchKind.CLASSIFICATION, torch.zeros(1, 3, 16, 16), torch.zeros_like(ids[:1]), torch.tensor([2]))
    logits = [torch.randn(2, 3, 2, 2), torch.randn(1, 3, 2, 2)]
    pixel_weights, label_weights = torch.tensor([0.5, 2.0, 1.0]), torch.tensor([1.0, 3.0, 0.25])
    objective = Objective(TINY, pixel_weights=pixel_weights, label_weights=label_weights, taught=None)
    pixels, vectors = objective.of_mixed([masks, labels], logits, network, labelled=True)
    every = torch.cat(logits)
    filled = torch.cat((ids, torch.full((1, 16, 16), 2)))
    expected = functional.cross_entropy(network.full_size(every), filled - 1, pixel_weights, ignore_index=-1)
    assert torch.isclose(pixels, expected)
    assert vectors is not None
    assert torch.isclose(
        vectors, functional.cross_entropy(every.amax(dim=(2, 3)), torch.tensor([3, 1, 2]) - 1, label_weights)
    )


def test_without_labels_the_vectors_teach_nothing() -> None:
    network = SegmentationNetwork(2, "paper", "bilinear")
    masks = Batch(
        PatchKind.SEGMENTATION, torch.zeros(1, 3, 16, 16), torch.ones(1, 16, 16, dtype=torch.int64), torch.tensor([1])
    )
    objective = Objective(TINY, pixel_weights=None, label_weights=None, taught=None)
    _, vectors = objective.of_mixed([masks], [torch.randn(1, 2, 2, 2)], network, labelled=False)
    assert vectors is None


def test_a_class_that_no_image_is_labelled_with_has_no_vector() -> None:
    network = SegmentationNetwork(2, "paper", "bilinear")
    ids = torch.ones(1, 16, 16, dtype=torch.int64)
    masks = Batch(PatchKind.SEGMENTATION, torch.zeros(1, 3, 16, 16), ids, torch.tensor([1]))
    taught = torch.tensor([False, True])
    objective = Objective(TINY, pixel_weights=None, label_weights=None, taught=taught)
    _, vectors = objective.of_mixed([masks], [torch.randn(1, 2, 2, 2)], network, labelled=True)
    assert vectors == 0


def test_weights_of_the_classification_loss_are_inverse_to_the_number_of_patches(dataset: Dataset) -> None:
    patch = make_pool(dataset, "train", "images").classification[0]
    labels = [replace(patch, classes=(class_id,)) for class_id in (1, 1, 1, 3)]
    weights = inverse_label_frequency(PatchPool((), tuple(labels)), 3)
    assert weights.tolist() == pytest.approx([0.5, 0.0, 1.5])


def test_the_published_head_aligns_the_corners_of_its_map() -> None:
    torch.manual_seed(0)
    nearest = SegmentationNetwork(2, "paper").eval()
    bilinear = SegmentationNetwork(2, "paper", "bilinear").eval()
    bilinear.load_state_dict(nearest.state_dict())
    pixels = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        rough, smooth = nearest(pixels), bilinear(pixels)
    corners = (slice(None), slice(None), slice(None, None, 7), slice(None, None, 7))
    assert torch.allclose(rough[corners], smooth[corners], atol=1e-5)
    assert not torch.allclose(rough, smooth)


@pytest.mark.parametrize("setting", [None, LabelSetting("S", 50)], ids=["all", "masks alone"])
def test_a_training_as_published_counts_passes_and_can_be_loaded(
    dataset: Dataset, tmp_path: Path, setting: LabelSetting | None
) -> None:
    told: list[TrainingProgress] = []
    recipe = replace(TINY, classification_patches="images")
    train(dataset, tmp_path, recipe, seed=1, progress=told.append, setting=setting)
    patches = (4 + 0) // 2 if setting else 16
    assert told[-1].step == told[-1].steps == 2 * max(1, patches // 4)
    assert read_log(tmp_path)
    run = load_run(tmp_path)
    assert run.network.head.state_dict().keys() == SegmentationNetwork(2, "paper", "bilinear").head.state_dict().keys()


def test_a_training_as_published_that_was_cut_off_ends_with_the_same_weights(dataset: Dataset, tmp_path: Path) -> None:
    recipe = replace(TINY, classification_patches="images")

    def stop(progress: TrainingProgress) -> None:
        if progress.step == 5:
            raise KeyboardInterrupt

    train(dataset, tmp_path / "whole", recipe, seed=3, progress=nobody)
    with pytest.raises(KeyboardInterrupt):
        train(dataset, tmp_path / "cut", recipe, seed=3, progress=stop)
    train(dataset, tmp_path / "cut", recipe, seed=3, progress=nobody)
    ends = [torch.load(tmp_path / run / "last.pt", weights_only=True)["network"] for run in ("whole", "cut")]
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


def test_steps_that_are_given_take_the_place_of_passes() -> None:
    assert RECIPES["paper"].epochs == 90
    assert make_recipe("paper", {"steps": 7}).epochs == 0
    assert make_recipe("paper", {"epochs": 2}).epochs == 2


@pytest.mark.parametrize("change", [{"balance": 0.5}, {"dice": 0.5}, {"mosaic": 0.5}])
def test_mixed_batches_take_patches_as_they_come(change: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="update=mixed takes patches as they come"):
        make_recipe("paper", change)


def test_a_run_of_an_earlier_version_goes_on_under_its_old_recipe(dataset: Dataset, tmp_path: Path) -> None:
    """Its description lacks the fields that came later; without them the recipe is what it was."""
    changes = {"steps": 2, "segmentation_batch": 2, "classification_batch": 2, "validate_every": 1}
    train(dataset, tmp_path, make_recipe("paper-0.1", changes), seed=0, progress=nobody)
    described = json.loads((tmp_path / "run.json").read_text())
    later = ("head_upsampling", "patch", "epochs", "density", "stain_ratio", "cast", "blur", "jpeg", "scale")
    for name in later:
        del described["recipe"][name]
    (tmp_path / "run.json").write_text(json.dumps(described))
    train(dataset, tmp_path, make_recipe("paper-0.1", changes), seed=0, progress=nobody)
    assert load_run(tmp_path).row["step"] in (1, 2)
    with pytest.raises(OutputError, match="its recipe: head_upsampling is nearest there and bilinear here"):
        train(dataset, tmp_path, make_recipe("paper", changes), seed=0, progress=nobody)


def test_every_field_of_the_earlier_paper_recipe_is_at_its_default() -> None:
    assert RECIPES["paper-0.1"] == Recipe()
