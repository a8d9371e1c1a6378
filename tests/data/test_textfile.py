"""Reading plain text: what is found, what is refused, where a byte stands."""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
import os
import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rnnctl.data.splitting import byte_offset, cut_text, parse_split
from rnnctl.data.text import TextFile, open_text, spool_stream
from rnnctl.errors import DataError, StorageError, UsageError
from rnnctl.storage import temporary

ANY_TEXT = st.text(
    alphabet=st.one_of(st.sampled_from("ab \n\r\u2028é中😀"), st.characters(codec="utf-8"))
)
QUICK = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def plain(text: str) -> str:
    """A short text with the line ends that every text is read with."""
    old_macintosh = "\r" in text and "\n" not in text
    return text.replace("\r", "\n") if old_macintosh else text.replace("\r\n", "\n")


def whole(file: TextFile) -> str:
    return "".join(file.chunks())


@QUICK
@given(text=ANY_TEXT, size=st.integers(1, 30))
def test_chunks_joined_are_the_text(write, cache, text, size):
    if text.count("\x00") * 10 > len(text.encode()) or text.startswith("\ufeff"):
        return
    file = open_text(write("t.txt", text), encoding="utf-8", cache=cache)
    text = plain(text)
    assert "".join(file.chunks(size=size)) == text
    assert file.chars == len(text)
    for start in (0, len(text) // 3, len(text)):
        at = byte_offset(file, start)
        assert at == len(text[:start].encode())
        assert "".join(file.chunks(at, file.end, size=max(size, 4))) == text[start:]


@QUICK
@given(
    texts=st.lists(ANY_TEXT.filter(lambda t: "\x00" not in t and "\ufeff" not in t), max_size=3),
    split=st.sampled_from(["90/5/5", "90/10/0", "50/50", "33.3/33.3/33.4", "100/0/0"]),
)
def test_running_text_is_cut_like_a_string(write, cache, texts, split):
    files = [
        open_text(write(f"{i}.txt", text), encoding="utf-8", cache=cache)
        for i, text in enumerate(texts)
    ]
    shares = parse_split(split)
    joined = "".join(map(plain, texts))
    first, second = (
        int(len(joined) * shares.train),
        int(len(joined) * (shares.train + shares.valid)),
    )
    parts = ["".join(d.text for d in part) for part in cut_text(files, shares)]
    assert parts == [joined[:first], joined[first:second], joined[second:]]


def zst(data: bytes) -> bytes:
    import pyarrow

    return pyarrow.compress(data, codec="zstd", asbytes=True)


@pytest.mark.parametrize(
    ("name", "pack"),
    [("t.gz", gzip.compress), ("t.bz2", bz2.compress), ("t.xz", lzma.compress), ("t.zst", zst)],
)
def test_packed_text_is_the_same_text(write, cache, name, pack):
    text = "one\ntwo é\n" * 500
    unpacked = open_text(write("plain.txt", text), encoding="utf-8", cache=cache)
    packed = open_text(write(name, pack(text.encode())), encoding="utf-8", cache=cache)
    assert whole(packed) == text
    assert (packed.sha256, packed.chars) == (unpacked.sha256, unpacked.chars)
    damaged = pack(text.encode())[:-9]
    with pytest.raises(DataError, match="damaged or cut off"):
        open_text(write(name, damaged), encoding="utf-8", cache=cache)
    with pytest.raises(DataError, match="is not a"):
        open_text(write(name, "plain text"), encoding="utf-8", cache=cache)


@pytest.mark.parametrize(
    "codec", ["utf-16", "utf-16-le", "utf-32", "cp1252", "shift_jis", "gb18030"]
)
def test_other_encodings_are_read_when_named(write, cache, codec):
    text = "caf\u00e9\n" if codec == "cp1252" else "日本語 text\n"
    file = open_text(write("t.txt", text.encode(codec)), encoding=codec, cache=cache)
    assert whole(file) == text


def test_byte_order_marks_are_no_text(write, cache):
    file = open_text(write("b.txt", codecs.BOM_UTF8 + b"abc"), encoding="utf-8", cache=cache)
    assert (whole(file), file.chars) == ("abc", 3)
    for codec in ("utf-16", "utf-32"):
        assert (
            whole(open_text(write("u", "abc".encode(codec)), encoding=codec, cache=cache)) == "abc"
        )


@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be"])
def test_unnamed_utf_16_is_recognised(write, cache, codec):
    with pytest.raises(DataError) as caught:
        open_text(write("t.txt", "plain words\n".encode(codec)), encoding="utf-8", cache=cache)
    assert f"--encoding {codec}" in caught.value.hint


@pytest.mark.parametrize("named", ["utf-8", "cp1252"])
@pytest.mark.parametrize("codec", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_names_the_encoding(write, cache, codec, named):
    file = open_text(write("t.txt", "plain é 中\n".encode(codec)), encoding=named, cache=cache)
    assert whole(file) == "plain é 中\n"


@QUICK
@given(data=st.binary(max_size=60).filter(lambda d: not d.count(0)))
def test_a_wrong_byte_is_named_with_its_line(write, cache, data):
    body = data.removeprefix(codecs.BOM_UTF8)
    shift = len(data) - len(body)
    try:
        body.decode()
    except UnicodeDecodeError as error:
        line = body.count(b"\n", 0, error.start) + 1
        expected = f"bad.txt:{line}: byte {error.start + shift} (0x{body[error.start]:02x}) is not"
        with pytest.raises(DataError) as caught:
            open_text(write("bad.txt", data), encoding="utf-8", cache=cache)
        if "is not valid" in caught.value.message:  # the first bytes may say what it is instead
            assert expected in caught.value.message
            assert "--encoding" in caught.value.hint
    else:
        text = whole(open_text(write("bad.txt", data), encoding="utf-8", cache=cache))
        assert text == plain(body.decode())


def test_a_wrong_byte_far_inside_is_named(write, cache):
    good = ("é" * 99 + "\n") * 30_000  # 6 MB: several chunks, a character across each border
    data = b"x" + good.encode() + b"ab\xe9 cd\n" + good.encode()
    with pytest.raises(DataError) as caught:
        open_text(write("far.txt", data), encoding="utf-8", cache=cache)
    at = 1 + len(good.encode()) + 2
    assert f"far.txt:30001: byte {at} (0xe9)" in caught.value.message


def test_a_wrong_byte_of_another_encoding_is_named(write, cache):
    data = "日本\n".encode("shift_jis") * 200_000 + b"\x81\x01"
    with pytest.raises(DataError, match=r"sj.txt:200001: byte 1000000 \(0x81\)"):
        open_text(write("sj.txt", data), encoding="shift_jis", cache=cache)


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"\x00\x01\x02\x03" * 50, "is binary"),
        (random.Random(0).randbytes(3000), "is binary: .* are control characters"),
        (b"PK\x03\x04" + b"\xff" * 50, "a zip archive"),
        (b"\x7fELF" + b"\x00" * 50, "a program"),
        (b"%PDF-1.7 \xe2\xe3\xcf", "a PDF document"),
        (b"PAR1\x00\x15\xff", "a parquet table"),
    ],
)
def test_binary_files_are_called_that(write, cache, data, what):
    with pytest.raises(DataError, match=what):
        open_text(write("data.txt", data), encoding="utf-8", cache=cache)


def test_a_text_may_hold_a_null(write, cache):
    text = "nulls \x00 are characters\n" * 4
    assert whole(open_text(write("t", text), encoding="utf-8", cache=cache)) == text


@pytest.mark.parametrize("codec", ["utf-9", "hex", "rot13", "punycode", "idna", "", "zlib_codec"])
def test_encodings_that_are_none_are_refused(write, cache, codec):
    with pytest.raises(UsageError, match="--encoding"):
        open_text(write("t", "abc"), encoding=codec, cache=cache)


@pytest.mark.parametrize("codec", ["utf-16", "utf-32"])
def test_a_missing_byte_order_mark_is_said(write, cache, codec):
    with pytest.raises(DataError, match="does not start with BOM") as caught:
        open_text(write("t", "no mark".encode(f"{codec}-le")), encoding=codec, cache=cache)
    assert "utf-16-le" in caught.value.hint


def test_a_file_that_changes_is_noticed(write, cache):
    path = write("t.txt", "one two three\n" * 10)
    file = open_text(path, encoding="utf-8", cache=cache)
    path.write_text("short")
    with pytest.raises(DataError, match="was changed"):
        whole(file)


def test_what_is_known_of_a_large_file_is_forgotten_when_it_changes(write, cache):
    import os

    path = write("t.txt.gz", gzip.compress(b"first\n"))
    os.utime(path, (1, 1))
    first = open_text(path, encoding="utf-8", cache=cache)
    assert list((cache / "scans").iterdir())
    assert open_text(path, encoding="utf-8", cache=cache) == first
    first.path.write_bytes(b"spoilt")  # the unpacked copy in the cache
    assert whole(open_text(path, encoding="utf-8", cache=cache)) == "first\n"
    write("t.txt.gz", gzip.compress(b"second\n"))
    assert whole(open_text(path, encoding="utf-8", cache=cache)) == "second\n"


def test_a_full_disk_leaves_nothing_half_written(write, cache, monkeypatch):
    import errno

    import rnnctl.data.text as module

    def full(_fd: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    path = write("t.txt.gz", gzip.compress(b"text\n" * 1000))
    monkeypatch.setattr(module.os, "fsync", full)
    with pytest.raises(StorageError, match="disk is full"):
        open_text(path, encoding="utf-8", cache=cache)
    assert not list((cache / "text").iterdir())


def test_what_killed_readers_left_goes_with_the_next_one(cache):
    folder = cache / "text"
    folder.mkdir(parents=True)
    with temporary(folder / "text") as mine:
        dead = folder / mine.name.replace(f"-{os.getpid()}", "-999999999")
        for file in (mine, dead):
            file.write_text("unfinished")
        spool_stream(io.BytesIO(b"some text"), name="stdin", codec="utf-8", cache=cache)
        assert mine.exists() and not dead.exists()
