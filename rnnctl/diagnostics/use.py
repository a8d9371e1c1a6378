"""USE (D2): how much text does the loss need?

δ(n) = mean loss with only the last n tokens as context − mean loss with all of them, on the same
target tokens, which are all tokens that have n tokens before them in their document. Khandelwal et
al. (2018) run the model again for every target and every n. Here a *reset sweep* gets all n from
one pass: at a random token of the text the state is replaced and the model reads on; the token n
further is then predicted with n tokens of true context. It is paired, token by token, with the
state carried on from the document's start.

Every token of the text is equally likely to be the place of a reset, and every document is read to
its end, so that a mean over targets is a mean over tokens, first and last ones included. At a
document's very first token nothing can be missing: δ is 0 there by definition.

There are two ways to replace the state, and they answer two questions:

* *foreign* start: the state after about as much text of another document. How much does wrong
  context hurt? The state is one that the model knows, with the wrong content.
* *zero* start: the zero state. How much does missing context cost? This is the number of the
  literature; it includes what the unusual state itself costs.

`shuffle`, `reverse` and `replace` start from the same document, with the order (or the words) of
the text before the reset destroyed.

There are two passes. The first reads on after each of its resets for the longest context, and
finds where δ falls to the threshold ε, in bins of n that are a quarter of an octave wide. The
second has more resets, and reads on only as far beyond that place as its interval leaves in doubt;
where δ falls so steeply that bins would blur it, it measures single n around the place. So most
resets are spent on the contexts that decide about the horizon; further back, where the text is
worth less than ε anyway, the curve has the first pass alone.

The text as it is, which both passes are held against, is read once, for all resets.

Axes: T time, B resets side by side, M scored targets, U resampling units, K points of a curve,
R bootstrap resamples.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rnnctl import statistics
from rnnctl.diagnostics import curves
from rnnctl.diagnostics.sample import Floats, Ids, Sample, resampling_unit, spread_over_texts
from rnnctl.diagnostics.settings import Arm, Settings
from rnnctl.diagnostics.subject import LanguageSubject, State, merge, read_pieces, select
from rnnctl.results.base import Estimate
from rnnctl.results.diagnostics import NONE_MEASURABLE, Sampling, UseRecord

Bins = list[tuple[int, int]]

# What is read and scored: a reset costs the tokens after it, a target a softmax.
BATCH = 64  # resets, or stretches of text, side by side: bounds the memory
CHUNK = 256  # tokens of them that are read at once
STRETCH = 6  # longest contexts between the first and the last reset of a stretch
# How far is read, and what a number may rest on.
SHORTEST = 8  # tokens: no curve below this longest context
BLOCKS = 16  # resampling units wanted of a running text
READ_BEFORE = 1  # longest contexts that are read before a reset in running text
LONGEST_START = 8  # longest contexts: what lies further back in a long document is not read
SECOND_PASS = 1.3  # tokens that it reads after resets, at most, for one of the first pass
BEYOND = 1.5  # so many times the end of the horizon's interval is read to
MORE_RESETS = 8  # at most so many times as many where documents are short
USUAL_VOCABULARY = 8192  # a smaller one is so cheap that more targets are scored
GAIN_WORDS = 50  # what context beyond so many words is worth
ALIKE = 1.25  # a document that is longer than the next by a larger factor stands alone
FEWEST = 8  # units behind a bin that may testify to a horizon


@dataclass(frozen=True)
class Reference:
    """A model without recurrence that the loss is held against, as a rule an n-gram model.

    A model that is bad with little context gains much from more of it, and its context curve alone
    looks like a long memory. An n-gram says what a few tokens of context are worth without any
    recurrence. `losses` takes a text's ids (T,) to the nats of each token (T,); `name` says what
    the reference is.
    """

    name: str
    losses: Callable[[Ids], Floats]


def measure(
    subject: LanguageSubject,
    sample: Sample,
    settings: Settings,
    reference: Reference | None = None,
) -> UseRecord:
    """The context-ablation curves of a language model on `sample`, held against a `reference`.

    A text that is too short has the status "insufficient_data" and a note that says what it takes.
    """
    plan = make_plan(sample, settings)
    if plan is None:
        return UseRecord(status="insufficient_data", note=too_short(sample))
    draw = np.random.default_rng((settings.seed, 2))
    contexts = Contexts(plan, settings, subject.vocab_size)
    count, most = _reset_counts(plan, settings, contexts)
    # Both passes are drawn at once: then one reading of the text serves them all.
    resets = plan.resets(draw, count) + plan.resets(draw, most)
    everywhere = partial(contexts.up_to, plan.n_max)
    groups = list(_groups(plan, resets, np.arange(count), everywhere, draw))
    carried = Carried.read(subject, plan, resets, groups, together=settings.together)
    scored = [_score(subject, plan, resets, one, carried, settings.arms, draw) for one in groups]
    first = ContextCurves(plan, Scored.joined(scored), settings)
    steep, reach = first.around(), first.reach()
    # The second pass may read `SECOND_PASS` tokens for one of the first: where the horizon is near,
    # that buys many short resets, and so a narrow interval.
    second = min(most, math.ceil(SECOND_PASS * count * settings.n_max / plan.span(reach)))
    # A random part of its resets, not its first ones: the text's beginning may be unlike the rest.
    few = np.sort(count + draw.permutation(most)[:second])
    near = partial(contexts.some, steep) if steep.size else partial(contexts.up_to, reach)
    for one in _groups(plan, resets, few, near, draw):
        scored.append(_score(subject, plan, resets, one, carried, settings.arms, draw, again=True))
    joined = Scored.joined(scored)
    if contexts.every_n:
        steep = ContextCurves(plan, joined, settings).around()
    nats = None if reference is None else [reference.losses(ids) for ids in plan.documents]
    found = ContextCurves(plan, joined, settings, steep, nats)
    record = _record(found, contexts.gain_at)
    return record if reference is None else record.model_copy(update={"reference": reference.name})


@dataclass(frozen=True)
class Plan:
    """Which text is read, up to which context length, and what intervals resample.

    `documents` are the texts; running text is one. `block`: tokens of a resampling unit of running
    text; None where documents are resampled.
    """

    sample: Sample
    documents: tuple[Ids, ...]
    n_max: int
    block: int | None

    @property
    def running(self) -> bool:
        """Whether there is one text, in which the state is carried on from anywhere."""
        return self.block is not None

    @cached_property
    def lengths(self) -> Ids:
        """Tokens of each document: (D,)."""
        return np.array([len(ids) for ids in self.documents], dtype=np.int64)

    @property
    def unit(self) -> str:
        """What intervals resample, in words."""
        return resampling_unit(self.block)

    @property
    def before(self) -> int:
        """Tokens that are read before a reset, at most."""
        return (READ_BEFORE if self.running else LONGEST_START) * self.n_max

    def texts_of(self, units: Ids) -> list[Ids]:
        """The text of some resampling units (U,)."""
        if self.block is None:
            return [self.documents[unit] for unit in units]
        return [self.documents[0][unit * self.block :][: self.block] for unit in units]

    def span(self, most: int) -> float:
        """How many tokens follow a reset on average, if at most `most` are read."""
        lengths = self.lengths.astype(np.float64)
        within = np.minimum(lengths, most)
        # 1 + 2 + … to `most` at the end of a document, `most` anywhere before that.
        ends = within * (within + 1) / 2 + (lengths - within) * most
        return float(ends.sum() / lengths.sum())

    def resets(self, draw: np.random.Generator, count: int) -> Resets:
        """`count` tokens of the text, or all, each as likely as any other and spread evenly."""
        # By tokens and not by documents: δ is a mean over tokens, and a long document has more.
        count = min(count, int(self.lengths.sum()))
        document, position = spread_over_texts(self.lengths, count, draw)
        unit = document if self.block is None else position // self.block
        return Resets(document, position, unit)


@dataclass(frozen=True, slots=True)
class Resets:
    """Where the state is replaced: documents, places in them and resampling units, all (B,)."""

    document: Ids
    position: Ids
    unit: Ids

    def __add__(self, more: Resets) -> Resets:
        parts = ((getattr(part, name) for part in (self, more)) for name in self.__slots__)
        return Resets(*(np.concatenate(list(part)) for part in parts))

    def __getitem__(self, chosen: Ids) -> Resets:
        return Resets(self.document[chosen], self.position[chosen], self.unit[chosen])


def make_plan(sample: Sample, settings: Settings) -> Plan | None:
    """The longest context that the text has room for; None where even a short one does not fit.

    Documents need two that are longer than a context; running text is resampled in stretches of
    four contexts, and has at least two of them, sixteen if it is long enough.
    """
    if sample.running or len(sample.ids) == 1:
        total = sample.tokens
        if total < 8 * SHORTEST:
            return None
        # A context of 256 in a text of 2,000 tokens would leave two independent places: no
        # interval.
        n_max = max(SHORTEST, min(settings.n_max, total // (4 * BLOCKS)))
        joined = np.concatenate(sample.ids)
        # Units of four contexts: neighbours then share little of what was read before them.
        return Plan(sample, (joined,), n_max, 4 * n_max)
    documents = tuple(ids for ids in sample.ids if len(ids))
    lengths = sorted(map(len, documents), reverse=True)
    if len(lengths) < 2:
        return None
    # A single document that is far longer than all others does not decide.
    longest = lengths[0] if lengths[0] <= ALIKE * lengths[1] else lengths[1]
    n_max = min(settings.n_max, longest - 1)
    return Plan(sample, documents, n_max, None) if n_max >= SHORTEST else None


def too_short(sample: Sample) -> str:
    """What USE would need of a text that `make_plan` has no plan for."""
    if sample.running or len(sample.ids) == 1:
        return f"USE needs a text of at least {8 * SHORTEST} tokens; this one has {sample.tokens}"
    enough = int((sample.lengths > SHORTEST).sum())
    return f"USE needs two documents of more than {SHORTEST} tokens; here are {enough}"


class Contexts:
    """Which n are scored after a reset.

    In every half octave of n so many are drawn that all cost about as much; with a small
    vocabulary, whose softmax is cheap, more of them.
    """

    def __init__(self, plan: Plan, settings: Settings, vocabulary: int) -> None:
        self.plan = plan
        self.bins = _bins(settings, plan.n_max, 2)
        # A bin far out holds dozens of n, at which the excess after one reset is much alike: a few
        # of them say nearly as much of δ as all.
        self.per_bin = settings.per_bin * max(1, USUAL_VOCABULARY // vocabulary)

    @property
    def every_n(self) -> bool:
        """Whether all n are scored after each reset."""
        return all(high - low < self.per_bin for low, high in self.bins)

    @property
    def gain_at(self) -> tuple[int, int]:
        """The single n that say what context beyond 50 words (or characters) is worth."""
        # A few neighbours, a sixteenth of the distance: one n alone has too few targets.
        first = math.ceil(GAIN_WORDS / self.plan.sample.units_per_token - 1e-6)
        return first, first + max(2, first // 16)

    def scored(self, span: float) -> float:
        """How many n are scored after a reset that about `span` tokens follow."""
        bins = curves.octave_bins(max(1, round(span)))
        return float(sum(min(high - low + 1, self.per_bin) for low, high in bins))

    def up_to(self, reach: int, draw: np.random.Generator) -> Ids:
        """The n (N,) to score after some resets, rising: `per_bin` of each bin and of `gain_at`.

        As far as `reach` tokens.
        """
        low, high = self.gain_at
        gain = np.arange(low, high + 1)
        gain = gain if len(gain) <= self.per_bin else draw.choice(gain, self.per_bin, replace=False)
        chosen = [low + draw.permutation(high - low + 1)[: self.per_bin] for low, high in self.bins]
        n = np.unique(np.concatenate([*chosen, gain]))
        return n[n <= reach].astype(np.int64)

    def some(self, n: Ids, draw: np.random.Generator) -> Ids:
        """As many of some single n (N,) as four bins have, rising."""
        most = 4 * self.per_bin
        return n if len(n) <= most else np.sort(draw.choice(n, most, replace=False))


def _reset_counts(plan: Plan, settings: Settings, contexts: Contexts) -> tuple[int, int]:
    """Resets of the first pass, a third of the preset's; and of the second, if all are near."""
    # Short documents leave time for more resets; both what is read and what is scored must stay
    # within what long documents would take.
    span = plan.span(plan.n_max)
    scored = contexts.scored(span) / contexts.scored(float(settings.n_max))
    spare = min(settings.n_max / span, 1 / max(scored, 1e-9))
    resets = settings.resets * min(MORE_RESETS, max(1.0, spare))
    tokens = int(plan.lengths.sum())
    return min(math.ceil(resets / 3), tokens), min(math.ceil(resets), tokens)


def _bins(settings: Settings, n_max: int, per_octave: int) -> Bins:
    if settings.bins == "each":
        return [(n, n) for n in range(n_max + 1)]
    return curves.octave_bins(n_max, per_octave)


@dataclass(frozen=True)
class Scored:
    """Every scored target: its resampling unit, n, document and place in it, all (M,).

    `full` is its loss with all of the context, `excess` of each start what is lost, in nats.
    `tries` (n_max + 1,): after how many resets each n was looked at, documents' ends aside.
    """

    unit: Ids
    n: Ids
    document: Ids
    place: Ids
    full: Floats
    excess: Mapping[Arm, Floats]
    tries: Floats
    resets: int

    @classmethod
    def joined(cls, parts: Sequence[Scored]) -> Scored:
        """Several passes as one."""
        arms = parts[0].excess
        return cls(
            unit=np.concatenate([part.unit for part in parts]),
            n=np.concatenate([part.n for part in parts]),
            document=np.concatenate([part.document for part in parts]),
            place=np.concatenate([part.place for part in parts]),
            full=np.concatenate([part.full for part in parts]),
            excess={arm: np.concatenate([part.excess[arm] for part in parts]) for arm in arms},
            tries=np.sum([part.tries for part in parts], axis=0),
            resets=sum(part.resets for part in parts),
        )

    def per_token(self) -> Floats:
        """Weights (M,) with which the mean over targets is the mean over the text's tokens.

        The token at place t of a document is met after every reset at most t tokens before it, and
        counts by the inverse of that (Horvitz & Thompson 1952).
        """
        met = np.cumsum(self.tries)
        weights: Floats = 1 / met[np.minimum(self.place, len(met) - 1)]
        return weights


@dataclass(frozen=True)
class Group:
    """Resets that are read on side by side: which they are (B,), and the n (N,) scored of each."""

    members: Ids
    n: Ids


def _groups(
    plan: Plan,
    resets: Resets,
    which: Ids,
    choose: Callable[[np.random.Generator], Ids],
    draw: np.random.Generator,
) -> Iterator[Group]:
    """The resets `which` as groups: in documents those with equally much before them."""
    order = draw.permutation(which)
    if not plan.running:
        order = order[np.argsort(resets.position[order], kind="stable")]
    rest = plan.lengths[resets.document] - resets.position
    for members in np.array_split(order, max(1, math.ceil(len(which) / BATCH))):
        # One choice of n for a group, so that features are picked from the same steps of all.
        n = choose(draw)
        n = n[n < rest[members].max()]
        if n.size:  # else these documents end before the first n
            yield Group(members, n)


# -- the text as it is ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Stream:
    """A stretch of a document that is read without a reset: tokens start to stop, not included.

    `begins`: from the document's first token on, after the boundary. `resets`: those that lie in
    it, in order.
    """

    document: int
    start: int
    stop: int
    begins: bool
    resets: Ids

    @property
    def first(self) -> int:
        """The first token that is predicted."""
        return self.start if self.begins else self.start + 1


def streams(plan: Plan, resets: Resets, last: Ids, *, together: bool = True) -> Iterator[Stream]:
    """The stretches that hold all resets (R,), the text before each, and `last` (R,) tokens after.

    What lies between two resets of a document is read once, where they are not so far apart that
    beginning anew is shorter, up to `STRETCH` contexts; or, if not `together`, of each its own.
    """
    longest = STRETCH * plan.n_max if together else 0
    order = np.lexsort((resets.position, resets.document))
    ends = np.minimum(resets.position + last + 1, plan.lengths[resets.document])
    held: list[int] = []
    for k, following in zip(order, [*order[1:], -1], strict=True):
        held.append(int(k))
        if following >= 0 and resets.document[following] == resets.document[k]:
            position = int(resets.position[following])
            apart = position - int(ends[held].max())
            if apart <= plan.before and position - int(resets.position[held[0]]) <= longest:
                continue
        start = max(0, int(resets.position[held[0]]) - plan.before)
        yield Stream(
            int(resets.document[k]), start, int(ends[held].max()), start == 0, np.array(held)
        )
        held = []


@dataclass(frozen=True)
class Carried:
    """What the model has read before each of R resets, and what it goes on to lose.

    `features` (R, F) predict the token at the reset, `state` holds R sequences; the loss of the
    token n further is `losses[place + n]`, with `place` (R,).
    """

    features: Tensor
    state: State
    place: Ids
    losses: Floats

    @classmethod
    def read(
        cls,
        subject: LanguageSubject,
        plan: Plan,
        resets: Resets,
        groups: Sequence[Group],
        *,
        together: bool,
    ) -> Carried:
        """Read the text around all resets; only the tokens that `groups` score have a loss.

        Of resets in no group nothing is known but what was read before them.
        """
        last = np.zeros(len(resets.position), dtype=np.int64)
        for group in groups:
            last[group.members] = group.n[-1]
        found = list(streams(plan, resets, last, together=together))
        begins = np.cumsum([0, *(stream.stop - stream.first for stream in found)])
        place = np.zeros(len(last), dtype=np.int64)
        for stream, begin in zip(found, begins[:-1], strict=True):
            place[stream.resets] = begin + resets.position[stream.resets] - stream.first
        wanted = np.zeros(int(begins[-1]), dtype=np.bool_)
        rest = plan.lengths[resets.document] - resets.position
        for group in groups:
            at = place[group.members] + group.n[:, None]
            wanted[at[group.n[:, None] < rest[group.members]]] = True
        losses = np.full(len(wanted), np.nan)
        order = np.argsort([stream.stop - stream.first for stream in found], kind="stable")
        parts, numbers = [], []
        for chosen in np.array_split(order, math.ceil(len(order) / BATCH)):
            read = _read(
                subject, plan, [found[k] for k in chosen], begins[chosen], place, wanted, losses
            )
            for features, state, which in read:
                parts.append((features, state))
                numbers.append(which)
        back = torch.from_numpy(np.argsort(np.concatenate(numbers)))
        features = torch.cat([part[0] for part in parts])[back]
        return cls(features, select(merge([part[1] for part in parts]), back), place, losses)


def _read(
    subject: LanguageSubject,
    plan: Plan,
    found: Sequence[Stream],
    begins: Ids,
    place: Ids,
    wanted: NDArray[np.bool_],
    losses: Floats,
) -> Iterator[tuple[Tensor, State, Ids]]:
    """Read streams side by side: features, state and number of the resets that are come to.

    They are in order of their lengths. `losses` of the `wanted` tokens are filled in; a stream's
    first one is number `begins` there.
    """
    lengths = np.array([stream.stop - stream.first for stream in found])
    ids = np.full((int(lengths.max()), len(found)), subject.boundary_id, dtype=np.int64)
    targets = ids.copy()
    asked = np.zeros(ids.shape, dtype=np.bool_)
    for column, (stream, begin, length) in enumerate(zip(found, begins, lengths, strict=True)):
        text = plan.documents[stream.document][stream.start : stream.stop]
        if stream.begins:
            text = np.concatenate([[subject.boundary_id], text])
        ids[:length, column], targets[:length, column] = text[:-1], text[1:]
        asked[:length, column] = wanted[begin : begin + length]
    # after so many tokens of its stream each reset is come to
    resets = np.concatenate([stream.resets for stream in found])
    columns = np.repeat(np.arange(len(found)), [len(stream.resets) for stream in found])
    times = place[resets] - begins[columns] + 1
    cuts = {*times.tolist(), *range(CHUNK, len(ids), CHUNK), len(ids)}
    state, at, ended = subject.initial_state(len(found)), 0, 0
    for time in sorted(cuts):
        more = int(np.searchsorted(lengths, at, side="right"))
        if more - ended > (len(found) - ended) // 8:  # nothing is read on for the sake of others
            state, ended = select(state, range(more - ended, len(found) - ended)), more
        features, state = subject.advance(torch.from_numpy(ids[at:time, ended:]), state)
        row, among = np.nonzero(asked[at:time, ended:])
        if len(row):
            rows = features[torch.from_numpy(row), torch.from_numpy(among)]
            nats = subject.losses(rows, torch.from_numpy(targets[at + row, ended + among]))
            losses[begins[ended + among] + at + row] = nats.double().cpu().numpy()
        here = np.flatnonzero(times == time)
        if len(here):
            taken = torch.from_numpy(columns[here] - ended)
            yield features[-1][taken], select(state, taken), resets[here]
        at = time


# -- what replaces it ----------------------------------------------------------------------------

Start = tuple[Tensor, State]  # features (B, F) that predict the token at the reset, and the state


def _score(
    subject: LanguageSubject,
    plan: Plan,
    resets: Resets,
    group: Group,
    carried: Carried,
    arms: Sequence[Arm],
    draw: np.random.Generator,
    *,
    again: bool = False,
) -> Scored:
    """The targets n (N,) tokens after each reset, as far as its document has them.

    With `again` the text as it is has to be read on as well: `carried` has no losses here.
    """
    batch, n = resets[group.members], group.n
    rest = plan.lengths[batch.document] - batch.position
    window = np.full((int(n[-1]) + 1, len(rest)), subject.boundary_id, dtype=np.int64)
    for b, (document, position) in enumerate(zip(batch.document, batch.position, strict=True)):
        ids = plan.documents[document][position : position + len(window)]
        window[: len(ids), b] = ids
    which, column = np.nonzero(n[:, None] < rest)
    at = n[which]
    targets = torch.from_numpy(window[at, column])
    chosen = torch.from_numpy(group.members)
    own = carried.features[chosen], select(carried.state, chosen)
    starts = [_start(arm, subject, plan, batch, own, draw) for arm in arms]
    starts += [own] if again else []
    # All starts side by side: the same tokens in one batch, so that what differs is the start, and
    # not the rounding of another batch.
    inputs = torch.from_numpy(window[:-1]).repeat(1, len(starts))
    read, _ = subject.advance(inputs, merge([state for _, state in starts]))
    features = torch.cat([torch.cat([first for first, _ in starts])[None], read])
    losses = []
    for k in range(len(starts)):
        rows = features[torch.from_numpy(at), torch.from_numpy(column + k * len(rest))]
        losses.append(subject.losses(rows, targets).double().cpu().numpy())
    full = losses[-1] if again else carried.losses[carried.place[group.members][column] + at]
    tries = np.zeros(plan.n_max + 1)
    tries[n] = len(rest)
    return Scored(
        unit=batch.unit[column],
        n=at,
        document=batch.document[column],
        place=batch.position[column] + at,
        full=full,
        excess={arm: found - full for arm, found in zip(arms, losses, strict=False)},
        tries=tries,
        resets=len(rest),
    )


def _start(
    arm: Arm,
    subject: LanguageSubject,
    plan: Plan,
    batch: Resets,
    carried: Start,
    draw: np.random.Generator,
) -> Start:
    """What the carried state is replaced by; nothing, where nothing was read before.

    For *zero* the features come from a boundary token read from the zero state, which is used at
    n = 0 only: from n = 1 on the model has read nothing but the n tokens.
    """
    count = len(batch.position)
    beginning = batch.position == 0
    if arm == "foreign":
        chosen = torch.from_numpy(np.where(beginning, np.arange(count), _other(plan, batch, draw)))
        return carried[0][chosen], select(carried[1], chosen)
    if arm == "zero":
        zero = subject.initial_state(count)
        features, _ = subject.advance(torch.full((1, count), subject.boundary_id), zero)
        found: Start = features[-1], zero
    else:
        found = _spoilt(arm, subject, plan, batch, draw)
    # column k of the second half is reset k as it was, for those at a document's beginning
    chosen = torch.from_numpy(np.arange(count) + count * beginning)
    both = torch.cat([found[0], carried[0]]), merge([found[1], carried[1]])
    return both[0][chosen], select(both[1], chosen)


def _other(plan: Plan, batch: Resets, draw: np.random.Generator) -> Ids:
    """For every reset another one, in another document or far away in running text: (B,)."""
    if plan.running:
        apart = np.abs(batch.position[:, None] - batch.position)
        # Far enough that the two contexts share no token.
        usable = apart > plan.before
    else:
        apart = (batch.document[:, None] != batch.document).astype(np.int64)
        usable = apart > 0
    lots = draw.random(apart.shape)
    # the farthest one where none is far enough
    chosen: Ids = np.where(usable, 1 + lots, apart / (1 + apart.max())).argmax(1)
    return chosen


def _spoilt(
    arm: Arm, subject: LanguageSubject, plan: Plan, batch: Resets, draw: np.random.Generator
) -> Start:
    """What the model holds after the same text with its order, or its words, destroyed."""
    pieces = []
    for document, position in zip(batch.document, batch.position, strict=True):
        piece = plan.documents[document][max(0, position - plan.n_max) : position]
        if arm == "shuffle":
            piece = draw.permutation(piece)
        elif arm == "reverse":
            piece = piece[::-1]
        else:  # words of another document, without order
            other = plan.documents[int(draw.integers(len(plan.documents)))]
            piece = draw.choice(other, len(piece))
        pieces.append(piece)
    return read_pieces(subject, pieces, batch.position <= plan.n_max)


class ContextCurves:
    """What the scored targets say: δ by n and start, with intervals over resampling units.

    `single` are n that are kept apart where bins would blur a steep fall; `reference` the losses
    (T,) of a reference, per document. `limit`: the largest n that may testify to a horizon. Beyond
    it there are fewer than `FEWEST` units: a handful of long documents, among which no resampling
    finds how different others would be.
    """

    def __init__(
        self,
        plan: Plan,
        scored: Scored,
        settings: Settings,
        single: Ids | None = None,
        reference: Sequence[Floats] | None = None,
    ) -> None:
        self.plan, self.scored, self.settings = plan, scored, settings
        self.arms: tuple[Arm, ...] = tuple(scored.excess)
        # ε is 1 % of perplexity per word, so that models of words and of characters are held to the
        # same.
        self.epsilon = settings.epsilon * plan.sample.units_per_token  # nats per token
        self._members, self._unit = np.unique(scored.unit, return_inverse=True)
        self.units = len(self._members)
        self.shown = _bins(settings, plan.n_max, 2)
        # Where no bin has `FEWEST` units, as in a short running text, the best there is decides.
        behind = self.sums(scored.full, self.shown).n
        known = behind >= min(FEWEST, int(behind.max(initial=0)))
        self.limit = max(
            high for (_, high), enough in zip(self.shown, known, strict=True) if enough
        )
        single_n = _apart(_bins(settings, plan.n_max, 4), single)
        self.fine = [edges for edges in single_n if edges[0] <= self.limit]
        self.reference: Floats | None = None
        if reference is not None:
            self.reference = np.array(
                [reference[d][t] for d, t in zip(scored.document, scored.place, strict=True)]
            )

    def sums(self, values: Floats, bins: Bins, weights: Floats | None = None) -> curves.Sums:
        """Values (M,) by unit and bin of n, a target as often as its weight; outside: left out."""
        heavy = np.ones(len(values)) if weights is None else weights
        lows, highs = np.array(bins).T
        k = np.searchsorted(highs, self.scored.n)
        inside = k < len(bins)
        inside[inside] = self.scored.n[inside] >= lows[k[inside]]
        shape = (self.units, len(bins))
        cell = self._unit[inside] * len(bins) + k[inside]
        total, count = (
            np.bincount(cell, part[inside], minlength=shape[0] * shape[1]).reshape(shape)
            for part in (heavy * values, heavy)
        )
        return curves.Sums(total.astype(np.float64), count.astype(np.float64), self.settings)

    @cached_property
    def _falls(self) -> list[tuple[float, float, float]]:
        """For each arm the number of the bin where δ falls to ε, and the ends of its interval.

        Infinite where it does not within the bins.
        """
        numbers, found = np.arange(len(self.fine), dtype=np.float64), []
        for arm in self.arms:
            sums = self.sums(self.scored.excess[arm], self.fine)
            k, replicates = curves.falling_horizons(
                numbers,
                sums.means,
                sums.counts.sum(0),
                lambda at, fit: statistics.stays_below(at, fit, self.epsilon),
            )
            low, high = map(float, statistics.percentiles(replicates))
            found.append((k, low, high))
        return found

    def around(self) -> Ids:
        """The single n (N,) that a second pass is to measure: where δ falls steeply to ε, rising.

        None of an arm that never gets there, is there from the start, or falls so slowly that
        resamples do not agree on the bin: single n, each with few targets, would then be chosen by
        chance.
        """
        wanted: set[int] = set()
        for k, low, high in self._falls:
            if math.isfinite(k) and k > 0 and low == k == high:
                first, last = self.fine[int(k) - 1][0], self.fine[int(k)][1]
                wanted.update(range(first, last + 1) if last - first >= 2 else ())
        return np.array(sorted(wanted), dtype=np.int64)

    def reach(self) -> int:
        """How far a second pass has to read on: well beyond where any horizon may be."""
        furthest = max(0.0, *(high for _, _, high in self._falls))
        if not math.isfinite(furthest):
            return self.plan.n_max
        return min(self.plan.n_max, max(SHORTEST, math.ceil(BEYOND * self.fine[int(furthest)][1])))

    def horizon(self, arm: Arm) -> Estimate:
        """n_eff: the context length from which on the falling fit of δ stays at or below ε.

        It is the smallest such n, a whole number of tokens; between wider bins δ is taken to decay
        exponentially. The interval holds those n at which the falling fit's own interval
        holds ε. There is a horizon only where the interval of δ in some bin lies above ε: else it
        is 0 and the note says "none measurable".
        """
        sums = self.sums(self.scored.excess[arm], self.fine)
        x = curves.centres(self.fine)
        narrow = [low == high for low, high in self.fine]

        def find(at: Floats, fit: Floats) -> float:
            # The n at which the fit is below, and where the bins before it are wider than one n,
            # the n between the two at which it would get there.
            exact = statistics.stays_below(at, fit, self.epsilon)
            if math.isinf(exact) or exact == at[0]:
                return exact
            k = int(np.searchsorted(x, exact))
            if narrow[k] and narrow[k - 1]:
                return exact
            floor = self.epsilon / 100  # of a curve that ends all at once
            between = statistics.crossing(at, fit, self.epsilon, decay=True, floor=floor)
            return float(math.ceil(between - 1e-9))  # whole, but for rounding

        found = self._where(sums, find)
        above = measurable(self.sums(self.scored.excess[arm], self.shown), self.epsilon)
        if above or found.status == "undefined":
            return found
        ends = (0.0, found.ci95[1])
        return Estimate(estimate=0.0, ci95=ends, n=found.n, unit=found.unit, note=NONE_MEASURABLE)

    def _where(self, sums: curves.Sums, find: Callable[[Floats, Floats], float]) -> Estimate:
        """`find(n, fit)` on the falling fit over n, tokens, as an estimate in words.

        The interval holds the bin that it lies in, or a margin on both sides of a single n. Its
        ends in tokens are whole ones as a rule, at which the truth may well lie: so each has all of
        the error of the words per token as well.
        """
        x = curves.centres(self.fine)
        # More context cannot be worth less on average: the falling fit (isotonic) uses that, and so
        # reads a noisy curve at its level and not at its first dip.
        curve = curves.falling(x, sums)
        value, low, high = (find(curve.x, y) for y in (curve.fit, curve.lo, curve.hi))
        low, high = min(low, value), max(high, value)
        for first, last in self.fine:
            if first < last and first <= value <= last:
                low, high = min(low, first), max(high, last)
            elif first == last == value and not self._gone(sums, first):
                low, high = max(0.0, low - self._margin(first)), high + self._margin(first)
        sample, (fewest, most) = self.plan.sample, self._units_per_token
        return curves.with_ends(
            sample.distance(value),
            low * fewest,
            high * most,
            n=self.units,
            unit=sample.unit,
            largest=sample.distance(self.limit),
        )

    def _gone(self, sums: curves.Sums, n: int) -> bool:
        """Whether context beyond a single n is worth nothing in any document, as in a window."""
        k = self.fine.index((n, n))
        per_unit = np.abs(sums.sums[:, k])
        return bool((per_unit <= self.epsilon / 1000 * sums.counts[:, k]).all())

    def _margin(self, n: int) -> int:
        """A quarter of the bin of the first pass that a single n lies in, whole tokens.

        Each single n has few targets of its own, so resampling does not show how much δ at that n
        differs between texts. Of 200 new texts of 120 paragraphs the intervals of a character
        model's horizon held its value in 86 % without this margin (RESULTS.md).
        """
        for first, last in _bins(self.settings, self.plan.n_max, 4):
            if first <= n <= last:
                return (last - first + 1) // 4
        return 0

    @cached_property
    def _units_per_token(self) -> tuple[float, float]:
        """The interval of the words (or characters) per token.

        Another text has another number of them, and a horizon of 11 tokens is so many other words.
        """
        texts, sample = self.plan.texts_of(self._members), self.plan.sample
        lengths = np.array([len(ids) for ids in texts], dtype=np.float64)
        means = curves.Sums(sample.distances(texts), lengths, self.settings).means
        low, high = (
            sample.units_per_token * end[0] / means.estimate[0] for end in (means.lo, means.hi)
        )
        return float(low), float(high)

    def gain(self, arm: Arm, between: tuple[int, int]) -> Estimate:
        """What context beyond some single n buys: 100·(exp δ − 1) % of perplexity per word."""
        sums = self.sums(self.scored.excess[arm], [between])
        if not sums.counts.sum():
            note = f"the text has no context of {GAIN_WORDS} {self.plan.sample.unit}"
            return curves.missing("insufficient_data", note, unit="%")
        return self._per_cent(sums.means, int(sums.n[0]))

    def _per_cent(self, nats: statistics.Bootstrapped, n: int) -> Estimate:
        """One mean in nats per token, of `n` units, as a change of the perplexity per word."""
        sample = self.plan.sample
        # A token is another amount of text for every tokenizer, so a per cent of the perplexity per
        # token would mean another thing for each.
        value, replicates = (
            100 * np.expm1(np.minimum(50.0, part / sample.units_per_token))
            for part in (nats.estimate[0], nats.replicates[:, 0])
        )
        return curves.estimate(float(value), replicates, n=n, unit=f"% perplexity per {sample.one}")

    def half_width(self, arm: Arm, found: Estimate) -> Estimate:
        """Half the interval of δ at the horizon, nats per word, and how much text 0.01 takes."""
        sample = self.plan.sample
        # At the horizon, since that is where the interval decides; of a censored one at its bound.
        words = found.estimate if found.estimate is not None else sample.distance(self.limit)
        sums = self.sums(self.scored.excess[arm], self.shown)
        x = curves.centres(self.shown) * sample.units_per_token
        k = int(np.argmin(np.abs(x - words)))
        half = float(sums.means.hi[k] - sums.means.lo[k]) / 2 / sample.units_per_token
        if not math.isfinite(half):
            return curves.missing("insufficient_data", "one unit only")
        note = ""
        if half > 0.01:
            # An interval narrows with the square root of the number of units.
            more = math.ceil(self.units * ((half / 0.01) ** 2 - 1))
            note = f"±0.01 would take about {more:,} more units (each a {self.plan.unit})"
        unit = f"nats per {sample.one}"
        return Estimate(estimate=half, n=self.units, unit=unit, note=note)

    def _of_the_text(self, values: Floats) -> statistics.Bootstrapped:
        """The one mean of values (M,) over the tokens of the text."""
        return self.sums(values, [(0, self.plan.n_max)], self.scored.per_token()).means

    def loss(self) -> Estimate:
        """Nats per token of the text, with all of the context."""
        full = self._of_the_text(self.scored.full)
        return curves.first(full, n=self.units, unit="nats per token")

    def against_reference(self) -> dict[str, Estimate]:
        """`reference_loss`, `reference_gain` and `overtakes_reference`; nothing without one.

        The last is the context length with which the model does as well as the reference:
        L_full + δ(n) ≤ L_ref.
        """
        if self.reference is None:
            return {}
        gain = self._of_the_text(self.reference - self.scored.full)
        loss = self._of_the_text(self.reference)
        found = {
            "reference_loss": curves.first(loss, n=self.units, unit="nats per token"),
            "reference_gain": self._per_cent(gain, self.units),
        }
        if gain.estimate[0] <= 0:
            worse = "with all of its context the model is no better than the n-gram"
            return {**found, "overtakes_reference": curves.missing("undefined", worse)}
        # After the foreign start: what the model makes of n tokens alone, from a state that it
        # knows. A zero state would add a cold start, which an n-gram has not.
        behind = self.scored.full + self.scored.excess[self.arms[0]] - self.reference
        sums = self.sums(behind, self.fine)
        overtakes = self._where(sums, lambda at, fit: statistics.crossing(at, fit, 0.0))
        return {**found, "overtakes_reference": overtakes}


def _apart(bins: Bins, single: Ids | None) -> Bins:
    """The same bins with some single n as bins of their own."""
    if single is None or not single.size:
        return bins
    found: Bins = []
    for low, high in bins:
        start = low
        for n in single[(single >= low) & (single <= high)]:
            if start < n:
                found.append((start, int(n) - 1))
            found.append((int(n), int(n)))
            start = int(n) + 1
        if start <= high:
            found.append((start, high))
    return found


def measurable(sums: curves.Sums, epsilon: float) -> bool:
    """Whether some bin's excess is above ε beyond what chance does to the most extreme of them.

    One-sided at 2.5 % for all bins together: the bootstrap distribution of the largest studentised
    deviation (max-t; Westfall & Young 1993). Bins with few units behind them do not testify.
    """
    # Of a dozen bins one lies above ε by chance now and then, and a horizon for it would be a
    # memory of noise: each is held against what chance does to the most extreme of as many.
    fewest = min(FEWEST, int(sums.n.max(initial=0)))
    known = np.isfinite(sums.means.estimate) & (sums.n >= fewest)
    if not known.any():
        return False
    estimate, replicates = sums.means.estimate[known], sums.means.replicates[:, known]
    error = np.nanstd(replicates, axis=0)
    # A bin whose units all agree has no error to divide by, and decides by itself.
    certain = error <= 1e-12
    if bool(np.any(estimate[certain] > epsilon)):
        return True
    if certain.all():
        return False
    estimate, replicates, error = estimate[~certain], replicates[:, ~certain], error[~certain]
    # Studentised, or the bin of the largest error would decide for all.
    extreme = np.nanmax((replicates - estimate) / error, axis=1)
    critical = float(np.nanquantile(extreme, 0.975))
    return bool(np.any((estimate - epsilon) / error > critical))


def _record(found: ContextCurves, gain_at: tuple[int, int]) -> UseRecord:
    """The record of a sweep: curves per start, horizons, and what context beyond `gain_at` buys."""
    plan, scored, main = found.plan, found.scored, found.arms[0]
    sample = plan.sample
    values = {**{str(arm): part for arm, part in scored.excess.items()}, "full": scored.full}
    shown = {name: found.sums(part, found.shown) for name, part in values.items()}
    scalars = {
        f"n_eff_{arm}": found.horizon(arm) for arm in found.arms if arm in ("foreign", "zero")
    }
    scalars["loss"] = found.loss()
    scalars["early_gain_50"] = found.gain(main, gain_at)
    scalars["half_width"] = found.half_width(main, scalars[f"n_eff_{main}"])
    return UseRecord(
        sampling=Sampling(
            unit=plan.unit,
            n=found.units,
            items=scored.resets,
            documents_long_enough=len(plan.documents) if not plan.running else found.units,
        ),
        scalars={**scalars, **found.against_reference()},
        curves={
            name: curves.curve(
                curves.centres(found.shown) * sample.units_per_token,
                sums.means,
                sums.n,
                x_unit=sample.unit,
                y_unit=f"nats per {sample.one}",
                scale=1 / sample.units_per_token,
            )
            for name, sums in shown.items()
        },
        epsilon_nats=found.settings.epsilon,
        n_max_tokens=plan.n_max,
    )
