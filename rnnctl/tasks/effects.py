"""Options that were given and can have no effect: a person who gives one expects something of it.

Only what was given on the command line counts, and only a value that is not the usual one; a
setting that a file brings along may be idle.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rnnctl.config import CorpusConfig, RunConfig, option, option_of, settings
from rnnctl.errors import UsageError
from rnnctl.nn.cells import Cell, find_cell
from rnnctl.tasks.base import OWN_TASKS, find_task

if TYPE_CHECKING:
    from rnnctl.data.corpus import Corpus

Given = Mapping[str, Mapping[str, Any]]


def _cell(config: RunConfig) -> Cell:
    return find_cell(config.model.cell)


@dataclass(frozen=True, slots=True)
class Condition:
    """When an option has an effect, in code and in words, and what to do otherwise."""

    holds: Callable[[RunConfig], bool]
    words: str
    hint: str = "leave it out"


def _of_levels(names: tuple[str, ...]) -> Condition:
    return Condition(
        lambda config: config.tokenizer.level in names,
        f"is for --level {' or '.join(names)}",
        f"leave it out, or say --level {names[-1]}",
    )


def _of_tasks(labelled: bool) -> Condition:
    kind = next(kind for kind in OWN_TASKS if kind.labelled == labelled)
    return Condition(
        lambda config: find_task(config.model.task).labelled == labelled,
        f"is for {kind.noun}s",
        f"leave it out, or train with --task {kind.name}",
    )


CONDITIONS: Mapping[tuple[str, str], Condition] = {
    ("corpus", "keep"): Condition(
        lambda config: config.corpus.max_tokens is not None,
        "says which end of a cut document stays, and none is cut",
        "say how long documents may be with --max-tokens, or leave it out",
    ),
    ("model", "nonlinearity"): Condition(
        lambda config: bool(_cell(config).variants),
        "is for --cell rnn",
        "leave it out, or say --cell rnn",
    ),
    ("model", "horizon"): Condition(
        lambda config: config.model.init == "chrono",
        "is for --init chrono",
        "leave it out, or say --init chrono",
    ),
    ("model", "init"): Condition(
        lambda config: config.model.init != "chrono" or _cell(config).has_gates,
        "chrono sets gates, and a plain RNN has none",
        "leave it out, or say --cell lstm",
    ),
    ("model", "freeze_vectors"): Condition(
        lambda config: config.model.vectors is not None,
        "is about vectors from a file, and none is given",
        "leave it out, or name the file with --vectors",
    ),
    ("model", "dropout_between"): Condition(
        lambda config: config.model.num_layers > 1,
        "is for several layers",
        "leave it out, or say --layers 2",
    ),
}


def conditions() -> Iterator[tuple[str, str, Condition]]:
    """Section, name and condition of every setting that does not always have an effect."""
    for section, name, field in settings():
        known = option(name, field)
        if known is not None and known.labelled is not None:
            yield section, name, _of_tasks(known.labelled)
        if known is not None and known.levels:
            yield section, name, _of_levels(known.levels)
        if (section, name) in CONDITIONS:
            yield section, name, CONDITIONS[section, name]


def check_effects(given: Given, config: RunConfig) -> None:
    """UsageError for the first option that was `given` and does nothing in `config`."""
    for section, name, condition in conditions():
        value = given.get(section, {}).get(name)
        usual = type(getattr(config, section)).model_fields[name].default
        if value is None or value == usual or condition.holds(config):
            continue
        if name == "dropout_between" and _is_common(given, value):
            continue
        raise UsageError(f"{option_of(name)} {condition.words}", hint=condition.hint)


def _is_common(given: Given, dropout: float) -> bool:
    """Whether all three kinds have one value, as ``--dropout`` gives it."""
    model = given.get("model", {})
    return model.get("dropout_input") == dropout == model.get("dropout_output")


# Options of a corpus that were given and can have no effect on the text that is there.

_TEXT = ("documents", "encoding", "read_as")
_FIELDS = ("text_field", "label_field")


def check_unused(given: Mapping[str, Any], config: CorpusConfig, corpus: Corpus) -> None:
    """UsageError for a setting of `corpus` that was `given` and changed nothing."""
    reading = corpus.reading
    idle: dict[str, str] = {}
    if corpus.running:
        idle |= dict.fromkeys(("max_tokens", "keep"), "one running text is no documents")
    if not corpus.label_names:
        idle["new_labels"] = "a language model reads no labels"
    if reading is not None and config.sources:
        if reading.kind == "task":
            names = (*_TEXT, *_FIELDS, "split")
            idle |= dict.fromkeys(names, "a memory task's documents and splits are its own")
        elif reading.kind == "hub":
            idle |= dict.fromkeys(_TEXT, "a hub corpus has records")
        elif reading.kind == "file":
            idle |= dict.fromkeys(_TEXT, "such files say themselves what they are and how encoded")
        elif reading.unit == "record":
            idle["documents"] = "a table's records are the documents"
        else:
            idle |= dict.fromkeys(_FIELDS, "plain text has no columns")
        if reading.own_splits:
            idle["split"] = "the corpus comes in parts of its own"
        if reading.kind == "lines":
            idle |= dict.fromkeys(("text_field",), "labelled lines have no columns")
    for name, why in idle.items():
        if given.get(name) not in (None, CorpusConfig.model_fields[name].default):
            cut = corpus.running and name in ("max_tokens", "keep")
            raise UsageError(
                f"{option_of(name)} does nothing here: {why}",
                hint="leave it out, or cut the text with --documents" if cut else "leave it out",
            )
