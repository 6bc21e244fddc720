"""Where messages may go."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsi_segment.errors import InputError
from wsi_segment.service.hooks.allowed_hosts import AllowedHosts

HOSTS = AllowedHosts.parse(
    ["Hooks.example.", "lab.example:8443", "10.0.3.0/24", "192.168.1.7:9000", "[fd00::7]:9000", "localhost:81"]
)


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("https://hooks.example/wsi?a=b", ("https", "hooks.example", 443)),
        ("http://HOOKS.example:80/", ("http", "hooks.example", 80)),
        ("https://lab.example:8443/", ("https", "lab.example", 8443)),
        ("http://10.0.3.9/x", ("http", "10.0.3.9", 80)),
        ("http://192.168.1.7:9000", ("http", "192.168.1.7", 9000)),
        ("http://[fd00::7]:9000/x", ("http", "fd00::7", 9000)),
        ("http://localhost:81", ("http", "localhost", 81)),
    ],
)
def test_hosts_that_were_named_are_allowed(url: str, target: tuple[str, str, int]) -> None:
    found = HOSTS.target(url)
    assert (found.scheme, found.host, found.port) == target


@pytest.mark.parametrize(
    "url",
    [
        "https://other.example/",
        "https://hooks.example.evil.example/",
        "https://sub.hooks.example/",
        "https://hooks.example:22/",
        "https://lab.example/",
        "http://10.0.4.1/",
        "http://10.0.3.9:22/",
        "http://192.168.1.7/",
        "http://127.0.0.1:81/",
        "http://2130706433:81/",
        "http://127.1:81/",
        "http://169.254.169.254/latest/meta-data",
        "https://user:word@hooks.example/",
        "https://hooks.example@evil.example/",
        "https://hooks.example\\@evil.example/",
        "https://evil.example/#@hooks.example/",
        "https://hooks.example/a b",
        "https://hooks.example/\r\nX: y",
        "https://hooks.example:99999/",
        "https://hóoks.example/",
        "ftp://hooks.example/",
        "file:///etc/passwd",
        "hooks.example",
        "https:///x",
        "https://[::1",
        "https://hooks.example/" + "a" * 2000,
    ],
)
def test_every_other_address_is_refused(url: str) -> None:
    with pytest.raises(InputError, match="`url`"):
        HOSTS.target(url)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.0.4.1",
        "192.168.1.8",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1%eth0",
        "fec0::1",
        "fd00::8",
        "ff0e::1",
        "::ffff:127.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b::a00:401",
        "2002:7f00:1::",
        "2001:0:7f00:1::",
    ],
)
def test_addresses_inside_are_reached_only_if_they_were_named(address: str) -> None:
    assert HOSTS.reachable([address]) == []


def test_public_addresses_and_named_ones_are_reached() -> None:
    named = ["10.0.3.200", "192.168.1.7", "fd00::7"]
    assert HOSTS.reachable(["93.184.216.34", "2606:2800:220:1::", *named, "127.0.0.1"]) == [
        "93.184.216.34",
        "2606:2800:220:1::",
        *named,
    ]


@pytest.mark.parametrize(
    "entry", ["", "https://hooks.example", "a/b", "a:0", "a:70000", "10.0.0.1/8", "*.example", "a b"]
)
def test_an_entry_that_is_no_host_is_refused_at_start(entry: str) -> None:
    with pytest.raises(InputError, match="hook_host"):
        AllowedHosts.parse([entry])


@given(st.text(max_size=60) | st.builds("https://{}".format, st.text(max_size=40)))
def test_any_text_is_taken_or_refused_with_a_reason(url: str) -> None:
    try:
        found = HOSTS.target(url)
    except InputError:
        return
    assert found.host in {"hooks.example", "lab.example", "localhost", "192.168.1.7", "fd00::7"} | {
        f"10.0.3.{last}" for last in range(256)
    }
