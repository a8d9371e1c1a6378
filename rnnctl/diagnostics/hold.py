"""HOLD: what can be read out of the state about a word that was read some time ago?

In held-out text some words are replaced by one of M, drawn uniformly; k tokens later a linear probe
guesses from the state which one it was. Because the draw is independent of all other text, chance
is exactly 0 bits and no part of the answer can leak from the context. Where words are spelled, it
is a whole word that is replaced. What is found is capacity in use, not merit: a good model forgets
what does not matter.

log2 M − cross-entropy in bits on held-out data is a lower bound of the mutual information (Xu et
al. 2020). How near it comes depends on the probe: with N examples of S numbers each, a linear probe
reads less of a larger state. Therefore

* N is a multiple of S (`Settings.plants_per_dimension`), the same for every model, and is reported;
* the probe is also fitted on a quarter, a half and three quarters of the examples, and where the
  value still rises by more than its interval, what it tends to is reported beside it.

Every word of a document can be the planted one, its last one too: at lag k the N examples are drawn
from all words that k more tokens follow.

Intervals resample what the number depends on: the texts with the places of the words, and the fit
of the probe (a jackknife that leaves out an eighth of the texts and fits anew), and which words
were drawn (a jackknife over the M words).

Axes: P planted words, N examples of a lag, S numbers in the state, M choices, G groups of texts, K
lags, R replicates.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import combinations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import one_hot

from rnnctl import statistics
from rnnctl.diagnostics import curves, spelling
from rnnctl.diagnostics.sample import Floats, Ids, Sample, spread_over, with_room
from rnnctl.diagnostics.settings import Settings
from rnnctl.diagnostics.subject import StateSubject, select
from rnnctl.results.base import Curve, Estimate
from rnnctl.results.diagnostics import HoldRecord, Sampling

States = NDArray[np.float32]
Spans = NDArray[np.int64]
"""The first token of what is replaced, and the first after it: (P, 2)."""
PREFIX = 32
"""Tokens of natural text before the first planted word; fewer where the document begins there."""
SLACK = 24
"""Tokens of a spelled text within which a word begins and ends."""
SPACING = 16
"""Tokens between two planted words of one text: one word in 16 is another than was written."""
BATCH = 256
BLOCKS = 64
"""Stretches of a running text in which words are planted."""
GROUPS = 8
"""Groups of texts that are left out in turn."""
SHORTEST = 4
"""Tokens: no curve below this longest lag."""
FEWEST_TEXTS = 5
SHRINKAGE = (0.02, 0.2, 0.8)
"""Of the covariance towards a multiple of 1: with as few examples as numbers in the state the plain
one cannot be inverted, and which is best depends on how many there are."""
SCALES = np.concatenate([[0.0], np.geomspace(0.02, 4, 12)])
"""Of the scores: a discriminant that was fitted on few examples is too sure. 0: the uniform answer,
so that states of noise have 0 bits and not fewer."""
REFITTED = 3
"""Lags of a state of more than `LARGE` numbers at which the probe is fitted anew for intervals."""
SMALLEST = 1e-6
"""Bits that count as none: rounding."""
LARGE = 400
AHEAD = 15
"""Lags beside those that are probed at which states are kept, for a closer look where half of the
bits are gone: the first ones at first, then of those between two others, read again."""


@dataclass(frozen=True)
class Plants:
    """Texts with planted words.

    `ids` (T, W): W windows side by side, padded at their ends. Of each of P planted words:
    `window`, its column; `ends`, the first step after it; `room`, how many tokens follow it, the
    longest lag at most; `choices`, which of `count` it is; `groups`, the document that it stands
    in. `examples`: N, how many of them serve at each lag.
    """

    ids: Ids
    window: Ids
    ends: Ids
    room: Ids
    choices: Ids
    groups: Ids
    count: int
    examples: int

    def __len__(self) -> int:
        return len(self.ends)

    def at(self, lag: int) -> Ids:
        """The first N words that so many tokens follow: (N,), fewer where there are none."""
        found: Ids = np.flatnonzero(self.room >= lag)[: self.examples]
        return found

    def folds(self, lags: Sequence[int]) -> Ids:
        """A group of texts for each word (P,): `GROUPS` at most, each with words at each lag.

        The same at all lags, so that what leaving out a group does to one belongs to the others.
        """
        # A group without an example at some lag could be neither judged nor left out there; so the
        # documents that reach far are dealt out first, and if need be to fewer groups.
        draw = np.random.default_rng(len(self))
        documents, index = np.unique(self.groups, return_inverse=True)
        far = np.unique(self.groups[self.at(max(lags))])
        lots = draw.random(len(documents)) - np.isin(documents, far)  # those that reach far first
        rank = np.argsort(np.argsort(lots))
        for groups in range(min(GROUPS, len(documents)), 2, -1):
            fold: Ids = (rank % groups)[index]
            if all(len(np.unique(fold[self.at(lag)])) == groups for lag in lags):
                return fold
        return (rank % 2)[index]


# -- planting ------------------------------------------------------------------------------------


def measure(
    subject: StateSubject, sample: Sample, settings: Settings, *, begins: int | None = None
) -> HoldRecord:
    """Bits about a planted word in the state, by lag.

    `begins`: the id that is read before a document's first token, if there is one.
    """
    draw = np.random.default_rng((settings.seed, 30))
    words = planted_words(sample, settings.choices, subject.vocab_size, draw)
    if len(words) < 2:
        return _nothing("the text has too few equally long words to plant")
    width = words.shape[1] + (SLACK if sample.spells else 0)
    fitted = _units(sample, width, settings.hold_lag)
    if fitted is None:
        return _nothing(_too_short(sample, width))
    units, longest = fitted
    places = word_places(units, words, longest, subject.vocab_size) if sample.spells else None
    if places is not None:  # a text may be long enough and have no such word early enough
        room = zip(places, units.lengths, strict=True)
        if sum(bool((spans[:, 1] + longest <= size).any()) for spans, size in room) < FEWEST_TEXTS:
            return _nothing(_too_short(sample, width))
    count = examples(subject, settings)
    plants = plant(units, words, count, longest, draw, places, begins=begins)
    return _measured(subject, plants, longest, sample, units, settings)


def examples(subject: StateSubject, settings: Settings) -> int:
    """N: `plants_per_dimension` for each number in the state, between the preset's bounds."""
    size = subject.vector(subject.initial_state(1)).shape[1]
    wanted = round(settings.plants_per_dimension * size)
    return int(min(max(settings.planted, wanted), max(settings.planted, settings.most_planted)))


def _nothing(note: str) -> HoldRecord:
    return HoldRecord(status="insufficient_data", note=note)


def planted_words(sample: Sample, count: int, vocab_size: int, draw: np.random.Generator) -> Ids:
    """Up to `count` words of the text with equally many tokens, of middling frequency: (M, width).

    Where there are fewer, the largest power of two of them.
    """
    if sample.spells:
        table = sample.table(vocab_size)
        usual = spelling.usual_words(sample, [spelling.find_words(i, table) for i in sample.ids])
    else:
        usual = spelling.usual_tokens(sample)
    by_width: dict[int, list[spelling.Word]] = {}
    for word in usual:
        by_width.setdefault(len(word), []).append(word)
    if not by_width:
        return np.zeros((0, 1), dtype=np.int64)
    largest = max(by_width.values(), key=len)
    taken = min(count, 2 ** int(math.log2(len(largest))))
    chosen = draw.permutation(len(largest))[:taken]
    return np.array([largest[int(k)] for k in chosen], dtype=np.int64)


def _first(sample: Sample) -> int:
    """The first place for a word: where a document begins, but not where a block does."""
    return PREFIX if sample.block is not None or sample.running else 0


def _units(sample: Sample, width: int, lag: int) -> tuple[Sample, int] | None:
    """The texts to plant words in, and the longest lag that they allow."""
    lags = [lag]
    while lags[-1] // 2 >= SHORTEST:
        lags.append(lags[-1] // 2)
    lengths = [_first(sample) + width + far + 1 for far in lags]
    found = with_room(sample, lengths, fewest=FEWEST_TEXTS, wanted=4 * FEWEST_TEXTS)
    return None if found is None else (found[0], lags[found[1]])


def _too_short(sample: Sample, width: int) -> str:
    """What HOLD would need of a text that has no room for it."""
    one = "text" if sample.running else "document"
    least = _first(sample) + width + SHORTEST + 1
    longest = int(sample.lengths.max(initial=0))
    return (
        f"not measurable: HOLD needs {FEWEST_TEXTS} {one}s of at least {least} tokens, and the "
        f"longest has {longest:,}"
    )


def polarity(
    subject: StateSubject,
    sample: Sample,
    settings: Settings,
    pairs: Sequence[tuple[Ids, Ids]],
) -> Curve | None:
    """Bits (of 1) about which sentence, ids (T,) each, of a pair of evidence was planted, by lag.

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
    plants = plant(units, alike, examples(subject, settings), longest, draw)
    lags = list(settings.hold_lags) or coarse(longest)
    fold = plants.folds(lags)
    states = collect(subject, plants, lags, hidden=False)
    found = _probed(plants, states, lags, fold, settings.seed)["state"]
    return _curve(found, bootstrapped(found, settings), sample)


def word_places(units: Sample, words: Ids, longest: int, vocab_size: int) -> list[Spans]:
    """Of each unit, the words that one of the spelled `words` (M, width) can take the place of.

    First token and first one after it: (P, 2) for each unit.
    """
    table = units.table(vocab_size)
    # Words of one kind only are planted: a word that brings its space cannot follow a space.
    spaced = table[int(words[0, 0])][:1] in spelling.SPACED
    found = []
    for ids in units.ids:
        here = spelling.find_words(ids, table)
        kept = here.places(spaced=spaced)
        spans = np.stack([here.starts[kept], here.ends[kept]], axis=1)
        found.append(_usable(spans, units, len(ids), longest))
    return found


def _anywhere(units: Sample, width: int, longest: int) -> list[Spans]:
    """Of each unit, all places for `width` tokens: (P, 2)."""
    found = []
    for ids in units.ids:
        starts = np.arange(max(0, len(ids) - width + 1))
        spans = np.stack([starts, starts + width], axis=1)
        found.append(_usable(spans, units, len(ids), longest))
    return found


def _usable(spans: Spans, units: Sample, length: int, longest: int) -> Spans:
    """Without those at the edges of a block, which is no document, and ends where no text ends."""
    if units.block is None:
        return spans
    return spans[(spans[:, 0] >= _first(units)) & (spans[:, 1] + longest <= length)]


def plant(
    units: Sample,
    words: Ids,
    count: int,
    longest: int,
    draw: np.random.Generator,
    places: Sequence[Spans] | None = None,
    *,
    begins: int | None = None,
) -> Plants:
    """Random words planted in the texts `units`: `count` for every lag up to `longest`.

    `words` (M, width), or (Q, M, width) where each word is drawn from one of Q sets of choices. It
    takes the place of one of the unit's `places`, or of as many tokens as it has, anywhere. Words
    in one copy of a text are at least `SPACING` tokens (or four times their width) apart. `begins`
    is read before a document's first token.

    At lag k each place that k tokens follow is as likely as any other, W(k) of them. So that not
    every lag needs words of its own, a place with room for r tokens is drawn `count` / W(r) times
    and serves at lag k with probability W(r) / W(k) (Rosén 1997): those with the smallest u / W(r)
    do, u uniform, and stand first.
    """
    sets = words[None] if words.ndim == 2 else words
    width = sets.shape[2]
    allowed = _anywhere(units, width, longest) if places is None else places
    usable = np.array([k for k, spans in enumerate(allowed) if len(spans)])
    if units.block is not None:  # blocks of one text: fewer of them are read, with more words each
        usable = usable[np.sort(draw.permutation(len(usable))[:BLOCKS])]
    document = np.repeat(usable, [len(allowed[k]) for k in usable])
    spans = np.concatenate([allowed[k] for k in usable])
    room = np.minimum(longest, units.lengths[document] - spans[:, 1])
    with_room_for = np.cumsum(np.bincount(room, minlength=longest + 1)[::-1])[::-1]  # W
    density = 1 / with_room_for[room]
    # 1e-6: a sum of 1 / W that should be whole is not quite so in floats.
    chosen = spread_over(density, math.ceil(count * float(density.sum()) - 1e-6), draw)
    # Uniform and independent of the text: then nothing but the state can tell the word, chance is
    # exactly 0 bits, and no control task is needed (Hewitt & Liang 2019).
    columns, window, ends, left = _windows(
        units, document[chosen], spans[chosen], longest, width, begins
    )
    choices = draw.integers(sets.shape[1], size=len(chosen))
    planted = sets[draw.integers(len(sets), size=len(chosen)), choices]
    for k in range(len(chosen)):
        columns[ends[k] - width : ends[k], window[k]] = planted[k]
    first = np.argsort(draw.random(len(chosen)) * density[chosen], kind="stable")
    return Plants(
        columns,
        window[first],
        ends[first],
        np.minimum(room[chosen], left)[first],
        choices[first],
        document[chosen][first],
        sets.shape[1],
        count,
    )


def _windows(
    units: Sample, document: Ids, spans: Spans, longest: int, width: int, begins: int | None
) -> tuple[Ids, Ids, Ids, Ids]:
    """Texts (T, W) with room for `width` tokens in the place of each of the `spans` (P, 2).

    These are sorted by document and place. Also the column of each, the first step after it, and
    how many tokens follow it: where a later span is longer than `width`, fewer than were written.
    """
    # Words that stand closer would be each other's noise, in a text that is no longer natural.
    spacing = max(SPACING, 4 * width)
    copies: list[list[int]] = []  # the spans that stand in each column
    free: list[int] = []  # columns of this document, the first one on top
    taken: deque[tuple[int, int]] = deque()  # where a span begins, and its column
    latest = -1
    for k, (start, _) in enumerate(spans.tolist()):
        if document[k] != latest:
            latest = int(document[k])
            free.clear()
            taken.clear()
        while taken and start - taken[0][0] >= spacing:
            heappush(free, taken.popleft()[1])
        column = heappop(free) if free else len(copies)
        if column == len(copies):
            copies.append([])
        copies[column].append(k)
        taken.append((start, column))
    texts, ends = [], np.empty(len(spans), dtype=np.int64)
    for members in copies:
        ids = units.ids[int(document[members[0]])]
        at = max(0, int(spans[members[0], 0]) - PREFIX)
        opening = [] if begins is None or at or units.block is not None else [begins]
        parts, length = [np.array(opening, dtype=np.int64)], len(opening)
        for k in members:
            start, end = (int(edge) for edge in spans[k])
            parts += [ids[at:start], np.zeros(width, dtype=np.int64)]
            length += start - at + width
            ends[k], at = length, end
        texts.append(np.concatenate([*parts, ids[at : at + longest]]))
    # Texts of similar length in one batch: little of what is read is padding.
    order = np.argsort([len(text) for text in texts], kind="stable")
    window = np.empty(len(spans), dtype=np.int64)
    left = np.empty(len(spans), dtype=np.int64)
    padded = np.zeros((max(map(len, texts)), len(texts)), dtype=np.int64)
    for column, k in enumerate(order):
        padded[: len(texts[k]), column] = texts[k]
        window[copies[k]] = column
        left[copies[k]] = len(texts[k]) - ends[copies[k]]
    return padded, window, ends, left


def collect(
    subject: StateSubject, plants: Plants, lags: Sequence[int], *, hidden: bool = True
) -> dict[str, dict[int, States]]:
    """States (N, S) by lag: the whole state, and h alone where that is not the same.

    Lag k is the state after k more tokens, of the words `Plants.at` that lag; in float32, whose
    errors are far below the probe's.
    """
    # h alone beside it: all that an output layer can see of an LSTM.
    names = ("state", "h") if hidden else ("state",)
    found: dict[str, list[States]] = {name: [] for name in names}
    ids = torch.from_numpy(plants.ids)
    where = np.full((len(plants), len(lags)), -1)  # the row of each word at each lag
    for k, lag in enumerate(lags):
        rows = plants.at(lag)
        where[rows, k] = np.arange(len(rows))
    for first in range(0, ids.shape[1], BATCH):
        columns = ids[:, first : first + BATCH]
        rows = np.flatnonzero((plants.window >= first) & (plants.window < first + BATCH))
        times = plants.ends[rows, None] + np.asarray(lags)[None]  # (rows, K)
        times[where[rows] < 0] = -1
        state, at = subject.initial_state(columns.shape[1]), 0
        for time in np.unique(times[times >= 0]):
            state = subject.read(columns[at:time], state)
            at = int(time)
            row, which = np.nonzero(times == time)
            for name in names:
                taken = plants.window[rows[row]] - first
                vector = subject.vector(
                    select(state, torch.from_numpy(taken)), hidden_only=name == "h"
                )
                values = vector.float().cpu().numpy()
                if not found[name]:
                    found[name] = [
                        np.empty((count, values.shape[1]), dtype=np.float32)
                        for count in where.max(axis=0) + 1
                    ]
                for value, word, lag_at in zip(values, rows[row], which, strict=True):
                    found[name][lag_at][where[word, lag_at]] = value
    if hidden and found["h"][0].shape == found["state"][0].shape:
        del found["h"]
    return {name: dict(zip(lags, values, strict=True)) for name, values in found.items()}


# -- the probe -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class ReadOut:
    """What a probe reads from the states of one lag.

    `bits` (N,): of each example, by a probe fitted on the other groups of texts. `by_size`: mean
    bits by the number of examples that the probe was fitted on. `texts` (G,) and `words` (M,): how
    the mean changes when a group of texts, or one of the words, is left out; None where it was not
    measured.
    """

    bits: Floats
    by_size: dict[float, float]
    texts: Floats | None
    words: Floats


def read_out(
    states: States,
    choices: Ids,
    groups: Ids,
    count: int,
    *,
    seed: int,
    refit: bool,
    smaller: bool = True,
) -> ReadOut:
    """Probe the states (N, S) of one lag for the `choices` (N,), which are below `count`.

    Examples of one of the `groups` (N,), a document, are never both learnt from and judged. Bits of
    single examples may be negative; only their mean is an estimate. With `refit` also fits that
    leave out groups of texts, with `smaller` also on fewer examples.

    A probe is a linear discriminant with a shrunk pooled covariance. Its shrinkage is chosen by the
    loss on the first group, the scale of its scores for each group by the loss on all others, with
    0, "uniform", among them.
    """
    fold = _folds(groups, seed)
    order = np.argsort(fold, kind="stable")
    parts = _Parts.of(states[order], choices[order], fold[order], count)
    everyone = range(parts.groups)
    fitted_on = len(states) * (1 - 1 / parts.groups)
    # Chosen once, on one group: the best shrinkage hardly differs between groups, and trying all of
    # it for each would take three times as long.
    first = [parts.scores(everyone[1:], shrinkage, [0])[0] for shrinkage in SHRINKAGE]
    losses = [_nats(one, parts.truth[parts.rows[0]], 1 / fitted_on).mean(1).min() for one in first]
    best = int(np.argmin(losses))
    scores = np.empty((len(states), count))
    scores[parts.rows[0]] = first[best]
    for g in everyone[1:]:
        train = [k for k in everyone if k != g]
        scores[parts.rows[g]] = parts.scores(train, SHRINKAGE[best], [g])[g]
    nats, ways = _chosen([scores], parts.truth, parts.fold, fitted_on)
    bits = np.empty(len(states))
    bits[order] = math.log2(count) - nats / math.log(2)
    words = _without_words(parts, scores * SCALES[ways][parts.fold, None], fitted_on)
    sizes = {fitted_on: float(bits.mean())}
    if not refit:
        return ReadOut(bits, sizes, None, words)
    texts, two_less = _without_texts(parts, SHRINKAGE[best])
    texts = _first_order(texts, bits[order], parts)
    sizes[len(states) * (1 - 2 / parts.groups)] = two_less
    return ReadOut(bits, sizes | (_smaller(parts) if smaller else {}), texts, words)


def _folds(groups: Ids, seed: int) -> Ids:
    """A fold for each example, the same within a text, about equally large."""
    members, index = np.unique(groups, return_inverse=True)
    order = np.random.default_rng((seed, 20)).permutation(len(members))
    fold: Ids = (order % min(GROUPS, len(members)))[index]
    return fold


@dataclass(frozen=True)
class _Parts:
    """Examples by group of texts, and what a discriminant needs to be fitted on any of them.

    `truth` and `fold` (N,) with the groups after one another, `rows` where each of them is. Per
    group: states (n, S), counts (M,), sums of the states of each choice (M, S) and the sum of
    squares and products (S, S); of the last three also the total at the end. In float32 and in
    torch: NumPy's and SciPy's own threads beside torch's make small products several times slower.
    """

    truth: Ids
    fold: Ids
    rows: list[slice]
    states: list[Tensor]
    counts: list[Tensor]
    sums: list[Tensor]
    products: list[Tensor]
    count: int

    @classmethod
    def of(cls, states: States, choices: Ids, fold: Ids, count: int) -> _Parts:
        """Columns are standardised, those that never vary drop out: neither looks at a choice."""
        mean, spread = states.mean(0, dtype=np.float64), states.std(0, dtype=np.float64)
        # Columns of one value tell nothing, and dividing by their spread would make rounding data.
        used = spread > 1e-6 * max(1e-6, float(np.abs(mean).max(initial=0.0)))
        scaled = torch.from_numpy((states[:, used] - mean[used]) / spread[used]).float()
        onehot = one_hot(torch.from_numpy(choices), count).float()
        ends = np.flatnonzero(np.diff(fold, append=-1)) + 1
        made = cls(choices, fold, [], [], [], [], [], count)
        for start, end in zip([0, *ends[:-1]], ends, strict=True):
            part, told = scaled[start:end], onehot[start:end]
            made.rows.append(slice(int(start), int(end)))
            made.states.append(part)
            made.counts.append(told.sum(0))
            made.sums.append(told.T @ part)
            made.products.append(part.T @ part)
        for values in (made.counts, made.sums, made.products):
            values.append(torch.stack(values).sum(0))
        return made

    @property
    def groups(self) -> int:
        """G."""
        return len(self.states)

    def _added(self, values: list[Tensor], train: Sequence[int]) -> Tensor:
        """The sum over groups; the last entry of `values` is that over all of them."""
        # Whichever takes fewer additions: most fits leave out one group or two.
        left = [g for g in range(self.groups) if g not in train]
        fewer = len(left) < len(train)
        total = values[-1].clone() if fewer else torch.zeros_like(values[-1])
        for g in left if fewer else train:
            total.add_(values[g], alpha=-1 if fewer else 1)
        return total

    def scores(
        self, train: Sequence[int], shrinkage: float, test: Sequence[int]
    ) -> dict[int, Floats]:
        """Discriminant scores (n, M) of the groups `test`, fitted on the groups `train`.

        The covariance within choices is shrunk towards a multiple of 1.
        """
        if self.states[0].shape[1] == 0:
            return {g: np.zeros((len(self.states[g]), self.count)) for g in test}
        counts = self._added(self.counts, train)
        means = self._added(self.sums, train) / counts.clamp(min=1)[:, None]  # (M, S)
        within = self._added(self.products, train).addmm_(means.T * counts, means, alpha=-1)
        within /= counts.sum()
        # One covariance for all choices: M of them, each from N / M examples, could not be had.
        size = float(within.diagonal().mean())
        within *= 1 - shrinkage
        within.diagonal().add_(shrinkage * size + 1e-6)  # 1e-6: of states that are all alike
        factor, failed = torch.linalg.cholesky_ex(within)
        if int(failed):  # rounding in a state that is almost constant
            within.diagonal().add_(1e-3)
            factor = torch.linalg.cholesky(within)
        directions = torch.cholesky_solve(means.T.contiguous(), factor)  # (S, M)
        offset = 0.5 * (means.T * directions).sum(0)
        found = {}
        for g in test:
            scores = (self.states[g] @ directions - offset).double()
            # A choice that no example of the training groups shows: as good as impossible, and not
            # log 0.
            scores[:, counts == 0] = -50.0
            found[g] = (scores - scores.amax(1, keepdim=True)).clamp(-1e4, 0).numpy()
        return found


def _nats(scores: Floats, truth: Ids, doubt: float, scales: Floats = SCALES) -> Floats:
    """−ln of the truth's probability for each of C scales of the scores (n, M): (C, n).

    A share `doubt` of the probability is spread over all choices: a probe that was never wrong on n
    examples is not to be believed beyond 1 in n, and one mistake would cost any number of bits.
    """
    shifted = np.exp(scales[:, None, None] * (scores - scores.max(1, keepdims=True)))
    chance = shifted[:, np.arange(len(truth)), truth] / shifted.sum(2)
    nats: Floats = -np.log((1 - doubt) * chance + doubt / scores.shape[1])
    return nats


def _chosen(
    scores: Sequence[Floats], truth: Ids, fold: Ids, fitted_on: float
) -> tuple[Floats, Ids]:
    """Nats (n,) of each example at the shrinkage and scale that are best on all other groups.

    `scores`: (n, M) for each shrinkage. Also which way, shrinkage · C + scale, that was for each
    group that `fold` (n,) names, in rising order: (G,).
    """
    every = np.concatenate([_nats(part, truth, 1 / (1 + fitted_on)) for part in scores])
    members, index = np.unique(fold, return_inverse=True)
    inside = index[:, None] == np.arange(len(members))  # (n, G)
    of_group = every @ inside
    # By all the other groups: chosen on its own, the scale would find bits in noise.
    ways = np.argmin(of_group.sum(1, keepdims=True) - of_group, axis=0)
    nats: Floats = every[ways[index], np.arange(len(truth))]
    return nats, ways


def _without_texts(parts: _Parts, shrinkage: float) -> tuple[Floats, float]:
    """(G,) mean bits without each group of texts, fitted anew, less their mean; and that mean."""
    everyone = range(parts.groups)
    total = len(parts.truth)
    scores = np.empty((parts.groups, total, parts.count))  # without the first axis' group
    # A fit without two groups serves twice: for either of them with the other left out.
    for pair in combinations(everyone, 2):
        found = parts.scores([k for k in everyone if k not in pair], shrinkage, pair)
        for out, tested in (pair, pair[::-1]):
            scores[out, parts.rows[tested]] = found[tested]
    means = []
    for out in everyone:
        kept = parts.fold != out
        nats, _ = _chosen(
            [scores[out, kept]], parts.truth[kept], parts.fold[kept], total * (1 - 2 / parts.groups)
        )
        means.append(math.log2(parts.count) - float(nats.mean()) / math.log(2))
    # Deviations from their own mean, as a jackknife has them: all these fits are on fewer texts,
    # and the loss of that is in every one.
    values = np.array(means)
    return values - values.mean(), float(values.mean())


def _first_order(texts: Floats, bits: Floats, parts: _Parts) -> Floats:
    """The deviations (G,) of the jackknife, made smaller by what it counts twice.

    Leaving out texts changes which examples are judged, and what the probe has learnt from; an
    error of the second kind is of second order, pairs of texts that meet, and a jackknife doubles
    it (Efron & Stein 1981). The first kind alone is what leaving out held-out bits (N,) gives.
    """
    means = np.array([float(bits[parts.fold != g].mean()) for g in range(parts.groups)])
    judged = float(np.square(means - means.mean()).sum())
    both = float(np.square(texts).sum())
    if both <= judged or both == 0:
        return texts
    return texts * math.sqrt((judged + (both - judged) / 2) / both)


def _smaller(parts: _Parts) -> dict[float, float]:
    """Mean bits of probes that were fitted on a quarter and on half of the groups."""
    everyone, found = range(parts.groups), {}
    for share in (0.25, 0.5):
        size = max(1, round(share * parts.groups))
        gathered: list[list[Floats]] = [[] for _ in SHRINKAGE]
        rows: list[Ids] = []
        for first in range(0, parts.groups - size + 1, size):
            train = range(first, first + size)
            test = [g for g in everyone if g not in train]
            for way, shrinkage in enumerate(SHRINKAGE):
                by_group = parts.scores(train, shrinkage, test)
                gathered[way] += [by_group[g] for g in test]
            rows += [np.arange(parts.rows[g].start, parts.rows[g].stop) for g in test]
        row = np.concatenate(rows)
        fitted_on = len(parts.truth) * size / parts.groups
        scores = [np.concatenate(part) for part in gathered]
        nats, _ = _chosen(scores, parts.truth[row], parts.fold[row], fitted_on)
        found[fitted_on] = math.log2(parts.count) - float(nats.mean()) / math.log(2)
    return found


def _without_words(parts: _Parts, scores: Floats, fitted_on: float) -> Floats:
    """(M,) mean bits without each word, as a share of all bits there are, less their mean.

    `scores` (N, M), scaled. What single examples add to it is taken out: that belongs to the texts.
    """
    if parts.count <= 2:
        return np.zeros(parts.count)
    doubt, truth = 1 / (1 + fitted_on), parts.truth
    fewer = math.log(parts.count - 1)
    shares, spread = [], 0.0
    for word in range(parts.count):
        rows = truth != word
        # Without one of the words the same scores answer a question of M − 1 choices; as a share of
        # its bits the two questions compare.
        others = np.delete(scores[rows], word, axis=1)
        nats = _nats(others, truth[rows] - (truth[rows] > word), doubt, np.ones(1))[0]
        shares.append(1 - float(nats.mean()) / fewer)
        spread += float((nats / fewer).var()) / parts.count
    values = math.log2(parts.count) * np.array(shares)
    values -= values.mean()
    by_words = (parts.count - 1) / parts.count * float(values @ values)
    by_chance = math.log2(parts.count) ** 2 * spread / len(truth)
    if by_words <= by_chance:
        return np.zeros(parts.count)
    return values * math.sqrt(1 - by_chance / by_words)


# -- from read-outs to curves and numbers --------------------------------------------------------


def _probed(
    plants: Plants,
    states: dict[str, dict[int, States]],
    lags: Sequence[int],
    fold: Ids,
    seed: int,
    *,
    further: bool = False,
) -> dict[str, dict[int, ReadOut]]:
    """Read-outs of `states` at some `lags`, by part of the state and lag.

    `further` lags lie between others. `fold` (P,): the group of texts of each planted word.
    """
    found: dict[str, dict[int, ReadOut]] = {}
    for name, by_lag in states.items():
        size = by_lag[lags[0]].shape[1]
        anew = set() if further and size > LARGE else refitted_at(lags, size)
        found[name] = {
            lag: read_out(
                by_lag[lag],
                plants.choices[plants.at(lag)],
                fold[plants.at(lag)],
                plants.count,
                seed=seed,
                refit=lag in anew,
                smaller=name == "state",
            )
            for lag in lags
        }
    return found


def refitted_at(lags: Sequence[int], size: int) -> set[int]:
    """The lags at which the probe of a state of `size` numbers is fitted anew; all if it is small.

    Between them what the fits say of the error is interpolated.
    """
    if size <= LARGE or len(lags) <= REFITTED:
        return set(lags)
    return {lags[round(k)] for k in np.linspace(0, len(lags) - 1, REFITTED)}


def coarse(longest: int) -> list[int]:
    """Lags to begin with: two an octave up to 32, then one, and the longest."""
    points = curves.octave_points(longest)
    return [lag for lag in points if lag <= 32 or lag & (lag - 1) == 0 or lag == longest]


def between(lags: Sequence[int], bits: Sequence[float]) -> range:
    """The lags between the two at which the bits fall below half; empty if those are neighbours."""
    fit = statistics.isotonic(bits)
    below = np.flatnonzero(fit <= fit[0] / 2)
    if not len(below) or below[0] == 0:
        return range(0)
    return range(lags[int(below[0]) - 1] + 1, lags[int(below[0])])


def spread(lags: Sequence[int], most: int) -> list[int]:
    """All of the lags, or `most` of them, evenly."""
    if len(lags) <= most:
        return list(lags)
    return [lags[round(k * (len(lags) + 1) / (most + 1)) - 1] for k in range(1, most + 1)]


def _measured(
    subject: StateSubject,
    plants: Plants,
    longest: int,
    sample: Sample,
    units: Sample,
    settings: Settings,
) -> HoldRecord:
    """Read out at half octaves, then at single lags around where half of the bits are gone."""
    lags = list(settings.hold_lags) or coarse(longest)
    fold = plants.folds(lags)
    near = [] if settings.hold_lags else [k for k in range(lags[-1]) if k not in lags][:AHEAD]
    ahead = collect(subject, plants, sorted({*lags, *near}))
    found = _probed(plants, ahead, lags, fold, settings.seed)
    size = subject.vector(subject.initial_state(1)).shape[1]
    # Half octaves would blur a delay line, which holds all bits up to one lag and none at the next:
    # single lags are probed until the two between which half is gone are neighbours.
    while not settings.hold_lags:
        bits = [float(found["state"][lag].bits.mean()) for lag in lags]
        wanted = spread(between(lags, bits), AHEAD)
        if not wanted:
            break
        if not any(lag in ahead["state"] for lag in wanted):
            ahead = collect(subject, plants, wanted)
        wanted = [lag for lag in between(lags, bits) if lag in ahead["state"]]
        further = spread(wanted, 4 if size <= LARGE else 1)
        between_them = _probed(plants, ahead, further, fold, settings.seed, further=True)
        for name, more in between_them.items():
            found[name] = dict(sorted((found[name] | more).items()))
        lags = list(found["state"])
    bits_of = {name: bootstrapped(by_lag, settings) for name, by_lag in found.items()}
    means = bits_of["state"]
    x = np.array([sample.distance(lag) for lag in lags])
    texts = len(np.unique(plants.groups))
    scalars = summaries(x, means, plants.count, texts, sample)
    status = "ok" if scalars["hold_half"].status != "undefined" else "undefined"
    if status == "ok":
        scalars |= _tending(x, found["state"], means, scalars, plants.count, texts, sample)
    return HoldRecord(
        status=status,
        note=scalars["hold_half"].note if status != "ok" else "",
        sampling=Sampling(unit=units.resampling_unit, n=texts, items=len(plants)),
        scalars=scalars,
        curves={name: _curve(found[name], part, sample) for name, part in bits_of.items()},
        choices=plants.count,
        examples=plants.examples,
        dimensions=size,
        examples_per_dimension=plants.examples / size,
    )


def bootstrapped(found: dict[int, ReadOut], settings: Settings) -> statistics.Bootstrapped:
    """Mean bits at each lag (K,) with replicates (R, K) that vary as the two jackknives say.

    `found`: by lag, in rising order. A replicate adds the deviations of all left-out groups, each
    with a normal weight, so that lags vary together as they do in the data. The ends here do not
    allow for few groups by Student's quantile: what is left of the second order makes up for it
    (`tests/benchmarks/coverage.py`).
    """
    estimate = np.array([float(one.bits.mean()) for one in found.values()])
    known = [(lag, one.texts) for lag, one in found.items() if one.texts is not None]
    table = np.array([texts for _, texts in known])  # (lags with refits, G)
    groups = table.shape[1]
    # On the logarithm of the lag, on which curves of memory are about straight.
    at = np.log1p(np.array([lag for lag, _ in known]))
    here = np.log1p(np.array(list(found), dtype=np.float64))
    texts = np.stack([np.interp(here, at, table[:, g]) for g in range(groups)])  # (G, K)
    words = np.stack([one.words for one in found.values()], axis=1)  # (M, K)
    draw = np.random.default_rng((settings.seed, 32))
    replicates = np.tile(estimate, (settings.resamples, 1))
    for deviations in (texts, words):
        units = len(deviations)
        weights = draw.standard_normal((settings.resamples, units))
        # The jackknife's variance is (G − 1)/G of the sum of squared deviations.
        replicates += math.sqrt((units - 1) / units) * weights @ deviations
    # no error in n examples is no proof of none: what one in n would cost
    unseen = math.log2(math.e) / np.array([len(one.bits) for one in found.values()])
    replicates += draw.standard_normal((settings.resamples, 1)) * unseen
    replicates = np.minimum(
        replicates, math.log2(len(words))
    )  # of M words there is no more to know
    lo, hi = statistics.percentiles(replicates)
    return statistics.Bootstrapped(estimate, lo, hi, replicates)


def _curve(found: dict[int, ReadOut], means: statistics.Bootstrapped, sample: Sample) -> Curve:
    x = [sample.distance(lag) for lag in found]
    n = [len(one.bits) for one in found.values()]
    return curves.curve(x, means, n, x_unit=sample.unit, y_unit="bits")


def summaries(
    x: Floats, means: statistics.Bootstrapped, count: int, n: int, sample: Sample
) -> dict[str, Estimate]:
    """bits_0, bits_100, bits_last, hold_half, hold_auc of mean bits at distances x (K,).

    `count`: M, the words to choose from; `n`: texts behind the intervals.
    """
    at_once = curves.first(means, n=n, unit="bits")
    short = f"lags were measured up to {x[-1]:.0f} {sample.unit} only"
    found = {
        "bits_0": at_once,
        "bits_100": curves.at_distance(x, means, 100.0, n=n, unit="bits", short=short),
        "bits_last": _last(x, means, n, sample),
    }
    if at_once.ends[0] <= 0:
        note = "the state holds nothing measurable of the word that was just read"
        return {
            **found,
            "hold_half": curves.missing("undefined", note, unit=sample.unit),
            "hold_auc": curves.missing("undefined", note),
        }
    found["hold_half"] = _half(x, means, n, sample)
    # On a log scale, or the longest third of the lags would be all of the area.
    grid = np.geomspace(x[1], x[-1], 64)

    def area(fit: Floats) -> float:
        return float(statistics.interpolated(x, fit, grid).mean()) / math.log2(count)

    found["hold_auc"] = curves.derived(means, area, n=n, unit="ratio")
    return found


def _half(x: Floats, means: statistics.Bootstrapped, n: int, sample: Sample) -> Estimate:
    """Where half of the bits are gone; the interval holds both lags between which that happens."""

    def half(at: Floats, fit: Floats) -> float:
        # what noise leaves of nothing is no slope: the fall is to a hundredth at most
        return statistics.crossing(at, fit, fit[0] / 2, decay=True, floor=fit[0] / 100)

    value, replicates = curves.falling_horizons(x, means, np.ones(len(x)), half)
    found = curves.estimate(value, replicates, n=n, unit=sample.unit, largest=float(x[-1]))
    if found.estimate is None:
        return found
    # Between two lags nothing was measured: the truth may lie at either of them.
    high = int(np.searchsorted(x, found.estimate))
    low = max(0, high - 1)
    ends = found.ci95
    return found.model_copy(
        update={
            "ci95": (
                float(x[low]) if ends[0] is None else min(ends[0], float(x[low])),
                None if ends[1] is None else max(ends[1], float(x[min(high, len(x) - 1)])),
            )
        }
    )


def _last(x: Floats, means: statistics.Bootstrapped, n: int, sample: Sample) -> Estimate:
    """The longest distance with bits above 0, all distances looked at together.

    Each single interval holds the truth 95 times in 100; the largest of 25 errors is larger. The
    band here holds all of them at once (the largest standardised deviation of the replicates).
    """
    spread = means.replicates.std(axis=0)
    off = np.abs(means.replicates - means.estimate) / np.maximum(spread, SMALLEST)
    above = means.estimate > np.quantile(off.max(axis=1), 0.95) * spread + SMALLEST
    last = float(x[above][-1]) if above.any() else 0.0
    beyond = bool(above.any() and above[-1])
    return Estimate(
        estimate=None if beyond else last,
        n=n,
        unit=sample.unit,
        status="censored" if beyond else "ok",
        censored_at=last if beyond else None,
    )


def extrapolated(by_size: dict[float, float]) -> tuple[float, float]:
    """What bits tend to with ever more examples, and the error of that.

    The loss of a probe exceeds that of the best one by about a / n with n examples, so a straight
    line over 1 / n through the larger sizes; a line through the smaller ones says how well it fits.
    """
    sizes = sorted(by_size)
    inverse = np.array([1 / size for size in sizes])
    bits = np.array([by_size[size] for size in sizes])
    ends = [
        float(np.polyfit(inverse[part], bits[part], 1)[1])
        for part in (slice(-3, None), slice(0, -1))
    ]
    return ends[0], abs(ends[0] - ends[1])


def _tending(
    x: Floats,
    found: dict[int, ReadOut],
    means: statistics.Bootstrapped,
    scalars: dict[str, Estimate],
    count: int,
    n: int,
    sample: Sample,
) -> dict[str, Estimate]:
    """`bits_0` and `hold_half` of a probe of very many examples, where they leave the interval."""
    measured = {lag: one for lag, one in found.items() if one.texts is not None}
    limits = [extrapolated(one.by_size) for one in measured.values()]
    rise = [
        max(0.0, limit - float(one.bits.mean()))
        for one, (limit, _) in zip(measured.values(), limits, strict=True)
    ]
    here, at = (np.log1p(np.array(list(part), dtype=np.float64)) for part in (found, measured))
    shift = np.interp(here, at, rise)
    doubt = np.interp(here, at, [error for _, error in limits])
    # Half of the difference between the two lines serves as the standard error of the limit.
    draw = np.random.default_rng(33).standard_normal((len(means.replicates), 1))
    most = math.log2(count)
    moved = statistics.Bootstrapped(
        np.minimum(most, means.estimate + shift),
        means.lo,
        means.hi,
        np.minimum(most, means.replicates + shift + draw * doubt / 2),
    )
    tends = {
        "bits_0": curves.first(moved, n=n, unit="bits"),
        "hold_half": _half(x, moved, n, sample),
    }
    return {
        f"{name}_extrapolated": value
        for name, value in tends.items()
        if value.estimate is not None
        and not scalars[name].ends[0] <= value.estimate <= scalars[name].ends[1]
    }
