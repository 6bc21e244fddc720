from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="training needs the extra [train]")

from wsi_segment.errors import InputError
from wsi_segment.model.card import sha256_of
from wsi_segment.model.experiments.experiment import ResultFile, read_plan
from wsi_segment.model.experiments.figures import curve, draw_figures
from wsi_segment.model.experiments.result_tables import write_tables

CONFIG = """
split = "val"
[budget]
steps = 7
[[block]]
experiment = "curve"
settings = ["S", "S+C*"]
shares = [100, 5]
seeds = [0, 1]
[[block]]
experiment = "curve"
settings = ["S"]
shares = [5, 1]
[[block]]
experiment = "ablation"
recipe = "modern"
variant = "no average"
change = { ema_decay = 0.0 }
settings = ["S+C*"]
shares = [5]
"""


def plan_of(tmp_path: Path, text: str = CONFIG) -> list[Any]:
    config = tmp_path / "config.toml"
    config.write_text(text)
    return list(read_plan(config))


def result(setting: str, s: float, seed: int, macro: float, **more: Any) -> dict[str, Any]:
    line = {"experiment": "curve", "variant": "", "recipe": "paper", "setting": setting, "s": s, "seed": seed}
    return line | {"macro_f1": macro, "micro_f1": macro, "lesion_dice": macro, "image_accuracy": macro} | more


def test_a_plan_goes_seed_by_seed_and_holds_each_run_once(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    assert [run.seed for run in plan[:8]] == [0] * 4 + [1] * 4
    assert len(plan) == 10
    assert len({run.key for run in plan}) == len({run.folder for run in plan}) == 10
    assert all(run.recipe.steps == 7 for run in plan)
    assert plan[-1].recipe.ema_decay == 0


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("steps = 7", "stepz = 7"), "no field 'stepz'"),
        (('"S+C*"', '"S+D"'), "settings"),
        (('variant = "no average"', ""), "needs a variant"),
        (("[100, 5]", "[105]"), "between 0 and 100"),
        (("[[block]]", "[[blocks]]"), "block"),
        (('"no average"', '"../elsewhere"'), "leave out slashes"),
        (("seeds = [0, 1]\n", 'encoder_weights = "encoder.pt"\nvariant = ""\n'), "encoder_weights needs a variant"),
        (('split = "val"', "split = val"), "not TOML"),
    ],
)
def test_a_wrong_config_is_named_in_one_line(tmp_path: Path, change: tuple[str, str], says: str) -> None:
    with pytest.raises(InputError, match=says) as caught:
        plan_of(tmp_path, CONFIG.replace(*change))
    assert "\n" not in str(caught.value)


def test_results_survive_a_torn_line(tmp_path: Path) -> None:
    plan, results = plan_of(tmp_path), ResultFile(tmp_path / "docs" / "r.jsonl")
    results.append(plan[0], {"macro_f1": 0.5})
    with results.path.open("a") as file:
        file.write('{"experiment": "cur')
    assert results.has(plan[0])
    assert not results.has(plan[1])
    results.append(plan[1], {"macro_f1": 0.6})
    assert [line["macro_f1"] for line in results.read()] == [0.5, 0.6]


def test_a_curve_has_means_and_deviations_over_seeds(tmp_path: Path) -> None:
    lines = [result("S", 5, 0, 0.4), result("S", 5, 1, 0.6), result("S", 100, 0, 0.8)]
    five, hundred = curve(lines, "paper", "S", "macro_f1")
    assert five == pytest.approx((5, 0.5, 0.1414, 2), abs=1e-3)
    assert hundred[:2] == (100, 0.8)
    assert curve(lines, "paper", "S+C", "macro_f1") == []
    lines.append(result("S+C", 5, 0, 0.5))
    assert [share for share, *_ in curve(lines, "paper", "S+C", "macro_f1")] == [5, 100]


def test_figures_are_drawn_of_what_there_is(tmp_path: Path) -> None:
    lines = [result("S", s, seed, 0.3 + s / 300) for s in (5, 100) for seed in (0, 1)]
    assert [path.name for path in draw_figures(lines, tmp_path / "r.jsonl")] == ["r-curve.png"]
    lines.append(result("S2+C2", 10, 0, 0.5))
    assert [path.name for path in draw_figures(lines, tmp_path / "r.jsonl")] == ["r-curve.png"]
    lines.append(result("S2+C2", 50, 0, 0.5))
    lines += [result("S", 5, 0, 0.5, experiment="ablation", variant="filled")]
    drawn = draw_figures(lines, tmp_path / "r.jsonl")
    assert [path.name for path in drawn] == ["r-curve.png", "r-accuracy.png", "r-ablation.png"]
    assert draw_figures([], tmp_path / "r.jsonl") == []


def test_tables_have_the_mean_of_seeds_and_each_variant_below_what_it_varies(tmp_path: Path) -> None:
    more = {"val_macro_f1": 0.3, "calibration_error": 0.02}
    lines = [result("S", 5, seed, 0.4 + seed / 5, **more) for seed in (0, 1)]
    lines += [result("S+C*", 5, 0, 0.7, **more), result("S2+C2", 20, 0, 0.9, experiment="accuracy", **more)]
    lines += [result("S+C*", 5, 0, 0.65, experiment="ablation", variant="filled", **more)]
    page = write_tables(lines, tmp_path / "r.jsonl", [tmp_path / "r-curve.png"])
    text = page.read_text()
    assert "![r-curve](r-curve.png)" in text
    assert "| s, % | paper S | paper S+C* |\n| --- | --- | --- |\n| 5 | 0.500 ± 0.141 (2) | 0.700 |" in text
    assert "| c, % | paper S2+C2 |\n| --- | --- |\n| 20 | 0.900 |" in text
    assert "| **paper S+C*, s = 5 %, seed 0** | 0.300 | 0.700 |" in text
    assert text.index("seed 0**") < text.index("| filled | 0.300 | 0.650 |")
    unlabelled = [line | {"image_accuracy": None} for line in lines]
    assert "| filled | 0.300 | 0.650 | 0.650 | 0.650 |  | 0.020 |" in write_tables(unlabelled, page).read_text()
    assert write_tables([], tmp_path / "e.jsonl").read_text() == "# e\n"


def test_variants_are_curves_of_their_own_and_no_seeds_of_each_other(tmp_path: Path) -> None:
    lines = [result("S", 5, 0, 0.4), result("S", 5, 0, 0.8, variant="pretrained"), result("S", 100, 0, 0.9)]
    assert [point[:2] for point in curve(lines, "paper", "S", "macro_f1")] == [(5, 0.4), (100, 0.9)]
    assert [point[:2] for point in curve(lines, "paper", "S", "macro_f1", variant="pretrained")] == [(5, 0.8)]
    lines += [result("S2+C2", c, 0, 0.5, experiment="accuracy", variant="pretrained") for c in (10, 20)]
    text = write_tables(lines, tmp_path / "r.jsonl").read_text()
    assert "| s, % | paper S | paper pretrained S |\n| --- | --- | --- |\n| 5 | 0.400 | 0.800 |" in text
    assert "| c, % | paper pretrained S2+C2 |" in text
    more = {"val_macro_f1": 0.3, "calibration_error": 0.02}
    varied = [line | more for line in lines] + [result("S", 5, 0, 0.5, experiment="ablation", variant="filled", **more)]
    ablations = write_tables(varied, tmp_path / "a.jsonl").read_text().partition("## Ablations")[2]
    assert "| filled |" in ablations
    assert "pretrained" not in ablations
    assert [path.name for path in draw_figures(lines, tmp_path / "r.jsonl")] == ["r-curve.png", "r-accuracy.png"]


def test_two_blocks_of_one_name_that_differ_are_refused(tmp_path: Path) -> None:
    block = '[[block]]\nexperiment = "curve"\nsettings = ["S"]\nshares = [5]\nvariant = "pretrained"\n'
    one, other = (f'{block}encoder_weights = "{name}.pt"\n' for name in ("one", "other"))
    assert len(plan_of(tmp_path, one + one)) == 1
    with pytest.raises(InputError, match="'curve paper pretrained' with the same setting, share and seed"):
        plan_of(tmp_path, one + other)


def test_a_line_of_another_encoder_is_not_taken_for_done(tmp_path: Path) -> None:
    block = '[[block]]\nexperiment = "curve"\nsettings = ["S"]\nshares = [5]\nvariant = "pretrained"\n'
    (run,) = plan_of(tmp_path, block + 'encoder_weights = "encoder.pt"\n')
    results = ResultFile(tmp_path / "r.jsonl")
    (tmp_path / "encoder.pt").write_bytes(b"one")
    results.append(run, {"macro_f1": 0.5, "encoder_sha256": sha256_of(tmp_path / "encoder.pt")})
    assert results.has(run)
    (tmp_path / "encoder.pt").write_bytes(b"another")
    with pytest.raises(InputError, match="with another encoder"):
        results.has(run)
    (tmp_path / "encoder.pt").unlink()  # what is done needs it no more
    assert results.has(run)
    (random,) = plan_of(tmp_path, block + "change = { validate_every = 3 }\n")
    with pytest.raises(InputError, match="another encoder than random weights"):
        results.has(random)


def test_lines_without_a_variant_are_plain(tmp_path: Path) -> None:
    plan, results = plan_of(tmp_path), ResultFile(tmp_path / "r.jsonl")
    results.append(plan[0], {"macro_f1": 0.5})
    line = json.loads(results.path.read_text())
    del line["variant"]
    results.path.write_text(json.dumps(line) + "\n")
    assert results.has(plan[0])
