"""The loss of a language model over a text, by protocol. Sums are kept in float64.

- *streaming*: the state is carried over the whole text.
- *cold*: windows of W tokens, each begun with a zero state (and the token before as input).
- *document*: every document begun with a zero state and the boundary symbol.

Axes: T time, B batch, N tokens of the text.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rnnctl.data.batches import NO_TARGET, pad_documents
from rnnctl.data.ids import IdArray, SplitIds
from rnnctl.errors import NotFiniteError
from rnnctl.machine import Arithmetic
from rnnctl.nn.models import LanguageModel
from rnnctl.results.base import LanguageModelLoss
from rnnctl.results.training import DocumentSums, SplitResult
from rnnctl.tasks.base import Interrupted

STREAMS = 64
LEAD = 256  # tokens read before each part of a text that is evaluated in parallel
CHUNK = 128
BATCH_TOKENS = 16_384


def never() -> bool:
    return False


@torch.no_grad()
def streaming_nats(
    model: LanguageModel,
    ids: IdArray,
    boundary_id: int,
    arithmetic: Arithmetic,
    *,
    streams: int = STREAMS,
    lead: int = LEAD,
    interrupted: Interrupted = never,
) -> float | None:
    """Summed nats of `ids` (N,) with carried state; None when interrupted.

    The text is read in `streams` parts at once. Each part but the first begins `lead` tokens
    early, unscored, from a zero state: by then the state is as if the text had been read from its
    beginning (the difference is below 1e-3 nats for models that remember less than `lead`).
    `streams=1` is the definition itself.
    """
    length = -(-len(ids) // streams)
    length = max(length, min(4 * lead, len(ids)))  # not more overlap than text
    begins = np.arange(0, len(ids), length)
    lead = min(lead, length) if len(begins) > 1 else 0
    return _side_by_side(model, ids, begins, length, lead, boundary_id, arithmetic, interrupted)


@torch.no_grad()
def sampled_nats(
    model: LanguageModel,
    ids: IdArray,
    boundary_id: int,
    arithmetic: Arithmetic,
    *,
    most: int,
    lead: int = LEAD,
    interrupted: Interrupted = never,
) -> float | None:
    """Mean nats a token of at most `most` tokens of `ids` (N,); None when interrupted.

    Where the text has more than that, it is read in parts that are spread evenly over it, each
    after `lead` unscored tokens as in `streaming_nats`: the beginning of a text alone may be much
    easier or harder than the rest.
    """
    if len(ids) <= most:
        nats = streaming_nats(model, ids, boundary_id, arithmetic, interrupted=interrupted)
        return None if nats is None else nats / len(ids)
    parts = min(STREAMS, max(1, most // (4 * lead)))
    length = most // parts
    begins = np.linspace(0, len(ids) - length, parts).astype(np.int64)
    lead = lead if parts > 1 else 0
    total = _side_by_side(model, ids, begins, length, lead, boundary_id, arithmetic, interrupted)
    return None if total is None else total / (parts * length)


def _side_by_side(
    model: LanguageModel,
    ids: IdArray,
    begins: NDArray[np.integer],
    length: int,
    lead: int,
    boundary_id: int,
    arithmetic: Arithmetic,
    interrupted: Interrupted,
) -> float | None:
    """Summed nats of the `length` tokens from each of `begins` (B,), the first of which is 0.

    A part ends where the next one begins. None when interrupted.
    """
    state = model.recurrent.initial_state(len(begins))
    total = 0.0
    for start, stop in _pieces(-lead, 0) + _pieces(0, length):
        if interrupted():
            return None
        inputs, targets = _window(ids, begins, start, stop, boundary_id)
        nats, state = _losses(model, inputs, targets, state, arithmetic)
        total += nats if start >= 0 else 0.0
        if stop == 0:
            # The first part has nothing before it: of each state (L, B, H) that stream is zero.
            first = torch.zeros(1, dtype=torch.long, device=arithmetic.device)
            state = tuple(part.index_fill(1, first, 0.0) for part in state)
    return total


def _pieces(start: int, stop: int) -> list[tuple[int, int]]:
    return [(begin, min(begin + CHUNK, stop)) for begin in range(start, stop, CHUNK)]


def _window(
    ids: IdArray, begins: NDArray[np.integer], start: int, stop: int, boundary_id: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Inputs and targets (T, B) of steps start … stop-1 counted from each of `begins` (B,)."""
    ends = np.append(begins[1:], len(ids))
    inputs = np.full((stop - start, len(begins)), boundary_id, np.int64)
    targets = np.full((stop - start, len(begins)), NO_TARGET, np.int64)
    for column, (begin, end) in enumerate(zip(begins.tolist(), ends.tolist(), strict=True)):
        low, high = max(0, begin + start), min(len(ids), begin + stop)
        if low >= high:
            continue
        before = ids[max(0, low - 1) : high - 1]  # a text's first token has the boundary before it
        at = low - begin - start + (high - low - len(before))
        inputs[at : at + len(before), column] = before
        first, last = max(low, begin), min(high, end)
        if first < last:
            targets[first - begin - start : last - begin - start, column] = ids[first:last]
    return inputs, targets


def _losses(
    model: LanguageModel,
    inputs: NDArray[np.int64],
    targets: NDArray[np.int64],
    state: tuple[Tensor, ...] | None,
    arithmetic: Arithmetic,
) -> tuple[float, tuple[Tensor, ...]]:
    device = arithmetic.device
    with arithmetic.context():
        nats, state = model.token_losses(
            torch.from_numpy(inputs).to(device), torch.from_numpy(targets).to(device), state
        )
    return float(nats.sum(dtype=torch.float64)), state


@torch.no_grad()
def cold_nats(
    model: LanguageModel,
    ids: IdArray,
    boundary_id: int,
    arithmetic: Arithmetic,
    *,
    window: int,
    interrupted: Interrupted = never,
) -> float | None:
    """Summed nats of `ids` (N,) in windows of `window` tokens, each from a zero state.

    Memory is bounded by BATCH_TOKENS: longer windows are read in pieces.
    """
    total = 0.0
    window = max(1, min(window, len(ids)))
    at_once = max(1, BATCH_TOKENS // window)
    begins = np.arange(0, len(ids), window)
    for first in range(0, len(begins), at_once):
        some = begins[first : first + at_once]
        # One more, which says where the last window ends, and whose own column is dropped below.
        some = np.append(some, some[-1] + window)
        state: tuple[Tensor, ...] | None = None
        for start in range(0, window, BATCH_TOKENS):
            if interrupted():
                return None
            stop = min(start + BATCH_TOKENS, window)
            inputs, targets = _window(ids, some, start, stop, boundary_id)
            nats, state = _losses(model, inputs[:, :-1], targets[:, :-1], state, arithmetic)
            total += nats
    return total


@torch.no_grad()
def document_nats(
    model: LanguageModel,
    ids: IdArray,
    offsets: NDArray[np.int64],
    boundary_id: int,
    arithmetic: Arithmetic,
    *,
    interrupted: Interrupted = never,
) -> NDArray[np.float64] | None:
    """Nats of each document (D,), every one from a zero state; None when interrupted.

    Document d is `ids[offsets[d]:offsets[d+1]]`, its boundary symbol included.
    """
    nats = np.zeros(len(offsets) - 1)
    for some in batches_by_length(np.diff(offsets)):
        if interrupted():
            return None
        targets, _ = pad_documents([ids[offsets[d] : offsets[d + 1]] for d in some], NO_TARGET)
        inputs = np.full_like(targets, boundary_id)  # (T, B), one step behind the targets
        inputs[1:] = np.where(targets[1:] == NO_TARGET, boundary_id, targets[:-1])
        with arithmetic.context():
            losses, _ = model.token_losses(
                torch.from_numpy(inputs).to(arithmetic.device),
                torch.from_numpy(targets).to(arithmetic.device),
            )
        nats[some] = losses.sum(0, dtype=torch.float64).cpu().numpy()
    return nats


def batches_by_length(lengths: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Indices of documents of similar length, at most BATCH_TOKENS (padded) at once."""
    order = np.argsort(lengths, kind="stable")
    begin = 0
    for end in range(1, len(order) + 1):
        # The longest of the batch decides on its padded size, and that is the next one in order.
        full = end < len(order) and (end + 1 - begin) * lengths[order[end]] > BATCH_TOKENS
        if full or end == len(order):
            yield order[begin:end]
            begin = end


# -- the results of one split --------------------------------------------------------------------

SplitName = Literal["train", "valid", "test"]
Protocol = Literal["streaming", "cold", "document"]
MOST_SUMS = 50_000  # documents whose sums a result holds


class FinalInterrupted(Exception):  # noqa: N818 - an outcome, not a defect
    """The final measurements were interrupted; the run can be resumed to finish them."""


@dataclass(frozen=True, slots=True)
class MeasuredSplit:
    """What was measured of a split; `sums` where it was read whole and not for training.

    `logits` (D, C) and `truth`, (D,) or (D, C), are what a classification was measured from.
    """

    result: SplitResult
    sums: DocumentSums | None = None
    logits: NDArray[np.float64] | None = None
    truth: NDArray[np.int64] | NDArray[np.bool_] | None = None


def check_finite(nats: NDArray[np.float64], text: str) -> None:
    """NotFiniteError for the first document (D,), or for a whole text, that has no finite loss."""
    bad = np.flatnonzero(~np.isfinite(nats))
    if len(bad):
        of = f"document {bad[0] + 1:,} of " if len(nats) > 1 else ""
        raise NotFiniteError(f"{of}{text}")


def spread(split: SplitIds, most: int) -> SplitIds:
    """The split itself, or so many of its documents, spread evenly, if it has more."""
    if split.count <= most:
        return split
    return chosen(split, np.linspace(0, split.count - 1, most).astype(np.int64))


def spread_tokens(split: SplitIds, most: int) -> SplitIds:
    """As many documents, spread evenly, as have about `most` tokens in all; at least one."""
    if len(split.ids) <= most:
        return split
    return spread(split, max(1, split.count * most // len(split.ids)))


def chosen(split: SplitIds, which: NDArray[np.int64]) -> SplitIds:
    """The documents of these numbers (K,), at least one."""
    pieces = [split.document(int(d)) for d in which]
    offsets = np.concatenate([[0], np.cumsum([len(piece) for piece in pieces])]).astype(np.int64)
    return SplitIds(
        ids=np.concatenate(pieces),
        offsets=offsets,
        labels=None if split.labels is None else split.labels[which],
        chars=split.chars[which],
        bytes=split.bytes[which],
        words=split.words[which],
        unknown=split.unknown[which],
        unknown_nats=split.unknown_nats[which],
        sets=split.sets,
    )


def sums_of(
    name: Literal["train", "valid", "test", "all"],
    split: SplitIds,
    nats: NDArray[np.float64],
    truth: NDArray[np.integer] | None = None,
    predicted: NDArray[np.integer] | None = None,
) -> DocumentSums:
    """Sums of each document, for paired comparisons: `nats` (D,), and what a classification said.

    truth, predicted: (D,) label numbers.
    """
    return DocumentSums(
        split=name,
        loss_nats=tuple(round(float(value), 6) for value in nats),
        tokens=tuple(int(n) for n in np.diff(split.offsets)),
        bytes=tuple(int(n) for n in split.bytes),
        truth=() if truth is None else tuple(int(label) for label in truth),
        predicted=() if predicted is None else tuple(int(label) for label in predicted),
    )


def loss_of(
    split: SplitIds,
    documents: int | None,
    nats: float,
    protocol: Protocol,
    *,
    share: float = 1.0,
    window: int | None = None,
) -> LanguageModelLoss:
    """The loss record of summed nats over the first documents, or a share, of a split.

    Of a running text that was read in part, characters and bytes are the same share of the whole.
    """
    some = slice(documents)
    tokens = int(split.offsets[documents]) if documents is not None else len(split.ids)
    chars, size = int(split.chars[some].sum()), int(split.bytes[some].sum())
    unknown, charge = int(split.unknown[some].sum()), float(split.unknown_nats[some].sum())
    total = nats + charge * share
    count = round(tokens * share)
    mean = total / count
    return LanguageModelLoss(
        protocol=protocol,
        loss_nats=mean,
        # The exponential of 710 is more than a float can hold.
        perplexity=math.exp(mean) if mean < 700 else None,
        bits_per_char=total / math.log(2) / (chars * share) if chars else None,
        bits_per_byte=total / math.log(2) / (size * share) if size else None,
        tokens=count,
        chars=round(chars * share),
        bytes=round(size * share),
        unknown=round(unknown * share),
        unknown_rate=unknown / tokens,
        window=window,
    )
