"""Sentences that a person types in a terminal: `classify`, `score` and `generate` answer each."""

from __future__ import annotations

import os
import re
import select
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from rnnctl.cli import console, inputs

CommandLine = Callable[..., Any]
MakeRun = Callable[..., Path]
TEXT = "the cat sat on the mat and ate the rat with a hat. \n" * 6


@pytest.fixture
def _terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Standard input counts as a terminal, standard output as a pipe."""
    monkeypatch.setattr(inputs, "at_a_terminal", lambda: True)


@pytest.mark.usefixtures("_terminal")
def test_each_text_is_answered_as_a_line_of_a_file_is(
    make_run: MakeRun, rnnctl: CommandLine, tmp_path: Path
) -> None:
    classifier = make_run(TEXT, level="word", labels=("bad", "good"))
    file = tmp_path / "texts.txt"
    file.write_text("the cat\nthe rat")
    for call in (["classify", classifier], ["score", make_run(TEXT), "--lines"]):
        expected = rnnctl(*call, file)
        typed = rnnctl(*[one for one in call if one != "--lines"], stdin="the cat\nthe rat")
        assert (typed.code, typed.out) == (0, expected.out), typed.err
        assert "Ctrl-D" in typed.err and typed.err.count(inputs.PROMPT) == 3
        assert inputs.PROMPT not in typed.out


@pytest.mark.usefixtures("_terminal")
def test_generate_goes_on_behind_all_that_stands_there(
    make_run: MakeRun, rnnctl: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(TEXT)
    options = ("--length", 12, "--temperature", 0, "--no-end", "--quiet")
    first = rnnctl("generate", run, "the cat", *options).out.removesuffix("\n")
    second = rnnctl("generate", run, f"the cat{first} a hat", *options).out
    monkeypatch.setattr(console, "stdout_is_terminal", lambda: True)
    chat = rnnctl("generate", run, *options, stdin="the cat\n a hat\n").out
    said = [one for one in re.split(re.escape(inputs.PROMPT), chat) if one.strip()]
    assert [one.removesuffix("\n") for one in said] == [first, second.removesuffix("\n")]


@pytest.mark.skipif(os.name == "nt", reason="there are no pseudo-terminals")
def test_in_a_real_terminal_lines_come_back_with_the_arrow_keys(make_run: MakeRun) -> None:
    import pty

    run = make_run(TEXT, level="word", labels=("bad", "good"))
    child, terminal = pty.fork()
    if child == 0:
        os.execv(sys.executable, [sys.executable, "-m", "rnnctl", "classify", str(run)])
    seen = ""

    def until(text: str, *, after: str = "") -> None:
        nonlocal seen
        end = time.monotonic() + 60
        while text not in seen[seen.find(after) :] and time.monotonic() < end:
            if select.select([terminal], [], [], 0.2)[0]:
                seen += os.read(terminal, 4096).decode("utf-8", "replace")
        assert text in seen, seen

    # What is typed before the prompt is there is lost when the terminal changes its mode.
    until(inputs.PROMPT)
    os.write(terminal, b"the cat\n")
    until("\t0.")
    until(inputs.PROMPT, after="\t0.")
    answer = re.search(r"(bad|good)\t0\.\d+", seen)
    assert answer is not None
    seen = ""
    os.write(terminal, b"\x1b[A\n")  # the line before, once more
    until(answer[0])
    until(inputs.PROMPT, after=answer[0])
    end = time.monotonic() + 60
    ended, status = 0, 0
    while not ended and time.monotonic() < end:
        with suppress(OSError):  # nobody is at the other end any more
            os.write(terminal, b"\x04")
            if select.select([terminal], [], [], 0.2)[0]:
                seen += os.read(terminal, 4096).decode("utf-8", "replace")
        ended, status = os.waitpid(child, os.WNOHANG)
    if not ended:
        os.kill(child, signal.SIGKILL)
    assert ended and os.waitstatus_to_exitcode(status) == 0
    os.close(terminal)
    assert "Traceback" not in seen
