"""A cell that another package adds: one `Cell` and an entry point are enough to use it everywhere.

``tests/plugin`` stands for that package; nothing of rnnctl names its cell.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rnnctl import catalog
from rnnctl.nn import engines
from rnnctl.nn.cells import Compilable, complement, sigmoid, sigmoid_slope, tanh, tanh_slope
from rnnctl.nn.models import Classifier, LanguageModel
from rnnctl.nn.stepping import Stepper
from tests.conftest import FUSED

PLUGIN = Path(__file__).parents[1] / "plugin"


@pytest.fixture(autouse=True)
def _installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The other package is installed: on this process's path, and on that of its children."""
    monkeypatch.syspath_prepend(str(PLUGIN))
    monkeypatch.setenv("PYTHONPATH", str(PLUGIN), prepend=os.pathsep)
    importlib.import_module("rnnctl.cli.train")  # whose options were made without the package,
    monkeypatch.delitem(sys.modules, "rnnctl.cli.train")  # and are to be made anew
    catalog._extensions.cache_clear()
    yield
    catalog._extensions.cache_clear()


def model() -> LanguageModel:
    torch.manual_seed(3)
    return LanguageModel(
        vocab_size=11, embedding_size=6, hidden_size=9, num_layers=2, cell="minimal", init="good"
    )


def by_autograd(made: LanguageModel, ids: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """The loss, one step after the other, as the equations say."""
    h = [torch.zeros(ids.shape[1], 9, dtype=made.decoder.weight.dtype) for _ in range(2)]
    nats = []
    for at, target in zip(ids, targets, strict=True):
        below = made.embed(at[None])[0]
        for k in range(2):
            w, u, b, c = (
                getattr(made.recurrent, f"{name}_l{k}")
                for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            )
            parts = (below @ w.T + b).chunk(2, 1), (h[k] @ u.T + c).chunk(2, 1)
            ((h[k],), _) = made.recurrent.cell.step(*parts, (h[k],))
            below = h[k]
        logits = below @ made.decoder.weight.T + made.decoder.bias
        nats.append(torch.nn.functional.cross_entropy(logits, target, reduction="sum"))
    return torch.stack(nats).sum()


@pytest.mark.parametrize("engine", ["auto", "closed", FUSED, "torch"])
def test_it_learns_as_its_equations_say(engine: str) -> None:
    made = model()
    made.recurrent.engine = engine
    ids, targets = torch.randint(11, (2, 7, 4))
    total, _ = made.loss(ids, targets)
    total.backward()
    found = {name: p.grad.clone() for name, p in made.named_parameters() if p.grad is not None}
    made.zero_grad()
    wanted = by_autograd(made, ids, targets)
    assert float(total.detach()) == pytest.approx(float(wanted.detach()), rel=1e-5)
    wanted.backward()
    for name, parameter in made.named_parameters():
        assert parameter.grad is not None
        torch.testing.assert_close(found[name], parameter.grad, rtol=1e-4, atol=1e-5)


def test_without_saying_how_it_compiles_it_needs_no_compiler() -> None:
    made = model().recurrent
    inputs = torch.zeros(2, 1, 6)
    assert engines.able(made.cell, inputs) == ("closed",)
    assert engines.choose("fused", made.cell, inputs) == "closed"


@pytest.mark.usefixtures("processor")
@pytest.mark.parametrize("returned", [2, 3])
def test_a_cell_that_says_how_gets_compiled_passes(
    returned: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Passes follow from the equations: two gates, and with one number more to keep."""
    pytest.importorskip("numba")
    made = model()
    cell = made.recurrent.cell
    kept = {"step": with_one_more, "factors": without_it} if returned == 3 else {}
    cell = replace(cell, compilable=Compilable(returned), **kept)
    monkeypatch.setattr(made.recurrent, "cell", cell)
    ids, targets = torch.randint(11, (2, 7, 4))
    found = {}
    for engine in ("closed", "fused"):
        made.recurrent.engine = engine
        assert made.recurrent.engine_in_use == engine
        made.zero_grad()
        total, _ = made.loss(ids, targets)
        total.backward()
        found[engine] = [total.detach(), *(p.grad for p in made.parameters())]
    torch.testing.assert_close(found["fused"], found["closed"], rtol=1e-4, atol=1e-6)


def test_two_cells_of_one_name_and_file_do_not_share_compiled_passes() -> None:
    """As `replace(CELL, step=…)` makes them: the second one computed what the first one did."""
    pytest.importorskip("numba")
    from rnnctl.nn.cpu.steps import label_of

    cell = catalog.load("cell", "minimal")
    first, second = (replace(cell, step=step) for step in (with_one_more, without_it))
    assert label_of(first) != label_of(second)


def with_one_more(x: Any, u: Any, state: Any) -> Any:
    """The plugin's step, which hands on the candidate's pre-activation too."""
    f, n = sigmoid(x[0] + u[0]), tanh(x[1] + u[1])
    return (n + f * (state[0] - n),), (f, n, u[1])


def without_it(gates: Any, state: Any, new: Any) -> Any:
    """The plugin's factors, which do not need it; it must be what it was."""
    f, n, u = gates
    return (state[0] - n) * sigmoid_slope(f) + (u - u), complement(f) * tanh_slope(n), f


def test_an_impossible_compilation_is_refused_where_it_is_said() -> None:
    cell = catalog.load("cell", "minimal")
    for said in (Compilable(1), Compilable(4)):
        with pytest.raises(ValueError, match="returns"):
            replace(cell, compilable=said)
    with pytest.raises(ValueError, match="four"):
        replace(cell, gate_count=5, gate_names=tuple("abcde"), compilable=Compilable(0))


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"state_names": ("h", "m")}, "called h, and c"),
        ({"direct": (1,)}, "places in `state_names`"),
        ({"gate_names": ("forget",)}, "a name for each row block"),
        ({"keep_gate": 2}, "places in `gate_names`"),
        ({"keep_gate": None, "write_gate": 0}, "the gate that multiplies the past"),
    ],
)
def test_facts_that_would_be_measured_wrongly_are_refused(wrong: Any, says: str) -> None:
    """Each of them was taken, and a part of the state or a gate left out of every measurement."""
    with pytest.raises(ValueError, match=says):
        replace(catalog.load("cell", "minimal"), **wrong)


def _selftested(rnnctl: Any) -> tuple[dict[str, bool], list[str]]:
    """The checks of GT09 by name, and whether they passed; what the selftest warns of."""
    found = json.loads(rnnctl("selftest", "GT09", "--format", "json", "--quiet").out)
    checks = {item["name"]: item["passed"] for item in found["answers"][0]["items"]}
    return checks, [warning["text"] for warning in found["warnings"]]


def test_the_selftest_holds_its_derivatives_against_its_step(rnnctl: Any) -> None:
    checks, warnings = _selftested(rnnctl)
    found = {name: ok for name, ok in checks.items() if name.startswith("minimal")}
    assert len(found) == 5 and all(found.values()) and not warnings


@pytest.mark.parametrize("forgotten", ["push", "pull", "factors", "keep_gate"])
def test_the_selftest_finds_a_wrong_derivative(
    rnnctl: Any, monkeypatch: pytest.MonkeyPatch, forgotten: str
) -> None:
    """Such a cell trains all the same, only badly; nothing else says why."""
    right = catalog.load("cell", "minimal")

    def push(factors: Any, dx: Any, du: Any, tangent: Any) -> Any:
        return (factors[2] * tangent[0] + factors[1] * (dx[1] + du[1]),)

    def pull(factors: Any, gradient: Any) -> Any:
        da, _, direct = right.pull(factors, gradient)
        return (da[0] * 0, da[1]), (da[0] * 0, da[1]), direct

    def factors(gates: Any, state: Any, new: Any) -> Any:
        f, n = gates
        return state[0] * sigmoid_slope(f), complement(f) * tanh_slope(n), f

    wrong = {"push": push, "pull": pull, "factors": factors, "keep_gate": 1}[forgotten]
    monkeypatch.setattr(
        sys.modules["minimal_unit"], "MINIMAL", replace(right, **{forgotten: wrong})
    )
    found, warnings = _selftested(rnnctl)
    (warning,) = warnings  # of the cell alone, and not of this installation
    assert "the cell minimal" in warning and "installation" not in warning
    assert not all(ok for name, ok in found.items() if name.startswith("minimal"))
    assert all(ok for name, ok in found.items() if not name.startswith("minimal"))


@pytest.mark.parametrize("streams", [1, 5])
def test_it_generates_as_it_reads(streams: int) -> None:
    made = model().eval()
    ids = torch.randint(11, (6, streams))
    stepper = Stepper(made, made.recurrent.initial_state(streams))
    steps = [stepper.step(row.numpy()) for row in ids]
    with torch.no_grad():
        whole = made.logits(made.features(ids)[0]).numpy()
    np.testing.assert_allclose(np.stack(steps), whole, atol=1e-5)


def test_it_classifies_and_can_be_looked_into() -> None:
    torch.manual_seed(1)
    made = Classifier(
        num_classes=3, vocab_size=11, embedding_size=6, hidden_size=9, num_layers=1, cell="minimal"
    ).eval()
    ids, lengths = torch.randint(11, (8, 4)), torch.tensor([8, 3, 1, 5])
    with torch.no_grad():
        together = made(ids, lengths)
        alone = torch.cat(
            [made(ids[:n, k : k + 1], lengths[k : k + 1]) for k, n in enumerate(lengths)]
        )
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-6)
    trace = made.double().recurrent.trace(made.embed(ids))
    assert trace.layers[0].values["forget"].shape == (8, 4, 9)


def test_the_catalog_says_where_it_comes_from() -> None:
    assert catalog.names("cell") == [*catalog.CELLS, "minimal"]
    assert catalog.summary("cell", "minimal") == "Added by minimal-unit."


def test_what_it_says_of_itself_follows_from_its_equations() -> None:
    cell = catalog.load("cell", "minimal")
    assert cell.shown_gates == ("forget",)
    assert cell.parameters(7, 5, 2) == sum(
        weight.numel() for weight in _layers(7, 5, 2).parameters()
    )
    assert cell.macs_per_token(7, 5) == 2 * 5 * (7 + 5)
    written = cell.written({"forget": torch.tensor([0.25])})
    torch.testing.assert_close(written, torch.tensor([0.75]))


def _layers(width: int, hidden: int, layers: int) -> torch.nn.Module:
    return LanguageModel(
        vocab_size=3, embedding_size=width, hidden_size=hidden, num_layers=layers, cell="minimal"
    ).recurrent


@pytest.fixture
def text(tmp_path: Path) -> Path:
    """Short paragraphs, some words of which come again."""
    file = tmp_path / "text.txt"
    lines = [f"{who} has a {what} and the {what} is {how}. " * 8 for who, what, how in _WORDS]
    file.write_text("\n\n".join(lines * 4))
    return file


_WORDS = [
    (who, what, how)
    for who in ("Anna", "Otto", "Ida")
    for what, how in (("cat", "black"), ("house", "old"), ("song", "long"))
]


def _train(rnnctl: Any, text: Path, cell: str, steps: int, *more: str) -> Path:
    run = text.with_name(cell)
    outcome = rnnctl(
        "train", text, "--documents", "paragraph", "--cell", cell, "--hidden-size", "16",
        "--embedding-size", "8", "--steps", steps, "--bptt", "16", "--run", run, "--no-diagnose",
        *more,
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    return run


def test_every_command_works_with_it(rnnctl: Any, text: Path) -> None:
    run = _train(rnnctl, text, "minimal", 8)
    more = rnnctl("train", "--resume", run, "--steps", "16", "--no-diagnose")
    assert more.code == 0, more.err
    written = rnnctl("generate", run, "--length", "20", "--seed", "1")
    assert written.code == 0 and len(written.out) > 10, written.err
    scored = rnnctl("score", run, "--format", "json", stdin="Anna has a cat")
    assert scored.code == 0 and '"bits_per_byte"' in scored.out, scored.err
    diagnosed = rnnctl("diagnose", run, "--preset", "quick", "--format", "json")
    assert diagnosed.code == 0, diagnosed.err
    gates = json.loads(diagnosed.out)["gates"]
    assert gates["status"] == "ok"
    assert [gate["gate"] for gate in gates["gates"]] == ["forget"]
    shown = rnnctl("diagnose", run, "--show", "Anna has a cat.")
    assert "(MINIMAL)" in shown.out and "  forget" in shown.out
    lstm = _train(rnnctl, text, "lstm", 16)
    compared = rnnctl(
        "compare", run, lstm, "--measure", "--html", text.with_name("page.html"),
        "--format", "json",
    )  # fmt: skip
    assert compared.code == 0, compared.err
    rows = {row["name"]: row for row in json.loads(compared.out)["rows"]}
    assert rows["minimal good"]["macs_per_token"] == 2 * 16 * (8 + 16)
    assert rows["minimal good"]["numbers"]["train_tokens_per_s"]["estimate"] > 0
    assert "MINIMAL" in text.with_name("page.html").read_text(encoding="utf-8")


def test_a_comparison_does_not_advise_to_train_where_its_package_fails(
    rnnctl: Any, text: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--resume` was the advice, and fails for the same reason."""
    runs = [_train(rnnctl, text, "minimal", 2), _train(rnnctl, text, "lstm", 2)]
    monkeypatch.delitem(sys.modules, "minimal_unit")
    broken = text.with_name("broken")
    broken.mkdir()
    (broken / "minimal_unit.py").write_text("this is no Python")
    monkeypatch.syspath_prepend(str(broken))
    compared = rnnctl("compare", *runs, "--format", "json")
    assert compared.code == 0, compared.err
    (failure,) = json.loads(compared.out)["failures"]
    assert "SyntaxError" in failure["reason"] and "correct minimal_unit" in failure["reason"]
    assert failure["command"] == ""
    alone = rnnctl("compare", runs[0])
    assert alone.code == 1 and "nothing to compare" in alone.err and "resume" not in alone.err
    assert "``" not in alone.err


def test_a_comparison_plans_it_at_a_matched_size(rnnctl: Any) -> None:
    planned = rnnctl("compare", "--cells", "lstm,minimal", "--seeds", "1", "--dry-run")
    assert planned.code == 0, planned.err
    assert "--cell minimal" in planned.out


@pytest.mark.slow
def test_a_comparison_trains_it(rnnctl: Any, text: Path) -> None:
    """In processes of its own, which find the other package by themselves."""
    outcome = rnnctl(
        "compare", text, "--cells", "lstm,minimal", "--inits", "good", "--steps", "5", "--seeds",
        "1", "--no-recall", "--hidden-size", "16", "--run-root", text.with_name("root"),
        "--format", "json",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    result = json.loads(outcome.out)
    assert not result["failures"]
    assert [row["name"] for row in result["rows"]][:2] == ["lstm good", "minimal good"]


def test_facts_about_cells_need_no_torch() -> None:
    """So that a comparison of finished runs starts fast."""
    code = (
        "import sys; from rnnctl.nn.cells import find_cell; "
        "print(find_cell('gru').macs_per_token(64, 128), 'torch' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == [str(3 * 128 * (64 + 128)), "False"]


def test_a_name_that_is_no_cell_gets_the_nearest(rnnctl: Any) -> None:
    outcome = rnnctl("train", "--cell", "minimul")
    assert outcome.code == 2
    assert "--cell minimul must be one of" in outcome.err
    assert "did you mean `minimal`?" in outcome.err
