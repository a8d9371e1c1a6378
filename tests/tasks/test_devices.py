"""Devices that do not match are found without having one: fake tensors know where they are."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from rnnctl.machine import Arithmetic
from rnnctl.tasks import evaluation


class Model:
    """An LSTM's state on a GPU, and nothing else."""

    @property
    def recurrent(self) -> Model:
        return self

    def initial_state(self, batch: int) -> tuple[torch.Tensor, ...]:
        return tuple(torch.zeros(1, batch, 4, device="cuda") for _ in "hc")


def test_the_streams_of_a_validation_stay_on_their_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a fake tensor holds is not known, so the losses are taken for nothing."""
    seen: list[set[str]] = []

    def losses(
        model: object, inputs: object, targets: object, state: tuple[torch.Tensor, ...], *_: object
    ) -> tuple[float, tuple[torch.Tensor, ...]]:
        seen.append({part.device.type for part in state})
        return 0.0, state

    monkeypatch.setattr(evaluation, "_losses", losses)
    with FakeTensorMode():
        arithmetic = Arithmetic(torch.device("cuda"), False)
        evaluation.streaming_nats(Model(), np.zeros(5000, np.int32), 0, arithmetic)  # type: ignore[arg-type]
    assert len(seen) > 1 and set.union(*seen) == {"cuda"}
