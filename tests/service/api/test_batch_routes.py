"""Batches over HTTP, as JSON and as CSV."""

from __future__ import annotations

import httpx
import pytest

from live_server import Served, problem


def test_a_batch_is_accepted_whole_or_not_at_all(http: httpx.Client, served: Served) -> None:
    before = len(http.get("/v1/jobs", params={"page_size": 1000}).json()["jobs"])
    rows = [{"slide": f"slides/s{index}.tiff", "model": "channels"} for index in (0, 1)]
    wrong = problem(
        http.post("/v1/batches", json={"jobs": [*rows, {"slide": "slides/x"}, {"slide": "/etc/passwd"}]}), 404
    )
    assert [error["row"] for error in wrong["errors"]] == [3, 4]
    manifest = "slide,mpp,model\nslides/s0.tiff,,channels\nslides/x.tiff,,\nslides/s1.tiff,abc,channels\n"
    wrong = problem(http.post("/v1/batches", content=manifest, headers={"content-type": "text/csv"}), 422)
    assert [error["row"] for error in wrong["errors"]] == [2, 3]  # a path, and a number
    bad = {"jobs": [rows[0], {"slide": "slides/x"}, {"slide": "slides/s1.tiff", "mpp": "a"}, {"colour": 1}, 5]}
    wrong = problem(http.post("/v1/batches", json=bad), 422)
    assert [error["row"] for error in wrong["errors"]] == [2, 3, 4, 5]
    wrong = problem(http.post("/v1/batches", json={"jobs": [rows[0], rows[1] | {"window": 172}]}), 422)
    assert [error["row"] for error in wrong["errors"]] == [2]  # which its model cannot be shown
    assert "`window` 172" in wrong["detail"]
    assert len(http.get("/v1/jobs", params={"page_size": 1000}).json()["jobs"]) == before
    answer = http.post("/v1/batches", json={"name": "week 12", "jobs": rows})
    assert answer.status_code == 201
    batch = answer.json()
    assert (batch["jobs"], batch["counts"], batch["name"]) == (2, {"accepted": 2}, "week 12")
    with served.client() as client:
        seen = list(client.events("batches", batch["id"]))
    assert sum(event["kind"] == "successful" for event in seen) == 2
    ended = http.get(answer.headers["location"]).json()
    assert (ended["status"], ended["progress"], ended["counts"]) == ("successful", 100, {"successful": 2})
    assert len(http.get("/v1/jobs", params={"batch": batch["id"]}).json()["jobs"]) == 2
    problem(http.post("/v1/batches", content=b"x", headers={"content-type": "text/plain"}), 415)
    assert batch["id"] in [one["id"] for one in http.get("/v1/batches").json()["batches"]]


def test_a_name_that_not_every_database_keeps_is_refused(http: httpx.Client) -> None:
    rows = [{"slide": "slides/s0.tiff", "model": "channels"}]
    assert "name" in problem(http.post("/v1/batches", json={"name": "a\0b", "jobs": rows}), 422)["detail"]


@pytest.mark.parametrize(
    ("manifest", "said"),
    [
        ("slide,mpp\n" + "slides/s0.tiff,\n" * 50_001, "50001 rows; give 1 to 50000"),
        ("slide,mpp\n", "0 rows"),
        ("slide,windows\nslides/s0.tiff,512\n", "'windows' is unknown"),
        ("path\nslides/s0.tiff\n", "'slide' is missing"),
        ('slide,mpp\n"slides/s0.tiff,\n', "not CSV"),
        ("slide,mpp\nslides/s0.tiff,0.5,7\n", "more cells than columns"),
        ("slide,mpp\nslides/s0.tiff,1e9\n", "mpp: "),
        ("slide,mpp\nslides/s0.tiff,nan\n", "mpp: "),
    ],
)
def test_a_manifest_that_cannot_be_read_as_meant_is_refused(http: httpx.Client, manifest: str, said: str) -> None:
    answer = http.post("/v1/batches", content=manifest, headers={"content-type": "text/csv"})
    assert said in problem(answer, 422)["detail"]


def test_columns_of_a_manifest_may_be_spelt_as_people_do(http: httpx.Client, served: Served) -> None:
    manifest = "\ufeffSlide, MPP ,model\r\nslides/s0.tiff, 0.9, channels\r\n".encode()
    batch = http.post("/v1/batches", content=manifest, headers={"content-type": "text/csv"}).json()
    (job,) = http.get("/v1/jobs", params={"batch": batch["id"]}).json()["jobs"]
    with served.client() as client:
        assert client.wait(job["id"])["status"] == "successful"
    assert http.get(f"/v1/jobs/{job['id']}/results/summary.json").json()["mpp"] == 0.9
