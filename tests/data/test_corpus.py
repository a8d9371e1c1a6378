"""Opening corpora: what a user may name, how it is split, what is said about it."""

from __future__ import annotations

import functools
import gzip
import io
import itertools
import json
import operator
import re
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rnnctl.config import CorpusConfig
from rnnctl.data.corpus import Corpus, open_corpus
from rnnctl.data.documents import SPLITS
from rnnctl.data.sources import bundled
from rnnctl.errors import DataError, UsageError

PARAGRAPHS = "".join(f"Paragraph {i}\nhas two lines.\n\n" for i in range(40))


@pytest.fixture
def opened(cache):
    def call(*sources, task="lm", stdin=None, **options) -> Corpus:
        config = CorpusConfig(sources=tuple(map(str, sources)), **options)
        return open_corpus(config, task=task, cache=cache, stdin=stdin)

    return call


def text_of(corpus, split):
    return "".join(document.text for document in corpus.documents(split))


def texts_of(corpus):
    return {split: [d.text for d in corpus.documents(split)] for split in SPLITS}


def test_one_file_is_one_running_text(opened, write):
    text = "First line é\n\n\nlast line without end 中" * 30
    corpus = opened(write("a.txt", text), split="90/5/5")
    assert corpus.running
    n = len(text)
    borders = [0, int(n * 0.9), int(n * 0.95), n]
    assert [text_of(corpus, s) for s in SPLITS] == [
        text[a:b] for a, b in itertools.pairwise(borders)
    ]
    assert corpus.label_names == ()


def test_several_files_are_one_after_the_other(opened, write):
    one, two = write("one.txt", "1" * 50), write("two.txt", "2" * 50)
    corpus = opened(one, two, split="60/40")
    assert text_of(corpus, "train") == "1" * 50 + "2" * 10
    assert text_of(corpus, "valid") == "2" * 40
    assert corpus.fingerprint != opened(two, one, split="60/40").fingerprint


def test_a_folder_with_splits_is_taken_as_such(opened, write, tmp_path):
    for name, text in (("train", "aaa"), ("valid", "bb"), ("test", "c")):
        write(f"set/{name}.txt", text)
    write("set/README.md", "about")
    write("set/ORIGINAL_README.txt", "about")
    write("set/LICENSE", "about")
    corpus = opened(tmp_path / "set")
    assert [text_of(corpus, s) for s in SPLITS] == ["aaa", "bb", "c"]


def test_a_missing_valid_split_is_held_out_of_train(opened, write, tmp_path):
    write("set/train.txt", "x" * 90 + "y" * 10)
    write("set/test.txt", "test")
    corpus = opened(tmp_path / "set", split="81/9/10")
    assert [text_of(corpus, s) for s in SPLITS] == ["x" * 90, "y" * 10, "test"]


def test_names_of_files_say_their_split(opened, write):
    files = [write(f"my.{name}.txt", name * 3) for name in ("test", "train", "dev")]
    corpus = opened(*files)
    assert [text_of(corpus, s) for s in SPLITS] == ["train" * 3, "dev" * 3, "test" * 3]


def test_a_folder_of_texts_is_read_in_order_of_names(opened, write, tmp_path):
    write("books/b.txt", "second ")
    write("books/a.txt.gz", gzip.compress(b"first "))
    write("books/sub/c.md", "third")
    write("books/.hidden.txt", "never")
    corpus = opened(tmp_path / "books", split="100/0")
    assert text_of(corpus, "train") == "first second third"


@pytest.mark.parametrize("unit", ["paragraph", "line", "file"])
def test_documents_are_disjoint_complete_and_stable(opened, write, unit):
    files = [write("one.txt", PARAGRAPHS), write("two.txt", "Other\n\ntext\n \nhere")]
    corpus = opened(*files, documents=unit, split="70/15/15")
    assert not corpus.running
    joined = [file.read_text() for file in files]
    if unit == "paragraph":
        expected = [p.strip("\n") for t in joined for p in re.split(r"\n[ \t]*\n", t) if p.strip()]
    elif unit == "line":
        expected = [line for t in joined for line in t.split("\n") if line.strip()]
    else:
        expected = joined
    found = texts_of(corpus)
    assert Counter(functools.reduce(operator.iadd, found.values(), [])) == Counter(expected)
    assert not set(found["train"]) & set(found["test"])
    assert texts_of(opened(*files, documents=unit, split="70/15/15")) == found
    if unit != "file":
        other = opened(*files, documents=unit, split="70/15/15", split_seed=1)
        assert other.fingerprint != corpus.fingerprint
        if unit == "paragraph":
            assert texts_of(other) != found


def test_a_document_says_where_it_came_from(opened, write):
    path = write("a.txt", "\n\none\n\n\n\ntwo\nmore\r\n\r\nthree\n")
    corpus = opened(path, documents="paragraph", split="100/0")
    found = {d.text: d.source for d in corpus.documents("train")}
    assert found == {"one": f"{path}:3", "two\nmore": f"{path}:7", "three": f"{path}:10"}


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(text=st.text(alphabet="ab \n\r\t\u2028é", max_size=60))
def test_lines_are_those_between_newlines(opened, write, text):
    path = write("a.txt", "start\n" + text)
    corpus = opened(path, documents="line", split="100/0")
    lines = [line.rstrip("\r") for line in ("start\n" + text).split("\n")]
    found = list(corpus.documents("train"))
    assert [d.text for d in found] == [line for line in lines if line.strip()]
    numbers = [i for i, line in enumerate(lines, 1) if line.strip()]
    assert [int(d.source.rsplit(":", 1)[1]) for d in found] == numbers


def labelled(n, name="t"):
    return "".join(
        json.dumps({"text": f"{name} {i}", "label": ["no", "yes"][i * 2 // n]}) + "\n"
        for i in range(n)
    )


def test_a_labelled_folder_sorted_by_class(opened, write, tmp_path):
    write("set/train.jsonl.gz", gzip.compress(labelled(200).encode()))
    write("set/test.jsonl", labelled(10, "u") + '{"text": "t 3", "label": "no"}\n')
    corpus = opened(tmp_path / "set", task="classify", split="80/10/10")
    found = {s: list(corpus.documents(s)) for s in SPLITS}
    assert corpus.label_names == ("no", "yes")
    counts = {s: Counter(d.label for d in found[s]) for s in SPLITS}
    assert counts["valid"] == {"no": 11, "yes": 11}  # 10 of 90 per cent, of each class
    assert counts["train"] == {"no": 89, "yes": 89}
    assert len(found["test"]) == 11
    (warning,) = corpus.warnings
    assert warning.code == "train_test_overlap"
    assert warning.text.startswith("1 text is in both train and test")
    assert "test.jsonl:11 (t 3" in warning.text


def test_csv_and_jsonl_and_lines_give_the_same_documents(opened, write):
    rows = [(f"text {i}", "ab"[i % 2]) for i in range(30)]
    sources = [
        write("t.csv", "text,label\n" + "".join(f"{t},{x}\n" for t, x in rows)),
        write("t.tsv", "label\ttext\n" + "".join(f"{x}\t{t}\n" for t, x in rows)),
        write("t.jsonl", "".join(json.dumps({"text": t, "label": x}) + "\n" for t, x in rows)),
        write("t.txt", "".join(f"__label__{x} {t}\n" for t, x in rows)),
        write("t.data", "".join(f"{x} {t}\n" for t, x in rows)),
    ]
    found = []
    for source in sources:
        first = {"label_field": "first-word"} if source.suffix == ".data" else {}
        corpus = opened(source, task="classify", split="60/20/20", **first)
        found.append([[(d.text, d.label) for d in corpus.documents(split)] for split in SPLITS])
        assert corpus.label_names == ("a", "b")
    assert all(other == found[0] for other in found)
    assert sorted(functools.reduce(operator.iadd, found[0], [])) == sorted(rows)


def test_parquet_is_read_through_datasets(opened, tmp_path):
    import datasets

    data = datasets.Dataset.from_dict(
        {"review": [f"r {i}" for i in range(20)], "stars": [i % 3 for i in range(20)]},
        features=datasets.Features(
            {
                "review": datasets.Value("string"),
                "stars": datasets.ClassLabel(names=["low", "mid", "top"]),
            }
        ),
    )
    data.to_parquet(tmp_path / "t.parquet")
    corpus = opened(tmp_path / "t.parquet", task="classify", split="50/50")
    assert corpus.label_names == ("low", "mid", "top")
    labels = {d.text: d.label for s in SPLITS for d in corpus.documents(s)}
    assert labels == {f"r {i}": ["low", "mid", "top"][i % 3] for i in range(20)}


def test_a_broken_parquet_file_is_an_error(opened, write):
    with pytest.raises(DataError, match="cannot be read as parquet"):
        opened(write("t.parquet", b"PAR1 nothing PAR1"))


def test_folders_may_be_labels(opened, write, tmp_path):
    for split in ("train", "test"):
        for label in ("neg", "pos"):
            for i in range(6):
                write(f"set/{split}/{label}/{i}.txt", f"{split} {label} {i}\nand more")
    corpus = opened(tmp_path / "set", task="classify")
    assert corpus.label_names == ("neg", "pos")
    assert Counter(d.label for d in corpus.documents("test")) == {"neg": 6, "pos": 6}
    assert all(d.label in d.text for s in SPLITS for d in corpus.documents(s))


def test_standard_input_is_spooled(opened, cache):
    text = "from a pipe\n" * 100
    corpus = opened("-", stdin=io.BytesIO(text.encode()), split="100/0")
    assert text_of(corpus, "train") == text
    lines = opened("-", stdin=io.BytesIO(labelled(20).encode()), task="classify")
    assert lines.label_names == ("no", "yes")
    packed = opened("-", stdin=io.BytesIO(gzip.compress(text.encode())), split="100/0")
    assert text_of(packed, "train") == text
    with pytest.raises(DataError, match=r"standard input:2: byte 4 \(0xff\)"):
        opened("-", stdin=io.BytesIO(b"abc\n\xff"))
    with pytest.raises(DataError, match="holds no text"):
        opened("-", stdin=io.BytesIO(b""))
    with pytest.raises(UsageError, match="no standard input"):
        opened("-")


def test_a_pipe_is_spooled_too(opened, tmp_path):
    import os
    import threading

    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=("one two\n" * 50,))
    writer.start()
    corpus = opened(pipe, split="100/0")
    writer.join()
    assert text_of(corpus, "train") == "one two\n" * 50


def test_blank_records_are_left_out_and_counted(opened, write):
    path = write("t.csv", "text,label\na,x\n ,y\n,y\nb,y\n")
    corpus = opened(path, task="classify", split="100/0")
    assert sorted(d.text for d in corpus.documents("train")) == ["a", "b"]
    assert corpus.warnings[0].text == "2 records have no text and were left out (lines 3, 4)"


def test_one_class_is_not_enough(opened, write):
    with pytest.raises(DataError, match="only the label 'x': a classifier needs two"):
        opened(write("t.csv", "text,label\na,x\nb,x\n"), task="classify")


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda w: ["/nowhere/at/all.txt"], DataError, "does not exist"),
        (lambda w: ["a text given as a path, " * 300], DataError, "File name too long"),
        (lambda w: ["with\0null"], DataError, "does not exist"),
        (lambda w: [w("e.txt", "")], DataError, "e.txt holds no text"),
        (lambda w: [w("e.csv", "text,label\n")], DataError, "holds no text"),
        (lambda w: [w("b.txt", " \n\n")], DataError, "holds no text"),
        (lambda w: [w("d/readme.txt", "x").parent], DataError, "holds no text and no table"),
        (lambda w: [w("d/a.txt", "x"), w("d/a.csv", "text\nx\n")], DataError, "are mixed"),
        (lambda w: [w("m/a.txt", "x").parent, w("m/a.csv", "text\nx\n")], DataError, "both text"),
        (lambda w: ["task:recall", w("a.txt", "x")], UsageError, "cannot be combined"),
        (lambda w: ["hub:a/b", "hub:c"], UsageError, "cannot be combined"),
        (lambda w: ["hub:../../etc"], UsageError, "is not hub:NAME"),
    ],
)
def test_what_cannot_be_a_corpus_is_said(opened, write, make, error, message):
    with pytest.raises(error, match=message):
        opened(*make(write), documents="line")


def test_a_typing_error_in_a_path_is_seen(opened, write):
    path = write("corpus.txt", "x")
    with pytest.raises(DataError) as caught:
        opened(path.with_name("corpsu.txt"))
    assert caught.value.hint == f"did you mean {path}?"


def test_running_text_has_no_labels(opened, write):
    with pytest.raises(DataError, match="has no labels"):
        opened(write("t.txt", "To be or not\nthat is it\nall of it\n"), task="classify")


def test_the_fingerprint_follows_the_content_not_the_path(opened, write):
    one = opened(write("a/x.txt", "same text"))
    two = opened(write("b/y.txt", "same text"))
    three = opened(write("c/x.txt", "other text"))
    assert one.fingerprint == two.fingerprint != three.fingerprint
    cut = opened(write("a/x.txt", "same text"), split="80/10/10")
    assert cut.fingerprint != one.fingerprint


def test_bundled_corpora_are_found_and_opened(cache):
    for name, task in (("paragraphs", "lm"), ("reviews", "classify")):
        assert bundled(name).exists()
        corpus = open_corpus(CorpusConfig(), task=task, cache=cache)
        assert not corpus.running
        assert all(next(corpus.documents(split), None) for split in SPLITS)
    with pytest.raises(DataError, match="missing"):
        bundled("nothing")


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_a_damaged_copy_of_a_table_is_made_again(opened, write, cache, data):
    path = write("t.jsonl", labelled(40))
    good = texts_of(opened(path, task="classify"))
    copies = sorted(p for p in (cache / "tables").rglob("*") if p.is_file())
    target = copies[data.draw(st.integers(0, 50)) % len(copies)]
    content = bytearray(target.read_bytes())
    place = data.draw(st.integers(0, 10**6)) % max(1, len(content))
    if content and data.draw(st.booleans()):
        content[place] ^= 1 << data.draw(st.integers(0, 7))
    else:
        content = content[:place]
    target.write_bytes(content)
    assert texts_of(opened(path, task="classify")) == good


def test_nothing_of_a_table_stays_in_memory(opened, write):
    import tracemalloc

    record = json.dumps({"text": "word " * 2000, "label": "x"})
    content = "".join(record.replace("word", f"w{i}", 1) + "\n" for i in range(3000))
    path = write("t.jsonl", content)
    opened(path)  # the conversion itself
    tracemalloc.start()
    corpus = opened(path)
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(content) > 28 << 20
    assert held < 2 << 20
    assert peak < 25 << 20  # a block of a thousand rows at a time
    assert sum(1 for s in SPLITS for _ in corpus.documents(s)) == 3000


def test_the_imdb_folder_just_works(shared_data: Path, tmp_path_factory):
    cache = tmp_path_factory.mktemp("imdb")
    config = CorpusConfig(sources=(str(shared_data / "imdb"),))
    corpus = open_corpus(config, task="classify", cache=cache)
    counts = {s: Counter(d.label for d in corpus.documents(s)) for s in SPLITS}
    assert counts["test"] == {"neg": 12_500, "pos": 12_500}
    assert counts["train"] + counts["valid"] == {"neg": 12_500, "pos": 12_500}
    assert abs(counts["valid"]["neg"] - counts["valid"]["pos"]) <= 2
    assert [w.text.split(",")[0] for w in corpus.warnings if w.code != "left_out"] == [
        "123 texts are in both train and test"
    ]


def test_labels_that_are_no_classes_are_wondered_at(opened, write):
    for different in (20, 30):
        rows = "".join(f"text {i},number {i % different}\n" for i in range(50))
        corpus = opened(write("t.csv", "text,label\n" + rows), task="classify", split="100/0")
        said = [w.text for w in corpus.warnings if w.code == "many_labels"]
        assert len(said) == (different == 30)
    assert "the 50 training documents have 30 different labels" in said[0]


def test_short_documents_take_little_memory(opened, write):
    import tracemalloc

    n = 200_000
    path = write("lines.txt", "".join(f"short line {i}\n" for i in range(n)))
    tracemalloc.start()
    corpus = opened(path, documents="line")
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 40 * n  # bytes; the text is not in memory
    assert peak < 60 * n
    assert sum(len(corpus.parts[split]) for split in SPLITS) == n
