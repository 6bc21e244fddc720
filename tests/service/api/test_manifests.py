"""Tables of slides over HTTP, and slides whose names are not text."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator

import httpx
import pytest

import web
from live_server import Served

POLYGON = '{"type": "Polygon", "coordinates": [[[0, 0], [400, 0], [400, 400], [0, 400], [0, 0]]]}'


@pytest.fixture
def http(served: Served) -> Iterator[httpx.Client]:
    with web.client(base_url=served.url) as client:
        yield client


def post(http: httpx.Client, content: bytes) -> httpx.Response:
    return http.post("/v1/batches", content=content, headers={"content-type": "text/csv"})


def test_a_table_from_a_spreadsheet_is_read_as_meant(http: httpx.Client, served: Served) -> None:
    shutil.copy(served.folder / "slides" / "s0.tiff", served.folder / "slides" / "Müller.tiff")
    text = "slide;mpp;model;overlap;ome-zarr;probabilities\r\n;;;;;\r\nslides/Müller.tiff;0,9;channels;0,5;0,4;WAHR\r\n"
    answer = post(http, text.encode("cp1252"))
    assert answer.status_code == 201, answer.text
    (job,) = http.get("/v1/jobs", params={"batch": answer.json()["id"]}).json()["jobs"]
    assert job["slide_name"] == "Müller.tiff"
    with served.client() as client:
        assert client.wait(job["id"])["status"] == "successful"
    parameters = http.get(f"/v1/jobs/{job['id']}/results/provenance.json").json()["parameters"]
    assert (parameters["overlap"], parameters["ome_zarr"], parameters["probabilities"]) == (0.5, "0.4", True)


def test_outlines_stand_in_a_cell_as_geojson_or_as_a_box(http: httpx.Client, served: Served) -> None:
    quoted = POLYGON.replace('"', '""')
    rows = f'slides/s0.tiff,channels,none,"{quoted}"\nslides/s0.tiff,channels,none,"[0, 0, 400, 400]"\n'
    rows += f'slides/s0.tiff,channels,"{quoted}",\n'
    batch = post(http, f"slide,model,tissue,region\n{rows}".encode()).json()
    with served.client() as client:
        list(client.events("batches", batch["id"]))
    jobs = http.get("/v1/jobs", params={"batch": batch["id"]}).json()["jobs"]
    assert [job["status"] for job in jobs] == ["successful"] * 3
    areas = [http.get(f"/v1/jobs/{job['id']}/results/summary.json").json()["tissue_mm2"] for job in jobs]
    assert areas == pytest.approx([0.16] * 3, rel=0.1)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"slide;mpp\n;\nslides/s0.tiff;abc\n", "line 3: column mpp: 'abc' is not a number"),
        (b"slide;mpp\nslides/s0.tiff;0,5\n;0,5\n", "line 3: column slide: the cell is empty"),
        (b"slide;overlap\nslides/s0.tiff;1,5\n", "line 2: overlap: Input should be less than or equal to 0.9"),
        (b"slide;region\nslides/s0.tiff;outlines.geojson\n", "line 2: region"),
        (b"slide;region\nslides/s0.tiff;{x\n", "line 2: column region: not GeoJSON"),
        (b"slide;probabilities\nslides/s0.tiff;perhaps\n", "line 2: column probabilities: 'perhaps' is not yes or no"),
        (b"PK\x03\x04\x14\x00", "a workbook of Excel or LibreOffice, not CSV"),
        ("slide\nslides/Möller.tiff\n".encode("cp1252"), "the table is not UTF-8 and was read as"),
    ],
)
def test_line_column_and_value_are_named(http: httpx.Client, content: bytes, said: str) -> None:
    answer = post(http, content)
    assert answer.status_code in (404, 422)
    assert said in answer.json()["detail"]


@pytest.mark.skipif(sys.platform != "linux", reason="names are bytes on Linux alone")
def test_a_name_that_is_not_text_hides_no_other_slide_and_can_be_asked_for(http: httpx.Client, served: Served) -> None:
    folder = os.fsencode(served.folder / "slides")
    shutil.copy(folder + b"/s0.tiff", folder + b"/M\xfcller.tiff")
    slides = {slide["name"]: slide for slide in http.get("/v1/slides").json()["slides"]}
    assert {"s0.tiff", "s1.tiff", r"M\xfcller.tiff"} <= slides.keys()
    strange = slides[r"M\xfcller.tiff"]
    seen, same = (http.get(f"/v1/slides/{one['id']}").json() for one in (strange, slides["s0.tiff"]))
    assert (seen["name"], seen["width"]) == (strange["name"], same["width"])
    assert http.get(f"/v1/slides/{strange['id']}/thumbnail").status_code == 200
    found = http.get("/v1/slides", params={"path": r"slides/M\xfcller.tiff"}).json()["slides"]
    assert [one["id"] for one in found] == [strange["id"]]
    for other in (r"slides/M\x2fller.tiff", r"slides/s\x300.tiff", r"slides\s0.tiff"):
        assert http.get("/v1/slides", params={"path": other}).status_code == 404
