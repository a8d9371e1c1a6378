"""Compile what a training computes with, or load it, while the corpus is read."""

from __future__ import annotations

import threading
from contextlib import suppress

import torch

from rnnctl.config import RunConfig
from rnnctl.machine import Arithmetic
from rnnctl.nn.models import LanguageModel
from rnnctl.tasks.loading import build_model

_VOCABULARY, _STEPS, _STREAMS = 256, 2, 4


class WarmUp:
    """A thread that takes one step of a model of these settings with a small vocabulary.

    The first one on a machine compiles the inner loops of the cell, for about ten seconds; they are
    kept in numba's cache. Others load them from there. The weights are thrown away. PyTorch's
    random generator is used, so seed it afterwards.
    """

    def __init__(self, config: RunConfig, arithmetic: Arithmetic, threads: int) -> None:
        self._config, self._arithmetic, self._threads = config, arithmetic, threads
        self._thread: threading.Thread | None = None
        if arithmetic.device.type == "cpu":
            # A daemon, so that Ctrl-C does not wait for the compiler.
            self._thread = threading.Thread(target=self._work, name="warm-up", daemon=True)
            self._thread.start()

    def done_within(self, seconds: float) -> bool:
        """Whether it is over, now or in so many seconds."""
        if self._thread is not None:
            self._thread.join(seconds)
        return self._thread is None or not self._thread.is_alive()

    def wait(self) -> None:
        """Until it is over."""
        if self._thread is not None:
            self._thread.join()

    def _work(self) -> None:
        # What fails here fails again in the training, which then says what is wrong.
        with suppress(Exception):
            torch.set_num_threads(self._threads)  # a thread has a number of its own
            self._step()

    def _step(self) -> None:
        model = build_model(
            self._config.model,
            vocab_size=_VOCABULARY,
            num_classes=2,
            engine=self._config.training.engine,
        )
        ids = torch.zeros(_STEPS, _STREAMS, dtype=torch.int64)
        lengths = torch.full((_STREAMS,), _STEPS)
        for _ in range(2):
            with self._arithmetic.context(), torch.set_grad_enabled(model.training):
                if isinstance(model, LanguageModel):
                    total, _ = model.loss(ids, ids, None, None)
                else:
                    total = model(ids, lengths).float().sum()
            if model.training:
                total.backward()  # type: ignore[no-untyped-call]
            model.eval()  # the second time as in a validation
