"""What a user may set: names, ranges, defaults; read from and written to ``config.json``.

One frozen record per part. Every field carries its unit and range; an impossible value is reported
with all others at once by pydantic. Nothing here imports torch, so that ``--help`` stays fast.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from rnnctl import catalog

CONFIG_SCHEMA = 1

TaskName = Literal["lm", "sentiment"]
Level = Literal["char", "byte", "word", "bpe"]


def _listed_cell(name: str) -> str:
    """`name`, if it is a cell of the catalog or of an installed package; else ValueError."""
    if name not in catalog.CELLS and name not in (known := catalog.names("cell")):
        raise ValueError(f"there is no such cell; {catalog.suggestion(name, known)}")
    return name


CellName = Annotated[str, AfterValidator(_listed_cell)]
Nonlinearity = Literal["tanh", "relu"]
Init = Literal["torch", "good", "chrono"]
Pool = Literal["last", "mean", "max", "meanmax"]
DocumentUnit = Literal["none", "paragraph", "line", "file"]
SourceKind = Literal["text", "lines", "csv", "tsv", "json", "jsonl"]
WordProtocol = Literal["auto", "natural", "whitespace"]
Precision = Literal["auto", "fp32", "bf16"]
Engine = Literal["auto", "torch", "closed", "fused"]
Decay = Literal["linear", "cosine", "constant"]

Fraction = Annotated[float, Field(ge=0, lt=1)]
# Upper bounds are where numbers of other libraries overflow, far beyond what any machine can do.
Positive = Annotated[int, Field(ge=1, le=10**12)]
Size = Annotated[int, Field(ge=1, le=10**6)]
Few = Annotated[int, Field(ge=1, le=10**3)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]


# Fields whose option of `rnnctl train` is called something else.
_OPTIONS = {
    "sources": "CORPUS",
    "read_as": "--as",
    "num_layers": "--layers",
    "budget_s": "--budget",
    "evaluate_every_s": "--evaluate-every",
    "checkpoint_every_s": "--checkpoint-every",
    "start_from": "--from",
}


# Fields that only `config.json` sets: who knows that they want another value can edit a file.
_OF_THE_FILE = {"split_seed", "beta1", "beta2", "average", "reset"}


def option_of(field: str) -> str:
    """How the setting of that name is given: its option of `rnnctl train`, or the field itself."""
    if field in _OF_THE_FILE or not any(field in part.model_fields for part in PARTS):
        return field
    return _OPTIONS.get(field) or "--" + field.replace("_", "-")


class Settings(BaseModel):
    """Base of all settings: frozen, no unknown fields, no NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class CorpusConfig(Settings):
    """Where the text comes from and how it is cut into documents and splits."""

    sources: tuple[str, ...] = Field((), description="files, folders, hub:NAME[:SPLIT], task:…, -")
    documents: DocumentUnit = Field("none", description="none = one running text")
    split: str = Field("90/5/5", description="train/valid/test in per cent")
    text_field: str | None = None
    label_field: str | None = None
    read_as: SourceKind | None = Field(None, description="None: decided by the content")
    encoding: str = "utf-8"
    new_labels: Literal["error", "drop"] = "error"
    max_tokens: Positive | None = Field(None, description="documents are cut to this length")
    keep: Literal["head", "tail"] = "head"
    split_seed: Seed = Field(0, description="which documents go into which split")


class TokenizerConfig(Settings):
    """How text becomes ids. The vocabulary comes from the training split only."""

    level: Level = "char"
    vocab_size: Positive | None = Field(None, description="largest vocabulary (word, bpe)")
    min_count: Positive | None = Field(
        None, description="rarer words become <unk>; None: 2 for long natural text, else 1"
    )
    words: WordProtocol = Field(
        "auto",
        description="whitespace = the WikiText protocol; auto: where the text has <unk>",
    )


class ModelConfig(Settings):
    """Sizes and cell. `embedding_size` None means `hidden_size`."""

    task: TaskName = "lm"
    cell: CellName = "lstm"
    nonlinearity: Nonlinearity = Field("tanh", description="of the plain RNN only")
    hidden_size: Size = 512
    embedding_size: Size | None = None
    num_layers: Few = 1
    tied: bool = Field(False, description="the output layer shares the embedding's weights")
    bidirectional: bool = Field(False, description="classifiers only")
    pool: Pool = Field("last", description="classifiers only: how states become one vector")
    init: Init = "good"
    horizon: Positive | None = Field(None, description="tokens, for init = chrono")
    dropout_input: Fraction = 0.0
    dropout_between: Fraction = 0.0
    dropout_output: Fraction = 0.0
    dropout_embedding: Fraction = Field(0.0, description="whole words (tokens) dropped")


class TrainingConfig(Settings):
    """The loop. It ends by `steps`, `epochs` or `budget_s`, whichever comes first."""

    seed: Seed = 0
    steps: Positive | None = None
    epochs: Annotated[float, Field(gt=0)] | None = None
    budget_s: Annotated[float, Field(gt=0)] | None = Field(None, description="seconds of training")
    lr: Annotated[float, Field(gt=0)] = Field(8e-3, description="peak learning rate")
    weight_decay: Annotated[float, Field(ge=0)] = 0.1
    beta1: Fraction = Field(0.9, description="AdamW's memory of gradients")
    beta2: Fraction = Field(0.99, description="AdamW's memory of their squares")
    average: Fraction = Field(
        0.0, description="share that a running average of weights keeps a step"
    )
    warmup: Fraction = Field(0.02, description="share of the progress")
    decay: Decay = "linear"
    clip: Annotated[float, Field(gt=0)] = Field(1.0, description="largest gradient norm")
    batch_size: Size = Field(32, description="parallel streams, or documents a step")
    bptt: Size = Field(64, description="tokens per truncated chunk (language models)")
    reset: bool = Field(True, description="zero the state at document starts")
    evaluate_every_s: Annotated[float, Field(gt=0)] | None = None
    evaluate_every: Positive | None = Field(None, description="steps between validations")
    patience: Positive | None = Field(None, description="validations without progress before stop")
    precision: Precision = "auto"
    engine: Engine = "auto"
    threads: Few | None = None
    workers: Few = 1
    device: str = "auto"
    checkpoint_every_s: Annotated[float, Field(gt=0)] = 60.0
    keep_text: bool = Field(True, description="keep held-out documents in the run")
    start_from: str | None = Field(None, description="a run whose weights are taken")


class RunConfig(Settings):
    """Everything that `rnnctl train --config FILE` needs to repeat a run."""

    schema_version: int = CONFIG_SCHEMA
    corpus: CorpusConfig = CorpusConfig()
    tokenizer: TokenizerConfig = TokenizerConfig()
    model: ModelConfig = ModelConfig()
    training: TrainingConfig = TrainingConfig()


PARTS: tuple[type[Settings], ...] = (CorpusConfig, TokenizerConfig, ModelConfig, TrainingConfig)
