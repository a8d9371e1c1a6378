"""From the names that the user gave to files by split, each looked into: is it text or a table?"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rnnctl.data.cache import storage_errors
from rnnctl.data.columns import FIRST_WORD
from rnnctl.data.packing import Reads, archive_kind, compression, copy_stream
from rnnctl.data.readers import file_readers
from rnnctl.data.request import Request
from rnnctl.data.sources import Arrangement, Files, Source, arrange, bundled
from rnnctl.data.tables import Table, records_table, text_table
from rnnctl.data.text import TextFile, check_encoding, open_text, spool_stream
from rnnctl.errors import UsageError


@dataclass(frozen=True, slots=True)
class Text:
    """A source that holds plain text."""

    source: Source
    file: TextFile


Opened = Mapping[str, Sequence[Text | Table]]


def find_files(asked: Request) -> Arrangement:
    """The files that the sources name, by split, those that come through a pipe as well.

    Raises: DataError for what does not exist, UsageError for what cannot be combined.
    """
    sources = asked.config.sources
    if not sources:
        corpus = bundled("reviews" if asked.labelled else "paragraphs")
        return Arrangement(arrange([corpus]).files)
    piped = [source for source in sources if source == "-" or _is_pipe(source)]
    found = arrange([Path(source) for source in sources if source not in piped], asked.cache)
    files, warnings = found.files, found.warnings
    if piped and set(files) - {"all"}:
        raise UsageError(
            f"{piped[0]} cannot be added to a corpus that already has splits",
            hint="leave one of them out, or add the text to the training file",
        )
    for source in reversed(piped):  # each goes before those that are there: the last one first
        came = _piped(asked, source)
        warnings += came.warnings
        if set(came.files) - {"all"}:
            if len(sources) > 1:
                raise UsageError(
                    f"{source} already has splits and cannot be added to a corpus",
                    hint="use it alone, or leave it out",
                )
            return Arrangement(came.files, warnings)
        files.setdefault("all", [])[:0] = came.files["all"]
    return Arrangement(files, warnings)


def _is_pipe(source: str) -> bool:
    """Such as the shell makes of ``<(command)``."""
    path = Path(source)
    try:
        return path.exists() and not path.is_file() and not path.is_dir()
    except OSError:
        return False


def _piped(asked: Request, source: str) -> Arrangement:
    """Standard input or a pipe. It can be read once: the cache has a file of it from then on."""
    if source != "-":
        with Path(source).open("rb") as pipe:
            return _spooled(asked, Reads(pipe), source)
    if asked.stdin is None:
        raise UsageError("there is no standard input to read", hint="name a file instead of -")
    return _spooled(asked, Reads(asked.stdin), "standard input")


def _spooled(asked: Request, stream: Reads, name: str) -> Arrangement:
    if not archive_kind(stream, compression(stream.peek(10))):
        codec = check_encoding(asked.config.encoding)
        file = spool_stream(stream, name=name, codec=codec, cache=asked.cache)
        return Arrangement({"all": [Source(file.path, name, "", text=file)]})
    with storage_errors(asked.cache):
        (asked.cache / "archives").mkdir(parents=True, exist_ok=True)
        folder = tempfile.mkdtemp(dir=asked.cache / "archives", prefix="piped-")
    # A tape archive could be read as it comes, but the directory of a zip archive is at its end.
    path = Path(folder) / "archive"
    copy_stream(stream, path)
    found = arrange([path], asked.cache)
    path.unlink()
    Path(folder).rmdir()
    files = {
        split: [replace(one, name=one.name.replace(str(path), name)) for one in group]
        for split, group in found.files.items()
    }
    return Arrangement(files, found.warnings)


def look_into(asked: Request, files: Files) -> Opened:
    """What each file is. In a folder of texts the first one stands for the others."""
    readers = file_readers()
    text_folders: set[Path] = set()
    found: dict[str, list[Text | Table]] = {}
    for split, group in files.items():
        found[split] = []
        for source in group:
            # By its name alone: what such a file holds only its reader knows.
            reader = readers.get(source.suffix)
            if reader is not None:
                table = records_table(reader, source.path, source.name, asked.cache)
                found[split].append(table)
                continue
            file = source.text or open_text(
                source.path, encoding=asked.config.encoding, cache=asked.cache, name=source.name
            )
            # Ten thousand files are not looked into one by one: a folder holds one kind of thing.
            in_folder = None if source.is_table else source.folder
            known = in_folder in text_folders
            made = None if known else _table(asked, source, file)
            if made is None and in_folder is not None:
                text_folders.add(in_folder)
            found[split].append(made or Text(source, file))
    return found


def _table(asked: Request, source: Source, file: TextFile) -> Table | None:
    config = asked.config
    given = "lines" if config.label_field == FIRST_WORD else config.read_as
    return text_table(
        file,
        asked.cache,
        suffix=source.suffix,
        # Without labels to look for, the lines of a text are documents and no table.
        given=None if given == "lines" and not asked.labelled else given,
        fields=[field for field in (config.text_field, config.label_field) if field],
        labelled=asked.labelled,
    )
