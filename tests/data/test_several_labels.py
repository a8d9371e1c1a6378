"""Texts with several labels: read, trained, thresholds, judged, used."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import f1_score
from sklearn.utils.class_weight import compute_class_weight

from rnnctl.baselines.linear import NaiveBayesLinear
from rnnctl.config import CorpusConfig
from rnnctl.data.corpus import open_corpus
from rnnctl.data.labels import labels_of
from rnnctl.errors import DataError
from rnnctl.runs import Run
from rnnctl.tasks.classification import side_weights, weighted_entropy
from rnnctl.tasks.loading import load
from rnnctl.tasks.quality import Calibration, Judged, best_threshold, nats

Command = Callable[..., object]
SMALL = [
    "--task", "classify", "--steps", 80, "--hidden-size", 8, "--embedding-size", 8, "--quiet",
    "--no-diagnose", "--lr", 0.02, "--dropout", 0, "--dropout-embedding", 0, "--split", "60/20/20",
    "--vectors", "none",
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
    assert any("(3 labels, several a row)" in note for note in corpus.notes)
    found = [(d.text.strip(), sorted(labels_of(d.label or ""))) for d in corpus.documents("train")]
    wanted = [(text.strip(), sorted(topics)) for text, topics in rows()]
    if form != "joined":
        wanted = [one for one in wanted if one[1]]
    assert found == wanted


def test_an_empty_list_of_labels_is_read_where_a_text_may_have_none(
    rnnctl: Command, tmp_path: Path
) -> None:
    path = tmp_path / "t.jsonl"
    lines = [json.dumps({"text": text, "label": topics}) for text, topics in rows()]
    path.write_text("\n".join(lines) + "\n")
    call = ("train", path, *SMALL, "--steps", 2, "--run", tmp_path / "run")
    done = rnnctl(*call)
    assert done.code == 1 and "the list of labels in the field 'label' is empty" in done.err
    assert "--label-separator ," in done.err
    assert rnnctl(*call, "--label-separator", ",").code == 0


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
    (tmp_path / "weights.csv").write_text("moon,2\n")
    weighted = rnnctl(
        "train", path, *small, "--label-separator", "|", "--class-weights", tmp_path /
        "weights.csv", "--run", tmp_path / "other",
    )  # fmt: skip
    assert weighted.code == 2 and "no training document has the label 'moon'" in weighted.err
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
    found = Judged(2.5 * honest, labels, ("a", "b", "c", "d"), fitted).classification()
    assert found.calibration_error < 0.02 < (found.calibration_error_before or 0)
    kept = Calibration.from_facts(json.loads(fitted.to_bytes()))
    assert kept.thresholds == fitted.thresholds


# -- as with single labels: a bag of words, mistakes, weights, reasons, an export --------


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with t.csv and a run on it that is right most of the time."""
    from rnnctl.__main__ import main

    folder = tmp_path_factory.mktemp("several")
    path = write(folder, "joined")
    call = ["train", path, *SMALL, "--label-separator", "|", "--run", folder / "run"]
    assert main([str(one) for one in call]) == 0
    return folder


def test_a_bag_of_words_has_a_classifier_for_each_label() -> None:
    texts = [text for text, _ in rows()]
    truth = np.array([[topic in topics for topic in TOPICS] for _, topics in rows()])
    found = NaiveBayesLinear(texts[:120], truth[:120], classes=3).given(texts[120:])
    each = [
        NaiveBayesLinear(texts[:120], truth[:120, k].astype(int), classes=2).predict(texts[120:])
        for k in range(3)
    ]
    np.testing.assert_array_equal(found, np.array(each).T.astype(bool))
    assert (found == truth[120:]).mean() > 0.95
    always = np.column_stack([np.ones(120, bool), np.zeros(120, bool), truth[:120, 0]])
    found = NaiveBayesLinear(texts[:120], always, classes=3).given(texts[120:])
    assert found[:, 0].all() and not found[:, 1].any()


def test_the_report_has_a_bag_of_words_and_the_mistakes(
    rnnctl: Command, trained: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    call = (
        "train",
        trained / "t.csv",
        *SMALL,
        "--steps",
        8,
        "--label-separator",
        "|",
        "--run",
        run,
    )
    assert rnnctl(*call).code == 0  # too few steps to be always right
    loaded, held = load(run), Run.open(run).heldout("test")
    judged = rnnctl("evaluate", run, "--format", "json")
    assert judged.code == 0, judged.err
    found = json.loads(judged.out)["classification"]
    truth = np.array([[n in labels_of(d.label or "") for n in loaded.labels] for d in held])
    corpus = open_corpus(loaded.config.corpus, task="classify")
    known = list(corpus.documents("train"))
    bag = NaiveBayesLinear(
        [d.text for d in known],
        np.array([[n in labels_of(d.label or "") for n in loaded.labels] for d in known]),
        classes=3,
    ).given([d.text for d in held])
    assert found["bag_of_words"]["micro_f1"] == pytest.approx(f1_score(truth, bag, average="micro"))
    assert found["bag_of_words"]["accuracy"] == pytest.approx((bag == truth).all(1).mean())
    answers = rnnctl("classify", run, "--format", "json", stdin="\n".join(
        d.text for d in held) + "\n").out.splitlines()  # fmt: skip
    given = np.array([[n in json.loads(a)["predictions"] for n in loaded.labels] for a in answers])
    wrong = {(n, ""): int((truth & ~given)[:, k].sum()) for k, n in enumerate(loaded.labels)}
    wrong |= {("", n): int((given & ~truth)[:, k].sum()) for k, n in enumerate(loaded.labels)}
    said = {(one["truth"], one["predicted"]): one["n"] for one in found["confusions"]}
    assert said == {key: n for key, n in wrong.items() if n and key in said}
    assert len(said) == min(5, sum(n > 0 for n in wrong.values())) and said
    for one in found["confusions"]:
        chances = [example["probability"] for example in one["examples"]]
        assert len(chances) == min(3, one["n"])
        assert chances == sorted(chances, reverse=one["predicted"] != "")
    table = rnnctl("evaluate", run).out
    assert "bag of words" in table and (" missed: " in table or " wrongly given: " in table)


def test_weights_are_scikit_learns_for_each_label() -> None:
    draw = np.random.default_rng(0)
    truth = draw.random((200, 3)) < [0.5, 0.1, 0.9]
    found = side_weights("balanced", ("a", "b", "c"), truth.sum(0), 200)
    for k in range(3):
        wanted = compute_class_weight("balanced", classes=np.array([False, True]), y=truth[:, k])
        np.testing.assert_allclose(found[:, k], wanted)
    given = side_weights({"b": 5.0}, ("a", "b", "c"), truth.sum(0), 200)
    assert given[1, 1] / given[0, 1] == pytest.approx(5)
    np.testing.assert_allclose(given[:, [0, 2]], 1)
    share = truth.mean(0)
    best = min(
        (-(given[1, 1] * share[1] * np.log(q) + given[0, 1] * (1 - share[1]) * np.log(1 - q)))
        for q in np.linspace(0.001, 0.999, 9999)
    )
    assert weighted_entropy(share[1:2], given[:, 1:2]) == pytest.approx(best, abs=1e-6)


def test_rare_labels_are_given_with_balanced_weights(rnnctl: Command, tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    lines = []
    for i in range(400):
        rare = draw.random() < 0.08
        words = ["hint" if draw.random() < (0.5 if rare else 0.1) else "word" for _ in range(3)]
        lines.append(f"{' '.join(words)} {i},{'usual|rare' if rare else 'usual'}")
    (tmp_path / "t.csv").write_text("text,label\n" + "\n".join(lines) + "\nnone at all,\n")
    chances = {}
    for name, more in (("plain", []), ("balanced", ["--class-weights", "balanced"])):
        done = rnnctl("train", tmp_path / "t.csv", *SMALL, "--label-separator", "|", "--run",
                      tmp_path / name, "--no-calibrate", *more)  # fmt: skip
        assert done.code == 0, done.err
        said = rnnctl("classify", tmp_path / name, "--format", "json", stdin="hint word word\n").out
        chances[name] = json.loads(said)["probabilities"]["rare"]
    assert chances["balanced"] > 1.5 * chances["plain"]


@pytest.mark.parametrize("method", ["gradients", "occlusion"])
def test_why_each_label_is_given(
    rnnctl: Command, trained: Path, tmp_path: Path, method: str
) -> None:
    """Of a text without any, why the most probable one is or is not."""
    texts = "a text 3 of sun and sea\na text of nothing\n"
    call = ("classify", trained / "run", "--explain", method)
    done = rnnctl(*call, "--format", "json", "--html", tmp_path / "page.html", stdin=texts)
    assert done.code == 0, done.err
    both, neither = map(json.loads, done.out.splitlines())
    assert both["predictions"] == ["sea", "sun"] and neither["predictions"] == []
    assert [why["label"] for why in both["explanations"]] == ["sea", "sun"]
    assert len(neither["explanations"]) == 1 and "explanation" not in both
    for answer in (both, neither):
        for why in answer["explanations"]:
            chance = answer["probabilities"][why["label"]]
            assert 1 / (1 + np.exp(-why["log_odds"])) == pytest.approx(chance, abs=1e-5)
            assert sum(one["share"] for one in why["words"]) + why["rest"] == pytest.approx(
                why["log_odds"], abs=1e-3
            )
    for why in both["explanations"]:
        assert max(why["words"], key=lambda one: one["share"])["word"] == why["label"]
    table = rnnctl(*call, stdin=texts).out
    assert "log-odds of sea +" in table and "log-odds of sun +" in table
    assert "(none)" in table and "\n\n" not in table
    page = (tmp_path / "page.html").read_text()
    assert page.count("<article>") == 2 and page.count('<p class="text">') == 3
    assert page.count("not given</span>") == 1 and "against not having it" in page
    cells = rnnctl(*call, "--format", "markdown", stdin=texts).out
    assert "sea: sea +" in cells and "; sun: sun +" in cells
    blank = rnnctl(*call, "--format", "markdown", stdin="\n").out
    assert blank.rstrip("\n").endswith("|  |")
    import rnnctl as library

    (found,) = library.load(trained / "run").classify("sun and sea", explain=method)
    assert found.explanation is None
    assert [why.label for why in found.explanations] == ["sea", "sun"]
    overall = rnnctl("classify", trained / "run", "--explain", method, "--words-overall",
                     trained / "t.csv", "--format", "json")  # fmt: skip
    assert overall.code == 0, overall.err
    first = {}
    for one in json.loads(overall.out)["words"]:
        first.setdefault(one["label"], one["word"])
    assert first == {"city": "city", "sea": "sea", "sun": "sun"}


def test_their_export_says_each_label_with_its_threshold(
    rnnctl: Command, trained: Path, tmp_path: Path
) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    done = rnnctl("export", trained / "run", "--onnx", tmp_path / "model.onnx", "--int8")
    assert done.code == 0, done.err
    code = (tmp_path / "README.md").read_text().split("```python\n")[1].split("```")[0]
    texts = ["a text 3 of sun and sea", "a text of city"]
    code = "\n".join(
        f"texts = {texts}" if line.startswith("texts") else line for line in code.splitlines()
    )
    done = rnnctl("export", trained / "run", "--onnx", tmp_path / "model.onnx", "--overwrite")
    assert done.code == 0, done.err
    out = (
        subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        .stdout.replace("\n ", " ")
        .splitlines()
    )
    said = rnnctl("classify", trained / "run", "--format", "json", stdin="\n".join(texts)).out
    for line, answer in zip(out, map(json.loads, said.splitlines()), strict=True):
        assert line.startswith(repr(answer["predictions"])), (line, answer)
        chances = [float(one) for one in line.split("] [")[1].rstrip("]").split()]
        np.testing.assert_allclose(chances, list(answer["probabilities"].values()), atol=1e-5)
    html = (tmp_path / "README.md").read_text()
    assert "at least as\nprobable as its threshold" in html or "as its threshold" in html
