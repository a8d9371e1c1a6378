"""A part of many documents that stands for all of them, whatever their order."""

from __future__ import annotations

from rnnctl.data.corpus import Corpus
from rnnctl.data.documents import Document


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
    import numpy as np

    if count <= most:
        return list(range(count))
    begins = np.arange(most + 1) * count // most
    chosen: list[int] = np.random.default_rng(0).integers(begins[:-1], begins[1:]).tolist()
    return chosen
