"""The stand-ins against what QuPath's own source declares: methods, how many parameters, what they return.

``signatures.csv`` lists the methods that the scripts use, and the versions of QuPath in which each was read.
"""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest

from groovy_console import PLUGIN, TESTS, GroovyConsole

with (TESTS / "signatures.csv").open(encoding="utf-8", newline="") as file:
    ROWS = list(csv.DictReader(file))
PRIMITIVE = {"Integer": "int", "Double": "double", "Boolean": "boolean", "Float": "float"}
SINCE_0_6 = {("qupath.lib.images.servers.NormalizedImageServer", "getWrappedServer")}
"""The scripts ask whether there is one before they call it."""
GROOVYS_OWN = {("qupath.lib.images.ImageData", "setProperty")}
"""Groovy gives its classes this method, without a result."""
METHODS = """
def found = []
classes.each { String name ->
    def one = console.loader.loadClass(name)
    def inherited = one.declaredMethods.findAll { !it.synthetic && (it.modifiers & 4) }  // protected ones
    found.addAll((one.methods + inherited).collect { [name, it.name, it.parameterCount, it.returnType.simpleName] })
}
found
"""


STAND_INS = """
def folder = new File(stubs).toPath(), found = []
folder.toFile().eachFileRecurse { file ->
    if (!file.name.endsWith('.class') || file.name.contains('closure')) return
    def one = console.loader.loadClass(folder.relativize(file.toPath()).toString()[0..-7].replace('/', '.'))
    if (one.enum) return
    def own = one.declaredMethods.findAll { !it.synthetic && !it.name.contains('$') && (it.modifiers & 5) }
    found.addAll(own.collect { [one.name, it.name, it.parameterCount] })
}
found
"""
GROOVYS = {"getMetaClass", "setMetaClass", "invokeMethod", "canEqual"}
FOR_TESTS = {
    "Dialogs.getShown", "FileChoosers.getFile", "FileChoosers.setFile", "OverlayOptions.isShowPixelClassification",
    "PixelClassificationOverlay.isLivePrediction", "PixelCalibration.getMpp", "PixelCalibration.setMpp",
    "PathObject.getKind", "PathObject.setKind", "PathObject.getLocked", "PathObjectHierarchy.getObjects",
    "PathObjectSelectionModel.setSelectedObjects",  # Groovy's own, of the field
    "PathObject.isMissing",  # QuPath's TMACoreObject has it: a core is no class of its own here
}  # fmt: skip
"""What tests look at or set up: named in the scripts only as something else is."""


@pytest.fixture(scope="module")
def declared(groovy: GroovyConsole) -> dict[tuple[str, str, int], set[str]]:
    """What the stand-ins return, by class, method and number of parameters."""
    found: dict[tuple[str, str, int], set[str]] = {}
    for name, method, parameters, returns in groovy(METHODS, classes=sorted({row["class"] for row in ROWS})):
        found.setdefault((name, method, parameters), set()).add(returns)
    return found


def test_every_method_that_the_scripts_use_was_read_in_all_versions() -> None:
    assert len(ROWS) > 130
    for row in ROWS:
        versions = "qupath-fxtras 0.3.0" if row["class"].startswith("qupath.fx.") else "0.5.1 0.6.0 0.7.0"
        versions = "0.6.0 0.7.0" if (row["class"], row["method"]) in SINCE_0_6 else versions
        assert row["read in"] == versions, row


def named(method: str, source: str) -> bool:
    """Whether the scripts name a method, or the property that it gets or sets."""
    start = re.match("set|get|is", method)
    name = method[start.end() :] if start else method
    name = name if name[:2].isupper() else name[:1].lower() + name[1:]
    if method.startswith("set"):
        pattern = rf"\.{name} = |\.{method}\("
    elif start:
        pattern = rf"\.{name}\b(?!\()|\.{method}\("
    else:
        pattern = rf"[. ]{method}\("
    return re.search(pattern, source) is not None


def test_what_the_scripts_use_of_a_stand_in_is_a_method_of_the_real_class(groovy: GroovyConsole, stubs: Path) -> None:
    source = "\n".join(path.read_text() for path in [*PLUGIN.rglob("*.groovy"), *PLUGIN.rglob("Wsi*.java")])
    known = {(row["class"], row["method"], int(row["parameters"])) for row in ROWS}
    unread = [
        f"{name}.{method}/{parameters}"
        for name, method, parameters in map(tuple, groovy(STAND_INS, stubs=str(stubs)))
        if (name, method, parameters) not in known
        and method not in GROOVYS
        and name.rsplit(".", 1)[1] not in ("SlideServer", "GeoJson")  # which the tests have for themselves
        and f"{name.rsplit('.', 1)[1]}.{method}" not in FOR_TESTS
        and named(method, source)
    ]
    assert not unread, unread


def test_the_stand_ins_have_these_methods_with_these_types(declared: dict[tuple[str, str, int], set[str]]) -> None:
    wrong = []
    for row in ROWS:
        if (row["class"], row["method"]) in GROOVYS_OWN:
            continue
        returns = declared.get((row["class"], row["method"], int(row["parameters"])))
        if returns is None:
            wrong.append(f"{row['class']}.{row['method']}: missing, with {row['parameters']} parameters")
        # a stand-in may be vague (Object), but it must not contradict
        elif (
            not {PRIMITIVE.get(one, one) for one in returns} & {PRIMITIVE.get(row["returns"], row["returns"]), "Object"}
            and len(row["returns"]) > 1
        ):
            wrong.append(f"{row['class']}.{row['method']}: returns {returns}, QuPath's {row['returns']}")
    assert not wrong, wrong
