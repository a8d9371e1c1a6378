"""Which files of a folder, or of those named, are read for what, and what is said of it."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from rnnctl.config import CorpusConfig
from rnnctl.data.corpus import open_corpus
from rnnctl.data.documents import SPLITS
from rnnctl.data.sources import arrange, bundled
from rnnctl.errors import DataError


@pytest.fixture
def opened(cache):
    def call(*sources, task="lm"):
        config = CorpusConfig(sources=tuple(map(str, sources)))
        return open_corpus(config, task=task, cache=cache)

    return call


def arranged(*paths):
    """Names by split, and what is said by its code."""
    found = arrange(paths)
    files = {split: [f.path.name for f in group] for split, group in found.files.items()}
    return files, {w.code: w.text for w in found.warnings}


def reviews(write, folder, labels):
    for label in labels:
        for i in range(12):
            write(f"{folder}/{label}/{i}_7.txt", f"review {folder} {label} {i} of a film")


def test_the_imdb_archive_as_it_is_unpacked_has_two_classes(opened, write, tmp_path):
    for split, labels in (("train", ("pos", "neg", "unsup")), ("test", ("pos", "neg"))):
        reviews(write, f"aclImdb/{split}", labels)
        for label in labels:
            write(f"aclImdb/{split}/urls_{label}.txt", "http://somewhere/usercomments\n" * 12)
        write(f"aclImdb/{split}/labeledBow.feat", "9 0:9\n")
    write("aclImdb/imdb.vocab", "the\nand\n")
    write("aclImdb/README", "about")
    root = tmp_path / "aclImdb"
    corpus = opened(root, task="classify")
    assert corpus.label_names == ("neg", "pos")
    counts = {split: Counter(d.label for d in corpus.documents(split)) for split in SPLITS}
    assert counts["test"] == {"neg": 12, "pos": 12}
    assert counts["train"] + counts["valid"] == {"neg": 12, "pos": 12}
    others, warning = corpus.warnings
    assert others.text == (
        "65 files used; left out: 3 files with unknown endings (.feat, .vocab); "
        "by their names about the corpus, not part of it: README"
    )
    assert warning.text.startswith("left out, because they are not in the folder of a label: ")
    assert all(f"{root}/{name}" in warning.text for name in ("train/unsup/,", "test/urls_neg.txt"))


def test_labels_that_one_split_lacks_are_named(opened, write, tmp_path):
    reviews(write, "set/train", ("pos", "neg", "odd"))
    reviews(write, "set/test", ("pos", "neg", "new", "newer"))
    with pytest.raises(DataError, match="test has 2 labels that train lacks: 'new', 'newer'") as it:
        opened(tmp_path / "set", task="classify")
    assert "train has 'neg', 'odd', 'pos'" in it.value.message
    assert "--new-labels drop" in it.value.hint
    config = CorpusConfig(sources=(str(tmp_path / "set"),), new_labels="drop")
    corpus = open_corpus(config, task="classify", cache=tmp_path / "cache")
    assert [w.text for w in corpus.warnings] == [
        "24 documents of test with labels that train lacks left out: 'new', 'newer'",
        "train has 1 label that test lacks: 'odd'",
    ]
    assert {d.label for d in corpus.documents("test")} == {"pos", "neg"}


def test_a_folder_that_is_given_may_itself_be_a_label(opened, write, tmp_path):
    reviews(write, "set", ("pos", "neg"))
    corpus = opened(tmp_path / "set/pos", tmp_path / "set/neg", task="classify")
    assert corpus.label_names == ("neg", "pos")
    assert corpus.warnings == ()


def test_hidden_folders_are_no_corpus(write, tmp_path):
    root = tmp_path / ".given/notes"
    for name in ("a.txt", ".git/HEAD", ".git/logs/HEAD", "b/.x/c/a-checkpoint.txt", ".b.txt"):
        write(f".given/notes/{name}", "text")
    write(".given/notes/.train/a.txt", "text")
    assert arranged(root) == ({"all": ["a.txt"]}, {})


def test_what_a_folder_with_splits_holds_besides_is_named(write, tmp_path):
    root = tmp_path / "vehicles"
    for name in ("train.txt", "dev.txt", "plane.txt", "car.txt", "more/ship.txt", "empty/x.png"):
        write(f"vehicles/{name}", "moves")
    files, said = arranged(root)
    assert files == {"valid": ["dev.txt"], "train": ["train.txt"]}
    assert said == {
        "left_out": "2 files used; left out: 1 file with unknown endings (.png); "
        "3 files without a split in the name (car.txt, more, plane.txt)"
    }


def test_what_lies_beside_folders_of_splits_is_named(write, tmp_path):
    for name in ("train/a.txt", "test/b.txt", "other/c.txt", "d.txt"):
        write(f"set/{name}", "text")
    files, said = arranged(tmp_path / "set")
    assert files == {"test": ["b.txt"], "train": ["a.txt"]}
    assert said["left_out"].endswith("without a split in the name (d.txt, other)")


def test_a_link_that_leads_nowhere_is_named_and_others_are_followed(write, tmp_path):
    write("elsewhere.txt", "a text of its own")
    write("book/one.txt", "text")
    for name, target in (("two.txt", "../elsewhere.txt"), ("gone.txt", "nowhere.txt")):
        (tmp_path / "book" / name).symlink_to(target)
    files, said = arranged(tmp_path / "book")
    assert files == {"all": ["one.txt", "two.txt"]}
    assert said["left_out"] == "2 files used; left out: 1 broken link (gone.txt)"


def test_a_folder_that_cannot_be_read_is_named(write, tmp_path, monkeypatch):
    write("book/one.txt", "text")
    write("book/shut/two.txt", "text")
    scan = os.scandir

    def refusing(path):
        if str(path).endswith("shut"):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refusing)
    with pytest.raises(DataError, match="shut: Permission denied"):
        arranged(tmp_path / "book")


def test_two_folders_for_one_split_are_refused(write, tmp_path):
    for name in ("train", "val", "valid"):
        write(f"set/{name}/a.txt", name)
    with pytest.raises(DataError, match="set has two parts for valid: val, valid"):
        arrange([tmp_path / "set"])
    for name in ("train", "training"):
        write(f"other/{name}.txt", name)
    with pytest.raises(
        DataError, match=r"other has two parts for train: train\.txt, training\.txt"
    ):
        arrange([tmp_path / "other"])


def test_names_that_may_not_mean_a_split_are_told(write):
    books = [write(f"{name}.txt", name) for name in ("train_timetable", "test_of_courage")]
    files, said = arranged(*books)
    assert files == {"train": ["train_timetable.txt"], "test": ["test_of_courage.txt"]}
    assert "train_timetable.txt is train, test_of_courage.txt is test" in said["splits_by_name"]
    plain = [write(f"ptb.{name}.txt", name) for name in ("train", "valid", "test")]
    assert arranged(*plain)[1] == {}


def test_a_file_that_is_given_twice_is_read_once(opened, write, tmp_path):
    text = "".join(map(str, range(2000)))
    path = write("set/a.txt", text)
    (tmp_path / "link.txt").symlink_to(path)
    corpus = opened(path, tmp_path / "set/../set/a.txt", tmp_path / "link.txt", tmp_path / "set")
    assert "".join(d.text for s in SPLITS for d in corpus.documents(s)) == text
    (warning,) = corpus.warnings
    assert warning.text.startswith("named more than once, but read only once: ")
    assert str(tmp_path / "link.txt") in warning.text
    copy = write("copy.txt", text)
    assert arranged(path, copy) == ({"all": ["a.txt", "copy.txt"]}, {})


def test_a_file_that_stands_for_two_splits_is_named(write, tmp_path):
    path = write("set/train.txt", "text")
    (tmp_path / "set/test.txt").symlink_to(path)
    files, said = arranged(tmp_path / "set")
    assert files == {"test": ["test.txt"], "train": ["train.txt"]}
    assert said["split_twice"].endswith(f"is for train what {path.parent}/test.txt is for test")


@pytest.mark.parametrize("name", ["paragraphs", "reviews"])
def test_nothing_is_left_out_of_the_bundled_corpora(name):
    assert arranged(Path(bundled(name)))[1] == {}
