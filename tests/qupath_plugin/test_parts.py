"""What needs neither QuPath nor a server: paths, settings, GeoJSON files."""

from __future__ import annotations

import gzip
import json
import stat
import uuid
from pathlib import Path
from typing import Any

import pytest

from groovy_console import GroovyConsole, PluginError
from wsi_segment.service.api.bodies.requests import Choices

SQUARE = [[0, 0], [10, 0], [10, 10], [0, 10], [0, 0]]


@pytest.mark.parametrize(
    ("rules", "here", "there"),
    [
        ("", "/slides/a.svs", "/slides/a.svs"),
        ("/mnt/lab=/data", "/mnt/lab/b/a.svs", "/data/b/a.svs"),
        ("/mnt/lab/=/data/", "/mnt/lab/b/a.svs", "/data/b/a.svs"),
        ("/mnt/lab=/data", "/mnt/laboratory/a.svs", "/mnt/laboratory/a.svs"),
        ("/mnt=/x; /mnt/lab=/y", "/mnt/lab/a.svs", "/y/a.svs"),
        (r"Z:\slides=/data", r"z:\Slides\week 1\a.svs", "/data/week 1/a.svs"),
        (r"Z:\=/data", r"Z:\a.svs", "/data/a.svs"),
        (r"\\nas\slides=/data", r"\\NAS\slides\ä+b.svs", "/data/ä+b.svs"),
        ("/data=D:/slides", "/data/a.svs", "D:/slides/a.svs"),
        ("/data=slides", "/data/a.svs", "slides/a.svs"),
    ],
)
def test_paths_are_mapped_as_the_server_sees_them(groovy: GroovyConsole, rules: str, here: str, there: str) -> None:
    assert groovy("new PathMap(rules).toServer(here)", rules=rules, here=here) == there


@pytest.mark.parametrize("rules", ["/data", "=/data", "/data="])
def test_half_a_path_rule_is_refused(groovy: GroovyConsole, rules: str) -> None:
    with pytest.raises(PluginError, match="write CLIENT=SERVER"):
        groovy("new PathMap(rules)", rules=rules)


def test_settings_come_from_the_file_then_the_environment_then_the_arguments(
    groovy: GroovyConsole, tmp_path: Path
) -> None:
    file = tmp_path / "deep" / "qupath.json"
    groovy(
        """def kept = Settings.load([], [:], java.nio.file.Path.of(file))
        [server: 'http://file:1', key: 'secret', model: 'file', upload: true, min_area: 12.5, job: 'not kept'].each {
            name, value -> kept.set(name, value)
        }
        kept.save(java.nio.file.Path.of(file))""",
        file=file,
    )
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    seen = groovy(
        """def environment = [WSI_SEGMENT_SERVER: 'http://environment:2']
        def s = Settings.load(['model=argument', 'annotations=true'], environment, java.nio.file.Path.of(file))
        ['server', 'key', 'model', 'upload', 'annotations', 'min_area', 'job'].collect { s.@values[it] }""",
        file=file,
    )
    assert seen == ["http://environment:2", "secret", "argument", True, True, 12.5, ""]


def test_what_is_recorded_repeats_the_run_and_never_tells_the_key(groovy: GroovyConsole) -> None:
    arguments = ["server=http://a:1", "key=secret", "where=annotations", "mpp=0.25", "job=x"]
    recorded = groovy(
        "Settings.load(arguments, [:], java.nio.file.Path.of('/nowhere')).recorded()", arguments=arguments
    )
    assert recorded == ["server=http://a:1", "mpp=0.25", "where=annotations"]


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("modle=x", "there is no setting 'modle'"),
        ("model", "write name=value"),
        ("mpp=small", "mpp=small: write a number"),
        ("mpp=NaN", "write a number"),
        ("upload=yes", "upload=yes: write true or false"),
        ("where=here", "where=here: write slide, annotations, all-annotations or cores"),
    ],
)
def test_a_wrong_argument_is_named_with_its_remedy(groovy: GroovyConsole, argument: str, message: str) -> None:
    with pytest.raises(PluginError, match=message):
        groovy("Settings.load([argument], [:], java.nio.file.Path.of('/nowhere'))", argument=argument)


def test_a_broken_settings_file_is_named(groovy: GroovyConsole, tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text("{")
    with pytest.raises(PluginError, match=r"s\.json: not settings of this plugin"):
        groovy("Settings.load([], [:], java.nio.file.Path.of(file))", file=tmp_path / "s.json")


def feature(geometry: Any = None, **properties: Any) -> dict[str, Any]:
    geometry = geometry if geometry is not None else {"type": "Polygon", "coordinates": [SQUARE]}
    return {"type": "Feature", "id": str(uuid.uuid4()), "geometry": geometry, "properties": properties}


def read(groovy: GroovyConsole, path: Path, min_area: float = 0.0) -> tuple[list[dict[str, Any]], int]:
    texts, unusable = groovy(
        """def found = []
        int unusable = new Outlines(java.nio.file.Path.of(file), 0.25d).each(least as double) { found << it.toString() }
        [found, unusable]""",
        file=path,
        least=min_area,
    )
    return [json.loads(text) for text in texts], unusable


def write(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content))
    return path


def test_a_feature_keeps_what_qupath_reads_and_loses_what_stops_it(groovy: GroovyConsole, tmp_path: Path) -> None:
    wild = feature(
        {"type": "Polygon", "coordinates": [SQUARE[:-1]]},
        name=None,
        isLocked=True,
        classification={"name": "Tumor: Positive", "color": [200.0, -5, 300]},
        measurements={"good": 1.5, "bad": None, "worse": "NaN"},
        metadata={"a": "b", "c": None},
        extra={"deep": None},
    ) | {"id": "not-a-uuid"}
    (found,), unusable = read(groovy, write(tmp_path / "a.geojson", {"type": "FeatureCollection", "features": [wild]}))
    assert unusable == 0
    assert found == {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [SQUARE]},
        "properties": {
            "objectType": "annotation",
            "isLocked": True,
            "classification": {"name": "Tumor - Positive", "color": [200, 0, 255]},
            "measurements": {"good": 1.5},
            "metadata": {"a": "b"},
        },
    }


def test_features_that_cannot_be_used_are_counted_and_the_others_come(groovy: GroovyConsole, tmp_path: Path) -> None:
    bad: list[Any] = [
        feature({"type": "GeometryCollection", "geometries": []}),
        feature({"type": "Polygon", "coordinates": []}),
        feature({"type": "Polygon", "coordinates": [[[0, 0], [1, None], [1, 1], [0, 0]]]}),
        feature({"type": "Polygon", "coordinates": [[[0, 0], [1, 1]]]}),
        {"type": "Feature", "geometry": None, "properties": {}},
        "text",
        None,
    ]
    found, unusable = read(groovy, write(tmp_path / "a.geojson", [feature(), *bad, feature()]))
    assert (len(found), unusable) == (2, len(bad))


def test_packed_single_and_listed_features_are_read(groovy: GroovyConsole, tmp_path: Path) -> None:
    one = feature()
    for content in (
        one,
        [one],
        {"features": [one], "type": "FeatureCollection"},
        {"crs": {"a": [1]}, "features": [one]},
    ):
        assert len(read(groovy, write(tmp_path / "a.geojson", content))[0]) == 1
    packed = tmp_path / "packed.geojson.gz"
    packed.write_bytes(gzip.compress(json.dumps([one, one]).encode()))
    assert len(read(groovy, packed)[0]) == 2
    assert read(groovy, write(tmp_path / "none.geojson", {"type": "FeatureCollection", "features": []})) == ([], 0)


@pytest.mark.parametrize(
    "content",
    [b"", b"nonsense", b'{"features": [', b'{"type": "FeatureCollection"}', b'"text"', b"\x1f\x8b\x08broken", b"[{]"],
)
def test_what_is_no_geojson_is_refused(groovy: GroovyConsole, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.geojson"
    path.write_bytes(content)
    with pytest.raises(PluginError, match=r"a\.geojson"):
        read(groovy, path)


def test_a_coarser_choice_leaves_the_largest_and_fills_small_holes(groovy: GroovyConsole, tmp_path: Path) -> None:
    def square(x: float, side: float) -> list[list[float]]:
        return [[x, 0], [x + side, 0], [x + side, side], [x, side], [x, 0]]

    # areas in µm² at 0.25 µm² a pixel: 25, 100 with holes of 1 and 25, 1
    features = [
        feature({"type": "Polygon", "coordinates": [square(0, 10)]}),
        feature({"type": "Polygon", "coordinates": [square(100, 20), square(101, 2), square(105, 10)]}),
        feature({"type": "MultiPolygon", "coordinates": [[square(200, 2)]]}),
    ]
    path = write(tmp_path / "a.geojson", features)
    areas = groovy("new Outlines(java.nio.file.Path.of(file), 0.25d).survey() as List", file=path)
    assert areas == [74.0, 25.0, 1.0]
    assert groovy("Outlines.coarser([74, 25, 1] as double[], 2)") == 25.0
    assert groovy("Outlines.coarser([74, 25, 25, 1] as double[], 2)") == 74.0
    kept, _ = read(groovy, path, min_area=10)
    assert len(kept) == 2
    assert len(kept[1]["geometry"]["coordinates"]) == 2


def test_a_large_file_is_read_in_little_memory(groovy: GroovyConsole, tmp_path: Path) -> None:
    one = json.dumps(feature({"type": "Polygon", "coordinates": [[[i, i * i] for i in range(400)] + [[0, 0]]]}))
    path = tmp_path / "large.geojson.gz"
    with gzip.open(path, "wt", compresslevel=1) as file:
        file.write("[" + ",".join([one] * 8000) + "]")
    peak = groovy(
        """long most = 0
        int count = 0
        new Outlines(java.nio.file.Path.of(file), 1.0d).each(0.0d) {
            if (++count % 2000) return
            System.gc()
            most = Math.max(most, Runtime.runtime.totalMemory() - Runtime.runtime.freeMemory())
        }
        [count, most]""",
        file=path,
    )
    assert len(one) * 8000 > 40e6
    assert peak[0] == 8000
    assert peak[1] < 100e6


def test_what_a_job_takes_can_be_chosen_by_the_same_name(groovy: GroovyConsole) -> None:
    names = set(groovy("Settings.DEFAULTS.keySet() as List"))
    wanted = set(Choices.model_fields) - {"priority"}
    assert wanted <= names
    code = """
    def settings = Settings.load([], [:], java.nio.file.Path.of('/none/of'))
    def odd = [ome_zarr: '0.4', tissue: 'none', region: '1,2,3,4']
    wanted.each {
        def like = Settings.DEFAULTS[it]
        settings.set(it, odd[it] ?: (like instanceof Boolean ? true : like instanceof Double ? 0.5 : 'x'))
    }
    settings.choices().keySet() as List
    """
    assert set(groovy(code, wanted=sorted(wanted))) == wanted  # and is sent
