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
    from wsi_segment.inference.engine.cluster.connection import Connection

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


class Cluster:
    """A connection to a Dask scheduler, for several calls of :func:`wsi_segment.inference.segment`; a context manager.

    The calls may run in several threads.

    >>> from wsi_segment.inference import Cluster
    >>> Cluster("nowhere")
    Traceback (most recent call last):
    wsi_segment.errors.InputError: `scheduler` nowhere: give an address such as tcp://host:8786 or tls://host:8786
    """

    def __init__(self, address: str, tls: Tls | None = None) -> None:
        """Remember where the scheduler is; entering the context connects to it.

        Args:
            address: Such as ``tcp://host:8786``; ``tls://`` for one that encrypts.
            tls: Certificates; None for those of Dask's own configuration, if any.

        Raises:
            InputError: ``address`` is not an address, or certificates are given and it does not encrypt.
        """
        refuse_odd_address(address, certificates=tls is not None)
        self.address, self._tls = address, tls
        self._connection: Connection | None = None

    def __enter__(self) -> Cluster:
        """Connect.

        Raises:
            InputError: Dask's distributed is not installed, the certificates are wrong, or versions differ.
            RunError: there is no scheduler.
        """
        from wsi_segment.inference.engine.cluster.connection import Connection

        self._connection = Connection(self.address, self._tls).__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        """Disconnect."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


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
def connected(scheduler: str | Cluster | None, tls: Tls | None = None) -> Iterator[Connection | None]:
    """Yield the connection to a scheduler; None for none.

    Args:
        scheduler: Its address, or a connection, which is left open.
        tls: Certificates, with an address.

    Raises:
        InputError: it cannot be used, see :class:`Cluster`, or it is one that is not connected.
        ClusterLostError: there is no scheduler.
    """
    if scheduler is None:
        yield None
    elif isinstance(scheduler, Cluster):
        if scheduler._connection is None:
            raise InputError(f"`scheduler` {scheduler.address}: is not connected; use the Cluster in a with statement")
        yield scheduler._connection
    else:
        from wsi_segment.inference.engine.cluster.connection import Connection

        with Connection(scheduler, tls) as connection:
            yield connection
