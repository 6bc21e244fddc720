from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from synthetic import tissue_like, write_model, write_slide
from wsi_segment.inference import Mask

NOTEBOOK = Path(__file__).parents[2] / "docs" / "notebook.ipynb"


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, dict[str, Any]]]:
    """Each code cell's outputs, by kind, after the notebook ran in a kernel beside a slide and a cheap model."""
    nbformat = pytest.importorskip("nbformat", reason="notebooks need nbclient and ipykernel, of the extra [test]")
    nbclient = pytest.importorskip("nbclient", reason="notebooks need nbclient and ipykernel, of the extra [test]")
    pytest.importorskip("ipykernel", reason="notebooks need nbclient and ipykernel, of the extra [test]")
    folder = tmp_path_factory.mktemp("notebook")
    write_slide(folder / "slide.tiff", tissue_like(600, 700))
    write_model(folder / "channels")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    notebook.cells[1].source = notebook.cells[1].source.replace("colorectal-biopsy", "channels")
    resources = {"metadata": {"path": str(folder)}}
    nbclient.NotebookClient(notebook, timeout=600, startup_timeout=600, resources=resources).execute()
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert Mask.open(folder / "mask.zarr").at(350, 300).name in str(code[-1].outputs)
    return [{output.output_type: dict(output) for output in cell.outputs} for cell in code]


def test_the_slide_and_its_pixels_are_shown(cells: list[dict[str, dict[str, Any]]]) -> None:
    assert "tifffile Box(x0=0, y0=0, x1=700, y1=600)" in cells[1]["stream"]["text"]
    assert "image/png" in cells[1]["execute_result"]["data"]


def test_progress_is_drawn_in_the_notebook_and_ends(cells: list[dict[str, dict[str, Any]]]) -> None:
    shown = cells[2]["display_data"]["data"]
    assert shown["text/plain"] == "slide.tiff: done"
    assert '<progress max="1" value="1">' in shown["text/html"]
    assert "stream" not in cells[2]  # no other bar, and no warning
    assert int(cells[2]["execute_result"]["data"]["text/plain"]) > 0


def test_the_mask_is_shown_with_its_areas_and_read_at_a_point(cells: list[dict[str, dict[str, Any]]]) -> None:
    page = cells[3]["execute_result"]["data"]["text/html"]
    assert "data:image/png;base64," in page
    assert "mm²" in page
    areas = eval(cells[4]["execute_result"]["data"]["text/plain"])
    assert set(areas) == {"red", "green", "blue"}
    assert sum(areas.values()) > 0
    assert "MaskClass(id=" in cells[5]["execute_result"]["data"]["text/plain"]
