"""Bring the QuPath scripts to where QuPath looks for scripts."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "Install the QuPath scripts."

FOLDER = "wsi_segment"
"""Name of the folder in QuPath's script folder, and so of the menu there."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of ``wsi-segment qupath``."""
    parser.add_argument("action", choices=("install",))
    parser.add_argument(
        "--dir",
        type=Path,
        metavar="FOLDER",
        help="QuPath's script folder (default: scripts/ in each user folder ~/QuPath/v*)",
    )


def run(args: argparse.Namespace) -> int:
    """Copy the scripts; those of an earlier version are replaced, settings lie elsewhere."""
    from wsi_segment.errors import InputError

    folders = [args.dir] if args.dir is not None else [one / "scripts" for one in user_folders(Path.home())]
    if not folders:
        raise InputError(
            f"no QuPath user folder in {Path.home() / 'QuPath'}; give --dir FOLDER, the folder that QuPath's "
            "Automate > User scripts > Open script directory shows"
        )
    for folder in folders:
        if folder.exists() and not folder.is_dir():
            raise InputError(f"--dir {folder}: not a folder")
        target = folder / FOLDER
        install_scripts(target)
        print(f"{target}: run install_menu.groovy there in QuPath, or name it as startup script in its preferences")
    return 0


def user_folders(home: Path) -> list[Path]:
    """QuPath's user folders, one a version."""
    return sorted(path for path in (home / "QuPath").glob("v*") if path.is_dir())


def install_scripts(target: Path) -> None:
    """Copy the scripts and what they load into a folder; parts that there are no longer go."""
    import shutil

    source = scripts_folder()
    parts = target / "wsisegment"
    if parts.is_dir():
        shutil.rmtree(parts)
    for path in sorted(source.rglob("*.groovy")):
        copy = target / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)


def scripts_folder() -> Path:
    """Where the scripts lie: in an installed package beside the service, else in the repository."""
    packaged = Path(__file__).parents[2] / "qupath_scripts"
    return packaged if packaged.is_dir() else Path(__file__).parents[5] / "qupath_plugin"
