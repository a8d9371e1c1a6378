"""The text that a diagnosis reads: what the run kept, or what the user names."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from rnnctl.data.cache import cache_directory
from rnnctl.data.corpus import Corpus, open_corpus
from rnnctl.data.documents import Document
from rnnctl.data.spread import spread
from rnnctl.errors import DataError
from rnnctl.tasks.loading import Loaded
from rnnctl.workflow.judged import choose

MOST_CHARS = 5_000_000


@dataclass(frozen=True)
class Text:
    """Documents to measure on, and what they are called.

    `reference`: other labelled documents, to train the bag of words on.
    """

    documents: Sequence[Document]
    running: bool
    name: str
    reference: Sequence[Document] = ()


def heldout(loaded: Loaded) -> Text:
    """The documents that the run keeps: validation text first, test text for the reference.

    Running text of both splits is joined. Raises DataError where the run keeps none.
    """
    run = loaded.run
    valid, test = run.heldout("valid"), run.heldout("test")
    if not valid and not test:
        raise DataError(f"{run.path} keeps no held-out text", hint="name a text: `--text FILE`")
    running = run.heldout_running("valid" if valid else "test")
    if not loaded.labels:
        return Text([*valid, *test], running, "held-out text")
    if valid and test:
        return Text(valid, False, "validation text", test)
    return _halves(valid or test, "held-out text")


def read_text(
    loaded: Loaded,
    source: str,
    stdin: BinaryIO | None = None,
    columns: Mapping[str, str] | None = None,
) -> Text:
    """Documents of a corpus: its test part where it is the run's own, else all of it.

    At most 5 million characters. `columns`: what to read otherwise than in the training
    (`text_field`, `label_field`, `encoding`). Without labels a classifier is still measured, line
    by line, as far as that goes. Raises what opening a corpus raises.
    """
    settings = loaded.config.corpus.model_copy(update={"sources": (source,), **(columns or {})})
    try:
        found = choose(loaded, settings, None, stdin)
    except DataError:
        if not loaded.labels or source == "-":
            raise
        plain = settings.model_copy(update={"documents": "line", "split": "100/0/0"})
        corpus = open_corpus(plain, task="lm", cache=cache_directory())
        return Text(_first(corpus.documents("train")), False, corpus.description)
    name = f"{found.corpus.description} ({found.part})"
    if loaded.labels:  # sorted by label, maybe
        return _halves(_all_over(found.corpus, found.split), name)
    documents = _first(found.corpus.documents(found.split))
    return Text(documents, found.corpus.running, name)


def _first(documents: Iterable[Document]) -> list[Document]:
    kept, chars = [], 0
    for document in documents:
        kept.append(document)
        chars += len(document.text)
        if chars > MOST_CHARS:
            break
    return kept


def _all_over(corpus: Corpus, split: str) -> list[Document]:
    """The documents, or where they are too many a share of them from everywhere."""
    count = chars = 0
    for document in corpus.documents(split):
        count, chars = count + 1, chars + len(document.text)
    return spread(corpus, split, math.ceil(count * min(1, MOST_CHARS / max(1, chars))))


def _halves(documents: Sequence[Document], name: str) -> Text:
    """Every other document of each label is measured on, the others are for the reference."""
    seen: dict[str | None, int] = {}
    halves: tuple[list[Document], list[Document]] = ([], [])
    for document in documents:
        count = seen[document.label] = seen.get(document.label, -1) + 1
        halves[count % 2].append(document)
    return Text(halves[0], False, name, halves[1])
