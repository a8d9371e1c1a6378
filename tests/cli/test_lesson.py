"""`rnnctl lesson`: every lesson from question to hand-out, with trainings cut short."""

from __future__ import annotations

import json
import os
import re
import select
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rnnctl.lessons import OUTLINES, Wish, check, labs
from rnnctl.reports import glossary

CommandLine = Callable[..., Any]


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labs, "STEPS", 3)
    monkeypatch.setattr(labs, "ROUNDS", 1)
    monkeypatch.setattr(labs, "ROUND_S", 0.01)
    monkeypatch.setattr(labs, "PARAGRAPHS", 200)


def test_it_lists_the_lessons(rnnctl: CommandLine) -> None:
    done = rnnctl("lesson")
    assert done.code == 0 and not done.err
    flat = " ".join(done.out.split())
    assert all(one.question in flat for one in OUTLINES)
    listed = json.loads(rnnctl("lesson", "--format", "json").out)
    assert [one["number"] for one in listed["lessons"]] == [1, 2, 3, 4, 5]


@pytest.mark.timeout(240)
@pytest.mark.parametrize("number", [1, 2, 3, 4, 5])
def test_a_lesson_from_question_to_answer(
    number: int, short: None, rnnctl: CommandLine, tmp_path: Path
) -> None:
    out = tmp_path / "runs"
    done = rnnctl(
        "lesson", str(number), "--predict", "a", "--budget", "0.3s", "--out", str(out),
        "--format", "json", "--threads", "1", *(("--hidden-size", "16") if number == 4 else ()),
    )  # fmt: skip
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert (found["schema_id"], found["outline"]["number"]) == ("rnnctl.lesson/1", number)
    assert found["prediction"] == "a" and found["right"] in found["outline"]["answers"]
    assert found["picture"] and found["rows"] and found["numbers"] and found["again"]
    for folder in found["runs"].values():
        assert (Path(folder) / "config.json").exists() and Path(folder).is_relative_to(out)
    for term in found["terms"]:
        assert glossary.find(term) is not None, term
    command = found["again"].split()
    assert command[:3] == ["rnnctl", "lesson", str(number)]
    assert command[3] == found["outline"]["change"]


def test_hand_outs(short: None, rnnctl: CommandLine, tmp_path: Path) -> None:
    options = ("--budget", "0.3s", "--out", str(tmp_path), "--length", "3")
    table = rnnctl("lesson", "5", *options, "--predict", "b").out
    assert "Your prediction: b, the LSTM" in table and "Measured: " in table
    assert "Change one thing: `rnnctl lesson 5 --length 24`" in " ".join(table.split())
    page = rnnctl("lesson", "5", *options, "--format", "html").out
    assert page.lower().startswith("<!doctype html>")
    assert "counting beyond the training length" in page and "<script src" not in page
    markdown = rnnctl("lesson", "5", *options, "--format", "markdown").out
    assert markdown.startswith("# Lesson 5") and "Your prediction: none" in markdown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["6"], "there is no lesson 6"),
        (["1", "--predict", "x"], "'x' is not an answer to lesson 1"),
        (["1", "--hold", "forget=1"], "lesson 1 does not take --hold"),
        (["3", "--hold", "forget"], "--hold forget: this is not a gate and a value"),
        (["3", "--hold", "keep=1"], "the LSTM has no gate 'keep'"),
        (["3", "--hold", "forget=2"], "forget=2: the gate cannot have this value"),
        (["5", "--text", __file__], "lesson 5 makes its own text"),
        (["2", "--text", "/nowhere/a.txt"], "there is no file /nowhere/a.txt"),
        (["2", "--budget", "soon"], "--budget soon is not a time"),
        (["--predict", "a"], "--predict has no effect without a lesson"),
    ],
)
def test_what_a_lesson_refuses(arguments: list[str], message: str, rnnctl: CommandLine) -> None:
    done = rnnctl("lesson", *arguments)
    assert done.code == 2 and not done.out
    assert message in done.err and "hint: " in done.err


def test_a_text_that_is_too_short(rnnctl: CommandLine, tmp_path: Path) -> None:
    text = tmp_path / "a.txt"
    text.write_text("One two three. " * 4)
    done = rnnctl("lesson", "2", "--text", str(text))
    assert done.code == 1 and "has 4 sentences of 3 to 16 words" in done.err


def test_the_question_names_what_is_asked() -> None:
    for one in OUTLINES:
        assert one.question.endswith("?") and list(one.answers) == ["a", "b", "c"]
        check(one.number, Wish(out=Path("x"), predict="c"))


def test_paragraphs_hold_the_answer_once_at_their_start() -> None:
    import numpy as np

    draw = np.random.default_rng(0)
    sentences = ["A dog ran home.", "Nobody was there at all."]
    for words in (0, 5, 40):
        made = labs._paragraph(draw, sentences, words)
        first, *between = re.split(r"(?<=\.) ", made["text"])
        thing = first.split()[1]
        assert first == f"The {thing} is {made['label']}."
        assert between.pop() == f"The {thing} is"
        assert not any(one.startswith(f"The {thing} ") for one in between)
        assert words <= sum(len(one.split()) for one in between) <= words + 5


def test_powers_of_ten() -> None:
    values = {0.0: "0", 0.25: "0.25", 4.8e-15: "5·10^-15", 48.0: "48", 4.3e5: "4·10^5",
              9.6e-5: "1·10^-4"}  # fmt: skip
    assert {value: labs._power(value) for value in values} == values


@pytest.mark.parametrize("load", [0.9, 2.4])
def test_speeds_of_a_busy_machine_are_rough(
    load: float, short: None, rnnctl: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are marked, and nothing is concluded from them."""
    monkeypatch.setattr("rnnctl.compare.speed.load_per_core", lambda: load)
    monkeypatch.setattr("rnnctl.compare.speed.undisturbed", lambda speeds: [1.0] * 9)
    call = ("lesson", "4", "--budget", "0.3s", "--out", str(tmp_path), "--hidden-size", "16")
    out = " ".join(rnnctl(*call, "--threads", "1").out.split())
    busy = load > 2
    assert ("the speeds are rough: the machine was busy (a load of 2.4 per core)" in out) == busy
    assert ("(rough)" in out) == busy and ("tokens/s, rough" in out) == busy
    assert ("Not judged here" in out) == busy


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_a_terminal_is_asked(tmp_path: Path) -> None:
    """A wrong letter is asked for again; what is typed in is the prediction."""
    import pty

    leader, follower = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-m", "rnnctl", "lesson", "5", "--budget", "0.3s", "--length", "2",
         "--out", str(tmp_path), "--format", "json", "-o", str(tmp_path / "found.json")],
        stdin=follower, stdout=follower, stderr=follower, env=os.environ | {"TERM": "dumb"},
    )  # fmt: skip
    os.close(follower)
    read, typed = "", ["z\n", "c\n"]
    while select.select([leader], [], [], 90)[0]:
        try:
            piece = os.read(leader, 1 << 16).decode()
        except OSError:
            break
        if not piece:
            break
        read += piece
        if typed and read.count("Your prediction (a, b, c; Enter for none): ") == 3 - len(typed):
            os.write(leader, typed.pop(0).encode())
    os.close(leader)
    assert child.wait() == 0, read
    assert "'z' is not one of a, b, c" in read
    assert json.loads((tmp_path / "found.json").read_text())["prediction"] == "c"
