"""Held-out linear probes: how many bits about a planted choice a linear reader gets from a state.

log2 M − cross-entropy in bits on held-out data is a lower bound of the mutual information (Xu et
al. 2020), and 0 in expectation where there is none, because the choice was drawn at random.
N sequences, S state size, M choices.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import one_hot

Floats = NDArray[np.float64]
Ids = NDArray[np.int64]
FOLDS = 5
SHRINKAGE = (0.02, 0.2, 0.8)
SCALES = np.concatenate([[0.0], np.geomspace(0.02, 4, 24)])  # 0: the uniform answer


def held_out_bits(states: Floats, choices: Ids, groups: Ids, count: int, *, seed: int) -> Floats:
    """Bits about each sequence's choice that a probe fitted on other groups finds: (N,).

    `states` (N, S); `choices` (N,) below `count`; sequences of one group (document) are never on
    both sides. Single values may be negative; only their mean is an estimate.
    """
    fold = _folds(groups, seed)
    bits = np.zeros(len(states))
    for k in range(FOLDS):
        inside = fold != k
        inner = inside & (fold != (k + 1) % FOLDS)
        chosen = _choose(states, choices, inner, inside & ~inner, count)
        nats = _cross_entropy(states, choices, inside, fold == k, count, *chosen)
        bits[fold == k] = math.log2(count) - nats / math.log(2)
    return bits


def _folds(groups: Ids, seed: int) -> Ids:
    """A fold for each sequence, the same within a group, about equally large."""
    members, index = np.unique(groups, return_inverse=True)
    order = np.random.default_rng((seed, 20)).permutation(len(members))
    fold: Ids = (order % FOLDS)[index]
    return fold


def _choose(
    states: Floats, choices: Ids, fitted: NDArray[np.bool_], judged: NDArray[np.bool_], count: int
) -> tuple[float, float]:
    """Shrinkage and scale of least loss on an inner split."""
    best = (math.inf, SHRINKAGE[0], 0.0)
    truth, doubt = choices[judged], 1 / (1 + int(fitted.sum()))
    for shrinkage, scores in zip(
        SHRINKAGE, _scores(states, choices, fitted, judged, count, SHRINKAGE), strict=True
    ):
        for scale in SCALES:
            loss = float(_nats(scale * scores, truth, doubt).mean())
            best = min(best, (loss, shrinkage, float(scale)))
    return best[1], best[2]


def _cross_entropy(
    states: Floats,
    choices: Ids,
    fitted: NDArray[np.bool_],
    judged: NDArray[np.bool_],
    count: int,
    shrinkage: float,
    scale: float,
) -> Floats:
    if scale == 0:
        return np.full(int(judged.sum()), math.log(count))
    (scores,) = _scores(states, choices, fitted, judged, count, (shrinkage,))
    return _nats(scale * scores, choices[judged], 1 / (1 + int(fitted.sum())))


def _scores(
    states: Floats,
    choices: Ids,
    fitted: NDArray[np.bool_],
    judged: NDArray[np.bool_],
    count: int,
    shrinkages: tuple[float, ...],
) -> list[Floats]:
    """Linear discriminant scores (N, M) for each way to shrink the pooled covariance towards 1.

    Columns are standardised on the fitted part; those that never vary drop out. In float32, whose
    errors are far below a probe's sampling error, and in torch, because NumPy's and SciPy's own
    threads beside torch's make small products several times slower.
    """
    train, test, truth = states[fitted], states[judged], choices[fitted]
    mean, spread = train.mean(0), train.std(0)
    used = spread > 1e-12 * max(1.0, float(np.abs(mean).max(initial=0.0)))
    if not used.any():
        return [np.zeros((len(test), count)) for _ in shrinkages]
    known = torch.from_numpy((train[:, used] - mean[used]) / spread[used]).float()
    asked = torch.from_numpy((test[:, used] - mean[used]) / spread[used]).float()
    onehot = one_hot(torch.from_numpy(truth), count).float()
    counts = onehot.sum(0)
    means = onehot.T @ known / counts.clamp(min=1)[:, None]  # (M, S)
    within = known - means[torch.from_numpy(truth)]
    covariance = within.T @ within / len(known)
    found = []
    for shrinkage in shrinkages:
        factor = torch.linalg.cholesky(_shrunk(covariance, shrinkage))
        directions = torch.cholesky_solve(means.T.contiguous(), factor)  # (S, M)
        scores = (asked @ directions - 0.5 * (means.T * directions).sum(0)).double()
        scores[:, counts == 0] = -50.0
        found.append((scores - scores.amax(1, keepdim=True)).clamp(-1e4, 0).numpy())
    return found


def _shrunk(covariance: Tensor, shrinkage: float) -> Tensor:
    size = float(covariance.diagonal().mean())
    eye = torch.eye(len(covariance))
    return (1 - shrinkage) * covariance + (shrinkage * size + 1e-6) * eye


def _nats(scores: Floats, truth: Ids, doubt: float) -> Floats:
    """−ln of the truth's probability, a share `doubt` of which is spread over all choices.

    A probe that was never wrong on n sequences is still not to be believed beyond 1 in n: without
    this one held-out mistake would cost any number of bits.
    """
    shifted = np.exp(scores - scores.max(1, keepdims=True))
    chance = shifted[np.arange(len(truth)), truth] / shifted.sum(1)
    nats: Floats = -np.log((1 - doubt) * chance + doubt / scores.shape[1])
    return nats
