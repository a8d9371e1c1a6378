"""Which documents `evaluate` and `diagnose` judge a run by.

A text that the run was trained on must not be judged as if it were new: where the corpus is the
run's own, only what was held out counts, unless something else is asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import BinaryIO, Literal

from rnnctl import integrity
from rnnctl.config import CorpusConfig
from rnnctl.data.cache import cache_directory
from rnnctl.data.corpus import Corpus, open_corpus
from rnnctl.data.documents import SPLITS, Document
from rnnctl.data.labels import NoLabelsError
from rnnctl.data.text import utf8_length
from rnnctl.errors import DataError, RnnctlError, UsageError, word
from rnnctl.inference.training_text import corpus_facts, heldout_size, trained
from rnnctl.results.base import Warning_
from rnnctl.tasks.loading import CORPUS_NAME, Loaded

Part = Literal["test", "valid", "train", "all"]


@dataclass(frozen=True, slots=True)
class JudgedText:
    """What is judged: `split` of `corpus`. `part` says which part of the user's text that is.

    `words` say more where it is not the whole part.
    """

    corpus: Corpus
    split: str
    part: Part
    words: str = ""
    warnings: tuple[Warning_, ...] = ()


def kept(loaded: Loaded, part: Part | None, hint: str = "") -> JudgedText:
    """The held-out documents in the run. UsageError, with that hint, where it keeps none."""
    run = loaded.run
    hint = hint or f"name a corpus: `rnnctl evaluate {word(run.path)} CORPUS`"
    if part in ("train", "all"):
        raise UsageError(f"{run.path} keeps only text that was held out: valid, test", hint=hint)
    names: tuple[Part, ...] = ("test", "valid") if part is None else (part,)
    for name in names:
        documents = run.heldout(name)
        if documents:
            return _kept(loaded, name, documents)
    called = f" called {part}" if part else ""
    raise UsageError(f"{run.path} keeps no held-out text{called}", hint=hint)


def _kept(loaded: Loaded, name: Part, documents: list[Document]) -> JudgedText:
    running = loaded.run.heldout_running(name)
    words = _how_much(loaded, name, documents, running)
    if running:
        documents = [Document("".join(document.text for document in documents))]
    labels = tuple(sorted({d.label for d in documents if d.label is not None}))
    corpus = Corpus.from_documents({name: documents}, description="the held-out text of the run")
    corpus = replace(corpus, running=running, label_names=corpus.label_names or labels)
    return JudgedText(corpus, name, name, words)


def _how_much(loaded: Loaded, name: str, documents: Sequence[Document], running: bool) -> str:
    """What of a split the run keeps; "" where it keeps all of it."""
    noted = heldout_size(loaded, name)
    if noted is None:
        return f"what the run keeps of {name}"
    count, size = noted
    if not running and len(documents) < count:
        return f"a sample of {len(documents):,} documents of {name}"
    held = sum(utf8_length(document.text) for document in documents)
    return f"the first {held:,} bytes of {name}" if held < size else ""


def choose(
    loaded: Loaded,
    settings: CorpusConfig,
    part: Part | None,
    stdin: BinaryIO | None,
    *,
    other_labels: bool = False,
    by: str | None = None,
) -> JudgedText:
    """Open the corpus and choose the part of it to judge by. DataError where it has none such.

    other_labels: whether documents may have labels that the run does not know. by: a column whose
    values the documents are to carry.
    """
    task = loaded.config.model.task
    if "-" not in settings.sources:  # what comes through a pipe can be read only once
        own = _own(loaded, settings, by)
        if own is not None:
            return _of_own(own, part)
    # A stranger's corpus is judged whole where it names no parts itself: nothing of it was trained
    # on.
    undivided = settings.model_copy(update={"split": "100/0/0"})
    try:
        corpus = open_corpus(
            undivided,
            task=task,
            cache=cache_directory(),
            stdin=stdin,
            trained=trained(loaded),
            labels=loaded.labels,
            other_labels=other_labels,
            by=by,
        )
    except NoLabelsError as problem:
        run = word(loaded.run.path)
        hint = f"add a column `label`, or let `rnnctl classify {run}` label these texts"
        raise NoLabelsError(problem.message, hint=hint) from problem
    found = _held_out(corpus)
    if part is None:
        part = found[0] if found else "all"
    if part == "all" or (part == "train" and not found):
        return _everything(corpus)
    if part != "train" and part not in found:
        raise DataError(f"{corpus.description} has no part {part!r}", hint="leave --part out")
    return JudgedText(corpus, part, part)


def training_corpus(loaded: Loaded) -> Corpus | None:
    """What the run was trained on, if it is still there as it was."""
    if "-" in loaded.config.corpus.sources or CORPUS_NAME not in loaded.run.current.files:
        return None
    try:
        return _own(loaded, loaded.config.corpus)
    except RnnctlError:
        return None


def _own(loaded: Loaded, settings: CorpusConfig, by: str | None = None) -> Corpus | None:
    """The corpus, if it is the one that the run was trained on."""
    # Documents that were left out then are left out now, or the fingerprint would be another one.
    as_trained = settings.model_copy(update={"new_labels": loaded.config.corpus.new_labels})
    try:
        corpus = open_corpus(
            as_trained, task=loaded.config.model.task, cache=cache_directory(), by=by
        )
    except (DataError, UsageError):  # said when it is opened as another one
        return None
    return corpus if corpus.fingerprint == corpus_facts(loaded).get("fingerprint") else None


def _of_own(corpus: Corpus, part: Part | None) -> JudgedText:
    found = _held_out(corpus)
    if part is None and not found:
        raise DataError(
            "the run was trained on this corpus, and no part of it was held out",
            hint="evaluate on another text, or use --part train",
        )
    part = part or found[0]
    text = f"the run was trained on this corpus: only its {part} part is read"
    if part in ("train", "all"):
        text = "the run was trained on this text: the numbers say nothing about new text"
    elif part not in found:
        raise DataError(
            f"the run was trained on this corpus, and no part of it was held out as {part}",
            hint=f"use --part {found[0]}" if found else "evaluate on another text",
        )
    warnings = (Warning_(code="trained_on", text=text),)
    if part == "all":
        return replace(_everything(corpus), warnings=warnings)
    return JudgedText(corpus, part, part, warnings=warnings)


def _held_out(corpus: Corpus) -> list[Part]:
    names: tuple[Part, ...] = ("test", "valid")
    return [n for n in names if any(document.text for document in corpus.documents(n))]


@dataclass(frozen=True, slots=True)
class _Joined:
    """Documents of several splits, one split after the other."""

    parts: tuple[Iterable[Document], ...]

    def __iter__(self) -> Iterator[Document]:
        for part in self.parts:
            yield from part


def _everything(corpus: Corpus) -> JudgedText:
    """All of a corpus, however it is divided."""
    if _held_out(corpus):
        joined = _Joined(tuple(corpus.parts[name] for name in SPLITS if name in corpus.parts))
        mark = integrity.digest(f"{corpus.fingerprint} joined".encode())
        corpus = replace(corpus, parts={"train": joined}, fingerprint=mark)
    return JudgedText(corpus, "train", "all")
