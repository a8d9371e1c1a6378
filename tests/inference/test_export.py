"""`rnnctl export`: what onnxruntime computes is what the run computes, for every kind of model."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer

from rnnctl.errors import MissingExtraError, RnnctlError, UsageError
from rnnctl.inference import export as exporting
from rnnctl.inference.classify import Predictor
from rnnctl.inference.export import export, padded
from rnnctl.inference.score import Scorer
from rnnctl.nn.cells import LSTM, OnnxForm
from rnnctl.tasks.loading import load

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")

MakeRun = Callable[..., Path]
TEXT = "the sound is great, but the battery is terrible. it broke after a week! \n" * 8
TEXTS = ["the sound is great", "", "it broke after a week, and then again: never", "the", "ünknown"]
CELLS = [("rnn", "tanh"), ("rnn", "relu"), ("lstm", "tanh"), ("gru", "tanh")]
LEVELS = ["word", "char", "bpe", "byte"]


def opened(path: Path) -> Any:
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize(("cell", "nonlinearity"), CELLS)
@pytest.mark.parametrize("pool", ["last", "mean", "max", "meanmax"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_classifier_answers_in_onnxruntime_what_it_answers_here(
    make_run: MakeRun, tmp_path: Path, cell: str, nonlinearity: str, pool: str, bidirectional: bool
) -> None:
    """Texts of different lengths side by side, through the tokenizer.json that lies beside it."""
    number = CELLS.index((cell, nonlinearity))
    run = make_run(
        TEXT, level=LEVELS[number], labels=("bad", "good", "so so"), cell=cell, pool=pool,
        nonlinearity=nonlinearity, bidirectional=bidirectional, num_layers=1 + number % 2,
        scale=1.5,
    )  # fmt: skip
    loaded = load(run)
    result = export(loaded, tmp_path / "new" / "model.onnx")
    assert result.difference is not None and result.difference <= 1e-5
    tokenizer = Tokenizer.from_file(str(tmp_path / "new" / "tokenizer.json"))
    ids, lengths = padded([np.array([*tokenizer.encode(one).ids, 0]) for one in TEXTS], fill=0)
    model = opened(tmp_path / "new" / "model.onnx")
    logits, chances = model.run(["logits", "probabilities"], {"ids": ids, "lengths": lengths})
    expected = [found.probabilities for found in Predictor(loaded).predict(TEXTS)]
    np.testing.assert_allclose(chances, expected, atol=1e-5)
    assert np.ptp(logits, axis=0).max() > 1e-2  # the texts differ, so that it says something


@pytest.mark.parametrize(("cell", "nonlinearity"), CELLS)
@pytest.mark.parametrize("sizes", [{}, {"tied": True}, {"tied": True, "embedding_size": 12}])
@pytest.mark.parametrize("int8", [False, True])
def test_a_language_model_scores_in_onnxruntime_what_it_scores_here(
    make_run: MakeRun,
    tmp_path: Path,
    cell: str,
    nonlinearity: str,
    sizes: dict[str, Any],
    int8: bool,
) -> None:
    """In two parts, the state of the first handed to the second; roughly so with int8."""
    number = CELLS.index((cell, nonlinearity))
    run = make_run(
        TEXT, level=LEVELS[number], cell=cell, nonlinearity=nonlinearity, scale=1.2,
        num_layers=2 - number % 2, **sizes,
    )  # fmt: skip
    loaded = load(run)
    export(loaded, tmp_path / "model.onnx", int8=int8)
    text = "the battery is great"
    ids = [0, *Tokenizer.from_file(str(tmp_path / "tokenizer.json")).encode(text).ids]
    model = opened(tmp_path / "model.onnx")
    names = [one.name for one in model.get_inputs()][1:]
    assert tuple(names) == loaded.model.recurrent.cell.state_names
    shape = (loaded.config.model.num_layers, 1, 12)
    state = {name: np.zeros(shape, np.float32) for name in names}
    nats = 0.0
    for begin, end in ((0, 2), (2, len(ids) - 1)):
        logits, *after = model.run(None, {"ids": np.array([ids[begin:end]]), **state})
        state = dict(zip(names, after, strict=True))
        logs = logits[0] - np.log(np.exp(logits[0]).sum(-1, keepdims=True))
        nats -= float(logs[np.arange(end - begin), ids[begin + 1 : end + 1]].sum())
    scored = Scorer(loaded).tally_texts([text])[0]
    assert nats == pytest.approx(scored.nats, rel=0.2 if int8 else 1e-5)


def blocks(folder: Path, language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", (folder / "README.md").read_text("utf-8"), re.S)
    assert found is not None
    return found[1]


@pytest.mark.parametrize("most", [None, 2])
def test_the_lines_beside_a_classifier_do_what_classify_does(
    make_run: MakeRun, tmp_path: Path, most: int | None
) -> None:
    run = make_run(TEXT, level="word", labels=('"a"', "ß"), max_tokens=most)
    export(load(run), tmp_path / "my model.onnx")
    code = blocks(tmp_path, "python")
    texts = re.search(r"texts = (\[.*\])", code)
    assert texts is not None and len(code.splitlines()) <= 10
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    found = Predictor(load(run)).predict(json.loads(texts[1]))
    for line, expected in zip(done.stdout.splitlines(), found, strict=True):
        label, chance = line.rsplit(" ", 1)
        assert label == expected.label
        assert float(chance) == pytest.approx(expected.probability, abs=1e-5)


def test_the_lines_beside_a_language_model_continue_a_text(
    make_run: MakeRun, tmp_path: Path
) -> None:
    run = make_run(TEXT, level="char", cell="lstm")
    export(load(run), tmp_path / "model.onnx")
    code = blocks(tmp_path, "python")
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert len(done.stdout) > 90
    assert len(code.splitlines()) <= 11


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
@pytest.mark.parametrize("labels", [(), ("bad", "it's good")])
def test_the_lines_of_javascript_are_javascript(
    make_run: MakeRun, tmp_path: Path, labels: tuple[str, ...]
) -> None:
    export(load(make_run(TEXT, labels=labels)), tmp_path / "model.onnx")
    (tmp_path / "lines.mjs").write_text(blocks(tmp_path, "javascript"), "utf-8")
    checked = subprocess.run(
        ["node", "--check", "lines.mjs"], cwd=tmp_path, capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize("labels", [(), ("bad", "good")])
def test_what_int8_costs_is_measured_on_the_held_out_text(
    make_run: MakeRun, tmp_path: Path, rnnctl: Callable[..., Any], labels: tuple[str, ...]
) -> None:
    heldout = [(one, labels[i % 2] if labels else None) for i, one in enumerate(TEXTS * 3)]
    run = make_run(
        TEXT, level="word", labels=labels, cell="gru", heldout=heldout, hidden_size=64,
        embedding_size=64, scale=1.0,
    )  # fmt: skip
    file = tmp_path / "model.onnx"
    done = rnnctl("export", run, "--onnx", file, "--int8", "--format", "json")
    assert done.code == 0, done.err
    found = json.loads(done.out)["quantised"]
    assert found["bytes_float32"] > file.stat().st_size
    assert found["stays_float32"] == "the recurrent layers"
    if labels:
        own = rnnctl("evaluate", run, "--format", "json")
        assert found["float32"] == json.loads(own.out)["classification"]["accuracy"]
        assert (found["measure"], found["n"]) == ("accuracy", 12)  # an empty text is not kept
    else:
        assert found["float32"] == pytest.approx(found["int8"], rel=0.05)
        assert found["measure"] == "nats per token"
    table = rnnctl("export", run, "--onnx", tmp_path / "b" / "m.onnx", "--int8").out
    assert f"int8 {found['measure']}" in table
    assert "before int8 equal to the run within" in " ".join(table.split())


def test_what_the_graph_computes_is_checked_before_it_is_written(
    make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the gates in PyTorch's order, which is not ONNX's, nothing is written."""
    loaded = load(make_run(TEXT, cell="lstm"))
    wrong = dataclasses.replace(LSTM, onnx=OnnxForm("LSTM", order=(0, 1, 2, 3)))
    monkeypatch.setattr(loaded.model.recurrent, "cell", wrong)
    with pytest.raises(RnnctlError, match="differ by"):
        export(loaded, tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_cell_without_a_form_in_onnx_is_refused(
    make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = load(make_run(TEXT, cell="lstm"))
    monkeypatch.setattr(loaded.model.recurrent, "cell", dataclasses.replace(LSTM, onnx=None))
    with pytest.raises(UsageError, match="no form in ONNX"):
        export(loaded, tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


def test_without_onnx_the_command_that_installs_it_is_named(
    make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = load(make_run(TEXT))
    missing = {"onnxruntime"}

    def find(name: str) -> Any:
        return None if name in missing else importlib.util.find_spec(name)

    monkeypatch.setattr(exporting, "find_spec", find)
    result = export(loaded, tmp_path / "model.onnx")
    assert result.difference is None and result.warnings[0].code == "not_checked"
    with pytest.raises(MissingExtraError, match="onnxruntime") as raised:
        export(loaded, tmp_path / "small" / "model.onnx", int8=True)
    missing.add("onnx")
    with pytest.raises(MissingExtraError, match="needs onnx,") as raised:
        export(loaded, tmp_path / "other" / "model.onnx")
    assert "pip install 'rnnctl[export]'" in raised.value.hint


def test_nothing_that_exists_is_replaced_unless_asked(
    make_run: MakeRun, tmp_path: Path, rnnctl: Callable[..., Any]
) -> None:
    run = make_run(TEXT)
    (tmp_path / "README.md").write_text("mine")
    done = rnnctl("export", run, "--onnx", tmp_path / "model.onnx")
    assert done.code == 2 and "README.md" in done.err and "--overwrite" in done.err
    assert sorted(one.name for one in tmp_path.iterdir()) == ["README.md"]
    done = rnnctl("export", run, "--onnx", tmp_path / "model.onnx", "--overwrite")
    assert done.code == 0, done.err
    assert "opset" in done.out and (tmp_path / "README.md").read_text("utf-8") != "mine"
    for wrong in (
        tmp_path,
        tmp_path / "README.md",
        run / "model.onnx",
        tmp_path / "README.md" / "a",
    ):
        done = rnnctl("export", run, "--onnx", wrong, "--overwrite")
        assert done.code in (1, 2) and "hint:" in done.err, done.err


def test_the_graph_says_what_its_numbers_mean(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run(TEXT, level="word", labels=("bad", "good"), max_tokens=9)
    export(load(run), tmp_path / "model.onnx")
    facts = opened(tmp_path / "model.onnx").get_modelmeta().custom_metadata_map
    assert json.loads(facts["labels"]) == ["bad", "good"]
    assert (facts["level"], facts["boundary_id"], facts["max_tokens"]) == ("word", "0", "9")
