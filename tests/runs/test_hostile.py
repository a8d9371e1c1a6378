"""Run directories from strangers: nothing leaves the directory, nothing takes all memory."""

from __future__ import annotations

import gzip
import os
import signal
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from rnnctl import integrity, storage
from rnnctl.config import RunConfig
from rnnctl.data.documents import Document
from rnnctl.errors import CorruptRunError, RunError, StorageError
from rnnctl.results.base import Environment, Result
from rnnctl.runs import Run, heldout, summarize
from rnnctl.runs.checkpoints import MANIFEST, check_checkpoint, write_checkpoint
from rnnctl.runs.heldout import HELDOUT_NAME, pack, unpack
from rnnctl.runs.run import entry_of

MEMORY = 500_000_000


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = Run.create(tmp_path / "run", RunConfig())
    run.append_log({"event": "step"})
    return run


@pytest.mark.parametrize("name", ["log.jsonl", "lock", "results", "checkpoints"])
def test_a_link_that_would_let_us_write_elsewhere_is_refused(
    run: Run, tmp_path: Path, name: str
) -> None:
    victim = tmp_path / "victim"
    if name in ("results", "checkpoints"):
        victim.mkdir()
        (victim / "letter").write_text("dear")
    else:
        victim.write_text("dear " * 100)
    (run.path / name).unlink(missing_ok=True)
    (run.path / name).symlink_to(victim)
    assert "leads out of the run" in summarize(run.path).problem
    with pytest.raises(CorruptRunError, match="leads out of the run"):
        Run.open(run.path)
    if name == "lock":
        with pytest.raises(CorruptRunError), run.lock():
            pass
        with pytest.raises(CorruptRunError):
            Run.create(run.path, RunConfig(), overwrite=True)
    content = (victim / "letter").read_text() if victim.is_dir() else victim.read_text()
    assert content.startswith("dear")


def test_a_link_at_a_temporary_name_is_not_written_through(run: Run, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("dear")
    for name in (f".log.tmp-{os.getpid()}", ".made.tmp"):
        (run.path / name).symlink_to(victim)
    storage.write_atomic(run.path / "log", b"ours")
    with pytest.raises(StorageError, match="File exists"):
        storage.write_new(run.path / ".made.tmp", b"ours")
    assert victim.read_text() == "dear"
    assert (run.path / "log").read_bytes() == b"ours" and not (run.path / "log").is_symlink()


def waited(number: int, frame: object) -> NoReturn:
    raise AssertionError("it waits for somebody to write into a pipe")


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
@pytest.mark.parametrize(
    "name", ["log.jsonl", "results/a.json", "checkpoints/000001/manifest.json"]
)
def test_what_is_no_file_is_named_and_not_waited_for(
    run: Run, name: str, make: Callable[[Path], None]
) -> None:
    run.write_result("a", Result(environment=Environment(rnnctl="0", python="3")))
    digest = write_checkpoint(run.path, "000001", {"a": b"b"})
    run.commit(newest="000001", checkpoints={"000001": digest})
    (run.path / name).unlink()
    make(run.path / name)
    before = signal.signal(signal.SIGALRM, waited)
    signal.alarm(5)
    try:
        problem = "; ".join(problem.what for problem in Run.open(run.path).verify())
    except RunError as error:
        problem = error.message
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    assert name in problem or f"no result {Path(name).stem!r}" in problem


@pytest.mark.parametrize("name", ["lock", "results", "checkpoints", "current.json", "config.json"])
def test_a_pipe_in_place_of_what_every_run_has_is_refused(run: Run, name: str) -> None:
    (run.path / name).unlink(missing_ok=True)
    os.mkfifo(run.path / name)
    with pytest.raises(RunError, match=name):
        Run.open(run.path)


def test_a_run_may_itself_be_reached_by_a_link(run: Run, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(run.path)
    assert Run.open(tmp_path / "link").verify() == []


BOMBS = {
    "all brackets": b'{"a": [' + b"[]," * 20_000_000 + b"[]]}",
    "all numbers": b'{"a": [' + b"0," * 30_000_000 + b"0]}",
    "all objects": b'{"a": [' + b"{}," * 20_000_000 + b"{}]}",
}


@pytest.mark.parametrize("kind", BOMBS)
def test_a_record_that_is_all_structure_costs_little_memory(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "state.json"
    path.write_bytes(BOMBS[kind])
    tracemalloc.start()
    with pytest.raises(CorruptRunError):
        integrity.parse_json(integrity.read_limited(path, integrity.MAX_RESULT), path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < MEMORY


def test_held_out_text_that_unpacks_without_end_costs_little_memory(run: Run) -> None:
    data = gzip.compress((b'{"text": "' + b"x" * 1_000_000 + b'"}\n') * 100, 1)
    (run.path / HELDOUT_NAME).write_bytes(data)
    run.commit(files={**run.current.files, HELDOUT_NAME: entry_of(data)})
    tracemalloc.start()
    with pytest.raises(CorruptRunError, match="unpacks to more than"):
        run.heldout()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50_000_000


def test_what_was_packed_can_be_unpacked_however_small_its_documents_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heldout, "_MAX_UNPACKED", 20_000)
    documents = [Document("x", None, f"f:{i}") for i in range(1000)]
    path = tmp_path / HELDOUT_NAME
    path.write_bytes(pack([("valid", False, documents), ("test", False, documents)]))
    kept = unpack(path, "valid")[0]
    assert 50 < len(kept) < 1000 and kept == documents[: len(kept)]
    assert len(unpack(path, "test")[0]) >= len(kept)


def test_a_text_of_brackets_is_a_text(tmp_path: Path) -> None:
    path = tmp_path / HELDOUT_NAME
    document = Document("[" * 2_000_000)
    path.write_bytes(pack([("valid", True, [document])]))
    assert unpack(path, "valid") == ([document], True)


def test_a_log_line_without_end_is_not_read_into_memory(run: Run) -> None:
    with (run.path / "log.jsonl").open("ab") as file:
        file.write(b"x" * 200_000_000)
    tracemalloc.start()
    with pytest.raises(CorruptRunError, match="altered or out of order"):
        run.log()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50_000_000


def test_a_manifest_that_says_no_size_is_an_error(run: Run) -> None:
    write_checkpoint(run.path, "000001", {"a": b"b"})
    file = run.path / "checkpoints" / "000001" / MANIFEST
    content = integrity.unseal(file)
    content["files"]["a"] = {"sha256": "0" * 64}
    file.write_bytes(integrity.seal(content))
    with pytest.raises(CorruptRunError, match="cut off or altered"):
        check_checkpoint(run.path, "000001", integrity.digest_of_file(file))


def test_weights_that_a_checkpoint_does_not_hold_are_missed(run: Run) -> None:
    digest = write_checkpoint(run.path, "000001", {"a": b"b"})
    run.commit(newest="000001", best="000001", checkpoints={"000001": digest})
    with pytest.raises(CorruptRunError, match=r"holds no model\.safetensors"):
        _ = run.weights_path


def test_of_two_that_make_a_run_at_once_the_second_is_refused(tmp_path: Path) -> None:
    def hook(name: str, path: Path) -> None:
        if name == "write" and not (tmp_path / "run").exists():
            with storage.faults(lambda *_: None):
                Run.create(tmp_path / "run", RunConfig()).append_log({"event": "first"})

    with storage.faults(hook), pytest.raises((StorageError, RunError)):
        Run.create(tmp_path / "run", RunConfig())
    assert Run.open(tmp_path / "run").log() == [{"event": "first"}]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_run_that_may_not_be_read_is_named(run: Run) -> None:
    (run.path / "config.json").chmod(0)
    assert "cannot read" in summarize(run.path).problem
