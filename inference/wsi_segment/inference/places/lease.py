"""One writer at a time in an object store: an object that its owner keeps alive, and others may take once it dies."""

from __future__ import annotations

import json
import os
import platform
import secrets
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psutil

from wsi_segment.errors import OutputError
from wsi_segment.inference.places.bucket_folder import ObjectFolder, TakenError

BEAT = 10.0
"""Seconds between two signs of life."""
EXPIRY = 30.0
"""Seconds for which another process sees no sign of life before it takes over."""
_LOOK = 2.0
"""Seconds between two looks for one."""
_TRIES = 20
"""Of becoming the owner, where the store refuses each and shows no other owner."""
_WRITTEN = {"token", "host", "pid", "machine", "born"}
"""What a sign of life says of its owner."""
_NOTHING: tuple[bytes, Mapping[str, Any]] = b"", {}


def now() -> float:
    """Return seconds by a clock of this machine, which on Linux goes on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if sys.platform == "linux" else time.monotonic()


class Lease:
    """The object ``lease`` in a folder: who writes; replaced only where it is as it was last seen.

    No clock is compared with that of another machine or of the store. An owner is certain of its lease until
    ``EXPIRY - BEAT`` after it asked for its last sign of life to be written. Who wants to take over sees that sign
    later than that, and then unchanged for ``EXPIRY``, so that the owner's certainty has ended long before. A process
    of this machine that is gone loses its lease at once.
    """

    def __init__(self, folder: ObjectFolder, name: str) -> None:
        """Ask for nothing yet.

        Args:
            folder: Where the object lies.
            name: What is written, for messages.
        """
        self._folder, self._name = folder, name
        self._token = secrets.token_hex(16)
        self._state: Mapping[str, Any] = {}
        self._seen = 0.0
        self._lost: str | None = None
        self._ended = threading.Event()
        self._beating: threading.Thread | None = None

    def acquire(self, wait: Callable[[str], None] = lambda reason: None) -> None:
        """Become the owner, and stay it until :meth:`release`; after one that died elsewhere this takes ``EXPIRY``.

        Args:
            wait: Called now and then with what is waited for; may raise to stop.

        Raises:
            OutputError: another process is.
            OSError: the store cannot be written to.
        """
        content, state = _NOTHING
        for _ in range(_TRIES):
            if state:
                owner = self._owner(content)
                if owner.get("token") != self._token and not self._is_over(content, wait):
                    raise self._told(owner)
                there = self._write(lambda body: self._folder.replace("lease", body, state))  # noqa: B023
            else:
                there = self._write(lambda body: self._folder.create("lease", body))
            if there is None:
                break
            content, state = there
            if not state:
                time.sleep(_LOOK)
        else:
            raise self._told({})
        self._lost = None
        self._ended.clear()
        self._beating = threading.Thread(target=self._beat, name="lease", daemon=True)
        self._beating.start()

    def check(self) -> None:
        """Make sure that this process is the owner still.

        Raises:
            OutputError: another one has taken over.
        """
        if self._lost is None and now() - self._seen > EXPIRY - BEAT:  # it may have been stopped for long
            self._renew()
        if self._lost is not None:
            raise OutputError(f"{self._name}: {self._lost} has taken over; this run ends, nothing that it did is lost")

    def is_certain(self) -> bool:
        """Return whether nobody else can be the owner, as far as is known without asking."""
        return self._beating is not None and self._lost is None and now() - self._seen <= EXPIRY - BEAT

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

    def _write(self, put: Callable[[bytes], Mapping[str, Any]]) -> tuple[bytes, Mapping[str, Any]] | None:
        """Give a sign of life; where that is refused, return what is there, and its state; both empty if nothing is."""
        asked, body = now(), self._body()
        try:
            self._state = put(body)
        except TakenError:
            there = self._folder.look("lease") or _NOTHING
            if there[0] != body:
                return there
            self._state = there[1]  # it was written, though the answer said otherwise
        self._seen = asked
        return None

    def _told(self, owner: Mapping[str, Any]) -> OutputError:
        return OutputError(
            f"{self._name}: another run is writing it{_named(owner)}; wait for it, or choose another `out`"
        )

    def _is_over(self, content: bytes, wait: Callable[[str], None]) -> bool:
        """Return whether the owner that wrote this has died or let go."""
        owner = self._owner(content)
        if owner.get("machine") == _machine():
            try:
                born = _born(int(owner["pid"]))
            except psutil.Error:
                return True
            if isinstance(owner["born"], str):  # an earlier version wrote a number, of another clock
                return born != owner["born"]
        since = now()
        while now() - since < EXPIRY:
            wait(f"for up to {EXPIRY:.0f} s to see whether the run that has the output{_named(owner)} still lives")
            time.sleep(_LOOK)
            found = self._folder.look("lease")
            if found is None:
                return True
            if found[0] != content:
                return False
        return True

    def _beat(self) -> None:
        while not self._ended.wait(BEAT) and self._lost is None:
            self._renew()

    def _renew(self) -> None:
        try:
            there = self._write(lambda body: self._folder.replace("lease", body, self._state))
        except OSError:
            return  # the next beat tries again
        if there is None:
            return
        owner = self._owner(there[0])
        if owner.get("token") == self._token:
            self._state = there[1]  # written by an earlier try, whose answer was lost: that was no sign of life now
        else:
            self._lost = f"another run{' on ' + owner['host'] if owner else ''}"

    def _body(self) -> bytes:
        """Return what no other sign of life says."""
        body = {"token": self._token, "host": platform.node(), "pid": os.getpid(), "machine": _machine()}
        return json.dumps(body | {"born": _born(os.getpid()), "beat": secrets.token_hex(8)}).encode()

    @staticmethod
    def _owner(content: bytes) -> dict[str, Any]:
        try:
            owner = json.loads(content)
        except ValueError:
            return {}
        if not isinstance(owner, dict) or not isinstance(owner.get("pid"), int) or not owner.keys() >= _WRITTEN:
            return {}  # of another program: nobody is known to have written it
        return owner


def _named(owner: Mapping[str, Any]) -> str:
    return f" ({owner['host']}, process {owner['pid']})" if owner else ""


def _machine() -> str:
    """Return what is the same for processes that see each other's numbers: this start of this machine or container."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:  # not Linux
        return f"{platform.node()} {psutil.boot_time():.0f}"


def _born(pid: int) -> str:
    """Return when a process began, which tells it from another one of the same number.

    Raises:
        psutil.Error: there is no such process.
    """
    try:  # in ticks since the machine began; psutil adds the clock, which may be set meanwhile
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[19]
    except OSError:  # no such process, or not Linux
        return str(psutil.Process(pid).create_time())
