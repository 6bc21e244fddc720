"""Each rule of SECURITY.md, with a test that fails without it."""

from __future__ import annotations

import json
import logging
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import onnx
import psutil
import pytest
from onnx import TensorProto, helper
from sqlalchemy import delete

from live_server import Served, job_body, write_slides
from synthetic import tissue_like, write_model, write_slide
from wsi_segment.errors import InputError, ModelError
from wsi_segment.inference.engine.options import SegmentOptions
from wsi_segment.model.card import MODEL_FILE, sha256_of
from wsi_segment.service.cli.main import main
from wsi_segment.service.jobs.database import Database
from wsi_segment.service.jobs.job_table import Jobs, NewJob
from wsi_segment.service.jobs.keys import Keys
from wsi_segment.service.jobs.queue import Queue
from wsi_segment.service.jobs.tables import keys as key_table
from wsi_segment.service.logs import _Formatter
from wsi_segment.service.redaction import without_paths
from wsi_segment.service.server import _refuse_open_door
from wsi_segment.service.settings import Settings, load_settings
from wsi_segment.service.workers.job_runner import JobRunner
from wsi_segment.service.workers.slide_catalogue import Catalogue, UnknownSlideError, parse_roots
from wsi_segment.service.workers.trusted_models import TrustedModels

linux = pytest.mark.skipif(sys.platform != "linux", reason="the system keeps no cap, or does not tell")


@pytest.fixture
def catalogue(tmp_path: Path) -> Iterator[Catalogue]:
    database = Database(tmp_path / "data")
    database.migrate()
    (tmp_path / "slides" / "inner").mkdir(parents=True)
    write_slide(tmp_path / "slides" / "inner" / "a.tiff", tissue_like(300, 300))
    (tmp_path / "secret").mkdir()
    write_slide(tmp_path / "secret" / "b.tiff", tissue_like(300, 300))
    yield Catalogue(database, parse_roots([f"slides={tmp_path / 'slides'}"]), b"k" * 32)
    database.close()


def names(catalogue: Catalogue) -> list[str]:
    return [slide.path for root in catalogue.roots for slide in catalogue.below(root)]


@pytest.mark.parametrize(
    "path",
    [
        "slides/../secret/b.tiff", "slides/inner/../../secret/b.tiff", "{tmp}/secret/b.tiff", "/etc/passwd",
        "{tmp}/slides/../secret/b.tiff", "slides//etc/passwd", "slides/inner", "slides/", "slides", "", "slides/\0",
        "slides/inner\\a.tiff", "slides/none.tiff", "{tmp}/slidesx/a.tiff", "file:///etc/passwd", "https://host/a.svs",
    ],
)  # fmt: skip
def test_paths_that_leave_the_roots_are_unknown_like_those_that_are_not_there(
    catalogue: Catalogue, tmp_path: Path, path: str
) -> None:
    with pytest.raises(UnknownSlideError) as refused:
        catalogue.by_path(path.format(tmp=tmp_path))
    assert str(refused.value) == "the path is no slide under the server's roots; check the path map, and --root"


def test_links_may_stay_under_a_root_and_may_not_leave_it(catalogue: Catalogue, tmp_path: Path) -> None:
    slides = tmp_path / "slides"
    (slides / "inside.tiff").symlink_to(slides / "inner" / "a.tiff")
    (slides / "outside.tiff").symlink_to(tmp_path / "secret" / "b.tiff")
    (slides / "folder").symlink_to(tmp_path / "secret")
    (slides / "loop.tiff").symlink_to(slides / "loop.tiff")
    assert names(catalogue) == ["inner/a.tiff", "inside.tiff"]
    for path in ("slides/outside.tiff", "slides/folder/b.tiff", "slides/loop.tiff"):
        with pytest.raises(UnknownSlideError):
            catalogue.by_path(path)


def test_names_are_told_of_slides_under_the_roots_only(catalogue: Catalogue, tmp_path: Path) -> None:
    (slide,) = (slide for root in catalogue.roots for slide in catalogue.below(root))
    catalogue.remember([slide])
    assert catalogue.names([slide.id, "0" * 24]) == {slide.id: "a.tiff"}
    moved = Catalogue(catalogue._database, parse_roots([f"others={tmp_path / 'secret'}"]), b"k" * 32)
    assert moved.names([slide.id]) == {}


def test_companion_files_may_not_leave_a_root_either(catalogue: Catalogue, tmp_path: Path) -> None:
    slides = tmp_path / "slides"
    (slides / "m.mrxs").write_bytes(b"x")
    (slides / "m").mkdir()
    (slides / "m" / "Slidedat.ini").write_text("[DATAFILE]\nFILE_0 = Data0.dat\n")
    assert "m.mrxs" in names(catalogue)
    (slides / "m" / "Slidedat.ini").write_text("[DATAFILE]\nFILE_0 = ../../secret/b.tiff\n")
    assert "m.mrxs" not in names(catalogue)
    (slides / "m" / "Slidedat.ini").write_text("")
    (slides / "m" / "Data0.dat").symlink_to(tmp_path / "secret" / "b.tiff")
    assert "m.mrxs" not in names(catalogue)
    (slides / "h.vms").write_text("[Virtual Microscope Specimen]\nImageFile=h.jpg\n")
    assert "h.vms" in names(catalogue)
    for away in ("ImageFile(1,0)=..\\secret.jpg", "MacroImage=../x.jpg", "ImageFile=sub\x0b/../../secret/b.jpg"):
        (slides / "h.vms").write_text(f"[Virtual Microscope Specimen]\n{away}\n")
        assert "h.vms" not in names(catalogue), away
    (slides / "h.vms").write_text("[Virtual Microscope Specimen]\n" + "# \n" * (1 << 20))
    assert "h.vms" not in names(catalogue)
    (slides / "dicom").mkdir()
    (slides / "dicom" / "1.dcm").write_bytes(bytes(128) + b"DICM")
    assert "dicom" in names(catalogue)
    (tmp_path / "secret" / "2.dcm").write_bytes(bytes(128) + b"DICM")
    (slides / "dicom" / "2.dcm").symlink_to(tmp_path / "secret" / "2.dcm")
    assert "dicom" not in names(catalogue)


def test_ids_tell_nothing_and_an_id_of_a_slide_that_went_is_unknown(catalogue: Catalogue, tmp_path: Path) -> None:
    slide = catalogue.by_path("slides/inner/a.tiff")
    catalogue.remember([slide])
    assert catalogue.by_id(slide.id) == slide
    other = Catalogue(catalogue._database, catalogue.roots, b"j" * 32)
    assert other.by_path("slides/inner/a.tiff").id != slide.id  # nobody can compute them without the secret
    slide.location.unlink()
    unknown = f"slide {slide.id} is unknown; GET /v1/slides lists all"
    with pytest.raises(UnknownSlideError, match=f"^{unknown}$"):  # missing
        catalogue.by_id(slide.id)
    slide.location.symlink_to(tmp_path / "secret" / "b.tiff")
    with pytest.raises(UnknownSlideError, match=f"^{unknown}$"):  # forbidden
        catalogue.by_id(slide.id)


def test_a_slide_that_was_moved_while_its_job_waited_is_not_named(catalogue: Catalogue, tmp_path: Path) -> None:
    slide = catalogue.by_path("slides/inner/a.tiff")
    catalogue.remember([slide])
    database = catalogue._database
    jobs, queue = Jobs(database), Queue(database, "me")
    jobs.accept([NewJob(slide.id, {})])
    slide.location.rename(tmp_path / "elsewhere.tiff")
    claimed = queue.claim()
    assert claimed is not None
    runner = JobRunner(
        queue=queue,
        catalogue=catalogue,
        models=TrustedModels(None),
        data=tmp_path / "data",
        options=SegmentOptions(),
        stopping=threading.Event(),
    )
    runner.do(claimed)
    ended = jobs.get(claimed.id)
    assert ended is not None
    assert (ended.status, ended.message) == (
        "failed",
        f"slide {slide.id} is unknown; GET /v1/slides lists all",
    )


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, dict[str, str]]]:
    """A server with keys, and their tokens by what they may do."""
    folder = write_slides(tmp_path_factory.mktemp("guarded"))
    database = Database(folder / "data")
    database.migrate()
    keys = Keys(database)
    tokens = {
        "reader": keys.create("reader", ["read"], None),
        "writer": keys.create("writer", ["read", "write"], None),
        "metrics": keys.create("metrics", ["metrics"], None),
        "expired": keys.create("expired", ["read", "write"], 1e-9),
        "revoked": keys.create("revoked", ["read", "write"], None),
    }
    keys.revoke("revoked")
    database.close()
    flags = (
        "--workers",
        0,
        "--host",
        "0.0.0.0",
        "--allowed-host",
        "lab.example",
        "--allowed-origin",
        "https://view.example",
    )
    with Served(folder, *flags, "--max-body", "64KiB") as running:
        yield running, tokens


def asked(
    guarded: tuple[Served, dict[str, str]], who: str | None, method: str, path: str, **more: Any
) -> httpx.Response:
    served, tokens = guarded
    headers = {} if who is None else {"Authorization": f"Bearer {tokens.get(who, who)}"}
    return httpx.request(method, served.url + path, headers=headers | more.pop("headers", {}), timeout=30, **more)


@pytest.mark.parametrize(
    ("who", "method", "path", "status"),
    [
        (None, "GET", "/health/live", 200), (None, "GET", "/v1/slides", 401), (None, "GET", "/v1/nowhere", 401),
        (None, "GET", "/docs", 401), (None, "GET", "/openapi.json", 401), (None, "GET", "/metrics", 401),
        ("nonsense", "GET", "/v1/slides", 401), ("expired", "GET", "/v1/slides", 401),
        ("revoked", "GET", "/v1/slides", 401), ("reader", "GET", "/v1/slides", 200),
        ("reader", "POST", "/v1/jobs", 403), ("reader", "DELETE", "/v1/jobs/" + "0" * 24, 403),
        ("reader", "GET", "/metrics", 403), ("writer", "POST", "/v1/jobs", 422), ("writer", "GET", "/metrics", 403),
        ("metrics", "GET", "/metrics", 200), ("metrics", "GET", "/v1/slides", 403),
    ],
)  # fmt: skip
def test_keys_open_what_their_scopes_say(
    guarded: tuple[Served, dict[str, str]], who: str | None, method: str, path: str, status: int
) -> None:
    answer = asked(guarded, who, method, path)
    assert answer.status_code == status, answer.text
    if status == 401:
        assert answer.headers["www-authenticate"].startswith("Bearer")


def test_only_the_hash_of_a_key_is_kept(guarded: tuple[Served, dict[str, str]]) -> None:
    served, tokens = guarded
    for path in served.data.iterdir():
        content = path.read_bytes() if path.is_file() else b""
        assert not any(token.encode() in content for token in tokens.values())


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "OPTIONS", "TRACE"])
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 400), ({"Host": "evil.example:8000"}, 400), ({"Host": ""}, 400),
        ({"Host": "127.0.0.1.evil.example"}, 400), ({"Origin": "https://evil.example"}, 403), ({"Origin": "null"}, 403),
        ({"Origin": "http://["}, 403), ({"Host": "["}, 400),
        ({"Origin": "http://localhost:1"}, 403), ({"Host": "lab.example", "Origin": "http://evil.example"}, 403),
    ],
)  # fmt: skip
def test_other_hosts_and_origins_are_refused_with_every_method(
    guarded: tuple[Served, dict[str, str]], method: str, headers: dict[str, str], status: int
) -> None:
    assert asked(guarded, "writer", method, "/v1/slides", headers=headers).status_code == status


def test_known_hosts_and_origins_are_served(guarded: tuple[Served, dict[str, str]]) -> None:
    served, _ = guarded
    for headers in ({"Host": "lab.example"}, {"Host": "LOCALHOST:99"}, {"Origin": served.url}):
        assert asked(guarded, "reader", "GET", "/v1/slides", headers=headers).status_code == 200, headers
    allowed = asked(guarded, "reader", "GET", "/v1/slides", headers={"Origin": "https://view.example"})
    assert allowed.headers["access-control-allow-origin"] == "https://view.example"
    preflight = asked(guarded, None, "OPTIONS", "/v1/jobs", headers={"Origin": "https://view.example"})
    assert preflight.status_code == 204
    assert "Authorization" in preflight.headers["access-control-allow-headers"]
    assert "access-control-allow-origin" not in asked(guarded, "reader", "GET", "/v1/slides").headers


def test_a_proxy_that_nobody_named_is_not_believed(guarded: tuple[Served, dict[str, str]]) -> None:
    served, _ = guarded
    said = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "127.0.0.1", "Forwarded": "proto=https;host=lab.example"}
    answer = asked(guarded, "reader", "GET", "/v1/slides/", headers=said)
    assert (answer.status_code, answer.headers["location"]) == (307, f"{served.url}/v1/slides")
    for name in ("X-Forwarded-Host", "Forwarded"):
        headers = {"Host": "evil.example", name: "host=lab.example" if name == "Forwarded" else "lab.example"}
        assert asked(guarded, "reader", "GET", "/v1/slides", headers=headers).status_code == 400


@pytest.fixture(scope="module")
def behind_proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, dict[str, str]]]:
    """A server on loopback whose proxy is named, and the token of its only key."""
    folder = write_slides(tmp_path_factory.mktemp("proxy"))
    database = Database(folder / "data")
    database.migrate()
    token = Keys(database).create("only", ["read", "write"], None)
    database.close()
    with Served(folder, "--workers", 0, "--trusted-proxy", "127.0.0.1", "--allowed-host", "lab.example") as running:
        yield running, {"only": token}


def test_a_proxy_that_was_named_says_how_clients_came_and_nothing_else(
    behind_proxy: tuple[Served, dict[str, str]],
) -> None:
    headers = {"Host": "lab.example", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "evil.example"}
    answer = asked(behind_proxy, "only", "GET", "/v1/slides/", headers=headers)
    assert answer.headers["location"] == "https://lab.example/v1/slides"
    headers = {"Host": "evil.example", "X-Forwarded-Host": "lab.example", "X-Forwarded-For": "127.0.0.1"}
    assert asked(behind_proxy, "only", "GET", "/v1/slides", headers=headers).status_code == 400


def test_the_end_of_the_last_key_opens_nothing(behind_proxy: tuple[Served, dict[str, str]]) -> None:
    served, _ = behind_proxy
    assert asked(behind_proxy, "only", "GET", "/v1/models").status_code == 200
    database = Database(served.data)
    Keys(database).revoke("only")
    assert asked(behind_proxy, None, "GET", "/v1/models").status_code == 401
    with database.write() as connection:  # a server that others reach asks even where no key was ever made
        connection.execute(delete(key_table))
    database.close()
    assert asked(behind_proxy, None, "GET", "/v1/models").status_code == 401


def test_on_loopback_a_key_is_asked_for_once_one_was_made(tmp_path: Path) -> None:
    folder = write_slides(tmp_path / "loopback")
    with Served(folder, "--workers", 0) as running:
        assert httpx.get(f"{running.url}/v1/models").status_code == 200
        database = Database(running.data)
        token = Keys(database).create("brief", ["read"], 1e-9)
        assert httpx.get(f"{running.url}/v1/models").status_code == 401
        Keys(database).revoke("brief")
        database.close()
        for headers in ({}, {"Authorization": f"Bearer {token}"}):
            assert httpx.get(f"{running.url}/v1/models", headers=headers).status_code == 401


def test_bodies_have_a_limit(guarded: tuple[Served, dict[str, str]]) -> None:
    large = b'{"slide": "' + b"0" * (64 << 10) + b'"}'
    json_type = {"Content-Type": "application/json"}
    answer = asked(guarded, "writer", "POST", "/v1/jobs", content=large, headers=json_type)
    assert (answer.status_code, answer.headers["content-type"]) == (413, "application/problem+json")
    pieces = (b" " * 1024 for _ in range(100))  # without a Content-Length
    assert asked(guarded, "writer", "POST", "/v1/batches", content=pieces, headers=json_type).status_code == 413


def test_uploads_are_off_unless_they_are_allowed(guarded: tuple[Served, dict[str, str]]) -> None:
    answer = asked(guarded, "writer", "POST", "/v1/slides?suffix=.tiff", content=b"x")
    assert (answer.status_code, answer.json()["type"]) == (403, "urn:wsi-segment:problem:no-uploads")


def test_every_answer_has_a_strict_policy_and_an_id(guarded: tuple[Served, dict[str, str]]) -> None:
    for path in ("/docs", "/v1/slides", "/v1/nowhere"):
        headers = asked(guarded, "reader", "GET", path, headers={"X-Request-Id": "of-a-client-1234"}).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe-inline" not in headers["content-security-policy"].split("script-src")[1].split(";")[0]
        assert headers["x-content-type-options"] == "nosniff"
        assert len(headers["x-request-id"]) == 16
        assert headers["x-request-id"] != "of-a-client-1234"
    assert "<script>" not in asked(guarded, "reader", "GET", "/docs").text


def test_no_route_shows_labels_or_macro_images(guarded: tuple[Served, dict[str, str]]) -> None:
    paths = asked(guarded, "reader", "GET", "/openapi.json").json()["paths"]
    assert not [path for path in paths if "label" in path or "macro" in path or "associated" in path]


@pytest.mark.parametrize("door", ["--host 0.0.0.0", "--allowed-host lab.example", "--trusted-proxy 10.0.0.1"])
def test_a_server_that_others_reach_needs_a_valid_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], door: str
) -> None:
    data = tmp_path / "my data"
    database = Database(data)
    database.migrate()
    Keys(database).create("expired", ["read"], 1e-9)
    database.close()
    assert main(["serve", *door.split(), "--data", str(data)]) == 2
    said = capsys.readouterr().err
    assert door in said
    assert f"wsi-segment keys create NAME --data '{data}'" in said


def test_the_hint_how_to_make_a_key_names_the_database_without_its_password(tmp_path: Path) -> None:
    database = Database(tmp_path)
    database.migrate()
    url = "postgresql://anna:secret@db/wsi?password=secret"
    settings = load_settings({"host": "0.0.0.0", "data": tmp_path, "database": url}, None)
    with pytest.raises(InputError, match="keys create NAME") as refused:
        _refuse_open_door(settings, database)
    database.close()
    assert "--database 'postgresql://anna:***@db/wsi'" in str(refused.value)
    assert "secret" not in str(refused.value)


def test_keys_are_made_listed_and_revoked_by_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = ["--data", str(tmp_path)]
    assert main(["keys", "create", "anna", "--scope", "read", "--days", "2", *data]) == 0
    token = capsys.readouterr().out.strip()
    assert len(token) > 43
    assert main(["keys", "create", "anna", *data]) == 2
    assert main(["keys", "list", *data]) == 0
    listed = capsys.readouterr().out
    assert "anna\tread\t" in listed
    assert token not in listed
    assert main(["keys", "revoke", "anna", *data]) == 0
    assert main(["keys", "revoke", "nobody", *data]) == 2
    assert main(["keys", "create", *data]) == 2
    database = Database(tmp_path)
    assert Keys(database).check(token) is None
    database.close()


def changed_model(folder: Path, change: Any) -> Path:
    """A model folder whose graph was changed and whose card knows of it."""
    model = write_model(folder / "odd")
    graph = onnx.load(model.folder / MODEL_FILE)
    change(graph)
    onnx.save(graph, model.folder / MODEL_FILE)
    card = model.card.model_copy(update={"files": {MODEL_FILE: sha256_of(model.folder / MODEL_FILE)}, "name": "odd"})
    (model.folder / "card.json").write_text(card.model_dump_json())
    return folder


def test_models_with_foreign_operators_are_not_served(tmp_path: Path) -> None:
    def change(model: Any) -> None:
        model.graph.node.append(helper.make_node("Evil", ["logits"], ["evil"], domain="my.library"))
        model.opset_import.append(helper.make_opsetid("my.library", 1))

    with pytest.raises(ModelError, match=r"my\.library"):
        TrustedModels(changed_model(tmp_path, change)).check()


def test_models_with_foreign_operators_inside_of_others_are_not_served(tmp_path: Path) -> None:
    def change(model: Any) -> None:
        inner = helper.make_graph([helper.make_node("Evil", [], ["e"], domain="my.library")], "inner", [], [])
        model.graph.node.append(helper.make_node("If", ["c"], ["d"], then_branch=inner, else_branch=inner))

    with pytest.raises(ModelError, match=r"my\.library"):
        TrustedModels(changed_model(tmp_path, change)).check()


def test_models_with_weights_in_other_files_are_not_served(tmp_path: Path) -> None:
    def change(model: Any) -> None:
        tensor = model.graph.initializer.add(name="w", data_type=TensorProto.FLOAT, dims=[1])
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="/etc/passwd")

    with pytest.raises(ModelError, match="other files"):
        TrustedModels(changed_model(tmp_path, change)).check()


def test_models_that_were_changed_or_are_none_are_not_served(tmp_path: Path) -> None:
    model = write_model(tmp_path / "channels")
    path = model.folder / MODEL_FILE
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(ModelError, match="sha256"):
        TrustedModels(tmp_path).check()
    with pytest.raises(ModelError, match="not an ONNX file"):
        TrustedModels(changed_model(tmp_path / "other", lambda graph: graph.Clear())).check()


def test_a_log_line_stays_one_line() -> None:
    record = logging.LogRecord("x", logging.INFO, "", 0, "a\r\nfake \x1b[31m entry\x00", (), None)
    for form in ("text", "json"):
        line = _Formatter(form).format(record)
        assert not {"\n", "\r", "\x1b", "\x00"} & set(line)
    assert json.loads(_Formatter("json").format(record))["message"].startswith("a\r\n")


def test_an_exception_in_the_log_cannot_be_taken_for_an_entry() -> None:
    try:
        int("no\r\n2026-01-01T00:00:00.000+00:00 info    forged")
    except ValueError:
        record = logging.LogRecord("x", logging.ERROR, "", 0, "failed", (), sys.exc_info())
    first, *others = _Formatter("text").format(record).splitlines()
    assert first.endswith("failed")
    assert others
    assert all(line.startswith("    ") for line in others)
    assert len(_Formatter("json").format(record).splitlines()) == 1


@pytest.mark.parametrize("name", ["Meier_Anna.svs", "Meier Anna.svs", "Meier: Anna's (2).svs"])
def test_messages_for_clients_hold_no_paths(tmp_path: Path, name: str) -> None:
    slide = tmp_path / "slides" / name
    said = without_paths(
        f"{slide}: cannot be read: {tmp_path}/my data/x y ('{slide}'), {name} is cut", [tmp_path], slide
    )
    assert said == "the slide: cannot be read: a file of the server's('the slide'), the slide is cut"


def test_a_failure_of_the_server_tells_nothing(tmp_path: Path) -> None:
    folder = write_slides(tmp_path / "broken")
    with Served(folder, "--workers", 0) as running:
        slides = httpx.get(f"{running.url}/v1/slides", timeout=60).json()["slides"]
        with sqlite3.connect(running.data / "jobs.sqlite") as connection:
            connection.execute("DROP TABLE jobs")
        connection.close()
        answer = httpx.post(f"{running.url}/v1/jobs", json={"slide": slides[0]["id"], "model": "channels"})
        assert answer.status_code == 500
        assert answer.headers["content-type"] == "application/problem+json"
        assert "sqlite" not in answer.text.lower()
        assert str(folder) not in answer.text
        assert httpx.get(f"{running.url}/health/live").is_success
        ready = httpx.get(f"{running.url}/health/ready")
        assert (ready.status_code, ready.json()["detail"]) == (503, "the database does not answer")
        with sqlite3.connect(running.data / "jobs.sqlite") as connection:
            connection.execute("DROP TABLE keys")  # which every request looks at, before any route
        connection.close()
        for headers in ({}, {"Authorization": "Bearer x"}):
            answer = httpx.get(f"{running.url}/v1/models", headers=headers)
            assert (answer.status_code, answer.headers["content-type"]) == (500, "application/problem+json")
            assert len(answer.headers["x-request-id"]) == 16
            assert "sqlite" not in answer.text.lower()
    assert "sqlite" in running.log.lower()  # of a server that has ended: the answer comes before the log's line


@linux
def test_slides_are_decoded_by_children_with_a_cap_and_never_by_the_server(tmp_path: Path) -> None:
    folder = write_slides(tmp_path / "children")
    with Served(folder, "--workers", 1, "--worker-memory", "1GiB") as running, running.client() as client:
        slide = client.find_slide("slides/s0.tiff")["id"]
        for picture in ("thumbnail", "tiles/0/0/0.jpg"):
            assert httpx.get(f"{running.url}/v1/slides/{slide}/{picture}", timeout=60).is_success
        assert client.wait(client.submit("slides/s0.tiff", model="channels")["id"])["status"] == "successful"
        assert running.process is not None
        assert not decoders(running.process.pid)
        (worker,) = running.workers()
        others = [one for one in psutil.Process(running.process.pid).children(recursive=True) if one != worker]
        pool = [one for one in others if decoders(one.pid)]
        assert decoders(worker.pid)
        assert pool
        assert worker.rlimit(psutil.RLIMIT_DATA) == (1 << 30, 1 << 30)
        assert {one.rlimit(psutil.RLIMIT_DATA) for one in pool} == {(2 << 30, 2 << 30)}


def decoders(process: int) -> set[str]:
    """Libraries that decode slides which a process has loaded."""
    maps = Path(f"/proc/{process}/maps").read_text()
    return {name for name in ("libopenslide", "imagecodecs") if name in maps}


@linux
def test_a_child_that_allocates_beyond_its_cap_gets_an_error_and_not_the_memory() -> None:
    code = (
        "from wsi_segment.service.workers.worker import cap_memory; cap_memory(1 << 30); bytearray(1 << 28)\n"
        "try: bytearray(1 << 30)\n"
        "except MemoryError: print('refused')"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=False)
    assert done.stdout.split() == [b"refused"], done.stderr


@linux
def test_workers_die_with_the_server(tmp_path: Path) -> None:
    folder = write_slides(tmp_path / "killed")
    with Served(folder, "--workers", 2) as running:
        workers = running.workers()
        assert len(workers) == 2
        for worker in workers:  # one that is in a library's hands does not see that its input ended
            worker.suspend()
        running.stop(signal.SIGKILL)
        assert psutil.wait_procs(workers, timeout=2)[1] == []


def test_settings_come_from_flags_then_environment_then_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "server.toml"
    config.write_text('workers = 7\nport = 7\nhost = "::1"\nroot = ["a=/x", "/y"]\nmax_body = "1MiB"\n')
    monkeypatch.setenv("WSI_SEGMENT_WORKERS", "6")
    monkeypatch.setenv("WSI_SEGMENT_PORT", "6")
    monkeypatch.setenv("WSI_SEGMENT_ALLOWED_HOST", "a.example, b.example")
    settings = load_settings({"port": "5"}, config)
    assert (settings.port, settings.workers, settings.host) == (5, 6, "::1")
    assert settings.root == ("a=/x", "/y")
    assert settings.allowed_host == ("a.example", "b.example")
    assert settings.max_body == 1 << 20
    config.write_text("colour = 1\n")
    with pytest.raises(InputError, match="unknown key 'colour'"):
        load_settings({}, config)
    with pytest.raises(InputError, match="--port 99999"):
        load_settings({"port": "99999"}, None)


def test_every_setting_is_documented() -> None:
    text = (Path(__file__).parents[3] / "docs" / "service.md").read_text(encoding="utf-8")
    for name in Settings.model_fields:
        assert f"`--{name.replace('_', '-')}`" in text, name


def test_when_the_disk_is_nearly_full_jobs_wait_and_readiness_says_why(tmp_path: Path) -> None:
    folder = write_slides(tmp_path / "full")
    with Served(folder, "--workers", 1, "--min-free", "1000TiB") as running, running.client() as client:
        job = httpx.post(f"{running.url}/v1/jobs", json=job_body(client)).json()
        running.wait_for("/health/live")
        time.sleep(4)
        assert client.job(job["id"])["status"] == "accepted"
        answer = httpx.get(f"{running.url}/health/ready")
        assert answer.status_code == 503
        assert answer.json()["detail"] == "the disk is nearly full; see --min-free"  # no figure, without a key


def test_a_stopped_server_gives_jobs_back_and_goes_on_with_them(tmp_path: Path) -> None:
    folder = write_slides(tmp_path / "stopped", height=4000, width=4000)
    running = Served(folder, "--workers", 1)
    running.start()
    with running.client() as client:
        job = httpx.post(f"{running.url}/v1/jobs", json=job_body(client, overlap=0.9)).json()
        following = threading.Thread(target=client.wait, args=(job["id"],))
        for event in client.events("jobs", job["id"]):
            if event["kind"] == "progress" and event["stage"] == "segment" and event["done"]:
                break
        following.start()  # an open stream of events does not hold the server up
        started = time.monotonic()
        assert running.stop() == 0
        assert time.monotonic() - started < 20
        running.start()
        following.join(90)
        assert client.job(job["id"])["status"] == "successful"
        kinds = [event["kind"] for event in client.events("jobs", job["id"]) if event["kind"] != "progress"]
        assert kinds == ["accepted", "running", "paused", "running", "successful"]
    assert running.stop() == 0
