"""A client of the service for Python programs: posts slides, waits, and fetches masks.

with Client("http://127.0.0.1:8000") as client:
    job = client.submit("slides/a.svs")
    client.wait(job["id"], report=print)
    client.fetch(job["id"], Path("a.zarr"))
"""

from __future__ import annotations

import json
import re
import ssl
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, Self

import httpx

from wsi_segment.errors import InputError, RunError
from wsi_segment.files import replacing
from wsi_segment.inference.slides.geojson_features import read_multipolygon
from wsi_segment.service.settings import is_loopback
from wsi_segment.service.slide_manifest import read_manifest

ENDED = ("successful", "failed", "dismissed")
_SECONDS = 60.0
_TRIES = 8
_PAUSE = 0.5
_ID = re.compile("[0-9a-f]{24}")
_UNAUTHORIZED = 401
_AWAY = frozenset({502, 503, 504})
"""Answers of a proxy without its server, and of a server that cannot answer at present."""


class Client:
    """A connection to one server, as a context manager.

    A request is repeated where no connection is found, and where a server or a proxy before it answers that it is not
    there at present (502, 503, 504).
    """

    def __init__(self, url: str = "http://127.0.0.1:8000", key: str | None = None, ca: Path | None = None) -> None:
        """Prepare a connection; the first request opens it.

        Args:
            url: Address of the server, with the path below which it lies, if any.
            key: Its token, or None.
            ca: Certificates (PEM) of the authority that the server's own is from, where the system does not know it.

        Raises:
            InputError: the certificates cannot be read.
        """
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        try:
            verify = ssl.create_default_context(cafile=str(ca)) if ca is not None else True
        except OSError as error:  # ssl.SSLError is one
            raise InputError(f"`ca` {ca}: not a file of certificates in PEM ({error.strerror or error})") from error
        self._http = httpx.Client(
            base_url=url.rstrip("/"),
            headers=headers,
            timeout=_SECONDS,
            verify=verify,
            trust_env=not _is_here(url),  # proxies of the environment are for other machines
        )
        self._url = url

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._http.close()

    def find_slide(self, path_or_id: str) -> dict[str, Any]:
        """Find a slide by its id, or by its path at the server: ``ROOT/below.svs``, or the whole path."""
        if _ID.fullmatch(path_or_id):
            return self._call("GET", f"/v1/slides/{path_or_id}")
        found: dict[str, Any] = self._call("GET", "/v1/slides", params={"path": path_or_id})["slides"][0]
        return found

    def submit(self, slide: str, **choices: Any) -> dict[str, Any]:
        """Post a job and return it. The request is repeated safely: never does a second job come of it.

        Args:
            slide: Id or path, see :meth:`find_slide`.
            choices: Further fields of the request, such as ``model``, ``mpp``, ``region``.
        """
        body = {"slide": self.find_slide(slide)["id"]} | choices
        return self._call("POST", "/v1/jobs", json=body, headers={"Idempotency-Key": uuid.uuid4().hex})

    def submit_batch(self, manifest: Path, name: str = "") -> dict[str, Any]:
        """Post the slides of a manifest and return the batch.

        Args:
            manifest: CSV with the columns of :data:`wsi_segment.service.slide_manifest.COLUMNS`. Slides are ids or
                paths as the server sees them; files of outlines lie on this machine, beside the manifest.
            name: Of the batch.

        Raises:
            InputError: the manifest is wrong, here or in the eyes of the server; nothing was accepted.
        """
        read = read_manifest(manifest, self.has_slide)
        if not read.rows:
            raise InputError(f"{manifest}: 0 rows; name some slides")
        jobs = []
        for row in read.rows:
            choices: dict[str, Any] = dict(row.choices)
            for key in {"region", "tissue"} & choices.keys():
                if (key, choices[key]) not in (("tissue", "otsu"), ("tissue", "none")):
                    choices[key] = read_multipolygon(manifest.parent / choices[key])
            jobs.append({"slide": row.slide} | choices)
        return self.submit_rows(jobs, name)

    def submit_rows(self, rows: Sequence[dict[str, Any]], name: str = "") -> dict[str, Any]:
        """Post a batch of rows, each with ``slide`` (id or path) and further fields of a job; return the batch."""
        headers = {"Idempotency-Key": uuid.uuid4().hex}
        return self._call("POST", "/v1/batches", json={"name": name, "jobs": list(rows)}, headers=headers)

    def has_slide(self, slide: str) -> bool:
        """Return whether the server has a slide of that id or path."""
        try:
            self.find_slide(slide)
        except InputError:
            return False
        return True

    def job(self, job_id: str) -> dict[str, Any]:
        """Return a job."""
        return self._call("GET", f"/v1/jobs/{job_id}")

    def batch(self, batch_id: str) -> dict[str, Any]:
        """Return a batch."""
        return self._call("GET", f"/v1/batches/{batch_id}")

    def jobs(self, **filters: Any) -> Iterator[dict[str, Any]]:
        """Iterate over all jobs, the newest first; ``status``, ``batch`` and ``slide`` filter."""
        return self._listed("jobs", 200, filters)

    def slides(self, **filters: Any) -> Iterator[dict[str, Any]]:
        """Iterate over all slides, by path; ``root`` and ``prefix`` filter. Some were not looked into yet."""
        return self._listed("slides", 1000, filters)

    def _listed(self, kind: str, size: int, filters: dict[str, Any]) -> Iterator[dict[str, Any]]:
        token = ""
        while True:
            page = self._call("GET", f"/v1/{kind}", params={**filters, "page_size": size, "page_token": token})
            yield from page[kind]
            token = page["next_page_token"]
            if not token:
                return

    def cancel(self, job_id: str) -> dict[str, Any]:
        """Cancel a job and return it."""
        return self._call("DELETE", f"/v1/jobs/{job_id}")

    def retry(self, job_id: str) -> dict[str, Any]:
        """Try a failed or dismissed job again and return it."""
        return self._call("POST", f"/v1/jobs/{job_id}/retry")

    def look(self, name: str, action: Literal["cancel", "retry"] | None = None) -> dict[str, Any]:
        """Return the job or batch with an id, after an action on it.

        Raises:
            InputError: neither has that id.
        """
        for kind in ("jobs", "batches") if _ID.fullmatch(name) else ():
            try:
                self._call("GET", f"/v1/{kind}/{name}")
            except _UnknownError:
                continue
            method, path = {"cancel": ("DELETE", ""), "retry": ("POST", "/retry"), None: ("GET", "")}[action]
            return self._call(method, f"/v1/{kind}/{name}{path}")
        raise InputError(f"{self._url}: no job or batch of yours is called {name}; wsi-segment status lists jobs")

    def events(self, kind: str, name: str, after: int = 0) -> Iterator[dict[str, Any]]:
        """Iterate over the events of one of the ``jobs`` or ``batches`` until it ends; reconnect if needed."""
        failures = 0
        while True:
            try:
                for number, event in self._stream(f"/v1/{kind}/{name}/events", after):
                    after, failures = number, 0
                    yield event
                if self._call("GET", f"/v1/{kind}/{name}")["status"] in ENDED:
                    return
            except (httpx.TransportError, _AwayError) as error:
                failures += 1
                if failures > _TRIES:
                    reason = str(error).removeprefix(f"{self._url}: ")
                    raise RunError(f"{self._url}: the connection was lost ({reason}); the job goes on there") from error
                time.sleep(min(8.0, _PAUSE * 2**failures))
            else:
                time.sleep(_PAUSE)  # the server ended the stream, as it does when it stops

    def wait(self, job_id: str, report: Callable[[dict[str, Any]], None] | None = None) -> dict[str, Any]:
        """Wait until a job ends, and return it.

        Args:
            job_id: Id of the job.
            report: Called with each event; None for nobody.
        """
        for event in self.events("jobs", job_id):
            if report is not None:
                report(event)
        return self.job(job_id)

    def fetch(self, job_id: str, out: Path) -> int:
        """Copy a job's mask into a folder that does not exist yet; return the number of files.

        Raises:
            InputError: the folder exists, or the job has no results.
        """
        if out.exists():
            raise InputError(f"{out}: already exists; choose another name")
        names = self._call("GET", f"/v1/jobs/{job_id}/results/files.json")["files"]
        partial = out.with_name(f"{out.name}.{job_id}.partial")  # files of another job must not be taken over
        for entry in names:
            target = partial.joinpath(*self._parts(entry["path"]))
            if target.exists() and target.stat().st_size == entry["size"]:
                continue  # fetched before it was cut off
            target.parent.mkdir(parents=True, exist_ok=True)
            self.download(f"/v1/jobs/{job_id}/results/zarr/{entry['path']}", target)
        partial.rename(out)
        return len(names)

    def _parts(self, path: str) -> list[str]:
        """Split a path that the server gave into names; refuse one that leads out of the folder."""
        parts = path.split("/")
        if any(part in ("", ".", "..") or set(part) & set("\\:\0") for part in parts):
            raise RunError(f"{self._url}: names a file {path!r} outside of the mask; is it a wsi-segment server?")
        return parts

    def corrections(self, job_id: str) -> dict[str, Any]:
        """Return the latest corrections of a result, as GeoJSON with ``version``, ``author`` and ``saved``."""
        return self._call("GET", f"/v1/jobs/{job_id}/corrections.geojson")

    def result(self, job_id: str, name: str) -> dict[str, Any]:
        """Return a JSON document of a job's results, such as ``summary.json``."""
        return self._call("GET", f"/v1/jobs/{job_id}/results/{name}")

    def download(self, path: str, target: Path) -> None:
        """Write the answer of a GET to a file, which appears when it is complete."""
        with self._http.stream("GET", path) as answer:
            self._check(answer)
            with replacing(target) as file:
                for piece in answer.iter_bytes():
                    file.write(piece)

    def _stream(self, path: str, after: int) -> Iterator[tuple[int, dict[str, Any]]]:
        headers = {"Last-Event-ID": str(after)} if after else {}
        with self._http.stream("GET", path, headers=headers) as answer:
            if answer.status_code in _AWAY:
                raise _AwayError(f"answered {answer.status_code}")
            self._check(answer)
            event: dict[str, str] = {}
            for line in answer.iter_lines():
                name, separator, value = line.partition(": ")
                if separator and name:
                    event[name] = value
                elif not line and "data" in event:
                    yield int(event["id"]), json.loads(event["data"])
                    event = {}

    def _call(self, method: str, path: str, **more: Any) -> dict[str, Any]:
        for attempt in range(_TRIES):
            try:
                answer = self._http.request(method, path, **more)
            except httpx.ConnectError as error:
                if "CERTIFICATE_VERIFY_FAILED" in str(error):
                    raise RunError(
                        f"{self._url}: its certificate is of no authority that is known here ({error}); for a private "
                        "one, give the authority's certificate as `ca` or WSI_SEGMENT_CA"
                    ) from error
                if attempt + 1 == _TRIES:
                    raise _AwayError(
                        f"{self._url}: no server answers ({error}); is wsi-segment serve running?"
                    ) from error
            except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
                raise InputError(f"`server` {self._url}: not an address such as http://127.0.0.1:8000") from error
            except httpx.TransportError as error:
                if attempt + 1 == _TRIES:
                    raise _AwayError(f"{self._url}: the connection was lost ({error})") from error
            else:
                if answer.status_code not in _AWAY or attempt + 1 == _TRIES:
                    self._check(answer)
                    made: dict[str, Any] = answer.json()
                    return made
            time.sleep(min(2.0, _PAUSE * 2**attempt / 4))
        raise AssertionError

    def _check(self, answer: httpx.Response) -> None:
        if answer.is_success:
            return
        answer.read()
        try:
            problem = answer.json()
            detail = str(problem["detail"])
            detail += "".join(
                f"; {_place(row)}: {row['detail']}" for row in problem.get("errors", [])[1:10] if "row" in row
            )
        except (ValueError, KeyError, TypeError):
            detail = f"answered {answer.status_code}"
        if answer.status_code == _UNAUTHORIZED:  # in place of how HTTP spells it
            detail = f"{detail.partition(': send ')[0]}; give one as `key`, or in WSI_SEGMENT_KEY"
        unknown, refused = answer.status_code == 404, answer.status_code < 500
        away = answer.status_code in _AWAY
        kind = _UnknownError if unknown else InputError if refused else _AwayError if away else RunError
        raise kind(f"{self._url}: {detail}")


class _UnknownError(InputError):
    """The server has nothing of that name."""


class _AwayError(RunError):
    """The server cannot answer at present."""


def _is_here(url: str) -> bool:
    """Return whether an address is on this machine."""
    try:
        return is_loopback(httpx.URL(url).host)
    except httpx.InvalidURL:
        return False


def _place(error: dict[str, Any]) -> str:
    return f"line {error['line']}" if "line" in error else f"row {error['row']}"
