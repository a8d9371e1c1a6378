"""Lines as they arrive: content untouched, memory bounded, nothing waited for."""

from __future__ import annotations

import io
import os
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnctl.inference import lines
from rnnctl.inference.lines import Encoding, Line, Lines


def flat(data: bytes, codec: str = "utf-8", **options: int) -> list[Line]:
    windows = Lines(io.BytesIO(data), encoding=Encoding(codec), **options)
    return [line for window in windows for line in window]


@settings(deadline=None, max_examples=50)
@given(st.binary(max_size=200), st.integers(1, 9))
def test_only_newlines_cut_whatever_the_chunks(data: bytes, chunk: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines, "CHUNK_BYTES", chunk)
        found = flat(data, "latin-1")
    text = data.decode("latin-1").replace("\r\n", "\n")
    if "\r" in text and "\n" not in data[:chunk].decode("latin-1"):
        return  # whether a lone carriage return ends a line depends on the first chunk
    expected = text.removesuffix("\n").split("\n") if data else []
    assert [line.text for line in found] == expected
    assert [line.number for line in found] == list(range(1, len(expected) + 1))


def test_a_missing_newline_at_the_end_changes_nothing() -> None:
    assert flat(b"a\nb") == flat(b"a\nb\n")
    assert flat(b"\n") == [Line(1, "")]
    assert flat(b"") == []


def test_a_line_over_the_limit_is_named_and_the_next_one_is_whole() -> None:
    found = flat(b"x" * 300_000 + b"\nabc\n" + b"y" * 11, max_line=10)
    assert [line.text for line in found] == ["", "abc", ""]
    assert found[0].problem == "line of 300,000 bytes; --max-line allows 10"
    assert [bool(line.problem) for line in found] == [True, False, True]
    assert flat(b"0123456789", max_line=10)[0].text == "0123456789"


def test_windows_are_bounded() -> None:
    sizes = [len(window) for window in Lines(io.BytesIO(b"a\n" * 10_000))]
    assert sum(sizes) == 10_000
    assert max(sizes) <= lines.WINDOW_LINES


def test_what_is_there_comes_at_once() -> None:
    source, sink = os.pipe()
    with os.fdopen(source, "rb") as stream, os.fdopen(sink, "wb", buffering=0) as out:
        windows = iter(Lines(stream))
        out.write(b"first\nsec")
        begin = time.monotonic()
        assert [line.text for line in next(windows)] == ["first"]
        assert time.monotonic() - begin < 5
        out.write(b"ond\n")
        assert [line.text for line in next(windows)] == ["second"]
        out.close()
        assert list(windows) == []


def test_a_reader_that_stops_early_leaves_no_thread_behind() -> None:
    before = threading.active_count()
    windows = iter(Lines(io.BytesIO(b"a\n" * 1_000_000)))
    next(windows)
    windows.close()  # type: ignore[attr-defined]
    deadline = time.monotonic() + 10
    while threading.active_count() > before and time.monotonic() < deadline:
        threading.Event().wait(0.02)
    assert threading.active_count() <= before


def test_a_failing_read_is_raised_where_it_is_used(tmp_path: os.PathLike[str]) -> None:
    class Broken(io.RawIOBase):
        def read1(self, size: int) -> bytes:
            raise OSError(5, "Input/output error")

    with pytest.raises(OSError, match="Input/output"):
        list(Lines(Broken()))  # type: ignore[arg-type]
