"""Evidence sentences for EFFECT on classifiers: shipped, mined, or the user's own.

A file of items is JSON: `{"labels": ["positive", "negative"], "pairs": [["I loved it .", "I hated
it ."], …], "neutral": ["The river flows south .", …]}`; `neutral` may be missing.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rnnctl.errors import DataError

BARE = frozenset({"+", "-", "1", "0"})  # labels of anything
POSITIVE = frozenset({"pos", "positive", "good", "+", "1"})
NEGATIVE = frozenset({"neg", "negative", "bad", "-", "0"})
SHIPPED = Path(__file__).parent / "sentiment_en.json"


@dataclass(frozen=True)
class Items:
    """Sentences that speak for the first and for the second of two labels, and for neither."""

    labels: tuple[str, str]
    pairs: tuple[tuple[str, str], ...]
    neutral: tuple[str, ...] = ()
    source: str = ""


def read(path: Path) -> Items:
    """A file of items. Raises DataError where it is not what the module's docstring shows."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        labels, pairs = content["labels"], content["pairs"]
        items = Items(
            (str(labels[0]), str(labels[1])),
            tuple((str(a), str(b)) for a, b in pairs),
            tuple(str(text) for text in content.get("neutral", ())),
            str(path),
        )
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise DataError(
            f"{path} is not a file of items: {error}",
            hint='write {"labels": ["a", "b"], "pairs": [["for a", "for b"], …]}',
        ) from error
    if not items.pairs:
        raise DataError(f"{path} holds no pairs of sentences")
    return items


def shipped(labels: Sequence[str]) -> Items | None:
    """The shipped English pairs, if two of `labels` mean positive and negative."""
    named = {label.strip().casefold(): label for label in labels}
    positive = [named[key] for key in named if key in POSITIVE]
    negative = [named[key] for key in named if key in NEGATIVE]
    if len(labels) != 2 or not (positive and negative):
        return None
    found = read(SHIPPED)
    return Items((positive[0], negative[0]), found.pairs, found.neutral, "shipped (English)")


def bare(labels: Sequence[str]) -> bool:
    """Whether `labels` do not say what they are about: 0 and 1 may be opinions, or spam or not."""
    return all(label.strip() in BARE for label in labels)


def mined(
    sentences: Sequence[str],
    odds: NDArray[np.float64],
    words: Sequence[int],
    labels: tuple[str, str],
    *,
    most: int = 64,
) -> Items:
    """The sentences that a reference finds most telling, paired by their number of words.

    `odds` (N,): the reference's log-odds of the first label against the second. `words` (N,): how
    many each sentence has; those of 4 to 24 are taken.
    """
    size = np.asarray(words)
    usable = np.flatnonzero((size >= 4) & (size <= 24))
    order = usable[np.argsort(odds[usable], kind="stable")]
    second = [int(k) for k in order[: 2 * most] if odds[k] < 0]
    first = [int(k) for k in order[::-1][: 2 * most] if odds[k] > 0]
    pairs = []
    for k in first:
        same = [j for j in second if abs(int(size[j]) - int(size[k])) <= 1]
        if same:
            second.remove(same[0])
            pairs.append((sentences[k], sentences[same[0]]))
    return Items(labels, tuple(pairs[:most]), (), "mined from held-out text by a bag of words")
