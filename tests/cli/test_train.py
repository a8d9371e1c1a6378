"""`train`, `info` and `runs` as they are called."""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from rnnctl import integrity
from rnnctl.compare import collect
from rnnctl.reports import training
from rnnctl.reports.as_table import as_table, fits_screen
from rnnctl.results.base import Warning_
from rnnctl.results.training import TrainingPlan, TrainResult
from rnnctl.runs import Run
from rnnctl.statistics import still_falling
from rnnctl.tasks.loading import load, read_weights
from rnnctl.training import state
from rnnctl.training.checkpoint import unpublish
from rnnctl.training.schedule import Counters
from rnnctl.training.state import counters_from

CommandLine = Callable[..., Any]
MakeRun = Callable[..., Path]
SMALL = ("--hidden-size", 12, "--embedding-size", 8, "--batch-size", 4, "--bptt", 16)
LABELLED = (*SMALL[:-2], "--evaluate-every", 6, "--no-diagnose", "--threads", 1)
QUICK = (*SMALL, "--evaluate-every", 6, "--no-diagnose", "--threads", 1, "--precision", "fp32")


@pytest.fixture
def text(tmp_path: Path) -> Path:
    draw = random.Random(0)
    words = ["one", "two", "three", "good", "bad"]
    path = tmp_path / "words.txt"
    path.write_text("\n".join(" ".join(draw.choices(words, k=6)) for _ in range(300)))
    return path


@pytest.fixture
def reviews(tmp_path: Path) -> Path:
    draw = random.Random(1)
    path = tmp_path / "reviews.csv"
    rows = ["text,label"]
    for _ in range(200):
        label = draw.choice(["good", "bad"])
        rows.append(f"one two {label} three,{label}")
    path.write_text("\n".join(rows))
    return path


@pytest.fixture
def run(rnnctl: CommandLine, text: Path, tmp_path: Path) -> Path:
    path = tmp_path / "run"
    outcome = rnnctl("train", text, "--run", path, "--steps", 12, *QUICK)
    assert outcome.code == 0, outcome.err
    return path


@pytest.mark.parametrize("older", [False, True])
def test_a_classifiers_learning_curve_is_of_its_accuracy(
    rnnctl: CommandLine, text: Path, tmp_path: Path, older: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Also where it goes on from a checkpoint that knows no accuracies."""
    path = tmp_path / "classifier"
    rows = [f"{w} film number {k},{w}" for k in range(100) for w in ("good", "bad")]
    (tmp_path / "films.csv").write_text("text,label\n" + "\n".join(rows))
    train = ("train", tmp_path / "films.csv", "--task", "classify", "--run", path, *LABELLED)
    assert rnnctl(*train, "--steps", 12).code == 0

    def as_older(values: dict[str, Any]) -> Counters:
        return counters_from({k: v for k, v in values.items() if k != "accuracies"})

    with monkeypatch.context() as patch:
        if older:
            patch.setattr(state, "counters_from", as_older)
        assert rnnctl("train", "--resume", path, "--steps", 18, "-q").code == 0
    points = Run.open(path).read_result("train")["curve"]
    assert [point["step"] for point in points] == [6, 12, 18]
    known = [point["accuracy"] is not None for point in points]
    assert known == [not older, not older, True]
    assert 0 <= points[-1]["accuracy"] <= 1
    learning = collect.read_member(path).curves["learning"]
    assert learning.y_unit == "validation accuracy" and learning.y[-1] == points[-1]["accuracy"]
    lm = tmp_path / "language"
    assert rnnctl("train", text, "--run", lm, "--steps", 6, *QUICK).code == 0
    assert [one["accuracy"] for one in Run.open(lm).read_result("train")["curve"]] == [None]


def untimed(path: Path) -> list[dict[str, Any]]:
    return [{k: v for k, v in e.items() if k != "timing"} for e in Run.open(path).log()]


def test_a_training_says_what_it_did(rnnctl: CommandLine, text: Path, tmp_path: Path) -> None:
    path = tmp_path / "r"
    outcome = rnnctl("train", text, "--run", path, "--steps", 12, *QUICK)
    assert outcome.code == 0
    for word in ("streaming", "valid", "test", "bits/byte"):
        assert word in outcome.out
    assert "cold" in rnnctl("info", path).out
    assert "step 12" in outcome.err and f"rnnctl generate {path}" in outcome.err
    assert "\x1b" not in outcome.err
    loaded = load(path)
    assert not loaded.model.training and loaded.labels == ()
    assert loaded.run.heldout("valid") and loaded.run.heldout_running("valid")


@pytest.mark.parametrize("kind", ["lm", "classify"])
def test_the_report_of_a_training_fits_on_a_screen(
    rnnctl: CommandLine, text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """The headline near the top and at the end."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)  # a path longer than a line would take one more
    corpus = Path("a.csv")
    corpus.write_text("text,label\n" + "".join(f"it was {k},{k % 5}\n" for k in range(200)))
    source = (text,) if kind == "lm" else (corpus, "--task", "classify")
    options = ("--hidden-size", 8, "--steps", 8, "--batch-size", 4, "--diagnose")
    outcome = rnnctl("train", *source, "--run", "r", *options)
    assert outcome.code == 0, outcome.err
    lines = outcome.out.splitlines()
    assert len(lines) <= 24, outcome.out
    assert all(len(line) <= 80 or " " not in line for line in lines), outcome.out
    said = "Test perplexity: " if kind == "lm" else "Test accuracy: "
    heads = [k for k, line in enumerate(lines) if line.startswith(said)]
    assert len(heads) == 2 and heads[0] <= 2 and heads[1] >= len(lines) - 3, outcome.out
    assert "Memory horizon: " in outcome.out


def test_without_validation_text_no_loss_is_called_valid(
    rnnctl: CommandLine, text: Path, tmp_path: Path
) -> None:
    options = ("--run", tmp_path / "r", "--steps", 12, *QUICK)
    outcome = rnnctl("train", text, "--split", "100/0/0", *options)
    assert outcome.code == 0
    assert "loss 1" in outcome.err or "loss 2" in outcome.err
    assert re.search(r"valid \d", outcome.err) is None
    assert "warning: no text is left for validation" in outcome.err


def test_json_is_data_and_quiet_is_quiet(rnnctl: CommandLine, text: Path, tmp_path: Path) -> None:
    out = tmp_path / "result.json"
    command = ("train", text, "--run", tmp_path / "r", "--steps", 6, *QUICK, "--quiet")
    outcome = rnnctl(*command, "--format", "json", "-o", out)
    assert (outcome.code, outcome.out, outcome.err) == (0, "", "")
    result = json.loads(out.read_text())
    assert result["schema_id"] == "rnnctl.train/1" and result["steps"] == 6
    losses = {(s["split"], x["protocol"]): x for s in result["splits"] for x in s["losses"]}
    assert set(losses) == {
        (s, p) for s in ("train", "valid", "test") for p in ("streaming", "cold")
    }
    assert losses["valid", "cold"]["window"] == 64


def test_a_run_that_is_there_stays(rnnctl: CommandLine, text: Path, run: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in run.rglob("*")}
    outcome = rnnctl("train", text, "--run", run, "--steps", 3, *QUICK)
    assert outcome.code == 1 and "exists already" in outcome.err and "--overwrite" in outcome.err
    assert {p: p.stat().st_mtime_ns for p in run.rglob("*")} == before


def test_the_same_command_with_resume_auto(rnnctl: CommandLine, text: Path, tmp_path: Path) -> None:
    path = tmp_path / "r"
    command = ("train", text, "--run", path, "--steps", 9, *QUICK, "--resume", "auto")
    assert rnnctl(*command).code == 0
    log = untimed(path)
    assert rnnctl(*command).code == 0
    assert untimed(path) == log
    longer = ("train", text, "--run", path, "--steps", 15, *QUICK, "--resume", "auto")
    outcome = rnnctl(*longer)
    assert outcome.code == 0 and "steps 15 instead of 9" in outcome.err
    assert untimed(path)[-1]["step"] == 15


def test_what_a_resumed_run_cannot_take_is_refused(
    rnnctl: CommandLine, run: Path, tmp_path: Path
) -> None:
    before = {p: p.stat().st_mtime_ns for p in run.rglob("*")}
    outcome = rnnctl("train", "--resume", run, "--from", run, "--no-diagnose")
    assert outcome.code == 2
    assert "--from is not given in" in outcome.err and "--run DIR" in outcome.err
    outcome = rnnctl("train", "--resume", run, "--overwrite", "--no-diagnose")
    assert outcome.code == 2
    assert "--overwrite has no effect with --resume, which continues a run" in outcome.err
    assert {p: p.stat().st_mtime_ns for p in run.rglob("*")} == before


def test_a_run_at_its_end_says_so_when_it_is_resumed(rnnctl: CommandLine, run: Path) -> None:
    outcome = rnnctl("train", "--resume", run, "--no-diagnose")
    assert outcome.code == 0
    assert "ended at step 12: nothing is left to train" in outcome.err
    outcome = rnnctl("train", "--resume", run, "--budget", "0.001s", "--no-diagnose")
    assert outcome.code == 0
    assert "--steps not given instead of 12, --budget 0.001s instead of not given" in outcome.err
    outcome = rnnctl("train", "--resume", run, "--steps", 14, "--no-diagnose")
    assert outcome.code == 0
    assert "continuing after step 12" in outcome.err and "nothing is left" not in outcome.err


def test_a_config_repeats_a_run(rnnctl: CommandLine, run: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    outcome = rnnctl("train", "--config", run / "config.json", "--run", again, "--no-diagnose")
    assert outcome.code == 0, outcome.err
    assert untimed(again) == untimed(run)
    one, other = (Run.open(path).weights_path.read_bytes() for path in (run, again))
    assert one == other


def test_a_config_of_a_budget_run_takes_its_steps(
    rnnctl: CommandLine, text: Path, tmp_path: Path
) -> None:
    first, again = tmp_path / "first", tmp_path / "again"
    outcome = rnnctl("train", text, "--run", first, "--budget", "0.5s", *SMALL, "--no-diagnose")
    assert outcome.code == 0, outcome.err
    outcome = rnnctl("train", "--config", first / "config.json", "--run", again, "--no-diagnose")
    assert outcome.code == 0, outcome.err
    assert untimed(again) == untimed(first)
    one, other = (Run.open(path).weights_path.read_bytes() for path in (first, again))
    assert one == other


def test_a_classifier_from_a_language_model_takes_its_words_and_layers(
    rnnctl: CommandLine, reviews: Path, text: Path, tmp_path: Path
) -> None:
    lm, classifier = tmp_path / "lm", tmp_path / "classifier"
    command = ("train", text, "--level", "word", "--run", lm, "--steps", 4, *QUICK, "--layers", 1)
    assert rnnctl(*command, "--no-tied").code == 0
    command = ("train", reviews, "--task", "classify", "--run", classifier, "--from", lm)
    plain = ("--batch-size", 4, "--no-diagnose", "--threads", 1, "--precision", "fp32")
    outcome = rnnctl(
        *command, "--steps", 1, "--lr", "1e-12", *plain
    )  # level and sizes are the lm's
    assert outcome.code == 0, outcome.err
    said = "".join(outcome.out.split())  # a long path may be cut at the end of a line
    assert f"beganwithembedding,recurrentlayersof{lm};new:outputlayer" in said
    before, after = (read_weights(Run.open(path).weights_path) for path in (lm, classifier))
    assert torch.allclose(before["embedding.weight"], after["embedding.weight"], atol=1e-6)
    layer = "recurrent.weight_hh_l0"
    assert torch.allclose(before[layer], after[layer], atol=1e-6)
    tokenizers = [(path / "tokenizer.json").read_bytes() for path in (lm, classifier)]
    assert tokenizers[0] == tokenizers[1]
    loaded = load(classifier)
    assert loaded.labels == ("bad", "good") and loaded.config.tokenizer.level == "word"
    outcome = rnnctl(*command, "--level", "char", "--overwrite")
    assert outcome.code == 2 and "were made with word" in outcome.err


def test_from_a_run_that_does_not_fit(
    rnnctl: CommandLine, text: Path, run: Path, tmp_path: Path
) -> None:
    command = ("train", text, "--from", run, "--run", tmp_path / "x", "--steps", 2)
    outcome = rnnctl(*command, "--hidden-size", 20, "--no-diagnose")
    assert outcome.code == 1 and "nothing of" in outcome.err and "--hidden-size" in outcome.err


def test_standard_input_is_a_corpus(rnnctl: CommandLine, text: Path, tmp_path: Path) -> None:
    command = ("train", "-", "--run", tmp_path / "r", "--steps", 2, *QUICK)
    assert rnnctl(*command, stdin=text.read_bytes()).code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("missing.txt",), 1, "missing.txt"),
        (("{text}", "--steps", 0), 2, "--steps 0"),
        (("{text}", "--hidden-size", 0), 2, "--hidden-size 0"),
        (("{text}", "--dropout-input", 1.5), 2, "--dropout-input 1.5"),
        (("{text}", "--budget", "soon"), 2, "--budget soon"),
        (("{text}", "--budget", "0s"), 2, "--budget 0s"),
        (("{text}", "--batch-size", 100_000), 1, "--batch-size"),
        (("{text}", "--bidirectional"), 2, "--bidirectional is for classifiers"),
        (("{text}", "--init", "chrono"), 2, "--horizon"),
        (("{text}", "--cell", "ltsm"), 2, "lstm"),
        (("{text}", "--sedd", 1), 2, "--seed"),
        (("{text}", "--device", "cuda:7"), 2, "--device cuda:7"),
        (("{text}", "--resume", "nowhere"), 1, "nowhere does not exist"),
        (("{text}", "--resume", "auto"), 2, "name it: --run DIR"),
        (("--config", "{text}"), 1, "words.txt"),
        (("{text}", "--from", "nowhere"), 1, "nowhere does not exist"),
    ],
)
def test_bad_calls_get_one_clear_error_and_leave_nothing(
    rnnctl: CommandLine,
    text: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[Any, ...],
    code: int,
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    given = [str(argument).format(text=text) for argument in arguments]
    outcome = rnnctl("train", *given, "--quiet")
    assert outcome.code == code, outcome.err
    assert said in outcome.err and outcome.err.startswith("error: ")
    assert "Traceback" not in outcome.err and outcome.out == ""
    assert not (tmp_path / "runs").exists()


def test_one_label_is_not_enough(rnnctl: CommandLine, tmp_path: Path) -> None:
    path = tmp_path / "one.csv"
    path.write_text("text,label\n" + "".join(f"words {n},same\n" for n in range(50)))
    outcome = rnnctl("train", path, "--task", "classify", "--run", tmp_path / "r", "--quiet")
    assert outcome.code == 1 and "same" in outcome.err and "label" in outcome.err
    assert not (tmp_path / "r").exists()


def test_what_could_not_be_opened_again_is_not_begun(
    rnnctl: CommandLine, text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(integrity, "MAX_SMALL", 6000)
    table = tmp_path / "many.csv"
    table.write_text("text,label\n" + "".join(f"words,label of {n % 500}\n" for n in range(2000)))
    command = ("--run", tmp_path / "r", "--quiet", "--steps", 2, *LABELLED)
    outcome = rnnctl("train", table, "--task", "classify", *command)
    assert outcome.code == 1 and "500 labels are too many" in outcome.err
    names = [tmp_path / f"{n:0100}.txt" for n in range(60)]
    for name in names:
        name.write_text(text.read_text())
    outcome = rnnctl("train", *names, *command)
    assert outcome.code == 2 and "name the folder" in outcome.err
    assert not (tmp_path / "r").exists()


def test_info_shows_what_a_run_is(rnnctl: CommandLine, run: Path) -> None:
    outcome = rnnctl("info", run)
    assert outcome.code == 0
    for word in ("finished", "hidden_size", "12", "streaming", "torch", "checkpoints"):
        assert word in outcome.out
    found = json.loads(rnnctl("info", run, "--format", "json").out)
    assert found["settings"]["model"]["hidden_size"] == 12
    assert found["training"]["environment"]["threads"] == 1


def test_runs_shows_how_far_an_unfinished_run_got(
    rnnctl: CommandLine, run: Path, tmp_path: Path
) -> None:
    unpublish(Run.open(run))
    (line,) = json.loads(rnnctl("runs", tmp_path, "--format", "json").out)["runs"]
    assert line["state"] == "resumable" and line["steps"] > 0
    assert re.fullmatch(r"\d\.\d{3} nats", line["best"])
    next((run / "checkpoints").glob("0*/state.json")).write_text('{"counters": {"step": "x"}}')
    (line,) = json.loads(rnnctl("runs", tmp_path, "--format", "json").out)["runs"]
    assert line["steps"] is None and not line["best"]


@pytest.mark.parametrize(
    ("measured", "shown"),
    [
        ({"status": "undefined", "estimate": None}, ""),
        ({"status": "insufficient_data", "estimate": None}, ""),
        ({"status": "censored", "estimate": None, "censored_at": 60}, "> 60 words"),
        ({"status": "ok", "estimate": 12.0}, "12 words"),
    ],
)
def test_runs_shows_a_horizon_or_nothing(run: Path, measured: dict[str, Any], shown: str) -> None:
    from rnnctl.cli.runs import horizon_of

    assert horizon_of(Run.open(run), {"diagnosis": {"unit": "words", **measured}}) == shown


def test_runs_lists_and_verifies(rnnctl: CommandLine, run: Path, tmp_path: Path) -> None:
    outcome = rnnctl("runs", tmp_path, "--verify", "--format", "markdown")  # never wrapped
    assert outcome.code == 0 and "finished" in outcome.out and "bits/byte" in outcome.out
    victim = next((run / "checkpoints").glob("0*/state.safetensors"))
    data = bytearray(victim.read_bytes())
    data[-1] ^= 1
    victim.write_bytes(data)
    outcome = rnnctl("runs", tmp_path, "--verify")
    assert outcome.code == 1 and "state.safetensors is altered" in " ".join(outcome.out.split())
    assert rnnctl("runs", tmp_path).code == 0
    assert rnnctl("runs", tmp_path / "nowhere").code == 1


def test_a_place_that_cannot_be_written_is_found_before_training(
    rnnctl: CommandLine, text: Path, tmp_path: Path
) -> None:
    """It was found after the training, when the result was there to be written."""
    output = tmp_path / "no" / "folder.json"
    outcome = rnnctl("train", text, "--run", tmp_path / "r", "-o", output, "--steps", 2, *QUICK)
    assert outcome.code == 1 and "there is no folder" in outcome.err
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize("wrong", ["missing.json", "words.txt"])
def test_wrong_settings_files_are_named(
    rnnctl: CommandLine, text: Path, tmp_path: Path, wrong: str
) -> None:
    outcome = rnnctl("train", "--config", tmp_path / wrong, "--run", tmp_path / "r")
    assert outcome.code == 1 and f"--config {tmp_path / wrong}" in outcome.err
    assert "config.json of a run" in outcome.err


def test_settings_that_do_not_exist_are_named(
    rnnctl: CommandLine, run: Path, tmp_path: Path
) -> None:
    settings = json.loads((run / "config.json").read_text())
    settings["training"]["learnrate"] = 1
    (tmp_path / "other.json").write_text(json.dumps(settings))
    outcome = rnnctl("train", "--config", tmp_path / "other.json", "--run", tmp_path / "r")
    assert outcome.code == 1
    assert "training.learnrate is not a setting" in outcome.err
    outcome = rnnctl("train", "--config", tmp_path, "--run", tmp_path / "r")
    assert outcome.code == 1 and "the folder holds no config.json" in outcome.err


def test_a_folder_that_is_no_run_is_not_to_be_resumed_or_overwritten(
    rnnctl: CommandLine, text: Path, tmp_path: Path
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/a.txt").write_text("mine")
    for more in ((), ("--overwrite",)):
        outcome = rnnctl("train", text, "--run", tmp_path / "mine", *QUICK, *more)
        assert outcome.code == 1 and "choose another --run" in outcome.err
        assert "--resume" not in outcome.err and "replace it" not in outcome.err
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["a.txt"]


def test_commands_in_hints_can_be_copied(
    rnnctl: CommandLine, text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    command = ("train", text, "--run", "my run", "--steps", 2, *QUICK)
    outcome = rnnctl(*command)
    assert "`rnnctl generate 'my run'` uses it, `rnnctl diagnose 'my run'` measures" in outcome.err
    outcome = rnnctl(*command)
    assert "`rnnctl train --resume 'my run'`" in outcome.err


def test_options_are_named_as_they_are_written(rnnctl: CommandLine, run: Path) -> None:
    outcome = rnnctl("train", "--resume", run, "--layers", 2)
    assert outcome.code == 2 and "--layers is 1" in outcome.err
    outcome = rnnctl("train", "--layers", 0)
    assert outcome.code == 2 and "--layers 0" in outcome.err


def test_labels_are_shown_before_training(
    rnnctl: CommandLine, reviews: Path, tmp_path: Path
) -> None:
    outcome = rnnctl(
        "train", reviews, "--task", "classify", "--run", tmp_path / "r", "--steps", 2, *LABELLED
    )
    assert "2 labels: bad, good" in outcome.err


@pytest.mark.parametrize("kind", [("--documents", "paragraph"), ()])
def test_losses_on_the_way_have_the_spelling_in_them_as_the_result_has(
    rnnctl: CommandLine, tmp_path: Path, kind: tuple[str, ...]
) -> None:
    draw = random.Random(2)
    corpus = tmp_path / "words.txt"
    words = [f"{draw.choice('abcdefgh')}{draw.randrange(30)}" for _ in range(6000)]
    corpus.write_text("\n\n".join(" ".join(words[k : k + 10]) for k in range(0, 6000, 10)))
    words_level = ("--level", "word", "--vocab-size", 40, *kind)
    outcome = rnnctl("train", corpus, "--run", tmp_path / "r", "--steps", 12, *words_level, *QUICK)
    assert outcome.code == 0, outcome.err
    result = Run.open(tmp_path / "r").read_result("train")
    train, valid, _ = (split["losses"][0] for split in result["splits"])
    assert valid["unknown_rate"] > 0.3
    assert result["curve"][-1]["value"] == pytest.approx(valid["loss_nats"], rel=1e-4)
    assert result["curve"][-1]["tokens"] == result["tokens"]
    assert f"valid {valid['loss_nats']:.3f}" in outcome.err
    last = [event for event in Run.open(tmp_path / "r").log() if event["event"] == "step"][-1]
    assert last["loss_nats"] == pytest.approx(train["loss_nats"], rel=0.1)
    assert 0.5 < result["trivial_nats"] / valid["loss_nats"] < 1.1
    assert "spelling not counted" not in outcome.out


def test_labels_in_any_script_are_learnt_shown_and_given(
    rnnctl: CommandLine, tmp_path: Path
) -> None:
    labels = ("می\u200cپسندم", "👩\u200d🚀", "pas\u00a0mal")
    rows = [{"text": f"one {k} two", "label": labels[k % 3]} for k in range(60)]
    corpus, run = tmp_path / "reviews.jsonl", tmp_path / "r"
    corpus.write_text("".join(json.dumps(row) + "\n" for row in rows))
    outcome = rnnctl("train", corpus, "--task", "classify", "--run", run, "--steps", 2, *LABELLED)
    assert outcome.code == 0, outcome.err
    assert all(label in outcome.err for label in labels)
    assert rnnctl("classify", run, stdin="one").out.split("\t")[0] in labels
    table = rnnctl("evaluate", run, corpus, "--part", "train").out
    assert all(label in table for label in labels)


@pytest.mark.parametrize("character", ["\t", "\x1b"])
def test_a_label_with_a_control_character_is_refused_by_its_name(
    rnnctl: CommandLine, tmp_path: Path, character: str
) -> None:
    corpus = tmp_path / "reviews.jsonl"
    corpus.write_text(json.dumps({"text": "a", "label": f"x{character}y"}) + "\n")
    outcome = rnnctl("train", corpus, "--task", "classify", "--run", tmp_path / "r")
    assert outcome.code == 1
    assert f"(U+{ord(character):04X})" in outcome.err.splitlines()[-3]
    assert "hint: replace it by a space or remove it" in outcome.err


@pytest.mark.parametrize("name", ["missing.txt", "x" * 5000])
def test_a_corpus_that_is_not_there_is_missed_before_torch_is_loaded(
    tmp_path: Path, name: str
) -> None:
    program = (
        "import sys; from rnnctl.__main__ import main\n"
        "code = 0\n"
        "try:\n    code = main(['train', sys.argv[1]])\n"
        "except SystemExit as end:\n    code = end.code\n"
        "print(code, 'torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, name], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.stdout.split() == ["1", "False"], done.stderr
    assert name[:50] in done.stderr and "Traceback" not in done.stderr


def test_a_text_of_unknown_words_only_is_refused_before_training(
    rnnctl: CommandLine, tmp_path: Path
) -> None:
    (tmp_path / "text.txt").write_text(" ".join(f"word{n}x" for n in range(3000)))
    options = ("--level", "word", "--min-count", 2, "--steps", 1, "--run", tmp_path / "run")
    outcome = rnnctl("train", tmp_path / "text.txt", *options)
    assert outcome.code == 1 and not (tmp_path / "run").exists()
    assert "% of the training tokens are unknown" in outcome.err
    assert "--min-count 1" in outcome.err.partition("hint: ")[2]


@pytest.mark.parametrize("reason", ["budget", "steps", "epochs"])
def test_a_training_that_was_still_improving_says_what_would_help(run: Path, reason: str) -> None:
    """In one line of both reports, which is no warning; by its validations alone."""
    result = TrainResult.model_validate(Run.open(run).read_result("train"))
    assert result.still_improving is None  # two validations say nothing
    falling = result.model_copy(update={"still_improving": 0.05, "stop_reason": reason})
    for made in (training.brief(falling), list(training.training(falling))):
        notes = [block.text for block in made if getattr(block, "kind", "") == "note"]
        (said,) = [text for text in notes if text.startswith("still improving when the ")]
        assert f"--{reason} would help" in said and len(said) < 70
    assert not any("still improving" in str(block) for block in training.brief(result))


def test_that_a_simple_model_does_as_well_is_never_only_counted(
    rnnctl: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither in the short report, whatever else there is to warn of, nor by `info`."""
    lines = [f"{'good' if n % 3 else 'bad'}\ttext {n % 7} of nothing" for n in range(90)]
    (tmp_path / "t.tsv").write_text("label\ttext\n" + "\n".join(lines) + "\n")
    monkeypatch.chdir(tmp_path)  # a path longer than a line would take one more
    run = Path("run")
    outcome = rnnctl("train", tmp_path / "t.tsv", "--task", "classify", "--steps", 2, "--run", run,
                     "--hidden-size", 8, "--embedding-size", 8, "--quiet",
                     "--split", "60/20/20")  # fmt: skip
    assert outcome.code == 0, outcome.err
    result = TrainResult.model_validate(Run.open(run).read_result("train"))
    said = [one.text for one in result.warnings if one.code.startswith("not_better_than")]
    assert said
    other = Warning_(code="other", text="something else " * 30)
    many = result.model_copy(
        update={"warnings": (other, *result.warnings), "still_improving": 0.05}
    )
    blocks = training.brief(many)
    short = as_table(blocks)
    assert " ".join(said[-1].split()) in " ".join(short.split())
    assert "more warning" in " ".join(short.split()) and fits_screen(blocks)
    shown = rnnctl("info", run).out
    assert all(" ".join(text.split()) in " ".join(shown.split()) for text in said)


def test_whether_a_training_was_still_improving_follows_from_its_curve(
    rnnctl: CommandLine, text: Path, tmp_path: Path
) -> None:
    path = tmp_path / "falling"
    done = rnnctl("train", text, "--run", path, "--steps", 30, *SMALL, "--evaluate-every", 3,
                  "--no-diagnose", "--threads", 1, "--precision", "fp32")  # fmt: skip
    assert done.code == 0, done.err
    kept = Run.open(path).read_result("train")
    steps, values = zip(*((p["step"], p["value"]) for p in kept["curve"]), strict=True)
    assert len(steps) == 10
    assert kept["still_improving"] == still_falling(steps, values)
    said = "still improving when the last step was taken: more --steps would help"
    assert (said in " ".join(done.out.split())) == (kept["still_improving"] is not None)
    assert collect.read_member(path).still_improving == (kept["still_improving"] is not None)


def test_a_dry_run_says_what_would_be_trained_and_leaves_nothing(
    rnnctl: CommandLine, text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, films = tmp_path / "here", tmp_path / "films.csv"
    here.mkdir()
    rows = [f"{w} film number {k},{w}" for k in range(100) for w in ("good", "bad")]
    films.write_text("text,label\n" + "\n".join(rows))
    monkeypatch.chdir(here)
    planned = rnnctl("train", text, "--steps", 12, "--dry-run", *SMALL)
    assert planned.code == 0
    for said in ("LSTM language model", "1 layer of 12", "about 12 steps", "about 10 s"):
        assert said in planned.out
    outcome = rnnctl(
        "train", films, "--task", "classify", "--folds", 3, "--epochs", 2, "--run", here / "r",
        "--dry-run", "--format", "json", *SMALL[:-2],
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    plan = TrainingPlan.model_validate_json(outcome.out)
    assert plan.labels == ("bad", "good") and plan.folds == 3 and plan.train_documents
    assert plan.expected_steps == 2 * -(-plan.train_documents // 4)
    assert list(here.iterdir()) == []


def test_a_dry_run_names_the_size_that_the_training_takes(
    rnnctl: CommandLine, text: Path, tmp_path: Path
) -> None:
    planned = rnnctl("train", text, "--budget", "2s", "--dry-run", "--format", "json")
    plan = TrainingPlan.model_validate_json(planned.out)
    assert f"{plan.hidden_size} units" in plan.why_this_size and plan.expected_s <= 2.1
    run = tmp_path / "r"
    assert rnnctl("train", text, "--budget", "2s", "--run", run, "--no-diagnose").code == 0
    config = Run.open(run).config
    assert (config.model.hidden_size, config.training.lr) == (plan.hidden_size, plan.lr)
    taken = rnnctl("train", text, "--budget", "2s", "--run", run, "--dry-run")
    assert taken.code == 1 and "exists already" in taken.err and taken.out == ""


def test_what_a_run_lacks_is_said_with_the_command_that_mends_it(
    make_run: MakeRun, rnnctl: CommandLine, tmp_path: Path
) -> None:
    run = make_run("to be or not to be, that is the question. " * 9).rename(tmp_path / "my run")
    assert "missing" not in rnnctl("info", run).err
    (run / "tokenizer.json").unlink()
    assert rnnctl("info", run).err == f"warning: missing in {run}: tokenizer.json\n"
    outcome = rnnctl("diagnose", run)
    assert outcome.code == 1 and f"`rnnctl train --resume '{run}'` continues" in outcome.err


def test_a_text_that_is_too_short_names_a_size_that_there_is(
    rnnctl: CommandLine, tmp_path: Path
) -> None:
    for text, said in (("hi", "--batch-size 1\n"), ("hello you", "--batch-size 4 or less\n")):
        (tmp_path / "t.txt").write_text(text)
        outcome = rnnctl("train", tmp_path / "t.txt", "--split", "100/0/0", "--run", tmp_path / "r")
        assert outcome.err.endswith(said), outcome.err
