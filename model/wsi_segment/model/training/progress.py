"""What a training reports while it runs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TrainingProgress:
    """How far a training is, reported after each step.

    >>> TrainingProgress(1, 400, 0.9, 0.5, val_macro_f1=None).steps
    400
    """

    step: int
    """Number of the last finished step."""
    steps: int
    """Number of steps in all."""
    segmentation_loss: float
    """Loss of this step."""
    classification_loss: float
    """Loss of this step."""
    val_macro_f1: float | None
    """Macro F1 of the newest validation; None before the first one."""
