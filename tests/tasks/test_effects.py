"""Options that were given and can do nothing are refused; idle settings of a file are not."""

from __future__ import annotations

from typing import Any

import pytest

from rnnctl.config import RunConfig
from rnnctl.errors import UsageError
from rnnctl.tasks.effects import conditions
from rnnctl.tasks.recipes import resolve

Given = dict[str, dict[str, Any]]
CLASSIFIER = {"model": {"task": "classify"}}
CASES: dict[str, tuple[Given, Given]] = {  # option -> where it does nothing, what mends that
    "--vocab-size": ({"tokenizer": {"vocab_size": 5, "level": "byte"}}, {}),
    "--min-count": ({"tokenizer": {"min_count": 50, "level": "bpe"}}, {}),
    "--words": ({"tokenizer": {"words": "whitespace"}}, {"tokenizer": {"level": "word"}}),
    "--lowercase": ({"tokenizer": {"lowercase": True}}, CLASSIFIER),
    "--keep": ({"corpus": {"keep": "tail"}}, {"corpus": {"max_tokens": 9}}),
    "--nonlinearity": ({"model": {"nonlinearity": "relu"}}, {"model": {"cell": "rnn"}}),
    "--pool": ({"model": {"pool": "mean"}}, CLASSIFIER),
    "--bidirectional": ({"model": {"bidirectional": True}}, CLASSIFIER),
    "--tied": ({"model": {"tied": True, "task": "classify"}}, {"model": {"task": "lm"}}),
    "--horizon": ({"model": {"horizon": 50}}, {"model": {"init": "chrono"}}),
    "--init": (
        {"model": {"init": "chrono", "horizon": 9, "cell": "rnn"}},
        {"model": {"cell": "gru"}},
    ),
    "--dropout-between": ({"model": {"dropout_between": 0.5}}, {"model": {"num_layers": 2}}),
    "--vectors": ({"model": {"vectors": "glove.txt"}, "tokenizer": {"level": "bpe"}}, {}),
    "--freeze-vectors": ({"model": {"freeze_vectors": True}}, {}),
    "--layer-factor": ({"training": {"layer_factor": 2.0}}, CLASSIFIER),
    "--unfreeze": ({"training": {"unfreeze": 0.1}}, CLASSIFIER),
    "--pretrain": ({"training": {"pretrain_s": 60.0}}, CLASSIFIER),
    "--label-separator": ({"corpus": {"label_separator": "|"}}, CLASSIFIER),
    "--class-weights": ({"training": {"class_weights": "balanced"}}, CLASSIFIER),
    "--calibrate": ({"training": {"calibrate": False}}, CLASSIFIER),
    "--bptt": ({"training": {"bptt": 5}, **CLASSIFIER}, {"model": {"task": "lm"}}),
}


def test_every_option_with_a_condition_has_a_case() -> None:
    assert len(CASES) == len({(section, name) for section, name, _ in conditions()})


def joined(given: Given, more: Given) -> Given:
    sections = {*given, *more}
    return {name: {**given.get(name, {}), **more.get(name, {})} for name in sections}


@pytest.mark.parametrize("option", CASES)
def test_an_option_without_effect_is_refused(option: str) -> None:
    given, mended = CASES[option]
    with pytest.raises(UsageError, match=f"^{option} ") as caught:
        resolve(given)
    assert caught.value.hint
    if mended:
        resolve(joined(given, mended))


@pytest.mark.parametrize("option", CASES)
def test_what_a_file_brings_along_may_be_idle(option: str) -> None:
    given, _ = CASES[option]
    if option in ("--tied", "--bidirectional"):  # no model can be so
        return
    given = joined({"training": {"steps": 1}}, given)
    base = RunConfig.model_validate(given)
    assert resolve({"training": {"steps": 3}}, base).training.steps == 3


def test_the_usual_value_and_dropout_for_all_are_no_contradiction() -> None:
    usual = {"nonlinearity": "tanh", "pool": "last", "bidirectional": False, "tied": False}
    model = resolve({"model": usual}).model
    assert {name: getattr(model, name) for name in usual} == usual
    kinds = ("dropout_input", "dropout_between", "dropout_output")
    model = resolve({"model": dict.fromkeys(kinds, 0.3)}).model
    assert [getattr(model, kind) for kind in kinds] == [0.3] * 3
