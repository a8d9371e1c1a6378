"""The trace against autograd with injected leaves, against finite differences, and its limits."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from rnnctl.errors import UsageError
from rnnctl.nn.cells import Cell, find_cell, held
from rnnctl.nn.recurrent import Recurrent, State

CELLS = [("rnn", "tanh"), ("rnn", "relu"), ("lstm", "tanh"), ("gru", "tanh")]
STEPS, BATCH, INPUTS, HIDDEN, LAYERS = 6, 3, 4, 5, 2


def make(cell: str, nonlinearity: str, layers: int = LAYERS) -> Recurrent:
    torch.manual_seed(7)
    model = Recurrent(cell, INPUTS, HIDDEN, layers, nonlinearity=nonlinearity).double()
    for weight in model.parameters():
        torch.nn.init.normal_(weight, 0.0, 0.7)
    return model


def some_state(model: Recurrent) -> State:
    return tuple(torch.randn_like(part) for part in model.initial_state(BATCH))


def some_inputs() -> Tensor:
    return torch.randn(STEPS, BATCH, INPUTS, dtype=torch.float64)


def some_starts() -> Tensor:
    starts = torch.zeros(STEPS, BATCH, dtype=torch.bool)
    starts[0, 0] = starts[2, 1] = starts[3, :2] = True
    return starts


def one_step(cell: Cell, model: Recurrent, vector: Tensor, state: State) -> State:
    """The full state one step on, by the cell's step alone: what derivatives are taken of."""
    after: list[State] = []
    for layer in range(model.num_layers):
        weights = model.weights(f"_l{layer}")
        x = vector @ weights.w_ih.T + weights.b_ih
        before = tuple(part[layer] for part in state)
        u = before[0] @ weights.w_hh.T + weights.b_hh
        new, _ = cell.step(x.chunk(cell.gate_count, -1), u.chunk(cell.gate_count, -1), before)
        after.append(new)
        vector = new[0]
    return tuple(torch.stack(parts) for parts in zip(*after, strict=True))


@pytest.mark.parametrize(("cell", "nonlinearity"), CELLS)
def test_outputs_and_states_are_those_of_the_pass(cell: str, nonlinearity: str) -> None:
    model = make(cell, nonlinearity)
    inputs, state, starts = some_inputs(), some_state(model), some_starts()
    trace = model.trace(inputs, state, starts)
    outputs, final = model(inputs, state, starts)
    torch.testing.assert_close(trace.outputs, outputs, rtol=1e-12, atol=1e-12)
    for ours, theirs in zip(trace.state(STEPS - 1), final, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    names = {"lstm": {"h", "c", "input", "forget", "candidate", "output"}}
    names["gru"], names["rnn"] = {"h", "reset", "keep", "candidate"}, {"h"}
    for layer in trace.layers:
        assert set(layer.values) == names[cell]
        assert {value.shape for value in layer.values.values()} == {(STEPS, BATCH, HIDDEN)}


def test_gates_obey_the_equations_by_name() -> None:
    """h' and c' must follow from the *named* gates: a swapped name would fail."""
    lstm = make("lstm", "tanh", 1).trace(some_inputs()).layers[0].values
    before = torch.cat((torch.zeros_like(lstm["c"][:1]), lstm["c"][:-1]))
    c = lstm["forget"] * before + lstm["input"] * lstm["candidate"]
    torch.testing.assert_close(lstm["c"], c)
    torch.testing.assert_close(lstm["h"], lstm["output"] * c.tanh())
    gru = make("gru", "tanh", 1).trace(some_inputs()).layers[0].values
    before = torch.cat((torch.zeros_like(gru["h"][:1]), gru["h"][:-1]))
    kept = gru["keep"] * before + (1 - gru["keep"]) * gru["candidate"]
    torch.testing.assert_close(gru["h"], kept)


@pytest.mark.parametrize("with_starts", [False, True])
@pytest.mark.parametrize(("cell", "nonlinearity"), CELLS)
def test_state_gradients_are_those_of_injected_leaves(
    cell: str, nonlinearity: str, with_starts: bool
) -> None:
    model = make(cell, nonlinearity)
    inputs, state = some_inputs().requires_grad_(), some_state(model)
    starts = some_starts() if with_starts else None
    wanted = torch.randn(STEPS, BATCH, HIDDEN, dtype=torch.float64)
    leaves = [
        tuple(torch.zeros_like(part, requires_grad=True) for part in state) for _ in range(STEPS)
    ]
    total = torch.zeros((), dtype=torch.float64)
    current = state
    for t in range(STEPS):
        if starts is not None:
            current = tuple(part * (~starts[t]).double().unsqueeze(-1) for part in current)
        current = _perturbed_step(model, inputs[t], current, leaves[t])
        total = total + (wanted[t] * current[0][-1]).sum()
    flat = [leaf for leaves_t in leaves for leaf in leaves_t]
    *gradients, d_inputs = torch.autograd.grad(total, [*flat, inputs], materialize_grads=True)
    measured = model.trace(inputs, state, starts).state_gradients(wanted)
    count = len(state)
    for index, name in enumerate(model.cell.state_names):
        expected = torch.stack(gradients[index::count], 1)  # (L, T, B, H)
        torch.testing.assert_close(measured[name], expected, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(measured["inputs"], d_inputs, rtol=1e-10, atol=1e-12)


def _perturbed_step(model: Recurrent, vector: Tensor, state: State, leaves: State) -> State:
    """One step whose every new coordinate has a leaf added before anything reads it."""
    after: list[State] = []
    for layer in range(model.num_layers):
        weights, cell = model.weights(f"_l{layer}"), model.cell
        x = vector @ weights.w_ih.T + weights.b_ih
        before = tuple(part[layer] for part in state)
        u = before[0] @ weights.w_hh.T + weights.b_hh
        new, _ = cell.step(x.chunk(cell.gate_count, -1), u.chunk(cell.gate_count, -1), before)
        after.append(tuple(p + leaf[layer] for p, leaf in zip(new, leaves, strict=True)))
        vector = after[-1][0]
    return tuple(torch.stack(parts) for parts in zip(*after, strict=True))


@pytest.mark.parametrize(("cell", "nonlinearity"), CELLS)
def test_jvp_and_vjp_are_those_of_one_step(cell: str, nonlinearity: str) -> None:
    model = make(cell, nonlinearity)
    inputs, state = some_inputs(), some_state(model)
    trace = model.trace(inputs, state)
    t = 4
    before, tangent, cotangent = trace.state(t - 1), some_state(model), some_state(model)

    def step(*parts: Tensor) -> State:
        return one_step(model.cell, model, inputs[t], parts)

    _, pushed = torch.autograd.functional.jvp(step, before, tangent)
    _, pulled = torch.autograd.functional.vjp(step, before, cotangent)
    for ours, theirs in zip(trace.jvp(t, tangent), pushed, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)
    for ours, theirs in zip(trace.vjp(t, cotangent), pulled, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_jvp_agrees_with_finite_differences(cell: str) -> None:
    model = make(cell, "tanh")
    inputs, state, tangent = some_inputs(), some_state(model), some_state(model)
    size = 1e-6
    moved = [
        tuple(p + sign * size * d for p, d in zip(state, tangent, strict=True)) for sign in (1, -1)
    ]
    ahead, behind = (model(inputs[:1], start)[1] for start in moved)
    measured = model.trace(inputs, state).jvp(0, tangent)
    for ours, plus, minus in zip(measured, ahead, behind, strict=True):
        torch.testing.assert_close(ours, (plus - minus) / (2 * size), rtol=1e-7, atol=1e-8)


def test_products_take_many_tangents_at_once_and_stop_at_starts() -> None:
    model = make("lstm", "tanh")
    starts = some_starts()
    trace = model.trace(some_inputs(), some_state(model), starts)
    first, second = some_state(model), some_state(model)
    both = tuple(torch.stack(parts) for parts in zip(first, second, strict=True))
    for product in (trace.jvp, trace.vjp):
        together = product(3, both)
        for index, alone in enumerate((product(3, first), product(3, second))):
            for ours, theirs in zip(together, alone, strict=True):
                torch.testing.assert_close(ours[index], theirs)
        for part in together:
            assert part[:, :, :2].abs().sum() == 0 if product == trace.vjp else True
    ahead = trace.jvp(3, first)
    assert all(part[:, :2].abs().sum() == 0 for part in ahead)  # streams 0 and 1 start at step 3
    assert all(part[:, 2].abs().sum() > 0 for part in ahead)


def test_the_lstm_forgets_by_its_forget_gate_alone_without_recurrence() -> None:
    """With U = 0, dc_T/dc_t is exactly the product of the forget gates between."""
    model = make("lstm", "tanh", 1)
    torch.nn.init.zeros_(model.get_parameter("weight_hh_l0"))
    trace = model.trace(some_inputs())
    tangent: State = (
        torch.zeros(1, BATCH, HIDDEN, dtype=torch.float64),
        torch.ones(1, BATCH, HIDDEN, dtype=torch.float64),
    )
    for t in range(1, STEPS):
        tangent = trace.jvp(t, tangent)
    forget = trace.layers[0].values["forget"]
    torch.testing.assert_close(tangent[1][0], forget[1:].prod(0), rtol=1e-12, atol=0)


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_gradients_of_the_inputs_need_no_later_step(cell: str) -> None:
    """What is asked of the first steps alone is what all steps say with nothing asked later."""
    model = make(cell, "tanh")
    trace = model.trace(some_inputs(), some_state(model), some_starts())
    asked = torch.randn(4, BATCH, HIDDEN, dtype=torch.float64)
    whole = torch.cat((asked, torch.zeros(STEPS - 4, BATCH, HIDDEN, dtype=torch.float64)))
    expected = trace.state_gradients(whole)["inputs"]
    torch.testing.assert_close(trace.input_gradients(asked), expected[:4], rtol=1e-12, atol=1e-14)
    assert not expected[4:].any()


def test_a_bidirectional_model_is_refused() -> None:
    with pytest.raises(UsageError, match="bidirectional"):
        Recurrent("gru", 3, 4, bidirectional=True).trace(torch.zeros(2, 1, 3))


# -- gates held at a value -------------------------------------------------------------------------

HELD = [
    ("lstm", {"forget": 1.0}),
    ("lstm", {"forget": 0.0, "output": 0.5}),
    ("lstm", {"input": 0.25, "candidate": -1.0}),
    ("gru", {"keep": 1.0}),
    ("gru", {"keep": 0.3, "reset": 0.0}),
    ("gru", {"candidate": 0.5}),
]


def hold(model: Recurrent, gates: dict[str, float]) -> Recurrent:
    model.cell = held(model.cell, gates)
    return model


def test_a_held_gate_by_hand() -> None:
    """One unit, two steps of numbers that can be followed on paper: c' = f c + i g."""
    model = Recurrent("lstm", 1, 1, 1).double()
    with torch.no_grad():
        for weight in model.parameters():
            weight.zero_()
    # All weights 0: i = f = o = 1/2, g = 0. From c = 0.8 the cell halves, or stays if f is held.
    state = tuple(torch.full((1, 1, 1), value, dtype=torch.float64) for value in (0.0, 0.8))
    inputs = torch.zeros(2, 1, 1, dtype=torch.float64)
    learned = model.trace(inputs, state).layers[0].values
    assert learned["c"].flatten().tolist() == pytest.approx([0.4, 0.2])
    kept = hold(model, {"forget": 1.0}).trace(inputs, state).layers[0].values
    assert kept["c"].flatten().tolist() == [0.8, 0.8]
    assert kept["h"].flatten().tolist() == pytest.approx([0.5 * math.tanh(0.8)] * 2)
    written = hold(model, {"candidate": 1.0, "input": 0.25}).trace(inputs, state).layers[0].values
    assert written["c"].flatten().tolist() == pytest.approx([1.05, 1.3])  # 0.8 + 0.25, + 0.25


@pytest.mark.parametrize(("cell", "gates"), HELD)
def test_held_gates_have_their_value_and_the_rest_follows(
    cell: str, gates: dict[str, float]
) -> None:
    model = hold(make(cell, "tanh", 1), gates)
    inputs, state, starts = some_inputs(), some_state(model), some_starts()
    state = tuple(part[:1] for part in state)
    layer = model.trace(inputs, state, starts).layers[0]
    for name, value in gates.items():
        torch.testing.assert_close(
            layer.values[name], torch.full_like(layer.values[name], value), rtol=0, atol=1e-15
        )
    if cell == "gru" and gates.get("keep") == 1.0:
        assert torch.equal(layer.values["h"][2, 0], state[0][0, 0] * 0)  # zeroed at its start
        torch.testing.assert_close(layer.values["h"][5, 2], state[0][0, 2])  # kept ever after
    outputs, _ = model(inputs, state, starts)  # the engine that trains computes the same
    torch.testing.assert_close(outputs, layer.values["h"], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("cell", "gates"), HELD)
def test_derivatives_with_held_gates_against_differences(
    cell: str, gates: dict[str, float]
) -> None:
    model = hold(make(cell, "tanh"), gates)
    inputs, state = some_inputs(), some_state(model)
    trace, before = model.trace(inputs, state), state
    tangent = tuple(torch.randn_like(part) for part in state)
    cotangent = tuple(torch.randn_like(part) for part in state)
    for t in range(STEPS):
        size = 1e-6
        ahead, behind = (
            one_step(
                model.cell, model, inputs[t],
                tuple(p + sign * size * d for p, d in zip(before, tangent, strict=True)),
            )
            for sign in (1, -1)
        )  # fmt: skip
        pushed = trace.jvp(t, tangent)
        for found, a, b in zip(pushed, ahead, behind, strict=True):
            torch.testing.assert_close(found, (a - b) / (2 * size), rtol=1e-6, atol=1e-8)
        pulled = trace.vjp(t, cotangent)
        one = sum((a * b).sum() for a, b in zip(cotangent, pushed, strict=True))
        other = sum((a * b).sum() for a, b in zip(pulled, tangent, strict=True))
        torch.testing.assert_close(one, other)
        before = trace.state(t)


def test_gates_that_cannot_be_held() -> None:
    for cell, gates, message in (
        ("lstm", {"keep": 1.0}, "the LSTM has no gate 'keep'"),
        ("rnn", {"forget": 1.0}, "the RNN has no gate 'forget'"),
        ("gru", {"keep": 1.5}, "keep=1.5: the gate cannot have this value"),
        ("gru", {"candidate": -1.5}, "candidate=-1.5"),
    ):
        with pytest.raises(UsageError, match=message):
            held(find_cell(cell), gates)
