"""Which files make up which split: what folders and archives hold, and what the names say.

A name says its split where one of its parts does: ``ptb.train.txt``, ``train_part1.csv``,
``20news-bydate-test/``. Names count only if one of them says train and another something else, so
that a single ``train.txt`` is a corpus like any other.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from rnnctl import integrity
from rnnctl.data.cache import cache_directory, kept_folder
from rnnctl.data.packing import SUFFIXES, is_archive, unpack_archive
from rnnctl.data.readers import file_readers
from rnnctl.data.recognition import TABLE_SUFFIXES
from rnnctl.data.text import TextFile, check_text, is_utf8
from rnnctl.errors import DataError
from rnnctl.results.base import Warning_
from rnnctl.wording import first_few, plural

_TEXTS = {".txt", ".text", ".md", ".rst", ".tex", ""}
# Files about a corpus, by the whole name: a chapter may be called "Notice" or "License to kill".
_ABOUT = re.compile(r"(\w+[_-])?readme|licen[cs]e|copying|changelog|citation|NOTICE", re.IGNORECASE)
_NOTICE = re.compile(r"NOTICE(\.txt|\.md)?")
_SPLIT_WORDS = {
    "train": "train training trn",
    "valid": "valid validation val dev devel development heldout holdout eval",
    "test": "test testing tst",
}
_SPLITS = {word: split for split, words in _SPLIT_WORDS.items() for word in words.split()}
_ENDING = re.compile(r"\.[A-Za-z][A-Za-z0-9]{0,9}")
# The end of train-00001-of-00012, test_part2, valid3.
_SHARD = re.compile(r"([-_]?(part|shard|fold)?[-_]?\d+)?(-of-\d+)?$")


@dataclass(frozen=True, slots=True)
class Source:
    """A file, what to call it, and how its name ends: ".jsonl", ".txt", … (also of a.jsonl.gz).

    folder: the one that was given, or stands for a split, where the file was found below it. text:
    what is known of a text that came through a pipe.
    """

    path: Path
    name: str
    suffix: str
    folder: Path | None = None
    text: TextFile | None = None

    @property
    def is_table(self) -> bool:
        """Whether its name says that it has records with fields."""
        return self.suffix in table_endings()


def table_endings() -> set[str]:
    """How the names of tables end."""
    return {*TABLE_SUFFIXES, *file_readers()}


Files = dict[str, list[Source]]


@dataclass(frozen=True, slots=True)
class Arrangement:
    """Files by split, or under "all", and what should be said of how they were chosen."""

    files: Files
    warnings: tuple[Warning_, ...] = ()


@dataclass(frozen=True, slots=True)
class _Found:
    """A file and the names that may say its split: its own, then those of the folders above."""

    source: Source
    names: tuple[str, ...]
    given: bool = False

    @property
    def telling(self) -> tuple[str, str] | None:
        """The name that says the split, and the split: an exact one before one among words."""
        found = (
            (name, split(name)) for split in (exact_split, _split_within) for name in self.names
        )
        return next(((name, split) for name, split in found if split), None)

    @property
    def split(self) -> str | None:
        return self.telling[1] if self.telling else None

    def of_its_split(self) -> Source:
        """The source with the folder that stands for its split, if one above it does."""
        for above in self.source.path.parents:
            if above == self.source.folder or self.source.folder is None:
                break
            if exact_split(above.name) or _split_within(above.name):
                return replace(self.source, folder=above)
        return self.source


@dataclass(slots=True)
class _LeftOut:
    """What of a folder is not read, by the reason."""

    endings: Counter[str] = field(default_factory=Counter)
    about: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    runs: list[str] = field(default_factory=list)
    no_split: Counter[str] = field(default_factory=Counter)

    def warning(self, used: int) -> tuple[Warning_, ...]:
        """One warning that names them by kind; none if there are none."""
        said = []
        if self.endings:
            count = plural(self.endings.total(), "file")
            said.append(f"{count} with unknown endings ({first_few(sorted(self.endings))})")
        if self.no_split:
            count = plural(self.no_split.total(), "file")
            said.append(f"{count} without a split in the name ({first_few(list(self.no_split))})")
        if self.about:
            said.append(f"by their names about the corpus, not part of it: {first_few(self.about)}")
        if self.broken:
            count = plural(len(self.broken), "broken link")
            said.append(f"{count} ({first_few(sorted(self.broken))})")
        if self.runs:
            said.append(f"{plural(len(self.runs), 'run')} of rnnctl: {first_few(self.runs)}")
        if not said:
            return ()
        text = f"{plural(used, 'file')} used; left out: {'; '.join(said)}"
        return (Warning_(code="left_out", text=text),)


def bundled(name: str = "paragraphs") -> Path:
    """Where the corpus that comes with the package lies: "paragraphs" or "reviews".

    Raises: DataError if the installation lacks it.
    """
    package = Path(__file__).parents[1]
    for root in (package / "bundled", package.parent / "data"):
        if (root / name).exists():
            return root / name
    raise DataError(f"the bundled corpus {name!r} is missing", hint="install rnnctl again")


def source(path: Path, folder: Path | None = None) -> Source:
    """A file by its name."""
    return Source(path, str(path), suffix_of(path), folder)


def suffix_of(path: Path) -> str:
    """How the name ends, without what says how the file is packed; "" for no letters."""
    ending = path.suffix
    if ending.lower() in SUFFIXES:
        ending = path.with_suffix("").suffix
    return ending.lower() if _ENDING.fullmatch(ending) else ""


def exact_split(name: str) -> str | None:
    """The split that a name, or what stands between its dots, is: ptb.train.txt, test-00001.csv."""
    parts = [_SHARD.sub("", part.lower(), count=1) for part in name.split(".")]
    found = {_SPLITS[part] for part in parts if part in _SPLITS}
    # A name that says two splits says none.
    return found.pop() if len(found) == 1 else None


def _split_within(name: str) -> str | None:
    """The split that a word of the name is: 20news-bydate-train, myTestData.csv."""
    words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)
    found = {_SPLITS[word.lower()] for word in words if word.lower() in _SPLITS}
    if re.search(r"held[-_ ]out", name, re.IGNORECASE):
        found.add("valid")
    return found.pop() if len(found) == 1 else None


def arrange(paths: Sequence[Path], cache: Path | None = None) -> Arrangement:
    """Files by split, or under "all" where neither folders nor names say which split.

    Archives are unpacked into the cache and read as folders.

    Raises: DataError for a path that does not exist, a folder without text.
    """
    try:
        check_there(paths)
        left = _LeftOut()
        found = [one for path in paths for one in _found(path, cache or cache_directory(), left)]
        layout = _by_split(found, left)
        for files in layout.values():
            _check_one_kind(files)
        used = sum(map(len, layout.values()))
        return _once(Arrangement(layout, (*_said_splits(found, layout), *left.warning(used))))
    except OSError as error:
        raise _unreadable(error) from error


def files_in(path: Path) -> tuple[list[Source], tuple[Warning_, ...]]:
    """What `path` holds, in order: the file itself, or the texts and tables of a folder or an
    archive; and what is said of the others.

    Raises: DataError for a folder without text.
    """
    left = _LeftOut()
    try:
        found = [one.source for one in _found(path, cache_directory(), left)]
    except OSError as error:
        raise _unreadable(error) from error
    return found, left.warning(len(found))


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


# -- splits ----------------------------------------------------------------------------------


def _by_split(found: Sequence[_Found], left: _LeftOut) -> Files:
    """By what the names say, if one says train and another something else, or is no part of it."""
    splits = [one.split for one in found]
    files = [one.source for one in found]
    others = set(splits) - {"train", None}
    trains = [one for one, split in zip(found, splits, strict=True) if split == "train"]
    if trains:
        _check_one_each(found)
    alone = not others and not _is_the_train_part(found, trains)
    if not trains or alone or len(found) == 1:
        return {"all": files}
    layout: Files = {}
    for one, split in zip(found, splits, strict=True):
        if split is None and not one.given:
            left.no_split[one.names[-2]] += 1
            continue
        layout.setdefault(split or "train", []).append(one.of_its_split())
    return layout


def _is_the_train_part(found: Sequence[_Found], trains: Sequence[_Found]) -> bool:
    """Whether a folder has files or a folder called train, and others that are no part of it."""
    exact = [one for one in trains if any(map(exact_split, one.names[:-1] or one.names))]
    return bool(exact) and len(exact) < len(found) and not any(one.given for one in found)


def _said_splits(found: Sequence[_Found], layout: Files) -> tuple[Warning_, ...]:
    """Which split every file is, where a name says it among other words."""
    loose = [one for one in found if one.split and not any(map(exact_split, one.names))]
    unnamed = [one for one in found if not one.split and one.given]
    if set(layout) == {"all"} or not (loose or unnamed):
        return ()
    telling = [(one.telling or (one.names[0], "train")) for one in (*loose, *unnamed)]
    each = dict.fromkeys(f"{name} is {split}" for name, split in telling)
    text = f"splits were recognised by name: {first_few(list(each))}"
    return (Warning_(code="splits_by_name", text=text),)


def _check_one_each(found: Sequence[_Found]) -> None:
    """Raises: DataError where one split of a folder has two names, or files of two kinds."""
    kinds: dict[tuple[Path, str | None, str], dict[tuple[str, str], str]] = {}
    for one in found:
        for above, name in enumerate(one.names):
            if exact_split(name):
                folder = one.source.path.parents[above]
                words = [_SHARD.sub("", part, count=1) for part in name.lower().split(".")]
                word = next(part for part in words if part in _SPLITS)
                rest = ".".join(part for part in words[:-1] if part not in _SPLITS)
                kind = (word, "" if above else f"{rest} {one.source.suffix}")
                kinds.setdefault((folder, one.split, rest), {}).setdefault(kind, name)
                break
    for (folder, split, _), names in kinds.items():
        # Such as train.csv and training.csv, of which one may be an older state of the other.
        if len(names) > 1:
            raise DataError(
                f"{folder} has two parts for {split}: {', '.join(names.values())}",
                hint="name the files that you mean",
            )


def _check_one_kind(files: Sequence[Source]) -> None:
    """Raises: DataError for a folder with both texts and tables."""
    texts = [file for file in files if file.folder and not file.is_table]
    tables = [file for file in files if file.folder and file.is_table]
    if texts and tables and texts[0].folder == tables[0].folder:
        raise DataError(
            f"{texts[0].folder} holds both text ({texts[0].path.name}) and tables "
            f"({tables[0].path.name})",
            hint="name the files you mean",
        )


# -- what folders and archives hold ----------------------------------------------------------


def _found(path: Path, cache: Path, left: _LeftOut) -> Iterator[_Found]:
    if path.is_dir():
        yield from _in_folder(path, str(path), left)
    elif is_archive(path):
        yield from _in_folder(_unpacked(path, cache), str(path), left)
    else:
        yield _Found(source(path), (path.name,), given=True)


def _unpacked(path: Path, cache: Path) -> Path:
    """The folder of the cache that holds what the archive does."""
    stat = path.stat()
    # Not by its content, which would have to be read to the end before anything is known.
    what = [str(path.resolve()), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]
    make = partial(unpack_archive, path, name=str(path))
    return kept_folder(cache / "archives" / integrity.key(what), make)


def _in_folder(folder: Path, name: str, left: _LeftOut) -> list[_Found]:
    """Everything below a folder that is text or a table. `name` is what to call the folder."""
    paths = sorted(_below(folder, left))
    tables = table_endings()
    known = [p for p in paths if suffix_of(p) in _TEXTS | tables]
    if not known:
        known = [p for p in paths if _is_text(p)]
    used = [p for p in known if not _is_about(p)]
    left.about += [p.name for p in known if p not in set(used)]
    left.endings.update(suffix_of(p) for p in paths if p not in set(known))
    if not used:
        raise DataError(
            f"{name} holds no text and no table",
            hint="text files end in .txt or .md (or .gz .bz2 .xz .zst after it), tables in "
            + " ".join(sorted(tables)),
        )
    return [_named(path, folder, name) for path in used]


def _named(path: Path, folder: Path, name: str) -> _Found:
    inside = path.relative_to(folder)
    names = (*reversed(inside.parts), Path(name).name)
    return _Found(Source(path, str(Path(name) / inside), suffix_of(path), folder), names)


def _below(folder: Path, left: _LeftOut) -> Iterator[Path]:
    """All files, also behind links; not what is hidden, and no runs of this program."""
    seen: set[tuple[int, int]] = set()
    for place, folders, files in os.walk(folder, onerror=_raised, followlinks=True):
        here = Path(place)
        stat = here.stat()
        if (stat.st_dev, stat.st_ino) in seen:  # a link that leads back
            folders.clear()
            continue
        seen.add((stat.st_dev, stat.st_ino))
        if here != folder and "current.json" in files and "config.json" in files:
            left.runs.append(here.name)
            folders.clear()
            continue
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for path in (here / name for name in files):
            # The second is the cache's list of what an archive held, see `cache.kept_folder`.
            if path.name.startswith(".") or path.name == "files.json":
                continue
            if path.is_file():
                yield path
            elif path.is_symlink():
                left.broken.append(path.name)


def _raised(error: OSError) -> None:
    """A folder that cannot be read is no empty one."""
    raise error


def _is_about(path: Path) -> bool:
    stem = path.name.partition(".")[0]
    if stem.lower() == "notice":
        return _NOTICE.fullmatch(path.name) is not None
    return _ABOUT.fullmatch(stem) is not None


def _is_text(path: Path) -> bool:
    """Whether a file with an unknown ending begins like text in UTF-8."""
    try:
        with path.open("rb") as file:
            sample = file.read(1 << 12)
        check_text(sample, str(path))
    except (OSError, DataError):
        return False
    return bool(sample.strip()) and is_utf8(sample)


def _once(given: Arrangement) -> Arrangement:
    """Without files that are given twice for one split; those given for two are named."""
    first: dict[tuple[int, int], tuple[str, Source]] = {}
    layout: Files = {split: [] for split in given.files}
    twice: list[str] = []
    both: list[str] = []
    for split, file in ((split, file) for split, group in given.files.items() for file in group):
        stat = file.path.stat()
        before, same = first.setdefault((stat.st_dev, stat.st_ino), (split, file))
        # By the path as well: a hard link with another name was made by somebody on purpose.
        again = same is not file and same.path.resolve() == file.path.resolve()
        if again and before == split:
            twice.append(file.name)
            continue
        if again:
            both.append(f"{file.name} is for {split} what {same.name} is for {before}")
        layout[split].append(file)
    said = list(given.warnings)
    if twice:
        text = f"named more than once, but read only once: {first_few(list(dict.fromkeys(twice)))}"
        said.append(Warning_(code="given_twice", text=text))
    if both:
        text = f"the same file is used for two splits: {first_few(both)}"
        said.append(Warning_(code="split_twice", text=text))
    return Arrangement(layout, tuple(said))


# -- folders whose names are labels ----------------------------------------------------------

# IMDb's archive keeps texts without labels beside pos/ and neg/.
_NO_LABEL = re.compile(r"unsup(ervised)?|unlabell?ed", re.IGNORECASE)


def in_label_folders(files: Sequence[Source]) -> tuple[set[str], tuple[Warning_, ...]]:
    """The names of the files that lie in folders of labels, and what is said of the others.

    Where a folder has folders of files, those are the labels, and files beside them have none.
    """
    parents = {file.folder for file in files if not _is_direct(file)}
    beside = [file for file in files if _is_direct(file) and file.folder in parents]
    without = [file for file in files if _NO_LABEL.fullmatch(file.path.parent.name)]
    left = {file.name for file in (*beside, *without)}
    folders = dict.fromkeys(f"{Path(file.name).parent}/" for file in without)
    names = [*folders, *(file.name for file in beside)]
    text = f"left out, because they are not in the folder of a label: {first_few(names)}"
    warnings = (Warning_(code="no_label_folder", text=text),) if left else ()
    return {file.name for file in files} - left, warnings


def _is_direct(file: Source) -> bool:
    """Whether it lies in the very folder that was given."""
    return file.path.parent == file.folder
