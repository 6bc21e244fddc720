"""A picture of a training run: losses and validation scores against steps."""

from __future__ import annotations

from pathlib import Path

from wsi_segment.model.training.run_folder import read_log

CURVES_FILE = "curves.png"


def draw_curves(run: Path) -> Path:
    """Draw ``curves.png`` from the log of a run folder."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = read_log(run)
    steps = [row["step"] for row in rows]
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    losses, scores = figure.subplots(1, 2)
    for key in ("segmentation_loss", "classification_loss"):
        losses.plot(steps, [row[key] for row in rows], marker=".", label=key.replace("_", " "))
    for key in ("val_macro_f1", "val_micro_f1", "val_lesion_dice"):
        scores.plot(steps, [row[key] for row in rows], marker=".", label=key.removeprefix("val_").replace("_", " "))
    best = max(rows, key=lambda row: row["val_macro_f1"])
    scores.axvline(best["step"], color="0.7", linestyle=":", label="best macro F1")
    losses.set(xlabel="step", ylabel="mean training loss", ylim=(0, None))
    scores.set(xlabel="step", ylabel="score on val", ylim=(0, 1))
    for axes in (losses, scores):
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
    path = run / CURVES_FILE
    figure.savefig(path, dpi=120)
    return path
