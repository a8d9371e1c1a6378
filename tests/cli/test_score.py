"""`rnnctl score` as a command: whole texts, lines, paragraphs, tokens, states, hostile input."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

Command = Callable[..., object]
TEXT = "the cat sat on the mat. the dog ate the hat.\n\n" * 4


@pytest.fixture(scope="module")
def run(make_run: Callable[..., Path]) -> Path:
    return make_run(TEXT)


@pytest.fixture(scope="module")
def words(make_run: Callable[..., Path]) -> Path:
    return make_run(TEXT, level="word", cell="gru")


def whole(rnnctl: Command, *arguments: object, stdin: bytes | str = b"") -> dict[str, object]:
    done = rnnctl("score", *arguments, "--format", "json", stdin=stdin)
    assert done.code == 0, done.err
    result: dict[str, object] = json.loads(done.out)
    return result


def test_a_whole_text(rnnctl: Command, run: Path) -> None:
    text = "the cat\nand the ÖÖ\n"
    total = whole(rnnctl, run, stdin=text)["total"]
    assert (total["tokens"], total["chars"], total["bytes"]) == (19, 19, 21)
    assert total["unknown"] == 2
    assert total["bits_per_byte"] == pytest.approx(total["nats"] / math.log(2) / 21)
    assert total["perplexity"] == pytest.approx(math.exp(total["nats"] / 19))
    table = rnnctl("score", run, stdin=text).out
    assert "bits per byte" in table and "unknown tokens" in table


def test_tokens_add_up_to_the_text(rnnctl: Command, run: Path) -> None:
    done = rnnctl("score", run, "--per-token", stdin="the cat\t")
    rows = [line.split("\t") for line in done.out.splitlines()]
    assert [row[1] for row in rows] == ["t", "h", "e", " ", "c", "a", "t", "<unk>"]
    total = whole(rnnctl, run, stdin="the cat\t")["total"]
    assert sum(float(row[0]) for row in rows) == pytest.approx(total["nats"], abs=1e-4)
    assert "8 tokens" in done.err


@pytest.mark.parametrize("level", ["char", "word"])
@pytest.mark.parametrize("running", [True, False])
def test_unknown_tokens_pay_for_their_spelling_in_their_own_row(
    rnnctl: Command, make_run: Callable[..., Path], level: str, running: bool
) -> None:
    run, text = make_run(TEXT, level=level, running=running), "the ÖX cat, zzz\nsat ÖX. öy"
    total = whole(rnnctl, run, stdin=text)["total"]
    done = rnnctl("score", run, "--per-token", "--format", "json", stdin=text)
    rows = [json.loads(line) for line in done.out.splitlines()]
    assert math.fsum(row["nats"] for row in rows) == pytest.approx(total["nats"], abs=1e-4)
    spelling = math.fsum(row["spelling_nats"] for row in rows)
    assert spelling == pytest.approx(total["spelling_nats"], abs=1e-4)
    for row in rows:
        assert (row["spelling_nats"] > 0) == (row["token"] == "<unk>")
    line = json.dumps({"text": text})
    lines = rnnctl("score", run, "--jsonl", "--per-token", "--format", "json", stdin=line)
    answer = json.loads(lines.out)
    assert math.fsum(nats for _, nats in answer["per_token"]) == pytest.approx(answer["nats"])


def test_files_are_texts_of_their_own_with_a_sum(
    rnnctl: Command, run: Path, tmp_path: Path
) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text(f"the {name}at")
    result = whole(rnnctl, run, tmp_path / "a", tmp_path / "b")
    assert [Path(text["source"]).name for text in result["texts"]] == ["a", "b"]
    assert sum(text["nats"] for text in result["texts"]) == pytest.approx(result["total"]["nats"])
    assert rnnctl("score", run, tmp_path / "a", tmp_path / "b").out.count("\n") >= 4


@pytest.mark.parametrize("cut", [0, 3, 9, 12, 30])
def test_a_state_goes_on_where_the_text_stopped(
    rnnctl: Command, words: Path, tmp_path: Path, cut: int
) -> None:
    text = "the cat sät on the mat. the doghouse".encode()
    state = tmp_path / "state"
    first = whole(rnnctl, words, "--state-out", state, stdin=text[:cut])
    second = whole(rnnctl, words, "--state-in", state, stdin=text[cut:])
    together = whole(rnnctl, words, stdin=text)["total"]
    nats = first["total"]["nats"] + second["total"]["nats"]
    assert nats == pytest.approx(together["nats"], rel=1e-6)
    assert second["read_before"] == first["total"]["tokens"]


def test_a_state_of_another_run_is_refused(
    rnnctl: Command, run: Path, words: Path, tmp_path: Path
) -> None:
    rnnctl("score", run, "--state-out", tmp_path / "s", stdin="the")
    done = rnnctl("score", words, "--state-in", tmp_path / "s", stdin="cat")
    assert done.code == 1
    assert "is the state of another model" in done.err


def test_lines_are_texts_of_their_own(rnnctl: Command, run: Path) -> None:
    done = rnnctl("score", run, "--lines", stdin=b"the cat\n\n\xff\nthe dog")
    rows = [line.split("\t") for line in done.out.split("\n")[:-1]]
    single = whole(rnnctl, run, stdin="the dog")["total"]
    assert [len(row) for row in rows] == [4, 4, 5, 4]
    assert float(rows[3][0]) == pytest.approx(single["nats"], abs=1e-3)
    assert rows[1] == ["0.0000", "0", "-", "-"]
    assert rows[2][4].startswith("line 3: malformed UTF-8")
    legend, *_, warning = done.err.splitlines()
    assert legend.endswith("bits per byte, perplexity per token, error")
    assert warning == "warning: 1 of 4 lines could not be read"


def markdown_rows(text: str) -> list[list[str]]:
    """The cells of a Markdown table; every row must have as many as the header."""
    rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in text.splitlines()]
    assert re.fullmatch(r"[-:|]+", text.splitlines()[1])
    assert {len(row) for row in rows} == {len(rows[0])}
    return [[cell.strip() for cell in row] for row in rows]


@pytest.mark.parametrize(
    ("arguments", "columns"),
    [
        (["--lines"], ["line", "nats", "tokens", "bits per byte", "perplexity per token", "error"]),
        (["--lines", "--per-token"], ["line", "nats", "token", "error"]),
        (["--documents", "paragraph", "--per-token"], ["line", "nats", "token", "error"]),
    ],
)
def test_markdown_of_texts_is_one_table(
    rnnctl: Command, run: Path, arguments: list[str], columns: list[str]
) -> None:
    done = rnnctl("score", run, *arguments, "--format", "markdown", stdin=b"a|b\n\n\xff|\n\nthe")
    rows = markdown_rows(done.out)
    assert rows[0] == columns
    bad = next(row for row in rows[2:] if row[-1])
    assert bad[0] == "3" and bad[-1].startswith("malformed UTF-8")
    assert "columns:" not in done.err  # the header says it


def test_markdown_of_tokens_is_one_table(rnnctl: Command, make_run: Callable[..., Path]) -> None:
    run = make_run("a|b<c>")
    done = rnnctl("score", run, "--per-token", "--format", "markdown", stdin="a|é")
    rows = markdown_rows(done.out)
    assert rows[0] == ["nats", "token"]
    assert [row[1] for row in rows[2:]] == ["a", "\\|", "\\<unk\\>"]


def test_tokens_of_texts_are_apart(rnnctl: Command, run: Path) -> None:
    done = rnnctl("score", run, "--lines", "--per-token", stdin=b"at\n\xff\nhe")
    first, bad, last, rest = done.out.split("\n\n")
    assert [line.split("\t")[1] for line in first.splitlines()] == ["a", "t"]
    assert bad.startswith("\t\tline 2: malformed UTF-8")
    assert (last.count("\n"), rest) == (1, "")


@pytest.mark.parametrize(
    ("data", "warning"),
    [
        (b"\xff\n{}", "1 of 2 lines could not be read, 1 holds no text"),
        (b"{}\n" * 2, "2 of 2 lines hold no text"),
        (b"{}", "1 of 1 line holds no text"),
        (b"nonsense\n" + b"{}\n" * 2, "1 of 3 lines could not be read, 2 hold no text"),
    ],
)
def test_what_was_wrong_is_said_at_the_end(
    rnnctl: Command, run: Path, data: bytes, warning: str
) -> None:
    done = rnnctl("score", run, "--jsonl", stdin=data)
    assert done.code == 1
    first = done.out.split("\n")[0].split("\t")[-1]
    assert done.err.splitlines()[-3] == f"error: {warning}: nothing was answered ({first})"
    done = rnnctl("score", run, "--jsonl", stdin=data + b'\n{"text": "the cat"}\n')
    assert done.code == 0 and done.err.splitlines()[-1].startswith("warning: ")


def test_one_is_no_plural(rnnctl: Command, run: Path) -> None:
    assert "1 text: " in rnnctl("score", run, "--lines", stdin="t").err
    assert ", 1 token, " in rnnctl("score", run, "--lines", stdin="t").err


def test_json_lines_keep_their_fields(rnnctl: Command, run: Path) -> None:
    given_ = '{"id": 7, "text": "the cat"}\n{"id": 8}\n'
    done = rnnctl("score", run, "--lines", "--format", "json", stdin=given_)
    first, second = (json.loads(line) for line in done.out.splitlines())
    assert (first["id"], first["tokens"], second["line"]) == (7, 7, 2)
    assert "no field" in second["error"]
    with_tokens = rnnctl("score", run, "--lines", "--per-token", "--format", "json", stdin=given_)
    tokens = json.loads(with_tokens.out.splitlines()[0])["per_token"]
    assert math.fsum(nats for _, nats in tokens) == pytest.approx(first["nats"], abs=1e-4)


def test_json_lines_keep_fields_with_the_answer_s_names(rnnctl: Command, run: Path) -> None:
    given_ = '{"nats": "mine", "text": "the cat"}\n'
    done = rnnctl("score", run, "--jsonl", "--format", "json", stdin=given_)
    answer = json.loads(done.out)
    assert answer["nats"] == "mine" and answer["rnnctl_nats"] > 0 and answer["tokens"] == 7
    assert "in the answer nats is called rnnctl_nats" in done.err


def test_paragraphs(rnnctl: Command, run: Path) -> None:
    stdin = "the cat\nsat\n\n\nthe dog\n"
    done = rnnctl("score", run, "--documents", "paragraph", stdin=stdin)
    rows = [line.split("\t") for line in done.out.splitlines()]
    assert [row[1] for row in rows] == ["11", "7"]


def test_a_document_ends_where_the_run_knows_documents(
    rnnctl: Command, make_run: Callable[..., Path]
) -> None:
    run = make_run(TEXT, running=False)
    done = rnnctl("score", run, "--lines", stdin="the")
    assert done.out.split("\t")[1] == "4"


@pytest.mark.parametrize("arguments", [(), ("--lines",), ("--per-token",)])
def test_nothing_to_score_is_a_clear_result(
    rnnctl: Command, run: Path, arguments: tuple[str, ...]
) -> None:
    done = rnnctl("score", run, *arguments, stdin=b"")
    assert done.code == 0
    assert "nothing to score" in done.err


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        (["--lines", "--state-out", "s"], 2, "a state belongs to one whole text"),
        (["--lines", "--documents", "paragraph"], 2, "--documents has no effect with --lines"),
        (["--documents", "page"], 2, "page"),
        (["--state-in", "no-such-file"], 1, "cannot read no-such-file"),
        (["--state-out", "no/such/folder"], 1, "cannot write"),
        (["missing.txt"], 1, "missing.txt does not exist"),
        (["--fail-fast", "--lines"], 1, "standard input:2: malformed UTF-8"),
        ([], 1, "standard input:2: byte 3 of the text"),
    ],
)
def test_errors_say_what_and_where(
    rnnctl: Command, run: Path, arguments: list[str], code: int, error: str
) -> None:
    done = rnnctl("score", run, *arguments, stdin=b"a\n\xff")
    assert done.code == code
    assert error in done.err
    assert "Traceback" not in done.err


@settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.binary(max_size=120), st.sampled_from(["--lines", "--jsonl", "--per-token", "--quiet"]))
def test_any_bytes_get_an_answer_or_a_clear_error(
    rnnctl: Command, run: Path, data: bytes, how: str
) -> None:
    lines = how in ("--lines", "--jsonl")
    done = rnnctl("score", run, how, *(("--max-line", 60) if lines else ()), stdin=data)
    if "is damaged" in done.err or "not text" in done.err:
        return  # it begins as a packed file or a picture does
    if lines:
        answers = done.out.split("\n")[:-1]
        failed = all(line.startswith("\t\t\t\t") for line in answers)
        assert done.code == (1 if answers and failed else 0)
        if not {0x0D, 0xFE, 0xFF} & set(data):
            assert len(answers) == (data.removesuffix(b"\n").count(b"\n") + 1 if data else 0)
    else:
        assert done.code == (0 if _is_text(data) else 1)
        assert ("is not valid UTF-8" in done.err) == (done.code == 1)


def _is_text(data: bytes) -> bool:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return True  # a byte order mark: UTF-16, of which everything can be read
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def test_all_of_unicode_stress(rnnctl: Command, run: Path, shared_data: Path) -> None:
    for file in sorted((shared_data / "unicode_stress").iterdir()):
        data = file.read_bytes()
        if data.startswith(b"\xff\xfe"):  # a byte order mark: it is read as UTF-16
            data = data.decode("utf-16").encode()
        lines = data.removesuffix(b"\n").split(b"\n") if data else []
        text = ["--as", "text", "--format", "json"]
        done = rnnctl("score", run, file, "--documents", "line", *text)
        answers = [json.loads(line) for line in done.out.split("\n")[:-1]]
        assert done.code == 0
        assert ["error" in answer for answer in answers] == [not _is_text(line) for line in lines]
        if len(data) > 100_000:  # one text is read one token after the other
            continue
        one = rnnctl("score", run, file, *text)
        assert one.code == (0 if _is_text(data) else 1)
        if one.code == 0:
            read = data.decode("utf-8-sig").replace("\r\n", "\n")
            assert json.loads(one.out)["total"]["chars"] == len(read)


@pytest.mark.parametrize("option", [("--max-line", 3), ("--fail-fast",)])
def test_what_is_about_lines_is_refused_for_whole_texts(
    rnnctl: Command, run: Path, option: tuple[object, ...]
) -> None:
    done = rnnctl("score", run, *option, stdin=b"the cat\n")
    assert (
        done.code == 2
        and f"{option[0]} has no effect when a whole file" in done.err
        and "hint: " in done.err
    )
    assert rnnctl("score", run, *option, "--documents", "line", stdin=b"th\n").code == 0
