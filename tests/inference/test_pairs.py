"""Minimal pairs: what is read, what is compared, and how it is summed up."""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnctl import statistics
from rnnctl.inference import pairs as p
from rnnctl.inference.score import Scorer
from rnnctl.results.inference import PairsResult
from rnnctl.tasks.loading import load

MakeRun = Callable[..., Path]
CommandLine = Callable[..., Any]
TEXT = "the keys to the cabinet are here. the key is there. a bell rang at noon.\n" * 3


@pytest.fixture(scope="module")
def run(make_run: MakeRun) -> Path:
    return make_run(TEXT, level="word")


@pytest.fixture(scope="module")
def scorer(run: Path) -> Scorer:
    return Scorer(load(run))


PAIRS = [
    {"sentence_good": good, "sentence_bad": bad, "UID": phenomenon}
    for good, bad, phenomenon in (
        ("the key is here.", "the key are here.", "agreement"),
        ("the keys are here.", "the keys is here.", "agreement"),
        ("a bell rang at noon.", "bell a rang at noon.", "order"),
    )
]


def as_jsonl(records: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


def test_blimp_by_hand(run: Path, scorer: Scorer, rnnctl: CommandLine) -> None:
    done = rnnctl("pairs", run, "--format", "json", stdin=as_jsonl(PAIRS))
    assert done.code == 0, done.err
    result = PairsResult.model_validate_json(done.out)
    nats = [
        [scorer.tally_texts([record[key]])[0].nats for key in ("sentence_good", "sentence_bad")]
        for record in PAIRS
    ]
    differences = [bad - good for good, bad in nats]
    assert result.total.n == 3 and result.total.ties == 0
    assert result.total.accuracy.estimate == pytest.approx(np.mean(np.array(differences) > 0))
    assert result.total.difference.estimate == pytest.approx(np.mean(differences), rel=1e-5)
    assert [group.name for group in result.phenomena] == ["agreement", "order"]
    assert result.phenomena[1].difference.estimate == pytest.approx(differences[2], rel=1e-5)
    means = [group.accuracy.estimate for group in result.phenomena]
    assert result.mean_of_phenomena == pytest.approx(np.mean(means))  # type: ignore[arg-type]


CONTAINERS = (
    "csv", "tsv", "no header", "semicolon", "gzip", "json", "zip", "tar", "folder", "parquet",
    "utf-16",
)  # fmt: skip


@pytest.mark.parametrize("container", CONTAINERS)
def test_every_container_gives_the_same(
    container: str, run: Path, tmp_path: Path, rnnctl: CommandLine
) -> None:
    usual = rnnctl("pairs", run, "--format", "json", stdin=as_jsonl(PAIRS))
    suffix = {"no header": "tsv", "semicolon": "csv", "gzip": "jsonl.gz", "utf-16": "csv"}.get(
        container, container
    )
    path = tmp_path / f"pairs.{suffix}"
    rows = [list(record.values())[: 2 if container == "no header" else 3] for record in PAIRS]
    if container == "gzip":
        path.write_bytes(gzip.compress(as_jsonl(PAIRS).encode()))
    elif container in ("zip", "tar", "folder"):
        folder = tmp_path / "inside" if container != "folder" else path
        folder.mkdir()
        for name, some in (("a", PAIRS[:1]), ("b", PAIRS[1:])):  # as BLiMP is: a file each
            (folder / f"{name}.jsonl").write_text(as_jsonl(some))
        if container != "folder":
            shutil.make_archive(str(path.with_suffix("")), container, folder)
    elif container == "parquet":
        pd.DataFrame(PAIRS).to_parquet(path)
    elif container == "json":
        path.write_text(json.dumps(PAIRS, indent=1))
    else:
        separator = {"csv": ",", "semicolon": ";"}.get(container, "\t")
        text = io.StringIO()
        writer = csv.writer(text, delimiter=separator)
        if container != "no header":
            writer.writerow(["Good", "BAD", "phenomenon"])
        writer.writerows(rows)
        path.write_text(text.getvalue(), encoding="utf-16" if container == "utf-16" else "utf-8")
    done = rnnctl("pairs", run, path, "--format", "json")
    assert done.code == 0, done.err
    found, wanted = json.loads(done.out), json.loads(usual.out)
    if container == "no header":
        assert found["total"] == wanted["total"] and not found["phenomena"]
    else:
        assert {k: v for k, v in found.items() if k not in ("timing", "sources")} == {
            k: v for k, v in wanted.items() if k not in ("timing", "sources")
        }


def test_pairs_in_another_encoding(run: Path, tmp_path: Path, rnnctl: CommandLine) -> None:
    table = "good;bad\nthe key is né.;the key are né.\n"
    (tmp_path / "utf-8.csv").write_text(table, encoding="utf-8")
    (tmp_path / "cp1252.csv").write_bytes(table.encode("cp1252"))
    wanted = rnnctl("pairs", run, tmp_path / "utf-8.csv", "--format", "json")
    done = rnnctl("pairs", run, tmp_path / "cp1252.csv", "--encoding", "cp1252", "--format", "json")
    assert done.code == wanted.code == 0, done.err
    assert json.loads(done.out)["total"] == json.loads(wanted.out)["total"]
    refused = rnnctl("pairs", run, tmp_path / "cp1252.csv")
    assert refused.code == 1 and "cp1252.csv:2: byte" in refused.err and "--encoding" in refused.err


def test_agreement_with_attractors(run: Path, scorer: Scorer, rnnctl: CommandLine) -> None:
    table = (
        "context,right,wrong,attractors\n"
        "the keys to the cabinet,are,is,1\nthe key,is,are,0\nthe keys,are,is,0\n"
    )
    result = json.loads(rnnctl("pairs", run, "--format", "json", stdin=table).out)
    assert [(g["name"], g["n"]) for g in result["attractors"]] == [("0", 2), ("1", 1)]
    one = scorer.tally_texts(["the keys to the cabinet are", "the keys to the cabinet is"])
    difference = one[1].nats - one[0].nats
    assert result["attractors"][1]["difference"]["estimate"] == pytest.approx(difference, rel=1e-4)
    critical = json.loads(rnnctl("pairs", run, "--critical", "--format", "json", stdin=table).out)
    for whole, words in zip(result["attractors"], critical["attractors"], strict=True):
        assert whole["difference"]["estimate"] == pytest.approx(
            words["difference"]["estimate"], rel=1e-4
        )


def test_the_words_that_differ(scorer: Scorer) -> None:
    pair = p.Pair("", 1, "the key is here.", "the key are here.")
    ((found,), problems) = p.score_pairs(scorer, [pair], "critical")
    assert not problems
    for text, nats in (("the key is", found.good), ("the key are", found.bad)):
        whole, start = scorer.tally_texts([text, "the key"])
        assert nats == pytest.approx(whole.nats - start.nats, rel=1e-4)
    added = p.Pair("", 2, "the key is here.", "the key is is here.")
    scored, problems = p.score_pairs(scorer, [added, pair], "critical")
    assert len(scored) == 1 and problems[0].line == 2 and "only adds words" in problems[0].error


@given(st.lists(st.sampled_from("abc"), min_size=1), st.lists(st.sampled_from("abc"), min_size=1))
def test_what_is_left_of_the_difference(good: list[str], bad: list[str]) -> None:
    spans = p.differing(good, bad)
    if spans is None:
        assert good == bad or len(good) != len(bad)
        return
    (a, b), (c, d) = spans
    assert good[:a] == bad[:c] and good[b:] == bad[d:]
    assert good[a] != bad[c] and good[b - 1] != bad[d - 1]


def test_the_baseline_is_the_ngrams(scorer: Scorer) -> None:
    """A model that knows two words: the sums are those of its own losses."""

    def losses(ids: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return np.arange(1.0, len(ids) + 1)

    pair = p.Pair("", 1, "the key is here.", "the key are here.")
    ((whole,), _) = p.score_pairs(scorer, [pair], "sentence", losses)
    count = len(scorer.tokenizer.encode(pair.good))
    assert whole.baseline == (count * (count + 1) / 2,) * 2
    ((critical,), _) = p.score_pairs(scorer, [pair], "critical", losses)
    assert critical.baseline == (3.0, 3.0)  # the third word


def scored(difference: float, words: int = 3) -> p.Scored:
    return p.Scored(p.Pair("", 1, " ".join(["w"] * words), "v"), 10.0, 10.0 + difference, 0)


def test_ties_are_half_right_and_rounding_is_a_tie(run: Path) -> None:
    some = [scored(1.0), scored(-1.0), scored(1e-7), scored(2.0)]
    total = p.summarise(load(run), [], some, [], what="sentence").total
    assert total.ties == 1 and total.accuracy.estimate == pytest.approx(2.5 / 4)
    interval = statistics.wilson(2.5, 4)
    assert total.accuracy.ci95 == (interval.lo, interval.hi)


def test_wilson_is_statsmodels() -> None:
    """statsmodels.stats.proportion.proportion_confint(45, 60, method="wilson")."""
    found = statistics.wilson(45, 60)
    assert (found.lo, found.hi) == pytest.approx((0.627656689, 0.842196886), abs=2e-4)
    scipy_interval = (
        pytest.importorskip("scipy.stats").binomtest(45, 60).proportion_ci(method="wilson")
    )
    assert (found.lo, found.hi) == pytest.approx((scipy_interval.low, scipy_interval.high))


def test_the_bootstrap_covers_the_mean(run: Path) -> None:
    draw = np.random.default_rng(0)
    loaded, held = load(run), 0
    for _ in range(200):
        some = [scored(float(x)) for x in draw.normal(0.5, 1, 80)]
        low, high = p._mean(np.array([one.difference for one in some]), seed=0).ci95
        assert low is not None and high is not None
        held += low <= 0.5 <= high
    assert 0.88 <= held / 200 <= 0.99
    assert loaded.labels == ()


@given(st.lists(st.integers(1, 12), min_size=1, max_size=60))
def test_lengths_are_all_there_once(lengths: list[int]) -> None:
    groups = list(p._by_length([scored(1.0, words=n) for n in lengths]))
    if len(set(lengths)) < 2:
        assert not groups
        return
    assert 1 < len(groups) <= p.LENGTH_GROUPS
    assert sum(len(members) for _, members in groups) == len(lengths)
    spans = [{len(one.pair.good.split()) for one in members} for _, members in groups]
    assert all(max(a) < min(b) for a, b in pairwise(spans))


BAD_RECORDS = [
    ({"sentence_good": "a bell.", "sentence_bad": "a bell."}, "are the same"),
    ({"sentence_good": "a bell."}, "no 'sentence_bad'"),
    ({"sentence_good": "  ", "sentence_bad": "a bell."}, "'sentence_good' is empty"),
    ({"sentence_good": 3, "sentence_bad": "a bell."}, "holds no text"),
]


@pytest.mark.parametrize(("record", "message"), BAD_RECORDS)
@pytest.mark.parametrize("critical", [(), ("--critical",)])
def test_a_bad_record_harms_no_other(
    record: dict[str, Any], message: str, critical: tuple[str], run: Path, rnnctl: CommandLine
) -> None:
    text = as_jsonl([PAIRS[0], record, PAIRS[1]])
    done = rnnctl("pairs", run, "--format", "json", *critical, stdin=text)
    assert done.code == 1
    assert f"standard input:2: {message}" in done.err.replace("'sentence_good' and ", "", 1) or (
        ":2: " in done.err and message in done.err
    )
    result, usual = (
        json.loads(done.out),
        rnnctl("pairs", run, "--format", "json", *critical, stdin=as_jsonl([PAIRS[0], PAIRS[1]])),
    )
    assert result["total"] == json.loads(usual.out)["total"]
    assert [(one["line"], message in one["error"]) for one in result["problems"]] == [(2, True)]


def test_a_broken_line_is_a_problem_too(run: Path, rnnctl: CommandLine) -> None:
    done = rnnctl("pairs", run, stdin=as_jsonl(PAIRS[:1]) + "{broken\n" + as_jsonl(PAIRS[1:]))
    assert done.code == 1 and ":2: not JSON" in done.err and "1 record was not a pair" in done.out


def test_how_each_file_was_read_is_said(run: Path, tmp_path: Path, rnnctl: CommandLine) -> None:
    """Two columns of any names are pairs: a header that is not known would count as one."""
    (tmp_path / "a.csv").write_text("foo,bar\nOne.,Two.\n")
    done = rnnctl("pairs", run, tmp_path / "a.csv")
    assert "a.csv: csv, comma, no header; right = 1, wrong = 2" in done.err
    for name in ("b", "c"):
        (tmp_path / f"{name}.jsonl").write_text(as_jsonl(PAIRS))
    done = rnnctl("pairs", run, *(tmp_path / f"{name}.jsonl" for name in "bc"))
    assert done.err.startswith("2 files: JSON lines; right = sentence_good, wrong = sentence_bad")


@pytest.mark.parametrize(
    ("arguments", "text", "code", "message"),
    [
        ((), "just some text\n", 1, "is not a table of pairs"),
        ((), "", 1, "standard input is empty"),
        ((), "a,b,c\n1,2,3\n4,5,6\n", 1, "which column holds the right sentence"),
        (("--good", "nope"), "good,bad\na,b\n", 2, "--good 'nope'"),
        ((), as_jsonl([BAD_RECORDS[0][0]]), 1, "no pair could be scored"),
        (("--baseline",), as_jsonl(PAIRS), 2, "--baseline"),
    ],
)
def test_what_cannot_be_done(
    arguments: tuple[str, ...], text: str, code: int, message: str, run: Path, rnnctl: CommandLine
) -> None:
    done = rnnctl("pairs", run, *arguments, stdin=text)
    assert done.code == code, done.err
    assert message in done.err and not done.out


def test_each_pair_as_a_row(run: Path, tmp_path: Path, rnnctl: CommandLine) -> None:
    path = tmp_path / "each.csv"
    done = rnnctl("pairs", run, "--each", path, "--format", "markdown", stdin=as_jsonl(PAIRS))
    assert done.code == 0 and "| phenomenon" in done.out
    rows = list(csv.DictReader(io.StringIO(path.read_text("utf-8"))))
    assert [row["phenomenon"] for row in rows] == ["agreement", "agreement", "order"]
    for row in rows:
        assert math.isclose(
            float(row["difference"]), float(row["nats_bad"]) - float(row["nats_good"])
        )


def test_a_classifier_has_no_pairs(make_run: MakeRun, rnnctl: CommandLine) -> None:
    path = make_run(TEXT, level="word", labels=("bad", "good"))
    done = rnnctl("pairs", path, stdin=as_jsonl(PAIRS))
    assert done.code == 1 and "is a classifier" in done.err


def test_a_first_record_without_a_field_does_not_decide_for_the_others(
    rnnctl: Any, make_run: Any, tmp_path: Path
) -> None:
    (tmp_path / "p.jsonl").write_text(
        '{"sentence_good": "a cat"}\n{"sentence_good": "the cat", "sentence_bad": "cat the"}\n'
    )
    done = rnnctl("pairs", make_run("the cat sat on a mat " * 9), tmp_path / "p.jsonl")
    assert done.code == 1
    assert "p.jsonl:1: no 'sentence_bad'" in done.err
    assert "1 record was not a pair" in done.out


def test_an_empty_file_holds_no_pairs(rnnctl: Any, make_run: Any, tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("")
    done = rnnctl("pairs", make_run("the cat sat on a mat " * 9), tmp_path / "p.csv")
    assert done.code == 1
    assert "is empty: it holds no pairs" in done.err
