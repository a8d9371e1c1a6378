"""`train` with options that the text at hand has no use for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rnnctl.cli.train import _stdin
from rnnctl.errors import UsageError

CommandLine = Callable[..., Any]


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpora")
    (folder / "text.txt").write_text("one two three good bad\n" * 300)
    rows = "".join(f"one two {n} {'good' if n % 2 else 'bad'},{n % 2}\n" for n in range(200))
    (folder / "table.csv").write_text("text,label\n" + rows)
    (folder / "labels.txt").write_text("good one two\nbad three four\n" * 100)
    (folder / "parts").mkdir()
    for name in ("train", "valid", "test"):
        (folder / "parts" / f"{name}.txt").write_text("one two three good bad\n" * 300)
    return folder


@pytest.mark.parametrize(
    ("corpus", "options"),
    [
        ("text.txt", ("--max-tokens", 5)),
        ("text.txt", ("--text-field", "foo")),
        ("text.txt", ("--text-field", "foo", "--documents", "line")),
        ("text.txt", ("--keep", "tail", "--max-tokens", 5)),
        ("text.txt", ("--label-field", "foo")),
        ("table.csv", ("--documents", "line", "--task", "classify")),
        ("parts", ("--split", "10/45/45")),
        ("task:copy:lag=5,train=50,valid=10,test=10", ("--encoding", "latin-1")),
    ],
)
def test_what_does_nothing_is_refused(
    rnnctl: CommandLine, corpora: Path, tmp_path: Path, corpus: str, options: tuple[Any, ...]
) -> None:
    source = corpus if ":" in corpus else corpora / corpus
    command = ("train", source, "--run", tmp_path / "r", "--steps", 1, "--no-diagnose", "--quiet")
    outcome = rnnctl(*command, *options)
    assert outcome.code == 2
    assert any(f"{option} has no effect here" in outcome.err for option in options), outcome.err
    assert "hint: leave it out" in outcome.err and not (tmp_path / "r").exists()


@pytest.mark.parametrize(
    ("corpus", "options"),
    [
        ("text.txt", ("--documents", "line", "--max-tokens", 5, "--split", "80/10/10")),
        ("table.csv", ("--task", "classify", "--text-field", "text", "--max-tokens", 9)),
        ("parts", ("--split", "90/5/5")),
        ("labels.txt", ("--task", "classify", "--label-field", "first-word")),
    ],
)
def test_what_does_something_is_not(
    rnnctl: CommandLine, corpora: Path, tmp_path: Path, corpus: str, options: tuple[Any, ...]
) -> None:
    small = ("--hidden-size", 4, "--batch-size", 4, "--steps", 1, "--no-diagnose", "--quiet")
    outcome = rnnctl("train", corpora / corpus, "--run", tmp_path / "r", *small, *options)
    assert outcome.code == 0, outcome.err


def test_standard_input_that_is_closed_is_nothing_to_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("rnnctl.cli.inputs.sys.stdin", None)
    with pytest.raises(UsageError, match="standard input is closed") as caught:
        _stdin({"corpus": {"sources": ("-",)}})
    assert "rnnctl train -" in caught.value.hint
