"""Each of the mistakes that published code makes must make its known answer fail."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from rnnctl.diagnostics import curves, effect, gates, hold, lyapunov, reach
from rnnctl.diagnostics.known_answers import answers
from rnnctl.diagnostics.selftest import diagnose_run
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

    def shifted(subject: Any, window: Any, pairs: Any, steps: Any) -> Any:
        return original(subject, window, pairs, np.maximum(steps - 1, 0))

    patch.setattr(effect, "_word_deltas", shifted)


def shift_the_lag(patch: Patch) -> None:
    """Look at the state one token too late."""
    original = hold.collect

    def shifted(subject: Any, plants: Any, lags: list[int]) -> Any:
        return original(subject, plants, [min(lag + 1, lags[-1]) for lag in lags])

    patch.setattr(hold, "collect", shifted)


def resample_tokens(patch: Patch) -> None:
    """Resample windows as if those of one document were independent."""
    patch.setattr(reach, "documents_of", lambda groups: np.arange(len(groups)))


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
]


@pytest.mark.parametrize(
    ("name", "mutate"), MUTATIONS, ids=lambda part: getattr(part, "__name__", part)
)
def test_a_mutation_is_caught(
    name: str, mutate: Callable[[Patch], None], monkeypatch: Patch
) -> None:
    mutate(monkeypatch)
    (answer,) = answers(diagnose_run, [name])
    assert not answer.passed, [check for check in answer.checks if check.passed]


def test_what_the_mistakes_would_have_shown() -> None:
    """The numbers of DIAGNOSTICS.md part 0: summed losses hide vanishing at h' = h/2 + x."""
    from rnnctl.diagnostics.known_answers.toys import LinearModel

    trace = LinearModel(torch.tensor([[[0.5]]], dtype=torch.float64)).trace(
        torch.zeros(100, 1, dtype=torch.int64)
    )
    summed: Tensor = trace.state_gradients(torch.ones_like(trace.outputs))["h"][0, :, 0, 0]
    one = torch.zeros_like(trace.outputs)
    one[-1] = 1
    single: Tensor = trace.state_gradients(one)["h"][0, :, 0, 0]
    assert float(summed[-51] / summed[-2]) > 1
    assert float(single[-51] / single[-2]) == pytest.approx(0.5**49)
