"""Several processes that train one model: each reads its share of every batch, gradients are added.

Data parallelism over `torch.distributed` (gloo, or NCCL where every process has a GPU). All
processes begin from the same weights and make the same update, so they stay equal bit for bit; the
first one decides (clock, signals, validation), writes and reports. It starts the others on this
machine itself (`team`), or `torchrun` has started all of them, on one machine or several. They are
separate programs, never forked: numba's threads do not survive that.
"""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed import TCPStore  # type: ignore[attr-defined]

from rnnctl.config import RunConfig
from rnnctl.data.cache import cache_directory
from rnnctl.data.corpus import open_corpus
from rnnctl.data.store import Store, open_store
from rnnctl.data.tokenizers import Tokenizer
from rnnctl.data.tokenizers.base import from_bytes, to_bytes
from rnnctl.errors import RnnctlError, RunError
from rnnctl.machine import available_cores, find_arithmetic, set_threads
from rnnctl.tasks.base import Interrupted, StepLoss, Task, Validation, find_task
from rnnctl.tasks.loading import build_model
from rnnctl.training.loop import STOPPING, Alone, Loop, TrainingInterrupted
from rnnctl.training.prepare import Prepared, stored
from rnnctl.training.schedule import Replay, Schedule
from rnnctl.training.state import Tensors, TrainingState, snapshot, with_prefix
from rnnctl.wording import plural

# Longer than any validation; a process that dies is noticed at once, by its closed connection.
TIMEOUT = timedelta(hours=6)


class WorkerDiedError(RnnctlError):
    """A process of a parallel training is gone."""


@dataclass(frozen=True, slots=True)
class Together:
    """This process's place among those that train together (a `Team` of the loop)."""

    rank: int
    size: int
    device: torch.device

    @property
    def leads(self) -> bool:
        return self.rank == 0

    def reduce(self, model: nn.Module, loss: StepLoss) -> float:
        """Add up gradients and losses of all processes."""
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        # In one message: each takes its time, however short it is.
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        total = loss.total.detach().double().cpu()
        with watched():
            dist.all_reduce(flat)
            dist.all_reduce(total)
        parts = torch.split(flat, [gradient.numel() for gradient in gradients])
        for gradient, summed in zip(gradients, parts, strict=True):
            gradient.copy_(summed.view_as(gradient))
        return float(total) / loss.units

    def agree(self, values: list[float]) -> list[float]:
        """The first process's values, in all of them."""
        shared = torch.tensor(values, dtype=torch.float64)
        with watched():
            dist.broadcast(shared, 0)
        return [float(value) for value in shared]

    def validate(self, task: Task, interrupted: Interrupted, most: int) -> Validation | None:
        """The first process validates, with all threads while the others wait."""
        # One row of numbers can be sent to all; NaN stands for None.
        found = [0.0, *[math.nan] * 3]
        if self.leads:
            with threads(self.size if self.device.type == "cpu" else torch.get_num_threads()):
                validation = task.validate(interrupted, most)
            if validation is not None:
                unsaid = (validation.accuracy, validation.choice)
                found = [1.0, validation.value, *(math.nan if x is None else x for x in unsaid)]
        made, value, *optional = self.agree(found)
        if not made:
            return None
        return Validation(value, *(None if math.isnan(x) else x for x in optional))

    def gather(self, state: TrainingState) -> None:
        """Collect what differs between processes (hidden and random state) in `state.personal`."""
        found: Tensors = {}
        for name, value in personal(state).items():
            parts = [torch.empty_like(value) for _ in range(self.size)]
            with watched():
                dist.all_gather(parts, value)
            found |= {f"rank{rank}.{name}": part for rank, part in enumerate(parts)}
        state.personal = found

    def share(self, state: TrainingState) -> None:
        """Give every process the first one's state, and its own personal part of it."""
        sent: Tensors = {}
        if self.leads:
            weights = snapshot(state.task.model)
            sent = {f"weights.{name}": value for name, value in weights.items()}
            sent |= {f"state.{name}": value for name, value in state.tensors().items()}
            sent |= {f"best.{name}": value for name, value in state.best.items()}
        received = safetensors.torch.load(self.tell(safetensors.torch.save(sent)))
        values = json.loads(self.tell(json.dumps(state.values()).encode()))
        if self.leads:
            return
        tensors = with_prefix(received, "state.")
        own = with_prefix(tensors, f"rank{self.rank}.")
        shared = {k: v for k, v in tensors.items() if not k.startswith(PERSONAL)}
        state.load(with_prefix(received, "weights."), shared | own, values)
        state.best = with_prefix(received, "best.")
        if not own:  # a training that begins: other dropout masks than the first process has
            torch.manual_seed(torch.initial_seed() + self.rank)

    def tell(self, data: bytes) -> bytes:
        """The first process's bytes, in all of them."""
        # The others must make room before the bytes come.
        size = int(self.agree([float(len(data))])[0])
        shared = torch.zeros(size, dtype=torch.uint8)
        if self.leads and data:
            shared.copy_(torch.frombuffer(bytearray(data), dtype=torch.uint8))
        with watched():
            dist.broadcast(shared, 0)
        return shared.numpy().tobytes()


PERSONAL = ("carry.", "random.", "rank")


def personal(state: TrainingState) -> Tensors:
    """The tensors of a state that every process has for itself."""
    return {k: v for k, v in state.tensors().items() if k.startswith(("carry.", "random."))}


@contextmanager
def watched() -> Iterator[None]:
    """Turn a broken connection into an error that says that a process died."""
    try:
        yield
    except RuntimeError as error:  # DistBackendError and gloo's connection errors are this
        raise WorkerDiedError(
            "a worker process of this training has ended",
            hint="`rnnctl train --resume RUN` continues from the last checkpoint",
        ) from error


@contextmanager
def threads(number: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(max(before, number))
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def joined(rank: int, size: int, device: torch.device, store: Any) -> Iterator[Together]:
    """Join the others, who meet at `store`, or where `torchrun` says."""
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=TIMEOUT)
    try:
        yield Together(rank, size, device)
    finally:
        dist.destroy_process_group()


def launched() -> tuple[int, int] | None:
    """(rank, size) when `torchrun` started this process as one of several; None otherwise."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return None
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    return (rank, size) if size > 1 else None


# -- starting the others, and following ----------------------------------------------------------

HOST = "127.0.0.1"
MEETING = timedelta(minutes=5)
_LAST_WORDS_S = 10.0


@contextmanager
def team(prepared: Prepared, replay: Replay | None) -> Iterator[Together | Alone]:
    """The processes that train `prepared` together, this one leading.

    WorkerDiedError, also out of the body, when one of them is gone.
    """
    workers = prepared.config.training.workers
    started_by_torchrun = launched()
    if workers == 1:
        yield Alone()
        return
    device = prepared.arithmetic.device
    if started_by_torchrun is not None:
        with joined(*started_by_torchrun, device, None) as together:
            _introduce(together, prepared, replay)
            yield together
        return
    # Without a network the loopback interface is all there is, and all that is needed.
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo" if sys.platform == "linux" else "")
    store = TCPStore(HOST, 0, workers, is_master=True, wait_for_workers=False, timeout=MEETING)
    followers = [_start(rank, workers, store.port) for rank in range(1, workers)]
    done = False
    try:
        _wait_for(followers, store)
        with joined(0, workers, device, store) as together:
            _introduce(together, prepared, replay)
            yield together
        done = True
    except WorkerDiedError as error:
        raise WorkerDiedError(_obituary(followers), hint=error.hint) from error
    finally:
        _end(followers, done=done)


def crowded(workers: int, threads: int, device: torch.device) -> str:
    """What to say where the workers of this machine are more than its cores; "" where not.

    `threads`: those of each worker.
    """
    cores = available_cores()
    here = workers > 1 and device.type == "cpu" and launched() is None
    if not here or workers * threads <= cores:
        return ""
    return (
        f"{plural(workers, 'worker')} of {plural(threads, 'thread')} share "
        f"{plural(cores, 'core')} and wait for each other; training is fastest with as many "
        "threads in total as cores"
    )


def _start(rank: int, size: int, port: int) -> subprocess.Popen[bytes]:
    """A follower, out of reach of the terminal's signals: those are the leader's business.

    It does not outlive this process, see `_leave_with_the_leader`.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": _python_path()}
    with _stopping_waits():
        return subprocess.Popen(  # noqa: S603 - this very program
            [sys.executable, "-m", "rnnctl.training.workers", str(rank), str(size), str(port)],
            stdin=subprocess.PIPE,  # never written to: it closes when the leader is gone
            stdout=subprocess.DEVNULL,
            env=environment,
            process_group=None if os.name == "nt" else 0,
        )


@contextmanager
def _stopping_waits() -> Iterator[None]:
    """Signals that stop a training wait meanwhile, here and in a process that is started.

    Until it has a process group of its own, a signal of the terminal would end a new follower. It
    hears none before `follow` ignores them.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _python_path() -> str:
    package = str(Path(__file__).parents[2])
    return os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH", "")]))


def _wait_for(followers: list[subprocess.Popen[bytes]], store: Any) -> None:
    """Until all are there. WorkerDiedError if one ends before."""
    names = [f"here{rank}" for rank in range(1, len(followers) + 1)]
    while not store.check(names):
        if not _all_run(followers):
            raise WorkerDiedError("", hint="see its message above")
        time.sleep(0.02)


def _all_run(followers: list[subprocess.Popen[bytes]]) -> bool:
    return all(process.poll() is None for process in followers)


def _obituary(followers: list[subprocess.Popen[bytes]]) -> str:
    """Who died, and how; a connection may break a moment before the process is gone."""
    deadline = time.monotonic() + 1.0
    while _all_run(followers) and time.monotonic() < deadline:
        time.sleep(0.01)
    for rank, process in enumerate(followers, 1):
        if process.returncode is not None:
            code = process.returncode
            how = f"signal {-code}" if code < 0 else f"exit code {code}"
            return f"worker {rank} of this training has died ({how})"
    return "a worker process of this training has ended"


def _end(followers: list[subprocess.Popen[bytes]], *, done: bool) -> None:
    """No orphans: followers end by themselves when the training is done, or are ended."""
    if not done:
        _dismiss(followers)
    deadline = time.monotonic() + _LAST_WORDS_S
    for process in followers:
        try:
            process.wait(timeout=max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    _dismiss(followers)


def _dismiss(followers: list[subprocess.Popen[bytes]]) -> None:
    """Let them end at once, whatever they wait for; see `_leave_with_the_leader`."""
    for process in followers:
        if process.stdin is not None:
            process.stdin.close()


def _introduce(together: Together, prepared: Prepared, replay: Replay | None) -> None:
    """Tell the followers what is trained on which ids."""
    told = {
        "config": prepared.config.model_dump_json(),
        "engine": prepared.model.recurrent.engine,
        "frozen_rows": prepared.model.frozen_rows.tolist(),
        "tokenizer": to_bytes(prepared.tokenizer.to_dict()).decode("utf-8"),
        "store": str(prepared.store.path.absolute()),
        "fingerprint": prepared.store.fingerprint,
        "progress": None if replay is None else replay.progress,
        "evaluations": None if replay is None else sorted(replay.evaluations),
    }
    together.tell(json.dumps(told).encode())
    # Every follower answers by agreeing: with the wrong text it leaves, which is noticed here.
    together.agree([0.0])


def follow(rank: int, size: int, store: Any) -> None:
    """Take part in a training as one that does not lead, until it ends."""
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)  # see `_stopping_waits`
    set_threads(1 if store is not None else None)
    with joined(rank, size, torch.device("cpu"), store) as together:
        told = json.loads(together.tell(b""))
        config = RunConfig.model_validate_json(told["config"])
        arithmetic = find_arithmetic(
            config.training.device, config.training.precision, insist=False
        )
        tokenizer = from_bytes(told["tokenizer"].encode())
        ids = _ids(config, tokenizer, Path(told["store"]), told["fingerprint"])
        torch.manual_seed(config.training.seed)
        model = build_model(
            config.model,
            vocab_size=tokenizer.vocab_size,
            num_classes=len(ids.label_names),
            engine=told["engine"],
        ).to(arithmetic.device)
        if told["frozen_rows"]:
            model.freeze_rows(np.array(told["frozen_rows"], np.int64))
        work = find_task(config.model.task).load()
        task = work.begin(config, tokenizer, ids, model, arithmetic, rank=rank)
        together.agree([0.0])
        replay = None
        if told["progress"] is not None:
            replay = Replay(tuple(told["progress"]), frozenset(told["evaluations"]))
        _take_part(config, task, together, replay)


def _ids(config: RunConfig, tokenizer: Tokenizer, path: Path, fingerprint: str) -> Store:
    """The leader's store if it is on this machine, or one made from the same text."""
    store = open_store(path)
    if store is None:
        corpus = open_corpus(config.corpus, task=config.model.task, cache=cache_directory())
        store = stored(corpus, tokenizer, config)
    if store.fingerprint != fingerprint:
        raise RunError(
            "the corpus on this machine differs from the one that the first process reads"
        )
    return store


def _take_part(config: RunConfig, task: Task, together: Together, replay: Replay | None) -> None:
    settings = config.training
    state = TrainingState.begin(task, settings)
    together.share(state)
    plan = Schedule(settings, task.units_per_epoch, task.counts_documents, replay)

    def save(state: TrainingState) -> str:
        together.gather(state)
        return ""

    try:
        for _ in Loop(state, plan, save, team=together).run():
            pass
    except TrainingInterrupted:
        pass
    save(state)


def follow_torchrun() -> bool:
    """Take part if `torchrun` started this process as a follower; whether it did."""
    place = launched()
    if place is None or place[0] == 0:
        return False
    follow(*place, None)
    return True


def _leave_with_the_leader() -> None:
    """End this process when the other end of its standard input is gone, whatever it waits for.

    Processes that meet, or are about to, wait for minutes for one that was killed.
    """
    while os.read(0, 1):  # not through `sys.stdin`, whose lock the interpreter needs at its end
        pass
    os._exit(1)


def main(arguments: list[str]) -> int:
    """`python -m rnnctl.training.workers RANK SIZE PORT`: a follower that a leader started."""
    threading.Thread(target=_leave_with_the_leader, daemon=True).start()
    rank, size, port = map(int, arguments)
    store = TCPStore(HOST, port, size, is_master=False, timeout=MEETING)
    store.set(f"here{rank}", "1")
    try:
        follow(rank, size, store)
    except WorkerDiedError:
        return 1  # the leader is gone, or will say why
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
