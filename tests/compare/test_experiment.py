"""The experiment as a whole: plans, budgets, rates; and once for real, small."""

from __future__ import annotations

import json
import select
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from rnnctl.compare import experiment, plan
from rnnctl.compare.plan import GRID, Planned, Settings, trials, tuning
from rnnctl.config import RunConfig
from rnnctl.errors import UsageError
from rnnctl.runs import Run

pytestmark = pytest.mark.usefixtures("any_content")


def _trained(path: Path, **content: Any) -> None:
    _record(Run.create(path, RunConfig()), **content)


def _record(run: Run, **content: Any) -> None:
    class Plain:
        def model_dump(self, mode: str) -> dict[str, Any]:
            return content

    run.write_result("train", Plain())  # type: ignore[arg-type]
    run.commit(finished=True)


def test_the_command_that_tests_more_reads_the_text_as_the_runs_did(tmp_path: Path) -> None:
    """Otherwise it would be another experiment: other documents, sizes, or numbers of steps."""
    for cell, size, steps in (("rnn", 30, 187), ("lstm", 20, 223)):
        made = RunConfig()
        corpus = {"sources": ("a.txt",), "documents": "paragraph", "split": "80/10/10"}
        made = made.model_copy(update={
            "corpus": made.corpus.model_copy(update=corpus),
            "tokenizer": made.tokenizer.model_copy(update={"level": "word", "vocab_size": 900}),
            "model": made.model.model_copy(update={"cell": cell, "hidden_size": size}),
        })  # fmt: skip
        run = Run.create(tmp_path / cell, made)
        _record(run, steps=steps)
    command = experiment.commands_for_runs([tmp_path / "rnn", tmp_path / "lstm"]).train(5)
    words = shlex.split(command)
    assert words[words.index("--train") + 1] == (
        "--level word --documents paragraph --split 80/10/10 --vocab-size 900"
    )
    for wanted in ("--match steps", "--steps 223", "--seeds 5"):
        assert wanted in command
    assert set(words[words.index("--hidden-size") + 1].split(",")) == {"rnn=30", "lstm=20"}


def test_a_run_root_belongs_to_one_plan(tmp_path: Path) -> None:
    root = tmp_path / "root"
    experiment.claim(root, Settings(seeds=3))
    experiment.claim(root, Settings(seeds=3))
    assert experiment.plan_of(root) == Settings(seeds=3)
    with pytest.raises(UsageError, match="different settings: match, seeds"):
        experiment.claim(root, Settings(seeds=4, match="hidden"))


def test_a_folder_without_a_readable_plan_is_none(tmp_path: Path) -> None:
    assert experiment.plan_of(tmp_path) is None
    (tmp_path / "plan.json").write_text('{"seeds": "many"}')
    assert experiment.plan_of(tmp_path) is None


def test_a_budget_becomes_as_many_steps_as_all_members_have_time_for(tmp_path: Path) -> None:
    settings = Settings(limit=("--budget", "600s"), seeds=2, inits=("torch", "good"))
    for one, seconds in zip(trials(settings), (2.0, 4.0, 6.0), strict=True):
        _trained(tmp_path / one.name, steps=100, timing={"training_s": seconds})
    # 4 members of each cell; a step takes 0.02, 0.04 and 0.06 s: 0.48 s for one step of them all
    assert plan.with_steps(settings, tmp_path, 1).limit == ("--steps", "1250")
    assert plan.with_steps(settings, tmp_path, 2).limit == ("--steps", "2500")


def test_without_trials_a_budget_cannot_become_steps(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="did not finish") as caught:
        plan.with_steps(Settings(limit=("--budget", "60s")), tmp_path, 1)
    assert "--steps" in caught.value.hint


def test_equal_time_is_an_equal_share_of_the_budget() -> None:
    settings = Settings(match="time", limit=("--budget", "600s"), seeds=2)
    assert not plan.needs_steps(settings)
    assert plan.with_share(settings).limit == ("--budget", "50s")
    assert plan.needs_steps(Settings(limit=("--budget", "600s")))


def _tune(root: Path, planned: list[Planned], values: dict[float, float]) -> None:
    for one in planned:
        if one.lr in values:
            _trained(root / one.name, curve=[{"step": 1, "value": values[one.lr]}])


def test_the_rate_with_the_best_validation_is_chosen_and_lost_ones_are_passed_over(
    tmp_path: Path,
) -> None:
    settings = Settings(cells=("lstm",), inits=("good",), rates="grid")
    _tune(tmp_path, tuning(settings), {2e-3: 2.0, 4e-3: 1.5, 1.6e-2: 3.0})
    assert plan.best_rates(tuning(settings), tmp_path) == {"lstm good": 4e-3}
    assert plan.rates_of(settings, tmp_path).endswith("lstm good 0.004")


def test_the_dry_run_prints_the_search_first_and_the_members_once_it_is_done(
    tmp_path: Path,
) -> None:
    settings = Settings(cells=("lstm",), inits=("good",), rates="grid", recall_lags=(), seeds=2)
    first = plan.planned(settings, tmp_path, 1)
    assert {one.stage for one in first} == {"tune"}
    _tune(tmp_path, first, {one.lr: one.lr for one in first})
    then = plan.planned(settings, tmp_path, 1)
    assert [(one.stage, one.lr) for one in then][:2] == [
        ("text", min(GRID)),
        ("text", min(GRID)),
    ]


@pytest.mark.slow
def test_a_small_comparison_from_text_to_verdicts(rnnctl, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """Trains, diagnoses, measures and compares for real; again it only compares."""
    root = tmp_path / "root"
    arguments = [
        "compare", "--steps", "30", "--seeds", "2", "--inits", "good", "--hidden-size", "16",
        "--recall-seeds", "1", "--recall-lags", "5", "--run-root", str(root), "--format", "json",
    ]  # fmt: skip
    first = rnnctl(*arguments)
    assert first.code == 0, first.err
    result = json.loads(first.out)
    assert [row["name"] for row in result["rows"]] == [
        "rnn good", "lstm good", "gru good", "untrained lstm", "6-gram",
    ]  # fmt: skip
    assert result["failures"] == []
    assert all(len(row["seeds"]) == 2 for row in result["rows"][:3])
    for key in ("bits_per_byte", "horizon", "gradient_half_life"):
        assert all(key in row["numbers"] for row in result["rows"][:3])
    assert result["rows"][1]["numbers"]["train_tokens_per_s"]["estimate"] > 0
    again = rnnctl(*arguments)
    assert again.out == first.out
    offline = rnnctl("compare", str(root), "--format", "json")
    later = json.loads(offline.out)
    assert all(later[key] == result[key] for key in ("verdicts", "match", "rates", "rows"))


@pytest.mark.slow
def test_right_after_a_kill_the_same_command_loses_no_member(rnnctl, root, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """The workers of the killed one save themselves, and until then they hold their runs."""
    arguments = [
        "compare", "--steps", "200", "--seeds", "2", "--inits", "good", "--cells", "lstm",
        "--hidden-size", "32", "--no-recall", "--run-root", str(tmp_path / "root"),
    ]  # fmt: skip
    first = subprocess.Popen([sys.executable, "-m", "rnnctl", *arguments], cwd=root)
    limit = time.monotonic() + 120
    while time.monotonic() < limit and not _is_training(tmp_path / "root"):
        select.select([], [], [], 0.05)
    first.kill()
    first.wait()
    again = rnnctl(*arguments, "--format", "json")
    assert again.code == 0, again.err
    assert "failed" not in again.err
    result = json.loads(again.out)
    assert result["failures"] == []
    assert sum(len(row["seeds"]) for row in result["rows"] if row["kind"] == "trained") == 2


def _is_training(root: Path) -> bool:
    """Whether some member has taken a few steps."""
    logs = list(root.glob("text-*/log.jsonl"))
    return any(len(log.read_bytes().splitlines()) > 5 for log in logs)
