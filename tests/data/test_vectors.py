"""Word vectors from files: what is read, against reading line by line; what is refused."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import lzma
import struct
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnctl.data.vectors import Vectors, find_vectors, vector_size
from rnnctl.errors import DataError

PLAIN = "the 1 2 3\nCat -1 0.5 2e-1\ncat 4 4 4\n, 7 8 9\nthe 0 0 0\n"
WORDS = ["the", "Cat", "CAT", "cat", "dog", "", ",", "The"]


def zstandard(data: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    return sink.getvalue().to_pybytes()


# Without the time of day, which would be in the name of a test, another one in each process.
CUT_OFF = gzip.compress(b"a 1 2\n" * 9000, mtime=0)[:60]
PACKED = {
    "txt": bytes,
    "txt.gz": gzip.compress,
    "txt.bz2": bz2.compress,
    "vec.xz": lzma.compress,
    "vec.zst": zstandard,
}


@pytest.mark.parametrize("ending", PACKED)
@pytest.mark.parametrize("header", ["", "5 3\n"])
def test_rows_of_words_and_of_their_lower_case(tmp_path: Path, ending: str, header: str) -> None:
    path = tmp_path / f"vectors.{ending}"
    path.write_bytes(PACKED[ending]((header + PLAIN).encode()))
    assert vector_size(path) == 3
    found = find_vectors(path, WORDS)
    assert found.found.tolist() == [True, True, True, True, False, False, True, True]
    assert found.lowered == 2  # CAT and The; Cat is there as it is written
    wanted = [
        [1, 2, 3],
        [-1, 0.5, 0.2],
        [4, 4, 4],
        [4, 4, 4],
        [0] * 3,
        [0] * 3,
        [7, 8, 9],
        [1, 2, 3],
    ]
    np.testing.assert_array_equal(found.rows, np.array(wanted, np.float32))
    assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


word = st.text("abcXYZé.,'", min_size=1, max_size=4)
number = st.floats(-9, 9, width=32)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(word, st.tuples(number, number, number)), min_size=1, max_size=30),
    st.lists(word, max_size=6, unique=True),
    st.sampled_from(["\n", " \n", "\r\n"]),
    st.booleans(),
)
def test_any_file_as_read_line_by_line(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[str, tuple[float, ...]]],
    more: list[str],
    end: str,
    header: bool,
) -> None:
    path = tmp_path_factory.mktemp("vectors") / "v.vec"
    lines = [f"{name} {' '.join(map(repr, numbers))}{end}" for name, numbers in rows]
    head = f"{len(rows)} 3{end}" if header else ""
    path.write_bytes((head + "".join(lines)).encode())
    first: dict[str, tuple[float, ...]] = {}
    for name, numbers in rows:
        first.setdefault(name, numbers)
    words = [*more, rows[0][0]]
    found = find_vectors(path, words)
    for place, one in enumerate(words):
        row = first.get(one, first.get(one.lower()))
        assert found.found[place] == (row is not None)
        if row is not None:
            np.testing.assert_array_equal(found.rows[place], np.float32(row))


def test_a_word_with_spaces_in_it_as_web_crawls_have(tmp_path: Path) -> None:
    path = tmp_path / "crawl.txt"
    path.write_text("the 1 2 3\n. . . 4 5 6\nat me@here.org 7 8 9\n")
    found = find_vectors(path, ["the", ". . .", "."])
    assert found.found.tolist() == [True, True, False]
    assert found.rows[1].tolist() == [4, 5, 6]


def test_tabs_and_double_spaces(tmp_path: Path) -> None:
    (tmp_path / "tabs.txt").write_text("the\t1\t2\nof\t3\t4\n")
    assert find_vectors(tmp_path / "tabs.txt", ["of"]).rows.tolist() == [[3, 4]]
    (tmp_path / "wide.txt").write_text("the  1  2\nof 3   4\n")
    assert find_vectors(tmp_path / "wide.txt", ["of"]).rows.tolist() == [[3, 4]]


def test_words_without_a_row_are_drawn_like_those_with_one() -> None:
    draw = np.random.default_rng(0)
    rows = (draw.normal(size=(5000, 3)) * [1, 2, 0.1] + [5, 0, -1]).astype(np.float32)
    found = np.arange(5000) < 2500
    filled = Vectors(rows, found, 0, "").filled(draw.normal(size=(5000, 3)))
    np.testing.assert_array_equal(filled[found], rows[found])
    np.testing.assert_allclose(filled[~found].mean(0), [5, 0, -1], atol=0.15)
    np.testing.assert_allclose(filled[~found].std(0), [1, 2, 0.1], rtol=0.06)
    alone = Vectors(rows, np.arange(5000) < 1, 0, "").filled(draw.normal(size=(5000, 3)))
    assert alone[1:].std(0).min() > 0  # of one row there is no deviation in a dimension


BINARY = b"2 4\nthe " + struct.pack("<4f", 0.1, -2, 3.7, 1e-3) + b"\ncat " + b"\x00" * 16


@pytest.mark.parametrize(
    ("name", "content", "error", "hint"),
    [
        ("short.txt", "a 1 2\nb 1 2\nc 1\n", "short.txt:3: 1 numbers after the word", "fetch it"),
        ("long.txt", "a 1 2\nb 1 2 3\n", "the first row has 2", "fetch it again"),
        ("said.vec", "2 3\na 1 2\nb 1 2\n", "said.vec:2: 2 numbers after the word, but the header "
         "says 3", "fetch it"),
        ("wrong.txt", "a 1 2\nb one 2\n", "wrong.txt:2: 'one' is not a number", "each line is"),
        ("nan.txt", "a 1 2\nb nan 2\n", "nan.txt:2: a number is not finite", "remove"),
        ("prose.txt", "once upon a time\nthere\n", "prose.txt:1: there are no", "each line"),
        ("empty.txt", "", "holds no vectors", "each line is a word"),
        ("blank.txt", "\n\n", "holds no vectors", "each line is a word"),
        ("header.vec", "400000 300\n", "holds no vectors", "each line is a word"),
        ("other.txt", "chien 1 2\nchat 3 4\n", "none of the vocabulary's 2 tokens", "language"),
        ("word2vec.bin", BINARY, "is a binary word2vec file", "binary=True"),
        ("model.bin", (793712314).to_bytes(4, "little") + b"\0" * 90, "fastText model", ".vec"),
        ("picture.txt", b"\x89PNG\x00\x00\x01\x02" * 40, "is binary, not a text file", "each line"),
        ("cut.txt.gz", CUT_OFF, "damaged or cut off", "again"),
        ("not.txt.gz", "a 1 2\n", "is not a gzip file", "file ending"),
    ],
)  # fmt: skip
def test_files_that_cannot_be_used(
    tmp_path: Path, name: str, content: str | bytes, error: str, hint: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError) as caught:
        find_vectors(path, ["a", "b"])
    assert error in caught.value.message and hint in str(caught.value.hint), caught.value


def test_what_is_no_file_of_vectors_at_all(tmp_path: Path) -> None:
    for path, error in ((tmp_path / "gone.txt", "No such file"), (tmp_path, "it is a folder")):
        with pytest.raises(DataError, match=error):
            vector_size(path)
    with zipfile.ZipFile(tmp_path / "glove.zip", "w") as archive:
        archive.writestr("glove.50d.txt", PLAIN)
    with pytest.raises(DataError, match="is an archive of files"):
        vector_size(tmp_path / "glove.zip")


def test_memory_is_that_of_the_wanted_rows(tmp_path: Path) -> None:
    path = tmp_path / "large.txt"
    row = " ".join(["0.125"] * 100)
    with path.open("w") as file:
        for n in range(100_000):  # 61 MB
            file.write(f"word{n} {row}\n")
    tracemalloc.start()
    found = find_vectors(path, [f"word{n}" for n in range(0, 100_000, 100)])
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found.found.all()
    assert most < 25e6  # of 1,000 rows and a few pieces of the file
