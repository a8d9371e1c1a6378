"""Tables as collections, kept by `datasets`: on disk, mapped into memory, converted once.

Everything here works without a network; only ``hub:`` corpora (`rnnctl.data.hub`) use it.
"""

from __future__ import annotations

import copy
import itertools
import logging
import os
from array import array
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rnnctl import integrity
from rnnctl.config import SourceKind
from rnnctl.data import records
from rnnctl.data.cache import files_below, kept_folder, storage_errors
from rnnctl.data.collections import in_blocks, numbered
from rnnctl.data.columns import Columns
from rnnctl.data.documents import Document
from rnnctl.data.labels import SEVERAL, NoLabelError, label_text
from rnnctl.data.readers import FileReader
from rnnctl.data.recognition import Format, recognise
from rnnctl.data.splitting import Digests, Indices, digest
from rnnctl.data.text import TextFile, beginning, changed
from rnnctl.errors import DataError, RnnctlError

SAMPLED_RECORDS = 1000
# A record may be a whole book, and a few of them tell enough.
_SAMPLED_CHARS = 1 << 20
_CUT = 1000  # characters of a cell that say enough of what it holds
_BLOCK = 1000
_READER = 4  # raise when `records` comes to read anything differently


class Table(Protocol):
    """A source with records: what its columns are called, a sample of its rows, all of them."""

    @property
    def name(self) -> str: ...

    @property
    def columns(self) -> tuple[str, ...]: ...

    @property
    def sample(self) -> Sequence[Mapping[str, Any]]:
        """The first rows."""
        ...

    @property
    def spread_sample(self) -> Sequence[Mapping[str, Any]]:
        """Rows from everywhere: a table may be sorted, and its beginning have one label only."""
        ...

    @property
    def format(self) -> Format | None:
        """How a table of text is written; None for any other."""
        ...

    def rows(self, columns: Columns) -> Rows:
        """The records that have text. Raises: DataError, StorageError."""
        ...


def import_datasets() -> Any:
    """The `datasets` module, silent and without telemetry."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # it tells of every retry
    import datasets

    datasets.disable_progress_bars()
    datasets.utils.logging.set_verbosity_error()
    return datasets


class Rows:
    """The rows of a data set that have text. `blank_lines` are the lines of those without.

    Where rows may lack a label, those that do are left out, and are in `unlabelled`.

    Raises: DataError for a text that is none, or a missing label.
    """

    def __init__(self, data: Any, columns: Columns, name: str, line: str | None = None) -> None:
        """line: the column that says where a row stands; by default they are counted."""
        self._data = data
        self._columns = columns
        self._line = line
        self._name = name
        self._names = getattr(data.features.get(columns.label), "names", None)
        kept, digests, codes, blank = array("q"), array("Q"), array("i"), array("q")
        without, without_digests, without_lines = array("q"), array("Q"), array("q")
        numbers: dict[str, int] = {}
        for row, (text, label, place, _) in enumerate(self._blocks(range(0, len(data), _BLOCK))):
            if text.strip() and columns.label and not label:
                without.append(row)
                without_digests.append(digest(text))
                without_lines.append(place)
            elif text.strip():
                kept.append(row)
                digests.append(digest(text))
                codes.append(numbers.setdefault(label, len(numbers)))
            else:
                blank.append(place)
        self._kept: Indices = np.frombuffer(kept, np.int64)
        self.blank_lines: Sequence[int] = blank
        self.digests: Digests = np.frombuffer(digests, np.uint64)
        self.label_names: tuple[str, ...] = ()
        self.strata: NDArray[np.int32] | None = None
        if columns.label:
            self.label_names, new = numbered(list(numbers))
            self.strata = new[np.array(codes, dtype=np.int64)] if len(codes) else np.empty(0, "i4")
        self._without = np.frombuffer(without, np.int64)
        self._without_digests: Digests = np.frombuffer(without_digests, np.uint64)
        self.unlabelled_lines: Sequence[int] = without_lines

    @property
    def unlabelled(self) -> Rows:
        """The rows that have text and no label."""
        found = copy.copy(self)
        found._kept, found.digests = self._without, self._without_digests
        found.label_names, found.strata = (), None
        return found

    def read(self, indices: Indices) -> Iterator[Document]:
        """The documents of these numbers, in this order."""
        loaded, block = -1, []
        rows = chain.from_iterable(self._kept[part].tolist() for part in in_blocks(indices))
        for row in rows:
            if row // _BLOCK != loaded:
                loaded = row // _BLOCK
                block = list(self._blocks([loaded * _BLOCK]))
            text, label, line, by = block[row % _BLOCK]
            where = f"{self._name}:{line}"
            yield Document(text, label or None, where, by)

    def _blocks(self, starts: Sequence[int]) -> Iterator[tuple[str, str, int, str | None]]:
        """Text, label, line and value to sort by of the rows of the blocks at `starts`."""
        c = self._columns
        # A block at a time: `datasets` takes long to hand out single rows.
        for start in starts:
            block = self._data[start : start + _BLOCK]
            texts = block[c.text]
            labels = block[c.label] if c.label else [""] * len(texts)
            counted = range(start + 1, start + 1 + len(texts))
            lines = block[self._line] if self._line else counted
            others = [records.value_text(v) for v in block[c.by]] if c.by else [None] * len(texts)
            for text, label, line, by in zip(texts, labels, lines, others, strict=True):
                read = records.cell_text(text, f"{self._name}:{line}", c.text)
                yield read, self._label(text, label, line), line, by

    def _label(self, text: object, value: Any, line: int) -> str:
        if not self._columns.label or not text or not str(text).strip():
            return ""
        if isinstance(value, str) and SEVERAL in value:  # as the copy of a table of text has them
            return value
        # Data sets of the hub number their labels, with -1 for one that is kept back.
        if self._names is not None and isinstance(value, int):
            if not 0 <= value < len(self._names):
                value = None
            else:
                return str(self._names[value])
        where, c = f"{self._name}:{line}", self._columns
        try:
            return label_text(value, where, str(c.label), c.separator)
        except NoLabelError:
            if c.unlabelled:
                return ""
            raise


@dataclass(frozen=True)
class TextTable:
    """A table that is written as text: csv, tsv, JSON, labelled lines."""

    file: TextFile
    format: Format
    cache: Path

    @property
    def name(self) -> str:
        return self.file.name

    @cached_property
    def sample(self) -> Sequence[Mapping[str, Any]]:
        """The first records. Raises: DataError at the first that is none."""
        found: list[Mapping[str, Any]] = []
        chars = 0
        for entry in itertools.islice(records.entries(self.file, self.format), SAMPLED_RECORDS):
            if entry.cells is None:
                raise DataError(f"{self.name}:{entry.line}: {entry.problem}", hint=entry.hint)
            found.append(entry.cells)
            chars += sum(len(cell) for cell in entry.cells.values() if isinstance(cell, str))
            if chars > _SAMPLED_CHARS:
                break
        return found

    @cached_property
    def spread_sample(self) -> Sequence[Mapping[str, Any]]:
        """Records at even distances, their cells cut, found by reading all of them."""
        found: list[Mapping[str, Any]] = []
        step = 1
        for number, entry in enumerate(records.entries(self.file, self.format)):
            if number % step or entry.cells is None:
                continue
            found.append({k: v[:_CUT] if isinstance(v, str) else v for k, v in entry.cells.items()})
            # How many there are is not known before the end: keep every second one, twice as far
            # apart from here on.
            if len(found) > 2 * SAMPLED_RECORDS:
                found, step = found[::2], 2 * step
        return found

    @property
    def columns(self) -> tuple[str, ...]:
        if self.format.kind in ("json", "jsonl"):
            return tuple(dict.fromkeys(key for cells in self.sample for key in cells))
        return self.format.columns

    def rows(self, columns: Columns) -> Rows:
        """See `Table`. A copy is kept under the content of the file and how it was read."""
        format = asdict(self.format)
        # Left out where they say nothing, so that copies of older versions are still found.
        newer = ("by", "separator", "unlabelled")
        named = {k: v for k, v in asdict(columns).items() if v or k not in newer}
        what = [self.file.sha256, format, named, self.file.name, _READER]
        make = partial(_convert, file=self.file, format=self.format, columns=columns)
        data = _converted(self.cache, what, make)
        label, by = ("label" if columns.label else None), ("by" if columns.by else None)
        kept = Columns("text", label, by, unlabelled=columns.unlabelled)
        return Rows(data, kept, self.name, "line")


def text_table(
    file: TextFile,
    cache: Path,
    *,
    suffix: str = "",
    given: SourceKind | None = None,
    fields: Collection[str] = (),
    labelled: bool = False,
) -> TextTable | None:
    """The table that a file is, by a sample of what it holds; None for text. See `recognise`."""
    sample = beginning(file)
    format = recognise(
        sample,
        whole=sum(len(text) + 1 for text in sample) >= file.chars,
        suffix=suffix,
        given=given,
        fields=fields,
        labelled=labelled,
    )
    return TextTable(file, format, cache) if format.is_table else None


def _convert(folder: Path, *, file: TextFile, format: Format, columns: Columns) -> None:
    datasets = import_datasets()
    # Large: a column of plain strings ends at 2 GB.
    kinds = {"text": "large_string", "label": "large_string", "line": "int64"}
    if columns.by is not None:
        kinds["by"] = "large_string"
    arguments = {"span": asdict(file), "format": asdict(format), "columns": asdict(columns)}
    try:
        datasets.Dataset.from_generator(
            _generator,
            features=datasets.Features({k: datasets.Value(v) for k, v in kinds.items()}),
            gen_kwargs=arguments,
            cache_dir=str(folder),
        )
    except datasets.exceptions.DatasetGenerationError as error:
        cause = error.__cause__
        # What our own generator raised comes wrapped.
        if isinstance(cause, RnnctlError | OSError):
            raise cause from None
        raise


def _generator(
    span: dict[str, Any], format: dict[str, Any], columns: dict[str, Any]
) -> Iterator[records.Row]:
    """What `datasets` calls to fill its copy."""
    file = TextFile(**span)
    found = records.rows(file, Format(**format), Columns(**columns))
    first = next(found, None)
    if first is None:
        raise _no_records(file.name)
    yield from chain([first], found)
    # After the last row, for only then is it certain that nothing changed meanwhile.
    file.verify()


def _no_records(name: object) -> DataError:
    return DataError(f"{name} holds no text", hint="use a table that has records")


@dataclass(frozen=True)
class DatasetTable:
    """A table of the `datasets` library."""

    data: Any
    name: str
    format: None = None

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(self.data.column_names)

    @cached_property
    def sample(self) -> Sequence[Mapping[str, Any]]:
        """The first rows."""
        return self._some(range(min(SAMPLED_RECORDS, len(self.data))))

    @cached_property
    def spread_sample(self) -> Sequence[Mapping[str, Any]]:
        """Rows at even distances."""
        return self._some(range(0, len(self.data), -(-len(self.data) // SAMPLED_RECORDS) or 1))

    def _some(self, numbers: range) -> list[Mapping[str, Any]]:
        columns = self.data[numbers]
        names = list(columns)
        return [dict(zip(names, row, strict=True)) for row in zip(*columns.values(), strict=True)]

    def rows(self, columns: Columns) -> Rows:
        """See `Table`."""
        return Rows(self.data, columns, self.name)


def parquet_table(path: Path, name: str, cache: Path) -> DatasetTable:
    """A parquet file. Raises: DataError, StorageError."""
    content = _sha256(path)
    make = partial(_load_parquet, path=path, content=content)
    return DatasetTable(_converted(cache, [content, "parquet"], make), name)


def _sha256(path: Path) -> str:
    try:
        return integrity.digest_of_file(path)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}", hint="check the path") from error


def _load_parquet(folder: Path, *, path: Path, content: str) -> None:
    """Raises: DataError for a table that is none, has no rows or is not what was hashed."""
    datasets = import_datasets()
    import pyarrow.parquet

    try:
        if not pyarrow.parquet.read_metadata(path).num_rows:
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


def _parquet_records(path: Path, name: str) -> Iterator[Mapping[str, Any]]:
    """The rows, some hundred at a time in memory. Raises: DataError."""
    import pyarrow
    import pyarrow.parquet

    try:
        for batch in pyarrow.parquet.ParquetFile(path).iter_batches(batch_size=256):
            yield from batch.to_pylist()
    except (pyarrow.ArrowException, ValueError) as error:
        raise DataError(
            f"{name} cannot be read as parquet: {error}", hint="write it again"
        ) from error


PARQUET = FileReader((".parquet",), _parquet_records, parquet_table)


def records_table(reader: FileReader, path: Path, name: str, cache: Path) -> Table:
    """The table that another reader than that of text makes of a file.

    Raises: DataError, StorageError.
    """
    if reader.table is not None:
        table: Table = reader.table(path, name, cache)
        return table
    # Whoever writes a reader changes it, and the copy was made by what it was before.
    what = [_sha256(path), reader.endings, integrity.digest_of_source(reader.records)]
    make = partial(_copy_records, reader=reader, path=path, name=name)
    return DatasetTable(_converted(cache, what, make), name)


def _copy_records(folder: Path, *, reader: FileReader, path: Path, name: str) -> None:
    datasets = import_datasets()
    found = list(reader.records(path, name))
    if not found:
        raise _no_records(name)
    columns = dict.fromkeys(key for record in found for key in record)
    values = {column: [record.get(column) for record in found] for column in columns}
    datasets.Dataset.from_dict(values).save_to_disk(str(folder))


def _converted(cache: Path, what: list[Any], make: Callable[[Path], None]) -> Any:
    """A table as `datasets` keeps it, from the cache if the copy there is what was written.

    The copy is found by its content: what `make` is given, such as paths, may differ.

    The copy is verified before it is opened: Arrow trusts its files, and a damaged one can bring
    the process down.
    """
    final = kept_folder(cache / "tables" / integrity.key(what), make)
    datasets = import_datasets()
    with storage_errors(final):
        parts = [p for p in files_below(final) if p.suffix == ".arrow"]
        return datasets.concatenate_datasets([datasets.Dataset.from_file(str(p)) for p in parts])
