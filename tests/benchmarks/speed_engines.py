"""Training steps of two layers: our engines against `torch.nn` in a process of its own.

    python tests/benchmarks/speed_engines.py [--quick] [--engine auto] [--cells lstm,gru,rnn]

Same weights and inputs on both sides; loss and gradients are compared first. Prints JSON.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any

import torch
from speed_harness import Other, compare, report, serve, timed
from torch import Tensor, nn

from rnnctl.machine import described, has_fast_bf16, keep_memory
from rnnctl.nn.products import packed
from rnnctl.nn.recurrent import Recurrent

SIZES = [(128, 32, 128), (128, 32, 256), (64, 64, 512)]  # T, B, H
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
TOLERANCE = {"fp32": 1e-4, "bf16": 5e-2}  # of the gradients' norm


def problem(cell: str, size: tuple[int, int, int], engine: str) -> tuple[Recurrent, Tensor]:
    torch.manual_seed(0)
    steps, batch, hidden = size
    inputs = torch.randn(steps, batch, hidden, requires_grad=True)
    return Recurrent(cell, hidden, hidden, 2, engine=engine), inputs


def training_step(model: nn.Module, inputs: Tensor, dtype: str) -> Callable[[], None]:
    """Forward and backward, as in a training loop without the optimizer."""

    def step() -> None:
        inputs.grad = None
        for weight in model.parameters():
            weight.grad = None
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == "bf16"):
            outputs, _ = model(inputs)
        outputs.float().square().sum().backward()

    return step


def facts(model: nn.Module, inputs: Tensor, dtype: str) -> dict[str, Any]:
    """Norms of what a step gives, by which both sides are compared."""
    training_step(model, inputs, dtype)()
    norms = {"inputs": float(inputs.grad.norm())} if inputs.grad is not None else {}
    for name, weight in model.named_parameters():
        assert weight.grad is not None
        norms[name] = float(weight.grad.norm())
    return norms


def worker(cell: str, size: tuple[int, int, int], dtype: str) -> None:
    """The stock side: `torch.nn` as a user has it."""
    ours, inputs = problem(cell, size, "auto")
    stock: nn.Module = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}[cell](size[2], size[2], 2)
    stock.load_state_dict(ours.state_dict())
    serve(training_step(stock, inputs, dtype), facts(stock, inputs, dtype))


def row(cell: str, size: tuple[int, int, int], dtype: str, args: argparse.Namespace) -> Any:
    model, inputs = problem(cell, size, args.engine)
    other = Other(cell, *map(str, size), dtype, script=__file__)
    ours = facts(model, inputs, dtype)
    worst = max(abs(ours[name] / other.facts[name] - 1) for name in ours)
    if worst > TOLERANCE[dtype]:
        raise SystemExit(f"{cell} {size} {dtype}: results differ by {worst:.1e}")
    result = compare(training_step(model, inputs, dtype), other, args.pairs, args.patience)
    other.close()
    work = 6 * 2 * inputs.shape[0] * inputs.shape[1] * sum(p.numel() for p in _matrices(model)) / 2
    rate = work / result["ours_ms"] / 1e6
    return {
        "cell": cell,
        "T,B,H": size,
        "dtype": dtype,
        **result,
        "difference": worst,
        "gflops": round(rate),
    }


def _matrices(model: nn.Module) -> list[Tensor]:
    return [weight for weight in model.parameters() if weight.ndim == 2]


def product_rate(dtype: torch.dtype) -> float:
    """GFLOP/s of a large product, the most that this machine's products give here."""
    a, w = torch.randn(4096, 512).to(dtype), torch.randn(2048, 512).to(dtype)
    product = packed(w, 4096)
    best = min(timed(lambda: product(a), 5) / 5 for _ in range(20))
    return 2 * a.numel() * w.shape[0] / best / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worker", nargs=5)
    parser.add_argument("--quick", action="store_true", help="the smallest size, five pairs")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--cells", default="lstm,gru,rnn")
    parser.add_argument("--sizes", default="0,1,2", help="which of the sizes, by number")
    parser.add_argument("--dtypes", default="fp32,bf16")
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--patience", type=float, default=60, help="seconds per row")
    args = parser.parse_args()
    if args.worker:
        cell, steps, batch, hidden, dtype = args.worker
        worker(cell, (int(steps), int(batch), int(hidden)), dtype)
        return
    keep_memory()
    args.pairs = 5 if args.quick else args.pairs
    sizes = SIZES[:1] if args.quick else [SIZES[int(k)] for k in args.sizes.split(",")]
    cells = args.cells.split(",")
    dtypes = {name: dtype for name, dtype in DTYPES.items() if name in args.dtypes.split(",")}
    if "bf16" in dtypes and not has_fast_bf16():
        print(f"no rows in bf16: this machine is used as {described()}", file=sys.stderr)
        del dtypes["bf16"]
    rows = [row(c, size, dtype, args) for size in sizes for c in cells for dtype in dtypes]
    rates = {name: round(product_rate(dtype)) for name, dtype in dtypes.items()}
    report("engines", rows, product_gflops=rates, engine=args.engine)


if __name__ == "__main__":
    main()
