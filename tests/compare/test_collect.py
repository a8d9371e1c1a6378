"""Runs on disk into members: what is read, what is refused, how fast, without torch."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rnnctl.compare import collect, experiment
from rnnctl.config import CorpusConfig, ModelConfig, RunConfig, TrainingConfig
from rnnctl.errors import RunError
from rnnctl.results.base import Classification, Environment, LanguageModelLoss
from rnnctl.results.comparison import ExchangeRecord, SpeedResult
from rnnctl.results.training import CurvePoint, SplitResult, TrainResult
from rnnctl.runs import Run

WriteRun = Callable[..., Path]

pytestmark = pytest.mark.usefixtures("any_content")


def _split(task: str, quality: float) -> SplitResult:
    if task == "lm":
        loss = LanguageModelLoss(
            protocol="streaming", loss_nats=quality, perplexity=9.0, bits_per_char=quality,
            bits_per_byte=quality, tokens=100, chars=100, bytes=100,
        )  # fmt: skip
        return SplitResult(split="test", losses=(loss,))
    found = Classification(
        accuracy=quality, accuracy_ci95=(0.0, 1.0), macro_f1=quality, loss_nats=1.0,
        calibration_error=0.0, n=10, labels=("a", "b"), confusion=((1, 0), (0, 1)),
    )  # fmt: skip
    return SplitResult(split="test", classification=found)


@pytest.fixture
def write_run(tmp_path: Path) -> WriteRun:
    """A finished run as training and diagnosing leave it, without any weights."""

    def make(
        name: str = "run",
        *,
        cell: str = "lstm",
        init: str = "good",
        seed: int = 0,
        task: str = "lm",
        sources: tuple[str, ...] = ("corpus.txt",),
        fingerprint: str = "a" * 64,
        quality: float = 2.0,
        lr: float = 0.008,
        finished: bool = True,
        model: dict[str, Any] | None = None,
        training: dict[str, Any] | None = None,
    ) -> Path:
        config = RunConfig(
            corpus=CorpusConfig(sources=sources),
            model=ModelConfig(
                cell=cell,
                init=init,
                task=task,
                hidden_size=128,
                embedding_size=64,  # type: ignore[arg-type]
                **(model or {}),
            ),
            training=TrainingConfig(**{"seed": seed, "steps": 100, "lr": lr, **(training or {})}),
        )
        run = Run.create(tmp_path / name, config)
        result = TrainResult(
            environment=Environment(rnnctl="0", python="3"), seed=seed,
            corpus_fingerprint=fingerprint, run=name, task=task, level="char", cell=cell,
            parameters=1000, recurrent_parameters=900, vocab_size=10, corpus="corpus.txt",
            train_tokens=10_000, steps=100, epochs=1.0, tokens=200_000, best_step=100,
            stop_reason="steps", trivial_nats=3.0, clipped_share=0.0,
            splits=(_split(task, quality),), timing={"training_s": 12.5},
            curve=tuple(CurvePoint(step=s, tokens=0, value=v) for s, v in ((50, 2.5), (100, 2.1))),
        )  # fmt: skip
        if finished:
            run.write_result("train", result)
            run.commit(finished=True)
        return run.path

    return make


DIAGNOSIS: dict[str, Any] = {
    "preset": "quick",
    "seed": 0,
    "data": {"distance_unit": "words", "sha256": "0123456789abcdef"},
    "headline": {"estimate": 38.0, "ci95": [31.0, 47.0], "unit": "words", "n": 12, "name": "x"},
    "use": {
        "scalars": {"early_gain_50": {"estimate": 0.3, "unit": "%"}},
        "curves": {"foreign": {"x_unit": "words", "y_unit": "nats", "x": [1, 2], "y": [0.5, 0.1]}},
    },
    "reach": {
        "main_block": "c",
        "scalars": {"half_life": {"estimate": 9.0}, "reach_1pct": {"estimate": None,
                    "status": "censored", "censored_at": 128}},
        "blocks": {"c": {"explodes": False, "geo": {"x_unit": "tokens", "y_unit": "ratio",
                                                     "x": [1, 2], "y": [1.0, 0.9]}}},
    },
}  # fmt: skip


def _keep(path: Path, name: str, result: dict[str, Any]) -> None:
    """Write a result of any content, sealed as the run does it."""

    class Plain:
        def model_dump(self, mode: str) -> dict[str, Any]:
            return result

    Run.open(path).write_result(name, Plain())  # type: ignore[arg-type]


def test_a_run_becomes_a_member(write_run: WriteRun) -> None:
    path = write_run(seed=3, lr=0.004)
    _keep(path, "diagnose", DIAGNOSIS)
    member = collect.read_member(path)
    assert (member.cell, member.init, member.seed, member.lr) == ("lstm", "good", 3, 0.004)
    assert (member.split, member.unit, member.bench) == ("test", "words", None)
    assert member.macs_per_token == 4 * 128 * (64 + 128)
    assert member.values["bits_per_byte"].estimate == 2.0
    assert member.values["horizon"].ci95 == (31.0, 47.0)
    assert member.values["gradient_half_life"].estimate == 9.0
    assert member.values["reach_1pct"].status == "censored"
    assert member.curves["learning"].x == (100_000, 200_000)
    assert member.curves["use"].y == (0.5, 0.1)
    assert member.curves["gradient"].x == (1, 2)
    assert member.explodes is False
    assert not member.untrained


@pytest.mark.parametrize("rough", ["", "measured on 40% of the sample"])
def test_the_headline_that_a_training_ended_with_counts_until_there_is_a_diagnosis(
    write_run: WriteRun, rough: str
) -> None:
    path = write_run()
    trained = Run.open(path).read_result("train")
    closing = {"estimate": 21.0, "ci95": [16.0, 24.0], "unit": "words", "rough": rough}
    _keep(path, "train", {**trained, "diagnosis": closing})
    found = collect.read_member(path).values.get("horizon")
    assert (None if found is None else found.estimate) == (None if rough else 21.0)
    _keep(path, "diagnose", DIAGNOSIS)
    assert collect.read_member(path).values["horizon"].estimate == 38.0


def test_a_bench_task_is_known_by_its_source(write_run: WriteRun) -> None:
    path = write_run(task="classify", sources=("task:recall:lag=20",), quality=0.97)
    member = collect.read_member(path)
    assert (member.bench, member.lag, member.chance) == ("task:recall:lag=20", 20, 0.125)
    assert member.values["accuracy"].estimate == 0.97


def test_a_rate_that_moves_nothing_is_an_untrained_network(write_run: WriteRun) -> None:
    assert collect.read_member(write_run(lr=1e-12)).untrained


def test_measurements_of_compare_itself_are_read_back(write_run: WriteRun) -> None:
    path = write_run()
    speed = SpeedResult(
        environment=Environment(rnnctl="0", python="3"), threads=2,
        train_tokens_per_s=(1.0, 2.0), generate_ms_per_token=(0.1, 0.2), hidden_size=128,
        batch_size=32, chunk=64,
    )  # fmt: skip
    Run.open(path).write_result("speed", speed)
    member = collect.read_member(path)
    assert member.speed is not None
    assert member.speed.train_tokens_per_s == (1.0, 2.0)
    assert member.exchange is None


def test_a_kept_measurement_of_another_shape_is_an_error(write_run: WriteRun) -> None:
    path = write_run()
    _keep(path, "exchange", {"measure": 5})
    with pytest.raises(RunError, match=r"exchange\.json cannot be read"):
        collect.read_member(path)
    assert ExchangeRecord.model_fields


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"fingerprint": "b" * 64}, "different texts"),
        ({"task": "classify", "quality": 0.9}, "their tasks are"),
    ],
)
def test_what_cannot_be_compared_is_refused_with_a_reason(
    write_run: WriteRun, change: dict[str, Any], said: str
) -> None:
    one, two = write_run("one"), write_run("two", **change)
    with pytest.raises(RunError, match=said) as caught:
        experiment.compare_runs([one, two])
    assert str(one) in caught.value.message
    assert str(two) in caught.value.message


def test_distances_in_other_units_are_refused(write_run: WriteRun) -> None:
    one, two = write_run("one"), write_run("two", seed=1)
    _keep(one, "diagnose", DIAGNOSIS)
    _keep(two, "diagnose", {**DIAGNOSIS, "data": {"distance_unit": "chars"}})
    with pytest.raises(RunError, match="different units, words and chars"):
        experiment.compare_runs([one, two])


def test_a_run_that_was_not_diagnosed_is_compared_whatever_the_unit_is(write_run: WriteRun) -> None:
    paths = [write_run("one"), write_run("two", seed=1), write_run("three", seed=2)]
    for path in paths[1:]:
        _keep(path, "diagnose", {**DIAGNOSIS, "data": {"distance_unit": "chars"}})
    result = experiment.compare_runs(paths)
    assert [member.unit for member in result.members] == [None, "chars", "chars"]
    assert result.distance_unit == "chars"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"data": {"distance_unit": "words", "sha256": "fedcba9876543210"}}, "text fedcba98"),
        ({"preset": "full"}, "preset full"),
        ({"seed": 3}, "preset quick, seed 3"),
        (
            {"use": {"curves": {"foreign": {"x_unit": "words", "y_unit": "nats", "x": [1, 9],
                                            "y": [0.5, 0.1]}}}},
            "up to 9 words",
        ),
        ({}, ""),
    ],
)  # fmt: skip
def test_memories_that_were_not_measured_alike_are_named(
    write_run: WriteRun, change: dict[str, Any], said: str
) -> None:
    one, two = write_run("one"), write_run("two", seed=1)
    _keep(one, "diagnose", DIAGNOSIS)
    _keep(two, "diagnose", {**DIAGNOSIS, **change})
    result = experiment.compare_runs([one, two, write_run("three", seed=2)])
    assert [w.code for w in result.warnings] == (["MEASURED_APART"] if change else [])
    if change:
        text = result.warnings[0].text
        assert f"{one} on text 01234567, preset quick, up to 2 words" in text
        assert f"{two} on" in text and said in text and "three" not in text
    assert result.members[0].diagnosed is not None
    assert result.members[0].diagnosed.longest == 2


def test_bench_runs_may_stand_beside_others(write_run: WriteRun) -> None:
    recall = write_run("recall", task="classify", sources=("task:recall:lag=20",),
                      fingerprint="r" * 64, quality=0.5)  # fmt: skip
    result = experiment.compare_runs([write_run("text"), recall])
    assert [row.name for row in result.rows] == ["lstm good"]
    assert [(row.name, row.lag) for row in result.bench] == [("lstm good", 20)]


def test_an_unfinished_or_damaged_run_is_reported_and_the_others_are_compared(
    write_run: WriteRun,
) -> None:
    good, half = write_run("good"), write_run("half", finished=False)
    broken = write_run("broken", seed=1)
    (broken / "results" / "train.json").write_text("{}")
    result = experiment.compare_runs([good, half, broken])
    assert {Path(failure.name).name for failure in result.failures} == {"half", "broken"}
    assert "did not finish" in {Path(f.name).name: f.reason for f in result.failures}["half"]
    assert len(result.members) == 1


def test_if_none_can_be_read_the_first_reason_is_the_error(write_run: WriteRun) -> None:
    with pytest.raises(RunError, match="did not finish"):
        experiment.compare_runs([write_run("half", finished=False)])


def test_the_same_seed_twice_is_counted_once(write_run: WriteRun) -> None:
    result = experiment.compare_runs([write_run("one"), write_run("two", quality=3.0)])
    assert result.rows[0].numbers["bits_per_byte"].n == 1
    assert "has the same seed (0)" in result.warnings[0].text


def test_rows_that_differ_in_more_than_the_seed_are_told_apart(write_run: WriteRun) -> None:
    paths = [write_run("one"), write_run("two", lr=0.004), write_run("three", seed=1, lr=0.004)]
    result = experiment.compare_runs(paths)
    assert {row.name: row.seeds for row in result.rows} == {
        "lstm good lr=0.004": (0, 1),
        "lstm good lr=0.008": (0,),
    }
    assert [w.text for w in result.warnings] == [
        "2 rows are lstm good: the verdicts use the first, 'lstm good lr=0.004', and for two "
        "cells the first two that were trained in the same way"
    ]


@pytest.mark.parametrize("task", ["lm", "classify"])
@pytest.mark.parametrize("sources", ["corpus.txt", "task:recall:lag=9"])
def test_what_decides_on_the_result_makes_another_row(
    write_run: WriteRun, task: str, sources: str
) -> None:
    """Seeds of a short and of a long training were one row; the dropout of one seed was dropped."""
    changed: dict[str, dict[str, Any]] = {
        "short": {"training": {"steps": 7}},
        "dropout": {"model": {"dropout_output": 0.5}},
        "mean": {"model": {"pool": "mean", "bidirectional": True}},
        "big": {"training": {"batch_size": 99}},
    }
    common: dict[str, Any] = {"task": task, "sources": (sources,)}
    paths = [write_run("plain", **common)]
    paths += [write_run(name, seed=1, **common, **kind) for name, kind in changed.items()]
    result = experiment.compare_runs(paths)
    assert sorted(row.seeds for row in result.rows) == [(0,), (1,), (1,), (1,), (1,)]
    assert len({row.name for row in result.rows}) == 5
    assert len(result.bench) == (5 if sources.startswith("task:") else 0)


def test_what_only_changes_how_a_run_is_made_does_not(write_run: WriteRun) -> None:
    other = {"threads": 1, "device": "cpu", "keep_text": False, "checkpoint_every_s": 9.0}
    result = experiment.compare_runs(
        [
            write_run("one", training={"start_from": "base-0"}),
            write_run("two", seed=1, training={"start_from": "base-1", **other}),
        ]
    )
    assert [(row.name, row.seeds) for row in result.rows] == [("lstm good", (0, 1))]


def test_folders_are_searched_for_runs(write_run: WriteRun, tmp_path: Path) -> None:
    one, two = write_run("grid/one"), write_run("grid/two")
    assert collect.find_members([tmp_path / "grid"]) == [one, two]
    with pytest.raises(RunError, match="is not a run, and there are no runs in it"):
        collect.find_members([tmp_path / "nowhere"])


OFFLINE = """
import json, sys, time
from pathlib import Path
from rnnctl import results
from rnnctl.__main__ import main
results.KEPT.clear()  # the diagnoses here hold only what a comparison reads
code = main(["compare", *sys.argv[1:], "--format", "json", "-o", "out.json"])
names = "torch", "datasets", "sklearn", "altair", "scipy.stats"
heavy = [name for name in names if name in sys.modules]
print(json.dumps([code, time.process_time(), heavy]))
"""


def test_ten_runs_are_compared_in_two_seconds_without_torch(
    write_run: WriteRun, tmp_path: Path
) -> None:
    paths = []
    for number in range(10):
        cell = ("rnn", "lstm")[number % 2]
        paths.append(write_run(f"r{number}", cell=cell, seed=number // 2, quality=2 + number / 50))
        _keep(paths[-1], "diagnose", DIAGNOSIS)
    done = subprocess.run(
        [sys.executable, "-c", OFFLINE, *map(str, paths)],
        cwd=tmp_path, capture_output=True, text=True, check=True,
        env={"PYTHONPATH": str(Path(collect.__file__).parents[2]), "PATH": ""},
    )  # fmt: skip
    code, seconds, heavy = json.loads(done.stdout)
    assert (code, heavy) == (0, [])
    assert seconds < 2  # of the processor, so that a busy machine does not decide
    rows = json.loads((tmp_path / "out.json").read_text())["rows"]
    assert {row["name"]: len(row["seeds"]) for row in rows} == {"rnn good": 5, "lstm good": 5}
