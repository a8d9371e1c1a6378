"""A small corpus and small trainings of it, by task."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

from rnnctl.config import RunConfig
from rnnctl.runs import Run
from rnnctl.tasks.recipes import resolve
from rnnctl.training.events import Event, Finished
from rnnctl.training.train import Options, train

NEUTRAL = ["one", "two", "three", "four", "five", "six", "seven", "eight"]
WORDS = [*NEUTRAL, "nine", "ten", "good", "bad", "fine", "awful"]


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def text_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """About 20,000 characters of random words."""
    draw = random.Random(0)
    path = tmp_path_factory.mktemp("corpus") / "words.txt"
    lines = [" ".join(draw.choices(WORDS, k=8)) for _ in range(500)]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def review_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """300 labelled lines; the label is whether "good" or "bad" stands in them."""
    draw = random.Random(1)
    path = tmp_path_factory.mktemp("reviews") / "reviews.csv"
    rows = ["text,label"]
    for _ in range(300):
        label = draw.choice(["good", "bad"])
        words = draw.choices(NEUTRAL, k=draw.randint(3, 12))
        words.insert(draw.randrange(len(words)), label)
        rows.append(f"{' '.join(words)},{label}")
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


Given = dict[str, dict[str, Any]]


@pytest.fixture
def settings(text_file: Path, review_file: Path) -> Callable[..., RunConfig]:
    """`settings("lm", steps=12, …)`: small, deterministic, with dropout and a changing rate."""

    def make(kind: str = "lm", **training: Any) -> RunConfig:
        model: dict[str, Any] = {"hidden_size": 12, "embedding_size": 8, "dropout_output": 0.2}
        corpus: dict[str, Any] = {"sources": (str(text_file),), "split": "80/10/10"}
        tokenizer: dict[str, Any] = {}
        if kind == "classify":
            model |= {"task": "classify"}
            training = {"bptt": None} | training
            corpus |= {"sources": (str(review_file),)}
        elif kind == "paragraphs":
            corpus |= {"documents": "line"}
        elif kind in ("rnn", "gru"):
            model |= {"cell": kind}
        elif kind == "words":
            tokenizer |= {"level": "word"}
        chosen = {"steps": 12, "batch_size": 4, "bptt": 16, "evaluate_every": 4, "threads": 1}
        # Which engine is the fastest for layers as small as these is chance.
        chosen |= {"engine": "torch" if find_spec("numba") is None else "fused"}
        chosen |= {"checkpoint_every_s": 1e-9, "precision": "fp32", "seed": 5} | training
        chosen = {name: value for name, value in chosen.items() if value is not None}
        given = {"model": model, "corpus": corpus, "tokenizer": tokenizer, "training": chosen}
        return resolve(given)

    return make


@pytest.fixture
def follow() -> Callable[..., list[Event]]:
    """Train, and return all events; `until(event)` true abandons the training there, as a kill."""

    def run(
        config: RunConfig,
        path: Path,
        options: Options | None = None,
        until: Callable[[Event], bool] = lambda event: False,
    ) -> list[Event]:
        found = []
        work = train(config, path, options)
        for event in work:
            found.append(event)
            if until(event):
                work.close()  # type: ignore[attr-defined]
                break
        else:
            assert isinstance(found[-1], Finished)
        return found

    return run


def untimed(run: Path) -> list[dict[str, Any]]:
    """The log without times."""
    return [{k: v for k, v in event.items() if k != "timing"} for event in Run.open(run).log()]


@pytest.fixture
def same() -> Callable[[Path, Path], None]:
    """Log, weights and results are the same but for timing and the run's own name."""

    def check(one: Path, other: Path) -> None:
        assert untimed(one) == untimed(other)
        first, second = Run.open(one), Run.open(other)
        assert first.weights_path.read_bytes() == second.weights_path.read_bytes()
        results = [run.read_result("train") for run in (first, second)]
        for result in results:
            for key in ("timing", "run", "next_command", "warnings"):
                result.pop(key)
        assert results[0] == results[1]
        assert first.verify() == second.verify() == []

    return check
