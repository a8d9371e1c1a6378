"""FIRST→LAST: does a document's first sentence still count in its last?

Documents are put into random pairs, and the first sentence of one takes the place of the other's.
Δ = loss of the last sentence after the exchange − loss before, over the tokens of last sentences.
A model without memory, and one that has forgotten the first sentence by then, has exactly 0. Only
the first sentence differs, so that Δ is what the model loses by being told another beginning.

A word that stands in the first and in the last sentence, and not between them, *returns*. It is
predicted right if the model finds each of its tokens the likeliest one. The share of these words
that are right after the own first sentence is set beside the share after another one: what the rest
of the text gives away, and chance. Words that stand in many documents, or in the other first
sentence as well, are left out.

Axes: T time, B documents side by side, D documents.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from rnnctl.data.batches import pad_documents
from rnnctl.diagnostics import curves, spelling
from rnnctl.diagnostics.sample import Floats, Ids, Sample, split_sentences
from rnnctl.diagnostics.settings import Settings
from rnnctl.diagnostics.subject import Guessing, LanguageSubject
from rnnctl.results.base import Estimate
from rnnctl.results.diagnostics import FirstLastRecord, Sampling
from rnnctl.wording import plural

BATCH = 64  # documents side by side
FEWEST = 8  # documents of two sentences
ROUNDING = 1e-5  # nats of a sentence: a smaller difference is the arithmetic's
MOST_TOKENS = 2048  # of a document that is read: longer ones are left out
# Share of documents that a word may stand in, to count as one that returns. In the
# bundled paragraphs words that tell one from others stand in a sixth of them or less. With a fifth
# as the limit it depended on the sample which of these count: intervals of 120 documents held the
# shares in 89 % of 200 texts, and in 95 % with a third.
RARE = 1 / 3
FEWEST_WORDS = 20  # that return


@dataclass(frozen=True)
class Parts:
    """A document cut into its first sentence, what follows, and its last sentence."""

    first: Ids
    middle: Ids
    last: Ids


def measure(subject: LanguageSubject, sample: Sample, settings: Settings) -> FirstLastRecord:
    """What the last sentence of a document costs more when its first is another document's."""
    if sample.running or len(sample.ids) == 1:
        note = "FIRST→LAST is about texts in documents; this is one running text"
        return FirstLastRecord(status="not_applicable", note=note)
    draw = np.random.default_rng((settings.seed, 70))
    documents = _cut(sample, settings, draw)
    if len(documents) < FEWEST:
        return FirstLastRecord(
            status="insufficient_data",
            note=f"{plural(len(documents), 'document has', 'documents have')} two sentences; "
            f"FIRST→LAST needs {FEWEST}",
        )
    partners = np.roll(np.arange(len(documents)), 1)  # in random order: a random pairing
    # Documents of similar length side by side: little of what is read is padding.
    order = np.argsort([len(parts.first) + len(parts.middle) for parts in documents])
    firsts = [documents[k].first for k in partners]
    returning = _returning(documents, firsts, sample, subject.vocab_size)
    rise, length = np.zeros(len(documents)), np.zeros(len(documents))
    words = np.array([len(found) for found in returning], dtype=np.float64)
    right, chance = np.zeros(len(documents)), np.zeros(len(documents))
    for members in np.array_split(order, math.ceil(len(order) / BATCH)):
        chosen = [documents[k] for k in members]
        own, hits = _predicted(subject, chosen, [parts.first for parts in chosen])
        other, others = _predicted(subject, chosen, [firsts[k] for k in members])
        difference = other - own
        # Another batch adds up floats in another order. What a model that has forgotten shows there
        # must be exactly 0, or its sign would count in "worse".
        rise[members] = np.where(np.abs(difference) < ROUNDING, 0.0, difference)
        length[members] = [len(parts.last) for parts in chosen]
        for k, after_own, after_other in zip(members, hits, others, strict=True):
            right[k] = sum(bool(after_own[word].all()) for word in returning[k])
            chance[k] = sum(bool(after_other[word].all()) for word in returning[k])
    record = _record(rise, length, documents, sample, settings)
    if not isinstance(subject, Guessing):
        return record
    recalled = _recalled(words, {"right": right, "right_otherwise": chance})
    return record.model_copy(update={"scalars": {**record.scalars, **recalled}})


def _cut(sample: Sample, settings: Settings, draw: np.random.Generator) -> list[Parts]:
    """Documents of at least two sentences, in random order, as many as the preset reads."""
    found: list[Parts] = []
    for k in draw.permutation(len(sample.ids)):
        if len(found) == settings.exchanges:
            break
        # A document's end is read from its beginning, once for each first sentence; and one of
        # 10,000 tokens would pad all others of its batch.
        if len(sample.ids[k]) > MOST_TOKENS:
            continue
        first, *rest = split_sentences(sample.ids[k], sample)
        if rest:
            middle = np.concatenate([first[:0], *rest[:-1]])
            found.append(Parts(first, middle, rest[-1]))
    return found


def _predicted(
    subject: LanguageSubject, documents: list[Parts], firsts: list[Ids]
) -> tuple[Floats, list[NDArray[np.bool_]]]:
    """Of each document's last sentence after one of `firsts` and its own middle.

    Its nats (B,), and for each document which tokens of the sentence the model finds the likeliest.
    """
    texts = [
        np.concatenate([[subject.boundary_id], first, parts.middle, parts.last])
        for first, parts in zip(firsts, documents, strict=True)
    ]
    # From the boundary on, as the model was trained to begin a document.
    ids, lengths = pad_documents(texts, subject.boundary_id)
    features, _ = subject.advance(torch.from_numpy(ids[:-1]), subject.initial_state(len(texts)))
    begins = lengths - [len(parts.last) for parts in documents]
    place = np.arange(len(ids))[:, None]
    inside = (place >= begins) & (place < lengths)
    column, at = np.nonzero(inside.T)  # one document's tokens after the other's
    rows = features[torch.from_numpy(at - 1), torch.from_numpy(column)]
    targets = torch.from_numpy(ids[at, column])
    nats = subject.losses(rows, targets).double().cpu().numpy()
    hits = np.zeros(len(targets), dtype=np.bool_)
    if isinstance(subject, Guessing):
        hits = (subject.likeliest(rows).cpu() == targets).numpy()
    sums = np.bincount(column, nats, minlength=len(texts)).astype(np.float64)
    return sums, np.split(hits, np.cumsum([len(parts.last) for parts in documents])[:-1])


def _returning(
    documents: Sequence[Parts], others: Sequence[Ids], sample: Sample, vocab_size: int
) -> list[list[slice]]:
    """For each document where, in its last sentence, the words stand that return."""
    table = None if sample.token_bytes is None else sample.table(vocab_size)

    def words(ids: Ids) -> list[tuple[bytes | int, slice]]:
        """Words by their text, and where they are: single tokens where words are not spelled.

        A word is the same with the space before it and, at the beginning of a text, without.
        """
        if table is None:
            return [(int(token), slice(t, t + 1)) for t, token in enumerate(ids)]
        spans = [slice(t, t + 1) for t in range(len(ids))]
        if sample.spelled:
            found = spelling.find_words(ids, table)
            spans = [slice(int(a), int(b)) for a, b in zip(found.starts, found.ends, strict=True)]
        shown = [b"".join(table[int(token)] for token in ids[span]).strip() for span in spans]
        return [both for both in zip(shown, spans, strict=True) if _is_word(both[0])]

    cut = [[words(part) for part in (parts.first, parts.middle, parts.last)] for parts in documents]
    frequency = Counter(
        word for parts in cut for word in {word for part in parts for word, _ in part}
    )
    found = []
    for (first, middle, last), other in zip(cut, others, strict=True):
        told = {word for word, _ in first} - {word for word, _ in words(other)}
        # A word that the middle repeats can be had from there.
        told -= {word for word, _ in middle}
        spans = []
        for word, span in last:
            # Frequent words are guessed right without any memory.
            if word in told and frequency[word] <= max(1.0, RARE * len(documents)):
                spans.append(span)
            # Its second time in the sentence it is no longer news.
            told.discard(word)
        found.append(spans)
    return found


def _is_word(token: bytes) -> bool:
    return any(character.isalnum() for character in token.decode("utf-8", "replace"))


def _recalled(words: Floats, right: dict[str, Floats]) -> dict[str, Estimate]:
    """The shares of `words` (D,) that are right, by name; nothing where few words return."""
    total = int(words.sum())
    if total < FEWEST_WORDS:
        return {}
    found = {"returning": Estimate(estimate=total, n=len(words), unit="words")}
    for name, hits in right.items():
        found[name] = curves.share(hits, words)
    return found


def _record(
    rise: Floats, length: Floats, documents: list[Parts], sample: Sample, settings: Settings
) -> FirstLastRecord:
    """Ratios of means with intervals over documents; `rise` in nats per sentence: (D,)."""
    n, ones = len(rise), np.ones(len(rise))
    # A ratio of sums, so that long sentences count as much as they are worth in perplexity.
    per_token = curves.Sums(rise, length, settings).means
    per_sentence = curves.Sums(rise, ones, settings).means
    # Of the median document: a few very long ones would make a mean that no document has.
    middles = np.array([len(parts.middle) for parts in documents], dtype=np.float64)
    drawn = np.random.default_rng((settings.seed, 71)).integers(0, n, (settings.resamples, n))
    between, others = float(np.median(middles)), np.median(middles[drawn], axis=1)
    return FirstLastRecord(
        sampling=Sampling(unit="document", n=n, items=n, documents_long_enough=n),
        scalars={
            "rise": curves.first(per_token, n=n, unit="nats per token"),
            "rise_percent": curves.estimate(
                100 * math.expm1(min(50.0, float(per_token.estimate[0]))),
                100 * np.expm1(np.minimum(50.0, per_token.replicates[:, 0])),
                n=n,
                unit="% perplexity",
            ),
            "rise_per_sentence": curves.first(per_sentence, n=n, unit="nats per sentence"),
            "worse": curves.share(rise > 0, ones),
            "distance": curves.estimate(
                sample.distance(between),
                others * sample.units_per_token,
                n=n,
                unit=sample.unit,
            ),
        },
    )
