"""`diagnose RUN… --snapshots`, `--curves` and `--label`: when memory arises, numbers for papers."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from rnnctl.diagnostics import snapshots as work
from rnnctl.reports.as_table import as_table
from rnnctl.reports.snapshots import brief
from rnnctl.results.base import Environment, Estimate
from rnnctl.results.diagnostics import SnapshotCourse, SnapshotPoint, SnapshotsResult
from rnnctl.runs import Run

CommandLine = Callable[..., Any]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two small trainings with snapshots, and one without."""
    from rnnctl.api import train

    folder = tmp_path_factory.mktemp("trained")
    corpus = folder / "corpus.txt"
    corpus.write_text("\n\n".join(f"{i} bells rang at noon. Nobody came home." for i in range(900)))
    made = {}
    for name, more in (("a", {"cell": "gru"}), ("b", {"cell": "lstm"}), ("none", {})):
        alike = {"steps": 4, "hidden_size": 8, "batch_size": 8, "bptt": 16, "threads": 1}
        kept = {} if name == "none" else {"snapshots": "128,512"}
        made[name] = folder / name
        train(corpus, run=made[name], **alike, **kept, **more)
    return made


def test_each_snapshot_is_measured_as_a_run_is(
    trained: dict[str, Path], rnnctl: CommandLine, tmp_path: Path
) -> None:
    """The last snapshot is the end of the training: what `diagnose` says of that, it says too."""
    run = trained["a"]
    done = rnnctl("diagnose", run, "use", "--snapshots", "--format", "json", "-q")
    assert done.code == 0, done.err
    (course,) = json.loads(done.out)["courses"]
    tokens = [point["tokens"] for point in course["points"]]
    assert tokens == [one.tokens for one in Run.open(run).snapshots()] == [0, 128, 512]
    whole = json.loads(rnnctl("diagnose", run, "use", "--format", "json", "-q").out)
    last = course["points"][-1]["numbers"]
    assert last["loss"]["estimate"] == pytest.approx(whole["use"]["scalars"]["loss"]["estimate"])
    assert last["horizon"]["estimate"] == whole["headline"]["estimate"]
    first = course["points"][0]["numbers"]
    assert first["loss"]["estimate"] > last["loss"]["estimate"]


def test_it_is_kept_and_not_measured_again(
    trained: dict[str, Path], rnnctl: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trained["a"]
    first = rnnctl("diagnose", run, "use", "--snapshots")
    assert "snapshots" in Run.open(run).results()
    assert not Run.open(run).verify()
    monkeypatch.setattr(work, "diagnose", lambda *_, **__: pytest.fail("measured again"))
    again = rnnctl("diagnose", run, "use", "--snapshots")
    assert again.code == 0, again.err
    assert again.out == first.out
    monkeypatch.undo()
    other = rnnctl("diagnose", run, "use", "--snapshots", "--seed", 3)
    assert "snapshot 1 of 3" in other.err


def test_side_by_side_with_names_curves_and_pictures(
    trained: dict[str, Path], rnnctl: CommandLine, tmp_path: Path
) -> None:
    a, b = trained["a"], trained["b"]
    names = ("--label", f"{a}=My GRU", "--label", f"{b}=Other")
    files = ("--plot", tmp_path / "x.svg", "--curves", tmp_path / "c.csv")
    done = rnnctl("diagnose", a, b, "use", "--snapshots", *names, *files)
    assert done.code == 0, done.err
    assert "My GRU (GRU)" in done.out
    assert "Other (LSTM)" in done.out
    assert max(map(len, done.out.splitlines())) <= 80
    drawn = (tmp_path / "x.svg").read_text()
    assert "Memory horizon while training" in drawn
    assert "My GRU" in drawn
    with (tmp_path / "c.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["model"] for row in rows} == {"My GRU", "Other"}
    loss = [row for row in rows if row["curve"] == "loss"]
    assert [float(row["x"]) for row in loss] == [0, 128, 512] * 2


def test_curves_of_a_diagnosis_in_every_form(
    trained: dict[str, Path], rnnctl: CommandLine, tmp_path: Path
) -> None:
    run = trained["b"]
    said = json.loads(
        rnnctl("diagnose", run, "use", "reach", "--curves", tmp_path / "c.parquet",
               "--label", f"{run}=LSTM 8", "--format", "json").out
    )  # fmt: skip
    table = pd.read_parquet(tmp_path / "c.parquet")
    assert set(table["model"]) == {said["model"]["id"]} == {"LSTM 8"}
    curve = said["use"]["curves"]["foreign"]
    own = table[table["curve"] == "use.foreign"]
    assert own["x"].tolist() == curve["x"]
    assert own["y_unit"].unique().tolist() == [curve["y_unit"]]
    assert "reach.c" in set(table["curve"])
    assert Run.open(run).read_result("diagnose")["model"]["id"] != "LSTM 8"
    rnnctl("diagnose", run, "use", "reach", "--curves", tmp_path / "folder")
    with (tmp_path / "folder" / "use.foreign.csv").open() as file:
        assert [float(row["x"]) for row in csv.DictReader(file)] == curve["x"]


def test_compare_names_its_rows_and_writes_curves(
    trained: dict[str, Path], rnnctl: CommandLine, tmp_path: Path
) -> None:
    runs = (trained["a"], trained["b"])
    label = ("--label", f"{trained['a']}=Ours")
    done = rnnctl("compare", *runs, *label, "--curves", tmp_path / "c.csv", "--html",
                  tmp_path / "p.html")  # fmt: skip
    assert done.code == 0, done.err
    assert "Ours" in done.out
    assert "gru good" not in done.out
    with (tmp_path / "c.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {"Ours", "lstm good"} <= {row["model"] for row in rows}
    assert "learning" in {row["curve"] for row in rows}
    assert "Ours" in (tmp_path / "p.html").read_text()


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("none", "--snapshots"), 1, "holds no snapshots"),
        (("a", "none", "--snapshots"), 1, "holds no snapshots"),
        (("a", "--snapshots", "--show", "text"), 2, "--snapshots"),
        (("a", "use", "--label", "x=y"), 2, "not among the runs"),
        (("a", "use", "--label", "x"), 2, "not a run and its name"),
        (("a", "nonsense", "--snapshots"), 1, "nonsense"),
    ],
)
def test_what_cannot_be(
    options: tuple[str, ...], code: int, said: str, trained: dict[str, Path], rnnctl: CommandLine
) -> None:
    done = rnnctl("diagnose", *(trained.get(one, one) for one in options))
    assert done.code == code
    assert said in done.err
    assert "hint" in done.err


def points(count: int) -> tuple[SnapshotPoint, ...]:
    """So many snapshots, whose horizon is the number of thousand tokens."""
    return tuple(
        SnapshotPoint(
            tokens=1000 * k, step=k, digest=f"{k}",
            numbers={
                "loss": Estimate(estimate=3 - k / count, unit="nats"),
                "horizon": Estimate(estimate=float(k), unit="words"),
                "reach": Estimate(estimate=2.0 * k, unit="tokens"),
            },
        )
        for k in range(count)
    )  # fmt: skip


@pytest.mark.parametrize(("runs", "count"), [(1, 1), (1, 12), (1, 90), (3, 12), (12, 40), (30, 5)])
def test_the_short_report_fits_on_a_screen(runs: int, count: int) -> None:
    """The headline first and last; when half of what is remembered was there, worked by hand."""
    courses = tuple(
        SnapshotCourse(
            run=f"r{k}", label=f"run{k}", cell="lstm", init="good", distance_unit="words", text="",
            points=points(count),
        )
        for k in range(runs)
    )  # fmt: skip
    result = SnapshotsResult(
        environment=Environment(rnnctl="0", python="3"), preset="quick", courses=courses
    )
    out = as_table(brief(result), width=80)
    lines = out.splitlines()
    assert len(lines) <= 24 and max(map(len, lines)) <= 80, out
    assert " ".join(out.split()).endswith("--verbose")
    if count == 12:
        name = "run0" if runs == 1 else "run0 (LSTM)"
        assert (
            f"{name}: memory horizon 11 words at the end, half of that since 6,000 tokens" in lines
        )
        assert out.count("half of that since") == (2 if runs == 1 else runs)
    if runs == 1:  # of many snapshots the first and the last are among those that are shown
        shown = [line.split()[0] for line in lines if line.strip()[:1].isdigit()]
        assert shown[0] == "0" and shown[-1] == f"{1000 * (count - 1):,}"
