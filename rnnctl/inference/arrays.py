"""Arrays that grow row by row into one file: ``.npz``, ``.safetensors`` or parquet.

A file of arrays begins with their shapes, which nobody knows before the last row. So the rows wait
until then: the first ones in memory, and where they become too many, each array in a file of its
own beside the one that is wanted, which is removed when it has been copied. Parquet is written in
groups of rows as they come. Memory holds tens of megabytes, whatever is written.
"""

from __future__ import annotations

import io
import json
import math
import struct
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from rnnctl import storage
from rnnctl.errors import DataError

Format = Literal["npz", "safetensors", "parquet"]
FORMATS: Final[tuple[Format, ...]] = ("npz", "safetensors", "parquet")
Columns = Mapping[str, NDArray[Any]]  # name -> (rows, …)
Item = int | str

_COPIED = 1 << 22  # bytes at once
_GROUP = 1 << 22  # numbers in a group of rows of parquet
_HELD = 1 << 26  # bytes of rows that wait in memory
_OBJECT = 256  # bytes that an array takes beside its numbers: most, where texts have one row each
_SAFE_TYPES = {"float32": "F32", "int32": "I32", "int64": "I64", "uint8": "U8"}
ELSEWHERE = "free some space, or write to another place with -o"


@dataclass(frozen=True)
class Facts:
    """What is said once about all rows: `layers`, and `about` in words.

    `vocabulary`: the texts of all tokens by id, where each row is a token; () where it is a text.
    """

    layers: tuple[int, ...]
    vocabulary: tuple[str, ...] = ()
    about: Mapping[str, str] = field(default_factory=dict)


class Writer(Protocol):
    """Takes the names of texts and rows that belong to them."""

    def item(self, name: Item) -> int:
        """A text begins: its name, a number or a text, as those before. -> its place."""
        ...

    def rows(self, item: int, columns: Columns) -> None:
        """Rows of that text; the same names, types and shapes (rows, …) every time."""
        ...


@contextmanager
def writer(path: Path, format: Format, facts: Facts) -> Iterator[Writer]:
    """A file at `path` that is there when the block has ended, and not after an error.

    Raises StorageError, DataError.
    """
    storage.remove_leftovers(path.parent)
    with storage.unfinished(path, hint=ELSEWHERE) as new:
        if format == "parquet":
            table = _Parquet(_Stream(new), facts)
            yield table
            table.close()
        else:
            with storage.temporary(path) as folder:
                with storage.storing(path, ELSEWHERE):
                    folder.mkdir()
                parts = _Parts(folder, facts)
                yield parts
                write = _write_npz if format == "npz" else _write_safetensors
                write(_Stream(new), parts, facts)
        new.become(path, durable=False)  # it can be made again


class _Stream(io.RawIOBase):
    """What is written goes on to a file under a temporary name."""

    def __init__(self, new: storage.Unfinished) -> None:
        self._new = new
        self._size = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._size

    def write(self, data: Any) -> int:
        size = memoryview(data).nbytes
        self._new.write(data)
        self._size += size
        return size


class _Items:
    """Counts the texts, which are either all numbered or all named."""

    def __init__(self) -> None:
        self._count = 0
        self._named = False

    def next(self, name: Item) -> int:
        """The place of the next text, from 0. DataError for a name among numbers."""
        named = isinstance(name, str)
        if self._count and named != self._named:
            raise DataError(
                f"some texts have names and others only numbers: {name!r}",
                hint="name the column that tells them apart with --id, or read them separately",
            )
        self._named = named
        self._count += 1
        return self._count - 1


class _Array:
    """The rows of one array: the first ones in a file of its own, the others in memory."""

    def __init__(self, path: Path, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
        self.dtype, self.rows = dtype, 0
        self._path, self._of_row = path, shape
        self._held: list[NDArray[Any]] = []
        self._in_file = False

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.rows, *self._of_row)

    @property
    def size(self) -> int:
        """Bytes."""
        return math.prod(self.shape) * self.dtype.itemsize

    def append(self, values: NDArray[Any]) -> None:
        """More rows, which nobody may change afterwards."""
        self._held.append(np.ascontiguousarray(values))
        self.rows += len(values)

    def store(self) -> None:
        """What is held goes to the file."""
        with self._path.open("ab") as file:
            for values in self._held:
                file.write(values.data)
        self._held.clear()
        self._in_file = True

    def chunks(self) -> Iterator[Any]:
        """Its bytes, which are gone when they have been read."""
        if self._in_file:
            with self._path.open("rb") as file:
                while data := file.read(_COPIED):
                    yield data
            self._path.unlink()
        for values in self._held:
            yield values.data.cast("B") if values.size else b""
        self._held.clear()


class _Parts:
    """The rows of all arrays, until the last one is known."""

    def __init__(self, folder: Path, facts: Facts) -> None:
        self.arrays: dict[str, _Array] = {}
        self.longest = 1  # name of a text, characters
        self._folder, self._facts, self._items = folder, facts, _Items()
        self._held = 0  # bytes in memory

    def item(self, name: Item) -> int:
        number = self._items.next(name)
        if isinstance(name, str):
            data = name.encode("utf-8", "replace")
            self.longest = max(self.longest, len(name))
            self._append("items_utf8", np.frombuffer(data, np.uint8))
            self._append("items_size", np.array([len(data)]))
        else:
            self._append("items", np.array([name]))
        return number

    def rows(self, item: int, columns: Columns) -> None:
        if self._facts.vocabulary:
            self._append("item", np.full(len(columns["id"]), item))
        for name, values in columns.items():
            self._append(name, values)

    def _append(self, name: str, values: NDArray[Any]) -> None:
        if name not in self.arrays:
            self.arrays[name] = _Array(self._folder / name, values.dtype, values.shape[1:])
        self.arrays[name].append(values)
        # Texts with one row each are millions of small arrays, whose objects weigh more than they
        # hold.
        self._held += values.nbytes + _OBJECT
        if self._held > _HELD:
            with storage.storing(self._folder, ELSEWHERE):
                for array in self.arrays.values():
                    array.store()
            self._held = 0


def _write_npz(out: _Stream, parts: _Parts, facts: Facts) -> None:
    """As `numpy.savez` does, with ``items`` as an array of texts where they have names."""
    arrays = dict(parts.arrays)
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:

        def add(
            name: str, dtype: np.dtype[Any], shape: tuple[int, ...], data: Iterable[bytes]
        ) -> None:
            # Nothing knows how large it becomes, and without zip64 4 GB are the end.
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                described = np.lib.format.dtype_to_descr(dtype)
                header = {"descr": described, "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(entry, header)
                for chunk in data:
                    entry.write(chunk)

        if "items_utf8" in arrays:
            texts, sizes = arrays.pop("items_utf8"), arrays.pop("items_size")
            kind = np.dtype(f"<U{parts.longest}")
            names = _names(texts.chunks(), sizes.chunks())
            add("items", kind, sizes.shape, (np.array(name, kind).tobytes() for name in names))
        for name, array in arrays.items():
            add(name, array.dtype, array.shape, array.chunks())
        once = {"layers": np.array(facts.layers)}
        if facts.vocabulary:
            once["vocabulary"] = np.array(facts.vocabulary)
        for name, values in once.items():
            add(name, values.dtype, values.shape, [values.tobytes()])


def _names(texts: Iterator[bytes], sizes: Iterator[bytes]) -> Iterator[str]:
    """The names of the texts, from their bytes one behind the other and their sizes."""
    held = b""
    for some in sizes:
        for size in np.frombuffer(some, np.int64).tolist():
            while len(held) < size:
                held += next(texts)
            yield held[:size].decode("utf-8")
            held = held[size:]


def _write_safetensors(out: _Stream, parts: _Parts, facts: Facts) -> None:
    """https://huggingface.co/docs/safetensors: the sizes of all arrays, then their bytes.

    It holds no texts: the names of the texts are bytes (``items_utf8``, ``items_size`` each), what
    is said once stands in the metadata, as JSON.
    """
    about = {**facts.about, "layers": json.dumps(facts.layers)}
    if facts.vocabulary:
        about["vocabulary"] = json.dumps(facts.vocabulary)
    header: dict[str, Any] = {"__metadata__": about}
    begin = 0
    for name, array in parts.arrays.items():
        kind, end = _SAFE_TYPES[array.dtype.name], begin + array.size
        header[name] = {"dtype": kind, "shape": array.shape, "data_offsets": [begin, end]}
        begin = end
    data = json.dumps(header).encode()
    # The arrays begin at a multiple of eight, as readers that map the file expect.
    data += b" " * (-len(data) % 8)
    out.write(struct.pack("<Q", len(data)) + data)
    for array in parts.arrays.values():
        for chunk in array.chunks():
            out.write(chunk)


class _Parquet:
    """A table with a column for each part and layer, ``h_1``: lists of H numbers."""

    def __init__(self, out: _Stream, facts: Facts) -> None:
        self._out, self._facts = out, facts
        self._items = _Items()
        self._name: Item = ""
        self._held: list[tuple[Item, Columns]] = []
        self._numbers = 0
        self._writer: Any = None

    def item(self, name: Item) -> int:
        self._name = name
        return self._items.next(name)

    def rows(self, item: int, columns: Columns) -> None:
        self._held.append((self._name, columns))
        self._numbers += sum(values.size for values in columns.values())
        if self._numbers >= _GROUP:
            self._write()

    def close(self) -> None:
        """Write what is left, and the table's end."""
        if self._held:
            self._write()
        if self._writer is not None:
            self._writer.close()

    def _write(self) -> None:
        """The rows that are held, as a group of rows."""
        import pyarrow
        import pyarrow.parquet

        held, self._held, self._numbers = self._held, [], 0
        sizes = [len(next(iter(columns.values()))) for _, columns in held]
        made = {"item": pyarrow.array(np.repeat(np.array([name for name, _ in held]), sizes))}
        for name in held[0][1]:
            values = np.concatenate([columns[name] for _, columns in held])
            if values.ndim == 1:
                made[name] = pyarrow.array(values)
                continue
            for place, layer in enumerate(self._facts.layers):
                flat = pyarrow.array(np.ascontiguousarray(values[:, place]).ravel())
                # Of a fixed size: readers make a matrix of it without looking at each row.
                column = pyarrow.FixedSizeListArray.from_arrays(flat, values.shape[2])
                made[f"{name}_{layer}"] = column
        if self._facts.vocabulary:
            ids = pyarrow.array(np.concatenate([columns["id"] for _, columns in held]))
            texts = pyarrow.DictionaryArray.from_arrays(ids, list(self._facts.vocabulary))
            made = {"item": made.pop("item"), "token": texts.cast(pyarrow.string()), **made}
        table = pyarrow.table(made)
        if self._writer is None:
            schema = table.schema.with_metadata(dict(self._facts.about))
            self._writer = pyarrow.parquet.ParquetWriter(
                self._out, schema, use_dictionary=["item", "token"], compression="none"
            )
        self._writer.write_table(table)
