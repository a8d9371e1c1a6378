"""Train the members of a plan, several at a time, in worker processes.

Why processes: a member that crashes, diverges or is killed takes nobody along; and two trainings
at a time in one process would share torch's threads. Workers times threads never exceed the cores,
since oversubscribing a recurrent net's many small products costs a factor of fifty. Every member is
a resumable run, so a grid that was killed continues where it was: finished members are skipped.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rnnctl.compare.collect import sections
from rnnctl.compare.plan import Planned, has_result
from rnnctl.errors import RunError, StorageError
from rnnctl.runs import Run
from rnnctl.runs.lock import is_held
from rnnctl.tasks.base import find_task

POLL_S = 0.25
PATIENCE_S = 60.0
"""How long a job waits for another process that writes its run.

The workers of a comparison that was killed save themselves and end: until then they hold their
members.
"""
GRACE_S = 10.0
"""How long an interrupted member may take to save itself."""
TAIL_BYTES = 4096


Kind = Literal["train", "diagnose"]


@dataclass(frozen=True)
class Job:
    """One command line for one member: to train it, or to measure what it remembers."""

    member: Planned
    kind: Kind = "train"

    @property
    def work(self) -> str:
        """The kind of work, for counting what is ahead: ``diagnose``, or the member's stage."""
        return self.kind if self.kind == "diagnose" else self.member.stage

    @property
    def title(self) -> str:
        """What a person reads in the progress."""
        return self.member.name if self.kind == "train" else f"diagnose {self.member.name}"

    def arguments(self, root: Path, threads: int) -> tuple[str, ...]:
        """What follows ``rnnctl`` on the command line."""
        if self.kind == "diagnose":
            return (*self.member.diagnosis(root), "--format", "json", "--quiet")
        more = ("--resume", "auto", "--threads", str(threads), "--format", "json")
        return (*self.member.command(root), *more)

    def is_done(self, root: Path) -> bool:
        """Whether its result is there already, and of a diagnosis all that is compared."""
        path = root / self.member.name
        if not has_result(path, self.kind):
            return False
        return self.kind == "train" or diagnosed(path)


@dataclass(frozen=True)
class Started:
    """A job begins, or goes on."""

    job: Job


@dataclass(frozen=True)
class Running:
    """A sign of life. `progress` in [0, 1] comes from the member's log; None before its first."""

    job: Job
    progress: float | None


@dataclass(frozen=True)
class Finished:
    """A job's result is there. `skipped` if it was there before."""

    job: Job
    seconds: float
    skipped: bool = False


@dataclass(frozen=True)
class Failed:
    """A job ended without a result; the others go on."""

    job: Job
    reason: str


GridEvent = Started | Running | Finished | Failed


Spawn = Callable[[dict[str, str]], subprocess.Popen[bytes]]


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
        # Workers answer on pipes of their own; threads bring all answers into one place to wait at.
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
        # An idle worker has torch imported already, which takes longer than many members train.
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
                # The same signal as Ctrl-C: the training saves a checkpoint and ends, to be resumed
                # later.
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


def workers_and_threads(cores: int, *, jobs: int | None, serial: bool) -> tuple[int, int]:
    """How many members at a time and threads for each; their product is at most `cores`.

    Small recurrent nets gain little from a second thread, so members get one thread each, unless
    they must run one after another.
    """
    if serial:
        return 1, max(1, cores)
    workers = max(1, min(jobs or cores, cores))
    return workers, max(1, cores // workers)


def diagnosed(path: Path) -> bool:
    """Whether a run's diagnosis has every usual measurement."""
    try:
        return find_task(Run.open(path).config.model.task).diagnostics <= sections(path)
    except RunError:
        return False


def run_all(
    jobs: Sequence[Job],
    root: Path,
    *,
    workers: int,
    threads: int,
    spawn: Spawn | None = None,
    poll_s: float = POLL_S,
    patience_s: float = PATIENCE_S,
) -> Iterator[GridEvent]:
    """Do what is not done yet and tell what happens. Closing the iterator stops the members.

    A job whose run another process is writing waits for it, at most `patience_s` once no other
    can be begun. `spawn` starts a worker process with an environment; tests put their own
    in. Raises StorageError when `root` cannot be written.
    """
    done = {job: job.is_done(root) for job in jobs}
    yield from (Finished(job, 0.0, skipped=True) for job in jobs if done[job])
    waiting = [job for job in jobs if not done[job]]
    pool = Pool(min(workers, len(waiting)), spawn or spawn_worker, limited_environment(threads))
    patience = Patience(patience_s)
    try:
        while waiting or pool.busy:
            while pool.has_room and (job := patience.next(waiting, root)):
                waiting.remove(job)
                if job.is_done(root):  # by the process that was waited for
                    yield Finished(job, 0.0, skipped=True)
                    continue
                pool.submit(job, job.arguments(root, threads), _log_file(root, job))
                yield Started(job)
            for ended in pool.wait(poll_s):
                yield _ended(ended, root)
            for job in pool.busy:
                yield Running(job, _progress(root / job.member.name))
    finally:
        pool.stop()


class Patience:
    """Which job is next: the first whose run nobody else writes; after a while any."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._since: float | None = None

    def next(self, waiting: Sequence[Job], root: Path) -> Job | None:
        """None where every run is held and there is patience left, or nothing waits."""
        free = next((job for job in waiting if not is_held(root / job.member.name)), None)
        if free is not None or not waiting:
            self._since = None
            return free
        now = time.monotonic()
        self._since = now if self._since is None else self._since
        return waiting[0] if now - self._since >= self._seconds else None


def _log_file(root: Path, job: Job) -> Path:
    log = root / "logs" / f"{job.title.replace(' ', '-')}.txt"
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_bytes(b"")
    except OSError as problem:
        raise StorageError(f"cannot write {log}: {problem.strerror}") from problem
    return log


def limited_environment(threads: int) -> dict[str, str]:
    """This process's environment with every thread pool limited."""
    count = str(threads)
    # All three: the pool that was forgotten would start a thread for each core in every worker.
    limits = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), count)
    # What members say goes into files, in which their errors are looked for.
    return {**os.environ, **limits, "NO_COLOR": "1", "COLUMNS": "100"}


def _progress(path: Path) -> float | None:
    """Progress in the newest whole line of a run's log, read from its end."""
    try:
        with (path / "log.jsonl").open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - TAIL_BYTES))
            lines = file.read().split(b"\n")
    except OSError:
        return None
    for line in reversed(lines):
        try:
            progress = json.loads(line).get("progress")
        except (ValueError, AttributeError):
            continue  # the first line of the tail may be cut, the last one torn
        if isinstance(progress, (int, float)):
            return min(1.0, float(progress))
    return None


def _ended(one: Ended, root: Path) -> Finished | Failed:
    # An exit code of 0 alone is no result: a command that was told to stop at once ends so, too.
    if one.code == 0 and one.job.is_done(root):
        return Finished(one.job, one.seconds)
    return Failed(one.job, last_error(one.log, one.code))


def last_error(log: Path, code: int | None) -> str:
    """Why a member ended: its own "error: …" line, the last one it wrote, or its exit code."""
    text = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    if errors:
        return errors[-1]
    if code is not None and code < 0:
        return f"killed by signal {-code}"
    return lines[-1] if lines else f"ended with exit code {code} and without a result"
