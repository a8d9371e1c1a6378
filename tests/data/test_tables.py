"""Tables: read as they were written, refused with the line at fault, never a traceback."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rnnctl.config import CorpusConfig
from rnnctl.data.corpus import open_corpus
from rnnctl.data.text import open_text
from rnnctl.errors import DataError, RnnctlError, UsageError

QUICK = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
TEXT = st.text(
    alphabet=st.one_of(st.sampled_from('a,;"\t\n \u2028\x85é'), st.characters(codec="utf-8"))
)
KINDS = [".csv", ".tsv", ".jsonl", ".json", "lines"]


@pytest.fixture
def read(write, cache, table_rows):
    def call(content, kind, *, labelled=True, text_field=None, label_field=None):
        file = open_text(write(f"table{kind}", content), encoding="utf-8", cache=cache)
        found = table_rows(
            file,
            kind,
            cache=cache,
            text_field=text_field,
            label_field=label_field,
            labelled=labelled,
        )
        return [(row["text"], row["label"]) for row in found]

    return call


@QUICK
@given(texts=st.lists(TEXT.filter(lambda t: "\x00" not in t and "\r" not in t), max_size=5))
def test_csv_comes_back(read, texts):
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["id", "text", "label"])
    writer.writerows([i, text, "ab"[i % 2]] for i, text in enumerate(texts))
    assert read(out.getvalue(), ".csv") == [(t, "ab"[i % 2]) for i, t in enumerate(texts)]


@QUICK
@given(
    texts=st.lists(
        TEXT.filter(lambda t: not set("\t\n\r\x00") & set(t) and not (t[:1] == t[-1:] == '"')),
        max_size=5,
    )
)
def test_tsv_is_taken_as_it_stands(read, texts):
    table = "sentence\tlabel\n" + "".join(f"{t}\t{i % 2}\n" for i, t in enumerate(texts))
    assert read(table, ".tsv") == [(t, str(i % 2)) for i, t in enumerate(texts)]


def test_quoted_tsv_is_recognised(read):
    table = 'text\tlabel\n"one ""two"" three"\tx\n"with\ttab"\ty\n'
    assert read(table, ".tsv") == [('one "two" three', "x"), ("with\ttab", "y")]
    stray = 'text\tlabel\n"open quote\tx\nclosed" here\ty\n'
    assert read(stray, ".tsv") == [('"open quote', "x"), ('closed" here', "y")]


@QUICK
@given(texts=st.lists(TEXT, max_size=5), ascii=st.booleans())
def test_json_lines_come_back(read, texts, ascii):
    records = [{"id": i, "label": i % 3, "text": text} for i, text in enumerate(texts)]
    content = "".join(json.dumps(record, ensure_ascii=ascii) + "\n" for record in records)
    expected = [(text, str(i % 3)) for i, text in enumerate(texts)]
    assert read(content.removesuffix("\n"), ".jsonl") == expected
    assert read(json.dumps(records, indent=1), ".json") == expected


@QUICK
@given(data=st.binary(max_size=80), kind=st.sampled_from(KINDS), labelled=st.booleans())
def test_any_bytes_are_read_or_refused(read, data, kind, labelled):
    with_head = {".csv": b"text,label\n", ".tsv": b"text\tlabel\n"}.get(kind, b"")
    for content in (data, with_head + data):
        try:
            found = read(content, kind, labelled=labelled)
        except RnnctlError as error:
            assert "table" in error.message
        else:
            assert all(isinstance(text, str) and isinstance(label, str) for text, label in found)


LINES = st.lists(
    st.one_of(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
            lambda x: (
                st.lists(x, max_size=3)
                | st.dictionaries(st.sampled_from(["text", "label", "x"]), x, max_size=3)
            ),
            max_leaves=6,
        ).map(json.dumps),
        st.sampled_from(
            ['{"text": "\\ud800"}', '{"text": "a", "label": "\\udfff"}', "{", "[" * 5000]
        ),
        st.just('{"text": "fine", "label": "x"}'),
    ),
    max_size=4,
).map("\n".join)


@QUICK
@given(content=LINES, labelled=st.booleans())
def test_any_json_is_read_or_refused(read, content, labelled):
    try:
        for text, label in read(content, ".jsonl", labelled=labelled):
            (text + label).encode()
    except RnnctlError as error:
        assert "table.jsonl" in error.message


@pytest.mark.parametrize(
    ("kind", "content", "message"),
    [
        (
            ".jsonl",
            '{"text": "a", "label": 1}\n\n{"text": 5, "label": 1}\n',
            ":3: the field 'text' is no",
        ),
        (
            ".jsonl",
            '{"text": "a", "label": 1}\n{"text": "b"}\n',
            ":2: the label field 'label' is em",
        ),
        (".jsonl", '{"text": "a", "label": NaN}\n', ":1: the label field 'label' is empty"),
        (".jsonl", '{"text": "a", "label": Infinity}\n', ":1: the label field 'label' is empty"),
        (".csv", "label,text,text\n0,a,b\n", "has 2 columns that are called 'text'"),
        (".csv", "text,label,label\na,b,c\n", "has 2 columns that are called 'label'"),
        (".jsonl", '{"text": "a", "label": {}}\n', ":1: .* in the field 'label' is not a label"),
        (".jsonl", '{"text": "a", "label": 1}\n{"text": "b",}\n', ":2: not JSON .*column 14"),
        (".jsonl", '{"text": "a", "label": 1}\n[1]\n', r":2: \[1\] is not an object"),
        (".jsonl", '{"text": "\\ud800", "label": 1}\n', ":1: the text holds a lone surrogate"),
        (".jsonl", "[" * 100_000, r":1: not JSON \(nested too deeply"),
        (".jsonl", '{"a": "x", "b": "y"}\n', "which of its fields is the text.*'a', 'b'"),
        (".jsonl", '{"text": "x", "b": "y", "c": 1}\n', "which of its fields is the label"),
        (".csv", 'text,label\na,b\n"open,b\n', ":3: not a well-formed table"),
        (".csv", 'text,label\n"two\nlines",b\na,b,c\n', ":4: 3 cells, but the table has 2"),
        (".tsv", "text\tlabel\na\tb\nc\n", ":3: .*1 cell, but the table has 2"),
        (".csv", "1,2,3\n4,5,6\n", "has 3 columns, no header that names them"),
        ("lines", "pos good\n\nneg\n", ":3: "),
    ],
)
def test_faults_are_named_with_their_line(read, kind, content, message):
    if kind == "lines":
        assert read(content, kind) == [("good", "pos"), ("", "neg")]
        return
    with pytest.raises(DataError, match=message):
        read(content, kind)


def test_labels_may_be_written_as_their_language_is(read):
    labels = ["می\u200cخواهم", "👩\u200d🚀", "très\u00a0bien", "न\u200dक", "\U0001fae9", "a\u00adb"]
    lines = "".join(json.dumps({"text": "a", "label": label}) + "\n" for label in labels)
    assert [label for _, label in read(lines, ".jsonl")] == labels


@pytest.mark.parametrize(
    ("character", "name"),
    [
        ("\t", r"a tab \(U\+0009\)"),
        ("\n", r"a line break \(U\+000A\)"),
        ("\x1b", r"an escape \(U\+001B\)"),
        ("\x85", r"a control character \(U\+0085\)"),
        ("\u2028", r"a line separator \(U\+2028\)"),
        ("\ud800", r"a lone surrogate \(U\+D800\)"),
    ],
)
def test_labels_hold_no_control_characters(read, character, name):
    line = json.dumps({"text": "a", "label": f"x{character}y"})
    with pytest.raises(
        DataError, match=f":1: the label .* in the field 'label' holds {name}"
    ) as it:
        read(line, ".jsonl")
    assert "replace it by a space" in it.value.hint


def test_usual_names_are_found(read):
    assert read("Review,Stars\ngood,5\n", ".csv") == [("good", "5")]
    assert read("label;text\nx;y\n", ".csv") == [("y", "x")]
    assert read('{"title": "t", "text": "b", "sentiment": true}', ".jsonl") == [("b", "true")]
    assert read("polarity\tcomment\tid\n1.0\tfine\t7\n", ".tsv") == [("fine", "1.0")]
    assert read("text\nalone\n", ".csv", labelled=False) == [("alone", "")]
    assert read("text,mood\na,b\n", ".csv") == [("a", "b")]  # the only other column


def test_a_table_without_header_is_understood(read):
    table = "".join(f"{label}\t{label}name{i}\n" for i in range(9) for label in ("de", "fr"))
    assert read(table, ".tsv")[:2] == [("dename0", "de"), ("frname0", "fr")]


def test_a_header_is_known_by_the_fields_that_are_asked_for(read):
    table = "aa,bb,cc\nfine,5,1\n"
    with pytest.raises(DataError, match="which of its fields is the label"):
        read(table, ".csv")
    assert read(table, ".csv", text_field="aa", label_field="bb") == [("fine", "5")]


def test_a_table_without_labels_says_so(read):
    with pytest.raises(DataError, match="has texts and no labels"):
        read("text\nalone\n", ".csv")


def test_chosen_fields_are_taken_or_missed(read):
    table = "text,other,label\na,b,c\n"
    assert read(table, ".csv", text_field="other", label_field="text") == [("b", "a")]
    with pytest.raises(UsageError) as caught:
        read(table, ".csv", text_field="othr")
    assert caught.value.hint == "did you mean 'other'?"
    with pytest.raises(UsageError) as caught:
        read(table, ".csv", label_field="zzz")
    assert "'text', 'other', 'label'" in caught.value.hint


def test_u_2028_and_u_0085_do_not_end_a_line(read):
    content = '{"text": "a\u2028b\x85c", "label": "x"}\n{"text": "d", "label": "y"}\n'
    assert read(content, ".jsonl") == [("a\u2028b\x85c", "x"), ("d", "y")]
    assert read("text\tlabel\na\u2028b\x85c\tx\n", ".tsv") == [("a\u2028b\x85c", "x")]
    assert read("text,label\na\u2028b\x85c,x\n", ".csv") == [("a\u2028b\x85c", "x")]


def test_unicode_stress_files_are_read_or_refused(shared_data: Path, cache, table_rows):
    for path in sorted((shared_data / "unicode_stress").iterdir()):
        for kind in KINDS:
            try:
                file = open_text(path, encoding="utf-8", cache=cache)
                found = list(table_rows(file, kind, cache=cache))
            except RnnctlError as error:
                assert path.name in error.message
            else:
                assert all(row["text"].encode() is not None for row in found)


def test_a_table_without_header_is_understood_by_its_cells_not_its_commas(read):
    records = [("01"[i % 2], f"well, this film, number {i}") for i in range(20)]
    table = "".join(f'{label},"{text}"\n' for label, text in records)
    assert read(table, ".csv") == [(text, label) for label, text in records]


@pytest.mark.parametrize(
    "records",
    [
        [(f"text number {i}", "yn"[i % 2]) for i in range(20)],
        [(word, "ab"[i % 2]) for i, word in enumerate(["question", "run", "table", "say"] * 3)],
        [(f"text number {i}", ["score", "goal", "foul"][i % 3]) for i in range(20)],
    ],
)
def test_a_first_record_is_no_header_for_holding_a_usual_name(read, records):
    assert read("".join(f"{text},{label}\n" for text, label in records), ".csv") == records
    turned = "".join(f"{label}\t{text}\n" for text, label in records)
    assert read(turned, ".tsv") == records


def test_a_table_whose_columns_cannot_be_told_is_refused(read):
    for labelled in (True, False):
        with pytest.raises(DataError, match=r"table\.csv has 2 columns, no header that .*") as it:
            read("good,fine\nbad,poor\n", ".csv", labelled=labelled)
        assert "such as text,label" in it.value.hint


@pytest.mark.parametrize(
    ("rows", "texts"),
    [
        (['"I love it"', '"so he said', "fine day", 'that was that"'], None),
        (['"I love it"', '"so he said', "fine day"], None),
        (['"I love it"', '5" nails', "fine day"], None),
        (['"I love it"', "", '"so ""he"" said"', "fine day"], ["I love it", 'so "he" said']),
        (['"I love it"', '"two\nlines"', "fine day"], ["I love it", "two\nlines"]),
        (['"I love it"', '"a\ttab"', "fine day"], ["I love it", "a\ttab"]),
    ],
)
def test_quotes_of_a_tab_separated_file_are_all_marks_or_none(read, rows, texts):
    """texts: of the first cells when unquoted; None: they are taken as they stand."""
    table = "\ntext\tlabel\n" + "".join(f"{row}\tx\n" if row else "\n" for row in rows)
    found = [text for text, _ in read(table, ".tsv")]
    assert found == ([*texts, "fine day"] if texts else rows)


def test_a_row_that_is_too_long_is_named_among_stray_quotes(read):
    with pytest.raises(DataError, match=r"table\.tsv:3: 3 cells, but the table has 2 columns"):
        read('text\tlabel\n"open\tx\na\tb\tc\n', ".tsv")


def test_one_field_is_not_both_text_and_label(read):
    table = "text,label,title\na,b,c\n"
    with pytest.raises(UsageError, match="--text-field and --label-field are both 'label'") as it:
        read(table, ".csv", text_field="label", label_field="label")
    assert "two different columns" in it.value.hint
    assert read(table, ".csv", label_field="text") == [("c", "a")]
    with pytest.raises(DataError, match=r"which of its fields is the text\? .*none except"):
        read("text\na\n", ".csv", label_field="text")


def test_a_json_array_may_be_indented(read):
    array = ' \n  [\n{"text": "a", "label": 1}, {"text": "b", "label": 0}]'
    assert read(array, ".json") == [("a", "1"), ("b", "0")]


def test_a_table_that_is_sorted_by_its_labels_is_read_beyond_its_beginning(tmp_path, cache):
    rows = [f"{label}\t{label}{number}x" for label in ("aa", "bb", "cc") for number in range(1500)]
    path = tmp_path / "sorted.tsv"
    path.write_text("\n".join(rows) + "\n")
    corpus = open_corpus(CorpusConfig(sources=(str(path),)), task="classify", cache=cache)
    assert corpus.label_names == ("aa", "bb", "cc")
    assert next(iter(corpus.documents("train"))).text.endswith("x")
    with pytest.raises(DataError, match="which of them is the text"):
        path.write_text("\n".join(f"{k % 7}a\t{k % 5}b" for k in range(4000)) + "\n")
        open_corpus(CorpusConfig(sources=(str(path),)), task="classify", cache=cache)
