"""The files of the viewer: what is served, what was vendored, and what a type checker says of the modules."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from pathlib import Path

import pytest

import web
from browser import VIEWER_TOOLS
from live_server import ROOT, Served, problem
from tools import absent
from wsi_segment.service.api.viewing.viewer_files import viewer_files

VIEWER = ROOT / "service" / "wsi_segment" / "service" / "viewer"
VENDORED = {
    "openseadragon.min.js": "14d587cd3ee7c4861f1a41077ce642029364a21029956ba635bd8fb1202cf9ad",
    "LICENSE.txt": "17da96b26ac706d2cbd06d4555dedb43026782f4943faf0156fe7acf89454228",
}
"""sha256 of files of OpenSeadragon 6.1.1, as npm has them."""


def test_vendored_files_are_those_of_the_package() -> None:
    folder = VIEWER / "vendor" / "openseadragon"
    assert {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()} == VENDORED
    package = VIEWER_TOOLS / "openseadragon"
    if package.is_dir():
        theirs = {"openseadragon.min.js": package / "build" / "openseadragon" / "openseadragon.min.js"}
        theirs["LICENSE.txt"] = package / "LICENSE.txt"
        assert {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in theirs.items()} == VENDORED


def test_modules_pass_the_type_checker() -> None:
    checker = VIEWER_TOOLS / ".bin" / "tsc"
    if not checker.exists() or shutil.which("node") is None:
        absent("TypeScript is not installed; .ci/tools brings it")
    project = Path(__file__).with_name("tsconfig.json")
    done = subprocess.run([checker, "--project", project], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    "path",
    [path for path in sorted(VIEWER.rglob("*")) if path.suffix in (".js", ".css") and "vendor" not in path.parts],
    ids=lambda path: str(path.relative_to(VIEWER)),
)
def test_files_are_short_and_say_what_they_are(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 330
    if path.suffix == ".js":
        assert text.startswith("/**\n * "), "a module begins with what it is for"
        assert "@module" in text
    assert "innerHTML" not in text
    assert not re.search(r"https?://(?!www\.w3\.org/)", text), "nothing comes from another host"


def test_every_file_of_the_folder_is_served_or_is_the_page() -> None:
    there = {path.relative_to(VIEWER).as_posix() for path in VIEWER.rglob("*") if path.is_file()}
    assert there == {*viewer_files().content, "index.html"}


def test_a_browser_gets_the_page_and_others_the_addresses(served: Served) -> None:
    page = web.get(served.url, headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
    policy = page.headers["content-security-policy"]
    assert page.headers["content-type"].startswith("text/html")
    assert "unsafe" not in policy
    assert "default-src 'none'; script-src 'self'; style-src 'self'" in policy
    assert "Accept" in page.headers["vary"]
    assert web.get(served.url).json()["slides"] == "/v1/slides"
    for address in re.findall(r'(?:href|src)="(/static/[^"]+)"', page.text):
        file = web.get(served.url + address)
        assert file.status_code == 200
        assert "immutable" in file.headers["cache-control"]
        assert file.headers["content-type"].split(";")[0] in ("text/javascript", "text/css", "image/svg+xml")


def test_inline_code_and_styles_are_nowhere_in_the_page() -> None:
    page = viewer_files().page_under("/wsi")
    assert "<style" not in page
    assert not re.search(r"<script(?![^>]*\bsrc=)", page)
    assert not re.search(r"\s(style|on\w+)=", page)
    assert "{{" not in page
    addresses = re.findall(r'(?:href|src)="([^"]+)"', page)
    assert len(addresses) > 2
    assert all(address.startswith("/wsi/") for address in addresses)


def test_modules_that_ask_the_server_are_fetched_before_all_others() -> None:
    files = viewer_files()
    page = files.page_under("")
    head = re.sub(r"<template.*?</template>", "", page, flags=re.DOTALL)
    links = r'<link rel="modulepreload" href="/static/viewer/[0-9a-f]+/([^"]+)" fetchpriority="(\w+)">'
    assert re.findall(links, head) == [(name, "high") for name in files.first]
    assert "js/app/early.js" in files.first
    assert not set(files.first) & {*files.needed, *files.of_pages["view"]}
    later = dict(re.findall(r'<template data-page="(\w*)">(.*?)</template>', page, flags=re.DOTALL))
    for name, modules in {"": files.needed, **files.of_pages}.items():
        assert re.findall(links, later[name]) == [(module, "low") for module in modules]


def test_an_address_of_another_version_is_refused(served: Served) -> None:
    assert "reload" in problem(web.get(f"{served.url}/static/viewer/0123456789abcdef/js/main.js"), 404)["detail"]
    for name in ("%2e%2e%2fsettings.py", "js%2f..%2f..%2fsettings.py", "js/", "index.html"):
        problem(web.get(f"{served.url}/static/viewer/{viewer_files().digest}/{name}"), 404)


def test_a_job_links_to_its_page(served: Served, done: str) -> None:
    links = {link["rel"]: link["href"] for link in web.get(f"{served.url}/v1/jobs/{done}").json()["links"]}
    assert links["viewer"] == f"/#/view/{done}"
