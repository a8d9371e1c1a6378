"""Every engine against `torch.nn`: outputs, states and all gradients, over random shapes."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from rnnctl.errors import MissingExtraError, UsageError
from rnnctl.nn import engines, products
from rnnctl.nn.models import LanguageModel, weights_held
from rnnctl.nn.recurrent import Recurrent, State
from tests.conftest import FUSED

CELLS = [("rnn", "tanh"), ("rnn", "relu"), ("lstm", "tanh"), ("gru", "tanh")]


def reference(model: Recurrent, cell: str, nonlinearity: str) -> nn.Module:
    """The module of `torch.nn` with the same weights."""
    options = {"nonlinearity": nonlinearity} if cell == "rnn" else {}
    sizes = (model.input_size, model.hidden_size, model.num_layers)
    module = getattr(nn, cell.upper())(*sizes, bidirectional=model.directions == 2, **options)
    module = module.to(model.get_parameter("weight_hh_l0").dtype)
    module.load_state_dict(model.state_dict())
    return module


def as_state(final: Tensor | State) -> State:
    return (final,) if isinstance(final, Tensor) else tuple(final)


def run_reference(
    module: nn.Module, inputs: Tensor, state: State, starts: Tensor | None
) -> tuple[Tensor, State]:
    """`torch.nn`, with the state zeroed at starts by stepping it."""
    if starts is None:
        outputs, final = module(inputs, state if len(state) > 1 else state[0])
        return outputs, as_state(final)
    steps = []
    for vector, start in zip(inputs, starts, strict=True):
        state = tuple(part * (~start).to(part.dtype).view(1, -1, 1) for part in state)
        output, final = module(vector.unsqueeze(0), state if len(state) > 1 else state[0])
        state = as_state(final)
        steps.append(output)
    return torch.cat(steps), state


def gradients(
    outputs: Tensor, final: State, inputs: Tensor, state: State, module: nn.Module
) -> list[Tensor]:
    """Gradients of a scalar in which every output and every final coordinate counts."""
    torch.manual_seed(1)
    total = (outputs * torch.randn_like(outputs)).sum()
    for part in final:
        total = total + (part * torch.randn_like(part)).sum()
    wanted = [inputs, *state, *module.parameters()]
    return list(torch.autograd.grad(total, wanted))


def relative(ours: Tensor, theirs: Tensor, scale: float = 1e-3) -> float:
    """The difference relative to the norm, or to `scale` where the norm is smaller."""
    ours, theirs = ours.detach(), theirs.detach()
    return float((ours - theirs).norm() / theirs.norm().clamp_min(scale))


@st.composite
def cases(draw: st.DrawFn) -> dict[str, int | bool]:
    sizes = {name: draw(st.integers(1, 9)) for name in ("steps", "batch", "inputs", "hidden")}
    bidirectional = draw(st.booleans())
    return {
        **sizes,
        "layers": draw(st.integers(1, 2)),
        "seed": draw(st.integers(0, 2**31)),
        "bidirectional": bidirectional,
        "starts": not bidirectional and draw(st.booleans()),
    }


def compare(
    cell: str, nonlinearity: str, engine: str, case: dict[str, int], dtype: torch.dtype
) -> list[float]:
    torch.manual_seed(case["seed"])
    model = Recurrent(
        cell,
        case["inputs"],
        case["hidden"],
        case["layers"],
        nonlinearity=nonlinearity,
        bidirectional=bool(case["bidirectional"]),
        engine=engine,
    ).to(dtype)
    for weight in model.parameters():
        nn.init.uniform_(weight, -0.6, 0.6)
    batch = case["batch"]
    inputs = torch.randn(case["steps"], batch, case["inputs"], dtype=dtype, requires_grad=True)
    state = tuple(torch.randn_like(part).requires_grad_() for part in model.initial_state(batch))
    starts = torch.rand(case["steps"], batch) < 0.3 if case["starts"] else None
    ours = model(inputs, state, starts)
    module = reference(model, cell, nonlinearity)
    theirs = run_reference(module, inputs, state, starts)
    errors = [relative(ours[0], theirs[0])]
    errors += [relative(a, b) for a, b in zip(ours[1], theirs[1], strict=True)]
    wanted = gradients(*theirs, inputs, state, module)
    # A gradient of a few numbers may cancel to almost nothing: then all gradients are the measure.
    scale = 0.1 * float(torch.cat([part.flatten() for part in wanted]).norm())
    pairs = zip(gradients(*ours, inputs, state, model), wanted, strict=True)
    return errors + [relative(a, b, scale) for a, b in pairs]


@pytest.mark.parametrize(("cell", "nonlinearity"), CELLS)
@settings(max_examples=15, deadline=None)
@given(case=cases())
def test_closed_form_is_torch_nn_in_float64(
    cell: str, nonlinearity: str, case: dict[str, int]
) -> None:
    assert max(compare(cell, nonlinearity, "closed", case, torch.float64)) < 1e-12


@pytest.mark.usefixtures("processor")
@pytest.mark.parametrize(("cell", "nonlinearity"), CELLS)
@settings(max_examples=15, deadline=None)
@given(case=cases())
def test_fused_is_torch_nn_in_float32(cell: str, nonlinearity: str, case: dict[str, int]) -> None:
    pytest.importorskip("numba")
    # sums over a handful of numbers may cancel; 1e-6 at real sizes is tested below
    assert max(compare(cell, nonlinearity, "fused", case, torch.float32)) < 2e-5


@pytest.mark.parametrize("engine", ["closed", FUSED])
@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_held_weights_have_no_gradients(cell: str, engine: str) -> None:
    """And those of the inputs are the same."""
    torch.manual_seed(0)
    inputs = torch.randn(9, 4, 8, requires_grad=True)
    model = Recurrent(cell, 8, 16, 2, engine=engine)
    found = []
    for held in (False, True):
        with weights_held(model) if held else nullcontext():
            outputs, _ = model(inputs)
            outputs.square().sum().backward()
        assert inputs.grad is not None
        found.append(inputs.grad)
        inputs.grad = None
        assert all((weight.grad is None) == held for weight in model.parameters())
        assert all(weight.requires_grad for weight in model.parameters())
        model.zero_grad()
    torch.testing.assert_close(*found, rtol=0, atol=0)


@pytest.mark.usefixtures("processor")
@pytest.mark.parametrize("engine", ["closed", FUSED])
@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_long_sequences_agree_within_1e_6(cell: str, engine: str) -> None:
    """At real sizes the norms say 1e-6 in fp32."""
    torch.manual_seed(0)
    inputs = torch.randn(40, 16, 48, requires_grad=True)
    model = Recurrent(cell, 48, 64, 2, engine=engine)
    module = reference(model, cell, "tanh")
    state = model.initial_state(16)
    for part in state:
        part.requires_grad_()
    ours, theirs = model(inputs, state), run_reference(module, inputs, state, None)
    pairs = zip(
        [ours[0], *gradients(*ours, inputs, state, model)],
        [theirs[0], *gradients(*theirs, inputs, state, module)],
        strict=True,
    )
    assert max(relative(a, b) for a, b in pairs) < 1e-6


@pytest.mark.usefixtures("processor")
@pytest.mark.parametrize("engine", ["closed", FUSED])
@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_bf16_follows_fp32(cell: str, engine: str) -> None:
    """Under autocast outputs and gradients stay within bf16's rounding, the state is in fp32."""
    torch.manual_seed(0)
    model = Recurrent(cell, 24, 32, 2, engine=engine)
    inputs = torch.randn(60, 8, 24, requires_grad=True)
    starts = torch.rand(60, 8) < 0.05
    state = tuple(part.requires_grad_() for part in model.initial_state(8))
    exact = model(inputs, state, starts)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = model(inputs, state, starts)
    assert rounded[0].dtype == torch.bfloat16
    assert all(part.dtype == torch.float32 for part in rounded[1])
    assert relative(rounded[0].float(), exact[0]) < 1e-2
    outputs = rounded[0].float()
    pairs = zip(
        gradients(outputs, rounded[1], inputs, state, model),
        gradients(*exact, inputs, state, model),
        strict=True,
    )
    assert max(relative(a, b) for a, b in pairs) < 3e-2


@pytest.mark.usefixtures("processor")
@pytest.mark.parametrize("engine", ["torch", "closed", FUSED])
@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_lengths_are_those_of_packed_sequences(cell: str, engine: str, bidirectional: bool) -> None:
    torch.manual_seed(0)
    model = Recurrent(cell, 3, 5, 2, bidirectional=bidirectional, engine=engine)
    module = reference(model, cell, "tanh")
    lengths = torch.tensor([4, 7, 1, 6])
    inputs = torch.randn(7, 4, 3)
    packed = nn.utils.rnn.pack_padded_sequence(inputs, lengths, enforce_sorted=False)
    expected, final = module(packed)
    expected, _ = nn.utils.rnn.pad_packed_sequence(expected)
    outputs, state = model(inputs, lengths=lengths)
    within = torch.arange(7).unsqueeze(1) < lengths
    torch.testing.assert_close(outputs[within], expected[within], rtol=1e-5, atol=1e-6)
    for ours, theirs in zip(state, as_state(final), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("cell", "nonlinearity"), CELLS)
def test_closed_form_passes_gradcheck(cell: str, nonlinearity: str) -> None:
    torch.manual_seed(5)
    model = Recurrent(cell, 2, 3, nonlinearity=nonlinearity, engine="closed").double()
    for weight in model.parameters():
        nn.init.normal_(weight)
    state = tuple(torch.randn_like(part).requires_grad_() for part in model.initial_state(2))
    inputs = torch.randn(4, 2, 2, dtype=torch.float64, requires_grad=True)
    starts = torch.tensor([[0, 0], [0, 1], [0, 0], [1, 0]], dtype=torch.bool)

    def function(inputs: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        outputs, final = model(inputs, rest[: len(state)], starts)
        return (outputs, *final)

    assert torch.autograd.gradcheck(function, (inputs, *state, *model.parameters()))


def test_the_fused_graph_goes_back_once_and_says_so() -> None:
    pytest.importorskip("numba")
    model = Recurrent("gru", 3, 4, engine="fused")
    total = model(torch.randn(5, 2, 3))[0].sum()
    total.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="once only"):
        total.backward()


def test_choice_of_engine_where_nothing_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    tiles = pytest.importorskip("rnnctl.nn.cpu.tiles")
    gru, lstm = Recurrent("gru", 2, 2).cell, Recurrent("lstm", 2, 2).cell
    inputs = torch.zeros(3, 2, 2)
    for whole in (True, False):
        monkeypatch.setattr(tiles, "shape_for", lambda dtype, whole=whole: whole or None)
        assert engines.choose("auto", gru, inputs) == "fused"
        assert engines.choose("auto", lstm, inputs) == ("fused" if whole else "torch")
        assert engines.choose("auto", lstm, inputs, within=True) == "fused"
    assert engines.choose("auto", gru, inputs.double()) == "torch"
    assert engines.choose("fused", gru, inputs.double()) == "closed"
    for name in ("torch", "closed", "fused"):
        assert engines.choose(name, gru, inputs) == name
    monkeypatch.setattr(engines, "numba_installed", lambda: False)
    assert engines.choose("auto", gru, inputs) == "torch"
    assert engines.choose("auto", lstm, inputs) == "torch"
    with pytest.raises(MissingExtraError, match="numba"):
        Recurrent("gru", 2, 2, engine="fused")
    with pytest.raises(UsageError, match="unknown engine"):
        Recurrent("gru", 2, 2, engine="fast")


def test_no_product_in_bf16_is_asked_of_a_machine_without(monkeypatch: pytest.MonkeyPatch) -> None:
    """oneDNN's LSTM and packed products fail there; the closed form works anywhere."""
    monkeypatch.setenv("RNNCTL_CPU", "generic")
    lstm, inputs = Recurrent("lstm", 2, 2).cell, torch.zeros(3, 2, 2)
    with torch.autocast("cpu", torch.bfloat16):
        assert engines.choose("torch", lstm, inputs) == "closed"
    assert not products.can_pack(inputs.bfloat16())
    assert products.can_pack(inputs)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_on_a_gpu_the_kernels_of_torch_nn_run(cell: str) -> None:
    model = Recurrent(cell, 8, 16, 2).cuda()
    inputs = torch.randn(9, 4, 8, device="cuda")
    outputs, _ = model(inputs)
    outputs.sum().backward()
    expected, _ = model.cpu()(inputs.cpu())
    torch.testing.assert_close(outputs.cpu(), expected, rtol=1e-4, atol=1e-4)
    starts = torch.rand(9, 4, device="cuda") < 0.3
    assert model.cuda()(inputs, starts=starts)[0].isfinite().all()


def test_numba_stays_out_until_the_fused_engine_runs() -> None:
    """Importing, building and evaluating a small model must not pay for numba's import."""
    code = (
        "import sys, torch\n"
        "from rnnctl.nn.models import LanguageModel\n"
        "model = LanguageModel(vocab_size=50, embedding_size=8, cell='gru', hidden_size=8,"
        " num_layers=1, engine='torch')\n"
        "ids = torch.zeros(5, 2, dtype=torch.long)\n"
        "model.loss(ids, ids)[0].backward()\n"
        "model.token_losses(ids, ids)\n"
        "sys.exit('numba' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_what_reads_a_model_second_goes_over_to_the_fast_engine_too() -> None:
    model = LanguageModel(
        vocab_size=5, embedding_size=2, cell="gru", hidden_size=2, num_layers=1, engine="auto"
    )
    first, second = engines.EngineChoice(model, 100), engines.EngineChoice(model, 100)
    first.note(99)
    assert model.recurrent.engine == "torch"
    second.note(101)
    assert model.recurrent.engine == "auto"


def test_an_engine_that_was_asked_for_is_left_alone() -> None:
    model = LanguageModel(
        vocab_size=5, embedding_size=2, cell="gru", hidden_size=2, num_layers=1, engine="closed"
    )
    engines.EngineChoice(model, 100).note(101)
    assert model.recurrent.engine == "closed"


STEP = """
import hashlib, torch
from rnnctl.nn.recurrent import Recurrent
torch.manual_seed(0)
model = Recurrent("lstm", 48, 48, 1, engine="fused")
outputs, _ = model(torch.randn(12, 8, 48))
outputs.square().sum().backward()
digest = hashlib.sha256(outputs.detach().numpy().tobytes())
for weight in model.parameters():
    digest.update(weight.grad.numpy().tobytes())
print(digest.hexdigest())
"""


@pytest.mark.skipif(not engines.fused_available(), reason="numba is not installed")
def test_the_process_that_compiles_computes_the_same_bits_as_later_ones(tmp_path: Path) -> None:
    """The optimiser sees a pass once more where it compiles both it and what calls it."""
    where = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    first, second = (
        subprocess.run(
            [sys.executable, "-c", STEP], env=where, capture_output=True, text=True, check=True
        ).stdout
        for _ in range(2)
    )
    assert len(first) > 60 and first == second
    assert any(tmp_path.rglob("*.nbc"))
