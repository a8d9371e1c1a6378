"""Every write, interrupted at every point: the run before or the run after, never a mixture."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from rnnctl import storage
from rnnctl.config import RunConfig
from rnnctl.errors import StorageError
from rnnctl.results.base import Environment, Result
from rnnctl.runs import Run
from rnnctl.runs.checkpoints import check_checkpoint, remove_unreferenced, write_checkpoint

MORE_POINTS_THAN_THERE_ARE = 200


def begin(path: Path) -> Run:
    """A run with one good checkpoint."""
    run = Run.create(path, RunConfig(), files={"tokenizer.json": b"{}"})
    digest = write_checkpoint(path, "000001", {"model.safetensors": b"one"})
    run.commit(newest="000001", best="000001", checkpoints={"000001": digest})
    return run


def next_checkpoint(run: Run) -> None:
    run.log_file.rewind(run.log_position)
    digest = write_checkpoint(run.path, "000002", {"model.safetensors": b"two"})
    known = {**run.current.checkpoints, "000002": digest}
    run.append_log({"event": "step", "step": 2})
    position = run.log_file.position
    run.commit(
        newest="000002",
        before="000001",
        best="000002",
        checkpoints=known,
        log_bytes=position.bytes,
        log_crc=position.crc,
    )
    remove_unreferenced(run.path, set(known))


def publish(run: Run) -> None:
    run.put_file("model.safetensors", b"published")
    run.put_file("model.safetensors", b"published again")
    run.commit(finished=True)


def overwrite(path: Path) -> None:
    Run.create(path, RunConfig(), overwrite=True)


def full_disk(point: int, code: int = errno.ENOSPC) -> storage.FaultHook:
    """Fails at the `point`-th fault point and stays so; removing is still possible."""
    seen = 0

    def hook(name: str, path: Path) -> None:
        nonlocal seen
        seen += 1
        if seen > point and name != "remove":
            raise OSError(code, os.strerror(code))

    return hook


def weights(path: Path) -> bytes:
    run = Run.open(path)
    assert run.verify() == []
    for name, digest in run.current.checkpoints.items():
        check_checkpoint(path, name, digest)
    return run.weights_path.read_bytes()


def killed_at(point: int, work: Callable[[], None]) -> bool:
    """Do `work` in a child that is killed at its `point`-th fault point; whether it was."""
    child = os.fork()
    if child == 0:
        seen = 0

        def hook(name: str, path: Path) -> None:
            nonlocal seen
            if seen == point:
                os._exit(77)
            seen += 1

        with storage.faults(hook):
            work()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 77


@pytest.mark.parametrize("work", [next_checkpoint, publish])
def test_a_kill_at_every_point_leaves_a_whole_run(
    tmp_path: Path, work: Callable[[Run], None]
) -> None:
    allowed = {b"one", b"two", b"published", b"published again"}
    for point in range(MORE_POINTS_THAN_THERE_ARE):
        path = tmp_path / str(point)
        run = begin(path)
        killed = killed_at(point, lambda run=run: work(run))  # type: ignore[misc]
        assert weights(path) in allowed
        work(Run.open(path))  # and whoever comes next can go on
        assert weights(path) in {b"two", b"published again"}
        if not killed:
            break
    else:
        raise AssertionError("more fault points than expected")
    assert point >= 8


def test_a_kill_while_a_run_is_made_leaves_none_or_all_of_it(tmp_path: Path) -> None:
    for point in range(MORE_POINTS_THAN_THERE_ARE):
        path = tmp_path / str(point) / "run"
        killed = killed_at(point, lambda path=path: begin(path) and None)  # type: ignore[misc]
        if path.exists():
            assert Run.open(path).verify() == []
        else:
            Run.create(path, RunConfig())
        if not killed:
            break
    assert point >= 8


def test_what_a_killed_maker_left_beside_a_run_goes_with_the_next_run(tmp_path: Path) -> None:
    begin(tmp_path / "dear")
    for point in range(2, 6):
        assert killed_at(point, lambda: begin(tmp_path / "run") and None)
        assert len(list(tmp_path.glob(".run.*"))) == 1
        begin(tmp_path / f"another {point}")
        assert not list(tmp_path.glob(".*"))
    assert Run.open(tmp_path / "dear").verify() == []


def test_runs_that_a_kill_left_under_hidden_names_are_nobodys_leftovers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the renames by which systems without an exchange overwrite a run."""
    monkeypatch.setattr(storage, "_swap", lambda *_: False)
    begin(tmp_path / "run")

    def work() -> None:
        with storage.faults(lambda name, _: os._exit(77) if name == "exchange" else None):
            overwrite(tmp_path / "run")

    child = os.fork()
    if child == 0:
        work()
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 77
    begin(tmp_path / "another")
    (old,) = tmp_path.glob(".run.replaced-*")
    assert weights(old) == b"one"


def test_a_kill_while_a_run_is_overwritten_leaves_the_old_or_the_new_one(tmp_path: Path) -> None:
    for point in range(MORE_POINTS_THAN_THERE_ARE):
        path = tmp_path / str(point)
        begin(path)
        killed = killed_at(point, lambda path=path: overwrite(path))  # type: ignore[misc]
        assert Run.open(path).verify() == []
        if not killed:
            break
    assert point >= 7
    assert Run.open(path).current.newest is None


@pytest.mark.skipif(sys.platform != "linux", reason="other systems cannot exchange two names")
def test_there_is_no_instant_without_a_run_while_it_is_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run"
    begin(path)
    rename = Path.rename

    def watched(self: Path, target: Path) -> Path:
        found = rename(self, target)
        assert path.exists()  # a kill here would leave this
        return found

    monkeypatch.setattr(Path, "rename", watched)
    overwrite(path)
    assert Run.open(path).current.newest is None


@pytest.mark.parametrize("swaps", [True, False])
def test_an_error_while_a_run_is_overwritten_leaves_the_old_or_the_new_one(
    tmp_path: Path, swaps: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not swaps:  # as on macOS and on network file systems
        monkeypatch.setattr(storage, "_swap", lambda *_: False)
    for point in range(MORE_POINTS_THAN_THERE_ARE):
        path = tmp_path / str(point) / "run"
        begin(path)
        with storage.faults(full_disk(point)):
            try:
                overwrite(path)
            except StorageError:
                assert Run.open(path).verify() == []
            else:
                break
        assert list(path.parent.iterdir()) == [path]
    assert point >= 7
    assert Run.open(path).current.newest is None


def test_a_link_to_a_run_is_overwritten_without_a_trace(tmp_path: Path) -> None:
    begin(tmp_path / "run")
    (tmp_path / "link").symlink_to(tmp_path / "run")
    overwrite(tmp_path / "link")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "run"]
    assert Run.open(tmp_path / "link").current.newest is None
    assert Run.open(tmp_path / "run").current.newest == "000001"


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EACCES])
@pytest.mark.parametrize("work", [next_checkpoint, publish])
def test_a_failing_write_at_every_point_is_an_error_and_loses_nothing(
    tmp_path: Path, work: Callable[[Run], None], code: int
) -> None:
    for point in range(MORE_POINTS_THAN_THERE_ARE):
        path = tmp_path / str(point)
        run = begin(path)
        failed = False
        with storage.faults(full_disk(point, code)):
            try:
                work(run)
            except StorageError as error:
                failed = True
                assert str(path) in error.message
        assert weights(path) in {b"one", b"two", b"published", b"published again"}
        if not failed:
            break
    else:
        raise AssertionError("more fault points than expected")


def test_the_error_of_a_full_disk_says_what_and_that_nothing_is_lost(tmp_path: Path) -> None:
    def hook(name: str, path: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with storage.faults(hook), pytest.raises(StorageError) as caught:
        storage.write_atomic(tmp_path / "file", b"content")
    assert "the disk is full" in caught.value.message
    assert "intact" in caught.value.hint
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_directory_is_a_clear_error(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StorageError, match="permission denied"):
        Run.create(tmp_path / "run", RunConfig())


def test_what_a_killed_writer_of_a_result_left_goes_with_the_next_result(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", RunConfig())

    def write() -> None:
        run.write_result("a", Result(environment=Environment(rnnctl="0", python="3")))

    for point in range(2):  # the hidden file is there from the first on, empty or written
        assert killed_at(point, write)
        assert len(list((run.path / "results").glob(".*"))) == 1
    write()
    assert [path.name for path in (run.path / "results").iterdir()] == ["a.json"]
