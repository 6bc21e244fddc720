"""Lines of the log."""

from __future__ import annotations

import json
import logging
import sys

from wsi_segment.service.logs import _Formatter


def test_a_log_line_stays_one_line() -> None:
    record = logging.LogRecord("x", logging.INFO, "", 0, "a\r\nfake \x1b[31m entry\x00", (), None)
    for form in ("text", "json"):
        line = _Formatter(form).format(record)
        assert not {"\n", "\r", "\x1b", "\x00"} & set(line)
    assert json.loads(_Formatter("json").format(record))["message"].startswith("a\r\n")


def test_an_exception_in_the_log_cannot_be_taken_for_an_entry() -> None:
    try:
        int("no\r\n2026-01-01T00:00:00.000+00:00 info    forged")
    except ValueError:
        record = logging.LogRecord("x", logging.ERROR, "", 0, "failed", (), sys.exc_info())
    first, *others = _Formatter("text").format(record).splitlines()
    assert first.endswith("failed")
    assert others
    assert all(line.startswith("    ") for line in others)
    assert len(_Formatter("json").format(record).splitlines()) == 1
