"""The stand-ins against what QuPath's own source declares: methods, how many parameters, what they return.

``signatures.csv`` lists the methods that the scripts use, and the versions of QuPath in which each was read.
"""

from __future__ import annotations

import csv

import pytest

from groovy_console import TESTS, GroovyConsole

with (TESTS / "signatures.csv").open(encoding="utf-8", newline="") as file:
    ROWS = list(csv.DictReader(file))
PRIMITIVE = {"Integer": "int", "Double": "double", "Boolean": "boolean", "Float": "float"}
GROOVYS_OWN = {("qupath.lib.images.ImageData", "setProperty")}
"""Groovy gives its classes this method, without a result."""
METHODS = """
def found = []
classes.each { String name ->
    def one = console.loader.loadClass(name)
    found.addAll(one.methods.collect { [name, it.name, it.parameterCount, it.returnType.simpleName] })
}
found
"""


@pytest.fixture(scope="module")
def declared(groovy: GroovyConsole) -> dict[tuple[str, str, int], set[str]]:
    """What the stand-ins return, by class, method and number of parameters."""
    found: dict[tuple[str, str, int], set[str]] = {}
    for name, method, parameters, returns in groovy(METHODS, classes=sorted({row["class"] for row in ROWS})):
        found.setdefault((name, method, parameters), set()).add(returns)
    return found


def test_every_method_that_the_scripts_use_was_read_in_all_versions() -> None:
    assert len(ROWS) > 70
    for row in ROWS:
        versions = "qupath-fxtras 0.3.0" if row["class"].startswith("qupath.fx.") else "0.5.1 0.6.0 0.7.0"
        assert row["read in"] == versions, row


def test_the_stand_ins_have_these_methods_with_these_types(declared: dict[tuple[str, str, int], set[str]]) -> None:
    wrong = []
    for row in ROWS:
        if (row["class"], row["method"]) in GROOVYS_OWN:
            continue
        returns = declared.get((row["class"], row["method"], int(row["parameters"])))
        if returns is None:
            wrong.append(f"{row['class']}.{row['method']}: missing, with {row['parameters']} parameters")
        # a stand-in may be vague (Object), but it must not contradict
        elif not {PRIMITIVE.get(one, one) for one in returns} & {row["returns"], "Object"} and len(row["returns"]) > 1:
            wrong.append(f"{row['class']}.{row['method']}: returns {returns}, QuPath's {row['returns']}")
    assert not wrong, wrong
