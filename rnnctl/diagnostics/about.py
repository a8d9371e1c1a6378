"""What a diagnosis says about the model and the text it was made on."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from rnnctl.diagnostics.material import Text
from rnnctl.diagnostics.sample import Sample
from rnnctl.errors import RunError
from rnnctl.inference.training_text import by_document
from rnnctl.nn.cells import find_cell
from rnnctl.nn.models import Classifier
from rnnctl.results.diagnostics import DataRecord, ModelRecord
from rnnctl.tasks.loading import Loaded, parameter_count

BLANK_LINES = re.compile(r"\n\s*\n")


def model_record(loaded: Loaded) -> ModelRecord:
    """Which model it is and what it was trained under."""
    config, trained = loaded.config, _training(loaded)
    model, settings = config.model, config.training
    directions = 2 if model.bidirectional else 1
    cell = loaded.model.recurrent.cell
    per_layer = len(cell.state_names) * directions * model.hidden_size
    task = "classifier" if loaded.labels else f"lm_{config.tokenizer.level}"
    return ModelRecord.model_validate(
        {
            "id": loaded.run.path.name,
            "task": task,
            "cell": model.cell,
            "nonlinearity": model.nonlinearity if find_cell(model.cell).variants else None,
            "layers": model.num_layers,
            "embedding": model.embedding_size or model.hidden_size,
            "hidden": model.hidden_size,
            "parameters": parameter_count(loaded.model),
            "state_floats": per_layer * model.num_layers,
            "init": model.init if model.horizon is None else f"{model.init} ({model.horizon})",
            "readout": model.pool if isinstance(loaded.model, Classifier) else "each step",
            "bidirectional": model.bidirectional,
            "train_bptt": None if loaded.labels else settings.bptt,
            "train_loss_nats": trained.pop("train_loss_nats", None),
            "state_policy": "carried" if _carried(loaded) else "reset_document",
            "seed": settings.seed,
            "quality": trained,
        }
    )


def _carried(loaded: Loaded) -> bool:
    """Whether training read on without ever zeroing the state: running text, or by choice."""
    if loaded.labels:
        return False
    return not (loaded.config.training.reset and by_document(loaded))


def _training(loaded: Loaded) -> dict[str, float]:
    """What training measured: of the validation text, and the loss on the training text."""
    try:
        result = loaded.run.read_result("train")
    except RunError:
        return {}
    found: dict[str, float] = {}
    for split in result.get("splits", ()):
        losses, labelled = split.get("losses") or [], split.get("classification")
        values = (losses[0] if losses else labelled) or {}
        if split.get("split") == "train":
            found["train_loss_nats"] = float(values["loss_nats"])
        elif split.get("split") == "valid":
            for name in ("bits_per_byte", "perplexity", "loss_nats", "accuracy", "macro_f1"):
                if values.get(name) is not None:
                    found[name] = float(values[name])
    speed = result.get("timing", {}).get("tokens_per_s")
    if speed:
        found["training_tokens_per_s"] = float(speed)
    return found


def data_record(text: Text, sample: Sample) -> DataRecord:
    """Which text it is, and what a token is worth in words and characters."""
    return DataRecord(
        name=text.name,
        sha256=sample.fingerprint,
        documents=len(sample.ids),
        running=sample.running,
        tokens=sample.tokens,
        words_per_token=round(sample.words_per_token, 6),
        chars_per_token=round(sample.chars_per_token, 6),
        distance_unit=sample.unit,
        unknown_rate=round(sample.unknown / max(1, sample.tokens), 6),
        paragraph_length=_paragraph_length(text, sample),
    )


def _paragraph_length(text: Text, sample: Sample) -> float | None:
    """Median length of the documents as they are read; in running text, whose headings and one-line
    answers are many, half of all words stand in paragraphs (between blank lines) of at least this
    length.
    """
    running = text.running or len(text.documents) == 1
    parts: Sequence[str] = sample.texts
    if running:
        parts = BLANK_LINES.split("".join(document.text for document in text.documents))
    found = [len(part.split() if sample.unit == "words" else part) for part in parts]
    lengths = np.sort([length for length in found if length])
    if len(lengths) < 2:
        return None
    if not running:
        return float(np.median(lengths))
    return float(lengths[np.searchsorted(np.cumsum(lengths), lengths.sum() / 2)])
