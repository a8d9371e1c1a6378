"""Which engine runs a layer, and the call that runs it.

- `torch`: the fused kernels of `torch.nn` (cuDNN on a GPU; on a CPU oneDNN has one for the LSTM).
- `closed`: closed-form back-propagation in plain PyTorch (`bptt`), any dtype, any device.
- `fused`: the same in compiled passes (`cpu`); needs `numba`, found at run time; fp32 and bf16 on
  a CPU.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakSet

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from rnnctl import machine
from rnnctl.errors import MissingExtraError, UsageError
from rnnctl.nn.bptt import closed_form
from rnnctl.nn.cells import Cell, LayerWeights, Parts

if TYPE_CHECKING:
    from rnnctl.nn.models import Classifier, LanguageModel
    from rnnctl.nn.recurrent import Recurrent

Layer = Callable[
    [Cell, Tensor, Parts, LayerWeights, Tensor | None, torch.dtype], tuple[Tensor, Parts]
]
ENGINES = ("auto", "torch", "closed", "fused")


def check(engine: str) -> str:
    """The name itself. Raises UsageError if it is none of `ENGINES`, MissingExtraError for
    `fused` without a numba that works.
    """
    if engine not in ENGINES:
        raise UsageError(f"unknown engine: {engine}", hint=f"use one of {', '.join(ENGINES)}")
    if engine == "fused" and not numba_installed():
        raise MissingExtraError(
            "the fused engine needs numba, which is not installed",
            hint="install it with: pip install 'rnnctl[fast]', or use --engine auto",
        )
    if engine == "fused" and (problem := compiler_problem()):
        raise MissingExtraError(
            f"the fused engine cannot compile here: {problem}",
            hint="use --engine auto, or name a directory that can be written to in NUMBA_CACHE_DIR",
        )
    return engine


def fused_available() -> bool:
    """Whether the fused engine works here: numba is installed, and compiles.

    The second is tried once, which imports numba.
    """
    return numba_installed() and not compiler_problem()


@cache
def numba_installed() -> bool:
    """Whether numba is installed; looks without importing it."""
    return find_spec("numba") is not None


@cache
def compiler_problem() -> str:
    """Why an installed numba cannot compile here; "" where it can. Imports it.

    A numba that does not fit its llvmlite fails when it is imported; one that finds no directory to
    keep compiled code in, when it is to compile.
    """
    try:
        from rnnctl.nn.cpu.compiling import try_compiling

        try_compiling()
    except (ImportError, OSError, RuntimeError, AttributeError, TypeError) as error:
        return next(iter(str(error).strip().splitlines()), "") or type(error).__name__
    return ""


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


def choose(engine: str, cell: Cell, inputs: Tensor, *, within: bool = False) -> str:
    """The engine that runs a layer: as asked, or for `auto` the one that is usually fastest.

    `within`: something is asked for within the sequence, which `torch.nn` cannot do (zeroing the
    state) or is slow at (the LSTM's c at given lengths). What an engine cannot do, `closed` does.
    A training does not leave it at `auto`: it measures, see `settling`.
    """
    if engine == "auto":
        engine = _usually_fastest(cell, inputs, within)
    return engine if engine in able(cell, inputs) else "closed"


def able(cell: Cell, inputs: Tensor) -> tuple[str, ...]:
    """The engines that could run a layer of this cell on such inputs; `closed` always can.

    `fused` is for fp32 and bf16 on a CPU. oneDNN's LSTM fails in bf16 where the CPU has none.
    """
    dtype, on_cpu = product_dtype(inputs), inputs.device.type == "cpu"
    found = ["closed"]
    if cell.stock is not None and not (
        on_cpu and dtype == torch.bfloat16 and not machine.has_fast_bf16()
    ):
        found.append("torch")
    narrow = dtype in (torch.float32, torch.bfloat16) and inputs.dtype != torch.float64
    if cell.compilable is not None and on_cpu and narrow:
        found.append("fused")
    return tuple(found)


def _usually_fastest(cell: Cell, inputs: Tensor, within: bool) -> str:
    """What to take where nothing was measured.

    It is `fused`, but for a cell with a state of two parts (the LSTM) where there are no tiles: for
    that one oneDNN has a kernel of its own, which is faster than going step by step.
    """
    if "fused" not in able(cell, inputs) or not fused_available():
        return "torch"
    if within or not cell.has_cell_state:
        return "fused"
    from rnnctl.nn.cpu.tiles import shape_for  # imports numba

    return "torch" if shape_for(product_dtype(inputs)) is None else "fused"


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
    name = choose(engine, cell, inputs, within=packs or starts is not None)
    if name == "torch" and starts is None:
        outputs, final = _run_torch(cell, inputs, initial, weights, lengths, packs)
    else:
        dtype = product_dtype(inputs)
        layer = _fused() if name == "fused" else closed_form
        # These layers choose the dtype of each product themselves; autocast would cast once more.
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
    # The outputs are h at every step, but of c the kernel returns the last one only: where c is
    # wanted at the end of each text, texts are packed, which takes longer.
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
    return kernel(*source, state, weights, *options)


# -- a quick start first, speed later ------------------------------------------------------------

WORTH_IT = 3e10  # products of a token with a weight: about as long as the import takes
_WAITING: WeakSet[Recurrent] = WeakSet()  # models that read with PyTorch's own kernels for now


class EngineChoice:
    """Starts with PyTorch's own kernels and goes over to the fastest way (`nn.reading`) later.

    The compiled passes need numba, whose import takes longer than answering some lines without it:
    the change comes once so much has been read that it pays. Both agree within rounding. Of a model
    with engine "auto"; one that was asked for is left alone.

    `worth`: how many tokens pay for the import; None: as many as make `WORTH_IT` products.
    """

    def __init__(self, model: LanguageModel | Classifier, worth: int | None = None) -> None:
        self._recurrent = model.recurrent
        self._weights = sum(weight.numel() for weight in self._recurrent.parameters())
        self._worth = worth
        self._done = 0.0
        if self._recurrent.engine == "auto":
            self._recurrent.engine = "torch"
            _WAITING.add(self._recurrent)

    def note(self, tokens: float) -> None:
        """Say that so many more tokens are about to be read."""
        self._done += tokens * self._weights
        worth = WORTH_IT if self._worth is None else self._worth * self._weights
        if self._done > worth and self._recurrent in _WAITING:
            self._recurrent.engine = "auto"
            _WAITING.discard(self._recurrent)
