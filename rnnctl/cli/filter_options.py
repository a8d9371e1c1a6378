"""The options of the commands that filter text, `score` and `classify`, as annotated types."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

from rnnctl.cli.idle import Idle, Values, When, missing
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
    typer.Option(
        "--as",
        help="Format of the input.",
        show_default="recognised by its content",
        rich_help_panel=INPUT,
    ),
]
Input = Annotated[
    LineFormat,
    typer.Option(
        "--input", help="The same as --as; auto decides by the content.", rich_help_panel=INPUT
    ),
]
Jsonl = Annotated[
    bool,
    typer.Option("--jsonl", help="The same as --as jsonl: JSON lines.", rich_help_panel=INPUT),
]
Encoding = Annotated[
    str | None,
    typer.Option(
        "--encoding",
        metavar="NAME",
        help="Encoding of input without a byte order mark.",
        show_default="that of the run's corpus, or UTF-8",
        rich_help_panel=INPUT,
    ),
]
TextField = Annotated[
    str | None,
    typer.Option(
        "--text-field",
        metavar="NAME",
        help="Column that holds the text: its name, or its number from 1.",
        show_default="the one that the run was trained on",
        rich_help_panel=INPUT,
    ),
]
MaxLine = Annotated[
    int,
    typer.Option(
        "--max-line",
        min=1,
        metavar="BYTES",
        help="Longest line that is accepted. A longer line gets an error record.",
        rich_help_panel=INPUT,
    ),
]
FailFast = Annotated[
    bool,
    typer.Option(
        "--fail-fast", help="Stop at the first line that holds no text.", rich_help_panel=INPUT
    ),
]
Lines = Annotated[
    bool,
    typer.Option("--lines", help="Treat each line as a separate text.", rich_help_panel=INPUT),
]
Documents = Annotated[
    Unit | None,
    typer.Option(
        "--documents",
        help="For plain text: what counts as one text.",
        show_default="a file",
        rich_help_panel=INPUT,
    ),
]
ClassifiedDocuments = Annotated[
    Unit | None,
    typer.Option(
        "--documents",
        help="For plain text: what counts as one text.",
        show_default="a line, or a file if the run was trained on whole files",
        rich_help_panel=INPUT,
    ),
]
Explain = Annotated[
    Literal["gradients", "occlusion"] | None,
    typer.Option(
        "--explain",
        metavar="[METHOD]",
        help="Say what each word contributed to the log-odds of the answer against the second "
        "most probable label. METHOD is gradients (integrated gradients, the default) or occlusion "
        "(leaving the word out).",
        show_default=False,
        rich_help_panel=WHY,
    ),
]
WordsOverall = Annotated[
    bool,
    typer.Option(
        "--words-overall",
        help="Print the 30 words that speak most for each label, over all texts.",
        rich_help_panel=WHY,
    ),
]
ExplainHtml = Annotated[
    Path | None,
    typer.Option(
        "--html",
        metavar="FILE",
        help="Also write a page with the explained texts (at most 1,000) to this file.",
        show_default=False,
        rich_help_panel=WHY,
    ),
]
PerToken = Annotated[
    bool,
    typer.Option(
        "--per-token", help="Print the loss of every token, in nats.", rich_help_panel=INPUT
    ),
]
Answer = Annotated[
    bool,
    typer.Option(
        "--answer",
        help="Act as a scorer: read contexts and targets on standard input, and answer with the "
        "nats of each target. For `rnnctl diagnose --scorer` (see rnnctl help scorer).",
        rich_help_panel=INPUT,
    ),
]
CacheOption = Annotated[
    int,
    typer.Option(
        "--cache",
        min=0,
        metavar="N",
        help="Neural cache: also predict what came after similar states among the last N tokens. "
        "0 is off, 2000 is usual.",
        rich_help_panel=MEMORY,
    ),
]
CacheTheta = Annotated[
    float,
    typer.Option(
        "--cache-theta",
        min=0,
        metavar="X",
        help="How strongly the cache prefers the most similar states; 0 weights all equally.",
        rich_help_panel=MEMORY,
    ),
]
CacheWeight = Annotated[
    float,
    typer.Option(
        "--cache-weight",
        min=0,
        max=1,
        metavar="X",
        help="Share of the prediction that comes from the cache (below 1).",
        rich_help_panel=MEMORY,
    ),
]
DynamicOption = Annotated[
    float,
    typer.Option(
        "--dynamic",
        min=0,
        metavar="RATE",
        help="Dynamic evaluation: a copy of the weights keeps learning from the text it has read, "
        "with this learning rate. 0 is off.",
        rich_help_panel=MEMORY,
    ),
]
DynamicDecay = Annotated[
    float,
    typer.Option(
        "--dynamic-decay",
        min=0,
        max=1,
        metavar="X",
        help="After each step, move these weights back towards the run's weights by this share.",
        rich_help_panel=MEMORY,
    ),
]
DynamicSegment = Annotated[
    int,
    typer.Option(
        "--dynamic-segment",
        min=1,
        metavar="N",
        help="Tokens between two learning steps.",
        rich_help_panel=MEMORY,
    ),
]
DynamicRule = Annotated[
    Literal["rms", "sgd"],
    typer.Option(
        "--dynamic-rule",
        help="Learning rule: steps scaled by the usual gradient size of each weight on the "
        "validation text (rms, Krause et al. 2018), or the same for all weights (sgd).",
        rich_help_panel=MEMORY,
    ),
]
MEMORY_IDLE: Final = (
    Idle(("cache_theta", "cache_weight"), missing("cache"), "without --cache", "add --cache 2000"),
    Idle(
        ("dynamic_decay", "dynamic_segment", "dynamic_rule"),
        missing("dynamic"),
        "without --dynamic",
        "add --dynamic RATE",
    ),
)


ROW_FORMATS: Final = ("table", "json", "markdown")


def rows_only(one_by_one: When, known: tuple[str, ...] = ROW_FORMATS) -> Idle:
    """Answers that are written one by one are rows, and no report."""
    return Idle(
        ("format",),
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
        ("documents",),
        lambda values: unit_in(values) == "line" != values["documents"],
        "with --lines, --as, --jsonl and --text-field: there each line or record is a text",
        "leave out one of them",
    ),
    Idle(
        ("max_line", "fail_fast"),
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
    typer.Option(
        "--state-in",
        metavar="FILE",
        help="Start from a state that `score --state-out` wrote, as if its text came first.",
        rich_help_panel=STATE,
    ),
]
StateOut = Annotated[
    Path | None,
    typer.Option(
        "--state-out",
        metavar="FILE",
        help="Write the state after the last text to this file.",
        rich_help_panel=STATE,
    ),
]


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
