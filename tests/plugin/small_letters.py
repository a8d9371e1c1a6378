"""A level of another package: characters, capital letters made small."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from rnnctl.config import TokenizerConfig
from rnnctl.data.tokenizers import Tokenizer
from rnnctl.data.tokenizers.characters import CharTokenizer
from rnnctl.data.tokenizers.levels import Level


class SmallLetters(CharTokenizer):
    """Characters of text in small letters."""

    level: ClassVar[Any] = "small"

    def encode_charged(self, text: str) -> Any:
        """The ids of the text in small letters, and what spelling the unknown ones costs."""
        return super().encode_charged(text.lower())

    def spelling_by_token(self, text: str) -> Any:
        """The same by token."""
        return super().spelling_by_token(text.lower())


def train(texts: Iterable[str], config: TokenizerConfig, running: bool) -> Tokenizer:
    """The characters of the texts."""
    counts = Counter(character for text in texts for character in text.lower())
    return SmallLetters(sorted(counts), dict(sorted(counts.items())))


def restore(own: Mapping[str, Any], tokens: list[str], merges: object) -> Tokenizer:
    """What `train` made, of what it wrote."""
    return SmallLetters(tokens[2:], own["spelling"]["chars"])


SMALL = Level(train, restore)
