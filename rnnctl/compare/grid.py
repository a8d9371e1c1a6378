"""Train the members of a plan, several at a time, in worker processes.

Why processes: a member that crashes, diverges or is killed takes nobody along; and two trainings
at a time in one process would share torch's threads. Workers times threads never exceed the cores,
since oversubscribing a recurrent net's many small products costs a factor of fifty. Every member is
a resumable run, so a grid that was killed continues where it was: finished members are skipped.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rnnctl.compare.collect import USUAL, sections
from rnnctl.compare.plan import Planned
from rnnctl.compare.pool import Ended, Pool, Spawn, spawn_worker
from rnnctl.errors import RunError, StorageError
from rnnctl.runs import Run
from rnnctl.runs.lock import is_held

POLL_S = 0.25
PATIENCE_S = 60.0
"""How long a job waits for another process that writes its run.

The workers of a comparison that was killed save themselves and end: until then they hold their
members.
"""
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


def workers_and_threads(cores: int, *, jobs: int | None, serial: bool) -> tuple[int, int]:
    """How many members at a time and threads for each; their product is at most `cores`.

    Small recurrent nets gain little from a second thread, so members get one thread each, unless
    they must run one after another.
    """
    if serial:
        return 1, max(1, cores)
    workers = max(1, min(jobs or cores, cores))
    return workers, max(1, cores // workers)


def has_result(path: Path, name: str) -> bool:
    """Whether a run is there, trained to its end, and keeps a result of that name."""
    try:
        run = Run.open(path)
    except RunError:
        return False
    return run.current.finished and name in run.results()


def diagnosed(path: Path) -> bool:
    """Whether a run's diagnosis has every usual measurement."""
    try:
        return USUAL[Run.open(path).config.model.task] <= sections(path)
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
    pool = Pool(min(workers, len(waiting)), spawn or spawn_worker, environment(threads))
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


def environment(threads: int) -> dict[str, str]:
    """This process's environment with every thread pool limited."""
    count = str(threads)
    limits = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), count)
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
