"""Worker processes that run one command line after another, and survive each other."""

from __future__ import annotations

import contextlib
import json
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rnnctl.compare.grid import Job

GRACE_S = 10.0
"""How long an interrupted member may take to save itself."""

Spawn = Callable[[dict[str, str]], "subprocess.Popen[bytes]"]


@dataclass(frozen=True)
class Ended:
    """A job is over. `code` is the command's exit code, or minus the signal that killed it."""

    job: Job
    code: int
    seconds: float
    log: Path


@dataclass(eq=False)
class _Worker:
    process: subprocess.Popen[bytes]
    job: Job | None = None
    log: Path = Path()
    began: float = 0.0
    listener: threading.Thread | None = None


def spawn_worker(env: dict[str, str]) -> subprocess.Popen[bytes]:
    """A process that answers command lines (see `rnnctl.cli.worker`)."""
    # A session of its own: Ctrl-C reaches us alone, and we pass it on and wait.
    return subprocess.Popen(
        [sys.executable, "-m", "rnnctl.cli.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=env,
        start_new_session=True,
    )


class Pool:
    """At most `size` workers. One that dies fails its own job and is replaced for the next."""

    def __init__(self, size: int, spawn: Spawn, env: dict[str, str]) -> None:
        self._size, self._spawn, self._env = size, spawn, env
        self._workers: list[_Worker] = []
        self._answers: queue.SimpleQueue[tuple[_Worker, int | None]] = queue.SimpleQueue()

    @property
    def busy(self) -> list[Job]:
        """The jobs that are being done."""
        return [worker.job for worker in self._workers if worker.job is not None]

    @property
    def has_room(self) -> bool:
        """Whether another job can be begun at once."""
        return len(self.busy) < self._size

    def submit(self, job: Job, arguments: Sequence[str], log: Path) -> None:
        """Begin a job; there must be room for it."""
        worker = next((one for one in self._workers if one.job is None), None) or self._new()
        worker.job, worker.log, worker.began = job, log, time.monotonic()
        request = json.dumps({"arguments": list(arguments), "log": str(log.resolve())}) + "\n"
        assert worker.process.stdin is not None
        # If it died while idle, its listener says so, and the job counts as killed.
        with contextlib.suppress(OSError):
            worker.process.stdin.write(request.encode("utf-8"))
            worker.process.stdin.flush()

    def _new(self) -> _Worker:
        worker = _Worker(self._spawn(self._env))
        self._workers.append(worker)
        worker.listener = threading.Thread(target=self._listen, args=(worker,), daemon=True)
        worker.listener.start()
        return worker

    def _listen(self, worker: _Worker) -> None:
        """Hand on every answer of a worker; None when it has ended."""
        assert worker.process.stdout is not None
        with worker.process.stdout as answers:
            for line in answers:
                self._answers.put((worker, int(line)))
        self._answers.put((worker, None))

    def wait(self, seconds: float) -> list[Ended]:
        """Jobs that ended, after at most `seconds`."""
        ended: list[Ended] = []
        while True:
            try:
                worker, code = self._answers.get(timeout=0 if ended else seconds)
            except queue.Empty:
                return ended
            if code is None:
                self._workers.remove(worker)
                _close(worker.process)
                code = worker.process.wait()
            if worker.job is not None:
                seconds_taken = time.monotonic() - worker.began
                ended.append(Ended(worker.job, code, seconds_taken, worker.log))
                worker.job = None

    def stop(self) -> None:
        """Let idle workers end; interrupt the others, give them time to save, then kill them."""
        for worker in self._workers:
            _close(worker.process)
            if worker.job is not None and worker.process.poll() is None:
                worker.process.send_signal(signal.SIGINT)
        limit = time.monotonic() + GRACE_S
        for worker in self._workers:
            try:
                worker.process.wait(timeout=max(0.1, limit - time.monotonic()))
            except subprocess.TimeoutExpired:
                worker.process.kill()
                worker.process.wait()
            if worker.listener is not None:
                worker.listener.join(GRACE_S)


def _close(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    with contextlib.suppress(OSError):  # the worker may be gone already
        process.stdin.close()
