"""Run directories with weights set by hand, whose memory follows on paper.

Each model here is written to the disk through the project's own saving functions, with a held-out
text in documents of unequal lengths, so that a check goes the whole way that a user's run goes:
tokenizer, loading, sampling of documents, measurement, summary. A check on token arrays of equal
length can pass while that way is wrong.

The plain RNNs are linear: their states are kept so small (`SMALL`) that tanh(x) = x up to a
relative error of 1e-5, and the output layer multiplies them back.

Axes: H hidden, E embedding, V vocabulary, T time, L layers.
"""

from __future__ import annotations

import json
import math
import shlex
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from rnnctl.config import CorpusConfig, ModelConfig, RunConfig, TokenizerConfig
from rnnctl.data.documents import Document
from rnnctl.data.tokenizers import train_tokenizer
from rnnctl.data.tokenizers.base import to_bytes
from rnnctl.diagnostics import reach
from rnnctl.diagnostics import scorer as outside
from rnnctl.diagnostics.known_answers import Check, close, holds
from rnnctl.diagnostics.material import Material, heldout
from rnnctl.diagnostics.scorer import MEASURED
from rnnctl.diagnostics.settings import Settings
from rnnctl.diagnostics.subject import LanguageModelSubject
from rnnctl.nn.models import LanguageModel
from rnnctl.results.base import Estimate
from rnnctl.results.diagnostics import DiagnosticsResult, Measurement
from rnnctl.runs import Run
from rnnctl.runs.heldout import HELDOUT_NAME, pack
from rnnctl.tasks.loading import CORPUS_NAME, build_model, load

Weights = dict[str, Tensor]
WORDS = tuple(f"w{k:02d}" for k in range(16))
"""The words of every text; word k has the binary code of k (`codes`)."""
STOP = "."
SMALL = 1e-3
OPEN, SHUT = 40.0, -40.0
"""Pre-activations of a gate that is open, or shut, up to 4e-18."""
DOCUMENTS = 40
SHORTEST, LONGEST = 60, 260  # words per document
COPIED = 0.9
"""Share of the words of a copying source that repeat the word `lag` words back."""


@dataclass(frozen=True)
class HandMade:
    """A model to be written as a run: settings, held-out documents, and how its weights are set.

    `set_weights` changes the tensors of a state dict (all zero before) in place; `number` gives the
    token id of each word.
    """

    cell: str
    hidden: int
    documents: Sequence[Document]
    set_weights: Callable[[Weights, Mapping[str, int]], None]
    embedding: int | None = None
    layers: int = 1
    labels: tuple[str, ...] = ()
    pool: str = "last"
    items: Mapping[str, Any] | None = field(default=None)

    def write(self, path: Path) -> Path:
        """Make the run directory `path`, and `items.json` beside it where there are items."""
        config = RunConfig(
            corpus=CorpusConfig(sources=("-",), documents="line"),
            tokenizer=TokenizerConfig(level="word", min_count=1),
            model=ModelConfig(
                task="classify" if self.labels else "lm",
                cell=self.cell,
                hidden_size=self.hidden,
                embedding_size=self.embedding or self.hidden,
                num_layers=self.layers,
                pool=self.pool,
            ),
        )
        # One tokenizer for all runs, so that a word has the same number in each of them.
        every_word = "".join(f" {word}" for word in (*WORDS, STOP, CUE, *TELLING))
        tokenizer = train_tokenizer([every_word], config.tokenizer)
        model = build_model(
            config.model, vocab_size=tokenizer.vocab_size, num_classes=len(self.labels)
        )
        weights = {name: torch.zeros_like(value) for name, value in model.state_dict().items()}
        number = {tokenizer.token_bytes(k).decode().strip(): k for k in range(tokenizer.vocab_size)}
        self.set_weights(weights, number)
        facts = {"fingerprint": "", "running": False, "labels": list(self.labels)}
        files = {
            "tokenizer.json": to_bytes(tokenizer.to_dict()),
            CORPUS_NAME: json.dumps(facts).encode(),
            "model.safetensors": safetensors.torch.save(weights),
            HELDOUT_NAME: pack([("valid", False, self.documents)]),
        }
        Run.create(path, config, files=files)
        if self.items is not None:
            self.items_path(path).write_text(json.dumps(self.items), encoding="utf-8")
        return path

    def items_path(self, path: Path) -> Path:
        """Where the evidence for a run at `path` stands."""
        return path.with_name(path.name + "-items.json")


# -- texts ---------------------------------------------------------------------------------------


def as_document(words: Sequence[str], label: str | None = None) -> Document:
    """Words as a document; the leading space makes its first word the same token as elsewhere."""
    return Document("".join(f" {word}" for word in words), label)


def random_documents(*, sentence: int | None = None) -> list[Document]:
    """Independent words in documents of 60 to 260; a full stop after each `sentence` words."""
    draw = np.random.default_rng((0, 100))
    found = []
    for length in draw.integers(SHORTEST, LONGEST + 1, DOCUMENTS):
        words = [WORDS[k] for k in draw.integers(len(WORDS), size=length)]
        if sentence is not None:  # the first sentence is cut, so that stops stand anywhere
            phase = int(draw.integers(sentence))
            words = [
                STOP if (k + phase) % (sentence + 1) == sentence else word
                for k, word in enumerate(words)
            ]
        found.append(as_document(words))
    return found


def copying_documents(lag: int) -> list[Document]:
    """Documents whose words repeat the word `lag` words back, nine times in ten."""
    draw = np.random.default_rng((0, 101))
    found = []
    for length in draw.integers(max(SHORTEST, 2 * lag), LONGEST + 1, DOCUMENTS):
        ids = draw.integers(len(WORDS), size=length)
        for k in range(lag, length):
            if draw.random() < COPIED:
                ids[k] = ids[k - lag]
        found.append(as_document([WORDS[k] for k in ids]))
    return found


CUE = "again"
LATCH_LENGTHS = (60, 140)


def latch_documents() -> list[Document]:
    """A first word, two others and a stop; sentences; two words, a cue and the first word again.

    60 to 140 tokens in all. The first word is one of w00 to w07, those between are w08 to w15.
    """
    # First words and those between are of two kinds, so that no word but the first gives it away.
    draw = np.random.default_rng((0, 102))
    half = len(WORDS) // 2
    found = []
    for length in draw.integers(LATCH_LENGTHS[0], LATCH_LENGTHS[1] + 1, 60):
        first = WORDS[int(draw.integers(half))]
        middle = [WORDS[half + k] for k in draw.integers(half, size=length - 3)]
        for stop in (2, *range(12, len(middle) - 8, 10), len(middle) - 3):
            middle[stop] = STOP
        found.append(as_document([first, *middle, CUE, first]))
    return found


TELLING = ("good", "bad")
LABELS = ("neg", "pos")
AFTER = 3
"""Words after the telling one in a sentence of evidence."""


def told_documents() -> list[Document]:
    """Documents of sentences of 9 words and a stop, one in five of which tells the label."""
    draw = np.random.default_rng((0, 103))
    found = []
    for k in range(DOCUMENTS):
        sentences = int(draw.integers(SHORTEST // 10, LONGEST // 10))
        words: list[str] = []
        for _ in range(sentences):
            said = [WORDS[int(w)] for w in draw.integers(len(WORDS), size=9)]
            if draw.random() < 0.2:
                said[int(draw.integers(9))] = TELLING[1 - k % 2]
            words += [*said, STOP]
        found.append(as_document(words, LABELS[k % 2]))
    return found


def told_items() -> dict[str, Any]:
    """Pairs of sentences: two words, a telling one, and `AFTER` more, the last one a stop."""
    draw = np.random.default_rng(104)
    pairs = []
    for _ in range(16):
        before = " ".join(WORDS[int(k)] for k in draw.integers(len(WORDS), size=2))
        after = " ".join(WORDS[int(k)] for k in draw.integers(len(WORDS), size=AFTER - 1))
        pairs.append([f" {before} {telling} {after} {STOP}" for telling in TELLING])
    return {"labels": [LABELS[1], LABELS[0]], "pairs": pairs}


# -- weights -------------------------------------------------------------------------------------


def codes() -> Tensor:
    """(16, 4) binary codes of the words, ±1."""
    bits = (torch.arange(len(WORDS))[:, None] >> torch.arange(4)) & 1
    return 2.0 * bits - 1


def ids_of(number: Mapping[str, int]) -> Tensor:
    """(16,) token ids of the words."""
    return torch.tensor([number[word] for word in WORDS])


def _gate(weights: Weights, name: str, gate: int) -> Tensor:
    """The rows of one gate in a tensor of layer 0, as a view."""
    hidden = weights["recurrent.weight_hh_l0"].shape[1]
    return weights[f"recurrent.{name}_l0"][gate * hidden : (gate + 1) * hidden]


def _identities(weights: Weights, number: Mapping[str, int], *, gain: float) -> None:
    """Word k goes into unit k with size `SMALL`; unit k gives word k `gain`/`SMALL` of itself."""
    ids, eye = ids_of(number), torch.eye(len(WORDS))
    weights["embedding.weight"][ids, : len(WORDS)] = SMALL * eye
    weights["decoder.weight"][ids, : len(WORDS)] = gain / SMALL * eye


def leaky_rnn(rate: float) -> HandMade:
    """h' = λ h + x: everything decays as λ^k."""

    def set_weights(weights: Weights, number: Mapping[str, int]) -> None:
        _identities(weights, number, gain=0.3)
        weights["recurrent.weight_ih_l0"][:] = torch.eye(16)
        weights["recurrent.weight_hh_l0"][:] = rate * torch.eye(16)

    return HandMade("rnn", 16, random_documents(), set_weights)


def fixed_gates_lstm(keeps: Sequence[float], *, output: float = OPEN) -> HandMade:
    """c' = f c + x with constant f per unit, h = o tanh(c)."""

    def set_weights(weights: Weights, number: Mapping[str, int]) -> None:
        _identities(weights, number, gain=0.3)
        _gate(weights, "weight_ih", 2)[:] = torch.eye(16)  # order: input, forget, candidate, output
        _gate(weights, "bias_ih", 0)[:] = OPEN
        _gate(weights, "bias_ih", 1)[:] = torch.logit(torch.tensor(keeps, dtype=torch.float64))
        _gate(weights, "bias_ih", 3)[:] = output

    return HandMade("lstm", 16, random_documents(), set_weights)


def fixed_gates_gru(keep: float) -> HandMade:
    """h' = z h + (1 − z) x with constant z."""

    def set_weights(weights: Weights, number: Mapping[str, int]) -> None:
        _identities(weights, number, gain=0.3 / (1 - keep))
        _gate(weights, "weight_ih", 2)[:] = torch.eye(16)  # order: reset, keep, candidate
        _gate(weights, "bias_ih", 1)[:] = math.log(keep / (1 - keep))

    return HandMade("gru", 16, random_documents(), set_weights)


def constant() -> HandMade:
    """All weights zero: every word is equally likely whatever was read."""
    return HandMade("lstm", 16, random_documents(), lambda weights, number: None)


RESET_SENTENCE = 10


def reset_at_stop(strength: float) -> HandMade:
    """An LSTM that keeps everything, and whose forget gate is σ(−strength) at a full stop."""

    def set_weights(weights: Weights, number: Mapping[str, int]) -> None:
        _identities(weights, number, gain=0.3)
        weights["embedding.weight"][number[STOP], 16] = 1.0
        _gate(weights, "weight_ih", 2)[:, :16] = torch.eye(16)
        _gate(weights, "weight_ih", 1)[:, 16] = -strength - OPEN
        _gate(weights, "bias_ih", 0)[:] = OPEN
        _gate(weights, "bias_ih", 1)[:] = OPEN
        _gate(weights, "bias_ih", 3)[:] = OPEN

    documents = random_documents(sentence=RESET_SENTENCE)
    return HandMade("lstm", 16, documents, set_weights, embedding=17)


def delay_line(words: int, read: Sequence[float] = ()) -> HandMade:
    """A state that holds the last `words` words, four units each, and nothing else.

    The next word is expected to be the oldest of them; with `read` (words,) the weights of all of
    them in that expectation, the most recent first. The text repeats its words at that distance.
    """
    hidden, gain = 4 * words, 1.2
    shares = tuple(read) or (0.0,) * (words - 1) + (1.0,)

    def set_weights(weights: Weights, number: Mapping[str, int]) -> None:
        ids = ids_of(number)
        weights["embedding.weight"][ids] = SMALL * codes()
        weights["recurrent.weight_ih_l0"][:4] = torch.eye(4)
        weights["recurrent.weight_hh_l0"][4:, :-4] = torch.eye(hidden - 4)
        for k, share in enumerate(shares):
            columns = slice(4 * k, 4 * k + 4)
            weights["decoder.weight"][ids, columns] = gain * share / SMALL * codes()
        weights["decoder.bias"][:] = SHUT  # of everything that is no word of the text
        weights["decoder.bias"][ids] = 0.0

    return HandMade("rnn", hidden, copying_documents(words), set_weights, embedding=4)


def orthogonal_rnn() -> HandMade:
    """h' = Q h + x with a random orthogonal Q: no direction ever fades or grows."""

    def set_weights(weights: Weights, number: Mapping[str, int]) -> None:
        _identities(weights, number, gain=0.3)
        draw = np.random.default_rng(105).standard_normal((16, 16))
        weights["recurrent.weight_ih_l0"][:] = torch.eye(16)
        weights["recurrent.weight_hh_l0"][:] = torch.from_numpy(np.linalg.qr(draw)[0]).float()

    return HandMade("rnn", 16, random_documents(), set_weights)


def two_leaky_layers(lower: float, upper: float) -> HandMade:
    """h₁' = λ₁ h₁ + x, h₂' = λ₂ h₂ + h₁'."""

    def set_weights(weights: Weights, number: Mapping[str, int]) -> None:
        _identities(weights, number, gain=0.05)
        for layer, rate in enumerate((lower, upper)):
            weights[f"recurrent.weight_ih_l{layer}"][:] = torch.eye(16)
            weights[f"recurrent.weight_hh_l{layer}"][:] = rate * torch.eye(16)

    return HandMade("rnn", 16, random_documents(), set_weights, layers=2)


def latch() -> HandMade:
    """An LSTM that writes w00 to w07 into its cell for good and shows them at the cue only."""

    def set_weights(weights: Weights, number: Mapping[str, int]) -> None:
        ids = ids_of(number)
        first, middle = ids[:8], torch.tensor([*ids[8:].tolist(), number[STOP]])
        embedding = weights["embedding.weight"]
        embedding[first, :8] = 2.0 * torch.eye(8)
        embedding[first, 8] = 1.0
        embedding[number[CUE], 9] = 1.0
        _gate(weights, "weight_ih", 2)[:, :8] = torch.eye(8)
        _gate(weights, "bias_ih", 0)[:] = SHUT
        _gate(weights, "weight_ih", 0)[:, 8] = OPEN - SHUT
        _gate(weights, "bias_ih", 1)[:] = OPEN
        _gate(weights, "bias_ih", 3)[:] = SHUT
        _gate(weights, "weight_ih", 3)[:, 9] = OPEN - SHUT
        weights["decoder.weight"][first] = 20.0 * torch.eye(8)
        weights["decoder.weight"][middle] = -10.0
        weights["decoder.bias"][:] = -10.0
        weights["decoder.bias"][first] = -6.0
        weights["decoder.bias"][middle] = 0.0

    return HandMade("lstm", 8, latch_documents(), set_weights, embedding=10)


def counting_classifier(rate: float, pool: str = "last") -> HandMade:
    """One unit: h' = λ h ± x at a good or bad word, and a margin of 2 · h, or of its mean."""

    def set_weights(weights: Weights, number: Mapping[str, int]) -> None:
        weights["embedding.weight"][number["good"], 0] = SMALL
        weights["embedding.weight"][number["bad"], 0] = -SMALL
        weights["recurrent.weight_ih_l0"][0, 0] = 1.0
        weights["recurrent.weight_hh_l0"][0, 0] = rate
        gain = 1.0 if pool == "last" else 20.0
        weights["output.weight"][:, 0] = torch.tensor([-gain, gain]) / SMALL

    return HandMade(
        "rnn", 1, told_documents(), set_weights, labels=LABELS, pool=pool, items=told_items()
    )


# -- what follows on paper, and what is measured -------------------------------------------------

Diagnose = Callable[[Path, Sequence[str], Path | None], DiagnosticsResult]
NUMERICAL = 1e-3
"""Relative error that tanh(x) = x, rates in float32 and interpolation may make."""
RATE, GATE, KEEP = 0.97, 0.9, 0.95


def half_life(rate: float) -> float:
    """Steps in which rate^k falls to ½."""
    return math.log(2) / -math.log(rate)


def measured(made: HandMade, diagnose: Diagnose, *names: str) -> DiagnosticsResult:
    """Write the run, diagnose it, remove it."""
    with tempfile.TemporaryDirectory() as folder:
        path = made.write(Path(folder) / "run")
        return diagnose(path, names, made.items_path(path) if made.items is not None else None)


def covers(name: str, truth: float, found: Estimate | None, rounding: float = NUMERICAL) -> Check:
    """The printed interval holds the truth, up to `rounding` (relative)."""
    if found is None or found.estimate is None:
        said = "not measured" if found is None else f"{found.status}"
        return holds(name, f"{truth:.4g}", said, False)
    low, high = (found.estimate if end is None else end for end in found.ci95)
    # Weights are float32 and tanh is not quite linear: the truth on paper is not quite the model's.
    slack = rounding * max(abs(truth), rounding)
    shown = f"{found.estimate:.4g} [{low:.4g}, {high:.4g}]"
    inside = low - slack <= truth <= high + slack
    return holds(name, f"{truth:.4g}", shown, inside, "its interval")


def status_is(name: str, wanted: str, found: Measurement | Estimate | None) -> Check:
    """A measurement or a scalar says, by its status, that there is no number and why."""
    status = "not measured" if found is None else found.status
    return holds(name, wanted, status, status == wanted)


def warns(name: str, code: str, found: DiagnosticsResult) -> Check:
    """A diagnosis warns of something."""
    warned = code in {warning.code for warning in found.warnings}
    return holds(name, code, code if warned else "none", warned)


def scalar(record: Measurement | None, name: str) -> Estimate | None:
    """A scalar of a record, if there are both."""
    return None if record is None else record.scalars.get(name)


def leading_exponent(result: DiagnosticsResult) -> Estimate | None:
    """λ₁ of a diagnosis."""
    spectrum = None if result.reach is None else result.reach.lyapunov
    return None if spectrum is None else spectrum.leading


def slow_directions(result: DiagnosticsResult) -> str:
    """How the number of slow directions is written."""
    spectrum = None if result.reach is None else result.reach.lyapunov
    return "not measured" if spectrum is None else spectrum.n_slow_text


def check_leaky_rnn(diagnose: Diagnose) -> Iterator[Check]:
    """RD01: a leaky RNN with λ = .97 halves everything in 22.8 tokens."""
    found = measured(leaky_rnn(RATE), diagnose, "effect", "reach")
    yield covers("EFFECT, half-distance", half_life(RATE), scalar(found.effect, "half_distance"))
    yield covers("REACH, half-life", half_life(RATE), scalar(found.reach, "half_life"))
    yield covers("REACH, tail τ", -1 / math.log(RATE), scalar(found.reach, "tail_tau"))
    yield covers("leading exponent", math.log(RATE), leading_exponent(found))
    yield holds("slow directions", "0", slow_directions(found), slow_directions(found) == "0")


def check_fixed_gates(diagnose: Diagnose) -> Iterator[Check]:
    """RD02: LSTM with f = .9, GRU with z = .95: τ 9.49 and 19.5, half-lives 6.58 and 13.5."""
    for name, made, rate in (
        ("LSTM", fixed_gates_lstm([GATE] * 16), GATE),
        ("GRU", fixed_gates_gru(KEEP), KEEP),
    ):
        found = measured(made, diagnose, "effect", "reach", "gates")
        effect, reach = found.effect, found.reach
        yield covers(f"{name}: EFFECT", half_life(rate), scalar(effect, "half_distance"))
        yield covers(f"{name}: REACH", half_life(rate), scalar(reach, "half_life"))
        # half-life and the 1 % mark are counted from the same lag
        one_percent = math.log(0.01) / math.log(rate)
        yield covers(f"{name}: REACH, 1 %", one_percent, scalar(reach, "reach_1pct"))
        yield covers(f"{name}: GATES, τ", -1 / math.log(rate), scalar(found.gates, "tau_p50"))


def check_half_and_half(diagnose: Diagnose) -> Iterator[Check]:
    """RD03: half of the units with f = .999, half with .1: τ of one unit, and two groups."""
    slow, fast = 0.999, 0.1
    found = measured(fixed_gates_lstm([slow] * 8 + [fast] * 8), diagnose, "reach", "gates")
    taus = [-1 / math.log(rate) for rate in (fast, slow)]
    yield covers("median τ", taus[0], scalar(found.gates, "tau_p50"))
    yield covers("τ of the slowest tenth", taus[1], scalar(found.gates, "tau_p90"))
    modes = () if found.gates is None else found.gates.modes
    told = [(mode.share, mode.tau or math.inf) for mode in modes]
    wanted = [(0.5, tau) for tau in taus]
    same = len(told) == 2 and bool(np.allclose(told, wanted, rtol=NUMERICAL))
    shown = "; ".join(f"{share:.0%} near {tau:.3g}" for share, tau in told) or "one group"
    yield holds("groups of units", "50% near 0.434; 50% near 1e+03", shown, same)
    yield status_is("REACH, half-life", "censored", scalar(found.reach, "half_life"))
    yield covers("leading exponent", math.log(slow), leading_exponent(found))
    yield holds("slow directions", "8", slow_directions(found), slow_directions(found) == "8")


def check_constant(diagnose: Diagnose) -> Iterator[Check]:
    """RD04: a model that says the same whatever it reads has no memory of any kind."""
    found = measured(constant(), diagnose, "use", "effect", "hold", "reach")
    yield status_is("EFFECT", "undefined", found.effect)
    yield status_is("HOLD", "undefined", found.hold)
    yield status_is("REACH", "undefined", found.reach)
    yield from _no_horizon(found)


def check_resets(diagnose: Diagnose) -> Iterator[Check]:
    """RD05: an LSTM reset at every full stop, by σ(−40) or σ(−10): the median window, the resets.

    A window ends anywhere in a sentence of ten words and a stop, so that what separates its end
    from the last stop is 0 to 10 words with equal chance, 5 in the median.
    """
    for strength in (40.0, 10.0):
        found = measured(reset_at_stop(strength), diagnose, "reach", "gates")
        name = f"σ(−{strength:.0f})"
        median = scalar(found.reach, "half_life_median")
        low, high = (math.nan, math.nan) if median is None else median.ci95
        value = None if median is None else median.estimate
        fits = value is not None and (low or 0.0) <= 5 and (high or 0.0) >= 4
        shown = "not measured" if value is None else f"{value:.3g} [{low:.3g}, {high:.3g}]"
        yield holds(f"{name}: half-life of the median window", "4 to 5", shown, fits)
        share = scalar(found.reach, "reset_share")
        yield covers(f"{name}: windows that a reset ended", 1.0, share)
        yield covers(f"{name}: tokens between resets", 11.0, scalar(found.gates, "reset_interval"))
        yield warns(f"{name}: warning", "RESETS", found)


def check_classifiers(diagnose: Diagnose) -> Iterator[Check]:
    """RD06: a mean pool and an integrator weigh all places alike; a leaky state as .97^d.

    The mean over the states of an integrator counts a word once for each state after it: so d
    tokens before the end (d + a) / a times what it counts at the end, with a = 1 + AFTER + 1 states
    (its own, those of the words after it in the sentence, and the one where the text ends).
    """
    for name, made in (
        ("mean pool", counting_classifier(0.0, "mean")),
        ("integrator", counting_classifier(1.0)),
    ):
        found = measured(made, diagnose, "effect")
        yield covers(f"{name}: R at 100 words", 1.0, scalar(found.effect, "retention_100"))
        half = scalar(found.effect, "half_distance")
        yield status_is(f"{name}: half-distance", "censored", half)
    leaky = measured(counting_classifier(RATE), diagnose, "effect", "reach")
    yield covers("leaky: EFFECT", half_life(RATE), scalar(leaky.effect, "half_distance"))
    yield covers("leaky: REACH", half_life(RATE), scalar(leaky.reach, "half_life"))
    rising = measured(counting_classifier(1.0, "mean"), diagnose, "effect")
    states = 1 + AFTER + 1
    for distance in (10, 30, 100):
        truth = (distance + states) / states
        found_at = scalar(rising.effect, f"retention_{distance}")
        yield covers(f"mean of an integrator: R at {distance} words", truth, found_at)
    yield warns("mean of an integrator: warning", "RISES", rising)


def check_shut_output(diagnose: Diagnose) -> Iterator[Check]:
    """RD07: behind a shut output gate the cell leaks as .97^d, and nothing of it is ever said."""
    found = measured(fixed_gates_lstm([RATE] * 16, output=SHUT), diagnose, "use", "effect", "gates")
    yield status_is("EFFECT", "undefined", found.effect)
    yield status_is("EFFECT, half-distance", "undefined", scalar(found.effect, "half_distance"))
    yield from _no_horizon(found)
    yield covers("GATES, τ", -1 / math.log(RATE), scalar(found.gates, "tau_p50"))


def _no_horizon(found: DiagnosticsResult) -> Iterator[Check]:
    horizon = scalar(found.use, "n_eff_foreign")
    none = horizon is not None and horizon.status != "censored" and not horizon.estimate
    shown = "none" if none else "not measured" if horizon is None else f"{horizon.estimate}"
    yield holds("USE, horizon", "none", shown, none)


DELAYS = (17, 19, 22, 44)


def check_delay_lines(diagnose: Diagnose) -> Iterator[Check]:
    """RD08: delay lines of 17, 19, 22 and 44 words hold 4 bits for just so long.

    The gradient of the loss is as large D − 1 steps back as one step back, and 0 one step further.
    """
    for delay in DELAYS:
        found = measured(delay_line(delay), diagnose, "hold", "reach")
        name = f"{delay} words"
        half = scalar(found.hold, "hold_half")
        yield _within(f"{name}: half of the bits", delay - 1, delay, half)
        yield covers(f"{name}: bits at once", 4.0, scalar(found.hold, "bits_0"), rounding=0.02)
        yield _within(f"{name}: gradient", delay - 2, delay - 1, scalar(found.reach, "half_life"))
        exploding = found.reach is None or found.reach.status == "exploding"
        yield holds(f"{name}: exploding", "no", "yes" if exploding else "no", not exploding)
        yield status_is(f"{name}: tail τ", "undefined", scalar(found.reach, "tail_tau"))


def check_windows(diagnose: Diagnose) -> Iterator[Check]:
    """RD09: a window of five words needs five; a delay of 44 needs 44, and nothing beyond 50."""
    for width, made in ((5, delay_line(5, (0.1, 0.15, 0.2, 0.25, 0.6))), (44, delay_line(44))):
        found = measured(made, diagnose, "use")
        for start in ("foreign", "zero"):
            horizon = scalar(found.use, f"n_eff_{start}")
            yield covers(f"{width} words: horizon, {start} start", width, horizon)
        gain = scalar(found.use, "early_gain_50")
        yield covers(f"{width} words: gain from beyond 50 words", 0.0, gain)


def check_latch(diagnose: Diagnose) -> Iterator[Check]:
    """RD12: a latch whose last word is its first: the horizon is the document, FIRST→LAST 3.26.

    The cell holds tanh(2) and shows tanh(tanh(2)), 20 times which is what the last word costs more
    after another first word: in seven documents of eight, on one of the four tokens of the last
    sentence.
    """
    found = measured(latch(), diagnose, "use", "first_last")
    horizon = scalar(found.use, "n_eff_foreign")
    far = None if horizon is None else horizon.number_or_bound
    yield holds("USE, horizon", "over 60 words", f"{far}", (far or 0.0) > LATCH_LENGTHS[0])
    truth = 20 * math.tanh(math.tanh(2)) * 7 / 8 / 4
    yield covers("FIRST→LAST, nats a token", truth, scalar(found.first_last, "rise"))
    # the first word, the cue and the last word cost what they do once in each document
    shown, rest = math.tanh(math.tanh(2)), 5 * math.exp(-10)
    usual = math.log(9 + 8 * math.exp(-6) + rest)
    last = math.log1p(7 * math.exp(-20 * shown) + 9 * math.exp(6 - 30 * shown))
    lengths = [len(document.text.split()) for document in latch_documents()]
    total = sum((6 + usual) + (10 + usual) + (length - 3) * usual + last for length in lengths)
    yield covers("loss of the text", total / sum(lengths), scalar(found.use, "loss"))


def _within(name: str, low: float, high: float, found: Estimate | None) -> Check:
    """The estimate lies between two neighbouring lags, and its interval holds both of them."""
    if found is None or found.estimate is None or None in found.ci95:
        return holds(name, f"{low:g} to {high:g}", "not measured", False)
    ends = [end for end in found.ci95 if end is not None]
    shown = f"{found.estimate:.4g} [{ends[0]:.4g}, {ends[1]:.4g}]"
    inside = low <= found.estimate <= high
    tight = ends[0] >= low - 1 and ends[1] <= high + 1
    return holds(name, f"{low:g} to {high:g}", shown, inside and tight)


def check_orthogonal(diagnose: Diagnose) -> Iterator[Check]:
    """RD10: in an orthogonal network of 16 units nothing fades and nothing explodes."""
    found = measured(orthogonal_rnn(), diagnose, "use", "reach")
    yield from _no_horizon(found)  # the words are independent: no text is worth more than other
    status = "not measured" if found.reach is None else found.reach.status
    yield holds("REACH", "ok", status, status == "ok")
    yield status_is("half-life", "censored", scalar(found.reach, "half_life"))
    yield status_is("tail τ", "censored", scalar(found.reach, "tail_tau"))
    yield holds("slow directions", "16", slow_directions(found), slow_directions(found) == "16")
    leading = leading_exponent(found)
    size = math.nan if leading is None or leading.estimate is None else leading.estimate
    yield close("leading exponent", 0.0, size, 1e-4)


def check_two_layers(diagnose: Diagnose) -> Iterator[Check]:
    """RD11: two leaky layers, .8 below .95: the upper one's own decay, and the lower one's rise.

    Through the lower state a_k = .8 (a_{k−1} + .95^{k−1}), a_0 = 0: it first grows.
    """
    lower, upper = 0.8, 0.95
    found = measured(two_leaky_layers(lower, upper), diagnose, "reach")
    blocks = {} if found.reach is None else found.reach.blocks
    top = blocks["l1.h"].half_life if "l1.h" in blocks else None
    yield covers("upper layer, half-life", half_life(upper), top)
    through = [0.0]
    for k in range(128):
        through.append(lower * (through[-1] + upper**k))
    truth = reach.lag_where(np.log(np.array(through[1:]) / through[1]), 0.5) - 1
    bottom = blocks["l0.h"].half_life if "l0.h" in blocks else None
    yield covers("lower layer, half-life", truth, bottom, rounding=0.01)
    yield covers("leading exponent", math.log(upper), leading_exponent(found), rounding=0.01)


SHORT = (12, 24)
"""Words of a short document."""


def short_documents() -> list[Document]:
    """Independent words in documents of 12 to 24."""
    draw = np.random.default_rng((0, 106))
    return [
        as_document([WORDS[k] for k in draw.integers(len(WORDS), size=length)])
        for length in draw.integers(SHORT[0], SHORT[1] + 1, 300)
    ]


def check_short_documents(diagnose: Diagnose) -> Iterator[Check]:
    """RD14: a leaky RNN with λ = .9 halves in 6.58 tokens, in documents of 12 to 24 words too."""
    made = replace(leaky_rnn(GATE), documents=short_documents())
    found = measured(made, diagnose, "effect", "hold")
    yield covers("EFFECT, half-distance", half_life(GATE), scalar(found.effect, "half_distance"))
    near = sum(GATE**d for d in range(4, 9)) / 5
    there = scalar(found.effect, "retention_10")
    yield covers("EFFECT, R at 10 words", GATE**10 / near, there)
    yield status_is("HOLD", "ok", found.hold)


OUTSIDE = Settings(
    resamples=50, resets=24, n_max=16, exchanges=16, swaps=24, distance_words=24, reference=False,
    together=False,
)  # fmt: skip


def check_outside(diagnose: Diagnose) -> Iterator[Check]:
    """RD13: asked from outside, as any program is, a run has the curves that it has directly.

    Through ``rnnctl score RUN --answer`` in a process of its own (``rnnctl help scorer``).
    """
    with tempfile.TemporaryDirectory(prefix="rnnctl-") as folder:
        path = latch().write(Path(folder) / "run")
        loaded = load(path)
        text = heldout(loaded)
        assert isinstance(loaded.model, LanguageModel)
        # Compiled passes lose 6e-8 of a cell that keeps everything, step by step. A program that
        # is asked so little is answered by torch's own.
        loaded.model.recurrent.engine = "torch"
        subject = LanguageModelSubject(loaded.model, boundary_id=loaded.tokenizer.boundary_id)
        sample = Material(loaded, text, 0).sample
        inside = {name: look(subject, sample, OUTSIDE) for name, look in MEASURED.items()}
        command = f"{shlex.quote(sys.executable)} -m rnnctl score {shlex.quote(str(path))} --answer"
        with outside.Conversation(command) as talk:
            asked, pieces = outside.subject_of(talk, text)
            found = {name: look(asked, pieces, OUTSIDE) for name, look in MEASURED.items()}
            talk.finish()
    for name, record in inside.items():
        for curve, values in record.curves.items():
            known = [0.0 if y is None else y for y in values.y]
            told = found[name].curves.get(curve)
            again = [math.nan] if told is None else [0.0 if y is None else y for y in told.y]
            if len(again) != len(known):
                again = [math.nan] * len(known)
            yield close(f"{name}: {curve}", known, again, 1e-6)
