"""The lines of a text file: they end at ``\\n`` and nowhere else, not at U+0085 or U+2028."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from rnnctl.data.textfile import TextFile
from rnnctl.errors import DataError

MAX_LINE = 64 << 20


def lines(file: TextFile) -> Iterator[tuple[int, str]]:
    """Number and text of every line, ended by newline only, without a carriage return.

    Raises: DataError for a line over 64 MB, or if the file was changed.
    """
    for number, text in enumerate(raw_lines(file), 1):
        yield number, text.rstrip("\n").removesuffix("\r")


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
