"""Experiments: which trainings a config file asks for, and the result line that each leaves.

A config is TOML::

    split = "test"

    [budget]
    steps = 400

    [[block]]
    experiment = "curve"
    recipe = "paper"
    settings = ["S", "S+C", "S+C*"]
    shares = [1, 5, 20, 100]
    seeds = [0, 1, 2]
    change = { supervision = "filled" }
    encoder_weights = "encoder.pt"
    variant = "filled"

``budget`` changes fields of every recipe, ``change`` those of one block. ``encoder_weights`` is the file that a block's
encoders start from, relative to the config; with either a block needs a name, ``variant``. Results are lines of JSON; a
run that has its line is not done again.
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from wsi_segment.errors import InputError
from wsi_segment.model.card import sha256_of
from wsi_segment.model.first_problem import first_problem
from wsi_segment.model.training.label_shares import LabelSetting, SettingName
from wsi_segment.model.training.recipe import Recipe, make_recipe

Result = dict[str, Any]

_KEY = ("experiment", "variant", "recipe", "setting", "s", "seed")
"""Fields of a result line that tell a run from the others."""


class _Block(BaseModel):
    """Trainings that differ in setting, share and seed only."""

    model_config = ConfigDict(extra="forbid")

    experiment: str = Field(min_length=1)
    recipe: str = "paper"
    settings: list[SettingName]
    shares: list[float]
    seeds: list[int] = [0]
    change: dict[str, Any] = {}
    encoder_weights: Path | None = None
    variant: str = ""


class _Config(BaseModel):
    model_config = ConfigDict(extra="forbid")

    split: Literal["val", "test"] = "test"
    overlap: float = 0.25
    budget: dict[str, Any] = {}
    block: list[_Block] = Field(min_length=1)


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """One training of an experiment, and how it is measured."""

    experiment: str
    variant: str
    recipe_name: str
    recipe: Recipe
    setting: LabelSetting
    seed: int
    split: Literal["val", "test"]
    overlap: float
    encoder_weights: Path | None = None
    """File that the encoder starts from; None for random weights."""

    @property
    def key(self) -> tuple[str, str, str, str, float, int]:
        """The fields that tell it from the other runs of a result file."""
        return self.experiment, self.variant, self.recipe_name, self.setting.name, self.setting.share, self.seed

    @property
    def budget(self) -> Result:
        """Cost and split, as written to the result line."""
        batch = self.recipe.segmentation_batch + self.recipe.classification_batch
        return {"split": self.split, "steps": self.recipe.steps, "batch": batch}

    @property
    def folder(self) -> str:
        """Name of its run folder."""
        setting = self.setting.name.replace("*", "all").replace("+", "-")
        parts = (
            self.experiment,
            self.recipe_name,
            self.variant,
            setting,
            f"{self.setting.share:g}",
            f"seed{self.seed}",
        )
        return "_".join(part for part in parts if part)


def read_plan(config: Path) -> list[PlannedRun]:
    """Read the runs that a config file asks for, in its order; within a block seed by seed, so that means come early.

    Raises:
        InputError: the file is missing or wrong.
    """
    try:
        parsed = _Config.model_validate(tomllib.loads(config.read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        raise InputError(f"{config}: no such file; docs/results has one to start from") from error
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{config}: not TOML: {error}") from error
    except ValidationError as error:
        raise InputError(f"{config}: {first_problem(error)}") from error
    runs: dict[tuple[Any, ...], PlannedRun] = {}
    for block in parsed.block:
        if (block.change or block.encoder_weights) and not block.variant:
            named = "a change" if block.change else "encoder_weights"
            raise InputError(f"{config}: {block.experiment}: a block with {named} needs a variant, its name")
        for name in (block.experiment, block.variant):
            if set(name) & set("/\\") or name.startswith("."):
                raise InputError(f"{config}: {name!r} names a folder; leave out slashes, and a dot at its beginning")
        changes = {name: tuple(v) if isinstance(v, list) else v for name, v in (parsed.budget | block.change).items()}
        recipe = make_recipe(block.recipe, changes)
        for setting, seed in _order(block):
            run = PlannedRun(
                experiment=block.experiment,
                variant=block.variant,
                recipe_name=block.recipe,
                recipe=recipe,
                setting=setting,
                seed=seed,
                split=parsed.split,
                overlap=parsed.overlap,
                encoder_weights=None if block.encoder_weights is None else config.parent / block.encoder_weights,
            )
            if runs.setdefault(run.key, run) != run:
                called = f"{run.experiment} {run.recipe_name} {run.variant}".strip()
                raise InputError(
                    f"{config}: two blocks are {called!r} with the same setting, share and seed, and differ otherwise; "
                    "give one of them another variant"
                )
    return list(runs.values())


def _order(block: _Block) -> Iterator[tuple[LabelSetting, int]]:
    for seed in block.seeds:
        for share in block.shares:
            for name in block.settings:
                yield LabelSetting(name, share), seed


class ResultFile:
    """Lines of JSON, one per finished run; a last line that a crash tore is dropped."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> list[Result]:
        """Read all whole lines; one that names no variant is of a plain run.

        Raises:
            InputError: a line that is not the last one is not JSON.
        """
        if not self.path.exists():
            return []
        text = self.path.read_text(encoding="utf-8")
        lines = text.split("\n")[:-1]
        try:
            return [{"variant": ""} | cast("Result", json.loads(line)) for line in lines]
        except json.JSONDecodeError as error:
            raise InputError(f"{self.path}: holds a line that is not JSON ({error}); correct or remove it") from error

    def has(self, run: PlannedRun) -> bool:
        """Return whether a run has its line.

        Raises:
            InputError: the line is of a run with another budget, split or encoder.
        """
        encoder = run.encoder_weights
        for line in self.read():
            if tuple(line.get(name) for name in _KEY) != run.key:
                continue
            for name, value in run.budget.items():
                if line.get(name) != value:
                    raise InputError(
                        f"{self.path}: has {run.folder} with {name} {line.get(name)}, not {value}; name another file"
                    )
            known = encoder is None or encoder.is_file()  # the file of a run that is done may have gone
            if known and line.get("encoder_sha256") != (None if encoder is None else sha256_of(encoder)):
                raise InputError(
                    f"{self.path}: has {run.folder} with another encoder than {encoder or 'random weights'}; "
                    "name another variant, or file"
                )
            return True
        return False

    def append(self, run: PlannedRun, figures: Result) -> None:
        """Add a run's line and sync it."""
        named = dict(zip(_KEY, run.key, strict=True)) | run.budget
        line = json.dumps(named | figures, ensure_ascii=False)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a+b") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(0)
            whole = file.read().rfind(b"\n") + 1
            if whole < end:
                file.truncate(whole)
            file.write(line.encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
