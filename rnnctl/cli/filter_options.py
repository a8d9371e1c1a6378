"""The options of the commands that filter text, `score` and `classify`, as annotated types."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

from rnnctl.cli.idle import Idle, Values, When, missing
from rnnctl.cli.options import option
from rnnctl.config import SourceKind
from rnnctl.errors import UsageError
from rnnctl.wording import either

if TYPE_CHECKING:
    from rnnctl.inference.lines import Encoding as Bytes
    from rnnctl.inference.memory import Memory
    from rnnctl.inference.records import Wanted
    from rnnctl.tasks.loading import Loaded

INPUT: Final = "Input"
STATE: Final = "Reading on"
MEMORY: Final = "Memory at test time"
THETA, WEIGHT, DECAY, SEGMENT = 0.3, 0.1, 0.0, 20  # of the options below
WHY: Final = "Explanation"
MAX_LINE: Final = 16_000_000

LineFormat = Literal["auto", "text", "jsonl"]
Unit = Literal["file", "paragraph", "line"]

Files = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="[FILE]...",
        help="Files that hold the texts. `-` is standard input, which is also read if no FILE is "
        "given in a pipe.",
        show_default=False,
    ),
]
ReadAs = Annotated[
    SourceKind | None,
    option(INPUT, "Format of the input.", "--as", show_default="recognised by its content"),
]
Input = Annotated[
    LineFormat, option(INPUT, "The same as --as; auto decides by the content.", "--input")
]
Jsonl = Annotated[bool, option(INPUT, "The same as --as jsonl: JSON lines.", "--jsonl")]
Encoding = Annotated[
    str | None,
    option(
        INPUT,
        "Encoding of input without a byte order mark.",
        metavar="NAME",
        show_default="that of the run's corpus, or UTF-8",
    ),
]
TextField = Annotated[
    str | None,
    option(
        INPUT,
        "Column that holds the text: its name, or its number from 1.",
        metavar="NAME",
        show_default="the one that the run was trained on",
    ),
]
MaxLine = Annotated[
    int,
    option(
        INPUT,
        "Longest line that is accepted. A longer line gets an error record.",
        min=1,
        metavar="BYTES",
    ),
]
FailFast = Annotated[
    bool, option(INPUT, "Stop at the first line that holds no text.", "--fail-fast")
]
Lines = Annotated[bool, option(INPUT, "Treat each line as a separate text.", "--lines")]
Documents = Annotated[
    Unit | None, option(INPUT, "For plain text: what counts as one text.", show_default="a file")
]
ClassifiedDocuments = Annotated[
    Unit | None,
    option(
        INPUT,
        "For plain text: what counts as one text.",
        show_default="a line, or a file if the run was trained on whole files",
    ),
]
Explain = Annotated[
    Literal["gradients", "occlusion"] | None,
    option(
        WHY,
        "Say what each word contributed to the log-odds of the answer against the second "
        "most probable label; where a text may have several labels, to each label that it is "
        "given, against its absence. METHOD is gradients (integrated gradients, the default) or "
        "occlusion (leaving the word out).",
        metavar="[METHOD]",
        show_default=False,
    ),
]
WordsOverall = Annotated[
    bool,
    option(
        WHY, "Print the 30 words that speak most for each label, over all texts.", "--words-overall"
    ),
]
ExplainHtml = Annotated[
    Path | None,
    option(
        WHY,
        "Also write a page with the explained texts (at most 1,000) to this file.",
        metavar="FILE",
        show_default=False,
    ),
]
PerToken = Annotated[bool, option(INPUT, "Print the loss of every token, in nats.", "--per-token")]
Answer = Annotated[
    bool,
    option(
        INPUT,
        "Act as a scorer: read contexts and targets on standard input, and answer with the "
        "nats of each target. For `rnnctl diagnose --scorer` (see rnnctl help scorer).",
        "--answer",
    ),
]
CacheOption = Annotated[
    int,
    option(
        MEMORY,
        "Neural cache: also predict what came after similar states among the last N tokens. "
        "0 is off, 2000 is usual.",
        min=0,
    ),
]
CacheTheta = Annotated[
    float,
    option(
        MEMORY,
        "How strongly the cache prefers the most similar states; 0 weights all equally.",
        min=0,
    ),
]
CacheWeight = Annotated[
    float,
    option(MEMORY, "Share of the prediction that comes from the cache (below 1).", min=0, max=1),
]
DynamicOption = Annotated[
    float,
    option(
        MEMORY,
        "Dynamic evaluation: a copy of the weights keeps learning from the text it has read, "
        "with this learning rate. 0 is off.",
        min=0,
        metavar="RATE",
    ),
]
DynamicDecay = Annotated[
    float,
    option(
        MEMORY,
        "After each step, move these weights back towards the run's weights by this share.",
        min=0,
        max=1,
    ),
]
DynamicSegment = Annotated[int, option(MEMORY, "Tokens between two learning steps.", min=1)]
DynamicRule = Annotated[
    Literal["rms", "sgd"],
    option(
        MEMORY,
        "Learning rule: steps scaled by the usual gradient size of each weight on the "
        "validation text (rms, Krause et al. 2018), or the same for all weights (sgd).",
    ),
]
MEMORY_IDLE: Final = (
    Idle("cache_theta cache_weight", missing("cache"), "without --cache", "add --cache 2000"),
    Idle(
        "dynamic_decay dynamic_segment dynamic_rule",
        missing("dynamic"),
        "without --dynamic",
        "add --dynamic RATE",
    ),
)


ROW_FORMATS: Final = ("table", "json", "markdown")


def rows_only(one_by_one: When, known: tuple[str, ...] = ROW_FORMATS) -> Idle:
    """Answers that are written one by one are rows, and no report."""
    return Idle(
        "format",
        lambda values: values["format"] not in known and one_by_one(values),
        "of this name where one line is written for each answer",
        f"use {either(list(known))}",
    )


def unit_of(
    lines: bool, documents: Unit | None, kind: SourceKind | None, text_field: str | None
) -> Unit:
    """What gets a record of its own in `score` and `states`."""
    in_lines = lines or kind not in (None, "text") or text_field is not None
    return "line" if in_lines else documents or "file"


def unit_in(values: Values) -> Unit:
    """The same by the command's parameters."""
    kind = source_kind(values["read_as"], "auto", values["jsonl"])
    return unit_of(values["lines"], values["documents"], kind, values["text_field"])


LINES_IDLE: Final = (
    Idle(
        "documents",
        lambda values: unit_in(values) == "line" != values["documents"],
        "with --lines, --as, --jsonl and --text-field: there each line or record is a text",
        "leave out one of them",
    ),
    Idle(
        "max_line fail_fast",
        lambda values: unit_in(values) == "file",
        "when a whole file is one text",
        "add --lines or --documents paragraph",
    ),
)
"""How the input is divided, which of it is one text: of `score` and `states`."""


def memory_of(
    cache: int,
    theta: float,
    weight: float,
    dynamic: float,
    decay: float,
    segment: int,
    rule: Literal["rms", "sgd"],
) -> Memory:
    """The memory that the options ask for. Raises UsageError for impossible values."""
    from rnnctl.inference.memory import Cache, Dynamic, Memory

    return Memory(
        Cache(cache, theta, weight) if cache else None,
        Dynamic(dynamic, decay, segment, rule) if dynamic else None,
    )


StateIn = Annotated[
    Path | None,
    option(
        STATE,
        "Start from a state that `score --state-out` wrote, as if its text came first.",
        metavar="FILE",
    ),
]
StateOut = Annotated[
    Path | None, option(STATE, "Write the state after the last text to this file.", metavar="FILE")
]


def load_run(run: Path, device: str, threads: int | None) -> Loaded:
    """The run that a command names, ready to be used. What that takes is imported only now."""
    from rnnctl.machine import set_threads
    from rnnctl.tasks.loading import load

    set_threads(threads)
    return load(run, device=device)


def source_kind(
    read_as: SourceKind | None, input_format: LineFormat, jsonl: bool
) -> SourceKind | None:
    """What the options say that the input is. UsageError where they contradict each other."""
    said: dict[str, SourceKind] = {}
    if read_as is not None:
        said[f"--as {read_as}"] = read_as
    if input_format != "auto":
        said[f"--input {input_format}"] = input_format
    if jsonl:
        said["--jsonl"] = "jsonl"
    if len(set(said.values())) > 1:
        second, first = sorted(said, reverse=True)[:2]
        raise UsageError(f"{second} and {first} exclude each other", hint="leave one of them out")
    return next(iter(said.values()), None)


def encoding_of(loaded: Loaded, encoding: str | None) -> Bytes:
    """How bytes become text: as the option says, or else as the run's corpus was read.

    Raises: UsageError for an encoding that does not exist.
    """
    from rnnctl.data.text import check_encoding
    from rnnctl.inference.lines import Encoding as Bytes
    from rnnctl.inference.training_text import trained

    codec = check_encoding(encoding or trained(loaded).encoding)
    return Bytes(codec, guessed=encoding is None and codec != "utf-8")


def wanted(
    loaded: Loaded,
    *,
    kind: SourceKind | None,
    text_field: str | None,
    unit: Unit | None,
    max_line: int,
    encoding: str | None,
) -> Wanted:
    """What is read and how: as the options say, or else as the run's corpus was read.

    Raises: UsageError for an encoding that does not exist.
    """
    from rnnctl.inference.records import Wanted
    from rnnctl.inference.training_text import trained

    before = trained(loaded)
    return Wanted(
        kind=kind,
        text_field=text_field,
        unit=unit or ("file" if before.unit == "file" else "line"),
        max_line=max_line,
        encoding=encoding_of(loaded, encoding),
        trained=before,
        labels=loaded.labels,
    )
