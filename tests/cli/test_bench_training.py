"""Memory tasks are trained on like any other corpus: `rnnctl train task:recall:lag=60`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rnnctl.data import bench_tasks

SMALL = ("--hidden-size", 8, "--embedding-size", 8, "--steps", 2, "--no-diagnose", "-q")
SIZES = "train=60,valid=20,test=20"

CommandLine = Callable[..., Any]


def trained(rnnctl: CommandLine, run: Path, spec: str, *options: object) -> dict[str, Any]:
    done = rnnctl("train", spec, "--run", run, *SMALL, "--format", "json", *options)
    assert done.code == 0, done.err
    result: dict[str, Any] = json.loads(done.out)
    return result


def test_recall_is_a_classification_by_characters_read_from_the_last_state(
    rnnctl: CommandLine, tmp_path: Path
) -> None:
    result = trained(rnnctl, tmp_path / "r", f"task:recall:lag=5,{SIZES}")
    assert (result["task"], result["level"]) == ("classify", "char")
    assert result["chance"]["accuracy"] == 0.125
    config = json.loads((tmp_path / "r" / "config.json").read_text())
    assert config["model"]["pool"] == "last"
    assert config["model"]["dropout_output"] == 0
    assert result["train_tokens"] == 60 * 7  # symbol, five distractors, boundary


@pytest.mark.parametrize(
    ("spec", "level", "tokens"),
    [
        (f"task:copy:lag=4,{SIZES}", "char", 60 * 26),
        (f"task:paragraph-recall:words=5,{SIZES}", "word", 60 * 17),
        ("task:copy-lag:train=3000,valid=500,test=0", "char", 3000),
    ],
)
def test_the_others_are_language_models_with_a_best_possible_loss(
    rnnctl: CommandLine, tmp_path: Path, spec: str, level: str, tokens: int
) -> None:
    result = trained(rnnctl, tmp_path / "r", spec)
    assert (result["task"], result["level"]) == ("lm", level)
    assert result["train_tokens"] == tokens
    assert result["chance"] == pytest.approx(bench_tasks.chance(spec))
    assert result["chance"]["loss_nats_best"] < result["chance"]["loss_nats_memoryless"]


def test_what_is_given_wins_over_the_recipe(rnnctl: CommandLine, tmp_path: Path) -> None:
    spec = f"task:recall:lag=5,{SIZES}"
    trained(rnnctl, tmp_path / "r", spec, "--pool", "mean", "--decay", "linear")
    config = json.loads((tmp_path / "r" / "config.json").read_text())
    assert config["model"]["pool"] == "mean"
    assert config["training"]["decay"] == "linear"


def test_the_table_says_what_guessing_reaches(rnnctl: CommandLine, tmp_path: Path) -> None:
    done = rnnctl("train", f"task:recall:lag=2,{SIZES}", "--run", tmp_path / "r", *SMALL)
    assert "guessing the answer: 12.5 % right" in done.out


def test_a_task_of_the_other_kind_is_an_error_with_a_way_out(
    rnnctl: CommandLine, tmp_path: Path
) -> None:
    done = rnnctl("train", "task:recall", "--run", tmp_path / "r", *SMALL, "--task", "lm")
    assert done.code == 1
    assert "task:recall is a corpus for --task classify, not for lm" in done.err
    assert "leave out --task" in done.err


def test_a_misspelt_task_is_an_error_with_the_right_name(
    rnnctl: CommandLine, tmp_path: Path
) -> None:
    done = rnnctl("train", "task:recal:lag=3", "--run", tmp_path / "r", *SMALL)
    assert done.code == 2
    assert "did you mean 'recall'?" in done.err
