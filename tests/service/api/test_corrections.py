from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import web
from live_server import Served, longest_wait, problem, write_slides
from wsi_segment.inference.evaluation.slide_dataset import read_training_data
from wsi_segment.service.cli.main import main

RING = [[10, 10], [600, 10], [600, 500], [10, 500], [10, 10]]


def collection(*names: str, ring: list[list[float]] | None = None) -> dict[str, Any]:
    geometry = {"type": "Polygon", "coordinates": [ring or RING]}
    features = [
        {"type": "Feature", "geometry": geometry, "properties": {"classification": {"name": name}, "isLocked": True}}
        for name in names
    ]
    return {"type": "FeatureCollection", "features": features}


@pytest.fixture
def address(served: Served, done: str) -> str:
    """Corrections of a job that nobody has corrected in this test yet."""
    return f"{served.url}/v1/jobs/{done}/corrections.geojson"


def test_versions_follow_each_other_and_none_is_lost(served: Served, done: str, address: str) -> None:
    assert web.get(address).json()["type"] == "urn:wsi-segment:problem:no-corrections"
    first = web.put(address, json=collection("red"), headers={"If-None-Match": "*"})
    assert first.json() == {"version": 1, "features": 1}
    assert web.put(address, json=collection("blue")).status_code == 428
    assert web.put(address, json=collection("blue"), headers={"If-None-Match": "*"}).status_code == 412
    assert web.put(address, json=collection("blue"), headers={"If-Match": '"other"'}).status_code == 412
    second = web.put(address, json=collection("blue", "red"), headers={"If-Match": first.headers["etag"]})
    assert second.json() == {"version": 2, "features": 2}
    latest = web.get(address)
    assert latest.headers["etag"] == second.headers["etag"] != first.headers["etag"]
    assert [one["properties"]["classification"]["name"] for one in latest.json()["features"]] == ["blue", "red"]
    assert latest.json()["features"][0]["properties"]["isLocked"] is True  # what QuPath writes is kept
    kept = sorted((served.data / "corrections" / done).glob("*.geojson"))
    assert [json.loads(path.read_text())["version"] for path in kept] == [1, 2]


def test_earlier_versions_can_be_read_and_deleted_outlines_are_remembered(address: str) -> None:
    latest = web.get(address)
    condition = {"If-Match": latest.headers["etag"]} if latest.is_success else {"If-None-Match": "*"}
    body = collection("green") | {"rejected": ["a", "b"]}
    first = web.put(address, json=body, headers=condition)
    second = web.put(address, json=collection() | {"rejected": ["a"]}, headers={"If-Match": first.headers["etag"]})
    number = first.json()["version"]
    assert second.json() == {"version": number + 1, "features": 0}
    listed = web.get(f"{address}/versions").json()["versions"]
    assert [one["version"] for one in listed] == list(range(number + 1, 0, -1))
    assert listed[0] | {"saved": ""} == {"version": number + 1, "author": "", "saved": ""}
    earlier = web.get(f"{address}?version={number}")
    assert earlier.headers["etag"] == first.headers["etag"]
    assert earlier.json()["rejected"] == ["a", "b"]
    missing = web.get(f"{address}?version={number + 2}")
    assert (missing.status_code, missing.json()["type"]) == (404, "urn:wsi-segment:problem:no-version")


def test_all_that_was_corrected_can_be_taken_back(address: str) -> None:
    latest = web.get(address)
    condition = {"If-Match": latest.headers["etag"]} if latest.is_success else {"If-None-Match": "*"}
    first = web.put(address, json=collection("red"), headers=condition)
    emptied = web.put(address, json=collection(), headers={"If-Match": first.headers["etag"]})
    assert emptied.json() == {"version": first.json()["version"] + 1, "features": 0}
    assert web.get(address).json()["features"] == []
    assert web.put(address, json=collection(), headers={"If-None-Match": "*"}).status_code in (412, 422)


@pytest.mark.parametrize(
    "wrong",
    [
        {"type": "FeatureCollection", "features": []},
        {"type": "FeatureCollection", "features": [{"type": "Feature", "geometry": None, "properties": {}}]},
        collection(""),
        collection("red", ring=[[0, 0], [1, 0]]),
        [],
    ],
    ids=["empty", "no geometry", "no class", "no ring", "a list"],
)
def test_what_is_no_correction_is_refused(address: str, wrong: Any) -> None:
    assert web.put(address, json=wrong, headers={"If-None-Match": "*"}).status_code == 422


@pytest.mark.parametrize("number", ["NaN", "-Infinity", "1e999"])
@pytest.mark.parametrize("where", ["feature", "properties", "classification"])
def test_numbers_that_are_not_finite_are_refused(address: str, where: str, number: str) -> None:
    wrong = collection("red")
    feature = wrong["features"][0]
    parts = {"feature": feature, "properties": feature["properties"]}
    parts["classification"] = feature["properties"]["classification"]
    parts[where]["more"] = {"deep": [1, "number"]}
    tag = web.get(address).headers.get("etag")
    headers = {"If-None-Match": "*"} if tag is None else {"If-Match": tag}
    body = json.dumps(wrong).replace('"number"', number)
    answer = web.put(address, content=body, headers=headers | {"Content-Type": "application/json"})
    assert "not finite" in problem(answer, 422)["detail"]
    assert web.get(address).headers.get("etag") == tag


def test_very_many_outlines_are_kept_while_others_are_answered(served: Served, address: str) -> None:
    tag = web.get(address).headers.get("etag")
    condition = {"If-None-Match": "*"} if tag is None else {"If-Match": tag}
    condition["Content-Type"] = "application/json"
    many = collection(*["red"] * 15_000, ring=[[one / 7, one / 3] for one in range(40)])
    wrong = json.dumps(many | {"features": [*many["features"], {"type": "Feature"}]})
    refused = web.put(address, content=wrong, headers=condition)
    assert (refused.status_code, refused.json()["errors"][0]["where"]) == (422, "body.features.15000.geometry")
    assert web.put(address, json=collection("red"), headers=condition).is_success
    condition["If-Match"] = "*"
    condition.pop("If-None-Match", None)
    content = json.dumps(many)
    saved, waited = longest_wait(served, partial(web.put, address, content=content, headers=condition))
    assert saved.json()["features"] == 15_000
    assert waited < 0.3, "nobody waits for what somebody else saves"


def test_jobs_without_a_result_and_masks_of_a_folder_take_none(tmp_path: Path) -> None:
    folder = write_slides(tmp_path / "served")
    with Served(folder, "--workers", 0) as idle, idle.client() as client:
        job = client.submit("slides/s0.tiff", model="channels")["id"]
        answer = web.put(f"{idle.url}/v1/jobs/{job}/corrections.geojson", json=collection("red"))
        assert answer.json()["type"] == "urn:wsi-segment:problem:no-result"


def test_the_author_is_the_name_of_the_key(tmp_path: Path) -> None:
    folder = write_slides(tmp_path / "served")
    with Served(folder, "--workers", 1) as first, first.client() as client:
        job = client.submit("slides/s0.tiff", model="channels")["id"]
        assert client.wait(job)["status"] == "successful"
        token = first_key(first)
        at = f"{first.url}/v1/jobs/{job}/corrections.geojson"
        assert web.put(at, json=collection("red")).status_code == 401
        headers = {"Authorization": f"Bearer {token}"}
        assert web.put(at, json=collection("red"), headers=headers).json()["version"] == 1
        assert web.get(at, headers=headers).json()["author"] == "dr-a"


def first_key(served: Served) -> str:
    """A key for a server that has none yet."""
    import contextlib
    import io

    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        assert main(["keys", "create", "dr-a", "--data", str(served.data)]) == 0
    return next(word for word in said.getvalue().split() if len(word) >= 40)


def test_fetched_corrections_are_training_data(
    served: Served, done: str, address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    headers = {"If-Match": web.get(address).headers.get("etag", '"none"')}
    assert web.put(address, json=collection("red"), headers=headers).status_code in (200, 412)
    if web.get(address).status_code == 404:
        assert web.put(address, json=collection("red"), headers={"If-None-Match": "*"}).is_success
    folder = tmp_path / "training"
    flags = ["fetch", done, "--corrections", str(folder), "--server", served.url]
    assert main(flags) == 0
    assert "put the slide here, or name its folder with --slides" in capsys.readouterr().out
    assert main([*flags, "--slides", str(served.folder / "slides")]) == 0
    assert {path.name for path in folder.iterdir()} == {"classes.json", "s0.geojson", "s0.tiff"}
    dataset = read_training_data(folder, {})
    assert [entry.name for entry in dataset.classes] == ["red", "green", "blue"]
    assert len(dataset.items) > 0
    (folder / "classes.json").write_text('{"classes": [{"name": "Tumor"}]}')
    assert main(flags) == 2
    assert "has no class 'red', which the result has" in capsys.readouterr().err
    assert main([*flags[:2], "--server", served.url]) == 2
    assert "fetch needs --out PATH for the mask, or --corrections DIR" in capsys.readouterr().err
