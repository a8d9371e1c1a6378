"""`rnnctl compare`: what it refuses, what it prints, what it writes."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from rnnctl.cli import compare_options
from rnnctl.cli.compare_display import Clock
from rnnctl.cli.progress import Display
from rnnctl.compare import experiment, grid
from rnnctl.compare.grid import Job
from rnnctl.compare.plan import Planned, Settings, trials, tuning
from rnnctl.compare.plan import members as planned_members

CommandLine = Callable[..., object]

WRONG = [
    (["--cells", "rnn,elman"], "--cells: 'elman' is not known", "rnn, lstm, gru"),
    (["--cells", ","], "--cells is empty", "rnn,lstm,gru"),
    (["--inits", "xavier"], "--inits: 'xavier' is not known", "torch, good, chrono"),
    (["--inits", "chrono"], "--inits chrono needs to know", '--train "--horizon 100"'),
    (
        ["--steps", "5", "--epochs", "2"],
        "--steps, --epochs and --budget each say",
        "give one of them",
    ),
    (["--match", "time", "--steps", "5"], "gives all cells the same time", "--budget"),
    (["--hidden-size", "big"], "--hidden-size big: not a size", "rnn=304"),
    (["--hidden-size", "0"], "not a size", ""),
    (["--recall-lags", "x"], "--recall-lags x", "20,40"),
    (["--budget", "soon"], "soon", ""),
    (["-"], "cannot read its corpus from standard input", "file"),
    (["--plot", "x.gif"], "not .svg, .png or .pdf", "chart.svg"),
    (["--chart", "forest"], "--chart has no effect without --plot", ""),
    (["--match", "parametrs"], "parametrs", "parameters"),
    (["--train", "--levle word"], "--levle", "--level"),
    (["--train", "--batch-size 0", "--dry-run"], "batch", ""),
    (["--train", "--seed 3", "--dry-run"], "--train: --seed is set by compare", "--seeds"),
    (["--train", "--cell gru", "--dry-run"], "--train: --cell is set by compare", "--cells"),
    (["--train", "--lr 0.1", "--dry-run"], "--train: --lr is set by compare", "--rates"),
    (["--train", "-o x.json", "--dry-run"], "--train: --output is set by compare", "outside"),
    (["--train", "a.txt", "--dry-run"], "--train: a corpus is set by compare", "outside"),
    (["--train", "--level 'word", "--dry-run"], "a quotation mark is not closed", "--train"),
]


def test_a_corpus_that_cannot_be_opened_is_found_before_anything_trains(  # type: ignore[no-untyped-def]
    rnnctl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    for corpus in ("missing.txt", "empty"):
        outcome = rnnctl("compare", corpus)
        assert outcome.code in (1, 2)
        assert corpus in outcome.err
        assert "failed" not in outcome.err
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


@pytest.mark.parametrize(("arguments", "said", "hint"), WRONG)
def test_wrong_calls_are_refused_with_what_to_do(  # type: ignore[no-untyped-def]
    rnnctl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments, said, hint
) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = rnnctl("compare", *arguments)
    assert outcome.code == 2
    assert outcome.out == ""
    assert said in outcome.err
    assert hint in outcome.err
    assert list(tmp_path.iterdir()) == []


def test_a_text_on_which_no_member_can_be_trained_ends_the_comparison(  # type: ignore[no-untyped-def]
    rnnctl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "short.txt").write_text("The cat sat on the mat.")
    started: list[str] = []

    def fail(jobs, root, **_):  # type: ignore[no-untyped-def]
        for job in jobs:
            started.append(job.member.stage)
            yield grid.Started(job)
            yield grid.Failed(job, "too few tokens")

    monkeypatch.setattr(experiment, "run_all", fail)
    outcome = rnnctl("compare", "short.txt", "--steps", "5", "--seeds", "1")
    assert (outcome.code, outcome.out) == (1, "")
    assert "error: no member could be trained on the text: too few tokens" in outcome.err
    assert started == ["text"] * 6


@pytest.mark.parametrize("option", ["--html", "--plot", "-o"])
def test_a_place_for_the_report_is_checked_before_anything_trains(  # type: ignore[no-untyped-def]
    rnnctl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("rnnctl.cli.compare._result", lambda given: pytest.fail("it went on"))
    outcome = rnnctl("compare", option, "missing/page.svg")
    assert outcome.code == 1
    assert "cannot write missing/page.svg: there is no folder" in outcome.err
    assert f"another place with {option} FILE" in outcome.err


def test_the_commands_that_a_comparison_names_are_possible(  # type: ignore[no-untyped-def]
    rnnctl, tmp_path: Path
) -> None:
    (tmp_path / "text.txt").write_text("the cat sat on the mat and ate the rat. \n" * 90)
    small = ("--steps", 2, "--hidden-size", 8, "--embedding-size", 8, "--no-diagnose", "-q")
    chrono = ("--init", "chrono", "--horizon", 30, "--run", tmp_path / "run")
    assert rnnctl("train", tmp_path / "text.txt", *small, *chrono).code == 0
    done = rnnctl("compare", tmp_path / "run", "--format", "json")
    assert done.code == 0, done.err
    commands = {one["command"] for one in json.loads(done.out)["verdicts"]}
    training = [shlex.split(one)[1:] for one in commands if "--inits" in one]
    assert training
    for words in training:
        planned = rnnctl(*words, "--dry-run")
        assert planned.code == 0, planned.err
        assert "--init chrono" in planned.out and "--cell rnn --init good" in planned.out


def test_runs_and_a_corpus_do_not_mix(rnnctl, make_run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "text.txt").write_text("x")
    outcome = rnnctl("compare", make_run("abc"), tmp_path / "text.txt")
    assert outcome.code == 2
    assert "text.txt is not a run, but other" in outcome.err


def test_unfinished_runs_cannot_be_compared(rnnctl, make_run) -> None:  # type: ignore[no-untyped-def]
    outcome = rnnctl("compare", make_run("abc"))
    assert outcome.code == 1
    assert "did not finish" in outcome.err
    assert "rnnctl train --resume" in outcome.err


@pytest.mark.parametrize(("cell", "other"), [("lstm", "rnn"), ("rnn", "lstm")])
def test_one_run_alone_is_told_what_to_compare_with(  # type: ignore[no-untyped-def]
    rnnctl, tmp_path: Path, cell: str, other: str
) -> None:
    text, run = tmp_path / "text.txt", tmp_path / "a run"
    text.write_text("".join(f"{i} bottles of beer on the wall. " for i in range(200)))
    quick = ["--hidden-size", 8, "--steps", 2, "--batch-size", 4, "--bptt", 16, "--no-diagnose"]
    assert rnnctl("train", text, "--cell", cell, "--run", run, *quick).code == 0
    alone = rnnctl("compare", run)
    assert "a comparison needs two runs" in alone.err and "`rnnctl diagnose RUN`" in alone.err
    train, compare = (
        shlex.split(c)[1:] for c in re.findall(r"`(rnnctl (?:train|compare) [^`]*)`", alone.err)
    )
    assert rnnctl(*train, "--no-diagnose").code == 0
    both = rnnctl(*compare)
    assert both.code == 0 and "RNN and LSTM" in both.out
    assert "a comparison needs two runs" not in both.err


def test_a_dry_run_prints_commands_only_and_leaves_nothing(  # type: ignore[no-untyped-def]
    rnnctl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = rnnctl("compare", "a b.txt", "--dry-run", "--seeds", "2", "--recall-seeds", "1",
                     "--train", "--level word --dropout 0.2")  # fmt: skip
    assert outcome.code == 0
    lines = outcome.out.splitlines()
    assert len(lines) == 6 * 2 + 1 + 6
    for line in lines:
        assert line.startswith("rnnctl train ")
    text = [shlex.split(line) for line in lines if "a b.txt" in line]
    assert len(text) == 13
    assert all("word" in words and "0.2" in words for words in text)
    assert re.fullmatch(
        r"the whole comparison takes about \d+ (s|min): trainings and diagnoses "
        r"(one by one|\d+ at a time), then speed and baselines\n",
        outcome.err,
    )
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_with_a_budget_says_that_trials_find_the_steps(  # type: ignore[no-untyped-def]
    rnnctl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    call = ("compare", "a.txt", "--budget", "10m", "--inits", "good", "--seeds", "2", "--dry-run")
    outcome = rnnctl(*call)
    assert outcome.code == 0
    lines = outcome.out.splitlines()
    assert len(lines) == 3 and all("--budget 6s" in line and "/trial-" in line for line in lines)
    assert "how many steps fit into 10 min" in outcome.err
    assert "(rnn good, lstm good, gru good) is trained 2 times" in outcome.err
    assert re.search(r"takes about 1[3-9] min", outcome.err), "the budget, and what is beside it"
    searched = rnnctl(*call, "--rates", "grid")
    assert searched.code == 0 and "4 learning rates are tried for each row" in searched.err
    assert list(tmp_path.iterdir()) == []


def _job(name: str) -> grid.Job:
    return grid.Job(Planned(name, "row", "rnn", "good", 0, 8, 0.1, "text", ()))


def test_the_time_left_follows_the_pace_and_the_workers() -> None:
    clock = Clock()
    clock.plan({"text": 10}, workers=2)
    assert clock.left_s(0.0) is None
    clock.over("text", 10.0)
    clock.over("text", 20.0)
    assert clock.left_s(0.0) == pytest.approx(8 * 15 / 2)
    clock.running[_job("a")] = (0.0, 0.5)
    left = clock.left_s(10.0)
    assert left is not None
    assert left == pytest.approx((7 * (10 + 20 + 20) / 3 + (50 / 3 - 10)) / 2)


def test_kinds_of_work_have_their_own_pace_and_measurements_run_alone() -> None:
    clock = Clock()
    clock.plan({"text": 2, "recall": 3, "measure": 2}, workers=2)
    clock.over("text", 30.0)
    clock.over("recall", 2.0)
    clock.measuring("speed", 100.0)
    clock.measuring("baselines", 107.0)
    assert clock.left_s(0.0) == pytest.approx((30 + 2 * 2) / 2 + 7)


def test_plain_progress_is_a_line_for_each_member(capsys: pytest.CaptureFixture[str]) -> None:
    display = Display(Clock())
    display.show(experiment.Planning({"text": 2, "diagnose": 2, "measure": 2}, 1))
    display.show(grid.Started(_job("a")))
    display.show(grid.Running(_job("a"), 0.5))
    display.show(grid.Finished(_job("a"), 12.0))
    display.show(grid.Failed(_job("b"), "no space"))
    display.show(grid.Finished(Job(_job("a").member, "diagnose"), 8.0))
    display.show(experiment.Measuring("speed, round 1 of 5: a"))
    display.show(experiment.Measuring("speed, round 2 of 5: a"))
    display.show(experiment.Measuring("baselines"))
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.splitlines()
    assert lines[0].startswith("1 of 6, about ") and lines[0].endswith(" left: a, 12 s")
    assert lines[1] == "warning: b failed: no space"
    assert lines[2] == "4 of 6, about 10 s left: diagnose a, 8.0 s"
    assert [line.partition(",")[0] for line in lines[3:]] == ["4 of 6", "5 of 6"]
    assert [line.rpartition(": ")[2] for line in lines[3:]] == [
        "measuring speed …",
        "measuring baselines …",
    ]


def test_the_live_display_fits_a_terminal_of_80_columns() -> None:
    """The count and the time left are never cut, however long the titles are."""
    clock = Clock()
    clock.plan({"text": 26, "diagnose": 26, "measure": 2}, workers=1)
    clock.over("text", 1e4)
    clock.running[Job(_job("text-lstm-chrono-h119-lr0.017-s12").member, "diagnose")] = (0.0, None)
    clock.running[_job("text-gru-good-h59-lr0.02-s1")] = (0.0, 0.94)
    lines = clock.lines(80)
    assert max(map(len, lines)) <= 80
    assert "1 of 54, about " in lines[0] and lines[0].endswith(" left")
    assert lines[2].endswith("94 %  text-gru-good-h59-lr0.02-s1")


def test_progress_only_rises_and_is_full_at_the_end_alone(capsys: object) -> None:
    """Over all stages of a small plan, in the order in which the experiment goes."""
    settings = Settings(seeds=1, recall_seeds=1, rates="grid", limit=("--budget", "60s"))
    clock = Clock()
    display = Display(clock)
    work = experiment.work_ahead(settings)
    display.show(experiment.Planning(work, 2))
    shares = []
    members = [*trials(settings), *tuning(settings), *planned_members(settings)]
    jobs = [Job(one) for one in members]
    jobs += [Job(one, "diagnose") for one in members if one.is_diagnosed]
    for job in jobs:
        display.show(grid.Started(job))
        display.show(grid.Running(job, 0.7))
        shares.append(clock.share)
        display.show(grid.Finished(job, 3.0))
        shares.append(clock.share)
    exchanged = work["measure"] - 2
    for what in ("speed, round 1", *[f"exchange {k}" for k in range(exchanged)], "baselines"):
        display.show(experiment.Measuring(what))
        shares.append(clock.share)
    assert shares == sorted(shares)
    assert 0.9 < shares[-1] < 1
    assert clock.done == clock.total - 1


def test_help_is_readable_and_needs_no_torch(rnnctl) -> None:  # type: ignore[no-untyped-def]
    outcome = rnnctl("compare", "--help")
    assert outcome.code == 0
    for word in ("--match", "--dry-run", "--html", "parameters", "finished runs"):
        assert word in outcome.out
    assert json.dumps(outcome.out).count("\\u001b") == 0


@pytest.mark.parametrize(
    "option", [("--cells", "gru"), ("--seeds", "9"), ("--no-recall",), ("--train", "--lr 3"),
               ("--steps", "7"), ("--dry-run",), ("--jobs", "2")],
)  # fmt: skip
def test_options_of_training_are_refused_for_runs(rnnctl, make_run, option) -> None:  # type: ignore[no-untyped-def]
    run = make_run("the cat sat on the mat")
    outcome = rnnctl("compare", run, run, *option)
    assert outcome.code == 2 and f"{option[0]} has no effect on runs" in outcome.err


def test_pairs_are_read_in_the_encoding_that_the_members_are_planned_with() -> None:
    def encoding(*words: str) -> str:
        planned = planned_members(Settings(sources=("a.txt",), options=words))
        return compare_options.config_on_text(planned).corpus.encoding

    assert encoding() == "utf-8"
    assert encoding("--encoding=cp1252") == "cp1252"
    assert encoding("--encoding", "utf-8", "--encoding", "cp1252") == "cp1252"
    assert encoding("--text-field", "--encoding") == "utf-8"
