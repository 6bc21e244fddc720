"""Finished masks that no job made, out of the folders of ``--results``: listed as jobs for as long as they lie there.

A mask is one job by its path, the fingerprint of its slide and the state of its files. Where another one takes its
place, that is another job with an id of its own, so that nothing of both is ever mixed.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import func, insert, select, update

from wsi_segment.errors import InputError
from wsi_segment.inference.mask.mask import Mask
from wsi_segment.inference.mask.summary import is_store_name, summary_paths
from wsi_segment.service.folders.file_looks import FileLooks, HangsError, hash_of_states
from wsi_segment.service.jobs.database import Database, in_parts, is_away
from wsi_segment.service.jobs.events import Kind, append_events, next_numbers
from wsi_segment.service.jobs.job_rows import make_row
from wsi_segment.service.jobs.job_table import Job, NewJob
from wsi_segment.service.jobs.tables import jobs, slides

LOOK_SECONDS = 2.0
_READ_SECONDS = 60.0
_PAGE = 500
_MARKERS = ("zarr.json", ".zattrs", "labels/segmentation/zarr.json", "labels/segmentation/.zattrs")

log = logging.getLogger(__name__)


class AdoptedMasks:
    """A thread of the server that follows what lies in its folders."""

    def __init__(self, database: Database, folders: Sequence[str], looks: FileLooks) -> None:
        """Remember the folders.

        Args:
            database: The job table.
            folders: As the user gave them.
            looks: Looks at files.

        Raises:
            InputError: a folder is missing.
        """
        for folder in folders:
            if not Path(folder).is_dir():
                raise InputError(f"`results` {folder}: no such folder")
        self._database, self._looks = database, looks
        self._folders = tuple(Path(folder).resolve() for folder in folders)
        self._foreign: dict[str, str] = {}
        """Stores that are not masks of this project, by path, with the state in which they were read."""
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="adopted masks", daemon=True)

    def start(self) -> None:
        """Follow the folders, where any are served."""
        if self._folders:
            self._thread.start()

    def stop(self) -> None:
        """Stop following; a look that hangs is left to itself."""
        self._over.set()

    def offers(self, job: Job) -> bool:
        """Return whether an adopted mask is still the one that its job was listed for."""
        store = Path(job.store or "")
        if store.parent not in self._folders:
            return False
        try:
            return bool(self._looks.call(f"results {store.parent}", state_of, store) == job.state)
        except (HangsError, OSError):
            return False

    def follow(self) -> None:
        """List what came, and unlist what went or was replaced."""
        for folder in self._folders:
            try:
                found = self._looks.call(f"results {folder}", _states, folder, seconds=_READ_SECONDS)
            except (HangsError, OSError):
                continue  # a folder that is away for a moment has lost nothing
            self._compare(folder, found)
        self._link()

    def _compare(self, folder: Path, found: dict[str, str]) -> None:
        with self._database.read() as connection:
            adopted = [
                row
                for row in connection.execute(
                    select(jobs.c.id, jobs.c.store, jobs.c.state, jobs.c.removed).where(jobs.c.store.is_not(None))
                )
                if Path(row.store).parent == folder
            ]
        known = {(row.store, row.state): row for row in adopted}
        gone = [row.id for row in adopted if row.removed is None and found.get(row.store) != row.state]
        back = [row.id for row in adopted if row.removed is not None and found.get(row.store) == row.state]
        if gone or back:
            self._set_removed(gone, time.time())
            self._set_removed(back, None)
        for store, state in found.items():
            if (store, state) not in known and self._foreign.get(store) != state:
                self._adopt(Path(store), state)

    def _set_removed(self, ids: Sequence[str], removed: float | None) -> None:
        if not ids:
            return
        with self._database.write() as connection:
            connection.execute(update(jobs).where(jobs.c.id.in_(ids)).values(removed=removed))
            kind: Kind = "successful" if removed is None else "removed"
            append_events(connection, kind, [(job_id, None, {}) for job_id in ids])

    def _adopt(self, store: Path, state: str) -> None:
        """List a store as a successful job."""
        try:
            new, warnings = self._looks.call(f"results {store.parent}", _read, store, seconds=_READ_SECONDS)
        except Exception as error:  # whatever else lies there must not keep the server from its work
            if state_of(store) == state:
                self._foreign[str(store)] = state
                kind = type(error).__name__
                log.warning("a store in the results folder is not a mask of wsi-segment (%s); it is left out", kind)
            return
        now = time.time()
        with self._database.write() as connection:
            same = (jobs.c.store == str(store)) & (jobs.c.state == state)
            if connection.execute(select(func.count()).where(same)).scalar():
                return  # another server was first
            row = make_row(new, next_numbers(connection, "jobs"), turn=0, batch=None, now=now)
            row |= {"status": "successful", "store": str(store), "state": state, "started": now, "finished": now}
            connection.execute(insert(jobs).values(row | {"warnings": warnings}))
            append_events(connection, "successful", [(row["id"], None, {})])

    def _link(self) -> None:
        """Link masks to their slides, which may have become known later."""
        unlinked = jobs.c.store.is_not(None) & jobs.c.removed.is_(None) & jobs.c.slide.not_in(select(slides.c.id))
        with self._database.read() as connection:
            rows = connection.execute(select(jobs.c.id, jobs.c.inputs).where(unlinked)).all()
            wanted = {row.inputs["slide"]["fingerprint"]: row.id for row in rows if row.inputs}
            found: dict[str, str] = {}
            for part in in_parts(sorted(wanted), _PAGE):
                query = select(slides.c.fingerprint, slides.c.id).where(slides.c.fingerprint.in_(part))
                found |= {row.fingerprint: row.id for row in connection.execute(query)}
        if not found:
            return
        with self._database.write() as connection:
            for row in rows:
                if row.inputs and (slide := found.get(row.inputs["slide"]["fingerprint"])):
                    connection.execute(update(jobs).where(jobs.c.id == row.id).values(slide=slide))

    def _run(self) -> None:
        while not self._over.wait(LOOK_SECONDS):
            try:
                self.follow()
            except Exception as error:  # the thread outlives a database that is away
                if not is_away(error):
                    log.exception("the results folders cannot be followed; it is tried again")


def state_of(store: Path) -> str:
    """Hash what the folders say of a store's own files and its summary; empty where no store is there."""
    files = [store / name for name in _MARKERS]
    states = [_state(file) for file in (store, *files, summary_paths(store)[0])]
    return hash_of_states(states) if any(states[1:-1]) else ""


def _state(file: Path) -> os.stat_result | None:
    try:
        return file.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None


def _states(folder: Path) -> dict[str, str]:
    """Return the states of all stores in a folder, by path."""
    found = {str(store): state_of(store) for store in sorted(folder.glob("*")) if is_store_name(store.name)}
    return {store: state for store, state in found.items() if state}


def _read(store: Path) -> tuple[NewJob, list[dict[str, str]]]:
    """Return what a mask says of itself as a job, and its warnings."""
    mask = Mask.open(store)
    provenance = mask.provenance
    model, fingerprint = provenance["model"], str(provenance["slide"]["fingerprint"])
    made_with: dict[str, Any] = {
        name: value for name, value in provenance["parameters"].items() if isinstance(value, str | int | float | bool)
    }
    inputs = {
        "slide": {
            "fingerprint": fingerprint,
            "bytes": None,
            "width": mask.bounds.width,
            "height": mask.bounds.height,
        },
        "model": {"name": str(model["name"]), "version": str(model.get("version", "")), "sha256": str(model["sha256"])},
    }
    parameters = made_with | {"model": str(model["name"]), "ome_zarr": str(provenance["parameters"]["ome_zarr"])}
    return NewJob(fingerprint[:24], parameters, inputs=inputs), provenance.get("warnings", [])
