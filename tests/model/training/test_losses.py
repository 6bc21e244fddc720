from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="training needs the extra [train]")

from wsi_segment.model.training.losses import (  # noqa: E402
    class_vector,
    classification_loss,
    filled_loss,
    segmentation_loss,
    soft_dice_loss,
)


def test_unlabelled_pixels_do_not_count() -> None:
    logits = torch.randn(1, 3, 4, 4)
    ids = torch.randint(1, 4, (1, 4, 4))
    half = ids.clone()
    half[:, :2] = 0
    for dice in (0.0, 0.5):
        expected = segmentation_loss(logits[:, :, 2:], ids[:, 2:], None, dice)
        assert torch.isclose(segmentation_loss(logits, half, None, dice), expected)


def test_soft_dice_by_hand() -> None:
    ids = torch.tensor([[[1, 2]]])
    sure = torch.tensor([[[[50.0, -50.0]], [[-50.0, 50.0]], [[-50.0, -50.0]]]])
    assert soft_dice_loss(sure, ids) == pytest.approx(0)
    assert soft_dice_loss(-sure[:, :2], ids) == pytest.approx(1)
    undecided = torch.zeros(1, 2, 1, 2)  # shared 0.5, sum 1 + 1 of each class
    assert soft_dice_loss(undecided, ids) == pytest.approx(0.5)
    assert soft_dice_loss(undecided, torch.zeros_like(ids)) == 0


def test_class_pooling_by_hand() -> None:
    logits = torch.tensor([[[[2.0, 0.0]], [[1.0, 3.0]]]])
    label = torch.tensor([1])
    assert torch.isclose(classification_loss(logits, label, "max"), torch.tensor([2.0, 3.0]).softmax(0)[0].log().neg())
    mean = logits.softmax(1)[0, 0].mean()
    assert torch.isclose(classification_loss(logits, label, "mean_softmax"), mean.log().neg())
    power = (logits.softmax(1) ** 3).mean(dim=(2, 3)) ** (1 / 3)
    assert torch.allclose(class_vector(logits, "generalised_mean", 3.0), power.log())
    lse = (torch.tensor([2.0, 0.0]) * 5).exp().mean().log() / 5
    assert torch.isclose(class_vector(logits, "log_sum_exp", 5.0)[0, 0], lse)


def test_sharp_poolings_end_at_the_maximum() -> None:
    logits = torch.randn(3, 4, 8, 8)
    assert torch.allclose(class_vector(logits, "log_sum_exp", 1e4), logits.amax(dim=(2, 3)), atol=1e-2)
    assert torch.allclose(class_vector(logits, "generalised_mean", 1.0), class_vector(logits, "mean_softmax", 9.0))


@pytest.mark.parametrize("pooling", ["max", "mean_softmax", "log_sum_exp", "generalised_mean"])
def test_a_class_that_no_label_speaks_of_is_left_alone(pooling: str) -> None:
    taught = torch.tensor([False, True, True])
    little, much = (torch.zeros(1, 3, 2, 2) for _ in range(2))
    much[0, 0, 0] = 9.0  # half of the patch is stroma, the other half undecided
    little[0, 0] = -9.0
    for logits in (little, much):
        loss = classification_loss(logits, torch.tensor([2]), pooling, sharpness=4.0, taught=taught)  # type: ignore[arg-type]
        assert loss == pytest.approx(torch.tensor(2.0).log().item())


def test_the_hardest_pixels_of_a_filled_patch_are_dropped() -> None:
    logits = torch.zeros(1, 2, 2, 5)
    logits[0, 0] = 3.0
    logits[0, 0, 0, :2] = -30.0  # two of ten pixels are surely something else
    easy = torch.log1p(torch.exp(torch.tensor(-3.0)))
    assert torch.isclose(filled_loss(logits, torch.tensor([1]), drop=0.2), easy)
    assert filled_loss(logits, torch.tensor([1])) > 6


def test_a_batch_without_a_labelled_pixel_teaches_nothing_and_breaks_nothing() -> None:
    logits = torch.randn(2, 3, 4, 4, requires_grad=True)
    loss = segmentation_loss(logits, torch.zeros(2, 4, 4, dtype=torch.int64), None, dice=0.5)
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == 0
    assert logits.grad is not None
    assert not logits.grad.any()
