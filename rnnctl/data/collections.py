"""Collections of documents that can be picked from by number, without all being in memory."""

from __future__ import annotations

import json
import mmap
import re
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from rnnctl import integrity
from rnnctl.data.documents import Document
from rnnctl.data.labels import in_order
from rnnctl.data.splitting import Digests, Indices, digest
from rnnctl.data.text import TextFile

Unit = Literal["paragraph", "line", "file"]
_BLOCK = 10_000


class Collection(Protocol):
    """D documents. `digests` (D,) stand for their texts, `strata` (D,) number their labels."""

    @property
    def digests(self) -> Digests: ...

    @property
    def strata(self) -> NDArray[np.int32] | None: ...

    @property
    def label_names(self) -> tuple[str, ...]: ...

    def read(self, indices: Indices) -> Iterator[Document]:
        """The documents of these numbers, in this order."""
        ...


@dataclass(frozen=True)
class Selection:
    """Some documents of a collection; iterating reads them."""

    collection: Collection
    indices: Indices

    def __iter__(self) -> Iterator[Document]:
        return self.collection.read(self.indices)

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def digests(self) -> Digests:
        return self.collection.digests[self.indices]

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that occur, in order."""
        strata = self.collection.strata
        if strata is None:
            return ()
        names = self.collection.label_names
        return in_order(names[i] for i in np.unique(strata[self.indices]).tolist())


def in_blocks(indices: Indices) -> Iterator[Indices]:
    """The numbers in parts: as Python objects they take ten times the room."""
    return (indices[start : start + _BLOCK] for start in range(0, len(indices), _BLOCK))


def everything(collection: Collection) -> Selection:
    """All of it."""
    return Selection(collection, np.arange(len(collection.digests), dtype=np.int64))


def content_digest(collection: Collection) -> str:
    """SHA-256 of what a collection holds: its texts and labels, in order."""
    strata = b"" if collection.strata is None else collection.strata.data
    names = json.dumps(collection.label_names).encode()
    return integrity.digest_of([collection.digests.data, names, strata])


def numbered(labels: Sequence[str]) -> tuple[tuple[str, ...], NDArray[np.int32]]:
    """The different labels in order, and which of them each of `labels` (N,) is: (N,)."""
    names = in_order(labels)
    number = {name: i for i, name in enumerate(names)}
    return names, np.array([number[label] for label in labels], dtype=np.int32)


_BREAKS = {"paragraph": re.compile(rb"\n(?:[ \t\r\v\f]*\n)+"), "line": re.compile(rb"\n")}


class TextUnits:
    """The paragraphs (between blank lines), lines or files of plain text; blank ones left out."""

    def __init__(
        self, files: Sequence[TextFile], unit: Unit, labels: Sequence[str] | None = None
    ) -> None:
        """labels: one for each file."""
        self._files = tuple(files)
        self._labels = labels
        # Four bytes for a place instead of eight, for each document has three of them.
        place = "I" if all(file.end < 1 << 32 for file in files) else "q"
        columns = array("i"), array(place), array(place), array(place)
        digests = array("Q")
        for number, file in enumerate(files):
            for start, end, line, text in _units(file, unit):
                for column, value in zip(columns, (number, start, end, line), strict=True):
                    column.append(value)
                digests.append(digest(text))
        # Of short documents there may be tens of millions: what is here is not copied.
        self._columns = [np.frombuffer(column, column.typecode) for column in columns]
        self.digests: Digests = np.frombuffer(digests, np.uint64)
        self.label_names: tuple[str, ...] = ()
        self.strata: NDArray[np.int32] | None = None
        if labels and digests:
            self.label_names, self.strata = numbered([labels[file] for file in columns[0]])

    def read(self, indices: Indices) -> Iterator[Document]:
        """The documents of these numbers, in this order.

        Raises: DataError if one of them is not what it was.
        """
        current, data = -1, b""
        blocks = (self._rows(part) for part in in_blocks(indices))
        for number, start, end, line, expected in chain.from_iterable(blocks):
            file = self._files[number]
            if number != current:
                current, data = number, _mapped(file)
            text = _text(data[start:end], file)
            # The splits rest on these digests: a file that changes meanwhile would leak between
            # them.
            if digest(text) != expected:
                raise file.changed()
            label = self._labels[number] if self._labels else None
            yield Document(text, label, f"{file.name}:{line}")

    def _rows(self, indices: Indices) -> Iterator[tuple[int, int, int, int, int]]:
        """File, start, end, line and digest of each."""
        columns = (*self._columns, self.digests)
        return zip(*(column[indices].tolist() for column in columns), strict=True)


def _mapped(file: TextFile) -> bytes:
    try:
        with file.path.open("rb") as raw:
            # Mapped and not read: a split picks its documents from all over the file.
            data = mmap.mmap(raw.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:  # gone, or empty by now
        raise file.changed() from error
    if len(data) < file.end:
        raise file.changed()
    return data  # type: ignore[return-value]


def _text(data: bytes, file: TextFile) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise file.changed() from error


def _units(file: TextFile, unit: Unit) -> Iterator[tuple[int, int, int, str]]:
    """Start, end, line number and text of every unit that is not blank."""
    if file.end <= file.start:
        return
    data = _mapped(file)
    # Lines are counted on the way: a document's place is to be said in any error.
    start, line = file.start, 1
    for start_next, end in _spans(data, file, unit):
        low, high = _trim(data, start, end, unit)
        text = _text(data[low:high], file)
        if text.strip():
            yield low, high, line + data[start:low].count(b"\n"), text
        line += data[start:start_next].count(b"\n")
        start = start_next


def _spans(data: bytes, file: TextFile, unit: Unit) -> Iterator[tuple[int, int]]:
    """Where each unit ends, and where the next one starts before that."""
    if unit != "file":
        for match in _BREAKS[unit].finditer(data, file.start, file.end):
            yield match.end(), match.start()
    yield file.end, file.end


def _trim(data: bytes, start: int, end: int, unit: Unit) -> tuple[int, int]:
    """Without newlines at a paragraph's ends and the carriage return at a line's end."""
    if unit == "file":
        return start, end
    drop = b"\r\n" if unit == "paragraph" else b"\r"
    # Only line ends, for spaces at a document's ends are text that a model may learn.
    while end > start and data[end - 1] in drop:
        end -= 1
    while unit == "paragraph" and start < end and data[start] in drop:
        start += 1
    return start, end


class Combined:
    """Collections one after the other."""

    def __init__(self, parts: Sequence[Collection]) -> None:
        self._parts = list(parts)
        self._ends = np.cumsum([len(part.digests) for part in parts])
        self.digests: Digests = np.concatenate([part.digests for part in parts])
        self.label_names = in_order(name for part in parts for name in part.label_names)
        numbers = {name: i for i, name in enumerate(self.label_names)}
        self.strata: NDArray[np.int32] | None = None
        if all(part.strata is not None for part in parts):
            renumbered = [
                np.array([numbers[n] for n in part.label_names], dtype=np.int32)[part.strata]
                for part in parts
                if part.strata is not None and len(part.strata)
            ]
            # The empty one first, for where no part has documents there is nothing else to join.
            self.strata = np.concatenate([np.empty(0, dtype=np.int32), *renumbered])

    def read(self, indices: Indices) -> Iterator[Document]:
        """The documents of these numbers, in this order."""
        which = np.searchsorted(self._ends, indices, side="right")
        borders = np.flatnonzero(np.diff(which)) + 1
        for run in np.split(np.arange(len(indices)), borders):
            if len(run):
                part = int(which[run[0]])
                first = int(self._ends[part - 1]) if part else 0
                yield from self._parts[part].read(indices[run] - first)


class Relabelled:
    """A collection whose labels are written as other collections write them."""

    def __init__(self, collection: Collection, same: Mapping[str, str]) -> None:
        """same: the labels that become another."""
        self._collection = collection
        self._same = same
        self.digests = collection.digests
        self.label_names, new = numbered([same.get(name, name) for name in collection.label_names])
        self.strata = None if collection.strata is None else new[collection.strata]

    def read(self, indices: Indices) -> Iterator[Document]:
        """The documents of these numbers, in this order."""
        for document in self._collection.read(indices):
            label = document.label
            yield (
                document if label is None else replace(document, label=self._same.get(label, label))
            )
