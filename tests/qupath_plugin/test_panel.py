"""The panel in real JavaFX on a virtual display, on stand-ins for QuPath's classes and the real service."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import web
from groovy_console import PLUGIN, GroovyConsole
from live_server import Served
from synthetic import class_map
from wsi_segment.service.cli.commands.qupath import jar

BEGIN = """
import javafx.application.Platform
import javafx.event.Event
import javafx.scene.control.DialogPane
import javafx.stage.Stage
import javafx.stage.WindowEvent
import qupath.fx.dialogs.Dialogs
import qupath.fx.utils.FXUtils
import qupath.lib.gui.QuPathGUI
import qupath.lib.gui.viewer.QuPathViewer
import qupath.lib.images.servers.*
import qupath.lib.objects.PathObject
import qupath.lib.objects.classes.PathClass
import qupath.lib.roi.*
import qupath.lib.roi.interfaces.ROI
console.draw()
def image = console.image(900, 700, 1.0d, "${folder}/slides/s0.tiff")
def hierarchy = image.hierarchy
def wait = { Closure<Boolean> until ->
    for (int i = 0; i < 2400 && !until(); i++) sleep(50)
    assert until() : "${Dialogs.shown} ${Workbench.@panel?.@status?.text}"
}
def drawing = { Closure<?> work -> FXUtils.callOnApplicationThread(work) }
Dialogs.shown.clear()
def gui = new QuPathGUI(imageData: image)
QuPathGUI.instance = gui
gui.allViewers << new QuPathViewer(imageData: image)
drawing { gui.stage = new Stage() }
def open = { List<String> arguments = [] ->
    console.act('segment', arguments, image)
    wait { Workbench.@panel?.stage?.showing }
    wait { Workbench.@panel.@models || Workbench.@panel.@server.expanded }
}
def node = { String id -> Workbench.@panel.stage.scene.lookup("#$id") }
def type = { Map<String, Object> values -> drawing { values.each { id, value ->
    def found = node(id)
    if (found instanceof javafx.scene.control.TextField) found.text = value
    else if (found instanceof javafx.scene.control.ComboBox) found.value = value
    else found.selected = value
} } }
def press = { String id -> drawing { assert !node(id).disable : id; node(id).fire() } }
def runUntilItWaits = { ->
    press('run')
    wait { drawing { node('status').text } == 'waiting for a worker' }
}
def idle = { -> wait { Workbench.@panel.@working == null && drawing { node('cancel').disable } } }
try {
"""
END = """
} finally {
    drawing { Workbench.@panel?.stage?.hide(); gui.stage.hide() }
    Workbench.@panel = null
    QuPathGUI.instance = null
}"""


def statuses(idle: Served) -> list[str]:
    """Of all jobs, the newest first."""
    return [one["status"] for one in web.get(f"{idle.url}/v1/jobs").json()["jobs"]]


def panel(windows: GroovyConsole, served: Served, code: str, **more: object) -> Any:
    """What a piece gives that can ``open()`` the panel, ``type()`` into it, ``press()`` its buttons and wait."""
    return windows(BEGIN + code + END, folder=served.folder, url=served.url, **more)


def test_a_run_from_the_panel_shows_overlay_areas_and_annotations_and_can_be_removed(
    windows: GroovyConsole, served: Served
) -> None:
    code = """
    long begun = System.currentTimeMillis()
    open()
    boolean late = System.currentTimeMillis() - begun > 100000  // the patience with a server that is away is 300 s
    type(address: url)
    press('connect')
    wait { Workbench.@panel.@models.size() == 2 }
    type(model: 'channels', objects: 'annotations')
    def card = drawing { node('about').text }
    assert Panel.researchOnly('Research only. For tests.') == 'Research only. For tests.'
    press('run')
    idle()
    def viewer = gui.allViewers[0]
    def server = viewer.customPixelLayerOverlay.getPixelClassificationServer(image)
    def place = [level: 0, tileX: 768, tileY: 512, tileWidth: 132, tileHeight: 188]
    def tile = server.readTile(new TileRequest(place))
    def said = drawing { node('status').text }
    def colors = { now ->
        def one = now.readTile(new TileRequest(place))
        (0..<188).collectMany { y -> (0..<132).collect { x -> one.getRGB(x, y) } }.toSet().sort()
    }
    def all = colors(server)
    drawing { def box = node('classes').children.find { it.text == 'red' }; box.fire() }
    def without = colors(viewer.customPixelLayerOverlay.getPixelClassificationServer(image))
    def metadata = server.metadata
    def seen = [
        said, viewer.overlayOptions.showPixelClassification, viewer.overlayOptions.opacity, server.URIs[0].toString(),
        metadata.levels.collect { [it.downsample, it.width, it.height] },
        metadata.classificationLabels.collectEntries { [it.key, it.value.name] }, gui.availablePathClasses*.name,
        tile.raster.getSample(5, 7, 0), all, without,
        drawing { node('table').items.collect { [it.where, it.name, it.mm2] } },
        hierarchy.annotationObjects.size(), hierarchy.annotationObjects*.name.unique(), hierarchy.changes.size(),
        card, late,
    ]
    press('remove')
    idle()
    seen << [viewer.customPixelLayerOverlay, hierarchy.annotationObjects.size(), drawing { node('status').text }]
    """
    seen = panel(windows, served, code)
    said, shown, opacity, address, levels, labels, offered, value, colors, without, rows, *rest = seen
    count, names, changes, card, late, removed = rest
    job = said.split()[1]
    ids = class_map(served.data / "results" / job / "mask.zarr")
    assert f"{count} annotations were added" in said
    assert shown
    assert opacity == 0.5
    assert not late
    assert address == f"{served.url}/v1/jobs/{job}/results/tiles.json"
    assert levels[:2] == [[1.0, 900, 700], [2.0, 450, 350]]
    assert labels == {"0": None, "1": "red", "2": "green", "3": "blue"}
    assert set(offered) == {"red", "green", "blue"}
    assert value == int(ids[512 + 7, 768 + 5])
    red = 0xFFC80000 - (1 << 32)
    assert red in colors
    assert red not in without
    assert len(without) == len(colors) - (0x00FFFFFF in colors)
    assert [row[:2] for row in rows] == [["slide", "red"], ["slide", "green"], ["slide", "blue"]]
    assert rows[0][2] == pytest.approx((ids == 1).sum() / 1e6, abs=1e-6)
    assert names == [None]  # a name on each piece would hide the slide
    assert changes == 1
    assert "Research use only" in card
    assert removed[:2] == [None, 0]
    assert "Edit > Undo" in removed[2]


def test_cancel_dismisses_the_job_and_failures_are_notifications(windows: GroovyConsole, idle: Served) -> None:
    before = len(statuses(idle))
    code = """
    open()
    type(address: url)
    runUntilItWaits()
    assert drawing { node('run').disable && !node('cancel').disable }
    press('cancel')
    idle()
    def cancelled = drawing { node('status').text }
    console.act('overlay', ["server=$url", 'job=000000000000000000000000'], image)
    wait { !Dialogs.shown.isEmpty() }
    [cancelled, Dialogs.shown[0], hierarchy.changes, image.historyWorkflow.steps.size()]
    """
    cancelled, unknown, changes, history = panel(windows, idle, code)
    assert cancelled.startswith("cancelled (job")
    after = statuses(idle)
    assert after[: len(after) - before] == ["dismissed"]
    assert unknown.startswith("error: ")
    assert (changes, history) == ([], 0)


def test_closing_asks_what_becomes_of_a_running_job(windows: GroovyConsole, idle: Served) -> None:
    before = len(statuses(idle))
    code = """
    open()
    type(address: url)
    runUntilItWaits()
    def close = { Stage stage, String answer, boolean stays ->
        Platform.runLater { Event.fireEvent(stage, new WindowEvent(stage, WindowEvent.WINDOW_CLOSE_REQUEST)) }
        def shown = { -> javafx.stage.Window.windows.findAll { it instanceof Stage && it.showing } }
        def asked = { -> drawing { shown()*.scene*.root.find { it instanceof DialogPane } } }
        wait { asked() != null }
        drawing { def pane = asked(); pane.lookupButton(pane.buttonTypes.find { it.text == answer }).fire() }
        wait { asked() == null }
        wait { drawing { stage.showing } == stays }
        return drawing { stage.showing }
    }
    def seen = [close(Workbench.@panel.stage, 'Keep the window', true)]
    seen << close(Workbench.@panel.stage, 'Cancel the job', false)
    wait { Workbench.@panel.@working == null }
    drawing { Workbench.@panel.show(); gui.stage.show() }
    wait { drawing { !node('run').disable } }
    runUntilItWaits()
    seen << close(gui.stage, 'Do not quit', true)
    seen << close(gui.stage, 'Cancel the job', false)
    wait { Workbench.@panel?.@working == null }
    seen
    """
    seen = panel(windows, idle, code)
    assert seen == [True, False, True, False]
    after = statuses(idle)
    assert after[: len(after) - before] == ["dismissed", "dismissed"]


def test_a_missing_pixel_size_is_asked_for_and_selections_are_counted(windows: GroovyConsole, served: Served) -> None:
    code = """
    image.server.mpp = 0.0d
    open()
    type(address: url, mpp: '')
    wait { drawing { node('run').disable } }
    def asked = drawing { node('mpp').promptText }
    type(mpp: '1.0')
    wait { drawing { !node('run').disable } }
    def square = new ROI(GeoJson.read([type: 'Polygon', coordinates: [[[0, 0], [9, 0], [9, 9], [0, 9], [0, 0]]]]))
    2.times { hierarchy.objects << new PathObject(ROI: square) }
    hierarchy.objects << new PathObject(ROI: square)
    hierarchy.objects[2].metadata['WSI Segment'] = 'job'
    def cores = [new PathObject(ROI: square, kind: 'core')]
    hierarchy.TMAGrid = new qupath.lib.objects.hierarchy.TMAGrid(TMACoreList: cores)
    type(selected: true)
    wait { drawing { node('run').disable } }
    press('all_annotations')
    wait { drawing { node('place').text }.contains('2 selected') }
    def place = drawing { node('place').text }
    press('cores')
    wait { drawing { node('place').text }.contains('1 selected') }
    type(mpp: 'small')
    press('run')
    [asked, place, drawing { node('status').text }]
    """
    asked, place, wrong = panel(windows, served, code)
    assert "give µm per pixel" in asked
    assert "2 selected, of 2 annotations and 1 TMA cores" in place
    assert wrong == "mpp=small: write a number"


def test_nothing_of_one_slide_is_shown_for_another(windows: GroovyConsole, served: Served) -> None:
    code = """
    open()
    type(address: url, mpp: '1.1')
    press('run')
    idle()
    def state = { -> drawing {
        [node('mpp').text, node('job').items.size(), node('table').items.size(), node('classes').children.size()]
    } }
    def seen = [state()]
    def other = console.image(900, 700, 1.0d, "${folder}/slides/other.tiff")
    gui.imageData = other
    wait { drawing { node('mpp').text == '' } }
    seen << state()
    gui.imageData = image
    wait { drawing { node('table').items.size() > 0 } }
    seen << state()
    press('remove')
    idle()
    seen << state()
    """
    seen = panel(windows, served, code)
    classes = seen[0][3]
    assert classes > 1
    assert seen == [["1.1", 1, classes, classes], ["", 0, 0, 0], ["", 0, classes, classes], ["", 0, 0, 0]]


def test_an_image_that_was_closed_meanwhile_gets_nothing_and_that_is_told(
    windows: GroovyConsole, served: Served
) -> None:
    code = """
    open()
    type(address: url, objects: 'annotations')
    gui.allViewers.clear()
    press('run')
    idle()
    [drawing { node('status').text }, Dialogs.shown, hierarchy.changes, drawing { node('table').items.size() }]
    """
    said, shown, changes, rows = panel(windows, served, code)
    assert "the image was closed in the meantime, and nothing was added; open it again, and Find brings job" in said
    assert shown == [f"error: {said}"]
    assert (changes, rows) == ([], 0)


def test_a_server_that_does_not_answer_leaves_the_panel_open(windows: GroovyConsole, served: Served) -> None:
    code = """
    open()
    type(address: 'http://127.0.0.1:1')
    long begun = System.currentTimeMillis()
    press('connect')
    wait { drawing { node('server').text }.contains('no server answers') }
    long waited = System.currentTimeMillis() - begun
    type(address: url)
    [drawing { node('server').text }, waited < 100000, drawing { node('trouble').text },
     drawing { Workbench.@panel.stage.scene.root.content.minWidth(-1) }]
    """
    said, soon, whole, width = panel(windows, served, code)
    assert said.startswith("http://127.0.0.1:1: no server answers (nothing listens there)")
    assert whole == said
    assert width < 430  # the window's own least width
    assert soon


def test_results_of_the_slide_are_listed_by_what_tells_them_apart(
    windows: GroovyConsole, served: Served, done: str
) -> None:
    code = """
    open()
    type(address: url)
    press('find')
    idle()
    def labels = drawing { node('job').items*.label ?: [node('status').text] }
    drawing { node('job').value = node('job').items.find { it.job == done } }
    press('take')
    idle()
    [labels, hierarchy.annotationObjects.size()]
    """
    labels, count = panel(windows, served, code, done=done)
    assert [
        label for label in labels if label.startswith("s0.tiff, whole slide, channels, 20") and done[:6] in label
    ], labels
    assert count > 10


def test_a_project_is_run_without_a_question(windows: GroovyConsole, served: Served) -> None:
    code = """
    def lines = console.act('segment', ["server=$url", 'model=channels'], image, 12)
    [lines[-1].contains('is done'), Dialogs.shown, gui.allViewers[0].customPixelLayerOverlay]
    """
    assert panel(windows, served, code) == [True, [], None]


def test_the_entries_of_the_menu_do_what_they_say(windows: GroovyConsole, served: Served) -> None:
    code = """
    console.run('install_menu')
    wait { gui.commands.size() == 3 }
    def loader = gui.stage.properties['wsi-segment'].plugin.classLoader
    def field = loader.loadClass('wsisegment.Workbench').getDeclaredField('panel')
    field.accessible = true
    def enter = { String item -> drawing { gui.commands["Extensions>WSI Segment>$item".toString()].run() } }
    def said = { -> drawing { field.get(null).stage.scene.lookup('#status').text } }
    enter('Segment...')
    wait { field.get(null)?.stage?.showing }
    enter('Send corrections')
    wait { said().contains('which result is corrected') }
    drawing { field.get(null).stage.hide() }
    enter('Remove results')
    wait { Dialogs.shown.toString().contains('were removed') }
    gui.commands.keySet()
    """
    found = panel(windows, served, code)
    assert all(path.startswith("Extensions>WSI Segment>") for path in found)


def test_without_arguments_the_overlay_script_lists_the_results(
    windows: GroovyConsole, served: Served, done: str
) -> None:
    code = """
    open()
    type(address: url)
    console.act('overlay', [], image)
    wait { drawing { node('job').items.any { it.job == done } } }
    idle()
    drawing { node('job').items.size() }
    """
    assert panel(windows, served, code, done=done) > 0


def test_the_slider_follows_an_opacity_of_nothing(windows: GroovyConsole, served: Served) -> None:
    code = """
    open()
    gui.allViewers[0].overlayOptions.opacity = 0.25f
    wait { drawing { node('opacity').value } == 0.25d }
    gui.allViewers[0].overlayOptions.opacity = 0.0f
    wait { drawing { node('opacity').value } == 0.0d }
    drawing { node('opacity').value }
    """
    assert panel(windows, served, code) == 0


def test_an_error_that_nobody_foresaw_is_shown_and_the_panel_goes_on(windows: GroovyConsole, served: Served) -> None:
    code = """
    open()
    drawing { Workbench.@panel.work('odd') { progress -> throw new IllegalStateException('odd one out') } }
    idle()
    [Dialogs.shown, drawing { node('status').text }]
    """
    shown, said = panel(windows, served, code)
    assert shown == ["broken: java.lang.IllegalStateException: odd one out"]
    assert said == "this should not have happened: java.lang.IllegalStateException: odd one out"


def test_an_extension_carries_the_scripts_and_adds_their_menu(
    windows: GroovyConsole, tmp_path: Path, extension: bytes
) -> None:
    (tmp_path / "one.jar").write_bytes(extension)
    assert jar() == extension
    old = tmp_path / "scripts" / "wsi_segment" / "wsisegment" / "Old.groovy"
    old.parent.mkdir(parents=True)
    old.write_text("class Old {}")
    old.parents[1].joinpath("mine.groovy").write_text("// the user's own")
    code = """
    console.draw()
    qupath.lib.gui.UserDirectoryManager.scripts = java.nio.file.Path.of(folder, 'scripts')
    def gui = new qupath.lib.gui.QuPathGUI()
    qupath.fx.utils.FXUtils.callOnApplicationThread { gui.stage = new javafx.stage.Stage() }
    qupath.lib.gui.QuPathGUI.instance = gui
    def loader = new URLClassLoader([new File(folder, 'one.jar').toURI().toURL()] as URL[], console.loader)
    def extensions = ServiceLoader.load(qupath.lib.gui.extensions.QuPathExtension, loader).toList()
    try {
        qupath.fx.utils.FXUtils.callOnApplicationThread { extensions*.installExtension(gui) }
        for (int i = 0; i < 2400 && gui.commands.size() < 3; i++) sleep(50)
        def versions = extensions*.class*.package*.implementationVersion
        [extensions*.name, versions, gui.commands.keySet()]
    } finally {
        qupath.lib.gui.QuPathGUI.instance = null
    }
    """
    names, (version,), commands = windows(code, folder=tmp_path)
    home = old.parents[1]
    assert names == ["WSI Segment"]
    assert re.fullmatch(r"\d+\.\d+\.\d+(-[\w.]+)?", version)  # as QuPath reads versions
    assert "Extensions>WSI Segment>Segment..." in commands
    assert not old.exists()
    assert (home / "mine.groovy").exists()
    assert (home / "wsisegment" / "Panel.groovy").read_bytes() == (PLUGIN / "wsisegment" / "Panel.groovy").read_bytes()
