"""Tables as spreadsheets save them."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsi_segment.csv_table import SEPARATORS, parse_number, read_table
from wsi_segment.errors import InputError

NAMES = ("slide", "mpp")
CELL = st.text(st.characters(exclude_categories=["C", "Z"]), max_size=12)


@given(
    st.lists(st.tuples(CELL.filter(bool), CELL), max_size=6),
    st.sampled_from(SEPARATORS),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32"]),
    st.sampled_from(["\n", "\r\n", "\r"]),
)
def test_what_a_spreadsheet_writes_comes_back(
    rows: list[tuple[str, str]], separator: str, encoding: str, ends: str
) -> None:
    file = io.StringIO()
    csv.writer(file, delimiter=separator, lineterminator=ends, quoting=csv.QUOTE_ALL).writerows([NAMES, *rows])
    table = read_table(file.getvalue().encode(encoding), NAMES)
    assert [tuple(row.cells.values()) for row in table.rows] == rows
    assert [row.line for row in table.rows] == list(range(2, 2 + len(rows)))
    assert not table.guessed


@pytest.mark.parametrize(
    ("name", "encoding"),
    [
        ("Müller", "cp1252"), ("prévôt", "mac_roman"), ("größe", "cp850"), ("żołądek", "cp1250"), ("ığdır", "cp1254"),
        ("опухоль", "cp1251"), ("препарат", "koi8_r"), ("切片", "gbk"), ("標本", "cp932"), ("위암", "cp949"),
        ("胃癌", "big5"),
    ],
)  # fmt: skip
def test_a_code_page_is_known_by_the_files_that_are_there(name: str, encoding: str) -> None:
    content = f"slide;mpp\r\n{name}.svs;0,5\r\nb.svs;0,5\r\n".encode(encoding)
    table = read_table(content, NAMES, lambda cells: cells["slide"] == f"{name}.svs")
    assert [row.cells["slide"] for row in table.rows] == [f"{name}.svs", "b.svs"]
    assert table.guessed
    assert f"was read as {table.encoding}" in table.hint


def test_without_files_a_code_page_is_a_guess_and_says_so() -> None:
    table = read_table("slide;mpp\r\nMüller.svs;0,5\r\n".encode("cp1252"), NAMES)
    assert table.guessed
    assert "not UTF-8" in table.hint


def test_utf_16_needs_no_mark() -> None:
    for encoding in ("utf-16-le", "utf-16-be"):
        table = read_table("slide\tmpp\r\nMüller.svs\t1\r\n".encode(encoding), NAMES)
        assert table.rows[0].cells == {"slide": "Müller.svs", "mpp": "1"}


def test_empty_rows_and_columns_are_passed_over_and_lines_keep_their_numbers() -> None:
    table = read_table(b'\r\n,,,\r\nSlide,,Ome-Zarr,\r\na,,1,\r\n,,,\r\n\r\n"b\r\nc",,2,\r\nd,,3,\r\n', ("slide",))
    assert table.columns == ("slide", "ome_zarr")
    assert [(row.line, row.cells["ome_zarr"], row.problem) for row in table.rows] == [
        (4, "1", ""),
        (7, "2", ""),
        (9, "3", ""),
    ]


def test_excels_own_word_on_the_separator_counts() -> None:
    table = read_table(b'sep=|\r\nslide|mpp\r\n"a;b,c.svs"|1\r\n', NAMES)
    assert [(row.line, row.cells["slide"]) for row in table.rows] == [(3, "a;b,c.svs")]


def test_a_cell_outside_of_the_columns_is_named() -> None:
    rows = read_table(b"slide,,mpp\na,x,1\nb,,1,5\nc,,1,\n", NAMES).rows
    assert [row.line for row in rows] == [2, 3, 4]
    assert "column 2 has no name, but holds 'x'" in rows[0].problem
    assert "'5' is one too many" in rows[1].problem
    assert not rows[2].problem


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"PK\x03\x04\x14\x00", "is a workbook of Excel or LibreOffice, not CSV"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1", "is a workbook of an old Excel"),
        (b"<html><table>", "is XML or a web page"),
        (b"slide,mpp\na,1\n\0\0", "line 3 holds a NUL byte"),
        (b"\xef\xbb\xbfslide\nM\xfcller\n", "begins as utf-8 but does not continue so"),
        (b"slide,mpp,MPP\na,1,2\n", "column 'mpp' occurs twice"),
        (b'slide,mpp\n"a,1\n', "line 2: not CSV"),
    ],
)
def test_what_is_not_a_table_is_said_in_one_line(content: bytes, said: str) -> None:
    with pytest.raises(InputError, match=said) as refused:
        read_table(content, NAMES)
    assert "\n" not in str(refused.value)


def test_numbers_have_a_point_or_a_comma() -> None:
    assert [parse_number(text) for text in ("0.25", "0,25", "1", ",5", "2,5e-1", "-1.")] == [
        0.25,
        0.25,
        1,
        0.5,
        0.25,
        -1,
    ]
    for text in ("", "x", "nan", "inf", "1_0", "1,000.5", "1 0", "0x1", "１", "1e999", "9" * 400):
        with pytest.raises(ValueError, match="is not a number"):
            parse_number(text)
