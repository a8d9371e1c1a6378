"""Default learning rates, and the hidden size that a budget buys."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from rnnctl.config import RunConfig, TrainingConfig
from rnnctl.errors import UsageError
from rnnctl.machine import Arithmetic
from rnnctl.tasks import sizes
from rnnctl.tasks.base import LANGUAGE_MODEL
from rnnctl.tasks.recipes import HIGHEST, default_rate, leaves_size_open, recall_rate, resolve
from rnnctl.tasks.sizes import SIZES, choose_size, expected_loss, milliseconds_of

ROOT = Path(__file__).resolve().parents[2]
CPU = Arithmetic(torch.device("cpu"), bf16=False)


@pytest.fixture(autouse=True)
def _undisturbed() -> Iterator[None]:
    before = torch.get_rng_state()
    yield
    torch.set_rng_state(before)


def test_a_rate_follows_from_level_cell_size_and_length() -> None:
    lstm = LANGUAGE_MODEL.recipes["char"]["training"]["lr"]
    assert default_rate("lm", "char", "lstm", 256) == lstm
    assert default_rate("lm", "char", "gru", 256) == pytest.approx(lstm / 2)
    assert default_rate("lm", "char", "gru", 1024) == pytest.approx(lstm / 4, rel=0.05)
    long, short = (default_rate("lm", "char", "gru", 256, tokens=n) for n in (2e7, 2e5))
    assert long == lstm / 2 < short
    words = LANGUAGE_MODEL.recipes["word"]["training"]["lr"]
    assert default_rate("lm", "word", "lstm", 999) == words
    assert default_rate("lm", "char", "lstm", 8, tokens=1.0) == HIGHEST
    assert default_rate("lm", "char", "rnn", 256, init="torch") == pytest.approx(lstm / 4, rel=0.1)
    assert recall_rate("gru", "good") > recall_rate("lstm", "good")
    with pytest.raises(UsageError):
        default_rate("lm", "char", "perceptron", 256)


def test_the_rate_of_a_training_is_that_of_its_cell_unless_it_is_given() -> None:
    settings = resolve({"model": {"cell": "gru", "hidden_size": 300}})
    assert settings.training.lr == default_rate("lm", "char", "gru", 300)
    steps = resolve({"model": {"cell": "rnn", "hidden_size": 64}, "training": {"steps": 300}})
    expected = default_rate("lm", "char", "rnn", 64, tokens=300 * 32 * 64)
    assert steps.training.lr == expected
    assert resolve({"training": {"lr": 0.123}}).training.lr == 0.123
    # A saved run keeps the rate that it was trained with.
    saved = RunConfig(training=TrainingConfig(steps=3, lr=0.033))
    assert resolve({"training": {"steps": 9}}, saved).training.lr == 0.033


@pytest.mark.parametrize(
    ("given", "is_open"),
    [
        ({}, True),
        ({"training": {"budget_s": 9.0}}, True),
        ({"tokenizer": {"level": "byte"}}, True),
        ({"model": {"hidden_size": 64}}, False),
        ({"model": {"num_layers": 2}}, False),
        ({"training": {"steps": 9}}, False),
        ({"training": {"budget_s": 9.0, "epochs": 1.0}}, False),
        ({"tokenizer": {"level": "word"}}, False),
        ({"model": {"task": "classify"}}, False),
    ],
)
def test_the_size_is_open_where_a_budget_alone_can_say_it(
    given: dict[str, dict[str, object]], is_open: bool
) -> None:
    assert leaves_size_open(given, resolve(given)) is is_open


def chosen(
    monkeypatch: pytest.MonkeyPatch, ms: dict[int, float], budget: float, tokens: int = 10**8
) -> tuple[int, float, str]:
    monkeypatch.setattr(sizes, "_timings", lambda *_: ms)
    config = resolve({"training": {"budget_s": budget}})
    found, why = choose_size(config, CPU, vocab_size=65, train_tokens=tokens)
    return found.model.hidden_size, found.training.lr, why


def test_a_longer_budget_and_a_faster_machine_buy_a_larger_model(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slow = {128: 40.0, 256: 100.0, 512: 350.0}
    fast = {size: ms / 20 for size, ms in slow.items()}
    short, short_rate, why = chosen(monkeypatch, slow, 10.0)
    long, long_rate, _ = chosen(monkeypatch, slow, 2000.0)
    assert short < long and short_rate > long_rate
    assert chosen(monkeypatch, fast, 10.0)[0] > short
    assert f"{short} units" in why and "10 s" in why and "tokens/s" in why


def test_a_text_that_would_be_read_often_gets_a_smaller_model(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ms = {128: 4.0, 256: 10.0, 512: 35.0}
    assert chosen(monkeypatch, ms, 600.0, 10**5)[0] < chosen(monkeypatch, ms, 600.0, 10**8)[0]


def test_sizes_between_the_timed_ones_follow_a_power_law() -> None:
    timed = {size: 0.001 * size**1.5 for size in (128, 256, 512)}
    for size in SIZES:
        assert milliseconds_of(size, timed) == pytest.approx(0.001 * size**1.5)


def test_sizes_are_timed_and_the_timings_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("RNNCTL_CACHE", str(tmp_path))
    monkeypatch.setattr(sizes, "TIMED", (8, 16))
    monkeypatch.setattr(sizes, "_SECONDS", 0.0)
    monkeypatch.setattr("rnnctl.machine.load", lambda: 0.0)
    config = resolve({"training": {"budget_s": 5.0, "batch_size": 2, "bptt": 4}})
    first = choose_size(config, CPU, vocab_size=65, train_tokens=1000)
    (kept,) = json.loads((tmp_path / "sizes.json").read_text())["milliseconds"].values()
    assert set(kept) == {"8", "16"} and all(ms > 0 for ms in kept.values())
    assert choose_size(config, CPU, vocab_size=65, train_tokens=1000) == first


def test_the_formula_is_as_near_to_the_measured_losses_as_it_says() -> None:
    """Differences between sizes of the same cell, text and length: what the choice rests on."""
    lines = (ROOT / "tests/benchmarks/recipe_points.jsonl").read_text("utf-8").splitlines()
    best: dict[tuple[str, str, int], dict[int, float]] = {}
    for line in map(json.loads, lines):
        losses = best.setdefault((line["corpus"], line["cell"], line["tokens"]), {})
        size = line["hidden_size"]
        losses[size] = min(line["nats"], losses.get(size, 9.0))
    train = {"tinyshakespeare": 1_003_854, "war_and_peace": 2_910_000}
    errors = []
    for (corpus, cell, tokens), losses in best.items():
        for size in set(losses) - {256}:
            if 256 not in losses or corpus not in train:
                continue
            one, other = (
                expected_loss(cell, h, tokens, tokens / train[corpus]) for h in (size, 256)
            )
            errors.append((one - other) - (losses[size] - losses[256]))
    assert len(errors) >= 15
    assert (sum(e * e for e in errors) / len(errors)) ** 0.5 < 3 * sizes.FIT_ERROR
