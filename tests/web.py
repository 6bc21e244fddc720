"""HTTP for tests: requests that give a busy machine its time; none of them is for an address with TLS."""

from __future__ import annotations

import ssl
from functools import partial

import httpx

_SECONDS = 300.0
"""A safety net for what never answers; httpx itself gives up after 5, which a busy machine can take."""
_NO_AUTHORITIES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""To read those of the system takes 40 ms for each request that has no client."""

get = partial(httpx.get, timeout=_SECONDS, verify=_NO_AUTHORITIES)
put = partial(httpx.put, timeout=_SECONDS, verify=_NO_AUTHORITIES)
post = partial(httpx.post, timeout=_SECONDS, verify=_NO_AUTHORITIES)
delete = partial(httpx.delete, timeout=_SECONDS, verify=_NO_AUTHORITIES)
request = partial(httpx.request, timeout=_SECONDS, verify=_NO_AUTHORITIES)
stream = partial(httpx.stream, timeout=_SECONDS, verify=_NO_AUTHORITIES)
client = partial(httpx.Client, timeout=_SECONDS, verify=_NO_AUTHORITIES)
