"""Groovy and servers that the tests of the plugin share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from groovy_console import JARS, TESTS, GroovyConsole, compile_groovy, missing


@pytest.fixture(scope="session")
def stubs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compiled stand-ins for QuPath's classes."""
    if (reason := missing()) is not None:
        assert JARS not in os.environ, reason
        pytest.skip(reason)
    out = tmp_path_factory.mktemp("stubs")
    compile_groovy(sorted((TESTS / "stubs").glob("*.groovy")), out)
    return out


@pytest.fixture(scope="module")
def groovy(stubs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GroovyConsole]:
    """A Java process for the tests of a file."""
    with GroovyConsole(stubs, tmp_path_factory.mktemp("settings") / "qupath.json") as console:
        yield console
