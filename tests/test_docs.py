"""The documents: their code runs, their links lead somewhere, and the site builds from the code."""

from __future__ import annotations

import ast
import importlib
import inspect
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from live_server import Served
from synthetic import tissue_like, write_slide
from tools import program

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    path
    for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "qupath_plugin" / "README.md")
    if "_build" not in path.parts and "generated" not in path.parts
)
SERVE = ROOT / "docs" / "guide" / "serve.md"
"""Its examples talk to a server."""
RUN = ("bash", "python")
DATA = ("text", "json", "toml", "xml", "groovy", "yaml")
"""What is shown and not run; JSON and TOML are parsed. Directives of the site stand in braces."""
NOT_RUN = re.compile(r"<!-- not run: (\S.+?) -->\s*\Z")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block of a page."""

    page: Path
    line: int
    language: str
    code: str
    excuse: str | None
    """Why it is not run, as the comment before it says."""


def blocks_of(page: Path) -> list[Block]:
    """Return the fenced blocks of a page, in their order."""
    text = page.read_text(encoding="utf-8")
    lines = text.splitlines(keepends=True)
    found = []
    for token in MarkdownIt().parse(text):
        if token.type != "fence" or token.map is None:
            continue
        before = NOT_RUN.search("".join(lines[: token.map[0]]))
        language = token.info.split()[0] if token.info.strip() else ""
        found.append(Block(page, token.map[0] + 1, language, token.content, before and before[1]))
    return found


BLOCKS = [block for page in PAGES for block in blocks_of(page)]


@pytest.fixture(scope="module")
def workplaces(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, Path]:
    """Return a folder per page with the files that its examples name; blocks of a page follow each other there."""
    folders = {}
    slide = write_slide(tmp_path_factory.mktemp("slide") / "slide.svs", tissue_like(500, 600), mpp=0.5)
    for page in {block.page for block in BLOCKS if block.language in RUN and block.excuse is None}:
        folder = tmp_path_factory.mktemp(page.stem)
        for name in ("slide.svs", "scan.tif", "slides/CMU-1-Small-Region.svs"):
            (folder / name).parent.mkdir(exist_ok=True)
            shutil.copy(slide, folder / name)
        listed = "slides/CMU-1-Small-Region.svs" if page == SERVE else "slide.svs"
        (folder / "slides.csv").write_text(f"slide,mpp\n{listed},0.5\n")
        folders[page] = folder
    return folders


@pytest.fixture(scope="module")
def server(workplaces: dict[Path, Path]) -> Iterator[str]:
    """Run a real server over the slides of the page about serving; its address."""
    for name in ("curl", "jq"):
        program(name)
    (workplaces[SERVE] / "models").mkdir()
    with Served(workplaces[SERVE]) as running:
        yield running.url


@pytest.mark.parametrize(
    "block",
    [block for block in BLOCKS if block.language in RUN and block.excuse is None],
    ids=lambda block: f"{block.page.relative_to(ROOT)}:{block.line}",
)
def test_code_in_the_documents_runs(block: Block, workplaces: dict[Path, Path], request: pytest.FixtureRequest) -> None:
    code = block.code
    environment = os.environ | {"PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}
    if block.page == SERVE:
        environment["WSI_SEGMENT_SERVER"] = request.getfixturevalue("server")
        code = code.replace("http://127.0.0.1:8000", environment["WSI_SEGMENT_SERVER"])
    command = [sys.executable, "-c", code] if block.language == "python" else ["bash", "-euo", "pipefail", "-c", code]
    done = subprocess.run(
        command,
        cwd=workplaces[block.page],
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
        env=environment,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_block_says_what_it_is(page: Path) -> None:
    for block in blocks_of(page):
        assert block.language in (*RUN, *DATA) or block.language.startswith("{"), (block.line, block.language)
        if block.language == "json":
            json.loads(block.code)
        if block.language == "toml":
            tomllib.loads(block.code)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_to_files_of_the_repository_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", text)
    for target in targets:
        if re.match(r"[a-z]+:", target) or "generated/" in target:
            continue
        assert (page.parent / target).exists(), target


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("sphinx", reason="the site's generator is in the extra [docs]")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", str(ROOT / "docs")]
    done = subprocess.run([*command, str(tmp_path / "site")], capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "wsi-segment SLIDE... --out PATH" in (tmp_path / "site" / "reference" / "generated" / "cli.html").read_text()
    page = (tmp_path / "site" / "reference" / "python.html").read_text()
    for name in ("inference.Slide.levels", "inference.ClassArea.area_mm2", "model.Dataset.items"):
        assert f'id="wsi_segment.{name}"' in page
    for noise in ("model_config", "_arrays", "lambda", ">Type</dt>", "Type:"):
        assert noise not in page


def fields_without_docstring(public: type) -> list[str]:
    """Return the public fields of a class under which no string says what they are."""
    (found,) = ast.parse(textwrap.dedent(inspect.getsource(public))).body
    assert isinstance(found, ast.ClassDef)
    return [
        field.target.id
        for field, below in itertools.pairwise([*found.body, ast.Pass()])
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and field.target.id[0] != "_"
        if not (isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant))
    ]


@pytest.mark.parametrize("door", ["wsi_segment.inference", "wsi_segment.model"])
def test_every_public_field_says_what_it_is(door: str) -> None:
    pytest.importorskip("torch", reason="the training side needs PyTorch, of the extra [train]")
    module = importlib.import_module(door)
    classes = [value for name in module.__all__ if inspect.isclass(value := getattr(module, name))]
    assert {entry.__name__: fields for entry in classes if (fields := fields_without_docstring(entry))} == {}
