"""EFFECT (D1) of classifiers: does early evidence still push the answer its own way?

An evidence sentence e⁺ or e⁻ stands d tokens before the end of neutral filler whose total length
never changes. With m = z⁺ − z⁻ the margin, B(d) = ½ E[m(e⁺ at d) − m(e⁻ at d)] in nats of log-odds
and R(d) = B(d) / B(0). The ideal is R = 1 everywhere: a bag of words reaches it, and a model that
reads from left to right and ends in one state may or may not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from rnnctl.diagnostics.sample import Sample
from rnnctl.diagnostics.settings import Settings
from rnnctl.diagnostics.subject import ClassifierSubject
from rnnctl.diagnostics.swaps import Swaps, distances, summarise
from rnnctl.results.base import Curve
from rnnctl.results.diagnostics import EffectRecord

Floats = NDArray[np.float64]
Ids = NDArray[np.int64]
BATCH = 128
FLOOR = 0.05  # nats: a smaller B(0) has no ratio
FEWEST_PAIRS = 4
ADVICE = (
    "evidence at the very end hardly moves this model's answer: train it longer, or give it "
    "evidence of its own kind with `--items FILE`"
)


@dataclass(frozen=True)
class Evidence:
    """Encoded evidence and filler. `labels`: which two logits the margin is made of."""

    labels: tuple[int, int]
    pairs: Sequence[tuple[Ids, Ids]]
    fillers: Mapping[str, Sequence[Ids]]
    source: str = ""


def measure(
    subject: ClassifierSubject, sample: Sample, settings: Settings, evidence: Evidence | None
) -> EffectRecord:
    """The signed effect of evidence by its distance from the end, over all kinds of filler."""
    if evidence is None or len(evidence.pairs) < FEWEST_PAIRS:
        return _nothing("there are too few evidence sentences for two of the labels")
    fillers = {name: list(parts) for name, parts in evidence.fillers.items() if len(parts) >= 2}
    if not fillers:
        return _nothing("there are too few neutral sentences to fill up with")
    length = filler_tokens(sample, settings)
    points = distances(int(length * sample.units_per_token))
    steps = np.array([min(length, round(d / sample.units_per_token)) for d in points])
    steps = np.unique(np.append(steps, length))
    if len(steps) < 4:
        return _nothing("the texts are too short to put evidence at a distance")
    by_filler = {
        name: _swaps(subject, evidence, parts, length, steps, sample, settings, k)
        for k, (name, parts) in enumerate(fillers.items())
    }
    pair = (subject.labels[evidence.labels[0]], subject.labels[evidence.labels[1]])
    record = _record(by_filler, steps, sample, settings)
    return record.model_copy(
        update={
            "pair": pair,
            "items": evidence.source,
            "near": "evidence at the very end",
            "fillers": tuple(by_filler),
        }
    )


def _nothing(note: str) -> EffectRecord:
    return EffectRecord(status="insufficient_data", note=note)


def filler_tokens(sample: Sample, settings: Settings) -> int:
    """How many tokens of filler: the preset's words, but no more than most texts have."""
    wanted = settings.filler_words / sample.units_per_token
    usual = float(np.quantile(sample.lengths, 0.9)) if len(sample.ids) else 0.0
    return int(min(wanted, usual))


def _swaps(
    subject: ClassifierSubject,
    evidence: Evidence,
    sentences: list[Ids],
    length: int,
    steps: Ids,
    sample: Sample,
    settings: Settings,
    number: int,
) -> Swaps:
    """`settings.evidence` pairs, the same again where there are fewer, each in its own filler."""
    draw = np.random.default_rng((settings.seed, 40, number))
    pairs = np.resize(draw.permutation(len(evidence.pairs)), settings.evidence)
    fillers = [_fill(sentences, length, draw) for _ in pairs]
    margins = [
        _margins(subject, evidence, [evidence.pairs[int(p)][arm] for p in pairs], fillers, steps)
        for arm in (0, 1)
    ]
    return Swaps(
        x=steps.astype(np.float64) * sample.units_per_token,
        deltas=0.5 * (margins[0] - margins[1]),
        texts=np.arange(len(pairs)) + number * len(pairs),
        pairs=pairs,
        sampling_unit="filler text (crossed with evidence pairs)",
    )


def _fill(sentences: list[Ids], length: int, draw: np.random.Generator) -> Ids:
    """Exactly `length` tokens of neutral sentences in random order, the first one cut."""
    parts: list[Ids] = []
    have = 0
    while have < length:
        for k in draw.permutation(len(sentences)):
            parts.append(sentences[int(k)])
            have += len(parts[-1])
            if have >= length:
                break
    return np.concatenate(parts)[have - length :]


def _margins(
    subject: ClassifierSubject,
    evidence: Evidence,
    sentences: list[Ids],
    fillers: list[Ids],
    steps: Ids,
) -> Floats:
    """Margin with each sentence at each distance from the end of its filler: (N, K)."""
    texts = [
        np.concatenate([filler[: len(filler) - d], sentence, filler[len(filler) - d :]])
        for sentence, filler in zip(sentences, fillers, strict=True)
        for d in steps
    ]
    logits = batched_logits(subject, texts)
    margin = logits[:, evidence.labels[0]] - logits[:, evidence.labels[1]]
    return margin.reshape(len(sentences), len(steps))


def batched_logits(subject: ClassifierSubject, texts: Sequence[Ids]) -> Floats:
    """Logits (N, C) of texts of any lengths, similar ones side by side."""
    lengths = np.array([len(text) for text in texts])
    order = np.argsort(lengths, kind="stable")
    out: Floats | None = None
    for first in range(0, len(texts), BATCH):
        members = order[first : first + BATCH]
        longest = int(lengths[members].max())
        ids = np.full((max(1, longest), len(members)), subject.boundary_id, dtype=np.int64)
        for column, k in enumerate(members):
            ids[: lengths[k], column] = texts[int(k)]
        logits = subject.logits(torch.from_numpy(ids), torch.from_numpy(lengths[members]))
        if out is None:
            out = np.zeros((len(texts), logits.shape[1]))
        out[members] = logits.double().cpu().numpy()
    return np.zeros((0, len(subject.labels))) if out is None else out


def _record(
    by_filler: dict[str, Swaps], steps: Ids, sample: Sample, settings: Settings
) -> EffectRecord:
    near = steps == 0
    everything = list(by_filler.values())
    joined = Swaps(
        x=everything[0].x,
        deltas=np.concatenate([swaps.deltas for swaps in everything]),
        texts=np.concatenate([swaps.texts for swaps in everything]),
        pairs=np.concatenate([swaps.pairs for swaps in everything]),
        sampling_unit=everything[0].sampling_unit,
    )
    median = float(np.median(sample.lengths)) * sample.units_per_token
    also = {"retention_start": min(median, float(joined.x[-1]))}
    record = summarise(joined, near, sample, settings, floor=FLOOR, also=also, advice=ADVICE)
    extra: dict[str, Curve] = {}
    for name, swaps in by_filler.items():
        single = summarise(swaps, near, sample, settings, floor=FLOOR)
        if "r" in single.curves:
            extra[f"r:{name}"] = single.curves["r"]
    return record.model_copy(update={"curves": {**record.curves, **extra}})
