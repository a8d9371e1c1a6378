"""Readers, a level and a task of another package: used without a change in rnnctl.

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
from rnnctl.data import readers

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
        done = rnnctl("train", source, "--task", "classify", "--run", run, "--overwrite", *SMALL)
        assert done.code == 0, done.err
    done = rnnctl("classify", run, cards, "--format", "json")
    answers = [json.loads(line) for line in done.out.splitlines()]
    assert [one["text"] for one in answers][:2] == ["this was bad 0", "this was good 1"]
    done = rnnctl("evaluate", run, cards, "--part", "all", "--format", "json")
    assert done.code == 0, done.err
    assert sum(map(sum, json.loads(done.out)["classification"]["confusion"])) == 40
    refused = rnnctl("train", cards, "--encoding", "cp1252", "--run", tmp_path / "other", *SMALL)
    assert refused.code == 2 and "--encoding has no effect here" in refused.err
    cards.write_text("no fields")
    assert "holds a card without fields" in rnnctl("classify", run, cards).err


def test_a_new_kind_of_source(rnnctl: Command, tmp_path: Path) -> None:
    done = rnnctl("train", "made-up:30", "--run", tmp_path / "run", "--batch-size", 4, *SMALL)
    assert done.code == 0, done.err
    done = rnnctl("evaluate", tmp_path / "run", "made-up:9", "--format", "json")
    assert done.code == 0, done.err
    alone = rnnctl("train", "made-up:30", "made-up:9", "--run", tmp_path / "two", *SMALL)
    assert alone.code == 2 and "a made-up: corpus cannot be combined" in alone.err


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


def test_a_reader_or_level_that_was_edited_is_not_answered_from_the_cache(
    rnnctl: Command, cards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cache held what they were before: whoever writes one saw no change and no reason."""
    found = []
    for times in (1, 2):
        package = tmp_path / f"version{times}"
        package.mkdir()
        reader = (PLUGIN / "cards_reader.py").read_text().replace("field: value", REPEATED)
        (package / "cards_reader.py").write_text(reader.replace("TIMES", str(times)))
        level = (PLUGIN / "small_letters.py").read_text()
        level = level.replace("sorted(counts), dict", f"sorted(counts)[{times}:], dict")
        (package / "small_letters.py").write_text(level)
        monkeypatch.syspath_prepend(str(package))
        for name in ("cards_reader", "small_letters", "rnnctl.cli.train"):
            monkeypatch.delitem(sys.modules, name, raising=False)
        readers._by_ending.cache_clear()
        done = rnnctl(
            "train", cards, "--level", "small", "--run", package / "run", "--batch-size", 4, *SMALL
        )
        assert done.code == 0, done.err
        sizes = json.loads((package / "run" / "tokenizer.json").read_text())["model"]
        found.append((sizes["rnnctl"]["spelling"]["chars"]["w"], len(sizes["vocab"])))
    readers._by_ending.cache_clear()
    assert found[1][0] == 2 * found[0][0]
    assert found[1][1] == found[0][1] - 1


REPEATED = "field: value * TIMES"


def test_a_new_task(
    rnnctl: Command, cards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trained, resumed, used, diagnosed and compared by its name alone."""
    monkeypatch.delitem(sys.modules, "rnnctl.cli.train", raising=False)  # its options are made anew
    run, plain = tmp_path / "smoothed", tmp_path / "plain"
    train = ("train", cards, "--steps", 2, "--no-diagnose", "--quiet")
    done = rnnctl(*train, "--task", "smoothed", "--run", run, "--format", "json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["task"] == "smoothed"
    settings = json.loads((run / "config.json").read_text())
    assert settings["tokenizer"]["level"] == "char" and settings["model"]["hidden_size"] == 6
    shown = rnnctl("info", run)
    assert shown.code == 0 and "smoothed" in shown.out
    more = rnnctl("train", "--resume", run, "--steps", 30, "--no-diagnose", "--format", "json")
    assert more.code == 0, more.err
    trained = json.loads(more.out)
    assert trained["next_command"].startswith("rnnctl classify")
    judged = rnnctl("evaluate", run, "--format", "json")
    assert judged.code == 0, judged.err
    assert json.loads(judged.out)["classification"]["labels"] == ["0", "1"]
    assert rnnctl("classify", run, stdin="this was good").out.count("\t") == 1
    diagnosed = rnnctl("diagnose", run, "--preset", "quick", "--format", "json")
    assert diagnosed.code == 0, diagnosed.err
    assert json.loads(diagnosed.out)["headline"]["kind"] == "effect_half"
    small = ("--level", "char", "--hidden-size", 6, "--embedding-size", 4, "--pool", "mean")
    done = rnnctl(*train, "--task", "sentiment", *small, "--run", plain)
    assert done.code == 0, done.err
    compared = rnnctl("compare", run, run, "--format", "json")
    assert compared.code == 0, compared.err
    assert json.loads(compared.out)["quality"] == "accuracy"
    mixed = rnnctl("compare", run, plain, "--format", "json")
    assert mixed.code != 0 and "smoothed" in mixed.err


def test_its_loss_is_the_one_that_is_trained(
    rnnctl: Command, cards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first step's loss is that of softened labels, computed here from the first weights."""
    monkeypatch.delitem(sys.modules, "rnnctl.cli.train", raising=False)
    losses = []
    for task in ("smoothed", "classify"):
        run = tmp_path / task
        small = ("--level", "char", "--hidden-size", 4, "--embedding-size", 4)
        done = rnnctl(
            "train", cards, "--task", task, *small, "--pool", "last", "--dropout", 0,
            "--steps", 60, "--lr", 0.02, "--no-diagnose", "--format", "json", "--run", run,
            "--no-bidirectional", "--quiet",
        )  # fmt: skip
        assert done.code == 0, done.err
        found = [one["classification"] for one in json.loads(done.out)["splits"]]
        losses.append(found[0]["loss_nats"])
    assert losses[0] > losses[1] + 0.05  # softened targets keep the answers from being certain


def test_a_new_diagnostic(rnnctl: Command, make_run: Any, tmp_path: Path) -> None:
    """It stands in the panel and in the record, and its number follows from the weights.

    A plain RNN without recurrent weights holds nothing of its start: one token is enough.
    """
    text = tmp_path / "text.txt"
    text.write_text("\n\n".join(f"the cat sat on mat {k}, and it was glad." for k in range(40)))
    small = {"cell": "rnn", "running": False}
    run = make_run(text.read_text(), **small, without="weight_hh")
    measured = ("settle", "--text", text, "--format", "json")
    found = []
    for one in (make_run(text.read_text(), **small), run):
        done = rnnctl("diagnose", one, *measured)
        assert done.code == 0, done.err
        found.append(json.loads(done.out)["others"]["settle"]["scalars"]["half"])
    plain, half = found
    assert half["estimate"] == 1 and half["ci95"] == [1, 1] and half["n"] == 24
    assert plain["estimate"] > 1
    shown = rnnctl("diagnose", run, "settle", "--text", text, "--verbose")
    assert "SETTLE: forgetting the start" in shown.out
    assert "two starts are half as far apart after" in shown.out
    brief = rnnctl("diagnose", run, "settle", "use", "--text", text)
    assert "Does the start wear off?" in brief.out and "half after 1.0 tokens" in brief.out
