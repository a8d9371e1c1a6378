"""How the recipes of a task fill in the settings that nobody gave.

What a person gives always wins. The result is explicit: it is saved as `config.json`, so that later
changes of the recipes leave old runs alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError

from rnnctl.config import (
    CORPUS_VECTORS,
    NO_VECTORS,
    SECTIONS,
    ModelConfig,
    RunConfig,
    option_of,
    problems_in_words,
)
from rnnctl.errors import UsageError
from rnnctl.nn.cells import find_cell
from rnnctl.runs import Run
from rnnctl.tasks.base import BUNDLED_BUDGET_S, find_task
from rnnctl.tasks.effects import check_effects
from rnnctl.wording import plural

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# The default learning rates: one table for `train` and for `compare`.
#
# The rate that suits a training follows from three things:
#
# - the task and the level: the task's recipes hold the rate of an LSTM;
# - the cell: its `rate_factor` is the rate that suits it, relative to the LSTM's;
# - for characters also the hidden size and the length of the training. The best rate falls about as
#   the square root of the size, and short trainings ask for a higher one. The recipe's rate is for
#   256 units and two million tokens or more.
#
# Measured by ``tests/benchmarks/fit_recipes.py`` on the training and validation text of
# tinyshakespeare; the points are in ``recipe_points.jsonl`` beside it. Between half and twice the
# best rate the loss rises by 0.01 to 0.05 nats.
#
# Delayed recall (``task:recall``) has rates of its own, by cell and initial weights, measured by
# ``tests/benchmarks/compare_rates.py``.

REFERENCE_SIZE = 256
REFERENCE_TOKENS = 2_000_000
CAUTIOUS = 4e-3  # for what has no recipe
HIGHEST = 0.02  # no training that was measured gained by a higher one
SIZE_EXPONENT = -0.5
TOKENS_EXPONENT = -0.3
# How far the length may change the rate. Longer trainings gained nothing from a lower one: an LSTM
# of 512 units came to 1.410 after 5 million tokens with 0.008, to 1.402 after 6 million with 0.010.
TOKENS_RANGE = (1.0, 1.5)
# A plain RNN with PyTorch's initial weights needs a lower rate than with orthogonal ones.
INIT_FACTOR: Final[Mapping[tuple[str, str], float]] = {("rnn", "torch"): 0.5}
# Best of 0.002, 0.004, 0.008 and 0.016 for `task:recall:lag=20`, as many parameters as an LSTM of
# 32 units, 600 steps of 64 documents. The LSTM with PyTorch's weights is at chance with each.
RECALL: Final[Mapping[tuple[str, str], float]] = {
    ("rnn", "torch"): 1.6e-2,
    ("rnn", "good"): 8e-3,
    ("lstm", "torch"): 4e-3,
    ("lstm", "good"): 8e-3,
    ("gru", "torch"): 1.6e-2,
    ("gru", "good"): 1.6e-2,
}


def default_rate(
    task: str,
    level: str,
    cell: str,
    hidden_size: int,
    *,
    init: str = "good",
    tokens: float | None = None,
) -> float:
    """The peak learning rate for a task, level and cell where nobody gives one.

    hidden_size: units of a layer. tokens: how many the training will read, None where that is not
    known. Raises UsageError for an unknown cell.
    """
    kind = find_task(task)
    recipe = kind.recipes.get(level, {}).get("training", {})
    rate: float = recipe.get("lr", CAUTIOUS) * find_cell(cell).rate_factor
    rate *= INIT_FACTOR.get((cell, init), 1.0)
    if not kind.labelled and level in ("char", "byte"):
        rate *= (hidden_size / REFERENCE_SIZE) ** SIZE_EXPONENT
        if tokens is not None:
            lowest, highest = TOKENS_RANGE
            length = (max(tokens, 1.0) / REFERENCE_TOKENS) ** TOKENS_EXPONENT
            rate *= min(highest, max(lowest, length))
    return float(f"{min(rate, HIGHEST):.2g}")


def recall_rate(cell: str, init: str) -> float:
    """The learning rate for delayed recall. Raises UsageError for an unknown cell."""
    return RECALL.get((cell, init), RECALL["lstm", "torch"] * find_cell(cell).rate_factor)


Settings = dict[str, Any]
SHAPE = ("cell", "nonlinearity", "hidden_size", "embedding_size", "num_layers")
LIMITS = ("steps", "epochs", "budget_s")
# What says when a training ends and validates; with the rates and what a step is, all its course.
COURSE = (*LIMITS, "evaluate_every", "evaluate_every_s")
PACE = (*COURSE, "lr", "warmup", "decay", "batch_size", "bptt")
CLASSIFIER_STEPS = 1200
# Most of a long document can be left out and it still says its label, and a classifier that sees
# other words each time does not learn the document by heart; a sentence hangs on a word or two.
# Validation accuracy with 0.1 and with 0.3 of the vocabulary left out: 85.3 and 85.8 % of whole
# reviews (0.345 and 0.332 nats), 79.7 and 80.1 % of their last hundred words, 84.0 and 83.2 % of
# sentences.
LONG_DOCUMENT = 50  # tokens
LEFT_OUT, LEFT_OUT_OF_LONG = 0.1, 0.3
# A small corpus is read many times, and the loss of its few validation documents jumps. With 4 of
# 120 validations the trainings of three corpora of 360 to 500 documents ended too early: with 24
# their validation loss, two seeds each, fell from about 0.17 to 0.11 nats in the mean.
PATIENCE_SHARE = 0.2
VALIDATIONS_PER_EPOCH = 2  # where epochs limit a training of many
# With class weights a few documents of rare labels are much of the validation loss, which jumps.
WEIGHTED_PATIENCE = 10
# Words of the bundled paragraphs: what makes a model carry the first sentence to the last within a
# minute on two cores. Each of these is needed. With tied weights, with dropout or with gates that
# open for three words no cell of 64 to 128 units learned it in 3 million tokens.
BUNDLED_WORDS: Mapping[str, Mapping[str, Any]] = {
    "model": {
        "hidden_size": 64,
        "embedding_size": 32,
        "num_layers": 1,
        "tied": False,
        "dropout_input": 0.0,
        "dropout_between": 0.0,
        "dropout_output": 0.0,
    },
    "training": {"bptt": 64},
}
BUNDLED_HORIZON = 50  # tokens that gates keep at first
BUNDLED_RATE: Mapping[str, float] = {"lstm": 1.2e-2, "gru": 1.6e-2}


# The shape of both where `--pretrain` trains the language model: it reads forwards only, and its
# output layer is the embedding, which a long vocabulary makes most of the work. All layers of the
# classifier then learn at one rate. The schedule of Howard & Ruder (2018) is for language models
# that have read a hundred million words: after three minutes of one, 6 passes over 6,000 reviews
# were 78.0 % right with it (`--layer-factor 2.6 --unfreeze 0.05 --decay slanted --warmup 0.1`), and
# 83.8 % with one rate.
PRETRAINED: Mapping[str, Any] = {
    "hidden_size": 256,
    "embedding_size": 128,
    "num_layers": 1,
    "bidirectional": False,
}


def resolve(given: Mapping[str, Mapping[str, Any]], base: RunConfig | None = None) -> RunConfig:
    """Explicit settings from what was `given` (section -> field -> value) and the recipes.

    With `base` (a saved config) that takes the place of the recipes. UsageError names every value
    that is not possible.
    """
    if base is None:
        settings = _from_recipe(given)
    else:
        settings = base.model_dump(mode="python")
        if given.get("training", {}).get("start_from") != base.training.start_from:
            _merge(settings, _source_recipe(given, base.model.task))
        if given.get("model", {}).get("vectors") not in (None, base.model.vectors):
            _merge(settings, _vectors_recipe(given))
        if given.get("training", {}).get("pretrain_s") not in (None, base.training.pretrain_s):
            _merge(settings, {**_pretrain_recipe(given), "training": {"start_from": None}})
        _merge(settings, given)
        _choose_vectors(settings, given)
        limits = {name: given.get("training", {}).get(name) for name in LIMITS}
        if any(limit is not None for limit in limits.values()):
            settings["training"] |= limits  # one that is given takes the place of all others
    try:
        config = RunConfig.model_validate(settings)
    except ValidationError as error:
        problems = "; ".join(  # --lr -1 must be more than 0; …
            f"{option_of(where.rpartition('.')[2])} {value} {problem}"
            for where, value, problem in problems_in_words(error)
        )
        hint = "`rnnctl train --help` shows what each option takes"
        raise UsageError(problems, hint=hint) from None
    check_effects(given, config)
    check(config)
    return config


def _from_recipe(given: Mapping[str, Mapping[str, Any]]) -> Settings:
    bench = _bench_recipe(given)
    task = given.get("model", {}).get("task", bench.get("model", {}).get("task", "lm"))
    kind = find_task(task)
    source = _source_recipe(given, task)
    known = source or bench
    usual = known.get("tokenizer", {}).get("level", kind.level)
    level = given.get("tokenizer", {}).get("level", usual)
    settings: Settings = {section: {} for section in SECTIONS}
    settings["tokenizer"]["level"] = level
    _merge(settings, kind.recipes.get(level, {}))
    if not kind.labelled and (given.get("training", {}).get("epochs") or math.inf) <= 1:
        _forget_dropout(settings["model"])
    bundled = _bundled_recipe(given, task, level) if not source else {}
    _merge(settings, bench)
    _merge(settings, bundled)
    _merge(settings, source)
    _merge(settings, _pretrain_recipe(given))
    if level == "word":
        _merge(settings, _vectors_recipe(given))
    _merge(settings, given)
    if kind.labelled and level == "word" and not known:
        settings["model"].setdefault("vectors", CORPUS_VECTORS)
    _choose_vectors(settings, given)
    training = settings["training"]
    if training.get("class_weights") is not None and "patience" not in given.get("training", {}):
        training["patience"] = WEIGHTED_PATIENCE
    rates = (bench, bundled, given)
    if not any("lr" in recipe.get("training", {}) for recipe in rates):
        _set_rate(settings, task, level)
    if all(training.get(name) is None for name in LIMITS):
        shipped = not settings["corpus"].get("sources")
        training["budget_s"] = BUNDLED_BUDGET_S if shipped else kind.budget_s
    return settings


def leaves_level_open(given: Mapping[str, Mapping[str, Any]], config: RunConfig) -> bool:
    """Whether a classifier may read letters in place of words: nothing that was `given` is about
    its tokens, or brings tokens of its own."""
    training = config.training
    own = training.start_from or training.pretrain_s or given.get("model", {}).get("vectors")
    about_tokens = any(value is not None for value in given.get("tokenizer", {}).values())
    return find_task(config.model.task).labelled and not own and not about_tokens


def by_letters(config: RunConfig, given: Mapping[str, Mapping[str, Any]]) -> RunConfig:
    """The settings of what was `given` with characters as tokens, of the corpus of `config`."""
    found = resolve({**given, "tokenizer": {"level": "char"}})
    limits = {name: getattr(found.corpus, name) for name in ("max_tokens", "keep")}
    return found.model_copy(update={"corpus": config.corpus.model_copy(update=limits)})


def leaves_size_open(given: Mapping[str, Mapping[str, Any]], config: RunConfig) -> bool:
    """Whether nothing that was `given` says how large the model is, and a budget can say it.

    That is known of language models of characters whose training has no other limit.
    """
    known = {"hidden_size", "embedding_size", "num_layers"} & {
        name for name, value in given.get("model", {}).items() if value is not None
    }
    training = config.training
    kind = find_task(config.model.task)
    characters = not kind.labelled and config.tokenizer.level in ("char", "byte")
    by_clock = training.budget_s is not None and not (training.steps or training.epochs)
    return characters and by_clock and not known and training.start_from is None


def _set_rate(settings: Settings, task: str, level: str) -> None:
    """The default learning rate of what is trained, where the recipes know that kind."""
    model, training = settings["model"], settings["training"]
    steps = training.get("steps")
    tokens = steps * training.get("batch_size", 0) * training.get("bptt", 0) if steps else None
    size = model.get("hidden_size")
    if level in find_task(task).recipes and isinstance(size, int) and size > 0:
        cell, init = model.get("cell", "lstm"), model.get("init", "good")
        training["lr"] = default_rate(task, level, cell, size, init=init, tokens=tokens)


def _forget_dropout(model: Settings) -> None:
    """A text that is read once cannot be learned by heart, so dropout would only blur it.

    Validation loss on WikiText-2 after 400 steps: 5.762 nats without dropout, 5.797 with.
    """
    for name in [name for name in model if name.startswith("dropout_")]:
        del model[name]


def _bench_recipe(given: Mapping[str, Mapping[str, Any]]) -> Settings:
    """What a memory task's corpus (``task:…``) asks for; nothing for any other corpus."""
    sources: Sequence[str] = given.get("corpus", {}).get("sources") or ()
    if len(sources) == 1 and str(sources[0]).startswith("task:"):
        from rnnctl.data import bench_tasks  # not for `rnnctl compare --help`

        return bench_tasks.recipe(str(sources[0]))
    return {}


def _bundled_recipe(given: Mapping[str, Mapping[str, Any]], task: str, level: str) -> Settings:
    """What words of the bundled paragraphs ask for; nothing for any other text."""
    if given.get("corpus", {}).get("sources") or (task, level) != ("lm", "word"):
        return {}
    wanted = given.get("model", {})
    cell = wanted.get("cell") or find_task(task).recipes[level]["model"]["cell"]
    model, training = (dict(BUNDLED_WORDS[section]) for section in ("model", "training"))
    if wanted.get("tied"):
        del model["embedding_size"]
    if find_cell(cell).keep_gate is not None and wanted.get("init", "chrono") == "chrono":
        model |= {"init": "chrono", "horizon": BUNDLED_HORIZON}
    if cell in BUNDLED_RATE:
        training["lr"] = BUNDLED_RATE[cell]
    return {"model": model, "training": training}


def _source_recipe(given: Mapping[str, Mapping[str, Any]], task: str) -> Settings:
    """What the weights of another run (``--from``) bring with them: its tokens and its layers.

    Between language models the kind of output layer as well.

    RunError if it is no run; UsageError for other tokens, since weights are of tokens.
    """
    path = given.get("training", {}).get("start_from")
    if path is None:
        return {}
    source = Run.open(path).config
    for name, value in given.get("tokenizer", {}).items():
        known = getattr(source.tokenizer, name)
        if value != known:
            made = "without it" if known is None else f"with {known}"
            raise UsageError(
                f"{option_of(name)} {value}: the tokens of {path} were made {made}, and its "
                "weights belong to them",
                hint=f"leave out {option_of(name)}, or --from",
            )
    model = source.model.model_dump(include={*SHAPE})
    found = {"tokenizer": source.tokenizer.model_dump(), "model": model}
    if not find_task(source.model.task).labelled:
        model["bidirectional"] = False  # a classifier's second one would have nothing to take
        if not find_task(task).labelled:
            model["tied"] = source.model.tied
    return found


def _choose_vectors(settings: Settings, given: Mapping[str, Mapping[str, Any]]) -> None:
    """No vectors where none are asked for, or where other weights are taken and vectors are not."""
    wanted = given.get("model", {}).get("vectors")
    training = given.get("training", {})
    others = training.get("start_from") is not None or training.get("pretrain_s") is not None
    if wanted == NO_VECTORS or (wanted is None and others):
        settings["model"]["vectors"] = None
        settings["model"]["vectors_sha256"] = None


def _vectors_recipe(given: Mapping[str, Mapping[str, Any]]) -> Settings:
    """What word vectors (``--vectors``) ask for: an embedding of their size.

    DataError for a file that holds none; UsageError for another size.
    """
    model = given.get("model", {})
    path = model.get("vectors")
    if path is None or path == NO_VECTORS:
        return {}
    if path == CORPUS_VECTORS:
        free = {"tied": False} if model.get("freeze_vectors") else {}
        return {"model": {"vectors_sha256": None, **free}}
    from rnnctl.data.vectors import vector_size  # imports numpy, which `--help` does without

    size = vector_size(Path(path))
    asked = model.get("embedding_size")
    if asked not in (None, size):
        raise UsageError(
            f"--embedding-size {asked}: the vectors of {path} have {plural(size, 'number')} each",
            hint="leave out --embedding-size: the file determines it",
        )
    found: Settings = {"model": {"embedding_size": size, "vectors_sha256": None}}
    if model.get("freeze_vectors"):
        found["model"]["tied"] = False  # the output layer is to learn
    return found


def _pretrain_recipe(given: Mapping[str, Mapping[str, Any]]) -> Settings:
    """What a language model that is trained first (``--pretrain``) asks for.

    UsageError beside ``--from`` and ``--vectors``, and for text that can be read only once.
    """
    training = given.get("training", {})
    if training.get("pretrain_s") is None:
        return {}
    others = {
        "--from": training.get("start_from"),
        "--vectors": given.get("model", {}).get("vectors"),
    }
    for option, value in others.items():
        if value not in (None, NO_VECTORS):
            raise UsageError(
                f"--pretrain and {option} both set the initial weights",
                hint="leave one of them out",
            )
    if "-" in given.get("corpus", {}).get("sources", ()):
        raise UsageError(
            "--pretrain reads its corpus twice, which standard input does not allow",
            hint="write it to a file first",
        )
    return {"model": dict(PRETRAINED), "corpus": {"unlabelled": "leave_out"}}


def language_model_first(config: RunConfig) -> RunConfig:
    """The settings of the language model that ``--pretrain`` trains for a classifier's.

    On the classifier's training texts, with its tokens, its sizes and its machine.
    """
    level, model, training = config.tokenizer.level, config.model, config.training
    recipe = find_task("lm").recipes.get(level, {})
    shape = model.model_dump(include={*SHAPE, "init", "horizon"})
    machine = {"seed", "precision", "engine", "threads", "workers", "device", "checkpoint_every_s"}
    settings: Settings = {
        "corpus": {**config.corpus.model_dump(), "read_for": model.task, "max_tokens": None},
        "tokenizer": config.tokenizer.model_dump(),
        "model": {**recipe.get("model", {}), **shape, "task": "lm", "tied": True},
        "training": {
            **recipe.get("training", {}),
            **training.model_dump(include={*machine}),
            "budget_s": training.pretrain_s,
            "lr": default_rate("lm", level, model.cell, model.hidden_size, init=model.init),
        },
    }
    return RunConfig.model_validate(settings)


def _merge(settings: Settings, more: Mapping[str, Mapping[str, Any]]) -> None:
    for section, fields in more.items():
        settings[section] = {**settings.get(section, {}), **fields}


def settle(
    config: RunConfig,
    lengths: NDArray[np.int64],
    given: Mapping[str, Mapping[str, Any]] | None = None,
) -> RunConfig:
    """`config` with what depends on the training documents, of these `lengths` (D,) in tokens.

    A classifier with nothing but a budget reads its documents so often that it takes about
    CLASSIFIER_STEPS steps, 4 to 60 times: more only makes it know them by heart. Where nobody has
    `given` its patience, that is at least PATIENCE_SHARE of its validations. How much of the
    vocabulary each of its steps leaves out follows from the median length, see LONG_DOCUMENT.
    """
    model, training = config.model, config.training
    if not find_task(model.task).labelled:
        return config
    if model.dropout_embedding is None:
        long = median(lengths.tolist() or [0]) >= LONG_DOCUMENT
        share = LEFT_OUT_OF_LONG if long else LEFT_OUT
        model = model.model_copy(update={"dropout_embedding": share})
    if training.steps is None and training.epochs is None:
        wanted = CLASSIFIER_STEPS * training.batch_size / max(1, len(lengths))
        epochs = float(min(60, max(4, math.ceil(wanted))))
        training = training.model_copy(update={"epochs": epochs})
        open_ = "patience" not in (given or {}).get("training", {})
        if open_ and training.patience is not None and training.evaluate_every is None:
            share = math.ceil(PATIENCE_SHARE * VALIDATIONS_PER_EPOCH * epochs)
            training = training.model_copy(update={"patience": max(training.patience, share)})
    return config.model_copy(update={"model": model, "training": training})


def check(config: RunConfig) -> None:
    """UsageError for settings that contradict each other."""
    model, training = config.model, config.training
    if all(getattr(training, name) is None for name in LIMITS):
        raise UsageError("the training has no limit", hint="add --steps, --epochs or --budget")
    if training.start_from is not None and model.vectors is not None:
        raise UsageError(
            "--vectors and --from both set the initial word vectors",
            hint="leave one of them out",
        )
    _check_task(model)
    if model.init == "chrono" and model.horizon is None:
        raise UsageError(
            "--init chrono needs --horizon, in tokens", hint="for example --horizon 100"
        )
    if training.batch_size % training.workers:
        raise UsageError(
            f"--workers {training.workers} cannot share a batch of {training.batch_size} equally",
            hint="use a --batch-size that the number of workers divides",
        )


def _check_task(model: ModelConfig) -> None:
    """UsageError for what a model of that task cannot be, also where a file says so."""
    labelled = find_task(model.task).labelled
    if not labelled and model.bidirectional:
        raise UsageError("a language model cannot be bidirectional", hint="use --no-bidirectional")
    if model.freeze_vectors and model.tied:
        raise UsageError(
            "--freeze-vectors would freeze the output layer too, which is tied to the embedding",
            hint="add --no-tied",
        )
    if labelled and model.tied:
        raise UsageError("a classifier has no tied output layer", hint="add --no-tied")
