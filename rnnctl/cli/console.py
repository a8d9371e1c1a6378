"""What commands print: data to stdout, everything else to stderr.

Colours follow the terminal, ``NO_COLOR`` and ``FORCE_COLOR``. Writing to a closed pipe raises
BrokenPipeError, which ``rnnctl.__main__`` ends quietly.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, TextIO, TypeGuard, cast

from rnnctl import storage
from rnnctl.errors import StorageError

if TYPE_CHECKING:
    from rich.console import Console

    from rnnctl.reports.blocks import Block
    from rnnctl.results.base import Result
    from rnnctl.results.pictures import Pictures

PIPE_WIDTH = 120  # columns of a table that goes into a file or a pipe
STYLES = {"error": "\x1b[1;31m", "warning": "\x1b[1;33m", "hint": "\x1b[1;36m", "note": ""}

# Not printable by themselves, but part of how Persian, Indic scripts and emoji are written.
_HARMLESS = "\n\t\u00a0\u200c\u200d"

ELSEWHERE = "choose another place with -o FILE; nothing was changed"

# Of the process, not handed through every call: whoever notes something need not know of it.
_quiet = False


def configure(*, quiet: bool) -> None:
    """Say whether notes and hints are wanted; `main` sets it back before each command."""
    global _quiet
    _quiet = quiet


def is_quiet() -> bool:
    """Whether notes, hints and progress are to be left out."""
    return _quiet


def stdout_write(text: str, *, flush: bool = False) -> None:
    """Write data to standard output as it is, without adding a line end."""
    if sys.stdout is None:
        raise StorageError("standard output is closed", hint="write to a file with -o FILE")
    try:
        sys.stdout.write(text)
        if flush:
            sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as problem:  # not to be taken for a failure of reading
        hint = "make room, or write to a file in another place with -o FILE"
        raise storage.cannot_write("standard output", problem, hint=hint) from problem


def stderr_write(text: str) -> None:
    """Write to standard error as it is: a prompt."""
    if sys.stderr is not None:
        stderr = _Forgiving()
        stderr.write(text)
        stderr.flush()


def is_file(output: Path | None) -> TypeGuard[Path]:
    """Whether `-o` names a place to write to; without it, or as ``-``, it is standard output."""
    return output is not None and str(output) != "-"


def stdout_is_terminal() -> bool:
    """Whether data goes to a person's screen."""
    return sys.stdout is not None and sys.stdout.isatty()


def stderr_console() -> Console:
    """The Rich console for progress displays. Text with square brackets must be escaped."""
    from rich.console import Console

    return Console(file=cast("IO[str]", _Forgiving()), highlight=False, soft_wrap=False)


class _Forgiving(io.TextIOBase):
    """Standard error, whose loss ends nothing: who no longer watches still wants the result.

    It is the stream of the moment when this is made: while a live display runs, `sys.stderr` is
    rich's, which prints above the display, and the display itself must not write to that.
    """

    def __init__(self) -> None:
        self._stream = sys.stderr

    def write(self, text: str) -> int:
        if self._stream is not None:
            with suppress(OSError):  # its reader has gone, or the disk is full
                self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        if self._stream is not None:
            with suppress(OSError):
                self._stream.flush()

    def isatty(self) -> bool:
        return self._stream is not None and self._stream.isatty()

    def fileno(self) -> int:
        return self._stream.fileno()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return "utf-8"


def note(text: str) -> None:
    """Tell the person something, unless --quiet."""
    if not _quiet:
        _say("note", text, bare=True)


def hint(text: str) -> None:
    """Say what could be done next, unless --quiet."""
    if not _quiet:
        _say("hint", text)


def warn(text: str) -> None:
    """Say what the person must know, --quiet or not."""
    _say("warning", text)


def error(text: str, hint: str = "") -> None:
    """Print an error in the house's form: ``error: …``, an empty line, ``hint: …``."""
    _say("error", text)
    if hint:
        _say("hint", hint, before="\n")


def emit(
    result: Result,
    format: str = "table",
    output: Path | None = None,
    *,
    blocks: Callable[[Result], list[Block]] | None = None,
    pictures: Pictures | None = None,
) -> None:
    """Render a result and write it to standard output, or whole or not at all to a file.

    `blocks`: what makes blocks of it for a table, in the place of its report in the catalog.
    `pictures`: what a page for a browser shows beside it.
    """
    from rnnctl.reports import render

    # A file is the same whatever terminal it was made from: a fixed width, and no colours.
    to_screen = not is_file(output)
    text = render(
        result,
        format,
        width=stdout_width() if to_screen else PIPE_WIDTH,
        color=to_screen and wants_color(sys.stdout),
        blocks=blocks,
        pictures=pictures,
    )
    write(text, output)


def write(text: str, output: Path | None) -> None:
    """Write data to standard output, or whole or not at all to a file."""
    if is_file(output):
        write_file(output, text)
    else:
        stdout_write(text, flush=True)


def check_output(output: Path | None, option: str = "-o") -> None:
    """StorageError, before any work is done, for a place where no file can be written."""
    if not is_file(output):
        return
    # Asked before the work: nobody trains for an hour to be told that a folder is missing.
    if output.exists() and not output.is_file() and not output.is_dir():
        return  # /dev/stdout, a named pipe: nothing is made beside it
    folder = output.absolute().parent
    if output.is_dir() or not os.access(folder, os.W_OK):
        what = "it is a folder" if output.is_dir() else _why_not(folder)
        raise StorageError(f"cannot write {output}: {what}", hint=_elsewhere(option))


def _elsewhere(option: str) -> str:
    return ELSEWHERE.replace("-o", option)


def _why_not(folder: Path) -> str:
    return f"{folder} is not writable" if folder.is_dir() else f"there is no folder {folder}"


def stdout_width() -> int:
    """Columns to fill: COLUMNS, the terminal's, or PIPE_WIDTH."""
    if "COLUMNS" in os.environ or stdout_is_terminal():
        # Narrower than 40 no table can be read; then the terminal breaks the lines.
        return max(40, shutil.get_terminal_size((PIPE_WIDTH, 24)).columns)
    return PIPE_WIDTH


def wants_color(stream: TextIO | None) -> bool:
    """Whether to colour what goes to this stream (https://no-color.org)."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return stream is not None and stream.isatty() and os.environ.get("TERM") != "dumb"


def write_file(path: Path, text: str, option: str = "-o") -> None:
    """Write a text file whole or not at all. Raises StorageError, which names `option`.

    Something that exists and is no regular file (/dev/stdout, a named pipe) is written directly.
    """
    hint = _elsewhere(option)
    with storage.storing(path, hint):
        if path.exists() and not path.is_file():
            # A pipe or a device cannot be renamed into place.
            path.write_text(text, encoding="utf-8")
            return
        final = behind_link(path)
        storage.remove_leftovers(final.parent)
        storage.write_atomic(final, text.encode("utf-8"), hint=hint)


def behind_link(path: Path) -> Path:
    """The file that is meant by `path`: a link to it stays one. Otherwise as the user called it."""
    return path.resolve() if path.is_symlink() else path


def _say(kind: str, text: str, *, before: str = "", bare: bool = False) -> None:
    if sys.stderr is None:
        return
    label = "" if bare else f"{kind}: "
    if label and wants_color(sys.stderr):
        label = f"{STYLES[kind]}{label}\x1b[0m"
    stderr = _Forgiving()
    shown = printable(text)
    if stderr.isatty():
        columns = max(40, shutil.get_terminal_size((80, 24)).columns)
        # Terminals break lines in the middle of words, and of the commands that a hint gives.
        shown = folded(shown, columns, 0 if bare else len(f"{kind}: "))
    stderr.write(f"{before}{label}{shown}\n")
    stderr.flush()


def folded(text: str, columns: int, taken: int = 0) -> str:
    """The text in lines of at most `columns`, cut between words; the first begins behind `taken`.

    A command in backticks is never cut: a person copies it. One that is longer than a line begins
    a line, and the terminal breaks it.
    """
    lines = []
    for whole in text.split("\n"):
        line = ""
        for part in re.findall(r" *(?:`[^`]*`|[^ ])+| +$", whole):
            if line.strip() and taken + len(line) + len(part) > columns:
                lines.append(line)
                line, part, taken = "", part.lstrip(" "), 0
            line += part
        lines.append(line)
        taken = 0
    return "\n".join(lines)


def printable(text: str) -> str:
    """The text with control characters shown, so that a file's name cannot steer the terminal."""
    if text.replace("\n", "").isprintable():
        return text
    return "".join(
        char if char.isprintable() or char in _HARMLESS else ascii(char)[1:-1] for char in text
    )


def from_here(text: str) -> str:
    """A sentence that begins with a path, which is shortened where it lies below this folder."""
    return text.removeprefix(f"{Path.cwd()}{os.sep}")
