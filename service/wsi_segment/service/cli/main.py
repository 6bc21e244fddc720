"""The command line: finds the command, and turns its errors into one line and an exit code."""

from __future__ import annotations

import argparse
import atexit
import gc
import importlib
import logging
import re
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from wsi_segment.errors import InputError
from wsi_segment.files import address_meant, is_there
from wsi_segment.service.cli.interrupts import EXIT_INTERRUPTED, interruptible
from wsi_segment.service.cli.streams import lost_output, print_anything

COMMANDS = (
    "models", "info", "verify", "train", "evaluate", "export", "import-model", "experiment", "suggest", "pretrain",
    "serve", "view", "submit", "status", "fetch", "keys", "backup", "doctor", "qupath",
)  # fmt: skip
"""Commands with a name; without one, slides are segmented."""

EXIT_FAILED, EXIT_INPUT = 1, 2
_INTERRUPTED = "interrupted; what is finished is kept, the same command continues"


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; the exit code is 0 done, 2 input at fault, 1 anything else, 130 interrupted."""
    print_anything()
    if argv is None:  # the process ends with the command, and need not look for cycles in all that it loaded
        atexit.register(gc.freeze)
    try:
        with interruptible(f"wsi-segment: {_INTERRUPTED}"):
            return _run(list(sys.argv[1:] if argv is None else argv))
    except KeyboardInterrupt:
        return _say(_INTERRUPTED, EXIT_INTERRUPTED)


def _run(arguments: list[str]) -> int:
    try:
        name = _take_command(arguments)
    except InputError as error:
        return _say(str(error), error.exit_code)
    command = command_module(name)
    try:
        parser = make_parser(name)
    except InputError as error:  # flags that come from an extra which is not installed
        return _say(str(error), error.exit_code)
    if name == "segment" and not arguments:
        parser.print_help()
        return EXIT_INPUT
    args = parser.parse_args(arguments)
    try:
        with _libraries_silent(unless=args.debug):
            code = int(command.run(args))
        sys.stdout.flush()
    except Exception as error:  # the boundary: every error leaves as one line and an exit code
        if args.debug:
            raise
        return _say(with_flags(_one_line(error), parser), getattr(error, "exit_code", EXIT_FAILED))
    if (lost := lost_output()) is not None:
        return _say(f"standard output cannot be written: {lost.strerror}; what was computed is kept", EXIT_FAILED)
    return code


def _take_command(arguments: list[str]) -> str:
    """Take the command off the arguments; ``segment`` may be left out, and a word that is not a file is not a slide.

    Raises:
        InputError: the first word is neither a command nor the name of a file.
    """
    first = arguments[0] if arguments else ""
    if first in COMMANDS:
        return arguments.pop(0)
    if re.fullmatch(r"[a-z][a-z-]*", first) and not is_there(Path(first)):
        if first != "segment":
            raise InputError(f"{first!r} is neither a command nor a file here; see wsi-segment --help")
        del arguments[0]
    return "segment"


@contextmanager
def _libraries_silent(unless: bool) -> Iterator[None]:
    """Keep warnings and notices of other libraries, which no user can act on, from the terminal.

    Filters of warnings stay as they are, so that what turns them into errors still does.
    """
    if unless:
        yield
        return
    quiet, shown = logging.NullHandler(), warnings.showwarning
    logging.getLogger().addHandler(quiet)  # without any handler, logging prints warnings by itself
    warnings.showwarning = lambda *warning, **more: None
    try:
        yield
    finally:
        logging.getLogger().removeHandler(quiet)
        warnings.showwarning = shown


def command_module(name: str) -> ModuleType:
    """Import the module of a command."""
    return importlib.import_module(f"wsi_segment.service.cli.commands.{name.replace('-', '_')}")


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, like all others, and whose paths are of this machine."""

    def __init__(self, **choices: Any) -> None:
        """Take arguments whose type is ``Path`` as they are written, addresses excepted."""
        super().__init__(**choices)
        self.register("type", Path, _path_here)

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and where help is, and end."""
        self.exit(EXIT_INPUT, f"wsi-segment: {message}; see {self.prog} --help\n")


def make_parser(name: str) -> argparse.ArgumentParser:
    """Build the parser of one command; ``segment`` is the one without a name."""
    command = command_module(name)
    default = name == "segment"
    parser = _Parser(
        prog="wsi-segment" if default else f"wsi-segment {name}",
        description=command.HELP,
        epilog=_command_list() if default else None,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_arguments(parser)
    parser.add_argument("--debug", action="store_true", help="show the whole traceback of an error")
    if default:
        parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    return parser


def _command_list() -> str:
    lines = ["other commands (each has its own --help):"]
    for name in COMMANDS:
        text = command_module(name).HELP.splitlines()[0]
        lines.append(f"  wsi-segment {name:<12} {text}")
    return "\n".join(lines)


class _Version(argparse.Action):
    """Looks the version up only when it is asked for, which takes longer than the rest of ``--help``."""

    def __call__(self, parser: argparse.ArgumentParser, *rest: object) -> None:
        """Print the version and exit."""
        from importlib.metadata import version

        print(f"wsi-segment {version('wsi-segment')}")
        parser.exit()


def _path_here(text: str) -> Path:
    """Return a path of this machine; an address would become a folder called ``s3:``, and ``C:/`` is a drive."""
    if re.match(r"[A-Za-z][\w+.-]+://", text):
        raise argparse.ArgumentTypeError(f"{text}: must be on this machine; give a path, not an address")
    if address_meant(text) is not None:
        raise argparse.ArgumentTypeError(f"{text}: looks like an address; give ./{text} for a folder of this name")
    return Path(text)


def _one_line(error: Exception) -> str:
    if hasattr(error, "exit_code"):
        return str(error)
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text} (--debug shows where)"


def with_flags(message: str, parser: argparse.ArgumentParser) -> str:
    """Spell the fields in a message as this command's flags.

    Messages of the library name fields between backticks, as Python and HTTP know them: ```batch_size```, or with a
    value ```data mpp=1.0```. Fields that the command has no flag for lose the backticks only.
    """
    flags = {action.dest: action.option_strings[-1] for action in parser._actions if action.option_strings}
    return re.sub(r"`(\w+)([^`]*)`", lambda field: flags.get(field[1], field[1]) + field[2], message)


def _say(message: str, code: int) -> int:
    print(f"wsi-segment: {message}", file=sys.stderr)
    return code
