"""SIGKILL at random instants: the run goes on bit for bit as if it had not been killed.

All 200 kills: `python tests/benchmarks/trust.py kills`; one part of ten is a test of its own,
`pytest -m slow "tests/training/test_kills.py::test_ten_kills[lm-1-0]"`.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from rnnctl.config import RunConfig
from rnnctl.runs import summarize

Settings = Callable[..., RunConfig]
Same = Callable[[Path, Path], None]
ALONE = [("lm", 3), ("sentiment", 3), ("paragraphs", 3), ("gru", 2), ("rnn", 2), ("words", 2)]
TOGETHER = [("lm", 2), ("sentiment", 2), ("gru", 1)]
PARTS = [(kind, 1, part) for kind, parts in ALONE for part in range(parts)]
PARTS += [(kind, 2, part) for kind, parts in TOGETHER for part in range(parts)]
KILLS_OF_A_PART = 10


SCRIPT = """
import sys
from pathlib import Path
from rnnctl.__main__ import main
from rnnctl.errors import RnnctlError
from rnnctl.runs.run import read_config
from rnnctl.workflow.train import Options, train
config, path = read_config(sys.argv[1]), Path(sys.argv[2])
print("ready", flush=True)
try:
    for event in train(config, path, Options(resume=path.exists())):
        pass
except RnnctlError as error:
    print(error.message, file=sys.stderr)
    sys.exit(1)
"""
FOLLOWER = "rnnctl.workflow.parallel"
PATIENCE_S = 600.0


@dataclass
class Killer:
    """Trains `config` below `folder`, again and again, each time killed once by `draw`."""

    config: RunConfig
    folder: Path
    draw: random.Random
    seconds: float = 0.0  # of an uninterrupted training

    def train_whole(self, path: Path) -> None:
        """Train without a kill and remember how long it takes."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "config.json").write_text(self.config.model_dump_json())
        process = self._start(path)
        begin = time.monotonic()
        self._end(process)
        self.seconds = time.monotonic() - begin

    def kill_and_resume(self, path: Path) -> str:
        """Kill one process of a training at a random instant, then train to the end.

        Returns what the kill left: no run, or the run's state.
        """
        while not self._killed(path):  # it had finished before
            shutil.rmtree(path)
        left = summarize(path) if path.exists() else None
        assert left is None or left.run is not None, left
        state = left.state if left else "nothing"
        self._end(self._start(path))
        return state

    def _killed(self, path: Path) -> bool:
        process = self._start(path)
        time.sleep(self.draw.uniform(0.0, self.seconds))
        victims = [process.pid, *followers(process.pid)]
        victim = self.draw.choice(victims)
        others = [psutil.Process(pid) for pid in victims if psutil.pid_exists(pid)]
        if process.poll() is None:
            psutil.Process(victim).kill()
        try:
            _, error = process.communicate(timeout=PATIENCE_S)
        finally:
            process.kill()
        _, alive = psutil.wait_procs(others, timeout=PATIENCE_S)
        assert not alive, "orphans"
        if victim != process.pid and process.returncode == 1:
            assert b"worker 1 of this training has died" in error
            return True
        assert process.returncode in (0, -9), error.decode()
        return process.returncode != 0

    def _start(self, path: Path) -> subprocess.Popen[bytes]:
        # A cache of its own, so that the kill may also meet the building of the id store.
        environment = {
            **os.environ,
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "RNNCTL_CACHE": str(self.folder / "caches" / path.name),
        }
        process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(self.folder / "config.json"), str(path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
        )
        assert process.stdout is not None
        process.stdout.readline()
        return process

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        _, error = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0, error.decode()


def followers(leader: int) -> list[int]:
    """The other processes of a parallel training."""
    try:
        children = psutil.Process(leader).children(recursive=True)
        return [child.pid for child in children if FOLLOWER in child.cmdline()]
    except psutil.NoSuchProcess:
        return []


def killer(config: RunConfig, folder: Path, seed: int | str) -> Killer:
    found = Killer(config, folder, random.Random(seed))
    found.train_whole(folder / "whole")
    return found


def test_sigkill_at_a_random_instant(settings: Settings, same: Same, tmp_path: Path) -> None:
    work = killer(settings("lm", steps=60, evaluate_every=7), tmp_path, random.randrange(10**6))
    work.kill_and_resume(tmp_path / "killed")
    same(tmp_path / "whole", tmp_path / "killed")


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(("kind", "workers", "part"), PARTS)
def test_ten_kills(
    kind: str, workers: int, part: int, settings: Settings, same: Same, tmp_path: Path
) -> None:
    config = settings(kind, steps=60, evaluate_every=7, workers=workers)
    work = killer(config, tmp_path, f"{kind}-{workers}-{part}")
    left = []
    for number in range(KILLS_OF_A_PART):
        left.append(work.kill_and_resume(tmp_path / str(number)))
        same(tmp_path / "whole", tmp_path / str(number))
    print("killed runs were left:", ", ".join(left))
