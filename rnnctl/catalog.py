"""The extension tables: what there is, by name, and where it is.

A name in a table, not a decorator: ``"name": ("module:attribute", "one-line summary")``. To add a
cell, a task, a reader, a diagnostic, a report format or a command to rnnctl itself, write one
module and add one line here; ``tests/test_catalog.py`` loads every entry and the tests of that kind
of thing run over it at once. Nothing is imported before it is asked for, so that ``--help`` stays
fast.

To add one from another package, name it as an entry point of the group ``rnnctl.KIND`` (KIND is a
key of `TABLES`, such as ``cell``). In that package's ``pyproject.toml``::

    [project.entry-points."rnnctl.cell"]
    mgu = "my_cells:MGU"

Once that package is installed, ``--cell mgu`` works in every command, also in the processes that
``rnnctl compare`` starts. Commands themselves are not looked up in this way: finding the installed
packages would double the time of ``rnnctl --help``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from typing import Any, Final

from rnnctl.errors import MissingExtraError, UsageError

Table = Mapping[str, tuple[str, str]]

# Each attribute is one function with typer-annotated parameters; its module imports no torch.
COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "train": ("rnnctl.cli.train:train", "Train a model on text and keep it as a run."),
    "generate": ("rnnctl.cli.generate:generate", "Continue a text, one token at a time."),
    "score": ("rnnctl.cli.score:score", "Say how likely a text is: nats, bits, perplexity."),
    "pairs": ("rnnctl.cli.pairs:pairs", "Ask which of two sentences a model finds likelier."),
    "states": ("rnnctl.cli.states:states", "Write states and gates along a text as arrays."),
    "classify": ("rnnctl.cli.classify:classify", "Give every input text a label."),
    "evaluate": ("rnnctl.cli.evaluate:evaluate", "Measure a run on a corpus."),
    "export": ("rnnctl.cli.export:export", "Write a run as ONNX, for other programs."),
    "diagnose": ("rnnctl.cli.diagnose:diagnose", "Measure how much early context a run retains."),
    "compare": (
        "rnnctl.cli.compare:compare",
        "Find out which cell remembers more, and how sure that is.",
    ),
    "info": ("rnnctl.cli.info:info", "Show what is in a run."),
    "runs": ("rnnctl.cli.runs:runs", "List the runs in a folder and check their files."),
    "selftest": ("rnnctl.cli.selftest:selftest", "Check the measurements on known answers."),
    "lesson": ("rnnctl.cli.lesson:lesson", "Predict, measure and see: five short lessons."),
    "explain": ("rnnctl.cli.explain:explain", "Say what a word of the reports means."),
    "help": ("rnnctl.cli.help:help", "Show a page of the documentation, or a command's help."),
}

# Each attribute is a Cell: one step, and the derivative of one step.
CELLS: Final[dict[str, tuple[str, str]]] = {
    "rnn": ("rnnctl.nn.cells:RNN_TANH", "Plain recurrent network (Elman 1990), tanh or relu."),
    "lstm": ("rnnctl.nn.cells:LSTM", "Long short-term memory with a forget gate (Gers 2000)."),
    "gru": ("rnnctl.nn.cells:GRU", "Gated recurrent unit (Cho 2014), no cell state."),
}

# Each attribute is a TaskKind: what is learnt, and all that the other commands ask about it.
TASKS: Final[dict[str, tuple[str, str]]] = {
    "lm": ("rnnctl.tasks.base:LANGUAGE_MODEL", "Predict the next token."),
    "classify": ("rnnctl.tasks.base:CLASSIFY", "Give a text a label."),
}

# Each attribute is a Level: how the tokenizer of that level is trained, and read from its file.
LEVELS: Final[dict[str, tuple[str, str]]] = {
    "char": ("rnnctl.data.tokenizers.levels:CHAR", "Each character is a token."),
    "byte": ("rnnctl.data.tokenizers.levels:BYTE", "Each byte is a token; for any text."),
    "word": ("rnnctl.data.tokenizers.levels:WORD", "Words, punctuation and spacing."),
    "bpe": (
        "rnnctl.data.tokenizers.levels:BPE",
        "Pieces of words (byte-pair encoding); for any text.",
    ),
}

# Each attribute reads sources that are no text: files by their ending, or what is called NAME:….
READERS: Final[dict[str, tuple[str, str]]] = {
    "parquet": ("rnnctl.data.tables:PARQUET", "Parquet files, mapped into memory."),
    "hub": ("rnnctl.data.hub:HUB", "hub:NAME[:SPLIT] through the datasets library."),
    "task": ("rnnctl.data.bench_tasks:TASK", "task:NAME, memory tasks made of symbols."),
}

# Each attribute is a Diagnostic: how to measure one aspect of memory, and what to say of it.
DIAGNOSTICS: Final[dict[str, tuple[str, str]]] = {
    "use": (
        "rnnctl.diagnostics.measurements:USE",
        "How far back text still improves the prediction.",
    ),
    "first_last": (
        "rnnctl.diagnostics.measurements:FIRST_LAST",
        "Whether a document's first sentence still counts in its last.",
    ),
    "effect": (
        "rnnctl.diagnostics.measurements:EFFECT",
        "How much one early word or sentence still changes the answer.",
    ),
    "hold": (
        "rnnctl.diagnostics.measurements:HOLD",
        "What a linear probe can read from the state.",
    ),
    "reach": (
        "rnnctl.diagnostics.measurements:REACH",
        "How far back a gradient arrives.",
    ),
    "gates": (
        "rnnctl.diagnostics.measurements:GATES",
        "How long the gates keep what is in the state.",
    ),
    "position": (
        "rnnctl.diagnostics.measurements:POSITION",
        "Whether the place of a sentence matters.",
    ),
}

# schema id -> what turns that result into blocks
REPORTS: Final[dict[str, tuple[str, str]]] = {
    "rnnctl.train/1": ("rnnctl.reports.training:training", "A training."),
    "rnnctl.train-plan/1": ("rnnctl.reports.training:planned", "What would be trained."),
    "rnnctl.folds/1": ("rnnctl.reports.training:folds", "A training for each fold."),
    "rnnctl.info/1": ("rnnctl.reports.training:info", "What is in a run."),
    "rnnctl.runs/1": ("rnnctl.reports.training:runs", "A list of runs."),
    "rnnctl.generate/1": ("rnnctl.reports.inference:generated", "Generated text."),
    "rnnctl.score/1": ("rnnctl.reports.inference:scored", "Scores of texts."),
    "rnnctl.pairs/1": ("rnnctl.reports.inference:paired", "Minimal pairs."),
    "rnnctl.tune/1": ("rnnctl.reports.inference:tuned", "Settings of a memory at test time."),
    "rnnctl.evaluate/1": ("rnnctl.reports.inference:evaluated", "A run measured on a corpus."),
    "rnnctl.explained-words/1": ("rnnctl.reports.explained:blocks", "Words that decide."),
    "rnnctl.export/1": ("rnnctl.reports.inference:exported", "A run as an ONNX file."),
    "rnnctl.diagnostics/1": ("rnnctl.reports.diagnostics:blocks", "The memory panel."),
    "rnnctl.lesson/1": ("rnnctl.reports.lessons:lesson", "A lesson, measured."),
    "rnnctl.lessons/1": ("rnnctl.reports.lessons:listed", "A list of lessons."),
    "rnnctl.glossary/1": ("rnnctl.reports.glossary:blocks", "Terms explained."),
    "rnnctl.snapshots/1": (
        "rnnctl.reports.snapshots:blocks",
        "What a run remembered on the way of its training.",
    ),
    "rnnctl.pictures/1": ("rnnctl.reports.pictures:blocks", "A text word by word."),
    "rnnctl.selftest/1": ("rnnctl.reports.diagnostics:selftest", "Known answers."),
    "rnnctl.comparison/2": ("rnnctl.reports.comparison:blocks", "Runs compared, and verdicts."),
}

# --format: each attribute writes a result on a page: (Result, reports.Page) -> str.
FORMATS: Final[dict[str, tuple[str, str]]] = {
    "table": ("rnnctl.reports.as_table:render", "For a terminal."),
    "json": ("rnnctl.reports:as_json", "For programs: everything, with units."),
    "markdown": ("rnnctl.reports.as_markdown:render", "For documents."),
    "html": ("rnnctl.reports.page:render", "A page for a browser, in one file."),
}

# kind -> former names, which old runs and command lines have: what they are called today.
FORMER: Final[dict[str, dict[str, str]]] = {"task": {"sentiment": "classify"}}

TABLES: Final[dict[str, Table]] = {
    "command": COMMANDS,
    "cell": CELLS,
    "task": TASKS,
    "level": LEVELS,
    "reader": READERS,
    "diagnostic": DIAGNOSTICS,
    "report": REPORTS,
    "format": FORMATS,
}


def names(kind: str) -> list[str]:
    """All names of that kind, those of rnnctl first, then those of other packages."""
    return [*TABLES[kind], *_extensions(kind)]


def load(kind: str, name: str) -> Any:
    """Import and return what is listed under `name`.

    Raises UsageError with the nearest names when there is no such entry, MissingExtraError when
    the entry of another package cannot be imported, for whatever reason.
    """
    check(kind, name)
    own = TABLES[kind].get(name)
    if own is not None:
        module, _, attribute = own[0].partition(":")
        return getattr(import_module(module), attribute)
    target, package = _extensions(kind)[name]
    module, _, attribute = target.partition(":")
    try:
        return getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as problem:
        raise MissingExtraError(
            f"the {kind} {name!r} of the package {package} cannot be loaded: {problem}",
            hint=f"reinstall {package}, or correct the entry point {name!r} in its pyproject.toml",
        ) from problem
    except Exception as problem:  # its own code fails, which is no defect of this package
        raise MissingExtraError(
            f"the {kind} {name!r} of the package {package} cannot be loaded: "
            f"{type(problem).__name__}: {problem}",
            hint=f"correct {module} in {package}; `python -c 'import {module}'` shows where",
        ) from problem


def today(kind: str, name: str) -> str:
    """What an entry that once had another name is called today; any other name as it is."""
    return FORMER.get(kind, {}).get(name, name)


def summary(kind: str, name: str) -> str:
    """The one-line summary of an entry."""
    own = TABLES[kind].get(name)
    return own[1] if own is not None else f"Added by {_extensions(kind)[name][1]}."


def check(kind: str, name: str) -> None:
    """UsageError, with the nearest names, when there is no `name` of that kind."""
    if name not in TABLES[kind] and name not in _extensions(kind):
        raise UsageError(f"there is no {kind} {name!r}", hint=suggestion(name, names(kind)))


@cache
def _extensions(kind: str) -> dict[str, tuple[str, str]]:
    """name -> ("module:attribute", package) of the installed packages' entry points."""
    if kind == "command":
        return {}
    from importlib.metadata import entry_points  # takes as long as all of `rnnctl --help`

    found = entry_points(group=f"rnnctl.{kind}")
    return {
        point.name: (point.value, point.dist.name if point.dist else point.module)
        for point in found
        if point.name not in TABLES[kind]  # what rnnctl itself calls so cannot be replaced
    }


def suggestion(wrong: str, right: Iterable[str]) -> str:
    """A hint for a name that does not exist: the nearest ones, or all where none is near."""
    names = list(right)
    near = [name for name in names if wrong and name.startswith(wrong)]
    near = near or get_close_matches(wrong, names, n=3, cutoff=0.6)
    if near:
        return "did you mean " + " or ".join(f"`{name}`" for name in near) + "?"
    return "there are: " + ", ".join(names)
