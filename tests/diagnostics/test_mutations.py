"""Each of the mistakes that published code makes must make its known answer fail."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from rnnctl.diagnostics import checks, curves, effect, gates, hold, lyapunov, reach, use
from rnnctl.diagnostics.selftest import answers, diagnose_run
from rnnctl.nn import cells

Patch = pytest.MonkeyPatch


def drop_the_cell_state(patch: Patch) -> None:
    """The LSTM's Jacobian of h alone, c held constant (shlizee/lyapunov-hyperopt)."""

    def pull(*parts: Any) -> Any:
        dx, du, direct = cells.lstm_pull(*parts)
        return dx, du, tuple(torch.zeros_like(part) for part in direct)

    def push(*parts: Any) -> Any:
        *rest, tangent = parts
        return cells.lstm_push(*rest, (tangent[0], torch.zeros_like(tangent[1])))

    patch.setattr(cells, "LSTM", replace(cells.LSTM, pull=pull, push=push))


def transpose_the_products(patch: Patch) -> None:
    """Jᵀ Q in forward time order: the exponents of the reversed product."""
    patch.setattr(lyapunov, "_propagate", lambda trace, t, frame: trace.vjp(t, frame))


def swap_keep_and_write(patch: Patch) -> None:
    """1 − z where z belongs: other texts' sign of the update gate."""

    def factors(*parts: Any) -> Any:
        *rest, keep = cells.gru_factors(*parts)
        return (*rest, 1 - keep)

    patch.setattr(cells, "GRU", replace(cells.GRU, factors=factors))


def sum_the_losses(patch: Patch) -> None:
    """Take gradients that enter at every step for those of one."""
    patch.setattr(reach, "one_step_of", lambda gradients: len(gradients) - 1)


def average_the_gate(patch: Patch) -> None:
    """−1 / ln(mean f) instead of −1 / E[ln f]."""
    patch.setattr(gates, "log_gate", lambda gate: gate)
    patch.setattr(gates, "time_constants", lambda mean: -1 / np.log(mean))


def shift_the_context(patch: Patch) -> None:
    """Call the context of n tokens n + 1."""
    patch.setattr(curves, "centre", lambda low, high: float(low) + 1)


def shift_the_distance(patch: Patch) -> None:
    """Look at a swapped word one token too early."""
    original = effect._word_deltas

    def shifted(
        subject: Any, documents: Any, places: Any, pairs: Any, steps: Any, **named: Any
    ) -> Any:
        return original(subject, documents, places, pairs, np.maximum(steps - 1, 0), **named)

    patch.setattr(effect, "_word_deltas", shifted)


def shift_the_lag(patch: Patch) -> None:
    """Look at the state one token too late."""
    original = hold.collect

    def shifted(subject: Any, plants: Any, lags: list[int]) -> Any:
        return original(subject, replace(plants, ends=plants.ends + 1), lags)

    patch.setattr(hold, "collect", shifted)


def resample_tokens(patch: Patch) -> None:
    """Resample windows as if those of one document were independent."""
    patch.setattr(reach, "documents_of", lambda groups: np.arange(len(groups)))


def reset_where_all_documents_go_on(patch: Patch) -> None:
    """USE: no reset so late that a document ends before the longest context does."""
    original = use.make_plan

    def early(sample: Any, settings: Any) -> Any:
        return original(replace(sample, ids=tuple(ids[:-1] for ids in sample.ids)), settings)

    patch.setattr(use, "make_plan", early)


def skip_finer_lags(patch: Patch) -> None:
    """HOLD: half octaves only, with intervals that know nothing of their width."""
    patch.setattr(hold, "between", lambda lags, bits: range(0))


def forget_the_draw(patch: Patch) -> None:
    """HOLD: intervals without the fit of the probe and the choice of words."""
    original = hold.read_out

    def fixed(*args: Any, **named: Any) -> Any:
        found = original(*args, **named)
        texts = None if found.texts is None else 0.3 * found.texts
        return replace(found, texts=texts, words=0 * found.words)

    patch.setattr(hold, "read_out", fixed)


def take_any_effect(patch: Patch) -> None:
    """EFFECT without a floor: 1e-14 nats have a half-distance."""
    patch.setitem(effect.summarise.__kwdefaults__, "floor", 0.0)


def call_any_growth_exploding(patch: Patch) -> None:
    """REACH: a slope that is above 0 by rounding counts as an explosion."""
    patch.setattr(reach, "GROWTH", 0.9)


def extrapolate_the_tail(patch: Patch) -> None:
    """REACH: τ of ten million tokens from a window of 128."""
    patch.setattr(reach, "TAIL", 10**9)


def average_over_resets(patch: Patch) -> None:
    """REACH: the half-life of the mean logarithm stands for the median window."""
    patch.setattr(reach, "_median_estimate", lambda curve: reach.lag_estimate(curve, 0.5))


def count_from_another_lag(patch: Patch) -> None:
    """REACH: the half-life from lag 1, the 1 % mark from lag 0."""
    original = reach.lag_estimate

    def counted(curve: Any, level: float) -> Any:
        found = original(curve, level)
        if level == 0.5 or found.estimate is None:
            return found
        ends = tuple(None if end is None else end + 1 for end in found.ci95)
        return found.model_copy(update={"estimate": found.estimate + 1, "ci95": ends})

    patch.setattr(reach, "lag_estimate", counted)


def average_two_units(patch: Patch) -> None:
    """GATES: between units of .43 and 1,000 tokens the median is 500, which no unit has."""
    patch.setattr(gates, "unit_at", lambda tau, share: np.quantile(tau, share, axis=0))


def follow_some_directions(patch: Patch) -> None:
    """Lyapunov: all 16 directions of a state of 16 numbers are written as "16 or more"."""
    original = lyapunov.record
    patch.setattr(
        lyapunov, "record", lambda growth, **named: original(growth, **named | {"whole": False})
    )


def believe_every_bin(patch: Patch) -> None:
    """USE: an excess above ε is a horizon, whatever its interval says."""
    patch.setattr(use, "measurable", lambda sums, epsilon: True)


def keep_the_bins(patch: Patch) -> None:
    """USE: no single n where δ falls steeply, so that a bin blurs it."""
    patch.setattr(use.ContextCurves, "around", lambda curves: np.zeros(0, dtype=np.int64))


def trust_the_mean_of_logarithms(patch: Patch) -> None:
    """REACH: no warning where half of the windows keep everything until they are reset."""
    patch.setattr(checks, "mean_misleads", lambda record: False)


def read_from_anywhere(patch: Patch) -> None:
    """EFFECT: near and far of different swaps, so that a ratio compares different documents."""
    original = effect.summarise

    def mixed(swaps: Any, *rest: Any, **named: Any) -> Any:
        known = np.isfinite(swaps.deltas)
        filled = np.where(known, swaps.deltas, 0.0)
        return original(replace(swaps, deltas=filled), *rest, **named)

    patch.setattr(effect, "summarise", mixed)


MUTATIONS: list[tuple[str, Callable[[Patch], None]]] = [
    ("GT03", drop_the_cell_state),
    ("GT04", swap_keep_and_write),
    ("GT05", transpose_the_products),
    ("GT08", sum_the_losses),
    ("GT11", shift_the_context),
    ("GT11", shift_the_distance),
    ("GT12", shift_the_context),
    ("GT13", shift_the_lag),
    ("GT17", average_the_gate),
    ("GT19", resample_tokens),
    ("GT22", forget_the_draw),
    ("RD12", reset_where_all_documents_go_on),
    ("RD08", skip_finer_lags),
    ("RD07", take_any_effect),
    ("RD10", call_any_growth_exploding),
    ("RD10", extrapolate_the_tail),
    ("RD05", average_over_resets),
    ("RD10", believe_every_bin),
    ("RD02", count_from_another_lag),
    ("RD03", average_two_units),
    ("RD10", follow_some_directions),
    ("RD09", keep_the_bins),
    ("RD05", trust_the_mean_of_logarithms),
    ("RD14", read_from_anywhere),
]


@pytest.mark.parametrize(
    ("name", "mutate"), MUTATIONS, ids=lambda part: getattr(part, "__name__", part)
)
def test_a_mutation_is_caught(
    name: str, mutate: Callable[[Patch], None], monkeypatch: Patch
) -> None:
    mutate(monkeypatch)
    (answer,) = answers(diagnose_run, [name])
    assert not answer.passed, [check for check in answer.items if check.passed]


def test_what_the_mistakes_would_have_shown() -> None:
    """Computed on paper: summed losses hide vanishing at h' = h/2 + x."""
    from rnnctl.diagnostics.known_answers.models import LinearModel

    trace = LinearModel(torch.tensor([[[0.5]]], dtype=torch.float64)).trace(
        torch.zeros(100, 1, dtype=torch.int64)
    )
    summed: Tensor = trace.state_gradients(torch.ones_like(trace.outputs))["h"][0, :, 0, 0]
    one = torch.zeros_like(trace.outputs)
    one[-1] = 1
    single: Tensor = trace.state_gradients(one)["h"][0, :, 0, 0]
    assert float(summed[-51] / summed[-2]) > 1
    assert float(single[-51] / single[-2]) == pytest.approx(0.5**49)
