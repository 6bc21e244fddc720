"""A cluster by its address; nothing of Dask is loaded where no address is given."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from wsi_segment.errors import InputError

if TYPE_CHECKING:
    from wsi_segment.inference.engine.cluster.connection import Cluster

_KNOCK_SECONDS, _GREETING_SECONDS = 5, 10
_ADDRESS = re.compile(r"(tcp|tls)://(\[[0-9a-fA-F:.%]+\]|[^\s/@:?#\[\]]+):(\d{1,5})")


@dataclass(frozen=True, slots=True)
class Tls:
    """Files of a cluster that encrypts; PEM.

    >>> from wsi_segment.inference import Cluster, Tls
    >>> Cluster("tls://host:8786", Tls(ca=Path("ca.pem"), cert=Path("me.pem"), key=Path("me.key"))).address
    'tls://host:8786'
    """

    ca: Path
    """Certificate that the scheduler's and the workers' are signed with."""
    cert: Path
    """This client's certificate."""
    key: Path
    """Its key."""


def refuse_odd_address(address: str, *, certificates: bool) -> None:
    """Refuse what is no address of a scheduler; Dask would look for it for 20 s, and end with a traceback.

    Args:
        address: As it was given.
        certificates: Whether some were given too.

    Raises:
        InputError: it is none, or encrypts nothing though certificates are given.
    """
    found = _ADDRESS.fullmatch(address)
    if found is None or not 0 < int(found[3]) < 1 << 16:
        raise InputError(f"`scheduler` {address}: give an address such as tcp://host:8786 or tls://host:8786")
    if certificates and found[1] == "tcp":
        raise InputError(f"`scheduler` {address}: certificates are for an address that starts with tls://")


def tls_of(scheduler: str | None, ca: Path | None, cert: Path | None, key: Path | None) -> Tls | None:
    """Return the certificates of a cluster; None where none are given.

    Raises:
        InputError: some are missing, or there is no scheduler.
    """
    given = {"tls_ca": ca, "tls_cert": cert, "tls_key": key}
    if not any(given.values()):
        return None
    if scheduler is None:
        raise InputError("`tls_ca`, `tls_cert` and `tls_key` are for `scheduler`, which is not given")
    if ca is None or cert is None or key is None:
        missing = next(name for name, path in given.items() if path is None)
        raise InputError(f"`{missing}` is missing; `tls_ca`, `tls_cert` and `tls_key` go together")
    return Tls(ca, cert, key)


def security_of(address: str, tls: Tls | None) -> Any:
    """Return what Dask encrypts with; None leaves it to its own configuration, which must have something for ``tls://``.

    Raises:
        InputError: a certificate is missing, or cannot be used.
    """
    import distributed

    make: Any = distributed.Security
    if tls is None:
        if address.startswith("tls://") and not make().get_connection_args("client")["ssl_context"]:
            raise InputError(f"`scheduler` {address}: encrypts; give `tls_ca`, `tls_cert` and `tls_key`")
        return None
    for name, path in (("tls_ca", tls.ca), ("tls_cert", tls.cert), ("tls_key", tls.key)):
        if not path.is_file():
            raise InputError(f"`{name}` {path}: no such file")
    try:
        context = ssl.create_default_context(cafile=tls.ca)
    except OSError as error:
        raise InputError(f"`tls_ca` {tls.ca}: holds no certificate in PEM ({error})") from error
    try:
        context.load_cert_chain(tls.cert, tls.key, password=lambda: "")  # Dask would ask at the terminal
    except OSError as error:
        raise InputError(
            f"`tls_cert` {tls.cert}, `tls_key` {tls.key}: not a certificate in PEM and its key, without a passphrase "
            f"({error})"
        ) from error
    return make(
        tls_ca_file=str(tls.ca),
        tls_client_cert=str(tls.cert),
        tls_client_key=str(tls.key),
        require_encryption=True,
    )


def knock(address: str) -> None:
    """Check that a Dask server listens, which greets every client; Dask's own client would wait for ever.

    Raises:
        InputError: something else listens there; with ``tls`` that is for the handshake to find out.
        OSError: nothing does.
    """
    where = urlsplit(address)
    with socket.create_connection((where.hostname, where.port), timeout=_KNOCK_SECONDS) as opened:
        if where.scheme == "tls":
            return
        opened.settimeout(_GREETING_SECONDS)
        try:
            greeted = bool(opened.recv(1))
        except OSError:
            greeted = False
    if not greeted:
        raise InputError(
            f"`scheduler` {address}: what listens there is not a Dask scheduler, or it hangs; give the address that "
            "`dask scheduler` printed"
        )


@contextmanager
def connected(scheduler: str | Cluster | None, tls: Tls | None = None) -> Iterator[Cluster | None]:
    """Yield the connection to a scheduler; None for none.

    Args:
        scheduler: Its address, or a connection, which is left open.
        tls: Certificates, with an address.

    Raises:
        InputError: it cannot be used; see :class:`~wsi_segment.inference.engine.cluster.connection.Cluster`.
        ClusterLostError: there is no scheduler.
    """
    if scheduler is None or not isinstance(scheduler, str):
        yield scheduler
        return
    from wsi_segment.inference.engine.cluster.connection import Cluster

    with Cluster(scheduler, tls) as cluster:
        yield cluster
