"""`rnnctl evaluate`: measure a run on a corpus."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from rnnctl.cli import beside, console, inputs
from rnnctl.cli import filter_options as f
from rnnctl.cli.idle import Idle, given, idle, missing
from rnnctl.cli.options import Output, RunArgument, option, takes_groups
from rnnctl.config import COLD_WINDOW, SourceKind
from rnnctl.errors import UsageError, word

CORPUS = "Corpus"

Corpus = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[CORPUS]...",
        help="What `train` reads: files, a folder, hub:NAME, or - for standard input.",
        show_default="the held-out text that the run keeps",
    ),
]
Part = Annotated[
    Literal["test", "valid", "train", "all"] | None,
    option(
        CORPUS,
        "Which part of the corpus is measured.",
        show_default="test, otherwise valid, otherwise all",
    ),
]
Window = Annotated[int, option(CORPUS, "Tokens in each window of the cold protocol.", min=1)]
TextField = Annotated[
    str | None,
    option(
        CORPUS,
        "Column that holds the text: its name, or its number from 1.",
        metavar="NAME",
        show_default="the one that the run was trained on",
    ),
]
LabelField = Annotated[
    str | None,
    option(
        CORPUS,
        "Column that holds the label: its name, or its number from 1.",
        metavar="NAME",
        show_default="the one that the run was trained on",
    ),
]
ReadAs = Annotated[
    SourceKind | None,
    option(CORPUS, "Format of the files.", "--as", show_default="recognised by their content"),
]
NewLabels = Annotated[
    Literal["error", "drop"],
    option(CORPUS, "What to do with documents whose label the run does not know."),
]
By = Annotated[
    str | None,
    option(
        CORPUS,
        "Also report the numbers for each value of this column. `length` is not a column: it "
        "groups documents by their number of words.",
        metavar="COLUMN",
    ),
]
Encoding = Annotated[
    str | None,
    option(
        CORPUS,
        "Encoding of files without a byte order mark.",
        metavar="NAME",
        show_default="that of the run's corpus",
    ),
]


TuneCache = Annotated[
    bool,
    option(
        f.MEMORY,
        "Only search for the best --cache, --cache-theta and --cache-weight, on the "
        "validation text that the run keeps.",
        "--tune-cache",
    ),
]
TuneDynamic = Annotated[
    bool,
    option(
        f.MEMORY,
        "Only search for the best --dynamic and --dynamic-decay, on the validation text that "
        "the run keeps.",
        "--tune-dynamic",
    ),
]


@idle(
    Idle(
        "corpus part window text_field label_field read_as encoding new_labels by cache dynamic",
        given("tune_cache", "tune_dynamic"),
        "with --tune-cache and --tune-dynamic, which read the validation text that the run keeps",
        "evaluate afterwards with the settings that are found",
    ),
    Idle(
        "tune_dynamic",
        given("tune_cache"),
        "together with --tune-cache: tune one at a time",
        "leave out --tune-cache",
    ),
    Idle(
        "text_field label_field read_as encoding new_labels",
        missing("corpus"),
        "without a CORPUS",
        "name one",
    ),
    Idle(
        "window",
        given("cache", "dynamic"),
        "with --cache and --dynamic, which read the text token by token from its beginning",
    ),
    *f.MEMORY_IDLE,
)
@takes_groups
def evaluate(
    run: RunArgument,
    corpus: Corpus = None,
    *,
    part: Part = None,
    window: Window = COLD_WINDOW,
    text_field: TextField = None,
    label_field: LabelField = None,
    read_as: ReadAs = None,
    encoding: Encoding = None,
    new_labels: NewLabels = "error",
    by: By = None,
    remembers: f.MemoryOptions,
    tune_cache: TuneCache = False,
    tune_dynamic: TuneDynamic = False,
    to: Output,
    machine: f.MachineOptions,
) -> None:
    """Measure a run on a corpus.

    For a classifier: accuracy and macro-F1 with 95 % intervals, next to those of a bag of words;
    precision, recall and F1 of each label; calibration error; confusion matrix and the most
    frequent mistakes. For a language model: loss, perplexity and bits per byte, by protocol:
    streaming (the state is carried through the whole text) and cold (windows from a zero state),
    or per document. The result is also saved in the run, except with --cache or --dynamic.
    """
    from rnnctl.inference.evaluate import evaluate as measure

    sources = corpus or []
    # Asked before the run is loaded: a terminal in the place of a pipe is known at once.
    stdin = inputs.stdin(f"evaluate {word(run)} -") if "-" in sources else None
    memory = remembers.memory
    loaded = machine.load(run)
    if tune_cache or tune_dynamic:
        from rnnctl.inference.evaluate import tune

        to.emit(tune(loaded, "cache" if tune_cache else "dynamic"))
        return
    if loaded.labels and memory:
        raise UsageError(
            "--cache and --dynamic are for language models, and this is a classifier",
            hint="leave them out",
        )
    if loaded.labels and window != COLD_WINDOW:
        raise UsageError(
            "--window is for language models, and this is a classifier", hint="leave it out"
        )
    result = measure(
        loaded,
        sources,
        part=part,
        window=window,
        text_field=text_field,
        label_field=label_field,
        encoding=encoding,
        read_as=read_as,
        new_labels=new_labels,
        by=by,
        memory=memory,
        stdin=stdin,
        tell=lambda note: console.note(console.from_here(note)),
    )
    for warning in result.warnings:
        console.warn(warning.text)
    # Sums for each document are for `rnnctl compare`, and would fill screens.
    shown = result.model_copy(update={"documents": None})
    if to.format == "table":  # whoever reads it has them on the screen already
        shown = shown.model_copy(update={"warnings": ()})
    try:
        to.emit(shown)
    finally:  # shown first: keeping it may fail, and nobody measures twice for a full disk
        if not memory:  # what a run keeps is of the run alone
            beside.keep(loaded.run, "evaluate", result)
