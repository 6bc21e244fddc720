"""Real reverse proxies for tests, with the samples of ``deploy/``."""

from __future__ import annotations

import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from free_ports import free_port
from live_server import READY_SECONDS, ROOT
from tools import program


def write_certificate(folder: Path, host: str = "lab.example") -> tuple[Path, Path]:
    """A certificate of a private authority of its own, and its key."""
    certificate, key = folder / "tls.pem", folder / "tls.key"
    command = [
        program("openssl"),
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        f"/CN={host}",
    ]
    names = f"subjectAltName=DNS:{host},DNS:localhost,IP:127.0.0.1"
    command += ["-addext", names, "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    return certificate, key


def sample_with(name: str, changes: dict[str, str]) -> str:
    """A sample of ``deploy/`` with what differs here: each must occur in it."""
    sample = (ROOT / "deploy" / name).read_text(encoding="utf-8")
    for old, new in changes.items():
        assert old in sample
        sample = sample.replace(old, new)
    return sample


@contextmanager
def nginx(folder: Path, upstream: int) -> Iterator[tuple[int, Path]]:
    """The sample of nginx before a server's port; its own port and its certificate."""
    certificate, key = write_certificate(folder)
    port = free_port()
    sample = sample_with(
        "nginx.conf",
        {
            "127.0.0.1:8000": f"127.0.0.1:{upstream}",
            "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
            "/etc/ssl/certs/lab.example.pem": str(certificate),
            "/etc/ssl/private/lab.example.key": str(key),
        },
    )
    temporary = "".join(
        f"{name}_temp_path {folder}/{name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    around = f"pid {folder}/pid;\nerror_log {folder}/error.log;\ndaemon off;\nworker_processes 1;\nevents {{}}\n"
    config = folder / "nginx.conf"
    config.write_text(f"{around}http {{\naccess_log off;\n{temporary}{sample}}}\n", encoding="utf-8")
    with running([program("nginx"), "-c", str(config), "-p", str(folder)], port):
        yield port, certificate


@contextmanager
def caddy(folder: Path, upstream: int) -> Iterator[tuple[int, Path]]:
    """The sample of Caddy before a server's port, with a certificate of its own; its port and the certificate."""
    certificate, key = write_certificate(folder)
    port = free_port()
    sample = sample_with(
        "Caddyfile",
        {
            "127.0.0.1:8000": f"127.0.0.1:{upstream}",
            "\nlab.example {\n": f"\nhttps://lab.example:{port} {{\n\ttls {certificate} {key}\n",
        },
    )
    options = f"admin off\n\tauto_https disable_redirects\n\tskip_install_trust\n\tstorage file_system {folder}"
    config = folder / "Caddyfile"
    config.write_text(f"{{\n\t{options}\n}}\n{sample}", encoding="utf-8")
    with running([program("caddy"), "run", "--config", str(config), "--adapter", "caddyfile"], port):
        yield port, certificate


@contextmanager
def running(command: list[str], port: int) -> Iterator[None]:
    """A program that listens on a port."""
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + READY_SECONDS
        while True:
            if process.poll() is not None:
                assert process.stderr is not None
                raise AssertionError(process.stderr.read().decode())
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.communicate(timeout=READY_SECONDS)


def trusting(certificate: Path) -> ssl.SSLContext:
    """What a client needs to know the private certificate."""
    return ssl.create_default_context(cafile=str(certificate))
