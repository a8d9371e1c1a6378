"""Language models: batches of running text or documents, the loss, the validation.

Every loss here has the spelling of unknown tokens in it, as the results have: a loss on the way can
be held against those at the end. The store knows it by document, so a step has its text's mean.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from rnnctl.config import COLD_WINDOW, RunConfig, TrainingConfig
from rnnctl.data.batches import NO_TARGET, LanguageModelBatch, StreamBatches
from rnnctl.data.ids import IdArray, SplitIds
from rnnctl.data.store import Store
from rnnctl.data.tokenizers import Tokenizer
from rnnctl.errors import DataError
from rnnctl.machine import Arithmetic
from rnnctl.nn.models import Classifier, LanguageModel
from rnnctl.results.training import SplitResult
from rnnctl.tasks.base import Carry, Interrupted, StepLoss, Task, Validation
from rnnctl.tasks.evaluation import (
    MOST_SUMS,
    STREAMS,
    FinalInterrupted,
    MeasuredSplit,
    SplitName,
    check_finite,
    cold_nats,
    document_nats,
    loss_of,
    sampled_nats,
    spread_tokens,
    streaming_nats,
    sums_of,
)
from rnnctl.wording import plural

VALIDATION_TOKENS = 250_000  # read by the validations during a training
MEASURED_TOKENS = 1_000_000  # of a split are read for the final numbers: a minute for large models
MEASURED_TRAIN_TOKENS = 250_000
_COUNTED_TOKENS = 20_000_000


class LanguageModelTask(Task):
    """A language model with its training and validation text.

    `by_document`: documents begin with a zero state, in training and validation; otherwise the
    state is carried on.
    """

    counts_documents = False
    model: LanguageModel
    batches: StreamBatches

    def __init__(
        self,
        model: LanguageModel,
        train: SplitIds,
        valid: SplitIds,
        settings: TrainingConfig,
        arithmetic: Arithmetic,
        *,
        boundary_id: int,
        by_document: bool,
        rank: int = 0,
    ) -> None:
        self.model = model
        self.arithmetic = arithmetic
        self.boundary_id = boundary_id
        self.by_document = by_document
        self.rank, self.workers = rank, settings.workers
        self.valid = valid
        self.batches = StreamBatches(
            train,
            settings.batch_size,
            settings.bptt,
            boundary_id,
            settings.seed,
            reset=by_document,
        )
        self.units_per_epoch = self.batches.tokens_per_epoch
        self._train_spelling = spelling_per_token(train, train.offsets)
        self.spelling_nats = self._train_spelling  # what is minimised where there is no such text
        if valid.tokens:
            read = spread_tokens(valid, VALIDATION_TOKENS) if by_document else valid
            self.spelling_nats = spelling_per_token(read, read.offsets)
        self.trivial_nats = unigram_nats(train.ids, model.vocab_size) + self.spelling_nats

    @classmethod
    def begin(
        cls,
        config: RunConfig,
        tokenizer: Tokenizer,
        store: Store,
        model: LanguageModel | Classifier,
        arithmetic: Arithmetic,
        *,
        rank: int = 0,
    ) -> LanguageModelTask:
        """See `Task`."""
        train = store.split("train")
        check_enough(config, len(train.ids))
        check_known(config, train, tokenizer)
        assert isinstance(model, LanguageModel)
        return cls(
            model,
            train,
            store.split("valid"),
            config.training,
            arithmetic,
            boundary_id=tokenizer.boundary_id,
            by_document=not train.running and config.training.reset,
            rank=rank,
        )

    def initial_carry(self, streams: int) -> tuple[torch.Tensor, ...]:
        """The zero state of so many streams B: parts (L, B, H)."""
        return self.model.recurrent.initial_state(streams)

    def loss(self, batch: LanguageModelBatch, carry: Carry) -> StepLoss:
        """Loss of one chunk, continuing from the state `carry`; this worker's streams only."""
        # Every process cuts the whole batch and takes its own streams, so that all are in step
        # whatever their number.
        own = slice(self.rank, None, self.workers)
        inputs = self._tensor(batch.inputs[:, own])
        targets = self._tensor(batch.targets[:, own])
        starts, carry = self._starts(batch, carry)
        with self.arithmetic.context():
            total, state = self.model.loss(inputs, targets, carry, starts)
        units = int((batch.targets != NO_TARGET).sum())
        # What spelling unknown words costs is no matter of the weights, but of what the loss means:
        # so a small vocabulary does not look better than a large one.
        total = total + self._train_spelling * units / self.workers
        kept = tuple(part.detach() for part in state)  # no gradient goes further back than a chunk
        return StepLoss(total, units, tokens=units, documents=0, carry=kept)

    def _starts(self, batch: LanguageModelBatch, carry: Carry) -> tuple[torch.Tensor | None, Carry]:
        """Starts that only a zero state at the chunk's beginning expresses are given as that."""
        if batch.starts is None:
            return None, carry
        own = batch.starts[:, self.rank :: self.workers]
        # A kernel of PyTorch cannot zero the state in the middle of a chunk, but begin with zeros.
        if own[0].all() and not own[1:].any():
            return None, None
        return self._tensor(own), carry

    def _tensor(self, array: NDArray[np.generic]) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.arithmetic.device)

    def validate(self, interrupted: Interrupted, most: int = 0) -> Validation | None:
        """Mean nats per token over parts of the validation text that are spread evenly over it.

        At most `most` tokens, or VALIDATION_TOKENS if that is fewer or `most` is 0; in documents
        as many whole ones as have about that many tokens.
        """
        if len(self.valid.ids) == 0:
            return None
        self.model.eval()
        try:
            nats = self._validate(interrupted, min(most or VALIDATION_TOKENS, VALIDATION_TOKENS))
        finally:
            self.model.train()
        return None if nats is None else Validation(nats + self.spelling_nats)

    def _validate(self, interrupted: Interrupted, tokens: int) -> float | None:
        if not self.by_document:
            return sampled_nats(
                self.model,
                self.valid.ids,
                self.boundary_id,
                self.arithmetic,
                most=tokens,
                interrupted=interrupted,
            )
        some = spread_tokens(self.valid, tokens)
        sums = document_nats(
            self.model,
            some.ids,
            some.offsets,
            self.boundary_id,
            self.arithmetic,
            interrupted=interrupted,
        )
        return None if sums is None else float(sums.sum() / len(some.ids))

    def measure(self, name: SplitName, split: SplitIds, interrupted: Interrupted) -> MeasuredSplit:
        """The losses of a split by the protocols that suit it. FinalInterrupted when asked to stop.

        In fp32 whatever the training used, so that the numbers are those of `evaluate` and `score`.
        """
        most = MEASURED_TRAIN_TOKENS if name == "train" else MEASURED_TOKENS
        arithmetic = Arithmetic(self.arithmetic.device, bf16=False)
        if self.by_document:
            return self._measure_documents(name, split, most, arithmetic, interrupted)
        return self._measure_running(name, split, most, arithmetic, interrupted)

    def _measure_documents(
        self,
        name: SplitName,
        split: SplitIds,
        most: int,
        arithmetic: Arithmetic,
        interrupted: Interrupted,
    ) -> MeasuredSplit:
        """The loss of the first documents with at most `most` tokens in all."""
        offsets = first_documents(split.offsets, most)
        whole = len(offsets) == len(split.offsets)
        nats = document_nats(
            self.model, split.ids, offsets, self.boundary_id, arithmetic, interrupted=interrupted
        )
        if nats is None:
            raise FinalInterrupted
        check_finite(nats, name)
        part = "" if whole else f"the first {plural(len(offsets) - 1, 'document')}"
        loss = loss_of(split, len(nats), float(nats.sum()), "document")
        result = SplitResult(split=name, losses=(loss,), part=part)
        if name == "train" or not whole or len(nats) > MOST_SUMS:
            return MeasuredSplit(result)
        return MeasuredSplit(result, sums_of(name, split, nats + split.unknown_nats[: len(nats)]))

    def _measure_running(
        self,
        name: SplitName,
        split: SplitIds,
        most: int,
        arithmetic: Arithmetic,
        interrupted: Interrupted,
    ) -> MeasuredSplit:
        """Streaming and cold loss of the first `most` tokens of a running text."""
        ids = split.ids[:most]
        streaming = streaming_nats(
            self.model, ids, self.boundary_id, arithmetic, streams=STREAMS, interrupted=interrupted
        )
        cold = cold_nats(
            self.model,
            ids,
            self.boundary_id,
            arithmetic,
            window=COLD_WINDOW,
            interrupted=interrupted,
        )
        if streaming is None or cold is None:
            raise FinalInterrupted
        check_finite(np.array([streaming + cold]), name)
        share = len(ids) / len(split.ids)
        part = "" if share == 1 else f"the first {plural(len(ids), 'token')}"
        losses = (
            loss_of(split, None, streaming, "streaming", share=share),
            loss_of(split, None, cold, "cold", share=share, window=COLD_WINDOW),
        )
        return MeasuredSplit(SplitResult(split=name, losses=losses, part=part))


def spelling_per_token(split: SplitIds, offsets: NDArray[np.int64]) -> float:
    """What spelling its unknown tokens costs, in nats a token of the first documents, whose
    `offsets` (D + 1,) are a beginning of the split's."""
    charges = split.unknown_nats[: len(offsets) - 1]
    return float(charges.sum()) / max(1, int(offsets[-1]))


def first_documents(offsets: NDArray[np.int64], tokens: int) -> NDArray[np.int64]:
    """Offsets (D + 1,) of the first documents that have at most `tokens` tokens in all, at least
    one of them."""
    count = int(np.searchsorted(offsets, offsets[0] + tokens, side="right"))
    return offsets[: max(2, count)]


def token_counts(ids: IdArray, vocab_size: int) -> NDArray[np.int64]:
    """How often each token occurs (V,) in the first 20 million of `ids` (N,)."""
    counts = np.zeros(vocab_size, np.int64)
    for begin in range(0, min(len(ids), _COUNTED_TOKENS), 1_000_000):
        counts += np.bincount(ids[begin : begin + 1_000_000], minlength=vocab_size)
    return counts


def unigram_nats(ids: IdArray, vocab_size: int) -> float:
    """Entropy of the token frequencies of `ids` (N,), nats a token: the loss of a model that looks
    at no context."""
    counts = token_counts(ids, vocab_size)
    shares = counts[counts > 0] / max(1, counts.sum())
    return float(-(shares * np.log(shares)).sum())


@torch.no_grad()
def start_from_frequencies(model: LanguageModel, ids: IdArray) -> None:
    """Set the output bias (V,) to the log frequencies (nats) of the tokens in `ids` (N,).

    A model of many words otherwise spends its first hundreds of steps on learning just these.
    """
    # One more of each, so that what was never seen is unlikely and not impossible.
    counts = token_counts(ids, model.vocab_size) + 1.0
    model.decoder.bias.copy_(torch.from_numpy(np.log(counts / counts.sum())))


def unknown_share(split: SplitIds, tokenizer: Tokenizer) -> float:
    """Which part of the first million tokens is unknown, 0 to 1."""
    ids = np.asarray(split.ids[:1_000_000])
    return 0.0 if tokenizer.unknown_id is None else float(np.mean(ids == tokenizer.unknown_id))


MOST_UNKNOWN = 0.99  # share of unknown tokens from which on a training makes no sense


def check_known(config: RunConfig, train: SplitIds, tokenizer: Tokenizer) -> None:
    """DataError where nearly all tokens are unknown: there is nothing that could be learnt."""
    share = unknown_share(train, tokenizer)
    if share < MOST_UNKNOWN:
        return
    fewest = config.tokenizer.min_count
    hint = f"--min-count {fewest} leaves out rare ones; " if fewest else ""
    raise DataError(
        f"{100 * share:.1f} % of the training tokens are unknown: hardly any token occurs often "
        "enough for the vocabulary",
        hint=f"{hint}use --min-count 1, --level char or --level bpe, or more text",
    )


def check_enough(config: RunConfig, tokens: int) -> None:
    """DataError unless every parallel stream has at least two tokens to read."""
    streams = config.training.batch_size
    if tokens < 2 * streams:
        most = max(1, tokens // 2)
        raise DataError(
            f"the training text has {plural(tokens, 'token')}, too few for "
            f"{plural(streams, 'parallel stream')}",
            hint=f"use more text, or --batch-size {most}{' or less' * (most > 1)}",
        )
