"""Two thousand alterations of trained runs: every one found, by `--verify` and by whoever reads.

All of them: `python tests/benchmarks/trust.py alterations`.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rnnctl.config import RunConfig
from rnnctl.errors import RunError
from rnnctl.runs import Run
from rnnctl.runs.checkpoints import CHECKPOINTS, check_checkpoint
from rnnctl.runs.run import RESULTS
from rnnctl.tasks.loading import load
from rnnctl.training.events import Saved

Settings = Callable[..., RunConfig]
Follow = Callable[..., list[Any]]
KINDS = ("lm", "classify")
ALTERATIONS_OF_A_PART = 250
UNPROTECTED = {"lock"}  # holds nothing but a number for people


def altered(data: bytes, others: list[bytes], draw: random.Random) -> tuple[str, bytes | None]:
    """What was done, and the new content: other than `data`, or None for a file that is gone."""
    kind = draw.choice(["bit", "bit", "cut", "insert", "add", "zeros", "swap", "remove"])
    at = draw.randrange(len(data))
    if kind == "bit":
        return f"bit of byte {at}", data[:at] + bytes([data[at] ^ 1 << draw.randrange(8)]) + data[
            at + 1 :
        ]
    if kind == "cut":
        return f"cut at {at}", data[:at]
    if kind == "insert":
        return f"insert at {at}", data[:at] + draw.randbytes(draw.randint(1, 9)) + data[at:]
    if kind == "add":
        return "add", data + draw.randbytes(draw.randint(1, 9))
    if kind == "zeros":
        end = min(len(data), at + draw.randint(1, 500))
        return f"zeros from {at}", data[:at] + bytes(end - at) + data[end:]
    if kind == "swap":
        return "swap", draw.choice(others)
    return "remove", None


def read(path: Path, name: str) -> None:
    """What a command does that needs the file `name` of a run."""
    run = Run.open(path)
    if name == "log.jsonl":
        run.log()
    elif name.startswith(f"{RESULTS}/"):
        run.read_result(Path(name).stem)
    elif name.startswith(f"{CHECKPOINTS}/"):
        checkpoint = Path(name).parts[1]
        check_checkpoint(path, checkpoint, run.current.checkpoints[checkpoint])
    elif name in ("corpus.json", "computed.json", "heldout.jsonl.gz"):
        run.file(name)
    else:
        load(path)


def alter_often(path: Path, times: int, draw: random.Random) -> int:
    """Alter one file after the other, each found and put back; how many alterations there were."""
    files = {p.relative_to(path).as_posix(): p.read_bytes() for p in path.rglob("*") if p.is_file()}
    names = sorted(files.keys() - UNPROTECTED)
    log = Run.open(path).log()
    done = 0
    while done < times:
        name = draw.choice(names)
        others = [data for other, data in files.items() if data != files[name]]
        what, data = altered(files[name], others, draw)
        if data == files[name]:
            continue
        done += 1
        (path / name).write_bytes(data) if data is not None else (path / name).unlink()
        removed_result = data is None and name.startswith(f"{RESULTS}/")
        if is_torn_line(name, files[name], data):
            assert Run.open(path).log() == log
        else:
            with pytest.raises(RunError) as caught:
                read(path, name)
            wanted = Path(name).stem if removed_result else Path(name).name
            assert wanted in str(caught.value), (name, what)
            assert removed_result or is_found(path), (name, what)
        (path / name).write_bytes(files[name])
    return done


def is_torn_line(name: str, whole: bytes, data: bytes | None) -> bool:
    """Half a line at the end of the log is what a kill leaves, and is dropped on reading."""
    if name != "log.jsonl" or data is None or not data.startswith(whole):
        return False
    return b"\n" not in data.removeprefix(whole)


def is_found(path: Path) -> bool:
    try:
        return bool(Run.open(path).verify())
    except RunError:
        return True


@pytest.mark.parametrize("kind", KINDS)
def test_alterations(kind: str, settings: Settings, follow: Follow, tmp_path: Path) -> None:
    follow(settings(kind), tmp_path / "run")
    alter_often(tmp_path / "run", 40, random.Random(kind))
    assert Run.open(tmp_path / "run").verify() == []


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("finished", [True, False])
@pytest.mark.parametrize("part", range(2))
@pytest.mark.parametrize("kind", KINDS)
def test_alterations_of_a_part(
    kind: str, part: int, finished: bool, settings: Settings, follow: Follow, tmp_path: Path
) -> None:
    path = tmp_path / "run"
    if finished:
        follow(settings(kind), path)
    else:
        follow(settings(kind), path, until=lambda e: isinstance(e, Saved) and e.step == 7)
    original = shutil.copytree(path, tmp_path / "original")
    draw = random.Random(f"{kind}-{part}-{finished}")
    print("alterations found:", alter_often(path, ALTERATIONS_OF_A_PART, draw))
    assert Run.open(original).verify() == Run.open(path).verify() == []
