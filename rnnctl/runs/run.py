"""One run: a directory that holds everything needed to use, resume, judge or repeat a model."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from rnnctl import integrity, results, storage
from rnnctl.config import CONFIG_SCHEMA, RunConfig
from rnnctl.data.documents import Document
from rnnctl.errors import CorruptRunError, RunError, word
from rnnctl.results.base import Result
from rnnctl.runs import checkpoints, heldout, lock
from rnnctl.runs.checkpoints import (
    CURRENT_NAME,
    WEIGHTS_NAME,
    Current,
    FileEntry,
    Snapshot,
    first_problem,
    migrate,
    read_current,
    read_values,
    snapshots,
    weights_of,
    write_current,
)
from rnnctl.runs.log import LogFile, LogPosition, read_log
from rnnctl.storage import write_directory

CONFIG_NAME = "config.json"
TOKENIZER_NAME = "tokenizer.json"
LOG_NAME = "log.jsonl"
RESULTS = "results"  # a folder: what was measured of the run, each result a sealed file of its own


@dataclass(frozen=True, slots=True)
class Problem:
    """A damaged file of a run and what is wrong with it."""

    file: str
    what: str


class Run:
    """A run on the disk. Reading and `keep_result` need nothing; other writers hold `lock()`.

    `path` is the directory, `config` what it was made with, `current` the last commit.
    """

    def __init__(self, path: Path, config: RunConfig, current: Current) -> None:
        self.path = path
        self.config = config
        self.current = current
        self._log: LogFile | None = None

    # -- making and opening ------------------------------------------------------------------

    @classmethod
    def create(
        cls,
        path: str | Path,
        config: RunConfig,
        *,
        files: Mapping[str, bytes] | None = None,
        overwrite: bool = False,
    ) -> Run:
        """Make the directory `path` with `config` and further `files`, all or nothing.

        A run that is overwritten is held for writing until the new one is there.
        """
        path = Path(path)
        check_free(path, overwrite=overwrite)
        content = {CONFIG_NAME: config_bytes(config), **(files or {})}
        current = Current(files={name: entry_of(data) for name, data in content.items()})
        content[CURRENT_NAME] = integrity.seal(current.model_dump(mode="json"))
        with storage.storing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        storage.remove_leftovers(path.parent)
        # Exchanged, the folder would be gone from under the process, and every relative path with
        # it.
        if path.is_dir() and Path.cwd().samefile(path):
            _fill_working_directory(path, content)
            return cls(path, config, current)
        with lock.replacing(path):
            write_directory(path, content, replace=overwrite)
        return cls(path, config, current)

    @classmethod
    def open(cls, path: str | Path) -> Run:
        """Open a run. RunError if it is none; CorruptRunError if its records are damaged."""
        path = Path(path)
        current = read_current(path)
        # A run may come from a stranger.
        for name in (LOG_NAME, RESULTS, checkpoints.CHECKPOINTS, lock.LOCK_NAME):
            integrity.inside(path / name, path)  # a link would let us write or remove elsewhere
        entry = current.files.get(CONFIG_NAME)
        if entry is None:
            raise CorruptRunError(f"{path / CURRENT_NAME} does not list {CONFIG_NAME}")
        file = integrity.check_file(path / CONFIG_NAME, entry.sha256, entry.size, path)
        return cls(path, read_config(file), current)

    def refresh(self) -> None:
        """Read the last commit again (another process may have made one)."""
        self.current = read_current(self.path)

    def lock(self) -> AbstractContextManager[None]:
        """Hold the run for writing. RunLockedError names the process that holds it."""
        return lock.locked(self.path)

    # -- files -------------------------------------------------------------------------------

    def file(self, name: str) -> Path:
        """A verified file of the run. CorruptRunError if it is damaged, RunError if absent."""
        entry = self.current.files.get(name)
        if entry is None:
            raise RunError(f"{self.path} has no {name}")
        path = integrity.inside(self.path / integrity.safe_name(name, self.path), self.path)
        return integrity.check_file(path, entry.sha256, entry.size, self.path)

    def facts(self, name: str) -> dict[str, Any]:
        """What a verified JSON file of the run says; {} where it has no such file."""
        return integrity.read_json(self.file(name)) if name in self.current.files else {}

    def put_file(self, name: str, data: bytes | None) -> None:
        """Add, replace or (None) take away a file, and commit.

        A file that is replaced is first taken off the list, so that a kill between the two
        renames leaves a run without it, not one whose checksum does not fit.
        """
        files = {n: e for n, e in self.current.files.items() if n != name}
        if name in self.current.files:
            self.commit(files=files)
        if data is None:
            storage.remove(self.path / name)
            return
        storage.write_atomic(self.path / name, data)
        self.commit(files=files | {name: entry_of(data)})

    def commit(self, **changes: Any) -> None:
        """Make `changes` of `current.json` true at one instant."""
        current = self.current.model_copy(update=changes)
        write_current(self.path, current)
        self.current = current

    @property
    def tokenizer_path(self) -> Path:
        return self.file(TOKENIZER_NAME)

    @property
    def weights_path(self) -> Path:
        """Verified best weights: published, or of the best checkpoint of an unfinished run."""
        if WEIGHTS_NAME in self.current.files:
            return self.file(WEIGHTS_NAME)
        name = self.current.best or self.current.newest
        if name is None:
            raise RunError(
                f"{self.path} holds no weights: training ended before its first checkpoint",
                hint=f"`rnnctl train --resume {word(self.path)}` starts it again",
            )
        files = checkpoints.check_checkpoint(self.path, name, self.current.checkpoints[name])
        if WEIGHTS_NAME not in files:
            raise CorruptRunError(f"checkpoint {name} of {self.path} holds no {WEIGHTS_NAME}")
        return files[WEIGHTS_NAME]

    def snapshots(self) -> list[Snapshot]:
        """The weights that `train --snapshots` kept, from the initial ones on; [] if none.

        Each knows its `tokens`, its `step` and its `weights_path`, which is verified when asked
        for. ``tasks.loading.load(run, snapshot=…)`` makes a model of one.
        """
        return snapshots(self.path, self.current.checkpoints)

    def heldout(self, split: str = "valid") -> list[Document]:
        """The documents of `split` ("valid" or "test") that the run keeps; [] if none."""
        return self._heldout(split)[0]

    def heldout_running(self, split: str = "valid") -> bool:
        """Whether `heldout(split)` are pieces of one running text."""
        return self._heldout(split)[1]

    def _heldout(self, split: str) -> tuple[list[Document], bool]:
        if heldout.HELDOUT_NAME not in self.current.files:
            return [], False
        return heldout.unpack(self.file(heldout.HELDOUT_NAME), split)

    # -- results -----------------------------------------------------------------------------

    def write_result(self, name: str, result: Result) -> Path:
        """Keep a result as `results/<name>.json`, sealed. For whoever holds the run."""
        path = self._result_place(name)
        storage.write_atomic(path, _sealed(name, result))
        return path

    def keep_result(self, name: str, result: Result) -> bool:
        """Keep what was measured on the weights that the run had when it was opened.

        False where it has others by now, or another run stands in its place: then nothing is kept.
        This needs no lock, so that a run can be measured while it is trained.
        """
        path, weights = self._result_place(name), weights_of(self.current)
        # Written first, then asked: in a run that takes this one's place after the question, there
        # is nothing to be renamed.
        with storage.unfinished(path) as new:
            new.write(_sealed(name, result, weights=weights))
            if weights_of(read_current(self.path)) != weights:
                return False
            new.become(path)
        return True

    def drop_outdated_results(self) -> None:
        """Remove what was measured on other weights than the present ones."""
        for name in self.results():
            path = self._result_place(name)
            try:
                weights = integrity.unseal(path, limit=integrity.MAX_RESULT).get("weights")
            except RunError:
                continue  # `runs --verify` tells of it; it shall not end a training
            # Older results say nothing of their weights, and are left to whoever reads them.
            if weights not in (None, weights_of(self.current)):
                storage.remove(path)

    def read_result(self, name: str) -> dict[str, Any]:
        """A kept result as JSON. RunError if there is none, CorruptRunError if it is damaged."""
        content = self._unsealed_result(name)
        if content is None:
            has = ", ".join(self.results()) or "none"
            raise RunError(f"{self.path} has no result {name!r}", hint=f"its results are: {has}")
        result = content.get("result")
        if content.get("name") != name or not isinstance(result, dict):
            where = self.path / RESULTS / f"{name}.json"
            raise CorruptRunError(f"{where} holds another result: {content.get('name')!r}")
        try:
            results.check(name, result)
        except ValidationError as error:
            where = self.path / RESULTS / f"{name}.json"
            raise CorruptRunError(
                f"{where} is not a valid result: {first_problem(error)}"
            ) from None
        return result

    def present_result(self, name: str) -> dict[str, Any] | None:
        """`read_result`, or None where there is no such result of the present weights."""
        content = self._unsealed_result(name)
        if content is None or content.get("weights") not in (None, weights_of(self.current)):
            return None
        return self.read_result(name)

    def results(self) -> list[str]:
        """Names of the results that the run keeps."""
        return sorted(path.stem for path in (self.path / RESULTS).glob("[!.]*.json"))

    def _unsealed_result(self, name: str) -> dict[str, Any] | None:
        """What a file of results holds: `name`, `result`, and `weights` where it is of some."""
        path = self.path / RESULTS / f"{integrity.safe_name(name, self.path)}.json"
        if not path.is_file():
            return None
        return integrity.unseal(integrity.inside(path, self.path), limit=integrity.MAX_RESULT)

    def _result_place(self, name: str) -> Path:
        """Where a result stands or will stand, in a folder that is there."""
        folder = self.path / RESULTS
        with storage.storing(folder):
            folder.mkdir(exist_ok=True)
        storage.remove_leftovers(folder)
        return folder / f"{integrity.safe_name(name, folder)}.json"

    # -- log ---------------------------------------------------------------------------------

    @property
    def log_position(self) -> LogPosition:
        """The place in the log that the last commit vouches for."""
        return LogPosition(self.current.log_bytes, self.current.log_crc)

    @property
    def log_file(self) -> LogFile:
        """The log, to be written."""
        if self._log is None:
            self._log = LogFile(self.path / LOG_NAME, self.log_position)
        return self._log

    def append_log(self, event: dict[str, Any]) -> None:
        """Add one event to the log (a JSON object without NaN)."""
        self.log_file.add(event)
        self.log_file.flush()

    def log(self) -> list[dict[str, Any]]:
        """All events so far. CorruptRunError where the log was altered."""
        return list(self.iterate_log())

    def iterate_log(self) -> Iterator[dict[str, Any]]:
        return read_log(self.path / LOG_NAME, self.log_position)

    def _read_log(self) -> None:
        for _ in self.iterate_log():
            pass

    # -- checking ----------------------------------------------------------------------------

    def verify(self) -> list[Problem]:
        """Check every file of the run; an empty list means that all is as it was written."""
        checks: list[tuple[str, Callable[[], object]]] = [(LOG_NAME, self._read_log)]
        checks += [(name, partial(self.file, name)) for name in self.current.files]
        for name, digest in self.current.checkpoints.items():
            check = partial(checkpoints.check_checkpoint, self.path, name, digest)
            checks.append((f"{checkpoints.CHECKPOINTS}/{name}", check))
        checks += [(f"{RESULTS}/{n}.json", partial(self.read_result, n)) for n in self.results()]
        checks.append((heldout.HELDOUT_NAME, self.heldout))
        found = [self._problem(name, check) for name, check in checks]
        return [problem for problem in found if problem is not None]

    def _problem(self, name: str, check: Callable[[], object]) -> Problem | None:
        try:
            check()
        except RunError as error:
            return Problem(name, error.message)
        return None


def _sealed(name: str, result: Result, **more: str) -> bytes:
    return integrity.seal({"name": name, **more, "result": result.model_dump(mode="json")})


def _fill_working_directory(path: Path, content: Mapping[str, bytes]) -> None:
    """Make a run in the folder that the process is in, which cannot be exchanged under its feet.

    RunError unless it is empty. `current.json`, which makes it a run, is written last.
    """
    if any(path.iterdir()):
        raise RunError(
            f"{path} is the current folder and cannot be replaced",
            hint="go to another folder, and name it from there",
        )
    for name in sorted(content, key=lambda name: name == CURRENT_NAME):
        storage.write_atomic(path / name, content[name])


def check_free(path: Path, *, overwrite: bool) -> None:
    """RunError unless a run may be made at `path`. Only runs and empty folders are overwritten."""
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return
    if not (path / CURRENT_NAME).is_file():
        what = "is not a run, so --overwrite leaves it alone" if overwrite else "exists already"
        other = "choose another --run" if overwrite else "it is not a run; choose another --run"
        raise RunError(f"{path} {what}", hint=other)
    if not overwrite:
        raise RunError(
            f"{path} exists already",
            hint=f"choose another --run, continue it with `rnnctl train --resume {word(path)}`, "
            "or replace it with --overwrite",
        )
    with lock.locked(path):
        return


def entry_of(data: bytes) -> FileEntry:
    return FileEntry(sha256=integrity.digest(data), size=len(data))


def config_bytes(config: RunConfig) -> bytes:
    """`config.json` as it is written."""
    return (config.model_dump_json(indent=2) + "\n").encode("utf-8")


def read_config(path: str | Path) -> RunConfig:
    """Settings from a `config.json`. RunError says what in it is not possible."""
    path = Path(path)
    content = integrity.read_json(path)
    content = migrate(content, path, CONFIG_SCHEMA, {}, key="schema_version")
    try:
        return RunConfig.model_validate_json(json.dumps(content))
    except ValidationError as error:
        raise RunError(
            f"{path} holds impossible settings: {first_problem(error)}",
            hint="use the unchanged config.json of a run, and change values with options",
        ) from None


# -- which runs there are ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RunSummary:
    """One line about a run. `problem` says why it cannot be read, then the rest is empty."""

    path: Path
    run: Run | None
    result: dict[str, Any] | None
    problem: str = ""

    @property
    def state(self) -> str:
        """finished, resumable, best weights only, empty (no weights yet), or damaged.

        Best weights alone are what a disk leaves that is full before the first checkpoint: they can
        be used, and training begins again.
        """
        if self.run is None:
            return "damaged"
        current = self.run.current
        if current.finished:
            return "finished"
        if current.newest:
            return "resumable"
        return "best weights only" if current.best else "empty"

    def progress(self) -> tuple[int | None, float | None]:
        """Steps and best validation (nats) of the newest checkpoint, as far as it has them."""
        if self.run is None or self.run.current.newest is None:
            return None, None
        try:
            counters = read_values(self.run.path, self.run.current.newest)["counters"]
            best = counters["best_value"]
            return int(counters["step"]), None if best is None else float(best)
        except (RunError, KeyError, TypeError, ValueError, OverflowError):
            return None, None


def find_runs(root: Path) -> Iterator[Path]:
    """Folders under `root` (itself included) that hold a run, sorted, hidden ones left out.

    Links are followed. A folder that is reached twice, also by a circle of links, counts once.
    """
    yield from _find(root, set())


def _find(folder: Path, seen: set[Path]) -> Iterator[Path]:
    if not folder.is_dir() or folder.resolve() in seen:
        return
    seen.add(folder.resolve())
    if (folder / CURRENT_NAME).is_file():
        yield folder
        return
    # Folders before links, so that a run that is reached both ways has its own name.
    inside = [path for path in folder.iterdir() if not path.name.startswith(".")]
    found = [run for path in sorted(inside, key=_links_last) for run in _find(path, seen)]
    yield from sorted(found)


def _links_last(path: Path) -> tuple[bool, Path]:
    return path.is_symlink(), path


def summarize(path: Path) -> RunSummary:
    """What a run says about itself; a damaged one becomes a summary with its problem."""
    try:
        run = Run.open(path)
        result = run.read_result("train") if "train" in run.results() else None
    except RunError as error:
        return RunSummary(path, None, None, error.message)
    return RunSummary(path, run, result)
