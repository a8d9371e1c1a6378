"""Which text goes into which split: by position for running text, by document otherwise.

Documents are ranked by a hash of their text and the seed, so the outcome does not depend on their
order, equal texts stay together (no leak between splits), and a few more documents move few others.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from rnnctl.data.documents import Document
from rnnctl.data.packing import CHUNK
from rnnctl.data.text import TextFile
from rnnctl.errors import UsageError

Indices = NDArray[np.int64]
Digests = NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Shares:
    """Parts of the whole, which add up to 1."""

    train: Fraction
    valid: Fraction
    test: Fraction

    def without_test(self) -> Shares:
        """Train and valid in the same proportion, where the test split is given otherwise."""
        whole = self.train + self.valid
        return Shares(self.train / whole, self.valid / whole, Fraction(0))


def parse_split(text: str) -> Shares:
    """``90/5/5`` or ``90/10`` (per cent). Raises: UsageError."""
    try:
        parts = [Fraction(part) for part in text.split("/")]
    except (ValueError, ZeroDivisionError):
        parts = []
    if len(parts) == 2:
        parts.append(Fraction(0))
    if len(parts) != 3 or parts[0] <= 0 or min(parts) < 0 or sum(parts) != 100:
        raise UsageError(
            f"--split {text!r:.60} is not of the form train/valid/test, in per cent",
            hint="three numbers that add up to 100 and a train part above 0, such as 90/5/5",
        )
    return Shares(*(part / 100 for part in parts))


def digest(text: str) -> int:
    """64 bits that stand for a text."""
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8"), digest_size=8).digest(), "little")


def assign(
    digests: Digests, strata: NDArray[np.int32] | None, shares: Shares, seed: int
) -> tuple[Indices, Indices, Indices]:
    """Document numbers of train, valid and test, each in the documents' own order.

    digests (D,): equal texts have equal digests and go into the same split. strata (D,): labels
    whose proportions every split keeps. A split with a share gets at least one document of a
    stratum that has three.
    """
    # Another seed ranks the same texts in another order.
    keys = digests ^ np.uint64(seed & (2**64 - 1))
    _mix(keys)
    split = np.zeros(len(digests), dtype=np.int8)
    if strata is None:
        _assign_stratum(slice(None), keys, shares, split)
    else:
        # A text that occurs under two labels counts to the first: equal texts stay together.
        _, first, group = np.unique(digests, return_index=True, return_inverse=True)
        together = strata[first[group]]
        for label in np.unique(together):
            _assign_stratum(np.flatnonzero(together == label), keys, shares, split)
    train, valid, test = (np.flatnonzero(split == s).astype(np.int64, copy=False) for s in range(3))
    return train, valid, test


def assign_folds(
    digests: Digests, strata: NDArray[np.int32], folds: int, seed: int
) -> NDArray[np.int64]:
    """The fold (0 … folds-1) of each document (D,), by a hash of its text.

    Every fold has the same share of each stratum, as far as that goes evenly; equal texts are in
    the same fold, that of the label they occur under first.
    """
    keys = digests ^ np.uint64(seed & (2**64 - 1))
    _mix(keys)
    _, first, group = np.unique(digests, return_index=True, return_inverse=True)
    found = np.zeros(len(first), dtype=np.int64)
    begin = 0
    for label in np.unique(strata):
        members = np.flatnonzero(strata[first] == label)
        ranked = members[np.argsort(keys[first[members]])]
        # One stratum goes on where the last one ended, so that small ones do not all fill fold 0.
        found[ranked] = (begin + np.arange(len(ranked))) % folds
        begin += len(ranked)
    return found[group]


def _assign_stratum(
    members: Indices | slice, keys: Digests, shares: Shares, split: NDArray[np.int8]
) -> None:
    # Equal keys stay together below, so their order is of no account, nor a stable sort's memory.
    ranked = np.argsort(keys[members])
    if not isinstance(members, slice):
        ranked = members[ranked]
    n = len(ranked)
    to_valid, to_test = (round(n * s) for s in (shares.train, shares.train + shares.valid))
    # However small its share, a split that is wanted gets a document of each label that has three.
    if n >= 3:
        if shares.test:
            to_test = min(to_test, n - 1)
        if shares.valid:
            to_valid = min(to_valid, to_test - 1)
    to_valid = _not_within_equals(max(to_valid, min(1, n)), ranked, keys)
    to_test = _not_within_equals(max(to_test, to_valid), ranked, keys)
    split[ranked[to_valid:to_test]] = 1
    split[ranked[to_test:]] = 2


def _not_within_equals(cut: int, ranked: Indices, keys: Digests) -> int:
    # Equal texts have equal keys and so stand side by side: the border goes between two texts.
    while 0 < cut < len(ranked) and keys[ranked[cut]] == keys[ranked[cut - 1]]:
        cut += 1
    return cut


def _mix(z: Digests) -> None:
    """splitmix64's finaliser (Steele, Lea & Flood 2014), in place: it looks random."""
    z += np.uint64(0x9E3779B97F4A7C15)
    z ^= z >> np.uint64(30)
    z *= np.uint64(0xBF58476D1CE4E5B9)
    z ^= z >> np.uint64(27)
    z *= np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)


# -- running text --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FileStretch:
    """Bytes [start, end) of a text file."""

    file: TextFile
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class RunningText:
    """One text made of stretches; iterating gives consecutive parts of it."""

    stretches: tuple[FileStretch, ...]

    def __iter__(self) -> Iterator[Document]:
        for stretch in self.stretches:
            for text in stretch.file.chunks(stretch.start, stretch.end):
                yield Document(text, source=stretch.file.name)


def whole_text(files: Sequence[TextFile]) -> RunningText:
    """All of the files."""
    return RunningText(tuple(FileStretch(f, f.start, f.end) for f in files if f.end > f.start))


def cut_text(
    files: Sequence[TextFile], shares: Shares
) -> tuple[RunningText, RunningText, RunningText]:
    """The joined text cut into train, valid and test, by characters."""
    total = sum(file.chars for file in files)
    to_valid, to_test = int(total * shares.train), int(total * (shares.train + shares.valid))
    return (
        RunningText(tuple(_between(files, 0, to_valid))),
        RunningText(tuple(_between(files, to_valid, to_test))),
        RunningText(tuple(_between(files, to_test, total))),
    )


def _between(files: Sequence[TextFile], first: int, last: int) -> Iterator[FileStretch]:
    """The stretches of characters [first, last) of the joined text."""
    passed = 0
    for file in files:
        low, high = max(first - passed, 0), min(last - passed, file.chars)
        if low < high:
            yield FileStretch(file, byte_offset(file, low), byte_offset(file, high))
        passed += file.chars


def byte_offset(file: TextFile, chars: int) -> int:
    """Where in the file its character number `chars` begins."""
    # ASCII: every character is a byte.
    if file.chars == file.end - file.start:
        return file.start + chars
    if chars == file.chars:
        return file.end
    at, left = file.start, chars
    with file.path.open("rb") as raw:
        raw.seek(at)
        while data := raw.read(CHUNK):
            # All bytes begin a character but those that read 10xxxxxx.
            begins = np.frombuffer(data, dtype=np.uint8) & 0xC0 != 0x80
            here = int(np.count_nonzero(begins))
            if here > left:
                return at + int(np.flatnonzero(begins)[left])
            at, left = at + len(data), left - here
    return file.end
