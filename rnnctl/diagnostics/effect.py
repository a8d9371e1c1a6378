"""EFFECT (D1) of language models: does an early word still make its own return more likely?

One word of a text is w or w′. With z the model's log-odds after d further words,
Δ(d) = ½ {[z_w − z_w′](text with w) − [z_w − z_w′](text with w′)}: the softmax's normaliser cancels,
whatever the text adds to both cancels, and a model that ignores the word has exactly 0. B(d) is the
mean over texts and word pairs, R(d) = B(d) / B_near with B_near the mean over 4 to 8 words (right
after a word models avoid its repetition).
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from rnnctl.diagnostics import spelling
from rnnctl.diagnostics.sample import Sample
from rnnctl.diagnostics.settings import Settings
from rnnctl.diagnostics.subject import LanguageSubject
from rnnctl.diagnostics.swaps import (
    Swaps,
    distances,
    draw_pairs,
    fit_window,
    near_words,
    summarise,
)
from rnnctl.results.diagnostics import EffectRecord

Floats = NDArray[np.float64]
Ids = NDArray[np.int64]
PREFIX = 32  # tokens of natural text before the swapped word
BATCH = 128  # swaps side by side
ONE = {"words": "word", "chars": "character"}
ADVICE = (
    "a {one} read 4 to 8 {unit} ago moves the chance of the same {one} by less than this can "
    "measure; USE and HOLD measure the model's memory in other ways"
)


def measure(subject: LanguageSubject, sample: Sample, settings: Settings) -> EffectRecord:
    """The signed counterfactual effect of one word of `sample`, by distance."""
    if sample.spelled and sample.unit == "words":
        found = spelling.swaps(subject, sample, settings)
        items = "pairs of equally long words of the text, equally frequent"
    else:
        found = word_swaps(subject, sample, settings)
        items = f"pairs of {ONE[sample.unit]}s of the text, equally frequent and long"
    if isinstance(found, str):
        return EffectRecord(status="insufficient_data", note=found, items=items)
    near = near_words(found.x)
    advice = ADVICE.format(one=ONE[sample.unit], unit=sample.unit)
    record = summarise(found, near, sample, settings, advice=advice)
    return record.model_copy(update={"items": items, "near": f"mean over 4 to 8 {sample.unit}"})


def word_swaps(subject: LanguageSubject, sample: Sample, settings: Settings) -> Swaps | str:
    """Swaps of words that are one token each; or a sentence that says why there are none."""
    draw = np.random.default_rng((settings.seed, 10))
    pairs = word_pairs(sample, draw)
    if len(pairs) < 2:
        return "the text has too few words of middling frequency to swap"
    fitted = fit_window(sample, PREFIX, settings.distance_words)
    if fitted is None:
        return f"no two texts are longer than {PREFIX + 12} tokens"
    units, longest = fitted
    points = distances(longest)
    steps = np.array([round(d / sample.units_per_token) for d in points])
    deltas, texts, used = [], [], []
    for first in range(0, settings.swaps, BATCH):
        count = min(BATCH, settings.swaps - first)
        text = draw.integers(0, len(units.ids), count)
        pair = draw.integers(0, len(pairs), count)
        window = np.stack(
            [_window(units.ids[int(t)], PREFIX + int(steps[-1]) + 1, draw) for t in text], axis=1
        )
        deltas.append(_word_deltas(subject, window, pairs[pair], steps))
        texts.append(text)
        used.append(pair)
    return Swaps(
        steps * sample.units_per_token,
        np.concatenate(deltas),
        np.concatenate(texts),
        np.concatenate(used),
        units.resampling_unit,
    )


def word_pairs(sample: Sample, draw: np.random.Generator) -> Ids:
    """Up to 64 pairs of tokens (P, 2): same decile of frequency, same length in characters.

    From the middle of the text's vocabulary by frequency; letters only where tokens have a text.
    """
    shown = sample.token_bytes
    middle = spelling.usual_tokens(sample)
    groups: dict[tuple[int, int], list[int]] = {}
    for rank, token in enumerate(middle):
        length = len(shown(int(token))) if shown else 0
        groups.setdefault((10 * rank // len(middle), length), []).append(int(token))
    return draw_pairs(list(groups.values()), draw)


def _window(ids: Ids, length: int, draw: np.random.Generator) -> Ids:
    start = int(draw.integers(0, len(ids) - length + 1))
    return ids[start : start + length]


def _word_deltas(subject: LanguageSubject, window: Ids, pairs: Ids, steps: Ids) -> Floats:
    """Δ (N, K) for windows (T, N) whose token number PREFIX becomes the one or the other word."""
    text = torch.from_numpy(np.ascontiguousarray(window))
    words = torch.from_numpy(pairs)
    _, before = subject.advance(text[:PREFIX], subject.initial_state(len(pairs)))
    differences = []
    for arm in (0, 1):
        read = text[PREFIX:].clone()
        read[0] = words[:, arm]
        features, _ = subject.advance(read, before)
        rows = features[torch.from_numpy(steps)]  # (K, N, F)
        repeated = words.repeat(len(steps), 1)
        scores = subject.scores(rows.flatten(0, 1), repeated).double()
        differences.append((scores[:, 0] - scores[:, 1]).reshape(len(steps), -1))
    return (0.5 * (differences[0] - differences[1])).T.cpu().numpy()
