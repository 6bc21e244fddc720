"""Every rule of SECURITY.md has tests, and they are there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_each_rule_names_tests_that_there_are() -> None:
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    section = text.partition("## Rules and their tests")[2].partition("\n## ")[0]
    rules = [line for line in section.splitlines() if line.startswith("| ")][1:]
    assert len(rules) >= 15
    sources = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    there = set(re.findall(r"^(?:async )?def (test_\w+)", sources, re.M))
    for rule in rules:
        named = re.findall(r"`(test_\w+)`", rule)
        assert named, rule
        assert set(named) <= there, set(named) - there
