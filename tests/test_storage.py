"""The one way to write a file: whole or not at all, never through a link, and no traces."""

from __future__ import annotations

import ast
import os
import stat
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from rnnctl import storage
from rnnctl.cli import console, inputs
from rnnctl.data.cache import write_cached
from rnnctl.errors import StorageError

DAY = 24 * 3600


def leftover(folder: Path, process: int, *, machine: str | None = None) -> Path:
    """An unfinished file as a writer of that number leaves it when it is killed."""
    with storage.temporary(folder / "file") as name:
        here = name.name.split("-")[-2]
        named = name.name.removesuffix(str(os.getpid())) + str(process)
    path = folder / named.replace(here, machine or here)
    path.write_text("unfinished")
    return path


def ended() -> int:
    """The number of a process that has ended."""
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    return child


def test_nobody_can_foresee_a_temporary_name(tmp_path: Path) -> None:
    names = set()
    for _ in range(20):
        with storage.temporary(tmp_path / "file") as name:
            names.add(name)
    assert len(names) == 20


def _output(path: Path, data: bytes) -> None:
    with inputs.output(path) as write:
        write(data.decode())


WRITERS: dict[str, Callable[[Path, bytes], object]] = {
    "storage": storage.write_atomic,
    "cache": write_cached,
    "console": lambda path, data: console.write_file(path, data.decode()),
    "filter": _output,
}


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_no_link_at_a_temporary_name_is_written_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[[Path, bytes], object]
) -> None:
    """Even if somebody had foreseen it."""
    victim, path = tmp_path / "victim", tmp_path / "file"
    victim.write_text("dear")
    monkeypatch.setattr(os, "urandom", bytes)
    with storage.temporary(path) as name:
        pass
    name.symlink_to(victim)
    (tmp_path / f".file.{os.getpid()}.tmp").symlink_to(victim)
    with suppress(StorageError):  # or the link was taken for a leftover, and is gone
        write(path, b"ours")
    assert victim.read_text() == "dear"
    assert not path.is_symlink()
    assert not path.exists() or path.read_bytes() == b"ours"


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_a_failure_leaves_what_was_there_and_nothing_else(
    tmp_path: Path, write: Callable[[Path, bytes], object]
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"before")
    for failing in ("write", "fsync", "rename"):

        def hook(name: str, at: Path, failing: str = failing) -> None:
            if name == failing:
                raise OSError(28, "No space left on device")

        with storage.faults(hook), pytest.raises(StorageError, match=r"file: the disk is full"):
            write(path, b"after")
        assert path.read_bytes() == b"before"
        assert list(tmp_path.iterdir()) == [path]
    write(path, b"after")
    assert path.read_bytes() == b"after"


def test_what_is_cached_is_for_the_user_alone(tmp_path: Path) -> None:
    write_cached(tmp_path / "cached", b"")
    storage.write_atomic(tmp_path / "shown", b"")
    assert stat.S_IMODE((tmp_path / "cached").stat().st_mode) == 0o600
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE((tmp_path / "shown").stat().st_mode) == 0o666 & ~mask


def test_leftovers_of_the_dead_go_and_what_is_being_written_stays(tmp_path: Path) -> None:
    dead = leftover(tmp_path, ended())
    folder = tmp_path / leftover(tmp_path, ended()).name
    folder.unlink()
    (folder / "inside").mkdir(parents=True)
    predecessor = leftover(tmp_path, os.getpid())
    living = leftover(tmp_path, os.getppid())
    with storage.unfinished(tmp_path / "file") as new:
        own = set(tmp_path.iterdir()) - {dead, folder, predecessor, living}
        thread = threading.Thread(target=storage.remove_leftovers, args=(tmp_path,))
        thread.start()
        thread.join()
        assert len(own) == 1
        assert set(tmp_path.iterdir()) == {living, *own}
        new.become(tmp_path / "file")
    assert set(tmp_path.iterdir()) == {living, tmp_path / "file"}


@pytest.mark.parametrize("write", list(WRITERS.values())[1:], ids=list(WRITERS)[1:])
def test_what_a_killed_writer_left_goes_with_the_next_file(
    tmp_path: Path, write: Callable[[Path, bytes], object]
) -> None:
    leftover(tmp_path, ended())
    write(tmp_path / "another", b"")
    assert list(tmp_path.iterdir()) == [tmp_path / "another"]


def test_leftovers_of_other_machines_go_after_a_day(tmp_path: Path) -> None:
    young, old = (leftover(tmp_path, ended(), machine=letter * 8) for letter in "ab")
    os.utime(old, (old.stat().st_mtime - 1.1 * DAY,) * 2)
    storage.remove_leftovers(tmp_path)
    assert list(tmp_path.iterdir()) == [young]


@pytest.mark.parametrize("name", [".letter.tmp-old", ".letter.tmp-999999999", ".a.tmp-0-0-1"])
def test_hidden_files_that_only_look_like_ours_stay(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("dear")
    storage.remove_leftovers(tmp_path)
    assert (tmp_path / name).exists()


def test_a_link_in_place_of_a_leftover_goes_and_not_what_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "dear").mkdir()
    (tmp_path / "runs").mkdir()
    link = leftover(tmp_path / "runs", ended())
    link.unlink()
    link.symlink_to(tmp_path / "dear")
    storage.remove_leftovers(tmp_path / "runs")
    assert not link.is_symlink()
    assert (tmp_path / "dear").is_dir()


def test_files_are_made_whole_in_one_place(root: Path) -> None:
    """Who needs a file whole calls it."""
    callers = {
        path.name
        for path in (root / "rnnctl").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Attribute) and node.attr == "fsync"
    }
    assert callers == {"storage.py"}


def test_what_can_be_made_again_waits_for_the_disk_only_where_it_replaces_something(
    tmp_path: Path,
) -> None:
    path, seen = tmp_path / "states.npz", list[str]()
    for content in (b"first", b"second"):
        seen.append(":")
        noted = storage.faults(lambda point, _: seen.append(point))
        with noted, storage.unfinished(path) as new:
            new.write(content)
            new.become(path, durable=False)
        assert path.read_bytes() == content
    assert " ".join(seen) == ": write rename : write fsync rename"
