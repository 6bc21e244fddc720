from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("torch", reason="training needs the extra [train]")

from wsi_segment.errors import InputError
from wsi_segment.model.data.dataset import Item
from wsi_segment.model.data.patches import Patch, PatchKind, PatchPool, PatchSource
from wsi_segment.model.training.label_shares import LabelSetting, draw_subset

IMAGES = [
    Item(image=Path(f"{i}.png"), mask=Path(f"{i}_mask.png"), label=2 + i % 3, group=str(i), split="train")
    for i in range(90)
]


def patches(kind: PatchKind, windows: int = 2) -> tuple[Patch, ...]:
    def classes(item: Item) -> tuple[int, ...]:
        label = item.label or 0
        return (label,) if kind is PatchKind.CLASSIFICATION else (1, label)

    return tuple(
        Patch(item=item, y=0, x=x, kind=kind, classes=classes(item)) for item in IMAGES for x in range(windows)
    )


POOL = PatchPool(patches(PatchKind.SEGMENTATION), patches(PatchKind.CLASSIFICATION))
sources = st.sampled_from(["tiles", "images"])


def images(chosen: tuple[Patch, ...]) -> set[Item]:
    return {patch.item for patch in chosen}


@given(st.sampled_from(["S", "S+C", "S+C*"]), st.floats(0, 100), st.integers(0, 5), sources)
def test_a_setting_leaves_its_shares_and_one_of_every_class(
    name: str, share: float, seed: int, source: PatchSource
) -> None:
    drawn = draw_subset(POOL, LabelSetting(name, share), seed, source)  # type: ignore[arg-type]
    assert {patch.item.label for patch in drawn.pool.segmentation} == {2, 3, 4}
    assert drawn.segmentation_percent == pytest.approx(share, abs=3.4)
    if name == "S":
        assert not drawn.pool.classification
    elif name == "S+C*":
        assert drawn.pool.classification == POOL.classification
    else:
        assert drawn.classification_percent == pytest.approx(100 - share, abs=3.4)
        if source == "images":
            assert not images(drawn.pool.classification) & images(drawn.pool.segmentation)


@given(st.floats(0, 100), st.floats(0, 100), st.integers(0, 5), sources)
def test_a_larger_share_holds_the_smaller_one(one: float, other: float, seed: int, source: PatchSource) -> None:
    small, large = (draw_subset(POOL, LabelSetting("S", share), seed, source).pool for share in sorted((one, other)))
    assert set(small.segmentation) <= set(large.segmentation)


def test_images_are_drawn_with_all_their_windows_and_by_seed() -> None:
    first, again, other = (
        draw_subset(POOL, LabelSetting("S", 20), seed, "images").pool.segmentation for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other
    assert len(first) == 2 * len(images(first))


@pytest.mark.parametrize(
    ("name", "segmentation", "classification"), [("S2+C2", 60, 20), ("S2+C2*", 60, 50), ("S2*+C2", 100, 20)]
)
def test_the_settings_over_c(name: str, segmentation: float, classification: float) -> None:
    drawn = draw_subset(POOL, LabelSetting(name, 20), 0, "tiles")  # type: ignore[arg-type]
    assert drawn.segmentation_percent == segmentation
    assert drawn.classification_percent == classification


@pytest.mark.parametrize(
    ("name", "share", "says"), [("S", 101, "between 0 and 100"), ("S2+C2", 60, "between 0 and 50"), ("T", 5, "unknown")]
)
def test_an_impossible_setting_is_refused(name: str, share: float, says: str) -> None:
    with pytest.raises(InputError, match=says):
        LabelSetting(name, share)  # type: ignore[arg-type]
