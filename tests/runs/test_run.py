"""Making, reading, listing, locking and checking runs."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Literal

import pytest

from rnnctl import integrity, storage
from rnnctl.config import ModelConfig, RunConfig
from rnnctl.data.documents import Document
from rnnctl.errors import CorruptRunError, RunError, RunLockedError
from rnnctl.results.base import Environment, Result
from rnnctl.runs import Run, find_runs, summarize
from rnnctl.runs.checkpoints import CURRENT_NAME, migrate
from rnnctl.runs.heldout import HELDOUT_NAME, pack, unpack
from rnnctl.runs.lock import is_held
from rnnctl.runs.run import read_config


class Small(Result):
    schema_id: Literal["test/1"] = "test/1"
    value: float


def small(value: float) -> Small:
    return Small(environment=Environment(rnnctl="0", python="3"), value=value)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    documents = [Document("a text", "pos", "f:1"), Document("zwei — Texte", None, "f:2")]
    files = {
        "tokenizer.json": b"{}",
        "model.safetensors": b"weights",
        HELDOUT_NAME: pack([("valid", False, documents), ("test", True, [Document("run")])]),
    }
    run = Run.create(tmp_path / "a", RunConfig(model=ModelConfig(hidden_size=7)), files=files)
    run.append_log({"event": "step", "loss": 0.1})
    run.append_log({"event": "step", "loss": 1e-30})
    position = run.log_file.position
    run.commit(log_bytes=position.bytes, log_crc=position.crc)
    run.write_result("first", small(1.5))
    return run


def test_what_was_written_is_read_again(run: Run) -> None:
    found = Run.open(run.path)
    assert found.config == run.config
    assert found.log() == [{"event": "step", "loss": 0.1}, {"event": "step", "loss": 1e-30}]
    assert found.read_result("first")["value"] == 1.5
    assert found.results() == ["first"]
    assert found.heldout() == [
        Document("a text", "pos", "f:1"),
        Document("zwei — Texte", None, "f:2"),
    ]
    assert not found.heldout_running()
    assert found.heldout("test") == [Document("run", None, "")]
    assert found.heldout_running("test")
    assert found.weights_path.read_bytes() == b"weights"
    assert found.verify() == []


def test_a_run_that_is_there_is_never_overwritten_unasked(run: Run) -> None:
    with pytest.raises(RunError, match="exists already") as caught:
        Run.create(run.path, RunConfig())
    assert "--overwrite" in caught.value.hint and "--resume" in caught.value.hint
    assert Run.open(run.path).verify() == []
    Run.create(run.path, RunConfig(), overwrite=True)
    assert Run.open(run.path).results() == []


def test_overwrite_leaves_alone_what_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(RunError, match="not a run"):
        Run.create(tmp_path, RunConfig(), overwrite=True)
    assert (tmp_path / "letter.txt").read_text() == "dear"


def test_a_torn_last_line_of_the_log_is_dropped_and_an_altered_one_found(run: Run) -> None:
    log = run.path / "log.jsonl"
    good = log.read_bytes()
    log.write_bytes(good + b'{"event": "st')
    assert len(Run.open(run.path).log()) == 2
    log.write_bytes(good.replace(b"0.1", b"0.2"))
    with pytest.raises(CorruptRunError, match=r"log\.jsonl:1"):
        Run.open(run.path).log()
    lines = good.splitlines(keepends=True)
    log.write_bytes(lines[1] + lines[0])
    with pytest.raises(CorruptRunError):
        Run.open(run.path).log()
    log.write_bytes(lines[0])
    with pytest.raises(CorruptRunError, match="cut off"):
        Run.open(run.path).log()


def test_a_second_writer_is_refused_with_the_pid_of_the_first(run: Run) -> None:
    code = (
        "import sys\nfrom rnnctl.runs import Run\n"
        "with Run.open(sys.argv[1]).lock():\n print('held', flush=True); sys.stdin.read()"
    )
    owner = subprocess.Popen(
        [sys.executable, "-c", code, str(run.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert owner.stdout is not None and owner.stdout.readline() == b"held\n"
    with pytest.raises(RunLockedError, match=str(owner.pid)), run.lock():
        pass
    with pytest.raises(RunLockedError):
        Run.create(run.path, RunConfig(), overwrite=True)
    assert is_held(run.path)
    owner.kill()
    owner.communicate()
    assert not is_held(run.path)
    with run.lock():  # the lock of a dead process is nobody's
        pass


def test_nobody_begins_to_write_a_run_while_it_is_overwritten(run: Run) -> None:
    refused = []

    def another(name: str, path: Path) -> None:
        try:
            with run.lock():
                pass
        except RunLockedError:
            refused.append(name)

    with storage.faults(another):
        Run.create(run.path, RunConfig(), overwrite=True)
    assert "write" in refused and "rename" in refused


def test_a_lock_of_a_run_that_was_replaced_meanwhile_is_that_of_the_new_one(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    take = fcntl.flock

    def late(file: int, how: int) -> None:
        monkeypatch.setattr(fcntl, "flock", take)
        Run.create(run.path, RunConfig(), overwrite=True)
        take(file, how)

    monkeypatch.setattr(fcntl, "flock", late)
    with run.lock(), pytest.raises(RunLockedError), Run.open(run.path).lock():
        pass
    with run.lock():
        pass


def test_runs_are_found_and_damaged_ones_named(run: Run, tmp_path: Path) -> None:
    other = Run.create(tmp_path / "deep" / "b", RunConfig())
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "no-run").mkdir()
    assert list(find_runs(tmp_path)) == [run.path, other.path]
    assert summarize(other.path).state == "empty"
    (other.path / "config.json").write_text("{}")
    found = summarize(other.path)
    assert found.state == "damaged" and "config.json" in found.problem


@pytest.mark.parametrize(
    "name", ["../x", "/etc/passwd", "a/b", "", "..", ".hidden", "x" * 200, "a\0b"]
)
def test_paths_in_a_manifest_cannot_leave_the_run(run: Run, name: str) -> None:
    content = integrity.unseal(run.path / CURRENT_NAME)
    content["files"][name] = {"sha256": "0" * 64, "size": 1}
    (run.path / CURRENT_NAME).write_bytes(integrity.seal(content))
    with pytest.raises(CorruptRunError, match="no run can hold"):
        Run.open(run.path)


def test_a_link_out_of_the_run_is_refused(run: Run, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"weights")  # even with the right content
    (run.path / "model.safetensors").unlink()
    (run.path / "model.safetensors").symlink_to(secret)
    with pytest.raises(CorruptRunError, match="leads out"):
        _ = Run.open(run.path).weights_path


def test_a_newer_schema_is_refused_with_what_to_install(run: Run) -> None:
    content = integrity.unseal(run.path / CURRENT_NAME) | {"run_schema": 99, "rnnctl": "7.0"}
    (run.path / CURRENT_NAME).write_bytes(integrity.seal(content))
    with pytest.raises(RunError, match=r"newer rnnctl \(7.0\)") as caught:
        Run.open(run.path)
    assert "install" in caught.value.hint


def test_an_older_schema_is_brought_up_to_date_step_by_step(tmp_path: Path) -> None:
    steps = {
        1: lambda c: {"v": 2, "new": c["old"]},
        2: lambda c: {**c, "v": 3, "more": True},
    }
    found = migrate({"v": 1, "old": 5}, tmp_path, 3, steps, key="v")  # type: ignore[arg-type]
    assert found == {"v": 3, "new": 5, "more": True}
    with pytest.raises(RunError, match="cannot read"):
        migrate({"v": 0}, tmp_path, 3, steps, key="v")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "not valid JSON"),
        (b"[1]", "JSON object"),
        (b"[" * 100_000, "not valid JSON"),
        (b'{"schema_version": 1, "model": {"dropout_input": NaN}}', "not valid JSON"),
        (b'{"schema_version": 1, "surprise": 1}', "surprise"),
        (b'{"schema_version": 1, "model": {"hidden_size": -3}}', "model.hidden_size"),
        (b'{"schema_version": "one"}', "schema"),
        (b" " * (2 << 20), "unexpectedly large"),
        (b"\xff\xfe", "not valid JSON"),
    ],
)
def test_impossible_settings_are_named(tmp_path: Path, content: bytes, expected: str) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(content)
    with pytest.raises(RunError, match=expected):
        read_config(path)


def test_settings_are_read_as_they_were_written(run: Run) -> None:
    assert read_config(run.path / "config.json") == run.config
    assert json.loads((run.path / "config.json").read_text())["model"]["hidden_size"] == 7


@pytest.mark.parametrize("path", ["nowhere", "."])
def test_what_is_no_run_is_said_so(tmp_path: Path, path: str) -> None:
    with pytest.raises(RunError, match=r"does not exist|not a run"):
        Run.open(tmp_path / path)


def test_held_out_text_is_cut_to_its_share() -> None:
    long = "x" * 6_000_000
    data = pack([("valid", True, [Document(long)]), ("test", False, [Document(long)])])
    assert data == pack([("valid", True, [Document(long)]), ("test", False, [Document(long)])])
    assert len(data) < 100_000


def kept(documents: list[Document], tmp_path: Path, *, running: bool = False) -> list[Document]:
    path = tmp_path / HELDOUT_NAME
    path.write_bytes(pack([("valid", running, documents), ("test", running, [])]))
    return unpack(path, "valid")[0]


def test_held_out_documents_that_are_too_long_or_empty_keep_no_others_out(tmp_path: Path) -> None:
    long, short, other = Document("x" * 3_000_000), Document("short", "a"), Document("other", "b")
    assert kept([short, long, Document(""), other], tmp_path) == [short, other]


def test_if_no_held_out_document_fits_the_first_is_cut(tmp_path: Path) -> None:
    long = Document("ä" * 2_000_000, "a", "f:1")
    assert kept([Document(""), long, long], tmp_path) == [Document("ä" * 1_250_000, "a", "f:1")]


def test_a_running_text_is_kept_without_gaps(tmp_path: Path) -> None:
    """What follows a character that no longer fits does not fit either."""
    pieces = [Document("x"), Document(""), Document("€" * 1_000_000), Document("y")]
    texts = [document.text for document in kept(pieces, tmp_path, running=True)]
    assert texts == ["x", "€" * 833_333]
    pieces[0] = Document("xy")
    assert kept(pieces, tmp_path, running=True)[-1].text == "€" * 833_332


def test_a_misspelt_run_is_told_the_nearest_one(tmp_path: Path) -> None:
    (tmp_path / "rnn").mkdir()
    (tmp_path / "rnn" / "current.json").write_text("{}")
    with pytest.raises(RunError) as found:
        Run.open(tmp_path / "rn")
    assert found.value.hint.startswith(f"did you mean {tmp_path / 'rnn'}?")
    with pytest.raises(RunError) as found:
        Run.open(tmp_path / "elsewhere")
    assert found.value.hint == "`rnnctl runs` lists the runs there are"
