"""Bring the QuPath scripts to where QuPath looks for scripts."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "Install the QuPath scripts."

FOLDER = "wsi_segment"
"""Name of the folder in QuPath's script folder, and so of the menu there."""


_INSTALLER = "bundle.groovy"
"""The script that unpacks the others."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of ``wsi-segment qupath``."""
    parser.add_argument(
        "action",
        choices=("install", "bundle"),
        help="install: copy the scripts; bundle: write one file that installs them where there is no Python",
    )
    parser.add_argument(
        "--dir",
        type=Path,
        metavar="FOLDER",
        help="QuPath's script folder (default: scripts/ in each user folder ~/QuPath/v*)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("wsi-segment-qupath.groovy"),
        metavar="FILE",
        help="the file that bundle writes (default: %(default)s)",
    )


def run(args: argparse.Namespace) -> int:
    """Copy the scripts; those of an earlier version are replaced, settings lie elsewhere."""
    from wsi_segment.errors import InputError

    if args.action == "bundle":
        args.out.write_text(bundle(), encoding="utf-8")
        print(f"{args.out}: drop it on QuPath's window and run it there")
        return 0
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


def bundle() -> str:
    """Return the installer for QuPath's script editor, with all scripts in it."""
    import base64
    import io
    import textwrap
    import zipfile

    source, packed = scripts_folder(), io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(source.rglob("*.groovy")):
            if path.name != _INSTALLER:
                entry = zipfile.ZipInfo(path.relative_to(source).as_posix())  # without a date: the same file each time
                archive.writestr(entry, path.read_bytes(), zipfile.ZIP_DEFLATED)
    text = base64.b64encode(packed.getvalue()).decode()
    # a constant of a class file holds 65,535 bytes
    parts = ",\n".join(f"'{part}'" for part in textwrap.wrap(text, 30_000))
    return (source / "wsisegment" / _INSTALLER).read_text(encoding="utf-8").replace("'SCRIPTS'", parts)


def scripts_folder() -> Path:
    """Where the scripts lie: in an installed package beside the service, else in the repository."""
    packaged = Path(__file__).parents[2] / "qupath_scripts"
    return packaged if packaged.is_dir() else Path(__file__).parents[5] / "qupath_plugin"
