"""The part without QuPath's classes, against the real service."""

from __future__ import annotations

import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely

import web
from groovy_console import GroovyConsole, PluginError
from live_server import Served, write_slides
from synthetic import class_map, tissue_like, write_slide
from wsi_segment.service.cli.main import main

SERVICE = """
def service = new Service(url, key, patience)
def jobs = new Jobs(service)
def said = []
def stop = false
def note = { String message -> said << message; if (notes) new File(notes) << message + '\\n' }
def progress = [say: { String message, double share -> note(message) }, isStopRequested: { -> stop }] as Progress
"""
"""Begins a piece; ``said`` are the messages of progress, lines of the file ``notes`` too; ``stop = true`` presses
Cancel."""


def call(
    groovy: GroovyConsole,
    url: str,
    code: str,
    key: str = "",
    patience: float = 20.0,
    notes: object = "",
    **values: object,
) -> Any:
    return groovy(SERVICE + code, url=url, key=key, patience=patience, notes=notes, **values)


def wait_for(notes: Path, text: str) -> None:
    """Wait until progress has said something."""
    deadline = time.monotonic() + 180
    while not (notes.exists() and text in notes.read_text()):
        assert time.monotonic() < deadline, text
        time.sleep(0.05)


def test_a_slide_is_found_posted_and_followed(groovy: GroovyConsole, served: Served) -> None:
    here = "/mnt/lab/s0.tiff"
    code = """
    def slide = jobs.findSlide(here, new PathMap(rules))
    def job = jobs.submit([slide: slide.id, model: 'channels', width: slide.width as int, height: slide.height as int])
    def ended = jobs.await(job.id, progress)
    [slide.name, ended.id == job.id, ended.status, said]
    """
    name, same, status, said = call(groovy, served.url, code, here=here, rules="/mnt/lab=slides")
    assert (name, same, status) == ("s0.tiff", True, "successful")
    assert said
    assert all("%" in text or "windows" in text or text == "waiting for a worker" for text in said), said


def test_the_same_by_the_whole_path_without_a_map(groovy: GroovyConsole, served: Served) -> None:
    code = "jobs.findSlide(here, new PathMap('')).name"
    assert call(groovy, served.url, code, here=served.folder / "slides" / "s1.tiff") == "s1.tiff"


def test_models_come_with_the_default_first(groovy: GroovyConsole, served: Served) -> None:
    assert call(groovy, served.url, "jobs.models()*.name") == ["colorectal-biopsy", "channels"]


def test_an_unknown_slide_is_named_on_both_sides(groovy: GroovyConsole, served: Served) -> None:
    with pytest.raises(PluginError, match=r"knows no slide slides/none\.svs \(here /mnt/none\.svs\): set the path map"):
        call(groovy, served.url, "jobs.findSlide('/mnt/none.svs', new PathMap('/mnt=slides'))")


def test_a_slide_of_another_size_is_refused(groovy: GroovyConsole, served: Served) -> None:
    code = "jobs.submit([slide: jobs.findSlide('slides/s0.tiff', new PathMap('')).id, width: 900, height: 701])"
    with pytest.raises(PluginError, match="900 x 700 px here and the height is 701 there") as error:
        call(groovy, served.url, code)
    assert error.value.kind == "size-mismatch"


def test_an_unknown_model_and_a_wrong_request_are_told(groovy: GroovyConsole, served: Served) -> None:
    code = "jobs.submit([slide: jobs.findSlide('slides/s0.tiff', new PathMap('')).id] + more)"
    with pytest.raises(PluginError, match="none"):
        call(groovy, served.url, code.replace("more", "[model: 'none']"))
    with pytest.raises(PluginError, match="overlap") as error:
        call(groovy, served.url, code.replace("more", "[overlap: 7.0d]"))
    assert error.value.kind == "invalid-request"


def test_an_upload_becomes_a_slide_of_the_server(groovy: GroovyConsole, served: Served, tmp_path: Path) -> None:
    path = write_slide(tmp_path / "up.tiff", tissue_like(300, 400))
    code = """
    def slide = jobs.upload(java.nio.file.Path.of(path))
    [slide.width, slide.height, jobs.slide(slide.id) != null, jobs.slide('0' * 24) != null]
    """
    assert call(groovy, served.url, code, path=path) == [400, 300, True, False]
    with pytest.raises(PluginError, match="only slides of one file can be uploaded"):
        call(groovy, served.url, code, path=tmp_path / "a.mrxs")
    large = tmp_path / "large.tiff"
    large.write_bytes(b"0" * (3 << 20))
    with pytest.raises(PluginError, match=r"larger than|connection"):
        call(groovy, served.url, code, path=large, patience=0)


def test_cancel_dismisses_the_job_on_the_server(groovy: GroovyConsole, tmp_path: Path) -> None:
    folder = write_slides(tmp_path)
    code = """
    def slide = jobs.findSlide('slides/s0.tiff', new PathMap(''))
    kept.job = jobs.submit([slide: slide.id, model: 'channels']).id
    Thread.startDaemon { while (said.isEmpty()) sleep(50); stop = true }
    jobs.await(kept.job, progress)
    """
    with Served(folder, "--workers", 0) as waiting:  # nobody takes the job
        with pytest.raises(PluginError, match="cancelled") as error:
            call(groovy, waiting.url, code)
        assert error.value.kind == "cancelled"
        job = groovy("kept.job")
        assert web.get(f"{waiting.url}/v1/jobs/{job}").json()["status"] == "dismissed"
        with pytest.raises(PluginError, match=f"job {job} was cancelled on the server"):
            call(groovy, waiting.url, "jobs.await(kept.job, progress)")


def test_a_job_that_fails_says_why(groovy: GroovyConsole, tmp_path: Path) -> None:
    folder = write_slides(tmp_path)
    with Served(folder, "--workers", 0) as waiting, waiting.client() as client:
        job = client.submit("slides/s0.tiff", model="channels")["id"]
        waiting.stop()
        (folder / "slides" / "s0.tiff").write_bytes(b"no slide")
        again = Served(folder, "--workers", 1)
        with again, pytest.raises(PluginError, match=f"job {job} failed: .+"):
            call(groovy, again.url, "jobs.await(job, progress)", job=job)


def test_a_server_that_is_down_is_named_at_once(groovy: GroovyConsole) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        begun = time.monotonic()
        with pytest.raises(PluginError, match=r"no server answers.*is wsi-segment serve running") as error:
            call(groovy, url, "jobs.models()", patience=300)
    assert error.value.kind == "no-server"
    assert time.monotonic() - begun < 150  # and not for as long as its patience


@pytest.mark.parametrize("url", ["", "localhost:8000", "ftp://a", "http://", "http://a b"])
def test_what_is_no_address_is_refused(groovy: GroovyConsole, url: str) -> None:
    with pytest.raises(PluginError, match="not an address such as http"):
        call(groovy, url, "jobs.models()")


def test_a_server_of_something_else_is_told_apart(groovy: GroovyConsole) -> None:
    with (
        answering(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>") as url,
        pytest.raises(PluginError, match="is this a wsi-segment server"),
    ):
        call(groovy, url, "jobs.models()")
    with (
        answering(b"HTTP/1.1 404 Not Found\r\nContent-Length: 6\r\n\r\n<html>") as url,
        pytest.raises(PluginError, match="answered 404; is this a wsi-segment server"),
    ):
        call(groovy, url, "jobs.models()")


def test_keys_are_sent_and_their_faults_told(
    groovy: GroovyConsole, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_slides(tmp_path)
    assert main(["keys", "create", "reader", "--scope", "read", "--data", str(folder / "data")]) == 0
    token = capsys.readouterr().out.strip()
    with Served(folder, "--workers", 0) as locked:
        with pytest.raises(PluginError, match=r"asks for a key; give it under Server"):
            call(groovy, locked.url, "jobs.models()")
        with pytest.raises(PluginError, match="the key is unknown, was revoked, or has expired"):
            call(groovy, locked.url, "jobs.models()", key=f"{token}x")
        with pytest.raises(PluginError, match="characters that no key has"):
            call(groovy, locked.url, "jobs.models()", key="a\nb")
        assert call(groovy, locked.url, "jobs.models().size()", key=token) == 2
        with pytest.raises(PluginError, match="lacks the scope 'write'"):
            call(groovy, locked.url, "jobs.cancel('0' * 24)", key=token)


def test_a_job_is_followed_over_a_restart_of_the_server(groovy: GroovyConsole, tmp_path: Path) -> None:
    folder, notes = write_slides(tmp_path), tmp_path / "notes"
    results: list[Any] = []
    with Served(folder, "--workers", 0) as server, server.client() as client:
        job = client.submit("slides/s0.tiff", model="channels")["id"]
        code = "def ended = jobs.await(job, progress); [ended.status, said.unique()]"
        following = threading.Thread(
            target=lambda: results.append(call(groovy, server.url, code, job=job, patience=600, notes=notes)),
            daemon=True,
        )
        following.start()
        wait_for(notes, "waiting for a worker")
        server.stop()
        wait_for(notes, "was lost")
        restarted = Served(folder, "--workers", 1, "--port", server.port)
        restarted.port = server.port
        with restarted:
            following.join(600)
            assert not following.is_alive()
    status, said = results[0]
    assert status == "successful"
    assert "waiting for a worker" in said
    assert any("was lost" in text and text.endswith("trying again") for text in said)


def test_a_connection_that_stays_lost_ends_with_the_jobs_id(groovy: GroovyConsole, tmp_path: Path) -> None:
    folder = write_slides(tmp_path)
    with Served(folder, "--workers", 0) as waiting, waiting.client() as client:
        job = client.submit("slides/s0.tiff", model="channels")["id"]
        notes = tmp_path / "notes"

        def stop_once_followed() -> None:
            wait_for(notes, "waiting for a worker")
            waiting.stop()

        stopping = threading.Thread(target=stop_once_followed)
        stopping.start()
        with pytest.raises(PluginError, match=rf"the connection was lost .* \(job {job}\)") as error:
            call(groovy, waiting.url, "jobs.await(job, progress)", job=job, patience=2, notes=notes)
        stopping.join()
    assert error.value.kind == "connection-lost"


def test_a_post_that_lost_its_answer_makes_one_job(groovy: GroovyConsole, served: Served) -> None:
    with served.client() as client:
        slide = client.find_slide("slides/s1.tiff")["id"]
        before = len(list(client.jobs()))
        with losing_the_answer(served.port, b"POST /v1/jobs") as (url, kept):
            job = call(groovy, url, "jobs.models(); jobs.submit([slide: slide, model: 'channels']).id", slide=slide)
        assert b"201 Created" in kept[0]
        after = list(client.jobs())
        assert len(after) == before + 1
        assert after[0]["id"] == job
        client.wait(job)


def test_tiles_and_their_table_are_the_masks_own(groovy: GroovyConsole, served: Served, done: str) -> None:
    store = served.data / "results" / done / "mask.zarr"
    code = """
    def tiles = new Tiles(service, job)
    def digest = []
    tiles.downsamples.eachWithIndex { downsample, z ->
        for (int y = 0; y * tiles.side < tiles.heights[z]; y++)
            for (int x = 0; x * tiles.side < tiles.widths[z]; x++)
                digest << [z, x, y, tiles.ids(z, x, y).encodeHex().toString()]
    }
    [tiles.downsamples as List, tiles.widths as List, tiles.heights as List, tiles.names, tiles.colors, digest,
     tiles.misfit(900, 700), tiles.misfit(700, 900)]
    """
    downsamples, widths, heights, names, colors, digests, fits, misfit = call(groovy, served.url, code, job=done)
    levels = [class_map(store, z) for z in range(len(downsamples))]
    assert downsamples == [2.0**z for z in range(len(levels))]
    assert [*zip(heights, widths, strict=True)] == [ids.shape for ids in levels]
    assert names == {"0": "not analysed", "1": "red", "2": "green", "3": "blue"}
    assert colors["1"] == [200, 0, 0]
    assert len(digests) == sum(-(-ids.shape[0] // 256) * -(-ids.shape[1] // 256) for ids in levels)
    for z, x, y, digest in digests:
        part = levels[z][y * 256 : (y + 1) * 256, x * 256 : (x + 1) * 256]
        assert bytes.fromhex(digest) == part.tobytes()
    assert fits is None
    assert misfit == "the result is of a slide of 900 x 700 px, the open image has 700 x 900"


def test_areas_inside_a_shape_are_those_of_the_masks_pixels(groovy: GroovyConsole, served: Served, done: str) -> None:
    ids = class_map(served.data / "results" / done / "mask.zarr")
    large: list[tuple[float, float]]
    large, small = [(100, 50), (800, 90), (640, 660), (300, 500)], [(210.3, 190.6), (243.1, 201.2), (219.7, 230.4)]
    y, x = np.indices(ids.shape)
    pixels = shapely.box(x, y, x + 1, y + 1)
    code = """
    def paths = shapes.collect { corners ->
        def path = new java.awt.geom.Path2D.Double()
        path.moveTo(corners[0][0] as double, corners[0][1] as double)
        corners.tail().each { path.lineTo(it[0] as double, it[1] as double) }
        path.closePath()
        path
    }
    def tiles = new Tiles(service, job)
    [*paths, new java.awt.geom.Rectangle2D.Double(0, 0, 900, 700)].collect { Areas.inside(it, tiles, progress) }
    """
    *some, whole = call(groovy, served.url, code, job=done, shapes=[large, small])
    for corners, found in zip((large, small), some, strict=True):
        shape = shapely.Polygon(corners)
        shapely.prepare(shape)
        shares = shapely.contains(shape, pixels).astype(float)  # of each that lies inside
        border = shapely.intersects(shape, pixels) & (shares == 0)
        shares[border] = shapely.area(shapely.intersection(shape, pixels[border]))
        for class_id in (1, 2, 3):
            assert found[str(class_id)] == pytest.approx(shares[ids == class_id].sum(), rel=0.003, abs=0.5)
    for class_id in (1, 2, 3):
        assert whole[str(class_id)] == np.count_nonzero(ids == class_id)


def test_outlines_are_fetched_whole_and_read_with_none_left_out(
    groovy: GroovyConsole, served: Served, done: str, tmp_path: Path
) -> None:
    code = """
    def target = java.nio.file.Path.of(path)
    service.download("/v1/jobs/${job}/results/objects.geojson", target)
    def outlines = new Outlines(target, 1.0d)
    int count = 0
    [outlines.each(0.0d) { count++ }, count]
    """
    path = tmp_path / "o.geojson"
    expected = web.get(f"{served.url}/v1/jobs/{done}/results/objects.geojson")
    assert call(groovy, served.url, code, job=done, path=path) == [0, len(expected.json()["features"])]
    assert path.read_bytes() == expected.content
    with pytest.raises(PluginError, match="0000000"):
        call(groovy, served.url, code, job="0" * 24, path=tmp_path / "none")
    assert [file.name for file in tmp_path.iterdir()] == ["o.geojson"]


def test_finished_masks_of_a_folder_come_by_the_same_routes(
    groovy: GroovyConsole, served: Served, done: str, tmp_path: Path
) -> None:
    folder = write_slides(tmp_path)
    with Served(folder, "--workers", 0, "--results", served.data / "results" / done) as other:
        code = """
        def tiles = new Tiles(service, jobs.finished(50)[0].id)
        service.download("${tiles.at}/objects.geojson", java.nio.file.Path.of(path))
        [tiles.slideWidth, tiles.ids(0, 0, 0).length]
        """
        assert call(groovy, other.url, code, path=tmp_path / "o.geojson") == [900, 256 * 256]
    assert (tmp_path / "o.geojson").stat().st_size > 1000


@contextmanager
def answering(content: bytes) -> Iterator[str]:
    """A server that gives every request the same bytes; its address."""

    def handle(connection: socket.socket) -> None:
        while connection.recv(65536):
            connection.sendall(content)

    with _listening(handle) as url:
        yield url


@contextmanager
def losing_the_answer(port: int, to: bytes) -> Iterator[tuple[str, list[bytes]]]:
    """A proxy that hangs up instead of passing on the first answer to such a request; its address, what it kept."""
    kept: list[bytes] = []

    def handle(connection: socket.socket) -> None:
        with socket.create_connection(("127.0.0.1", port)) as server:
            losing = False
            while True:
                ready, _, _ = select.select([connection, server], [], [], 30)
                for source in ready:
                    data = source.recv(65536)
                    if not data:
                        return
                    losing = losing or (not kept and data.startswith(to))
                    if source is server and losing:
                        kept.append(data)
                        return
                    (server if source is connection else connection).sendall(data)

    with _listening(handle) as url:
        yield url, kept


@contextmanager
def _listening(handle: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server on loopback that handles each connection in a thread; its address."""

    def handled(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            handle(connection)

    def accept() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=handled, args=(listener.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
