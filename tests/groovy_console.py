"""Groovy for tests: where its jars are, and a process that evaluates pieces of it."""

from __future__ import annotations

import json
import os
import queue
import shutil
import subprocess
import threading
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PLUGIN = ROOT / "qupath_plugin"
TESTS = ROOT / "tests" / "qupath_plugin"
JARS = "WSI_SEGMENT_GROOVY"
"""Variable that names a folder with Groovy's and Gson's jars; without it, ``.ci-groovy`` of the repository."""
SECONDS = 120.0
_JAVA = ("java", "-XX:TieredStopAtLevel=1")  # no second compiler: these processes end soon


class PluginError(Exception):
    """A ``Failure`` of the plugin: its message, and its kind."""

    def __init__(self, message: str, kind: str) -> None:
        super().__init__(message)
        self.kind = kind


def missing() -> str | None:
    """Why there is no Groovy here, or None."""
    if shutil.which("java") is None:
        return "no Java"
    if not list(_folder().rglob("groovy-4*.jar")):
        return f"no Groovy 4 below {_folder()}; see .ci/run, or set {JARS}"
    return None if _gson() else f"no gson.jar below {_folder()} or in /usr/share/java"


def compile_groovy(sources: list[Path], out: Path, *class_path: Path) -> None:
    """Compile files to classes.

    Raises:
        AssertionError: with the compiler's words.
    """
    jars = _class_path(*class_path)
    command = [*_JAVA, "-cp", jars, "org.codehaus.groovy.tools.FileSystemCompiler", "--encoding=UTF-8", "-d", str(out)]
    done = subprocess.run([*command, *map(str, sources)], capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


class GroovyConsole:
    """A Java process that knows the plugin's classes, and stand-ins for QuPath's; a context that ends it."""

    def __init__(self, stubs: Path, settings: Path) -> None:
        """A console to be started.

        Args:
            stubs: Folder with the compiled stand-ins.
            settings: The plugin's saved settings, instead of the user's.
        """
        environment = os.environ | {"WSI_SEGMENT_QUPATH": str(settings)}
        for name in ("WSI_SEGMENT_SERVER", "WSI_SEGMENT_KEY"):
            environment.pop(name, None)
        command = [*_JAVA, "-Djava.awt.headless=true", "-cp", _class_path(stubs), "groovy.ui.GroovyMain"]
        self._process = subprocess.Popen(
            [*command, "-c", "UTF-8", str(TESTS / "console.groovy"), str(PLUGIN)],
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
        answer = json.loads(self._answers.get(timeout=SECONDS))
        if "failure" in answer:
            raise PluginError(answer["failure"], answer["kind"])
        assert "error" not in answer, answer["error"]
        return answer["value"]

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._answers.put(line)


def _folder() -> Path:
    return Path(os.environ.get(JARS, ROOT / ".ci-groovy"))


def _gson() -> Path | None:
    found = [*sorted(_folder().rglob("gson*.jar")), Path("/usr/share/java/gson.jar")]
    return next((path for path in found if path.exists()), None)


def _class_path(*more: Path) -> str:
    jars = sorted(jar for jar in _folder().rglob("groovy*-4*.jar") if "sources" not in jar.name)
    return os.pathsep.join(str(path) for path in (*jars, _gson(), *more))


def _literal(value: object) -> str:
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_literal(one) for one in value) + "]"
    return json.dumps(str(value) if isinstance(value, Path) else value).replace("$", "\\$")
