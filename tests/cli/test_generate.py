"""`rnnctl generate` as a command: prompts, seeds, several streams, lines, copies."""

from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from rnnctl.__main__ import main

Command = Callable[..., object]
TEXT = "the cat sat on the mat. the dog ate the hat.\n\n" * 4


@pytest.fixture(scope="module")
def run(make_run: Callable[..., Path]) -> Path:
    return make_run(TEXT)


def test_the_same_seed_gives_the_same_text(rnnctl: Command, run: Path) -> None:
    first = rnnctl("generate", run, "the", "--length", 40, "--seed", 1)
    assert (first.code, first.err) == (0, "")
    assert len(first.out.rstrip("\n")) <= 40 and first.out.endswith("\n")
    assert rnnctl("generate", run, "the", "--length", 40, "--seed", 1).out == first.out
    assert rnnctl("generate", run, "the", "--length", 40, "--seed", 2).out != first.out


def test_a_prompt_is_the_argument_or_stdin(rnnctl: Command, run: Path) -> None:
    greedy = ("--length", 20, "--temperature", 0)
    given = rnnctl("generate", run, "the cat", *greedy).out
    assert rnnctl("generate", run, *greedy, stdin="the cat").out == given
    assert rnnctl("generate", run, "-", *greedy, stdin="the cat").out == given
    assert rnnctl("generate", run, "the cat", *greedy, stdin="not read").out == given
    assert rnnctl("generate", run, *greedy, stdin="the dog ate").out != given


def test_unknown_characters_are_counted_and_harmless(rnnctl: Command, run: Path) -> None:
    done = rnnctl("generate", run, "Ж猫 the", "--length", 5)
    assert done.code == 0
    assert done.err == "unknown tokens in the prompt: 2\n"


def test_several_continuations_are_separated(rnnctl: Command, run: Path) -> None:
    one = rnnctl("generate", run, "the", "--length", 30).out
    three = rnnctl("generate", run, "the", "--length", 30, "--count", 3).out
    assert three.count("\n---\n") == 2
    assert three.startswith(one)


def test_json_has_everything_that_is_needed_to_repeat_it(rnnctl: Command, run: Path) -> None:
    options = (
        "--count",
        2,
        "--length",
        10,
        "--top-k",
        5,
        "--format",
        "json",
        "--stop",
        "the cat the cat",
    )
    done = rnnctl("generate", run, "the Ж", *options)
    result = json.loads(done.out)
    assert [len(sample["text"]) for sample in result["samples"]] == [10, 10]
    assert (result["top_k"], result["seed"], result["stop"]) == (5, 0, ["the cat the cat"])
    assert result["unknown_in_prompt"] == 1
    assert result["samples"][0]["copied"] is None
    assert "no longer in the cache" in result["copied_note"]


def test_a_continuation_for_every_line(rnnctl: Command, run: Path) -> None:
    greedy = ("--length", 60, "--temperature", 0)
    done = rnnctl("generate", run, "--lines", *greedy, stdin=b"the cat\n\xff\n\nthe dog")
    lines = done.out.split("\n")
    assert len(lines) == 5 and lines[1] == "" and lines[4] == ""
    assert done.err.startswith("warning: line 2: malformed UTF-8")
    alone = rnnctl("generate", run, "the cat", *greedy).out
    assert lines[0].replace("\\n", "\n").rstrip("\n") == alone.rstrip("\n")
    as_json = rnnctl("generate", run, "--lines", *greedy, "--format", "json", stdin=b"the\n\xff")
    first, second = (json.loads(line) for line in as_json.out.splitlines())
    assert (first["line"], first["prompt"], first["ended"]) == (1, "the", "length")
    assert (second["line"], "malformed" in second["error"]) == (2, True)


def test_a_saved_state_is_a_prompt(rnnctl: Command, run: Path, tmp_path: Path) -> None:
    state, greedy = tmp_path / "state", ("--length", 20, "--temperature", 0)
    rnnctl("score", run, "--state-out", state, stdin="the dog ")
    went_on = rnnctl("generate", run, "ate", "--state-in", state, *greedy)
    assert went_on.out == rnnctl("generate", run, "the dog ate", *greedy).out


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        (["--temperature", "-1"], 2, "--temperature -1: must be 0 or more"),
        (["--top-p", "0"], 2, "--top-p 0: must be over 0"),
        (["--count", "0"], 2, "count"),
        (["--length", "many"], 2, "length"),
        (["--lines", "--count", "2"], 2, "--lines"),
        (["--tempreture", "1"], 2, "--temperature"),
        (["--state-in", "nothing"], 1, "cannot read nothing"),
    ],
)
def test_wrong_calls_say_why(
    rnnctl: Command, run: Path, arguments: list[str], code: int, error: str
) -> None:
    done = rnnctl("generate", run, *arguments)
    assert done.code == code
    assert error in done.err
    assert "\nhint: " in done.err


def test_every_format_gives_the_continuation_alone(rnnctl: Command, run: Path) -> None:
    wanted = ("the cat", "--length", 20, "--temperature", 0)
    plain = rnnctl("generate", run, *wanted).out.removesuffix("\n")
    found = json.loads(rnnctl("generate", run, *wanted, "--format", "json").out)
    assert found["samples"][0]["text"].removesuffix("\n") == plain
    markdown = rnnctl("generate", run, *wanted, "--format", "markdown").out
    assert markdown.startswith(f"```text\n{plain}")


def test_a_prompt_that_is_no_text(rnnctl: Command, run: Path) -> None:
    done = rnnctl("generate", run, stdin=b"ab\xff")
    assert done.code == 1
    assert "the prompt is not UTF-8: byte 3 is 0xff" in done.err


def test_a_prompt_is_read_as_the_training_text_was(rnnctl: Command, tmp_path: Path) -> None:
    corpus, latin = tmp_path / "latin.txt", tmp_path / "run"
    corpus.write_bytes("un café noir, une idée naïve.\n".encode("cp1252") * 40)
    small = ("--hidden-size", 8, "--steps", 2, "--quiet", "--no-diagnose")
    done = rnnctl("train", corpus, "--encoding", "cp1252", "--run", latin, *small)
    assert done.code == 0, done.err
    found = []
    for codec in ("cp1252", "utf-8", "utf-16"):
        done = rnnctl("generate", latin, "--length", 5, stdin="une idé".encode(codec))
        assert done.code == 0 and "unknown" not in done.err, done.err
        found.append(done.out)
    assert len(set(found)) == 1


def test_what_was_copied_is_found_in_the_training_text(
    rnnctl: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RNNCTL_CACHE", str(tmp_path / "cache"))
    text = tmp_path / "text.txt"
    text.write_text("".join(f"{i} bottles of beer on the wall. " for i in range(300)))
    options = ("--hidden-size", 8, "--steps", 2, "--batch-size", 4, "--bptt", 16, "--no-diagnose")
    assert main(["train", str(text), "--run", str(tmp_path / "run"), *map(str, options)]) == 0
    done = rnnctl("generate", tmp_path / "run", "--length", 50, "--format", "json")
    sample = json.loads(done.out)["samples"][0]
    copied = sample["copied"]
    assert copied["tokens"] >= 1
    assert copied["text"] in sample["text"] and copied["text"] in text.read_text()
    assert text.read_text()[copied["position"] :].startswith(copied["text"])


def test_text_is_printed_as_it_is_made_and_a_closed_pipe_is_quiet(run: Path) -> None:
    command = [sys.executable, "-m", "rnnctl", "generate", str(run), "the", "--length", "1000000"]
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        bufsize=0,
    )
    with process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.read(1)  # long before a million characters
        process.stdout.close()
        assert process.wait(60) == 0
        assert process.stderr.read() == b""


@pytest.mark.parametrize("packing", ["gzip", "zip", "utf-16"])
def test_packed_and_encoded_prompts_are_read_as_in_all_commands(
    packing: str, rnnctl: Command, run: Path
) -> None:
    text = "the\ncat\n"
    data = text.encode("utf-16") if packing == "utf-16" else gzip.compress(text.encode())
    if packing == "zip":
        held = io.BytesIO()
        with zipfile.ZipFile(held, "w") as archive:
            archive.writestr("prompts.txt", text)
        data = held.getvalue()
    call = ("generate", run, "--lines", "--length", 5, "--seed", 1)
    plain, done = rnnctl(*call, stdin=text), rnnctl(*call, stdin=data)
    assert (done.code, done.out) == (plain.code, plain.out) == (0, plain.out), done.err


def test_lines_as_markdown_are_a_table(rnnctl: Command, run: Path) -> None:
    greedy = ("--lines", "--length", 5, "--temperature", 0)
    plain = rnnctl("generate", run, *greedy, stdin="the\nthe | cat\n").out.splitlines()
    done = rnnctl("generate", run, *greedy, "--format", "markdown", stdin="the\nthe | cat\n")
    head, rule, first, second = done.out.splitlines()
    assert head == "| line | prompt | continuation |" and set(rule) <= set("|-: ")
    assert first == f"| 1 | the | {plain[0]} |"
    assert second.startswith("| 2 | the \\| cat | ")
    done = rnnctl("generate", run, *greedy, "--copied", stdin="the\n")
    assert done.code == 2 and "--copied" in done.err
