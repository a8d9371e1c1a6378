"""From text to answers on a GPU, where one is at hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]

CommandLine = Callable[..., Any]
PROSE = "the bell rang and the door stood open . a cat walked in and sat down .\n" * 400


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_a_language_model_is_trained_continued_and_used(
    rnnctl: CommandLine, tmp_path: Path, cell: str, precision: str
) -> None:
    """Enough held-out text for the validation to read it in several streams."""
    text, run = tmp_path / "prose.txt", tmp_path / "run"
    text.write_text(PROSE, encoding="utf-8")
    shared = ("--device", "cuda", "--steps", 8, "--no-diagnose", "--quiet")
    small = ("--cell", cell, "--hidden-size", 16, "--precision", precision, "--split", "50/50/0")
    done = rnnctl("train", text, *shared, *small, "--run", run)
    assert done.code == 0, done.err
    done = rnnctl("train", "--resume", run, "--device", "cuda", "--steps", 12, "--no-diagnose")
    assert done.code == 0, done.err
    for command in (("generate", run, "the"), ("score", run, text), ("evaluate", run, text)):
        done = rnnctl(*command)
        assert done.code == 0, done.err


def test_a_classifier_is_trained_and_used(rnnctl: CommandLine, tmp_path: Path) -> None:
    rows = [f"a {word} film number {k},{word}" for k in range(60) for word in ("good", "bad")]
    table, run = tmp_path / "films.csv", tmp_path / "run"
    table.write_text("\n".join(["text,label", *rows]), encoding="utf-8")
    small = ("--steps", 8, "--hidden-size", 16, "--no-diagnose", "--quiet", "--run", run)
    done = rnnctl("train", table, "--task", "classify", "--device", "cuda", *small)
    assert done.code == 0, done.err
    done = rnnctl("classify", run, stdin=b"a good film\na bad film\n")
    assert done.code == 0 and len(done.out.splitlines()) == 2
