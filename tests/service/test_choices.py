"""One choice, everywhere: command line, HTTP, tables, ``submit`` and the engine take the same."""

from __future__ import annotations

from dataclasses import fields

from wsi_segment.inference.engine.options import SegmentOptions
from wsi_segment.service.api.requests import BatchRow, JobRequest
from wsi_segment.service.cli.commands.submit import CHOICES
from wsi_segment.service.cli.main import make_parser
from wsi_segment.service.slide_manifest import COLUMNS
from wsi_segment.service.workers.job_runner import OPTIONS

MACHINE = {"device", "batch_size", "workers", "memory_limit", "region_size", "overwrite"}
"""Options of the machine and the run: a server has settings of its own for them."""
OUTPUT = {"help", "manifest", "out", "preview", "geojson", "min_area", "simplify", "quiet", "json", "debug", "version"}
"""Flags that say where slides and results are and what is printed."""
SERVER = {"help", "manifest", "server", "key", "wait", "debug"}
CLIENT = {"width", "height"}
"""What a viewer tells of the slide that it has open, to be compared."""


def flags(command: str) -> set[str]:
    return {action.dest for action in make_parser(command)._actions if action.option_strings}


def test_what_is_chosen_of_a_slide_or_model_can_be_chosen_everywhere() -> None:
    chosen = {field.name for field in fields(SegmentOptions)} - MACHINE | {"model"}
    assert flags("segment") - OUTPUT - MACHINE == chosen
    assert set(JobRequest.model_fields) - CLIENT == chosen | {"slide", "priority"}
    assert set(BatchRow.model_fields) == chosen | {"slide", "priority"}
    assert set(COLUMNS) == chosen | {"slide"}
    assert flags("submit") - SERVER == set(CHOICES) == chosen | {"priority"}
    assert chosen - {"model"} <= OPTIONS  # which a worker hands to the engine


def test_flags_and_fields_are_spelt_alike() -> None:
    for command in ("segment", "submit"):
        for action in make_parser(command)._actions:
            if action.option_strings:
                assert action.option_strings[-1].removeprefix("--").replace("-", "_") == action.dest
