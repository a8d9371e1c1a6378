"""Generating one token at a time: our step against stepping `torch.nn`.

    python tests/benchmarks/speed_generate.py [--quick]

H = 512 characters, and the word model of pytorch/examples (2 x 200, 33,278 words, `generate.py`).
Both sides draw from the softmax. With one stream the ratio is of the time per token; with 64
streams ours makes 64 tokens while `torch.nn` makes one. Same weights; logits are compared first.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import torch
from speed_harness import Other, compare, report, serve
from torch import Tensor, nn

from rnnctl.nn.models import LanguageModel

MODELS = {
    "characters, 1x512": {"vocab_size": 65, "size": 512, "num_layers": 1, "tied": False},
    "words, 2x200": {"vocab_size": 33278, "size": 200, "num_layers": 2, "tied": True},
}


def make(name: str, cell: str) -> LanguageModel:
    torch.manual_seed(0)
    sizes = dict(MODELS[name])
    size = sizes.pop("size")
    return LanguageModel(cell=cell, embedding_size=size, hidden_size=size, **sizes).eval()


def stock_step(name: str, cell: str) -> tuple[Callable[[], None], list[float]]:
    model = make(name, cell)
    kind = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}[cell]
    layers = kind(
        model.recurrent.input_size, model.recurrent.hidden_size, MODELS[name]["num_layers"]
    )
    layers.load_state_dict(model.recurrent.state_dict())
    token, state = torch.zeros(1, 1, dtype=torch.long), None

    def logits() -> Tensor:
        nonlocal state
        outputs, state = layers(model.embedding(token) * model.input_scale, state)
        return model.decoder(outputs)[0]

    def step() -> None:
        with torch.no_grad():
            token[0] = torch.multinomial(logits().softmax(-1), 1)[0]

    with torch.no_grad():
        first = logits()[0, :20].tolist()
    return step, first


def our_step(name: str, cell: str, streams: int) -> tuple[Callable[[], None], list[float]]:
    model = make(name, cell)
    tokens, state = torch.zeros(streams, dtype=torch.long), model.recurrent.initial_state(streams)
    first = model.step(tokens, state)[0][0, :20].tolist()

    def step() -> None:
        nonlocal tokens, state
        logits, state = model.step(tokens, state)
        tokens = torch.multinomial(logits.softmax(-1), 1)[:, 0]

    return step, first


def row(name: str, cell: str, streams: int, args: argparse.Namespace) -> dict[str, Any]:
    other = Other(name, cell, script=__file__)
    step, first = our_step(name, cell, streams)
    torch.testing.assert_close(first, other.facts["logits"], rtol=1e-4, atol=1e-4)
    result = compare(step, other, args.pairs, args.patience)
    other.close()
    result["ratio_in_tokens"] = round(result["ratio"] * streams, 2)
    result["ours_tokens_per_s"] = round(1000 * streams / result["ours_ms"])
    result["theirs_tokens_per_s"] = round(1000 / result["theirs_ms"])
    return {"model": name, "cell": cell, "streams": streams, **result}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worker", nargs=2)
    parser.add_argument("--quick", action="store_true", help="five pairs, LSTM only")
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--patience", type=float, default=30)
    args = parser.parse_args()
    if args.worker:
        step, first = stock_step(*args.worker)
        serve(step, {"logits": first})
        return
    args.pairs = 5 if args.quick else args.pairs
    cells = ["lstm"] if args.quick else ["lstm", "gru", "rnn"]
    rows = [row(n, c, streams, args) for n in MODELS for c in cells for streams in (1, 64)]
    report("generate", rows)


if __name__ == "__main__":
    main()
