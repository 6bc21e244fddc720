"""What several tests need."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings

from made import SHARED, SLIDES

settings.register_profile("house", deadline=None, max_examples=25)
settings.load_profile("house")


@pytest.fixture
def slides() -> Path:
    """The folder of real slides; a user's checkout has none."""
    if not SLIDES.is_dir():
        pytest.skip("the folder of real slides is not beside this checkout")
    return SLIDES


@pytest.fixture
def ebhi_seg() -> Path:
    """The real dataset; a user's checkout has none."""
    folder = SHARED / "ebhi-seg"
    if not folder.is_dir():
        pytest.skip("the dataset EBHI-Seg is not beside this checkout")
    return folder
