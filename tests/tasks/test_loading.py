"""Opening runs, and hostile ones: nothing is executed, nothing large is allocated."""

from __future__ import annotations

import json
import pickle
import resource
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from rnnctl.config import CorpusConfig, ModelConfig, RunConfig
from rnnctl.data.corpus import Corpus
from rnnctl.data.tokenizers import train_tokenizer
from rnnctl.data.tokenizers.base import to_bytes
from rnnctl.errors import CorruptRunError, RunError
from rnnctl.runs import Run
from rnnctl.runs.run import entry_of
from rnnctl.tasks.loading import (
    CORPUS_NAME,
    build_model,
    expected_shapes,
    load,
    parameter_count,
    transfer,
)

SMALL = ModelConfig(hidden_size=6, embedding_size=4, num_layers=2)


@pytest.fixture
def made(tmp_path: Path) -> Run:
    """A run with random weights."""
    torch.manual_seed(0)
    config = RunConfig(model=SMALL, corpus=CorpusConfig(sources=("x",)))
    tokenizer = train_tokenizer(["abcab"], config.tokenizer)
    model = build_model(config.model, vocab_size=tokenizer.vocab_size)
    files = {
        "tokenizer.json": to_bytes(tokenizer.to_dict()),
        CORPUS_NAME: json.dumps({"labels": []}).encode(),
        "model.safetensors": safetensors.torch.save(model.state_dict()),
    }
    return Run.create(tmp_path / "run", config, files=files)


def replace(run: Run, name: str, data: bytes) -> None:
    """As a forger does it: the file and its checksum."""
    (run.path / name).write_bytes(data)
    run.commit(files={**run.current.files, name: entry_of(data)})


def test_what_was_saved_is_loaded(made: Run) -> None:
    loaded = load(made.path)
    assert loaded.config.model == SMALL and not loaded.model.training
    saved = safetensors.torch.load_file(made.path / "model.safetensors")
    for name, value in loaded.model.state_dict().items():
        assert torch.equal(value, saved[name])
    assert loaded.tokenizer.decode(loaded.tokenizer.encode("abc")) == "abc"


def test_tied_weights_are_stored_once_and_tied_again(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = RunConfig(model=ModelConfig(hidden_size=6, embedding_size=4, tied=True))
    tokenizer = train_tokenizer(["abcab"], config.tokenizer)
    model = build_model(config.model, vocab_size=tokenizer.vocab_size)
    weights = {k: v for k, v in model.state_dict().items() if k != "decoder.weight"}
    files = {
        "tokenizer.json": to_bytes(tokenizer.to_dict()),
        CORPUS_NAME: json.dumps({"labels": []}).encode(),
        "model.safetensors": safetensors.torch.save(weights),
    }
    Run.create(tmp_path / "tied", config, files=files)
    found: Any = load(tmp_path / "tied").model
    assert found.decoder.weight is found.embedding.weight
    assert parameter_count(found) == parameter_count(model)


class Trap:
    """A pickle that says so when it is opened."""

    def __reduce__(self) -> Any:
        return (sys.exit, ("executed",))


def huge_header() -> bytes:
    return struct.pack("<Q", 1 << 40) + b"{}"


def lying_header() -> bytes:
    header = json.dumps({"a": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 4]}})
    return struct.pack("<Q", len(header)) + header.encode() + b"abcd"


def deep_header() -> bytes:
    header = b'{"a":' * 5000 + b"1" + b"}" * 5000
    return struct.pack("<Q", len(header)) + header


def not_finite() -> bytes:
    weights = build_model(SMALL, vocab_size=5).state_dict()
    weights["decoder.bias"][0] = float("nan")
    return safetensors.torch.save(weights)


HOSTILE: dict[str, tuple[str, Callable[[], bytes]]] = {
    "pickle as weights": ("model.safetensors", lambda: pickle.dumps(Trap())),
    "huge header": ("model.safetensors", huge_header),
    "lying header": ("model.safetensors", lying_header),
    "deep header": ("model.safetensors", deep_header),
    "empty weights": ("model.safetensors", lambda: b""),
    "other weights": ("model.safetensors", lambda: safetensors.torch.save({"a": torch.ones(1)})),
    "weights not finite": ("model.safetensors", not_finite),
    "pickle as tokenizer": ("tokenizer.json", lambda: pickle.dumps(Trap())),
    "deep tokenizer": ("tokenizer.json", lambda: b"[" * 1_000_000),
    "pickle as config": ("config.json", lambda: pickle.dumps(Trap())),
    "deep config": ("config.json", lambda: b'{"a":' * 100_000),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_files_are_refused(made: Run, kind: str) -> None:
    name, content = HOSTILE[kind]
    replace(made, name, content())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(RunError):
        load(made.path)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 500_000  # kilobytes


@pytest.mark.parametrize(
    "change",
    [
        {"hidden_size": 10**9},
        {"embedding_size": 10**9},
        {"num_layers": 10**9},
        {"hidden_size": 7},
        {"task": "classify"},
        {"cell": "gru"},
        {"bidirectional": True, "task": "classify"},
    ],
)
def test_settings_that_do_not_fit_the_weights_are_found_before_a_model_is_built(
    made: Run, change: dict[str, Any]
) -> None:
    config = made.config.model_copy(update={"model": SMALL.model_copy(update=change)})
    replace(made, "config.json", config.model_dump_json().encode())
    with pytest.raises(RunError):
        load(made.path)


@pytest.mark.parametrize(
    "change",
    [
        {"num_layers": 3, "cell": "gru"},
        {"cell": "rnn", "tied": True},
        {"hidden_size": 4, "tied": True},
        {"task": "classify", "bidirectional": True, "pool": "meanmax", "num_layers": 2},
        {"task": "classify"},
    ],
)
def test_the_shapes_that_are_expected_are_those_of_the_model(change: dict[str, Any]) -> None:
    config = ModelConfig(hidden_size=6, embedding_size=4).model_copy(update=change)
    model = build_model(config, vocab_size=5, num_classes=3)
    expected = dict(expected_shapes(config, vocab_size=5, num_classes=3))
    assert expected == {name: tuple(value.shape) for name, value in model.state_dict().items()}


def test_tensors_of_no_rows_do_not_hide_a_huge_model(made: Run) -> None:
    """They take no place in the file, so that a small one could ask for gigabytes."""
    huge = SMALL.model_copy(update={"hidden_size": 4000, "embedding_size": 4000})
    config = made.config.model_copy(update={"model": huge})
    replace(made, "config.json", config.model_dump_json().encode())
    vocab_size = train_tokenizer(["abcab"], made.config.tokenizer).vocab_size
    shapes = expected_shapes(huge, vocab_size=vocab_size, num_classes=0)
    weights = {n: torch.zeros(0, *shape[1:]) for n, shape in shapes}
    weights["embedding.weight"] = torch.zeros(vocab_size, 4000)
    weights["decoder.bias"] = torch.zeros(vocab_size)
    replace(made, "model.safetensors", safetensors.torch.save(weights))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(CorruptRunError, match="the settings say"):
        load(made.path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000  # kilobytes


def test_weights_are_taken_over_where_they_fit(made: Run) -> None:
    torch.manual_seed(1)
    model = build_model(SMALL.model_copy(update={"task": "classify"}), vocab_size=5, num_classes=2)
    taken = transfer(model, made)
    saved = safetensors.torch.load_file(made.path / "model.safetensors")
    assert "embedding.weight" in taken and "recurrent.weight_hh_l1" in taken
    assert "output.weight" not in taken
    assert torch.equal(model.state_dict()["embedding.weight"], saved["embedding.weight"])
    other = build_model(SMALL.model_copy(update={"hidden_size": 9}), vocab_size=5)
    with pytest.raises(RunError, match="nothing of"):
        transfer(other, made)


def test_a_corpus_in_memory_is_not_needed_to_open_a_run(made: Run) -> None:
    assert Corpus.from_documents({}).label_names == ()
    assert load(made.path).labels == ()


@pytest.mark.parametrize(("before", "after"), [(True, False), (False, True), (True, True)])
def test_a_transfer_feeds_the_layers_what_they_knew(
    make_run: Callable[..., Path], before: bool, after: bool
) -> None:
    """A tied model multiplies its embedding by sqrt(E); one that is not takes it as it is."""
    source = make_run("abcab", tied=before)
    known = load(source).model
    settings = ModelConfig(hidden_size=12, embedding_size=8, tied=after)
    model = build_model(settings, vocab_size=known.vocab_size).eval()
    transfer(model, Run.open(source))
    ids = torch.arange(3).view(3, 1)
    torch.testing.assert_close(model.embed(ids), known.embed(ids))


@pytest.mark.parametrize("hidden_size", [8, 12])
@pytest.mark.parametrize("after", [True, False])
def test_the_output_layer_of_a_tied_run_is_taken(
    make_run: Callable[..., Path], hidden_size: int, after: bool
) -> None:
    source = make_run("abcab", tied=True, hidden_size=hidden_size)
    known: Any = load(source).model
    settings = ModelConfig(hidden_size=hidden_size, embedding_size=8, tied=after)
    model: Any = build_model(settings, vocab_size=known.vocab_size).eval()
    assert set(transfer(model, Run.open(source))) == set(model.state_dict())
    ids = torch.arange(3).view(3, 1)
    logits = [m.logits(m.features(ids)[0]) for m in (model, known)]
    torch.testing.assert_close(*logits)
