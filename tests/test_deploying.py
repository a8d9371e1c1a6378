"""The lines of Python in `rnnctl help deploying` are run, and answer what `classify` answers."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rnnctl.inference.classify import Predictor
from rnnctl.tasks.loading import load

TEXT = "The sound is great. It broke after a week. \n" * 8
TEXTS = ("The sound is great.", "It broke after a week.")


@pytest.fixture(scope="module")
def place(make_run: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a classifier as runs/reviews, and rnnctl as a program."""
    folder = tmp_path_factory.mktemp("deploying")
    (folder / "runs").mkdir()
    run = make_run(TEXT, level="word", labels=("negative", "positive"))
    (folder / "runs" / "reviews").symlink_to(run)
    script = folder / "rnnctl"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m rnnctl "$@"\n')
    script.chmod(0o755)
    return folder


@pytest.mark.skipif(os.name == "nt", reason="the program of this test is a shell script")
@pytest.mark.parametrize("way", [0, 1, 2], ids=["command", "library", "onnx"])
def test_the_lines_answer_what_classify_answers(
    root: Path, place: Path, rnnctl: Callable[..., Any], way: int
) -> None:
    page = (root / "rnnctl" / "docs" / "deploying.md").read_text("utf-8")
    ways = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(ways) == 3 and all(len(code.splitlines()) <= 11 for code in ways)
    texts = TEXTS
    if way == 1:
        texts = (TEXTS[0], "It broke.")
    if way == 2:
        pytest.importorskip("onnx")
        pytest.importorskip("onnxruntime")
        run = place / "runs" / "reviews"
        done = rnnctl("export", run, "--onnx", place / "exported" / "model.onnx")
        assert done.code == 0, done.err
    path = f"{place}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(root)}
    made = subprocess.run(
        [sys.executable, "-c", ways[way]],
        cwd=place, env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    found = Predictor(load(place / "runs" / "reviews")).predict(texts)
    for line, expected in zip(made.stdout.splitlines(), found, strict=True):
        label, chance, *_ = line.split()
        assert label == expected.label
        assert float(chance) == pytest.approx(expected.probability, abs=1e-5)
