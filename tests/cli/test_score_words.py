"""`rnnctl score --words`: rows for R and pandas, the input's columns, regions, bad input."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

MakeRun = Callable[..., Path]
CommandLine = Callable[..., Any]
TEXT = "the clock in the hall had stopped. she came home at noon, and nobody knew.\n" * 3


@pytest.fixture(scope="module", params=["char", "byte", "word", "bpe"])
def run(make_run: MakeRun, request: pytest.FixtureRequest) -> Path:
    size = 280 if request.param == "bpe" else None
    return make_run(TEXT, level=request.param, running=False, vocab_size=size)


@pytest.fixture(scope="module")
def one_run(make_run: MakeRun) -> Path:
    return make_run(TEXT, level="word", running=False)


LINES = "the clock had stopped.\nshe  came home \nUnknown wörds 😀\n"


def as_rows(text: str, format: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text), delimiter="\t" if format == "tsv" else ","))


@pytest.mark.parametrize("space", ["before", "after"])
def test_the_rows_add_up_to_what_score_says(run: Path, space: str, rnnctl: CommandLine) -> None:
    said = rnnctl("score", run, "--lines", "--format", "json", stdin=LINES)
    wanted = [json.loads(line)["nats"] for line in said.out.splitlines()]
    arguments = ("--lines", "--words", "--space", space, "--format", "csv")
    done = rnnctl("score", run, *arguments, stdin=LINES)
    assert done.code == 0, done.err
    rows = as_rows(done.out, "csv")
    for item, nats in enumerate(wanted, 1):
        own = [float(row["nats"]) for row in rows if row["item"] == str(item)]
        assert math.fsum(own) == pytest.approx(nats, abs=1e-4)
    words = [row["word"] for row in rows if row["word"] != "<eos>"]
    assert words == LINES.split()


def test_a_file_is_one_text(run: Path, tmp_path: Path, rnnctl: CommandLine) -> None:
    path = tmp_path / "text.txt"
    path.write_text(LINES, encoding="utf-8")
    whole = json.loads(rnnctl("score", run, path, "--format", "json").out)["total"]["nats"]
    done = rnnctl("score", run, path, "--words", "--format", "json")
    rows = [json.loads(line) for line in done.out.splitlines()]
    assert {row["item"] for row in rows} == {str(path)}
    assert math.fsum(row["nats"] for row in rows) == pytest.approx(whole, rel=1e-6)


@pytest.mark.parametrize("format", ["csv", "tsv", "json", "parquet"])
def test_columns_are_passed_through(
    format: str, one_run: Path, tmp_path: Path, rnnctl: CommandLine
) -> None:
    table = tmp_path / "items.csv"
    table.write_text("item,sentence,condition,word\ns1,the clock stopped.,a,x\ns2,she came,b,y\n")
    out = tmp_path / f"out.{format}"
    done = rnnctl("score", one_run, table, "--words", "--format", format, "-o", out, "--no-end")
    assert done.code == 0, done.err
    if format == "parquet":
        rows = pytest.importorskip("pyarrow.parquet").read_table(out).to_pylist()
    elif format == "json":
        rows = [json.loads(line) for line in out.read_text("utf-8").splitlines()]
    else:
        rows = as_rows(out.read_text("utf-8"), format)
    assert [row["item"] for row in rows] == ["s1"] * 3 + ["s2"] * 2
    assert [row["condition"] for row in rows] == ["a"] * 3 + ["b"] * 2
    assert [row["word"] for row in rows] == ["x"] * 3 + ["y"] * 2  # the input's own
    assert [row["rnnctl_word"] for row in rows] == ["the", "clock", "stopped.", "she", "came"]
    assert "sentence" not in rows[0]


def test_bits_top_first_and_table(one_run: Path, rnnctl: CommandLine) -> None:
    text = "the clock stopped."

    def rows(*arguments: str) -> list[dict[str, Any]]:
        usual = ("--words", "--lines", "--format", "json", "--no-end")
        out = rnnctl("score", one_run, *usual, *arguments, stdin=text).out
        return [json.loads(line) for line in out.splitlines()]

    nats, bits = rows(), rows("--unit", "bits")
    for a, b in zip(nats, bits, strict=True):
        assert a["nats"] == pytest.approx(b["bits"] * math.log(2))
        assert a["entropy_nats"] == pytest.approx(b["entropy_bits"] * math.log(2))
    first, second, *_ = rows("--top", "2", "--no-first")
    assert first["nats"] is None and second["nats"] is not None
    assert len(first["top"]) == 2 and first["top"][0][1] >= first["top"][1][1]
    out = rnnctl("score", one_run, "--words", "--lines", "--top", 1, stdin=text).out
    assert out.splitlines()[0].split() == [
        "item", "position", "word", "nats", "entropy_nats", "unknown", "top",
    ]  # fmt: skip
    markdown = rnnctl("score", one_run, "--words", "--format", "markdown", stdin=text).out
    assert markdown.startswith("| item") and markdown.count("\n") == 5


def test_regions_are_sums_of_words(one_run: Path, rnnctl: CommandLine) -> None:
    record = {"text": "the clock | in the hall|had stopped."}
    arguments = ("--words", "--format", "json", "--no-end")
    marked = rnnctl("score", one_run, *arguments, "--regions", "text", stdin=json.dumps(record))
    regions = [json.loads(line) for line in marked.out.splitlines()]
    assert [row["text"] for row in regions] == ["the clock", "in the hall", "had stopped."]
    plain = json.dumps({"text": "the clock in the hall had stopped.", "verb": "had stopped."})
    words = [
        json.loads(line)["nats"]
        for line in rnnctl("score", one_run, *arguments, stdin=plain).out.splitlines()
    ]
    sums = [sum(words[:2]), sum(words[2:5]), sum(words[5:])]
    assert [row["nats"] for row in regions] == pytest.approx(sums, rel=1e-6)
    named = rnnctl("score", one_run, *arguments, "--regions", "verb", stdin=plain)
    (row,) = [json.loads(line) for line in named.out.splitlines()]
    assert row["nats"] == pytest.approx(sums[2], rel=1e-6) and row["words"] == 2


@pytest.mark.parametrize(
    ("record", "arguments", "message"),
    [
        ({"text": "   "}, (), "holds no word"),
        ({"text": "the clock", "verb": "came"}, ("--regions", "verb"), "is not in the text"),
        ({"text": "the the", "verb": "the"}, ("--regions", "verb"), "is 2 times in the text"),
        ({"text": "the clock"}, ("--regions", "verb"), "no column 'verb'"),
        ({"text": "the || clock"}, ("--regions", "text"), "region 2 holds no word"),
        ({"text": "the clock"}, ("--id", "nr"), "no column 'nr'"),
        ({"other": 3}, (), "no field"),
    ],
)
def test_a_bad_text_harms_no_other(
    record: dict[str, Any],
    arguments: tuple[str, ...],
    message: str,
    one_run: Path,
    rnnctl: CommandLine,
) -> None:
    good = {"text": "she | came" if "text" in arguments else "she came", "verb": "came", "nr": 7}
    lines = "\n".join(json.dumps(one) for one in (good, record, good))
    done = rnnctl("score", one_run, "--words", "--format", "csv", *arguments, stdin=lines)
    assert done.code == 1 and message in done.err and "standard input:2: " in done.err
    rows = as_rows(done.out, "csv")
    assert len(rows) > 0 and len({row["item"] for row in rows}) == (
        1 if arguments[:1] == ("--id",) else 2
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--top", "3"), "--top has no effect without --words"),
        (("--space", "after"), "--space has no effect without --words"),
        (("--format", "csv"), "--format has no effect as csv, tsv or parquet without --words"),
        (("--words", "--per-token"), "--per-token has no effect with --words"),
        (("--words", "--state-out", "x"), "--state-out has no effect with --words"),
        (("--words", "--format", "parquet"), "not written to standard output"),
        (("--words", "--format", "xml"), "there is no format 'xml'"),
    ],
)
def test_options_that_make_no_sense(
    arguments: tuple[str, ...], message: str, one_run: Path, rnnctl: CommandLine
) -> None:
    done = rnnctl("score", one_run, *arguments, stdin="the clock")
    assert done.code == 2 and message in done.err and not done.out


def test_no_text_at_all(one_run: Path, rnnctl: CommandLine) -> None:
    done = rnnctl("score", one_run, "--words", stdin="")
    assert done.code == 1 and "no text could be scored" in done.err
