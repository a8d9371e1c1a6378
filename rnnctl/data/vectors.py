"""Word vectors from a text file, as GloVe, fastText and word2vec write them.

Each line is a word and E numbers, with one space (or tab) between them; a first line of two whole
numbers (rows and E) is a header. The file may be packed as gzip, bzip2, xz or zstandard.

The file is read in one pass, and only rows of wanted words are kept: 1 GB takes no more memory than
the words of the vocabulary do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from rnnctl import integrity
from rnnctl.data.packing import (
    Reads,
    archive_kind,
    check_suffix,
    compression,
    read_unpacked,
    unpacked,
)
from rnnctl.errors import DataError, word

_CHUNK = 4 << 20
_LONGEST_LINE = 1 << 20
# The magic number that begins fastText's own model files.
_FASTTEXT_MODEL = (793_712_314).to_bytes(4, "little")
_FORM = "each line is a word and its numbers, with spaces between them"

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Vectors:
    """Rows of a file for V tokens. rows: (V, E), zeros where there is none. found: (V,).

    lowered: how many were found in lower case only. sha256: of the file as it lies on the disk.
    """

    rows: Floats
    found: NDArray[np.bool_]
    lowered: int
    sha256: str

    def filled(self, draws: NDArray[np.float64]) -> Floats:
        """(V, E): rows that are missing are `draws` (V, E), from a standard normal distribution,
        scaled to the mean and the standard deviation of the found ones in each dimension.

        Of a single found row the deviation is that of its numbers.
        """
        known = self.rows[self.found].astype(np.float64)
        spread = known.std(0) if len(known) > 1 else np.full(known.shape[1], known.std())
        drawn = known.mean(0) + spread * draws
        return np.where(self.found[:, None], self.rows, drawn.astype(np.float32))


def vector_size(path: Path) -> int:
    """How many numbers stand behind each word, by the first lines. Raises: DataError."""
    with _Hashed(path) as file:
        for number, _, numbers, size in _rows(file, path):
            _parsed(numbers, path, number)
            return size
    raise _empty(path)


def find_vectors(path: Path, words: Sequence[str]) -> Vectors:
    """The rows of `words` (V), each as it is written or else in lower case.

    A word that stands in the file twice has the first of its rows; "" is not looked for.

    Raises: DataError for a file that is missing, empty, binary or damaged, has rows of different
    lengths or something else than numbers (with the line), or holds none of the words.
    """
    exact: dict[bytes, list[int]] = {}
    lower: dict[bytes, list[int]] = {}
    for place, one in enumerate(words):
        if not one:
            continue
        exact.setdefault(one.encode(), []).append(place)
        if one.lower() != one:
            lower.setdefault(one.lower().encode(), []).append(place)
    rows: Floats | None = None
    how = np.zeros(len(words), np.int8)  # 0 not found, 1 in lower case, 2 as it is written
    with _Hashed(path) as file:
        number = 0
        for number, name, numbers, size in _rows(file, path):
            if rows is None:
                rows = np.zeros((len(words), size), np.float32)
            if name not in exact and name not in lower:
                continue
            # Its own spelling beats the lower case, and of two rows for one word the first one
            # counts.
            as_written = [p for p in exact.get(name, ()) if how[p] < 2]
            lowered = [p for p in lower.get(name, ()) if how[p] < 1]
            if as_written or lowered:
                row = _parsed(numbers, path, number)
                how[lowered], how[as_written] = 1, 2
                rows[lowered + as_written] = row
        sha256 = file.rest()
    if rows is None:
        raise _empty(path)
    if not how.any():
        shown = ", ".join(repr(one) for one in words if one.isalpha())[:60]
        raise DataError(
            f"{path} has a vector for none of the vocabulary's {len(words):,} tokens ({shown}, …)",
            hint="use vectors of the text's language; `--level word` needs whole words",
        )
    return Vectors(rows, how > 0, int((how == 1).sum()), sha256)


# -- reading ---------------------------------------------------------------------------------------


class _Hashed:
    """The bytes of a file, hashed as they are read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._sha = integrity.hasher()
        try:
            self._file = path.open("rb")
        except OSError as problem:
            reason = "it is a folder" if path.is_dir() else problem.strerror
            raise DataError(f"{path}: {reason}", hint="check the path of --vectors") from problem

    def __enter__(self) -> _Hashed:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def read(self, size: int = -1) -> bytes:
        """As of a file. Raises: DataError for what cannot be read."""
        try:
            data = self._file.read(size)
        except OSError as problem:
            raise DataError(f"{self._path}: {problem.strerror}") from problem
        self._sha.update(data)
        return data

    def rest(self) -> str:
        """The SHA-256 of the whole file; what was not read of it is read now."""
        while self.read(_CHUNK):
            pass
        return self._sha.hexdigest()


def _lines(file: _Hashed, path: Path) -> Iterator[bytes]:
    """The lines of the unpacked file, without their ends."""
    stream = Reads(file)
    head = stream.peek(512)
    name = str(path)
    check_suffix(path, head, name)
    kind = compression(head)
    if archive_kind(stream, kind) is not None:
        raise DataError(f"{path} is an archive of files", hint="unpack it and name one of them")
    content: BinaryIO | Reads = stream if kind is None else unpacked(stream, kind)
    held = b""
    first = True
    while data := read_unpacked(content, _CHUNK, name):
        if first:
            first = False
            _check_beginning(data, path)
        *whole, held = (held + data).split(b"\n")
        yield from whole
        if len(held) > _LONGEST_LINE:
            raise DataError(f"{path} is not a text file of vectors: {_FORM}")
    if held:
        yield held


def _rows(file: _Hashed, path: Path) -> Iterator[tuple[int, bytes, bytes, int]]:
    """Line from 1, word, numbers as they are written, and how many, of every row."""
    size, said, separator = 0, 0, b" "
    for number, line in enumerate(_lines(file, path), 1):
        line = line.rstrip(b" \t\r")
        if not line:
            continue
        if b"  " in line:
            line = b" ".join(line.split())
        if number == 1:
            said = _header(line)
            if said:
                continue
        if not size:
            separator = b" " if b" " in line else b"\t"
            size = said or line.count(separator)
            if not said:
                size = _numbers_at_end(line.split(separator))
        name, _, numbers = line.partition(separator)
        count = numbers.count(separator) + 1 if numbers else 0
        if count > size and not _is_number(line.split(separator)[-size - 1]):
            # A "word" with spaces in it, as web crawls have: the last E fields are its numbers.
            parts = line.rsplit(separator, size)
            name, numbers, count = parts[0], separator.join(parts[1:]), size
        if count != size or not size:
            raise _other_length(path, number, count, size, said)
        yield number, name, numbers, size


def _numbers_at_end(fields: list[bytes]) -> int:
    """How many of a row's fields are numbers, counted from its end; the first one is its word."""
    count = 0
    for field in reversed(fields[1:]):
        if not _is_number(field):
            break
        count += 1
    return count


def _header(line: bytes) -> int:
    """E of a header ``400000 300``; 0 for a line that is none."""
    fields = line.split()
    if len(fields) == 2 and all(field.isdigit() for field in fields):
        # Nine digits are more than any file has, and keep a forged header from asking for more.
        return int(fields[1][:9])
    return 0


def _is_number(field: bytes) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True


def _parsed(numbers: bytes, path: Path, line: int) -> Floats:
    """(E,). Raises: DataError for anything but finite numbers."""
    fields = numbers.split()
    try:
        row = np.array([float(field) for field in fields], np.float32)
    except ValueError:
        wrong = next(field for field in fields if not _is_number(field))
        shown = repr(wrong.decode("utf-8", "replace"))
        raise DataError(f"{path}:{line}: {shown:.60} is not a number", hint=_FORM) from None
    if not np.isfinite(row).all():
        raise DataError(f"{path}:{line}: a number is not finite", hint="remove that line")
    return row


# -- what is wrong with a file ---------------------------------------------------------------------


def _check_beginning(data: bytes, path: Path) -> None:
    """Raises: DataError for vectors in a binary form."""
    if data.startswith(_FASTTEXT_MODEL):
        raise DataError(
            f"{path} is a fastText model in its binary form",
            hint="use the .vec file that comes with it",
        )
    first, _, rest = data.partition(b"\n")
    sample = rest[: 1 << 16] if _header(first) else data[: 1 << 16]
    control = len(sample) - len(sample.translate(None, _CONTROL))
    if control * 50 <= len(sample) and b"\0" not in sample:
        return
    if _header(first):
        raise DataError(
            f"{path} is a binary word2vec file",
            hint="write it as text, with gensim: "
            f"KeyedVectors.load_word2vec_format({word(str(path))!r:.200}, binary=True)"
            ".save_word2vec_format('vectors.txt')",
        )
    raise DataError(f"{path} is binary, not a text file of vectors", hint=_FORM)


_CONTROL = bytes(byte for byte in range(32) if byte not in b"\t\n\r")


def _other_length(path: Path, line: int, count: int, size: int, said: int) -> DataError:
    if not size:
        return DataError(f"{path}:{line}: there are no numbers after the word", hint=_FORM)
    before = f"the header says {size:,}" if said else f"the first row has {size:,}"
    return DataError(
        f"{path}:{line}: {count:,} numbers after the word, but {before}",
        hint="the file may be cut off or damaged: fetch it again",
    )


def _empty(path: Path) -> DataError:
    return DataError(f"{path} holds no vectors", hint=_FORM)
