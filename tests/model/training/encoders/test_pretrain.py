from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="training needs the extra [train]")

from synthetic import write_dataset  # noqa: E402
from wsi_segment.errors import InputError, OutputError  # noqa: E402
from wsi_segment.model.data.dataset import Dataset  # noqa: E402
from wsi_segment.model.data.loaders.manifest import read_dataset  # noqa: E402
from wsi_segment.model.training.encoders import pretrain as module  # noqa: E402
from wsi_segment.model.training.encoders.encoder_weights import read_encoder_weights  # noqa: E402
from wsi_segment.model.training.encoders.pretrain import Pretraining, PretrainingProgress, contrast, pretrain  # noqa: E402
from wsi_segment.model.training.recipe import Recipe  # noqa: E402
from wsi_segment.model.training.train import train  # noqa: E402

TINY = Pretraining(steps=3, batch=2)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return read_dataset(write_dataset(tmp_path_factory.mktemp("dataset")))


def same(first: Path, second: Path) -> bool:
    one, other = (read_encoder_weights(path) for path in (first, second))
    return all(torch.equal(one[name], other[name]) for name in one)


def test_a_pretraining_that_was_cut_off_ends_with_the_same_weights(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHECKPOINT_SECONDS", 0.0)
    whole = pretrain(dataset, tmp_path / "whole", TINY, seed=1)

    def stop(progress: PretrainingProgress) -> None:
        if progress.step == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pretrain(dataset, tmp_path / "cut", TINY, seed=1, progress=stop)
    assert not same(whole, tmp_path / "cut" / "encoder.pt")
    assert same(whole, pretrain(dataset, tmp_path / "cut", TINY, seed=1))
    assert not same(whole, pretrain(dataset, tmp_path / "other", TINY, seed=2))


def test_a_folder_of_another_pretraining_is_refused(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretrain(dataset, tmp_path / "run", replace(TINY, steps=1))
    with pytest.raises(OutputError, match="differs in its pretraining"):
        pretrain(dataset, tmp_path / "run", replace(TINY, steps=2))
    with pytest.raises(OutputError, match="differs in its seed"):
        pretrain(dataset, tmp_path / "run", replace(TINY, steps=1), seed=5)
    monkeypatch.setattr(module, "_VIEWS", {"flip": True})
    with pytest.raises(OutputError, match="differs in its views"):
        pretrain(dataset, tmp_path / "run", replace(TINY, steps=1))


def test_a_training_starts_from_its_weights(dataset: Dataset, tmp_path: Path) -> None:
    weights = read_encoder_weights(pretrain(dataset, tmp_path / "run", replace(TINY, steps=1)))
    recipe = Recipe(steps=1, segmentation_batch=2, classification_batch=2, learning_rate=1e-9)
    train(dataset, tmp_path / "train", recipe, encoder_weights=weights)
    started = torch.load(tmp_path / "train" / "last.pt", weights_only=True)["network"]
    torch.testing.assert_close(started["encoder.layer3.0.conv1.weight"], weights["layer3.0.conv1.weight"])


def test_partners_that_are_alike_cost_least() -> None:
    views = torch.nn.functional.normalize(torch.randn(8, 16, generator=torch.Generator().manual_seed(0)), dim=1)
    alike, found = contrast(views, views, 0.2)
    apart, lost = contrast(views, views.roll(1, 0), 0.2)
    assert alike < apart
    assert (found, lost) == (1.0, 0.0)


def test_impossible_choices_are_refused() -> None:
    with pytest.raises(InputError, match="two images"):
        Pretraining(batch=1)
    with pytest.raises(InputError, match="steps is 0"):
        Pretraining(steps=0)
