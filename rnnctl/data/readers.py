"""What reads a source that is no text: by the ending of a file's name, or as ``NAME:…``.

Readers are listed in `rnnctl.catalog`, and another package can add one (kind ``reader``). Text,
csv, tsv and JSON need none: `rnnctl.data.recognition` tells them apart by their content.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from rnnctl import catalog


@dataclass(frozen=True, slots=True)
class FileReader:
    """Reads files with certain endings, such as (".parquet",), as records of named fields.

    records: from a path and the name of the file in messages to its records, one after the other;
    raises `DataError` for a file that is none. table: from a path, a name and the cache directory
    to a `rnnctl.data.tables.Table`, for a reader that has a better way than to copy the records.
    """

    endings: tuple[str, ...]
    records: Callable[[Path, str], Iterator[Mapping[str, Any]]]
    table: Callable[[Path, str, Path], Any] | None = None


@dataclass(frozen=True, slots=True)
class SchemeReader:
    """Reads a corpus that is called ``NAME:…``, NAME being that of the reader in the catalog.

    open: from the whole name, the task and the cache directory to a mapping from splits ("train",
    "valid", "test", or "all") to lists of `rnnctl.data.tables.Table`, or to a
    `rnnctl.data.corpus.Corpus`. Raises `DataError` or `UsageError`.
    """

    open: Callable[[str, str, Path], Any]


def file_readers() -> dict[str, FileReader]:
    """The readers of files, by ending."""
    return _by_ending(tuple(catalog.names("reader")))


# By the names, so that a reader that is added later is not missed.
@cache
def _by_ending(names: tuple[str, ...]) -> dict[str, FileReader]:
    found = (catalog.load("reader", name) for name in names)
    readers = [reader for reader in found if isinstance(reader, FileReader)]
    return {ending: reader for reader in readers for ending in reader.endings}


def scheme(source: str) -> str | None:
    """The name of the reader that a source begins with ("hub" of hub:NAME), if it does."""
    name, colon, _ = source.partition(":")
    return name if colon and name in catalog.names("reader") else None
