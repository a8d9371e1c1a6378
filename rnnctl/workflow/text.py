"""The text that a diagnosis reads: what the run kept, or what the user names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from rnnctl.data.cache import cache_directory
from rnnctl.data.corpus import open_corpus
from rnnctl.data.documents import Document
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
    documents = _first(found.corpus.documents(found.split))
    name = f"{found.corpus.description} ({found.part})"
    if loaded.labels:
        return _halves(documents, name)
    return Text(documents, found.corpus.running, name)


def _first(documents: Iterable[Document]) -> list[Document]:
    kept, chars = [], 0
    for document in documents:
        kept.append(document)
        chars += len(document.text)
        if chars > MOST_CHARS:
            break
    return kept


def _halves(documents: Sequence[Document], name: str) -> Text:
    """Every other document is measured on, the others are for the reference."""
    return Text(documents[::2], False, name, documents[1::2])
