"""Which half of an LSTM's state carries what was read earlier: exchange `c` against `h`.

Two texts A and B are read, and then one part of the state at that point is replaced: `c` of A by
`c` of B, or `h`, or both; every arm goes on reading A's next tokens. What both parts together
change is 1, what nothing changes is 0; the share of `c` alone and of `h` alone say which of the two
carries it. Measured from `lag` tokens after the exchange on, because the very next output reads
`h` and nothing else.

* Language models: the rise of A's loss, in nats per token (with both parts exchanged, this is
  the excess loss of USE with a foreign prefix).
* Classifiers: the fall of A's log-odds against B's label at the end of A.

The exchange is ours; the two-path view of the LSTM is Hochreiter & Schmidhuber's (1997). Axes:
T time, B pairs, L layers, H hidden.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rnnctl.diagnostics import curves
from rnnctl.diagnostics.sample import Ids
from rnnctl.nn.models import Classifier, LanguageModel
from rnnctl.results.base import Estimate
from rnnctl.results.comparison import ExchangeRecord
from rnnctl.statistics import ratio_of_means, resampling_weights

LAG = 4  # tokens after the exchange that do not count: the next output reads h and nothing else
WINDOW = 16  # tokens scored after the lag (language models)
PREFIX = 64  # tokens read before the exchange, at most
PAIRS = 2048
BATCH = 256
ARMS = ("own", "c", "h", "both")


class Pairs(NamedTuple):
    """B pairs of texts of one length: `a`, `b` (T, B); exchanged after `at` tokens."""

    a: Ids
    b: Ids
    at: int


def exchanged(
    own: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor], arm: str
) -> tuple[Tensor, Tensor]:
    """The state (h, c), each (L, B, H), of an arm: parts from `other` as the arm says."""
    h = other[0] if arm in ("h", "both") else own[0]
    c = other[1] if arm in ("c", "both") else own[1]
    return h, c


def language_pairs(documents: Sequence[Ids], *, lag: int = LAG) -> Pairs | None:
    """Windows of prefix + lag + WINDOW tokens from different places; None if there are too few.

    `documents` are ids (T,), boundary included; windows lie inside documents.
    """
    after = lag + WINDOW
    # The longest prefix for which half of all documents have room.
    lengths = sorted(len(document) for document in documents)
    prefix = min(PREFIX, (lengths[len(lengths) // 2] if lengths else 0) - after)
    windows = _windows(documents, prefix + after)
    if prefix < 1 or len(windows) < 2:
        return None
    half = len(windows) // 2
    return Pairs(np.stack(windows[:half], 1), np.stack(windows[half : 2 * half], 1), prefix)


def _windows(documents: Sequence[Ids], size: int) -> list[Ids]:
    """Windows that do not overlap, in random order, at most two for each pair."""
    found = [
        document[start : start + size]
        for document in documents
        for start in range(0, len(document) - size + 1, size)
    ]
    order = np.random.default_rng(0).permutation(len(found))
    return [found[k] for k in order[: 2 * PAIRS]]


@torch.inference_mode()
def exchange_language(model: LanguageModel, pairs: Pairs, *, lag: int = LAG) -> ExchangeRecord:
    """Shares of the rise in loss, over pairs. The model is an LSTM in eval mode."""
    losses: dict[str, list[NDArray[np.float64]]] = {arm: [] for arm in ARMS}
    for start in range(0, pairs.a.shape[1], BATCH):
        a, b = (torch.from_numpy(side[:, start : start + BATCH]) for side in pairs[:2])
        own, other = (model.features(side[: pairs.at])[1] for side in (a, b))
        for arm in ARMS:
            state = exchanged((own[0], own[1]), (other[0], other[1]), arm)
            nats, _ = model.token_losses(a[pairs.at : -1], a[pairs.at + 1 :], state)  # (T, B)
            losses[arm].append(nats[lag:].double().mean(0).numpy())
    means = {arm: np.concatenate(parts) for arm, parts in losses.items()}
    return _record("loss in nats per token", means, sign=1.0, lag=lag)


def classifier_pairs(
    documents: Sequence[Ids], labels: Sequence[int], *, lag: int | None = None
) -> tuple[Pairs, Ids, Ids] | None:
    """Pairs of texts of different labels with the labels of both (B,); None if there are too few.

    All are cut to one length at their beginning, so that they end as they did; exchanged half way
    through, or `lag` tokens before the end.
    """
    lengths = sorted(len(document) for document in documents)
    size = min(2 * PREFIX, lengths[len(lengths) // 2]) if lengths else 0
    usable = [k for k, document in enumerate(documents) if len(document) >= size]
    order = np.random.default_rng(0).permutation(len(usable))
    half = len(order) // 2
    chosen = [
        (usable[i], usable[j])
        for i, j in zip(order[:half], order[half:], strict=False)
        if labels[usable[i]] != labels[usable[j]]
    ][:PAIRS]
    if size < 2 or not chosen:
        return None
    a, b = (np.stack([documents[pair[k]][-size:] for pair in chosen], 1) for k in (0, 1))
    first, second = (np.array([labels[pair[k]] for pair in chosen]) for k in (0, 1))
    return Pairs(a, b, size - (size // 2 if lag is None else lag)), first, second


@torch.inference_mode()
def exchange_classifier(
    model: Classifier, pairs: Pairs, labels_a: Ids, labels_b: Ids
) -> ExchangeRecord | None:
    """Shares of the fall in log-odds, over pairs; None unless the last state alone is read.

    `labels_a`, `labels_b` (B,): the labels of each pair's texts. The model is an LSTM in eval mode.
    """
    if model.pool != "last" or model.recurrent.directions != 1:
        return None
    # What stands behind the exchange is A's own text, in all arms: only the state differs.
    own, other = (_states(model, side, pairs.at) for side in pairs[:2])
    rest = torch.from_numpy(pairs.a[pairs.at :])
    index = np.arange(len(labels_a))
    lengths = torch.full((rest.shape[1],), rest.shape[0])
    odds = {}
    for arm in ARMS:
        outputs, state = model.recurrent(model.embed(rest), exchanged(own, other, arm))
        logits = model.head(model.readout(outputs, state, lengths)).double().numpy()
        odds[arm] = logits[index, labels_a] - logits[index, labels_b]
    return _record("evidence in log-odds", odds, sign=-1.0, lag=len(rest))


def _states(model: Classifier, ids: Ids, until: int) -> tuple[Tensor, Tensor]:
    _, state = model.recurrent(model.embed(torch.from_numpy(ids[:until])))
    return state[0], state[1]


def _record(
    measure: str, arms: dict[str, NDArray[np.float64]], *, sign: float, lag: int
) -> ExchangeRecord:
    """Ratios of mean effects with bootstrap intervals over pairs."""
    effects = {arm: sign * (arms[arm] - arms["own"]) for arm in ("c", "h", "both")}
    weights = resampling_weights(len(arms["own"]), seed=0)
    whole = ratio_of_means(effects["both"], np.ones(len(arms["own"])), weights)
    # Shares of an effect that may be 0 have no meaning, and no finite interval.
    clear = float(whole.lo[0]) > 0
    full = Estimate(
        estimate=float(whole.estimate[0]), ci95=(float(whole.lo[0]), float(whole.hi[0])),
        n=len(arms["own"]), unit=measure, status="ok" if clear else "undefined",
        note="" if clear else "exchanging the whole state changes nothing: nothing is carried",
    )  # fmt: skip
    shares = {arm: _share(effects[arm], effects["both"], weights, clear) for arm in ("c", "h")}
    return ExchangeRecord(measure=measure, lag=lag, c=shares["c"], h=shares["h"], full=full)


def _share(
    part: NDArray[np.float64], whole: NDArray[np.float64], weights: NDArray[np.float64], clear: bool
) -> Estimate:
    if not clear:
        return curves.missing("undefined", "", unit="share", n=len(part))
    # The ratio of the resampled sums, not of single pairs, of which some change next to nothing.
    top, bottom = weights @ part, weights @ whole
    value = float(part.sum() / whole.sum())
    return curves.estimate(value, top / bottom, n=len(part), unit="share")
