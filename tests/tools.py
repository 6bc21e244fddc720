"""Programs that some tests need: a test whose program is absent is skipped, and fails where all are to be there."""

from __future__ import annotations

import os
import shutil
from typing import NoReturn

import pytest

ALL_TOOLS = "WSI_SEGMENT_ALL_TOOLS"
"""Variable that says that all is installed that ``.ci/tools`` brings."""
_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])  # users other than root lack the latter


def program(*names: str) -> str:
    """Path of the first of some programs that is installed."""
    found = next((path for name in names if (path := shutil.which(name, path=_PATH))), None)
    return found or absent(f"{names[0]} is not installed; `make tools` brings it")


def absent(reason: str) -> NoReturn:
    """Skip a test whose tool is not installed; fail where all are to be there."""
    if os.environ.get(ALL_TOOLS):
        pytest.fail(reason)
    pytest.skip(reason)
