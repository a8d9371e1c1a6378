"""From the options of `rnnctl train` to settings: which option sets what."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from rnnctl.errors import UsageError

# Parameter of the command -> section and field of the settings.
FIELDS: Final[Mapping[str, tuple[str, str]]] = {
    "task": ("model", "task"),
    "level": ("tokenizer", "level"),
    "documents": ("corpus", "documents"),
    "split": ("corpus", "split"),
    "text_field": ("corpus", "text_field"),
    "label_field": ("corpus", "label_field"),
    "read_as": ("corpus", "read_as"),
    "encoding": ("corpus", "encoding"),
    "new_labels": ("corpus", "new_labels"),
    "max_tokens": ("corpus", "max_tokens"),
    "keep": ("corpus", "keep"),
    "vocab_size": ("tokenizer", "vocab_size"),
    "min_count": ("tokenizer", "min_count"),
    "words": ("tokenizer", "words"),
    "cell": ("model", "cell"),
    "nonlinearity": ("model", "nonlinearity"),
    "hidden_size": ("model", "hidden_size"),
    "embedding_size": ("model", "embedding_size"),
    "layers": ("model", "num_layers"),
    "tied": ("model", "tied"),
    "bidirectional": ("model", "bidirectional"),
    "pool": ("model", "pool"),
    "init": ("model", "init"),
    "horizon": ("model", "horizon"),
    "dropout_input": ("model", "dropout_input"),
    "dropout_between": ("model", "dropout_between"),
    "dropout_output": ("model", "dropout_output"),
    "dropout_embedding": ("model", "dropout_embedding"),
    "steps": ("training", "steps"),
    "epochs": ("training", "epochs"),
    "lr": ("training", "lr"),
    "weight_decay": ("training", "weight_decay"),
    "warmup": ("training", "warmup"),
    "decay": ("training", "decay"),
    "clip": ("training", "clip"),
    "batch_size": ("training", "batch_size"),
    "bptt": ("training", "bptt"),
    "patience": ("training", "patience"),
    "precision": ("training", "precision"),
    "engine": ("training", "engine"),
    "threads": ("training", "threads"),
    "workers": ("training", "workers"),
    "device": ("training", "device"),
    "seed": ("training", "seed"),
    "keep_text": ("training", "keep_text"),
}
_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
_TIME = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|min|h|)\Z")


def seconds(text: str, option: str, hint: str = "write 75s, 10m or 2h") -> float:
    """Seconds of `75s`, `10m`, `1.5h` or `75`. UsageError for anything else, and for nothing."""
    match = _TIME.match(text.strip())
    value = float(match[1]) * _UNITS[match[2]] if match else 0.0
    if value <= 0:
        raise UsageError(f"{option} {text}: not a time", hint=hint)
    return value


def settings_given(values: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The settings that were given on the command line: section -> field -> value."""
    given: dict[str, dict[str, Any]] = {}

    def put(section: str, field: str, value: Any) -> None:
        given.setdefault(section, {})[field] = value

    if values["sources"]:
        put("corpus", "sources", tuple(_absolute(source) for source in values["sources"]))
    if values["dropout"] is not None:
        for field in ("dropout_input", "dropout_between", "dropout_output"):
            put("model", field, values["dropout"])
    for name, (section, field) in FIELDS.items():
        if values[name] is not None:
            put(section, field, values[name])
    if values["budget"] is not None:
        put("training", "budget_s", seconds(values["budget"], "--budget"))
    if values["checkpoint_every"] is not None:
        every = seconds(values["checkpoint_every"], "--checkpoint-every")
        put("training", "checkpoint_every_s", every)
    if values["start_from"] is not None:
        put("training", "start_from", str(values["start_from"].absolute()))
    _put_evaluation(values["evaluate_every"], put)
    return given


def _put_evaluation(text: str | None, put: Any) -> None:
    if text is None:
        return
    if text.isdecimal() and int(text) > 0:
        put("training", "evaluate_every", int(text))
        put("training", "evaluate_every_s", None)
    else:
        put("training", "evaluate_every", None)
        hint = "write a number of steps, such as 200, or a time, such as 30s"
        put("training", "evaluate_every_s", seconds(text, "--evaluate-every", hint))


def _absolute(source: str) -> str:
    """A path as it is seen from anywhere, so that the run can be resumed from anywhere."""
    path = Path(source)
    try:
        return os.path.normpath(path.absolute()) if path.exists() else source
    except OSError:  # what is wrong with it is said where it is opened
        return source
