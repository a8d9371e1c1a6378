"""What honest sources look like, and that each is read as what it is or refused with a way out."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from rnnctl.config import CorpusConfig
from rnnctl.data.corpus import Corpus, open_corpus
from rnnctl.errors import DataError

TEXTS = [f"A long enough text number {i} about some things, and others." for i in range(60)]
LABELS = [("neg", "pos")[i % 2] for i in range(60)]


def table(header: list[str] | None, *columns: list[object], separator: str = ",") -> str:
    out = io.StringIO()
    writer = csv.writer(out, delimiter=separator, lineterminator="\n")
    if header:
        writer.writerow(header)
    writer.writerows(zip(*columns, strict=True))
    return out.getvalue()


def objects(**columns: list[object]) -> str:
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.fixture
def opened(write, cache, tmp_path):
    """Write files, open them (or the folder that holds them) as a corpus."""

    def call(files, *names, task="classify", stdin=None, **options) -> Corpus:
        for name, content in files.items():
            write(f"set/{name}", content)
        sources = tuple(str(tmp_path / "set" / name) for name in names) or (str(tmp_path / "set"),)
        if stdin is not None:
            sources, stdin = ("-",), io.BytesIO(stdin.encode())
        config = CorpusConfig(sources=sources, **options)
        return open_corpus(config, task=task, cache=cache, stdin=stdin)

    return call


def everything(corpus: Corpus) -> list[tuple[str, str | None]]:
    splits = ("train", "valid", "test")
    return sorted((d.text, d.label) for split in splits for d in corpus.documents(split))


NUMBERS = list(range(60))
PAIRS = sorted(zip(TEXTS, LABELS, strict=True))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (table(["Rezension", "Bewertung"], TEXTS, LABELS), "text = Rezension, label = Bewertung"),
        (table(["v1", "v2"], LABELS, TEXTS), "text = v2, label = v1"),
        (table(["v1", "v2", "", ""], LABELS, TEXTS, [""] * 60, [""] * 60), "text = v2, label = v1"),
        (table(["", "text", "label"], NUMBERS, TEXTS, LABELS), "text = text, label = label"),
        (table(["отзыв", "оценка"], TEXTS, LABELS), "text = отзыв, label = оценка"),
        (table(["评论", "标签"], TEXTS, LABELS), "text = 评论, label = 标签"),
        (table(["Label", "Review Text"], LABELS, TEXTS), "text = Review Text, label = Label"),
        (table(["id", "title", "body", "class"], NUMBERS, LABELS, TEXTS, LABELS), "text = body"),
        (table(None, LABELS, TEXTS), "no header; text = 2, label = 1 (2 labels)"),
        (table(None, LABELS, NUMBERS, TEXTS), "no header; text = 3, label = 1"),
        (table(["text", "label"], TEXTS, LABELS, separator=";"), "csv, semicolon, header"),
        ("\n" + table(["text", "label"], TEXTS, LABELS), "text = text, label = label"),
    ],
)
def test_columns_are_found_by_their_names_or_by_what_they_hold(opened, content, said):
    for corpus in (opened({"a.csv": content}, "a.csv"), opened({}, stdin=content)):
        assert said in corpus.notes[0]
        assert everything(corpus) == PAIRS


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (table(["ID", "Joke"], NUMBERS, TEXTS), "text = Joke"),
        (table(["Title", "Poem"], [f"Ode {i}" for i in NUMBERS], TEXTS), "text = Poem"),
        (table(["year", "by", "words"], NUMBERS, LABELS, TEXTS), "text = words"),
    ],
)
def test_a_number_and_a_title_are_no_text(opened, content, said):
    corpus = opened({"a.csv": content}, "a.csv", task="lm")
    assert said in corpus.notes[0]
    assert everything(corpus) == [(text, None) for text in sorted(TEXTS)]


def test_columns_may_be_given_by_number_with_and_without_a_header(opened):
    for header in (None, ["one", "two", "three"]):
        content = table(header, LABELS, [f"x{i}" for i in NUMBERS], TEXTS)
        corpus = opened({"a.csv": content}, "a.csv", text_field="3", label_field="1")
        assert everything(corpus) == PAIRS
    corpus = opened({"a.csv": content}, "a.csv", text_field="THREE", label_field="One")
    assert everything(corpus) == PAIRS


@pytest.mark.parametrize(
    "content",
    [
        "{% block a %}\n  <p>some text</p>\n{% endblock %}\n" * 20,
        "Well, he said so, and so did I\n" * 40,
        "".join(f"the rose {i} is red, the sky is {LABELS[i % 2]}\n" for i in NUMBERS),
        "[Illustration]\n\nIt was a day.\n",
        'He said: "no", and "yes".\n' * 9,
    ],
)
def test_prose_is_prose(opened, content):
    corpus = opened({}, stdin=content, task="lm")
    assert corpus.running
    assert (
        "".join(d.text for s in ("train", "valid", "test") for d in corpus.documents(s)) == content
    )


def test_a_source_is_what_somebody_says(opened):
    content = objects(text=TEXTS, label=LABELS)
    corpus = opened({"a.jsonl": content}, "a.jsonl", task="lm", read_as="text")
    assert corpus.running
    lines = "".join(f"{label}, {text}\n" for text, label in PAIRS)
    corpus = opened({"b.txt": lines}, "b.txt", read_as="csv", text_field="2", label_field="1")
    assert len(everything(corpus)) == 60


def test_json_lines_are_known_by_most_of_them(opened):
    good = objects(text=TEXTS, label=LABELS)
    corpus = opened({"a.jsonl": "\n" + good.replace("}", ', "score": NaN}')}, "a.jsonl")
    assert everything(corpus) == PAIRS
    with pytest.raises(DataError, match=r"b\.jsonl:2: not JSON"):
        opened({"b.jsonl": '\n{"text": "cut\n' + good}, "b.jsonl")
    rows = [json.loads(line) for line in good.splitlines()]
    for indent in (None, 1):
        for value in (rows, {"data": rows}):
            corpus = opened({"c.json": json.dumps(value, indent=indent)}, "c.json")
            assert everything(corpus) == PAIRS


@pytest.mark.parametrize("content", ["1", "null", '"text"', "[1, 2]", "{}", "[]", "[[]]", "true\n"])
def test_json_that_is_no_record_is_refused(opened, content):
    with pytest.raises(DataError, match=r"a\.json"):
        opened({"a.json": content}, "a.json")


PTB = {"ptb.train.txt": "abc\n" * 50, "ptb.valid.txt": "x\n" * 9, "ptb.test.txt": "zzz\n" * 9}


@pytest.mark.parametrize(
    ("files", "sizes"),
    [
        (PTB, (200, 18, 36)),
        ({"c.train.txt": "a\n" * 9, "c.heldout.txt": "b\n", "c.test.txt": "c\n"}, (18, 2, 2)),
        ({"train_part1.txt": "a\n", "train_part2.txt": "b\n", "my-dev.txt": "c\n"}, (4, 2, 0)),
        ({"wiki.train.tokens": "a\n" * 9, "wiki.valid.tokens": "b\n"}, (18, 2, 0)),
        ({"corpus-train/1": "a\n", "corpus-train/2": "b\n", "corpus-val/1": "c\n"}, (4, 2, 0)),
        ({"en/train.txt": "a\n", "de/train.txt": "b\n", "en/test.txt": "c\n" * 9}, (3, 1, 18)),
    ],
)
def test_names_say_their_splits(opened, files, sizes):
    corpus = opened(files, task="lm")
    found = [sum(len(d.text) for d in corpus.documents(s)) for s in ("train", "valid", "test")]
    assert tuple(found) == sizes


def test_every_file_that_is_left_out_is_counted_and_named(opened, tmp_path):
    chapters = {f"{name}.txt": "a chapter\n" for name in ("notice", "one", "License to kill")}
    others = {f"{i}.a3f2": "\0\1" for i in range(80)} | {"README.md": "about"}
    run = {"runs/first/config.json": "{}", "runs/first/current.json": "{}"}
    corpus = opened({**chapters, **others, **run}, task="lm")
    assert [w.text for w in corpus.warnings] == [
        "3 files used; left out: 80 files with unknown endings (.a3f2); by their names about the "
        "corpus, not part of it: README.md; 1 run of rnnctl: first"
    ]
    (tmp_path / "linked").symlink_to(tmp_path / "set")
    config = CorpusConfig(sources=(str(tmp_path / "linked"),))
    assert open_corpus(config, cache=tmp_path / "cache").notes[0].startswith("3 files: text")


def test_endings_that_nobody_knows_are_read_if_they_are_all_there_is(opened):
    corpus = opened({"a.c": "int x;\n" * 9, "b.h": "int y;\n", "c.o": b"\0\1\2"}, task="lm")
    assert "2 files: text" in corpus.notes[0]


def test_a_competition_s_folder(opened):
    files = {
        "train.csv": table(["id", "text", "target"], NUMBERS, TEXTS, LABELS),
        "test.csv": table(["id", "text"], NUMBERS, TEXTS),
        "sample_submission.csv": table(["id", "target"], NUMBERS, [0] * 60),
    }
    for field in (None, "target"):
        corpus = opened(files, label_field=field)
        assert corpus.label_names == ("neg", "pos")
        assert any("test.csv has no labels and was left out" in w.text for w in corpus.warnings)
    hidden = table(["id", "text", "target"], NUMBERS, TEXTS, ["-1"] * 60)
    assert opened({**files, "test.csv": hidden}).label_names == ("neg", "pos")


def test_a_label_without_a_text_is_one_record_left_out(opened):
    for separator, mark in (("\t", ""), (" ", "__label__")):
        lines = [f"{mark}{label}{separator}{text}" for text, label in PAIRS]
        lines[41] = f"{mark}neg"
        corpus = opened({"a.txt": "\n".join(lines)}, "a.txt")
        assert corpus.label_names == ("neg", "pos")
        assert "59 rows, 1 without text left out (line 42)" in corpus.notes[0]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.txt", "__label__a text one\n__label__a __label__b text two\n" * 9),
        ("a.txt", "__label__a text one\n__label__a, __label__b text two\n" * 9),
        ("a.jsonl", '{"text": "x", "labels": ["a"]}\n{"text": "y", "labels": ["a", "b"]}\n' * 9),
    ],
)
def test_texts_with_several_labels_are_read(opened, name, content):
    corpus = opened({name: content}, name, split="100/0")
    assert corpus.label_names == ("a", "b") and len(corpus.label_sets) == 2


@pytest.mark.parametrize("joined", ["a|b", "b, a"])
def test_labels_that_look_like_several_are_refused_with_a_way_out(opened, joined):
    content = table(["text", "label"], TEXTS, [["a", "b", joined][i % 3] for i in NUMBERS])
    with pytest.raises(DataError, match=r"2 labels in one \((a, b|b, a)\)") as it:
        opened({"a.csv": content}, "a.csv")
    assert "--label-separator" in it.value.hint


@pytest.mark.parametrize(
    ("train", "test", "names"),
    [
        (["false", "true"], ["False", "True"], ("false", "true")),
        (["true", "false"], ["TRUE", "FALSE"], ("false", "true")),
        (["True", "False"], ["1", "0"], ("False", "True")),
        (["0", "1"], ["0.0", "1.0"], ("0", "1")),
        (["neg", "pos"], [" neg", "pos "], ("neg", "pos")),
        (["neg", "pos"], ["Neg", "POS"], ("neg", "pos")),
    ],
)
def test_two_writings_of_one_label_are_one(opened, train, test, names):
    both = {
        "train.csv": table(["text", "label"], TEXTS, [train[i % 2] for i in NUMBERS]),
        "test.csv": table(
            ["text", "label"], [t + "!" for t in TEXTS], [test[i % 2] for i in NUMBERS]
        ),
    }
    corpus = opened(both)
    assert corpus.label_names == names
    assert {d.label for d in corpus.documents("test")} == set(names)


def test_a_label_that_train_lacks_may_be_a_mistake(opened):
    both = {
        "train.csv": table(["text", "label"], TEXTS, ["positive", "negative"] * 30),
        "test.csv": table(["text", "label"], TEXTS, ["postive", "negative"] * 30),
    }
    with pytest.raises(DataError, match="test has 1 label that train lacks: 'postive'") as it:
        opened(both)
    assert it.value.hint.startswith("did you mean 'positive'?")
    assert len(list(opened(both, new_labels="drop").documents("test"))) == 30


@pytest.mark.parametrize(
    "labels",
    [
        [str(n) for n in range(1, 13)],
        [f"{n} stars" for n in range(1, 13)],
        [f"grade{n}" for n in range(1, 13)],
        ["★" * n for n in range(1, 6)],
        ["-1", "0", "1", "2.5", "10"],
    ],
)
def test_numbers_and_stars_are_in_their_order(opened, labels):
    given = [labels[(7 * i) % len(labels)] for i in NUMBERS]
    corpus = opened({"a.csv": table(["review", "stars"], TEXTS, given)}, "a.csv")
    assert list(corpus.label_names) == labels


def test_a_labelled_table_for_a_language_model_is_hinted_at(opened):
    corpus = opened({"a.csv": table(["text", "label"], TEXTS, LABELS)}, "a.csv", task="lm")
    assert "--task classify` trains a classifier" in corpus.notes[1]


@pytest.mark.parametrize(
    ("name", "content", "hint"),
    [
        ("a.xls", b"\xd0\xcf\x11\xe0" + b"\0" * 99, "save it as CSV"),
        ("a.doc", b"\xd0\xcf\x11\xe0" + b"\0" * 99, "save it as plain text"),
        ("a.pdf", b"%PDF-1.7 \xe2\xe3" + b"\0" * 99, "pdftotext"),
    ],
)
def test_files_of_other_programs_are_refused_with_a_way(opened, name, content, hint):
    with pytest.raises(DataError, match="not text") as it:
        opened({name: content}, name, task="lm")
    assert hint in it.value.hint


def test_a_zip_with_an_office_file_in_it_is_one(opened, tmp_path: Path):
    import zipfile

    path = tmp_path / "reviews.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("[Content_Types].xml", "<x/>")
        archive.writestr("xl/workbook.xml", "<x/>")
    with pytest.raises(DataError, match="is a spreadsheet, not text") as it:
        open_corpus(CorpusConfig(sources=(str(path),)), cache=tmp_path / "cache")
    assert "save it as CSV" in it.value.hint


def test_an_archive_keeps_within_its_folder(tmp_path: Path):
    import tarfile

    path = tmp_path / "evil.tar"
    with tarfile.open(path, "w") as archive:
        for name in ("../outside.txt", "/absolute.txt", "inside.txt", ".hidden.txt"):
            member = tarfile.TarInfo(name)
            member.size = 40
            archive.addfile(member, io.BytesIO(b"some text\n" * 4))
        link = tarfile.TarInfo("link.txt")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    corpus = open_corpus(CorpusConfig(sources=(str(path),)), cache=tmp_path / "cache")
    assert "outside" not in corpus.notes[0]
    assert not (tmp_path / "outside.txt").exists()
    assert sum(len(d.text) for s in ("train", "valid", "test") for d in corpus.documents(s)) == 80
