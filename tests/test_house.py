"""Rules of the house that no other test would notice."""

from __future__ import annotations

import ast
import io
import re
import subprocess
import sys
import tokenize
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PORTIONS = ("model", "export", "inference", "service")
LAYERS = (
    ("errors", "files", "csv_table", "lazy_names", "extras"),
    ("model",),
    ("model.data",),
    ("model.training",),
    ("model.experiments",),
    ("export",),
    ("inference.progress", "inference.allowance", "inference.zarr_here"),
    ("inference.grid",),
    ("inference.places",),
    ("inference.slides",),
    ("inference.mask",),
    ("inference.engine",),
    ("inference.evaluation",),
    ("inference",),  # the front door
    ("service",),  # settings, logs, redaction, slide_manifest, client: of no one part
    ("service.jobs",),
    ("service.folders", "service.hooks", "service.workers"),
    ("service.api",),
    ("service.assemble", "service.startup"),
    ("service.cli", "service.__main__"),
)
"""From the bottom to the top; a module imports from its own layer and from those below it. The longest name counts."""
NEVER = {("inference", "export"), ("export", "inference")}
ONLY_IN = {
    "torch": ("model.training", "model.experiments.figures", "export"),
    "matplotlib": ("model.training.curves", "model.experiments.figures"),
    "onnx": ("export", "service.workers.trusted_models"),
    "openvino": ("inference.engine.networks.openvino_network",),
    "onnxruntime": ("export", "inference.engine", "service.cli.commands.doctor"),
    "fastapi": ("service.api", "service.startup"),
    "uvicorn": ("service.api.server", "service.startup"),
}
MOST_MODULES = 14
SOURCES = [path for portion in PORTIONS for path in sorted((ROOT / portion).rglob("*.py"))]


def module_of(path: Path) -> str:
    """``model.data.splits`` for the path of that module."""
    parts = path.relative_to(ROOT).with_suffix("").parts[2:]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def layer_of(module: str) -> int:
    """Index of the layer with the longest name that a module is in."""
    matches = [
        (len(name), index)
        for index, names in enumerate(LAYERS)
        for name in names
        if module == name or module.startswith(f"{name}.")
    ]
    return max(matches)[1]


def imports_of(path: Path) -> set[str]:
    """Full names of all that a file imports, in functions too, but not for type checkers alone."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{name.name}" for name in node.names}
    return found


def test_every_layer_is_there() -> None:
    modules = {module_of(path) for path in SOURCES}
    assert {name for names in LAYERS for name in names} <= modules


def test_the_documents_list_every_layer() -> None:
    rows = re.findall(r"^\| (`.+?`) \|", (ROOT / "docs" / "engine.md").read_text("utf-8"), re.MULTILINE)
    listed = {name.replace("/", ".") for row in rows for name in re.findall(r"`([\w/]+)`", row)}
    folders = {module_of(path) for path in SOURCES if path.name == "__init__.py"}
    assert {name for names in LAYERS for name in names if name in folders and name not in PORTIONS} <= listed
    assert set(LAYERS[0]) <= listed


@pytest.mark.parametrize("portion", PORTIONS)
def test_no_init_hides_the_other_portions(portion: str) -> None:
    assert not (ROOT / portion / "wsi_segment" / "__init__.py").exists()
    assert (ROOT / portion / "wsi_segment" / portion / "py.typed").exists()


def test_the_plain_modules_of_the_namespace_are_typed_for_users() -> None:
    assert (ROOT / "model" / "wsi_segment" / "py.typed").exists()


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_one_way(path: Path) -> None:
    module = module_of(path)
    for used in sorted(imports_of(path)):
        name = used.removeprefix("wsi_segment.")
        if name == used:
            continue
        assert layer_of(name) <= layer_of(module), f"{module} imports {used} from a layer above"
        assert (module.split(".")[0], name.split(".")[0]) not in NEVER, f"{module} imports {used}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_heavy_libraries_are_imported_only_where_they_belong(path: Path) -> None:
    module = module_of(path)
    for library in {name.split(".")[0] for name in imports_of(path)} & ONLY_IN.keys():
        assert any(module == home or module.startswith(f"{home}.") for home in ONLY_IN[library]), (module, library)


@pytest.mark.parametrize(
    "folder",
    sorted({path.parent for path in SOURCES}),
    ids=lambda folder: str(folder.relative_to(ROOT)),
)
def test_no_folder_holds_more_than_one_can_take_in(folder: Path) -> None:
    modules = [path for path in folder.glob("*.py") if path.name != "__init__.py"]
    assert len(modules) <= MOST_MODULES or folder.name == "commands"  # of which there is one file per command


def test_no_file_name_occurs_twice_in_a_portion() -> None:
    for portion in PORTIONS:
        names = [
            path.stem
            for path in SOURCES
            if path.relative_to(ROOT).parts[0] == portion and path.parent.name != "commands" and path.stem[0] != "_"
        ]
        assert not {name for name in names if names.count(name) > 1}, portion


def test_segmenting_never_imports_torch(tmp_path: Path) -> None:
    code = """
import sys
import numpy as np
from pathlib import Path
from synthetic import write_model, write_slide, tissue_like
from wsi_segment.service.cli.main import main
write_model(Path("model"))
write_slide(Path("s.tiff"), tissue_like(600, 600))
sys.modules["torch"] = None  # an import of it would now raise
code = main(["s.tiff", "--out", "m.zarr", "--model", "model", "--preview", "p.png", "--quiet"])
assert code == 0, code
"""
    environment = {"PYTHONPATH": ":".join(str(p) for p in [ROOT / "tests", *(ROOT / p for p in PORTIONS)])}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "m.zarr" / "zarr.json").exists()


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from wsi_segment.service.cli.main import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'numpy', 'zarr', 'onnxruntime', 'dask', 'rich', 'torch', 'pydantic'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    environment = {"PYTHONPATH": ":".join(str(ROOT / p) for p in PORTIONS)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_image_is_built_from_every_folder_of_the_wheel() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        wheel = tomllib.load(file)["tool"]["hatch"]["build"]["targets"]["wheel"]
    copied = (ROOT / "deploy" / "Containerfile").read_text(encoding="utf-8")
    for folder in (*wheel["only-include"], *wheel["force-include"]):
        assert f"COPY {folder} /source/{folder}\n" in copied


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_stay_short_enough_to_read(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 330


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_broad_catch_has_its_reason_beside_it(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    comments = {token.start[0] for token in tokens if token.type == tokenize.COMMENT}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ExceptHandler):
            caught = "BaseException" if node.type is None else ast.unparse(node.type)
            if {"Exception", "BaseException"} & set(caught.strip("()").split(", ")):
                assert comments & {node.lineno - 1, node.lineno, node.lineno + 1}, f"{path}, line {node.lineno}"


@pytest.mark.parametrize(
    "path",
    [path for path in SOURCES if path.relative_to(ROOT).parts[0] != "service"],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_the_library_names_fields_and_no_flags(path: Path) -> None:
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    joined = [node for node in nodes if isinstance(node, ast.JoinedStr)]
    pieces = {id(part) for node in joined for part in node.values}
    plain = [
        one for one in nodes if isinstance(one, ast.Constant) and isinstance(one.value, str) and id(one) not in pieces
    ]
    texts = [*(ast.unparse(node) for node in joined), *(str(node.value) for node in plain)]
    for text in texts:  # whole commands, as a remedy, have flags
        assert not re.search(r"(^|[\s'\"`(])--[a-z]", text) or "wsi-segment " in text, text


def test_help_costs_little() -> None:
    """At most 0.15 s of CPU, or twice what Python itself takes where that is slow.

    The best of some counts, since other processes slow a machine down, and none makes it fast.
    """
    resource = pytest.importorskip("resource", reason="Windows counts CPU time in another way")
    environment = {"PYTHONPATH": ":".join(str(ROOT / p) for p in PORTIONS)}

    def cost(*arguments: str) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *arguments], env=environment, stdout=subprocess.DEVNULL, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return float(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)

    help_seconds, own_seconds = list[float](), list[float]()
    for _ in range(40):
        help_seconds.append(cost("-m", "wsi_segment.service", "--help"))
        own_seconds.append(cost("-c", "import argparse, dataclasses, pathlib, re, typing"))
        most = max(0.15, 2 * min(own_seconds))
        if min(help_seconds) <= most:
            break
    assert min(help_seconds) <= most


def test_the_notices_name_every_library_that_is_installed() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    rows = re.findall(
        r"^\| `?(\w*)`? ?\| ([^|]+) \|", (ROOT / "THIRD_PARTY_NOTICES.md").read_text("utf-8"), re.MULTILINE
    )
    named = {(extra, name) for extra, names in rows for name in names.split(", ")}
    for extra, needed in {"": project["dependencies"], **project["optional-dependencies"]}.items():
        if extra not in {"test", "docs", "viewers", "dev"}:  # those are for work on the project
            assert not {(extra, re.split(r"[^\w-]", one)[0]) for one in needed} - named


DEFINED = [
    node
    for path in SOURCES
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
]
PASSED_ON = {node.name for node in DEFINED if not isinstance(node, ast.ClassDef) and node.args.vararg is not None}
OWN = {node.name for node in DEFINED} - PASSED_ON | {"cls"}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_calls_of_our_own_with_five_arguments_name_some(path: Path) -> None:
    foreign = {name.rpartition(".")[2] for name in imports_of(path) if not name.startswith("wsi_segment.")}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and len(node.args) >= 5:
            called = node.func.attr if isinstance(node.func, ast.Attribute) else ast.unparse(node.func)
            assert called not in OWN - foreign, f"line {node.lineno}: name some arguments of {ast.unparse(node):.80}"
