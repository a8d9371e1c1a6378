"""Lines as they arrive: what is readable now comes at once, and nothing waits for more.

A thread reads, so that this works for pipes, files and terminals on every system. Only the newline
ends a line (and the carriage return before it, or alone in an old Macintosh text): NUL and
Unicode's own separators are content. Memory is bounded by the longest line allowed, whatever comes
in.
"""

from __future__ import annotations

import codecs
import contextlib
import itertools
import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple

from rnnctl.data.packing import Reads
from rnnctl.data.text import SAMPLE, LineEnds, marked_encoding, shows_utf8
from rnnctl.errors import DataError

CHUNK_BYTES = 1 << 16  # as much as a pipe of Linux holds
CHUNKS_AHEAD = 16  # bounded: a fast writer must not fill the memory before a slow model
# Of a window: enough for full batches, few enough that its answers come soon.
WINDOW_LINES = 2048
WINDOW_BYTES = 1 << 20
MAX_LINE = 16_000_000
_LOOK_AGAIN_S = 0.1  # how soon the thread notices that nobody reads any more
_WIDE = ("utf-16", "utf-32")  # in which the byte of a newline may be a part of a character


class Line(NamedTuple):
    """One line without its newline. `problem` says why there is no text, if there is none."""

    number: int
    text: str
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Encoding:
    """How bytes become text, where no byte order mark says it.

    guessed: nobody asked for it here, so that a text that is UTF-8 is read as such.
    """

    codec: str = "utf-8"
    guessed: bool = False


UTF_8 = Encoding()


def read_chunks(stream: BinaryIO | Reads, size: int = CHUNK_BYTES) -> Iterator[bytes]:
    """What the stream has, as soon as it has something; ends with the stream. Raises OSError."""
    reads = stream if isinstance(stream, Reads) else Reads(stream)
    while data := reads.read(size):
        yield data


class Plain:
    """Bytes of a text without byte order mark and with newlines, as they pass.

    What is in two or four bytes a character becomes UTF-8; `codec` says what the rest is in.
    """

    def __init__(self, encoding: Encoding = UTF_8) -> None:
        self.codec = encoding.codec

    def chunks(self, given: Iterator[bytes]) -> Iterator[bytes]:
        """The same text."""
        first = next(given, b"")
        codec = marked_encoding(first[:4], self.codec)
        decoder = (
            codecs.getincrementaldecoder(codec)("replace") if codec.startswith(_WIDE) else None
        )
        self.codec = "utf-8" if decoder else codec
        ends: LineEnds | None = None
        data, last = first, not first
        while True:
            if decoder:
                data = decoder.decode(data, last).encode("utf-8", "replace")
            if ends is None:
                data = data.removeprefix(codecs.BOM_UTF8) if self.codec == "utf-8" else data
                ends = LineEnds(data[:SAMPLE])
            data = ends.feed(data, last=last)
            if data:
                yield data
            if last:
                return
            data = next(given, b"")
            last = not data


class Lines:
    """The lines of a stream, in windows. `open_end`: the last one had no newline."""

    def __init__(
        self,
        stream: BinaryIO | Reads,
        *,
        max_line: int = MAX_LINE,
        encoding: Encoding = UTF_8,
    ) -> None:
        self._stream = stream
        self._max_line = max_line
        self._encoding = encoding
        self.open_end = False

    def __iter__(self) -> Iterator[list[Line]]:
        """Windows of lines: all that can be read without waiting, at most WINDOW_LINES.

        A line of more than `max_line` bytes comes as a `Line` with a problem, and one that is
        wrongly encoded too. Raises OSError, DataError.
        """
        plain = Plain(self._encoding)
        with _Pump(plain.chunks(read_chunks(self._stream, CHUNK_BYTES))) as pump:
            splitter = _Splitter(self._max_line)
            decoder = _Decoder(self._encoding.guessed)
            for data in pump.gather():
                yield from _windows(splitter.feed(data), decoder, plain.codec)
            rest = splitter.finish()
            self.open_end = bool(rest)
            yield from _windows(rest, decoder, plain.codec)


def read_text(stream: BinaryIO | Reads, name: str, encoding: Encoding = UTF_8) -> Iterator[bytes]:
    """A whole text as UTF-8 with newlines, in parts as they come. What is malformed stays so, for
    whoever reads it to say where.

    Raises: DataError for bytes that are not in a named encoding, OSError.
    """
    plain = Plain(encoding)
    decoder: codecs.IncrementalDecoder | None = None
    for data in plain.chunks(read_chunks(stream)):
        if plain.codec == "utf-8":
            yield data
            continue
        if decoder is None:
            if encoding.guessed and shows_utf8(data):
                plain.codec = "utf-8"
                yield data
                continue
            decoder = codecs.getincrementaldecoder(plain.codec)()
        try:
            yield decoder.decode(data).encode("utf-8")
        except UnicodeError as error:
            raise DataError(
                f"{name} is not {plain.codec}: {error}", hint="name another: --encoding"
            ) from None


_Piece = tuple[int, bytes, str]  # number, content, problem


def _windows(pieces: list[_Piece], decoder: _Decoder, codec: str) -> Iterator[list[Line]]:
    for start in range(0, len(pieces), WINDOW_LINES):
        yield decoder.lines(pieces[start : start + WINDOW_LINES], codec)


class _Decoder:
    """Bytes of a line to its text. A guessed encoding gives way to UTF-8 where that fits."""

    def __init__(self, guessed: bool) -> None:
        self._undecided = guessed

    def lines(self, pieces: list[_Piece], codec: str) -> list[Line]:
        """What a million lines go through: no call for each that is as it should be."""
        found: list[Line] = []
        for number, data, problem in pieces:
            if not problem and not self._undecided:
                try:
                    found.append(Line(number, data.decode(codec)))
                    continue
                except UnicodeError:
                    pass
            found.append(self.line(number, data, problem, codec))
        return found

    def line(self, number: int, data: bytes, problem: str, codec: str) -> Line:
        if problem:
            return Line(number, "", problem)
        # It is no evidence for one encoding or the other, and leaves the question open.
        if data.isascii():
            return Line(number, data.decode("ascii"))
        if self._undecided and codec != "utf-8":
            try:
                return Line(number, data.decode("utf-8"))
            except UnicodeDecodeError:
                self._undecided = False
        try:
            return Line(number, data.decode(codec))
        except UnicodeError as error:
            name = "UTF-8" if codec == "utf-8" else codec
            at = error.start if isinstance(error, UnicodeDecodeError) else 0
            reason = error.reason if isinstance(error, UnicodeDecodeError) else str(error)
            found = f"malformed {name}: byte {at + 1} is 0x{data[at]:02x} ({reason})"
            return Line(number, "", found)


class _Pump:
    """The reading thread and the queue of chunks between it and us."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks: queue.Queue[bytes | OSError | DataError | None] = queue.Queue(CHUNKS_AHEAD)
        self._stopped = threading.Event()
        self._source = chunks
        # A daemon, for it may wait for a terminal or a pipe that never says anything again.
        self._thread = threading.Thread(target=self._work, name="rnnctl-reader", daemon=True)

    def __enter__(self) -> _Pump:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stopped.set()

    def gather(self) -> Iterator[bytes]:
        """All that is there now, up to about a window of lines or bytes, joined."""
        open_ended = True
        while open_ended:
            parts, size, ends = [], 0, 0
            item = self._chunks.get()
            while isinstance(item, bytes):
                parts.append(item)
                size += len(item)
                ends += item.count(b"\n")
                # Never wait for more than is there: a person may sit at the other end of the pipe.
                if size >= WINDOW_BYTES or ends >= WINDOW_LINES or self._chunks.empty():
                    break
                item = self._chunks.get()
            if parts:
                yield b"".join(parts)
            if isinstance(item, OSError | DataError):
                raise item
            open_ended = item is not None

    def _work(self) -> None:
        try:
            for data in self._source:
                if not self._put(data):
                    return
        except (OSError, DataError) as problem:
            # Raised where the lines are read: an exception of a thread is nobody's.
            self._put(problem)
        else:
            self._put(None)

    def _put(self, item: bytes | OSError | DataError | None) -> bool:
        while not self._stopped.is_set():
            with contextlib.suppress(queue.Full):
                self._chunks.put(item, timeout=_LOOK_AGAIN_S)
                return True
        return False


class _Splitter:
    """Cuts chunks at newlines; keeps an unfinished line, but never more than `max_line` of it."""

    def __init__(self, max_line: int) -> None:
        self._max_line = max_line
        self._held: list[bytes] = []
        self._size = 0  # bytes of the unfinished line so far, kept or not
        self._number = 0

    def feed(self, data: bytes) -> list[_Piece]:
        first, *others = data.split(b"\n")
        self._hold(first)
        if not others:
            return []
        pieces = [self._end()]
        rest = others.pop()
        if max(map(len, others), default=0) <= self._max_line:
            # The whole lines in the middle at once: nearly all there are, and a call for each is
            # slow.
            numbers = range(self._number + 1, self._number + 1 + len(others))
            pieces += zip(numbers, others, itertools.repeat(""))
            self._number += len(others)
        else:
            for part in others:
                self._hold(part)
                pieces.append(self._end())
        self._hold(rest)
        return pieces

    def finish(self) -> list[_Piece]:
        return [self._end()] if self._size else []

    def _hold(self, part: bytes) -> None:
        self._size += len(part)
        if self._size > self._max_line:
            self._held.clear()
        elif part:
            self._held.append(part)

    def _end(self) -> _Piece:
        self._number += 1
        data, size = b"".join(self._held), self._size
        self._held.clear()
        self._size = 0
        if size > self._max_line:
            problem = f"line of {size:,} bytes; --max-line allows {self._max_line:,}"
            return self._number, b"", problem
        return self._number, data, ""
