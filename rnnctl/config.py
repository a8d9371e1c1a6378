"""Every setting of a training, declared once: its type and range, its default, its option and help.

There is one frozen record for each part of ``config.json``. A field that carries an `Option` is an
option of ``rnnctl train``: the commands make their options from these fields (see
`cli.setting_options`), error messages take the option's name from here, and ``rnnctl compare``
passes the same options on to its members. A field without one can only be set in ``config.json``.

Defaults that depend on what is learnt are the task's own (`rnnctl.tasks.base`). A field's own
default applies where a task gives no other.

Nothing here imports torch, so that ``--help`` stays fast.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated, Any, Final, Literal, get_args, get_origin

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails, PydanticCustomError

from rnnctl import catalog
from rnnctl.wording import either

CONFIG_SCHEMA = 1

# What --vectors takes beside a file: vectors learnt from the training text, and random ones.
CORPUS_VECTORS, NO_VECTORS = "corpus", "none"


def is_vectors_word(value: object) -> bool:
    """Whether a value of --vectors is one of its words, and not the name of a file."""
    return str(value) in (CORPUS_VECTORS, NO_VECTORS)


COLD_WINDOW = 64  # tokens of a window of the cold protocol, unless something else is said

# The panels of `rnnctl train --help`.
CORPUS, TOKENS, MODEL = "Corpus", "Tokens", "Model"
TRAINING, MACHINE, RUN = "Training", "Machine", "Run"


@dataclass(frozen=True, slots=True)
class Option:
    """How a setting is given on the command line.

    `help` says what it does, with its unit. `name` is empty where it is the field's name with
    dashes. `default` says what happens without the option where neither the field's default nor a
    task says it. `labelled` says on which tasks alone it has an effect, those that learn labels or
    the others; `levels`, on which levels. Two fields may share an option: the second one then takes
    a time, and has no help.
    """

    panel: str
    help: str = ""
    name: str = ""
    metavar: str = ""
    default: str = ""
    labelled: bool | None = None
    levels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Listed:
    """Marks a field whose value is one of the names that the catalog lists under `kind`."""

    kind: str

    def check(self, name: str) -> str:
        """`name`, as it is called today. Raises what pydantic reports as an impossible value."""
        name = catalog.today(self.kind, name)
        known = catalog.names(self.kind)
        if name not in known:
            raise PydanticCustomError("listed", "must be {known}", {"known": either(known)})
        return name


TaskName = Annotated[str, AfterValidator(Listed("task").check), Listed("task")]
Level = Annotated[str, AfterValidator(Listed("level").check), Listed("level")]
CellName = Annotated[str, AfterValidator(Listed("cell").check), Listed("cell")]
Nonlinearity = Literal["tanh", "relu"]
Init = Literal["torch", "good", "chrono"]
Pool = Literal["last", "mean", "max", "meanmax"]
DocumentUnit = Literal["none", "paragraph", "line", "file"]
SourceKind = Literal["text", "lines", "csv", "tsv", "json", "jsonl"]
WordProtocol = Literal["auto", "natural", "whitespace"]
Precision = Literal["auto", "fp32", "bf16"]
Engine = Literal["auto", "torch", "closed", "fused"]
Decay = Literal["linear", "cosine", "constant", "slanted"]


def _snapshot_numbers(text: str) -> str:
    """``log``, or numbers of tokens, in order and each once. Raises what pydantic reports."""
    if text == "log":
        return text
    parts = [part.strip().replace("_", "") for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() and 0 < len(part) <= 13 for part in parts):
        raise PydanticCustomError("snapshots", SNAPSHOTS_FORM)
    return ",".join(map(str, sorted({int(part) for part in parts})))


SNAPSHOTS_FORM = "must be log, or numbers of tokens with commas between them, such as 0,10000,50000"


def snapshot_tokens(text: str | None) -> tuple[int, ...]:
    """The numbers of tokens in a setting of snapshots; () of ``log`` and where there are none."""
    return tuple(map(int, text.split(","))) if text not in (None, "log") else ()


Fraction = Annotated[float, Field(ge=0, lt=1)]
AboveZero = Annotated[float, Field(gt=0)]
# Upper bounds are where numbers of other libraries overflow, far beyond what any machine can do.
Positive = Annotated[int, Field(ge=1, le=10**12)]
Size = Annotated[int, Field(ge=1, le=10**6)]
Few = Annotated[int, Field(ge=1, le=10**3)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]


class Settings(BaseModel):
    """Base of all settings: frozen, no unknown fields, no NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class CorpusConfig(Settings):
    """Where the text comes from, and how it is cut into documents and splits."""

    sources: tuple[str, ...] = Field((), description="files, folders, hub:NAME[:SPLIT], task:…, -")
    documents: Annotated[
        DocumentUnit,
        Option(
            CORPUS,
            "How plain text is cut into documents: not at all (none: one running text), at blank "
            "lines (paragraph), into lines, or one document per file.",
        ),
    ] = "none"
    split: Annotated[
        str,
        Option(
            CORPUS,
            "Shares of the text for training, validation and test, in per cent.",
            metavar="A/B/C",
        ),
    ] = "90/5/5"
    text_field: Annotated[
        str | None,
        Option(
            CORPUS,
            "Column of a table that holds the text: its name, or its number from 1.",
            metavar="NAME",
            default="found by its name and content",
        ),
    ] = None
    label_field: Annotated[
        str | None,
        Option(
            CORPUS,
            "Column of a table that holds the label: its name, or its number from 1. In plain "
            "text, first-word takes the first word of each line.",
            metavar="NAME",
            default="found by its name and content",
        ),
    ] = None
    label_separator: Annotated[
        str | None,
        Option(
            CORPUS,
            "For texts with several labels: the character between them, such as a comma. A text "
            "may then also have no label.",
            metavar="TEXT",
            default="one label for each text, unless labels are lists or several __label__ words",
            labelled=True,
        ),
    ] = None
    read_as: Annotated[
        SourceKind | None,
        Option(
            CORPUS,
            "Format of the files. With lines, each line is a document; for a classifier its first "
            "word is the label.",
            name="--as",
            default="recognised by their content",
        ),
    ] = None
    encoding: Annotated[
        str,
        Option(
            CORPUS,
            "Character encoding of files without a byte order mark, such as utf-8 or cp1252.",
            metavar="NAME",
        ),
    ] = "utf-8"
    new_labels: Annotated[
        Literal["error", "drop"],
        Option(
            CORPUS,
            "What to do with validation and test documents whose label does not occur in the "
            "training documents.",
        ),
    ] = "error"
    max_tokens: Annotated[
        Positive | None,
        Option(CORPUS, "Cut each document to at most N tokens.", default="no limit"),
    ] = None
    keep: Annotated[
        Literal["head", "tail"], Option(CORPUS, "Which end of a document is kept when it is cut.")
    ] = "head"
    split_seed: Seed = Field(0, description="which documents go into which split")
    read_for: TaskName | None = Field(
        None, description="the task whose documents and splits the texts are, if not the own one"
    )
    unlabelled: Literal["error", "leave_out"] = Field(
        "error",
        description="rows of a table without a label; leave_out: only a language model that is "
        "trained before the classifier reads them",
    )
    fold: Annotated[str, Field(pattern=r"^[1-9]\d{0,3}/[1-9]\d{0,3}$")] | None = Field(
        None, description="3/10: test on the third of ten parts"
    )


class TokenizerConfig(Settings):
    """How text becomes ids. The vocabulary comes from the training split only."""

    level: Annotated[
        Level,
        Option(
            TOKENS, "What one token is: a character, a byte, a word, or a piece of a word (bpe)."
        ),
    ] = "char"
    vocab_size: Annotated[
        Positive | None,
        Option(
            TOKENS,
            "Largest number of different tokens.",
            default="no limit",
            levels=("char", "word", "bpe"),
        ),
    ] = None
    min_count: Annotated[
        Positive | None,
        Option(
            TOKENS,
            "Words or characters that occur less often than N times become the unknown token.",
            default="2 for long natural text, otherwise 1",
            levels=("char", "word"),
        ),
    ] = None
    words: Annotated[
        WordProtocol,
        Option(
            TOKENS,
            "How text is cut into words: natural separates punctuation from words, whitespace cuts "
            "only at spaces (as for WikiText), auto means whitespace if the text contains <unk>.",
            levels=("word",),
        ),
    ] = "auto"
    lowercase: Annotated[
        bool,
        Option(
            TOKENS,
            "Read the text in lower case, so that Good and good are one word.",
            levels=("word",),
            labelled=True,
        ),
    ] = False
    lead: bool = Field(
        False, description="read texts with a space before them: their first word is one as others"
    )


class ModelConfig(Settings):
    """Sizes and cell. `embedding_size` None means `hidden_size`."""

    task: Annotated[
        TaskName, Option(MODEL, "What to learn: the next token (lm) or a label (classify).")
    ] = "lm"
    cell: Annotated[CellName, Option(MODEL, "Recurrent cell.")] = "lstm"
    nonlinearity: Annotated[
        Nonlinearity, Option(MODEL, "Activation function of the plain RNN.")
    ] = "tanh"
    hidden_size: Annotated[Size, Option(MODEL, "Units in each recurrent layer.")] = 512
    embedding_size: Annotated[
        Size | None,
        Option(
            MODEL,
            "Length of a token's embedding vector.",
            default="hidden size",
        ),
    ] = None
    num_layers: Annotated[Few, Option(MODEL, "Number of recurrent layers.", name="--layers")] = 1
    tied: Annotated[
        bool, Option(MODEL, "Output layer uses the embedding's weights.", labelled=False)
    ] = False
    bidirectional: Annotated[
        bool, Option(MODEL, "Read the text in both directions.", labelled=True)
    ] = False
    pool: Annotated[
        Pool,
        Option(
            MODEL,
            "How the states of a document become one vector: the last state, their mean, their "
            "maximum, or mean and maximum side by side.",
            labelled=True,
        ),
    ] = "last"
    init: Annotated[
        Init,
        Option(
            MODEL,
            "Initial weights: good (orthogonal, gates that keep), torch (PyTorch's own) or chrono "
            "(gates that keep for about --horizon tokens).",
        ),
    ] = "good"
    horizon: Annotated[
        Positive | None,
        Option(
            MODEL,
            "For --init chrono: how many tokens the gates keep before training.",
            default="none",
        ),
    ] = None
    vectors: Annotated[
        str | None,
        Option(
            MODEL,
            "Word vectors to start from: learnt from the training text (corpus), those in a "
            "text file (format of GloVe, fastText and word2vec; may be compressed), whose length "
            "sets the embedding size, or random ones (none).",
            metavar="corpus|FILE|none",
            default="lm: none; classify: corpus",
            levels=("word",),
        ),
    ] = None
    freeze_vectors: Annotated[bool, Option(MODEL, "Do not train the vectors of --vectors.")] = False
    vectors_sha256: str | None = Field(None, description="of the vectors' file, once it was read")
    dropout_input: Annotated[
        Fraction, Option(MODEL, "Dropout at the input of the recurrent layers.")
    ] = 0.0
    dropout_between: Annotated[Fraction, Option(MODEL, "Dropout between recurrent layers.")] = 0.0
    dropout_output: Annotated[
        Fraction, Option(MODEL, "Dropout at the output of the last recurrent layer.")
    ] = 0.0
    dropout_embedding: Annotated[
        Fraction | None,
        Option(MODEL, "Share of the vocabulary that is dropped from the input in each step."),
    ] = 0.0


class TrainingConfig(Settings):
    """The loop. It ends by `steps`, `epochs` or `budget_s`, whichever comes first."""

    seed: Annotated[Seed, Option(MACHINE, "Seed of all random numbers.")] = 0
    class_weights: Annotated[
        Literal["balanced"] | dict[str, AboveZero] | None,
        Option(
            TRAINING,
            "Weight of each label in the loss: balanced (rare labels count more), or a FILE with "
            "one line `label,weight` for each label. Scaled to a mean of 1.",
            metavar="balanced|FILE",
            default="equal weights",
            labelled=True,
        ),
    ] = None
    calibrate: Annotated[
        bool,
        Option(
            TRAINING,
            "After training, calibrate the probabilities on the validation text (temperature "
            "scaling). The predicted labels stay the same.",
            labelled=True,
        ),
    ] = True
    steps: Annotated[
        Positive | None, Option(TRAINING, "Stop after N optimizer steps.", default="no limit")
    ] = None
    epochs: Annotated[
        AboveZero | None,
        Option(
            TRAINING,
            "Stop after X passes over the training text.",
            default="no limit",
        ),
    ] = None
    budget_s: Annotated[
        AboveZero | None,
        Option(
            TRAINING,
            "Stop after this time, including the last validation.",
            name="--budget",
        ),
    ] = None
    lr: Annotated[AboveZero, Option(TRAINING, "Peak learning rate.")] = 8e-3
    weight_decay: Annotated[
        Annotated[float, Field(ge=0)], Option(TRAINING, "AdamW weight decay (matrices only).")
    ] = 0.1
    beta1: Fraction = Field(0.9, description="AdamW's memory of gradients")
    beta2: Fraction = Field(0.99, description="AdamW's memory of their squares")
    average: Fraction = Field(
        0.0, description="share that a running average of weights keeps a step"
    )
    warmup: Annotated[
        Fraction,
        Option(TRAINING, "Share of the training during which the learning rate rises."),
    ] = 0.02
    decay: Annotated[
        Decay,
        Option(
            TRAINING,
            "How the learning rate falls after the warm-up; slanted is linear, and starts and ends "
            "at 1/32 of the peak.",
        ),
    ] = "linear"
    layer_factor: Annotated[
        Annotated[float, Field(ge=1)],
        Option(
            TRAINING,
            "Divide the learning rate by X for each layer further from the output. Useful if the "
            "classifier starts from a language model that has read very much text; 2.6 is usual.",
            labelled=True,
        ),
    ] = 1.0
    unfreeze: Annotated[
        Annotated[float, Field(ge=0, le=0.2)],
        Option(
            TRAINING,
            "Train only the output layer at first, and add one more layer each time this share of "
            "the training has passed. Useful if the classifier starts from a language model that "
            "has read very much text.",
            labelled=True,
        ),
    ] = 0.0
    clip: Annotated[
        AboveZero,
        Option(TRAINING, "Scale gradients with a larger norm than X down to norm X."),
    ] = 1.0
    batch_size: Annotated[
        Size, Option(TRAINING, "Streams of text read in parallel (lm), or documents per step.")
    ] = 32
    bptt: Annotated[
        Size,
        Option(
            TRAINING,
            "Tokens that gradients flow back through (truncated back-propagation).",
            labelled=False,
        ),
    ] = 64
    reset: bool = Field(True, description="zero the state at document starts")
    evaluate_every: Annotated[
        Positive | None,
        Option(
            TRAINING,
            "Validate every N steps (such as 200), or every TIME (such as 30s).",
            metavar="N|TIME",
            default="about ten times in total",
        ),
    ] = None
    evaluate_every_s: Annotated[AboveZero | None, Option(TRAINING, name="--evaluate-every")] = None
    patience: Annotated[
        Positive | None,
        Option(TRAINING, "Stop after N validations without an improvement.", default="no limit"),
    ] = None
    precision: Annotated[
        Precision,
        Option(MACHINE, "Number format: fp32, bf16, or auto (bf16 where it is faster)."),
    ] = "auto"
    engine: Annotated[
        Engine,
        Option(
            MACHINE,
            "Code that computes the recurrent layers: PyTorch's kernels (torch), closed-form "
            "back-propagation (closed), the same code compiled by numba (fused), or the fastest of "
            "these (auto).",
        ),
    ] = "auto"
    threads: Annotated[Few | None, Option(MACHINE, "CPU threads.", default="one for each core")] = (
        None
    )
    workers: Annotated[
        Few,
        Option(
            MACHINE,
            "Number of processes that share each batch. For several machines, use "
            "`torchrun … -m -- rnnctl train …` (with the two dashes).",
        ),
    ] = 1
    device: Annotated[
        str, Option(MACHINE, "Where to compute: auto, cpu, cuda, cuda:1, mps.", metavar="NAME")
    ] = "auto"
    checkpoint_every_s: Annotated[
        AboveZero, Option(RUN, "Time between two checkpoints.", name="--checkpoint-every")
    ] = 60.0
    keep_text: Annotated[
        bool,
        Option(
            RUN,
            "Keep the validation and test text in the run, so that diagnosing it needs no corpus.",
        ),
    ] = True
    snapshots: Annotated[
        Annotated[str, AfterValidator(_snapshot_numbers)] | None,
        Option(
            RUN,
            "Keep the weights at several points of the training, for `diagnose RUN --snapshots`: "
            "after these numbers of training tokens, or (log) each time the number of tokens has "
            "doubled; of these the last ten are kept. The first and the last weights are also "
            "kept.",
            metavar="log|N,N,…",
            default="no snapshots",
        ),
    ] = None
    start_from: Annotated[
        str | None,
        Option(
            RUN,
            "Start from the weights of this run, with its vocabulary and sizes.",
            name="--from",
            metavar="RUN",
            default="random weights",
        ),
    ] = None
    pretrain_s: Annotated[
        AboveZero | None,
        Option(
            RUN,
            "First train a language model on the training texts for this time (saved as the run "
            "DIR-lm) and start from its weights. It also reads the rows of a table that have no "
            "label. --budget limits only the classifier.",
            name="--pretrain",
            default="no language model",
            labelled=True,
        ),
    ] = None


class RunConfig(Settings):
    """Everything that `rnnctl train --config FILE` needs to repeat a run."""

    schema_version: int = CONFIG_SCHEMA
    corpus: CorpusConfig = CorpusConfig()
    tokenizer: TokenizerConfig = TokenizerConfig()
    model: ModelConfig = ModelConfig()
    training: TrainingConfig = TrainingConfig()


SECTIONS: Final[dict[str, type[Settings]]] = {
    "corpus": CorpusConfig,
    "tokenizer": TokenizerConfig,
    "model": ModelConfig,
    "training": TrainingConfig,
}

# An option that stands for several: its help, and the fields that it sets.
DROPOUT = Option(
    MODEL,
    "Shorthand for --dropout-input, --dropout-between and --dropout-output.",
    name="--dropout",
    default="those of these three options",
)
DROPOUT_FIELDS = ("dropout_input", "dropout_between", "dropout_output")


# -- settings in words ---------------------------------------------------------------------------


def settings() -> Iterator[tuple[str, str, FieldInfo]]:
    """Section, name and field of every setting, in the order of ``config.json``."""
    for section, part in SECTIONS.items():
        for name, field in part.model_fields.items():
            yield section, name, field


def option(name: str, field: FieldInfo) -> Option | None:
    """The option of a setting, its name filled in; None for one that only a file sets."""
    for mark in field.metadata:
        if isinstance(mark, Option):
            return replace(mark, name=mark.name or "--" + name.replace("_", "-"))
    return None


def option_of(name: str) -> str:
    """How the setting of that name is given: its option of `rnnctl train`, or the field itself."""
    if name == "sources":
        return "CORPUS"
    for _, known, field in settings():
        if known == name and (found := option(name, field)) is not None:
            return found.name
    return name


def kind_of(field: FieldInfo) -> tuple[Any, str]:
    """The type of a setting without "or None", its choices as a Literal; and its range in words."""
    return _kind(field.annotation, list(field.metadata))


def _kind(annotation: Any, marks: list[Any]) -> tuple[Any, str]:
    inner = [one for one in get_args(annotation) if one is not type(None)]
    if get_origin(annotation) is Annotated:
        return _kind(inner[0], [*marks, *inner[1:]])
    if type(None) in get_args(annotation):
        return _kind(inner[0], marks)
    for mark in marks:
        if isinstance(mark, Listed):
            return Literal[tuple(catalog.names(mark.kind))], ""
    limits: dict[str, Any] = {}
    for mark in marks:
        for limit in mark.metadata if isinstance(mark, FieldInfo) else [mark]:
            limits |= {
                key: getattr(limit, key) for key in ("ge", "gt", "lt") if hasattr(limit, key)
            }
    return annotation, range_in_words(**limits)


def range_in_words(
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
    lt: float | None = None,
) -> str:
    """``0 to 1``, ``0 to less than 1``; "" for what anybody expects, such as a count above 0."""
    near = 10**9  # no person comes near greater bounds
    low, high = (gt if ge is None else ge), (lt if le is None else le)
    if low is None or high is None or high > near:
        return ""
    return f"{low:g} to {'less than ' if le is None else ''}{high:g}"


def value_in_words(name: str, value: object) -> str:
    """The value of a setting as a person would write it."""
    if value is None:
        return "not given"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple | list):
        return " ".join(map(str, value))
    if isinstance(value, dict):
        return ", ".join(f"{key} {number:g}" for key, number in value.items())
    return f"{value:g}{'s' * name.endswith('_s')}" if isinstance(value, float) else str(value)


UNCLEAR = "is not possible"
_PROBLEMS = {
    "extra_forbidden": "is not a setting",
    "missing": "is missing",
    "finite_number": "must be a finite number",
    "listed": "must be {known}",
    "snapshots": SNAPSHOTS_FORM,
}
_EXPECTED = {
    "int": "must be a whole number",
    "float": "must be a number",
    "bool": "must be true or false",
    "string": "must be a text",
    "tuple": "must be a list",
    "dict": "must be an object",
    "model": "must be an object",
}


def problem_in_words(problem: ErrorDetails) -> str:
    """What is wrong with a value, as the end of a sentence: ``must be at least 1``.

    For every validation of records and settings: pydantic's own sentences name its types, which
    mean nothing to a user.
    """
    kind, context = problem["type"], problem.get("ctx", {})
    limits = {
        "greater_than_equal": "must be at least {ge}",
        "greater_than": "must be more than {gt}",
        "less_than_equal": "must be at most {le}",
        "less_than": "must be less than {lt}",
        "literal_error": "must be {expected}",
    }
    if sentence := (_PROBLEMS | limits).get(kind):
        known = {k: f"{v:g}" if isinstance(v, float) else v for k, v in context.items()}
        return sentence.format(**known).replace("'", "")
    return _EXPECTED.get(kind.partition("_")[0], UNCLEAR)


def problems_in_words(error: ValidationError, most: int = 5) -> list[tuple[str, Any, str]]:
    """Where (``training.lr``), the value that was given, and what is wrong with it."""
    found = error.errors(include_url=False)
    return [
        (".".join(map(str, one["loc"])), one["input"], problem_in_words(one))
        for one in found[:most]
    ]
