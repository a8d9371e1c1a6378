"""Lines as they arrive: what is readable now comes at once, and nothing waits for more.

A thread reads, so that this works for pipes, files and terminals on every system. Only the newline
byte ends a line: NUL, carriage returns and Unicode's own separators are content. Memory is bounded
by the longest line allowed, whatever comes in.
"""

from __future__ import annotations

import contextlib
import io
import os
import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

CHUNK_BYTES = 1 << 16
CHUNKS_AHEAD = 16
WINDOW_LINES = 2048
WINDOW_BYTES = 1 << 20
MAX_LINE = 16_000_000
_LOOK_AGAIN_S = 0.1


@dataclass(frozen=True, slots=True)
class Line:
    """One line without its newline. `problem` says why there is no content, if there is none."""

    number: int
    data: bytes
    problem: str = ""


def read_chunks(stream: BinaryIO, size: int = CHUNK_BYTES) -> Iterator[bytes]:
    """What the stream has, as soon as it has something; ends with the stream. Raises OSError."""
    read = _reader(stream, size)
    while data := read():
        yield data


def read_lines(stream: BinaryIO, *, max_line: int = MAX_LINE) -> Iterator[list[Line]]:
    """Windows of lines: all that can be read without waiting, at most WINDOW_LINES.

    A line of more than `max_line` bytes comes as a `Line` with a problem. A missing newline at the
    end changes nothing. Raises OSError.
    """
    with _Pump(stream) as pump:
        splitter = _Splitter(max_line)
        for data in pump.gather():
            yield from _windows(splitter.feed(data))
        yield from _windows(splitter.finish())


def _windows(lines: list[Line]) -> Iterator[list[Line]]:
    for start in range(0, len(lines), WINDOW_LINES):
        yield lines[start : start + WINDOW_LINES]


def _reader(stream: BinaryIO, size: int) -> Callable[[], bytes]:
    """One system call's worth of bytes.

    Not through the stream's buffer where there is a file: its lock would be held by a thread that
    still waits when the process wants to end.
    """
    try:
        descriptor = stream.fileno()
    except (AttributeError, io.UnsupportedOperation):
        read1: Callable[[int], bytes] = getattr(stream, "read1", stream.read)
        return lambda: read1(size)
    return lambda: os.read(descriptor, size)


class _Pump:
    """The reading thread and the queue of chunks between it and us."""

    def __init__(self, stream: BinaryIO) -> None:
        self._chunks: queue.Queue[bytes | OSError | None] = queue.Queue(CHUNKS_AHEAD)
        self._stopped = threading.Event()
        self._stream = stream
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
                if size >= WINDOW_BYTES or ends >= WINDOW_LINES or self._chunks.empty():
                    break
                item = self._chunks.get()
            if parts:
                yield b"".join(parts)
            if isinstance(item, OSError):
                raise item
            open_ended = item is not None

    def _work(self) -> None:
        try:
            for data in read_chunks(self._stream):
                if not self._put(data):
                    return
        except OSError as problem:
            self._put(problem)
        else:
            self._put(None)

    def _put(self, item: bytes | OSError | None) -> bool:
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

    def feed(self, data: bytes) -> list[Line]:
        *ended, rest = data.split(b"\n")
        lines = []
        for part in ended:
            self._hold(part)
            lines.append(self._end())
        self._hold(rest)
        return lines

    def finish(self) -> list[Line]:
        return [self._end()] if self._size else []

    def _hold(self, part: bytes) -> None:
        self._size += len(part)
        if self._size > self._max_line:
            self._held.clear()
        elif part:
            self._held.append(part)

    def _end(self) -> Line:
        self._number += 1
        data, size = b"".join(self._held), self._size
        self._held.clear()
        self._size = 0
        if size > self._max_line:
            problem = f"line of {size:,} bytes; --max-line allows {self._max_line:,}"
            return Line(self._number, b"", problem)
        return Line(self._number, data)
