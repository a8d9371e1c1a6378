"""Readers and a level of another package: used through every command, without a change in rnnctl.

``tests/plugin`` stands for that package.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rnnctl import catalog

PLUGIN = Path(__file__).parents[1] / "plugin"
SMALL = ["--hidden-size", 4, "--embedding-size", 4, "--steps", 2, "--no-diagnose", "--quiet"]
Command = Callable[..., Any]


@pytest.fixture(autouse=True)
def _installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(str(PLUGIN))
    monkeypatch.setenv("PYTHONPATH", str(PLUGIN), prepend=os.pathsep)
    catalog._extensions.cache_clear()
    yield
    catalog._extensions.cache_clear()


@pytest.fixture
def cards(tmp_path: Path) -> Path:
    path = tmp_path / "box" / "reviews.cards"
    path.parent.mkdir()
    each = [f"text: this was {'good' if i % 2 else 'bad'} {i}\nlabel: {i % 2}" for i in range(40)]
    path.write_text("\n---\n".join(each))
    return path


def test_files_with_a_new_ending(rnnctl: Command, cards: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    for source in (cards, cards.parent):
        done = rnnctl("train", source, "--task", "sentiment", "--run", run, "--overwrite", *SMALL)
        assert done.code == 0, done.err
    done = rnnctl("classify", run, cards, "--format", "json")
    answers = [json.loads(line) for line in done.out.splitlines()]
    assert [one["text"] for one in answers][:2] == ["this was bad 0", "this was good 1"]
    done = rnnctl("evaluate", run, cards, "--part", "all", "--format", "json")
    assert done.code == 0, done.err
    assert sum(map(sum, json.loads(done.out)["classification"]["confusion"])) == 40
    refused = rnnctl("train", cards, "--encoding", "cp1252", "--run", tmp_path / "other", *SMALL)
    assert refused.code == 2 and "--encoding does nothing here" in refused.err
    cards.write_text("no fields")
    assert "holds a card without fields" in rnnctl("classify", run, cards).err


def test_a_new_kind_of_source(rnnctl: Command, tmp_path: Path) -> None:
    done = rnnctl("train", "made-up:30", "--run", tmp_path / "run", "--batch-size", 4, *SMALL)
    assert done.code == 0, done.err
    done = rnnctl("evaluate", tmp_path / "run", "made-up:9", "--format", "json")
    assert done.code == 0, done.err
    alone = rnnctl("train", "made-up:30", "made-up:9", "--run", tmp_path / "two", *SMALL)
    assert alone.code == 2 and "a made-up: corpus stands alone" in alone.err


def test_a_new_level(rnnctl: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tmp_path / "run"
    text = tmp_path / "text.txt"
    text.write_text("Some Words, and SOME more.\n" * 40)
    monkeypatch.delitem(sys.modules, "rnnctl.cli.train", raising=False)  # its options are made anew
    done = rnnctl("train", text, "--level", "small", "--run", run, "--batch-size", 4, *SMALL)
    assert done.code == 0, done.err
    scores = [rnnctl("score", run, "--format", "json", stdin=t).out for t in ("SOME", "some")]
    nats = [json.loads(out)["total"]["nats"] for out in scores]
    assert nats[0] == pytest.approx(nats[1])
    made = rnnctl("generate", run, "--length", 20, stdin="Some")
    assert made.code == 0 and made.out == made.out.lower()
    again = rnnctl("train", "--resume", run, "--steps", 4, "--no-diagnose", "--quiet")
    assert again.code == 0, again.err
    assert rnnctl("evaluate", run).code == 0
