"""The flags of a command whose work a Dask cluster can do."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wsi_segment.inference.engine.cluster.connection import Connection


def add_cluster_flags(parser: argparse.ArgumentParser) -> None:
    """Add the address of a scheduler, and the certificates of one that encrypts."""
    add = parser.add_argument
    add("--scheduler", metavar="ADDRESS", help="compute on a Dask cluster, such as tcp://host:8786 or tls://host:8786")
    add("--tls-ca", type=Path, metavar="PEM", help="certificate of the authority of a tls:// cluster")
    add("--tls-cert", type=Path, metavar="PEM", help="this machine's certificate for that cluster")
    add(
        "--tls-key", type=Path, metavar="PEM", help="key of that certificate (without the three: as Dask is configured)"
    )


@contextmanager
def connected_by(args: argparse.Namespace) -> Iterator[Connection | None]:
    """Yield the cluster that the flags name, None for none; see :func:`tls_of` for errors."""
    from wsi_segment.inference.engine.cluster.address import connected, tls_of

    tls = tls_of(args.scheduler, args.tls_ca, args.tls_cert, args.tls_key)
    with connected(args.scheduler, tls) as cluster:
        yield cluster
