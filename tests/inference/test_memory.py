"""A cache of what was read and weights that go on learning: proper, causal, as defined."""

from __future__ import annotations

import copy
import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rnnctl.diagnostics.subject import CachedModelSubject
from rnnctl.errors import NotFiniteError
from rnnctl.inference import evaluate as evaluate_module
from rnnctl.inference import memory as memory_module
from rnnctl.inference.memory import (
    EPSILON,
    Gradients,
    MemoryStepper,
    TextMemory,
    tune_cache,
)
from rnnctl.inference.memory_settings import Cache, Dynamic, Memory
from rnnctl.tasks.loading import load

TEXT = "the cat sat on the mat and the dog sat on the cat ; a rat ate the mat . " * 6
Call = Callable[..., Any]
MEMORIES = {
    "cache": Memory(cache=Cache(17, 0.4, 0.3)),
    "sgd": Memory(dynamic=Dynamic(0.5, 0.01, 7, "sgd")),
    "rms": Memory(dynamic=Dynamic(0.5, 0.01, 7)),
    "both": Memory(Cache(40, 0.1, 0.5), Dynamic(0.3, 0.0, 5, "sgd")),
}
CELLS = ("rnn", "lstm", "gru")


@pytest.fixture(scope="module", params=CELLS)
def model(request: pytest.FixtureRequest, make_run: Any) -> tuple[Any, Any]:
    loaded = load(make_run(TEXT, level="word", cell=request.param, scale=2.0))
    return loaded.model, loaded.tokenizer.encode(TEXT).astype(np.int64)[:90]


def ready(model: Any, memory: Memory) -> Memory:
    """With the sizes of gradients on a text of its own."""
    held_out = [np.arange(60) * 7 % model.vocab_size]
    return dataclasses.replace(memory, gradients=Gradients.of(model, held_out, 0))


def nats(model: Any, ids: np.ndarray, memory: Memory, pieces: int = 1000) -> np.ndarray:
    memory = ready(model, memory)
    text, found = TextMemory(model, memory), []
    inputs, state = np.append(0, ids[:-1]), model.recurrent.initial_state(1)
    for k in range(0, len(ids), pieces):
        some, state = text.read(inputs[k : k + pieces], ids[k : k + pieces], state)
        found.append(some)
    return np.concatenate(found)


def step_by_step(model: Any, ids: np.ndarray, memory: Memory) -> np.ndarray:
    """ln of all probabilities before each token (T, V)."""
    stepper = MemoryStepper(
        [TextMemory(model, ready(model, memory))], model.recurrent.initial_state(1)
    )
    return np.stack([stepper.step(np.array([one]))[0] for one in np.append(0, ids[:-1])])


@pytest.mark.parametrize("name", MEMORIES)
def test_probabilities_add_up_to_one_at_every_position_and_are_those_of_the_loss(
    name: str, model: tuple[Any, Any]
) -> None:
    net, ids = model
    log = step_by_step(net, ids, MEMORIES[name]).astype(np.float64)
    assert np.abs(np.exp(log).sum(1) - 1).max() < 1e-5
    assert np.abs(-log[np.arange(len(ids)), ids] - nats(net, ids, MEMORIES[name])).max() < 1e-3


@pytest.mark.parametrize("name", MEMORIES)
def test_a_changed_future_token_changes_no_earlier_number(
    name: str, model: tuple[Any, Any]
) -> None:
    net, ids = model
    before = nats(net, ids, MEMORIES[name])
    for place in (1, 30, 61, len(ids) - 1):
        other = ids.copy()
        other[place] = 2 if ids[place] != 2 else 3
        after = nats(net, other, MEMORIES[name])
        assert np.array_equal(before[:place], after[:place])
        assert before[place] != after[place]


@pytest.mark.parametrize("name", MEMORIES)
@pytest.mark.parametrize("pieces", [1, 4, 33])
def test_reading_in_pieces_is_reading_at_once(
    name: str, pieces: int, model: tuple[Any, Any]
) -> None:
    net, ids = model
    whole = nats(net, ids, MEMORIES[name])
    assert np.abs(nats(net, ids, MEMORIES[name], pieces) - whole).max() < 2e-3


def test_the_cache_is_that_of_the_paper(model: tuple[Any, Any]) -> None:
    """Grave et al. 2017, equations 3 to 5, written out token by token in float64."""
    net, ids = model
    cache = Cache(17, 0.4, 0.3)
    with torch.no_grad():
        read = torch.from_numpy(np.append(0, ids[:-1]))[:, None]
        features = net.features(read)[0][:, 0]
        own = torch.log_softmax(net.logits(features).double(), -1).exp().numpy()
    h = features.double().numpy()
    expected = []
    for t, token in enumerate(ids):
        share = {}
        for i in range(max(0, t - cache.size), t):
            share[ids[i]] = share.get(ids[i], 0.0) + math.exp(cache.theta * float(h[t] @ h[i]))
        chance = own[t, token]
        if share:
            of_cache = share.get(token, 0.0) / sum(share.values())
            chance = (1 - cache.weight) * chance + cache.weight * of_cache
        expected.append(-math.log(chance))
    assert np.abs(nats(net, ids, Memory(cache=cache)) - expected).max() < 1e-4


def test_dynamic_evaluation_is_a_step_of_gradient_descent(model: tuple[Any, Any]) -> None:
    net, ids = model
    rate, size = 0.5, 30
    found = nats(net, ids[: 2 * size], Memory(dynamic=Dynamic(rate, 0.0, size, "sgd")))
    plain = nats(net, ids[: 2 * size], Memory(dynamic=Dynamic(1e-30, 0.0, size, "sgd")))
    assert np.abs(found[:size] - plain[:size]).max() == 0
    other = copy.deepcopy(net)
    read = torch.from_numpy(np.append(0, ids[: 2 * size - 1]))[:, None]
    wanted = torch.from_numpy(ids[: 2 * size])

    def forward(part: slice, state: Any) -> tuple[Any, Any]:
        features, after = other.features(read[part], state)
        logits = other.logits(features)[:, 0]
        return torch.nn.functional.cross_entropy(logits, wanted[part], reduction="none"), after

    loss, state = forward(slice(0, size), other.recurrent.initial_state(1))
    loss.mean().backward()
    torch.optim.SGD(other.parameters(), lr=rate).step()
    second, _ = forward(slice(size, 2 * size), tuple(part.detach() for part in state))
    assert np.abs(second.detach().double().numpy() - found[size:]).max() < 2e-3


def test_the_rms_rule_is_that_of_the_paper(model: tuple[Any, Any]) -> None:
    """Krause et al. 2018, equations 4 to 6, with a gradient of our own in float64."""
    net, ids = model
    rate, decay, size = 0.4, 0.05, 20
    memory = Memory(dynamic=Dynamic(rate, decay, size))
    found = nats(net, ids[: 3 * size], memory)
    other = copy.deepcopy(net).double()
    start = [one.detach().clone() for one in other.parameters()]
    gradients = ready(net, memory).gradients
    assert gradients is not None
    read = torch.from_numpy(np.append(0, ids[: 3 * size - 1]))[:, None]
    wanted = torch.from_numpy(ids[: 3 * size])
    other.recurrent.engine = "closed"
    state, expected = other.recurrent.initial_state(1), []
    for begin in range(0, 3 * size, size):
        part = slice(begin, begin + size)
        features, state = other.features(read[part], tuple(one.detach() for one in state))
        losses = torch.nn.functional.cross_entropy(
            other.logits(features)[:, 0], wanted[part], reduction="none"
        )
        expected.append(losses.detach().numpy())
        other.zero_grad()
        losses.mean().backward()
        with torch.no_grad():
            for weight, first, n in zip(other.parameters(), start, gradients.sizes, strict=True):
                usual = n.double()
                step = rate * weight.grad / (usual + EPSILON)
                weight += -step + (decay * usual).clamp(max=1) * (first - (weight - step))
    assert np.abs(np.concatenate(expected) - found).max() < 2e-3


def test_gradients_have_the_size_that_they_have(model: tuple[Any, Any]) -> None:
    """Root mean squares over segments of the text, and 1 over all weights."""
    net, ids = model
    sizes = Gradients.of(net, [ids[:60]], 0).sizes
    text = np.append(0, ids[:60])
    streams, length = (
        60 // Dynamic.segment,
        Dynamic.segment,
    )  # fewer tokens than streams have room for
    squares = [torch.zeros_like(one) for one in net.parameters()]
    read = torch.from_numpy(text[:-1].reshape(streams, length).T.copy())
    wanted = torch.from_numpy(text[1:].reshape(streams, length).T.copy())
    features, _ = net.features(read, net.recurrent.initial_state(streams))
    loss = torch.nn.functional.cross_entropy(net.logits(features).flatten(0, 1), wanted.flatten())
    for square, one in zip(squares, torch.autograd.grad(loss, list(net.parameters())), strict=True):
        square += one**2
    every = torch.cat([square.sqrt().flatten() for square in squares])
    mine = torch.cat([one.flatten() for one in sizes])
    torch.testing.assert_close(mine, every / every.mean(), rtol=1e-3, atol=1e-3)
    assert float(mine.mean()) == pytest.approx(1, rel=1e-4)


def test_full_decay_is_the_model_alone(model: tuple[Any, Any]) -> None:
    net, ids = model
    assert np.allclose(
        nats(net, ids, Memory(dynamic=Dynamic(0.5, 1.0, 5, "sgd"))),
        nats(net, ids, Memory(dynamic=Dynamic(1e-30, 1.0, 5, "sgd"))), atol=1e-5,
    )  # fmt: skip


def test_the_model_itself_is_left_as_it_was(model: tuple[Any, Any]) -> None:
    net, ids = model
    before = {name: one.clone() for name, one in net.state_dict().items()}
    nats(net, ids, MEMORIES["both"])
    assert all(torch.equal(one, before[name]) for name, one in net.state_dict().items())


def test_what_is_tuned_is_what_is_measured(model: tuple[Any, Any]) -> None:
    net, ids = model
    found = tune_cache(net, [ids[:50], ids[50:]], 0)
    for one in filter(None, (found.plain, found.best, found.others[0], found.others[-1])):
        sums = [nats(net, part, one.memory).sum() for part in (ids[:50], ids[50:])]
        assert one.nats == pytest.approx(sum(sums) / len(ids), rel=1e-5)
    best = min(one.nats for one in (*found.others, *filter(None, [found.best])))
    assert (found.best is not None) == (best < found.plain.nats)
    assert found.best is None or found.best.nats == best


@pytest.fixture(scope="module")
def trained_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from rnnctl.__main__ import main

    place = tmp_path_factory.mktemp("memory")
    (place / "text.txt").write_text(TEXT * 60)
    settings = "--level word --hidden-size 8 --steps 3 --no-diagnose --quiet --threads 1"
    run = place / "run"
    code = main(["train", str(place / "text.txt"), "--run", str(run), *settings.split()])
    assert code == 0
    return run


def test_a_context_with_its_cache_is_what_the_instrument_measures(model: tuple[Any, Any]) -> None:
    """Read in parts by the subject of `diagnose --cache`, with another text before: the same."""
    net, ids = model
    cache = Cache(30, 0.4, 0.3)
    subject = CachedModelSubject(net, boundary_id=0, cache=cache)
    whole = np.concatenate([[0], ids])
    expected = nats(net, ids, Memory(cache=cache))
    columns = torch.from_numpy(np.stack([whole[:-1], np.roll(whole[:-1], 5)], axis=1))
    state = subject.initial_state(2)
    parts = []
    for k in (0, 20, 50):
        features, state = subject.advance(columns[k : {0: 20, 20: 50, 50: 90}[k]], state)
        parts.append(features[:, 0])
    found = subject.losses(torch.cat(parts), torch.from_numpy(whole[1:])).numpy()
    assert np.abs(found[1:] - expected[1:]).max() < 1e-3


def test_diagnose_says_in_one_line_what_a_cache_adds(rnnctl: Call, trained_run: Path) -> None:
    done = rnnctl("diagnose", trained_run, "use", "--cache", 20, "--threads", 1)
    assert done.code == 0, done.err
    assert "With a cache of 20 tokens: " in done.out
    assert len(done.out.splitlines()) <= 24


# -- the commands --------------------------------------------------------------------------------


def test_score_evaluate_and_generate_take_a_cache(
    rnnctl: Call, make_run: Any, tmp_path: Path
) -> None:
    run = make_run(TEXT, level="word", valid=TEXT)
    (tmp_path / "new.txt").write_text(TEXT[10:200])
    cache = ("--cache", 50, "--cache-theta", 0.1, "--cache-weight", 0.4)
    plain = json.loads(rnnctl("score", run, tmp_path / "new.txt", "--format", "json").out)
    scored = rnnctl("score", run, tmp_path / "new.txt", *cache, "--format", "json")
    with_cache = json.loads(scored.out)
    assert with_cache["total"]["nats"] < plain["total"]["nats"]
    measured = rnnctl("evaluate", run, tmp_path / "new.txt", *cache, "--format", "json")
    losses = json.loads(measured.out)
    assert [one["protocol"] for one in losses["losses"]] == ["streaming"]
    assert losses["memory"] == "cache of 50 tokens, theta 0.1, weight 0.4"
    tokens = with_cache["total"]["tokens"]
    expected = with_cache["total"]["nats"] / tokens
    assert losses["losses"][0]["loss_nats"] == pytest.approx(expected, rel=1e-5)
    said = rnnctl("generate", run, "the cat sat", "--length", 12, *cache)
    assert said.code == 0
    assert said.out != rnnctl("generate", run, "the cat sat", "--length", 12).out
    learnt = rnnctl("generate", run, "the cat sat", "--length", 9, "--dynamic", 2, "--count", 2)
    assert learnt.code == 0
    assert rnnctl("score", run, tmp_path / "new.txt", "--dynamic", 0.1, "--lines").code == 0


@pytest.mark.parametrize("what", ["cache", "dynamic"])
def test_settings_are_chosen_on_the_validation_text(
    what: str, rnnctl: Call, trained_run: Path
) -> None:
    done = rnnctl("evaluate", trained_run, f"--tune-{what}", "--threads", 1)
    assert done.code == 0, done.err
    assert "setting" in done.out
    found = json.loads(rnnctl("evaluate", trained_run, f"--tune-{what}", "--format", "json").out)
    assert found["before"]["settings"] == "nothing"
    every = [found["best"] or found["before"], *found["others"]]
    assert min(one["loss_nats"] for one in every) == every[0]["loss_nats"]
    assert found["others"][0]["options"].startswith(f"--{what} ")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("score", "--cache", 5, "--cache-weight", 1), "a weight of 0 to below 1"),
        (("evaluate", "--tune-cache", "FILE"), "CORPUS has no effect with --tune-cache"),
        (("evaluate", "--tune-cache"), "keeps no held-out text called valid"),
        (("evaluate", "--tune-cache"), "hint: train without --no-keep-text"),
        (("score", "--dynamic", 0.1), "keeps no validation text"),
    ],
)
def test_what_cannot_be_is_said(
    arguments: tuple[Any, ...], said: str, rnnctl: Call, make_run: Any, tmp_path: Path
) -> None:
    (tmp_path / "f").write_text(TEXT)
    command, *more = (tmp_path / "f" if one == "FILE" else one for one in arguments)
    done = rnnctl(command, make_run(TEXT, level="word"), *more, stdin="the cat")
    assert done.code == 2
    assert said in done.err


def test_a_rate_that_diverges_on_a_longer_text_is_not_chosen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The faster it learns the better on 10 tokens; beyond a rate of 1 not on 30 of them."""

    def nats(model: Any, documents: Any, boundary: int, memory: Memory) -> Any:
        rate = 0.0 if memory.dynamic is None else memory.dynamic.rate
        size = sum(map(len, documents))
        if size > 10 and rate > 1:
            raise NotFiniteError("dynamic evaluation")
        return np.array([size * (10 - rate)])

    monkeypatch.setattr(memory_module, "text_nats", nats)
    short, longer = [np.zeros(10, np.int64)], [np.zeros(30, np.int64)]
    found = memory_module.tune_dynamic(None, short, longer, 0, None)
    assert found.plain.memory.dynamic is None and found.best.memory.dynamic.rate == 1
    assert max(one.memory.dynamic.rate for one in found.others) > 1
    unconfirmed = memory_module.tune_dynamic(None, short, [], 0, None).best
    assert unconfirmed.memory.dynamic.rate > 1


@pytest.mark.parametrize("what", ["cache", "dynamic"])
def test_where_no_setting_helps_none_is_named(
    what: str, rnnctl: Call, trained_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a cache, none is better on what it is tuned on; of dynamic evaluation, on more of it."""

    def worse(own: Any, found: Any, share: float) -> Any:
        return own + share

    def nats(model: Any, documents: Any, boundary: int, memory: Memory) -> Any:
        size = sum(map(len, documents))
        sign = 1 if size > 50 else -1
        return np.array([size * (10 + sign * (memory.dynamic is not None))])

    monkeypatch.setattr(memory_module, "mixture", worse)
    monkeypatch.setattr(memory_module, "text_nats", nats)
    monkeypatch.setattr(evaluate_module, "TUNED_DYNAMIC", 50)
    done = rnnctl("evaluate", trained_run, f"--tune-{what}")
    assert done.code == 0 and "No setting" in done.out and "uses it" not in done.out
    assert ("on a longer part of the validation text" in done.out) == (what == "dynamic")
    found = json.loads(rnnctl("evaluate", trained_run, f"--tune-{what}", "--format", "json").out)
    assert found["best"] is None and len(found["others"]) == 9


def test_weights_that_diverge_are_named(model: tuple[Any, Any]) -> None:
    net, ids = model
    with pytest.raises(NotFiniteError, match="dynamic evaluation"):
        memory_module.text_nats(net, [ids], 0, Memory(dynamic=Dynamic(1e30, rule="sgd")))
