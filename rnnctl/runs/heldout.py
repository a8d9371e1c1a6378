"""The held-out documents that a run keeps, so that judging it needs no corpus at hand."""

from __future__ import annotations

import gzip
import io
import json
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from rnnctl import integrity
from rnnctl.data.documents import Document
from rnnctl.errors import CorruptRunError

HELDOUT_NAME = "heldout.jsonl.gz"
KEEP_BYTES = 5_000_000
_MAX_UNPACKED = 64_000_000


def pack(splits: Iterable[tuple[str, bool, Iterable[Document]]]) -> bytes:
    """Compress documents of (split, running text?, documents), at most 5 MB of text in all.

    Each split gets an equal share. A running text is cut to its beginning. Documents are kept
    whole, those that are too long for what is left passed over; if none fits, the first one is cut.
    The same input gives the same bytes.
    """
    splits = list(splits)
    parts = max(1, len(splits))
    buffer = io.BytesIO()
    # Without the time of writing: two runs of one corpus keep the same bytes.
    with gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0) as file:
        for split, running, documents in splits:
            written = 0
            choose = _beginning if running else _fitting
            for document in choose(documents, KEEP_BYTES // parts):
                line = _line(split, running, document)
                written += len(line)
                if written > _MAX_UNPACKED // parts:
                    break  # millions of tiny documents: what is kept must be readable again
                file.write(line)
    return buffer.getvalue()


def _line(split: str, running: bool, document: Document) -> bytes:
    record = {"split": split, "running": running, "text": document.text}
    record |= {"label": document.label, "source": document.source}
    return (json.dumps(record) + "\n").encode("ascii")


def _beginning(documents: Iterable[Document], room: int) -> Iterator[Document]:
    """The first `room` bytes of a running text."""
    for document in documents:
        kept = _cut(document, room)
        room -= _size(kept)
        if kept.text:
            yield kept
        if kept.text != document.text:
            return


def _fitting(documents: Iterable[Document], room: int) -> Iterator[Document]:
    """Documents of at most `room` bytes together; the beginning of the first if none fits."""
    left, first = room, None
    for document in documents:
        size = _size(document)
        if 0 < size <= left:
            left -= size
            yield document
        elif size and left == room:
            first = first or document
    if left == room and first:
        yield _cut(first, room)


def _size(document: Document) -> int:
    # Texts from JSON may hold halves of surrogate pairs, which strict UTF-8 refuses.
    return len(document.text.encode("utf-8", "surrogatepass"))


def _cut(document: Document, room: int) -> Document:
    """The longest beginning that takes at most `room` bytes."""
    data = document.text.encode("utf-8", "surrogatepass")
    if len(data) <= room:
        return document
    return replace(document, text=data[:room].decode("utf-8", "ignore"))


def unpack(path: Path, split: str) -> tuple[list[Document], bool]:
    """Documents of `split`, and whether they are pieces of one running text."""
    documents: list[Document] = []
    running = False
    for record in _records(path):
        if record.get("split") == split:
            running = bool(record.get("running"))
            documents.append(_document(record, path))
    return documents, running


def _document(record: dict[str, Any], path: Path) -> Document:
    text, label, source = record.get("text"), record.get("label"), record.get("source", "")
    if not (isinstance(text, str) and isinstance(source, str)):
        raise CorruptRunError(f"{path} holds a document without text")
    if not (label is None or isinstance(label, str)):
        raise CorruptRunError(f"{path} holds a label that is not text")
    return Document(text, label, source)


def _records(path: Path) -> Iterator[dict[str, Any]]:
    """One record after the other; CorruptRunError for what cannot be read or is far too much."""
    read = 0
    try:
        with gzip.open(path, "rb") as file:
            while line := file.readline(_MAX_UNPACKED + 1 - read):
                read += len(line)
                if read > _MAX_UNPACKED:
                    raise CorruptRunError(f"{path} unpacks to more than {_MAX_UNPACKED:,} bytes")
                yield integrity.parse_json(line, path)
    except (OSError, EOFError, zlib.error) as error:
        raise CorruptRunError(f"{path} cannot be read: {error}") from error
