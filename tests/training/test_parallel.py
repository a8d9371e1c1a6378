"""Several processes do what one does: the same losses, and the same promises."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch

from rnnctl.config import ModelConfig, RunConfig, TrainingConfig
from rnnctl.data.ids import SplitIds
from rnnctl.errors import UsageError
from rnnctl.machine import Arithmetic
from rnnctl.runs import Run
from rnnctl.tasks.language_model import LanguageModelTask
from rnnctl.tasks.loading import build_model
from rnnctl.training import workers as parallel
from rnnctl.training.events import Step
from rnnctl.training.state import TrainingState, snapshot
from rnnctl.training.train import Options, train
from rnnctl.training.workers import WorkerDiedError, crowded

Settings = Callable[..., RunConfig]
Follow = Callable[..., list[Any]]
ROOT = Path(__file__).parents[2]


def losses(run: Path) -> list[float]:
    return [event["loss_nats"] for event in Run.open(run).log() if event["event"] == "step"]


def without_dropout(config: RunConfig) -> RunConfig:
    none = {"dropout_output": 0.0, "dropout_embedding": 0.0, "dropout_input": 0.0}
    model = config.model.model_copy(update=none)
    return config.model_copy(update={"model": model})


def followers() -> list[psutil.Process]:
    """Those that still run: a child may end between being listed and being asked."""
    found = []
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if "rnnctl.training.workers" in child.cmdline():
                found.append(child)
    return found


def test_two_processes_give_the_losses_of_one(
    settings: Settings, follow: Follow, tmp_path: Path
) -> None:
    one = without_dropout(settings(steps=8, checkpoint_every_s=1000))
    follow(one, tmp_path / "one")
    two = without_dropout(settings(steps=8, workers=2, checkpoint_every_s=1000))
    follow(two, tmp_path / "two")
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=1e-6)
    assert followers() == []


def begun(workers: int, batch_size: int = 4) -> TrainingState:
    """A training of a tiny model before its first step."""
    settings = TrainingConfig(batch_size=batch_size, workers=workers, steps=9, bptt=8)
    none = np.zeros(1, np.int64)
    counts = dict.fromkeys(("chars", "bytes", "words", "unknown"), none)
    ids, offsets = np.ones(400, np.int32), np.array([0, 400])
    split = SplitIds(
        ids=ids, offsets=offsets, labels=None, unknown_nats=none * 1.0, running=True, **counts
    )
    size = ModelConfig(hidden_size=4, embedding_size=4)
    task = LanguageModelTask(
        build_model(size, vocab_size=10),
        split,
        split,
        settings,
        Arithmetic(torch.device("cpu"), False),
        boundary_id=0,
        by_document=False,
    )
    return TrainingState.begin(task, settings)


def continued(state: TrainingState, workers: int, batch_size: int = 4) -> TrainingState:
    """The same training from what `state` saves, by that many processes."""
    after = begun(workers, batch_size)
    after.load(snapshot(state.task.model), state.tensors(), state.values())
    return after


def test_what_each_process_had_is_kept_for_as_many_processes_and_streams_only() -> None:
    two = begun(2)
    two.personal = {f"rank{rank}.carry.0": torch.ones(1, 2, 4) for rank in range(2)}
    assert continued(two, 2).personal.keys() == two.personal.keys()
    assert continued(two, 1).personal == {}
    assert continued(continued(two, 1), 2).personal == {}
    assert continued(two, 2, batch_size=8).personal == {}


@pytest.mark.timeout(120)
def test_a_batch_of_fewer_documents_than_processes_is_counted_by_all_of_them(
    settings: Settings, follow: Follow, tmp_path: Path
) -> None:
    """Who counts less is slower, learns at another rate, and waits for the others for ever."""
    config = without_dropout(settings("classify", steps=None, epochs=3, batch_size=239))
    follow(config, tmp_path / "one")
    two = config.training.model_copy(update={"workers": 2})
    follow(config.model_copy(update={"training": two}), tmp_path / "two")
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=1e-5)
    assert followers() == []


LEADER = """
import sys, time
from rnnctl.training.workers import _start
print(_start(1, 2, int(sys.argv[1])).pid, flush=True)
time.sleep(600)
"""


def test_a_process_does_not_outlive_the_leader_that_it_waits_for() -> None:
    """Nobody listens where they would meet: it would try for minutes."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        command = [sys.executable, "-c", LEADER, str(silent.getsockname()[1])]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as leader:
            assert leader.stdout is not None
            follower = psutil.Process(int(leader.stdout.readline()))
            leader.kill()
        assert psutil.wait_procs([follower], timeout=60)[1] == []


@pytest.mark.slow
def test_with_dropout_the_masks_differ_and_resuming_is_still_exact(
    settings: Settings, follow: Follow, tmp_path: Path
) -> None:
    for kind in ("lm", "classify"):
        config = settings(kind, steps=8, workers=2)
        follow(config, tmp_path / f"{kind}-whole")
        path = tmp_path / f"{kind}-parts"
        follow(config, path, until=lambda e: isinstance(e, Step) and e.step == 5)
        follow(config, path, Options(resume=True))
        assert losses(path) == losses(tmp_path / f"{kind}-whole")


@pytest.mark.parametrize("checkpoint_every_s", [1e-9, 1000.0])
def test_a_worker_that_dies_ends_the_training_with_a_run_that_can_be_resumed(
    settings: Settings, tmp_path: Path, checkpoint_every_s: float
) -> None:
    """Whether the others wait for its message, as when saving, or watch for its gradients."""
    config = settings(steps=40, workers=2, checkpoint_every_s=checkpoint_every_s)
    work = train(config, tmp_path / "run")
    with pytest.raises(WorkerDiedError, match=r"worker 1 .*signal 9") as caught:
        for event in work:
            if isinstance(event, Step) and event.step == 5:
                (other,) = followers()
                other.send_signal(signal.SIGKILL)
    assert "--resume" in caught.value.hint
    assert followers() == []
    run = Run.open(tmp_path / "run")
    assert (run.current.newest is not None) == (checkpoint_every_s < 1)
    assert run.verify() == []


def test_the_one_of_several_workers_that_died_is_named(settings: Settings, tmp_path: Path) -> None:
    config = settings(steps=4000, workers=3, batch_size=6, checkpoint_every_s=1000)
    work = train(config, tmp_path / "run")
    next(event for event in work if isinstance(event, Step) and event.step == 5)
    (last,) = (p for p in followers() if p.cmdline()[-3] == "2")
    last.kill()
    with pytest.raises(WorkerDiedError, match=r"worker 2 .*signal 9"):
        list(work)
    assert followers() == []


def test_an_abandoned_training_leaves_no_process_waiting(
    settings: Settings, tmp_path: Path
) -> None:
    """The others watch for a meeting that does not come; they are told, not waited for."""
    work = train(settings(steps=4000, workers=2, checkpoint_every_s=1000), tmp_path / "run")
    next(event for event in work if isinstance(event, Step) and event.step == 5)
    begin = time.monotonic()
    work.close()
    assert followers() == []
    assert time.monotonic() - begin < parallel._LAST_WORDS_S / 2


def test_a_batch_that_cannot_be_shared_is_refused(settings: Settings) -> None:
    with pytest.raises(UsageError, match="share a batch of 4"):
        settings(workers=3)


def test_more_workers_than_cores_are_said_to_wait_for_each_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(parallel, "available_cores", lambda: 2)
    cpu = torch.device("cpu")
    assert "4 workers of 1 thread share 2 cores" in crowded(4, 1, cpu)
    assert crowded(2, 1, cpu) == crowded(1, 1, cpu) == ""


@pytest.mark.slow
def test_torchrun_on_two_ports_of_one_machine(
    settings: Settings, follow: Follow, tmp_path: Path, text_file: Path
) -> None:
    """Two `torchrun`s of one process each, as on two machines, train what one process trains."""
    one = without_dropout(settings(steps=8))
    follow(one, tmp_path / "one")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    training = ["--run", str(tmp_path / "two")]
    training += [str(text_file), "--split", "80/10/10", "--hidden-size", "12", "--quiet"]
    training += ["--embedding-size", "8", "--steps", "8", "--batch-size", "4", "--bptt", "16"]
    training += ["--evaluate-every", "4", "--precision", "fp32", "--seed", "5", "--no-diagnose"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    nodes = []
    for rank in range(2):
        command = [sys.executable, "-m", "torch.distributed.run", "--nnodes", "2"]
        command += ["--node-rank", str(rank), "--nproc-per-node", "1"]
        command += ["--master-addr", "127.0.0.1", "--master-port", str(port)]
        command += ["-m", "--", "rnnctl", "train", *training]
        nodes.append(subprocess.Popen(command, env=environment, stderr=subprocess.PIPE))
    try:
        ends = [node.communicate(timeout=200)[1].decode() for node in nodes]
    finally:
        for node in nodes:
            node.kill()
    assert [node.returncode for node in nodes] == [0, 0], ends
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=1e-6)
