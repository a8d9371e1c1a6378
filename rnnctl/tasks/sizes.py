"""The hidden size that a budget buys, where nobody gives one.

A larger model learns more from each token and reads fewer of them in the same time. So this
machine's tokens per second are measured for a few sizes, and the size is taken whose loss is
expected to be the lowest after the budget.

The loss (nats a character) of a cell with H units after n tokens, which read the training text e
times, is expected to be

    a constant of the text and the cell
    - (SIZE_GAIN - SIZE_BEND ln(H / 256) - REPEAT_LOSS e) ln(H / 256)
    + TOKENS_LOSS[cell] (n / 2,000,000) ** -TOKENS_POWER

Each doubling of the size gains less than the one before. A text that is read often is learnt by
heart, the sooner the larger the model is. Fitted by ``tests/benchmarks/fit_recipes.py fit`` to the
trainings in ``recipe_points.jsonl`` beside it: one layer of 128 to 768 units, 0.6 to 6 million
characters of tinyshakespeare and of war_and_peace, their training and validation text only. The
root mean square error of that fit is FIT_ERROR nats.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Mapping
from typing import Final

import torch

from rnnctl import machine
from rnnctl.config import RunConfig
from rnnctl.data.cache import cache_directory
from rnnctl.machine import Arithmetic
from rnnctl.nn.models import LanguageModel
from rnnctl.nn.settling import KeptTimings
from rnnctl.tasks.loading import build_model
from rnnctl.tasks.recipes import default_rate
from rnnctl.wording import plural

SIZE_GAIN = 0.115
SIZE_BEND = 0.019
REPEAT_LOSS = 0.0030
TOKENS_LOSS: Final[Mapping[str, float]] = {"lstm": 0.142, "gru": 0.151, "rnn": 0.146}
TOKENS_POWER = 0.542
FIT_ERROR = 0.011
REFERENCE_SIZE, REFERENCE_TOKENS = 256, 2_000_000

SIZES = (128, 192, 256, 384, 512, 768)
TIMED = (128, 256, 512)
BESIDE_STEPS = 1.15  # times a step's time: validations, the optimizer, the display
KEPT_AS = "sizes.json"
_REPEATS, _SECONDS = 3, 0.15  # of each timing, at least


def choose_size(
    config: RunConfig,
    arithmetic: Arithmetic,
    *,
    vocab_size: int,
    train_tokens: int,
    keep_rate: bool = False,
) -> tuple[RunConfig, str]:
    """`config` with the hidden size that its budget buys, and the learning rate for that size; a
    sentence that says why.

    For a language model of characters with a budget in seconds; its own hidden size is not looked
    at. vocab_size: of the tokenizer. train_tokens: of the training text. keep_rate: the learning
    rate was given. Measures for less than a second on a fast machine, for a few on a slow one; the
    timings are kept in the cache. Draws from PyTorch's random generator.
    """
    training, budget = config.training, config.training.budget_s
    assert budget is not None
    step_tokens = training.batch_size * training.bptt
    milliseconds = _timings(config, arithmetic, vocab_size)
    read = {
        size: step_tokens * 1e3 * budget / (BESIDE_STEPS * milliseconds_of(size, milliseconds))
        for size in SIZES
    }
    cell = config.model.cell
    size = min(SIZES, key=lambda one: expected_loss(cell, one, read[one], read[one] / train_tokens))
    model = config.model.model_copy(update={"hidden_size": size})
    if not keep_rate:
        lr = default_rate(
            "lm", config.tokenizer.level, cell, size, init=model.init, tokens=read[size]
        )
        training = training.model_copy(update={"lr": lr})
    why = (
        f"{plural(size, 'unit')}: the size of {SIZES[0]} to {SIZES[-1]} that should learn most in "
        f"{budget:g} s here, at about {read[size] / budget:,.0f} tokens/s"
    )
    return config.model_copy(update={"model": model, "training": training}), why


def expected_loss(cell: str, hidden_size: int, tokens: float, epochs: float) -> float:
    """Expected validation loss, nats a character, up to a constant of the cell and the text.

    tokens: how many are read, more than 0. epochs: how often the training text is read meanwhile.
    A cell that was not fitted is taken to learn as the LSTM does.
    """
    wider = math.log(hidden_size / REFERENCE_SIZE)
    gain = SIZE_GAIN - SIZE_BEND * wider - REPEAT_LOSS * epochs
    weight = TOKENS_LOSS.get(cell, TOKENS_LOSS["lstm"])
    beyond = math.pow(tokens / REFERENCE_TOKENS, -TOKENS_POWER)
    return weight * beyond - gain * wider


def milliseconds_of(size: int, timed: Mapping[int, float]) -> float:
    """What a step of that size takes, by a power law through the two timed sizes nearest to it."""
    known = sorted(timed, key=lambda one: abs(math.log(one / size)))
    if known[0] == size:
        return timed[size]
    one, two = sorted(known[:2])
    power = math.log(timed[two] / timed[one]) / math.log(two / one)
    return timed[one] * math.pow(size / one, power)


def _timings(config: RunConfig, arithmetic: Arithmetic, vocab_size: int) -> dict[int, float]:
    """Milliseconds of a training step for each of TIMED, measured now or known from before."""
    model, training = config.model, config.training
    shapes = {
        "of": "sizes",
        "cell": model.cell,
        "nonlinearity": model.nonlinearity,
        "layers": model.num_layers,
        "embedding": model.embedding_size,
        # To a power of two: a few tokens more or less change no speed, and would make each corpus
        # measure anew.
        "vocabulary": 2 ** round(math.log2(vocab_size)),
        "streams": training.batch_size,
        "steps": training.bptt,
        "engine": training.engine,
        "device": str(arithmetic.device),
        "bf16": arithmetic.bf16,
        "threads": torch.get_num_threads(),
    }
    kept = KeptTimings(cache_directory() / KEPT_AS)
    found = kept.get(shapes, [str(size) for size in TIMED])
    if found is None:
        found = {str(size): _step_ms(config, arithmetic, vocab_size, size) for size in TIMED}
        load = machine.load()
        if load is None or load <= machine.available_cores():  # else they are of a busy moment
            kept.put(shapes, found)
    # No size is faster than a smaller one; what says otherwise was disturbed by other programs.
    timed = {int(size): ms for size, ms in found.items()}
    return {size: min(timed[one] for one in TIMED if one >= size) for size in TIMED}


def _step_ms(config: RunConfig, arithmetic: Arithmetic, vocab_size: int, size: int) -> float:
    """Milliseconds of the loss and its gradient for a batch, the shortest of a few."""
    sized = config.model.model_copy(update={"hidden_size": size})
    model = build_model(sized, vocab_size=vocab_size, engine=config.training.engine)
    assert isinstance(model, LanguageModel)
    model.to(arithmetic.device)
    shape = (config.training.bptt, config.training.batch_size)
    ids = torch.randint(vocab_size, shape, device=arithmetic.device)
    shortest = math.inf
    end = time.perf_counter() + _SECONDS
    for repeat in itertools.count():
        begin = time.perf_counter()
        if repeat >= _REPEATS and begin > end:
            break
        with arithmetic.context():
            total, _ = model.loss(ids, ids, None, None)
        total.backward()  # type: ignore[no-untyped-call]
        if arithmetic.device.type == "cuda":
            torch.cuda.synchronize()
        shortest = min(shortest, time.perf_counter() - begin)
    return round(1e3 * shortest, 3)
