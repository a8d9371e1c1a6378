"""Lines to texts and back: fields untouched, every defect an error of its own line."""

from __future__ import annotations

import io
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnctl.inference.records import Record, RecordReader, Wanted


def read(*data: bytes, format: str = "auto", text_field: str | None = None) -> list[Record]:
    wanted = Wanted(kind=None if format == "auto" else format, text_field=text_field)  # type: ignore[arg-type]
    stream = io.BytesIO(b"\n".join(data) + b"\n")
    return [record for window in RecordReader(wanted).windows(stream) for record in window]


def test_a_sample_of_the_lines_decides() -> None:
    assert [r.text for r in read(b'{"text": "a"}', b'{"text": "b"}')] == ["a", "b"]
    plain = [b"plain", b'{"text": "b"}', b"more"]
    assert [r.text for r in read(*plain)] == ["plain", '{"text": "b"}', "more"]
    assert read(b'{"text": "a"}', format="text")[0].text == '{"text": "a"}'
    cut = read(b"", b'text": "cut"}', b'{"text": "a", "x": NaN}', b'{"text": "b"}')
    assert [(r.text, bool(r.error)) for r in cut] == [
        ("", False), ("", True), ("a", False), ("b", False)
    ]  # fmt: skip
    assert json.loads(cut[2].with_answer({"p": 1})) == {"text": "a", "x": None, "p": 1}
    assert [r.text for r in read(b"{% block a %}", b"text")] == ["{% block a %}", "text"]


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"\xff", "malformed UTF-8: byte 1 is 0xff"),
        (b"ab\xed\xa0\x80", "malformed UTF-8: byte 3 is 0xed"),
        (b"{", "not JSON"),
        (b"[1]", "[1] is not an object"),
        (b"null", "null is not an object"),
        (b"NaN", "null is not an object"),
        (b'{"text": "a', "not JSON (Unterminated string starting at column 10)"),
        (b'{"text": NaN}', "field 'text' holds null, not text"),
        (b'{"text": 3}', "field 'text' holds a number, not text"),
        (b'{"text": null}', "field 'text' holds null, not text"),
        (b'{"body2": "x"}', "no field 'text'"),
        (b'{"text": "\\ud800"}', "lone surrogate U+D800 at character 0"),
        (b"[" * 100_000, "nested too deep"),
        (b'{"text": ' + b"9" * 10_000 + b"}", "not JSON"),
    ],
)
def test_a_bad_line_has_an_error_and_its_neighbours_none(data: bytes, error: str) -> None:
    good = b'{"text": "fine"}'
    found = read(good, data, good)
    assert [bool(r.error) for r in found] == [False, True, False]
    assert error in found[1].error
    assert len(found[1].error) < 400


def test_a_record_of_a_line_with_a_problem() -> None:
    reader = RecordReader(Wanted(max_line=5))
    (found,) = reader.windows(io.BytesIO(b"short\ntoo long\n"))
    assert [(r.line, r.error) for r in found] == [
        (1, ""), (2, "line of 8 bytes; --max-line allows 5")
    ]  # fmt: skip


def test_byte_order_mark_and_carriage_return() -> None:
    assert [r.text for r in read(b"\xef\xbb\xbfa\r", b"b\r\r", b"c\rd")] == ["a", "b\r", "c\rd"]
    (wide,) = RecordReader().windows(io.BytesIO("é\r\n中\n".encode("utf-16")))
    assert [r.text for r in wide] == ["é", "中"]
    (macintosh,) = RecordReader().windows(io.BytesIO(b"one\rtwo\r"))
    assert [r.text for r in macintosh] == ["one", "two"]


@pytest.mark.parametrize("inside", ["\x85", "\u2028", "\x00", "\x0b", "\x1e", "\r", "\ufeff"])
def test_unicode_separators_are_content(inside: str) -> None:
    text = f"a{inside}b"
    assert read(text.encode())[0].text == text


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5), st.lists, max_leaves=5
)


@settings(deadline=None)
@given(st.dictionaries(st.text(max_size=4), json_values, max_size=4), st.text(max_size=20))
def test_fields_pass_through(fields: dict[str, object], text: str) -> None:
    source = json.dumps({**fields, "text": text}).encode()
    record = read(source, format="jsonl")[0]
    if record.error:
        return
    assert record.text == text
    line = record.with_answer({"prediction": "x"})
    assert "\n" not in line
    assert json.loads(line) == {**fields, "text": text, "prediction": "x"}
    line.encode("utf-8")


def test_passed_through_bytes_are_not_rewritten() -> None:
    source = '{"n": 1.10, "big": 1e400,  "text": "a", "e": "\\u00e9"}'
    record = read(source.encode())[0]
    assert record.with_answer({"p": 1}) == source[:-1] + ', "p": 1}'
    assert read(b'{ "text":"" }  ')[0].with_answer({"p": 1}) == '{ "text":"", "p": 1}'
    assert read(b"{}", format="jsonl")[0].with_answer({"error": "e"}) == '{"error": "e"}'


def test_an_answer_gives_way_to_a_field_of_its_name() -> None:
    source = '{"p": 1.10, "rnnctl_p": 2,  "text": "a"}'
    record = read(source.encode())[0]
    assert (
        record.with_answer({"p": "x", "q": 3}) == source[:-1] + ', "rnnctl_rnnctl_p": "x", "q": 3}'
    )
    assert record.renamed(["p", "q"]) == {"p": "rnnctl_rnnctl_p"}
    assert read(b"plain")[0].renamed(["p"]) == {}


def test_a_field_of_ones_own_choice() -> None:
    assert read(b'{"text": "a", "mine": "b"}', text_field="mine")[0].text == "b"
    assert "no field 'mine'" in read(b'{"text": "a"}', text_field="mine")[0].error


@settings(deadline=None, max_examples=300)
@given(
    st.lists(st.binary(max_size=40).filter(lambda d: not set(b"\r\n") & set(d)), max_size=4),
    st.sampled_from(["text", "jsonl"]),
)
def test_any_bytes_give_one_record_a_line(data: list[bytes], format: str) -> None:
    data = [b"a" + piece for piece in data] or [b"a"]  # no byte order mark
    found = read(*data, format=format)
    assert [record.line for record in found] == list(range(1, len(data) + 1))
    for record in found:
        answer = json.loads(record.with_answer({"error": record.error, "line": record.line}))
        assert answer["line"] == record.line
