"""One choice, everywhere: command line, HTTP, tables, ``submit`` and the engine take the same."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from wsi_segment.inference.engine.options import SegmentOptions
from wsi_segment.service.api.bodies.requests import BatchRow, JobRequest
from wsi_segment.service.cli.commands.submit import CHOICES
from wsi_segment.service.cli.main import make_parser
from wsi_segment.service.slide_manifest import COLUMNS
from wsi_segment.service.workers.job_inputs import CHOSEN

MACHINE = {"device", "batch_size", "workers", "memory_limit", "region_size", "overwrite"}
"""Options of the machine and the run: a server has settings of its own for them."""
CLUSTER = {"scheduler", "tls_ca", "tls_cert", "tls_key"}
"""Flags that say where a run computes; a server has settings of its own for these too."""
OUTPUT = {"help", "manifest", "out", "preview", "geojson", "min_area", "simplify", "quiet", "json", "debug", "version"}
"""Flags that say where slides and results are and what is printed."""
SERVER = {"help", "manifest", "server", "key", "ca", "wait", "watch", "every", "json", "debug"}
CLIENT = {"width", "height"}
"""What a viewer tells of the slide that it has open, to be compared."""


def flags(command: str) -> set[str]:
    return {action.dest for action in make_parser(command)._actions if action.option_strings}


def test_what_is_chosen_of_a_slide_or_model_can_be_chosen_everywhere() -> None:
    chosen = {field.name for field in fields(SegmentOptions)} - MACHINE | {"model"}
    assert flags("segment") - OUTPUT - MACHINE - CLUSTER == chosen
    assert set(JobRequest.model_fields) - CLIENT == chosen | {"slide", "priority"}
    assert set(BatchRow.model_fields) == chosen | {"slide", "priority"}
    assert set(COLUMNS) == chosen | {"slide"}
    assert flags("submit") - SERVER == set(CHOICES) == set(JobRequest.model_fields) - {"slide"}
    assert chosen - {"model"} <= CHOSEN  # which a worker hands to the engine


def test_flags_and_fields_are_spelt_alike() -> None:
    for command in ("segment", "submit"):
        for action in make_parser(command)._actions:
            if action.option_strings:
                assert action.option_strings[-1].removeprefix("--").replace("-", "_") == action.dest


def test_the_command_line_has_the_defaults_of_the_engine() -> None:
    parser, options = make_parser("segment"), SegmentOptions()
    for field in fields(options):
        if field.name in flags("segment"):
            assert (parser.get_default(field.name) or None) == (getattr(options, field.name) or None), field.name


@pytest.mark.parametrize("command", ["segment", "evaluate", "train", "experiment", "status", "doctor", "keys"])
def test_a_default_that_help_states_is_the_default(command: str) -> None:
    for action in make_parser(command)._actions:
        if (
            action.dest != "server"
            and action.option_strings
            and action.default not in (None, False, [], "==SUPPRESS==")
        ):
            assert "%(default)" in (action.help or ""), action.dest


def test_the_guide_names_every_flag_of_the_main_command() -> None:
    guide = (Path(__file__).parents[2] / "docs" / "guide" / "segment.md").read_text(encoding="utf-8")
    for action in make_parser("segment")._actions:
        for flag in action.option_strings:
            if flag not in ("-h", "--help"):
                assert re.search(rf"{flag}\b", guide), flag
