"""Where messages of web hooks may go: hosts that were named at start, and private addresses only if they were too."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Self
from urllib.parse import urlsplit

from wsi_segment.errors import InputError

Address = IPv4Address | IPv6Address
_PORTS = {"http": 80, "https": 443}
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::([0-9]{1,5}))?")
_NAT64 = ip_network("64:ff9b::/96")
_MOST_CHARACTERS = 2000


@dataclass(frozen=True, slots=True)
class Target:
    """Where an address leads."""

    scheme: str
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class AllowedHosts:
    """The hosts that were named."""

    hosts: frozenset[tuple[str, int | None]]
    """Names and single addresses, each with a port, or None for the usual one."""
    networks: tuple[IPv4Network | IPv6Network, ...]
    """Addresses that may be reached although they are not of the public internet."""

    @classmethod
    def parse(cls, entries: Iterable[str]) -> Self:
        """Read entries such as ``hooks.example``, ``hooks.example:8443``, ``10.0.3.7:9000`` and ``10.0.3.0/24``.

        Raises:
            InputError: an entry is none of them.
        """
        hosts, networks = set[tuple[str, int | None]](), list[IPv4Network | IPv6Network]()
        for entry in entries:
            text = entry.strip().lower().rstrip(".")
            try:
                networks.append(ip_network(text))
                if "/" not in text:
                    hosts.add((str(ip_address(text)), None))
                continue
            except ValueError:
                found = _HOST.fullmatch(text)
            if found is None or not 0 < int(found[2] or 1) < 65536:
                raise InputError(f"`hook_host {entry}`: not a host, host:port, address or network such as 10.0.3.0/24")
            host = found[1].strip("[]")
            if (address := _address(host)) is not None:
                networks.append(ip_network(str(address)))
                host = str(address)
            hosts.add((host, int(found[2]) if found[2] else None))
        return cls(frozenset(hosts), tuple(networks))

    def target(self, url: str) -> Target:
        """Return where an address leads.

        Raises:
            InputError: it may not be used.
        """
        try:
            parts = urlsplit(url)
            host, port = (parts.hostname or "").rstrip("."), parts.port
        except ValueError as error:
            raise InputError(f"`url`: not an address ({error})") from error
        if parts.scheme not in _PORTS or not host or len(url) > _MOST_CHARACTERS or not url.isascii():
            raise InputError("`url`: not an address such as https://hooks.example/wsi")
        if parts.username is not None or parts.fragment or re.search(r"[\x00-\x20\\]", url):
            raise InputError("`url`: holds a user, a fragment or a space, which messages are not sent with")
        usual = _PORTS[parts.scheme]
        target = Target(parts.scheme, host, usual if port is None else port)
        address = _address(host)
        host = str(address or host)
        named = (host, target.port) in self.hosts or (target.port == usual and (host, None) in self.hosts)
        # of single addresses some are named with a port, and are in `hosts` with it
        networks = [network for network in self.networks if network.num_addresses > 1]
        inside = address is not None and target.port == usual and any(address in network for network in networks)
        if not named and not inside:
            raise InputError(f"`url`: this server sends messages to no {host}:{target.port}; see `hook_host`")
        return target

    def reachable(self, addresses: Iterable[str]) -> list[str]:
        """Return those of a host's addresses that messages may go to: public ones, and others that were named."""
        found = dict.fromkeys(ip_address(text.partition("%")[0]) for text in addresses)
        return [str(address) for address in found if _is_public(address) or self._is_named(address)]

    def _is_named(self, address: Address) -> bool:
        return any(address in network for network in self.networks)


def _address(host: str) -> Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _is_public(address: Address) -> bool:
    """Return whether an address is one of the public internet, and so is one that is wrapped in it."""
    if not address.is_global or address.is_multicast:
        return False
    if isinstance(address, IPv4Address):
        return True
    wrapped = address.ipv4_mapped or address.sixtofour
    if address in _NAT64:
        wrapped = IPv4Address(int(address) & 0xFFFFFFFF)
    return not address.is_site_local and (wrapped is None or _is_public(wrapped))
