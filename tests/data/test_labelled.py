"""Lines of plain text that begin with labels, and those that only seem to."""

from __future__ import annotations

import pytest

from rnnctl.config import CorpusConfig
from rnnctl.data.corpus import open_corpus
from rnnctl.data.recognition import labels_lines
from rnnctl.errors import DataError

STORY = "".join(f"{['He', 'She', 'Then'][i % 3]} went on, {i} steps.\n" for i in range(60))


@pytest.mark.parametrize(
    ("content", "labels"),
    [
        ("__label__a some text\n__label__b other\n", True),
        ("".join(f"{i % 2} the text {i}\n" for i in range(20)), True),
        ("".join(f"{['pos', 'neg'][i % 2]} the text {i}\n" for i in range(20)), True),
        ("To be or not to be\nThat is the question\nWhether it is nobler\n", False),
        ("".join(f"{i} is a number\n" for i in range(20)), False),
        ("".join(f"{['ham', 'spam'][i % 2]}\tthe text {i}\n" for i in range(20)), True),
        ("".join(f"__label__{i % 2}\u3000the text {i}\n" for i in range(20)), True),
        (STORY, False),
        ("word\n" * 20, False),
        ("", False),
    ],
)
def test_labels_are_recognised_where_there_is_no_doubt(content, labels):
    assert labels_lines([line for line in content.split("\n") if line]) is labels


def test_a_story_is_no_labelled_corpus(write, cache):
    config = CorpusConfig(sources=(str(write("story.txt", STORY)),))
    with pytest.raises(DataError, match="'He', 'She', 'Then': are they labels") as caught:
        open_corpus(config, task="classify", cache=cache)
    assert "--label-field first-word" in caught.value.hint


def test_first_words_are_labels_if_somebody_says_so(write, cache):
    config = CorpusConfig(sources=(str(write("t.txt", STORY)),), label_field="first-word")
    corpus = open_corpus(config, task="classify", cache=cache)
    assert corpus.label_names == ("He", "She", "Then")


def test_labels_may_be_parted_from_their_texts_by_tabs(write, cache):
    lines = [("spam" if i % 2 else "ham", f"the text\t{i} \u00a0 of it") for i in range(20)]
    path = write("SMSSpamCollection", "".join(f"{x}\t {text}\n" for x, text in lines))
    for field in (None, "first-word"):
        config = CorpusConfig(sources=(str(path),), split="100/0/0", label_field=field)
        corpus = open_corpus(config, task="classify", cache=cache)
        assert [(d.label, d.text) for d in corpus.documents("train")] == lines
