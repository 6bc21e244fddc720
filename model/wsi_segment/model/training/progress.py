"""What a training tells those who watch it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TrainingProgress:
    """How far a training is, told after each step.

    >>> TrainingProgress(1, 400, 0.9, 0.5, val_macro_f1=None).steps
    400
    """

    step: int
    """The last one that is finished."""
    steps: int
    """In all."""
    segmentation_loss: float
    """Of this step."""
    classification_loss: float
    """Of this step."""
    val_macro_f1: float | None
    """Of the newest validation, None before the first."""
