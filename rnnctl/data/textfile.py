"""UTF-8 text on disk: read in chunks, checked as it passes; errors that name byte and line."""

from __future__ import annotations

import codecs
import hashlib
import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from rnnctl.data.cache import ALWAYS_HASHED
from rnnctl.errors import DataError, UsageError

CHUNK = 1 << 20
SAMPLE = 1 << 16
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
_CONTROL = bytes(byte for byte in range(32) if byte not in b"\t\n\v\f\r\x1b") + b"\x7f"
_REFUSED_ENCODINGS = {"idna", "punycode", "unicode_escape", "raw_unicode_escape", "undefined"}


@dataclass(frozen=True, slots=True)
class TextFile:
    """UTF-8 text: bytes [start, end) of `path`. `sha256` is of exactly those bytes.

    mtime_ns: what the file's time was before it was hashed.
    """

    name: str
    path: Path
    start: int
    end: int
    chars: int
    sha256: str
    mtime_ns: int = 0

    def chunks(
        self, start: int | None = None, end: int | None = None, size: int = CHUNK
    ) -> Iterator[str]:
        """The text of bytes [start, end), in parts that end at a line's end where there is one.

        Raises: DataError if the file was changed since it was opened; for a change that shows in
        nothing but the content, after the last part.
        """
        self.verify(always=False)
        left = (self.end if end is None else end) - (self.start if start is None else start)
        try:
            with self.path.open("rb") as file:
                file.seek(self.start if start is None else start)
                yield from self._decode(file, left, size)
        except (OSError, UnicodeDecodeError) as error:
            raise self.changed() from error
        self.verify()

    def verify(self, *, always: bool = True) -> None:
        """Raises: DataError if these are no longer the bytes that `sha256` was made of.

        A large file is hashed again only if it was touched, a small one `always`.
        """
        try:
            with self.path.open("rb") as file:
                stat = os.fstat(file.fileno())
                touched = (stat.st_size, stat.st_mtime_ns) != (self.end, self.mtime_ns)
                if not touched and not (always and self.end <= ALWAYS_HASHED):
                    return
                file.seek(self.start)
                found = _sha256(file, self.end - self.start)
        except OSError as error:
            raise self.changed() from error
        if found != self.sha256:
            raise self.changed()

    def _decode(self, file: BinaryIO, left: int, size: int) -> Iterator[str]:
        held = b""
        while left:
            data = file.read(min(size, left))
            if not data:
                raise self.changed()
            left -= len(data)
            held += data
            cut = len(held) if not left else held.rfind(b"\n") + 1 or _whole_characters(held)
            yield held[:cut].decode("utf-8")
            held = held[cut:]

    def changed(self) -> DataError:
        """What to say of a file that is not what it was."""
        return changed(self.name)


def changed(name: str) -> DataError:
    """The error for a file that is not what it was when it was opened."""
    return DataError(
        f"{name} was changed or removed while it was read",
        hint="run the command again once nothing else writes to it",
    )


def _sha256(file: BinaryIO, left: int) -> str:
    """Of the next `left` bytes."""
    sha = hashlib.sha256()
    while data := file.read(min(CHUNK, left)):
        sha.update(data)
        left -= len(data)
    return sha.hexdigest()


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


class Counter:
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


def check_text(sample: bytes, name: str) -> None:
    """Raises: DataError if the beginning of a file shows that it is no text in one-byte units."""
    nulls = sample.count(0)
    what = next((what for magic, what in _MAGIC.items() if sample.startswith(magic)), None)
    if what and (nulls or not _is_utf8(sample)):
        raise DataError(f"{name} is {what}, not text", hint="give text, a table or a folder")
    if sample.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) and nulls * 100 > len(sample):
        raise DataError(f"{name}:1: byte 0 begins UTF-16, not UTF-8", hint="add --encoding utf-16")
    if nulls * 10 <= len(sample) and (nulls * 200 <= len(sample) or _is_utf8(sample)):
        _check_control(sample, name)
        return
    even = sample[::2].count(0)
    for share, codec in ((nulls - even, "utf-16-le"), (even, "utf-16-be")):
        if share > 0.95 * nulls and share * 10 > 3 * len(sample):
            raise DataError(
                f"{name} looks like UTF-16: {nulls} of its first {len(sample)} bytes are zero",
                hint=f"add --encoding {codec}",
            )
    raise DataError(
        f"{name} is binary: {nulls} of its first {len(sample)} bytes are zero",
        hint="give text, a table or a folder",
    )


def _check_control(sample: bytes, name: str) -> None:
    """Text in any encoding of one-byte units has few control characters; packed data has 11 %."""
    control = len(sample) - len(sample.translate(None, _CONTROL))
    if control * 20 > len(sample) and not _is_utf8(sample):
        raise DataError(
            f"{name} is binary: {control} of its first {len(sample)} bytes are control characters",
            hint="give text, a table or a folder",
        )


def _is_utf8(sample: bytes) -> bool:
    """But for a character cut off at the end."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(sample)
    except UnicodeDecodeError:
        return False
    return True
