"""A classifier from a language model: how it learns, and `--pretrain`, which trains both."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rnnctl.config import TrainingConfig
from rnnctl.errors import Interrupted
from rnnctl.nn.models import Classifier
from rnnctl.runs import Run
from rnnctl.tasks.loading import load
from rnnctl.tasks.recipes import resolve
from rnnctl.training.events import Step
from rnnctl.training.optimizer import make_optimizer
from rnnctl.training.schedule import Counters, Schedule, schedule_share
from rnnctl.training.train import Options, train

Command = Callable[..., Any]
SMALL = ["--hidden-size", 6, "--embedding-size", 5, "--quiet", "--no-diagnose", "--format", "json"]


def test_the_slanted_triangle_is_the_papers() -> None:
    """Howard & Ruder (2018), equation 3, in whole steps."""
    total, cut_frac, ratio, peak = 200, 0.1, 32, 0.01
    cut = int(total * cut_frac)
    for t in range(total):
        p = t / cut if t < cut else 1 - (t - cut) / (cut * (1 / cut_frac - 1))
        wanted = peak * (1 + p * (ratio - 1)) / ratio
        assert peak * schedule_share(t / total, cut_frac, "slanted") == pytest.approx(wanted)


def test_layers_begin_to_learn_one_by_one() -> None:
    plan = Schedule(TrainingConfig(steps=100, unfreeze=0.1), 1000)
    seen = [plan.layers(plan.progress(Counters(step=step))) for step in (0, 9, 10, 25, 99)]
    assert seen == [1, 1, 2, 3, 10]
    assert Schedule(TrainingConfig(steps=100), 1000).layers(0.0) is None


def test_the_rate_falls_from_layer_to_layer() -> None:
    """Adam's first step moves every weight that has a gradient by its rate."""
    torch.manual_seed(0)
    model = Classifier(vocab_size=7, embedding_size=3, cell="gru", hidden_size=4, num_layers=2,
                       num_classes=2, pool="mean")  # fmt: skip
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    settings = TrainingConfig(layer_factor=2.0, weight_decay=0.0, lr=0.01)
    optimizer = make_optimizer(model, settings)
    ids = torch.arange(7).repeat(4, 1).T
    model(ids, torch.full((4,), 7)).square().sum().backward()
    optimizer.step()
    wanted = {"embedding": 1 / 8, "_l0": 1 / 4, "_l1": 1 / 2, "output": 1}
    for name, value in model.named_parameters():
        moved = (value.detach() - before[name]).abs()
        share = next(share for part, share in wanted.items() if part in name)
        moved = moved[moved > 0]
        assert float(moved.median()) == pytest.approx(0.01 * share, rel=1e-3), name


def test_what_is_closed_has_no_gradient_and_stays(
    rnnctl: Command, review_file: Path, make_run: Any, tmp_path: Path
) -> None:
    model = make_run(review_file.read_text(), level="word", hidden_size=6, embedding_size=5)
    run = tmp_path / "run"
    done = rnnctl(
        "train", review_file, "--task", "classify", "--from", model, "--steps", 10, "--unfreeze",
        0.2, "--layer-factor", 2.6, "--decay", "slanted", "--snapshots", "1", "--run", run,
        "--no-diagnose",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert (
        "fine-tuning: each layer learns 2.6 times slower than the next, one more layer" in done.err
    )
    weights = [load(run, snapshot=one).model.state_dict() for one in Run.open(run).snapshots()]
    changed = {n for n, value in weights[0].items() if not torch.equal(value, weights[1][n])}
    assert changed == {"output.weight", "output.bias"}
    assert all(not torch.equal(value, weights[-1][n]) for n, value in weights[0].items()
               if n != "embedding.weight")  # fmt: skip


def test_all_layers_learn_alike_unless_something_else_is_asked_for(make_run: Any) -> None:
    usual = TrainingConfig()
    for source, task in (
        (make_run("a b c", level="word", labels=("x", "y")), "classify"),
        (make_run("a b c", level="word"), "lm"),
        (make_run("a b c", level="word"), "classify"),
    ):
        found = resolve({"training": {"start_from": str(source)}, "model": {"task": task}}).training
        assert (found.layer_factor, found.unfreeze, found.decay) == (1.0, 0.0, usual.decay)


# -- --pretrain ------------------------------------------------------------------------------------


def test_one_command_trains_both_on_the_training_part(
    rnnctl: Command, review_file: Path, tmp_path: Path
) -> None:
    run, first = tmp_path / "run", tmp_path / "run-lm"
    call = ["train", review_file, "--task", "classify", "--pretrain", "2s", "--run", run]
    done = rnnctl(*call, "--steps", 1, "--lr", 1e-12, *SMALL[:4], "--no-diagnose")
    assert done.code == 0, done.err
    said = f"first a language model of the training texts for 2.0 s ({first}), then the classifier"
    assert said in done.err
    language_model, classifier = load(first), load(run)
    assert language_model.config.model.task == "lm" and language_model.labels == ()
    for split in ("valid", "test"):  # what the classifier is judged by was not read before either
        texts = [d.text for d in Run.open(first).heldout(split)]
        assert texts == [d.text for d in Run.open(run).heldout(split)] and texts
    before, after = language_model.model, classifier.model
    torch.testing.assert_close(after.embedding.weight, before.embedding.weight * before.input_scale)
    torch.testing.assert_close(
        after.recurrent.weights("_l0").w_hh, before.recurrent.weights("_l0").w_hh
    )
    record = Run.open(run).read_result("train")["pretrained"]
    own = Run.open(first).read_result("train")
    assert record["tokens"] == own["tokens"] and record["run"] == str(first)
    assert record["valid_loss_nats"] == own["splits"][1]["losses"][0]["loss_nats"]
    assert "language model" in done.out and f"{first}:" in "".join(done.out.split())
    assert rnnctl("evaluate", first, review_file, "--quiet").code == 0
    assert rnnctl(*call, "--steps", 1, *SMALL).code == 1  # both are there
    assert rnnctl(*call, "--steps", 1, *SMALL, "--overwrite").code == 0


@pytest.mark.parametrize(("epochs", "warned"), [(0.24, True), (1.5, False)])
def test_a_language_model_that_read_too_little_is_warned_of(
    rnnctl: Command, review_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    epochs: float, warned: bool,
) -> None:  # fmt: skip
    from rnnctl.results.training import PretrainedRecord
    from rnnctl.training import train as training

    record = PretrainedRecord(run="runs/x-lm", seconds=9.0, tokens=99, epochs=epochs)
    monkeypatch.setattr(training, "record_of", lambda config: record)
    call = ("train", review_file, "--task", "classify", *SMALL, "--steps", 2)
    done = rnnctl(*call, "--run", tmp_path / "run")
    assert done.code == 0, done.err
    codes = [one["code"] for one in json.loads(done.out)["warnings"]]
    assert ("short_pretraining" in codes) is warned
    assert ("had read 24 % of its text" in done.out) is warned


@pytest.mark.parametrize("when", ["language model", "classifier"])
def test_what_was_stopped_goes_on(
    rnnctl: Command, review_file: Path, tmp_path: Path, when: str
) -> None:
    given = {
        "corpus": {"sources": (str(review_file),)},
        "model": {"task": "classify", "hidden_size": 6, "embedding_size": 5},
        "training": {"pretrain_s": 2.0, "steps": 5},
    }
    run, steps = tmp_path / "run", 0
    with pytest.raises(Interrupted) as stopped:
        for event in train(resolve(given), run, Options(given=given)):
            classifies = (run / "tokenizer.json").exists()
            if isinstance(event, Step) and classifies == (when == "classifier"):
                steps += 1
                if steps == 3:
                    signal.raise_signal(signal.SIGINT)
    assert f"--resume {run}" in str(stopped.value.hint)
    done = rnnctl("train", "--resume", run, "--quiet", "--no-diagnose", "--format", "json")
    assert done.code == 0, done.err
    result = json.loads(done.out)
    assert result["steps"] == 5 and result["pretrained"]["seconds"] > 1
    assert Run.open(tmp_path / "run-lm").current.finished
    again = rnnctl("train", "--config", run, "--run", tmp_path / "again", *SMALL[4:])
    assert again.code == 0, again.err
    one, two = (load(path).model.state_dict() for path in (run, tmp_path / "again"))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_texts_without_labels_are_for_the_language_model(rnnctl: Command, tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    for folder in ("pos", "neg", "unsup"):
        (tmp_path / "texts" / folder).mkdir(parents=True)
        for number in range(20):
            words = " ".join(draw.choice(["one", "two", "three", "four"], 20))
            extra = "rare rare" if folder == "unsup" else folder
            (tmp_path / "texts" / folder / f"{number}.txt").write_text(f"{words} {extra}")
    call = ("train", tmp_path / "texts", "--task", "classify", "--run", tmp_path / "run")
    done = rnnctl(*call, "--pretrain", "1s", "--steps", 2, "--no-diagnose", "--batch-size", 4)
    assert done.code == 0, done.err
    assert "20 texts without a label: for the language model" in done.err
    vocabulary = load(tmp_path / "run").tokenizer.to_dict()["model"]["vocab"]
    assert any("rare" in token for token in vocabulary)
    assert load(tmp_path / "run").labels == ("neg", "pos")


def labelled_and_not(draw: Any, count: int) -> list[tuple[str, str | None]]:
    """Texts with a label, and as many with a rare word and none."""
    made: list[tuple[str, str | None]] = []
    for number in range(count):
        words = " ".join(draw.choice(["one", "two", "three", "four"], 12))
        label = ("pos", "neg")[number % 2]
        made += [(f"{words} {label} {number}", label), (f"{words} rare rare {number}", None)]
    return made


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "parquet"])
def test_rows_without_a_label_are_for_the_language_model(
    rnnctl: Command, tmp_path: Path, kind: str
) -> None:
    rows, path = labelled_and_not(np.random.default_rng(0), 40), tmp_path / f"texts.{kind}"
    write_table(path, rows)
    call = ("train", path, "--task", "classify", "--run", tmp_path / "run")
    refused = rnnctl(*call, "--steps", 2)
    assert refused.code == 1 and "the label field 'label' is empty" in refused.err
    assert "--pretrain" in refused.err.partition("hint: ")[2]
    done = rnnctl(*call, "--pretrain", "1s", "--steps", 2, "--no-diagnose", "--batch-size", 4)
    assert done.code == 0, done.err
    assert "40 rows without a label (line" in done.err and "for the language model only" in done.err
    classifier, first = load(tmp_path / "run"), load(tmp_path / "run-lm")
    assert any("rare" in token for token in classifier.tokenizer.to_dict()["model"]["vocab"])
    assert classifier.labels == ("neg", "pos")
    for split in ("valid", "test"):  # the classifier alone says what is held out
        kept = [d.text for d in first.run.heldout(split)]
        assert kept == [d.text for d in classifier.run.heldout(split)] and kept
        assert not any("rare" in text for text in kept)
    sums = {name: Run.open(tmp_path / name).read_result("train") for name in ("run", "run-lm")}
    assert sums["run-lm"]["train_tokens"] > 1.8 * sums["run"]["train_tokens"]
    again = rnnctl("evaluate", tmp_path / "run", path, "--format", "json", "--quiet")
    assert again.code == 0, again.err
    other = tmp_path / f"other.{kind}"
    write_table(other, rows[:6])
    refused = rnnctl("evaluate", tmp_path / "run", other)
    assert refused.code == 1 and "is empty" in refused.err and "--pretrain" not in refused.err


def write_table(path: Path, rows: list[tuple[str, str | None]]) -> None:
    """As csv, tsv, JSON lines or parquet, by the ending."""
    if path.suffix == ".parquet":
        import pyarrow
        import pyarrow.parquet

        texts, labels = zip(*rows, strict=True)
        table = pyarrow.table({"text": texts, "label": labels})
        pyarrow.parquet.write_table(table, path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps({"text": t, "label": one}) + "\n" for t, one in rows))
    else:
        sign = {".csv": ",", ".tsv": "\t"}[path.suffix]
        path.write_text(
            f"text{sign}label\n" + "".join(f"{t}{sign}{one or ''}\n" for t, one in rows)
        )


def test_what_is_judged_is_not_read_before_without_its_label(
    rnnctl: Command, tmp_path: Path
) -> None:
    """Nor are unlabelled rows of the test table, and a table without any label is refused."""
    rows = labelled_and_not(np.random.default_rng(1), 30)
    labelled = [row for row in rows if row[1] is not None]
    (tmp_path / "texts").mkdir()
    unlabelled = [(labelled[0][0], None), ("only only here", None)]
    write_table(tmp_path / "texts" / "test.csv", [*labelled[:10], ("never never seen", None)])
    write_table(tmp_path / "texts" / "train.csv", [*labelled[10:], *unlabelled])
    call = ("train", tmp_path / "texts", "--task", "classify", "--pretrain", "1s", "--steps", 2,
            "--no-diagnose", "--batch-size", 4, "--run", tmp_path / "run")  # fmt: skip
    done = rnnctl(*call)
    assert done.code == 0, done.err
    said = "3 rows without a label (lines 22, 23, 12): 2 for the language model only"
    assert f"{said}, 1 of validation and test left out" in " ".join(done.err.split())
    words = load(tmp_path / "run").tokenizer.to_dict()["model"]["vocab"]
    assert any("only" in word for word in words) and not any("never" in word for word in words)
    write_table(tmp_path / "none.csv", [(text, None) for text, _ in rows])
    refused = rnnctl("train", tmp_path / "none.csv", "--label-field", "label", *call[2:8],
                     "--run", tmp_path / "none")  # fmt: skip
    assert refused.code == 1 and "no row has a label" in refused.err


def test_folds_have_a_language_model_each(
    rnnctl: Command, review_file: Path, tmp_path: Path
) -> None:
    call = ("train", review_file, "--task", "classify", *SMALL, "--pretrain", "1s", "--steps", 2,
            "--folds", 2, "--run", tmp_path / "folds")  # fmt: skip
    assert rnnctl(*call).code == 0
    assert rnnctl(*call).code == 0
    for fold in ("fold-1", "fold-2"):
        first, run = (Run.open(tmp_path / "folds" / name) for name in (f"{fold}-lm", fold))
        assert [d.text for d in first.heldout("test")] == [d.text for d in run.heldout("test")]


def test_what_cannot_be(
    rnnctl: Command, review_file: Path, text_file: Path, make_run: Any, tmp_path: Path
) -> None:
    classify = ("--task", "classify", "--pretrain", "1s")
    other = make_run("a b", level="word")
    (tmp_path / "taken-lm").mkdir()
    (tmp_path / "taken-lm" / "notes.txt").write_text("mine")
    for arguments, code, error, hint in [
        ((review_file, *classify, "--from", other), 2, "--pretrain and --from both", "leave one"),
        ((review_file, *classify, "--vectors", "x"), 2, "--vectors", ""),
        (("-", *classify), 2, "reads its corpus twice", "write it to a file"),
        ((text_file, "--pretrain", "1s"), 2, "--pretrain is for classifiers", "--task classify"),
        ((review_file, "--task", "classify", "--pretrain", "soon"), 2, "is not a time", "75s"),
        ((review_file, "--task", "classify", "--layer-factor", "0.5"), 2, "at least 1", ""),
    ]:
        done = rnnctl("train", *arguments, "--run", tmp_path / "run", stdin="text,label\n")
        assert done.code == code and error in done.err and hint in done.err, done.err
        assert not (tmp_path / "run").exists()
    done = rnnctl("train", review_file, *classify, "--run", tmp_path / "taken")
    assert done.code == 1 and "taken-lm exists already" in done.err, done.err
    assert not (tmp_path / "taken").exists()
