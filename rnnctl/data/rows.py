"""Tables as collections, kept by `datasets`: on disk, mapped into memory, converted once.

Everything here works without a network; only ``hub:`` corpora (`rnnctl.data.hub`) use it.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnctl.data import tables
from rnnctl.data.cache import storage_errors
from rnnctl.data.documents import Document
from rnnctl.data.fields import pick_label, pick_text
from rnnctl.data.splitting import Digests, Indices, digest
from rnnctl.data.textfile import TextFile
from rnnctl.errors import DataError, RnnctlError

_BLOCK = 1000
_READER = 1  # raise when `tables` comes to read anything differently


@dataclass(frozen=True, slots=True)
class Columns:
    """What a table's columns mean; `label` None: there is none or it is not wanted."""

    text: str
    label: str | None
    line: str | None = None


def import_datasets() -> Any:
    """The `datasets` module, silent and without telemetry."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    import datasets

    datasets.disable_progress_bars()
    datasets.utils.logging.set_verbosity_error()
    return datasets


class Rows:
    """The rows of a data set that have text. Blank ones are left out, and counted in `blank`.

    Raises: DataError for a text that is none, or a missing label.
    """

    def __init__(self, data: Any, columns: Columns, name: str) -> None:
        self._data = data
        self._columns = columns
        self._name = name
        self._names = getattr(data.features.get(columns.label), "names", None)
        kept, digests, codes = array("q"), array("Q"), array("i")
        numbers: dict[str, int] = {}
        for row, (text, label, _) in enumerate(self._blocks(range(0, len(data), _BLOCK))):
            if text.strip():
                kept.append(row)
                digests.append(digest(text))
                codes.append(numbers.setdefault(label, len(numbers)))
        self._kept: Indices = np.array(kept, dtype=np.int64)
        self.blank = len(data) - len(kept)
        self.digests: Digests = np.array(digests, dtype=np.uint64)
        self.label_names: tuple[str, ...] = tuple(sorted(numbers)) if columns.label else ()
        self.strata: NDArray[np.int32] | None = None
        if columns.label:
            order = {label: i for i, label in enumerate(self.label_names)}
            new = np.array([order[label] for label in numbers], dtype=np.int32)
            self.strata = new[np.array(codes, dtype=np.int64)] if len(codes) else np.empty(0, "i4")

    def read(self, indices: Indices) -> Iterator[Document]:
        """The documents of these numbers, in this order."""
        loaded, block = -1, []
        for row in self._kept[indices].tolist():
            if row // _BLOCK != loaded:
                loaded = row // _BLOCK
                block = list(self._blocks([loaded * _BLOCK]))
            text, label, line = block[row % _BLOCK]
            yield Document(text, label if self._columns.label else None, f"{self._name}:{line}")

    def _blocks(self, starts: Sequence[int]) -> Iterator[tuple[str, str, int]]:
        """Text, label and line of the rows of the blocks that begin at `starts`."""
        c = self._columns
        for start in starts:
            block = self._data[start : start + _BLOCK]
            texts = block[c.text]
            labels = block[c.label] if c.label else [""] * len(texts)
            lines = block[c.line] if c.line else range(start + 1, start + 1 + len(texts))
            for text, label, line in zip(texts, labels, lines, strict=True):
                yield self._text(text, line), self._label(label, line), line

    def _text(self, value: object, line: int) -> str:
        if value is None or isinstance(value, str):
            return value or ""
        raise DataError(
            f"{self._name}:{line}: the field {self._columns.text!r} is no text",
            hint="name the right one: --text-field FIELD",
        )

    def _label(self, value: Any, line: int) -> str:
        if not self._columns.label:
            return ""
        if self._names is not None and isinstance(value, int):
            if not 0 <= value < len(self._names):
                value = None
            else:
                return str(self._names[value])
        return tables.label_text(value, f"{self._name}:{line}", self._columns.label)


def read_text_tables(
    files: Sequence[tuple[TextFile, str]],
    *,
    text_field: str | None,
    label_field: str | None,
    labelled: bool,
    cache: Path,
) -> list[Rows]:
    """csv, tsv, JSON lines and labelled lines: one collection per file.

    Raises: DataError or UsageError as `tables.rows`, StorageError.
    """
    datasets = import_datasets()
    kinds = {"text": "large_string", "label": "large_string", "line": "int64"}
    features = datasets.Features({name: datasets.Value(kind) for name, kind in kinds.items()})
    found = []
    for file, kind in files:
        options = {
            "path": str(file.path),
            "name": file.name,
            "span": (file.start, file.end, file.chars, file.sha256),
            "kind": kind,
            "text_field": text_field,
            "label_field": label_field,
            "labelled": labelled,
            "reader": _READER,
        }
        data = _generate(datasets, options, features, cache)
        columns = Columns("text", "label" if labelled else None, "line")
        found.append(Rows(data, columns, file.name))
    return found


def _generate(datasets: Any, options: dict[str, Any], features: Any, cache: Path) -> Any:
    with storage_errors(cache):
        try:
            return datasets.Dataset.from_generator(
                _generator,
                features=features,
                gen_kwargs=options,
                cache_dir=str(cache / "datasets"),
            )
        except datasets.exceptions.DatasetGenerationError as error:
            cause = error.__cause__
            if isinstance(cause, RnnctlError | OSError):
                raise cause from None
            raise


def _generator(
    path: str,
    name: str,
    span: tuple[int, int, int, str],
    kind: str,
    text_field: str | None,
    label_field: str | None,
    labelled: bool,
    reader: int,
) -> Iterator[tables.Row]:
    """What `datasets` calls; its arguments are what the cached copy is known by."""
    start, end, chars, sha256 = span
    file = TextFile(name, Path(path), start, end, chars, sha256)
    return tables.rows(
        file, kind, text_field=text_field, label_field=label_field, labelled=labelled
    )


def read_parquet(
    paths: Sequence[Path],
    *,
    text_field: str | None,
    label_field: str | None,
    labelled: bool,
    cache: Path,
) -> list[Rows]:
    """Parquet tables, one collection per file. Raises: DataError, UsageError, StorageError."""
    datasets = import_datasets()
    found = []
    for path in paths:
        try:
            with storage_errors(cache):
                data = datasets.Dataset.from_parquet(str(path), cache_dir=str(cache / "datasets"))
        except (datasets.exceptions.DatasetGenerationError, ValueError) as error:
            raise DataError(
                f"{path} cannot be read as parquet: {error.__cause__ or error}",
                hint="write it again, or give csv or JSON lines",
            ) from error
        found.append(rows_of(data, str(path), text_field, label_field, labelled=labelled))
    return found


def rows_of(
    data: Any, name: str, text_field: str | None, label_field: str | None, *, labelled: bool
) -> Rows:
    """A `datasets.Dataset` as a collection. Raises: DataError, UsageError."""
    columns = list(data.column_names)
    text = pick_text(columns, text_field, name)
    label = pick_label(columns, label_field, name, text=text, needed=labelled)
    return Rows(data, Columns(text, label if labelled else None), name)
