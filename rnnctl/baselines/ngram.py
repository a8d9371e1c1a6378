"""An n-gram language model: interpolated, modified Kneser–Ney (Chen & Goodman 1999, section 3).

p_k(w|c) = max(a(cw) − D(a(cw)), 0) / a(c) + γ(c) p_{k−1}(w|c′), with c′ the context without its
first token, a(·) raw counts at the highest order and the number of different left neighbours below
it, three discounts D per order from the counts of counts, and γ(c) what the discounts set free. It
ends in the uniform distribution over V tokens, so no token is impossible.

Everything is arrays: a k-gram is a number, its rank among the sorted pairs (rank of its first k−1
tokens, last token). 2 million tokens of order 5 take a few seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rnnctl.data.ids import SplitIds
from rnnctl.data.tokenizers import Tokenizer

Ids = NDArray[np.int64]
Floats = NDArray[np.float64]
ORDERS = {"char": 6, "byte": 6, "word": 3, "bpe": 4}  # per level of tokenizer


@dataclass(frozen=True)
class _Level:
    """All k-grams of one order, and sums over their contexts (the (k−1)-grams by rank)."""

    keys: Ids  # sorted: context rank * V + token
    counts: Floats
    discounts: Floats  # D of counts 0, 1, 2, 3 or more
    totals: Floats  # per context: sum of counts
    free: Floats  # per context: γ


class KneserNey:
    """An n-gram model over ids below `vocab_size`, trained once on `documents`.

    `order` counts the predicted token: 5 looks at four tokens back. Before a document it is as if
    there were order − 1 times `boundary_id`, which are context and never counted as text; whether
    documents end in one is theirs to say. `tokens` is how many it was trained on.
    """

    def __init__(
        self, documents: Sequence[ArrayLike], *, order: int, vocab_size: int, boundary_id: int
    ) -> None:
        self.order, self.vocab_size, self.boundary_id = order, vocab_size, boundary_id
        self.tokens = sum(map(np.size, documents))
        ids = self._joined(documents)
        text = self._text(documents)
        ranks = np.zeros(len(ids), dtype=np.int64)
        keys: list[Ids] = []
        grams: list[Ids] = []  # per order: the rank of the k-gram that ends at each position, or −1
        for k in range(1, order + 1):
            before = np.concatenate([[-1], ranks[:-1]]) if k > 1 else ranks
            whole = before >= 0
            unique, found = np.unique(before[whole] * vocab_size + ids[whole], return_inverse=True)
            ranks = np.full(len(ids), -1)
            ranks[whole] = found
            keys.append(unique)
            grams.append(ranks)
        self._levels = [
            _level(
                keys[k],
                self._counts(keys, grams, text, k),
                len(keys[k - 1]) if k else 1,
                vocab_size,
            )
            for k in range(order)
        ]

    def losses(self, document: ArrayLike) -> Floats:
        """Nats of each token of a document (T,) given what is before it in the document: (T,)."""
        ids = self._joined([document])
        return -np.log(self._probabilities(ids))[self.order - 1 :]

    def probabilities(self, context: ArrayLike) -> Floats:
        """P of every token after `context`: (V,), sums to 1."""
        given = self._joined([context])[-(self.order - 1) :] if self.order > 1 else np.zeros(0, int)
        rows = [np.append(given, token) for token in range(self.vocab_size)]
        return np.array([self._probabilities(row)[-1] for row in rows])

    def _joined(self, documents: Sequence[ArrayLike]) -> Ids:
        """Documents end to end, each after order − 1 boundary tokens."""
        # So that a document's first tokens are predicted from its beginning, and not from the end
        # of the one before it.
        pad = np.full(self.order - 1, self.boundary_id)
        parts = [part for document in documents for part in (pad, np.asarray(document))]
        return np.concatenate(parts).astype(np.int64) if parts else np.zeros(0, dtype=np.int64)

    def _text(self, documents: Sequence[ArrayLike]) -> NDArray[np.bool_]:
        """Which of the joined ids are a document's own."""
        pad = np.zeros(self.order - 1, dtype=bool)
        parts = [part for one in documents for part in (pad, np.ones(np.size(one), dtype=bool))]
        return np.concatenate(parts) if parts else np.zeros(0, dtype=bool)

    def _counts(self, keys: list[Ids], grams: list[Ids], text: NDArray[np.bool_], k: int) -> Floats:
        """a(·) of the (k+1)-grams: how often, or below the top after how many different tokens.

        Only those that end in a token of the `text`; the others are nothing but contexts.
        """
        size = len(keys[k])
        if k == self.order - 1:
            return np.bincount(grams[k][text], minlength=size).astype(np.float64)
        # every token of a document has order − 1 before it, so that its longer gram exists
        _, first = np.unique(grams[k + 1][text], return_index=True)
        suffix = grams[k][text][first]  # the longer gram without its first token
        return np.bincount(suffix, minlength=size).astype(np.float64)

    def _probabilities(self, ids: Ids) -> Floats:
        """P of every token of `ids` given the up to order − 1 tokens before it: (T,)."""
        chance = np.full(len(ids), 1 / self.vocab_size)
        context = np.zeros(len(ids), dtype=np.int64)  # rank of the k tokens before; −1: never seen
        for k, level in enumerate(self._levels):
            keys = context * self.vocab_size + ids
            if not len(level.keys):  # the text is shorter than this order
                break
            at = np.minimum(np.searchsorted(level.keys, keys), len(level.keys) - 1)
            seen = (level.keys[at] == keys) & (context >= 0)
            counts = np.where(seen, level.counts[at], 0.0)
            less = level.discounts[np.minimum(counts, 3).astype(np.int64)]
            total = np.where(context >= 0, level.totals[context], 1.0)
            mixed = np.maximum(counts - less, 0) / total + level.free[context] * chance
            chance = np.where(context >= 0, mixed, chance)
            ranks = np.where(seen, at, -1)
            # One token more of context for the next order; where the longer context was never seen
            # the chance of this order stands.
            context = np.concatenate([[-1], ranks[:-1]])
            context[: k + 1] = -1
        return chance


def trained_on(
    split: SplitIds, tokenizer: Tokenizer, *, most_tokens: int, least_order: int = 1
) -> KneserNey:
    """The model of a split, of the order that suits its tokens and is at least `least_order`: of
    its first `most_tokens`, whole documents but for the last. Each is told where it begins, as
    `losses` tells it.
    """
    ids = split.ids[:most_tokens]
    ends = split.offsets[(split.offsets > 0) & (split.offsets < len(ids))]
    return KneserNey(
        [part for part in np.split(ids, ends) if len(part)],
        order=max(ORDERS[tokenizer.level], least_order),
        vocab_size=tokenizer.vocab_size,
        boundary_id=tokenizer.boundary_id,
    )


def _level(keys: Ids, counts: Floats, contexts: int, vocab_size: int) -> _Level:
    discounts = _discounts(counts)
    before = keys // vocab_size
    totals = np.bincount(before, weights=counts, minlength=contexts)
    taken = discounts[np.minimum(counts, 3).astype(np.int64)]
    freed = np.bincount(before, weights=np.minimum(taken, counts), minlength=contexts)
    safe = np.maximum(totals, 1e-300)
    # a context that was only ever last has no continuation: everything goes to the shorter one
    free = np.where(totals > 0, freed / safe, 1.0)
    return _Level(keys, counts, discounts, np.where(totals > 0, totals, 1.0), free)


def _discounts(counts: Floats) -> Floats:
    """D1, D2, D3+ = k − (k+1) Y n_{k+1} / n_k, Y = n1 / (n1 + 2 n2); kept within [0, k]."""
    n = [float(np.count_nonzero(counts == k)) for k in range(1, 5)]
    # The formula needs k-grams that occur once and twice; a tiny text may have none.
    if n[0] == 0 or n[1] == 0:
        return np.array([0.0, 0.5, 0.5, 0.5])
    y = n[0] / (n[0] + 2 * n[1])
    found = [k - (k + 1) * y * n[k] / n[k - 1] if n[k - 1] else 0.5 * k for k in (1, 2, 3)]
    return np.array([0.0, *(min(max(value, 0.05), k) for k, value in enumerate(found, 1))])
