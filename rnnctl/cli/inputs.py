"""Where commands that filter text read from and write to."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

from rnnctl.cli import console
from rnnctl.cli.console import ELSEWHERE
from rnnctl.errors import DataError, UsageError
from rnnctl.storage import remove_leftovers, storing, unfinished

STDIN = "standard input"
Write = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Input:
    """A stream of bytes and what to call it in messages."""

    name: str
    stream: BinaryIO


def check(files: Sequence[Path], command: str) -> None:
    """Find missing files, and that there is nothing to read, before a model is loaded."""
    if not files:
        stdin(command)
    for path in files:
        if str(path) == "-":
            stdin(command)
        elif path.is_dir():
            raise DataError(f"{path} is a folder, not a file", hint=f"name its files: {path}/*")
        elif not path.exists():
            raise DataError(f"{path} does not exist", hint="check the path")


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


def stdin_has_text() -> bool:
    """Whether a pipe or a file is given as standard input (a service has neither)."""
    try:
        mode = os.fstat(0).st_mode
    except OSError:
        return False
    return stat.S_ISFIFO(mode) or (stat.S_ISREG(mode) and os.fstat(0).st_size > 0)


def opened(files: Sequence[Path], command: str) -> Iterator[Input]:
    """Each file in turn, `-` and none at all being standard input. Raises DataError."""
    for path in files or [Path("-")]:
        if str(path) == "-":
            yield Input(STDIN, stdin(command))
            continue
        try:
            with path.open("rb") as stream:
                yield Input(str(path), stream)
        except OSError as problem:
            raise _unreadable(str(path), problem) from problem


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
    if path is None or str(path) == "-":
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
