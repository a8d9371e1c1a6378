"""Build the model that the settings describe, and open a run's model for use."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from rnnctl import machine
from rnnctl.config import ModelConfig, RunConfig
from rnnctl.data.tokenizers import Tokenizer
from rnnctl.errors import CorruptRunError, RunError, word
from rnnctl.machine import find_device
from rnnctl.nn.cells import find_cell
from rnnctl.nn.models import Classifier, LanguageModel
from rnnctl.nn.recurrent import parameter_shapes
from rnnctl.results.base import Environment
from rnnctl.runs import Run, Snapshot
from rnnctl.tasks.base import find_task
from rnnctl.tasks.quality import CALIBRATION_NAME, Calibration

# The format allows 100 MB; the header of a model lists a few dozen tensors.
_MAX_HEADER = 1 << 20
CORPUS_NAME = "corpus.json"


@dataclass(frozen=True)
class Loaded:
    """A run opened for use: the best weights, in eval mode; `labels` are () for language models."""

    run: Run
    config: RunConfig
    tokenizer: Tokenizer
    model: LanguageModel | Classifier
    labels: tuple[str, ...]
    calibration: Calibration = field(default_factory=Calibration)


def build_model(
    config: ModelConfig, *, vocab_size: int, num_classes: int = 0, engine: str = "auto"
) -> LanguageModel | Classifier:
    """A new model with fresh weights from torch's random generator."""
    shared: dict[str, Any] = {
        "vocab_size": vocab_size,
        "embedding_size": config.embedding_size or config.hidden_size,
        "engine": engine,
    }
    names = ("cell", "nonlinearity", "hidden_size", "num_layers", "init", "horizon")
    dropout = ("dropout_input", "dropout_between", "dropout_output", "dropout_embedding")
    shared |= {name: getattr(config, name) for name in names + dropout}
    if not find_task(config.task).labelled:
        return LanguageModel(**shared, tied=config.tied)
    return Classifier(
        **shared, num_classes=num_classes, bidirectional=config.bidirectional, pool=config.pool
    )


def load(
    path: str | Path,
    *,
    device: str = "cpu",
    engine: str = "auto",
    snapshot: Snapshot | None = None,
) -> Loaded:
    """Open a run. RunError if it is none or holds no weights, CorruptRunError if it is damaged.

    `snapshot`: one of `Run.snapshots()`, whose weights are taken instead of the best ones.
    """
    run = Run.open(path)
    tokenizer = Tokenizer.load(run.tokenizer_path)
    labels = read_labels(run)
    weights = read_weights(snapshot.weights_path if snapshot else run.weights_path)
    check_sizes(run, weights, tokenizer.vocab_size, len(labels))
    model = build_model(
        run.config.model, vocab_size=tokenizer.vocab_size, num_classes=len(labels), engine=engine
    )
    adopt(model, weights, run.path)
    model.to(find_device(device)).eval()
    return Loaded(run, run.config, tokenizer, model, labels, read_calibration(run))


def read_calibration(run: Run) -> Calibration:
    """How a run's logits become probabilities; as they are in a run without one."""
    labelled = find_task(run.config.model.task).labelled
    several = labelled and bool(run.facts(CORPUS_NAME).get("several_labels"))
    if CALIBRATION_NAME not in run.current.files:
        return Calibration(several=several)
    facts = run.facts(CALIBRATION_NAME)
    try:
        return replace(Calibration.from_facts(facts), several=several)
    except (ValueError, TypeError) as error:
        raise CorruptRunError(
            f"{run.path / CALIBRATION_NAME} holds no calibration: {error}"
        ) from error


def read_labels(run: Run) -> tuple[str, ...]:
    """The label names of a classifier's run in the order of its outputs; () otherwise."""
    if not find_task(run.config.model.task).labelled:
        return ()
    labels = run.facts(CORPUS_NAME).get("labels")
    if not (isinstance(labels, list) and all(isinstance(name, str) for name in labels)):
        raise CorruptRunError(f"{run.path / CORPUS_NAME} names no labels")
    return tuple(labels)


def read_weights(path: Path) -> dict[str, Tensor]:
    """Tensors of a safetensors file, its header checked before memory is spent on it."""
    check_header(path)
    try:
        return safetensors.torch.load_file(path)
    except (SafetensorError, ValueError, OSError) as error:
        raise CorruptRunError(f"{path} is not a safetensors file: {error}") from error


def check_header(path: Path) -> None:
    """CorruptRunError unless the header is small and lies inside the file."""
    with path.open("rb") as file:
        start = file.read(8)
    if len(start) < 8:
        raise CorruptRunError(f"{path} is cut off")
    (size,) = struct.unpack("<Q", start)
    if size > min(_MAX_HEADER, path.stat().st_size):
        raise CorruptRunError(f"{path} has a header of {size:,} bytes; no model has that")


def check_sizes(run: Run, weights: dict[str, Tensor], vocab_size: int, num_classes: int) -> None:
    """CorruptRunError where weights and settings differ, before a model of that size is built.

    Every shape counts: a tensor of no rows takes no place in a file, and gigabytes in a model.
    """
    model = run.config.model
    for name, shape in expected_shapes(model, vocab_size=vocab_size, num_classes=num_classes):
        if name not in weights:
            if name == "decoder.weight" and model.tied:  # it is the embedding's, stored once
                continue
            raise CorruptRunError(f"{run.path}: its weights hold no {name}")
        found = tuple(weights[name].shape)
        if found != shape:
            raise CorruptRunError(f"{run.path}: {name} has shape {found}, the settings say {shape}")


def expected_shapes(
    config: ModelConfig, *, vocab_size: int, num_classes: int
) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and shapes of the weights of the model that `build_model` makes of the same."""
    hidden, embedding = config.hidden_size, config.embedding_size or config.hidden_size
    labelled = find_task(config.task).labelled
    directions = 2 if config.bidirectional and labelled else 1
    cell = find_cell(config.cell, config.nonlinearity)
    yield "embedding.weight", (vocab_size, embedding)
    layers = parameter_shapes(cell, embedding, hidden, config.num_layers, directions)
    yield from ((f"recurrent.{name}", shape) for name, shape in layers)
    if labelled:
        width = hidden * directions * (2 if config.pool == "meanmax" else 1)
        yield from (("output.weight", (num_classes, width)), ("output.bias", (num_classes,)))
        return
    if config.tied and embedding != hidden:
        yield "projection.weight", (embedding, hidden)
        yield "projection.bias", (embedding,)
    yield "decoder.weight", (vocab_size, embedding if config.tied else hidden)
    yield "decoder.bias", (vocab_size,)


@torch.no_grad()
def adopt(model: torch.nn.Module, weights: dict[str, Tensor], path: Path) -> None:
    """Copy `weights` into `model`; CorruptRunError when names, shapes or values do not fit."""
    own = model.state_dict()
    for name, value in weights.items():
        if name in own and own[name].shape != value.shape:
            raise CorruptRunError(f"{path}: {name} has shape {tuple(value.shape)}")
        # A single NaN would spread to every answer.
        if not bool(torch.isfinite(value).all()):
            raise CorruptRunError(f"{path}: {name} holds values that are not finite")
    missing, unexpected = model.load_state_dict(weights, strict=False)
    tied = {"decoder.weight"} if "decoder.weight" not in weights else set()
    if unexpected or set(missing) - tied:
        raise CorruptRunError(f"{path}: weights do not fit: {sorted({*missing, *unexpected})[:4]}")


def parameter_count(model: torch.nn.Module) -> int:
    """Number of trainable numbers, tied weights once."""
    return sum(math.prod(parameter.shape) for parameter in model.parameters())


def _rescale_embedding(model: torch.nn.Module, fitting: dict[str, Tensor], *, tied: bool) -> None:
    """A tied model multiplies its embedding's vectors: make the layers' inputs what they were."""
    assert isinstance(model, LanguageModel | Classifier)
    embedding = fitting["embedding.weight"]
    scale = math.sqrt(embedding.shape[1]) if tied else 1.0
    fitting["embedding.weight"] = embedding * (scale / model.input_scale)


def _with_decoder(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a tied language model with those of an output layer that does the same.

    Its logits are those of the embedding, through the projection if there is one: both in one.
    """
    decoder, bias = weights["embedding.weight"], weights["decoder.bias"]
    if "projection.weight" in weights:
        bias = bias + decoder @ weights["projection.bias"]
        decoder = decoder @ weights["projection.weight"]
    return {**weights, "decoder.weight": decoder, "decoder.bias": bias}


def transfer(model: torch.nn.Module, source: Run) -> list[str]:
    """Copy what fits from another run's weights into `model`; return the names that were taken.

    RunError if nothing of the recurrent layers fits. The embedding fits only when the run's
    vocabulary is used, which the caller sees to.
    """
    weights = read_weights(source.weights_path)
    own = model.state_dict()
    was_tied = source.config.model.tied
    tied = isinstance(model, LanguageModel) and model.decoder.weight is model.embedding.weight
    if was_tied and not tied:
        weights = _with_decoder(weights)
    elif tied:  # the decoder is the embedding
        weights.pop("decoder.weight", None)
    fitting = {n: v for n, v in weights.items() if n in own and own[n].shape == v.shape}
    if "embedding.weight" in fitting:
        _rescale_embedding(model, fitting, tied=was_tied)
    if not any(name.startswith("recurrent.") for name in fitting):
        raise RunError(
            f"nothing of {source.path} fits this model",
            hint="use the same --cell, --hidden-size, --embedding-size and --layers; "
            f"`rnnctl info {word(source.path)}` shows them",
        )
    # What does not fit keeps its fresh weights.
    model.load_state_dict(fitting, strict=False)
    shared = {"decoder.weight"} if tied and was_tied and "embedding.weight" in fitting else set()
    return sorted({*fitting, *shared})


def environment(loaded: Loaded, dtype: str = "float32") -> Environment:
    """Versions, threads, device and precision."""
    return Environment(
        threads=torch.get_num_threads(),
        device=str(next(loaded.model.parameters()).device),
        dtype=dtype,
        engine=loaded.model.recurrent.engine_in_use,
        **machine.facts(),
    )
