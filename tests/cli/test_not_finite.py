"""Runs whose numbers overflow on a long text: the commands say where, and what to do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Command = Callable[..., Any]
TEXT = "a b c d " * 200
WILD = {"cell": "rnn", "nonlinearity": "relu", "init": "good", "scale": 12.0}


@pytest.fixture(scope="module")
def wild(make_run: Callable[..., Path]) -> Path:
    return make_run(TEXT, **WILD)


@pytest.mark.parametrize(
    ("arguments", "where"),
    [
        (("score",), "standard input: token "),
        (("score", "--per-token"), "standard input: token "),
        (("score", "--lines"), "line 2: "),
        (("score", "--lines", "--per-token"), "line 2: "),
    ],
)
def test_scoring_says_where(
    rnnctl: Command, wild: Path, arguments: tuple[str, ...], where: str
) -> None:
    command, *options = arguments
    outcome = rnnctl(command, wild, *options, stdin=f"a b\n{TEXT}\n".encode())
    assert outcome.code == 1 and where in outcome.err and "not finite" in outcome.err, outcome.err
    assert "hint: " in outcome.err and "--lr" in outcome.err
    assert rnnctl(command, wild, *options, stdin=b"a b\n").code == 0


@pytest.mark.parametrize("temperature", [0, 0.8])
def test_generating_stops(rnnctl: Command, wild: Path, temperature: float) -> None:
    outcome = rnnctl("generate", wild, TEXT, "--length", 5, "--temperature", temperature)
    assert outcome.code == 1 and "the next token: the model's numbers overflow" in outcome.err


def test_evaluating_says_where(rnnctl: Command, wild: Path, tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_text(TEXT)
    outcome = rnnctl("evaluate", wild, path)
    assert outcome.code == 1 and "text.txt: the model's numbers overflow" in outcome.err


def test_classifying_says_where(
    rnnctl: Command, make_run: Callable[..., Path], tmp_path: Path
) -> None:
    run = make_run(TEXT, labels=("bad", "good"), **WILD)
    outcome = rnnctl("classify", run, stdin=f"a b\n{TEXT}\n".encode())
    assert outcome.code == 1 and "line 2: the model's numbers overflow" in outcome.err
    path = tmp_path / "table.csv"
    path.write_text(f"text,label\na b,good\na c,bad\n{TEXT},bad\n")
    outcome = rnnctl("evaluate", run, path, "--text-field", "text", "--label-field", "label")
    assert outcome.code == 1 and "document 3 of " in outcome.err, outcome.err
