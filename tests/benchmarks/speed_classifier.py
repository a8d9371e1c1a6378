"""Training a classifier on documents of very different lengths, against packed sequences.

    python tests/benchmarks/speed_classifier.py [--quick]

Lengths as in IMDb (log-normal, median 175 words, cut at 400); 32 documents a step; one LSTM layer
of 128, embedding 128. The other side is the usual recipe: `nn.LSTM` over `pack_padded_sequence` of
documents in random order. Ours: documents of similar length together, padded and masked.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
import torch
from speed_harness import Other, compare, report, serve
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils.rnn import pack_padded_sequence

from rnnctl.machine import keep_memory
from rnnctl.nn.models import Classifier

VOCABULARY, SIZE, BATCH, BATCHES = 20000, 128, 32, 16

Batch = tuple[Tensor, Tensor, Tensor]


def batches(*, bucketed: bool) -> list[Batch]:
    """ids (T, B), lengths (B,), labels (B,) of the same documents, in random order or by length."""
    random = np.random.default_rng(0)
    lengths = np.clip(random.lognormal(np.log(175), 0.65, BATCH * BATCHES), 10, 400).astype(int)
    if bucketed:
        lengths = np.sort(lengths)
    made = []
    for part in lengths.reshape(BATCHES, BATCH):
        ids = torch.from_numpy(random.integers(0, VOCABULARY, (part.max(), BATCH)))
        made.append((ids, torch.from_numpy(part), torch.from_numpy(random.integers(0, 2, BATCH))))
    order = random.permutation(BATCHES)
    return [made[k] for k in order]


class Packed(nn.Module):
    """The tutorials' classifier: the final state over packed sequences."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, SIZE)
        self.lstm = nn.LSTM(SIZE, SIZE)
        self.output = nn.Linear(SIZE, 2)

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        packed = pack_padded_sequence(self.embedding(ids), lengths, enforce_sorted=False)
        _, (hidden, _) = self.lstm(packed)
        return self.output(hidden[-1])


def training(model: nn.Module, data: list[Batch], precision: str) -> Callable[[], None]:
    """One pass over all documents."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)

    def step() -> None:
        for ids, lengths, labels in data:
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
                loss = cross_entropy(model(ids, lengths).float(), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worker", nargs=1)
    parser.add_argument("--quick", action="store_true", help="five pairs")
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--patience", type=float, default=60)
    args = parser.parse_args()
    if args.worker:
        serve(training(Packed(), batches(bucketed=False), args.worker[0]), {})
        return
    keep_memory()
    rows = []
    for precision in ("fp32", "bf16"):
        model = Classifier(
            vocab_size=VOCABULARY,
            num_classes=2,
            embedding_size=SIZE,
            cell="lstm",
            hidden_size=SIZE,
            num_layers=1,
        )
        other = Other(precision, script=__file__)
        step = training(model, batches(bucketed=True), precision)
        result = compare(step, other, 5 if args.quick else args.pairs, args.patience)
        other.close()
        documents = BATCH * BATCHES * 1000
        result["ours_documents_per_s"] = round(documents / result["ours_ms"])
        result["theirs_documents_per_s"] = round(documents / result["theirs_ms"])
        rows.append({"precision": precision, **result})
    report("classifier on padded documents", rows)


if __name__ == "__main__":
    main()
