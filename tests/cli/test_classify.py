"""`rnnctl classify` as a command: order, formats, errors of a line, long-lived pipes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rnnctl.__main__ import main

Command = Callable[..., object]
TEXT = "good film, bad film, naïve 猫 film. " * 5


@pytest.fixture(scope="module")
def run(make_run: Callable[..., Path]) -> Path:
    return make_run(TEXT, labels=("bad", "good"), pool="mean")


def test_a_label_and_its_probability_for_every_line(rnnctl: Command, run: Path) -> None:
    done = rnnctl("classify", run, stdin="good film\n\nbad film")
    assert (done.code, done.err) == (0, "1 line is blank: its answer means nothing\n")
    rows = [line.split("\t") for line in done.out.splitlines()]
    assert len(rows) == 3
    for label, probability in rows:
        assert label in ("bad", "good")
        assert 0.5 <= float(probability) <= 1


def test_the_last_newline_changes_nothing(rnnctl: Command, run: Path) -> None:
    assert rnnctl("classify", run, stdin="a\nb").out == rnnctl("classify", run, stdin="a\nb\n").out


def test_json_lines_keep_their_fields(rnnctl: Command, run: Path) -> None:
    given_ = ['{"id": 1, "text": "good"}', '{"text": "bad", "label": "gold", "x": [1.50]}']
    done = rnnctl("classify", run, "--format", "json", stdin="\n".join(given_))
    answers = [json.loads(line) for line in done.out.splitlines()]
    assert answers[0]["id"] == 1
    assert (answers[1]["label"], answers[1]["text"]) == ("gold", "bad")
    assert '"x": [1.50]' in done.out
    for answer in answers:
        assert answer["probabilities"][answer["prediction"]] == answer["probability"]
        assert sum(answer["probabilities"].values()) == pytest.approx(1, abs=1e-5)


def test_fields_with_the_answer_s_names_are_kept(rnnctl: Command, run: Path) -> None:
    mine = ['{"prediction": "mine", "probability": 1.50, "text": "good"}'] * 2
    bad = '{"error": "mine", "line": "x"}'
    done = rnnctl("classify", run, "--format", "json", stdin="\n".join([*mine, bad]))
    first, _, last = (json.loads(line) for line in done.out.splitlines())
    assert (first["prediction"], first["probability"]) == ("mine", 1.5)
    assert '"probability": 1.50' in done.out
    assert first["probabilities"][first["rnnctl_prediction"]] == first["rnnctl_probability"]
    assert (last["error"], last["line"], last["rnnctl_line"]) == ("mine", "x", 3)
    assert last["rnnctl_error"].startswith("no field 'text'; fields: error, line")
    assert done.err.splitlines()[:-1] == [
        "standard input: JSON lines; text = text",
        "warning: line 1 already has fields that are called like those of the answer; they are "
        "kept, and in the answer prediction is called rnnctl_prediction, probability is called "
        "rnnctl_probability",
    ]


def test_plain_lines_as_json_say_which_line(rnnctl: Command, run: Path) -> None:
    done = rnnctl("classify", run, "--format", "json", stdin="good\nbad\n")
    assert [json.loads(line)["line"] for line in done.out.splitlines()] == [1, 2]


def test_markdown_is_a_table(rnnctl: Command, run: Path) -> None:
    done = rnnctl("classify", run, "--format", "markdown", stdin=b"good\n\xff\n")
    lines = done.out.splitlines()
    assert lines[:2] == ["| line | label | probability |", "|--:|:--|--:|"]
    assert lines[3].startswith("| 2 |  | malformed UTF-8")


def test_a_bad_line_gets_an_error_and_the_next_one_its_answer(rnnctl: Command, run: Path) -> None:
    done = rnnctl(
        "classify", run, "--max-line", 50, stdin=b"good\n\xff\xfe\n" + b"x" * 51 + b"\nbad"
    )
    rows = done.out.split("\n")
    assert rows[1] == "\t\tline 2: malformed UTF-8: byte 1 is 0xff (invalid start byte)"
    assert rows[2] == "\t\tline 3: line of 51 bytes; --max-line allows 50"
    assert rows[3].split("\t")[0] in ("bad", "good")
    assert done.err == "warning: 2 of 4 lines could not be read\n"
    assert done.code == 0


def test_fail_fast_stops_there(rnnctl: Command, run: Path) -> None:
    done = rnnctl("classify", run, "--fail-fast", stdin=b"good\nbad\n\xff\ngood\n")
    assert done.code == 1
    assert len(done.out.splitlines()) == 2
    assert done.err.startswith("error: standard input:3: malformed UTF-8")


def test_nothing_to_classify_is_said(rnnctl: Command, run: Path) -> None:
    done = rnnctl("classify", run, stdin=b"")
    assert (done.code, done.out) == (0, "")
    assert done.err == "the input is empty: nothing to classify\n"
    assert rnnctl("classify", run, "--quiet", stdin=b"").err == ""


def test_files_and_output(rnnctl: Command, run: Path, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"good\nbad")
    (tmp_path / "b").write_bytes(b'{"text": "good"}')
    out = tmp_path / "out"
    done = rnnctl("classify", run, tmp_path / "a", tmp_path / "b", "-o", out)
    assert (done.code, done.out) == (0, "")
    assert len(out.read_text().splitlines()) == 3
    before = out.read_text()
    (tmp_path / "c").write_bytes(b"good\n\xff\n")
    assert rnnctl("classify", run, tmp_path / "c", "--fail-fast", "-o", out).code == 1
    assert out.read_text() == before
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    refused = rnnctl("classify", run, tmp_path / "a", "-o", tmp_path / "missing/out.tsv")
    assert refused.code == 1
    assert "choose another place with -o FILE" in refused.err


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["no-such-run"], "no-such-run"),
        (["RUN", "missing.txt"], "missing.txt does not exist"),
        (["RUN", "--jsonl", "-o", "no/such/place", "-"], "cannot write no/such/place"),
    ],
)
def test_errors_say_what_and_where(
    rnnctl: Command, run: Path, arguments: list[str], error: str
) -> None:
    arguments = [str(run) if argument == "RUN" else argument for argument in arguments]
    done = rnnctl("classify", *arguments, stdin="x")
    assert done.code == 1
    assert done.err.startswith("error: ")
    assert error in done.err
    assert "hint: " in done.err


def test_in_a_terminal_with_nothing_given_texts_are_typed(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import io

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdin", Terminal())
    assert main(["classify", str(run)]) == 0
    assert "type a text and press Enter" in capsys.readouterr().err


@settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.binary(max_size=120), st.sampled_from(["auto", "text", "jsonl"]))
def test_any_bytes_get_one_answer_a_line(
    rnnctl: Command, run: Path, data: bytes, input_format: str
) -> None:
    done = rnnctl(
        "classify", run, "--format", "json", "--input", input_format, "--max-line", 60, stdin=data
    )
    if "is damaged" in done.err or "not text" in done.err:
        return  # it begins as a packed file or a picture does
    lines = data.removesuffix(b"\n").split(b"\n") if data else []
    answers = [json.loads(line) for line in done.out.split("\n")[:-1]]
    failed = all("error" in answer for answer in answers)
    assert done.code == (1 if answers and failed else 0)
    assert all(("prediction" in answer) != ("error" in answer) for answer in answers)
    if not {b"\r", b"\xff", b"\xfe"} & {data[i : i + 1] for i in range(len(data))}:
        assert len(answers) == len(lines)


def test_all_of_unicode_stress(rnnctl: Command, run: Path, shared_data: Path) -> None:
    for file in sorted((shared_data / "unicode_stress").iterdir()):
        data = file.read_bytes()
        if data.startswith(b"\xff\xfe"):  # a byte order mark: it is read as UTF-16
            data = data.decode("utf-16").encode()
        done = rnnctl("classify", run, file, "--input", "text", "--format", "json")
        lines = data.removesuffix(b"\n").split(b"\n") if data else []
        answers = [json.loads(line) for line in done.out.split("\n")[:-1]]
        assert done.code == 0
        assert len(answers) == len(lines)
        for line, answer in zip(lines, answers, strict=True):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                assert "malformed UTF-8" in answer["error"]
            else:
                assert "prediction" in answer


def start(*arguments: object) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "rnnctl", *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        bufsize=0,
    )


def _plain() -> Callable[[bytes], bytes]:
    return lambda data: data


def _gzip() -> Callable[[bytes], bytes]:
    packer = zlib.compressobj(wbits=31)
    return lambda data: packer.compress(data) + packer.flush(zlib.Z_SYNC_FLUSH)


def _zstandard() -> Callable[[bytes], bytes]:
    zstd = pytest.importorskip("compression.zstd" if sys.version_info >= (3, 14) else
                               "backports.zstd")  # fmt: skip
    packer = zstd.ZstdCompressor()
    return lambda data: packer.compress(data, packer.FLUSH_BLOCK)


@pytest.mark.parametrize("packing", [_plain, _gzip, _zstandard])
def test_a_line_is_answered_while_the_pipe_stays_open(
    packing: Callable[[], Callable[[bytes], bytes]], run: Path
) -> None:
    """As of `tail -f log | zstd | ssh …`: what has come is answered, however little it is."""
    packed = packing()
    with start("classify", run) as process:
        assert process.stdin is not None and process.stdout is not None
        for text in (b"good\n", b"bad\n", b"1\n2\n"):
            process.stdin.write(packed(text))
            for _ in range(text.count(b"\n")):
                assert process.stdout.readline().count(b"\t") == 1  # would wait for ever
        process.stdin.close()
        code = process.wait(60)
    assert code == 0 or packing is not _plain  # a packed stream was never ended, which is said


def test_a_reader_that_goes_away_ends_it_quietly(run: Path) -> None:
    with start("classify", run) as process:
        assert process.stdin is not None and process.stdout is not None
        assert process.stderr is not None
        process.stdin.write(b"good\n")
        process.stdout.readline()
        process.stdout.close()
        deadline = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline:
            try:
                process.stdin.write(b"bad\n" * 100)
            except BrokenPipeError:
                break
        assert process.wait(60) == 0
        assert process.stderr.read() == b""


def test_it_starts_without_what_it_does_not_need(run: Path) -> None:
    code = (
        "import io, sys; from rnnctl.__main__ import main; sys.stdin = io.TextIOWrapper("
        f"io.BytesIO(b'good')); main(['classify', {str(run)!r}]); "
        "print(*(m for m in ('datasets', 'sklearn', 'scipy', 'tokenizers', 'altair', 'numba', "
        "'pandas', 'pyarrow', 'rich') if m in sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert done.stderr == "\n"


def test_json_that_is_to_be_read_as_text_is_refused(rnnctl: Command, tmp_path: Path) -> None:
    done = rnnctl("classify", tmp_path, "--jsonl", "--input", "text", stdin=b"a\n")
    assert done.code == 2 and "--jsonl and --input text cannot be used together" in done.err
