"""One writer at a time in an object store: an object that its owner keeps alive, and others may take once it dies."""

from __future__ import annotations

import json
import os
import platform
import secrets
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from wsi_segment.errors import OutputError
from wsi_segment.inference.places.bucket_folder import ObjectFolder, TakenError

BEAT = 10.0
"""Seconds between two signs of life."""
EXPIRY = 60.0
"""Seconds without a sign of life after which another process may take over."""


class Lease:
    """The object ``lease`` in a folder: who writes, and since when; written only where it is as it was last seen.

    Clocks of two machines need not agree: an owner that seems dead is watched for longer than a beat before its lease
    is taken. A process of this machine that is gone loses it at once.
    """

    def __init__(self, folder: ObjectFolder, name: str) -> None:
        """Ask for nothing yet.

        Args:
            folder: Where the object lies.
            name: What is written, for messages.
        """
        self._folder, self._name = folder, name
        self._token = secrets.token_hex(16)
        self._beats = 0
        self._state: Mapping[str, Any] = {}
        self._seen = 0.0
        self._lost: str | None = None
        self._ended = threading.Event()
        self._beating: threading.Thread | None = None

    def acquire(self) -> None:
        """Become the owner, and stay it until :meth:`release`.

        Raises:
            OutputError: another process is.
            OSError: the store cannot be written to.
        """
        body = self._body()
        try:
            self._state = self._folder.create("lease", body)
        except TakenError:
            self._take_over()
        self._seen, self._lost = time.monotonic(), None
        self._ended.clear()
        self._beating = threading.Thread(target=self._beat, name="lease", daemon=True)
        self._beating.start()

    def check(self) -> None:
        """Make sure that this process is the owner still.

        Raises:
            OutputError: another one has taken over.
        """
        if self._lost is None and time.monotonic() - self._seen > EXPIRY - BEAT:  # it may have been stopped for long
            self._renew()
        if self._lost is not None:
            raise OutputError(f"{self._name}: {self._lost} has taken over; this run ends, nothing that it did is lost")

    def is_certain(self) -> bool:
        """Return whether nobody else can be the owner, as far as is known without asking."""
        return self._beating is not None and self._lost is None and time.monotonic() - self._seen <= EXPIRY - BEAT

    def release(self) -> None:
        """Let others be the owner."""
        if self._beating is None:
            return
        self._ended.set()
        self._beating.join()
        self._beating = None
        found = self._folder.look("lease")
        if found is not None and self._owner(found[0]).get("token") == self._token:
            self._folder.delete(["lease"])

    def _take_over(self) -> None:
        """Take over an existing object: our own, created though the answer said otherwise, or that of a dead owner."""
        for _ in range(2):
            found = self._folder.look("lease")
            if found is None:
                raise self._told({})
            owner, state = self._owner(found[0]), found[1]
            if owner.get("token") == self._token:
                self._state = state
                return
            if not self._is_dead(owner, state):
                raise self._told(owner)
            try:
                self._state = self._folder.replace("lease", self._body(), state)
            except TakenError:
                continue  # by another process, or by this one where the answer was lost
            return
        raise self._told({})

    def _told(self, owner: Mapping[str, Any]) -> OutputError:
        who = f" ({owner['host']}, process {owner['pid']})" if owner else ""
        return OutputError(
            f"{self._name}: another run is writing it{who}; wait for it, up to {EXPIRY:.0f} s if it was cut off, or "
            "choose another `out`"
        )

    def _is_dead(self, owner: Mapping[str, Any], state: Mapping[str, Any]) -> bool:
        if owner.get("machine") == _machine():
            try:
                return bool(psutil.Process(int(owner["pid"])).create_time() != owner["born"])
            except psutil.Error:
                return True
        age = (datetime.now(UTC) - state["last_modified"]).total_seconds()
        if age < EXPIRY:
            return False
        time.sleep(1.5 * BEAT)
        again = self._folder.look("lease")
        return again is not None and again[1].get("e_tag") == state.get("e_tag")

    def _beat(self) -> None:
        while not self._ended.wait(BEAT) and self._lost is None:
            self._renew()

    def _renew(self) -> None:
        asked = time.monotonic()
        try:
            self._state = self._folder.replace("lease", self._body(), self._state)
        except TakenError:
            found = self._folder.look("lease")
            owner = {} if found is None else self._owner(found[0])
            if found is None or owner.get("token") != self._token:
                self._lost = f"another run{' on ' + owner['host'] if owner else ''}"
                return
            self._state = found[1]  # it was written, though the answer said otherwise
        except OSError:
            return  # the next beat tries again
        self._seen = asked

    def _body(self) -> bytes:
        self._beats += 1
        body = {"token": self._token, "host": platform.node(), "pid": os.getpid(), "machine": _machine()}
        return json.dumps(body | {"born": psutil.Process().create_time(), "beats": self._beats}).encode()

    @staticmethod
    def _owner(content: bytes) -> dict[str, Any]:
        try:
            owner = json.loads(content)
        except ValueError:
            return {}
        return owner if isinstance(owner, dict) else {}


def _machine() -> str:
    """Return what is the same for processes that see each other's numbers: this start of this machine or container."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:  # not Linux
        return f"{platform.node()} {psutil.boot_time():.0f}"
