"""Groovy and servers that the tests of the plugin share."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from groovy_console import JARS, TESTS, Groovy, GroovyConsole, compile_groovy, display, groovy_of


@pytest.fixture(scope="session", params=["4", "6"], ids=["groovy4", "groovy6"])
def compiler(request: pytest.FixtureRequest) -> Groovy:
    """Each version of Groovy in turn."""
    found = groovy_of(request.param)
    if isinstance(found, str):
        assert JARS not in os.environ, found
        pytest.skip(found)
    return found


@pytest.fixture(scope="session")
def stubs(compiler: Groovy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compiled stand-ins for QuPath's classes."""
    out = tmp_path_factory.mktemp("stubs")
    compile_groovy(compiler, sorted((TESTS / "stubs").glob("*.groovy")), out)
    return out


@pytest.fixture(scope="module")
def groovy(compiler: Groovy, stubs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GroovyConsole]:
    """A Java process for the tests of a file."""
    with GroovyConsole(compiler, stubs, tmp_path_factory.mktemp("settings") / "qupath.json") as console:
        yield console


@pytest.fixture(scope="module")
def windows(compiler: Groovy, stubs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GroovyConsole]:
    """A Java process with a display, in which the real JavaFX shows windows."""
    if shutil.which("Xvfb") is None:
        assert JARS not in os.environ, "no Xvfb"
        pytest.skip("no Xvfb")
    settings = tmp_path_factory.mktemp("settings") / "qupath.json"
    with display() as name, GroovyConsole(compiler, stubs, settings, name) as console:
        yield console
