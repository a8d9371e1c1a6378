"""EFFECT (D1): does early text still push the answer its own way?

*Language models*: does an early word still make its own return more likely? One word of a text is w
or w′. With z the model's log-odds after d further words,
Δ(d) = ½ {[z_w − z_w′](text with w) − [z_w − z_w′](text with w′)}: the softmax's normaliser cancels,
whatever the text adds to both cancels, and a model that ignores the word has exactly 0. B(d) is the
mean over texts and word pairs, R(d) = B(d) / B_near with B_near the mean over 4 to 8 words (right
after a word models avoid its repetition). Every word of a document that 8 more words follow can be
the swapped one, its first word too, and every word of it the one that is predicted. A document is
read from its start, a very long one from `READ_BEFORE` tokens before the swapped word. A swap is
read at the distances that its document has room for, and R(d) is B(d) over B_near of the same
swaps, so that a ratio never compares long documents with short ones.

*Words of several tokens* (character, byte and subword models): the normaliser of a spelled word
does not cancel, so the word's log-probability is read off by teacher forcing: at the beginning of
the word d words later the model is made to spell w and w′ in both arms, four short expansions per
distance.

*Classifiers*: an evidence sentence e⁺ or e⁻ stands d tokens before the end of neutral filler whose
total length never changes. With m = z⁺ − z⁻ the margin, B(d) = ½ E[m(e⁺ at d) − m(e⁻ at d)] in nats
of log-odds and R(d) = B(d) / B(0). The ideal is R = 1 everywhere: a bag of words reaches it, and a
model that reads from left to right and ends in one state may or may not.

N swaps, K distances, R bootstrap resamples, P pairs of words, T time, F features.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rnnctl import statistics
from rnnctl.data.batches import pad_documents
from rnnctl.diagnostics import curves
from rnnctl.diagnostics.sample import Floats, Ids, Sample, spread_over, spread_over_texts, with_room
from rnnctl.diagnostics.settings import Settings
from rnnctl.diagnostics.spelling import (
    Word,
    Words,
    brings_space,
    find_words,
    usual_tokens,
    usual_words,
)
from rnnctl.diagnostics.subject import (
    ClassifierSubject,
    LanguageSubject,
    State,
    read_pieces,
    read_until,
)
from rnnctl.results.base import Curve, Estimate
from rnnctl.results.diagnostics import NEAR_WORDS, SIGN_CHANGES, EffectRecord, Sampling

# -- from single swaps to the curves B(d) and R(d) -----------------------------------------------

PAIRS = 64  # of words, at most
SHORTEST = 10  # words: no curve below this longest distance
READ_AT = (10, 30, 100)  # words, for the panel
FEWEST_HEAPS = 6  # a bootstrap of fewer units does not reach far enough; see `percentiles`
READ_BEFORE = 256  # tokens that are read before a swapped word, at most
FEWEST = 16  # swaps behind a distance
FLOOR = 0.001  # nats: a smaller near effect of a language model is no effect


@dataclass(frozen=True)
class Swaps:
    """Δ (N, K) of N swaps at K distances `x` (words); which text and which pair each came from.

    NaN where a text ends before that distance.
    """

    x: Floats
    deltas: Floats
    texts: Ids
    pairs: Ids
    sampling_unit: str


def distances(longest: int) -> list[int]:
    """At which distances, in words, the effect is read."""
    near = range(NEAR_WORDS[0], NEAR_WORDS[1] + 1)
    # Half octaves, because what decays exponentially or by a power changes little between them;
    # each near distance, because B_near divides everything.
    wanted = {*curves.octave_points(longest), *near, *READ_AT}
    return sorted(point for point in wanted if point <= longest)


def fit_window(sample: Sample, prefix: int, longest_words: int) -> tuple[Sample, int] | None:
    """The texts to swap words in, and the longest distance in words that they allow.

    Running text is read for `prefix` tokens before a word is swapped; documents from their start.
    """
    words = [longest_words]
    while words[-1] > SHORTEST:
        words.append(max(SHORTEST, int(words[-1] / math.sqrt(2))))
    # A stretch of running text begins in the middle: without a prefix its first words would be read
    # from a state that the model never has.
    before = prefix if sample.running else 0
    lengths = [before + math.ceil(far / sample.units_per_token) + 2 for far in words]
    found = with_room(sample, lengths, fewest=2, wanted=16)
    return None if found is None else (found[0], words[found[1]])


def too_short(sample: Sample) -> str:
    """What EFFECT would need of a text that has no room for it."""
    one = "text" if sample.running else "document"
    longest = sample.distance(float(sample.lengths.max(initial=0)))
    return (
        f"not measurable: EFFECT needs two {one}s of more than {SHORTEST} {sample.unit}, and the "
        f"longest has {longest:.0f}"
    )


def word_pairs(
    ranked: Sequence[Word], sample: Sample, draw: np.random.Generator
) -> list[tuple[Word, Word]]:
    """Up to 64 random pairs of words that are `ranked` by frequency, no word in two of them.

    Both words of a pair are of the same decile of frequency, and have equally many tokens and
    bytes.
    """
    groups: dict[tuple[int, int, int], list[int]] = {}
    for rank, word in enumerate(ranked):
        shown = sample.token_bytes
        size = sum(len(shown(token)) for token in word) if shown else 0
        # A rare word is less likely than a frequent one whatever stands before, and a long spelling
        # less likely than a short one: in a pair both cancel. So does the length, which a model of
        # text may keep to.
        groups.setdefault((10 * rank // len(ranked), len(word), size), []).append(rank)
    pairs = []
    for group in groups.values():
        # Disjoint, so that one odd word spoils one pair and not many.
        mixed = draw.permutation(group)
        pairs += [(ranked[a], ranked[b]) for a, b in zip(mixed[::2], mixed[1::2], strict=False)]
    return [pairs[k] for k in draw.permutation(len(pairs))[:PAIRS]]


def summarise(
    swaps: Swaps,
    near: NDArray[np.bool_],
    sample: Sample,
    settings: Settings,
    *,
    advice: str = "",
    floor: float = FLOOR,
    also: Mapping[str, float] = MappingProxyType({}),
) -> EffectRecord:
    """Curves B and R and their summaries. `near` (K,) marks the distances behind B_near.

    `also` names further distances to read R at. Texts and pairs are resampled crossed. Where
    B_near is below `floor` nats, below twice its standard error, or has an interval that reaches 0,
    or is a mean of effects of either sign, there is no ratio, and `advice` ends the sentence that
    says so.
    """
    swaps, near = _reached(swaps, near)
    known = np.isfinite(swaps.deltas)
    # The near effect of the same swap divides each of its distances: far ones come from long
    # documents only, whose words may weigh otherwise.
    nearby = swaps.deltas[:, near].mean(1)
    filled = np.where(known, swaps.deltas, np.nanmean(swaps.deltas, axis=0))
    # Swaps of one text are alike, and so are those of one pair of words: both kinds of likeness
    # widen the intervals (two-way clustering, Cameron, Gelbach & Miller 2011).
    weights = statistics.crossed_weights(
        filled, swaps.texts, swaps.pairs, resamples=settings.resamples, seed=settings.seed
    )
    shown = np.where(known, swaps.deltas, 0.0)
    b = statistics.ratio_of_means(shown, known, weights)
    units = len(np.unique(swaps.texts))
    n = [len(np.unique(swaps.texts[here])) for here in known.T]
    near_mean = statistics.ratio_of_means(nearby, np.ones(len(nearby)), weights)
    near_value = float(near_mean.estimate[0])
    b_near = curves.first(near_mean, n=units, unit="nats of log-odds")
    record = EffectRecord(
        sampling=Sampling(unit=swaps.sampling_unit, n=units, items=len(swaps.deltas)),
        scalars={"b_near": b_near},
        curves={"b": curves.curve(swaps.x, b, n, x_unit=sample.unit, y_unit="nats")},
    )
    # A ratio whose denominator may be 0 has no finite interval; better none than a number with one.
    least = max(floor, 2 * float(np.std(near_mean.replicates)))
    # A mean of +1 and −1 is near 0 and could be anything: R relative to it would be noise.
    if (b.lo[near] > 0).any() and (b.hi[near] < 0).any():
        return _undefined(record, f"{SIGN_CHANGES}, so there is no ratio; {advice}")
    if b_near.ends[0] <= 0 or near_value < least:
        return _undefined(record, _too_small(near_value, b_near) + advice)
    # Σ Δ(d) / Σ Δ(near), both over the swaps that reach d: a mean of single swaps' ratios would be
    # divided by numbers near 0 now and then.
    r = statistics.ratio_of_means(shown, known * nearby[:, None], weights)
    scalars = {"b_near": b_near, **_summaries(swaps.x, r, near, units, sample, also)}
    drawn = {
        **record.curves,
        "r": curves.curve(swaps.x, r, n, x_unit=sample.unit, y_unit="ratio"),
    }
    return record.model_copy(update={"scalars": scalars, "curves": drawn})


def _reached(swaps: Swaps, near: NDArray[np.bool_]) -> tuple[Swaps, NDArray[np.bool_]]:
    """Without distances that hardly any swap, or one text only, has room for."""
    known = np.isfinite(swaps.deltas)
    fewest = min(FEWEST, len(known))
    kept = np.array(
        [here.sum() >= fewest and len(np.unique(swaps.texts[here])) > 1 for here in known.T]
    )
    kept |= near
    return replace(swaps, x=swaps.x[kept], deltas=swaps.deltas[:, kept]), near[kept]


def _too_small(near: float, b_near: Estimate) -> str:
    low, high = (f"{end:.2g}" if end is not None else "?" for end in b_near.ci95)
    size = f"{near:.2g} nats [{low}, {high}]"
    if near >= 0 or (b_near.ci95[1] or 0) >= 0:
        return (
            f"no measurable effect even when near ({size}): too small for its decay to be "
            "measured; "
        )
    return f"the near effect has the wrong sign ({size}), so there is no ratio; "


def _undefined(record: EffectRecord, note: str) -> EffectRecord:
    names = ["half_distance", *(f"retention_{d}" for d in READ_AT), "retention_auc"]
    scalars = {**record.scalars, **dict.fromkeys(names, curves.missing("undefined", note))}
    return record.model_copy(update={"status": "undefined", "note": note, "scalars": scalars})


def _summaries(
    x: Floats,
    r: statistics.Bootstrapped,
    near: NDArray[np.bool_],
    n: int,
    sample: Sample,
    also: Mapping[str, float],
) -> dict[str, Estimate]:
    """half_distance, retention at 10, 30 and 100 words, retention_auc."""
    # Nearer than the near window nothing is said: there the model holds back the word on purpose.
    start = int(np.flatnonzero(near)[0])

    def half(row: Floats) -> float:
        return _half(x[start:], row[start:], near)

    # A half-distance is counted from the near window: the longest one is what is left beyond it.
    largest = float(x[-1] - (x[near].mean() if near.sum() > 1 else x[0]))
    found = {"half_distance": curves.derived(r, half, n=n, unit=sample.unit, largest=largest)}
    for name, distance in {**{f"retention_{d}": float(d) for d in READ_AT}, **also}.items():
        short = f"texts shorter than {distance:g} {sample.unit}"
        found[name] = curves.at_distance(x, r, distance, n=n, unit="ratio", short=short)
    # On a log scale, or the area would be that of the farthest third of the distances alone.
    grid = np.geomspace(max(1.0, x[start]), x[-1], 64)

    def area(fit: Floats) -> float:
        return float(np.clip(statistics.interpolated(x, fit, grid), 0, 1).mean())

    found["retention_auc"] = curves.derived(r, area, n=n, unit="ratio")
    return found


def _half(x: Floats, r: Floats, near: NDArray[np.bool_]) -> float:
    """How far beyond the near window the falling fit of R gets to ½.

    Fitted up to where R is least: evidence that counts again further back (a reader who begins
    with interest) must not lift what has already fallen.
    """
    if not np.isfinite(r).all():
        return math.nan
    least = int(np.argmin(r)) + 1
    fit = statistics.isotonic(r[:least])
    # Counted from where the fit is 1, the middle of the near window and not its edge.
    begin = statistics.crossing(x, fit, 1.0, decay=True) if near.sum() > 1 else float(x[0])
    return statistics.crossing(x[:least], fit, 0.5, decay=True) - begin


def near_words(x: Floats) -> NDArray[np.bool_]:
    """Which distances (K,) count as near: those that round to 4 to 8 words (or characters)."""
    found: NDArray[np.bool_] = (np.round(x) >= NEAR_WORDS[0]) & (np.round(x) <= NEAR_WORDS[1])
    return found


def rises(curve: Curve) -> tuple[float, float] | None:
    """Two distances, the further of which counts clearly more: intervals apart; None if none."""
    ends = list(zip(curve.x, curve.lo, curve.hi, strict=True))
    for k, (x, _, high) in enumerate(ends):
        for further, low, _ in ends[k + 1 :]:
            # A tenth beyond touching intervals: of all pairs of distances some touch by chance.
            if low is not None and high is not None and low > max(high, 0.0) + 0.1:
                return x, further
    return None


# -- language models whose words are one token ---------------------------------------------------

PREFIX = 32  # tokens of running text before the swapped word
BATCH = 128  # swaps side by side
ONE = {"words": "word", "chars": "character"}
ADVICE = (
    "a {one} read 4 to 8 {unit} ago moves the chance of the same {one} by less than this can "
    "measure; USE and HOLD measure the model's memory in other ways"
)


def measure(subject: LanguageSubject, sample: Sample, settings: Settings) -> EffectRecord:
    """The signed counterfactual effect of one word of `sample`, by distance."""
    if sample.spells:
        found = spelled_swaps(subject, sample, settings)
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
    fitted = fit_window(sample, PREFIX, settings.distance_words)
    if fitted is None:
        return too_short(sample)
    pairs = np.array(word_pairs(usual_tokens(sample), sample, draw), dtype=np.int64).reshape(-1, 2)
    if len(pairs) < 2:
        return "the text has too few words of middling frequency to swap"
    units, longest = fitted
    points = np.array(distances(longest))
    steps = np.round(points / sample.units_per_token).astype(np.int64)
    # so many tokens in all: the word, those that follow it, and the one that is predicted
    least = int(steps[points <= NEAR_WORDS[1]][-1]) + 2
    first = PREFIX if units.running else 0
    counts = np.maximum(0, units.lengths - least - first + 1)
    text, place = spread_over_texts(counts, settings.swaps, draw)
    place += first
    pair = draw.integers(0, len(pairs), len(text))
    deltas = np.empty((len(text), len(steps)))
    # Words that stand about as far from their document's beginning side by side: little padding.
    for members in np.array_split(np.argsort(place, kind="stable"), -(-len(text) // BATCH)):
        documents = [units.ids[int(k)] for k in text[members]]
        deltas[members] = _word_deltas(
            subject, documents, place[members], pairs[pair[members]], steps, running=units.running
        )
    x = np.asarray(steps * sample.units_per_token, dtype=np.float64)
    return Swaps(x, deltas, text, pair, units.resampling_unit)


def _word_deltas(
    subject: LanguageSubject,
    documents: Sequence[Ids],
    places: Ids,
    pairs: Ids,
    steps: Ids,
    *,
    running: bool = False,
) -> Floats:
    """Δ (B, K) of texts whose token number `places` (B,) becomes the one or the other word (B, 2).

    NaN where a text ends before it says what follows after so many `steps` (K,).
    """
    before = PREFIX if running else READ_BEFORE
    pieces = [ids[max(0, p - before) : p] for ids, p in zip(documents, places, strict=True)]
    begun = (places <= before) & (not running)
    _, state = read_pieces(subject, pieces, begun)
    rest = np.array([len(ids) for ids in documents]) - places
    longest = min(int(rest.max()), int(steps[-1]) + 1)
    windows = [ids[p : p + longest] for ids, p in zip(documents, places, strict=True)]
    text, _ = pad_documents(windows, subject.boundary_id)
    which, at = np.nonzero(steps + 2 <= rest[:, None])
    words = torch.from_numpy(np.ascontiguousarray(pairs))
    differences = []
    for arm in (0, 1):
        read = torch.from_numpy(text.copy())
        read[0] = words[:, arm]
        features, _ = subject.advance(read, state)
        rows = features[torch.from_numpy(steps[at]), torch.from_numpy(which)]
        scores = subject.scores(rows, words[torch.from_numpy(which)]).double()
        differences.append((scores[:, 0] - scores[:, 1]).cpu().numpy())
    found = np.full((len(rest), len(steps)), np.nan)
    # Half the difference: the effect of one word being there, not of one word in the place of its
    # rival. NaN beyond a text's end, and not 0, which would be a model that has forgotten.
    found[which, at] = 0.5 * (differences[0] - differences[1])
    return found


# -- words of several tokens ---------------------------------------------------------------------

SPELLED_PREFIX = 96  # tokens of running text before the swapped word


def spelled_swaps(subject: LanguageSubject, sample: Sample, settings: Settings) -> Swaps | str:
    """Swaps of spelled words; or a sentence that says why there are none."""
    draw = np.random.default_rng((settings.seed, 10))
    table = sample.table(subject.vocab_size)
    fitted = fit_window(sample, SPELLED_PREFIX, settings.distance_words)
    if fitted is None:
        return too_short(sample)
    units, longest = fitted
    words = [find_words(ids, table) for ids in units.ids]
    pairs = word_pairs(usual_words(units, words), units, draw)
    if len(pairs) < 2:
        return "the text has too few words of middling frequency to swap"
    points = np.array(distances(longest))
    places = _spelled_places(units, words)
    if len({text for text, _ in places}) < 2:
        return too_short(sample)
    chosen = [places[k] for k in spread_over(np.ones(len(places)), settings.swaps, draw)]
    # As for single tokens: about as much to read before each word of a batch.
    chosen.sort(key=lambda place: words[place[0]].starts[place[1]])
    pair = draw.integers(0, len(pairs), len(chosen))
    deltas = []
    for first in range(0, len(chosen), BATCH):
        part = chosen[first : first + BATCH]
        spelled = [pairs[int(k)] for k in pair[first : first + BATCH]]
        deltas.append(_spelled_deltas(subject, units, words, part, points, spelled))
    return Swaps(
        points.astype(np.float64),
        np.concatenate(deltas),
        np.array([text for text, _ in chosen]),
        pair,
        units.resampling_unit,
    )


def _spelled_places(units: Sample, words: list[Words]) -> list[tuple[int, int]]:
    """(unit, word) where a word may be swapped: those that are followed by the nearest words."""
    spaced = brings_space(words)
    first = SPELLED_PREFIX if units.running else 0
    return [
        (u, int(w))
        for u, found in enumerate(words)
        for w in found.places(spaced=spaced)
        if found.starts[w] >= first and w + NEAR_WORDS[1] + 1 < len(found.starts)
    ]


def _spelled_deltas(
    subject: LanguageSubject,
    units: Sample,
    words: list[Words],
    swapped: list[tuple[int, int]],
    points: Ids,
    pairs: list[tuple[Word, Word]],
) -> Floats:
    """Δ (N, K) in nats of log-odds of the words `swapped` (unit and word), `points` words later.

    NaN where the text ends before.
    """
    before, after, begun, looks, inside = [], [], [], [], []
    for unit, word in swapped:
        ids, starts, end = units.ids[unit], words[unit].starts, int(words[unit].ends[word])
        at = word + 1 + points
        there = at < len(starts)
        # After so many tokens behind the swapped word the word to look at begins.
        steps = np.where(there, starts[np.minimum(at, len(starts) - 1)] - end, 0)
        first = max(0, int(starts[word]) - (SPELLED_PREFIX if units.running else READ_BEFORE))
        before.append(ids[first : starts[word]])
        after.append(ids[end : end + int(steps.max())])
        begun.append(first == 0 and not units.running)
        looks.append(steps)
        inside.append(there)
    _, state = read_pieces(subject, before, np.array(begun))
    spellings = [_padded([pair[arm] for pair in pairs]) for arm in (0, 1)]
    lengths = np.array([len(pair[0]) for pair in pairs])
    text = torch.from_numpy(pad_documents(after, subject.boundary_id)[0])
    # Distance by distance, each look at each word as a sequence of its own: K·N of them.
    stops = np.stack(looks).T.ravel()
    columns = np.tile(np.arange(len(swapped)), len(points))
    odds = []
    for spelling in spellings:
        features, state_after = read_until(subject, spelling, lengths, state)
        found = read_until(subject, text, stops, state_after, columns=columns, features=features)
        chances = [_spelled(subject, *found, asked, lengths, len(swapped)) for asked in spellings]
        odds.append(chances[0] - chances[1])
    return np.where(np.stack(inside), 0.5 * (odds[0] - odds[1]), np.nan)


def _padded(words: list[Word]) -> Tensor:
    """Spellings as (M, N), the last token repeated."""
    longest = max(map(len, words))
    return torch.tensor([word + word[-1:] * (longest - len(word)) for word in words]).T


def _spelled(
    subject: LanguageSubject,
    features: Tensor,
    state: State,
    spelling: Tensor,
    lengths: Ids,
    items: int,
) -> Floats:
    """ln P of each item's word (M, N) at each of its looks: (N, K)."""
    distances = len(features) // items
    ids = spelling.repeat(1, distances)  # (M, K·N)
    rows = features[None]
    if len(ids) > 1:
        read, _ = subject.advance(ids[:-1], state)
        rows = torch.cat([rows, read])
    losses = subject.losses(rows.flatten(0, 1), ids.reshape(-1)).reshape(ids.shape)
    # The padding of shorter spellings was asked for as well, so that all go through at once.
    within = torch.arange(len(ids))[:, None] < torch.from_numpy(lengths).repeat(distances)
    total = -(losses * within).sum(0).reshape(distances, items)
    return total.T.double().cpu().numpy()


# -- classifiers ---------------------------------------------------------------------------------

EVIDENCE_FLOOR = 0.05  # nats: a smaller B(0) has no ratio
FEWEST_PAIRS = 4
EVIDENCE_ADVICE = (
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


def measure_evidence(
    subject: ClassifierSubject, sample: Sample, settings: Settings, evidence: Evidence | None
) -> EffectRecord:
    """The signed effect of evidence by its distance from the end, over all kinds of filler."""
    if evidence is None or len(evidence.pairs) < FEWEST_PAIRS:
        return _no_evidence("there are too few evidence sentences for two of the labels")
    fillers = {name: list(parts) for name, parts in evidence.fillers.items() if len(parts) >= 2}
    if not fillers:
        return _no_evidence("there are too few neutral sentences to fill up with")
    # Longer than nine texts in ten the model was hardly ever trained on, and what it does there
    # says nothing of its memory.
    usual = float(np.quantile(sample.lengths, 0.9))
    length = int(min(settings.filler_words / sample.units_per_token, usual))
    points = distances(int(length * sample.units_per_token))
    steps = np.array([min(length, round(d / sample.units_per_token)) for d in points])
    steps = np.unique(np.append(steps, length))
    if len(steps) < 4:
        return _no_evidence("the texts are too short to put evidence at a distance")
    x = steps.astype(np.float64) * sample.units_per_token
    by_filler = {
        name: _evidence_swaps(subject, evidence, parts, steps, x, settings, k)
        for k, (name, parts) in enumerate(fillers.items())
    }
    swaps = list(by_filler.values())
    joined = replace(
        swaps[0],
        deltas=np.concatenate([part.deltas for part in swaps]),
        texts=np.concatenate([part.texts for part in swaps]),
        pairs=np.concatenate([part.pairs for part in swaps]),
    )
    near = steps == 0
    median = float(np.median(sample.lengths)) * sample.units_per_token
    record = summarise(
        joined,
        near,
        sample,
        settings,
        floor=EVIDENCE_FLOOR,
        also={"retention_start": min(median, float(x[-1]))},
        advice=EVIDENCE_ADVICE,
    )
    # What is neutral is a matter of judgement: where two kinds of filler disagree, the filler and
    # not the model is seen.
    single = {
        f"r:{name}": summarise(part, near, sample, settings, floor=EVIDENCE_FLOOR).curves.get("r")
        for name, part in by_filler.items()
    }
    shown = {name: curve for name, curve in single.items() if curve is not None}
    return record.model_copy(
        update={
            "curves": {**record.curves, **shown},
            "pair": (subject.labels[evidence.labels[0]], subject.labels[evidence.labels[1]]),
            "items": evidence.source,
            "near": "evidence at the very end",
            "fillers": tuple(by_filler),
        }
    )


def _no_evidence(note: str) -> EffectRecord:
    return EffectRecord(status="insufficient_data", note=note)


def _evidence_swaps(
    subject: ClassifierSubject,
    evidence: Evidence,
    sentences: list[Ids],
    steps: Ids,
    x: Floats,
    settings: Settings,
    number: int,
) -> Swaps:
    """`settings.evidence` pairs, the same again where there are fewer, each in its own filler.

    Evidence stands `steps` (K,) tokens, `x` (K,) words, before the end of filler number `number`,
    which has as many tokens as the last of them says.
    """
    length = int(steps[-1])
    draw = np.random.default_rng((settings.seed, 40, number))
    pairs = np.resize(draw.permutation(len(evidence.pairs)), settings.evidence)
    # A filler of its own for each pair, and the same one for both arms and all distances: what it
    # says cancels, and is averaged over.
    # Fillers of the same sentences are alike, so what is resampled are heaps without a sentence in
    # common. All kinds of filler are cut into the same heaps: shuffled words are those sentences.
    heaps = _heaps(sentences, length, np.random.default_rng((settings.seed, 41)))
    heap = np.arange(len(pairs)) % len(heaps)
    fillers = [_filler(heaps[k], length, draw) for k in heap]
    margins = [
        _evidence_margins(
            subject, evidence, [evidence.pairs[int(p)][arm] for p in pairs], fillers, steps
        )
        for arm in (0, 1)
    ]
    return Swaps(
        x=x,
        deltas=0.5 * (margins[0] - margins[1]),
        texts=heap,
        pairs=pairs,
        sampling_unit="set of neutral sentences (crossed with evidence pairs)",
    )


def _heaps(sentences: list[Ids], length: int, draw: np.random.Generator) -> list[list[Ids]]:
    """The sentences in as many heaps as there is text for fillers that share none, but at least 6.

    A heap has one sentence at least, so that fewer than `FEWEST_HEAPS` sentences make fewer heaps.
    """
    enough = sum(map(len, sentences)) // length
    count = min(len(sentences), max(FEWEST_HEAPS, enough))
    mixed = draw.permutation(len(sentences))
    return [[sentences[int(k)] for k in mixed[start::count]] for start in range(count)]


def _filler(sentences: list[Ids], length: int, draw: np.random.Generator) -> Ids:
    """Exactly `length` tokens of neutral sentences in random order, the first one cut."""
    parts: list[Ids] = []
    have = 0
    while have < length:
        for k in draw.permutation(len(sentences)):
            parts.append(sentences[int(k)])
            have += len(parts[-1])
            if have >= length:
                break
    # Cut at the front, far from the answer, so that the end is always a whole sentence.
    return np.concatenate(parts)[have - length :]


def _evidence_margins(
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
    order = np.argsort([len(text) for text in texts], kind="stable")
    out: Floats | None = None
    for first in range(0, len(texts), BATCH):
        members = order[first : first + BATCH]
        ids, sizes = pad_documents([texts[int(k)] for k in members], subject.boundary_id)
        logits = subject.logits(torch.from_numpy(ids), torch.from_numpy(sizes))
        if out is None:
            out = np.zeros((len(texts), logits.shape[1]))
        out[members] = logits.double().cpu().numpy()
    return np.zeros((0, len(subject.labels))) if out is None else out
