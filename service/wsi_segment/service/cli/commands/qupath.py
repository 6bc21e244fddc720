"""Bring the QuPath scripts to where QuPath looks for scripts."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "Install the QuPath scripts."

FOLDER = "wsi_segment"
"""Name of the folder in QuPath's script folder, and so of the menu there."""


_INSTALLER = "bundle.groovy"
"""The script that unpacks the others."""

_BUNDLE, _JAR = Path("wsi-segment-qupath.groovy"), Path("wsi-segment-qupath.jar")

_OLDEST_JAVA = 17
"""Java version of QuPath 0.5; later ones run its classes."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of ``wsi-segment qupath``."""
    parser.add_argument(
        "action",
        choices=("install", "bundle", "jar"),
        help="install: copy the scripts; bundle: write one script that installs them where there is no Python; jar: "
        "write an extension that does so, which needs a JDK here",
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
        metavar="FILE",
        help=f"the file that bundle or jar writes (default: {_BUNDLE} or {_JAR})",
    )


def run(args: argparse.Namespace) -> int:
    """Copy the scripts; those of an earlier version are replaced, settings lie elsewhere."""
    from wsi_segment.errors import InputError

    if args.action == "bundle":
        out = args.out or _BUNDLE
        out.write_text(bundle(), encoding="utf-8")
        print(f"{out}: drop it on QuPath's window and run it there")
        return 0
    if args.action == "jar":
        out = args.out or _JAR
        out.write_bytes(jar())
        print(f"{out}: drop it on QuPath's window, or copy it to extensions/ in QuPath's user folder")
        return 0
    folders = [args.dir] if args.dir is not None else [one / "scripts" for one in user_folders(Path.home())]
    if not folders:
        raise InputError(
            f"no QuPath user folder in {Path.home() / 'QuPath'}; choose one in QuPath (Edit > Preferences > QuPath "
            "user directory); if it is another one, give --dir FOLDER, where FOLDER is its scripts folder"
        )
    for folder in folders:
        if folder.exists() and not folder.is_dir():
            raise InputError(f"--dir {folder}: not a folder")
        target = folder / FOLDER
        install_scripts(target)
        print(f"{target}: run install_menu.groovy there in QuPath, or name it as startup script in its preferences")
    return 0


def user_folders(home: Path) -> list[Path]:
    """QuPath's user folders, one per version."""
    return sorted(path for path in (home / "QuPath").glob("v*") if path.is_dir())


def install_scripts(target: Path) -> None:
    """Copy the scripts and what they load into a folder; parts that no longer exist are removed."""
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
    import textwrap

    text = base64.b64encode(_packed(_scripts())).decode()
    # a constant of a class file holds 65,535 bytes
    parts = ",\n".join(f"'{part}'" for part in textwrap.wrap(text, 30_000))
    return (scripts_folder() / "wsisegment" / _INSTALLER).read_text(encoding="utf-8").replace("'SCRIPTS'", parts)


def jar() -> bytes:
    """Return an extension of QuPath that carries the scripts, compiled against declarations of what it calls.

    Raises:
        InputError: there is no Java compiler, or it is too old.
    """
    import re
    import shutil
    import subprocess
    import tempfile
    from importlib.metadata import version

    from wsi_segment.errors import InputError

    compiler = shutil.which("javac")
    if compiler is None:
        raise InputError(
            f"no javac on the PATH; install a JDK of Java {_OLDEST_JAVA} or later, or write a bundle instead"
        )
    source = scripts_folder() / "extension"
    own = sorted((source / "wsisegment").rglob("*.java"))
    with tempfile.TemporaryDirectory() as folder:
        command = [compiler, "--release", str(_OLDEST_JAVA), "-proc:none", "-encoding", "UTF-8", "-d", folder]
        command += ["-sourcepath", str(source / "declared"), "-implicit:none", *map(str, own)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            said = (done.stderr or done.stdout).strip().splitlines()
            raise InputError(f"{compiler} failed: {said[0] if said else done.returncode}; Java 17 or later is needed")
        classes = {
            one.relative_to(folder).as_posix(): one.read_bytes() for one in sorted(Path(folder).rglob("*.class"))
        }
    name = next(iter(classes)).removesuffix(".class").replace("/", ".")
    number = re.sub(r"^(\d+\.\d+\.\d+)\.?(?=.)", r"\1-", version("wsi-segment"))  # as QuPath reads versions
    manifest = f"Manifest-Version: 1.0\r\nImplementation-Title: WSI Segment\r\nImplementation-Version: {number}\r\n\r\n"
    return _packed(
        {"META-INF/MANIFEST.MF": manifest.encode()}
        | {"META-INF/services/qupath.lib.gui.extensions.QuPathExtension": f"{name}\n".encode()}
        | classes
        | {"wsi-segment-scripts.zip": _packed(_scripts())}
    )


def _scripts() -> dict[str, bytes]:
    """Return the scripts and what they load by their names."""
    source = scripts_folder()
    found = (path for path in sorted(source.rglob("*.groovy")) if path.name != _INSTALLER)
    return {path.relative_to(source).as_posix(): path.read_bytes() for path in found}


def _packed(content: dict[str, bytes]) -> bytes:
    """Return an archive of files by their names, without dates: the same bytes each time."""
    import io
    import zipfile

    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in content.items():
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    return packed.getvalue()


def scripts_folder() -> Path:
    """Where the scripts lie: in an installed package beside the service, else in the repository."""
    packaged = Path(__file__).parents[2] / "qupath_scripts"
    return packaged if packaged.is_dir() else Path(__file__).parents[5] / "qupath_plugin"
