"""Members as processes: how many at a time, what is skipped, what a failure does."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnctl.compare import grid
from rnnctl.compare.grid import Failed, Finished, Job, Running, Started, run_all
from rnnctl.compare.plan import Planned
from rnnctl.config import RunConfig
from rnnctl.errors import RunError
from rnnctl.runs import Run


def _member(name: str, **more: Any) -> Planned:
    return Planned(name, "row", "rnn", "good", 0, 8, 0.01, more.pop("stage", "text"), ("corpus",))


def _finish(path: Path) -> None:
    class Nothing:
        def model_dump(self, mode: str) -> dict[str, Any]:
            return {}

    run = Run.create(path, RunConfig())
    run.write_result("train", Nothing())  # type: ignore[arg-type]
    run.commit(finished=True)


class Spawner:
    """Starts harmless processes in the place of trainings."""

    def __init__(self, root: Path, *, code: str = "", write: bool = True) -> None:
        self.root, self.code, self.write = root, code, write
        self.calls: list[tuple[list[str], dict[str, str]]] = []
        self.alive: list[subprocess.Popen[bytes]] = []
        self.most = 0

    def __call__(
        self, arguments: Sequence[str], output: IO[bytes], env: dict[str, str]
    ) -> subprocess.Popen[bytes]:
        self.calls.append((list(arguments), env))
        code = self.code
        name = Path(arguments[arguments.index("--run") + 1]).name
        if callable(self.code):
            code = self.code(name)
        if self.write and "raise" not in code and "kill" not in code:
            _finish(self.root / name)
        process = subprocess.Popen([sys.executable, "-c", code], stderr=output)
        self.alive.append(process)
        self.most = max(self.most, sum(one.poll() is None for one in self.alive))
        return process


@given(st.integers(1, 64), st.one_of(st.none(), st.integers(1, 100)), st.booleans())
def test_workers_times_threads_never_exceed_the_cores(
    cores: int, jobs: int | None, serial: bool
) -> None:
    workers, threads = grid.workers_and_threads(cores, jobs=jobs, serial=serial)
    assert 1 <= workers * threads <= cores
    assert not serial or workers == 1
    assert jobs is None or workers <= jobs


def test_all_are_trained_a_few_at_a_time_with_limited_threads(tmp_path: Path) -> None:
    spawn = Spawner(tmp_path, code="pass")
    jobs = [Job(_member(f"m{k}")) for k in range(5)]
    events = list(run_all(jobs, tmp_path, workers=2, threads=3, spawn=spawn, poll_s=0.01))
    finished = [event.job.member.name for event in events if isinstance(event, Finished)]
    assert sorted(finished) == [f"m{k}" for k in range(5)]
    assert spawn.most <= 2
    arguments, env = spawn.calls[0]
    assert arguments[1:4] == ["-m", "rnnctl", "train"]
    assert arguments[arguments.index("--threads") + 1] == "3"
    assert arguments[arguments.index("--resume") + 1] == "auto"
    assert {env[key] for key in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")} == {
        "3"
    }


def test_what_is_there_is_skipped_so_a_killed_grid_goes_on(tmp_path: Path) -> None:
    _finish(tmp_path / "m0")
    spawn = Spawner(tmp_path, code="pass")
    jobs = [Job(_member("m0")), Job(_member("m1"))]
    events = list(run_all(jobs, tmp_path, workers=1, threads=1, spawn=spawn, poll_s=0.01))
    assert [e.skipped for e in events if isinstance(e, Finished)] == [True, False]
    assert len(spawn.calls) == 1


WRITTEN = "noise\nerror: no such corpus\n\nhint: x\n"


def _failing(name: str) -> str:
    if name == "m1":
        return f"import sys; sys.stderr.write({WRITTEN!r}); raise SystemExit(1)"
    return "pass"


def test_a_failure_is_told_with_its_reason_and_takes_nobody_along(tmp_path: Path) -> None:
    spawn = Spawner(tmp_path)
    spawn.code = _failing  # type: ignore[assignment]
    jobs = [Job(_member(f"m{k}")) for k in range(3)]
    events = list(run_all(jobs, tmp_path, workers=1, threads=1, spawn=spawn, poll_s=0.01))
    (failed,) = [event for event in events if isinstance(event, Failed)]
    assert (failed.job.member.name, failed.reason) == ("m1", "no such corpus")
    assert sum(isinstance(event, Finished) for event in events) == 2


def test_a_killed_member_names_the_signal(tmp_path: Path) -> None:
    spawn = Spawner(tmp_path, code="import os; os.kill(os.getpid(), 9)")
    (event,) = [
        event
        for event in run_all([Job(_member("m"))], tmp_path, workers=1, threads=1, spawn=spawn)
        if isinstance(event, Failed)
    ]
    assert event.reason == "killed by signal 9"


def test_success_without_a_result_is_a_failure(tmp_path: Path) -> None:
    spawn = Spawner(tmp_path, code="pass", write=False)
    events = list(run_all([Job(_member("m"))], tmp_path, workers=1, threads=1, spawn=spawn))
    assert isinstance(events[-1], Failed)


def test_stopping_stops_the_members(tmp_path: Path) -> None:
    spawn = Spawner(tmp_path, code="import time; time.sleep(60)", write=False)
    jobs = [Job(_member(f"m{k}")) for k in range(4)]
    events: Iterator[Any] = run_all(jobs, tmp_path, workers=2, threads=1, spawn=spawn, poll_s=0.01)
    kinds = []
    for event in events:
        kinds.append(type(event))
        if isinstance(event, Running):
            break
    events.close()  # type: ignore[attr-defined]
    assert Started in kinds
    assert len(spawn.alive) == 2
    assert all(process.poll() is not None for process in spawn.alive)


def test_progress_is_read_from_the_end_of_the_log(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    assert grid._progress(tmp_path) is None
    log.write_text('{"event": "step", "progress": 0.25, "crc": "x"}\n{"event": "eval"}\n{"pro')
    assert grid._progress(tmp_path) == 0.25
    with log.open("a") as file:
        file.write("x" * 10_000 + "\n" + '{"progress": 0.5}\n')
    assert grid._progress(tmp_path) == 0.5


def test_the_reason_is_the_members_own_error(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    assert "exit code 3" in grid.last_error(log, 3)
    log.write_text("some line\n")
    assert grid.last_error(log, 1) == "some line"
    assert grid.last_error(log, -15) == "killed by signal 15"


def test_a_diagnosis_is_a_job_of_its_own(tmp_path: Path) -> None:
    job = Job(_member("m"), "diagnose")
    assert job.title == "diagnose m"
    assert job.arguments(tmp_path, 1)[:2] == ("diagnose", str(tmp_path / "m"))
    assert not job.is_done(tmp_path)
    with pytest.raises(RunError):
        Run.open(tmp_path / "m")
