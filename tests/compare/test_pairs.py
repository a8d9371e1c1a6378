"""Minimal pairs as an endpoint of a comparison: asked once, kept with the run, tested apart."""

from __future__ import annotations

import csv
import io
import itertools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rnnctl.compare import experiment
from rnnctl.compare.report import compare
from rnnctl.reports.as_table import as_table
from rnnctl.reports.chart_data import charts
from rnnctl.reports.comparison import MOST_PHENOMENA, blocks
from rnnctl.reports.curves import curve_rows
from rnnctl.reports.page import page
from rnnctl.results.comparison import Comparison, Member
from rnnctl.runs import Run

Grid = Callable[..., list[Member]]
MakeRun = Callable[..., Path]
CommandLine = Callable[..., Any]
KINDS = ("agreement", "order", "islands")


@pytest.fixture(scope="module")
def members(grid: Grid) -> list[Member]:
    """Every language model has answered; of seeds the shares differ a little."""
    return grid(pairs=KINDS)


@pytest.fixture(scope="module")
def comparison(members: list[Member]) -> Comparison:
    return compare(members)


def _exact_p(a: Sequence[float], b: Sequence[float]) -> float:
    """Of all ways to give the seeds to two sides, those that lie at least as far apart."""
    every, seen = [*a, *b], abs(np.mean(a) - np.mean(b))
    apart = []
    for chosen in itertools.combinations(range(len(every)), len(a)):
        left = [every[k] for k in chosen]
        right = [every[k] for k in range(len(every)) if k not in chosen]
        apart.append(abs(np.mean(left) - np.mean(right)) >= seen - 1e-12)
    return float(np.mean(apart))


def test_pairs_are_tested_like_the_other_endpoints(comparison: Comparison) -> None:
    tested = [one for one in comparison.contrasts if one.endpoint == "pairs"]
    assert [(one.first, one.second) for one in tested] == [
        ("lstm torch", "rnn torch"), ("lstm good", "rnn good"), ("gru good", "lstm good"),
    ]  # fmt: skip
    for one in tested:
        of = [[m.values["pairs"].estimate for m in comparison.members
               if f"{m.cell} {m.init}" == name and not m.bench]
              for name in (one.first, one.second)]  # fmt: skip
        assert one.p == pytest.approx(_exact_p(*of))  # type: ignore[arg-type]
        assert one.effect.estimate == pytest.approx(np.mean(of[0]) - np.mean(of[1]))
    lstm = tested[1]
    assert lstm.outcome == "more" and lstm.p_holm == pytest.approx(3 * 2 / 252)


def test_asking_pairs_changes_nothing_of_memory(grid: Grid, comparison: Comparison) -> None:
    """They are a family of their own: what is said of memory stays what it was."""
    without = compare(grid())
    assert without.pairs_family == 0 and without.pairs == ()
    assert comparison.family == without.family and comparison.pairs_family == 3
    memory = tuple(one for one in comparison.contrasts if one.endpoint != "pairs")
    assert memory == without.contrasts
    assert comparison.verdicts == without.verdicts


def test_rows_have_intervals_over_seeds_by_phenomenon_too(comparison: Comparison) -> None:
    from scipy import stats

    for phenomenon in ("", *KINDS):
        (row,) = [r for r in comparison.pairs if (r.name, r.phenomenon) == ("gru good", phenomenon)]
        seeds = np.array(row.accuracy.seeds)
        assert len(seeds) == 5
        half = stats.t.ppf(0.975, 4) * seeds.std(ddof=1) / np.sqrt(5)
        assert row.accuracy.ci95 == pytest.approx((seeds.mean() - half, seeds.mean() + half))
    beside = [row for row in comparison.pairs if row.kind == "baseline"]
    assert [row.name for row in beside] == ["5-gram"] * 4
    assert beside[0].accuracy.estimate == pytest.approx(0.6)


def test_every_report_has_them(comparison: Comparison) -> None:
    text = as_table(blocks(comparison), width=80)
    assert "Minimal pairs" in text and "5-gram" in text and "islands" in text
    assert "corrected for 6 tests of memory and for 3 tests on minimal pairs (Holm)" in " ".join(
        text.split()
    )
    own = text.partition("Minimal pairs\n")[2].partition("Tested pairs\n")[0]
    assert own and all(len(line) <= 80 for line in own.splitlines())
    made = {data.name: data for data in charts(comparison)}
    means = {value["row"]: value["x"] for value in made["pairs"].values if "x" in value}
    for row in comparison.pairs:
        if not row.phenomenon:
            assert means[row.name] == row.accuracy.estimate
    assert [value["x"] for value in made["attractors"].values if value["row"] == "lstm good"] == [
        0.0, 1.0, 2.0,
    ]  # fmt: skip
    assert "agreement" in page(comparison)
    rows = [row for row in curve_rows(comparison) if row["curve"] == "pairs"]
    assert len(rows) == 4 * 7  # all and three kinds; six rows and the n-gram
    assert {row["x_unit"] for row in rows} == {"all pairs", *KINDS}


def test_of_very_many_phenomena_those_are_printed_on_which_rows_differ(grid: Grid) -> None:
    kinds = [f"kind {k:02}" for k in range(67)]
    made = compare(grid(seeds=2, recall_seeds=0, pairs=kinds))
    text = as_table(blocks(made), width=80)
    assert sum(f"kind {k:02}" in text for k in range(67)) == MOST_PHENOMENA
    assert "20 of 67 phenomena" in text
    (chart,) = [data for data in charts(made) if data.name == "pairs"]
    assert len(chart.text.rows) == 67


def test_answers_to_other_pairs_are_left_out(members: list[Member]) -> None:
    odd = members[0]
    assert odd.pairs is not None
    other = odd.pairs.model_copy(update={"digest": "e" * 64})
    made = compare([odd.model_copy(update={"pairs": other}), *members[1:]])
    (said,) = [one.text for one in made.warnings if one.code == "PAIRS_APART"]
    assert odd.path in said
    (row,) = [r for r in made.pairs if r.name == "rnn torch" and not r.phenomenon]
    assert len(row.accuracy.seeds) == 4


# -- by command ----------------------------------------------------------------------------------

TEXT = "the keys to the cabinet are here. the key is there. a bell rang at noon.\n" * 3
PAIRS = (
    "good,bad,UID,attractors\nthe key is here.,the key are here.,agreement,0\n"
    "the keys are here.,the keys is here.,agreement,1\n"
    "a bell rang at noon.,bell a rang at noon.,order,0\n"
)


def _finished(path: Path) -> Path:
    """A random model with the result that a finished training leaves."""
    from rnnctl.results.base import Environment
    from rnnctl.results.training import TrainResult

    run = Run.open(path)
    model = run.config.model
    run.write_result(
        "train",
        TrainResult(
            environment=Environment(rnnctl="0", python="3"), seed=0, corpus_fingerprint="a" * 64,
            run=str(path), task=model.task, level="word", cell=model.cell, parameters=10,
            recurrent_parameters=9, vocab_size=9, corpus="c.txt", train_tokens=9, steps=1,
            epochs=1.0, tokens=9, best_step=1, stop_reason="steps", trivial_nats=1.0,
            clipped_share=0.0, splits=(),
        ),
    )  # fmt: skip
    run.commit(finished=True)
    return path


@pytest.fixture
def runs(make_run: MakeRun) -> list[Path]:
    return [_finished(make_run(TEXT, level="word", cell=cell)) for cell in ("lstm", "gru")]


def test_runs_are_asked_once_and_answer_as_pairs_does(
    runs: list[Path], tmp_path: Path, rnnctl: CommandLine
) -> None:
    asked = tmp_path / "pairs.csv"
    asked.write_text(PAIRS)
    done = rnnctl("compare", *runs, "--pairs", asked, "--format", "json", "--curves",
                  tmp_path / "curves")  # fmt: skip
    assert done.code == 0, done.err
    result = json.loads(done.out)
    for path in runs:
        own = json.loads(rnnctl("pairs", path, asked, "--format", "json").out)
        (member,) = [one for one in result["members"] if one["path"] == str(path)]
        for name in ("total", "phenomena", "attractors", "digest"):
            assert member["pairs"][name] == own[name]
    # these runs were never trained, so that there is no text for an n-gram model
    assert [one["code"] for one in result["warnings"]].count("NO_BASELINE") == 1
    table = list(csv.DictReader(io.StringIO((tmp_path / "curves" / "pairs.csv").read_text())))
    assert {row["x_unit"] for row in table} == {"all pairs", "agreement", "order"}
    before = [(path / "results" / "pairs.json").stat().st_mtime_ns for path in runs]
    again = rnnctl("compare", *runs, "--pairs", asked, "--format", "json")
    assert again.out == done.out
    assert [(path / "results" / "pairs.json").stat().st_mtime_ns for path in runs] == before
    later = json.loads(rnnctl("compare", *runs, "--format", "json").out)
    assert later["pairs"] == result["pairs"]


def test_other_pairs_are_asked_anew(runs: list[Path], tmp_path: Path, rnnctl: CommandLine) -> None:
    first, second = tmp_path / "a.csv", tmp_path / "b.jsonl"
    first.write_text(PAIRS)
    second.write_text('{"sentence_good": "the key is here.", "sentence_bad": "key the is here."}\n')
    for file, count in ((first, 3), (second, 1)):
        result = json.loads(rnnctl("compare", *runs, "--pairs", file, "--format", "json").out)
        assert {row["pairs"] for row in result["pairs"] if not row["phenomenon"]} == {count}


def test_a_bad_record_is_named_and_the_others_are_asked(
    runs: list[Path], tmp_path: Path, rnnctl: CommandLine
) -> None:
    (tmp_path / "p.csv").write_text(PAIRS + "the same.,the same.,order,0\n")
    done = rnnctl("compare", *runs, "--pairs", tmp_path / "p.csv", "--format", "json")
    assert done.code == 1
    assert "p.csv:5:" in done.err and "are the same" in done.err
    assert json.loads(done.out)["pairs"][0]["pairs"] == 3


def test_what_cannot_be_asked_is_said_before_anything_trains(
    make_run: MakeRun, tmp_path: Path, rnnctl: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    good, empty = tmp_path / "p.csv", tmp_path / "e.csv"
    good.write_text(PAIRS)
    empty.write_text("good,bad\na bell.,a bell.\n")

    def fail(*_: object, **__: object) -> None:
        raise AssertionError("something was trained")

    monkeypatch.setattr(experiment, "run_all", fail)
    for arguments, code, said in (
        (["--pairs", "missing.csv"], 1, "missing.csv"),
        (["--pairs", empty], 1, f"there are no minimal pairs: {empty}:2:"),
        (["--pairs", good, "--task", "classify"], 2, "--pairs has no effect for classifiers"),
    ):
        done = rnnctl("compare", *arguments)
        assert (done.code, done.out) == (code, "")
        assert said in " ".join(done.err.split())
    classifier = _finished(make_run(TEXT, level="word", labels=("a", "b")))
    done = rnnctl("compare", classifier, "--pairs", good)
    assert done.code == 2 and "is a classifier" in done.err


@pytest.mark.slow
def test_a_comparison_that_trains_asks_every_member(rnnctl: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text(PAIRS)
    arguments = [
        "compare", "--steps", "20", "--seeds", "2", "--inits", "good", "--cells", "rnn,lstm",
        "--hidden-size", "16", "--no-recall", "--run-root", tmp_path / "root",
    ]  # fmt: skip
    done = rnnctl(*arguments, "--pairs", tmp_path / "p.csv", "--format", "json")
    assert done.code == 0, done.err
    result = json.loads(done.out)
    every = {row["name"]: row for row in result["pairs"] if not row["phenomenon"]}
    assert list(every) == ["rnn good", "lstm good", "untrained lstm", "6-gram"]
    assert [len(row["accuracy"]["seeds"]) for row in every.values()] == [2, 2, 1, 1]
    assert {one["endpoint"] for one in result["contrasts"]} == {"horizon", "pairs"}
    # the same comparison without --pairs goes on where it was, and still has the answers
    assert json.loads(rnnctl(*arguments, "--format", "json").out)["pairs"] == result["pairs"]


def test_pairs_are_read_in_the_encoding_of_the_corpus(
    runs: list[Path], make_run: MakeRun, tmp_path: Path, rnnctl: CommandLine
) -> None:
    asked = tmp_path / "pairs.csv"
    asked.write_bytes("good,bad\nthe caf\xe9 is here.,the caf\xe9 are here.\n".encode("cp1252"))
    refused = rnnctl("compare", *runs, "--pairs", asked)
    assert refused.code == 1 and "not valid utf-8" in refused.err
    assert "encoding of the corpus" in refused.err
    assert "--encoding" not in refused.err  # compare has no such option
    of_windows = [
        _finished(make_run(TEXT, level="word", cell=cell, encoding="cp1252"))
        for cell in ("lstm", "gru")
    ]
    done = rnnctl("compare", *of_windows, "--pairs", asked, "--format", "json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["pairs"][0]["pairs"] == 1
