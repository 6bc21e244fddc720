"""Read tables that people keep in spreadsheets: CSV with any common separator, in any common encoding.

Excel alone saves a table in five ways: with commas or, where the decimal mark is a comma, with semicolons; with tabs in
UTF-16 ("Unicode Text"); in UTF-8 with a byte-order mark ("CSV UTF-8"); and, as plain "CSV", in the code page of the
computer, which the file does not name. UTF-8 and UTF-16 are recognised with certainty. A code page is guessed, by
charset-normalizer and by whether the files exist that the table would name.
"""

from __future__ import annotations

import codecs
import csv
import io
import locale
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from wsi_segment.errors import InputError

SEPARATORS = (",", ";", "\t", "|")
CODE_PAGES = (
    "cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "cp1258", "cp874",
    "cp932", "gb18030", "cp949", "big5", "koi8_r", "koi8_u", "mac_roman", "cp437", "cp850", "cp852", "cp866",
)  # fmt: skip
"""What spreadsheets and editors write where they do not write Unicode: Windows, then DOS, Unix and Macintosh."""

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # begins like UTF-16, so that it goes first
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_NOT_TEXT = {
    b"PK\x03\x04": "a workbook of Excel or LibreOffice",
    b"\xd0\xcf\x11\xe0": "a workbook of an old Excel",
    b"<": "XML or a web page",
}
_SAVE = "save it as CSV (in Excel: CSV UTF-8)"
_NUMBER = re.compile(r"[+-]?([0-9]+([.,][0-9]*)?|[.,][0-9]+)([eE][+-]?[0-9]+)?")
_LOOKED_UP = 20
"""Rows whose files are looked for to choose between code pages."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a table that has a cell with text."""

    line: int
    """Line of the file where the row starts, from 1: the number of the row in a spreadsheet."""
    cells: dict[str, str]
    """Text by column, without blanks around it; empty where the row has none."""
    problem: str
    """Why the row cannot be used; empty for a sound one."""


@dataclass(frozen=True, slots=True)
class Table:
    """The rows under a header."""

    columns: tuple[str, ...]
    """Names in lower case, with ``_`` for blanks and hyphens; columns without name and text are left out."""
    rows: tuple[Row, ...]
    encoding: str
    guessed: bool
    """The encoding is a guess: the file does not say, and is not UTF-8."""

    @property
    def hint(self) -> str:
        """What to add to a message that a file is missing: its name may have been read wrongly."""
        return f"; the table is not UTF-8 and was read as {self.encoding}, {_SAVE}" if self.guessed else ""


def read_table(
    content: bytes, columns: Sequence[str], exists: Callable[[dict[str, str]], bool] = lambda cells: False
) -> Table:
    """Read a table whatever its separator and encoding.

    Args:
        content: The bytes of the file.
        columns: Names that the header may hold; they tell which separator it uses.
        exists: Returns whether the files exist that the cells of a row name. It decides between code pages.

    Raises:
        InputError: the file is not a table, or its header is ambiguous. The message does not name the file.
    """
    for beginning, what in _NOT_TEXT.items():
        if content.lstrip().startswith(beginning):
            raise InputError(f"is {what}, not CSV; {_SAVE}")
    if (known := _decode_unicode(content)) is not None:
        return _parse(*known, guessed=False, columns=columns)
    best: tuple[float, Table] | None = None
    for text, encoding in _decode_guessed(content):
        table = _parse(text, encoding, guessed=True, columns=columns)
        named = [row for row in table.rows if not "".join(row.cells.values()).isascii()][:_LOOKED_UP]
        found = sum(exists(row.cells) for row in named) / max(1, len(named))
        if best is None or found > best[0]:
            best = (found, table)
        if found == 1:
            break
    if best is None:
        raise InputError(f"is in an encoding that is not known; {_SAVE}")
    return best[1]


def parse_number(text: str) -> float:
    """Return the number in a cell, which may have a decimal point or a decimal comma.

    >>> parse_number("0,25")
    0.25

    Raises:
        ValueError: the text is not a finite number.
    """
    number = float(text.replace(",", ".")) if _NUMBER.fullmatch(text) else math.nan
    if not math.isfinite(number):  # 1e999 and very long numbers are infinite
        raise ValueError(f"{text[:40]!r} is not a number")
    return number


def _decode_unicode(content: bytes) -> tuple[str, str] | None:
    """Return text and encoding where they are certain, and None where a code page has to be guessed."""
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            try:
                return content.decode(encoding), encoding
            except UnicodeDecodeError as error:
                raise InputError(f"begins as {error.encoding} but does not continue so ({error}); {_SAVE}") from error
    if b"\0" in content:  # every second byte of Latin letters in UTF-16
        for encoding, zeros in (("utf-16-le", content[1::2]), ("utf-16-be", content[::2])):
            if zeros.count(0) > 0.5 * len(zeros) and len(content) % 2 == 0:
                return content.decode(encoding, errors="replace"), encoding
        line = content[: content.index(b"\0")].count(b"\n") + 1
        raise InputError(f"line {line} holds a NUL byte, so it is not CSV; {_SAVE}")
    try:
        return content.decode("utf-8"), "utf-8"
    except UnicodeDecodeError:
        return None


def _decode_guessed(content: bytes) -> Iterator[tuple[str, str]]:
    """Decode with each code page that can, the likeliest first."""
    from charset_normalizer import from_bytes

    own = codecs.lookup(locale.getencoding()).name.replace("-", "_")
    likely = [match.encoding for match in from_bytes(content, cp_isolation=list(CODE_PAGES))]
    for encoding in dict.fromkeys([*([own] if own in CODE_PAGES else []), *likely, *CODE_PAGES]):
        try:
            yield content.decode(encoding), encoding
        except UnicodeDecodeError:
            continue


def _parse(text: str, encoding: str, *, guessed: bool, columns: Sequence[str]) -> Table:
    text, separator = _separated(text, columns)
    lines = _records(text, separator)
    _, header = next(lines, (0, []))
    names = [_column(cell) for cell in header]
    twice = next((name for name in names if name and names.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"column {twice!r} occurs twice; rename or remove one")
    rows = tuple(Row(line, *_cells(names, record)) for line, record in lines)
    return Table(tuple(name for name in names if name), rows, encoding, guessed)


def _separated(text: str, columns: Sequence[str]) -> tuple[str, str]:
    """Return the table itself and its separator: the one that splits the header into most of the known names.

    A first line ``sep=;``, which is meant for Excel, is not part of the table.
    """
    if told := re.match(r'\s*"?sep=(.)"?[\r\n]+', text, re.IGNORECASE):
        blanked = re.sub(r"[^\r\n]", "", told[0])  # keeps the numbers of the lines
        return blanked + text[told.end() :], told[1]

    def score(separator: str) -> tuple[int, int]:
        try:
            names = {_column(cell) for cell in next(_records(text, separator), (0, []))[1]}
        except InputError:  # quotes of another separator
            return -1, -1
        return len(names & set(columns)), len(names)

    return text, max(SEPARATORS, key=score)


def _records(text: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Split into records that have text, each with the line where it starts."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True, strict=True)
    line = 1
    try:
        for record in reader:
            cells = [cell.strip() for cell in record]
            if any(cells):
                yield line, cells
            line = reader.line_num + 1
    except csv.Error as error:
        raise InputError(f"line {line}: not CSV ({error}); {_SAVE}") from error


def _cells(names: list[str], record: list[str]) -> tuple[dict[str, str], str]:
    """Return the cells of a row by column, and what is wrong with it."""
    cells = {name: record[index] if index < len(record) else "" for index, name in enumerate(names) if name}
    for index, cell in enumerate(record):
        if cell and index >= len(names):
            return cells, f"more cells than columns: {cell!r} is one too many; a comma within a cell needs quotes"
        if cell and not names[index]:
            return cells, f"column {index + 1} has no name, but holds {cell!r}"
    return cells, ""


def _column(cell: str) -> str:
    return re.sub(r"[\s-]+", "_", cell.strip().lower())
