"""Sends the messages of web hooks, from the server's event loop."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import httpx

from wsi_segment.errors import InputError
from wsi_segment.service.hooks.allowed_hosts import AllowedHosts
from wsi_segment.service.hooks.hook_table import Hook, Hooks
from wsi_segment.service.hooks.signing import body_of, headers_of
from wsi_segment.service.jobs.database import is_away
from wsi_segment.service.jobs.outbox import Message, Outbox

_POLL_SECONDS = 1.0
_ATTEMPT_SECONDS = 15.0
"""Seconds for a whole attempt, so that a receiver that answers byte by byte delays nobody for longer."""
_MOST_AT_ONCE, _MOST_PER_HOOK, _MOST_ADDRESSES = 16, 2, 3
_LONGEST_REST = 60.0

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Rest:
    """A hook that does not answer: it gets no other message for a while."""

    failures: int
    until: float
    """Time by the monotonic clock."""


class Deliveries:
    """The messages that one server sends; several share the work."""

    def __init__(
        self,
        hooks: Hooks,
        outbox: Outbox,
        allowed: AllowedHosts,
        *,
        authority: Path | None,
        permits: Callable[[Hook, Message], bool],
        count: Callable[[str], None],
    ) -> None:
        """Prepare; see :meth:`run`.

        Args:
            hooks: Where messages go.
            outbox: The messages.
            allowed: The hosts that they may go to.
            authority: Certificates (PEM) of a private authority to be trusted too.
            permits: Whether the key of a hook may see what a message is about, and has not ended.
            count: Counts an attempt by its result.

        Raises:
            InputError: the certificates cannot be read.
        """
        self._hooks, self._outbox, self._allowed = hooks, outbox, allowed
        self._permits, self._count = permits, count
        self._trust = ssl.create_default_context()
        try:
            if authority is not None:
                self._trust.load_verify_locations(authority)
        except OSError as error:  # ssl.SSLError is one
            raise InputError(f"`hook_ca {authority}`: not a file of certificates in PEM") from error
        self._names = ThreadPoolExecutor(2, thread_name_prefix="names")
        self._under_way: dict[asyncio.Task[None], str] = {}
        self._resting: dict[str, _Rest] = {}
        self._over = asyncio.Event()

    async def run(self) -> None:
        """Send what is due until the server ends; what is under way then is sent again later."""
        # addresses are checked before each connection, so that none is kept, and no proxy looks names up by itself
        limits = httpx.Limits(max_keepalive_connections=0)
        async with httpx.AsyncClient(verify=self._trust, trust_env=False, limits=limits, timeout=None) as http:
            while not self._over.is_set():
                try:
                    if self._allowed.hosts or self._allowed.networks:  # else they wait for a server that may send them
                        await self._send_due(http)
                except Exception as error:  # this outlives a database that is away
                    if not is_away(error):
                        log.exception("messages of hooks cannot be sent; it is tried again")
                try:
                    await asyncio.wait_for(self._over.wait(), _POLL_SECONDS)
                except TimeoutError:
                    continue
            for task in self._under_way:
                task.cancel()
            await asyncio.gather(*self._under_way, return_exceptions=True)
        self._names.shutdown(wait=False, cancel_futures=True)

    def close(self) -> None:
        """Have :meth:`run` end."""
        self._over.set()

    async def _send_due(self, http: httpx.AsyncClient) -> None:
        now, busy = time.monotonic(), Counter(self._under_way.values())
        resting = [hook for hook, rest in self._resting.items() if rest.until > now or busy[hook]]
        most = {hook: max(0, _MOST_PER_HOOK - count) for hook, count in busy.items()}
        most |= {hook: 1 for hook in self._resting if hook not in resting}  # one to see whether it answers again
        room = _MOST_AT_ONCE - len(self._under_way)
        for message in await asyncio.to_thread(self._outbox.claim, resting, most, room, _MOST_PER_HOOK):
            task = asyncio.create_task(self._send(http, message))
            self._under_way[task] = message.hook
            task.add_done_callback(self._under_way.pop)

    async def _send(self, http: httpx.AsyncClient, message: Message) -> None:
        try:
            hook = await asyncio.to_thread(self._hooks.get, message.hook)
            if hook is None:
                return  # deleted, and its messages with it
            if not await asyncio.to_thread(self._permits, hook, message):
                error: str | None = "the key that the hook was made with has ended, or may not see this"
                await asyncio.to_thread(self._outbox.settle, message, error, again=False)
                return
            error = await self._attempt(http, hook, message)
            goes_on = await asyncio.to_thread(self._outbox.settle, message, error)
            self._count("delivered" if error is None else "failed" if goes_on else "given_up")
            self._note(hook, error)
        except Exception as failure:  # it is due again in a while
            if not is_away(failure):
                log.exception("a message of a hook could not be sent; it is tried again")

    async def _attempt(self, http: httpx.AsyncClient, hook: Hook, message: Message) -> str | None:
        """Send a message once; return why that failed, or None."""
        body = body_of(message, hook)
        headers = headers_of(message, body, self._hooks.secret(hook.id), time.time())
        try:
            async with asyncio.timeout(_ATTEMPT_SECONDS):
                return await self._post(http, hook.url, body, headers)
        except TimeoutError:
            return f"no answer within {_ATTEMPT_SECONDS:g} s"
        except InputError as error:  # the server was started with other hosts
            return str(error)
        except (OSError, httpx.HTTPError, httpx.InvalidURL) as error:
            return f"{type(error).__name__}: {error}"[:500]

    async def _post(self, http: httpx.AsyncClient, url: str, body: bytes, headers: dict[str, str]) -> str | None:
        target = self._allowed.target(url)
        looked_up = await asyncio.get_running_loop().run_in_executor(
            self._names, lambda: socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
        )
        addresses = self._allowed.reachable(str(one[4][0]) for one in looked_up)
        if not addresses:
            return f"{target.host} is at no public address, and its own was not named; see `hook_host`"
        # connections go to the address that was checked: a second look-up could lead elsewhere
        whole = httpx.URL(url)
        more = {**headers, "Host": whole.netloc.decode("ascii")}
        failure: Exception | None = None
        for address in addresses[:_MOST_ADDRESSES]:
            try:
                async with http.stream(
                    "POST",
                    whole.copy_with(host=address),
                    content=body,
                    headers=more,
                    extensions={"sni_hostname": target.host},
                ) as answer:
                    return None if answer.is_success else f"it answered {answer.status_code}"
            except httpx.ConnectError as error:
                failure = error
        assert failure is not None
        raise failure

    def _note(self, hook: Hook, error: str | None) -> None:
        """Let a hook that fails rest, and say in the log when that begins and ends."""
        rest = self._resting.get(hook.id)
        if error is None:
            if rest is not None:
                del self._resting[hook.id]
                log.info("hook %s takes messages again, after %d attempts", hook.id, rest.failures + 1)
            return
        failures = 1 if rest is None else rest.failures + 1
        self._resting[hook.id] = _Rest(failures, time.monotonic() + min(_LONGEST_REST, 2.0 ** (failures - 1)))
        if rest is None:
            log.warning(
                "hook %s does not take messages: %s; they are tried again", hook.id, error, extra={"key": hook.key}
            )
