"""Altered bytes in any file of a run are found, and never with a traceback.

Two thousand alterations of trained runs: `training/test_altered_runs.py`.
"""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path
from typing import Literal

import pytest

from rnnctl.config import RunConfig
from rnnctl.data.documents import Document
from rnnctl.errors import RunError
from rnnctl.results.base import Environment, Result
from rnnctl.runs import Run
from rnnctl.runs.checkpoints import write_checkpoint
from rnnctl.runs.heldout import HELDOUT_NAME, pack

NOT_COVERED = {"lock"}  # holds nothing but a number for people


class Small(Result):
    schema_id: Literal["test/1"] = "test/1"


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("corruption") / "run"
    files = {
        "tokenizer.json": b'{"some": "thing"}',
        "corpus.json": b"{}",
        "model.safetensors": os.urandom(500),
        HELDOUT_NAME: pack([("valid", False, [Document(f"text {i}") for i in range(50)])]),
    }
    run = Run.create(path, RunConfig(), files=files)
    parts = {"model.safetensors": os.urandom(300), "state.json": b'{"a": 1}'}
    names = {name: write_checkpoint(path, name, parts) for name in ("000001", "000002")}
    for step in range(20):
        run.append_log({"event": "step", "step": step})
    position = run.log_file.position
    run.commit(
        newest="000002",
        before="000001",
        checkpoints=names,
        log_bytes=position.bytes,
        log_crc=position.crc,
    )
    environment = Environment(rnnctl="0", python="3")
    run.write_result("first", Small(environment=environment))
    run.write_result("second", Small(environment=environment, seed=3))
    with run.lock():
        return path


def files_of(path: Path) -> list[Path]:
    found = [p.relative_to(path) for p in sorted(path.rglob("*")) if p.is_file()]
    return [p for p in found if p.name not in NOT_COVERED]


def damage(path: Path, draw: random.Random) -> str:
    """Alter one file: a bit, a cut, some bytes in the middle, or another file's content."""
    files = files_of(path)
    name = draw.choice(files)
    data = (path / name).read_bytes()
    kind = draw.choice(["bit", "cut", "insert", "swap", "remove", "zeros"])
    at = draw.randrange(len(data))
    if kind == "bit":
        data = data[:at] + bytes([data[at] ^ (1 << draw.randrange(8))]) + data[at + 1 :]
    elif kind == "cut":
        data = data[:at]
    elif kind == "insert":
        data = data[:at] + draw.randbytes(3) + data[at:]
    elif kind == "zeros":
        size = min(len(data) - at, 1 + draw.randrange(40))
        if data[at : at + size] == bytes(size):
            return ""
        data = data[:at] + bytes(size) + data[at + size :]
    elif kind == "swap":
        other = (path / draw.choice(files)).read_bytes()
        if other == data:
            return ""
        data = other
    if kind == "remove":
        (path / name).unlink()
    else:
        (path / name).write_bytes(data)
    return f"{kind} at {at} of {name}"


def is_found(path: Path) -> bool:
    try:
        return bool(Run.open(path).verify())
    except RunError:
        return True


def check(original: Path, copy: Path, times: int, seed: int) -> None:
    draw = random.Random(seed)
    for _ in range(times):
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(original, copy)
        what = damage(copy, draw)
        missing_result = what.startswith("remove") and "results/" in what
        assert not what or missing_result or is_found(copy), what


def test_the_original_is_whole(original: Path) -> None:
    assert Run.open(original).verify() == []


def test_altered_files_are_found(original: Path, tmp_path: Path) -> None:
    check(original, tmp_path / "copy", 100, seed=1)
