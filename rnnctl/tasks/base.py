"""What a task is: the facts that other modules ask of it, and the work that the loop asks of it.

A `TaskKind` is what `rnnctl.catalog` lists: it says all that is particular to a task, and no other
module compares the name of one. A `Task` is at work on data: it gives losses to the training loop,
validates, and measures. Nothing here imports torch or numpy: finished runs are compared without
them, and `rnnctl train --help` shows the defaults.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, TypeAlias

from rnnctl import catalog
from rnnctl.config import RunConfig
from rnnctl.results.base import Warning_

if TYPE_CHECKING:
    from torch import Tensor

    from rnnctl.data.corpus import Corpus
    from rnnctl.data.ids import SplitIds
    from rnnctl.data.store import Store
    from rnnctl.data.tokenizers import Tokenizer
    from rnnctl.machine import Arithmetic
    from rnnctl.nn.models import Classifier, LanguageModel
    from rnnctl.tasks.evaluation import MeasuredSplit, SplitName

Carry: TypeAlias = "tuple[Tensor, ...] | None"
Interrupted = Callable[[], bool]
Recipe = dict[str, dict[str, Any]]  # section -> field -> value


@dataclass(frozen=True, slots=True)
class TaskKind:
    """What there is to know of a task before anything is trained.

    name: what `--task` calls it. work: where its `Task` class is, "module:attribute". labelled:
    documents carry labels, and a `Classifier` is trained to answer once for each; else a
    `LanguageModel` answers after every token. level, budget_s, recipes: what applies where nobody
    says it: the level of tokens, the seconds of training, the settings by level. in_words: what
    applies to a setting that no recipe has, as `--help` says it.
    """

    name: str
    work: str
    labelled: bool
    level: str = "char"
    budget_s: float = 75.0
    recipes: Mapping[str, Recipe] = field(default_factory=dict)
    in_words: Mapping[str, str] = field(default_factory=dict)

    def load(self) -> type[Task]:
        """The class that does the work. Imports torch."""
        module, _, attribute = self.work.partition(":")
        found: type[Task] = getattr(import_module(module), attribute)
        return found

    @property
    def noun(self) -> str:
        """What a model of this task is called in sentences."""
        return "classifier" if self.labelled else "language model"

    @property
    def unit(self) -> str:
        """What a loss of this task is the mean over."""
        return "document" if self.labelled else "token"

    @property
    def command(self) -> str:
        """The command that uses a run of this task."""
        return "classify" if self.labelled else "generate"

    @property
    def quality(self) -> Literal["accuracy", "bits_per_byte"]:
        """The number by which models of this task are compared."""
        return "accuracy" if self.labelled else "bits_per_byte"

    @property
    def diagnostics(self) -> frozenset[str]:
        """The measurements of a usual diagnosis that comparisons read columns from."""
        return frozenset({"effect", "hold", "reach", "gates"}) | {
            "position" if self.labelled else "use"
        }


def find_task(name: str) -> TaskKind:
    """The task of that name, which may be a former one. UsageError for an unknown name."""
    found: TaskKind = catalog.load("task", catalog.today("task", name))
    return found


@dataclass(frozen=True, slots=True)
class StepLoss:
    """A batch's summed loss (nats, with gradient) and what it is summed over."""

    total: Tensor
    units: int  # tokens with a target, or documents: the mean is total / units
    tokens: int
    documents: int
    carry: Carry


@dataclass(frozen=True, slots=True)
class Validation:
    """A validation: its loss (mean nats per token or document), and the accuracy.

    choice: what the best weights are chosen by, the lower the better; None: the loss.
    """

    value: float
    accuracy: float | None = None
    choice: float | None = None

    @property
    def chosen_by(self) -> float:
        """What tells whether these weights are better than others, the lower the better."""
        return self.value if self.choice is None else self.choice


@dataclass(frozen=True, slots=True)
class Conclusion:
    """The end of a training: what was measured, files that the run keeps of it, and warnings."""

    measured: tuple[MeasuredSplit, ...]
    files: Mapping[str, bytes] = field(default_factory=dict)
    warnings: tuple[Warning_, ...] = ()


class Batches(Protocol):
    """Batches without end, whose place can be saved and taken up again."""

    def __next__(self) -> Any: ...
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class Task(ABC):
    """A model with its data: gives losses to the loop, and validates.

    Made by `begin`, which sets the attributes. trivial_nats: validation value of the best model
    that looks at no context. spelling_nats: how much of every validation value is the spelling of
    unknown tokens, for any model.
    """

    counts_documents: ClassVar[bool]
    model: LanguageModel | Classifier
    batches: Batches
    units_per_epoch: int
    trivial_nats: float
    spelling_nats: float

    @classmethod
    @abstractmethod
    def begin(
        cls,
        config: RunConfig,
        tokenizer: Tokenizer,
        store: Store,
        model: LanguageModel | Classifier,
        arithmetic: Arithmetic,
        *,
        rank: int = 0,
    ) -> Task:
        """The task with its training and validation splits. DataError when there is too little."""

    @abstractmethod
    def initial_carry(self, streams: int) -> tuple[Tensor, ...]:
        """What is carried from step to step, as it is before the first; () for nothing."""

    def next_batch(self) -> Any:
        """The next batch of training data."""
        return next(self.batches)

    @abstractmethod
    def loss(self, batch: Any, carry: Carry) -> StepLoss:
        """The loss of a batch, this worker's share of it, with its gradient."""

    @abstractmethod
    def validate(self, interrupted: Interrupted, most: int = 0) -> Validation | None:
        """On at most that many tokens or documents, 0 for as many as are usual.

        None when there is no validation text, or when interrupted.
        """

    @abstractmethod
    def measure(self, name: SplitName, split: SplitIds, interrupted: Interrupted) -> MeasuredSplit:
        """The final numbers of a split. FinalInterrupted when asked to stop."""

    def conclude(
        self, measured: Sequence[MeasuredSplit], config: RunConfig, corpus: Corpus
    ) -> Conclusion:
        """What is known when all splits are measured; here nothing more than that."""
        return Conclusion(tuple(measured))


# -- the tasks of rnnctl itself ------------------------------------------------------------------
# The numbers were tuned on validation text of the corpora that the benchmarks name.

BUNDLED_BUDGET_S = 60.0  # of the bundled text, which is small
_CHARACTERS: Recipe = {
    "model": {"cell": "lstm", "hidden_size": 512, "num_layers": 1, "embedding_size": 128},
    "training": {"lr": 1.5e-2, "beta1": 0.8, "weight_decay": 0.1, "batch_size": 32, "bptt": 64},
}
_WORDS: Recipe = {
    "model": {
        "cell": "lstm",
        "hidden_size": 200,
        "num_layers": 2,
        "tied": True,
        "dropout_input": 0.1,
        "dropout_between": 0.1,
        "dropout_output": 0.1,
    },
    "training": {"lr": 8e-3, "weight_decay": 0.01, "batch_size": 32, "bptt": 35},
}
# Documents longer than this say little more about their label, and cost as much as many short ones.
# Their end is kept, for that is where reviews conclude.
_CLASSIFIER: Recipe = {
    "corpus": {"max_tokens": 400, "keep": "tail"},
    "model": {
        "cell": "lstm",
        "hidden_size": 128,
        "embedding_size": 128,
        "bidirectional": True,
        "pool": "meanmax",
        "dropout_embedding": None,  # by the length of the documents, see `recipes.settle`
        "dropout_output": 0.5,
    },
    "training": {
        "lr": 3e-3,
        "weight_decay": 0.01,
        "warmup": 0.05,
        "batch_size": 64,
        "average": 0.998,
        "patience": 4,
    },
}
# In lower case there are fewer words to learn from as many documents: after training on 6,000 whole
# reviews the validation loss was 0.317 and 0.318 nats (two seeds), and 0.329 with capitals.
_WORDS_LABELLED = {"vocab_size": 30_000, "min_count": 2, "lowercase": True, "lead": True}
_CHARACTERS_LABELLED: Recipe = _CLASSIFIER | {"corpus": {"max_tokens": 2000, "keep": "tail"}}

LANGUAGE_MODEL = TaskKind(
    "lm",
    "rnnctl.tasks.language_model:LanguageModelTask",
    labelled=False,
    level="char",
    budget_s=75.0,
    recipes={
        "char": _CHARACTERS,
        "byte": _CHARACTERS,
        "word": _WORDS,
        "bpe": _WORDS | {"tokenizer": {"vocab_size": 4096}},
    },
    in_words={"budget_s": f"75s, or {BUNDLED_BUDGET_S:g}s for the bundled text"},
)
CLASSIFY = TaskKind(
    "classify",
    "rnnctl.tasks.classification:ClassificationTask",
    labelled=True,
    level="word",
    budget_s=600.0,
    recipes={
        "char": _CHARACTERS_LABELLED,
        "byte": _CHARACTERS_LABELLED,
        "word": _CLASSIFIER | {"tokenizer": dict(_WORDS_LABELLED)},
        "bpe": _CLASSIFIER | {"tokenizer": {"vocab_size": 8192}},
    },
    in_words={
        "budget_s": "600s",
        "epochs": "4 to 60, fewer for a larger corpus",
        "patience": "4, or more for a small corpus",
        "level": "word, or char if most texts are a single word",
        "dropout_embedding": "0.1, or 0.3 for long documents",
    },
)
OWN_TASKS = (LANGUAGE_MODEL, CLASSIFY)
