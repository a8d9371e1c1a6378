"""Which engine runs a layer, and the call that runs it.

- `torch`: the fused kernels of `torch.nn` (cuDNN on a GPU; on a CPU oneDNN has one for the LSTM).
- `closed`: closed-form back-propagation in plain PyTorch (`bptt`), any dtype, any device.
- `fused`: the same in compiled passes (`fused`); needs `numba`, found at run time; fp32 and bf16 on
  a CPU.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from rnnctl import machine
from rnnctl.errors import MissingExtraError, UsageError
from rnnctl.nn.bptt import closed_form
from rnnctl.nn.cells import Cell, LayerWeights, Parts

# From which hidden size on `fused` is chosen over `torch`. Milliseconds for a training step of two
# layers, fused / torch.nn in a process of its own, and torch.nn's time over ours with its 95 %
# interval: 15 pairs of tests/benchmarks/speed_engines.py --engine fused, alone on 2 cores of an AMD
# EPYC (Zen 5, avx512_bf16), torch 2.13, 2 threads.
#   T x B,H             LSTM                     GRU                      RNN
#   128 x 32,128  fp32  22 / 46 1.9 [1.8, 2.1]   18 / 64 3.5 [3.3, 3.6]   7.5 / 24 3.2 [3.1, 3.3]
#                 bf16  14 / 18 1.3 [1.2, 1.4]   11 / 56 4.9 [4.9, 5.0]   5.2 / 26 4.8 [4.4, 5.1]
#   128 x 32,256  fp32  66 / 99 1.5 [1.5, 1.6]   56 / 160 2.9 [2.9, 3.0]  21 / 55 2.6 [2.6, 2.7]
#                 bf16  38 / 64 1.7 [1.7, 1.7]   32 / 96 3.0 [2.9, 3.1]   13 / 34 2.7 [2.6, 2.7]
#   64 x 64,512   fp32  234 / 351 1.5 [1.5, 1.5] 188 / 471 2.5 [2.5, 2.5] 67 / 163 2.5 [2.4, 2.5]
#                 bf16  134 / 188 1.4 [1.4, 1.4] 103 / 169 1.6 [1.6, 1.7] 40 / 57 1.4 [1.4, 1.5]
# A language model of one LSTM layer (a point of speed_growth.py), each in a process of its own:
# 64 units 0.97 times as fast in bf16, 1.15 in fp32; 96 units 0.97 in bf16; 100 units 1.07 and 1.10.
# Without numba `closed` is the faster one for the GRU (1.2 to 1.4 times), `torch` for the others.
FUSED_FROM = {"lstm": 96, "gru": 0, "rnn_tanh": 0, "rnn_relu": 0}
# The same where `fused` goes step by step (no AVX-512): measured unpaired, on the machine above.
STEPWISE_FROM = FUSED_FROM | {"lstm": 384}
Layer = Callable[
    [Cell, Tensor, Parts, LayerWeights, Tensor | None, torch.dtype], tuple[Tensor, Parts]
]
ENGINES = ("auto", "torch", "closed", "fused")


def check(engine: str) -> str:
    """The name itself. Raises UsageError if it is none of `ENGINES`, MissingExtraError for
    `fused` without numba.
    """
    if engine not in ENGINES:
        raise UsageError(f"unknown engine: {engine}", hint=f"use one of {', '.join(ENGINES)}")
    if engine == "fused" and not fused_available():
        raise MissingExtraError(
            "the fused engine needs numba, which is not installed",
            hint="install it with: pip install 'rnnctl[fast]', or use --engine auto",
        )
    return engine


@cache
def fused_available() -> bool:
    """Whether numba is installed; looks without importing it."""
    return find_spec("numba") is not None


@cache
def threading_layer() -> str:
    """How numba's passes are spread over cores: `omp`, on PyTorch's own threads, or `serial`.

    Looks at what is installed, without importing it.
    """
    spec = find_spec("numba")
    if spec is None or spec.origin is None:
        return "serial"
    passes = Path(spec.origin).parent / "np" / "ufunc"
    return "omp" if any(passes.glob("omppool*")) else "serial"


def product_dtype(inputs: Tensor) -> torch.dtype:
    """The dtype of matrix products: autocast's where it is on, else the inputs' own."""
    kind = inputs.device.type
    if torch.is_autocast_enabled(kind) and inputs.dtype != torch.float64:
        return torch.get_autocast_dtype(kind)
    return inputs.dtype


def choose(
    engine: str, cell: Cell, inputs: Tensor, hidden_size: int, *, within: bool = False
) -> str:
    """The engine that runs a layer: as asked, or the fastest, where it can.

    `within`: something is asked for within the sequence, which `torch.nn` cannot do (zeroing the
    state) or is slow at (the LSTM's c at given lengths). `fused` is for fp32 and bf16 on a CPU.
    What an engine cannot do, `closed` does.
    """
    can_fuse = (
        has_passes(cell)
        and inputs.device.type == "cpu"
        and product_dtype(inputs) in (torch.float32, torch.bfloat16)
        and inputs.dtype != torch.float64
    )
    if engine == "auto":
        pays = can_fuse and fused_available()
        if pays and (within or _fused_pays(cell, product_dtype(inputs), hidden_size)):
            return "fused"
        engine = "closed" if can_fuse and cell.name == "gru" else "torch"
    if (engine == "fused" and not can_fuse) or (engine == "torch" and not _has_stock(cell, inputs)):
        return "closed"
    return engine


def _has_stock(cell: Cell, inputs: Tensor) -> bool:
    """Whether `torch.nn` can run this: oneDNN's LSTM fails in bf16 where the CPU has none."""
    half = inputs.device.type == "cpu" and product_dtype(inputs) == torch.bfloat16
    return cell.stock is not None and (not half or machine.has_fast_bf16())


def has_passes(cell: Cell) -> bool:
    """Whether `cpu.steps` knows how the parts of this cell lie in memory."""
    return cell.name in FUSED_FROM


def _fused_pays(cell: Cell, dtype: torch.dtype, hidden_size: int) -> bool:
    """Whether `fused`, which is there, is faster than `torch` (tables above)."""
    if hidden_size >= STEPWISE_FROM[cell.name]:
        return True
    if hidden_size < FUSED_FROM[cell.name]:
        return False
    from rnnctl.nn.cpu.tiles import shape_for  # imports numba

    return shape_for(dtype) is not None


def run(
    engine: str,
    cell: Cell,
    inputs: Tensor,
    initial: Parts,
    weights: LayerWeights,
    starts: Tensor | None,
    lengths: Tensor | None,
    hidden_only: bool = False,
) -> tuple[Tensor, Parts]:
    """One layer and direction: inputs (T, B, E), initial parts (B, H) -> outputs (T, B, H), state.

    The state is the one after the last step, or after step `lengths - 1` of each sequence; with
    `hidden_only` perhaps only its h. Outputs are in the dtype of the products, the state is in its
    own.
    """
    packs = lengths is not None and len(initial) > 1 and not hidden_only
    size = weights.w_hh.shape[1]
    name = choose(engine, cell, inputs, size, within=packs or starts is not None)
    if name == "torch" and starts is None:
        outputs, final = _run_torch(cell, inputs, initial, weights, lengths, packs)
    else:
        dtype = product_dtype(inputs)
        layer = _fused() if name == "fused" else closed_form
        with torch.autocast(inputs.device.type, enabled=False):
            outputs, states = layer(cell, inputs, initial, weights, starts, dtype)
        final = tuple(part[-1] if lengths is None else _at(part, lengths) for part in states)
    return outputs, tuple(part.to(first.dtype) for part, first in zip(final, initial, strict=False))


def _fused() -> Layer:
    from rnnctl.nn.cpu.layer import fused  # imports numba

    return fused


def _at(values: Tensor, lengths: Tensor) -> Tensor:
    """(T, B, H) -> (B, H) at the last step of each sequence."""
    batch = torch.arange(values.shape[1], device=values.device)
    return values[lengths.to(values.device) - 1, batch]


def _run_torch(
    cell: Cell,
    inputs: Tensor,
    initial: Parts,
    weights: LayerWeights,
    lengths: Tensor | None,
    packs: bool,
) -> tuple[Tensor, Parts]:
    first = tuple(part.unsqueeze(0) for part in initial)
    if lengths is None or not packs:
        outputs, *final = _kernel(cell, (inputs,), first, weights)
        if lengths is not None:
            return outputs, (_at(outputs, lengths),)
        return outputs, tuple(part[0] for part in final)
    packed = pack_padded_sequence(inputs, lengths.cpu(), enforce_sorted=False)
    order, back = packed.sorted_indices, packed.unsorted_indices
    first = tuple(part[:, order] for part in first)
    data, *final = _kernel(cell, (packed.data, packed.batch_sizes), first, weights)
    outputs, _ = pad_packed_sequence(
        PackedSequence(data, packed.batch_sizes, order, back), total_length=inputs.shape[0]
    )
    return outputs, tuple(part[0, back] for part in final)


def _kernel(
    cell: Cell, source: tuple[Tensor, ...], first: Parts, weights: LayerWeights
) -> tuple[Tensor, ...]:
    """`torch.nn`'s kernel over padded (inputs,) or packed (data, batch sizes) sequences."""
    assert cell.stock is not None
    kernel: Callable[..., tuple[Tensor, ...]] = getattr(torch, cell.stock)
    state = first if cell.has_cell_state else first[0]
    # has_biases, num_layers, dropout, train, bidirectional; then batch_first for padded ones
    options = (True, 1, 0.0, True, False) + ((False,) if len(source) == 1 else ())
    results: tuple[Tensor, ...] = (
        kernel(source[0], state, weights, *options)
        if len(source) == 1
        else kernel(*source, state, weights, *options)
    )
    return results
