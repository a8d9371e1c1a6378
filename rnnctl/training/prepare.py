"""From settings to everything that a training needs: corpus, tokenizer, ids, model, task."""

from __future__ import annotations

import json
import math
import threading
import zlib
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch

from rnnctl import integrity, machine
from rnnctl.config import CORPUS_VECTORS, RunConfig
from rnnctl.data.cache import cache_directory, cache_is_lost
from rnnctl.data.corpus import Corpus, open_corpus
from rnnctl.data.documents import Document
from rnnctl.data.store import Store, build_store
from rnnctl.data.tokenizers import Tokenizer, make_tokenizer
from rnnctl.data.tokenizers.base import to_bytes
from rnnctl.errors import DataError, RnnctlError, RunError, UsageError, word
from rnnctl.machine import Arithmetic, find_arithmetic, keep_memory, set_threads
from rnnctl.nn import engines
from rnnctl.nn.engines import fused_available
from rnnctl.nn.models import Classifier, LanguageModel
from rnnctl.nn.settling import settle as settle_engine
from rnnctl.results.training import VectorsRecord
from rnnctl.runs import Run
from rnnctl.runs.heldout import HELDOUT_NAME, KEEP_BYTES, pack
from rnnctl.runs.run import TOKENIZER_NAME, config_bytes
from rnnctl.tasks.base import Task, find_task
from rnnctl.tasks.effects import check_unused
from rnnctl.tasks.language_model import check_enough, start_from_frequencies, unknown_share
from rnnctl.tasks.loading import CORPUS_NAME, build_model, transfer
from rnnctl.tasks.recipes import by_letters, settle
from rnnctl.tasks.sizes import choose_size
from rnnctl.training.events import Preparing
from rnnctl.training.vectors import (
    VECTORS_NAME,
    begin_with_file,
    begin_with_texts,
    go_on_with_vectors,
)
from rnnctl.wording import plural

COMPUTED_NAME = "computed.json"  # what the numbers of the run are computed with
LITTLE_KNOWN = 0.1  # share of unknown tokens from which on single words tell little
BY_LETTERS = (
    "most texts are a single word, and many words occur only once: they are read letter by letter; "
    "--level word reads them whole"
)
COMPILING = "compiling the inner loops for this processor (only once per machine)"


@dataclass(slots=True)
class Prepared:
    """All parts of a training, before its first step.

    `taken`: weights that `--from` gave. `why_this_size`: a sentence, where it was chosen here.
    `vectors`: word vectors that it begins with, and `kept_vectors` what the run keeps of them.
    """

    config: RunConfig
    corpus: Corpus
    tokenizer: Tokenizer
    store: Store
    task: Task
    arithmetic: Arithmetic
    threads: int
    taken: tuple[str, ...] = ()
    why_this_size: str = ""
    vectors: VectorsRecord | None = None
    kept_vectors: bytes = b""

    @property
    def model(self) -> LanguageModel | Classifier:
        return self.task.model


def prepare(
    config: RunConfig,
    *,
    run: Run | None = None,
    stdin: BinaryIO | None = None,
    given: Mapping[str, Mapping[str, Any]] | None = None,
    size_is_open: bool = False,
    level_is_open: bool = False,
    beside: Path | None = None,
    tokenizer: Tokenizer | None = None,
) -> Generator[Preparing, None, Prepared]:
    """Open the corpus and make the model; with `run` its tokenizer is used instead of a new one,
    and so is a `tokenizer`.

    `given`: settings that somebody asked for, which must not be idle. `size_is_open`: take the
    hidden size that the budget buys on this machine. `level_is_open`: read letters where the texts
    are single words. `beside`: the folder of a run that is repeated.

    Raises DataError for a corpus that cannot be read or is too small, UsageError for a device that
    is not there, RunError where `run` was trained on another corpus.
    """
    if lost := cache_is_lost():
        yield Preparing(lost)
    yield Preparing("reading the corpus")
    keep_memory()
    threads = set_threads(threads_of(config))
    arithmetic = find_arithmetic(
        config.training.device, config.training.precision, insist=run is None
    )
    begun = _begun_with(run)
    arithmetic = _as_begun(arithmetic, config, begun)
    source = None
    if run is None and config.training.start_from is not None:
        source = Run.open(config.training.start_from)
    # Compiling and reading the text take about as long, and wait for different things.
    with WarmUp(config, arithmetic, threads) as warm_up:
        corpus = _open(config, run, stdin, given or {})
        # The tokenizer of the weights: an embedding means nothing with another one.
        known = run or source
        if known is not None:
            tokenizer = Tokenizer.load(known.tokenizer_path)
        elif tokenizer is None:
            tokenizer = make_tokenizer(corpus, config.tokenizer, cache=cache_directory())
        store = stored(corpus, tokenizer, config)
        if level_is_open and known is None and reads_single_words(store, tokenizer):
            config = by_letters(config, given or {})
            corpus = replace(corpus, notes=(*corpus.notes, BY_LETTERS))
            tokenizer = make_tokenizer(corpus, config.tokenizer, cache=cache_directory())
            store = stored(corpus, tokenizer, config)
        for _ in warm_up.wait():
            yield Preparing(COMPILING)

    config = settle(config, np.diff(store.split("train").offsets), given)
    why_this_size = ""
    if size_is_open:
        # Before anything of such a batch size is measured, which might take all memory.
        check_enough(config, len(store.split("train").ids))
        yield Preparing("measuring how fast this machine trains models of different sizes")
        keep_rate = (given or {}).get("training", {}).get("lr") is not None
        config, why_this_size = choose_size(
            config,
            arithmetic,
            vocab_size=tokenizer.vocab_size,
            train_tokens=len(store.split("train").ids),
            keep_rate=keep_rate,
        )
    # Only now, behind everything that draws random numbers for its own purposes.
    torch.manual_seed(config.training.seed)
    model = build_model(
        config.model,
        vocab_size=tokenizer.vocab_size,
        num_classes=len(store.label_names),
        engine=config.training.engine,
    ).to(arithmetic.device)
    # `--init torch` promises PyTorch's own start, to the last weight.
    if isinstance(model, LanguageModel) and config.model.init != "torch":
        start_from_frequencies(model, store.split("train").ids)
    taken = transfer(model, source) if source is not None else []
    vectors, kept_vectors = None, b""
    if config.model.vectors is not None and run is not None:
        vectors = go_on_with_vectors(run, model)
    elif config.model.vectors is not None:
        if config.model.vectors == CORPUS_VECTORS:
            yield Preparing("learning word vectors from the training text")
            start = begin_with_texts(config, model, tokenizer, store)
        else:
            yield Preparing(f"looking up the vectors of the vocabulary in {config.model.vectors}")
            train = store.split("train")
            start = begin_with_file(config, model, tokenizer, train, beside=beside)
        config, vectors, kept_vectors = start.config, start.record, start.kept
    work = find_task(config.model.task).load()
    task = work.begin(config, tokenizer, store, model, arithmetic)
    # Last, when it is certain that there are data for such sizes.
    model.recurrent.engine = _engine(model, config, store, arithmetic, begun)
    return Prepared(
        config,
        corpus,
        tokenizer,
        store,
        task,
        arithmetic,
        threads,
        tuple(taken),
        why_this_size,
        vectors,
        kept_vectors,
    )


def stored(corpus: Corpus, tokenizer: Tokenizer, config: RunConfig) -> Store:
    """The ids of the corpus, each document cut as the settings say."""
    return build_store(
        corpus,
        tokenizer,
        cache=cache_directory(),
        max_tokens=config.corpus.max_tokens,
        keep=config.corpus.keep,
    )


def reads_single_words(store: Store, tokenizer: Tokenizer) -> bool:
    """Whether most texts are a single word, and many of these words are unknown."""
    train = store.split("train")
    lengths = np.diff(train.offsets)
    # A word and the document's end.
    if not len(lengths) or np.median(lengths) > 2:
        return False
    return unknown_share(train, tokenizer) >= LITTLE_KNOWN


def _open(
    config: RunConfig,
    run: Run | None,
    stdin: BinaryIO | None,
    given: Mapping[str, Mapping[str, Any]],
) -> Corpus:
    """The corpus, if it is the one that `run` was trained on, or suits what was `given`."""
    try:
        corpus = open_corpus(
            config.corpus, task=config.model.task, cache=cache_directory(), stdin=stdin
        )
    except RnnctlError as problem:
        if run is None or "does not exist" not in problem.message:
            raise
        where = f"rnnctl train NEW_PLACE --resume {word(run.path)}"
        raise DataError(
            problem.message, hint=f"if the corpus was moved, give its new path: `{where}`"
        ) from problem
    if run is not None:
        check_same_corpus(run, corpus)
    else:
        check_unused(given.get("corpus", {}), config.corpus, corpus)
    return corpus


def _begun_with(run: Run | None) -> dict[str, Any]:
    """What a run that is resumed was computed with; nothing of a new one, or of an older rnnctl's.

    Raises CorruptRunError.
    """
    if run is None or COMPUTED_NAME not in run.current.files:
        return {}
    with suppress(ValueError):
        found = json.loads(integrity.read_limited(run.file(COMPUTED_NAME), integrity.MAX_SMALL))
        if isinstance(found, dict):
            return found
    return {}


def _as_begun(arithmetic: Arithmetic, config: RunConfig, begun: dict[str, Any]) -> Arithmetic:
    """The precision that a resumed run was begun in, where it is here and none is asked for."""
    if config.training.precision != "auto" or begun.get("bf16") in (None, arithmetic.bf16):
        return arithmetic
    if arithmetic.bf16:
        return replace(arithmetic, bf16=False)
    note = (
        f"this machine ({machine.described()}) has no fast bf16 products: the training was begun "
        "in bf16 and continues in fp32"
    )
    return replace(arithmetic, note=note)


def _engine(
    model: LanguageModel | Classifier,
    config: RunConfig,
    store: Store,
    arithmetic: Arithmetic,
    begun: dict[str, Any],
) -> str:
    """What computes the layers: as asked, else as the run was begun, else the fastest as measured.

    A run that is resumed keeps its engine, and so its bits, where that engine works.
    """
    recurrent, train = model.recurrent, store.split("train")
    before = begun.get("engine")
    known = before in engines.ENGINES and before != "auto"
    if recurrent.engine == "auto" and known and (before != "fused" or engines.fused_available()):
        return str(before)
    steps, starts = config.training.bptt, not train.running and config.training.reset
    if isinstance(model, Classifier):
        steps, starts = max(1, len(train.ids) // max(1, train.count)), False
    # Each worker computes its share of the batch only, and that is what must be fast.
    streams = -(-config.training.batch_size // config.training.workers)
    choice = settle_engine(recurrent, steps, streams, bf16=arithmetic.bf16, starts=starts)
    return choice.engine


def threads_of(config: RunConfig) -> int | None:
    """Threads of this process: as asked, or one where several processes share the machine."""
    several = config.training.workers > 1
    return config.training.threads or (1 if several else None)


def check_same_corpus(run: Run, corpus: Corpus) -> None:
    """RunError unless `run` was trained on `corpus`."""
    if run.facts(CORPUS_NAME).get("fingerprint") != corpus.fingerprint:
        raise RunError(
            f"the corpus is not the one that {run.path} was trained on ({corpus.description})",
            hint=f"restore the old text, or start a new training with `--from {word(run.path)}`",
        )


def run_files(prepared: Prepared) -> Mapping[str, bytes]:
    """The files that a new run holds beside its settings."""
    corpus = prepared.corpus
    # How much the splits are, to tell later whether what the run keeps of them is all of them.
    splits = {name: prepared.store.split(name) for name in ("valid", "test")}
    heldout = {
        name: {"documents": split.count, "bytes": int(split.bytes.sum())}
        for name, split in splits.items()
    }
    facts = {
        "fingerprint": corpus.fingerprint,
        "description": corpus.description,
        "running": corpus.running,
        "labels": list(prepared.store.label_names),
        "label_counts": _label_counts(prepared.store),
        "several_labels": prepared.store.split("train").sets is not None,
        "reading": asdict(corpus.reading) if corpus.reading else None,
        "heldout": heldout,
    }
    known = (json.dumps(facts, indent=2) + "\n").encode("ascii")
    _check_readable(prepared, len(known))
    files = {
        TOKENIZER_NAME: to_bytes(prepared.tokenizer.to_dict()),
        CORPUS_NAME: known,
        COMPUTED_NAME: computed_bytes(prepared),
    }
    if prepared.kept_vectors:
        files[VECTORS_NAME] = prepared.kept_vectors
    if prepared.config.training.keep_text:
        files[HELDOUT_NAME] = heldout_bytes(prepared)
    return files


def computed_bytes(prepared: Prepared) -> bytes:
    """What the run's numbers are computed with from now on, for resuming it."""
    facts = {
        "engine": prepared.model.recurrent.engine,
        "bf16": prepared.arithmetic.bf16,
        "threads": prepared.threads,
        "cpu": machine.described(),
        "processor": machine.processor(),
    }
    return (json.dumps(facts, indent=2) + "\n").encode("ascii")


def _check_readable(prepared: Prepared, facts: int) -> None:
    """Raises for a run that would hold a file too large to be opened again."""
    if len(config_bytes(prepared.config)) > integrity.MAX_SMALL:
        sources = plural(len(prepared.config.corpus.sources), "file")
        raise UsageError(
            f"the names of {sources} are too long to be kept",
            hint="name the folder that holds them",
        )
    if facts > integrity.MAX_SMALL:
        raise DataError(
            f"{plural(len(prepared.store.label_names), 'label')} are too many",
            hint="check --label-field: in a column of labels many texts have the same value",
        )


def _label_counts(store: Store) -> list[int]:
    """How many training documents have each label; [] for a language model."""
    train = store.split("train")
    labels, truth = train.labels, train.truth
    if labels is None:
        return []
    if truth is not None:
        return [int(n) for n in truth.sum(0)]
    return [int(n) for n in np.bincount(labels, minlength=len(store.label_names))]


def heldout_bytes(prepared: Prepared) -> bytes:
    """The validation and test documents that the run keeps; a sample where they are too many."""
    running = prepared.corpus.running
    splits = []
    for split in ("valid", "test"):
        documents: Iterable[Document] = prepared.corpus.documents(split)
        if not running:
            size = int(prepared.store.split(split).bytes.sum())
            # Half of the room for each split, less what names and labels take.
            documents = sample(documents, 0.98 * (KEEP_BYTES / 2) / max(1, size))
        splits.append((split, running, documents))
    return pack(splits)


def sample(documents: Iterable[Document], share: float) -> Iterator[Document]:
    """A share of the documents, chosen by their text alone: the same ones whatever their order.

    Of a few long ones it may be less than one: then the one that comes next.
    """
    lowest, spare = math.inf, None
    for document in documents:
        draw = zlib.crc32(document.text.encode("utf-8", "surrogatepass")) / 2**32
        if draw < share:
            yield document
        if draw < lowest and document.text:
            lowest, spare = draw, document
    if spare is not None and lowest >= share:
        yield spare


# -- compiling meanwhile -------------------------------------------------------------------------

_VOCABULARY, _STEPS, _STREAMS = 256, 2, 4


class WarmUp:
    """A thread that takes one step of a model of these settings with a small vocabulary.

    The first one on a machine compiles the inner loops of the cell, for about ten seconds; they are
    kept in numba's cache. Others load them from there. The weights are thrown away. PyTorch's
    random generator is used, so seed it afterwards.

    A context: on leaving it the thread is over, however the context is left. It would otherwise
    draw random numbers meanwhile, and a process that ends while a thread compiles is aborted.
    """

    def __init__(self, config: RunConfig, arithmetic: Arithmetic, threads: int) -> None:
        self._config, self._arithmetic, self._threads = config, arithmetic, threads
        self._compiles = threading.Event()
        self._thread = threading.Thread(target=self._work, name="warm-up")

    def __enter__(self) -> WarmUp:
        if self._arithmetic.device.type == "cpu":
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._thread.is_alive():
            self._thread.join()

    def wait(self) -> Iterator[None]:
        """Wait until it is over. Yields once if that takes long because something is compiled."""
        told = False
        while self._thread.is_alive():
            self._thread.join(0.1)
            if self._compiles.is_set() and not told:
                told = True
                yield

    def _work(self) -> None:
        # What fails here fails again in the training, which then says what is wrong.
        with suppress(Exception):
            torch.set_num_threads(self._threads)  # a thread has a number of its own
            if not fused_available():
                self._step()
                return
            from numba.core import event

            compiles = self._compiles

            class Listener(event.Listener):
                """Told when numba compiles something that its cache does not hold."""

                def on_start(self, event: object) -> None:
                    compiles.set()

                def on_end(self, event: object) -> None:
                    pass

            with event.install_listener("numba:compile", Listener()):
                self._step()

    def _step(self) -> None:
        engine = self._config.training.engine
        if engine == "auto" and fused_available():
            engine = "fused"  # the one that has something to compile
        model = build_model(
            self._config.model, vocab_size=_VOCABULARY, num_classes=2, engine=engine
        )
        ids = torch.zeros(_STEPS, _STREAMS, dtype=torch.int64)
        lengths = torch.full((_STREAMS,), _STEPS)
        for _ in range(2):
            with self._arithmetic.context(), torch.set_grad_enabled(model.training):
                if isinstance(model, LanguageModel):
                    total, _ = model.loss(ids, ids, None, None)
                else:
                    total = model(ids, lengths).float().sum()
            if model.training:
                total.backward()  # type: ignore[no-untyped-call]
            model.eval()  # the second time as in a validation
