"""What the recipes fill in, and what they leave to the person."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rnnctl.config import RunConfig
from rnnctl.errors import UsageError
from rnnctl.tasks import recipes


def words(training: dict[str, Any], model: dict[str, Any] | None = None) -> RunConfig:
    given = {"tokenizer": {"level": "word"}, "training": training, "model": model or {}}
    return recipes.resolve(given | {"corpus": {"sources": ("book.txt",)}})


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_words_of_the_bundled_paragraphs_bring_what_learns_to_carry(cell: str) -> None:
    """And what is given wins, also where another setting rests on it."""
    given: dict[str, dict[str, Any]] = {"tokenizer": {"level": "word"}, "model": {"cell": cell}}
    model = recipes.resolve(given).model
    assert (model.num_layers, model.tied, model.dropout_output) == (1, False, 0)
    assert (model.init, model.horizon) == (("good", None) if cell == "rnn" else ("chrono", 50))
    given["model"] |= {"tied": True, "init": "torch", "hidden_size": 40}
    model = recipes.resolve(given).model
    assert model.tied and model.init == "torch" and model.horizon is None
    assert model.hidden_size == 40
    assert recipes.resolve(given | {"training": {"lr": 0.1}}).training.lr == 0.1
    characters = recipes.resolve({"model": {"cell": cell}}).model
    assert characters.init == "good" and characters.hidden_size == 512


@pytest.mark.parametrize("training", [{"epochs": 2}, {"budget_s": 60}, {"steps": 10}])
def test_a_text_that_may_be_read_again_gets_dropout(training: dict[str, Any]) -> None:
    assert words(training).model.dropout_output > 0


def test_a_text_read_once_gets_none() -> None:
    model = words({"epochs": 1}).model
    assert (model.dropout_input, model.dropout_between, model.dropout_output) == (0, 0, 0)
    assert words({"epochs": 2}).model.dropout_input > 0, "the recipe itself was changed"


def test_dropout_that_was_asked_for_stays() -> None:
    assert words({"epochs": 1}, {"dropout_input": 0.3}).model.dropout_input == 0.3


@pytest.mark.parametrize(("level", "tied"), [("char", True), ("word", False)])
def test_weights_bring_the_kind_of_their_output_layer(
    make_run: Callable[..., Path], level: str, tied: bool
) -> None:
    source = str(make_run("a b c a b", level=level, tied=tied))
    taken = recipes.resolve({"training": {"start_from": source}})
    assert taken.model.tied is tied
    given = {"training": {"start_from": source}, "model": {"tied": not tied}}
    assert recipes.resolve(given).model.tied is not tied
    labelled = {"training": {"start_from": source}, "model": {"task": "classify"}}
    assert not recipes.resolve(labelled).model.tied


@pytest.mark.parametrize(
    ("name", "value"),
    [("level", "char"), ("vocab_size", 9), ("words", "natural"), ("min_count", 2)],
)
def test_weights_are_of_their_own_tokens(
    make_run: Callable[..., Path], name: str, value: Any
) -> None:
    source = str(make_run("a b c a b", level="word"))
    given: dict[str, Any] = {"training": {"start_from": source}, "tokenizer": {name: value}}
    for base in (None, words({"steps": 2})):
        with pytest.raises(UsageError, match="were made with") as caught:
            recipes.resolve(given, base)
        assert "--from" in caught.value.hint
    given["tokenizer"] = {"level": "word", "words": "auto"}
    assert recipes.resolve(given).tokenizer.level == "word"


def test_weights_bring_their_tokens_and_layers_to_settings_from_a_file(
    make_run: Callable[..., Path],
) -> None:
    source = str(make_run("a b c a b", level="char", cell="gru"))
    config = recipes.resolve({"training": {"start_from": source}}, words({"steps": 2}))
    assert (config.tokenizer.level, config.model.cell, config.training.steps) == ("char", "gru", 2)


def test_class_weights_bring_patience_unless_somebody_says_it() -> None:
    given = {"model": {"task": "classify"}, "training": {"class_weights": "balanced"}}
    assert recipes.resolve({"model": {"task": "classify"}}).training.patience == 4
    assert recipes.resolve(given).training.patience == 10
    given["training"]["patience"] = 3
    assert recipes.resolve(given).training.patience == 3


@pytest.mark.parametrize(("lengths", "share"), [([9, 20, 400], 0.1), ([9, 50, 50], 0.3), ([], 0.1)])
def test_long_documents_can_spare_more_of_their_words(lengths: list[int], share: float) -> None:
    config = recipes.resolve({"model": {"task": "classify"}})
    assert config.model.dropout_embedding is None
    settled = recipes.settle(config, np.array(lengths, np.int64))
    assert settled.model.dropout_embedding == share
    assert recipes.settle(settled, np.array([1000])).model.dropout_embedding == share

    asked = recipes.resolve({"model": {"task": "classify", "dropout_embedding": 0.0}})
    assert recipes.settle(asked, np.array([1000])).model.dropout_embedding == 0.0
