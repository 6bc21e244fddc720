from __future__ import annotations

import numpy as np
import pytest

from synthetic import SHARED, tissue_like
from wsi_segment.model.card import DEFAULT_MODEL, find_model
from wsi_segment.model.data.loaders.manifest import read_dataset
from wsi_segment.model.likeness import FEATURES, Profile, Vector, describe, fit_profile, profile_of

EBHI_SEG = SHARED / "ebhi-seg"


def features(seed: int, strength: float = 1.0, blurred: int = 0) -> Vector:
    pixels = tissue_like(300, 300, seed).astype(float)[38:262, 38:262]
    for _ in range(blurred):
        pixels = (pixels + np.roll(pixels, 1, 0) + np.roll(pixels, 1, 1) + np.roll(pixels, (1, 1), (0, 1))) / 4
    stained = 256 * ((pixels + 1) / 256) ** strength - 1
    found = describe(np.clip(stained, 0, 255).astype(np.uint8))
    assert found is not None
    return found


@pytest.fixture(scope="module")
def profile() -> Profile:
    return fit_profile([features(i) for i in range(40)], [features(i) for i in range(100, 140)], "made")


def test_what_is_like_the_training_images_passes(profile: Profile) -> None:
    assert sum(profile.is_unlike(features(i)) for i in range(200, 240)) <= 6


@pytest.mark.parametrize(("strength", "blurred"), [(0.4, 0), (2.0, 0), (1.0, 3)])
def test_another_stain_or_focus_is_told(profile: Profile, strength: float, blurred: int) -> None:
    assert all(profile.is_unlike(features(i, strength, blurred)) for i in range(200, 220))


def test_the_strength_of_the_stain_does_not_change_the_sharpness() -> None:
    place = FEATURES.index("sharpness")
    assert features(1, 0.5)[place] == pytest.approx(features(1)[place], abs=0.06)
    assert features(1, 1.0, blurred=2)[place] < features(1)[place] - 0.3


@pytest.mark.parametrize("pixels", [np.full((224, 224, 3), 243, np.uint8), np.zeros((20, 224, 3), np.uint8)])
def test_glass_and_slivers_tell_nothing(pixels: np.ndarray[tuple[int, int, int], np.dtype[np.uint8]]) -> None:
    assert describe(pixels) is None


def test_a_profile_survives_the_card_and_unknown_ones_are_none(profile: Profile) -> None:
    stated = profile.model_dump(mode="json")
    assert profile_of(stated) == profile
    for other in (None, {"anything": [1]}, stated | {"features": ["colour"]}, stated | {"newer": 1}):
        assert profile_of(other) is None


def test_too_few_images_are_no_profile() -> None:
    with pytest.raises(ValueError, match="too few"):
        fit_profile([features(1)] * 8, [features(2)], "made")


@pytest.mark.skipif(not EBHI_SEG.is_dir(), reason="EBHI-Seg is not at hand")
def test_the_bundled_model_knows_its_own_val_and_neither_pale_nor_blurred_copies_of_it() -> None:
    profile = profile_of(find_model(DEFAULT_MODEL).card.applicability)
    assert profile is not None
    dataset = read_dataset(EBHI_SEG, {})
    unlike = np.zeros(3)
    items = dataset.split("val")[::4]
    for item in items:
        pixels = dataset.read_image(item)
        pale = np.clip(256 * ((pixels.astype(float) + 1) / 256) ** 0.4 - 1, 0, 255).astype(np.uint8)
        soft = pixels.astype(float)
        for axis in (0, 0, 0, 1, 1, 1):  # about a Gaussian with a sigma of 1.4 pixels
            soft = (np.roll(soft, 1, axis) + soft + np.roll(soft, -1, axis)) / 3
        for place, shown in enumerate((pixels, pale, soft.astype(np.uint8))):
            found = describe(shown)
            unlike[place] += found is not None and profile.is_unlike(found)
    rates = unlike / len(items)
    assert rates[0] <= 0.05
    assert rates[1] >= 0.9
    assert rates[2] == 1
