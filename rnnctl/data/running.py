"""Running text: files one after the other, cut contiguously."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from rnnctl.data.documents import Document
from rnnctl.data.packing import CHUNK
from rnnctl.data.splitting import Shares, cut_positions
from rnnctl.data.text import TextFile


@dataclass(frozen=True, slots=True)
class Stretch:
    """Bytes [start, end) of a text file."""

    file: TextFile
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class RunningText:
    """One text made of stretches; iterating gives consecutive parts of it."""

    stretches: tuple[Stretch, ...]

    def __iter__(self) -> Iterator[Document]:
        for stretch in self.stretches:
            for text in stretch.file.chunks(stretch.start, stretch.end):
                yield Document(text, source=stretch.file.name)


def whole(files: Sequence[TextFile]) -> RunningText:
    """All of the files."""
    return RunningText(tuple(Stretch(f, f.start, f.end) for f in files if f.end > f.start))


def cut(files: Sequence[TextFile], shares: Shares) -> tuple[RunningText, RunningText, RunningText]:
    """The joined text cut into train, valid and test, by characters."""
    total = sum(file.chars for file in files)
    to_valid, to_test = cut_positions(total, shares)
    return (
        RunningText(tuple(_between(files, 0, to_valid))),
        RunningText(tuple(_between(files, to_valid, to_test))),
        RunningText(tuple(_between(files, to_test, total))),
    )


def _between(files: Sequence[TextFile], first: int, last: int) -> Iterator[Stretch]:
    """The stretches of characters [first, last) of the joined text."""
    passed = 0
    for file in files:
        low, high = max(first - passed, 0), min(last - passed, file.chars)
        if low < high:
            yield Stretch(file, byte_offset(file, low), byte_offset(file, high))
        passed += file.chars


def byte_offset(file: TextFile, chars: int) -> int:
    """Where in the file its character number `chars` begins."""
    if file.chars == file.end - file.start:
        return file.start + chars
    if chars == file.chars:
        return file.end
    at, left = file.start, chars
    with file.path.open("rb") as raw:
        raw.seek(at)
        while data := raw.read(CHUNK):
            begins = np.frombuffer(data, dtype=np.uint8) & 0xC0 != 0x80
            here = int(np.count_nonzero(begins))
            if here > left:
                return at + int(np.flatnonzero(begins)[left])
            at, left = at + len(data), left - here
    return file.end
