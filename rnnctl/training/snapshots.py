"""Which weights of a training are kept on its way (`--snapshots`), and keeping them.

When a snapshot is due follows from the number of tokens alone, before a step and after it, so that
a training that was interrupted goes on with it. Nothing of the training follows from a snapshot:
it draws no random number and changes no weight.
"""

from __future__ import annotations

import safetensors.torch

from rnnctl.config import TrainingConfig, snapshot_tokens
from rnnctl.errors import UsageError
from rnnctl.runs import Run
from rnnctl.runs.checkpoints import (
    WEIGHTS_NAME,
    is_snapshot,
    remove_unreferenced,
    snapshot_name,
    write_checkpoint,
)
from rnnctl.training.state import TrainingState, snapshot
from rnnctl.wording import plural

MOST_DOUBLINGS = 10  # that `log` keeps beside the initial weights


class Keeper:
    """Keeps the snapshots that the settings ask for in `run`, which is held for writing."""

    def __init__(self, run: Run, settings: TrainingConfig) -> None:
        self._run = run
        self._log = settings.snapshots == "log"
        self._wanted = snapshot_tokens(settings.snapshots)
        self._active = settings.snapshots is not None
        self._before = 0

    def begin(self, state: TrainingState) -> None:
        """Before the first step of this session: keep the initial weights, unless they were."""
        self._before = state.counters.tokens
        if self._active and not state.counters.step:
            self._keep(state)

    def after_step(self, state: TrainingState) -> None:
        """Keep the weights after a step if it was the first to reach a number that counts."""
        before, self._before = self._before, state.counters.tokens
        if self._active and self._due(before, self._before):
            self._keep(state)

    def end(self, state: TrainingState) -> str:
        """After the last step: keep its weights; say which wanted numbers were not reached."""
        if not self._active:
            return ""
        self._keep(state)
        missed = [number for number in self._wanted if number > state.counters.tokens]
        if not missed:
            return ""
        return (
            f"--snapshots {', '.join(map(str, missed))}: not reached, for the training ended after "
            f"{plural(state.counters.tokens, 'token')}; its last weights are the last snapshot"
        )

    def _due(self, before: int, tokens: int) -> bool:
        if self._log:  # the first step that passes a power of two
            return tokens.bit_length() > before.bit_length()
        return any(before < number <= tokens for number in self._wanted)

    def _keep(self, state: TrainingState) -> None:
        """Write a snapshot and commit it; of many doublings the first ones go."""
        name = snapshot_name(state.counters.tokens, state.counters.step)
        known = dict(self._run.current.checkpoints)
        if name in known:
            return
        with state.averaged():  # the weights that are validated, and published in the end
            data = safetensors.torch.save(snapshot(state.task.model), metadata={"format": "pt"})
        known[name] = write_checkpoint(self._run.path, name, {WEIGHTS_NAME: data})
        dropped = self._too_many(known)
        self._run.commit(checkpoints={n: d for n, d in known.items() if n not in dropped})
        if dropped:
            remove_unreferenced(self._run.path, set(self._run.current.checkpoints))

    def _too_many(self, known: dict[str, str]) -> set[str]:
        if not self._log:
            return set()
        later = sorted(name for name in known if is_snapshot(name))[1:]
        return set(later[: max(0, len(later) - MOST_DOUBLINGS)])


def check_reached(settings: TrainingConfig, tokens_of_epoch: int | None) -> None:
    """UsageError for a number of tokens that the training cannot reach by its own settings.

    `tokens_of_epoch` is None where passes are counted in documents: how many tokens are read then
    is not known before. Nor is it with --budget or --patience: what was not reached is told at the
    end.
    """
    wanted = snapshot_tokens(settings.snapshots)
    step = settings.batch_size * settings.bptt
    ends = []
    if settings.steps is not None and tokens_of_epoch is not None:
        ends.append(settings.steps * step)
    if settings.epochs is not None and tokens_of_epoch is not None:
        ends.append(int(settings.epochs * tokens_of_epoch) + step)
    if not wanted or not ends or wanted[-1] <= min(ends):
        return
    beyond = ", ".join(str(number) for number in wanted if number > min(ends))
    raise UsageError(
        f"--snapshots {beyond}: the training ends before, after {plural(min(ends), 'token')} at "
        "most",
        hint="leave out these numbers (the last weights are kept anyway), or train longer with "
        "--steps or --epochs",
    )
