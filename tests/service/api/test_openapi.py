"""The OpenAPI document against the real server: what it says, happens."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import web
from live_server import Served, job_body, problem, write_slides

EXAMPLES = int(os.environ.get("WSI_SEGMENT_EXAMPLES", "3"))
KNOWN = """
[parameters]
slide_id = "{slide}"
job_id = "{job}"
batch_id = "{batch}"
hook_id = "{hook}"
model_id = "channels"
path = "zarr.json"
"""
"""What is there: these take the place of wrong values too, so that only right ones can be tried with them."""
CHECKS = """
# Bytes of an upload, rows of a manifest and hosts of hooks can be wrong in ways that no schema can tell.
[[operations]]
include-name = ["POST /v1/slides", "POST /v1/batches", "POST /v1/hooks"]
checks.positive_data_acceptance.expected-statuses = ["2xx", "401", "403", "404", "409", "422", "5xx"]
"""
CORRECTIONS = """
# Whether a version is still the latest, and a number is finite, no schema can tell.
[[operations]]
include-name = "PUT /v1/jobs/{job_id}/corrections.geojson"
checks.positive_data_acceptance.expected-statuses = ["2xx", "401", "403", "404", "409", "412", "422", "428", "5xx"]
"""
REUSED = """
# Once jobs are made one after another, a key can come again with another body.
[[operations]]
include-name = "POST /v1/jobs"
checks.positive_data_acceptance.expected-statuses = ["2xx", "401", "403", "404", "409", "422", "5xx"]
"""
ENDLESS = "/v1/events"
"""A stream that goes on until the client leaves: each of its answers would be waited for in vain."""


def check(served: Served, config: str, *more: str) -> None:
    """Let schemathesis loose on a server."""
    file = served.folder / "schemathesis.toml"
    file.write_text(config)
    command = [str(Path(sys.executable).with_name("schemathesis")), "--config-file", str(file), "run"]
    options = [*more, "--checks", "all", "--exclude-checks", "use_after_free"]  # DELETE cancels, and a record stays
    options += ["--max-examples", str(EXAMPLES), "--no-color", "--seed", "1"]
    options += ["--exclude-path", ENDLESS, "--request-timeout", "60", f"{served.url}/openapi.json"]
    done = subprocess.run([*command, *options], cwd=served.folder, capture_output=True, text=True, timeout=3600)
    print(done.stdout)
    assert done.returncode == 0, done.stdout
    assert not re.search(r" /\S+ 500 [0-9]+ ms", served.log)


def test_all_checks_of_schemathesis_pass(tmp_path: Path) -> None:
    folder = write_slides(tmp_path / "served", count=2)
    flags = ["--workers", 1, "--upload-limit", "1MiB", "--hook-host", "127.0.0.1:9"]  # where nobody listens
    with Served(folder, *flags) as served, served.client() as client:
        job = client.submit("slides/s0.tiff", model="channels")
        rows = [{"slide": f"slides/s{index}.tiff", "model": "channels"} for index in (0, 1)]
        batch = web.post(f"{served.url}/v1/batches", json={"jobs": rows}).json()
        assert client.wait(job["id"])["status"] == "successful"
        list(client.events("batches", batch["id"]))
        check(served, CHECKS + CORRECTIONS + REUSED)
        hook = web.post(f"{served.url}/v1/hooks", json={"url": "http://127.0.0.1:9/", "events": ["job.ended"]}).json()
        known = KNOWN.format(slide=job_body(client)["slide"], job=job["id"], batch=batch["id"], hook=hook["id"])
        check(served, known + CHECKS + CORRECTIONS, "--mode", "positive", "--phases", "examples,coverage,fuzzing")


def test_the_endless_stream_answers_as_its_document_says(served: Served) -> None:
    operation = web.get(f"{served.url}/openapi.json").json()["paths"][ENDLESS]["get"]
    assert list(operation["responses"]["200"]["content"]) == ["text/event-stream"]
    for last in ("", "0", "9" * 15):
        with web.stream("GET", served.url + ENDLESS, headers={"Last-Event-ID": last}) as answer:
            assert answer.status_code == 200
            assert answer.headers["content-type"].startswith("text/event-stream")
            assert next(answer.iter_lines()) == "event: now"
    for last in ("x", "-1", "1.5", "9" * 16):
        problem(web.get(served.url + ENDLESS, headers={"Last-Event-ID": last}), 422)


def test_every_operation_says_what_it_is_for_and_names_its_errors(served: Served) -> None:
    document = web.get(f"{served.url}/openapi.json").json()
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert operation["description"], (method, path)
            problems = {code: answer for code, answer in operation["responses"].items() if int(code) >= 400}
            if path.startswith("/v1"):
                assert {"401", "403", "422", "500"} <= problems.keys(), (method, path)
            for answer in problems.values():
                assert list(answer["content"]) == ["application/problem+json"], (method, path)
