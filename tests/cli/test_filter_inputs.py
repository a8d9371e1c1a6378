"""What people bring to `classify` and `score`: tables, JSON, folders, packed files, odd lines."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rnnctl.runs import Run

Command = Callable[..., Any]
TEXT = "good film, bad film, naïve 猫 film. the hotel was cold " * 5
GOOD = ["good film", "bad film", "the hotel was good"]


@pytest.fixture(scope="module")
def run(make_run: Callable[..., Path]) -> Path:
    return make_run(TEXT, labels=("bad", "good"), level="word")


@pytest.fixture(scope="module")
def model(make_run: Callable[..., Path]) -> Path:
    return make_run(TEXT, running=False)


def trained(run: Path, tmp_path: Path, **reading: object) -> Path:
    """A copy of a run whose corpus was read so."""
    import shutil

    opened = Run.open(run)
    facts = json.loads(opened.file("corpus.json").read_bytes())
    files = {
        name: opened.file(name).read_bytes() for name in ("tokenizer.json", "model.safetensors")
    }
    files["corpus.json"] = json.dumps({**facts, "reading": reading}).encode()
    path = tmp_path / "trained"
    shutil.rmtree(path, ignore_errors=True)
    Run.create(path, opened.config, files=files)
    return path


def answers(done: Any, code: int = 0) -> list[dict[str, Any]]:
    assert done.code == code, done.err
    return [json.loads(line) for line in done.out.splitlines()]


def table(rows: list[list[str]], **how: Any) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n", **how).writerows(rows)
    return out.getvalue()


def test_a_table_has_an_answer_for_every_record(rnnctl: Command, run: Path, tmp_path: Path) -> None:
    path = tmp_path / "new.csv"
    texts = [*GOOD[:2], "two\nlines, and a comma"]
    path.write_text(
        table([["id", "text", "label"], *([str(i), t, "x"] for i, t in enumerate(texts))])
    )
    for done in (
        rnnctl("classify", run, path, "--format", "json"),
        rnnctl("classify", run, "--format", "json", stdin=path.read_bytes()),
        rnnctl("classify", run, path, "--format", "json", "--text-field", "2"),
    ):
        found = answers(done)
        assert [one["text"] for one in found] == texts
        assert all(one["prediction"] in ("bad", "good") for one in found)
        assert "csv, comma, header; text = text" in done.err
    assert rnnctl("classify", run, path).out.count("\n") == 3


def test_a_bad_row_is_an_error_of_its_own(rnnctl: Command, run: Path) -> None:
    rows = 'text,label\ngood film,x\nonly one\n"open quote,x\nbad film,y\n'
    found = answers(rnnctl("classify", run, "--as", "csv", "--format", "json", stdin=rows))
    assert [one.get("text") for one in found] == ["good film", None, None, "bad film"]
    assert "1 cell, but the table has 2 columns" in found[1]["error"]
    assert "a quote is not closed" in found[2]["error"]


@pytest.mark.parametrize("command", ["classify", "score"])
def test_an_option_without_effect_is_refused(
    rnnctl: Command, run: Path, model: Path, command: str
) -> None:
    which, lines = (run, []) if command == "classify" else (model, ["--lines"])
    done = rnnctl(command, which, *lines, "--text-field", "nope", stdin="good film\nbad film\n")
    assert done.code == 2 and "--text-field has no effect here" in done.err
    done = rnnctl(command, which, *lines, "--text-field", "nope", stdin="id,text\n1,good\n2,bad\n")
    assert done.code == 2 and "has no such field" in done.err
    done = rnnctl(command, which, "--encoding", "nope", stdin="a")
    assert done.code == 2 and "is not a text encoding" in done.err


def test_json_is_read_by_a_sample_of_it(rnnctl: Command, run: Path, tmp_path: Path) -> None:
    objects = [json.dumps({"id": i, "text": text}) for i, text in enumerate(GOOD)]
    lines = ["", '"text": "cut off"}', *objects, '{"text": "bad", "score": NaN}']
    found = answers(rnnctl("classify", run, "--format", "json", stdin="\n".join(lines) + "\n"))
    assert [one.get("id", "-") for one in found] == ["-", "-", 0, 1, 2, "-"]
    assert ["error" in one for one in found] == [False, True, False, False, False, False]
    assert (found[0]["tokens"], found[-1]["score"]) == (0, None)
    for indent in (None, 1):
        array = json.dumps([json.loads(one) for one in objects], indent=indent)
        found = answers(rnnctl("classify", run, "--format", "json", stdin=array))
        assert [one["text"] for one in found] == GOOD
    templates = "{% block a %}\n<p>good film</p>\n"
    assert len(answers(rnnctl("classify", run, "--format", "json", stdin=templates))) == 2


def test_the_column_of_the_training_is_read(rnnctl: Command, run: Path, tmp_path: Path) -> None:
    mine = trained(run, tmp_path, kind="jsonl", unit="record", text="content", columns=3)
    both = [
        json.dumps({"review": "no", "CONTENT" if i else "content": t}) for i, t in enumerate(GOOD)
    ]
    plain = answers(rnnctl("classify", run, "--format", "json", stdin="\n".join(GOOD)))
    found = answers(rnnctl("classify", mine, "--format", "json", stdin="\n".join(both)))
    assert [a["probabilities"] for a in found] == [a["probabilities"] for a in plain]
    done = rnnctl("classify", mine, "--format", "json", stdin='{"review": "a"}\n{"review": "b"}\n')
    assert "no field 'content', on which the run was trained" in answers(done, 1)[0]["error"]
    done = rnnctl("classify", mine, stdin=table([["review", "x"], ["good", "1"], ["bad", "2"]]))
    assert done.code == 1 and "has no column 'content', on which the run was trained" in done.err
    assert "--text-field" in done.err
    chosen = rnnctl("classify", mine, "--text-field", "review", stdin='{"review": "a"}\n')
    assert chosen.code == 0


def test_a_table_without_header_is_read_by_place(
    rnnctl: Command, run: Path, tmp_path: Path
) -> None:
    mine = trained(
        run, tmp_path, kind="csv", unit="record", text="3", columns=3, place=2, header=False
    )
    path = tmp_path / "new.csv"
    path.write_text(table([["1", f"title {i}", text] for i, text in enumerate(GOOD * 4)]))
    found = answers(rnnctl("classify", mine, path, "--format", "json"))
    assert [one["3"] for one in found] == GOOD * 4
    path.write_text(table([["class", "title", "words"], ["1", "t", "good film"]]))
    assert answers(rnnctl("classify", mine, path, "--format", "json"))[0]["words"] == "good film"


def test_labelled_lines_are_read_as_in_the_training(
    rnnctl: Command, run: Path, tmp_path: Path
) -> None:
    mine = trained(run, tmp_path, kind="lines", unit="record", text="text", label="label")
    lines = "".join(f"{label} {text}\n" for label in ("good", "bad") for text in GOOD)
    found = answers(rnnctl("classify", mine, "--format", "json", stdin=lines))
    assert [one["text"] for one in found] == GOOD * 2
    marked = "".join(f"__label__good {text}\n" for text in GOOD)
    for which in (mine, run):
        found = answers(rnnctl("classify", which, "--format", "json", stdin=marked))
        assert [one["text"] for one in found] == GOOD
    one = answers(rnnctl("classify", mine, "--format", "json", stdin="good film\n"))
    assert "text" not in one[0]  # a line that begins so is no proof


def test_whole_files_are_classified_where_files_were_learnt(
    rnnctl: Command, run: Path, tmp_path: Path
) -> None:
    mine = trained(run, tmp_path, kind="text", unit="file")
    letters = tmp_path / "letters"
    letters.mkdir()
    for i, text in enumerate(GOOD):
        (letters / f"{i}.txt").write_text(f"{text}\n\nand so on\n")
    (letters / "x.png").write_bytes(b"\x89PNG\0")
    done = rnnctl("classify", mine, letters, "--format", "json")
    found = answers(done)
    assert [one["file"] for one in found] == [str(letters / f"{i}.txt") for i in range(3)]
    assert "1 file with unknown endings (.png)" in done.err
    rows = rnnctl("classify", mine, letters / "0.txt").out.splitlines()
    assert len(rows) == 1 and rows[0].split("\t")[2] == str(letters / "0.txt")
    assert rnnctl("classify", mine, "--documents", "line", letters / "0.txt").out.count("\n") == 3
    whole = rnnctl("classify", run, "--documents", "file", stdin=(letters / "0.txt").read_bytes())
    assert whole.out.count("\n") == 1
    one = json.dumps({"text": f"{GOOD[0]}\n\nand so on\n"})
    same = answers(rnnctl("classify", run, "--format", "json", stdin=one))
    assert same[0]["probabilities"] == found[0]["probabilities"]
    names = rnnctl("classify", run, letters).out.splitlines()
    assert len(names) == 9 and names[-1].endswith("2.txt")


def test_packed_and_encoded_input(rnnctl: Command, run: Path, model: Path, tmp_path: Path) -> None:
    text = "\n".join(GOOD) + "\n"
    expected = rnnctl("classify", run, stdin=text).out
    path = tmp_path / "new.txt.gz"
    path.write_bytes(gzip.compress(text.encode()))
    assert rnnctl("classify", run, path).out == expected
    assert rnnctl("classify", run, stdin=path.read_bytes()).out == expected
    for codec in ("utf-8-sig", "utf-16", "utf-32"):
        for end in ("\n", "\r\n", "\r"):
            data = text.replace("\n", end).encode(codec)
            assert rnnctl("classify", run, stdin=data).out == expected
            whole = rnnctl("score", model, "--format", "json", stdin=data)
            plain = rnnctl("score", model, "--format", "json", stdin=text)
            sums = [json.loads(done.out)["total"] for done in (whole, plain)]
            assert sums[0]["nats"] == pytest.approx(sums[1]["nats"], rel=1e-6)
            assert [sums[0][n] for n in ("bytes", "tokens")] == [
                sums[1][n] for n in ("bytes", "tokens")
            ]
    done = rnnctl("classify", run, stdin=path.read_bytes()[:-9])
    assert done.code == 1 and "standard input is damaged or cut off" in done.err
    latin = "naïve film\n".encode("cp1252")
    assert rnnctl("classify", run, "--encoding", "cp1252", stdin=latin).out == (
        rnnctl("classify", run, stdin="naïve film\n").out
    )


def test_the_encoding_of_the_training_gives_way_to_utf_8(rnnctl: Command, tmp_path: Path) -> None:
    corpus = tmp_path / "avis.csv"
    rows = [["text", "label"], *([f"L'hôtel agréable {i}", "ab"[i % 2]] for i in range(40))]
    corpus.write_bytes(table(rows).encode("cp1252"))
    small = ["--hidden-size", 4, "--embedding-size", 4, "--steps", 2, "--no-diagnose", "--quiet"]
    path = tmp_path / "run"
    done = rnnctl(
        "train", corpus, "--task", "classify", "--encoding", "cp1252", "--run", path, *small
    )
    assert done.code == 0, done.err
    line = "l'hôtel agréable\n"
    found = [rnnctl("classify", path, stdin=line.encode(codec)) for codec in ("cp1252", "utf-8")]
    assert found[0].code == 0 and found[0].out == found[1].out
    facts = json.loads(Run.open(path).file("corpus.json").read_bytes())
    assert facts["reading"]["text"] == "text" and facts["reading"]["encoding"] == "cp1252"


def test_lines_that_say_nothing_are_answered_and_counted(rnnctl: Command, run: Path) -> None:
    lines = ["good film", "", "   ", "qwxz vbnm", "🤦", "bad film"]
    done = rnnctl("classify", run, "--format", "json", stdin="\n".join(lines) + "\n")
    found = answers(done)
    assert len(found) == 6
    nothing = [one["tokens"] == one["unknown"] for one in found]
    assert [nothing[i] for i in (0, 1, 3, 4, 5)] == [False, True, True, True, False]
    assert "2 lines are blank, 2 lines hold no token that the model knows" in done.err


@pytest.mark.parametrize(
    ("options", "data"),
    [([], b"\xff\n\xfe\n"), (["--as", "jsonl"], b"plain\n"), ([], b'{"x": 1}\n{"x": 2}\n')],
)
def test_if_every_record_fails_so_does_the_command(
    rnnctl: Command, run: Path, model: Path, options: list[str], data: bytes
) -> None:
    data = data.replace(b"\xff\n\xfe", b"a\xff\nb\xfe")
    for command, which in (("classify", run), ("score", model)):
        lines = ["--lines"] if command == "score" and not options else []
        done = rnnctl(command, which, *options, *lines, stdin=data)
        assert done.code == 1
        assert "nothing was answered (line 1: " in done.err
        assert done.out.count("\n") == data.count(b"\n")


def test_records_without_the_column_of_the_training_are_told_which_it_is(
    rnnctl: Command, run: Path, tmp_path: Path
) -> None:
    run = trained(run, tmp_path, text="content")
    done = rnnctl("classify", run, "--quiet", stdin=b'{"review": "a", "stars": 1}\n' * 3)
    assert done.code == 1
    error = done.err.splitlines()[0]
    assert error.startswith("error: 3 of 3 lines hold no text: nothing was answered (line 1: no ")
    assert "no field 'content', on which the run was trained" in error
    assert "fields: review, stars" in error


def test_a_language_model_scores_the_records_of_a_table(rnnctl: Command, model: Path) -> None:
    rows = table([["text", "label"], *([text, "x"] for text in GOOD)])
    plain = rnnctl("score", model, "--lines", "--format", "json", stdin="\n".join(GOOD))
    done = rnnctl("score", model, "--format", "json", stdin=rows)
    assert [a["nats"] for a in answers(done)] == [a["nats"] for a in answers(plain)]
    whole = rnnctl("score", model, "--as", "text", "--format", "json", stdin=rows)
    assert json.loads(whole.out)["total"]["bytes"] == len(rows)


@pytest.mark.parametrize("header", [b"", b"id,text\n"])
def test_records_are_answered_while_the_pipe_stays_open(run: Path, header: bytes) -> None:
    command = [sys.executable, "-m", "rnnctl", "classify", str(run), "--format", "json"]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        bufsize=0,
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(header)
        for i in range(3):
            line = b'%d,"a good\nfilm"\n' % i if header else b'{"id": "%d", "text": "a good"}\n' % i
            process.stdin.write(line)
            assert json.loads(process.stdout.readline())["id"] == str(i)
        process.stdin.close()
        assert process.wait(60) == 0


def test_a_prompt_is_read_as_any_text_is(rnnctl: Command, model: Path) -> None:
    plain = rnnctl("generate", model, "--length", 9, stdin="good\nfilm")
    assert plain.code == 0
    for data in ("good\r\nfilm".encode("utf-8-sig"), gzip.compress(b"good\nfilm")):
        assert rnnctl("generate", model, "--length", 9, stdin=data).out == plain.out
    lines = rnnctl("generate", model, "--lines", "--length", 9, stdin="good\nfilm\n")
    marked = "good\r\nfilm\r\n".encode("utf-16")
    assert rnnctl("generate", model, "--lines", "--length", 9, stdin=marked).out == lines.out
