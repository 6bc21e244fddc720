"""The figures' numbers as a page of Markdown tables, from the result lines of an experiment."""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan
from pathlib import Path

from wsi_segment.model.experiments.experiment import Result
from wsi_segment.model.experiments.over_seeds import METRICS, over_seeds
from wsi_segment.model.training.label_shares import SETTINGS

_ABLATION = (
    {"val_macro_f1": "macro F1 on val"} | METRICS | {"image_accuracy": "image's class", "calibration_error": "ECE"}
)


def write_tables(results: list[Result], beside: Path, pictures: Sequence[Path] = ()) -> Path:
    """Write a page with the numbers of every run: mean ± standard deviation over seeds (how many, if not one).

    Args:
        results: Lines of a result file.
        beside: The result file; the page gets its stem.
        pictures: Figures to be shown on the page, from the same folder.
    """
    parts = [f"# {beside.stem}", *(f"![{path.stem}]({path.name})" for path in pictures)]
    curves = [line for line in results if line["experiment"] == "curve"]
    for metric, title in METRICS.items():
        parts += _by_share(curves, metric, f"{title} by share of the masks", "s, %")
    accuracy = [line for line in results if line["setting"].startswith("S2")]
    parts += _by_share(accuracy, "image_accuracy", "Accuracy of the image's class by share of the labels", "c, %")
    parts += _ablations(results)
    path = beside.with_suffix(".md")
    path.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    return path


def _by_share(lines: list[Result], metric: str, title: str, share: str) -> list[str]:
    columns = sorted({_column(line) for line in lines}, key=_paper_first)
    if not columns:
        return []
    cells = {
        column: {
            s: _mean(mean, deviation, seeds)
            for s, mean, deviation, seeds in over_seeds((line for line in lines if _column(line) == column), metric)
        }
        for column in columns
    }
    rows = [
        [f"{s:g}", *(cells[column].get(s, "") for column in columns)] for s in sorted({line["s"] for line in lines})
    ]
    return [f"## {title}", _table([share, *(" ".join(filter(None, column)) for column in columns)], rows)]


def _column(line: Result) -> tuple[str, str, str]:
    """Return recipe, variant and setting; trainings that differ in one of them are not seeds of each other."""
    return line["recipe"], line["variant"], line["setting"]


def _paper_first(column: tuple[str, str, str]) -> tuple[bool, str, str, int]:
    recipe, variant, setting = column
    return not recipe.startswith("paper"), recipe, variant, SETTINGS.index(setting)


def _ablations(results: list[Result]) -> list[str]:
    """List every variant below the run that it varies, which differs from it in nothing else."""
    rows = []
    varied = [line for line in results if line["experiment"] == "ablation"]
    places = dict.fromkeys((line["recipe"], line["setting"], line["s"], line["seed"]) for line in varied)
    for place in sorted(places, key=lambda place: _paper_first((place[0], "", place[1]))):
        recipe, setting, share, seed = place
        same = [line for line in results if (line["recipe"], line["setting"], line["s"], line["seed"]) == place]
        same = [line for line in same if line["experiment"] == "ablation" or not line["variant"]]
        for line in sorted(same, key=lambda line: line["experiment"] == "ablation"):
            name = line["variant"] or f"**{recipe} {setting}, s = {share:g} %, seed {seed}**"
            rows.append([name, *("" if line[metric] is None else f"{line[metric]:.3f}" for metric in _ABLATION)])
    return ["## Ablations", _table(["", *_ABLATION.values()], rows)] if rows else []


def _mean(mean: float, deviation: float, seeds: int) -> str:
    return f"{mean:.3f}" if isnan(deviation) else f"{mean:.3f} ± {deviation:.3f} ({seeds})"


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
