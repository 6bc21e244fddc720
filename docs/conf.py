"""Settings of the documentation site; ``make docs`` builds it, and every warning is an error."""

from __future__ import annotations

import sys
from importlib.metadata import version as version_of
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parent))

from generated_pages import write_pages

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "wsi-segment"
author = "The wsi-segment developers"
project_copyright = author
release = version_of("wsi-segment")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.intersphinx",
    "sphinx_copybutton",
]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
exclude_patterns = ["_build", "results/*.toml", "README.md"]

smartquotes_action = "q"  # dashes stay as they are typed: --out is a flag

html_theme = "furo"
html_title = f"wsi-segment {release}"
html_static_path: list[str] = []

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_class_signature = "separated"
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
intersphinx_mapping: dict[str, tuple[str, None]] = {}  # nothing is fetched while building

CONSTRUCTED = {"Box", "Client", "LabelSetting", "SegmentOptions"}
"""Classes that users make; of the others, which functions return, the constructor is no part of the interface."""


def skip_member(app: Sphinx, what: str, name: str, member: object, skip: bool, options: object) -> bool | None:
    """Leave out constructors that nobody calls, and what pydantic keeps of its own."""
    if name == "__init__":
        return getattr(member, "__qualname__", "").partition(".")[0] not in CONSTRUCTED
    return True if name == "model_config" else None


def keep_colons(app: Sphinx, what: str, name: str, member: object, options: object, lines: list[str]) -> None:
    """Keep napoleon from taking ``Pixels: of level 0`` for a type and its text: types are annotated here.

    It looks at the first line only; an empty comment has no colon and leaves nothing on the page.
    """
    if what in ("attribute", "property", "data"):
        lines[:0] = ["..", ""]


def setup(app: Sphinx) -> None:
    """Connect both before napoleon, whose priority is 500."""
    app.connect("autodoc-skip-member", skip_member, priority=100)
    app.connect("autodoc-process-docstring", keep_colons, priority=100)


write_pages(Path(__file__).parent / "reference" / "generated")
