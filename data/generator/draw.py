"""Drawing words and filling templates, the same on every machine and Python version.

Only `random.Random.random` is used: of all its methods it is the one whose sequence for a given
seed is promised not to change.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from typing import TypeVar

T = TypeVar("T")

SLOT = re.compile(r"\{(\w+)(?::(\w+))?\}")
# "a" before a vowel sound; "one", "useful", "union", "European" begin with a consonant sound
ARTICLE = re.compile(r"\b([Aa]) (?=(?:[aeio]|u(?!ni|se)|hour|honest)(?!ne\b|uro))", re.IGNORECASE)


class Draw:
    """Random choices from a seed."""

    def __init__(self, *seed: object) -> None:
        self._random = random.Random("/".join(map(str, seed))).random

    def below(self, limit: int) -> int:
        """A whole number from 0 to limit - 1."""
        return int(self._random() * limit)

    def between(self, low: int, high: int) -> int:
        """A whole number from low to high, both included."""
        return low + self.below(high - low + 1)

    def chance(self, share: float) -> bool:
        """True in that share of the calls."""
        return self._random() < share

    def pick(self, items: Sequence[T]) -> T:
        """One of the items."""
        return items[self.below(len(items))]

    def shuffled(self, items: Sequence[T]) -> list[T]:
        """All items in random order."""
        keys = [self._random() for _ in items]
        return [items[i] for i in sorted(range(len(items)), key=keys.__getitem__)]

    def sample(self, items: Sequence[T], count: int) -> list[T]:
        """`count` different items."""
        return self.shuffled(items)[:count]


def fill(
    template: str, draw: Draw, fixed: Mapping[str, str], lists: Mapping[str, Sequence[str]]
) -> str:
    """Put words into a template's slots.

    ``{food}`` is taken from `fixed`, or drawn anew from ``lists["food"]``; ``{food:a}`` is drawn
    once, and stands for the same word wherever the template says ``{food:a}``. Words may hold
    slots themselves.
    """
    tagged: dict[tuple[str, str], str] = {}

    def word(match: re.Match[str]) -> str:
        name, tag = match[1], match[2]
        if tag and (name, tag) in tagged:
            return tagged[name, tag]
        value = fixed[name] if name in fixed else draw.pick(lists[name])
        if tag:
            tagged[name, tag] = value
        return value

    text = template
    while SLOT.search(text):
        text = SLOT.sub(word, text)
    return ARTICLE.sub(r"\1n ", text)


def sentence(text: str) -> str:
    """With a capital first letter, an opening quotation mark skipped."""
    for place, char in enumerate(text):
        if char.isalpha():
            return text[:place] + char.upper() + text[place + 1 :]
    return text
