"""From what the user named to documents in three splits.

`open_corpus` is the way of every corpus: a `Request`, the files by split, what each of them is,
the documents that they hold (`Found`), and the splits (`Divided`). Each step gives what it found to
the next one; what was decided on the way is said in `Corpus.notes` and kept in `Corpus.reading`, so
that a run's other commands read the same things alike.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np

from rnnctl import catalog, integrity
from rnnctl.config import CorpusConfig
from rnnctl.data.cache import cache_directory
from rnnctl.data.collections import Collection, Selection, content_digest
from rnnctl.data.dividing import divide, no_text
from rnnctl.data.documents import SPLITS, Document, Reading
from rnnctl.data.from_tables import read_tables
from rnnctl.data.from_texts import Texts, read_label_folders, read_texts
from rnnctl.data.labels import SEVERAL, in_order, single_labels
from rnnctl.data.opening import Opened, Text, find_files, look_into
from rnnctl.data.readers import SchemeReader, scheme
from rnnctl.data.request import Found, Request
from rnnctl.data.splitting import cut_text, parse_split, whole_text
from rnnctl.errors import DataError, UsageError
from rnnctl.results.base import Warning_


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
        # With one that has none they are texts alone.
        names = () if None in labels else in_order(map(str, labels))
        sets = names if any(SEVERAL in name for name in names) else ()
        if sets:
            names = single_labels(sets)
        return cls(splits, False, description, fingerprint, names, sets)


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
    wanted = config.read_for or task
    labelled: bool = catalog.load("task", wanted).labelled
    # The bundled text is paragraphs that have nothing to do with one another.
    running_is_bundled = config.documents == "none" and not config.sources
    asked = Request(
        config=config,
        task=wanted,
        labelled=labelled,
        texts_alone=labelled and not catalog.load("task", task).labelled,
        shares=parse_split(config.split),
        unit="paragraph" if running_is_bundled else config.documents,
        cache=cache or cache_directory(),
        stdin=stdin,
        trained=trained,
        known_labels=tuple(labels),
        other_labels=other_labels,
        by=by,
    )
    # It stands for a whole corpus, and nothing else is looked for.
    for source in config.sources:
        if scheme(source):
            return _of_scheme(asked, source)
    files = find_files(asked)
    corpus = _of_files(asked, look_into(asked, files.files))
    return replace(corpus, warnings=(*files.warnings, *corpus.warnings))


def _of_scheme(asked: Request, spec: str) -> Corpus:
    """The corpus that a reader of the catalog makes of ``NAME:…``."""
    kind = str(scheme(spec))
    if len(asked.config.sources) > 1:
        raise UsageError(
            f"a {kind}: corpus cannot be combined with others", hint="name only this one"
        )
    reader: SchemeReader = catalog.load("reader", kind)
    found = reader.open(spec, asked.task, asked.cache)
    if not isinstance(found, Corpus):
        found = _of_documents(asked, read_tables(asked, found))
    elif asked.texts_alone:
        found = _texts_alone(found, ())
    unit = "none" if found.running else "record"
    return replace(found, reading=replace(found.reading or Reading(unit=unit), kind=kind))


def _of_files(asked: Request, opened: Opened) -> Corpus:
    """The corpus of files that are all tables, or all text."""
    texts = {
        name: [one for one in group if isinstance(one, Text)] for name, group in opened.items()
    }
    tables = {
        name: [one for one in group if not isinstance(one, Text)] for name, group in opened.items()
    }
    if not any(texts.values()):
        return _of_documents(asked, read_tables(asked, tables))
    if any(tables.values()):
        table = next(one for group in tables.values() for one in group)
        text = next(one for group in texts.values() for one in group)
        raise DataError(
            f"text and tables are mixed: {table.name} is a table, {text.file.name} is text",
            hint="use one kind at a time, or set the format of all files, such as --as text",
        )
    if asked.by is not None:
        raise UsageError(
            f"--by {asked.by:.80}: plain text has no columns",
            hint="`--by length` sorts the documents by their number of words",
        )
    if asked.labelled:
        return _of_documents(asked, read_label_folders(asked, texts))
    # Only now: tables are not cut, and their fingerprints say so.
    if asked.config.read_as == "lines" and asked.unit == "none":
        asked = replace(asked, unit="line")
    found = read_texts(asked, texts)
    return _of_documents(asked, found) if found.given else _of_running_text(asked, found, texts)


def _of_documents(asked: Request, found: Found) -> Corpus:
    divided = divide(asked, found.given)
    corpus = Corpus(
        parts=divided.parts,
        running=False,
        description=_description(asked.config),
        fingerprint=_fingerprint(asked, divided.hashes, running=False),
        label_names=divided.label_names,
        label_sets=divided.label_sets,
        warnings=(*found.warnings, *divided.warnings),
        notes=found.notes,
        reading=replace(found.reading, own_splits="valid" in found.given),
    )
    return _texts_alone(corpus, found.unlabelled) if asked.texts_alone else corpus


def _of_running_text(asked: Request, found: Found, texts: Texts) -> Corpus:
    """Splits as given; what is missing is the end of the training text."""
    files = {name: [text.file for text in group] for name, group in texts.items()}
    whole = files.get("all") or files["train"]
    if not any(file.chars for file in whole):
        raise no_text([file.name for file in whole])
    if len(files) == 1:
        train, valid, test = cut_text(whole, asked.shares)
    elif "valid" in files:
        train, valid = whole_text(whole), whole_text(files["valid"])
        test = whole_text(files.get("test", []))
    else:
        train, valid, _ = cut_text(whole, asked.shares.without_test())
        test = whole_text(files["test"])
    hashes = {name: " ".join(file.sha256 for file in group) for name, group in files.items()}
    return Corpus(
        parts={"train": train, "valid": valid, "test": test},
        running=True,
        description=_description(asked.config),
        fingerprint=_fingerprint(asked, hashes, running=True),
        notes=found.notes,
        reading=replace(found.reading, own_splits="valid" in files),
    )


def _description(config: CorpusConfig) -> str:
    named = ", ".join("standard input" if s == "-" else s for s in config.sources)
    return named or "the bundled corpus"


def _fingerprint(asked: Request, hashes: Mapping[str, str], *, running: bool) -> str:
    """SHA-256 of the content (`hashes`, by split) and of the settings that decide how it is cut.

    A run opens only the corpus of its own fingerprint. So settings that came later are in it only
    where they are used, and the names are those of the version that first wrote them.
    """
    config = asked.config
    options = config.model_dump(
        include={"documents", "split", "split_seed", "text_field", "label_field"}
    )
    if config.new_labels != "error":
        options["new_labels"] = config.new_labels
    if config.fold is not None:
        options["fold"] = config.fold
    if config.label_separator is not None:
        options["label_separator"] = config.label_separator
    read_for = "sentiment" if asked.labelled else "lm"
    content = json.dumps([hashes, options, asked.unit, read_for, running], sort_keys=True)
    return integrity.digest(content.encode())


# -- texts of a classifier's corpus, for the language model before it ----------------------------


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
    content = [corpus.fingerprint, "texts", *map(content_digest, unlabelled)]
    # What is to be judged by is read by nobody before, with or without its label.
    judged = [
        part.digests
        for name, part in corpus.parts.items()
        if name != "train" and isinstance(part, Selection)
    ]
    more = tuple(
        Selection(one, np.flatnonzero(~np.isin(one.digests, np.concatenate(judged))))
        for one in unlabelled
    )
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
