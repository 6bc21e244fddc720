"""Groovy and servers that the tests of the plugin share."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock

from groovy_console import JARS, PLUGIN, TESTS, Groovy, GroovyConsole, compile_groovy, display, groovy_of
from wsi_segment.service.cli.commands.qupath import jar


@pytest.fixture(scope="session", params=["4", "6"], ids=["groovy4", "groovy6"])
def compiler(request: pytest.FixtureRequest) -> Groovy:
    """Each version of Groovy in turn."""
    found = groovy_of(request.param)
    if isinstance(found, str):
        assert JARS not in os.environ, found
        pytest.skip(found)
    return found


@pytest.fixture(scope="session")
def compiled(compiler: Groovy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compiled stand-ins for QuPath's classes, and scripts and parts of the plugin: once for all test processes."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / f"groovy{compiler.version}"
    with FileLock(f"{folder}.lock"):
        if not (folder / "done").exists():
            for part in ("stubs", "plugin"):
                (folder / part).mkdir(parents=True, exist_ok=True)
            compile_groovy(compiler, sorted((TESTS / "stubs").glob("*.groovy")), folder / "stubs")
            compile_groovy(compiler, sorted(PLUGIN.rglob("*.groovy")), folder / "plugin", folder / "stubs")
            (folder / "done").touch()
    return folder


@pytest.fixture(scope="session")
def stubs(compiled: Path) -> Path:
    """Compiled stand-ins for QuPath's classes."""
    return compiled / "stubs"


@pytest.fixture(scope="module")
def groovy(compiler: Groovy, compiled: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GroovyConsole]:
    """A Java process for the tests of a file."""
    with GroovyConsole(compiler, compiled, tmp_path_factory.mktemp("settings") / "qupath.json") as console:
        yield console


@pytest.fixture(scope="module")
def windows(compiler: Groovy, compiled: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GroovyConsole]:
    """A Java process with a display, in which the real JavaFX shows windows."""
    if shutil.which("Xvfb") is None:
        assert JARS not in os.environ, "no Xvfb"
        pytest.skip("no Xvfb")
    settings = tmp_path_factory.mktemp("settings") / "qupath.json"
    with display() as name, GroovyConsole(compiler, compiled, settings, name) as console:
        yield console


@pytest.fixture(scope="session")
def extension() -> bytes:
    """The extension as a jar."""
    if shutil.which("javac") is None:
        assert JARS not in os.environ, "no javac"
        pytest.skip("no javac; install a JDK")
    return jar()
