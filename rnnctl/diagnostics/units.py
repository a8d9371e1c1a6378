"""What single units do along a text, and which of them tell something about it.

Of every unit's state (c where there is one, else h), over a longer stretch of text:

* what it *knows*: mutual information with a property of the place it stands at (in a quotation,
  digit, capital, place in the line, …), as a share of the property's own entropy. Corrected for
  chance (Miller and Madow 1955); the state in eight classes of equal size.
* how long it *lasts*: tokens until its autocorrelation falls below 1/e.
* where it is *active*: beyond its own 80 % quantile, on the side on which it departs furthest from
  its median. Strobelt et al. 2018 (LSTMVis) look for other places in this way.

Axes: T tokens, U units of all layers, K units that are kept.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch

from rnnctl.data.tokenizers.base import BOUNDARY_ID
from rnnctl.diagnostics.sample import Floats, Ids
from rnnctl.nn.models import Classifier, LanguageModel
from rnnctl.nn.trace import Trace
from rnnctl.results.pictures import Unit, Units

CLASSES = 8
ACTIVE = 0.8
"""Quantile of a unit's own states beyond which it is active."""
LONGEST = 200
"""Tokens: how far an autocorrelation is followed."""
WORTH = 0.02
"""Bits of entropy that a property needs on a text, so that units can know it."""


def _quotes(text: str) -> Floats:
    """1 within quotation marks; a line break of two ends a quotation that was never closed."""
    inside, found = False, np.zeros(len(text))
    for k, char in enumerate(text):
        if char in '"“”':
            inside = char == "“" or (char == '"' and not inside)
        elif text.startswith("\n\n", k):
            inside = False
        found[k] = inside
    return found


def _since(text: str, sign: str) -> Floats:
    """Characters since the last match of a regular expression: 0 at one."""
    ends = np.zeros(len(text))
    for match in re.finditer(sign, text):
        ends[match.start() : match.end()] = np.arange(match.start(), match.end()) + 1
    since = np.arange(len(text)) + 1 - np.maximum.accumulate(ends)
    return since.astype(np.float64)


def _is(text: str, test: Callable[[str], bool]) -> Floats:
    return np.array([float(test(char)) for char in text])


PROPERTIES: Mapping[str, Callable[[str], Floats]] = {
    "place in the text": lambda text: np.arange(len(text), dtype=np.float64),
    "place in the line": lambda text: _since(text, r"\n"),
    "place in the word": lambda text: _since(text, r"\s+"),
    "in a quotation": _quotes,
    "capital letter": lambda text: _is(text, str.isupper),
    "digit": lambda text: _is(text, str.isdigit),
    "space": lambda text: _is(text, str.isspace),
}
"""Of every character of a text, what a unit may know after reading it."""


def properties(text: str, ends: Ids) -> dict[str, Floats]:
    """The properties at the last character of each token, whose `ends` (T,) are characters."""
    return {name: measure(text)[ends - 1] for name, measure in PROPERTIES.items()}


def states(trace: Trace) -> dict[str, Floats]:
    """Every state and gate by name, (T, U): the units of all layers side by side."""
    return {
        name: np.concatenate(
            [layer.values[name][:, 0].double().numpy(force=True) for layer in trace.layers], axis=1
        )
        for name in trace.layers[0].values
    }


def classes(values: Floats) -> Ids:
    """Classes of equal size (T,) by quantile, of each column; equal values fall into one class."""
    # Equal classes, so that a unit's scale and skew do not decide on how much it can be seen to
    # know.
    edges = np.quantile(values, np.linspace(0, 1, CLASSES + 1)[1:-1], axis=0)
    return np.asarray((values[None] > edges[:, None]).sum(axis=0), dtype=np.int64)


def information(state: Ids, known: Ids) -> tuple[Floats, float]:
    """Mutual information (U,) of classes (T, U) with classes (T,), and the entropy of these: bits.

    Corrected by Miller and Madow (1955): a table of r rows and s columns of independent counts
    shows (r − 1)(s − 1) / 2N nats by chance.
    """
    steps, units = state.shape
    columns = int(known.max()) + 1
    place = (np.arange(units) * CLASSES + state) * columns + known[:, None]
    counted = np.bincount(place.ravel(), minlength=units * CLASSES * columns)
    joint = counted.reshape(units, CLASSES, columns) / steps
    rows, sums = joint.sum(2), joint.sum(1)
    bits = _entropy(rows, 1) + _entropy(sums, 1) - _entropy(joint, (1, 2))
    freedom = ((rows > 0).sum(1) - 1) * ((sums > 0).sum(1) - 1)
    entropy = float(_entropy(np.bincount(known) / steps, 0))
    return np.maximum(0.0, bits - freedom / (2 * steps * np.log(2))), entropy


def _entropy(shares: Floats, axis: int | tuple[int, ...]) -> Floats:
    """Bits of distributions that stand along `axis`."""
    logs = np.log2(shares, out=np.zeros_like(shares), where=shares > 0)
    return np.asarray(-(shares * logs).sum(axis=axis))


def known(values: Floats, of: Mapping[str, Floats]) -> dict[str, Floats]:
    """Of each property that varies, the share of its entropy that each unit (T, U) knows: (U,)."""
    state = classes(values)
    shares = {}
    for name, column in of.items():
        # A property of many values, such as a place, in classes as the states are.
        many = len(np.unique(column)) > CLASSES
        told = classes(column[:, None])[:, 0] if many else column
        compact = np.unique(told, return_inverse=True)[1]
        bits, entropy = information(state, compact)
        if entropy >= WORTH:
            shares[name] = np.minimum(1.0, bits / entropy)
    return shares


def lasting(values: Floats) -> Floats:
    """Tokens (U,) until the autocorrelation of each column falls below 1/e; `LONGEST` at most."""
    # By the Fourier transform (Wiener–Khinchin), since all lags of all units are wanted.
    centred = values - values.mean(axis=0)
    steps = len(values)
    # Padded to twice the length: a circular correlation would add the end of the text to its
    # beginning.
    size = 1 << (2 * steps - 1).bit_length()
    power = np.abs(np.fft.rfft(centred, size, axis=0)) ** 2
    lags = min(LONGEST, steps - 1)
    correlation = np.fft.irfft(power, size, axis=0)[: lags + 1]
    variance = np.where(correlation[0] > 1e-12, correlation[0], 1.0)
    below = correlation / variance < np.exp(-1)
    return np.where(below.any(axis=0), below.argmax(axis=0), lags).astype(np.float64)


def side(values: Floats) -> Floats:
    """+1 or −1 of each column (U,): on which side of its median it goes furthest."""
    # Not the extremes: the first steps from an empty state are such.
    low, middle, high = np.quantile(values, (0.02, 0.5, 0.98), axis=0)
    return np.where(high - middle >= middle - low, 1.0, -1.0)


def observe(
    model: LanguageModel | Classifier,
    shown: Ids,
    ids: Ids,
    text: str,
    ends: Ids,
    *,
    most: int,
) -> Units:
    """The units along the ids that are `shown` (T,), and what they do in a longer `text`.

    ids (S,), ends (S,): the longer text as tokens, and the character behind each. `most`: units to
    keep, one half those that know most of anything, the others those that last longest. Both texts
    are read from an empty state.
    """
    seen, before = _trace(model, shown)
    here = states(seen)
    there = _along(model, ids)
    name = "c" if "c" in there else "h"
    values = there[name]
    shares = known(values, properties(text, ends))
    lasts = lasting(values)
    # Half of the places for what can be named, half for what lasts: a unit may keep something for
    # long that no property in the list is.
    best = np.max(list(shares.values()), axis=0) if shares else np.zeros(values.shape[1])
    order = np.lexsort((-lasts, -best))
    half = order[: most // 2 + most % 2]
    rest = [unit for unit in np.argsort(-lasts, kind="stable") if unit not in set(half.tolist())]
    kept = np.array([*half, *rest[: most - len(half)]], dtype=np.int64)
    kept = kept[np.lexsort((-lasts[kept], -best[kept]))]
    way = side(values)
    limits = np.quantile(values * way, ACTIVE, axis=0)
    active = (values * way > limits).T[kept]  # (K, S)
    hidden = model.recurrent.hidden_size
    units = [
        Unit(
            layer=int(unit // hidden) + 1,
            unit=int(unit % hidden) + 1,
            lasts=float(lasts[unit]),
            knows={what: round(float(share[unit]), 4) for what, share in shares.items()},
            side=int(way[unit]),
            limit=float(f"{limits[unit]:.4g}"),
        )
        for unit in kept
    ]
    return Units(
        of=values.shape[1],
        state=name,
        units=tuple(units),
        values={key: _rows(array[:, kept].T) for key, array in here.items()},
        before={key: _rows(array[None, kept])[0] for key, array in before.items()},
        means={key: round(float(array.mean()), 4) for key, array in there.items()},
        active=base64.b64encode(np.packbits(active, axis=1).tobytes()).decode("ascii"),
        ends=tuple(ends.tolist()),
    )


@torch.no_grad()
def _trace(model: LanguageModel | Classifier, ids: Ids) -> tuple[Trace, dict[str, Floats]]:
    """In the weights' own precision, from an empty state; of a language model after the document's
    start, which a classifier does not read. And the states (U,) by name before the first token.
    """
    names = model.recurrent.cell.state_names
    if isinstance(model, Classifier):
        trace = model.recurrent.trace(model.embed(torch.from_numpy(ids)[:, None]))
        return trace, {name: np.zeros_like(states(trace)[name][0]) for name in names}
    inputs = torch.from_numpy(np.concatenate([[BOUNDARY_ID], ids]))[:, None]
    start = model.recurrent.trace(model.embed(inputs[:1]))
    before = {name: array[0] for name, array in states(start).items() if name in names}
    return model.recurrent.trace(model.embed(inputs[1:]), start.state(0)), before


@torch.no_grad()
def _along(model: LanguageModel | Classifier, ids: Ids) -> dict[str, Floats]:
    """As `states` of `_trace`, (T, U), read by the compiled passes where there are such."""
    cell = model.recurrent.cell
    start = [] if isinstance(model, Classifier) else [BOUNDARY_ID]
    read, layers = np.array([*start, *ids]), range(model.recurrent.num_layers)
    names = (*cell.state_names, *cell.gate_names)
    found, _ = model.inside(read, np.array([len(read)]), names, layers)
    return {
        name: values[len(start) :].flatten(1).double().numpy(force=True)
        for name, values in found.items()
    }


def _rows(array: Floats) -> tuple[tuple[float, ...], ...]:
    return tuple(map(tuple, np.round(array, 5).tolist()))


NUMBER = 2
"""Bytes of a number on a page: with one, a cell state could not be computed from its gates."""


def quota(
    sizes: Sequence[tuple[int, int]], tokens: int, longer: int, bytes_in_all: int
) -> list[int]:
    """How many units to keep of runs with (units, arrays) so that all of them fit into that much.

    A unit takes a number for each array and token, and a bit for each token of the longer text.
    """
    room = bytes_in_all / len(sizes)
    return [
        max(8, min(units, int(room / (NUMBER * tokens * arrays + longer / 8))))
        for units, arrays in sizes
    ]
