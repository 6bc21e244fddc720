"""The scripts' steps without a window, on stand-ins for QuPath's classes, real JTS and the real service."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from groovy_console import GroovyConsole, PluginError
from live_server import Served
from synthetic import class_map, tissue_like, write_slide

SQUARE = {"type": "Polygon", "coordinates": [[[200, 150], [700, 150], [700, 550], [200, 550], [200, 150]]]}
BEGIN = """
import qupath.lib.gui.QuPathGUI
import qupath.lib.images.servers.*
import qupath.lib.objects.PathObject
import qupath.lib.objects.classes.PathClass
import qupath.lib.roi.*
import qupath.lib.roi.interfaces.ROI
import qupath.fx.dialogs.Dialogs
def image = console.image(width, height, 1.0d, "${folder}/slides/s0.tiff")
def hierarchy = image.hierarchy
def read = { geometry -> new com.google.gson.Gson().fromJson(geometry, Map) }
def drawn = { geometry -> new PathObject(ROI: new ROI(GeoJson.read(read(geometry)))) }
try {
"""
END = "\n} finally { QuPathGUI.instance = null }"


def steps(groovy: GroovyConsole, served: Served, code: str, width: int = 900, height: int = 700, **more: object) -> Any:
    """What a piece gives that has an ``image`` of the server's first slide, and may open a ``window()``."""
    values = {"folder": served.folder, "url": served.url, "width": width, "height": height, **more}
    return groovy(BEGIN + code + END, **values)


def test_headless_the_whole_slide_becomes_annotations_and_areas(groovy: GroovyConsole, served: Served) -> None:
    code = """
    PathClass.getInstance('red', 0x112233)
    def lines = console.run('wsi_segment', ["server=$url", 'model=channels', 'annotations=true', 'min_area=100'], image)
    [lines, hierarchy.changes, hierarchy.rootObject.measurementList.values, PathClass.getInstance('red').color,
     hierarchy.annotationObjects.collect { [it.pathClass.name, it.locked, it.metadata, it.ID != null] },
     image.historyWorkflow.steps*.script, image.historyWorkflow.steps*.parameters]
    """
    lines, changes, areas, red, annotations, (script,), (parameters,) = steps(groovy, served, code)
    job = lines[-1].split()[3]
    assert lines[-1] == f"WSI Segment: job {job} is done; {len(annotations)} annotations were added"
    assert changes == [f"added {len(annotations)}"]  # one step of Undo
    assert len(annotations) > 10
    assert {name for name, *_ in annotations} == {"red", "green", "blue"}
    assert all(more == [True, {"WSI Segment": job}, True] for _, *more in annotations)
    assert red == 200 << 16
    ids = class_map(served.data / "results" / job / "mask.zarr")
    assert areas["WSI Segment: red area mm^2"] == pytest.approx(np.count_nonzero(ids == 1) / 1e6, abs=1e-6)
    assert areas["WSI Segment: red %"] == pytest.approx(100 * np.count_nonzero(ids == 1) / np.count_nonzero(ids))
    assert parameters["model"] == "channels"
    assert "key" not in parameters
    assert "wsi_segment.groovy" in script


def test_the_recorded_step_repeats_the_run(groovy: GroovyConsole, served: Served) -> None:
    code = """
    def arguments = ["server=$url", 'model=channels', 'measurements=false', 'annotations=true', "path_map=/it's=x"]
    console.run('wsi_segment', arguments, image)
    def step = image.historyWorkflow.steps[0].script
    assert step.readLines().size() == 1
    def printed = new StringWriter()
    new GroovyShell(console.loader, new Binding(out: printed)).evaluate(step)
    [image.historyWorkflow.steps*.script.unique().size(), image.historyWorkflow.steps.size(), hierarchy.changes.size(),
     printed.toString().readLines()[-1]]
    """
    scripts, count, changes, last = steps(groovy, served, code)
    assert (scripts, count, changes) == (1, 2, 1)
    assert re.search(r"0 annotations were added, \d+ were there already$", last)


def test_selected_annotations_are_the_region_and_get_their_own_areas(groovy: GroovyConsole, served: Served) -> None:
    code = """
    def parents = [drawn(square), drawn(square.replace('150', '20').replace('550', '100'))]
    hierarchy.objects.addAll(parents + drawn('{"type": "Polygon", "coordinates": [[[0, 0], [9, 0], [0, 9], [0, 0]]]}'))
    hierarchy.selectionModel.selectedObjects.addAll(parents)
    hierarchy.selectionModel.selectedObjects << drawn('{"type": "Point", "coordinates": [1, 1]}')
    def lines = console.act('segment', ["server=$url", 'model=channels', 'where=annotations'], image)
    [lines[-1].split()[3], parents.collect { it.measurementList.values }, hierarchy.rootObject.measurementList.values]
    """
    job, (first, second), root = steps(groovy, served, code, square=json.dumps(SQUARE))
    ids = class_map(served.data / "results" / job / "mask.zarr")
    assert not ids[560:, :].any()
    for areas, inside in ((first, ids[150:550, 200:700]), (second, ids[20:100, 200:700])):
        for class_id, name in enumerate(("red", "green", "blue"), 1):
            assert areas[f"WSI Segment: {name} area mm^2"] == pytest.approx(np.count_nonzero(inside == class_id) / 1e6)
    assert first["WSI Segment: red %"] != second["WSI Segment: red %"]
    assert root == {}


def test_what_cannot_be_segmented_is_refused_and_nothing_is_left(groovy: GroovyConsole, served: Served) -> None:
    code = """
    def slide = image.server
    def cases = [
        { image.server = new RotatedImageServer() },
        { image.server = new CroppedImageServer() },
        { image.server = new AffineTransformImageServer() },
        { image.server = new TransformingImageServer(wrappedServer: new RotatedImageServer()) },
        { image.server = new NormalizedImageServer(inner: new FlippedImageServer()) },
        { slide.slices = 3 },
        { image.server = new TransformingImageServer(wrappedServer: slide) },
        { slide.slices = 1; slide.uri = null },
        { slide.uri = new URI('https://omero.lab/webclient/?show=image-7'); it << 'upload=true' },
        { slide.uri = new URI('file:///none/x.svs') },
        { slide.uri = new File("$folder/slides/s0.tiff").toURI(); slide.height = 650 },
        { slide.height = 700; it << 'where=annotations' },
        { it << 'model=none' },
        { it << 'server=nowhere' },
    ]
    def said = cases.collect { prepare ->
        def arguments = ["server=$url".toString(), 'annotations=true']
        image.server = slide
        prepare(arguments)
        try {
            return console.act('segment', arguments, image).toString()
        } catch (Exception failure) {
            return failure.class.simpleName == 'Failure' ? failure.message : failure.toString()
        }
    }
    [said, hierarchy.changes, image.historyWorkflow.steps.size()]
    """
    said, changes, history = steps(groovy, served, code)
    expected = [
        "rotated, flipped, cropped or transformed (slide (ROTATE_90)); open the slide as its file has it",
        "rotated, flipped, cropped or transformed (Cropped image server)",
        "rotated, flipped, cropped or transformed (Affine transform server)",
        "rotated, flipped, cropped or transformed (slide)",
        "rotated, flipped, cropped or transformed (slide)",
        "a stack or a series",
        "a stack or a series",
        "the image has no file",
        "knows no slide https://omero.lab/webclient/?show=image-7",
        "knows no slide /none/x.svs: set the path map",
        "the slide is 900 x 700 px here and the height is 650 there",
        "no annotation with an area is selected",
        "model 'none' is unknown",
        "server 'nowhere': not an address",
    ]
    for text, part in zip(said, expected, strict=True):
        assert part in text
    assert (changes, history) == ([], 0)


def test_a_slide_that_the_server_does_not_see_is_uploaded_once(
    groovy: GroovyConsole, served: Served, tmp_path: Path
) -> None:
    (tmp_path / "far.tiff").write_bytes((served.folder / "slides" / "s0.tiff").read_bytes())
    code = """
    image.server.uri = new File(far).toURI()
    def arguments = ["server=$url", 'model=channels', 'upload=true', 'measurements=false']
    def uploads = { -> new File("$folder/data/uploads").list().size() }
    int before = uploads()
    2.times { console.act('segment', arguments, image) }
    [uploads() - before, image.historyWorkflow.steps.size()]
    """
    assert steps(groovy, served, code, far=tmp_path / "far.tiff") == [1, 2]


def test_annotations_of_a_finished_job_and_of_a_file_come_and_go(
    groovy: GroovyConsole, served: Served, done: str, tmp_path: Path
) -> None:
    code = """
    hierarchy.objects << drawn(square)
    def lines = console.act('annotations', ["server=$url", "job=$done"], image)
    int ours = hierarchy.annotationObjects.size() - 1
    def service = new Service(url, '', 1)
    service.download("/v1/jobs/$done/results/objects.geojson", java.nio.file.Path.of(path))
    lines += console.act('annotations', ["file=$path", 'min_area=500'], image)
    hierarchy.rootObject.measurementList.put('WSI Segment: red %', 1.0d)
    hierarchy.rootObject.measurementList.put('of others', 1.0d)
    lines += console.act('remove', [], image)
    [lines.findAll { it.contains('were') }, ours, hierarchy.annotationObjects.size(), hierarchy.changes,
     hierarchy.rootObject.measurementList.values.keySet() as List]
    """
    lines, ours, left, changes, names = steps(
        groovy, served, code, done=done, square=json.dumps(SQUARE), path=tmp_path / "o.geojson"
    )
    added = [int(line.split()[2]) for line in lines]
    assert added == [ours, 0, ours]
    assert ours > 10
    assert re.search(r", [1-9]\d* were there already$", lines[1])
    assert left == 1  # the user's own
    assert changes == [f"added {ours}", f"removed {ours}"]  # one step of Undo each
    assert names == ["of others"]


def test_results_of_another_slide_are_refused(groovy: GroovyConsole, served: Served, done: str) -> None:
    code = 'console.run(\'import_annotations\', ["server=$url", "job=$done"], image)'
    with pytest.raises(PluginError, match="of a slide of 900 x 700 px, the open image has 900 x 701"):
        steps(groovy, served, code, height=701, done=done)
    with pytest.raises(PluginError, match="has no result of a slide of 900 x 701 px"):
        steps(groovy, served, code.replace(', "job=$done"', ""), height=701)
    with pytest.raises(PluginError, match="an overlay needs QuPath's window"):
        steps(groovy, served, "console.act('overlay', [], image)")


def test_many_annotations_are_warned_of(groovy: GroovyConsole, served: Served, tmp_path: Path) -> None:
    path = many_squares(tmp_path / "many.geojson")
    code = """
    def lines = console.act('annotations', ["file=$path"], image)
    [lines.find { it.contains('warning') }, hierarchy.annotationObjects.size()]
    """
    warning, count = steps(groovy, served, code, path=path)
    assert "20005 annotations make QuPath slow; min_area=36.0 leaves the 20000 largest" in warning
    assert count == 20_005


def many_squares(path: Path) -> Path:
    """20,005 squares of 1 to 20,005 px, more than QuPath is quick with."""
    squares = [[[0, 0], [side, 0], [side, side], [0, side], [0, 0]] for side in range(1, 20_006)]
    features = [{"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring]}} for ring in squares]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


@pytest.mark.parametrize("kind", ["annotations", "detections"])
def test_with_parents_outlines_are_clipped_to_them_and_become_their_children(
    groovy: GroovyConsole, served: Served, kind: str
) -> None:
    code = """
    def parents = [drawn(square), drawn(square.replace('150', '20').replace('550', '100'))]
    hierarchy.objects.addAll(parents)
    def arguments = ["server=$url", 'model=channels', 'where=all-annotations', "${kind}=true".toString()]
    console.act('segment', arguments, image)
    def first = parents*.childObjects*.size()
    console.act('segment', arguments, image)
    def inside = parents.collect { parent ->
        parent.childObjects.every { parent.ROI.geometry.buffer(1e-6).covers(it.ROI.geometry) }
    }
    def areas = parents*.childObjects.collect { children ->
        children.groupBy { it.pathClass.name }.collectEntries { [it.key, it.value.sum { it.ROI.geometry.area } / 1e6] }
    }
    [first, parents*.childObjects*.size(), inside, areas, parents*.measurementList*.values, hierarchy.changes,
     parents*.childObjects.flatten()*.detection.unique()]
    """
    first, second, inside, areas, measured, changes, detections = steps(
        groovy, served, code, square=json.dumps(SQUARE), kind=kind
    )
    assert first == second  # the same objects are not added twice
    assert min(first) > 5
    assert inside == [True, True]
    assert changes == ["changed", "measured 2"]
    assert detections == [kind == "detections"]
    for of_children, of_mask in zip(areas, measured, strict=True):
        for name, mm2 in of_children.items():
            assert mm2 == pytest.approx(of_mask[f"WSI Segment: {name} area mm^2"], rel=0.005)


def test_areas_in_a_curve_are_those_of_the_outlines_clipped_to_it(groovy: GroovyConsole, served: Served) -> None:
    code = """
    def circle = new java.awt.geom.Ellipse2D.Double(200, 150, 60, 60)
    def path = circle.getPathIterator(null, 4.0d)
    def lines = org.locationtech.jts.awt.ShapeReader.read(path, new org.locationtech.jts.geom.GeometryFactory())
    def parent = new PathObject(ROI: new ROI(lines) { java.awt.Shape getShape() { circle } })
    hierarchy.objects.add(parent)
    console.act('segment', ["server=$url", 'model=channels', 'where=all-annotations', 'annotations=true'], image)
    [parent.childObjects.sum { it.ROI.geometry.area } / 1e6, lines.area / 1e6, parent.measurementList.values]
    """
    outlines, whole, values = steps(groovy, served, code)
    measured = sum(value for name, value in values.items() if name.endswith("mm^2"))
    assert whole < 0.97 * np.pi * 0.03**2  # the lines are well inside the curve
    assert outlines == pytest.approx(whole, rel=0.005)
    assert measured == pytest.approx(outlines, rel=0.005)


def test_cores_are_parents_and_those_without_are_told(groovy: GroovyConsole, served: Served) -> None:
    code = """
    def arguments = ["server=$url", 'model=channels', 'where=cores']
    def none = null
    try { console.act('segment', arguments, image) } catch (Exception failure) { none = failure.message }
    def core = drawn(square)
    core.kind = 'core'
    hierarchy.TMAGrid = new qupath.lib.objects.hierarchy.TMAGrid(TMACoreList: [core])
    console.act('segment', arguments, image)
    [none, core.measurementList.values.size()]
    """
    none, measured = steps(groovy, served, code, square=json.dumps(SQUARE))
    assert "the image has no TMA cores" in none
    assert measured == 6


def test_the_pixel_size_of_the_job_counts_for_the_least_area(groovy: GroovyConsole, served: Served) -> None:
    code = """
    def counts = ['mpp=1.4', 'mpp=0.8'].collect { size ->
        def arguments = ["server=$url", 'model=channels', 'annotations=true', 'min_area=400', size]
        def lines = console.act('segment', arguments, image)
        def job = lines[-1].split()[3]
        console.act('remove', [], image)
        console.act('annotations', ["server=$url", "job=$job", 'min_area=400'], image)
        def areas = hierarchy.annotationObjects.collect { it.measurementList.values['Area um^2'] }
        console.act('remove', [], image)
        [areas.size(), areas.min()]
    }
    """
    (many, least), (few, least_too) = steps(groovy, served, code)
    assert many > few > 0
    assert min(least, least_too) >= 399.99


def test_corrections_are_kept_beside_the_result(groovy: GroovyConsole, served: Served) -> None:
    code = """
    def nothing = null
    try { console.act('corrections', ["server=$url"], image) } catch (Exception failure) { nothing = failure.message }
    console.act('segment', ["server=$url", 'model=channels', 'annotations=true'], image)
    int ours = hierarchy.annotationObjects.size()
    hierarchy.annotationObjects[0].pathClass = PathClass.getInstance('blue')
    hierarchy.objects << drawn(square)  // without a class: no correction
    [nothing, ours] + (1..2).collect { console.act('corrections', ["server=$url"], image)[-1] }
    """
    nothing, ours, first, second = steps(groovy, served, code, square=json.dumps(SQUARE))
    assert "say which result is corrected: job=ID" in nothing
    assert f"{ours} annotations were sent as version 1 of the corrections of job" in first
    assert "as version 2" in second


def test_a_pixel_size_that_was_set_in_qupath_is_the_jobs(groovy: GroovyConsole, served: Served) -> None:
    code = """
    def sizes = [[1.0d, null, []], [0.8d, 1.0d, []], [0.8d, 1.0d, ['mpp=1.2']]].collect { now, file, more ->
        image.server.mpp = now
        image.server.stated = file
        def lines = console.act('segment', ["server=$url", 'model=channels'] + more, image)
        new Service(url, '', 1).json('GET', "/v1/jobs/${lines[-1].split()[3].replace(';', '')}").parameters.mpp
    }
    """
    assert steps(groovy, served, code) == [None, 0.8, 1.2]


def test_annotations_that_were_deleted_while_the_job_ran_are_told(groovy: GroovyConsole, served: Served) -> None:
    code = """
    def parents = [drawn(square), drawn(square.replace('150', '20').replace('550', '100'))]
    hierarchy.objects.addAll(parents)
    def told = (1..2).collect { int gone ->
        def arguments = ["server=$url", 'model=channels', 'where=all-annotations', 'annotations=true']
        def lines = { line -> if (line.contains('was accepted')) hierarchy.objects.removeAll(parents.take(gone)) }
        def progress = new Lines(lines)
        new Steps(console.plugin, image, Settings.load(arguments*.toString()), progress).segment().said
    }
    [told, parents*.childObjects*.size(), hierarchy.changes]
    """
    (one, both), children, changes = steps(groovy, served, code, square=json.dumps(SQUARE))
    assert "1 of 2 annotations or cores were deleted in the meantime" in one
    assert both.endswith("1 of 1 annotations or cores were deleted in the meantime, and nothing was added for them")
    assert children[0] == 0 < children[1]
    assert changes == ["changed"]


def test_a_result_of_another_slide_of_the_same_size_is_refused(
    groovy: GroovyConsole, served: Served, done: str, tmp_path: Path
) -> None:
    write_slide(served.folder / "slides" / "twin.tiff", tissue_like(700, 900, seed=77))
    code = """
    image.server.uri = new File("$folder/slides/twin.tiff").toURI()
    def settings = Settings.load(["server=$url", "job=$done"]*.toString())
    def steps = new Steps(console.plugin, image, settings, new Lines({ }))
    assert !steps.finished()*.job.contains(done)
    steps.annotations()
    """
    with pytest.raises(PluginError, match=r"is of another slide, s0\.tiff; the open image is slide"):
        steps(groovy, served, code, done=done)


def test_results_are_found_behind_any_number_of_newer_ones_of_other_slides(
    groovy: GroovyConsole, served: Served, done: str
) -> None:
    write_slide(served.folder / "slides" / "newer.tiff", tissue_like(700, 900, seed=78))
    code = """
    def here = image.server.uri
    image.server.uri = new File("$folder/slides/newer.tiff").toURI()
    console.act('segment', ["server=$url", 'model=channels'], image)
    image.server.uri = here
    def steps = new Steps(console.plugin, image, Settings.load(["server=$url".toString()]), new Lines({ }))
    def all = steps.finished()*.job
    steps.listed = 1
    [all, steps.finished()*.job]
    """
    found, behind = steps(groovy, served, code, done=done)
    assert done in found
    assert behind == found[:1]


def test_doubts_about_a_result_are_said(groovy: GroovyConsole, served: Served) -> None:
    write_slide(served.folder / "slides" / "glass.tiff", np.full((700, 900, 3), 243, dtype=np.uint8))
    code = """
    image.server.uri = new File("$folder/slides/glass.tiff").toURI()
    console.act('segment', ["server=$url", 'model=channels'], image)[-1]
    """
    assert "is done; warning: " in steps(groovy, served, code)


def test_classes_of_several_parts_and_with_a_colon_are_sent_by_their_full_names(
    groovy: GroovyConsole, served: Served
) -> None:
    code = """
    console.act('segment', ["server=$url", 'model=channels', 'annotations=true'], image)
    def (first, second) = hierarchy.annotationObjects
    first.pathClass = new PathClass(name: 'Positive', of: 'Tumor')
    def tiles = new Tiles(new Service(url, '', 1), first.metadata['WSI Segment'])
    tiles.served['Gland - left'] = 'Gland: left'
    second.pathClass = PathClass.getInstance('Gland - left')
    def sent = new Results(new OpenImage(image)).corrections(tiles.served)
    def names = { name -> sent[name].collect { it.get('properties').get('classification').subMap(['name', 'names']) } }
    [names('Tumor: Positive'), names('Gland: left'), console.act('corrections', ["server=$url"], image)[-1]]
    """
    derived, renamed, said = steps(groovy, served, code)
    assert derived == [{"name": "Tumor: Positive"}]
    assert renamed == [{"name": "Gland: left"}]
    assert "the model has no class Gland - left, Tumor: Positive: rename it" in said


def test_another_image_of_the_file_is_told(groovy: GroovyConsole, served: Served) -> None:
    code = """
    image.server.arguments = '[--series, 2]'
    [[], ['image=0']].collect { more -> console.act('segment', ["server=$url", 'model=channels'] + more, image)[-1] }
    """
    warned, chosen = steps(groovy, served, code)
    assert "warning: QuPath shows image 2 of this file, the server took its slide" in warned
    assert "warning" not in chosen


def test_what_is_no_correction_is_not_sent_and_strange_classes_are_told(groovy: GroovyConsole, served: Served) -> None:
    code = """
    console.act('segment', ["server=$url", 'model=channels', 'detections=true'], image)
    int ours = hierarchy.objects.size()
    def cell = drawn(square)
    cell.kind = 'detection'
    cell.pathClass = PathClass.getInstance('Positive')
    hierarchy.objects << cell
    hierarchy.objects << drawn(square)
    hierarchy.objects[-1].pathClass = PathClass.getInstance('Ignore*')
    hierarchy.objects[0].pathClass = PathClass.getInstance('Tumor')
    [ours, console.act('corrections', ["server=$url"], image)[-1]]
    """
    ours, said = steps(groovy, served, code, square=json.dumps(SQUARE))
    assert f": {ours} annotations were sent as version" in said
    assert said.endswith("the model has no class Tumor: rename it, or name it in classes.json before training")


def test_menus_are_for_the_window(groovy: GroovyConsole) -> None:
    with pytest.raises(PluginError, match="menus need QuPath's window"):
        groovy("console.run('install_menu')")
