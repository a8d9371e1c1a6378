"""A word model with the full vocabulary of WikiText-2 against pytorch/examples word_language_model.

    python tests/benchmarks/speed_language_model.py [--quick]

Both: 33,278 types, two LSTM layers of 200, tied, dropout 0.2, 20 streams of 35 tokens. The other
side is that example's model and loop written again from its source (`model.py`, `main.py`: fp32,
all log-probabilities, NLLLoss, clipping at 0.25, SGD by hand); ours is the project's model, loss
and optimizer (AdamW) in bf16. Ids are drawn by Zipf's law: the speed does not depend on the text.
Peak memory is that of each whole process.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
import torch
from speed_harness import Other, compare, peak_bytes, report, serve
from torch import Tensor, nn
from torch.nn.functional import log_softmax

from rnnctl.config import TrainingConfig
from rnnctl.machine import keep_memory
from rnnctl.nn.models import LanguageModel
from rnnctl.training.optimizer import clip, make_optimizer

VOCABULARY, SIZE, LAYERS, BATCH, BPTT = 33278, 200, 2, 20, 35


def some_text(chunks: int) -> Tensor:
    """(chunks, BPTT + 1, BATCH) ids, frequent ones first."""
    weights = 1 / (np.arange(VOCABULARY) + 2.7)
    draw = np.random.default_rng(0).choice(
        VOCABULARY, (chunks, BPTT + 1, BATCH), p=weights / weights.sum()
    )
    return torch.from_numpy(draw)


class ExampleModel(nn.Module):
    """`RNNModel` of pytorch/examples/word_language_model/model.py, LSTM, tied."""

    def __init__(self) -> None:
        super().__init__()
        self.drop = nn.Dropout(0.2)
        self.encoder = nn.Embedding(VOCABULARY, SIZE)
        self.rnn = nn.LSTM(SIZE, SIZE, LAYERS, dropout=0.2)
        self.decoder = nn.Linear(SIZE, VOCABULARY)
        self.decoder.weight = self.encoder.weight
        nn.init.uniform_(self.encoder.weight, -0.1, 0.1)
        nn.init.zeros_(self.decoder.bias)

    def forward(self, ids: Tensor, hidden: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        output, hidden = self.rnn(self.drop(self.encoder(ids)), hidden)
        decoded = self.decoder(self.drop(output)).view(-1, VOCABULARY)
        return log_softmax(decoded, dim=1), hidden


def example_step() -> Callable[[], None]:
    """One iteration of `train()` in the example's main.py."""
    torch.manual_seed(0)
    model, criterion, text = ExampleModel(), nn.NLLLoss(), some_text(8)
    hidden = (torch.zeros(LAYERS, BATCH, SIZE), torch.zeros(LAYERS, BATCH, SIZE))
    turn = 0

    def step() -> None:
        nonlocal hidden, turn
        chunk = text[turn % len(text)]
        turn += 1
        model.zero_grad()
        hidden = (hidden[0].detach(), hidden[1].detach())
        output, hidden = model(chunk[:-1], hidden)
        criterion(output, chunk[1:].reshape(-1)).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.25)
        for weight in model.parameters():
            assert weight.grad is not None
            weight.data.add_(weight.grad, alpha=-20 * 0.01)

    return step


def our_step(precision: str) -> Callable[[], None]:
    torch.manual_seed(0)
    model = LanguageModel(
        vocab_size=VOCABULARY,
        embedding_size=SIZE,
        cell="lstm",
        hidden_size=SIZE,
        num_layers=LAYERS,
        tied=True,
        dropout_input=0.2,
        dropout_between=0.2,
        dropout_output=0.2,
    )
    optimizer = make_optimizer(model, TrainingConfig())
    text, turn = some_text(8), 0
    state = model.recurrent.initial_state(BATCH)

    def step() -> None:
        nonlocal state, turn
        chunk = text[turn % len(text)]
        turn += 1
        state = tuple(part.detach() for part in state)
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            nats, state = model.loss(chunk[:-1], chunk[1:], state)
        (nats / (BPTT * BATCH)).backward()
        clip(model.parameters(), 1.0)
        optimizer.step()

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worker", nargs="*")
    parser.add_argument("--quick", action="store_true", help="five pairs")
    parser.add_argument("--precision", default="bf16", choices=["fp32", "bf16"])
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--patience", type=float, default=90)
    args = parser.parse_args()
    if args.worker is not None:
        serve(example_step(), {})
        return
    keep_memory()
    other = Other(script=__file__)
    pairs = 5 if args.quick else args.pairs
    row = compare(our_step(args.precision), other, pairs, args.patience)
    theirs = other.close()
    tokens = BPTT * BATCH * 1000
    row["ours_tokens_per_s"] = round(tokens / row["ours_ms"])
    row["theirs_tokens_per_s"] = round(tokens / row["theirs_ms"])
    row["peak_mb"] = {"ours": peak_bytes() >> 20, "theirs": theirs >> 20}
    report("language model, 33,278 words", [{"precision": args.precision, **row}])


if __name__ == "__main__":
    main()
