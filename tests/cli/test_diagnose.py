"""The command: exit codes, formats, widths, what is kept in the run."""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from rnnctl.data.documents import Document
from rnnctl.diagnostics.settings import PRESETS
from rnnctl.reports import render
from rnnctl.results.diagnostics import DiagnosticsResult
from rnnctl.runs import Run, heldout

CommandLine = Callable[..., Any]
MakeRun = Callable[..., Path]


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    small = replace(
        PRESETS["quick"], resamples=100, resets=24, n_max=32, swaps=32, distance_words=16,
        planted=80, hold_lag=8, sequences=8, reach_lags=16, lyapunov_steps=120, exponents=2,
        gate_tokens=400,
    )  # fmt: skip
    monkeypatch.setitem(PRESETS, "quick", small)


@pytest.fixture(scope="module")
def text(root: Path) -> Path:
    return root / "data/paragraphs/valid.txt"


@pytest.fixture(scope="module")
def run(make_run: MakeRun, text: Path) -> Path:
    return make_run(text.read_text(encoding="utf-8")[:20_000], level="char", cell="lstm")


@pytest.mark.parametrize("width", [80, 120])
def test_the_report_fits(
    rnnctl: CommandLine, run: Path, text: Path, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    outcome = rnnctl("diagnose", run, "--text", text, "--quiet", "--verbose")
    assert outcome.code == 0, outcome.err
    assert max(map(len, outcome.out.splitlines())) <= width
    for word in ("Memory horizon", "USE", "EFFECT", "HOLD", "REACH", "GATES", "words back"):
        assert word in outcome.out


LANGUAGE: dict[str, dict[str, Any]] = {
    "char": {},
    "byte": {"level": "byte"},
    "word": {"level": "word"},
    "bpe": {"level": "bpe", "vocab_size": 300},
    "rnn": {"cell": "rnn"},
    "gru": {"cell": "gru"},
    "three layers": {"num_layers": 3},
    "documents": {"level": "word", "running": False},
    "documents, rnn, three layers": {"running": False, "cell": "rnn", "num_layers": 3},
    "noise": {},
    "too little text": {},
    "weights of nothing": {"without": "."},
    "no spaces": {},
}
CLASSIFIERS: dict[str, dict[str, Any]] = {
    **{pool: {"pool": pool} for pool in ("last", "mean", "max", "meanmax")},
    "bidirectional": {"bidirectional": True},
    "rnn, three layers": {"cell": "rnn", "num_layers": 3, "pool": "last"},
    "gru of characters": {"cell": "gru", "level": "char"},
    "ten labels": {"labels": tuple("0123456789")},
    "nothing in the weights": {"without": "."},
    "one text": {},
}
SCORER = """
import json, sys
for line in sys.stdin:
    ask = json.loads(line) if line.strip() else None
    if ask and "protocol" in ask:
        print(json.dumps({**ask, "can": []}))
    elif ask:
        print(json.dumps({"id": ask["id"], "nats": 1.0}))
    else:
        sys.stdout.flush()
sys.stdout.flush()
"""
QUESTIONS = ("How far back does it look?", "Does early evidence count?", "Is a random word kept?")


def language_run(make_run: MakeRun, kind: str, content: str, text: Path) -> Path:
    """A language model of that kind, and in `text` what it is to be measured on."""
    shown = {
        "noise": "мир труд " * 900,
        "too little text": content[:40],
        "no spaces": content.replace(" ", ""),
    }.get(kind, content)
    text.write_text(shown, encoding="utf-8")
    learned = shown if kind == "no spaces" else content
    return make_run(learned, **{"level": "char", **LANGUAGE[kind]})


def classifier(make_run: MakeRun, kind: str, text: Path) -> Path:
    """A classifier of that kind, and in `text` a table to measure it on."""
    asked = {"level": "word", "labels": ("0", "1"), **CLASSIFIERS[kind]}
    said = ["bad", "good", "fair", "dull", "fine", "poor", "warm", "cold", "neat", "slow"]
    count = len(asked["labels"])
    rows = [f'"it was {k} times {said[k % count]}, and we left.",{k % count}' for k in range(120)]
    text.write_text("text,label\n" + "\n".join(rows[:1] if kind == "one text" else rows) + "\n")
    return make_run("\n".join(rows), **asked)


def fits(out: str) -> list[str]:
    """The lines of a short report, which fits on a screen of 24 lines and 80 columns.

    A path that is longer than a line stands on a line of its own.
    """
    lines = out.splitlines()
    assert len(lines) <= 24, out
    assert all(len(line) <= 80 or " " not in line for line in lines), out
    assert lines[0].startswith("What ") and lines[-1].endswith("--verbose"), out
    return lines


@pytest.mark.parametrize("kind", [*LANGUAGE, *CLASSIFIERS])
def test_a_diagnosis_fits_on_a_screen(
    rnnctl: CommandLine, make_run: MakeRun, text: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, kind: str,
) -> None:  # fmt: skip
    """The headline near the top and at the end, and one line for each question, with an answer."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)  # a path longer than a line would take one more
    path = Path("a.txt" if kind in LANGUAGE else "a.csv")
    if kind in LANGUAGE:
        content = text.read_text(encoding="utf-8")[:20_000]
        run = language_run(make_run, kind, content, path)
    else:
        run = classifier(make_run, kind, path)
    outcome = rnnctl("diagnose", run, "--text", path, "--quiet")
    assert outcome.code == 0, outcome.err
    lines = fits(outcome.out)
    heads = [k for k, line in enumerate(lines) if line.startswith("Memory horizon: ")]
    assert len(heads) == 2 and heads[0] <= 6 and heads[1] >= len(lines) - 2, outcome.out
    answers = [line[28:] for line in lines if "?  " in line[:30]]
    assert len(answers) >= 2 and all(answers), outcome.out
    assert not any(line.startswith(" " * 20) for line in lines), outcome.out
    asked = [question for question in QUESTIONS if any(q.startswith(question) for q in lines)]
    assert len(asked) >= (3 if kind in LANGUAGE else 1)


def test_the_short_report_of_a_program_and_of_some_measurements_fits(
    rnnctl: CommandLine, run: Path, text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long command line and a long name of the text are shown whole."""
    monkeypatch.setenv("COLUMNS", "80")
    program = tmp_path / f"scorer-{'with-a-long-name-' * 9}.py"
    program.write_text(SCORER)
    path = tmp_path / f"{'name-' * 30}.txt"
    path.write_text("the cat saw a dog and the dog saw a small red cat today .\n\n" * 40)
    command = f"{shlex.quote(sys.executable)} {shlex.quote(str(program))}"
    outcome = rnnctl("diagnose", "--scorer", command, "--text", path, "--quiet")
    assert outcome.code == 0, outcome.err
    assert f"{path}:" in fits(outcome.out)
    for name in ("use", "effect", "hold", "reach", "gates", "first-last"):
        outcome = rnnctl("diagnose", run, name, "--text", text, "--quiet")
        assert outcome.code == 0, outcome.err
        assert fits(outcome.out)


def test_json_is_the_record_and_is_kept(rnnctl: CommandLine, run: Path, text: Path) -> None:
    outcome = rnnctl("diagnose", run, "use", "--text", text, "--format", "json")
    assert outcome.code == 0 and "measuring USE" in outcome.err
    result = DiagnosticsResult.model_validate_json(outcome.out)
    assert json.loads(outcome.out)["schema_id"] == "rnnctl.diagnostics/1"
    assert Run.open(run).read_result("diagnose")["headline"] == json.loads(outcome.out)["headline"]
    assert result.effect is None


def test_a_diagnosis_from_before_a_number_was_added_opens(
    rnnctl: CommandLine, run: Path, text: Path
) -> None:
    """Old runs keep records without numbers that later versions measure."""
    outcome = rnnctl("diagnose", run, "hold", "first-last", "--text", text, "--format", "json")
    assert outcome.code == 0, outcome.err
    kept = json.loads(outcome.out)
    assert kept["hold"].pop("examples_per_dimension", None) is not None
    for name in ("returning", "right", "right_otherwise"):
        kept["first_last"]["scalars"].pop(name, None)
    found = DiagnosticsResult.model_validate(kept)
    assert found.hold is not None and found.hold.examples_per_dimension is None
    assert render(found, "table")


@pytest.fixture
def own(make_run: MakeRun, text: Path) -> Path:
    """A run that keeps held-out text."""
    content = text.read_text(encoding="utf-8")[:20_000]
    path = make_run(content, level="char", cell="lstm")
    packed = heldout.pack([("valid", True, [Document(content)])])
    Run.open(path).put_file(heldout.HELDOUT_NAME, packed)
    return path


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("reach", "--text", "{text}"), "another text than the run's own"),
        (("--text", "{text}"), "another text than the run's own"),
        (("use", "--seed", 3), "another seed than 0"),
        (("use", "--beyond", "shuffle"), "more ways to alter the text than usual"),
        (("reach", "--preset", "full"), "a more complete diagnosis, of preset quick"),
    ],
)
def test_what_comparisons_rest_on_is_of_the_own_text_and_made_in_one_way(
    rnnctl: CommandLine, own: Path, text: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, arguments: tuple[object, ...], why: str,
) -> None:  # fmt: skip
    monkeypatch.setitem(PRESETS, "full", PRESETS["quick"])
    assert rnnctl("diagnose", own, "use", "reach", "-q").code == 0
    kept = Run.open(own).read_result("diagnose")
    given = [str(one).format(text=text, items=tmp_path / "x.tsv") for one in arguments]
    outcome = rnnctl("diagnose", own, *given)
    assert outcome.code == 0, outcome.err
    assert f"not kept in {own}: " in outcome.err and why in outcome.err
    assert outcome.out
    assert Run.open(own).read_result("diagnose") == kept


def test_a_part_of_a_diagnosis_takes_the_place_of_that_part_alone(
    rnnctl: CommandLine, own: Path
) -> None:
    assert rnnctl("diagnose", own, "-q").code == 0
    whole = Run.open(own).read_result("diagnose")
    outcome = rnnctl("diagnose", own, "reach")
    assert outcome.code == 0 and "not kept" not in outcome.err
    after = Run.open(own).read_result("diagnose")
    assert after.pop("timing").keys() == whole.pop("timing").keys()
    assert after == whole


def test_measurements_made_one_by_one_become_one_diagnosis(rnnctl: CommandLine, own: Path) -> None:
    for name in ("reach", "use", "hold", "effect", "gates", "first-last"):
        assert rnnctl("diagnose", own, name, "-q").code == 0
    parts = Run.open(own).read_result("diagnose")
    assert rnnctl("diagnose", own, "-q").code == 0
    whole = Run.open(own).read_result("diagnose")
    del parts["timing"], whole["timing"]
    parts["warnings"], whole["warnings"] = (
        sorted(one["text"] for one in found["warnings"]) for found in (parts, whole)
    )
    assert parts == whole


def test_what_was_measured_on_other_weights_is_no_part_of_a_diagnosis(
    rnnctl: CommandLine, own: Path
) -> None:
    assert rnnctl("diagnose", own, "gates", "use", "-q").code == 0
    run = Run.open(own)
    run.put_file("model.safetensors", run.file("model.safetensors").read_bytes() + b" ")
    kept_diagnosis = Run.open(own).present_result("diagnose")
    assert kept_diagnosis is None and "diagnose" in Run.open(own).results()


def test_markdown_into_a_file(rnnctl: CommandLine, run: Path, text: Path, tmp_path: Path) -> None:
    path = tmp_path / "out.md"
    outcome = rnnctl(
        "diagnose", run, "gates", "--text", text, "--format", "markdown", "-o", path, "-q"
    )
    assert (outcome.code, outcome.out, outcome.err) == (0, "", "")
    assert path.read_text(encoding="utf-8").startswith("# ")


def test_text_through_a_pipe(rnnctl: CommandLine, run: Path, text: Path) -> None:
    outcome = rnnctl("diagnose", run, "gates", "--text", "-", stdin=text.read_bytes()[:9000])
    assert outcome.code == 0, outcome.err


def test_text_in_another_encoding_or_column(rnnctl: CommandLine, run: Path, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("Käse über Öl. ".encode("latin-1") * 200)
    refused = rnnctl("diagnose", run, "gates", "--text", tmp_path / "a.txt")
    assert refused.code == 1 and "--encoding" in refused.err
    read = rnnctl(
        "diagnose", run, "gates", "--text", tmp_path / "a.txt", "--encoding", "latin-1",
        "--format", "json",
    )  # fmt: skip
    assert read.code == 0, read.err
    (tmp_path / "b.csv").write_text("first,second\n" + "a river,the old mill by the road\n" * 50)
    found = []
    for column in ("first", "second"):
        read = rnnctl(
            "diagnose", run, "gates", "--text", tmp_path / "b.csv", "--text-field", column,
            "--format", "json",
        )  # fmt: skip
        assert read.code == 0, read.err
        found.append(json.loads(read.out)["data"]["tokens"])
    assert found[0] < found[1]


@pytest.mark.parametrize("order", ["sorted", "taking turns"])
def test_both_labels_are_measured_in_whatever_order_they_stand(
    rnnctl: CommandLine, make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    order: str,
) -> None:  # fmt: skip
    monkeypatch.setattr("rnnctl.diagnostics.material.MOST_CHARS", 3000)
    monkeypatch.setattr("rnnctl.diagnostics.material.MOST_DOCUMENTS", 40)
    sentence = "the room was {} indeed. we saw a river. it rained on the hill. "
    classifier = make_run(sentence + "good bad", level="word", labels=("bad", "good"))
    rows = [f"{sentence.format(label) * 3},{label}" for label in ("bad", "good")]
    rows = [row for row in rows for _ in range(90)] if order == "sorted" else rows * 90
    (tmp_path / "a.csv").write_text("text,label\n" + "\n".join(rows))
    outcome = rnnctl("diagnose", classifier, "position", "--text", tmp_path / "a.csv")
    assert outcome.code == 0, outcome.err
    assert "at least two labels" not in " ".join(outcome.out.split())
    (tmp_path / "a.csv").write_text("text,label\n" + "a river,yes\na hill,no\n" * 9)
    outcome = rnnctl("diagnose", classifier, "position", "-v", "--text", tmp_path / "a.csv")
    said = " ".join(outcome.out.split())
    assert "labels the run does not know: no, yes; it knows bad, good" in said


def test_the_length_that_use_asks_for_is_enough(
    rnnctl: CommandLine, run: Path, text: Path, tmp_path: Path
) -> None:
    words = text.read_text(encoding="utf-8")
    short = tmp_path / "short.txt"

    def measured(length: int) -> str:
        short.write_text(words[:length])
        outcome = rnnctl("diagnose", run, "use", "--text", short, "-q", "--format", "json")
        assert outcome.code == 0, outcome.err
        use = json.loads(outcome.out)["use"]
        assert (use["status"] == "insufficient_data") == bool(use["note"])
        return str(use["note"])

    said = re.search(r"at least (\d+) tokens; this one has 30\b", measured(30))
    assert said is not None
    assert measured(int(said[1]) - 1) != ""
    assert measured(int(said[1])) == ""


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("nowhere",), 1, "nowhere"),
        (("{run}",), 1, "--text"),
        (("{run}", "memory", "--text", "{text}"), 2, "use, first_last, effect"),
        (("{run}", "{run}"), 2, "one run at a time; `rnnctl compare {run} {run}` compares several"),
        (("{run}", "--preset", "fast"), 2, "quick"),
        (("{run}", "--text", "missing.txt"), 1, "missing.txt"),
        (("{run}", "--show", ""), 2, "--show is empty"),
        (("{run}", "--show", "a", "--format", "json"), 2, "fewer than two words"),
        (("{run}", "--encoding", "latin-1"), 2, "--encoding has no effect without --text"),
        (("{run}", "--text", "{text}", "-o", "missing/a.json"), 1, "there is no folder"),
    ],
)
def test_wrong_calls(
    rnnctl: CommandLine, run: Path, text: Path, arguments: tuple[str, ...], code: int, words: str
) -> None:
    filled = [a.replace("{run}", str(run)).replace("{text}", str(text)) for a in arguments]
    outcome = rnnctl("diagnose", *filled)
    assert outcome.code == code, outcome.err
    assert outcome.out == "" and words.replace("{run}", str(run)) in outcome.err


def test_show_lays_runs_side_by_side(
    rnnctl: CommandLine, run: Path, make_run: MakeRun, text: Path
) -> None:
    other = make_run(text.read_text(encoding="utf-8")[:20_000], level="char", cell="gru")
    outcome = rnnctl("diagnose", run, other, "--show", "a river")
    assert outcome.code == 0, outcome.err
    assert "forget" in outcome.out and "keep" in outcome.out
    assert max(map(len, outcome.out.splitlines())) <= 80


def test_a_picture_goes_to_standard_output_where_a_dash_asks_for_that(
    rnnctl: CommandLine, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = rnnctl("diagnose", run, "--show", "a river", "-o", "-")
    assert outcome.out == rnnctl("diagnose", run, "--show", "a river").out
    assert not Path("-").exists()


def test_the_published_schema_is_the_record() -> None:
    schema = DiagnosticsResult.model_json_schema(mode="serialization")
    file = resources.files("rnnctl.results") / "diagnostics.schema.json"
    published = json.loads(file.read_text(encoding="utf-8"))
    assert published == schema, "write it anew: `model_json_schema(mode='serialization')`"
    assert schema["properties"]["schema_id"]["const"] == "rnnctl.diagnostics/1"


@pytest.mark.parametrize(
    "option", [("--preset", "full"), ("--seed", 3), ("--text", "x.txt"), ("--beyond", "shuffle")]
)
def test_showing_takes_no_options_of_measuring(
    rnnctl: Callable[..., Any], tmp_path: Path, option: tuple[object, ...]
) -> None:
    done = rnnctl("diagnose", tmp_path, "--show", "the key", *option)
    assert (
        done.code == 2
        and f"{option[0]} has no effect with --show" in done.err
        and "hint: " in done.err
    )
