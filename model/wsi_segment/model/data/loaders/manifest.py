"""Read a dataset from its manifest or its known layout.

A manifest is a CSV with the columns ``image,mask,label,group,split`` (mask or label may be empty; group is
the case or patient) beside a ``classes.json``::

    {"classes": [{"name": "stroma", "color": [187, 187, 187]}, ...], "mpp": 0.5, "mpp_source": "scanner"}

A further column ``mpp`` gives the µm per level-0 pixel of slides that state none or a wrong one.
Masks are 8-bit images of class ids: 1 is the first class of ``classes.json``, 0 is unlabelled. An image may also be a
whole slide, and its mask the annotations that QuPath exports as GeoJSON: their classes bear the names of
``classes.json``. Other layouts have a loader each, known by columns or folders.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from pydantic import ValidationError

from wsi_segment.csv_table import Table, parse_number, read_table
from wsi_segment.errors import DatasetError, InputError
from wsi_segment.model.card import SegmentClass
from wsi_segment.model.data.dataset import ANNOTATION_SUFFIXES, SPLITS, Dataset, Item, Split
from wsi_segment.model.data.loaders import bach, digestpath2019, ebhi_seg, gleason2019
from wsi_segment.model.data.loaders.options import OptionReader, Options
from wsi_segment.model.first_problem import first_problem

CLASSES_FILE = "classes.json"
COLUMNS = ("image", "mask", "label", "group", "split")
SLIDE_MPP = "mpp"
"""Column that a manifest may have too."""
_NEEDED = 'it needs {"classes": [{"name": "tumour", "color": [213, 94, 0]}, ...], "mpp": 0.5}'


def read_dataset(path: Path, options: Options = MappingProxyType({})) -> Dataset:
    """Read a manifest CSV, a folder that holds ``manifest.csv``, or one that is laid out as a known dataset.

    >>> dataset = read_dataset(Path("data"))
    >>> [entry.name for entry in dataset.classes], len(dataset.split("train")), dataset.mpp
    (['stroma', 'tumour'], 4, 0.5)

    Args:
        path: The file or folder.
        options: Of the loader that knows the layout.

    Raises:
        DatasetError: a file is missing, a column is unknown, or a group lies in two splits.
        InputError: an option is unknown.
    """
    manifest = path / "manifest.csv" if path.is_dir() else path
    if not manifest.is_file() and path.is_dir():
        if bach.is_bach(path):
            return bach.read_bach(path, options)
        if gleason2019.images_folder(path) is not None:
            return gleason2019.read_gleason2019(path, options)
        if (path / digestpath2019.POSITIVE).is_dir():
            return digestpath2019.read_digestpath2019(path, options)
    OptionReader("a manifest", options).done()
    if not manifest.is_file():
        raise DatasetError(f"{path}: no manifest there; give a CSV file with the columns {','.join(COLUMNS)}")
    table = _read_table(manifest)
    if table.columns[: len(ebhi_seg.COLUMNS)] == ebhi_seg.COLUMNS:
        dataset = ebhi_seg.adapt(manifest.parent, [row.cells for row in table.rows])
    else:
        missing = [column for column in COLUMNS if column not in table.columns]
        if missing:
            raise DatasetError(
                f"{manifest}: column {missing[0]!r} is missing; its first line must be {','.join(COLUMNS)}"
            )
        dataset = _from_manifest(manifest, table)
    _check_groups(manifest, dataset.items)
    return dataset


def _read_table(manifest: Path) -> Table:
    try:
        table = read_table(
            manifest.read_bytes(), COLUMNS, lambda cells: (manifest.parent / cells.get("image", "")).is_file()
        )
    except InputError as error:
        raise DatasetError(f"{manifest}: {error}") from error
    if wrong := next((row for row in table.rows if row.problem), None):
        raise DatasetError(f"{manifest}, line {wrong.line}: {wrong.problem}")
    return table


@dataclass(frozen=True, slots=True)
class Description:
    """What a ``classes.json`` says of its dataset."""

    classes: tuple[SegmentClass, ...]
    mpp: float
    mpp_source: str
    name: str | None
    attribution: str
    license: str
    ordered: bool


def read_classes(path: Path) -> Description:
    """Read a ``classes.json``.

    Raises:
        DatasetError: it is missing or wrong.
    """
    try:
        described = json.loads(path.read_text(encoding="utf-8-sig"))
        return Description(
            classes=tuple(SegmentClass.model_validate(entry) for entry in described["classes"]),
            mpp=float(described["mpp"]),
            mpp_source=str(described.get("mpp_source", CLASSES_FILE)),
            name=described.get("name"),
            attribution=described.get("attribution", ""),
            license=described.get("license", "not stated"),
            ordered=bool(described.get("ordered", False)),
        )
    except FileNotFoundError as error:
        raise DatasetError(f"{path}: missing; it names the classes, their colours and the mpp") from error
    except json.JSONDecodeError as error:
        raise DatasetError(f"{path}: is not JSON: {error}") from error
    except KeyError as error:
        raise DatasetError(f"{path}: {error.args[0]!r} is missing; {_NEEDED}") from error
    except ValidationError as error:
        problem = first_problem(error)
        said = problem if problem.field else f"{problem.value!r:.40} is not a class"
        raise DatasetError(f"{path}: {said}; {_NEEDED}") from error
    except (TypeError, ValueError) as error:
        raise DatasetError(f"{path}: {error}; {_NEEDED}") from error


def _from_manifest(manifest: Path, table: Table) -> Dataset:
    folder = manifest.parent
    described = read_classes(folder / CLASSES_FILE)
    ids = {entry.name: index for index, entry in enumerate(described.classes, start=1)}

    def item(line: int, row: dict[str, str]) -> Item:
        where = f"{manifest}, line {line}"
        label, split = row["label"] or None, row["split"]
        if split not in SPLITS:
            raise DatasetError(f"{where}: split is {split!r}; it must be one of {', '.join(SPLITS)}")
        if label is not None and label not in ids:
            raise DatasetError(f"{where}: label {label!r} is not in classes.json ({', '.join(ids)})")
        if not row["mask"] and label is None:
            raise DatasetError(f"{where}: {row['image']} has neither mask nor label")
        paths = [folder / row["image"]] + ([folder / row["mask"]] if row["mask"] else [])
        for path in paths:
            if not path.is_file():
                raise DatasetError(f"{where}: {path} does not exist{table.hint}")
        return Item(
            image=paths[0],
            mask=paths[1] if row["mask"] else None,
            label=None if label is None else ids[label],
            group=row["group"] or row["image"],
            split=split,
            slide_mpp=_slide_mpp(row.get(SLIDE_MPP, ""), row["mask"], where),
        )

    return Dataset(
        name=folder.name if described.name is None else described.name,
        classes=described.classes,
        mpp=described.mpp,
        mpp_source=described.mpp_source,
        items=tuple(item(row.line, row.cells) for row in table.rows),
        attribution=described.attribution,
        license=described.license,
        ordered=described.ordered,
    )


def _slide_mpp(text: str, mask: str, where: str) -> float | None:
    if not text:
        return None
    if not mask.endswith(ANNOTATION_SUFFIXES):
        raise DatasetError(f"{where}: mpp is for slides with annotations; pictures have the mpp of {CLASSES_FILE}")
    try:
        return parse_number(text)
    except ValueError as error:
        raise DatasetError(f"{where}: mpp {error}; give the µm per level-0 pixel of the slide") from error


def _check_groups(manifest: Path, items: Iterable[Item]) -> None:
    seen: dict[str, Split] = {}
    for item in items:
        if seen.setdefault(item.group, item.split) != item.split:
            raise DatasetError(
                f"{manifest}: group {item.group!r} lies in {seen[item.group]} and in {item.split}; "
                "split by case, so that no patient is on both sides"
            )
