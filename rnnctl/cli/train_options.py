"""The options of `rnnctl train`, as annotated types, and where each goes in the settings."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from rnnctl.config import (
    CellName,
    Decay,
    DocumentUnit,
    Engine,
    Init,
    Level,
    Nonlinearity,
    Pool,
    Precision,
    TaskName,
    WordProtocol,
)
from rnnctl.errors import UsageError

CORPUS, MODEL, TRAINING, RUN = "Corpus", "Model", "Training", "Run"


def _option(*names: str, help: str, panel: str, **more: Any) -> Any:
    return typer.Option(*names, help=help, rich_help_panel=panel, show_default=False, **more)


# -- corpus ---------------------------------------------------------------------------------------
Sources = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="CORPUS",
        help="Files, folders, hub:NAME[:SPLIT], task:…, or - for standard input; "
        "the bundled paragraphs if none is given.",
        show_default=False,
    ),
]
Task = Annotated[
    TaskName | None, _option("--task", help="What to learn: lm (default), sentiment.", panel=CORPUS)
]
LevelOption = Annotated[
    Level | None,
    _option("--level", help="What a token is; char for lm, word for sentiment.", panel=CORPUS),
]
Documents = Annotated[
    DocumentUnit | None,
    _option("--documents", help="Cut plain text into documents.", panel=CORPUS),
]
Split = Annotated[
    str | None,
    _option("--split", help="train/valid/test in per cent: 90/5/5.", panel=CORPUS, metavar="A/B/C"),
]
TextField = Annotated[
    str | None, _option("--text-field", help="Column that holds the text.", panel=CORPUS)
]
LabelField = Annotated[
    str | None, _option("--label-field", help="Column that holds the label.", panel=CORPUS)
]
Encoding = Annotated[
    str | None, _option("--encoding", help="Of plain text; utf-8 by default.", panel=CORPUS)
]
MaxTokens = Annotated[
    int | None, _option("--max-tokens", help="Cut documents to this length.", panel=CORPUS)
]
Keep = Annotated[
    str | None,
    _option("--keep", help="Which end of a cut document stays: head, tail.", panel=CORPUS),
]
VocabSize = Annotated[
    int | None, _option("--vocab-size", help="Largest vocabulary (word, bpe).", panel=CORPUS)
]
MinCount = Annotated[
    int | None, _option("--min-count", help="Rarer words become <unk>.", panel=CORPUS)
]
Words = Annotated[
    WordProtocol | None,
    _option("--words", help="How words are cut; whitespace is the WikiText way.", panel=CORPUS),
]

# -- model ----------------------------------------------------------------------------------------
Cell = Annotated[CellName | None, _option("--cell", help="Recurrent cell; lstm.", panel=MODEL)]
NonlinearityOption = Annotated[
    Nonlinearity | None, _option("--nonlinearity", help="Of the plain RNN.", panel=MODEL)
]
HiddenSize = Annotated[int | None, _option("--hidden-size", help="Units a layer.", panel=MODEL)]
EmbeddingSize = Annotated[
    int | None, _option("--embedding-size", help="Numbers a token.", panel=MODEL)
]
Layers = Annotated[int | None, _option("--layers", help="Recurrent layers.", panel=MODEL)]
Tied = Annotated[
    bool | None,
    _option("--tied/--no-tied", help="Output layer shares the embedding's weights.", panel=MODEL),
]
Bidirectional = Annotated[
    bool | None,
    _option("--bidirectional/--no-bidirectional", help="Read both ways (sentiment).", panel=MODEL),
]
PoolOption = Annotated[
    Pool | None, _option("--pool", help="How states become one vector (sentiment).", panel=MODEL)
]
InitOption = Annotated[
    Init | None, _option("--init", help="Initial weights; good by default.", panel=MODEL)
]
Horizon = Annotated[
    int | None, _option("--horizon", help="Tokens to hold, for --init chrono.", panel=MODEL)
]
Dropout = Annotated[
    float | None, _option("--dropout", help="Input, between and output at once.", panel=MODEL)
]
DropoutInput = Annotated[
    float | None, _option("--dropout-input", help="On the layers' inputs.", panel=MODEL)
]
DropoutBetween = Annotated[
    float | None, _option("--dropout-between", help="Between layers.", panel=MODEL)
]
DropoutOutput = Annotated[
    float | None, _option("--dropout-output", help="On the last layer's outputs.", panel=MODEL)
]
DropoutEmbedding = Annotated[
    float | None, _option("--dropout-embedding", help="Of whole tokens.", panel=MODEL)
]

# -- training -------------------------------------------------------------------------------------
Steps = Annotated[int | None, _option("--steps", help="Train so many steps.", panel=TRAINING)]
Epochs = Annotated[
    float | None, _option("--epochs", help="Read the training text so often.", panel=TRAINING)
]
Budget = Annotated[
    str | None,
    _option(
        "--budget",
        help="Train so long, last validation included: 75s, 10m, 2h.",
        panel=TRAINING,
        metavar="TIME",
    ),
]
Lr = Annotated[float | None, _option("--lr", help="Highest learning rate.", panel=TRAINING)]
WeightDecay = Annotated[
    float | None, _option("--weight-decay", help="AdamW's, on matrices.", panel=TRAINING)
]
Warmup = Annotated[
    float | None,
    _option("--warmup", help="Share of the training with a rising rate.", panel=TRAINING),
]
DecayOption = Annotated[
    Decay | None, _option("--decay", help="How the rate falls; linear.", panel=TRAINING)
]
Clip = Annotated[float | None, _option("--clip", help="Largest gradient norm.", panel=TRAINING)]
BatchSize = Annotated[
    int | None, _option("--batch-size", help="Parallel streams, or documents.", panel=TRAINING)
]
Bptt = Annotated[
    int | None, _option("--bptt", help="Tokens back that gradients reach.", panel=TRAINING)
]
EvaluateEvery = Annotated[
    str | None,
    _option(
        "--evaluate-every",
        help="Validate every so many steps (200) or seconds (30s).",
        panel=TRAINING,
        metavar="N|TIME",
    ),
]
Patience = Annotated[
    int | None,
    _option("--patience", help="Stop after so many validations without progress.", panel=TRAINING),
]
PrecisionOption = Annotated[
    Precision | None, _option("--precision", help="auto is bf16 where it is fast.", panel=TRAINING)
]
EngineOption = Annotated[
    Engine | None, _option("--engine", help="What computes the layers.", panel=TRAINING)
]
Threads = Annotated[int | None, _option("--threads", help="CPU threads.", panel=TRAINING)]
Workers = Annotated[
    int | None, _option("--workers", help="Processes that share the work.", panel=TRAINING)
]
Device = Annotated[
    str | None, _option("--device", help="auto, cpu, cuda, …", panel=TRAINING, metavar="NAME")
]
Seed = Annotated[int | None, _option("--seed", help="Start of all randomness; 0.", panel=TRAINING)]

# -- run ------------------------------------------------------------------------------------------
RunDirectory = Annotated[
    Path | None,
    _option("--run", help="Where to keep the run; runs/<name>-<time>.", panel=RUN, metavar="DIR"),
]
CheckpointEvery = Annotated[
    str | None,
    _option("--checkpoint-every", help="Time between checkpoints; 60s.", panel=RUN, metavar="TIME"),
]
Resume = Annotated[
    str | None,
    _option(
        "--resume",
        help="Continue this run; `auto` continues the one at --run if it is there.",
        panel=RUN,
        metavar="RUN|auto",
    ),
]
From = Annotated[
    Path | None,
    _option("--from", help="Start from this run's weights.", panel=RUN, metavar="RUN"),
]
ConfigFile = Annotated[
    Path | None,
    _option("--config", help="Settings of an earlier run: config.json.", panel=RUN, metavar="FILE"),
]
Overwrite = Annotated[bool, _option("--overwrite", help="Replace a run that is there.", panel=RUN)]
KeepText = Annotated[
    bool | None,
    _option("--keep-text/--no-keep-text", help="Keep held-out text in the run.", panel=RUN),
]
Diagnose = Annotated[
    bool,
    _option("--diagnose/--no-diagnose", help="End with the quick diagnosis (10 s).", panel=RUN),
]

# Parameter of the command -> section and field of the settings.
FIELDS: Final[Mapping[str, tuple[str, str]]] = {
    "task": ("model", "task"),
    "level": ("tokenizer", "level"),
    "documents": ("corpus", "documents"),
    "split": ("corpus", "split"),
    "text_field": ("corpus", "text_field"),
    "label_field": ("corpus", "label_field"),
    "encoding": ("corpus", "encoding"),
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


def seconds(text: str, option: str) -> float:
    """Seconds of `75s`, `10m`, `1.5h` or `75`. UsageError for anything else, and for nothing."""
    match = _TIME.match(text.strip())
    value = float(match[1]) * _UNITS[match[2]] if match else 0.0
    if value <= 0:
        raise UsageError(f"{option} {text}: not a time", hint="write 75s, 10m or 2h")
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
        put("training", "evaluate_every_s", seconds(text, "--evaluate-every"))


def _absolute(source: str) -> str:
    """A path as it is seen from anywhere, so that the run can be resumed from anywhere."""
    path = Path(source)
    return os.path.normpath(path.absolute()) if path.exists() else source
