"""Groovy for tests: which versions lie here, real JavaFX, and a process that evaluates pieces of Groovy."""

from __future__ import annotations

import json
import os
import queue
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PLUGIN = ROOT / "qupath_plugin"
TESTS = ROOT / "tests" / "qupath_plugin"
JARS = "WSI_SEGMENT_GROOVY"
"""Variable that names a folder with the jars of Groovy 4 and 6; without it, ``.ci-groovy`` of the repository."""
SECONDS = 600.0
"""A safety net: Java is slow to start, and slower on a busy machine."""
JAVAFX = tuple(Path(f"/usr/share/java/javafx-{part}.jar") for part in ("base", "graphics", "controls"))
"""Debian's ``libopenjfx-java``: the real JavaFX, which no stand-in replaces."""
JTS = Path("/usr/share/java/jts-core.jar")
"""Debian's ``libjts-java``: the geometry that QuPath uses."""
_GSON = Path("/usr/share/java/gson.jar")
_JAVA = ("java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")  # no second compiler: these processes end soon


@dataclass(frozen=True, slots=True)
class Groovy:
    """A version of Groovy."""

    version: str
    """First number of the version: QuPath 0.5 and 0.6 have 4, QuPath 0.7 has 5; 6 is stricter than both."""
    jars: tuple[Path, ...]


def groovy_of(version: str) -> Groovy | str:
    """Return a version of Groovy, or why it cannot be used here."""
    if shutil.which("java") is None:
        return "no Java"
    absent = [path for path in (*JAVAFX, JTS, _GSON) if not path.exists()]
    if absent:
        return f"no {absent[0]}; install Debian's libopenjfx-java, libjts-java and libgoogle-gson-java"
    # npm-groovy-lint has Groovy 4 in jars of its own, the wheel groovyscope has Groovy 6 in one jar with Gson
    pattern = {"4": "groovy*-4*.jar", "6": "groovyscope-engine-*.jar"}[version]
    jars = sorted(jar for jar in _folder().rglob(pattern) if "sources" not in jar.name)
    if not jars:
        return f"no Groovy {version} below {_folder()}; see .ci/run, or set {JARS}"
    return Groovy(version, (*jars, _GSON) if version == "4" else tuple(jars))


@contextmanager
def display() -> Iterator[str]:
    """Start a virtual display of its own; its name for the variable DISPLAY."""
    read, write = os.pipe()
    command = ["Xvfb", "-displayfd", str(write), "-screen", "0", "1280x1024x24", "-nolisten", "tcp"]
    process = subprocess.Popen(command, pass_fds=(write,), stderr=subprocess.DEVNULL)
    os.close(write)
    try:
        with os.fdopen(read) as number:
            yield f":{number.readline().strip()}"
    finally:
        process.terminate()
        process.wait(60)


class PluginError(Exception):
    """A ``Failure`` of the plugin: its message, and its kind."""

    def __init__(self, message: str, kind: str) -> None:
        super().__init__(message)
        self.kind = kind


def compile_groovy(groovy: Groovy, sources: list[Path], out: Path, *class_path: Path) -> None:
    """Compile files to classes.

    Raises:
        AssertionError: with the compiler's words.
    """
    jars = _class_path(groovy, *class_path)
    command = [*_JAVA, "-cp", jars, "org.codehaus.groovy.tools.FileSystemCompiler", "--encoding=UTF-8", "-d", str(out)]
    done = subprocess.run([*command, *map(str, sources)], capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


class GroovyConsole:
    """A Java process that knows the plugin's classes, and stand-ins for QuPath's; a context that ends it."""

    def __init__(self, groovy: Groovy, compiled: Path, settings: Path, display: str | None = None) -> None:
        """Start the process.

        Args:
            groovy: Its version.
            compiled: Folder with the compiled stand-ins, ``stubs``, and the compiled ``plugin``.
            settings: The plugin's saved settings, instead of the user's.
            display: Where windows appear; None for a process without any.
        """
        environment = os.environ | {"WSI_SEGMENT_QUPATH": str(settings)}
        environment |= {} if display is None else {"DISPLAY": display, "GDK_BACKEND": "x11"}
        for name in ("WSI_SEGMENT_SERVER", "WSI_SEGMENT_KEY"):
            environment.pop(name, None)
        drawing = ["-Djava.awt.headless=true", "-Dprism.order=sw", "-Djava.library.path=/usr/lib/x86_64-linux-gnu/jni"]
        command = [*_JAVA, *drawing, "-cp", _class_path(groovy, compiled / "stubs"), "groovy.ui.GroovyMain"]
        self._process = subprocess.Popen(
            [*command, "-c", "UTF-8", str(TESTS / "console.groovy"), str(PLUGIN), str(compiled / "plugin")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            env=environment,
        )
        self._answers: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> GroovyConsole:
        return self

    def __exit__(self, *exception: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()
        self._process.stdout.close()

    def __call__(self, code: str, **values: object) -> Any:
        """The value of a piece of Groovy, as JSON has it.

        Args:
            code: Uses ``values`` by their names.
            values: Texts, numbers, lists.

        Raises:
            PluginError: the plugin failed, as it should say it.
        """
        assert self._process.stdin is not None
        given = "".join(f"def {name} = {_literal(value)}\n" for name, value in values.items())
        self._process.stdin.write(json.dumps(f"import wsisegment.*\n{given}{code}") + "\n")
        self._process.stdin.flush()
        line = self._answers.get(timeout=SECONDS)
        assert line, f"the Java process ended: {self._process.wait(60)}"
        answer = json.loads(line)
        if "failure" in answer:
            raise PluginError(answer["failure"], answer["kind"])
        assert "error" not in answer, answer["error"]
        return answer["value"]

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._answers.put(line)
        self._answers.put("")  # so that nobody waits for a process that ended


def _folder() -> Path:
    return Path(os.environ.get(JARS, ROOT / ".ci-groovy"))


def _class_path(groovy: Groovy, *more: Path) -> str:
    return os.pathsep.join(str(path) for path in (*groovy.jars, *JAVAFX, JTS, *more))


def _literal(value: object) -> str:
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_literal(one) for one in value) + "]"
    return json.dumps(str(value) if isinstance(value, Path) else value).replace("$", "\\$")
