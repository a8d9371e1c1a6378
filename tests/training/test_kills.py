"""SIGKILL at random instants: the run goes on bit for bit as if it had not been killed.

All 200 kills: `python tests/benchmarks/trust.py kills`; one part of ten is a test of its own,
`pytest -m slow "tests/training/test_kills.py::test_ten_kills[lm-1-0]"`.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from rnnctl.config import RunConfig
from rnnctl.runs import summarize

Settings = Callable[..., RunConfig]
Same = Callable[[Path, Path], None]
ALONE = [("lm", 3), ("classify", 3), ("paragraphs", 3), ("gru", 2), ("rnn", 2), ("words", 2)]
TOGETHER = [("lm", 2), ("classify", 2), ("gru", 1)]
PARTS = [(kind, 1, part) for kind, parts in ALONE for part in range(parts)]
PARTS += [(kind, 2, part) for kind, parts in TOGETHER for part in range(parts)]
KILLS_OF_A_PART = 10
ROOT = Path(__file__).parents[2]


# Trains in a child of its own for every line it reads: says its number, then how it ended. Starting
# Python and PyTorch anew each time would take most of the hours.
SERVER = """
import json, os, sys, traceback
from pathlib import Path
from rnnctl.errors import RnnctlError
from rnnctl.runs.run import read_config
from rnnctl.training.train import Options, train
for line in sys.stdin:
    config, path, cache, log = json.loads(line)
    child = os.fork()
    if not child:
        os.environ["RNNCTL_CACHE"] = cache
        os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
        code = 1
        try:
            options = Options(resume=Path(path).exists())
            for event in train(read_config(config), Path(path), options):
                pass
            code = 0
        except RnnctlError as error:
            print(error.message, file=sys.stderr, flush=True)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
FOLLOWER = "rnnctl.training.workers"
PATIENCE_S = 600.0


class Server:
    """A process that trains one run after the other, each in a child that can be killed."""

    def __init__(self, config: RunConfig, folder: Path) -> None:
        self._folder = folder
        self._config = folder / "config.json"
        self._config.write_text(config.model_dump_json())
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-c", SERVER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
            bufsize=1,
        )

    def begin(self, path: Path) -> int:
        """Start or resume the run at `path`; the number of the process that trains."""
        # A cache of its own, so that the kill may also meet the building of the id store.
        cache = self._folder / "caches" / path.name
        words = [self._config, path, cache, self._log(path)]
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([str(word) for word in words]) + "\n")
        return self._number()

    def end(self, path: Path) -> tuple[int, str]:
        """Wait for it: the exit code, and what it said on standard error."""
        code = self._number()
        log = self._log(path)
        return code, log.read_text() if log.exists() else ""

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()

    def _log(self, path: Path) -> Path:
        return self._folder / f"{path.name}.log"

    def _number(self) -> int:
        assert self._process.stdout is not None
        return int(self._process.stdout.readline())


@dataclass
class Killer:
    """Trains `config` again and again, each time killed once by `draw`.

    What one server began another one resumes, so that nothing of a process's own (its seed for
    hashing, its caches) can matter.
    """

    first: Server
    second: Server
    draw: random.Random
    seconds: float = 0.0  # of an uninterrupted training

    def train_whole(self, path: Path) -> None:
        """Train without a kill and remember how long it takes."""
        begin = time.monotonic()
        self._train(self.second, path)
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
        self._train(self.second, path)
        return state

    def _train(self, server: Server, path: Path) -> None:
        server.begin(path)
        code, error = server.end(path)
        assert code == 0, error

    def _killed(self, path: Path) -> bool:
        leader = self.first.begin(path)
        time.sleep(self.draw.uniform(0.0, self.seconds))
        family = [leader, *followers(leader)]
        others = [psutil.Process(pid) for pid in family[1:] if psutil.pid_exists(pid)]
        victim = self.draw.choice(family)
        with contextlib.suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)
        code, error = self.first.end(path)
        _, alive = psutil.wait_procs(others, timeout=PATIENCE_S)
        assert not alive, "orphans"
        if victim != leader and code == 1:
            assert "worker 1 of this training has died" in error
            return True
        assert code in (0, -9), error
        return code != 0


def followers(leader: int) -> list[int]:
    """The other processes of a parallel training."""
    try:
        children = psutil.Process(leader).children(recursive=True)
        return [child.pid for child in children if FOLLOWER in child.cmdline()]
    except psutil.NoSuchProcess:
        return []


@pytest.fixture
def killer(tmp_path: Path) -> Iterator[Callable[..., Killer]]:
    """`killer(config, seed)`; it has trained `tmp_path / "whole"`."""
    servers: list[Server] = []

    def make(config: RunConfig, seed: object) -> Killer:
        servers.extend(Server(config, tmp_path) for _ in range(2))
        found = Killer(*servers, random.Random(str(seed)))
        found.train_whole(tmp_path / "whole")
        found.seconds *= 0.9  # the first training of a process loads what later ones have
        return found

    yield make
    for server in servers:
        server.close()


def test_sigkill_at_a_random_instant(
    settings: Settings, same: Same, killer: Callable[..., Killer], tmp_path: Path
) -> None:
    work = killer(settings("lm", steps=60, evaluate_every=7), random.randrange(10**6))
    work.kill_and_resume(tmp_path / "killed")
    same(tmp_path / "whole", tmp_path / "killed")


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("kind", "workers", "part"), PARTS)
def test_ten_kills(
    kind: str,
    workers: int,
    part: int,
    settings: Settings,
    same: Same,
    killer: Callable[..., Killer],
    tmp_path: Path,
) -> None:
    config = settings(kind, steps=60, evaluate_every=7, workers=workers)
    work = killer(config, f"{kind}-{workers}-{part}")
    left = []
    for number in range(KILLS_OF_A_PART):
        left.append(work.kill_and_resume(tmp_path / str(number)))
        same(tmp_path / "whole", tmp_path / str(number))
    print("killed runs were left:", ", ".join(left))
