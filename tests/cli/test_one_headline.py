"""The memory horizon of a run is the same string wherever it is written."""

from __future__ import annotations

import html
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rnnctl.diagnostics.settings import PRESETS

CommandLine = Callable[..., Any]
SMALL = ("--level", "word", "--hidden-size", 16, "--steps", 60, "--lr", 0.01, "--documents", "line")
CELLS = ("lstm", "rnn")


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    small = replace(
        PRESETS["quick"], resamples=100, resets=48, n_max=32, swaps=32, distance_words=16,
        planted=80, hold_lag=8, sequences=8, reach_lags=16, lyapunov_steps=120, exponents=2,
        gate_tokens=400,
    )  # fmt: skip
    monkeypatch.setitem(PRESETS, "quick", small)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Documents whose second line repeats the first, with other words after it."""
    path = tmp_path_factory.mktemp("corpus") / "text.txt"
    words = ["ash", "oak", "elm", "fir", "yew", "fig"]
    lines = []
    for k in range(300):
        half = [words[(k * p + k // 7) % 6] for p in (1, 2, 3, 5, 7, 11)]
        rest = [words[(k * k + j * k + j) % 6] for j in range(20)]
        lines.append(" ".join([*half, "and", *half, ".", *rest]))
    path.write_text("\n".join(lines))
    return path


def bare(text: str) -> str:
    """Without the unit, as in the cell of a table whose column names it."""
    return text.replace(" words", "").replace(" word", "")


def flat(text: str) -> str:
    """Broken lines are one again; without the entities of a page and Markdown's backslashes."""
    return " ".join(html.unescape(text).replace("\\", "").split())


def test_every_command_and_format_writes_the_same_number(
    rnnctl: CommandLine, corpus: Path, tmp_path: Path
) -> None:
    closing, runs = {}, {cell: tmp_path / "runs" / cell for cell in CELLS}
    for cell, run in runs.items():
        done = rnnctl("train", corpus, "--cell", cell, "--run", run, *SMALL, "--quiet")
        assert done.code == 0, done.err
        closing[cell] = flat(done.out)
    listed_before = flat(rnnctl("runs", tmp_path / "runs", "--format", "markdown").out)
    said = {}
    for cell, run in runs.items():
        found = json.loads(rnnctl("diagnose", run, "--format", "json", "--quiet").out)["headline"]
        said[cell] = found["text"]
        assert "[" in found["text"] or ">" in found["text"]
        assert f"Memory horizon: {said[cell]}" in closing[cell]
        assert said[cell].split(" [")[0].removeprefix("> ") in found["sentence"]
        for options in ((), ("--verbose",), ("--format", "markdown"), ("--format", "html")):
            report = flat(rnnctl("diagnose", run, "--quiet", *options).out)
            assert f"Memory horizon: {said[cell]}" in report, options
    assert len(set(said.values())) == 2  # else nothing would be told apart
    assert any("[" in text for text in said.values())
    listed = flat(rnnctl("runs", tmp_path / "runs", "--format", "markdown").out)
    page = tmp_path / "page.html"
    texts = {
        form: flat(rnnctl("compare", *runs.values(), *form.split(), "--quiet").out)
        for form in ("", "--verbose", "--format markdown", "--format html")
    }
    assert rnnctl("compare", *runs.values(), "--quiet", "--html", page).code == 0
    texts["page"] = flat(page.read_text())
    rows = json.loads(rnnctl("compare", *runs.values(), "--format", "json", "--quiet").out)["rows"]
    for cell in CELLS:
        assert said[cell] in listed and said[cell] in listed_before
        for form, text in texts.items():
            assert bare(said[cell]) in text, form  # the table
            assert said[cell] in text or not form, form  # the sentences
        (row,) = [row for row in rows if row["cell"] == cell]
        assert row["numbers"]["horizon"]["within"] is not None
