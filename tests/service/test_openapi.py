"""The OpenAPI document against the real server: what it says, happens."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from serving import Served, job_body, write_slides

EXAMPLES = int(os.environ.get("WSI_SEGMENT_EXAMPLES", "3"))
CONFIG = """
[parameters]
slide_id = "{slide}"
job_id = "{job}"
batch_id = "{batch}"
model_id = "channels"
path = "zarr.json"

# Bytes of an upload and rows of a manifest can be wrong in ways that no schema can tell.
[[operations]]
include-name = ["POST /v1/slides", "POST /v1/batches"]
checks.positive_data_acceptance.expected-statuses = ["2xx", "401", "403", "404", "409", "422", "5xx"]
"""


@pytest.fixture
def served_with_results(tmp_path: Path) -> tuple[Served, Path]:
    """A server to be started by the test, and the configuration of schemathesis for it."""
    folder = write_slides(tmp_path / "served", count=2)
    return Served(folder, "--workers", 1, "--upload-limit", "1MiB"), tmp_path / "schemathesis.toml"


def test_all_checks_of_schemathesis_pass(served_with_results: tuple[Served, Path]) -> None:
    served, config = served_with_results
    with served, served.client() as client:
        job = client.submit("slides/s0.tiff", model="channels")
        rows = [{"slide": f"slides/s{index}.tiff", "model": "channels"} for index in (0, 1)]
        batch = httpx.post(f"{served.url}/v1/batches", json={"jobs": rows}).json()
        assert client.wait(job["id"])["status"] == "successful"
        list(client.events("batches", batch["id"]))
        config.write_text(CONFIG.format(slide=job_body(client)["slide"], job=job["id"], batch=batch["id"]))
        program = Path(sys.executable).with_name("schemathesis")
        command = [str(program), "--config-file", str(config), "run", f"{served.url}/openapi.json", "--checks", "all"]
        options = ["--max-examples", str(EXAMPLES), "--no-color", "--seed", "1", "--request-timeout", "60"]
        done = subprocess.run([*command, *options], cwd=config.parent, capture_output=True, text=True, timeout=3600)
    print(done.stdout)
    assert done.returncode == 0, done.stdout
    assert " 500 " not in served.log


def test_every_operation_says_what_it_is_for_and_names_its_errors(served: Served) -> None:
    document = httpx.get(f"{served.url}/openapi.json").json()
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert operation["description"], (method, path)
            problems = {code: answer for code, answer in operation["responses"].items() if int(code) >= 400}
            if path.startswith("/v1"):
                assert {"401", "403", "422", "500"} <= problems.keys(), (method, path)
            for answer in problems.values():
                assert list(answer["content"]) == ["application/problem+json"], (method, path)
