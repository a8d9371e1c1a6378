"""The options of the commands that use a run on text: how the text is read, what the model is
given beside its weights, and where it is computed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

from rnnctl.cli import inputs
from rnnctl.cli.idle import Idle, Values, When, missing
from rnnctl.cli.options import option
from rnnctl.cli.setting_options import DeviceOption, ThreadsOption
from rnnctl.config import SourceKind
from rnnctl.errors import UsageError
from rnnctl.inference.lines import MAX_LINE, Encoding
from rnnctl.inference.memory_settings import Cache, Dynamic, Memory, Rule
from rnnctl.wording import either

if TYPE_CHECKING:
    from rnnctl.inference.records import Wanted
    from rnnctl.tasks.loading import Loaded

INPUT: Final = "Input"
STATE: Final = "Saved state"
MEMORY: Final = "Memory at test time"

LineFormat = Literal["auto", "text", "jsonl"]
Unit = Literal["file", "paragraph", "line"]

Files = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="[FILE]...",
        help="Files that hold the texts. `-` is standard input, which is also read if no FILE is "
        "given in a pipe.",
    ),
]
ReadAs = Annotated[
    SourceKind | None,
    option(INPUT, "Format of the input.", "--as", show_default="recognised by its content"),
]
EncodingOption = Annotated[
    str | None,
    option(
        INPUT,
        "Encoding of input without a byte order mark.",
        metavar="NAME",
        show_default="that of the run's corpus, or UTF-8",
    ),
]


@dataclass(frozen=True)
class Reading:
    """How the texts are read, of `classify` and, with more, of `score` and `states`."""

    read_as: ReadAs = None
    jsonl: Annotated[bool, option(INPUT, "The same as --as jsonl: JSON lines.", "--jsonl")] = False
    text_field: Annotated[
        str | None,
        option(
            INPUT,
            "Column that holds the text: its name, or its number from 1.",
            metavar="NAME",
            show_default="the one that the run was trained on",
        ),
    ] = None
    encoding: EncodingOption = None
    max_line: Annotated[
        int,
        option(
            INPUT,
            "Longest line that is accepted. A longer line gets an error record.",
            min=1,
            metavar="BYTES",
        ),
    ] = MAX_LINE
    fail_fast: Annotated[
        bool, option(INPUT, "Stop at the first line that holds no text.", "--fail-fast")
    ] = False

    def kind(self, input_format: LineFormat = "auto") -> SourceKind | None:
        """What the options say that the input is; None: its content decides.

        Raises: UsageError where they contradict each other.
        """
        said: dict[str, SourceKind] = {}
        if self.read_as is not None:
            said[f"--as {self.read_as}"] = self.read_as
        if input_format != "auto":
            said[f"--input {input_format}"] = input_format
        if self.jsonl:
            said["--jsonl"] = "jsonl"
        if len(set(said.values())) > 1:
            second, first = sorted(said, reverse=True)[:2]
            raise UsageError(
                f"{second} and {first} cannot be used together", hint="leave one of them out"
            )
        return next(iter(said.values()), None)

    def wanted(self, loaded: Loaded, kind: SourceKind | None, unit: Unit | None) -> Wanted:
        """What is read and how: as the options say, or else as the run's corpus was read.

        Raises: UsageError for an encoding that does not exist.
        """
        from rnnctl.inference.records import Wanted
        from rnnctl.inference.training_text import trained

        before = trained(loaded)
        return Wanted(
            kind=kind,
            text_field=self.text_field,
            unit=unit or ("file" if before.unit == "file" else "line"),
            max_line=self.max_line,
            encoding=encoding_of(loaded, self.encoding),
            trained=before,
            labels=loaded.labels,
        )


@dataclass(frozen=True)
class Division:
    """Which part of the input is one text."""

    lines: Annotated[bool, option(INPUT, "Treat each line as a separate text.", "--lines")] = False
    documents: Annotated[
        Unit | None,
        option(INPUT, "For plain text: what counts as one text.", show_default="a file"),
    ] = None


@dataclass(frozen=True)
class ReadingTexts(Reading, Division):  # fields of the last base come first, also in the help
    """How the texts are read, and which part of the input is one, of `score` and `states`."""

    @property
    def unit(self) -> Unit:
        """What gets a record of its own."""
        in_records = self.kind() not in (None, "text") or self.text_field is not None
        return "line" if self.lines or in_records else self.documents or "file"

    def opened(
        self, files: Sequence[Path], command: str, *, may_guess: bool
    ) -> tuple[Iterator[inputs.Input], Unit]:
        """The sources, and what of them gets a record of its own.

        Where nothing says what the input is, and one may guess, a table or JSON is read by records
        and not as one running text.
        """
        sources, unit = inputs.opened(files, command), self.unit
        if may_guess and unit == "file" and self.kind() is None:
            sources, are_records = inputs.begun(sources, self.text_field)
            unit = "line" if are_records else unit
        return sources, unit


def unit_in(values: Values) -> Unit:
    """What gets a record of its own in `score` and `states`, by the command's parameters."""
    return ReadingTexts(*(values[one.name] for one in fields(ReadingTexts))).unit


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
ROW_FORMATS: Final = ("table", "json", "markdown")


def rows_only(one_by_one: When, known: tuple[str, ...] = ROW_FORMATS) -> Idle:
    """Answers that are written one by one are rows, and no report."""
    return Idle(
        "format",
        lambda values: values["format"] not in known and one_by_one(values),
        "of this name where one line is written for each answer",
        f"use {either(list(known))}",
    )


def encoding_of(loaded: Loaded, encoding: str | None) -> Encoding:
    """How bytes become text: as the option says, or else as the run's corpus was read.

    Raises: UsageError for an encoding that does not exist.
    """
    from rnnctl.data.text import check_encoding
    from rnnctl.inference.training_text import trained

    codec = check_encoding(encoding or trained(loaded).encoding)
    return Encoding(codec, guessed=encoding is None and codec != "utf-8")


StateIn = Annotated[
    Path | None,
    option(
        STATE,
        "Start from a state that `score --state-out` wrote: continue the text that was read there.",
        metavar="FILE",
    ),
]


@dataclass(frozen=True)
class CacheOptions:
    """A cache of what was read. The defaults are those of its settings."""

    cache: Annotated[
        int,
        option(
            MEMORY,
            "Neural cache: also predict what came after similar states among the last N tokens. "
            "0 is off, 2000 is usual.",
            min=0,
        ),
    ] = 0
    cache_theta: Annotated[
        float,
        option(
            MEMORY,
            "How strongly the cache prefers the most similar states; 0 weights all equally.",
            min=0,
        ),
    ] = Cache.theta
    cache_weight: Annotated[
        float,
        option(
            MEMORY, "Share of the prediction that comes from the cache (below 1).", min=0, max=1
        ),
    ] = Cache.weight

    @property
    def settings(self) -> Cache | None:
        """What is asked for. UsageError for impossible values."""
        return Cache(self.cache, self.cache_theta, self.cache_weight) if self.cache else None


@dataclass(frozen=True)
class MemoryOptions(CacheOptions):
    """A cache, and weights that go on learning."""

    dynamic: Annotated[
        float,
        option(
            MEMORY,
            "Dynamic evaluation: a copy of the weights keeps learning from the text it has read, "
            "with this learning rate. 0 is off.",
            min=0,
            metavar="RATE",
        ),
    ] = 0.0
    dynamic_decay: Annotated[
        float,
        option(
            MEMORY,
            "After each step, move these weights back towards the run's weights by this share.",
            min=0,
            max=1,
        ),
    ] = Dynamic.decay
    dynamic_segment: Annotated[int, option(MEMORY, "Tokens between two learning steps.", min=1)] = (
        Dynamic.segment
    )
    dynamic_rule: Annotated[
        Rule,
        option(
            MEMORY,
            "Learning rule: steps scaled by the usual gradient size of each weight on the "
            "validation text (rms, Krause et al. 2018), or the same for all weights (sgd).",
        ),
    ] = Dynamic.rule

    @property
    def memory(self) -> Memory:
        """What is asked for. UsageError for impossible values."""
        dynamic = (self.dynamic, self.dynamic_decay, self.dynamic_segment, self.dynamic_rule)
        return Memory(self.settings, Dynamic(*dynamic) if self.dynamic else None)


CACHE_IDLE: Final = Idle(
    "cache_theta cache_weight", missing("cache"), "without --cache", "add --cache 2000"
)
MEMORY_IDLE: Final = (
    CACHE_IDLE,
    Idle(
        "dynamic_decay dynamic_segment dynamic_rule",
        missing("dynamic"),
        "without --dynamic",
        "add --dynamic RATE",
    ),
)


@dataclass(frozen=True)
class MachineOptions:
    """Where a run is computed."""

    device: DeviceOption = "cpu"
    threads: ThreadsOption = None

    def load(self, run: Path) -> Loaded:
        """The run that a command names, ready to be used. What that takes is imported only now."""
        from rnnctl.machine import set_threads
        from rnnctl.tasks.loading import load

        set_threads(self.threads)
        return load(run, device=self.device)
