"""Tables as collections, kept by `datasets`: on disk, mapped into memory, converted once.

Everything here works without a network; only ``hub:`` corpora (`rnnctl.data.hub`) use it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnctl.data import tables
from rnnctl.data.cache import (
    ALWAYS_HASHED,
    building,
    described,
    storage_errors,
    unaltered,
    write_cached,
)
from rnnctl.data.collections import in_blocks
from rnnctl.data.documents import Document
from rnnctl.data.fields import pick_fields
from rnnctl.data.splitting import Digests, Indices, digest
from rnnctl.data.textfile import TextFile, changed
from rnnctl.errors import DataError, RnnctlError

_BLOCK = 1000
_NOTE = "files.json"
_READER = 3  # raise when `tables` comes to read anything differently


@dataclass(frozen=True, slots=True)
class Columns:
    """What a table's columns mean; `label` None: there is none or it is not wanted."""

    text: str
    label: str | None
    line: str | None = None


def import_datasets() -> Any:
    """The `datasets` module, silent and without telemetry."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # it tells of every retry
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
        self._kept: Indices = np.frombuffer(kept, np.int64)
        self.blank = len(data) - len(kept)
        self.digests: Digests = np.frombuffer(digests, np.uint64)
        self.label_names: tuple[str, ...] = tuple(sorted(numbers)) if columns.label else ()
        self.strata: NDArray[np.int32] | None = None
        if columns.label:
            order = {label: i for i, label in enumerate(self.label_names)}
            new = np.array([order[label] for label in numbers], dtype=np.int32)
            self.strata = new[np.array(codes, dtype=np.int64)] if len(codes) else np.empty(0, "i4")

    def read(self, indices: Indices) -> Iterator[Document]:
        """The documents of these numbers, in this order."""
        loaded, block = -1, []
        rows = chain.from_iterable(self._kept[part].tolist() for part in in_blocks(indices))
        for row in rows:
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
    fields = {"text_field": text_field, "label_field": label_field, "labelled": labelled}
    columns = Columns("text", "label" if labelled else None, "line")
    found = []
    for file, kind in files:
        what = [file.sha256, kind, fields, file.name, _READER]
        make = partial(_convert, file=file, kind=kind, fields=fields)
        found.append(Rows(_converted(cache, what, make), columns, file.name))
    return found


def _convert(folder: Path, *, file: TextFile, kind: str, fields: dict[str, Any]) -> None:
    datasets = import_datasets()
    kinds = {"text": "large_string", "label": "large_string", "line": "int64"}
    span = (str(file.path), file.start, file.end, file.chars, file.sha256, file.mtime_ns)
    try:
        datasets.Dataset.from_generator(
            _generator,
            features=datasets.Features({k: datasets.Value(v) for k, v in kinds.items()}),
            gen_kwargs={"name": file.name, "span": span, "kind": kind, **fields},
            cache_dir=str(folder),
        )
    except datasets.exceptions.DatasetGenerationError as error:
        cause = error.__cause__
        if isinstance(cause, RnnctlError | OSError):
            raise cause from None
        raise


def _generator(
    name: str, span: tuple[str, int, int, int, str, int], kind: str, **fields: Any
) -> Iterator[tables.Row]:
    """What `datasets` calls to fill its copy."""
    path, start, end, chars, sha256, mtime_ns = span
    file = TextFile(name, Path(path), start, end, chars, sha256, mtime_ns)
    found = tables.rows(file, kind, **fields)
    first = next(found, None)
    if first is None:
        raise _no_records(name)
    yield from chain([first], found)
    file.verify()


def _no_records(name: object) -> DataError:
    return DataError(f"{name} holds no text", hint="give a table with records in it")


def read_parquet(
    paths: Sequence[Path],
    *,
    text_field: str | None,
    label_field: str | None,
    labelled: bool,
    cache: Path,
) -> list[Rows]:
    """Parquet tables, one collection per file. Raises: DataError, UsageError, StorageError."""
    found = []
    for path in paths:
        content = _sha256(path)
        make = partial(_load_parquet, path=path, content=content)
        data = _converted(cache, [content, "parquet"], make)
        found.append(rows_of(data, str(path), text_field, label_field, labelled=labelled))
    return found


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}", hint="check the path") from error


def _load_parquet(folder: Path, *, path: Path, content: str) -> None:
    """Raises: DataError for a table that is none, has no rows or is not what was hashed."""
    datasets = import_datasets()
    try:
        if _is_empty(path):
            raise _no_records(path)
        datasets.Dataset.from_parquet(str(path), cache_dir=str(folder))
    except (datasets.exceptions.DatasetGenerationError, ValueError) as error:
        if isinstance(error.__cause__, OSError):
            raise error.__cause__ from None
        raise DataError(
            f"{path} cannot be read as parquet: {error.__cause__ or error}",
            hint="write it again, or give csv or JSON lines",
        ) from error
    if _sha256(path) != content:
        raise changed(str(path))


def _is_empty(path: Path) -> bool:
    import pyarrow.parquet

    return bool(pyarrow.parquet.read_metadata(path).num_rows == 0)


def _converted(cache: Path, what: list[Any], make: Callable[[Path], None]) -> Any:
    """A table as `datasets` keeps it, from the cache if the copy there is what was written.

    The copy is found by its content: what `make` is given, such as paths, may differ.

    The copy is verified before it is opened: Arrow trusts its files, and a damaged one can bring
    the process down.
    """
    name = hashlib.sha256(json.dumps(what).encode()).hexdigest()[:32]
    final = cache / "tables" / name
    if not _intact(final):
        with building(final, _intact) as folder, storage_errors(folder):
            make(folder)
            files = {str(p.relative_to(folder)): described(p) for p in _files(folder)}
            write_cached(folder / _NOTE, json.dumps(files).encode())
    datasets = import_datasets()
    with storage_errors(final):
        parts = [p for p in _files(final) if p.suffix == ".arrow"]
        return datasets.concatenate_datasets([datasets.Dataset.from_file(str(p)) for p in parts])


def _files(folder: Path) -> list[Path]:
    """All but the note and what `datasets` locks."""
    found = [p for p in sorted(folder.rglob("*")) if p.is_file() and p.suffix != ".lock"]
    return [p for p in found if p.name != _NOTE]


def _intact(folder: Path) -> bool:
    try:
        said = json.loads((folder / _NOTE).read_bytes())
        always = sum(file["size"] for file in said.values()) <= ALWAYS_HASHED
        return [str(p.relative_to(folder)) for p in _files(folder)] == list(said) and all(
            unaltered(folder / name, file, always=always) for name, file in said.items()
        )
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return False


def rows_of(
    data: Any, name: str, text_field: str | None, label_field: str | None, *, labelled: bool
) -> Rows:
    """A `datasets.Dataset` as a collection. Raises: DataError, UsageError."""
    columns = list(data.column_names)
    text, label = pick_fields(columns, text_field, label_field, name, labelled=labelled)
    return Rows(data, Columns(text, label if labelled else None), name)
