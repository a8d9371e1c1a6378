"""Where commands that filter text read from and write to."""

from __future__ import annotations

import itertools
import json
import os
import stat
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from rnnctl.cli import console
from rnnctl.cli.console import ELSEWHERE
from rnnctl.data.packing import (
    OFFICE_SUFFIXES,
    Reads,
    Unpacked,
    archive_kind,
    compression,
    copy_stream,
    is_archive,
    refuse_office,
    unpack_archive,
)
from rnnctl.data.readers import file_readers
from rnnctl.data.sources import check_there, files_in, suffix_of
from rnnctl.data.text import check_known
from rnnctl.errors import DataError, UsageError
from rnnctl.storage import remove_leftovers, storing, unfinished

if TYPE_CHECKING:
    from rnnctl.inference.lines import Encoding
    from rnnctl.inference.records import Record, RecordReader, Wanted

    Windows = Iterator[list[Record]]

STDIN = "standard input"
PROMPT = "> "
Write = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Input:
    """A stream of bytes, unpacked, and what to call it in messages.

    suffix: how its name ends (".csv"). is_one_of_many: it lay in a folder or an archive.
    """

    name: str
    stream: Reads
    suffix: str = ""
    is_one_of_many: bool = False


def check(files: Sequence[Path], command: str, *, by_hand: bool = False) -> None:
    """Find missing files, and that there is nothing to read, before a model is loaded.

    by_hand: a person types the texts (see `typed`), so that nothing need be there yet.
    """
    if not files and not by_hand:
        stdin(command)
    for path in files:
        if str(path) == "-":
            stdin(command)
        else:
            check_there([path])


def stdin(command: str) -> BinaryIO:
    """Standard input as bytes. UsageError where it is a terminal and nobody asked for it."""
    if sys.stdin is None or sys.stdin.isatty():
        raise UsageError(
            "there is nothing to read: standard input is a terminal"
            if sys.stdin is not None
            else "there is nothing to read: standard input is closed",
            hint=f"name a file, or pipe text in: `echo some text | rnnctl {command}`",
        )
    return sys.stdin.buffer


def at_a_terminal() -> bool:
    """Whether a person can type: standard input is a terminal."""
    return sys.stdin is not None and sys.stdin.isatty()


def typed(answer: str) -> Windows:
    """Texts that a person types, one at a time, as the windows of a `RecordReader`."""
    from rnnctl.inference.records import Record

    for line, text in enumerate(typed_lines(f"type a text and press Enter for {answer}"), 1):
        yield [Record(line, text)]


def typed_lines(what: str) -> Iterator[str]:
    """Lines as a person types them, each only when it is asked for; Ctrl-D ends.

    The prompt goes to the terminal and never into a file. Lines typed before come back with the
    arrow keys where Python has readline.
    """
    console.note(f"{what}; Ctrl-D ends")
    with suppress(ImportError):
        import readline  # noqa: F401 - it changes what `input` does
    while True:
        try:
            if console.stdout_is_terminal():
                line = input(PROMPT)
            else:  # `input` would write its prompt into the pipe
                console.stderr_write(PROMPT)
                line = sys.stdin.readline()
                if not line:
                    raise EOFError
        except EOFError:
            console.stderr_write("\n")
            return
        except UnicodeDecodeError:
            console.warn("the line is not in the terminal's encoding and is ignored")
            continue
        yield line.rstrip("\r\n")


def stdin_has_text() -> bool:
    """Whether a pipe or a file is given as standard input (a service has neither)."""
    try:
        mode = os.fstat(0).st_mode
    except OSError:
        return False
    # A job of cron or systemd has /dev/null or a socket there, which nobody means as a text.
    return stat.S_ISFIFO(mode) or (stat.S_ISREG(mode) and os.fstat(0).st_size > 0)


def opened(files: Sequence[Path], command: str) -> Iterator[Input]:
    """Each source in turn: files, what folders and archives hold, and standard input for `-` or
    where none is named. What is compressed is unpacked as it is read.

    Raises: DataError.
    """
    for path in files or [Path("-")]:
        if str(path) == "-":
            yield from _streamed(STDIN, Reads(stdin(command)), "")
        elif path.is_dir() or (path.is_file() and _is_archive(path)):
            found, left_out = files_in(path)
            for warning in left_out:
                console.warn(warning.text)
            for source in found:
                yield from _file(source.path, source.name, is_one_of_many=True)
        else:
            yield from _file(path, str(path))


def _is_archive(path: Path) -> bool:
    with reading(str(path)):
        return is_archive(path)


def _file(path: Path, name: str, *, is_one_of_many: bool = False) -> Iterator[Input]:
    suffix = suffix_of(path)
    if suffix in OFFICE_SUFFIXES:
        refuse_office(path, name)
    try:
        with path.open("rb") as stream:
            reader = file_readers().get(suffix)
            if reader is not None:
                rows = Reads(_RecordLines(reader.records(path, name)))
                yield Input(name, rows, suffix, is_one_of_many)
            else:
                yield from _streamed(name, Reads(stream), suffix, is_one_of_many=is_one_of_many)
    except OSError as problem:
        raise _unreadable(name, problem) from problem


def _streamed(
    name: str, stream: Reads, suffix: str, *, is_one_of_many: bool = False
) -> Iterator[Input]:
    """One source, or those of an archive that comes through a pipe."""
    with reading(name):
        head = stream.peek()
        kind = compression(head)
        archive = archive_kind(stream, kind)
    if archive:
        # An archive is read by seeking (the list of a zip file stands at its end); a pipe cannot.
        with tempfile.TemporaryDirectory(prefix="rnnctl-") as folder:
            path = Path(folder) / "archive"
            copy_stream(stream, path)
            unpack_archive(path, Path(folder) / "files", name)
            for source in files_in(Path(folder) / "files")[0]:
                inside = source.path.relative_to(Path(folder) / "files")
                yield from _file(source.path, f"{name}/{inside}", is_one_of_many=True)
        return
    if b"\0" in head:  # other strange bytes are errors of their lines
        check_known(head, name)
    if kind:
        stream = Reads(Unpacked(stream, kind, name))
    yield Input(name, stream, suffix, is_one_of_many)


def whole_text(command: str, encoding: Encoding) -> bytes:
    """All of standard input in UTF-8: unpacked, with newlines, by its byte order mark if it has one
    and else from `encoding`."""
    from rnnctl.inference.lines import read_text

    with reading(STDIN):
        return b"".join(
            chunk
            for source in opened([], command)
            for chunk in read_text(source.stream, source.name, encoding)
        )


def windows(opened: Iterable[Input], wanted: Wanted) -> Iterator[tuple[str, Windows]]:
    """The name of each source, and its records, some at a time, as they come."""
    from rnnctl.inference.records import RecordReader

    for source in opened:
        named = source.is_one_of_many or wanted.unit == "file"
        reader = RecordReader(wanted, source.name, source.suffix, source.name if named else "")
        yield source.name, _windows(source, reader)


def _windows(source: Input, reader: RecordReader) -> Windows:
    """The records; what the source was found to be is said once, if it is no plain text."""
    with reading(source.name):
        for window in reader.windows(source.stream):
            if reader.note:
                console.note(console.from_here(reader.note))
                reader.note = ""
            yield window


def texts(opened: Iterable[Input], wanted: Wanted) -> Iterator[tuple[str, Iterator[bytes]]]:
    """The name and the content of each source, as UTF-8 with newlines."""
    from rnnctl.inference.lines import read_text

    for source in opened:
        with reading(source.name):
            yield source.name, read_text(source.stream, source.name, wanted.encoding)


def begun(sources: Iterator[Input], text_field: str | None) -> tuple[Iterator[Input], bool]:
    """The sources, and whether the first one begins as a table or JSON and not as running text."""
    from rnnctl.data.recognition import recognise
    from rnnctl.inference.lines import Lines

    first = next(sources)
    with reading(first.name):
        # Only looked at: whoever reads the source then begins at its first byte.
        head = first.stream.peek()
    window = next(iter(Lines(BytesIO(head))), [])
    sample = [line.text for line in window if not line.problem]
    fields = [text_field] if text_field else []
    found = recognise(sample, whole=False, suffix=first.suffix, fields=fields)
    return itertools.chain([first], sources), found.is_table


class _RecordLines:
    """The records of a file that has a reader of its own, as JSON lines, some at a time."""

    def __init__(self, records: Iterator[Mapping[str, Any]]) -> None:
        self._records = records

    def read(self, size: int = -1) -> bytes:
        """Some records; nothing at the end."""
        # Few enough that the first answers come soon, enough that the joining costs nothing.
        some = itertools.islice(self._records, 256)
        return "".join(f"{json.dumps(one, default=str)}\n" for one in some).encode()


@contextmanager
def reading(name: str) -> Iterator[None]:
    """Turn a failing read into an error that names the file; a closed pipe is none of ours."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as problem:
        raise _unreadable(name, problem) from problem


def _unreadable(name: str, problem: OSError) -> DataError:
    return DataError(f"cannot read {name}: {problem.strerror}", hint="check the file")


@contextmanager
def output(path: Path | None) -> Iterator[Write]:
    """A place to write records to as they are made: standard output, or a file.

    Each call is flushed. The file gets its name at the end; before, and after a failure, what
    stood there is untouched.
    """
    if not console.is_file(path):
        yield lambda text: console.stdout_write(text, flush=True)
        return
    final = console.behind_link(path)
    if final.exists() and not final.is_file():  # /dev/stdout, a named pipe
        with storing(path, ELSEWHERE):
            pipe = final.open("wb")
        with pipe:
            yield partial(_write_directly, pipe, path)
        return
    remove_leftovers(final.parent)
    with unfinished(final, hint=ELSEWHERE) as new:
        yield lambda text: new.write(text.encode("utf-8"), flush=True)
        new.become(final)


def _write_directly(pipe: BinaryIO, path: Path, text: str) -> None:
    with storing(path, ELSEWHERE):
        pipe.write(text.encode("utf-8"))
        pipe.flush()


def one_line(text: str) -> str:
    """Text as one tab-separated field: backslash, tab and line ends are escaped."""
    if "\\" in text:
        text = text.replace("\\", "\\\\")
    return text.replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")
