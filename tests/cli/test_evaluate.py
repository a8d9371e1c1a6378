"""`rnnctl evaluate` as a command: which part is judged, the numbers, errors."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score

from rnnctl.__main__ import main
from rnnctl.inference.classify import Predictor
from rnnctl.inference.evaluate import by_value
from rnnctl.runs import Run, heldout
from rnnctl.tasks.loading import load
from rnnctl.training import prepare as preparation

Command = Callable[..., object]
TEXT = "the cat sat on the mat. the dog ate the hat.\n\n" * 4


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with text.txt and a run on it that holds out a tenth."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "text.txt").write_text("".join(f"{i} bottles on the wall. " for i in range(400)))
    options = ["--hidden-size", 8, "--steps", 2, "--batch-size", 4, "--bptt", 16, "--no-diagnose"]
    sources = [folder / "text.txt", "--run", folder / "run", "--split", "80/10/10"]
    assert main(["train", *map(str, [*sources, *options])]) == 0
    return folder


def evaluate(rnnctl: Command, *arguments: object, **options: object) -> dict[str, object]:
    done = rnnctl("evaluate", *arguments, "--format", "json", **options)
    assert done.code == 0, done.err
    result: dict[str, object] = json.loads(done.out)
    return result


def test_a_running_text_by_both_protocols(
    rnnctl: Command, make_run: Callable[..., Path], tmp_path: Path
) -> None:
    run = make_run(TEXT)
    (tmp_path / "new.txt").write_text("the cat ate the mat. " * 30)
    result = evaluate(rnnctl, run, tmp_path / "new.txt", "--window", 16)
    streaming, cold = result["losses"]
    assert (streaming["protocol"], cold["protocol"], cold["window"]) == ("streaming", "cold", 16)
    assert result["part"] == "all"
    scored = json.loads(rnnctl("score", run, tmp_path / "new.txt", "--format", "json").out)
    assert streaming["tokens"] == 630
    assert streaming["loss_nats"] == pytest.approx(scored["total"]["nats_per_token"], rel=1e-5)
    assert streaming["bits_per_byte"] == pytest.approx(streaming["loss_nats"] / math.log(2))
    kept = Run.open(run).read_result("evaluate")
    assert kept["losses"] == result["losses"]


def test_a_window_is_at_most_the_text(
    rnnctl: Command, make_run: Callable[..., Path], tmp_path: Path
) -> None:
    run = make_run(TEXT)
    (tmp_path / "new.txt").write_text("the cat ate the mat. " * 30)
    streaming, cold = evaluate(rnnctl, run, tmp_path / "new.txt", "--window", 10**8)["losses"]
    assert cold["window"] == 630
    assert cold["loss_nats"] == pytest.approx(streaming["loss_nats"], rel=1e-5)


def test_too_little_memory_is_said_with_what_needs_less(
    rnnctl: Command, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr("rnnctl.inference.evaluate.evaluate", full)
    done = rnnctl("evaluate", trained / "run")
    assert done.code == 1
    assert done.err.startswith("error: there is not enough memory\n\nhint: a smaller --window")


def test_a_run_on_documents_is_judged_by_document(
    rnnctl: Command, tmp_path: Path, shared_documents: Path
) -> None:
    result = evaluate(rnnctl, shared_documents / "run", shared_documents / "new.txt")
    (loss,) = result["losses"]
    assert loss["protocol"] == "document"
    lines = rnnctl(
        "score", shared_documents / "run", shared_documents / "new.txt", "--documents", "paragraph"
    ).out
    rows = [line.split("\t") for line in lines.splitlines()]
    assert loss["tokens"] == sum(int(row[1]) for row in rows)
    total = sum(float(row[0]) for row in rows)
    assert loss["loss_nats"] * loss["tokens"] == pytest.approx(total, rel=1e-5)


@pytest.fixture(scope="module")
def shared_documents(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("documents")
    for name, count in (("text.txt", 120), ("new.txt", 20)):
        (folder / name).write_text("".join(f"{i} bottles.\nOn walls.\n\n" for i in range(count)))
    options = ["--hidden-size", 8, "--steps", 2, "--batch-size", 4, "--bptt", 16, "--no-diagnose"]
    sources = [folder / "text.txt", "--run", folder / "run", "--documents", "paragraph"]
    assert main(["train", *map(str, [*sources, *options])]) == 0
    return folder


def test_the_text_it_was_trained_on_is_not_new(rnnctl: Command, trained: Path) -> None:
    done = rnnctl("evaluate", trained / "run", trained / "text.txt", "--format", "json")
    result = json.loads(done.out)
    assert result["part"] == "test"
    assert "trained on this corpus: only its test part is read" in done.err
    size = len((trained / "text.txt").read_text())
    assert result["losses"][0]["chars"] == pytest.approx(size / 10, abs=2)
    own = evaluate(rnnctl, trained / "run", trained / "text.txt", "--part", "train")
    assert (
        "say nothing about new text"
        in rnnctl("evaluate", trained / "run", trained / "text.txt", "--part", "train").err
    )
    assert own["losses"][0]["chars"] == pytest.approx(size * 0.8, abs=2)


def test_without_a_corpus_the_kept_text_is_judged(rnnctl: Command, trained: Path) -> None:
    kept = evaluate(rnnctl, trained / "run")
    of_file = evaluate(rnnctl, trained / "run", trained / "text.txt")
    assert kept["losses"] == of_file["losses"]
    assert kept["part"] == "test"
    valid = evaluate(rnnctl, trained / "run", "--part", "valid")
    assert valid["part"] == "valid"
    other = rnnctl("evaluate", trained / "run", "--part", "all")
    assert other.code == 2
    assert "keeps only text that was held out" in other.err and "CORPUS" in other.err


def test_what_is_only_a_part_of_the_held_out_text_is_called_so(
    rnnctl: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (heldout, preparation):
        monkeypatch.setattr(module, "KEEP_BYTES", 2000)
    text = tmp_path / "text.txt"
    text.write_text("".join(f"{i} bottles.\nOn walls.\n\n" for i in range(600)))
    sizes = ["--hidden-size", 8, "--steps", 1, "--batch-size", 4, "--bptt", 16, "--no-diagnose"]
    judged = {}
    for name, options in (("running", []), ("documents", ["--documents", "paragraph"])):
        run = tmp_path / name
        done = rnnctl("train", text, "--run", run, "--split", "80/10/10", *options, *sizes)
        assert done.code == 0, done.err
        judged[name] = evaluate(rnnctl, run)
    assert judged["running"]["part"] == "the first 1,000 bytes of test"
    assert judged["running"]["losses"][0]["bytes"] == 1000
    kept = len(Run.open(tmp_path / "documents").heldout("test"))
    assert 20 < kept < 60
    assert judged["documents"]["part"] == f"a sample of {kept} documents of test"
    table = rnnctl("evaluate", tmp_path / "documents").out
    assert f"(a sample of {kept} documents of test)" in table


@pytest.mark.parametrize("noted", [[], {"test": 3}, {"test": {"documents": None, "bytes": 1}}])
def test_a_run_that_says_nonsense_of_its_held_out_text_is_damaged(
    rnnctl: Command, trained: Path, tmp_path: Path, noted: object
) -> None:
    shutil.copytree(trained / "run", tmp_path / "run")
    run = Run.open(tmp_path / "run")
    facts = json.loads((run.path / "corpus.json").read_bytes())
    run.put_file("corpus.json", json.dumps({**facts, "heldout": noted}).encode())
    done = rnnctl("evaluate", run.path)
    assert done.code == 1
    assert "corpus.json does not say how much was held out" in done.err


@pytest.mark.parametrize("part", ["valid", "train", "all"])
def test_the_sums_of_documents_say_whose_they_are(
    rnnctl: Command, shared_documents: Path, part: str
) -> None:
    run = shared_documents / "run"
    evaluate(rnnctl, run, shared_documents / "text.txt", "--part", part)
    kept = Run.open(run).read_result("evaluate")
    assert kept["documents"]["split"] == kept["part"] == part


def test_all_of_a_corpus_is_all_of_it(rnnctl: Command, trained: Path, tmp_path: Path) -> None:
    corpus = tmp_path / "divided"
    corpus.mkdir()
    for name, count in (("train", 50), ("valid", 30), ("test", 20)):
        (corpus / f"{name}.txt").write_text("".join(f"{i} new bottles.\n" for i in range(count)))
    sizes = {
        part: evaluate(rnnctl, trained / "run", corpus, "--part", part)
        for part in ("train", "valid", "test", "all")
    }
    chars = {part: result["losses"][0]["chars"] for part, result in sizes.items()}
    assert {part: result["part"] for part, result in sizes.items()} == {n: n for n in sizes}
    assert chars["all"] == chars["train"] + chars["valid"] + chars["test"]
    whole = evaluate(rnnctl, trained / "run", trained / "text.txt", "--part", "all")
    assert whole["losses"][0]["chars"] == len((trained / "text.txt").read_text())
    assert whole["part"] == "all"
    assert "say nothing about new text" in whole["warnings"][0]["text"]


def test_a_part_that_there_is_not_is_named(rnnctl: Command, tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("".join(f"{i} bottles on the wall. " for i in range(400)))
    sizes = ["--hidden-size", 8, "--steps", 1, "--batch-size", 4, "--bptt", 16, "--no-diagnose"]
    run = tmp_path / "run"
    assert rnnctl("train", text, "--run", run, "--split", "90/10/0", *sizes).code == 0
    done = rnnctl("evaluate", run, text, "--part", "test")
    assert done.code == 1
    assert "no part of it was held out as test" in done.err and "hint: use --part valid" in done.err


def test_the_json_result_holds_the_warnings(rnnctl: Command, trained: Path) -> None:
    call = ("evaluate", trained / "run", trained / "text.txt", "--part", "train", "--format")
    (warning,) = json.loads(rnnctl(*call, "json").out)["warnings"]
    assert "say nothing about new text" in warning["text"]
    assert "say nothing about new text" in rnnctl(*call, "markdown").out
    table = rnnctl(*call, "table")
    assert "say nothing about new text" in table.err
    assert "say nothing about new text" not in table.out


def test_a_classifier_against_sklearn(
    rnnctl: Command, make_run: Callable[..., Path], tmp_path: Path
) -> None:
    run = make_run(TEXT, labels=("cat", "dog", "hat"), level="word", pool="mean")
    animals = ["cat", "dog", "hat"]
    rows = [
        {"text": f"the {animals[i % 3]} {'ate ' * (i % 7)}", "label": animals[i * i % 3]}
        for i in range(60)
    ]
    corpus = tmp_path / "labelled.jsonl"
    corpus.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = evaluate(rnnctl, run, corpus)["classification"]
    predictions = Predictor(load(run)).predict([row["text"] for row in rows])
    truth, said = [row["label"] for row in rows], [p.label for p in predictions]
    assert found["accuracy"] == pytest.approx(accuracy_score(truth, said))
    assert found["macro_f1"] == pytest.approx(
        f1_score(truth, said, average="macro", zero_division=0)
    )
    assert found["n"] == np.sum(found["confusion"]) == 60
    low, high = found["accuracy_ci95"]
    assert low <= found["accuracy"] <= high
    nats = [
        -math.log(p.probabilities[animals.index(label)])
        for p, label in zip(predictions, truth, strict=True)
    ]
    assert found["loss_nats"] == pytest.approx(np.mean(nats), rel=1e-5)
    table = rnnctl("evaluate", run, corpus).out
    assert "truth \\ prediction" in table and "macro-F1" in table


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (
            '{"text": "a", "label": "cow"}\n{"text": "b", "label": "cat"}\n',
            "1 label that the run lacks: 'cow'",
        ),
        ('{"text": "a"}\n{"text": "b"}\n', "label"),
        ("", "labelled.jsonl"),
    ],
)
def test_labels_that_do_not_fit(
    rnnctl: Command, make_run: Callable[..., Path], tmp_path: Path, content: str, error: str
) -> None:
    run = make_run(TEXT, labels=("cat", "dog"))
    (tmp_path / "labelled.jsonl").write_text(content)
    done = rnnctl("evaluate", run, tmp_path / "labelled.jsonl")
    assert done.code == 1
    assert error in done.err and "hint: " in done.err


def test_errors_say_what_and_where(rnnctl: Command, make_run: Callable[..., Path]) -> None:
    run = make_run(TEXT)
    assert "keeps no held-out text" in rnnctl("evaluate", run).err
    assert rnnctl("evaluate", run).code == 2
    missing = rnnctl("evaluate", run, "missing.txt")
    assert (missing.code, "missing.txt does not exist" in missing.err) == (1, True)
    piped = evaluate(rnnctl, run, "-", stdin="the cat sat. " * 20)
    assert piped["losses"][0]["tokens"] == 260


def test_what_would_do_nothing_is_refused(
    rnnctl: Command, make_run: Callable[..., Path], tmp_path: Path
) -> None:
    done = rnnctl("evaluate", make_run(TEXT), "--text-field", "x")
    assert done.code == 2 and "--text-field has no effect without a CORPUS" in done.err
    table = tmp_path / "table.csv"
    table.write_text("text,label\nthe cat,good\n")
    done = rnnctl("evaluate", make_run(TEXT, labels=("bad", "good")), table, "--window", 3)
    assert done.code == 2 and "--window is for language models" in done.err


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with reviews.csv (text, label, place, words) and a classifier trained on it."""
    folder = tmp_path_factory.mktemp("labelled")
    rows = ["text,label,place,rank"]
    for i in range(240):
        label, filler = ("good", "bad")[i % 2], "we sat by the wall " * (1 + i % 9)
        text = f"{label} {filler} {i}" if i % 3 else f"{filler} {i} {label}"
        rows.append(f"{text},{label},{('late', 'early', 'early')[i % 3]},{i}")
    (folder / "reviews.csv").write_text("\n".join(rows) + "\n")
    options = ["--task", "classify", "--steps", 40, "--hidden-size", 8, "--embedding-size", 8]
    options += [
        "--dropout",
        0,
        "--dropout-embedding",
        0,
        "--split",
        "50/25/25",
        "--no-diagnose",
        "--quiet",
        "--lr",
        0.02,
    ]
    sources = [folder / "reviews.csv", "--run", folder / "run"]
    assert main(["train", *map(str, [*sources, *options])]) == 0
    return folder


def test_the_whole_report_of_a_classifier(rnnctl: Command, labelled: Path) -> None:
    kept = Run.open(labelled / "run").read_result("train")
    trained = kept["splits"][-1]["classification"]
    result = evaluate(rnnctl, labelled / "run", labelled / "reviews.csv")
    found = result["classification"]
    assert found["accuracy"] == trained["accuracy"]
    assert found["loss_nats"] == pytest.approx(trained["loss_nats"], rel=1e-4)
    assert found["bag_of_words"] == trained["bag_of_words"]
    assert found["bag_of_words"]["accuracy"] == 1.0  # one word decides
    assert found["bag_of_words"]["trained_on"] == kept["splits"][0]["classification"]["n"]
    assert found["majority"] == pytest.approx(0.5, abs=0.02)
    assert [one["label"] for one in found["classes"]] == ["bad", "good"]
    table = rnnctl("evaluate", labelled / "run").out
    for word in ("bag of words", "precision", "support", "Confusion matrix", "majority share"):
        assert word in table


def test_measures_by_a_column(rnnctl: Command, labelled: Path) -> None:
    result = evaluate(rnnctl, labelled / "run", labelled / "reviews.csv", "--by", "PLACE")
    slices = {one["value"]: one for one in result["slices"]}
    assert set(slices) == {"early", "late"} and result["by"] == "PLACE"
    whole = result["classification"]
    right = sum(one["n"] * one["classification"]["accuracy"] for one in slices.values())
    assert right == pytest.approx(whole["n"] * whole["accuracy"])
    loss = sum(one["n"] * one["classification"]["loss_nats"] for one in slices.values())
    assert loss == pytest.approx(whole["n"] * whole["loss_nats"])
    for one in slices.values():
        low, high = one["classification"]["accuracy_ci95"]
        assert low <= one["classification"]["accuracy"] <= high
    by_hand = [line.split(",") for line in (labelled / "reviews.csv").read_text().splitlines()[1:]]
    said = Predictor(load(labelled / "run")).predict([row[0] for row in by_hand])
    everything = evaluate(
        rnnctl, labelled / "run", labelled / "reviews.csv", "--by", "place", "--part", "all"
    )
    for one in everything["slices"]:
        hits = [
            p.label == row[1]
            for p, row in zip(said, by_hand, strict=True)
            if row[2] == one["value"]
        ]
        assert one["n"] == len(hits)
        assert one["classification"]["accuracy"] == pytest.approx(np.mean(hits))
    table = rnnctl("evaluate", labelled / "run", labelled / "reviews.csv", "--by", "place").out
    assert "By place" in table and "accuracy (%)" in table


def test_measures_by_length_and_by_number(rnnctl: Command, labelled: Path) -> None:
    run, corpus = labelled / "run", labelled / "reviews.csv"
    by_length = evaluate(rnnctl, run, "--by", "length")["slices"]
    assert [one["value"] for one in by_length] == ["1–25 words", "26–50 words"]
    quarters = evaluate(rnnctl, run, corpus, "--by", "rank", "--part", "all")["slices"]
    assert [one["value"] for one in quarters] == [
        "0 to 60", "61 to 120", "121 to 180", "181 to 239",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("values", "order"),
    [
        (["late", "early", "middle", "early"], ["early", "middle", "late"]),
        (["High", "low", "Medium"], ["low", "Medium", "High"]),
        (["10", "9", "2.5"], ["2.5", "9", "10"]),
        (["4 stars", "1 star", "10 stars"], ["1 star", "4 stars", "10 stars"]),
        (["room", "food", "staff", "food"], ["room", "food", "staff"]),
        (["late", "room", "early"], ["late", "room", "early"]),
        (["", "b", "", "a"], ["b", "a", "(empty)"]),
        (["Mar", "Jan", "Feb"], ["Jan", "Feb", "Mar"]),
    ],
)
def test_values_stand_in_their_natural_order(values: list[str], order: list[str]) -> None:
    slices = by_value(values, "column")
    assert [value for value, _ in slices] == order
    for value, some in slices:
        assert some.tolist() == [(one or "(empty)") == value for one in values]


def test_quarters_of_numbers_leave_room_for_documents_without_one() -> None:
    slices = by_value(["", *map(str, range(40))], "column")
    assert [value for value, _ in slices] == [
        "0 to 10",
        "11 to 20",
        "21 to 30",
        "31 to 39",
        "(empty)",
    ]
    assert sum(some for _, some in slices).tolist() == [1] * 41


def test_by_what_there_is_not_is_refused(
    rnnctl: Command, labelled: Path, trained: Path, shared_documents: Path
) -> None:
    run, corpus = labelled / "run", labelled / "reviews.csv"
    for arguments, error, hint in [
        ((run, "--by", "place"), "has no columns", "name the corpus"),
        ((run, corpus, "--by", "plac"), "has no such column", "did you mean `place`?"),
        ((run, corpus, "--by", "text", "--part", "all"), "different values", "at most 20"),
        ((trained / "run", "--by", "length"), "a running text has no documents", "--documents"),
    ]:
        done = rnnctl("evaluate", *arguments)
        assert done.code == 2 and error in done.err and hint in done.err, done.err
    texts = shared_documents / "text.txt"
    done = rnnctl("evaluate", shared_documents / "run", texts, "--by", "place")
    assert done.code == 2 and "plain text has no columns" in done.err
    found = evaluate(rnnctl, shared_documents / "run", texts, "--by", "length", "--part", "all")
    (whole,) = found["losses"]
    total = sum(one["loss"]["loss_nats"] * one["loss"]["tokens"] for one in found["slices"])
    assert total == pytest.approx(whole["loss_nats"] * whole["tokens"], rel=1e-6)
    for one in found["slices"]:
        low, high = one["loss_ci95"]
        assert low <= one["loss"]["loss_nats"] <= high


def test_a_run_without_a_calibration_is_read_as_before(
    rnnctl: Command, labelled: Path, tmp_path: Path
) -> None:
    shutil.copytree(labelled / "run", tmp_path / "run")
    run = Run.open(tmp_path / "run")
    calibrated = load(tmp_path / "run").calibration
    assert calibrated.documents == len(run.heldout("valid"))
    run.put_file("calibration.json", b'{"temperature": 2.0, "documents": 60}\n')
    cooler = json.loads(rnnctl("classify", run.path, "--format", "json", stdin="good").out)
    run.put_file("calibration.json", None)
    plain = json.loads(rnnctl("classify", run.path, "--format", "json", stdin="good").out)
    odds = [math.log(p / (1 - p)) for p in (cooler["probability"], plain["probability"])]
    assert odds[0] == pytest.approx(odds[1] / 2, rel=1e-3)
    run.put_file("calibration.json", b'{"temperature": 0}')
    broken = rnnctl("classify", run.path, stdin="good")
    assert broken.code == 1 and "holds no calibration" in broken.err


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "text\n" + "".join(f"the film number {k}\n" for k in range(30))),
        ("b.jsonl", "".join(f'{{"text": "film {k}"}}\n' for k in range(30))),
        ("c.txt", "".join(f"film{k} was a film\n" for k in range(30))),
    ],
)
def test_texts_without_labels_cannot_be_evaluated_but_classified(
    rnnctl: Any, make_run: Any, tmp_path: Path, name: str, content: str
) -> None:
    """The options that `train` has for them are none of this command."""
    run = make_run("the film number 1", labels=("bad", "good"))
    (tmp_path / name).write_text(content)
    outcome = rnnctl("evaluate", run, tmp_path / name)
    assert outcome.code == 1 and outcome.out == "" and "no labels" in outcome.err
    assert "--task" not in outcome.err
    assert f"hint: add a column `label`, or let `rnnctl classify {run}`" in outcome.err
