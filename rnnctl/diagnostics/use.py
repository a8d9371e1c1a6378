"""USE (D2): how much text does the loss need?

δ(n) = mean loss with only the last n tokens as context − mean loss with all of them, on the same
target tokens. Khandelwal et al. (2018) rerun the model for every target and every n. Here a *reset
sweep* gets all n from one pass: at a random position r the state is replaced and the model reads
on; the token at r + n is then predicted with n tokens of true context. Paired, token by token, with
the state carried from the document's start.

What the state is replaced by separates memory from a cold start: *foreign* is the state after an
equally long piece of another document (a state as the model knows it, with the wrong content),
*zero* the zero state (the literature's). `shuffle`, `reverse` and `replace` start from the same
document with the order, or the words, of the text before r destroyed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rnnctl.diagnostics import curves
from rnnctl.diagnostics.sample import Sample
from rnnctl.diagnostics.settings import Arm, Settings
from rnnctl.diagnostics.subject import LanguageSubject, State, select
from rnnctl.diagnostics.use_plan import Plan, make_plan, too_short
from rnnctl.diagnostics.use_reference import Reference, ReferenceSums
from rnnctl.diagnostics.use_summary import Totals, summarise
from rnnctl.results.diagnostics import UseRecord

BATCH = 64  # resets side by side: bounds the memory


def measure(
    subject: LanguageSubject,
    sample: Sample,
    settings: Settings,
    reference: Reference | None = None,
) -> UseRecord:
    """The context-ablation curves of a language model on `sample`, held against a `reference`."""
    plan = make_plan(sample, settings)
    if plan is None:
        return UseRecord(status="insufficient_data", note=too_short(sample, settings))
    totals = _sweep(subject, plan, settings, reference)
    record = summarise(plan, totals, sample, settings)
    return record if reference is None else record.model_copy(update={"reference": reference.name})


def _sweep(
    subject: LanguageSubject, plan: Plan, settings: Settings, reference: Reference | None
) -> Totals:
    shape = (len(plan.units.ids), len(plan.fine))

    def empty() -> curves.Sums:
        return curves.Sums.empty(*shape, seed=settings.seed, resamples=settings.resamples)

    totals = Totals(empty(), {arm: empty() for arm in settings.arms})
    if reference is not None:
        totals.reference = ReferenceSums(
            reference, plan, seed=settings.seed, resamples=settings.resamples
        )
    draw = np.random.default_rng((settings.seed, 2))
    for members in _batches(plan):
        for positions, start in _carried(subject, plan, members, draw):
            _one_reset(subject, plan, settings, members, positions, start, totals, draw)
    return totals


def _batches(plan: Plan) -> Iterator[NDArray[np.int64]]:
    """Units of similar length side by side, at least two in every batch."""
    order = np.argsort(plan.units.lengths, kind="stable")
    yield from np.array_split(order, max(1, math.ceil(len(order) / BATCH)))


def _carried(
    subject: LanguageSubject, plan: Plan, members: NDArray[np.int64], draw: np.random.Generator
) -> Iterator[tuple[int, tuple[Tensor, State]]]:
    """(r, (features before r, state before r)) for the reset positions of one batch, rising.

    Between one and three times `n_max` tokens have been read before r in running text; in
    documents at least as many as their shortest allows.
    """
    shortest = int(plan.units.lengths[members].min())
    last = shortest - plan.n_max - 1
    first = min(plan.n_max, last)
    positions = np.sort(draw.integers(first, last + 1, plan.resets_per_unit))
    ids = _stack([plan.units.ids[int(u)][: last + 1] for u in members])
    state = subject.initial_state(len(members))
    features, at = None, 0
    if not plan.carried or first == 0:  # a document begins with its boundary token
        boundary = torch.full((1, len(members)), subject.boundary_id)
        features, state = subject.advance(boundary, state)
    for position in positions:
        if position > at:
            features, state = subject.advance(ids[at:position], state)
            at = int(position)
        assert features is not None
        features = features[-1:]
        yield at, (features[-1], state)


def _one_reset(
    subject: LanguageSubject,
    plan: Plan,
    settings: Settings,
    members: NDArray[np.int64],
    r: int,
    carried: tuple[Tensor, State],
    totals: Totals,
    draw: np.random.Generator,
) -> None:
    """Score r … r + n_max with every start, at the same sampled targets."""
    window = _stack([plan.units.ids[int(u)][r : r + plan.n_max + 1] for u in members])
    chosen = [
        np.sort(low + draw.permutation(high - low + 1)[: settings.per_bin])
        for low, high in plan.bins
    ]
    at = np.concatenate(chosen)
    targets = window[torch.from_numpy(at)]  # (N, B)
    full = _losses(subject, carried, window[:-1], at, targets)
    bins = np.searchsorted([high for _, high in plan.fine], at)
    others = {
        arm: _losses(
            subject, _start(arm, subject, plan, members, r, carried, draw), window[:-1], at, targets
        )
        for arm in settings.arms
    }
    for row, k in enumerate(bins):
        totals.full.add(members, int(k), full[row])
        for arm, losses in others.items():
            totals.arms[arm].add(members, int(k), losses[row] - full[row])
    if totals.reference is not None:
        nats, short = totals.reference.at(members, r + at), others[settings.arms[0]]
        for row, k in enumerate(bins):
            totals.reference.add(members, int(k), nats[row], full[row], short[row])
    totals.resets += len(members)


def _losses(
    subject: LanguageSubject,
    start: tuple[Tensor, State],
    inputs: Tensor,
    at: NDArray[np.int64],
    targets: Tensor,
) -> NDArray[np.float64]:
    """Nats of targets (N, B), the n-th of which follows n tokens read from `start`."""
    features, _ = subject.advance(inputs, start[1])
    rows = torch.cat([start[0][None], features])[torch.from_numpy(at)]  # (N, B, F)
    losses = subject.losses(rows.flatten(0, 1), targets.reshape(-1))
    return losses.reshape(targets.shape).double().cpu().numpy()


def _start(
    arm: Arm,
    subject: LanguageSubject,
    plan: Plan,
    members: NDArray[np.int64],
    r: int,
    carried: tuple[Tensor, State],
    draw: np.random.Generator,
) -> tuple[Tensor, State]:
    """What the state before r is replaced by: features (B, F) that predict the token at r, state.

    For *zero* they come from a boundary token read from the zero state, which is used at n = 0
    only: from n = 1 on the zero state has read nothing but the n tokens.
    """
    batch = len(members)
    if arm == "foreign":
        shift = int(draw.integers(1, batch)) if batch > 1 else 0
        other = np.roll(np.arange(batch), shift)
        return carried[0][torch.from_numpy(other)], select(carried[1], torch.from_numpy(other))
    zero = subject.initial_state(batch)
    if arm == "zero":
        features, _ = subject.advance(torch.full((1, batch), subject.boundary_id), zero)
        return features[-1], zero
    pieces = [plan.units.ids[int(u)][max(0, r - plan.n_max) : r] for u in members]
    spoilt = [_spoil(arm, piece, plan, draw) for piece in pieces]
    features, state = subject.advance(_stack(spoilt), zero)
    return features[-1], state


def _spoil(
    arm: Arm, ids: NDArray[np.int64], plan: Plan, draw: np.random.Generator
) -> NDArray[np.int64]:
    if arm == "shuffle":
        return draw.permutation(ids)
    if arm == "reverse":
        return ids[::-1].copy()
    other = plan.units.ids[int(draw.integers(len(plan.units.ids)))]
    return draw.choice(other, len(ids))  # words of another document, without order


def _stack(rows: list[NDArray[np.int64]]) -> Tensor:
    """Equally long id rows as (T, B)."""
    return torch.from_numpy(np.ascontiguousarray(np.stack(rows, axis=1)))
