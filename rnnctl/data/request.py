"""What is asked of a corpus, and what is found: the two things that opening one passes on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from rnnctl.config import CorpusConfig, DocumentUnit
from rnnctl.data.collections import Collection
from rnnctl.data.documents import Reading
from rnnctl.data.splitting import Shares
from rnnctl.results.base import Warning_


@dataclass(frozen=True, slots=True)
class Request:
    """What somebody asks for. Nothing changes it on the way; what comes of it is returned.

    task: the one whose documents and splits are wanted; `labelled` if it learns labels.
    texts_alone: the documents are for a language model, which takes their labels off. unit: what of
    plain text is a document. The others are those of `rnnctl.data.corpus.open_corpus`.
    """

    config: CorpusConfig
    task: str
    labelled: bool
    texts_alone: bool
    shares: Shares
    unit: DocumentUnit
    cache: Path
    stdin: BinaryIO | None
    trained: Reading | None
    known_labels: tuple[str, ...]
    other_labels: bool
    by: str | None


@dataclass(frozen=True, slots=True)
class Found:
    """Documents as they were given, by "train", "valid" and "test", or "all"; how they were read.

    unlabelled: of what is trained on, the documents without labels, which only a language model
    reads. notes, warnings: what should be said.
    """

    given: Mapping[str, Sequence[Collection]]
    reading: Reading
    unlabelled: tuple[Collection, ...] = ()
    notes: tuple[str, ...] = ()
    warnings: tuple[Warning_, ...] = ()


def trained_on(split: str) -> bool:
    """Whether a split as it was given is trained on, or what is trained on is chosen from it."""
    return split in ("all", "train")
