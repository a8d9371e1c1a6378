"""Which files make up which split: what a folder holds, what the names say."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rnnctl.data.opentext import SUFFIXES
from rnnctl.errors import DataError

TABLES = {".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet"}
_TEXTS = {".txt", ".text", ".md", ".rst", ".tex", ""}
_ABOUT = re.compile(r"readme|licen[cs]e|copying|notice|changelog|citation", re.IGNORECASE)
_NAMES = {
    "train": "train",
    "training": "train",
    "valid": "valid",
    "validation": "valid",
    "val": "valid",
    "dev": "valid",
    "test": "test",
}
_SHARD = re.compile(r"-\d+(-of-\d+)?$")


@dataclass(frozen=True, slots=True)
class Source:
    """A file, what to call it, and its kind: ".jsonl", ".txt", … (also of a.jsonl.gz)."""

    path: Path
    name: str
    kind: str

    @property
    def is_table(self) -> bool:
        """Whether it has records with fields."""
        return self.kind in TABLES


Layout = dict[str, list[Source]]


def source(path: Path) -> Source:
    """A file by its name."""
    return Source(path, str(path), _kind(path))


def _kind(path: Path) -> str:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in SUFFIXES:
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


def split_name(name: str) -> str | None:
    """ "train", "valid" or "test" for the names in use for them."""
    return _NAMES.get(name.lower())


def arrange(paths: Sequence[Path]) -> Layout:
    """Files by split, or under "all" where neither folder nor names say which split.

    Raises: DataError for a path that does not exist, a folder without text, splits without train.
    """
    try:
        return _arrange(paths)
    except OSError as error:
        raise _unreadable(error) from error


def _arrange(paths: Sequence[Path]) -> Layout:
    check_there(paths)
    if len(paths) == 1 and paths[0].is_dir():
        layout = _folder(paths[0])
    else:
        files = [file for path in paths for file in ([path] if path.is_file() else _texts(path))]
        names = [_split_in(file.name) for file in files]
        several = len(files) > 1 and "train" in names and None not in names
        layout = _grouped(files, names) if several else {"all": files}
    return {name: [source(file) for file in files] for name, files in layout.items()}


def check_there(paths: Sequence[Path]) -> None:
    """DataError for the first path that does not exist, with the nearest one that does."""
    for path in paths:
        try:
            there = path.exists()
        except OSError as error:  # a name that is too long, a folder that may not be entered
            raise _unreadable(error) from error
        if not there:
            raise DataError(f"{path} does not exist", hint=_nearby(path))


def _unreadable(error: OSError) -> DataError:
    return DataError(f"{str(error.filename)[:200]}: {error.strerror}", hint="check the path")


def _nearby(path: Path) -> str:
    import difflib

    if not path.parent.is_dir():
        return f"there is no folder {path.parent} either"
    names = sorted(p.name for p in path.parent.iterdir())
    found = difflib.get_close_matches(path.name, names, 1, 0.75)
    if found:
        return f"did you mean {path.parent / found[0]}?"
    if 1 <= len(names) <= 6:
        return f"{path.parent} holds {', '.join(names)}"
    return "check the path"


def _split_in(name: str) -> str | None:
    """The split that a part of the name says: stsa.binary.train, my-test.csv."""
    parts = re.split(r"[._-]", name.lower())
    found = {_NAMES[part] for part in parts if part in _NAMES}
    return found.pop() if len(found) == 1 else None


def _grouped(files: Sequence[Path], names: Sequence[str | None]) -> dict[str, list[Path]]:
    layout: dict[str, list[Path]] = {}
    for file, name in zip(files, names, strict=True):
        if name:
            layout.setdefault(name, []).append(file)
    return layout


def _folder(folder: Path) -> dict[str, list[Path]]:
    entries = sorted(folder.iterdir())
    files = [p for p in entries if p.is_file() and _readable(p)]
    names = [split_name(_SHARD.sub("", file.name.split(".")[0])) for file in files]
    if "train" in names:
        layout = _grouped(files, names)
        for name, found in layout.items():
            if len({_kind(file) for file in found}) > 1:
                raise DataError(
                    f"{folder} has {name} twice: {', '.join(f.name for f in found)}",
                    hint="name the files that you mean",
                )
        return layout
    parts = {split_name(p.name): p for p in entries if p.is_dir()}
    if "train" in parts:
        return {name: _texts(path) for name, path in parts.items() if name}
    return {"all": _texts(folder)}


def _readable(path: Path) -> bool:
    return (
        not path.name.startswith(".")
        and not _ABOUT.search(path.name)
        and _kind(path) in _TEXTS | TABLES
    )


def _texts(folder: Path) -> list[Path]:
    """All text files below a folder, or all its tables."""
    found = [p for p in sorted(folder.rglob("*")) if p.is_file() and _readable(p)]
    texts = [p for p in found if _kind(p) not in TABLES]
    if texts and len(texts) < len(found):
        raise DataError(
            f"{folder} holds both text ({texts[0].name}) and tables", hint="name the files you mean"
        )
    if not found:
        raise DataError(
            f"{folder} holds no text and no table",
            hint="text files end in .txt or .md (or .gz .bz2 .xz after it), tables in "
            + " ".join(sorted(TABLES)),
        )
    return found
