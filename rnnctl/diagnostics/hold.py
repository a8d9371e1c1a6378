"""HOLD (D3): what could be read out of the state about a word read long ago?

In held-out text one word is replaced by one of M, drawn uniformly; after k further tokens a linear
probe guesses it from the state. Because the draw is independent of all other text, chance is
exactly 0 bits and no part of the answer can leak from the context. Where words are spelled, it is a
whole word that is replaced. Capacity in use, not merit: a good model forgets what does not matter.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from rnnctl import statistics
from rnnctl.diagnostics import curves, spelling
from rnnctl.diagnostics.probes import FOLDS, held_out_bits
from rnnctl.diagnostics.sample import Sample, enough, worth_shortening
from rnnctl.diagnostics.settings import Settings
from rnnctl.diagnostics.subject import StateSubject
from rnnctl.results.base import Curve, Estimate
from rnnctl.results.diagnostics import HoldRecord, Sampling

Floats = NDArray[np.float64]
Ids = NDArray[np.int64]
Place = tuple[int, int]  # the first token of what is replaced, and the first after it
PREFIX = 32  # tokens of natural text before the planted word
SLACK = 24  # tokens of a spelled text within which a word begins and ends
BATCH = 256


@dataclass(frozen=True)
class Plants:
    """N texts (T, N) with a planted word of `width` tokens at PREFIX; its choice and its unit."""

    ids: Ids
    width: int
    choices: Ids
    groups: Ids
    count: int


def measure(subject: StateSubject, sample: Sample, settings: Settings) -> HoldRecord:
    """Bits about a planted word in the state, by lag."""
    draw = np.random.default_rng((settings.seed, 30))
    words = planted_words(sample, settings.choices, subject.vocab_size, draw)
    if len(words) < 2:
        return _nothing("the text has too few equally long words to plant")
    spelled = _spells(sample)
    width = words.shape[1] + (SLACK if spelled else 0)
    fitted = _units(sample, width, settings.hold_lag)
    places = None
    if fitted is not None and spelled:
        places = word_places(fitted[0], words, fitted[1], subject.vocab_size)
    if fitted is None or (places is not None and sum(map(bool, places)) < FOLDS):
        return _nothing(f"HOLD needs {FOLDS} texts of at least {PREFIX + width + 7} tokens")
    units, longest = fitted
    plants = plant(units, words, settings.planted, longest, draw, places)
    lags = list(settings.hold_lags) or curves.octave_points(longest)
    states = collect(subject, plants, lags)
    return _record(states, plants, lags, sample, units, settings)


def _spells(sample: Sample) -> bool:
    """Whether words consist of several tokens, and are to be found."""
    return sample.spelled and sample.unit == "words" and sample.token_bytes is not None


def _table(sample: Sample, vocab_size: int) -> list[bytes]:
    assert sample.token_bytes is not None
    return [sample.token_bytes(i) for i in range(vocab_size)]


def _nothing(note: str) -> HoldRecord:
    return HoldRecord(status="insufficient_data", note=note)


def planted_words(sample: Sample, count: int, vocab_size: int, draw: np.random.Generator) -> Ids:
    """Up to `count` words of the text with equally many tokens, of middling frequency: (M, width).

    Where there are fewer, the largest power of two of them.
    """
    if _spells(sample):
        table = _table(sample, vocab_size)
        usual = spelling.usual_words(sample, [spelling.find_words(i, table) for i in sample.ids])
    else:
        usual = [(token,) for token in spelling.usual_tokens(sample)]
    by_width: dict[int, list[tuple[int, ...]]] = {}
    for word in usual:
        by_width.setdefault(len(word), []).append(word)
    if not by_width:
        return np.zeros((0, 1), dtype=np.int64)
    largest = max(by_width.values(), key=len)
    enough = min(count, 2 ** int(math.log2(len(largest))))
    chosen = draw.permutation(len(largest))[:enough]
    return np.array([largest[int(k)] for k in chosen], dtype=np.int64)


def _units(sample: Sample, width: int, lag: int) -> tuple[Sample, int] | None:
    """Enough texts for the folds, and the longest lag that they allow."""
    chosen = None
    while lag >= 4:
        length = PREFIX + width + lag + 1
        units = sample.at_least(2 * length if sample.running else length)
        if worth_shortening(units, chosen[0] if chosen else None, fewest=FOLDS):
            chosen = (units, lag)
        if enough(units, sample, 4 * FOLDS):
            break
        lag //= 2
    return chosen


def polarity(
    subject: StateSubject,
    sample: Sample,
    settings: Settings,
    pairs: Sequence[tuple[Ids, Ids]],
) -> Curve | None:
    """Bits (of 1) about which sentence of a pair of evidence was planted, by lag.

    Only pairs of the commonest length serve, both sentences equally long; None without such.
    """
    by_width: dict[int, list[tuple[Ids, Ids]]] = {}
    for first, second in pairs:
        if len(first) == len(second):
            by_width.setdefault(len(first), []).append((first, second))
    if not by_width:
        return None
    alike = np.array(max(by_width.values(), key=len))  # (P, 2, width)
    fitted = _units(sample, alike.shape[2], settings.hold_lag)
    if fitted is None:
        return None
    units, longest = fitted
    draw = np.random.default_rng((settings.seed, 31))
    plants = plant(units, alike, settings.planted, longest, draw)
    lags = list(settings.hold_lags) or curves.octave_points(longest)
    states = {"state": collect(subject, plants, lags)["state"]}
    return _record(states, plants, lags, sample, units, settings).curves["state"]


def word_places(units: Sample, words: Ids, longest: int, vocab_size: int) -> list[list[Place]]:
    """Of each unit, the words that one of the spelled `words` (M, width) can take the place of."""
    table = _table(units, vocab_size)
    spaced = table[int(words[0, 0])][:1] in spelling.SPACED
    found = []
    for ids in units.ids:
        here = spelling.find_words(ids, table)
        both = [(int(here.starts[w]), int(here.ends[w])) for w in here.places(spaced=spaced)]
        found.append([(a, b) for a, b in both if a >= PREFIX and b + longest <= len(ids)])
    return found


def plant(
    units: Sample,
    words: Ids,
    count: int,
    longest: int,
    draw: np.random.Generator,
    places: Sequence[Sequence[Place]] | None = None,
) -> Plants:
    """`count` windows with a random word each, spread evenly over the units.

    `words` (M, width), or (P, M, width) where each window is given one of P sets of choices. It
    replaces one of the unit's `places`, or as many tokens as it has, wherever they are.
    """
    sets = words[None] if words.ndim == 2 else words
    chosen = draw.integers(0, len(sets), count)
    usable = [k for k in range(len(units.ids)) if places is None or places[k]]
    groups = np.resize(draw.permutation(usable), count)
    choices = draw.integers(0, sets.shape[1], count)
    width = sets.shape[2]
    rows = []
    for group, choice, which in zip(groups, choices, chosen, strict=True):
        ids = units.ids[int(group)]
        if places is None:
            start = PREFIX + int(draw.integers(0, len(ids) - PREFIX - width - longest + 1))
            end = start + width
        else:
            start, end = places[int(group)][int(draw.integers(0, len(places[int(group)])))]
        parts = ids[start - PREFIX : start], sets[which, choice], ids[end : end + longest]
        rows.append(np.concatenate(parts))
    return Plants(np.stack(rows, axis=1), width, choices, groups, sets.shape[1])


def collect(subject: StateSubject, plants: Plants, lags: list[int]) -> dict[str, list[Floats]]:
    """States (N, S) at each lag: the whole state, and h alone where that is not the same."""
    parts: dict[str, list[list[Floats]]] = {"state": [], "h": []}
    ids = torch.from_numpy(plants.ids)
    for first in range(0, ids.shape[1], BATCH):
        columns = ids[:, first : first + BATCH]
        state, at = subject.initial_state(columns.shape[1]), 0
        rows: dict[str, list[Floats]] = {"state": [], "h": []}
        for lag in lags:
            until = PREFIX + plants.width + lag
            state = subject.read(columns[at:until], state)
            at = until
            for name, hidden_only in (("state", False), ("h", True)):
                vector = subject.vector(state, hidden_only=hidden_only)
                rows[name].append(vector.double().cpu().numpy())
        for name in parts:
            parts[name].append(rows[name])
    joined = {
        name: [np.concatenate([batch[k] for batch in batches]) for k in range(len(lags))]
        for name, batches in parts.items()
    }
    if joined["h"][0].shape == joined["state"][0].shape:
        del joined["h"]
    return joined


def _record(
    states: dict[str, list[Floats]],
    plants: Plants,
    lags: list[int],
    sample: Sample,
    units: Sample,
    settings: Settings,
) -> HoldRecord:
    x = np.array([sample.distance(lag) for lag in lags])
    drawn: dict[str, Curve] = {}
    scalars: dict[str, Estimate] = {}
    members, index = np.unique(plants.groups, return_inverse=True)
    for name, by_lag in states.items():
        sums = curves.Sums.empty(
            len(members), len(lags), seed=settings.seed, resamples=settings.resamples
        )
        for k, vectors in enumerate(by_lag):
            bits = held_out_bits(
                vectors, plants.choices, plants.groups, plants.count, seed=settings.seed
            )
            sums.add(index, k, bits)
        drawn[name] = curves.curve(x, sums.means, sums.n, x_unit=sample.unit, y_unit="bits")
        if name == "state":
            scalars = summaries(x, sums, plants.count, sample)
    status = "ok" if scalars["hold_half"].status != "undefined" else "undefined"
    return HoldRecord.model_validate(
        {
            "status": status,
            "note": scalars["hold_half"].note,
            "sampling": Sampling(
                unit=units.resampling_unit, n=len(members), items=len(plants.choices)
            ),
            "scalars": scalars,
            "curves": drawn,
            "choices": plants.count,
        }
    )


def summaries(x: Floats, sums: curves.Sums, count: int, sample: Sample) -> dict[str, Estimate]:
    """bits_0, bits_100, hold_half, hold_auc."""
    n, means = len(sums.sums), sums.means
    at_once = curves.estimate(float(means.estimate[0]), means.replicates[:, 0], n=n, unit="bits")
    found = {"bits_0": at_once, "bits_100": _bits_at(x, means, 100.0, n, sample)}
    if at_once.ci95[0] is None or at_once.ci95[0] <= 0:
        note = "the state holds nothing measurable of the word that was just read"
        return {
            **found,
            "hold_half": curves.missing("undefined", note, unit=sample.unit),
            "hold_auc": curves.missing("undefined", note),
        }

    def half(at: Floats, fit: Floats) -> float:
        # what noise leaves of nothing is no slope: the fall is to a hundredth at most
        return statistics.crossing(at, fit, fit[0] / 2, decay=True, floor=fit[0] / 100)

    value, replicates = curves.falling_horizons(x, means, np.ones(len(x)), half)
    found["hold_half"] = curves.estimate(
        value, replicates, n=n, unit=sample.unit, largest=float(x[-1])
    )
    grid = np.geomspace(x[1], x[-1], 64)

    def area(fit: Floats) -> float:
        return float(statistics.interpolated(x, fit, grid).mean()) / math.log2(count)

    found["hold_auc"] = curves.estimate(
        area(means.estimate), np.array([area(row) for row in means.replicates]), n=n, unit="ratio"
    )
    return found


def _bits_at(
    x: Floats, means: statistics.Bootstrapped, distance: float, n: int, sample: Sample
) -> Estimate:
    if distance > x[-1] * 1.05:
        note = f"lags were measured up to {x[-1]:.0f} {sample.unit} only"
        return curves.missing("insufficient_data", note, unit="bits")
    replicates = np.array([statistics.interpolated(x, row, distance) for row in means.replicates])
    value = float(statistics.interpolated(x, means.estimate, distance))
    return curves.estimate(value, replicates, n=n, unit="bits")
