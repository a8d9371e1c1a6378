"""From what the user named to documents in three splits.

`Opener.open` is the way of every corpus: sources by split, what each of them is, collections of
documents, splits. What was decided on the way is said in `Corpus.notes` and kept in
`Corpus.reading`, so that a run's other commands read the same things alike.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np

from rnnctl import catalog, integrity
from rnnctl.config import CorpusConfig
from rnnctl.data.cache import cache_directory, storage_errors
from rnnctl.data.collections import (
    Collection,
    Relabelled,
    Selection,
    TextUnits,
    combine,
    everything,
)
from rnnctl.data.columns import FIRST_WORD, Columns, find_column, looks_labelled, pick_columns
from rnnctl.data.documents import SPLITS, Document, Reading
from rnnctl.data.labels import (
    SEVERAL,
    NoLabelError,
    NoLabelsError,
    in_order,
    labels_of,
    nearest,
    one_writing,
    resembling,
    said,
    several_labels,
    single_labels,
    unify,
)
from rnnctl.data.packing import Reads, archive_kind, compression, copy_stream
from rnnctl.data.readers import SchemeReader, file_readers, scheme
from rnnctl.data.recognition import few_first_words
from rnnctl.data.sources import Files, Source, arrange, in_label_folders
from rnnctl.data.splitting import (
    Digests,
    Indices,
    RunningText,
    Shares,
    assign,
    assign_folds,
    cut_text,
    parse_split,
    whole_text,
)
from rnnctl.data.tables import Rows, Table, records_table, text_table
from rnnctl.data.text import TextFile, beginning, check_encoding, open_text, spool_stream
from rnnctl.errors import DataError, UsageError, word
from rnnctl.results.base import Warning_
from rnnctl.wording import first_few, plural

_MANY_LABELS = 20
_SHOWN_LABELS = 12
_SHOWN_LINES = 3
_SHOWN_TABLES = 4
_NO_LABELS = ("", "-1", "?")  # what test files hold whose labels are kept back


@dataclass(frozen=True)
class Corpus:
    """Documents in the splits "train", "valid" and "test"; valid and test may be empty.

    running: every split is one running text; `documents` then gives consecutive parts of it, which
    are no documents. `fingerprint` is the SHA-256 of the content and how it was cut. `label_names`
    are in order, () for language models. `label_sets` are the sets of labels that occur, as
    `rnnctl.data.labels` writes them, where a text may have several; () elsewhere. `notes` say
    what was decided about the sources.
    """

    parts: Mapping[str, Iterable[Document]]
    running: bool
    description: str
    fingerprint: str
    label_names: tuple[str, ...] = ()
    label_sets: tuple[str, ...] = ()
    warnings: tuple[Warning_, ...] = ()
    notes: tuple[str, ...] = ()
    reading: Reading | None = None

    def documents(self, split: str) -> Iterator[Document]:
        """The documents of a split, or the parts of its running text, in order."""
        return iter(self.parts.get(split, ()))

    @classmethod
    def from_documents(
        cls, splits: Mapping[str, list[Document]], *, description: str = "documents in memory"
    ) -> Corpus:
        """A corpus of documents at hand."""
        fingerprint = integrity.digest_of(
            json.dumps([name, d.text, d.label]).encode()
            for name in SPLITS
            for d in splits.get(name, [])
        )
        labels = {d.label for documents in splits.values() for d in documents}
        names = () if None in labels else in_order(map(str, labels))
        sets = names if any(SEVERAL in name for name in names) else ()
        if sets:
            names = single_labels(sets)
        return cls(splits, False, description, fingerprint, names, sets)


def bundled(name: str = "paragraphs") -> Path:
    """Where the corpus that comes with the package lies: "paragraphs" or "reviews".

    Raises: DataError if the installation lacks it.
    """
    package = Path(__file__).parents[1]
    for root in (package / "bundled", package.parent / "data"):
        if (root / name).exists():
            return root / name
    raise DataError(f"the bundled corpus {name!r} is missing", hint="install rnnctl again")


def open_corpus(
    config: CorpusConfig,
    *,
    task: str = "lm",
    cache: Path | None = None,
    stdin: BinaryIO | None = None,
    trained: Reading | None = None,
    labels: Sequence[str] = (),
    other_labels: bool = False,
    by: str | None = None,
) -> Corpus:
    """Find, check and split what `config` names; nothing is kept in memory.

    trained: how the corpus of the run was read to which this one is given; its columns are read
    here too. labels: those that the run knows, () before there is a run; other_labels: whether
    documents may have others. by: a column whose values the documents are to carry.

    Raises: DataError, UsageError or StorageError, each saying what and where.
    """
    opener = _Opener(config, task, cache or cache_directory(), stdin)
    opener.trained, opener.known_labels = trained, tuple(labels)
    opener.other_labels = other_labels
    opener.by = by
    return opener.open()


@dataclass(frozen=True, slots=True)
class _Opened:
    """A source that was looked into: a table, or else a text."""

    source: Source
    file: TextFile | None
    table: Table | None


class _Opener:
    """Makes one `Corpus` of one `CorpusConfig`."""

    def __init__(
        self, config: CorpusConfig, task: str, cache: Path, stdin: BinaryIO | None
    ) -> None:
        self.config = config
        self.task = config.read_for or task
        self.labelled: bool = catalog.load("task", self.task).labelled
        self.texts_alone = self.labelled and not catalog.load("task", task).labelled
        self.unlabelled: list[Collection] = []  # texts without labels beside the labelled ones
        # Only where a language model is trained on them is a row without a label no mistake.
        self.may_lack_labels = self.labelled and config.unlabelled == "leave_out"
        self.cache = cache
        self.stdin = stdin
        self.shares = parse_split(config.split)
        self.hashes: dict[str, str] = {}
        self.spooled: dict[Path, TextFile] = {}
        self.unit = config.documents
        self.warnings: list[Warning_] = []
        self.notes: list[str] = []
        self.reading = Reading("text", config.documents, config.encoding)
        self.trained: Reading | None = None
        self.known_labels: tuple[str, ...] = ()
        self.other_labels = False
        self.by: str | None = None

    def open(self) -> Corpus:
        """See `open_corpus`."""
        corpus = self._found()
        return _texts_alone(corpus, self.unlabelled) if self.texts_alone else corpus

    def _found(self) -> Corpus:
        named = [source for source in self.config.sources if scheme(source)]
        if named:
            return self._of_scheme(named[0])
        # What a file is follows from what it holds, as far as that goes, and then from its name.
        opened = self._look_into(self._files())
        every = [one for group in opened.values() for one in group]
        if all(one.table for one in every):
            tables = {n: [o.table for o in group if o.table] for n, group in opened.items()}
            return self._tables(tables)
        if any(one.table for one in every):
            raise _mixed(every)
        if self.by is not None:
            raise _no_columns(self.by)
        files = {n: [o.file for o in group if o.file] for n, group in opened.items()}
        if self.labelled:
            return self._labelled_by_folder(opened, files)
        if self.config.read_as == "lines" and self.unit == "none":
            self.unit = "line"
        self._say_texts(files)
        self.reading = Reading("text", self.unit, self.config.encoding)
        if self.unit == "none":
            return self._running(files)
        return self._documents({n: TextUnits(f, self.unit) for n, f in files.items()})

    # -- sources ---------------------------------------------------------------------------------

    def _files(self) -> Files:
        sources = self.config.sources
        if not sources:
            # The bundled text is paragraphs that have nothing to do with one another.
            self.unit = "paragraph" if self.unit == "none" else self.unit
            return arrange([bundled("reviews" if self.labelled else "paragraphs")]).files
        piped = [source for source in sources if source == "-" or _is_pipe(source)]
        given = [Path(source) for source in sources if source not in piped]
        arrangement = arrange(given, self.cache)
        self.warnings += arrangement.warnings
        files = arrangement.files
        if piped and set(files) - {"all"}:
            raise UsageError(
                f"{piped[0]} cannot be added to a corpus that already has splits",
                hint="leave one of them out, or add the text to the training file",
            )
        # A pipe can be read once: it is copied into the cache and is a file from there on.
        for source in reversed(piped):
            came = self._piped(source)
            if set(came) - {"all"} and (given or len(piped) > 1):
                raise UsageError(
                    f"{source} already has splits and cannot be added to a corpus",
                    hint="use it alone, or leave it out",
                )
            if set(came) - {"all"}:
                return came
            files.setdefault("all", [])[:0] = came["all"]
        return files

    def _piped(self, source: str) -> Files:
        """Standard input or a pipe, as a file or what an archive holds."""
        if source != "-":
            with Path(source).open("rb") as pipe:
                return self._spooled(Reads(pipe), source)
        if self.stdin is None:
            raise UsageError("there is no standard input to read", hint="name a file instead of -")
        return self._spooled(Reads(self.stdin), "standard input")

    def _spooled(self, stream: Reads, name: str) -> Files:
        kind = compression(stream.peek(10))
        if archive_kind(stream, kind):
            with storage_errors(self.cache):
                (self.cache / "archives").mkdir(parents=True, exist_ok=True)
                folder = tempfile.mkdtemp(dir=self.cache / "archives", prefix="piped-")
            path = Path(folder) / "archive"
            copy_stream(stream, path)
            found = arrange([path], self.cache)
            self.warnings += found.warnings
            path.unlink()
            Path(folder).rmdir()
            return {
                split: [replace(s, name=s.name.replace(str(path), name)) for s in group]
                for split, group in found.files.items()
            }
        codec = check_encoding(self.config.encoding)
        file = spool_stream(stream, name=name, codec=codec, cache=self.cache)
        self.spooled[file.path] = file
        return {"all": [Source(file.path, name, "")]}

    def _look_into(self, files: Files) -> dict[str, list[_Opened]]:
        """What each file is. In a folder of texts the first one stands for the others."""
        found: dict[str, list[_Opened]] = {}
        readers = file_readers()
        text_folders: set[Path] = set()
        for split, group in files.items():
            found[split] = []
            for source in group:
                reader = readers.get(source.suffix)
                if reader is not None:
                    made = records_table(reader, source.path, source.name, self.cache)
                    found[split].append(_Opened(source, None, made))
                    continue
                file = self._text(source)
                table = None
                if source.folder is None or source.is_table or source.folder not in text_folders:
                    table = self._table(source, file)
                    if table is None and source.folder is not None and not source.is_table:
                        # Ten thousand files are not looked into one by one: a folder holds one kind
                        # of thing.
                        text_folders.add(source.folder)
                found[split].append(_Opened(source, file, table))
        return found

    def _table(self, source: Source, file: TextFile) -> Table | None:
        given = self.config.read_as
        if self.config.label_field == FIRST_WORD:
            given = "lines"
        if given == "lines" and not self.labelled:
            given = None
        return text_table(
            file,
            self.cache,
            suffix=source.suffix,
            given=given,
            fields=[f for f in (self.config.text_field, self.config.label_field) if f],
            labelled=self.labelled,
        )

    def _text(self, source: Source) -> TextFile:
        if source.path in self.spooled:
            return self.spooled[source.path]
        return open_text(
            source.path, encoding=self.config.encoding, cache=self.cache, name=source.name
        )

    # -- tables ----------------------------------------------------------------------------------

    def _tables(self, tables: Mapping[str, Sequence[Table]]) -> Corpus:
        first = tables.get("all") or tables["train"]
        # The training table decides on the columns; the other splits must have the same.
        columns = self._pick(first[0])
        given: dict[str, list[Collection]] = {}
        described: list[str] = []
        # Training first: its columns are the ones that the others must have.
        for split in sorted(tables, key=lambda name: name not in ("all", "train")):
            for table in tables[split]:
                own = columns if table is first[0] else self._like(table, first[0], columns, split)
                if own is None:
                    self._warn("no_labels", f"{table.name} has no labels and was left out")
                    continue
                rows = self._rows(table, own)
                if self.texts_alone and trained_on(split):
                    self.unlabelled += [rows.unlabelled] if rows.unlabelled_lines else []
                given.setdefault(split, []).append(rows)
                described.append(_described(table, own, rows, labelled=self.labelled))
        self._say_tables(described, given, first[0], columns)
        self._say_unlabelled(given)
        format = first[0].format
        self.reading = Reading(
            format.kind if format else "file",
            "record",
            self.config.encoding,
            header=format.header if format else True,
            columns=len(first[0].columns),
            text=columns.text,
            label=columns.label,
            place=list(first[0].columns).index(columns.text),
        )
        return self._documents({n: combine(group) for n, group in self._unified(given).items()})

    def _rows(self, table: Table, columns: Columns) -> Rows:
        """The records of a table. NoLabelError says what to do with one that lacks its label."""
        try:
            return table.rows(columns)
        except NoLabelError as problem:
            if self.known_labels:
                raise
            hint = f"{problem.hint}, or train on such texts too: --pretrain 20m reads them first"
            raise NoLabelError(problem.message, hint=hint) from None

    def _say_unlabelled(self, given: Mapping[str, Sequence[Collection]]) -> None:
        """How many rows have no label. DataError where no row that is trained on has one."""
        rows = [
            (trained_on(name), one)
            for name, group in given.items()
            for one in group
            if isinstance(one, Rows)
        ]
        where = [line for _, one in rows for line in one.unlabelled_lines]
        if not where:
            return
        if not any(len(one.digests) for trained, one in rows if trained):
            raise NoLabelsError(
                f"{first_few(self.config.sources)}: no row has a label, and a classifier needs "
                "them",
                hint="check --label-field, or train a language model with --task lm",
            )
        read = sum(len(one.unlabelled_lines) for trained, one in rows if trained)
        uses = {
            "for the language model only": read,
            "of validation and test left out": len(where) - read,
        }
        said = ", ".join(f"{number:,} {use}" for use, number in uses.items() if number)
        count = plural(len(where), "row")
        self.notes.append(f"{count} without a label ({_lines(where, len(where))}): {said}")

    def _pick(self, table: Table, *, labelled: bool | None = None) -> Columns:
        asked = self.config.label_field
        text = self.config.text_field or self._trained_column(table, "text")
        label = self._trained_column(table, "label") if asked in (None, FIRST_WORD) else asked
        wanted = self.labelled if labelled is None else labelled

        def pick(records: Sequence[Mapping[str, Any]]) -> Columns:
            return pick_columns(table.columns, records, text, label, table.name, labelled=wanted)

        first = table.sample
        try:
            found = pick(first)
        except DataError:  # of a table that is sorted by its labels the beginning does not tell
            found = pick(table.spread_sample)
        by = self._column_to_sort_by(table)
        return replace(
            found, by=by, separator=self.config.label_separator, unlabelled=self.may_lack_labels
        )

    def _column_to_sort_by(self, table: Table) -> str | None:
        if self.by is None:
            return None
        found = find_column(table.columns, self.by)
        if found is None:
            near = catalog.suggestion(self.by, table.columns)
            raise UsageError(
                f"--by {self.by:.80}: {table.name} has no such column",
                hint=f"{near.rstrip('.')} (`--by length` sorts by the number of words)",
            )
        return found

    def _trained_column(self, table: Table, which: Literal["text", "label"]) -> str | None:
        """The column on which the run was trained. DataError for a table without it."""
        before = self.trained
        name = None if before is None else before.text if which == "text" else before.label
        if before is None or name is None or before.kind == "lines":
            return None
        if which == "label" and not self.labelled:
            return None
        format = table.format
        if format is not None and format.kind == "lines":
            return None  # whose columns are "label" and "text" whatever the run's were called
        found = find_column(table.columns, name)
        if found is None and format is not None and not format.header:
            return None  # found by what the columns hold
        if found is None and len(table.columns) > 1:
            raise DataError(
                f"{table.name} has no column {name!r:.80}, on which the run was trained; it has "
                f"{first_few(table.columns)}",
                hint=f"name the column, or give its number: --{which}-field NAME",
            )
        return found

    def _like(self, table: Table, first: Table, columns: Columns, split: str) -> Columns | None:
        """The columns of another table than the `first`; None if it lacks labels and may."""
        text, label = _same_column(table, first, columns.text), None
        if columns.label is not None:
            label = _same_column(table, first, columns.label)
        trained = trained_on(split)
        if self.labelled and label is None and trained:
            return self._pick(table)
        if self.labelled and not trained and (label is None or not _has_labels(table, label)):
            return None
        text = text or self._pick(table, labelled=False).text
        by = self._column_to_sort_by(table)
        return Columns(text, label, by, self.config.label_separator, self.may_lack_labels)

    def _say_tables(
        self,
        described: Sequence[str],
        given: Mapping[str, Sequence[Collection]],
        first: Table,
        columns: Columns,
    ) -> None:
        self.notes += described[:_SHOWN_TABLES]
        if len(described) > _SHOWN_TABLES:
            self.notes.append(
                f"and {plural(len(described) - _SHOWN_TABLES, 'table')} more of this kind"
            )
        every = [rows for group in given.values() for rows in group]
        blank = sum(len(rows.blank_lines) for rows in every if isinstance(rows, Rows))
        if blank:
            each = "record has no text and was left out"
            text = plural(blank, each, "records have no text and were left out")
            where = [line for rows in every if isinstance(rows, Rows) for line in rows.blank_lines]
            self._warn("blank_texts", f"{text} ({_lines(where, blank)})")
        if not self.labelled and looks_labelled(first.columns, first.sample, columns.text):
            named = " ".join(word(source) for source in self.config.sources)
            self.notes.append(
                f"{first.name} has labels, which a language model ignores: "
                f"`rnnctl train {named} --task classify` trains a classifier on them"
            )

    def _of_scheme(self, spec: str) -> Corpus:
        """The corpus that a reader of the catalog makes of ``NAME:…``."""
        kind = str(scheme(spec))
        if len(self.config.sources) > 1:
            raise UsageError(
                f"a {kind}: corpus cannot be combined with others", hint="name only this one"
            )
        reader: SchemeReader = catalog.load("reader", kind)
        found = reader.open(spec, self.task, self.cache)
        if not isinstance(found, Corpus):
            found = self._tables(found)
        unit = "none" if found.running else "record"
        return replace(found, reading=replace(found.reading or Reading(unit=unit), kind=kind))

    # -- text ------------------------------------------------------------------------------------

    def _labelled_by_folder(
        self, opened: Mapping[str, Sequence[_Opened]], files: Mapping[str, Sequence[TextFile]]
    ) -> Corpus:
        """Whole files as documents, labelled by their folders. DataError if there are none."""
        every = [file for group in files.values() for file in group]
        if len({one.source.path.parent for group in opened.values() for one in group}) == 1:
            raise _no_labels(every[0])
        sources = {name: [one.source for one in group] for name, group in opened.items()}
        within, left_out = in_label_folders(sources)
        if self.texts_alone:
            training = files.get("all", files.get("train", []))
            beside = [file for file in training if file.name not in within]
            if beside:
                texts = TextUnits(beside, "file")
                self.unlabelled.append(texts)
                count = plural(len(texts.digests), "text")
                self.notes.append(f"{count} without a label: for the language model")
        self.warnings += () if self.unlabelled else left_out
        self.reading = Reading("text", "file", self.config.encoding)
        self._say_texts(files)
        given: dict[str, list[Collection]] = {}
        for name, group in files.items():
            kept = [file for file in group if file.name in within]
            labels = [Path(file.name).parent.name for file in kept]
            given[name] = [TextUnits(kept, "file", labels)]
        return self._documents({n: combine(group) for n, group in self._unified(given).items()})

    def _say_texts(self, splits: Mapping[str, Sequence[TextFile]]) -> None:
        if not self.config.sources:
            return
        files = [file for group in splits.values() for file in group]
        chars = sum(file.chars for file in files)
        what = files[0].name if len(files) == 1 else plural(len(files), "file")
        if len(splits) > 1:
            what += f" ({', '.join(name for name in SPLITS if name in splits)})"
        unit = {
            "none": "one running text",
            "paragraph": "each paragraph is a document",
            "line": "each line is a document",
            "file": "each file is a document",
        }["file" if self.labelled else self.unit]
        label = ", its folder is the label" if self.labelled else ""
        self.notes.append(f"{what}: text, {unit}{label}; {plural(chars, 'character')}")

    def _running(self, files: Mapping[str, list[TextFile]]) -> Corpus:
        whole = files.get("all", files.get("train", []))
        if not any(file.chars for file in whole):
            raise _empty([file.name for file in whole])
        for name, group in files.items():
            self.hashes[name] = " ".join(file.sha256 for file in group)
        if len(files) == 1:
            parts = cut_text(whole, self.shares)
        elif "valid" in files:
            parts = (
                whole_text(whole),
                whole_text(files["valid"]),
                whole_text(files.get("test", [])),
            )
        else:
            train, valid, _ = cut_text(whole, self.shares.without_test())
            parts = (train, valid, whole_text(files["test"]))
        return self._corpus(dict(zip(SPLITS, parts, strict=True)), running=True)

    # -- labels and splits -----------------------------------------------------------------------

    def _unified(
        self, given: Mapping[str, Sequence[Collection]]
    ) -> Mapping[str, Sequence[Collection]]:
        """The same with one writing of every label, the training documents' first."""
        if not self.labelled:
            return given
        every = [n for group in given.values() for one in group for n in one.label_names]
        if any(SEVERAL in name for name in every):
            return given
        known = list(self.known_labels)
        found: dict[str, list[Collection]] = {}
        for split, group in given.items():
            found[split] = []
            for collection in group:
                same = one_writing(collection.label_names)
                names = in_order(same.get(n, n) for n in collection.label_names)
                _refuse_joined(names)
                if known:
                    other = unify(known, names)
                    same = {n: other.get(same.get(n, n), same.get(n, n)) for n in (*same, *other)}
                if same:
                    self._warn(
                        "same_labels", f"labels with two spellings are treated as one: {said(same)}"
                    )
                    collection = Relabelled(collection, same)
                known += [name for name in collection.label_names if name not in known]
                found[split].append(collection)
        pairs = resembling(known)
        if pairs:
            text = ", ".join(f"{a!r:.60} and {b!r:.60}" for a, b in pairs)
            self._warn("resembling_labels", f"similar labels are kept as different labels: {text}")
        return found

    def _documents(self, given: Mapping[str, Collection]) -> Corpus:
        """Splits as given; what is missing is held out of the training documents."""
        whole = given.get("all") or given["train"]
        if not len(whole.digests):
            raise _empty(self.config.sources)
        for name, collection in given.items():
            self.hashes[name] = _content(collection)
        if len(given) == 1:
            shares = self.shares
        elif "valid" in given:
            shares = Shares(Fraction(1), Fraction(0), Fraction(0))
        else:
            shares = self.shares.without_test()
        chosen = assign(whole.digests, whole.strata, shares, self.config.split_seed)
        if self.config.fold is not None:
            chosen = self._fold(whole, given)
        parts = dict(zip(SPLITS, (Selection(whole, i) for i in chosen), strict=True))
        parts |= {name: everything(c) for name, c in given.items() if name in ("valid", "test")}
        several = any(SEVERAL in name for part in parts.values() for name in part.labels)
        several = several and self.labelled
        names = self._check_labels(parts, several=several) if self.labelled else ()
        sets: tuple[str, ...] = ()
        if several:
            sets = tuple(sorted({name for part in parts.values() for name in part.labels}))
        if not self.known_labels:
            self.warnings += _remarks(parts, given, labelled=self.labelled)
        return self._corpus(parts, running=False, label_names=names, label_sets=sets)

    def _fold(
        self, whole: Collection, given: Mapping[str, Collection]
    ) -> tuple[Indices, Indices, Indices]:
        """One of K parts is the test part; of the others, validation documents are held out."""
        number, _, count = str(self.config.fold).partition("/")
        folds = int(count)
        if len(given) > 1:
            raise UsageError(
                "--folds needs a corpus without splits of its own, and this one has them",
                hint="name one of its files, or leave out --folds",
            )
        if whole.strata is None:
            raise UsageError("--folds is for classifiers", hint="add --task classify")
        for label, documents in zip(
            whole.label_names, np.bincount(whole.strata).tolist(), strict=False
        ):
            if documents < folds:
                raise DataError(
                    f"the label {label!r:.60} has {plural(documents, 'document')}, too few for "
                    f"{folds} folds",
                    hint=f"use --folds {max(2, documents)}, or leave out that label",
                )
        # By content, as splits are: the order of the documents decides nothing.
        fold = assign_folds(whole.digests, whole.strata, folds, self.config.split_seed)
        test = np.flatnonzero(fold == int(number) - 1)
        rest = np.flatnonzero(fold != int(number) - 1)
        shares = self.shares.without_test()
        train, valid, _ = assign(
            whole.digests[rest], whole.strata[rest], shares, self.config.split_seed
        )
        return rest[train], rest[valid], test

    def _check_labels(self, parts: dict[str, Selection], *, several: bool) -> tuple[str, ...]:
        """The labels of the run or of the training documents. DataError where other documents
        have more, unless these are dropped.

        several: a text may have several, and `Selection.labels` are the sets that occur.
        """

        def of(split: str) -> tuple[str, ...]:
            return single_labels(parts[split].labels) if several else parts[split].labels

        if self.other_labels:
            every = (name for split in SPLITS for name in parts[split].labels)
            return single_labels(every) if several else in_order(every)
        names = self.known_labels or of("train")
        if len(names) < 2:
            which = f"only the label {names[0]!r}" if names else "no label"
            hint = "check --label-field, or use a corpus with more classes"
            if several:
                which = f"the labels {_shown(names)}"
                hint = "check --label-field and --label-separator"
            raise DataError(
                f"the training documents have {which}: a classifier needs two", hint=hint
            )
        who = "the run" if self.known_labels else "train"
        for split in SPLITS:
            new = [name for name in of(split) if name not in names]
            if not new:
                continue
            what = "the corpus" if self.known_labels else split
            if self.config.new_labels != "drop":
                raise _new_labels(what, who, new, names)
            before = len(parts[split])
            if several:  # without one of its labels a document would be mislabelled: it goes
                new_ones, sets = set(new), parts[split].labels
                unfit = [name for name in sets if not new_ones.isdisjoint(labels_of(name))]
            parts[split] = _without(parts[split], unfit if several else new)
            gone = plural(before - len(parts[split]), "document")
            text = f"{gone} of {what} with labels that {who} lacks left out: {_shown(new)}"
            self._warn("new_labels", text)
        return names

    def _corpus(
        self,
        parts: Mapping[str, RunningText] | Mapping[str, Selection],
        *,
        running: bool,
        label_names: tuple[str, ...] = (),
        label_sets: tuple[str, ...] = (),
    ) -> Corpus:
        options = self.config.model_dump(
            include={"documents", "split", "split_seed", "text_field", "label_field"}
        )
        if self.config.new_labels != "error":
            options["new_labels"] = self.config.new_labels
        read_for = "sentiment" if self.labelled else "lm"  # as in the fingerprints of old runs
        if self.config.fold is not None:
            options["fold"] = self.config.fold
        if self.config.label_separator is not None:
            options["label_separator"] = self.config.label_separator
        content = json.dumps([self.hashes, options, self.unit, read_for, running], sort_keys=True)
        return Corpus(
            parts=parts,
            running=running,
            description=", ".join("standard input" if s == "-" else s for s in self.config.sources)
            or "the bundled corpus",
            fingerprint=integrity.digest(content.encode()),
            label_names=label_names,
            label_sets=label_sets,
            warnings=tuple(self.warnings),
            notes=tuple(self.notes),
            reading=replace(self.reading, own_splits="valid" in self.hashes),
        )

    def _warn(self, code: str, text: str) -> None:
        self.warnings.append(Warning_(code=code, text=text))


@dataclass(frozen=True, slots=True)
class _Texts:
    """Documents of several collections without their labels."""

    parts: tuple[Iterable[Document], ...]

    def __iter__(self) -> Iterator[Document]:
        for part in self.parts:
            for document in part:
                yield replace(document, label=None)


def _texts_alone(corpus: Corpus, unlabelled: Sequence[Collection]) -> Corpus:
    """The same splits as texts for a language model, and what has no label to train on as well."""
    content = [corpus.fingerprint, "texts", *map(_content, unlabelled)]
    # What is to be judged by is read by nobody before, with or without its label.
    judged = [
        part.digests
        for name, part in corpus.parts.items()
        if name != "train" and isinstance(part, Selection)
    ]
    more = tuple(_others(one, np.concatenate(judged)) for one in unlabelled)
    parts = {
        name: _Texts((part, *more) if name == "train" else (part,))
        for name, part in corpus.parts.items()
    }
    return replace(
        corpus,
        parts=parts,
        fingerprint=integrity.digest(json.dumps(content).encode()),
        label_names=(),
        label_sets=(),
    )


def _others(collection: Collection, digests: Digests) -> Selection:
    """The documents whose texts are none of these."""
    return Selection(collection, np.flatnonzero(~np.isin(collection.digests, digests)))


def trained_on(split: str) -> bool:
    """Whether a split as it was given is trained on, or what is trained on is chosen from it."""
    return split in ("all", "train")


def _is_pipe(source: str) -> bool:
    """Such as the shell makes of ``<(command)``."""
    path = Path(source)
    try:
        return path.exists() and not path.is_file() and not path.is_dir()
    except OSError:
        return False


def _same_column(table: Table, first: Table, wanted: str) -> str | None:
    """The column that is called as in the `first` table, or stands in its place."""
    found = find_column(table.columns, wanted)
    headless = any(t.format is not None and not t.format.header for t in (table, first))
    if found is None and headless and len(table.columns) == len(first.columns):
        return table.columns[first.columns.index(wanted)]
    return found


def _has_labels(table: Table, label: str) -> bool:
    """Whether the sampled rows have labels in that column, and not what stands for none."""
    values = (cells.get(label) for cells in table.sample)
    return any(value is not None and str(value).strip() not in _NO_LABELS for value in values)


def _described(table: Table, columns: Columns, rows: Rows, *, labelled: bool) -> str:
    """One line: ``reviews.csv: csv, comma, header; text = review, label = stars (5 labels); …``."""
    how = str(table.format) if table.format else "table"
    which = f"text = {columns.text}"
    if labelled and columns.label is not None:
        which += f", label = {columns.label} ({_number_of_labels(rows.label_names)})"
    count = plural(len(rows.digests), "row")
    blank = len(rows.blank_lines)
    if blank:
        count += f", {blank:,} without text left out ({_lines(rows.blank_lines, blank)})"
    return f"{table.name}: {how}; {which}; {count}"


def _number_of_labels(names: Sequence[str]) -> str:
    """How many different labels there are, and that a row may have several of them."""
    if not any(SEVERAL in name for name in names):
        return plural(len(names), "label")
    return f"{plural(len(single_labels(names)), 'label')}, several a row"


def _lines(where: Sequence[int], count: int) -> str:
    shown = ", ".join(map(str, where[:_SHOWN_LINES]))
    more = f" and {count - _SHOWN_LINES:,} more" if count > _SHOWN_LINES else ""
    return f"{'line' if count == 1 else 'lines'} {shown}{more}"


def _without(selection: Selection, labels: Sequence[str]) -> Selection:
    """The documents that have none of these labels."""
    strata, names = selection.collection.strata, selection.collection.label_names
    assert strata is not None
    numbers = [names.index(label) for label in labels]
    kept = ~np.isin(strata[selection.indices], numbers)
    return Selection(selection.collection, selection.indices[kept])


def _refuse_joined(names: Sequence[str]) -> None:
    """Raises: DataError for labels such as "bread|sauce" beside "bread" and "sauce"."""
    for name in names:
        parts = [part.strip() for part in re.split(r"[,;|]", name)]
        if len(parts) > 1 and set(parts) <= set(names):
            error = several_labels(f"the label {name!r:.60}", parts)
            raise DataError(error.message, hint=error.hint)


def _new_labels(what: str, who: str, new: Sequence[str], known: Sequence[str]) -> DataError:
    meant = next((near for near in (nearest(name, known) for name in new) if near), None)
    mean = f"did you mean {meant!r:.60}? " if meant else ""
    return DataError(
        f"{what} has {plural(len(new), 'label')} that {who} lacks: {_shown(new)}; "
        f"{who} has {_shown(known)}",
        hint=f"{mean}correct them, or leave these documents out with --new-labels drop",
    )


def _shown(labels: Sequence[str]) -> str:
    return first_few([f"{name!r:.60}" for name in labels], _SHOWN_LABELS)


def _content(collection: Collection) -> str:
    """What a collection holds, as a hash."""
    strata = b"" if collection.strata is None else collection.strata.data
    names = json.dumps(collection.label_names).encode()
    return integrity.digest_of([collection.digests.data, names, strata])


# -- errors and remarks ----------------------------------------------------------------------


def _empty(names: object) -> DataError:
    shown = ", ".join(map(str, names)) if isinstance(names, list | tuple) else str(names)
    return DataError(f"{shown} holds no text", hint="use a file that has text in it")


def _mixed(opened: Sequence[_Opened]) -> DataError:
    table = next(one.source.name for one in opened if one.table)
    text = next(one.source.name for one in opened if not one.table)
    return DataError(
        f"text and tables are mixed: {table} is a table, {text} is text",
        hint="use one kind at a time, or set the format of all files, such as --as text",
    )


def _no_columns(by: str) -> UsageError:
    return UsageError(
        f"--by {by:.80}: plain text has no columns",
        hint="`--by length` sorts the documents by their number of words",
    )


def _no_labels(file: TextFile) -> DataError:
    """What to say of a text without labels, or of one whose first words may be labels.

    "He …", "She …", "Then …": so do lines begin in a story, too.
    """
    first = few_first_words([text for text in beginning(file) if text.strip()])
    if not first:
        return NoLabelsError(
            f"{file.name} has no labels, and a classifier needs them",
            hint='use a table (.csv, .tsv, .jsonl, .parquet) with a label field, lines "label '
            'text", or a folder with one folder of files per label',
        )
    words = first_few([repr(word) for word in first], 4)
    return DataError(
        f"{file.name}: its lines begin with few different words, {words}: are they labels?",
        hint=f"if so, add `--label-field {FIRST_WORD}`; if not, a classifier cannot be trained "
        "on this text, because it has no labels",
    )


def _remarks(
    parts: Mapping[str, Selection], given: Mapping[str, Collection], *, labelled: bool
) -> Iterator[Warning_]:
    """What should be said of documents in splits, those of `given` being as they were given."""
    others = [name for name in ("test", "valid") if name in given]
    for name in others:
        yield from _shared(parts, name)
    if labelled:
        for name in others:
            yield from _missing_labels(parts, name)
        yield from _many_labels(parts["train"])


def _shared(parts: Mapping[str, Selection], other: str) -> Iterator[Warning_]:
    """If texts of the training documents stand in another split too."""
    second = parts[other]
    both = np.intersect1d(parts["train"].collection.digests, second.digests)
    if not len(both):
        return
    where = np.flatnonzero(np.isin(second.digests, both))[:3]
    examples = "; ".join(
        f"{d.source} ({' '.join(d.text.split())[:40]}…)"
        for d in second.collection.read(second.indices[where])
    )
    count = plural(len(both), "text is", "texts are")
    text = f"{count} in both train and {other}, for example {examples}"
    yield Warning_(code=f"train_{other}_overlap", text=text)


def _missing_labels(parts: Mapping[str, Selection], other: str) -> Iterator[Warning_]:
    """If a split lacks labels that are learnt."""
    lacked = set(parts["train"].labels) - set(parts[other].labels)
    if lacked:
        which = first_few([f"{name!r:.60}" for name in in_order(lacked)])
        text = f"train has {plural(len(lacked), 'label')} that {other} lacks: {which}"
        yield Warning_(code=f"{other}_lacks_labels", text=text)


def _many_labels(train: Selection) -> Iterator[Warning_]:
    """If nearly every document has a label of its own, as no classes are."""
    labels, documents = len(train.labels), len(train)
    if labels > _MANY_LABELS and labels * 2 > documents:
        text = (
            f"the {documents} training documents have {labels} different labels, the first is "
            f"{train.labels[0]!r:.60}: is another column the label? --label-field FIELD names it"
        )
        yield Warning_(code="many_labels", text=text)


# -- a part that stands for all, whatever the order ----------------------------------------------


def sample_documents(corpus: Corpus, split: str, most: int) -> list[Document]:
    """The documents of a split, or `most` of them, as `sample_places` has it."""
    count = sum(1 for _ in corpus.documents(split))
    if count <= most:
        return list(corpus.documents(split))
    chosen = set(sample_places(count, most))
    return [one for k, one in enumerate(corpus.documents(split)) if k in chosen]


def sample_places(count: int, most: int) -> list[int]:
    """Which of `count` to take, `most` at most: one out of each of so many equal stretches.

    A file that is sorted by label is met evenly so, and drawing within a stretch, always alike,
    keeps the choice out of step with a file in which labels take turns.
    """
    if count <= most:
        return list(range(count))
    begins = np.arange(most + 1) * count // most
    chosen: list[int] = np.random.default_rng(0).integers(begins[:-1], begins[1:]).tolist()
    return chosen
