"""The text that a diagnosis measures on: documents as ids, with what a distance means in them.

Distances are measured in tokens and reported in words, at the text's own mean number of words per
token; in text without spaces between words (Chinese, Thai) in characters. Running text is cut into
blocks, which then play the part of documents (DIAGNOSTICS part 1, resampling unit).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rnnctl import integrity

Ids = NDArray[np.int64]
Floats = NDArray[np.float64]
Unit = Literal["words", "chars"]
WORD = re.compile(r"\S+")
# Thai, Lao, Burmese, Khmer, kana and Chinese characters: written without spaces between words
UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]")
LOOKED_AT = 100_000  # characters of a text that decide on its unit of distance


@dataclass(frozen=True)
class Sample:
    """Documents (or blocks of running text) as token ids, without boundary tokens at their ends.

    `labels` (D,) are classes of a classifier, `texts` the documents' texts. `encode` turns a text
    into ids, `token_bytes` gives one id's UTF-8; both are None for symbol sequences of known-answer
    models, each symbol of which counts as a word. `spelled`: words consist of several tokens.
    `not_known`: ids, beside `unknown_id`, of text that the model does not know.
    """

    ids: tuple[Ids, ...]
    words_per_token: float = 1.0
    chars_per_token: float = 1.0
    running: bool = False
    labels: Ids | None = None
    texts: tuple[str, ...] = ()
    unit: Unit = "words"
    unknown_id: int | None = None
    unknown: int = 0
    fingerprint: str = ""
    encode: Callable[[str], Ids] | None = None
    token_bytes: Callable[[int], bytes] | None = None
    spelled: bool = False
    block: int | None = None
    not_known: frozenset[int] = frozenset()

    @cached_property
    def lengths(self) -> Ids:
        """Tokens per document: (D,)."""
        return np.array([len(ids) for ids in self.ids], dtype=np.int64)

    @property
    def tokens(self) -> int:
        """Tokens of all documents."""
        return int(self.lengths.sum())

    @property
    def one(self) -> str:
        """A single unit of distance: ``word`` or ``char``."""
        return self.unit[:-1]

    @property
    def units_per_token(self) -> float:
        """Distance units (words, or characters where there are none) per token."""
        return self.words_per_token if self.unit == "words" else self.chars_per_token

    def distance(self, tokens: float) -> float:
        """A distance in tokens as words (or characters)."""
        return tokens * self.units_per_token

    def distances(self, pieces: Sequence[Ids]) -> Floats:
        """The length of each piece of text in words (or characters): (P,).

        As many as the whole text has for so many tokens where ids have no text.
        """
        lengths = np.array([len(ids) for ids in pieces], dtype=np.float64)
        if self.token_bytes is None:
            return lengths * self.units_per_token
        shown = lru_cache(maxsize=None)(self.token_bytes)
        texts = (b"".join(map(shown, ids.tolist())).decode("utf-8", "replace") for ids in pieces)
        words = self.unit == "words"
        found = [len(WORD.findall(text)) if words else len(text) for text in texts]
        return np.array(found, dtype=np.float64)

    @property
    def spells(self) -> bool:
        """Whether words consist of several tokens, and are to be found in the text."""
        return self.spelled and self.unit == "words" and self.token_bytes is not None

    def table(self, vocab_size: int) -> list[bytes]:
        """The text of every id: of a sample whose ids have one."""
        assert self.token_bytes is not None
        return [self.token_bytes(token) for token in range(vocab_size)]

    @property
    def resampling_unit(self) -> str:
        """What intervals resample."""
        return resampling_unit(self.block)

    def blocks(self, length: int) -> Sample:
        """Contiguous pieces of `length` tokens in the place of documents.

        Documents are joined end to end; what is left over after the last whole block is dropped.
        """
        joined = np.concatenate(self.ids) if self.ids else np.zeros(0, dtype=np.int64)
        count = len(joined) // length
        pieces = tuple(joined[k * length : (k + 1) * length] for k in range(count))
        return replace(self, ids=pieces, labels=None, texts=(), block=length)

    def ended(self, boundary_id: int) -> Sample:
        """The documents with the boundary that ends each where a classifier answers."""
        return replace(self, ids=tuple(np.append(ids, boundary_id) for ids in self.ids))


def resampling_unit(block: int | None) -> str:
    """Stretches of so many tokens of a running text, or else documents, in words."""
    return f"stretch of {block:,} tokens" if block else "document"


REPRESENTATIVE = 0.1
"""Share of all tokens: a length that fewer have room for is one of the long documents only."""
REPRESENTATIVE_ONCE = 0.5
"""The same where each document is asked once, at its end, as a classifier's is: behind a tenth of
the tokens there may be a handful of documents, and so a handful of answers."""


def with_room(
    sample: Sample, lengths: Sequence[int], *, fewest: int, wanted: int
) -> tuple[Sample, int] | None:
    """The texts to measure in, and which of the falling `lengths` (tokens) to measure over.

    It is the first one that fits into `wanted` texts and behind a tenth of all tokens. Where none
    does, it is the first that fits into `fewest` texts, or a shorter one that has half as much room
    again: eight long documents are not cut to a few tokens for the sake of a ninth. None where not
    even the last one fits. Shorter documents stay in, for what needs less room; running text comes
    in blocks of twice the length.
    """
    # Long lags need long texts, precise means need many: of a corpus with documents of all lengths
    # one of the two has to give way, and it is the length.
    chosen, most = None, 0
    for k, length in enumerate(lengths):
        units = sample.blocks(2 * length) if sample.running else sample
        places = np.maximum(0, units.lengths - length + 1)
        texts, room = int(np.count_nonzero(places)), int(places.sum())
        # Of running text the blocks grow in number as they get shorter, whatever is in them.
        worth = texts if sample.running else room
        if texts >= fewest and (chosen is None or worth >= 1.5 * most):
            chosen, most = (units, k), worth
        if texts >= wanted and room >= REPRESENTATIVE * units.tokens:
            break
    return chosen


def spread_over(weights: ArrayLike, count: int, draw: np.random.Generator) -> Ids:
    """`count` places, rising: each as often as its weight (P,) says, spread evenly over them.

    One is drawn from each of `count` stretches of equal weight.
    """
    # Stratified: the same expectation as independent draws, and less chance in what is covered.
    ends = np.cumsum(np.asarray(weights, dtype=np.float64))
    marks = (np.arange(count) + draw.random(count)) * (ends[-1] / count)
    # Rounding may put the last mark beyond the last end.
    found: Ids = np.minimum(np.searchsorted(ends, marks, side="right"), len(ends) - 1)
    return found


def spread_over_texts(lengths: Ids, count: int, draw: np.random.Generator) -> tuple[Ids, Ids]:
    """`count` places, each as likely as any other: the text (N,) and the place in it (N,).

    `lengths` (D,): how many places each text has. One is drawn from each of `count` equally long
    stretches: by plain chance some would have none and others several.
    """
    starts = np.concatenate([[0], np.cumsum(lengths)])
    chosen = spread_over(np.ones(int(starts[-1])), count, draw)
    text = np.searchsorted(starts, chosen, side="right") - 1
    return text, chosen - starts[text]


def from_texts(
    texts: Sequence[str],
    encode: Callable[[str], Ids],
    *,
    labels: ArrayLike | None = None,
    running: bool = False,
    between: int | None = None,
    unknown_id: int | None = None,
    token_bytes: Callable[[int], bytes] | None = None,
    spelled: bool = False,
) -> Sample:
    """Encode documents; running text arrives as pieces and becomes one document.

    `encode` gives the ids (T,) of a text, `labels` (D,) are classes. Running text may be documents
    that are read on through: then `between` is the id that stands between any two of them. Empty
    documents are left out.
    """
    kept = [k for k, text in enumerate(texts) if text.strip()]
    joined = running and between is None
    pieces = ["".join(texts)] if joined and kept else [texts[k] for k in kept]
    ids = tuple(np.asarray(encode(text), dtype=np.int64) for text in pieces)
    if running and between is not None and ids:
        ids = (np.concatenate([part for one in ids for part in ([between], one)][1:]),)
    tokens = max(1, sum(map(len, ids)))
    chars = sum(map(len, pieces))
    words = sum(len(WORD.findall(text)) for text in pieces)
    chosen = None
    if labels is not None:
        chosen = np.asarray(labels, dtype=np.int64)[kept]
    return Sample(
        ids=ids,
        words_per_token=words / tokens,
        chars_per_token=chars / tokens,
        running=running,
        labels=chosen,
        texts=tuple(pieces),
        unit=_unit(pieces),
        unknown_id=unknown_id,
        unknown=0 if unknown_id is None else int(sum((part == unknown_id).sum() for part in ids)),
        fingerprint=_digest(pieces, chosen),
        encode=encode,
        token_bytes=token_bytes,
        spelled=spelled,
    )


def _unit(texts: Sequence[str]) -> Unit:
    """Characters where most letters are of a script without spaces between words."""
    seen = "".join(texts)[:LOOKED_AT]
    letters = sum(map(str.isalpha, seen))
    return "chars" if 2 * len(UNSPACED.findall(seen)) > max(1, letters) else "words"


def _digest(texts: Sequence[str], labels: Ids | None) -> str:
    parts = (text.encode("utf-8", "surrogatepass") + b"\0" for text in texts)
    return integrity.digest_of([*parts, b"" if labels is None else labels.tobytes()])


# -- sentences -----------------------------------------------------------------------------------

SENTENCE_ENDS = frozenset(".!?。！？…")
CLOSING = frozenset("\"'”’»)]")
SHORTEST = 3  # tokens; shorter pieces (a closing mark, "2.") belong to the sentence before them
SYMBOLS_PER_SENTENCE = 8  # tokens of a "sentence" where ids have no text (known-answer models)


def split_sentences(ids: Ids, sample: Sample) -> list[Ids]:
    """The sentences (T,) of one document (T,), in order; together they are the document."""
    shown = sample.token_bytes
    if shown is None:
        return [ids[k : k + SYMBOLS_PER_SENTENCE] for k in range(0, len(ids), SYMBOLS_PER_SENTENCE)]
    texts = [shown(int(token)).decode("utf-8", "replace") for token in ids]
    cuts, begin, k = [], 0, 0
    while k < len(texts):
        after = k + 1
        if texts[k].strip()[-1:] in SENTENCE_ENDS:
            while after < len(texts) and texts[after] in CLOSING:
                after += 1  # a quotation's last mark belongs to the sentence that it ends
            following = texts[after] if after < len(texts) else " "
            ended = following.strip()[:1] not in SENTENCE_ENDS
            # In spelled text "3.5" ends no sentence: a space must follow.
            if sample.spelled and following[:1].strip():
                ended = False
            if ended and after - begin >= SHORTEST:
                cuts.append(after)
                begin = after
        k = after
    if cuts and 0 < len(texts) - cuts[-1] < SHORTEST:
        cuts.pop()
    return [part for part in np.split(ids, cuts) if len(part)]
