"""The paper's figures, from the result lines of an experiment."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from wsi_segment.files import replacing
from wsi_segment.model.experiments.experiment import Result
from wsi_segment.model.experiments.over_seeds import METRICS, over_seeds

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_Values = np.ndarray[tuple[int], np.dtype[np.float64]]

_MARKERS = {"S": "o", "S+C": "s", "S+C*": "^"}
_COLORS = {
    "paper": ("#0072B2", "#56B4E9", "#009E73"),
    "paper-0.1": ("#0072B2", "#56B4E9", "#009E73"),
    "modern": ("#D55E00", "#E69F00", "#CC79A7"),
}
_SHIFT_SCORES = {
    "macro_f1": ("macro F1", "#0072B2", "o"),
    "lesion_dice": ("lesion Dice", "#009E73", "s"),
    "calibration_error": ("calibration error", "#D55E00", "^"),
}
_STYLES = {"paper": "-", "paper-0.1": ":", "modern": "--"}
_OF_VARIANTS = tuple((0, dashes) for dashes in ((8, 2), (8, 2, 1, 2), (3, 1, 1, 1), (1, 4), (12, 4), (4, 4, 1, 4)))
"""Dashes of the curves of variants, in turn."""


def curve(
    results: list[Result], recipe: str, setting: str, metric: str, *, variant: str = ""
) -> list[tuple[float, float, float, int]]:
    """See :func:`over_seeds`; a curve of S+C ends in S at 100 %, which leaves no image for C."""
    of_curves = [line for line in results if line["experiment"] == "curve"]
    lines = [line for line in of_curves if (line["recipe"], line["variant"]) == (recipe, variant)]
    alike = [line for line in lines if line["setting"] == setting]
    if setting == "S+C" and alike:
        alike += [line for line in lines if line["setting"] == "S" and line["s"] == 100]
    return over_seeds(alike, metric)


def draw_figures(results: list[Result], beside: Path) -> list[Path]:
    """Draw F1 against s (absolute, and as a share of the recipe's own S at 100 %), accuracy against c, and ablations.

    Args:
        results: Lines of a result file.
        beside: The result file; pictures get its stem.

    Returns:
        What was drawn; a figure without any run is left out.
    """
    drawn = []
    for name, draw in (("curve", _draw_curves), ("accuracy", _draw_accuracy), ("ablation", _draw_ablation)):
        figure = draw(results)
        if figure is not None:
            path = beside.with_name(f"{beside.stem}-{name}.png")
            figure.savefig(path, dpi=110)
            drawn.append(path)
    return drawn


def load_matplotlib() -> None:
    """Import what draws, so that a lack of it shows before long work and not after it.

    Raises:
        ImportError: it is not installed.
    """
    _new_figure(1, 1)


def draw_shifts(kinds: dict[str, tuple[str, float]], rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw scores against the amount of each kind of shift, as PNG.

    Args:
        kinds: Title of each kind's axis, and the amount that changes nothing.
        rows: Scores by ``shift`` and ``amount``; the row without a shift is the unchanged point of every curve.
        path: The picture.
    """
    unchanged = [row for row in rows if row["shift"] is None]
    shown = [name for name in kinds if any(row["shift"] == name for row in rows)]
    figure = _new_figure(max(4.0, 3.2 * len(shown)), 4)
    for axes, name in zip(figure.subplots(1, len(shown), sharey=True, squeeze=False)[0], shown, strict=True):
        title, neutral = kinds[name]
        points = [row for row in rows if row["shift"] == name] + [row | {"amount": neutral} for row in unchanged]
        points.sort(key=lambda row: row["amount"])
        amounts = [row["amount"] for row in points]
        for key, (label, color, marker) in _SHIFT_SCORES.items():
            values = [np.nan if row[key] is None else row[key] for row in points]
            axes.plot(amounts, values, color=color, marker=marker, label=label)
        axes.axvline(neutral, color="0.6", linestyle=":", linewidth=1)
        axes.set(xlabel=title, ylim=(0, 1))
        axes.grid(alpha=0.3)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    with replacing(path, shared=True) as file:
        figure.savefig(file, dpi=110, format="png")


def _new_figure(width: float, height: float) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _draw_curves(results: list[Result]) -> Figure | None:
    found = {(r["recipe"], r["variant"]) for r in results if r["experiment"] == "curve"}
    recipes = sorted(
        (pair for pair in found if pair[0] in _COLORS), key=lambda pair: (list(_COLORS).index(pair[0]), pair)
    )
    if not recipes:
        return None
    varied = [pair for pair in recipes if pair[1]]
    figure = _new_figure(12, 7)
    axes = figure.subplots(2, len(METRICS), sharex=True)
    for column, (metric, title) in enumerate(METRICS.items()):
        for recipe, variant in recipes:
            style = _OF_VARIANTS[varied.index((recipe, variant)) % len(_OF_VARIANTS)] if variant else _STYLES[recipe]
            reference = {share: mean for share, mean, *_ in curve(results, recipe, "S", metric, variant=variant)}.get(
                100.0
            )
            for color, setting in zip(_COLORS[recipe], _MARKERS, strict=True):
                points = curve(results, recipe, setting, metric, variant=variant)
                if not points:
                    continue
                shares, means, deviations = (np.array(values) for values in list(zip(*points, strict=True))[:3])
                for row, whole in ((0, 1.0), (1, reference)):
                    if whole:
                        _plot_line(
                            axes[row][column],
                            (shares, means / whole, deviations / whole),
                            color=color,
                            style=style,
                            marker=_MARKERS[setting],
                            label=" ".join(filter(None, (recipe, variant, setting))),
                        )
        axes[0][column].set(title=title)
        axes[1][column].set(xlabel="s, % of the masks", xscale="symlog", xticks=[0, 1, 5, 10, 20, 50, 100])
        axes[1][column].set_xticklabels(["0", "1", "5", "10", "20", "50", "100"])
        axes[1][column].axhline(1, color="0.6", linestyle=":", linewidth=1)
    axes[0][0].set(ylabel="score on test")
    axes[1][0].set(ylabel="share of its own S at 100 %")
    for ax in axes.flat:
        ax.grid(alpha=0.3)
    figure.legend(*axes[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=6, frameon=False)
    return figure


def _plot_line(
    axes: Axes,
    points: tuple[_Values, _Values, _Values],
    *,
    color: str,
    style: str | tuple[int, tuple[int, ...]],
    marker: str,
    label: str,
) -> None:
    """Plot means with their standard deviations; ``points`` are shares, means and deviations."""
    x, y, deviation = points
    axes.errorbar(x, y, yerr=deviation, color=color, marker=marker, linestyle=style, capsize=3, label=label)


def _draw_accuracy(results: list[Result]) -> Figure | None:
    groups: dict[str, list[Result]] = defaultdict(list)
    for line in results:
        if line["setting"].startswith("S2") and line.get("image_accuracy") is not None:
            name = " ".join(filter(None, (line["recipe"], line["variant"], line["setting"])))
            groups[name].append(line)
    if len({line["s"] for lines in groups.values() for line in lines}) < 2:
        return None  # no curve yet
    figure = _new_figure(6, 4)
    axes = figure.subplots()
    for label, lines in groups.items():
        shares, means, deviations, _ = zip(*over_seeds(lines, "image_accuracy"), strict=True)
        axes.errorbar(shares, means, yerr=deviations, marker="o", capsize=3, label=label)
    axes.set(xlabel="c, % of the image-level labels", ylabel="accuracy of the image's class on test")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    return figure


def _draw_ablation(results: list[Result]) -> Figure | None:
    varied = [line for line in results if line["experiment"] == "ablation"]
    if not varied:
        return None
    groups: dict[str, list[Result]] = defaultdict(list)
    places = {(line["recipe"], line["setting"], line["s"], line["seed"]) for line in varied}
    for line in results:
        place = line["recipe"], line["setting"], line["s"], line["seed"]
        if line["experiment"] == "curve" and not line["variant"] and place in places:
            groups[f"{line['recipe']} {line['setting']} {line['s']:g} %"].append(line)
    for line in varied:
        groups[f"{line['recipe']} {line['setting']} {line['s']:g} %: {line['variant']}"].append(line)
    names = sorted(groups)
    figure = _new_figure(10, 1.2 + 0.35 * len(names))
    for axes, (metric, title) in zip(figure.subplots(1, 3, sharey=True), METRICS.items(), strict=True):
        means = [float(np.mean([line[metric] for line in groups[name]])) for name in names]
        bars = axes.barh(names, means, color="#56B4E9")
        axes.bar_label(bars, fmt="%.3f", padding=3)
        axes.set(title=title, xlim=(0, 1.25), xticks=[0, 0.5, 1])
        axes.invert_yaxis()
    return figure
