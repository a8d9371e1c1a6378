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
        f"leave it out, or use --level {names[-1]}",
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
        "sets which end of a cut document is kept, and no document is cut",
        "set the length of documents with --max-tokens, or leave it out",
    ),
    ("model", "nonlinearity"): Condition(
        lambda config: bool(_cell(config).variants),
        "is for --cell rnn",
        "leave it out, or use --cell rnn",
    ),
    ("model", "horizon"): Condition(
        lambda config: config.model.init == "chrono",
        "is for --init chrono",
        "leave it out, or use --init chrono",
    ),
    ("model", "init"): Condition(
        lambda config: config.model.init != "chrono" or _cell(config).has_gates,
        "sets gates, and a plain RNN has no gates",
        "leave it out, or use --cell lstm",
    ),
    ("model", "freeze_vectors"): Condition(
        lambda config: config.model.vectors is not None,
        "is for a training that begins with word vectors",
        "leave it out, or add --vectors",
    ),
    ("model", "dropout_between"): Condition(
        lambda config: config.model.num_layers > 1,
        "is for several layers",
        "leave it out, or use --layers 2",
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
        # --dropout gives all three at once, and two of them always have an effect.
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
        idle |= dict.fromkeys(
            ("max_tokens", "keep"), "the text is one running text, without documents"
        )
    if not corpus.label_names:
        idle["new_labels"] = "a language model does not read labels"
    if reading is not None and config.sources:
        if reading.kind == "task":
            names = (*_TEXT, *_FIELDS, "split")
            idle |= dict.fromkeys(names, "a memory task has its own documents and splits")
        elif reading.kind == "hub":
            idle |= dict.fromkeys(_TEXT, "a hub corpus consists of records")
        elif reading.kind == "file":
            idle |= dict.fromkeys(_TEXT, "the format and encoding of such files are fixed")
        elif reading.unit == "record":
            idle["documents"] = "in a table each record is a document"
        else:
            idle |= dict.fromkeys(_FIELDS, "plain text has no columns")
        if reading.own_splits:
            idle["split"] = "the corpus already has splits"
        if reading.kind == "lines":
            idle |= dict.fromkeys(("text_field",), "labelled lines have no columns")
    for name, why in idle.items():
        if given.get(name) not in (None, CorpusConfig.model_fields[name].default):
            cut = corpus.running and name in ("max_tokens", "keep")
            raise UsageError(
                f"{option_of(name)} has no effect here: {why}",
                hint="leave it out, or cut the text with --documents" if cut else "leave it out",
            )
