"""The library: it says what the commands say, loads late, and raises what a caller can mend."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import rnnctl as library
from rnnctl.errors import RunError, UsageError

MakeRun = Callable[..., Path]
CommandLine = Callable[..., Any]
TEXT = "the bell rang at noon, and nobody came.\n"


@pytest.fixture(scope="module")
def language_model(make_run: MakeRun) -> Path:
    return make_run(TEXT, cell="lstm", num_layers=2)


@pytest.fixture(scope="module")
def classifier(make_run: MakeRun) -> Path:
    return make_run(TEXT, level="word", labels=("bad", "good"), cell="gru")


def test_importing_it_loads_neither_torch_nor_the_command_line() -> None:
    program = (
        "import sys, rnnctl; print([m for m in sys.modules if 'torch' in m or 'rnnctl.' in m])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_its_names_are_listed_and_documented() -> None:
    assert set(dir(library)) == {"Model", "States", "__version__", "load", "train"}
    for name in ("Model", "States", "load", "train"):
        assert len(getattr(library, name).__doc__) > 20
    with pytest.raises(AttributeError, match="no attribute 'lod'"):
        library.lod  # noqa: B018


def test_score_is_what_the_command_says(language_model: Path, rnnctl: CommandLine) -> None:
    texts = ["the bell", "nobody came at all", ""]
    result = library.load(language_model).score(texts)
    out = rnnctl(
        "score", language_model, "--lines", "--format", "json", stdin="\n".join(texts) + "\n"
    )
    for text, line in zip(result.texts, out.out.splitlines(), strict=True):
        assert text.nats == pytest.approx(json.loads(line)["nats"], abs=1e-5)
    assert result.total.nats == pytest.approx(math.fsum(text.nats for text in result.texts))
    assert result.total.chars == sum(map(len, texts))
    assert json.loads(result.model_dump_json())["schema_id"] == "rnnctl.score/1"


def test_classify_is_what_the_command_says(classifier: Path, rnnctl: CommandLine) -> None:
    texts = ["the bell rang", "nobody came"]
    found = library.load(classifier).classify(texts)
    out = rnnctl("classify", classifier, "--format", "json", stdin="\n".join(texts) + "\n").out
    for one, line in zip(found, map(json.loads, out.splitlines()), strict=True):
        assert one.prediction == line["prediction"]
        assert one.probabilities == pytest.approx(line["probabilities"], abs=1e-6)


def test_generate_is_what_the_command_says(language_model: Path, rnnctl: CommandLine) -> None:
    model = library.load(language_model)
    result = model.generate("the ", length=20, count=2, seed=3)
    arguments = ("the ", "--length", 20, "--count", 2, "--seed", 3, "--format", "json")
    said = json.loads(rnnctl("generate", language_model, *arguments).out)
    assert [s.text for s in result.samples] == [s["text"] for s in said["samples"]]
    assert result.temperature == said["temperature"]


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_states_give_the_nats_again(cell: str, make_run: MakeRun) -> None:
    """The stored h, put through the output layer, predicts every next token as `score` does."""
    model = library.load(make_run(TEXT, cell=cell, num_layers=2))
    text = "the bell rang at noon. " * 40  # longer than one piece of the trace
    (found,) = model.states(text)
    inner = model._loaded.model
    ids = model._loaded.tokenizer.encode(text)
    h = torch.from_numpy(found.arrays["h"][:-1, -1])
    with torch.no_grad():
        logits = inner.logits(inner.projection(h))
    nats = torch.nn.functional.cross_entropy(logits, torch.from_numpy(ids).long(), reduction="sum")
    spelling = model._loaded.tokenizer.encode_charged(text)[2]
    assert float(nats) + spelling == pytest.approx(model.score(text).total.nats, rel=1e-5)
    assert len(found.tokens) == len(ids) + 1
    assert all(a.shape == (len(ids) + 1, 2, 12) for a in found.arrays.values())
    gates = {"rnn": set(), "lstm": {"c", "forget"}, "gru": {"keep", "reset"}}[cell]
    assert gates <= set(found.arrays)


def test_states_do_not_depend_on_how_long_the_text_is(language_model: Path) -> None:
    model = library.load(language_model)
    long, short = model.states([TEXT * 30, TEXT])
    np.testing.assert_allclose(
        long.arrays["c"][: len(TEXT)], short.arrays["c"][: len(TEXT)], atol=1e-6
    )


def test_a_classifier_has_states_up_to_the_documents_end(classifier: Path) -> None:
    (found,) = library.load(classifier).states("the bell rang")
    assert (
        len(found.tokens)
        == len(library.load(classifier)._loaded.tokenizer.encode("the bell rang")) + 1
    )


def test_what_is_asked_of_the_wrong_kind_of_model(
    language_model: Path, classifier: Path, make_run: MakeRun
) -> None:
    with pytest.raises(RunError, match="is a classifier"):
        library.load(classifier).score("text")
    with pytest.raises(RunError, match="is a classifier"):
        library.load(classifier).generate("text")
    with pytest.raises(RunError, match="is a language model"):
        library.load(language_model).classify("text")
    both = make_run(TEXT, level="word", labels=("bad", "good"), bidirectional=True)
    with pytest.raises(RunError, match="both directions"):
        library.load(both).states("text")


def test_training_and_diagnosing(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("\n\n".join(f"{i} bells rang at noon. Nobody came." for i in range(400)))
    events: list[Any] = []
    result = library.train(
        corpus, documents="paragraph", cell="gru", hidden_size=8, steps=4, evaluate_every=2,
        threads=1, run=tmp_path / "run", on_event=events.append,
    )  # fmt: skip
    assert result.steps == 4 and result.cell == "gru" and result.run == str(tmp_path / "run")
    assert type(events[-1]).__name__ == "Finished"
    model = library.load(result.run)
    found = model.diagnose(["gates"])
    assert found.gates is not None and found.gates.status == "ok"
    assert model.diagnose(["gates"], text=corpus).data.name != found.data.name


def test_training_in_another_thread_with_a_path_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "corpus.txt").write_text(TEXT * 100)
    done: list[Any] = []

    def work() -> None:
        done.append(library.train(["corpus.txt"], hidden_size=8, steps=2, threads=1, budget="1m"))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done and Path(done[0].run).is_dir()


@pytest.mark.parametrize(
    ("settings", "message", "hint"),
    [
        ({"hiden_size": 8}, "no setting 'hiden_size'", "hidden_size"),
        ({"budget": "soon"}, "--budget soon", "75s"),
        ({"cell": "transformer"}, "cell", ""),
        ({"quiet": True}, "no setting 'quiet'", ""),
        ({"folds": 3}, "no setting 'folds'", ""),
    ],
)
def test_wrong_settings(settings: dict[str, Any], message: str, hint: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        library.train(tmp_path, run=tmp_path / "run", **settings)
    assert message in caught.value.message and hint in caught.value.hint
    assert not (tmp_path / "run").exists()


def test_other_wrong_calls(language_model: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError):
        library.load(tmp_path / "none")
    with pytest.raises(UsageError, match="preset"):
        library.load(language_model).diagnose(preset="fast")
    with pytest.raises(UsageError, match="count is 0"):
        library.load(language_model).generate(count=0)


def test_the_lines_of_the_guide_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (files("rnnctl") / "docs" / "guide.md").read_text("utf-8")
    (lines,) = re.findall(r"```python\n(import rnnctl\n.*?)```", page, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "book.txt").write_text(TEXT * 200)
    lines = lines.replace('budget="60s"', "steps=2, hidden_size=8, threads=1")
    made: dict[str, object] = {}
    exec(compile(lines, "guide.md", "exec"), made)
    assert [value for value in made.values() if type(value).__module__.startswith("rnnctl")]
