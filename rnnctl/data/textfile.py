"""Plain text on disk: found to be text, decoded, counted and hashed in one pass, read in chunks.

Whatever is compressed or not UTF-8 is written once, as UTF-8, into the cache; what follows sees
UTF-8 bytes of a file only, so that a text of any size is read in constant memory.
"""

from __future__ import annotations

import codecs
import hashlib
import io
import json
import lzma
import os
import tempfile
import time
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

from rnnctl.data.cache import storage_errors, write_atomically
from rnnctl.errors import DataError, UsageError

CHUNK = 1 << 20
_SAMPLE = 1 << 16
_SCAN_WORTH_KEEPING = 8 << 20
_SETTLED_NS = 3_000_000_000
_MAGIC = {
    b"PK\x03\x04": "a zip archive",
    b"%PDF": "a PDF document",
    b"\x89PNG": "a picture",
    b"\xff\xd8\xff": "a picture",
    b"\x7fELF": "a program",
    b"PAR1": "a parquet table (its name should end in .parquet)",
    b"ARROW1": "an Arrow file",
    b"SQLite format 3": "a database",
    b"\x28\xb5\x2f\xfd": "a zstandard file (unpack it first)",
}
_COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz"}
SUFFIXES = {".gz": "gzip", ".bz2": "bzip2", ".xz": "xz"}
_REFUSED_ENCODINGS = {"idna", "punycode", "unicode_escape", "raw_unicode_escape", "undefined"}


@dataclass(frozen=True, slots=True)
class TextFile:
    """UTF-8 text: bytes [start, end) of `path`. `sha256` is of exactly those bytes."""

    name: str
    path: Path
    start: int
    end: int
    chars: int
    sha256: str

    def chunks(
        self, start: int | None = None, end: int | None = None, size: int = CHUNK
    ) -> Iterator[str]:
        """The text of bytes [start, end), in parts that end at a line's end where there is one.

        Raises: DataError if the file was changed since it was opened.
        """
        left = (self.end if end is None else end) - (self.start if start is None else start)
        try:
            with self.path.open("rb") as file:
                file.seek(self.start if start is None else start)
                yield from self._decode(file, left, size)
        except (OSError, UnicodeDecodeError) as error:
            raise self._changed() from error

    def _decode(self, file: BinaryIO, left: int, size: int) -> Iterator[str]:
        held = b""
        while left:
            data = file.read(min(size, left))
            if not data:
                raise self._changed()
            left -= len(data)
            held += data
            cut = len(held) if not left else held.rfind(b"\n") + 1 or _whole_characters(held)
            yield held[:cut].decode("utf-8")
            held = held[cut:]

    def _changed(self) -> DataError:
        return DataError(
            f"{self.name} was changed or removed while it was read",
            hint="run the command again once nothing else writes to it",
        )


def _whole_characters(data: bytes) -> int:
    """Length of `data` without a character that is cut off at its end."""
    for back in range(1, min(4, len(data)) + 1):
        byte = data[-back]
        if byte & 0xC0 != 0x80:
            width = 1 if byte < 0x80 else 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return len(data) - back if width > back else len(data)
    return len(data)


def check_encoding(encoding: str) -> str:
    """The codec's own name. Raises: UsageError for one that does not exist or is no text."""
    try:
        name = codecs.lookup(encoding).name
        io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    except (LookupError, ValueError) as error:
        raise _no_encoding(encoding) from error
    if name.replace("-", "_") in _REFUSED_ENCODINGS:
        raise _no_encoding(encoding)
    return name


def _no_encoding(encoding: str) -> UsageError:
    return UsageError(
        f"--encoding {encoding!r:.60} is not a text encoding",
        hint="usual ones are utf-8, utf-16, cp1252, latin-1, shift_jis, gb18030, koi8-r",
    )


def open_text(path: Path, *, encoding: str, cache: Path, name: str | None = None) -> TextFile:
    """Find out all about a text file, unpacking and converting it into `cache` where needed.

    Raises: DataError for a file that is missing, unreadable, binary or wrongly encoded (with byte
    and line); StorageError if the cache cannot be written.
    """
    name = name or str(path)
    codec = check_encoding(encoding)
    try:
        stat = path.stat()
        note = cache / "scans" / f"{_scan_key(path, stat, codec)}.json"
        known = _known_scan(note, name)
        if known:
            return known
        with path.open("rb") as file:
            found = _scan(file, path, name, codec, cache)
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise DataError(f"{name}: {error.strerror}", hint="check the path") from error
    settled = time.time_ns() - stat.st_mtime_ns > _SETTLED_NS
    if settled and (found.path != path or found.end > _SCAN_WORTH_KEEPING):
        _keep_scan(note, found)
    return found


def _scan_key(path: Path, stat: os.stat_result, codec: str) -> str:
    parts = (str(path.resolve()), stat.st_size, stat.st_mtime_ns, stat.st_ino, codec, 1)
    return hashlib.sha256(repr(parts).encode("utf-8", "surrogateescape")).hexdigest()[:32]


def _known_scan(note: Path, name: str) -> TextFile | None:
    try:
        record = json.loads(note.read_bytes())
        stamp = record.pop("stamp")
        found = TextFile(**(record | {"name": name, "path": Path(record["path"])}))
        stat = found.path.stat()
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
    return found if [stat.st_size, stat.st_mtime_ns] == stamp else None


def _keep_scan(note: Path, found: TextFile) -> None:
    stat = found.path.stat()
    record = asdict(found) | {"path": str(found.path.resolve())}
    record["stamp"] = [stat.st_size, stat.st_mtime_ns]
    write_atomically(note, json.dumps(record).encode())


def _scan(file: BinaryIO, path: Path, name: str, codec: str, cache: Path) -> TextFile:
    kind = compression(file, path, name)
    if kind is None and codec == "utf-8":
        return _scan_in_place(file, path, name)
    return spool(unpacked(file, kind), name=name, codec=codec, cache=cache)


def compression(file: BinaryIO, path: Path, name: str) -> str | None:
    """How the file is packed, by its first bytes. Raises: DataError if its name says otherwise."""
    head = file.read(8)
    file.seek(0)
    kind = next((kind for magic, kind in _COMPRESSED.items() if head.startswith(magic)), None)
    said = SUFFIXES.get(path.suffix.lower())
    if said and said != kind and head:
        raise DataError(f"{name} is not a {said} file", hint="rename it to what it is")
    return kind


def unpacked(file: BinaryIO, kind: str | None) -> BinaryIO:
    """The file's content as a stream."""
    if kind == "gzip":
        import gzip

        return gzip.GzipFile(fileobj=file)  # type: ignore[return-value]
    if kind == "bzip2":
        import bz2

        return bz2.BZ2File(file)  # type: ignore[return-value]
    return lzma.LZMAFile(file) if kind == "xz" else file  # type: ignore[return-value]


UNPACKING_ERRORS = (EOFError, zlib.error, lzma.LZMAError, OSError)


def read_unpacked(stream: BinaryIO, size: int, name: str) -> bytes:
    """Up to `size` bytes. Raises: DataError for a damaged file."""
    try:
        return stream.read(size)
    except UNPACKING_ERRORS as error:
        raise DataError(
            f"{name} is damaged or cut off ({error})", hint="fetch or pack the file again"
        ) from error


class _Counter:
    """Checks and counts UTF-8 as it passes."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.chars = 0
        self._offset = 0
        self._lines = 1
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._sha = hashlib.sha256()

    def feed(self, data: bytes) -> None:
        """Raises: DataError naming byte and line."""
        try:
            if data.isascii() and not self._decoder.getstate()[0]:
                self.chars += len(data)
            else:
                self.chars += len(self._decoder.decode(data, not data))
        except UnicodeDecodeError as error:
            raise decoding_error(self.name, error, data, self._offset, self._lines) from None
        self._sha.update(data)
        self._offset += len(data)
        self._lines += data.count(b"\n")

    def finish(self) -> str:
        """The SHA-256 of all of it."""
        self.feed(b"")
        return self._sha.hexdigest()


def decoding_error(
    name: str, error: UnicodeDecodeError, data: bytes, offset: int, line: int
) -> DataError:
    """Which byte, in which line, and what to try; `data` begins at byte `offset` in line `line`."""
    before = len(error.object) - len(data)
    at = offset - before + error.start
    line += data.count(b"\n", 0, max(0, error.start - before))
    value = error.object[error.start] if error.start < len(error.object) else 0
    return DataError(
        f"{name}:{line}: byte {at} (0x{value:02x}) is not valid {error.encoding}: {error.reason}",
        hint="if the text is in another encoding, name it: --encoding cp1252 (Windows), "
        "latin-1, utf-16, shift_jis, gb18030, …",
    )


def _scan_in_place(file: BinaryIO, path: Path, name: str) -> TextFile:
    counter = _Counter(name)
    size = 0
    start = 0
    while data := read_unpacked(file, 4 * CHUNK, name):
        if not size:
            check_text(data[:_SAMPLE], name)
            start = 3 if data.startswith(codecs.BOM_UTF8) else 0
        counter.feed(data[start:] if not size else data)
        size += len(data)
    return TextFile(name, path, start, size, counter.chars, counter.finish())


def check_text(sample: bytes, name: str) -> None:
    """Raises: DataError if the beginning of a file shows that it is no text in one-byte units."""
    what = next((what for magic, what in _MAGIC.items() if sample.startswith(magic)), None)
    if what:
        raise DataError(f"{name} is {what}, not text", hint="give text, a table or a folder")
    nulls = sample.count(0)
    if sample.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) and nulls * 100 > len(sample):
        raise DataError(f"{name}:1: byte 0 begins UTF-16, not UTF-8", hint="add --encoding utf-16")
    if nulls * 50 <= len(sample):
        return
    even = sample[::2].count(0)
    for share, codec in ((nulls - even, "utf-16-le"), (even, "utf-16-be")):
        if share > 0.95 * nulls and share * 5 > len(sample):
            raise DataError(
                f"{name} looks like UTF-16: {nulls} of its first {len(sample)} bytes are zero",
                hint=f"add --encoding {codec}",
            )
    raise DataError(
        f"{name} is binary: {nulls} of its first {len(sample)} bytes are zero",
        hint="give text, a table or a folder",
    )


def spool(stream: BinaryIO, *, name: str, codec: str, cache: Path) -> TextFile:
    """Write a stream into the cache as UTF-8, named by its content.

    Raises: DataError for text that is none, StorageError.
    """
    folder = cache / "text"
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=".spool-", dir=folder)
    try:
        with os.fdopen(handle, "wb") as out:
            counter, size = _transcode(stream, out, name, codec)
        sha = counter.finish()
        final = folder / f"{sha}.txt"
        with storage_errors(final):
            Path(temporary).replace(final)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return TextFile(name, final, 0, size, counter.chars, sha)


def _transcode(stream: BinaryIO, out: BinaryIO, name: str, codec: str) -> tuple[_Counter, int]:
    decoder = codecs.getincrementaldecoder(codec)()
    counter = _Counter(name)
    offset, lines, size = 0, 1, 0
    while True:
        data = read_unpacked(stream, CHUNK, name)
        if not offset and not codec.startswith(("utf-16", "utf-32")):
            check_text(data[:_SAMPLE], name)
        try:
            text = decoder.decode(data, not data)
            converted = text.encode("utf-8")
        except UnicodeDecodeError as error:
            raise decoding_error(name, error, data, offset, lines) from None
        except UnicodeEncodeError:
            raise DataError(f"{name}:{lines}: holds a lone surrogate, which is not text") from None
        if not size:
            converted = converted.removeprefix(codecs.BOM_UTF8)
        counter.feed(converted)
        with storage_errors(Path(name)):
            out.write(converted)
            if not data:
                out.flush()
                os.fsync(out.fileno())
        offset, lines, size = offset + len(data), lines + data.count(b"\n"), size + len(converted)
        if not data:
            return counter, size
