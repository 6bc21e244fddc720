"""Settings of the documentation site; ``make docs`` builds it, and every warning is an error."""

from __future__ import annotations

import sys
from importlib.metadata import version as version_of
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from generated_pages import write_pages

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
suppress_warnings = ["myst.xref_missing"]  # links to files of the repository, which the site does not hold
exclude_patterns = ["_build", "results/*.toml", "README.md"]

html_theme = "furo"
html_title = f"wsi-segment {release}"
html_static_path: list[str] = []

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_class_signature = "separated"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
intersphinx_mapping: dict[str, tuple[str, None]] = {}  # nothing is fetched while building

write_pages(Path(__file__).parent / "reference" / "generated")
