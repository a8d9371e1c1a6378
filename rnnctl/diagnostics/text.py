"""The text that a diagnosis reads: what the run kept, or what the user names."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import BinaryIO

from rnnctl.data.cache import cache_directory
from rnnctl.data.corpus import Corpus, open_corpus
from rnnctl.data.documents import Document
from rnnctl.data.subset import sample_documents, sample_places
from rnnctl.errors import DataError
from rnnctl.inference.judged_text import choose
from rnnctl.inference.training_text import by_document
from rnnctl.results.base import Warning_
from rnnctl.tasks.loading import Loaded
from rnnctl.wording import plural

MOST_CHARS = 5_000_000
MOST_DOCUMENTS = 4000  # that are measured on


@dataclass(frozen=True)
class Text:
    """Documents to measure on, and what they are called.

    `reference`: other labelled documents, to train the bag of words on. `warnings`: what was read
    otherwise than in the training.
    """

    documents: Sequence[Document]
    running: bool
    name: str
    reference: Sequence[Document] = ()
    warnings: tuple[Warning_, ...] = ()


def heldout(loaded: Loaded) -> Text:
    """The documents that the run keeps: validation text first, test text for the reference.

    Running text of both splits is joined; of many documents it is a sample. Raises DataError where
    the run keeps none.
    """
    run = loaded.run
    valid, test = run.heldout("valid"), run.heldout("test")
    if not valid and not test:
        raise DataError(f"{run.path} keeps no held-out text", hint="name a text: `--text FILE`")
    running = run.heldout_running("valid" if valid else "test")
    if running:
        return Text([*valid, *test], True, "held-out text")
    if not loaded.labels:
        return _sampled([*valid, *test], "held-out text")
    if valid and test:
        return _sampled(valid, "validation text", test)
    return _halves(valid or test, "held-out text")


def read_text(
    loaded: Loaded,
    source: str,
    stdin: BinaryIO | None = None,
    columns: Mapping[str, str] | None = None,
) -> Text:
    """Documents of a corpus: its test part where it is the run's own, else all of it.

    At most 5 million characters: the beginning of a running text, an even sample of documents.
    `columns`: what to read otherwise than in the training (`text_field`, `label_field`,
    `encoding`). Without labels a classifier is still measured, line by line, as far as that goes.
    Raises what opening a corpus raises.
    """
    settings = loaded.config.corpus.model_copy(update={"sources": (source,), **(columns or {})})
    in_documents = not loaded.labels and by_document(loaded)
    if in_documents and settings.documents == "none":
        # the run read a table or the bundled text; documents of plain text are its paragraphs
        settings = settings.model_copy(update={"documents": "paragraph"})
    try:
        found = choose(loaded, settings, None, stdin, other_labels=True)
    except DataError:
        if not loaded.labels or source == "-":
            raise
        plain = settings.model_copy(update={"documents": "line", "split": "100/0/0"})
        corpus = open_corpus(plain, task="lm", cache=cache_directory())
        documents, total = _all_over(corpus, "train")
        return _sampled(documents, corpus.description, total=total)
    name = f"{found.corpus.description} ({found.part})"
    if found.corpus.running:
        return Text(_first_parts(found.corpus.documents(found.split)), True, name)
    documents, total = _all_over(found.corpus, found.split)
    if loaded.labels:
        return _halves(documents, name, total=total)
    read = _sampled(documents, name, total=total)
    if in_documents and total == 1:
        text = (
            f"{name} has no blank lines and is read as one running text; the run was trained on "
            "documents, and starts each of them anew"
        )
        return replace(read, warnings=(Warning_(code="RUNNING_TEXT", text=text),))
    return read


def beginning_of(corpus: Corpus) -> Text:
    """All of an undivided corpus; as much of it as `read_text` reads."""
    if corpus.running:
        return Text(_first_parts(corpus.documents("train")), True, corpus.description)
    documents, total = _all_over(corpus, "train")
    return _sampled(documents, corpus.description, total=total)


def _first_parts(parts: Iterable[Document]) -> list[Document]:
    """The first parts of a running text."""
    kept, chars = [], 0
    for part in parts:
        kept.append(part)
        chars += len(part.text)
        if chars > MOST_CHARS:
            break
    return kept


def _all_over(corpus: Corpus, split: str) -> tuple[list[Document], int]:
    """The documents, or where they are too many a share of them from everywhere; and of how many.

    A corpus may be sorted by label, or by anything else.
    """
    count = chars = 0
    for document in corpus.documents(split):
        count, chars = count + 1, chars + len(document.text)
    most = math.ceil(count * min(1, MOST_CHARS / max(1, chars)))
    return sample_documents(corpus, split, most), count


def _halves(documents: Sequence[Document], name: str, *, total: int = 0) -> Text:
    """Every other document of each label is measured on, the others are for the reference."""
    seen: dict[str | None, int] = {}
    halves: tuple[list[Document], list[Document]] = ([], [])
    for document in documents:
        count = seen[document.label] = seen.get(document.label, -1) + 1
        halves[count % 2].append(document)
    return _sampled(halves[0], name, halves[1], total=total or len(documents))


def _sampled(
    documents: Sequence[Document],
    name: str,
    reference: Sequence[Document] = (),
    *,
    total: int = 0,
) -> Text:
    """So many of the documents that they can be measured on, from everywhere.

    `total`: of how many they are, if not of themselves; the name says if it is not all of these.
    """
    kept = [documents[k] for k in sample_places(len(documents), MOST_DOCUMENTS)]
    total = total or len(documents)
    if len(kept) < total:
        name = f"{name}, a sample of its {plural(total, 'document')}"
    return Text(kept, False, name, reference)
