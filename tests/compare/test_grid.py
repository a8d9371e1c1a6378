"""Members as processes: how many at a time, what is skipped, what a failure does."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnctl.compare import grid
from rnnctl.compare.grid import Failed, Finished, Job, Running, Started, run_all
from rnnctl.compare.plan import Planned
from rnnctl.config import RunConfig
from rnnctl.errors import RunError
from rnnctl.runs import Run
from rnnctl.tasks.base import find_task


def _member(name: str, **more: Any) -> Planned:
    return Planned(name, "row", "rnn", "good", 0, 8, 0.01, more.pop("stage", "text"), ("corpus",))


def _finish(path: Path) -> None:
    class Nothing:
        def model_dump(self, mode: str) -> dict[str, Any]:
            return {}

    run = Run.create(path, RunConfig())
    run.write_result("train", Nothing())  # type: ignore[arg-type]
    run.commit(finished=True)


WORKER = """
import json, os, signal, sys, time
from pathlib import Path
sys.path.insert(0, {root!r})
from rnnctl.config import RunConfig
from rnnctl.runs import Run
class Nothing:
    def model_dump(self, mode):
        return dict()
behave = json.loads({behave!r})
for line in sys.stdin:
    request = json.loads(line)
    words = request["arguments"]
    path = Path(words[words.index("--run") + 1])
    todo = behave.get(path.name, "finish")
    if todo == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if todo == "sleep":
        time.sleep(60)
    if todo == "fail":
        Path(request["log"]).write_text("noise\\nerror: no such corpus\\n\\nhint: x\\n")
    if todo == "finish":
        run = Run.create(path, RunConfig())
        run.write_result("train", Nothing())
        run.commit(finished=True)
    print(1 if todo == "fail" else 0, flush=True)
"""


class Spawner:
    """Starts workers that finish (or fail, or die) in the place of training."""

    def __init__(self, **behave: str) -> None:
        root = str(Path(grid.__file__).parents[2])
        self.code = WORKER.format(root=root, behave=json.dumps(behave))
        self.environments: list[dict[str, str]] = []
        self.alive: list[subprocess.Popen[bytes]] = []

    def __call__(self, env: dict[str, str]) -> subprocess.Popen[bytes]:
        self.environments.append(env)
        process = subprocess.Popen(
            [sys.executable, "-c", self.code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self.alive.append(process)
        return process


@given(st.integers(1, 64), st.one_of(st.none(), st.integers(1, 100)), st.booleans())
def test_workers_times_threads_never_exceed_the_cores(
    cores: int, jobs: int | None, serial: bool
) -> None:
    workers, threads = grid.workers_and_threads(cores, jobs=jobs, serial=serial)
    assert 1 <= workers * threads <= cores
    assert not serial or workers == 1
    assert jobs is None or workers <= jobs


def _run(jobs: list[Job], root: Path, spawn: Spawner, workers: int = 1) -> list[Any]:
    return list(run_all(jobs, root, workers=workers, threads=3, spawn=spawn, poll_s=0.05))


def _jobs(*names: str) -> list[Job]:
    return [Job(_member(name)) for name in names]


def test_all_are_trained_a_few_at_a_time_with_limited_threads(tmp_path: Path) -> None:
    spawn = Spawner()
    events = _run(_jobs("a", "b", "c", "d", "e"), tmp_path, spawn, workers=2)
    finished = [event.job.member.name for event in events if isinstance(event, Finished)]
    assert sorted(finished) == ["a", "b", "c", "d", "e"]
    assert len(spawn.alive) == 2  # two workers do all five
    running = 0
    for event in events:
        running += isinstance(event, Started) - isinstance(event, (Finished, Failed))
        assert running <= 2
    env = spawn.environments[0]
    assert {env[f"{pool}_NUM_THREADS"] for pool in ("OMP", "MKL", "NUMBA")} == {"3"}
    assert all(process.poll() == 0 for process in spawn.alive)


def test_a_member_is_trained_by_the_command_that_a_person_would_give(tmp_path: Path) -> None:
    arguments = Job(_member("m")).arguments(tmp_path, 3)
    assert arguments[:2] == ("train", "corpus")
    assert arguments[arguments.index("--threads") + 1] == "3"
    assert arguments[arguments.index("--resume") + 1] == "auto"
    assert arguments[arguments.index("--run") + 1] == str(tmp_path / "m")


def test_what_is_there_is_skipped_so_a_killed_grid_goes_on(tmp_path: Path) -> None:
    _finish(tmp_path / "a")
    events = _run(_jobs("a", "b"), tmp_path, Spawner(a="kill"))
    assert [e.skipped for e in events if isinstance(e, Finished)] == [True, False]
    assert sum(isinstance(event, Started) for event in events) == 1


def _held(path: Path, seconds: float) -> subprocess.Popen[bytes]:
    """A process that writes a run, trains it to its end, and goes away after so many seconds."""
    code = (
        f"import select, sys\nsys.path.insert(0, {str(Path(grid.__file__).parents[2])!r})\n"
        "from rnnctl.runs import Run\n"
        "run = Run.open(sys.argv[1])\n"
        "with run.lock():\n"
        " print('held', flush=True)\n"
        f" select.select([], [], [], {seconds})\n"
        " run.commit(finished=True)\n"
    )
    owner = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE)
    assert owner.stdout is not None
    assert owner.stdout.readline() == b"held\n"
    return owner


def _begun(path: Path) -> None:
    _finish(path)
    Run.open(path).commit(finished=False)


def test_a_run_that_a_dying_worker_still_writes_is_waited_for(tmp_path: Path) -> None:
    """As after SIGKILL: the old workers save themselves while the same command runs again."""
    _begun(tmp_path / "a")
    with _held(tmp_path / "a", 1.0):
        events = _run(_jobs("a", "b"), tmp_path, Spawner(a="fail"))
    over = [(e.job.member.name, e.skipped) for e in events if isinstance(e, Finished)]
    assert over == [("b", False), ("a", True)]  # the others first, then what became of it
    assert not any(isinstance(event, Failed) for event in events)


def test_patience_with_another_writer_has_an_end(tmp_path: Path) -> None:
    _begun(tmp_path / "a")
    owner = _held(tmp_path / "a", 60.0)
    with owner:
        spawn = Spawner(a="fail")
        events = list(
            run_all(_jobs("a"), tmp_path, workers=1, threads=1, spawn=spawn, poll_s=0.05,
                    patience_s=0.2)
        )  # fmt: skip
        owner.kill()
    assert isinstance(events[-1], Failed)


def test_nothing_to_do_starts_nothing(tmp_path: Path) -> None:
    _finish(tmp_path / "a")
    spawn = Spawner()
    _run(_jobs("a"), tmp_path, spawn)
    assert spawn.alive == []


def test_a_failure_is_told_with_its_reason_and_takes_nobody_along(tmp_path: Path) -> None:
    events = _run(_jobs("a", "b", "c"), tmp_path, Spawner(b="fail"))
    (failed,) = [event for event in events if isinstance(event, Failed)]
    assert (failed.job.member.name, failed.reason) == ("b", "no such corpus")
    assert sum(isinstance(event, Finished) for event in events) == 2


def test_a_killed_member_names_the_signal_and_the_next_gets_a_new_worker(tmp_path: Path) -> None:
    spawn = Spawner(a="kill")
    events = _run(_jobs("a", "b"), tmp_path, spawn)
    (failed,) = [event for event in events if isinstance(event, Failed)]
    assert (failed.job.member.name, failed.reason) == ("a", "killed by signal 9")
    (finished,) = [event for event in events if isinstance(event, Finished)]
    assert finished.job.member.name == "b"
    assert len(spawn.alive) == 2


def test_success_without_a_result_is_a_failure(tmp_path: Path) -> None:
    events = _run(_jobs("a"), tmp_path, Spawner(a="nothing"))
    assert isinstance(events[-1], Failed)


def test_stopping_stops_the_members(tmp_path: Path) -> None:
    spawn = Spawner(a="sleep", b="sleep")
    events: Iterator[Any] = run_all(
        _jobs("a", "b", "c"), tmp_path, workers=2, threads=1, spawn=spawn, poll_s=0.05
    )
    kinds = []
    for event in events:
        kinds.append(type(event))
        if isinstance(event, Running):
            break
    events.close()  # type: ignore[attr-defined]
    assert kinds.count(Started) == 2
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


@pytest.mark.usefixtures("any_content")
@pytest.mark.parametrize("missing", ["", "use", "reach"])
def test_a_diagnosis_of_a_part_is_not_what_a_comparison_needs(tmp_path: Path, missing: str) -> None:
    class Parts:
        def model_dump(self, mode: str) -> dict[str, Any]:
            return {name: {"status": "ok"} for name in find_task("lm").diagnostics - {missing}}

    _finish(tmp_path / "m")
    Run.open(tmp_path / "m").write_result("diagnose", Parts())  # type: ignore[arg-type]
    assert Job(_member("m"), "diagnose").is_done(tmp_path) == (not missing)
