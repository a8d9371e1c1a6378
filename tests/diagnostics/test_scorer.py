"""`diagnose --scorer`, `score --answer`: the protocol of rnnctl/docs/scorer.md, kept and broken."""

from __future__ import annotations

import json
import math
import os
import re
import shlex
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import CommandLine, MakeRun

from rnnctl.diagnostics.scorer import PIECE

GREETING = '{"protocol": "rnnctl-scorer", "version": 1}\n'
SENTENCE = "the cat saw a dog and the dog saw a small red cat near the old house today . "
# What every bad scorer below begins with; `answer(ask)` is what it gets wrong.
SKELETON = """
import json, os, sys, time
for line in sys.stdin:
    ask = json.loads(line) if line.strip() else None
    if ask and "protocol" in ask:
        print(json.dumps({**ask, "can": CAN}))
    elif ask:
        answer(ask)
    else:
        sys.stdout.flush()
sys.stdout.flush()
"""


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text("".join(SENTENCE * 4 + "\n\n" for _ in range(12)), encoding="utf-8")
    return path


def script(path: Path, answer: str, can: str = "[]") -> str:
    """A command that runs SKELETON with this body of `answer`."""
    body = f"CAN = {can}\ndef answer(ask):\n    n = ask['id']\n    {answer}\n{SKELETON}"
    path.write_text(body, encoding="utf-8")
    return f"{shlex.quote(sys.executable)} {shlex.quote(str(path))}"


GOOD = "print(json.dumps({'id': n, 'nats': 1.0}))"
LIST = "print(json.dumps({'id': n, 'list': [['a', 0.5], ['b', 0.5]]}))"
BROKEN = {
    "dies": ("os._exit(3)", r"ended with exit code 3 before it answered question 1"),
    "dies, saying why": ("raise ValueError('no such word')", "its last words: ValueError: no such"),
    "twice": (f"{GOOD}; {GOOD}", r"line 3 of the scorer: question 1 was answered before"),
    "out of order": (
        "print(json.dumps({'id': 1 if n == 1 else n - 1 if n % 2 else n + 1, 'nats': 1.0}))",
        r"line 3 of the scorer: the answer to 3 comes before that to 2",
    ),
    "unasked": ("print(json.dumps({'id': 10**9, 'nats': 1.0}))", "question 1000000000 was not"),
    "no id": ("print(json.dumps({'nats': 1.0}))", "line 2 of the scorer: an answer without the id"),
    "NaN": ("print('{\"id\": %d, \"nats\": NaN}' % n)", "line 2 of the scorer: the nats are NaN"),
    "infinite": ("print('{\"id\": %d, \"nats\": Infinity}' % n)", "a probability of 0"),
    "negative": ("print(json.dumps({'id': n, 'nats': -0.5}))", r"negative \(-0.5\): a probability"),
    "a word": ("print(json.dumps({'id': n, 'nats': 'x'}))", "nats that are not a number: 'x'"),
    "no nats": ("print(json.dumps({'id': n}))", 'line 2 of the scorer has no "nats"'),
    "no JSON": ("print('hello')", "line 2 of the scorer is not a JSON object: 'hello'"),
    "an error": ("print(json.dumps({'id': n, 'error': 'too long'}))", "question 1: too long"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_a_scorer_that_breaks_the_protocol_is_named_with_the_line(
    name: str, rnnctl: CommandLine, text: Path, tmp_path: Path
) -> None:
    answer, said = BROKEN[name]
    command = script(tmp_path / "bad.py", answer)
    done = rnnctl("diagnose", "use", "--scorer", command, "--text", text)
    assert done.code == 1
    assert re.search(said, done.err), done.err
    assert "Traceback" not in done.err
    assert done.out == ""


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ("[['a', 0.5], ['b', 0.5]]", "the probabilities after '' add up to 1.213, not to 1"),
        ("[['a']]", "an entry is not a pair"),
        ("3", 'there is no "list"'),
    ],
)
def test_probabilities_that_do_not_add_up_are_refused(
    entries: str, said: str, rnnctl: CommandLine, text: Path, tmp_path: Path
) -> None:
    answer = f"print(json.dumps({{'id': n, 'list': {entries}, 'nats': 1.0}}))"
    command = script(tmp_path / "bad.py", answer, "['list']")
    done = rnnctl("diagnose", "use", "--scorer", command, "--text", text)
    assert done.code == 1
    assert "line 2 of the scorer" in done.err
    assert said in done.err


def test_a_silent_scorer_is_ended_with_all_that_it_started(
    rnnctl: CommandLine, text: Path, tmp_path: Path
) -> None:
    child = tmp_path / "child"
    answer = (
        f"open({str(child)!r}, 'w').write(str(os.fork() or os.getpid())) if n == 1 else 0; "
        "time.sleep(60)"
    )
    command = script(tmp_path / "slow.py", answer)
    began = time.monotonic()
    done = rnnctl("diagnose", "use", "--scorer", command, "--text", text, "--scorer-timeout", 1)
    assert done.code == 1
    assert "not answered for 1 s: no answer to question 1" in done.err
    assert time.monotonic() - began < 20
    number = int(child.read_text())
    for _ in range(100):  # it may take a moment until the system has cleared it away
        if not Path(f"/proc/{number}").exists() or "Z" in _state(number):
            return
        time.sleep(0.05)
    pytest.fail(f"process {number} is still there")


def _state(number: int) -> str:
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("no-such-program-here", "ended with exit code 127"),
        ("echo hello", "line 1 of the scorer is not a JSON object"),
        ("echo '{}'", "line 1 of the scorer is not a greeting"),
        (
            """echo '{"protocol": "rnnctl-scorer", "version": 2}'""",
            "speaks version 2 of the protocol, rnnctl speaks 1",
        ),
    ],
)
def test_what_is_no_scorer_is_said_at_once(
    command: str, said: str, rnnctl: CommandLine, text: Path
) -> None:
    done = rnnctl("diagnose", "--scorer", command, "--text", text)
    assert done.code == 1
    assert said in done.err


def test_an_answer_after_the_last_question_is_found(
    rnnctl: CommandLine, text: Path, tmp_path: Path
) -> None:
    path = tmp_path / "late.py"
    command = script(path, GOOD)
    path.write_text(path.read_text() + "\nprint('{}')\n")
    done = rnnctl("diagnose", "first-last", "--scorer", command, "--text", text)
    assert done.code == 1
    assert "does not answer a question: '{}'" in done.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--scorer", "x"), "--scorer needs a text"),
        (("hold", "--scorer", "x", "--text", "f"), "'hold' cannot be measured with a scorer"),
        (("--scorer", " ", "--text", "f"), "--scorer is empty"),
        (("run", "--scorer-timeout", "3"), "--scorer-timeout has no effect without --scorer"),
        (("--scorer", "x", "--text", "f", "--show", "a"), "--show has no effect with --scorer"),
        ((), "diagnose needs a run"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    arguments: tuple[str, ...], said: str, rnnctl: CommandLine
) -> None:
    done = rnnctl("diagnose", *arguments)
    assert done.code == 2
    assert said in done.err


def test_the_example_of_the_page_has_a_horizon_of_one_token(
    rnnctl: CommandLine, root: Path, tmp_path: Path
) -> None:
    page = (root / "rnnctl" / "docs" / "scorer.md").read_text("utf-8")
    (tmp_path / "bigram.py").write_text(re.search(r"```python\n(.*?)```", page, re.DOTALL)[1])  # type: ignore[index]
    draw = np.random.default_rng(0)
    words = [f"w{k}" for k in range(8)]
    chain = [0]
    for _ in range(3000):  # each word is followed by the next one, nine times of ten
        chain.append((chain[-1] + 1) % 8 if draw.random() < 0.9 else int(draw.integers(8)))
    whole = " ".join(words[k] for k in chain)
    (tmp_path / "train.txt").write_text(whole)
    (tmp_path / "valid.txt").write_text(" ".join(words[k] for k in chain[:900]))
    command = f"{shlex.quote(sys.executable)} {tmp_path}/bigram.py {tmp_path}/train.txt"
    done = rnnctl(
        "diagnose", "use", "--scorer", command, "--text", tmp_path / "valid.txt", "--format", "json"
    )
    assert done.code == 0, done.err
    result = json.loads(done.out)
    assert result["headline"]["estimate"] == pytest.approx(1.0)  # a word is a token here
    assert result["model"]["id"].endswith("bigram.py")
    assert result["model"]["task"] == "scorer"
    assert "a second" in done.err


def test_pieces_are_the_text() -> None:
    text = "It's 3.5  m,\n\nsaid 李白 — don’t!\t"
    assert "".join(PIECE.findall(text)) == text
    assert PIECE.findall("He said no.") == ["He", " said", " no", "."]
    assert PIECE.findall("李白") == ["李", "白"]


# -- the other side ------------------------------------------------------------------------------

LEVELS = ("char", "byte", "word", "bpe")


def ask(rnnctl: CommandLine, run: Path, *questions: dict[str, object]) -> list[dict[str, object]]:
    lines = [json.dumps({"id": k, **question}) + "\n" for k, question in enumerate(questions)]
    done = rnnctl("score", run, "--answer", stdin=GREETING + "".join(lines))
    found = [json.loads(line) for line in done.out.splitlines()]
    assert found[0]["protocol"] == "rnnctl-scorer"
    assert [one["id"] for one in found[1:]] == list(range(len(questions)))
    return found[1:]


@pytest.mark.parametrize("level", LEVELS)
def test_answers_are_what_score_says(level: str, rnnctl: CommandLine, make_run: MakeRun) -> None:
    text = "the cat sät on the Mat ."
    run = make_run("the cat sat on the mat . " * 30, level=level, vocab_size=None)
    cut = " on the"
    at = text.index(cut)
    found = ask(
        rnnctl,
        run,
        {"context": "", "target": text},
        {"context": "", "target": text[:at]},
        {"context": text[:at], "target": cut},
        {"context": text[: at + len(cut)], "target": text[at + len(cut) :]},
        {"split": text},
    )
    whole, *parts = (one["nats"] for one in found[:4])
    assert math.isclose(sum(parts), whole, rel_tol=1e-5)  # type: ignore[arg-type]
    scored = json.loads(rnnctl("score", run, "--format", "json", stdin=text).out)
    assert whole == pytest.approx(scored["total"]["nats"], rel=1e-5)
    pieces = found[4]["pieces"]
    assert isinstance(pieces, list)
    assert "".join(pieces) == text
    again = ask(rnnctl, run, {"context": pieces[:3], "target": pieces[3:]})[0]["nats"]
    begin = ask(rnnctl, run, {"context": [], "target": pieces[:3]})[0]["nats"]
    assert again + begin == pytest.approx(whole, rel=1e-5)  # type: ignore[operator]


def test_a_list_adds_up_to_one_and_agrees(rnnctl: CommandLine, make_run: MakeRun) -> None:
    run = make_run("the cat sat on the mat . " * 30)
    listed, asked = ask(
        rnnctl, run, {"context": "the c", "list": True}, {"context": "the c", "target": "a"}
    )
    nats = dict(listed["list"])  # type: ignore[call-overload]
    assert sum(math.exp(-value) for value in nats.values()) == pytest.approx(1.0)
    assert nats["a"] == pytest.approx(asked["nats"], rel=1e-5)


def test_a_bad_question_is_answered_by_an_error_and_the_next_one_well(
    rnnctl: CommandLine, make_run: MakeRun
) -> None:
    run = make_run("the cat sat on the mat . " * 30)
    lines = GREETING + 'nonsense\n{"id": 7}\n{"id": 8, "context": "the", "target": ""}\n\n'
    done = rnnctl("score", run, "--answer", stdin=lines + '{"id":9,"context":"a","target":"t"}\n')
    answers = [json.loads(line) for line in done.out.splitlines()][1:]
    assert [("error" in one, one["id"]) for one in answers] == [
        (True, None), (True, 7), (True, 8), (False, 9),
    ]  # fmt: skip
    assert done.code == 1


@pytest.mark.parametrize("first", ["", "hello\n", '{"protocol": "rnnctl-scorer", "version": 9}\n'])
def test_a_run_answers_nobody_who_does_not_greet(
    first: str, rnnctl: CommandLine, make_run: MakeRun
) -> None:
    run = make_run("the cat sat on the mat . " * 30)
    done = rnnctl("score", run, "--answer", stdin=first)
    assert done.code == 2
    assert "Traceback" not in done.err
    assert done.out == ""


def test_nobody_is_left_when_the_measurement_is_interrupted(tmp_path: Path, text: Path) -> None:
    import signal
    import subprocess

    mark = tmp_path / "pid"
    answer = f"open({str(mark)!r}, 'w').write(str(os.getpid())) if n == 1 else 0; time.sleep(60)"
    command = script(tmp_path / "slow.py", answer)
    process = subprocess.Popen(
        [sys.executable, "-m", "rnnctl", "diagnose", "use", "--scorer", command, "--text", text],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ},
    )  # fmt: skip
    for _ in range(400):
        if mark.exists() and mark.read_text():
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == 143
    number = int(mark.read_text())
    for _ in range(100):
        if "Z" in _state(number):
            return
        time.sleep(0.05)
    pytest.fail(f"process {number} is still there")
