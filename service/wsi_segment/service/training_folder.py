"""Corrections from a service as a folder of slides with annotations, from which ``wsi-segment train`` learns."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import Any

from wsi_segment.errors import InputError
from wsi_segment.service.client import Client

CLASSES_FILE = "classes.json"


def lay_out_corrections(client: Client, job_id: str, folder: Path, slides: Path | None) -> Iterator[str]:
    """Write the latest corrections of a result, its classes, and a link to its slide.

    Args:
        client: Of the service.
        job_id: Of the job that was corrected.
        folder: Made if it is missing; may hold the corrections of other slides with the same classes.
        slides: Folder in which the slide lies, by its file name; None: it is brought by hand.

    Yields:
        A line for each thing that was written, or is yet to be done.

    Raises:
        InputError: there are no corrections, the folder has other classes, or the slide is not where it should be.
    """
    job = client.job(job_id)
    if not job["slide_name"]:
        raise InputError(f"job {job_id}: its slide lies under no root of the server any longer")
    found = client.corrections(job_id)
    name = PurePath(job["slide_name"]).name
    source = None if slides is None else slides / name
    if source is not None and not source.exists():
        raise InputError(f"{source}: no such slide; --slides names the folder that {name} lies in")
    folder.mkdir(parents=True, exist_ok=True)
    yield _write_classes(client, job_id, folder / CLASSES_FILE)
    outlines = folder / f"{PurePath(name).stem}.geojson"
    outlines.write_text(json.dumps(found), encoding="utf-8")
    author = f" by {found['author']}" if found["author"] else ""
    yield f"{outlines}: {len(found['features'])} outlines, version {found['version']}{author}"
    target = folder / name
    if target.exists():
        return
    if source is None:
        yield f"{target}: put the slide here, or name its folder with --slides"
        return
    _link(source.resolve(), target)
    yield str(target)


def _write_classes(client: Client, job_id: str, path: Path) -> str:
    """Write the classes and the pixel size of a result, or check that the folder's are the same."""
    table = client.result(job_id, "tiles.json")["classes"]
    classes = [
        {"name": entry["name"].replace(":", " -"), "color": entry["color"]} for entry in table if entry["id"] > 0
    ]
    wanted: dict[str, Any] = {"classes": classes, "mpp": client.result(job_id, "summary.json")["mask_mpp"]}
    if path.exists():
        try:
            there = {entry["name"] for entry in json.loads(path.read_text(encoding="utf-8"))["classes"]}
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path}: no list of classes ({error}); remove the file") from error
        missing = [entry["name"] for entry in classes if entry["name"] not in there]
        if missing:
            raise InputError(f"{path}: has no class {missing[0]!r}, which the result has; choose another folder")
        return f"{path}: kept as it is"
    path.write_text(json.dumps(wanted, indent=1, ensure_ascii=False), encoding="utf-8")
    return f"{path}: {len(classes)} classes at {wanted['mpp']:g} µm per pixel"


def _link(source: Path, target: Path) -> None:
    try:
        target.symlink_to(source, target_is_directory=source.is_dir())
    except OSError:  # Windows gives links to few
        if source.is_dir():
            shutil.copytree(source, target)
        else:
            shutil.copyfile(source, target)
