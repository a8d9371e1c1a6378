"""Compile what a training computes with, or load it, while the corpus is read."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress

import torch

from rnnctl.config import RunConfig
from rnnctl.machine import Arithmetic
from rnnctl.nn.engines import fused_available
from rnnctl.nn.models import LanguageModel
from rnnctl.tasks.loading import build_model

_VOCABULARY, _STEPS, _STREAMS = 256, 2, 4


class WarmUp:
    """A thread that takes one step of a model of these settings with a small vocabulary.

    The first one on a machine compiles the inner loops of the cell, for about ten seconds; they are
    kept in numba's cache. Others load them from there. The weights are thrown away. PyTorch's
    random generator is used, so seed it afterwards.

    A context: on leaving it the thread is over, however the context is left. It would otherwise
    draw random numbers meanwhile, and a process that ends while a thread compiles is aborted.
    """

    def __init__(self, config: RunConfig, arithmetic: Arithmetic, threads: int) -> None:
        self._config, self._arithmetic, self._threads = config, arithmetic, threads
        self._compiles = threading.Event()
        self._thread = threading.Thread(target=self._work, name="warm-up")

    def __enter__(self) -> WarmUp:
        if self._arithmetic.device.type == "cpu":
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._thread.is_alive():
            self._thread.join()

    def wait(self) -> Iterator[None]:
        """Wait until it is over. Yields once if that takes long because something is compiled."""
        told = False
        while self._thread.is_alive():
            self._thread.join(0.1)
            if self._compiles.is_set() and not told:
                told = True
                yield

    def _work(self) -> None:
        # What fails here fails again in the training, which then says what is wrong.
        with suppress(Exception):
            torch.set_num_threads(self._threads)  # a thread has a number of its own
            if not fused_available():
                self._step()
                return
            from numba.core import event

            compiles = self._compiles

            class Listener(event.Listener):
                """Told when numba compiles something that its cache does not hold."""

                def on_start(self, event: object) -> None:
                    compiles.set()

                def on_end(self, event: object) -> None:
                    pass

            with event.install_listener("numba:compile", Listener()):
                self._step()

    def _step(self) -> None:
        engine = self._config.training.engine
        if engine == "auto" and fused_available():
            engine = "fused"  # the one that has something to compile
        model = build_model(
            self._config.model, vocab_size=_VOCABULARY, num_classes=2, engine=engine
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
