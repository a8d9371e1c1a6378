"""Runs that a stranger made, every checksum right: an answer or one clear error, whatever they say.

All examples: `python tests/benchmarks/trust.py hostile`.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rnnctl import integrity
from rnnctl.runs import Run
from rnnctl.runs.checkpoints import CURRENT_NAME, MANIFEST
from rnnctl.runs.run import entry_of

Command = Callable[..., Any]
PARTS = range(10)
EXAMPLES_OF_A_PART = 100

VALUES = st.one_of(
    st.sampled_from([None, True, -1, 0, 1, 2**63, 10**400, 0.5, "", "x", "../../x", "\0", [], {}]),
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False)
        | st.text(max_size=4),
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner),
        max_leaves=4,
    ),
)
Change = tuple[str, float, Any]
FILES = [CURRENT_NAME, "config.json", "corpus.json", "schedule.json", "log.jsonl"]
FILES += ["results/train.json", "state.json", MANIFEST]
CHANGES = st.tuples(st.sampled_from(FILES), st.floats(0, 1, exclude_max=True), VALUES)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A finished run that follows a schedule, with a diagnosis, trained in a folder of its own."""
    from rnnctl.__main__ import main

    folder = tmp_path_factory.mktemp("hostile")
    (folder / "text.txt").write_text("the cat sat on the mat and ate the rat. \n" * 200)
    sizes = ["--hidden-size", "8", "--batch-size", "4", "--bptt", "16", "--threads", "1"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        trained = ["train", "text.txt", "--budget", "0.3s", "--run", "first", *sizes]
        assert main([*trained, "--no-diagnose", "--quiet", "-o", os.devnull]) == 0
        again = ["train", "--config", "first/config.json", "--run", "run", "--quiet"]
        assert main([*again, "-o", os.devnull]) == 0
    yield folder / "run"


def nodes(content: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths to every value inside a JSON document."""
    pairs = content.items() if isinstance(content, dict) else ()
    pairs = enumerate(content[:3]) if isinstance(content, list) else pairs
    for key, value in pairs:
        yield (*path, key)
        yield from nodes(value, (*path, key))


def put(content: Any, place: float, value: Any) -> Any:
    """`content` with the value at `place` (of all its values, 0 to 1) replaced."""
    paths = list(nodes(content))
    *above, last = paths[int(place * len(paths))]
    inside = content
    for key in above:
        inside = inside[key]
    inside[last] = value
    return content


def forge(run: Run, change: Change) -> None:
    """Alter one file as a forger does it: with all the checksums that vouch for it."""
    name, place, value = change
    if name in run.current.files:
        data = json.dumps(put(json.loads((run.path / name).read_bytes()), place, value)).encode()
        (run.path / name).write_bytes(data)
        run.commit(files={**run.current.files, name: entry_of(data)})
    elif name in ("state.json", MANIFEST):
        forge_checkpoint(run, name, place, value)
    elif name == "log.jsonl":
        events = [put(event, place, value) for event in run.log()[:4]]
        (run.path / name).unlink()
        run.log_file.rewind(type(run.log_file.position)())
        for event in events:
            run.append_log({k: v for k, v in event.items() if k != "crc"} or {"event": "x"})
        position = run.log_file.position
        run.commit(log_bytes=position.bytes, log_crc=position.crc)
    else:
        content = put(integrity.unseal(run.path / name), place, value)
        content.pop("checksum", None)
        (run.path / name).write_bytes(integrity.seal(content))


def forge_checkpoint(run: Run, name: str, place: float, value: Any) -> None:
    newest = str(run.current.newest)
    folder = run.path / "checkpoints" / newest
    manifest = integrity.unseal(folder / MANIFEST)
    if name == MANIFEST:
        manifest = put(manifest, place, value)
        manifest.pop("checksum", None)
    else:
        data = json.dumps(put(json.loads((folder / name).read_bytes()), place, value)).encode()
        (folder / name).write_bytes(data)
        manifest["files"][name] = entry_of(data).model_dump()
    (folder / MANIFEST).write_bytes(integrity.seal(manifest))
    digest = integrity.digest((folder / MANIFEST).read_bytes())
    run.commit(checkpoints={**run.current.checkpoints, newest: digest})


def commands(run: Path) -> list[tuple[object, ...]]:
    """Every command that opens a run."""
    train = [
        ("train", "--config", run / "config.json", "--run", run.parent / "new", "--steps", "1"),
        ("train", "--resume", run, "--no-diagnose"),
    ]
    return [
        ("runs", run.parent),
        ("runs", run.parent, "--verify"),
        ("info", run),
        ("generate", run, "the", "--length", "3"),
        ("score", run),
        ("compare", run, run),
        *train,
    ]


def use(rnnctl: Command, run: Path, change: Change) -> None:
    """Open a run in every way; a defect of ours is raised by `rnnctl`, and fails here."""
    outside = set(run.parent.parent.iterdir())
    for command in commands(run):
        # Whoever trains with settings gets what they say, were it a model beyond all memory.
        if command[0] == "train" and change[0] == "config.json":
            continue
        done = rnnctl(*command, stdin="the cat")
        assert done.code in (0, 1, 2), (command, done.err)
        assert done.code == 0 or "error: " in done.err or "--verify" in command, (command, done.err)
        assert set(run.parent.parent.iterdir()) == outside


FUZZ = settings(
    max_examples=EXAMPLES_OF_A_PART,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def check(rnnctl: Command, original: Path, folder: Path, change: Change) -> None:
    shutil.rmtree(folder / "runs", ignore_errors=True)
    shutil.copytree(original, folder / "runs" / "run")
    run = Run.open(folder / "runs" / "run")
    try:
        forge(run, change)
    except (ValueError, OverflowError, AssertionError):  # what no file could hold
        return
    use(rnnctl, run.path, change)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("part", PARTS)
def test_forged_runs(
    part: int, rnnctl: Command, original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(original.parent)

    @FUZZ
    @given(change=CHANGES)
    def forged(change: Change) -> None:
        check(rnnctl, original, tmp_path, change)

    forged()

    print("forged runs:", EXAMPLES_OF_A_PART)


KNOWN: list[Change] = [
    ("results/train.json", 0.5, {}),
    ("schedule.json", 0.0, {"a": 1}),
    ("schedule.json", 0.0, [10**400]),
    ("corpus.json", 0.99, [[1]]),
    ("log.jsonl", 0.3, []),
    ("state.json", 0.0, None),
    (MANIFEST, 0.9, "x"),
    (CURRENT_NAME, 0.5, -1),
]


@pytest.mark.parametrize("change", KNOWN, ids=lambda change: f"{change[0]}-{change[2]!r:.9}")
def test_what_was_found_stays_mended(
    change: Change,
    rnnctl: Command,
    original: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(original.parent)
    check(rnnctl, original, tmp_path, change)
