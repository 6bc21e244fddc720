"""All kinds of made files together."""

from __future__ import annotations

from pathlib import Path

from hypothesis import strategies as st

from fuzz.dicom_maker import DicomSpec, dicoms, write_dicom
from fuzz.oracle import Outcome, judge
from fuzz.tiff_maker import TiffSpec, tiffs, write_tiff

Spec = TiffSpec | DicomSpec


def made_files() -> st.SearchStrategy[Spec]:
    """Draw a file of any kind."""
    return st.one_of(tiffs(), tiffs(), dicoms())


def outcome_of(spec: Spec, folder: Path) -> Outcome:
    """Write a file into a folder and judge what is read of it."""
    if isinstance(spec, DicomSpec):
        return judge(*write_dicom(folder, spec))
    path = folder / f"made{spec.suffix}"
    return judge(path, write_tiff(path, spec))
