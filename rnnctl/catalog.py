"""The extension tables: what there is, by name, and where it is.

A name in a table, not a decorator: ``"name": ("module:attribute", "one-line summary")``. To add a
cell, a task, a reader, a diagnostic, a report format or a command, write one module and add one
line here; ``tests/test_catalog.py`` loads every entry and the tests of that kind of thing run over
it at once. Nothing is imported before it is asked for, so that ``--help`` stays fast.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from importlib import import_module
from typing import Any, Final

from rnnctl.errors import UsageError

Table = Mapping[str, tuple[str, str]]

# Each attribute is one function with typer-annotated parameters; its module imports no torch.
COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "train": ("rnnctl.cli.train:train", "Train a model on text and keep it as a run."),
    "generate": ("rnnctl.cli.generate:generate", "Continue a text, one token at a time."),
    "score": ("rnnctl.cli.score:score", "Say how likely given text is: nats, bits, perplexity."),
    "classify": ("rnnctl.cli.classify:classify", "Give every input text a label."),
    "evaluate": ("rnnctl.cli.evaluate:evaluate", "Measure a run on a corpus."),
    "diagnose": ("rnnctl.cli.diagnose:diagnose", "Measure how much early context a run retains."),
    "compare": ("rnnctl.cli.compare:compare", "Find out which cell remembers more, and how sure."),
    "info": ("rnnctl.cli.info:info", "Show what is in a run."),
    "runs": ("rnnctl.cli.runs:runs", "List the runs in a folder and check their files."),
    "selftest": ("rnnctl.cli.selftest:selftest", "Check the measurements on known answers."),
}

# Each attribute is the equations of one recurrent cell (rnnctl/nn/cells.py).
CELLS: Final[dict[str, tuple[str, str]]] = {}

# Each attribute is a task: model, batches, loss and metrics (rnnctl/tasks/).
TASKS: Final[dict[str, tuple[str, str]]] = {}

# Each attribute makes a tokenizer of one level (rnnctl/data/tokenizers/).
LEVELS: Final[dict[str, tuple[str, str]]] = {}

# Each attribute reads one kind of source into documents (rnnctl/data/).
READERS: Final[dict[str, tuple[str, str]]] = {}

# Each attribute measures one aspect of memory (rnnctl/diagnostics/).
DIAGNOSTICS: Final[dict[str, tuple[str, str]]] = {}

# Each attribute turns the result with that schema id into blocks (rnnctl/reports/).
REPORTS: Final[dict[str, tuple[str, str]]] = {}

# Each attribute renders blocks as one output format (rnnctl/reports/).
FORMATS: Final[dict[str, tuple[str, str]]] = {}

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


def load(kind: str, name: str) -> Any:
    """Import and return what the table of that kind lists under `name`.

    Raises UsageError with the nearest names when there is no such entry.
    """
    table = TABLES[kind]
    if name not in table:
        raise UsageError(f"there is no {kind} {name!r}", hint=suggestion(name, table))
    module, _, attribute = table[name][0].partition(":")
    return getattr(import_module(module), attribute)


def summary(kind: str, name: str) -> str:
    """The one-line summary of an entry."""
    return TABLES[kind][name][1]


def suggestion(wrong: str, right: Iterable[str]) -> str:
    """A hint for a name that does not exist: the nearest ones, or all where none is near."""
    names = list(right)
    near = get_close_matches(wrong, names, n=3, cutoff=0.6)
    if near:
        return "did you mean " + " or ".join(f"`{name}`" for name in near) + "?"
    return "there are: " + ", ".join(names)
