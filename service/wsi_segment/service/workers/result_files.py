"""Where the files of a job's result lie."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from wsi_segment.errors import RunError
from wsi_segment.inference.mask.summary import summary_paths
from wsi_segment.service.jobs.job_table import Job


@dataclass(frozen=True, slots=True)
class ResultFiles:
    """The files of one job."""

    folder: Path
    store: Path

    @classmethod
    def of(cls, data: Path, job: Job) -> ResultFiles:
        """Locate a job's files; an adopted mask stays where it is."""
        folder = data / "results" / job.id
        return cls(folder, folder / "mask.zarr" if job.store is None else Path(job.store))

    @property
    def summary(self) -> Path:
        """Areas by class, as the engine wrote them."""
        return summary_paths(self.store)[0]

    @property
    def preview(self) -> Path:
        """The mask over the slide, as PNG."""
        return self.folder / "preview.png"

    @property
    def region(self) -> Path:
        """The outlines that a job was limited to."""
        return self.folder / "region.geojson"

    @property
    def tissue(self) -> Path:
        """The outlines of tissue that a job was given."""
        return self.folder / "tissue.geojson"

    def wait_for_writer(self, seconds: float) -> None:
        """Wait until no process writes the store: a worker that lost the job may still do so for a moment.

        Raises:
            RunError: it still does after that many seconds.
        """
        if self._partial.is_dir():
            try:
                with FileLock(self._partial / "lock", timeout=seconds):
                    pass
            except FileNotFoundError:  # it has ended since then, and its folder with it
                return
            except Timeout as error:
                raise RunError("another worker has not let go of the job's files") from error

    def remove_partial(self) -> None:
        """Remove what killed workers left beside a finished store."""
        shutil.rmtree(self._partial, ignore_errors=True)
        for left in self.folder.glob("*.partial"):
            if left.is_file():
                left.unlink()

    @property
    def _partial(self) -> Path:
        return self.store.with_name(f"{self.store.name}.partial")

    def read_warnings(self) -> list[dict[str, str]]:
        """Return the doubts that the summary lists, with a code and a message each."""
        listed = self.read_summary().get("warnings", [])
        return [one if isinstance(one, dict) else {"code": "no-tissue", "message": one} for one in listed]

    def read_summary(self) -> dict[str, Any]:
        """Read the summary; empty where none exists."""
        try:
            content: dict[str, Any] = json.loads(self.summary.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return content
