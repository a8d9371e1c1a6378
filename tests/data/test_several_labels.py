"""Texts with several labels: read, trained, thresholds, judged, used."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import f1_score

from rnnctl.config import CorpusConfig
from rnnctl.data.corpus import open_corpus
from rnnctl.data.labels import labels_of
from rnnctl.errors import DataError
from rnnctl.runs import Run
from rnnctl.tasks.loading import load
from rnnctl.tasks.quality import Calibration, JudgedSeveral, best_threshold, nats

Command = Callable[..., object]
SMALL = [
    "--task", "classify", "--steps", 80, "--hidden-size", 8, "--embedding-size", 8, "--quiet",
    "--no-diagnose", "--lr", 0.02, "--dropout", 0, "--dropout-embedding", 0, "--split", "60/20/20",
]  # fmt: skip
TOPICS = ("sun", "sea", "city")


def rows() -> list[tuple[str, list[str]]]:
    """Each topic is named in the text or not."""
    found = []
    for i in range(240):
        topics = [topic for k, topic in enumerate(TOPICS) if (i + i // 7) >> k & 1]
        found.append((f"a text {i} of {' and '.join(topics)} {'x ' * (i % 4)}", topics))
    return found


def write(folder: Path, form: str) -> Path:
    """The rows that have a label, in one of the ways to write them."""
    some = [(text, topics) for text, topics in rows() if topics]
    path = folder / {"list": "t.jsonl", "fasttext": "t.txt", "joined": "t.csv"}[form]
    if form == "list":
        lines = [json.dumps({"text": text, "label": topics}) for text, topics in some]
    elif form == "fasttext":
        lines = [f"{' '.join(f'__label__{t}' for t in topics)} {text}" for text, topics in some]
    else:
        lines = ["text,label", *(f"{text},{'|'.join(topics)}" for text, topics in rows())]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("form", ["list", "fasttext", "joined"])
def test_each_way_to_write_them_is_read(tmp_path: Path, form: str) -> None:
    separator = "|" if form == "joined" else None
    config = CorpusConfig(
        sources=(str(write(tmp_path, form)),), split="100/0/0", label_separator=separator
    )
    corpus = open_corpus(config, task="classify", cache=tmp_path / "cache")
    assert corpus.label_names == ("city", "sea", "sun")
    found = [(d.text.strip(), sorted(labels_of(d.label or ""))) for d in corpus.documents("train")]
    wanted = [(text.strip(), sorted(topics)) for text, topics in rows()]
    if form != "joined":
        wanted = [one for one in wanted if one[1]]
    assert found == wanted


def test_they_are_trained_judged_and_used(rnnctl: Command, tmp_path: Path) -> None:
    path, run = write(tmp_path, "joined"), tmp_path / "run"
    call = ("train", path, *SMALL, "--label-separator", "|", "--run", run, "--format", "json")
    done = rnnctl(*call)
    assert done.code == 0, done.err
    trained = json.loads(done.out)["splits"][-1]["classification"]
    assert trained["labels"] == ["city", "sea", "sun"] and trained["confusion"] == []
    assert trained["micro_f1"] > 0.9 and trained["accuracy"] > 0.7
    assert all(0 <= one["threshold"] <= 1 for one in trained["classes"])
    loaded = load(run)
    assert loaded.calibration.several and len(loaded.calibration.thresholds) == 3
    judged = rnnctl("evaluate", run, "--format", "json")
    assert judged.code == 0, judged.err
    assert json.loads(judged.out)["classification"]["micro_f1"] == trained["micro_f1"]
    sliced = rnnctl("evaluate", run, path, "--by", "length", "--format", "json")
    assert sliced.code == 0 and json.loads(sliced.out)["slices"], sliced.err
    held = Run.open(run).heldout("test")
    lines = "\n".join(document.text for document in held)
    said = rnnctl("classify", run, "--format", "json", stdin=lines + "\n").out.splitlines()
    predictions = [json.loads(line)["predictions"] for line in said]
    truth = np.array([[n in labels_of(d.label or "") for n in loaded.labels] for d in held])
    given = np.array([[name in one for name in loaded.labels] for one in predictions])
    assert f1_score(truth, given, average="micro") == pytest.approx(trained["micro_f1"])
    label, chance = rnnctl("classify", run, stdin="a text 3 of sun and sea\n").out.split("\t")
    assert label.count(",") == chance.count(",")
    table = rnnctl("evaluate", run).out
    assert "micro-F1" in table and "threshold" in table
    more = rnnctl("train", "--resume", run, "--steps", 82, "--no-diagnose", "--quiet")
    assert more.code == 0, more.err


def test_what_is_not_possible_with_them(rnnctl: Command, tmp_path: Path) -> None:
    path, run = write(tmp_path, "joined"), tmp_path / "run"
    small = [*SMALL, "--steps", 2]
    done = rnnctl("train", path, *small, "--label-separator", "|", "--run", run)
    assert done.code == 0, done.err
    weighted = rnnctl(
        "train", path, *small, "--label-separator", "|", "--class-weights", "balanced", "--run",
        tmp_path / "other",
    )  # fmt: skip
    assert weighted.code == 2 and "one label each" in weighted.err
    told = rnnctl("train", path, *small, "--run", tmp_path / "other")
    assert told.code != 0 and "label" in told.err
    diagnosed = rnnctl("diagnose", run)
    assert diagnosed.code == 1 and "several labels" in diagnosed.err
    (tmp_path / "new.csv").write_text("text,label\na text of sun,sun|moon\na text of sea,sea\n")
    unknown = rnnctl("evaluate", run, tmp_path / "new.csv")
    assert unknown.code == 1 and "'moon'" in unknown.err


def test_a_separator_that_joins_nothing_leaves_single_labels(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("text,label\n" + "".join(f"text {i},{'ab'[i % 2]}\n" for i in range(20)))
    config = CorpusConfig(sources=(str(path),), label_separator="|")
    corpus = open_corpus(config, task="classify", cache=tmp_path / "cache")
    assert corpus.label_names == ("a", "b") and corpus.label_sets == ()
    path.write_text("text,label\n" + "".join(f"text {i},a|\n" for i in range(20)))
    with pytest.raises(DataError, match="a classifier needs two"):
        open_corpus(config, task="classify", cache=tmp_path / "cache")


def test_a_threshold_has_the_largest_f1() -> None:
    draw = np.random.default_rng(0)
    for _ in range(20):
        truth = draw.random(60) < 0.3
        chances = np.round(np.clip(draw.normal(0.3 + 0.3 * truth, 0.2), 0, 1), 1)  # with ties
        found = best_threshold(chances, truth)
        best = max(f1_score(truth, chances >= t) for t in np.unique(chances))
        assert f1_score(truth, chances >= found) == pytest.approx(best)
    assert best_threshold(np.array([0.9, 0.1, 0.2]), np.array([True, False, False])) == 0.5


def test_their_loss_and_calibration() -> None:
    logits = np.array([[2.0, -1.0], [0.0, 3.0]])
    truth = np.array([[True, False], [False, True]])
    chances = 1 / (1 + np.exp(-logits))
    wanted = -np.log(np.where(truth, chances, 1 - chances)).sum(1)
    np.testing.assert_allclose(nats(logits, truth), wanted)
    draw = np.random.default_rng(1)
    honest = draw.normal(size=(3000, 4)) * 2
    labels = draw.random((3000, 4)) < 1 / (1 + np.exp(-honest))
    fitted = Calibration.fit(2.5 * honest, labels)
    assert fitted.temperature == pytest.approx(2.5, rel=0.1) and len(fitted.thresholds) == 4
    found = JudgedSeveral(2.5 * honest, labels, ("a", "b", "c", "d"), fitted).classification()
    assert found.calibration_error < 0.02 < (found.calibration_error_before or 0)
    kept = Calibration.from_facts(json.loads(fitted.to_bytes()))
    assert kept.thresholds == fitted.thresholds
