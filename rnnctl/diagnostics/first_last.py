"""FIRST→LAST: does a document's first sentence still count in its last?

Documents are put into random pairs, and the first sentence of one takes the place of the other's.
Δ = loss of the last sentence after the exchange − loss before, over the tokens of last sentences.
A model without memory, and one that has forgotten the first sentence by then, has exactly 0. Only
the first sentence differs, so that Δ is what the model loses by being told another beginning.

Axes: T time, B documents side by side, D documents.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from rnnctl import statistics
from rnnctl.diagnostics import curves, sentences
from rnnctl.diagnostics.sample import Sample
from rnnctl.diagnostics.settings import Settings
from rnnctl.diagnostics.subject import LanguageSubject
from rnnctl.results.diagnostics import FirstLastRecord, Sampling
from rnnctl.wording import plural

Ids = NDArray[np.int64]
Floats = NDArray[np.float64]
BATCH = 64
FEWEST = 8  # documents of two sentences
ROUNDING = 1e-5  # nats of a sentence: a smaller difference is the arithmetic's
MOST_TOKENS = 2048  # of a document that is read: longer ones are left out


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
    order = np.argsort([len(parts.first) + len(parts.middle) for parts in documents])
    rise, length = np.zeros(len(documents)), np.zeros(len(documents))
    for members in np.array_split(order, math.ceil(len(order) / BATCH)):
        chosen = [documents[k] for k in members]
        own = _losses(subject, chosen, [parts.first for parts in chosen])
        other = _losses(subject, chosen, [documents[partners[k]].first for k in members])
        difference = other - own
        rise[members] = np.where(np.abs(difference) < ROUNDING, 0.0, difference)
        length[members] = [len(parts.last) for parts in chosen]
    return _record(rise, length, documents, sample, settings)


def _cut(sample: Sample, settings: Settings, draw: np.random.Generator) -> list[Parts]:
    """Documents of at least two sentences, in random order, as many as the preset reads."""
    found: list[Parts] = []
    for k in draw.permutation(len(sample.ids)):
        if len(found) == settings.exchanges:
            break
        if len(sample.ids[k]) > MOST_TOKENS:
            continue
        first, *rest = sentences.split(sample.ids[k], sample)
        if rest:
            middle = np.concatenate([first[:0], *rest[:-1]])
            found.append(Parts(first, middle, rest[-1]))
    return found


def _losses(subject: LanguageSubject, documents: list[Parts], firsts: list[Ids]) -> Floats:
    """Nats of each document's last sentence after one of `firsts` and its own middle: (B,)."""
    texts = [
        np.concatenate([[subject.boundary_id], first, parts.middle, parts.last])
        for first, parts in zip(firsts, documents, strict=True)
    ]
    lengths = np.array([len(text) for text in texts])
    ids = np.full((int(lengths.max()), len(texts)), subject.boundary_id, dtype=np.int64)
    for b, text in enumerate(texts):
        ids[: len(text), b] = text
    features, _ = subject.advance(torch.from_numpy(ids[:-1]), subject.initial_state(len(texts)))
    begins = lengths - [len(parts.last) for parts in documents]
    place = np.arange(len(ids))[:, None]
    at, column = np.nonzero((place >= begins) & (place < lengths))
    rows = features[torch.from_numpy(at - 1), torch.from_numpy(column)]
    nats = subject.losses(rows, torch.from_numpy(ids[at, column])).double().cpu().numpy()
    return np.bincount(column, nats, minlength=len(texts)).astype(np.float64)


def _record(
    rise: Floats, length: Floats, documents: list[Parts], sample: Sample, settings: Settings
) -> FirstLastRecord:
    """Ratios of means with intervals over documents; `rise` in nats per sentence: (D,)."""
    n = len(rise)
    weights = statistics.resampling_weights(n, resamples=settings.resamples, seed=settings.seed)
    per_token = statistics.ratio_of_means(rise, length, weights)
    ones = np.ones(n)
    per_sentence = statistics.ratio_of_means(rise, ones, weights)
    worse = statistics.ratio_of_means((rise > 0).astype(np.float64), ones, weights)
    value, replicates = float(per_token.estimate[0]), per_token.replicates[:, 0]
    between = float(np.median([len(parts.middle) for parts in documents]))
    return FirstLastRecord(
        sampling=Sampling(unit="document", n=n, items=n, documents_long_enough=n),
        scalars={
            "rise": curves.estimate(value, replicates, n=n, unit="nats per token"),
            "rise_percent": curves.estimate(
                100 * math.expm1(min(50.0, value)),
                100 * np.expm1(np.minimum(50.0, replicates)),
                n=n,
                unit="% perplexity",
            ),
            "rise_per_sentence": curves.estimate(
                float(per_sentence.estimate[0]),
                per_sentence.replicates[:, 0],
                n=n,
                unit="nats per sentence",
            ),
            "worse": curves.estimate(
                float(worse.estimate[0]), worse.replicates[:, 0], n=n, unit="share"
            ),
            "distance": curves.estimate(
                sample.distance(between),
                np.full(1, sample.distance(between)),
                n=n,
                unit=sample.unit,
            ),
        },
    )
