"""`log.jsonl`: one line per event, each line sealed and chained to the one before.

Every line ends in `"crc"`, the CRC-32 of the line so far continued from the line before, so that
altered, missing and exchanged lines are found. Only a torn last line (the process was killed while
writing it) is dropped silently.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rnnctl import storage
from rnnctl.errors import CorruptRunError, RunError

_TAIL = re.compile(rb', "crc": "([0-9a-f]{8})"}\Z')
_TAIL_BYTES = len(', "crc": ""}') + 8
_MAX_LINE = 1 << 20


@dataclass(frozen=True, slots=True)
class LogPosition:
    """A place between two lines: bytes before it, and the chained checksum up to it."""

    bytes: int = 0
    crc: int = 0


class LogFile:
    """The log of one run. `position` is where the next line goes (writers only)."""

    def __init__(self, path: Path, position: LogPosition) -> None:
        self.path = path
        self.position = position
        self._pending: list[bytes] = []

    def add(self, event: dict[str, Any]) -> None:
        """Put one event in the log; it reaches the file at the next `flush`."""
        assert event and "crc" not in event
        # Without its closing brace, so that the checksum covers all that stands before it in the
        # line.
        body = json.dumps(event, ensure_ascii=False, allow_nan=False)[:-1].encode("utf-8")
        crc = zlib.crc32(body, self.position.crc)
        line = body + f', "crc": "{crc:08x}"}}\n'.encode()
        self._pending.append(line)
        self.position = LogPosition(self.position.bytes + len(line), crc)

    def flush(self, *, sync: bool = False) -> None:
        """Write what was added. StorageError when that fails."""
        data, self._pending = b"".join(self._pending), []
        if data or sync:
            storage.append(self.path, data, sync=sync)

    def rewind(self, position: LogPosition) -> None:
        """Forget everything after `position`: what a resumed training will do again."""
        self._pending = []
        if self.path.exists() and self.path.stat().st_size > position.bytes:
            storage.truncate(self.path, position.bytes)
        self.position = position


def read_log(path: Path, committed: LogPosition) -> Iterator[dict[str, Any]]:
    """Events of a log. CorruptRunError where a line does not fit the chain.

    A line that does not fit is forgiven only if it is the last one and lies behind `committed`,
    the place that the run vouches for.
    """
    crc = done = 0
    try:
        file = path.open("rb")
    except FileNotFoundError:
        if committed.bytes:
            raise CorruptRunError(f"{path} is missing") from None
        return
    except OSError as error:  # a folder, or not ours to read
        raise RunError(f"cannot read {path}: {error.strerror}") from error
    with file:
        # In lines of a bounded length: a damaged log may be one endless line.
        for number, line in enumerate(iter(partial(file.readline, _MAX_LINE), b""), 1):
            event = _parse(line, crc)
            if event is None:
                if done < committed.bytes or not _is_last(file, line):
                    raise CorruptRunError(f"{path}:{number} is altered or out of order")
                return
            crc = int(event.pop("crc"), 16)
            done += len(line)
            if done == committed.bytes and crc != committed.crc:
                raise CorruptRunError(f"{path}:{number} belongs to another log")
            yield event
    if done < committed.bytes:
        raise CorruptRunError(f"{path} is cut off: {done:,} of {committed.bytes:,} bytes")


def _is_last(file: Any, line: bytes) -> bool:
    return not line.endswith(b"\n") and file.read(1) == b""


def _parse(line: bytes, crc: int) -> dict[str, Any] | None:
    text = line.removesuffix(b"\n")
    match = _TAIL.search(text[-_TAIL_BYTES:])
    if not line.endswith(b"\n") or match is None:
        return None
    if zlib.crc32(text[:-_TAIL_BYTES], crc) != int(match.group(1), 16):
        return None
    try:
        event = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) else None
