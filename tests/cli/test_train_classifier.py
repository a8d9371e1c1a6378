"""`rnnctl train --task classify`: class weights, folds, what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.utils.class_weight import compute_class_weight

from rnnctl.data.splitting import assign_folds
from rnnctl.runs import Run
from rnnctl.statistics import over_folds
from rnnctl.tasks.classification import label_weights
from rnnctl.tasks.recipes import resolve, settle

Command = Callable[..., object]
SMALL = [
    "--task", "classify", "--steps", 6, "--hidden-size", 4, "--embedding-size", 4, "--quiet",
    "--no-diagnose",
]  # fmt: skip


@pytest.fixture(scope="module")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """45 good ones, 30 bad ones, 3 odd ones."""
    labels = ["good"] * 45 + ["bad"] * 30 + ["odd"] * 3
    rows = [f"this was {label} on day {i},{label}" for i, label in enumerate(labels)]
    path = tmp_path_factory.mktemp("reviews") / "reviews.csv"
    path.write_text("text,label\n" + "\n".join(rows) + "\n")
    return path


def test_balanced_weights_are_scikit_learns() -> None:
    labels = np.repeat([0, 1, 2], [80, 15, 5])
    found = label_weights("balanced", ("a", "b", "c"), np.bincount(labels))
    np.testing.assert_allclose(
        found, compute_class_weight("balanced", classes=np.arange(3), y=labels)
    )
    given_ = label_weights({"b": 3.0}, ("a", "b", "c"), np.bincount(labels))
    assert given_[1] / given_[0] == pytest.approx(3) and given_[0] == given_[2]
    assert (given_ * [80, 15, 5]).sum() == pytest.approx(100)
    assert label_weights(None, ("a", "b"), np.array([1, 2])).tolist() == [1, 1]


def test_class_weights_from_a_file(rnnctl: Command, reviews: Path, tmp_path: Path) -> None:
    weights = tmp_path / "weights.csv"
    weights.write_text("good,1\nodd,20\n\n")
    run = tmp_path / "run"
    done = rnnctl("train", reviews, *SMALL, "--class-weights", weights, "--run", run)
    assert done.code == 0, done.err
    assert Run.open(run).config.training.class_weights == {"good": 1.0, "odd": 20.0}
    weights.unlink()  # the run keeps what was in it
    done = rnnctl("train", "--resume", run, "--steps", 8, "--no-diagnose", "--quiet")
    assert done.code == 0, done.err


def test_in_lower_case_capitals_change_no_answer(
    rnnctl: Command, reviews: Path, tmp_path: Path
) -> None:
    answers = {}
    for option in ("--lowercase", "--no-lowercase"):
        run = tmp_path / option
        assert rnnctl("train", reviews, *SMALL, option, "--run", run).code == 0
        done = rnnctl("classify", run, "--format", "json", stdin="was good day\nWas GOOD day\n")
        assert done.code == 0, done.err
        answers[option] = [json.loads(line) for line in done.out.splitlines()]
    first, second = answers["--lowercase"]
    assert first["probabilities"] == second["probabilities"] and second["unknown"] == 0
    assert [one["unknown"] for one in answers["--no-lowercase"]] == [0, 2]
    explained = rnnctl(
        "classify",
        tmp_path / "--lowercase",
        "--explain",
        "--format",
        "json",
        stdin="Was GOOD day\n",
    )
    assert "GOOD" in explained.out  # as the text writes it


def test_lower_case_is_for_classifiers_of_words(rnnctl: Command, reviews: Path) -> None:
    done = rnnctl("train", reviews, "--lowercase", "--level", "word")
    assert done.code == 2 and "--lowercase" in done.err and "--task classify" in done.err
    done = rnnctl("train", reviews, *SMALL, "--lowercase", "--level", "char")
    assert done.code == 2 and "--lowercase" in done.err and "--level word" in done.err


@pytest.mark.parametrize(
    ("content", "error", "hint"),
    [
        ("god,2\n", "no training document has the label 'god'", "did you mean `good`"),
        ("good,2\nbad two\n", "weights.csv:2: 'bad two'", "label,weight"),
        ("good,-1\n", "weights.csv:1", "label,weight"),
        ("", "the file is empty", "label,weight"),
        (None, "No such file", "use balanced"),
    ],
)
def test_class_weights_that_cannot_be(
    rnnctl: Command, reviews: Path, tmp_path: Path, content: str | None, error: str, hint: str
) -> None:
    weights = tmp_path / "weights.csv"
    if content is not None:
        weights.write_text(content)
    done = rnnctl("train", reviews, *SMALL, "--class-weights", weights, "--run", tmp_path / "run")
    assert done.code == 2 and error in done.err and hint in done.err, done.err
    assert not (tmp_path / "run").exists()


def test_rare_labels_are_found_with_balanced_weights(rnnctl: Command, tmp_path: Path) -> None:
    """Words that say little: without weights a model plays safe and never says the rare label."""
    draw = np.random.default_rng(0)
    rows = []
    for i in range(400):
        rare = draw.random() < 0.1
        words = ["hint" if draw.random() < (0.5 if rare else 0.1) else "word" for _ in range(3)]
        rows.append(f"{' '.join(words)} {i},{'rare' if rare else 'usual'}")
    (tmp_path / "t.csv").write_text("text,label\n" + "\n".join(rows) + "\n")
    recall = {}
    for name, more in (("plain", []), ("balanced", ["--class-weights", "balanced"])):
        done = rnnctl(
            "train", tmp_path / "t.csv", *SMALL, "--steps", 60, "--lr", 0.03, "--dropout", 0,
            "--dropout-embedding", 0, "--split", "60/20/20", "--run", tmp_path / name,
            "--format", "json", *more,
        )  # fmt: skip
        assert done.code == 0, done.err
        last = json.loads(done.out)["splits"][0]["classification"]
        recall[name] = {one["label"]: one["recall"] for one in last["classes"]}["rare"]
    assert recall["balanced"] > recall["plain"] + 0.2


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 2)), min_size=1, max_size=80),
    st.integers(2, 7),
    st.integers(0, 3),
)
def test_folds_are_even_and_keep_equal_texts_together(
    documents: list[tuple[int, int]], folds: int, seed: int
) -> None:
    digests = np.array([text for text, _ in documents], dtype=np.uint64)
    labels = np.array([label for _, label in documents], dtype=np.int32)
    fold = assign_folds(digests, labels, folds, seed)
    assert set(fold) <= set(range(folds))
    for text in np.unique(digests):
        assert len(set(fold[digests == text])) == 1
    _, first = np.unique(digests, return_index=True)
    for label in range(3):
        sizes = np.bincount(fold[first][labels[first] == label], minlength=folds)
        assert sizes.max() - sizes.min() <= 1
    order = np.random.default_rng(1).permutation(len(digests))
    if len(first) == len(digests):  # else an equal text may come first under another label
        assert (assign_folds(digests[order], labels[order], folds, seed) == fold[order]).all()


def test_the_interval_over_folds_is_nadeaus_and_bengios() -> None:
    values = [0.8, 0.82, 0.79, 0.85, 0.81]
    found = over_folds(values)
    spread = np.std(values, ddof=1) * np.sqrt(1 / 5 + 1 / 4)
    wanted = stats.t.interval(0.95, 4, loc=np.mean(values), scale=spread)
    assert (found.lo, found.hi) == pytest.approx(wanted)


def test_every_document_is_tested_on_once(rnnctl: Command, reviews: Path, tmp_path: Path) -> None:
    root = tmp_path / "folds"
    call = ("train", reviews, *SMALL, "--folds", 3, "--run", root, "--format", "json")
    done = rnnctl(*call)
    assert done.code == 0, done.err
    result = json.loads(done.out)
    assert result["documents"] == 78 and result["classes"] == ["bad", "good", "odd"]
    assert [Path(run).name for run in result["runs"]] == ["fold-1", "fold-2", "fold-3"]
    tested = [d.text for run in result["runs"] for d in Run.open(run).heldout("test")]
    assert sorted(tested) == sorted(
        line.partition(",")[0] for line in reviews.read_text().splitlines()[1:]
    )
    accuracy = {one["name"]: one for one in result["measures"]}["accuracy"]
    assert accuracy["mean"] == pytest.approx(np.mean(accuracy["values"]))
    marks = [(Path(run) / "current.json").stat().st_mtime_ns for run in result["runs"]]
    again = rnnctl(*call)
    assert json.loads(again.out)["measures"] == result["measures"]
    assert marks == [(Path(run) / "current.json").stat().st_mtime_ns for run in result["runs"]]
    judged = rnnctl("evaluate", result["runs"][1], reviews, "--format", "json")
    assert judged.code == 0, judged.err
    assert json.loads(judged.out)["classification"]["accuracy"] == accuracy["values"][1]
    other = rnnctl(*call, "--lr", 0.5)
    assert other.code == 1 and "was trained with other settings" in other.err
    table = rnnctl("train", reviews, *SMALL, "--folds", 3, "--run", root).out
    assert "3 folds of" in table and "mean over folds" in table


def test_folds_that_cannot_be(rnnctl: Command, reviews: Path, tmp_path: Path) -> None:
    parts = tmp_path / "parts"
    parts.mkdir()
    for name in ("train", "test"):
        (parts / f"{name}.csv").write_text(reviews.read_text())
    (tmp_path / "plain.txt").write_text("one line\nand another\n" * 50)
    for arguments, error, hint in [
        ((reviews, *SMALL, "--folds", 4), "'odd' has 3 documents, too few for 4", "--folds 3"),
        ((parts, *SMALL, "--folds", 3), "without splits of its own", "name one of its files"),
        ((tmp_path / "plain.txt", "--folds", 3), "for classifiers", "--task classify"),
        (("-", *SMALL, "--folds", 3), "standard input", "write it to a file"),
        ((reviews, *SMALL, "--folds", 3, "--resume", "auto"), "continues by itself", "--run"),
    ]:
        more = ("--run", tmp_path / "root")
        done = rnnctl("train", *arguments, *more, stdin="text,label\na,b\n")
        assert done.code != 0 and error in done.err and hint in done.err, done.err
        assert not (tmp_path / "root").exists()


def test_a_model_of_words_for_single_words_hears_of_letters(
    rnnctl: Command, tmp_path: Path
) -> None:
    path = tmp_path / "names.csv"
    numbers = [k // 2 for k in range(30)] + list(range(30, 60))  # half of them come twice
    rows = [f"{kind}{number}o,{kind}" for kind in ("ka", "mi") for number in numbers]
    path.write_text("text,label\n" + "\n".join(rows) + "\n")
    for level in ("word", "char"):
        call = ("train", path, *SMALL, "--level", level, "--run", tmp_path / level)
        done = rnnctl(*call, "--format", "json")
        assert done.code == 0, done.err
        codes = [one["code"] for one in json.loads(done.out)["warnings"]]
        assert ("single_words" in codes) is (level == "word")
    for more, found in (((), "char"), (("--min-count", 1), "word")):
        run = tmp_path / f"open{len(more)}"
        call = [one for one in ("train", path, *SMALL, *more, "--run", run) if one != "--quiet"]
        done = rnnctl(*call)
        assert done.code == 0, done.err
        assert Run.open(run).config.tokenizer.level == found
        assert ("they are read letter by letter" in done.err) is (found == "char")
        used = rnnctl("classify", run, stdin="ka99o\n")
        assert used.code == 0 and used.out[:3] in ("ka\t", "mi\t")


def test_folds_say_that_a_bag_of_words_does_as_well(
    rnnctl: Command, reviews: Path, tmp_path: Path
) -> None:
    call = ("train", reviews, *SMALL, "--folds", 3, "--run", tmp_path / "three")
    table, found = rnnctl(*call), json.loads(rnnctl(*call, "--format", "json").out)
    (said,) = found["warnings"]
    assert said["code"] == "not_better_than_bag_of_words" and "try " in said["text"]
    assert " ".join(said["text"].split()) in " ".join(table.out.split())
    shares = [one["ci95"] for one in found["measures"] if one["name"] != "loss_nats"]
    assert all(0 <= low <= high <= 1 for low, high in shares)


def test_folds_of_single_words_are_read_letter_by_letter_too(
    rnnctl: Command, tmp_path: Path
) -> None:
    path = tmp_path / "names.csv"
    rows = [f"{kind}{number}o,{kind}" for kind in ("ka", "mi") for number in range(30)]
    path.write_text("text,label\n" + "\n".join(rows) + "\n")
    call = ("train", path, *SMALL, "--folds", 2, "--run", tmp_path / "two", "--format", "json")
    done = rnnctl(*call)
    assert done.code == 0, done.err
    assert json.loads(done.out)["documents"] == 60
    for one in ("fold-1", "fold-2"):
        config = Run.open(tmp_path / "two" / one).config
        assert config.tokenizer.level == "char" and config.corpus.max_tokens == 2000
    assert rnnctl(*call).out == done.out  # nothing is trained again


def test_a_small_corpus_gets_more_patience_than_a_large_one() -> None:
    """A fifth of its validations, where nobody gave another."""
    given = {"corpus": {"sources": ("x.csv",)}, "model": {"task": "classify"}}
    config = resolve(given)
    small, large = (settle(config, np.full(n, 20)).training for n in (400, 50_000))
    assert (small.epochs, small.patience) == (60, 24)
    assert (large.epochs, large.patience) == (4, 4)
    asked = {**given, "training": {"patience": 3}}
    assert settle(resolve(asked), np.full(400, 20), asked).training.patience == 3
