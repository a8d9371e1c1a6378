"""Opening plain text: found to be text, decoded, counted and hashed in one pass.

Whatever is compressed or not UTF-8 is written once, as UTF-8, into the cache; what follows sees
UTF-8 bytes of a file only, so that a text of any size is read in constant memory. What was found
out about a large or unpacked file is noted in the cache and believed until the file changes.
"""

from __future__ import annotations

import codecs
import hashlib
import io
import json
import lzma
import os
import time
import zlib
from dataclasses import asdict
from pathlib import Path
from typing import BinaryIO

from rnnctl.data.cache import HINT, storage_errors, write_cached
from rnnctl.data.textfile import (
    CHUNK,
    SAMPLE,
    Counter,
    TextFile,
    check_encoding,
    check_text,
    decoding_error,
)
from rnnctl.errors import DataError
from rnnctl.storage import Unfinished, remove_leftovers, unfinished

_SCAN_WORTH_KEEPING = 8 << 20
_SETTLED_NS = 3_000_000_000
_COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz"}
_BZIP2_BLOCKS = {b"1AY&SY", b"\x17rE8P\x90"}
SUFFIXES = {".gz": "gzip", ".bz2": "bzip2", ".xz": "xz"}


def open_text(path: Path, *, encoding: str, cache: Path, name: str | None = None) -> TextFile:
    """Find out all about a text file, unpacking and converting it into `cache` where needed.

    Raises: DataError for a file that is missing, unreadable, binary or wrongly encoded (with byte
    and line); StorageError if the cache cannot be written.
    """
    name = name or str(path)
    codec = check_encoding(encoding)
    try:
        stat = path.stat()
        note = cache / "scans" / f"{_note_name(path, stat, codec)}.json"
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


def _note_name(path: Path, stat: os.stat_result, codec: str) -> str:
    # The time of any change (ctime) shows what was written under a time that was then put back.
    times = (stat.st_mtime_ns, stat.st_ctime_ns)
    parts = (str(path.resolve()), stat.st_size, times, stat.st_ino, codec, 2)
    return hashlib.sha256(repr(parts).encode("utf-8", "surrogateescape")).hexdigest()[:32]


def _known_scan(note: Path, name: str) -> TextFile | None:
    try:
        record = json.loads(note.read_bytes())
        found = TextFile(**(record | {"name": name, "path": Path(record["path"])}))
        found.verify()
    except (OSError, ValueError, TypeError, KeyError, AttributeError, DataError):
        return None
    return found


def _keep_scan(note: Path, found: TextFile) -> None:
    record = asdict(found) | {"path": str(found.path.resolve())}
    write_cached(note, json.dumps(record).encode())


def _scan(file: BinaryIO, path: Path, name: str, codec: str, cache: Path) -> TextFile:
    kind = compression(file, path, name)
    if kind is None and codec == "utf-8":
        return _scan_in_place(file, path, name)
    return spool(unpacked(file, kind), name=name, codec=codec, cache=cache)


def compression(file: BinaryIO, path: Path, name: str) -> str | None:
    """How the file is packed, by its first bytes. Raises: DataError if its name says otherwise."""
    head = file.read(10)
    file.seek(0)
    kind = _kind_of(head)
    said = SUFFIXES.get(path.suffix.lower())
    if said and said != kind and head:
        raise DataError(f"{name} is not a {said} file", hint="rename it to what it is")
    return kind


def _kind_of(head: bytes) -> str | None:
    kind = next((kind for magic, kind in _COMPRESSED.items() if head.startswith(magic)), None)
    return None if kind == "bzip2" and head[4:10] not in _BZIP2_BLOCKS else kind


def spool_stream(stream: BinaryIO, *, name: str, codec: str, cache: Path) -> TextFile:
    """`spool` for a pipe, which may be packed too."""
    buffered = stream if isinstance(stream, io.BufferedReader) else io.BufferedReader(stream)  # type: ignore[type-var]
    kind = _kind_of(buffered.peek(10)[:10])
    return spool(unpacked(buffered, kind), name=name, codec=codec, cache=cache)


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


def _scan_in_place(file: BinaryIO, path: Path, name: str) -> TextFile:
    counter = Counter(name)
    mtime_ns = os.fstat(file.fileno()).st_mtime_ns
    size = 0
    start = 0
    while data := read_unpacked(file, 4 * CHUNK, name):
        if not size:
            check_text(data[:SAMPLE], name)
            start = 3 if data.startswith(codecs.BOM_UTF8) else 0
        counter.feed(data[start:] if not size else data)
        size += len(data)
    return TextFile(name, path, start, size, counter.chars, counter.finish(), mtime_ns)


def spool(stream: BinaryIO, *, name: str, codec: str, cache: Path) -> TextFile:
    """Write a stream into the cache as UTF-8, named by its content.

    Raises: DataError for text that is none, StorageError.
    """
    folder = cache / "text"
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    remove_leftovers(folder)
    with unfinished(folder / "text", private=True, hint=HINT) as new:
        counter, size = _transcode(stream, new, name, codec)
        sha = counter.finish()
        final = folder / f"{sha}.txt"
        new.become(final)
    return TextFile(name, final, 0, size, counter.chars, sha, final.stat().st_mtime_ns)


def _transcode(stream: BinaryIO, out: Unfinished, name: str, codec: str) -> tuple[Counter, int]:
    decoder = codecs.getincrementaldecoder(codec)()
    counter = Counter(name)
    offset, lines, size = 0, 1, 0
    while True:
        data = read_unpacked(stream, CHUNK, name)
        if not offset and not codec.startswith(("utf-16", "utf-32")):
            check_text(data[:SAMPLE], name)
        try:
            text = decoder.decode(data, not data)
            converted = text.encode("utf-8")
        except UnicodeDecodeError as error:
            raise decoding_error(name, error, data, offset, lines) from None
        except UnicodeEncodeError:
            raise DataError(f"{name}:{lines}: holds a lone surrogate, which is not text") from None
        except UnicodeError as error:
            raise DataError(
                f"{name} is not {codec}: {error}",
                hint="without a byte order mark it is utf-16-le or utf-16-be (utf-32-le, …)",
            ) from None
        if not size:
            converted = converted.removeprefix(codecs.BOM_UTF8)
        counter.feed(converted)
        out.write(converted)
        offset, lines, size = offset + len(data), lines + data.count(b"\n"), size + len(converted)
        if not data:
            return counter, size
