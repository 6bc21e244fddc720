"""Refuse a file to write in the place of what is read, or where there can be none, before anything is done."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path, PurePath
from secrets import token_hex

IS_READ = "is read by this run"
IS_THE_MASK = "is the mask of this run"
IS_WRITTEN = "is written by this run"


def files_read(slide: Path) -> list[Path]:
    """Return a slide and the files that it is made of, as far as it is there."""
    from wsi_segment.errors import SlideError
    from wsi_segment.files import is_there
    from wsi_segment.inference.slides.location import is_remote
    from wsi_segment.inference.slides.slide_files import slide_files

    if not is_remote(slide) and not is_there(slide):
        return []
    try:
        return [slide, *slide_files(slide)]
    except SlideError:  # one that is not a slide fails alone, later
        return [slide]


def refuse_target(flag: str, path: Path, read: Iterable[Path]) -> None:
    """Refuse a file in the place of what is read, or where there can be none, before anything is done.

    Args:
        flag: What the file was given with.
        path: The file.
        read: What the command reads.

    Raises:
        InputError: it is one of these, or cannot be written.
    """
    refuse_taken(flag, path, {place_of(file): IS_READ for file in read})
    refuse_unwritable(flag, path)


def refuse_taken(flag: str, path: Path, taken: Mapping[PurePath, str]) -> None:
    """Refuse a file in the place of another one, or within the mask.

    Args:
        flag: What the file was given with.
        path: The file.
        taken: What the places of other files are, see :func:`place_of`.

    Raises:
        InputError: the place is taken.
    """
    from wsi_segment.errors import InputError

    own = place_of(path)
    for there in (own, *own.parents):
        if there in taken and (there == own or taken[there] == IS_THE_MASK):
            raise InputError(f"--{flag} {path}: {taken[there]}; choose another name")


def refuse_unwritable(flag: str, path: Path | None) -> None:
    """Refuse a file that cannot be written before the slide is read, not after.

    Raises:
        InputError: it cannot be written, or has no name.
    """
    from wsi_segment.errors import InputError
    from wsi_segment.files import refuse_long_names, refuse_special, temporary_for
    from wsi_segment.inference.places.bucket_folder import object_of
    from wsi_segment.inference.places.folder import try_to_put
    from wsi_segment.inference.slides.location import is_remote

    if path is not None and not path.name:
        raise InputError(f"--{flag} {path}: not a name for a file; give one")
    if path is None:
        return
    try:
        if is_remote(path):
            folder, key = object_of(path)
            try_to_put(folder, f"{key}.{token_hex(8)}.probe")  # of a name that nobody else's object has
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        refuse_long_names([path])
        refuse_special(path)
        probe = temporary_for(path)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InputError(f"--{flag} {path}: cannot be written ({error.strerror}); choose another place") from error
    if path.is_dir():
        raise InputError(f"--{flag} {path}: is a folder; give the name of a file")


def place_of(path: Path) -> PurePath:
    """Return where a path leads to, or what tells an object from others, by whichever scheme it is addressed.

    Raises:
        InputError: its links go round in a circle, or it is relative to a folder that is gone.
    """
    from wsi_segment.errors import InputError
    from wsi_segment.inference.slides.location import is_remote, object_place

    try:
        return object_place(path) if is_remote(path) else path.resolve()
    except (OSError, RuntimeError) as error:  # the latter from pathlib before Python 3.13
        reason = "the working folder is gone" if isinstance(error, FileNotFoundError) else "its links form a circle"
        raise InputError(f"{path}: leads nowhere, {reason}; choose another") from error
