from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthetic import write_model
from wsi_segment.model.card import ModelCard, find_model
from wsi_segment.service.cli.main import main
from wsi_segment.service.cli.model_names import settled_name


@given(folder=st.text(max_size=30))
def test_every_folder_gives_a_name_that_a_card_may_have(folder: str) -> None:
    card = find_model("colorectal-biopsy").card.model_dump()
    assert ModelCard.model_validate(card | {"name": settled_name(None, folder)}).name


@pytest.mark.parametrize("name", ["Mine", "-mine", "mein müll", "", "a b"])
def test_a_name_that_no_card_may_have_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    pytest.importorskip("torch", reason="exporting needs the extra [train]")
    model = write_model(tmp_path / "model")
    assert main(["export", str(model.folder), "--out", str(tmp_path / "copy"), f"--name={name}"]) == 2
    said = capsys.readouterr().err
    assert f"--name {name!r}: a model is named by lower-case letters" in said
    assert said.count("\n") == 1
    assert not (tmp_path / "copy").exists()
