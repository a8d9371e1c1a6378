"""The n-gram model that a diagnosis holds a run against, from the store of the training text."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rnnctl.baselines.ngram import KneserNey
from rnnctl.diagnostics.material import n_gram
from rnnctl.diagnostics.use import Reference
from rnnctl.tasks.loading import load

CommandLine = Callable[..., Any]


@pytest.fixture
def run(rnnctl: CommandLine, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RNNCTL_CACHE", str(tmp_path / "cache"))
    text = tmp_path / "text.txt"
    prose = (root / "data/paragraphs/valid.txt").read_text(encoding="utf-8")
    text.write_text(prose[:20_000], encoding="utf-8")
    outcome = rnnctl(
        "train", text, "--documents", "paragraph", "--level", "word", "--hidden-size", 8,
        "--embedding-size", 8, "--steps", 1, "--no-diagnose", "--run", tmp_path / "run", "-q",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    return tmp_path / "run"


def test_it_is_the_n_gram_of_the_training_documents(run: Path) -> None:
    loaded = load(run)
    found = n_gram(loaded)
    assert isinstance(found, Reference)
    assert "3-gram" in found.name
    heldout = {
        document.text for split in ("valid", "test") for document in loaded.run.heldout(split)
    }
    source = (run.parent / "text.txt").read_text(encoding="utf-8")
    parts = [part.strip() for part in source.split("\n\n") if part.strip()]
    training = [part for part in parts if part not in heldout]
    assert 0 < len(training) < len(parts)
    tokenizer = loaded.tokenizer
    documents = [np.append(tokenizer.encode(part), tokenizer.boundary_id) for part in training]
    own = KneserNey(
        documents, order=3, vocab_size=tokenizer.vocab_size, boundary_id=tokenizer.boundary_id
    )
    ids = tokenizer.encode(parts[0])
    assert found.losses(ids) == pytest.approx(own.losses(ids), rel=1e-9)


def test_without_the_store_it_is_not_known(
    run: Path, rnnctl: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = ("diagnose", run, "use", "--text", run.parent / "text.txt", "-q", "--format", "json")
    with_store = json.loads(rnnctl(*call).out)
    assert with_store["use"]["scalars"]["reference_loss"]["estimate"] > 0
    assert "reference_loss" in with_store["panel"][-1]["numbers"]
    monkeypatch.setenv("RNNCTL_CACHE", str(tmp_path / "empty"))
    without = json.loads(rnnctl(*call).out)
    assert without["use"]["reference"].startswith("not known: the training text is no longer")
    assert "reference_loss" not in without["use"]["scalars"]
    same = ("n_eff_foreign", "n_eff_zero", "loss")
    for name in same:
        assert without["use"]["scalars"][name] == with_store["use"]["scalars"][name]
