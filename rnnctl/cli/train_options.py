"""The options of `rnnctl train`, as annotated types; `train_settings` says what each one sets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from rnnctl.config import (
    Decay,
    DocumentUnit,
    Engine,
    Init,
    Level,
    Nonlinearity,
    Pool,
    Precision,
    SourceKind,
    TaskName,
    WordProtocol,
)

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
    _option(
        "--documents", help="Cut plain text into documents; none: one running text.", panel=CORPUS
    ),
]
Split = Annotated[
    str | None,
    _option("--split", help="train/valid/test in per cent: 90/5/5.", panel=CORPUS, metavar="A/B/C"),
]
ReadAs = Annotated[
    SourceKind | None,
    _option(
        "--as",
        help="What the files are; by default, what their content looks like. lines: one document "
        "per line, after its label for a classifier.",
        panel=CORPUS,
    ),
]
TextField = Annotated[
    str | None,
    _option(
        "--text-field",
        help="Column that holds the text: its name, or its number from 1. By default, found by "
        "the usual names and the content.",
        panel=CORPUS,
        metavar="NAME",
    ),
]
LabelField = Annotated[
    str | None,
    _option(
        "--label-field",
        help="Column that holds the label: its name, or its number from 1. first-word: the first "
        "word of each line of plain text.",
        panel=CORPUS,
        metavar="NAME",
    ),
]
Encoding = Annotated[
    str | None,
    _option(
        "--encoding",
        help="Encoding of files without a byte order mark; utf-8 by default.",
        panel=CORPUS,
        metavar="NAME",
    ),
]
NewLabels = Annotated[
    Literal["error", "drop"] | None,
    _option(
        "--new-labels",
        help="Validation or test documents whose label the training documents lack: an error "
        "(default), or drop them.",
        panel=CORPUS,
    ),
]
MaxTokens = Annotated[
    int | None,
    _option(
        "--max-tokens", help="Longest document, in tokens; sentiment: 400 words.", panel=CORPUS
    ),
]
Keep = Annotated[
    Literal["head", "tail"] | None,
    _option("--keep", help="Which end of a cut document stays; tail for sentiment.", panel=CORPUS),
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
Cell = Annotated[
    str | None,
    _option("--cell", help="Recurrent cell; lstm.", panel=MODEL, metavar="<rnn|lstm|gru>"),
]
NonlinearityOption = Annotated[
    Nonlinearity | None, _option("--nonlinearity", help="Of the plain RNN; tanh.", panel=MODEL)
]
HiddenSize = Annotated[
    int | None, _option("--hidden-size", help="Units of each recurrent layer.", panel=MODEL)
]
EmbeddingSize = Annotated[
    int | None, _option("--embedding-size", help="Length of a token's vector.", panel=MODEL)
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
    float | None, _option("--dropout", help="Sets the next three at once.", panel=MODEL)
]
DropoutInput = Annotated[
    float | None, _option("--dropout-input", help="Share of the layers' inputs.", panel=MODEL)
]
DropoutBetween = Annotated[
    float | None,
    _option("--dropout-between", help="Share of what goes from layer to layer.", panel=MODEL),
]
DropoutOutput = Annotated[
    float | None,
    _option("--dropout-output", help="Share of the last layer's outputs.", panel=MODEL),
]
DropoutEmbedding = Annotated[
    float | None,
    _option("--dropout-embedding", help="Share of tokens that are left out.", panel=MODEL),
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
    Engine | None,
    _option("--engine", help="What computes the layers; the fastest.", panel=TRAINING),
]
Threads = Annotated[
    int | None, _option("--threads", help="CPU threads; all cores.", panel=TRAINING)
]
Workers = Annotated[
    int | None,
    _option(
        "--workers",
        help="Processes that share the work. On several machines: "
        "`torchrun … -m -- rnnctl train …`, the two dashes included.",
        panel=TRAINING,
    ),
]
Device = Annotated[
    str | None,
    _option("--device", help="auto, cpu, cuda, cuda:1, mps, …", panel=TRAINING, metavar="NAME"),
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
    _option(
        "--from",
        help="Start from this run's weights, with its tokens and sizes.",
        panel=RUN,
        metavar="RUN",
    ),
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
