"""Augmentations for slides of other laboratories: staining, focus, compression, pixel size."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

torch = pytest.importorskip("torch", reason="training needs the extra [train]")

from synthetic import write_dataset  # noqa: E402
from wsi_segment.errors import DatasetError, InputError  # noqa: E402
from wsi_segment.model.data.loaders.manifest import read_dataset  # noqa: E402
from wsi_segment.model.data.patches import PatchReader, make_pool  # noqa: E402
from wsi_segment.model.training.augment import augment, blur, colour_cast, compress, stain_strength  # noqa: E402
from wsi_segment.model.training.recipe import Recipe, make_recipe  # noqa: E402
from wsi_segment.model.training.sampling import Sampler  # noqa: E402


def seeded(seed: int = 0) -> Any:
    return torch.Generator().manual_seed(seed)


def optical_density(pixels: Any) -> Any:
    return -torch.log10((pixels + 1) / 256)


@pytest.fixture
def tissue() -> Any:
    """Eight patches of densities that no factor of the tests clips."""
    return 256 * 10 ** -(torch.rand(8, 3, 16, 16, generator=seeded(5)) * 0.3 + 0.1) - 1


@given(seed=st.integers(0, 2**31), low=st.floats(0.3, 1.0), high=st.floats(1.0, 1.25))
@settings(max_examples=25, deadline=None)
def test_density_multiplies_all_optical_density_of_a_patch_by_one_factor(seed: int, low: float, high: float) -> None:
    pixels = 256 * 10 ** -(torch.rand(8, 3, 6, 6, generator=seeded(seed)) * 0.3 + 0.1) - 1
    changed = stain_strength(pixels, (low, high), (1.0, 1.0), seeded(seed))
    factors = (optical_density(changed) / optical_density(pixels)).flatten(1)
    assert torch.allclose(factors, factors[:, :1].expand_as(factors), atol=2e-3)
    assert factors.min() >= low - 2e-3
    assert factors.max() <= high + 2e-3


def test_haematoxylin_and_eosin_are_changed_apart(tissue: Any) -> None:
    changed = stain_strength(tissue, (1.0, 1.0), (0.7, 1.3), seeded())
    factors = optical_density(changed) / optical_density(tissue)
    assert factors.flatten(2).std(dim=1).max() > 0.02  # red, green and blue differ, unlike under density alone
    assert torch.equal(stain_strength(tissue, (1.0, 1.0), (1.0, 1.0), seeded()), tissue)


def test_a_cast_is_one_factor_per_channel(tissue: Any) -> None:
    factors = (colour_cast(tissue, 0.1, seeded()) / tissue).flatten(2)
    assert torch.allclose(factors, factors[..., :1].expand_as(factors), atol=1e-4)
    assert factors.min() >= 0.9 - 1e-4
    assert factors.max() <= 1.1 + 1e-4
    assert len(torch.unique(factors[..., 0])) == factors[..., 0].numel()


def test_blur_is_the_gaussian_of_some_sigma_on_half_of_the_patches() -> None:
    pixels = torch.rand(64, 3, 24, 24, generator=seeded(1)) * 255
    changed = blur(pixels, 1.5, seeded(2))
    sharp = [torch.allclose(one, before, atol=1e-3) for one, before in zip(changed, pixels, strict=True)]
    assert 16 < sum(sharp) < 48
    blurred = sharp.index(False)
    sigmas = np.linspace(0.01, 1.5, 300)
    inside = slice(6, -6)
    errors = [
        np.abs(
            gaussian_filter(pixels[blurred, 0].numpy(), s, truncate=8)[inside, inside]
            - changed[blurred, 0].numpy()[inside, inside]
        ).max()
        for s in sigmas
    ]
    assert min(errors) < 1.0
    flat = torch.full((4, 3, 24, 24), 90.0)
    assert torch.allclose(blur(flat, 1.5, seeded()), flat, atol=1e-3)


def test_compression_leaves_the_traces_of_jpeg_on_half_of_the_patches() -> None:
    pixels = (torch.rand(64, 3, 16, 16, generator=seeded(1)) * 255).round()
    changed = compress(pixels, 40, seeded(2))
    same = [torch.equal(one, before) for one, before in zip(changed, pixels, strict=True)]
    assert 16 < sum(same) < 48
    assert changed.min() >= 0
    assert changed.max() <= 255
    assert torch.equal(compress(pixels, 100, seeded()), pixels)


def test_all_of_it_can_be_repeated_and_leaves_the_ids_alone() -> None:
    recipe = Recipe(density=(0.3, 1.25), stain_ratio=(0.7, 1.3), cast=0.1, blur=1.5, jpeg=40, rotate=False)
    pixels, ids = torch.rand(8, 3, 32, 32, generator=seeded(3)) * 255, torch.randint(0, 3, (8, 32, 32))
    first, first_ids = augment(pixels, ids, recipe, seeded(4))
    again, _ = augment(pixels, ids, recipe, seeded(4))
    assert torch.equal(first, again)
    assert torch.equal(first_ids, ids)
    assert not torch.allclose(first, pixels, atol=5)


def test_patches_are_enlarged_within_their_range(tmp_path_factory: pytest.TempPathFactory) -> None:
    dataset = read_dataset(write_dataset(tmp_path_factory.mktemp("scaled")))
    reader, patch = PatchReader(dataset), make_pool(dataset, "train").segmentation[0]
    image = dataset.read_image(patch.item)
    plain, ids = reader.read(patch)
    np.testing.assert_array_equal(plain, image[patch.y : patch.y + 128, patch.x : patch.x + 128])
    doubled, doubled_ids = reader.read(patch, scale=2.0)
    assert doubled.shape == (128, 128, 3)
    np.testing.assert_array_equal(doubled_ids, np.kron(ids[32:96, 32:96], np.ones((2, 2), np.uint8)))
    middle, _ = reader.read(patch, side=64)
    np.testing.assert_array_equal(middle, plain[32:96, 32:96])
    whole, _ = reader.read(patch, scale=0.01)  # no more than there is
    assert whole.shape == (128, 128, 3)
    with pytest.raises(DatasetError, match="less than a patch of 512 px"):
        reader.read(patch, side=512)


def test_patches_of_another_side_are_drawn_for_both_kinds(tmp_path_factory: pytest.TempPathFactory) -> None:
    dataset = read_dataset(write_dataset(tmp_path_factory.mktemp("larger")))
    recipe = Recipe(patch=112, scale=(0.8, 1.25), segmentation_batch=3, classification_batch=2)
    batches = Sampler(make_pool(dataset, "train"), PatchReader(dataset), recipe, 0).batches(0)
    assert {batch.pixels.shape[1:] for batch in batches} == {(3, 112, 112)}
    assert {batch.ids.shape[1:] for batch in batches} == {(112, 112)}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"patch": 130}, "patch is 130; it must be a multiple of 16"),
        ({"density": (1.2, 0.4)}, "density is .*; it must be two factors, the smaller first"),
        ({"scale": (0.7,)}, "scale is .*; it must be two factors"),
        ({"jpeg": 0}, "jpeg must lie between 1 and 100"),
        ({"blur": -1.0}, "must not be negative"),
        ({"cast": 2.0}, "cast is 2.0; it must lie between 0 and 1"),
        ({"mosaic": 0.5, "patch": 160}, "mosaic needs patch=128"),
    ],
)
def test_augmentations_out_of_range_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make_recipe("modern", changes)


def test_recipes_without_them_draw_as_they_always_did() -> None:
    """A training of an earlier version goes on with the batches that it would have had."""
    pixels, ids = torch.rand(4, 3, 16, 16, generator=seeded(6)) * 255, torch.ones(4, 16, 16, dtype=torch.int64)
    recipe = replace(Recipe(), stain=0.15)
    ours, _ = augment(pixels, ids, recipe, seeded(7))
    assert float(ours.double().sum()) == pytest.approx(EARLIER_SUM, rel=1e-6)


EARLIER_SUM = 445681.3816320896
"""Of the augmented pixels, computed by version 0.1.0."""
