from __future__ import annotations

import io
import re
import zipfile
from pathlib import Path

import pytest

from groovy_console import PLUGIN, Groovy, GroovyConsole, PluginError, compile_groovy
from wsi_segment.service.cli.commands.qupath import bundle

SCRIPTS = sorted(PLUGIN.glob("*.groovy"))
PARTS = sorted((PLUGIN / "wsisegment").glob("*.groovy"))
QUPATH_FREE = {
    "Areas", "Desk", "Failure", "Jobs", "Lines", "Outcome", "Outlines", "Pace", "PathMap", "Progress", "Service",
    "Settings", "Tiles", "Working",
}  # fmt: skip
JAVAFX_ALONE = {"Form", "Panel", "Parameters", "ShownResults"}
"""What draws the panel: it must also open where there is no QuPath."""


def test_every_script_and_part_compiles(compiled: Path) -> None:
    assert {path.stem for path in SCRIPTS} == {
        "wsi_segment", "import_overlay", "import_annotations", "send_corrections", "remove_results", "install_menu",
    }  # fmt: skip
    for part in SCRIPTS + PARTS:
        assert list((compiled / "plugin").rglob(f"{part.stem}.class")), part


def test_the_compiler_notices_a_class_that_does_not_exist(compiler: Groovy, stubs: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "Wrong.groovy"
    wrong.write_text("import qupath.lib.objects.NoSuchObject\n")
    with pytest.raises(AssertionError, match="NoSuchObject"):
        compile_groovy(compiler, [wrong], tmp_path, stubs)


@pytest.mark.parametrize("path", PARTS, ids=lambda path: path.stem)
def test_the_part_that_needs_no_qupath_names_none_of_its_classes(path: Path) -> None:
    names = re.search(r"^import (qupath|org\.controlsfx)\.|QuPathGUI", path.read_text(), re.MULTILINE)
    assert (names is None) == (path.stem in QUPATH_FREE | JAVAFX_ALONE)
    drawn = re.search(r"^import javafx\.", path.read_text(), re.MULTILINE)
    assert drawn is None or path.stem not in QUPATH_FREE


@pytest.mark.parametrize("path", [*SCRIPTS, *PARTS], ids=lambda path: path.stem)
def test_no_script_uses_what_qupath_does_not_have_everywhere(path: Path) -> None:
    text = path.read_text()
    assert "groovy.json" not in text
    assert "ContourTracing" not in text
    assert "javafx.concurrent" not in text  # its Task has methods that a subclass must not have by another type
    assert path.name == "start.groovy" or len(text.splitlines()) <= 330


def test_a_script_without_a_file_says_what_to_do(groovy: GroovyConsole) -> None:
    with pytest.raises(AssertionError, match="run this script from its own file"):
        groovy("new GroovyShell(console.loader).evaluate(new File(console.plugin, 'remove_results.groovy').text)")


def test_a_script_that_another_one_evaluates_finds_its_own_folder(groovy: GroovyConsole) -> None:
    with pytest.raises(PluginError, match="no image is open"):
        groovy("new GroovyShell(console.loader).evaluate(new File(console.plugin, 'remove_results.groovy'))")


@pytest.mark.parametrize(
    "script", ["wsi_segment", "import_overlay", "import_annotations", "send_corrections", "remove_results"]
)
def test_without_an_image_every_script_says_so(groovy: GroovyConsole, script: str) -> None:
    with pytest.raises(Exception, match="no image is open"):
        groovy("console.run(script)", script=script)


def test_one_file_carries_the_rest_and_installs_it(groovy: GroovyConsole, tmp_path: Path) -> None:
    (tmp_path / "one.groovy").write_text(bundle(), encoding="utf-8")
    code = """
    qupath.lib.gui.UserDirectoryManager.scripts = java.nio.file.Path.of(folder, 'scripts')
    def printed = new StringWriter()
    def started = { ->
        new GroovyShell(console.loader, new Binding(out: printed)).evaluate(new File(folder, 'one.groovy'))
    }
    started()
    new File(folder, 'scripts/wsi_segment/wsisegment/Old.groovy').text = 'class Old {}'
    started()
    [printed.toString().readLines(), qupath.lib.gui.prefs.PathPrefs.startupScriptProperty().value]
    """
    said, startup = groovy(code, folder=tmp_path)
    home = tmp_path / "scripts" / "wsi_segment"
    assert said == [f"Installed in {home}."] * 2
    assert startup == str(home / "install_menu.groovy")
    installed = {path.relative_to(home): path.read_bytes() for path in home.rglob("*.groovy")}
    assert installed == {
        path.relative_to(PLUGIN): path.read_bytes() for path in PLUGIN.rglob("*.groovy") if path.name != "bundle.groovy"
    }


def test_the_extension_is_compiled_for_the_java_of_the_oldest_qupath(extension: bytes) -> None:
    with zipfile.ZipFile(io.BytesIO(extension)) as archive:
        (compiled,) = [name for name in archive.namelist() if name.endswith(".class")]
        assert int.from_bytes(archive.read(compiled)[6:8], "big") == 44 + 17
        assert archive.namelist()[0] == "META-INF/MANIFEST.MF"
