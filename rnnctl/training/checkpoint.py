"""Put a `TrainingState` into a run, and take it out again, bit for bit; keep weights on the way.

A checkpoint folder holds `model.safetensors` (the weights), `state.safetensors` (moments, hidden
state, random state) and `state.json` (counters, place in the data). The best weights stand in a
folder of their own, written only when they have changed.

When a snapshot (`--snapshots`) is due follows from the number of tokens alone, before a step and
after it, so that a training that was interrupted goes on with it. Nothing of the training follows
from a snapshot: it draws no random number and changes no weight.
"""

from __future__ import annotations

import json

import safetensors.torch

from rnnctl import integrity
from rnnctl.config import TrainingConfig, snapshot_tokens
from rnnctl.errors import CorruptRunError, RunError, UsageError
from rnnctl.runs import Run
from rnnctl.runs.checkpoints import (
    VALUES_NAME,
    WEIGHTS_NAME,
    check_checkpoint,
    is_snapshot,
    remove_unreferenced,
    snapshot_name,
    until,
    write_checkpoint,
)
from rnnctl.runs.log import LogPosition
from rnnctl.tasks.loading import read_weights
from rnnctl.training.state import Tensors, TrainingState, load_weights, snapshot, weights_of
from rnnctl.wording import plural

STATE_NAME = "state.safetensors"


def save_checkpoint(run: Run, state: TrainingState) -> str:
    """Write a checkpoint of `state`, commit it, and drop the ones that are no longer kept."""
    current = run.current
    name = _free_name(f"{state.counters.step:06d}", current.checkpoints)
    known = dict(current.checkpoints)
    best = _save_best(run, state, known)
    # On the disk before the checkpoint that says how far it goes.
    run.log_file.flush(sync=True)
    position = run.log_file.position
    values = state.values() | {"best": best, "log": [position.bytes, position.crc]}
    files = {
        WEIGHTS_NAME: safetensors.torch.save(snapshot(state.task.model)),
        STATE_NAME: safetensors.torch.save(state.tensors()),
        VALUES_NAME: json.dumps(values).encode("ascii"),
    }
    known[name] = write_checkpoint(run.path, name, files)
    # Two checkpoints with the best weights of each: where the newest is damaged there is one to go
    # back to.
    kept = {name, current.newest, best, _best_of(run, current.newest), *filter(is_snapshot, known)}
    run.commit(
        checkpoints={n: digest for n, digest in known.items() if n in kept},
        newest=name,
        before=current.newest,
        best=_chosen(state, best),
        log_bytes=position.bytes,
        log_crc=position.crc,
    )
    remove_unreferenced(run.path, set(run.current.checkpoints))
    return name


def _free_name(name: str, taken: dict[str, str]) -> str:
    number, free = 0, name
    while free in taken:
        number += 1
        free = f"{name}.{number}"
    return free


def _save_best(run: Run, state: TrainingState, known: dict[str, str]) -> str:
    """Name of the folder with the best weights; written if they are not there yet.

    They count from then on: the disk may be too full for the checkpoint that comes next.
    """
    data = safetensors.torch.save(state.best)
    name = f"best-{state.counters.best_step:06d}-{integrity.digest(data)[:8]}"
    if name not in known:
        known[name] = write_checkpoint(run.path, name, {WEIGHTS_NAME: data})
        run.commit(checkpoints=dict(known), best=_chosen(state, name))
    return name


def _chosen(state: TrainingState, best: str) -> str | None:
    """The folder to use the model from. Before the first validation the best weights are the
    initial ones, kept only to step back to, and the newest checkpoint is better.
    """
    return None if state.counters.best_value is None else best


def _best_of(run: Run, name: str | None) -> str | None:
    """The best weights that an older checkpoint refers to, so that falling back finds them."""
    if name is None:
        return None
    try:
        files = check_checkpoint(run.path, name, run.current.checkpoints[name])
        best = integrity.read_json(files[VALUES_NAME], limit=integrity.MAX_RESULT)["best"]
    except (CorruptRunError, KeyError):
        return None
    return str(best) if best in run.current.checkpoints else None


def restore(run: Run, state: TrainingState) -> str:
    """Load the newest good checkpoint into `state`, if the run has one already.

    The log is cut back to where that checkpoint was made. A damaged newest one falls back to the
    one before it: then it is said, else "". CorruptRunError when no checkpoint is good.
    """
    names = [n for n in (run.current.newest, run.current.before) if n is not None]
    problems: list[str] = []
    for name in names:
        try:
            _load(run, name, state)
        except (RunError, KeyError, ValueError, TypeError, OverflowError) as error:
            problems.append(str(error))
            continue
        return f"{problems[0]}; went back to checkpoint {name}" if problems else ""
    if problems:
        raise CorruptRunError(
            f"no checkpoint of {run.path} can be used: {'; '.join(problems)}",
            hint="train again with --overwrite, or restore the files from a copy",
        )
    run.commit(checkpoints=_not_after(run, 0), log_bytes=0, log_crc=0)
    run.log_file.rewind(LogPosition())
    return ""


def _load(run: Run, name: str, state: TrainingState) -> None:
    files = check_checkpoint(run.path, name, run.current.checkpoints[name])
    values = integrity.read_json(files[VALUES_NAME], limit=integrity.MAX_RESULT)
    best = str(values["best"])
    best_files = check_checkpoint(run.path, best, run.current.checkpoints[best])
    weights, tensors = read_weights(files[WEIGHTS_NAME]), read_weights(files[STATE_NAME])
    best_weights: Tensors = read_weights(best_files[WEIGHTS_NAME])
    size, crc = (int(number) for number in values["log"])
    if not (0 <= size <= run.current.log_bytes and 0 <= crc < 1 << 32):
        raise CorruptRunError(f"{files[VALUES_NAME]} names a place outside the log")
    # Only when everything was read: a damaged file must leave the state as it was.
    state.load(weights, tensors, values)
    state.best = best_weights
    _go_back_to(run, name, _chosen(state, best), LogPosition(size, crc), state.counters.step)


def _not_after(run: Run, step: int) -> dict[str, str]:
    """The checkpoints of a run without the snapshots of later steps, which are taken again."""
    known = run.current.checkpoints
    kept = until(known, step)
    return {name: digest for name, digest in known.items() if name in kept or not is_snapshot(name)}


def _go_back_to(run: Run, name: str, best: str | None, position: LogPosition, step: int) -> None:
    """Vouch for less before anything is cut off, so that a kill in between does no harm."""
    newer = {run.current.newest} - {name}
    before = None if newer else run.current.before
    kept = {k: d for k, d in _not_after(run, step).items() if k not in newer}
    run.commit(
        newest=name,
        before=before,
        best=best,
        checkpoints=kept,
        log_bytes=position.bytes,
        log_crc=position.crc,
    )
    run.log_file.rewind(position)


def publish(run: Run, state: TrainingState) -> None:
    """Write the best weights as `model.safetensors` and mark the run as finished."""
    data = safetensors.torch.save(state.best, metadata={"format": "pt"})
    run.log_file.flush(sync=True)
    position = run.log_file.position
    run.commit(log_bytes=position.bytes, log_crc=position.crc)
    run.put_file(WEIGHTS_NAME, data)
    # Last: until here the run is one that can be resumed.
    run.commit(finished=True)


def unpublish(run: Run) -> None:
    """A finished run that is trained further is an unfinished one until it is published again."""
    if run.current.finished or WEIGHTS_NAME in run.current.files:
        run.commit(finished=False)
        run.put_file(WEIGHTS_NAME, None)


def use_best(state: TrainingState) -> None:
    """Put the best weights into the model."""
    assert weights_of(state.task.model).keys() == state.best.keys()
    load_weights(state.task.model, state.best)


# -- snapshots -----------------------------------------------------------------------------------

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
        f"--snapshots {beyond}: the training ends earlier, after {plural(min(ends), 'token')} at "
        "most",
        hint="leave out these numbers (the last weights are kept anyway), or train longer with "
        "--steps or --epochs",
    )
