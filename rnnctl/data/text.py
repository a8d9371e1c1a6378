"""Plain text on disk: found to be text, decoded, counted and hashed in one pass, read in parts.

Whatever follows sees UTF-8 whose lines end with a newline. A file that is packed, in another
encoding or with other line ends is written once as such into the cache; all others are read where
they are, so that a text of any size takes constant memory. What was found out about a large or
converted file is noted in the cache and believed until the file changes.

Line ends: a carriage return before a newline is part of the line's end. A lone one is the end of
a line only in a text whose first 64 KB hold no newline (old Macintosh files), otherwise content.
"""

from __future__ import annotations

import codecs
import io
import itertools
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

from rnnctl import integrity
from rnnctl.data.cache import ALWAYS_HASHED, HINT, recall, remember, storage_errors
from rnnctl.data.packing import (
    CHUNK,
    OFFICE_SUFFIXES,
    Reads,
    check_suffix,
    compression,
    read_unpacked,
    refuse_office,
    unpacked,
)
from rnnctl.errors import DataError, UsageError, word
from rnnctl.storage import Unfinished, remove_leftovers, unfinished

SAMPLE = 1 << 16
MAX_LINE = 64 << 20
# What the kind of a source is decided on: lines and characters.
_FIRST_LINES, _FIRST_CHARS = 2000, 1 << 18
# Bytes. A smaller text is read again about as fast as a note of it.
_SCAN_WORTH_KEEPING = 8 << 20
# A file that was written a moment ago may change again without a change of its time, which some
# file systems keep in steps of two seconds.
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
    b"\xd0\xcf\x11\xe0": "a file of an office program (save it as text or CSV there)",
}
# Tabs, line ends, page breaks and the escape of coloured logs do occur in texts.
_CONTROL = bytes(byte for byte in range(32) if byte not in b"\t\n\v\f\r\x1b") + b"\x7f"
# Python has codecs that are no encodings of files: of host names and of string literals.
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
        decoder = codecs.getincrementaldecoder("utf-8")()
        held = ""
        while left:
            data = file.read(min(size, left))
            if not data:
                raise self.changed()
            left -= len(data)
            held += decoder.decode(data, not left)
            # To the last line end, so that a line comes in one part; one that is longer than a part
            # does not.
            cut = len(held) if not left else held.rfind("\n") + 1 or len(held)
            yield held[:cut]
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
    sha = integrity.hasher()
    while data := file.read(min(CHUNK, left)):
        sha.update(data)
        left -= len(data)
    return sha.hexdigest()


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
        self._sha = integrity.hasher()

    def feed(self, data: bytes) -> None:
        """Raises: DataError naming byte and line."""
        try:
            # With no half character held, ASCII need not be decoded to be counted.
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


def check_known(sample: bytes, name: str) -> None:
    """Raises: DataError if a file begins as a well-known kind of file does that is no text."""
    what = next((what for magic, what in _MAGIC.items() if sample.startswith(magic)), None)
    if what and (b"\0" in sample or not is_utf8(sample)):
        way = "give text, a table or a folder"
        if sample.startswith(b"%PDF"):
            way = f"convert it to text first, for instance with `pdftotext {word(name)}`"
        raise DataError(f"{name} is {what}, not text", hint=way)


def check_text(sample: bytes, name: str) -> None:
    """Raises: DataError if the beginning of a file shows that it is no text in one-byte units."""
    check_known(sample, name)
    # Text in one-byte units has next to no zeros. Of Latin text in UTF-16 every other byte is one,
    # and so all at even places or all at odd ones.
    nulls = sample.count(0)
    if nulls * 10 <= len(sample) and (nulls * 200 <= len(sample) or is_utf8(sample)):
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
    if control * 20 > len(sample) and not is_utf8(sample):
        raise DataError(
            f"{name} is binary: {control} of its first {len(sample)} bytes are control characters",
            hint="give text, a table or a folder",
        )


def utf8_length(text: str) -> int:
    """Bytes of `text` in UTF-8."""
    return len(text) if text.isascii() else len(text.encode("utf-8"))


def is_utf8(sample: bytes) -> bool:
    """But for a character cut off at the end."""
    return _from_utf8(sample) is not None


def shows_utf8(sample: bytes) -> bool:
    """Whether whole characters beyond ASCII are in UTF-8. One that is cut off at the end does not
    count: in another encoding it may be a whole one."""
    text = _from_utf8(sample)
    return text is not None and not text.isascii()


def _from_utf8(sample: bytes) -> str | None:
    """The text without a character cut off at the end; None if it is not UTF-8."""
    try:
        return codecs.getincrementaldecoder("utf-8")().decode(sample)
    except UnicodeDecodeError:
        return None


# -- opening -------------------------------------------------------------------------------


def open_text(path: Path, *, encoding: str, cache: Path, name: str | None = None) -> TextFile:
    """Find out all about a text file, unpacking and converting it into `cache` where needed.

    Raises: DataError for a file that is missing, unreadable, binary or wrongly encoded (with byte
    and line); StorageError if the cache cannot be written.
    """
    name = name or str(path)
    codec = check_encoding(encoding)
    if path.suffix.lower() in OFFICE_SUFFIXES and path.is_file():
        refuse_office(path, name)
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
        remember(note, asdict(found) | {"path": str(found.path.resolve())})
    return found


def _note_name(path: Path, stat: os.stat_result, codec: str) -> str:
    # The time of any change (ctime) shows what was written under a time that was then put back.
    times = (stat.st_mtime_ns, stat.st_ctime_ns)
    # The last number is to be raised when a scan comes to find anything else.
    return integrity.key([str(path.resolve()), stat.st_size, *times, stat.st_ino, codec, 3])


def _known_scan(note: Path, name: str) -> TextFile | None:
    try:
        record = recall(note) or {}
        found = TextFile(**(record | {"name": name, "path": Path(record["path"])}))
        found.verify()
    except (OSError, ValueError, TypeError, KeyError, AttributeError, DataError):
        return None
    return found


def _scan(file: BinaryIO, path: Path, name: str, codec: str, cache: Path) -> TextFile:
    head = Reads(file).peek(10)
    check_suffix(path, head, name)
    file.seek(0)
    if compression(head) is None and marked_encoding(head, codec) == "utf-8":
        found = _scan_in_place(file, path, name)
        if found:
            return found
        file.seek(0)
    return spool_stream(file, name=name, codec=codec, cache=cache)


def marked_encoding(head: bytes, codec: str) -> str:
    """The codec that a byte order mark at the beginning names, or else `codec`."""
    if head.startswith(codecs.BOM_UTF8):
        return "utf-8"
    # Before UTF-16, whose mark is the beginning of this one.
    if head.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return "utf-32"
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    return codec


class LineEnds:
    """Makes every line of UTF-8 text end with a newline alone, as its bytes pass.

    sample: its first 64 KB, which say whether a lone carriage return ends a line.
    """

    def __init__(self, sample: bytes) -> None:
        self._lone = b"\r" in sample and b"\n" not in sample
        self._held = b""

    def feed(self, data: bytes, *, last: bool = False) -> bytes:
        """The next bytes; a carriage return at their end waits for what follows."""
        data = self._held + data
        self._held = b""
        if b"\r" not in data:
            return data
        if data.endswith(b"\r") and not last:
            data, self._held = data[:-1], b"\r"
        data = data.replace(b"\r\n", b"\n")
        return data.replace(b"\r", b"\n") if self._lone else data


def _scan_in_place(file: BinaryIO, path: Path, name: str) -> TextFile | None:
    """The file as it stands; None if its line ends have to be converted."""
    counter = Counter(name)
    mtime_ns = os.fstat(file.fileno()).st_mtime_ns
    size = start = 0
    ends = b""
    while data := read_unpacked(file, 4 * CHUNK, name):
        if not size:
            check_text(data[:SAMPLE], name)
            start = 3 if data.startswith(codecs.BOM_UTF8) else 0
            if b"\r" in data[:SAMPLE] and b"\n" not in data[:SAMPLE]:
                return None
        # One byte is looked for ten times as fast as two.
        if (b"\r" in data and b"\r\n" in data) or (ends == b"\r" and data.startswith(b"\n")):
            return None
        counter.feed(data[start:] if not size else data)
        size, ends = size + len(data), data[-1:]
    return TextFile(name, path, start, size, counter.chars, counter.finish(), mtime_ns)


def spool_stream(stream: BinaryIO | Reads, *, name: str, codec: str, cache: Path) -> TextFile:
    """Write a stream, which may be compressed, into the cache as UTF-8 with newlines.

    It is named by its content there. Raises: DataError for text that is none, StorageError.
    """
    reads = stream if isinstance(stream, Reads) else Reads(stream)
    content = unpacked(reads, compression(reads.peek(10)))
    folder = cache / "text"
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    remove_leftovers(folder)
    with unfinished(folder / "text", private=True, hint=HINT) as new:
        counter, size = _transcode(content, new, name, codec)
        sha = counter.finish()
        final = folder / f"{sha}.txt"
        new.become(final)
    return TextFile(name, final, 0, size, counter.chars, sha, final.stat().st_mtime_ns)


def _transcode(
    stream: BinaryIO | Reads, out: Unfinished, name: str, codec: str
) -> tuple[Counter, int]:
    counter = Counter(name)
    offset, lines, size = 0, 1, 0
    decoder: codecs.IncrementalDecoder | None = None
    ends: LineEnds | None = None
    while True:
        data = _filled(stream, name)
        if decoder is None:
            codec = marked_encoding(data[:4], codec)
            decoder = codecs.getincrementaldecoder(codec)()
            if not codec.startswith(("utf-16", "utf-32")):
                check_text(data[:SAMPLE], name)
        try:
            converted = decoder.decode(data, not data).encode("utf-8")
        except UnicodeDecodeError as error:
            raise decoding_error(name, error, data, offset, lines) from None
        except UnicodeEncodeError:
            raise DataError(f"{name}:{lines}: holds a lone surrogate, which is not text") from None
        except UnicodeError as error:
            raise DataError(
                f"{name} is not {codec}: {error}",
                hint="without a byte order mark it is utf-16-le or utf-16-be (utf-32-le, …)",
            ) from None
        if ends is None:
            # Python's UTF-16 and UTF-32 take their mark away, its UTF-8 leaves it as a character.
            converted = converted.removeprefix(codecs.BOM_UTF8)
            ends = LineEnds(converted[:SAMPLE])
        converted = ends.feed(converted, last=not data)
        counter.feed(converted)
        out.write(converted)
        offset, lines, size = offset + len(data), lines + data.count(b"\n"), size + len(converted)
        if not data:
            return counter, size


def _filled(stream: BinaryIO | Reads, name: str) -> bytes:
    """The next megabyte, less only at the end: what comes first decides how the rest is read."""
    parts, left = [], CHUNK
    while left and (data := read_unpacked(stream, left, name)):
        parts.append(data)
        left -= len(data)
    return b"".join(parts)


def beginning(file: TextFile) -> list[str]:
    """The first lines of a text that say what it is: one at least, and not too many."""
    found: list[str] = []
    size = _FIRST_CHARS
    for _, text in itertools.islice(lines(file), _FIRST_LINES):
        size -= len(text) + 1
        if found and size < 0:
            break
        found.append(text)
    return found


# -- lines ---------------------------------------------------------------------------------


def lines(file: TextFile) -> Iterator[tuple[int, str]]:
    """Number and text of every line; a newline ends it, not U+0085 or U+2028.

    Raises: DataError for a line over 64 MB, or if the file was changed.
    """
    for number, text in enumerate(raw_lines(file), 1):
        yield number, text.removesuffix("\n")


def raw_lines(file: TextFile) -> Iterator[str]:
    """As they stand, and no further than the file reached when it was opened."""
    try:
        with file.path.open("rb") as raw:
            raw.seek(file.start)
            left = file.end - file.start
            for number in itertools.count(1):
                data = raw.readline(min(MAX_LINE, left))
                if not data:
                    return
                if len(data) == MAX_LINE:
                    raise _too_long(file, number)
                left -= len(data)
                yield data.decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise file.changed() from error


def _too_long(file: TextFile, number: int) -> DataError:
    return DataError(
        f"{file.name}:{number}: the line is longer than {MAX_LINE >> 20} MB",
        hint="is it really one record per line?",
    )
