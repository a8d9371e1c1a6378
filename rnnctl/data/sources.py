"""Which files make up which split: what a folder holds, what the names say."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rnnctl.data.opentext import SUFFIXES
from rnnctl.errors import DataError
from rnnctl.results.base import Warning_

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
_LISTED = 5
_SHARD = re.compile(r"-\d+(-of-\d+)?$")


@dataclass(frozen=True, slots=True)
class Source:
    """A file, what to call it, and its kind: ".jsonl", ".txt", … (also of a.jsonl.gz).

    folder: the one that was given, or stands for a split, where the file was found below it.
    """

    path: Path
    name: str
    kind: str
    folder: Path | None = None

    @property
    def is_table(self) -> bool:
        """Whether it has records with fields."""
        return self.kind in TABLES


Layout = dict[str, list[Source]]


@dataclass(frozen=True, slots=True)
class Arrangement:
    """Files by split, and what should be said of how they were chosen."""

    files: Layout
    warnings: tuple[Warning_, ...] = ()


def source(path: Path, folder: Path | None = None) -> Source:
    """A file by its name."""
    return Source(path, str(path), _kind(path), folder)


def _kind(path: Path) -> str:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in SUFFIXES:
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


def split_name(name: str) -> str | None:
    """ "train", "valid" or "test" for the names in use for them."""
    return _NAMES.get(name.lower())


def arrange(paths: Sequence[Path]) -> Arrangement:
    """Files by split, or under "all" where neither folder nor names say which split.

    Raises: DataError for a path that does not exist, a folder without text, splits without train.
    """
    try:
        return _arrange(paths)
    except OSError as error:
        raise _unreadable(error) from error


def _arrange(paths: Sequence[Path]) -> Arrangement:
    check_there(paths)
    alone = len(paths) == 1 and paths[0].is_dir()
    return _once(_folder(paths[0]) if alone else _several(paths))


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


def _says_split(name: str) -> bool:
    """Whether it says so beyond doubt: ptb.train.txt does, train_timetable.txt does not."""
    return any(split_name(_SHARD.sub("", part)) for part in name.split("."))


def _grouped(files: Sequence[Source], names: Sequence[str | None]) -> Layout:
    layout: Layout = {}
    for file, name in zip(files, names, strict=True):
        if name:
            layout.setdefault(name, []).append(file)
    return layout


def _several(paths: Sequence[Path]) -> Arrangement:
    files = [
        file for path in paths for file in ([source(path)] if path.is_file() else _texts(path))
    ]
    names = [_split_in(file.path.name) for file in files]
    if len(files) == 1 or "train" not in names or None in names:
        return Arrangement({"all": files})
    if all(_says_split(file.path.name) for file in files):
        return Arrangement(_grouped(files, names))
    which = listed([f"{file.path.name} is {name}" for file, name in zip(files, names, strict=True)])
    text = f"the files' names say their splits: {which}; in one folder they would be one corpus"
    return Arrangement(_grouped(files, names), (Warning_(code="splits_by_name", text=text),))


def _folder(folder: Path) -> Arrangement:
    entries = [p for p in sorted(folder.iterdir()) if not p.name.startswith(".")]
    files = [p for p in entries if p.is_file() and _readable(p)]
    folders = [p for p in entries if p.is_dir()]
    stems = [_SHARD.sub("", file.name.split(".")[0]) for file in files]
    if "train" in map(split_name, stems):
        named = {file: stem for file, stem in zip(files, stems, strict=True) if split_name(stem)}
        found = {file: [source(file)] for file in named}
    elif "train" in (split_name(p.name) for p in folders):
        named = {p: p.name for p in folders if split_name(p.name)}
        found = {path: _texts(path) for path in named}
    else:
        return Arrangement({"all": _texts(folder)})
    _check_one_each(folder, named)
    left = [p for p in (*files, *folders) if p not in named and (p.is_file() or _holds_text(p))]
    layout: Layout = {}
    for path, stem in named.items():
        layout.setdefault(split_name(stem) or "", []).extend(found[path])
    return Arrangement(layout, _left_out(folder, named, left))


def _check_one_each(folder: Path, named: Mapping[Path, str]) -> None:
    """Raises: DataError where one split has two names, or files of two kinds."""
    for split in dict.fromkeys(map(split_name, named.values())):
        paths = [path for path, stem in named.items() if split_name(stem) == split]
        kinds = {(named[path].lower(), path.is_file() and _kind(path)) for path in paths}
        if len(kinds) > 1:
            raise DataError(
                f"{folder} has {split} twice: {', '.join(path.name for path in paths)}",
                hint="name the files that you mean",
            )


def _left_out(
    folder: Path, named: Mapping[Path, str], left: Sequence[Path]
) -> tuple[Warning_, ...]:
    if not left:
        return ()
    which = listed([f"{path.name} is {split_name(stem)}" for path, stem in named.items()])
    text = (
        f"{folder}: {which}, by the names; left out, for their names say no split: "
        f"{listed([path.name for path in left])}"
    )
    return (Warning_(code="left_out", text=text),)


def listed(names: Sequence[str]) -> str:
    """The first few, and how many more."""
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more


def _readable(path: Path) -> bool:
    return not _ABOUT.search(path.name) and _kind(path) in _TEXTS | TABLES


def _readable_below(folder: Path) -> Iterator[Path]:
    """But for what is hidden, and what lies in hidden folders."""
    for path in folder.rglob("*"):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if not hidden and _readable(path) and path.is_file():
            yield path


def _holds_text(folder: Path) -> bool:
    return next(_readable_below(folder), None) is not None


def _texts(folder: Path) -> list[Source]:
    """All text files below a folder, or all its tables."""
    found = sorted(_readable_below(folder))
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
    return [source(path, folder) for path in found]


def _once(given: Arrangement) -> Arrangement:
    """Without files that are given twice for one split; those given for two are named."""
    first: dict[tuple[int, int], tuple[str, Source]] = {}
    layout: Layout = {split: [] for split in given.files}
    twice: list[str] = []
    both: list[str] = []
    for split, file in ((split, file) for split, group in given.files.items() for file in group):
        stat = file.path.stat()
        before, same = first.setdefault((stat.st_dev, stat.st_ino), (split, file))
        again = same is not file and same.path.resolve() == file.path.resolve()
        if again and before == split:
            twice.append(file.name)
            continue
        if again:
            both.append(f"{file.name} is for {split} what {same.name} is for {before}")
        layout[split].append(file)
    said = list(given.warnings)
    if twice:
        text = f"given more than once, and read once: {listed(list(dict.fromkeys(twice)))}"
        said.append(Warning_(code="given_twice", text=text))
    if both:
        text = f"one file stands for two splits: {listed(both)}"
        said.append(Warning_(code="split_twice", text=text))
    return Arrangement(layout, tuple(said))
