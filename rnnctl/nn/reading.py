"""Many texts side by side, without gradients: nothing is padded, no token's product made twice.

The layout is that of torch's `PackedSequence`: texts by falling length, and at step t one row for
each text that is longer than t. So the products of a step are as large as there are texts left.
What the first layer makes of a token is the same wherever the token stands: it is computed once for
each type of token, and looked up. The recurrence is `fused`'s, with nothing kept.

Axes: N tokens of all texts, B texts, M different inputs, E embedding, H hidden, D directions.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rnnctl.nn.cells import Cell, LayerWeights, Parts, State
from rnnctl.nn.engines import fused_available
from rnnctl.nn.products import can_pack, of_vector, packed
from rnnctl.nn.recurrent import Recurrent, suffixes

if TYPE_CHECKING:
    from rnnctl.nn.cpu.sequence import ReadingWeights

Indices = NDArray[np.int64]
Result = TypeVar("Result")
OUTPUTS = 1 << 23  # numbers that a layer puts out at once; its pre-activations are g times that
TOKENS = 1 << 16  # and never more tokens than that
WORTH_A_THREAD = 2048  # tokens


class Layout:
    """Rows for texts of given lengths (B,), each at least 1.

    order (B,): the texts by falling length; sizes: rows of each step; places (N,): for each row the
    token's place in the joined texts; turned (N,): the row of the same text counted from its end;
    last (B,): the rows of the last tokens, in `order`.
    """

    def __init__(self, lengths: Indices) -> None:
        self.order = np.argsort(-lengths, kind="stable")
        falling = lengths[self.order]
        steps = np.arange(falling[0])
        sizes = len(falling) - np.searchsorted(falling[::-1], steps, side="right")
        firsts = np.cumsum(sizes) - sizes
        time = np.repeat(steps, sizes)
        text = np.arange(len(time)) - firsts[time]
        self.sizes: list[int] = sizes.tolist()
        self.places = (np.cumsum(lengths) - lengths)[self.order][text] + time
        self.turned = firsts[falling[text] - 1 - time] + text
        self.last = firsts[falling - 1] + np.arange(len(falling))


def can_read(recurrent: Recurrent) -> bool:
    """Whether `read` works here: fp32 on a CPU, with numba, and no other engine was asked for."""
    weight = recurrent.get_parameter("weight_hh_l0")
    asked = recurrent.engine in ("auto", "fused")
    able = recurrent.cell.compilable is not None and weight.dtype == torch.float32
    return asked and able and can_pack(weight) and fused_available()


def can_read_inside(recurrent: Recurrent) -> bool:
    """Whether `read_inside` works here: where `read` does, on a processor that has tiles."""
    if not can_read(recurrent):
        return False
    from rnnctl.nn.cpu.tiles import shape_for  # imports numba

    return shape_for(torch.float32) is not None


def groups(recurrent: Recurrent, lengths: Indices) -> list[Indices]:
    """Texts of given lengths (B,) in groups of similar length that fit into memory together.

    As many groups as torch has threads, or a multiple, where there is that much to read.
    """
    threads, tokens = torch.get_num_threads(), int(lengths.sum())
    most = min(TOKENS, OUTPUTS // (recurrent.hidden_size * recurrent.directions)) // threads
    count = -(-tokens // max(1, most))
    if tokens >= threads * WORTH_A_THREAD:
        count = threads * -(-count // threads)
    # Neighbours by length, so that a group's texts end at about the same step, and the products of
    # its last steps are not of one row each.
    order = np.argsort(lengths, kind="stable")
    before = np.cumsum(lengths[order]) - lengths[order]
    cuts = np.searchsorted(before, np.arange(1, count) * (tokens / max(1, count)))
    return [group for group in np.split(order, cuts) if len(group)]


def each(work: Callable[[Indices], Result], parts: Sequence[Indices]) -> list[Result]:
    """`work` for each group of texts, at once on as many threads as torch has.

    A step is too short to be shared between threads; whole groups are not.
    """
    threads = torch.get_num_threads()
    if threads == 1 or len(parts) < 2:
        return [work(part) for part in parts]
    # One thread in each: threads that share a step within threads that share the texts would wait.
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            return list(pool.map(work, parts))
    finally:
        torch.set_num_threads(threads)


def in_groups(
    recurrent: Recurrent, lengths: Indices, work: Callable[[Indices], Result]
) -> Iterator[tuple[Indices, Result]]:
    """`work` for all texts of given lengths (B,): each of the `groups`, and what came of it."""
    parts = groups(recurrent, lengths)
    return zip(parts, each(work, parts), strict=True)


class Ready:
    """What is made of a layer's weights to read with them: copies in other layouts.

    Making them takes as long as reading a few texts. They are kept where the weights are known not
    to change any more, see `Recurrent.keep_ready`.
    """

    def __init__(self) -> None:
        self._made: dict[tuple[object, ...], Any] = {}

    def get(self, key: tuple[object, ...], make: Callable[[], Result]) -> Result:
        """What was made before under this key, else what `make` makes now."""
        if key not in self._made:
            self._made[key] = make()
        made: Result = self._made[key]
        return made


def read(
    recurrent: Recurrent, vectors: Tensor, rows: Indices, layout: Layout, state: State
) -> tuple[Tensor, State]:
    """The layers over texts: the outputs (N, DH) in the rows of the layout, and the state after.

    vectors (M, E), rows (N,): the input at each row of the layout; state: as `initial_state`, with
    the texts in the layout's order, as in the state that is returned.
    """
    top = recurrent.num_layers - 1
    found, after = read_inside(recurrent, vectors, rows, layout, state, ("h",), (top,))
    return found[top]["h"], after


def _from_below(recurrent: Recurrent, suffix: str, vectors: Tensor, ready: Ready) -> Tensor:
    """vectors (M, E) -> what they add to the gates of a layer (M, gH)."""
    # A packed weight is laid out for a number of rows. One layout for each power of eight will do:
    # one for each number of tokens would be packed anew for every text.
    weights = recurrent.weights(suffix)
    near = 8 ** -(-len(vectors).bit_length() // 3)  # so many rows or up to an eighth
    product: Callable[[Tensor], Tensor] = ready.get(
        (suffix, near), lambda: packed(weights.w_ih, near, weights.b_ih)
    )
    return product(vectors)


def _read_layer(
    recurrent: Recurrent,
    suffix: str,
    x: Tensor,
    index: Indices,
    layout: Layout,
    first: Parts,
    ready: Ready,
) -> tuple[Tensor, Tensor]:
    """x (M, gH), index (N,) -> h (N, H), and the coordinate that is carried (B, H)."""
    from rnnctl.nn.cpu.sequence import read_steps  # imports numba

    cell = recurrent.cell
    carried = first[-1].clone()
    made = _tiled(recurrent, suffix, len(first[0]), ready)
    if made is None:
        weights = recurrent.weights(suffix)
        return _read_stepwise(cell, x, index, layout, weights, first[0], carried), carried
    return read_steps(cell, x, index, np.array(layout.sizes), made, first[0], carried), carried


def _tiled(recurrent: Recurrent, suffix: str, texts: int, ready: Ready) -> ReadingWeights | None:
    """The recurrent weights as the compiled recurrence of so many texts takes them; None where this
    processor has no tiles."""
    from rnnctl.nn.cpu.sequence import reading_weights  # imports numba
    from rnnctl.nn.cpu.tiles import shape_for

    widest = shape_for(torch.float32)
    if widest is None:
        return None
    shape = widest.alone if texts == 1 else widest
    weights = recurrent.weights(suffix)
    return ready.get((suffix, shape), lambda: reading_weights(shape, weights))


def _read_stepwise(
    cell: Cell,
    x: Tensor,
    index: Indices,
    layout: Layout,
    weights: LayerWeights,
    initial: Tensor,
    carried: Tensor,
) -> Tensor:
    """As `cpu.sequence.read_steps`: one product and one compiled pass a step, for any processor."""
    from rnnctl.nn.cpu.steps import kernels

    texts, size = initial.shape
    x_parts = x.numpy().reshape(len(x), cell.gate_count, size)
    hidden = torch.empty(len(index), size)
    product, step = _product(weights, texts), kernels(cell).read
    before, begin = initial, 0
    arrays = carried.numpy(), hidden.numpy()
    for rows in layout.sizes:
        u = product(before[:rows]).reshape(rows, cell.gate_count, size)
        step(begin, x_parts, index, u, *arrays)
        before = hidden[begin : begin + rows]
        begin += rows
    return hidden


@torch.no_grad()
def read_inside(
    recurrent: Recurrent,
    vectors: Tensor,
    rows: Indices,
    layout: Layout,
    state: State,
    names: Collection[str],
    layers: Collection[int],
) -> tuple[list[dict[str, Tensor]], State]:
    """As `read`, with what is inside kept: of each layer, if it is one of `layers` (from 0), the
    states and gates among `names`, (N, DH) each, in the rows of the layout; the second half of two
    directions was read backwards.
    """
    found: list[dict[str, Tensor]] = []
    finals: list[Parts] = []
    ready = recurrent.ready or Ready()
    for layer in range(recurrent.num_layers):
        ways: list[dict[str, Tensor]] = []
        for direction, suffix in enumerate(suffixes(layer, recurrent.directions)):
            index = rows[layout.turned] if direction else rows
            first = tuple(part[len(finals)] for part in state)
            x = _from_below(recurrent, suffix, vectors, ready)
            # Plain reading has h too, and writes less.
            if layer not in layers or set(names) <= {"h"}:
                h, carried = _read_layer(recurrent, suffix, x, index, layout, first, ready)
                values, final = {"h": h}, (h[layout.last], carried)[: len(first)]
            else:
                values, final = _inside(recurrent, suffix, x, index, layout, first, ready)
            finals.append(final)
            if direction:
                values = {name: value[layout.turned] for name, value in values.items()}
            ways.append(values)
        both = ways[0]
        if len(ways) > 1:
            both = {name: torch.cat([way[name] for way in ways], -1) for name in both}
        vectors, rows = both["h"], np.arange(len(rows))
        wanted = names if layer in layers else ()
        found.append({name: value for name, value in both.items() if name in wanted})
    return found, tuple(torch.stack(parts) for parts in zip(*finals, strict=True))


def _inside(
    recurrent: Recurrent,
    suffix: str,
    x: Tensor,
    index: Indices,
    layout: Layout,
    first: Parts,
    ready: Ready,
) -> tuple[dict[str, Tensor], Parts]:
    """One layer of `read_inside` from x (M, gH): its states and gates by name (N, H), and its state
    after (B, H).
    """
    from rnnctl.nn.cpu.sequence import look_steps  # imports numba

    cell = recurrent.cell
    weights = _tiled(recurrent, suffix, len(first[0]), ready)
    assert weights is not None  # see `can_read_inside`
    sizes = np.array(layout.sizes)
    h, carried, gates = look_steps(cell, x, index, sizes, weights, first[0], first[-1])
    states = dict(zip(cell.state_names, (h, carried), strict=False))
    final = tuple(value[layout.last] for value in states.values())
    return states | {name: gates[:, g] for g, name in enumerate(cell.gate_names)}, final


def _product(weights: LayerWeights, texts: int) -> Callable[[Tensor], NDArray[np.float32]]:
    """h (rows, H) of so many texts -> u (rows, gH)."""
    if texts == 1:
        alone = of_vector(weights.w_hh, weights.b_hh)
        return lambda h: alone(h.numpy()[0])
    product = packed(weights.w_hh, texts, weights.b_hh)
    return lambda h: product(h).numpy()
