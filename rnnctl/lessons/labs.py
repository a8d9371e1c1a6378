"""The measurements of the five lessons. Each yields what it is doing and returns `Measured`.

Models are trained by `rnnctl.training`, and measured by `rnnctl.diagnostics`, `rnnctl.inference`
and `rnnctl.compare.speed`: nothing of theirs is done a second time here.
"""

from __future__ import annotations

import copy
import itertools
import json
import math
import re
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rnnctl.data.bench_tasks import COLOURS, THINGS
from rnnctl.data.sources import bundled
from rnnctl.diagnostics.material import Material, heldout
from rnnctl.diagnostics.reach import cut_windows, gradient_norms, lag_curve
from rnnctl.diagnostics.subject import ExactModel
from rnnctl.errors import DataError, DivergenceError, word
from rnnctl.lessons import Wish
from rnnctl.nn.cells import find_cell, held
from rnnctl.nn.models import LanguageModel
from rnnctl.reports.numbers import horizon, number, percent, sparkline
from rnnctl.results.base import Estimate
from rnnctl.statistics import wilson
from rnnctl.tasks.loading import Loaded, load
from rnnctl.tasks.recipes import resolve
from rnnctl.training import events
from rnnctl.training.train import Options, train

CELLS = ("rnn", "lstm", "gru")
LAG = 50  # of lesson 1's question
LAGS = (1, 2, 5, 10, 20, 50, 100)
KNOWS = 0.5  # of the way from chance to 1, as in the verdicts: a cell that still knows, lesson 2
SAME = 0.01  # nats per token: no change of a loss
STEPS = 100  # of the two trainings of lesson 1
ROUNDS, ROUND_S = 3, 0.4  # of measuring speed, at least; seconds of training in each
PARAGRAPHS = 6000  # that lesson 2 trains on
WINDOW = 200  # tokens that lesson 3 reads at a time

Settings = dict[str, dict[str, Any]]
Doing = Generator[str, None, "Measured"]


@dataclass
class Measured:
    """What a lab found; the fields of a `LessonResult` that are not the same for all lessons."""

    right: str
    answer: str
    shown: bool | None
    verdict: str
    picture: Sequence[str]
    caption: str
    text: str
    again: str
    look_for: str
    terms: Sequence[str]
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    numbers: dict[str, Estimate] = field(default_factory=dict)
    settings: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    runs: dict[str, str] = field(default_factory=dict)


@dataclass
class Trained:
    """A finished training: the run, and what its steps were."""

    loaded: Loaded
    steps: int
    norms: list[float]
    loss: float  # of the last steps


def _train(
    wish: Wish, name: str, said: str, settings: Mapping[str, Mapping[str, Any]]
) -> Generator[str, None, Trained]:
    """Train a run in the lesson's folder."""
    given = {section: dict(fields) for section, fields in settings.items()}
    course = given.setdefault("training", {})
    course.setdefault("seed", wish.seed)
    if wish.threads is not None:
        course["threads"] = wish.threads
    if "steps" not in course:
        course["budget_s"] = wish.budget_s
    length = f"{course['steps']} steps" if "steps" in course else f"{wish.budget_s:g} s"
    yield f"{said}: training for {length} …"
    norms: list[float] = []
    losses: list[float] = []
    steps = 0
    for event in train(resolve(given), wish.out / name, Options(overwrite=True, given=given)):
        if isinstance(event, events.Step):
            norms.append(event.gradient_norm)
            losses.append(event.loss_nats)
        elif isinstance(event, events.Finished):
            steps = event.result.steps
    last = losses[-max(1, len(losses) // 10) :]
    return Trained(load(wish.out / name), steps, norms, sum(last) / max(1, len(last)))


def _corpus(wish: Wish) -> dict[str, Any]:
    """The section of the settings that names the text."""
    return {"sources": (str(wish.text),)} if wish.text is not None else {}


def _characters(wish: Wish, **model: Any) -> Settings:
    """The settings of a language model of the text's characters, in one layer."""
    return {
        "model": {"embedding_size": 64, "num_layers": 1, **model},
        "corpus": _corpus(wish),
        "tokenizer": {"level": "char"},
    }


def _read(wish: Wish) -> str:
    return str(wish.text) if wish.text is not None else "the bundled paragraphs"


def _again(number: int, wish: Wish, option: str) -> str:
    text = f" --text {word(wish.text)}" if wish.text is not None else ""
    return f"rnnctl lesson {number} {option}{text}"


def _letter(*conditions: bool) -> str:
    """a for the first condition that holds, b for the second, …"""
    return "abcdefgh"[next(k for k, holds in enumerate((*conditions, True)) if holds)]


# -- 1: the gradient vanishes, and explodes --------------------------------------------------------


def vanishing(wish: Wish) -> Doing:
    """Gradients of one step's loss, of models before training; and clipping in a short training.

    Raises DataError where the text is too short.
    """
    scale = 3.0 if wish.scale is None else wish.scale
    small = _characters(wish, cell="rnn", hidden_size=128, nonlinearity="relu")
    small["training"] = {"steps": STEPS, "lr": 0.1, "bptt": 128, "evaluate_every": STEPS}
    rough = "RNN (relu) at a far too high learning rate"
    clipped = yield from _train(wish, "clipped", f"{rough}, clipped at 1", small)
    free: Trained | None = None
    try:
        loose = {**small, "training": {**small["training"], "clip": 1e9}}
        free = yield from _train(wish, "unclipped", f"{rough}, not clipped", loose)
    except DivergenceError:
        pass
    material = Material(clipped.loaded, heldout(clipped.loaded), wish.seed)
    windows = cut_windows(material.sample, lags=max(LAGS), count=32, seed=wish.seed)
    if windows is None:
        raise DataError("the text is too short for lesson 1", hint="it needs 10,000 characters")
    models = [
        ("RNN, PyTorch's weights", "rnn", "torch", 1.0),
        ("RNN, orthogonal", "rnn", "good", 1.0),
        (f"RNN, orthogonal × {scale:g}", "rnn", "good", scale),
        ("LSTM, PyTorch's weights", "lstm", "torch", 1.0),
        ("LSTM, gates open", "lstm", "good", 1.0),
        ("GRU, gates open", "gru", "good", 1.0),
    ]
    curves: dict[str, np.ndarray[Any, Any]] = {}
    for name, cell, init, factor in models:
        yield f"{name}: gradients …"
        curves[name] = _gradients(clipped.loaded, cell, init, factor, windows, wish.seed)
    at = {name: float(curve[LAG - 1]) for name, curve in curves.items()}
    plain, lstm = at["RNN, PyTorch's weights"], at["LSTM, gates open"]
    rows = [(name, *(_power(float(curve[k - 1])) for k in LAGS)) for name, curve in curves.items()]
    return Measured(
        right=_letter(plain > 0.1, plain > 1e-6),
        answer=f"In the plain RNN {_power(plain)} of the gradient is left {LAG} steps back, in the "
        f"LSTM with open gates {_power(lstm)}, and in an RNN whose recurrent matrix is {scale:g} "
        f"times an orthogonal matrix {_power(at[models[2][0]])}.",
        shown=plain < 1e-3 and lstm > 10 * plain,
        verdict=f"with open gates the gradient of the LSTM is {_power(lstm / max(plain, 1e-300))} "
        "times that of the plain RNN; with PyTorch's own weights the LSTM's gradient vanishes "
        f"too, to {_power(at[models[3][0]])}",
        picture=_gradient_picture(curves),
        caption=f"Gradient {LAG} steps back, as a multiple of that one step back. Each < makes it "
        "up to 1000 times smaller, each > up to 1000 times larger.",
        columns=("steps back", *(str(k) for k in LAGS)),
        rows=rows,
        numbers={
            f"{name}, lag {LAG}": Estimate(estimate=value, unit="ratio")
            for name, value in at.items()
        },
        text=_read(wish),
        settings={"scale": f"{scale:g}"},
        notes=[_clipping(clipped, free)],
        again=_again(1, wish, "--scale 1.5" if scale != 1.5 else "--scale 2"),
        look_for="at which factor does the gradient of the plain RNN neither vanish nor explode?",
        terms=("REACH", "vanishing gradient", "clipping"),
        runs={name: str(wish.out / name) for name in ("clipped", "unclipped")},
    )


def _gradients(
    loaded: Loaded, cell: str, init: str, factor: float, windows: Any, seed: int
) -> np.ndarray[Any, Any]:
    """Γ(k), k = 1 …, of an untrained model: as REACH of `rnnctl diagnose`."""
    torch.manual_seed(seed)
    model = LanguageModel(
        vocab_size=loaded.tokenizer.vocab_size, embedding_size=64, cell=cell, hidden_size=128,
        num_layers=1, init=init,
    )  # fmt: skip
    with torch.no_grad():
        model.recurrent.weights("_l0").w_hh.mul_(factor)
    # A short text has shorter windows; its last lag then stands for all beyond it.
    lags = min(max(LAGS), len(windows.ids) - 1)
    norms = gradient_norms(ExactModel(model), windows, lags=lags)
    curve = np.exp(lag_curve(norms.blocks[norms.main][1:], norms.groups, 20, seed).estimate)
    return np.concatenate([curve, np.full(max(0, max(LAGS) - len(curve)), curve[-1])])


def _gradient_picture(curves: Mapping[str, np.ndarray[Any, Any]]) -> list[str]:
    """A line for each model at lag 50: marks to the left for smaller, to the right for larger."""
    width = max(map(len, curves))
    lines = []
    for name, curve in curves.items():
        thirds = math.log10(max(float(curve[LAG - 1]), 1e-300)) / 3
        left = min(8, math.ceil(-thirds)) if thirds < 0 else 0
        right = min(8, math.ceil(thirds)) if thirds > 0 else 0
        drawn = f"{'<' * left:>8}|{'>' * right:<8}"
        lines.append(f"{name:<{width}}  {drawn}  {_power(float(curve[LAG - 1]))} at lag {LAG}")
    return lines


def _power(value: float) -> str:
    """``0.25``, ``48``, ``5·10^-15``; 9.6e-5 is ``1·10^-4``."""
    if value == 0 or 1e-3 <= abs(value) < 1e4:
        return number(value, 2)
    digit, exponent = f"{value:.0e}".split("e")
    return f"{digit}·10^{int(exponent)}"


def _clipping(clipped: Trained, free: Trained | None) -> str:
    """What clipping did in two short trainings that differ in nothing else."""
    largest, median = max(clipped.norms), sorted(clipped.norms)[len(clipped.norms) // 2]
    said = (
        f"clipping: in a training of {STEPS} steps at a learning rate of 0.1 the gradient norm is "
        f"{number(median, 2)} in the median step and {_power(largest)} in the largest; with "
        f"--clip 1 the loss ends at {clipped.loss:.2f} nats, "
    )
    return said + (
        f"without clipping at {free.loss:.2f} nats (AdamW divides by the size of past gradients, "
        "so one huge gradient does less harm than in plain gradient descent)"
        if free is not None
        else "without clipping the training diverges"
    )


# -- 2: what the plain RNN forgets -----------------------------------------------------------------


def forgetting(wish: Wish) -> Doing:
    """Classifiers that must name a colour which the first sentence of a paragraph said."""
    most = 60 if wish.words is None else wish.words
    sentences = _sentences(wish)
    draw = np.random.default_rng(wish.seed)
    folder = wish.out / "paragraphs"
    folder.mkdir(parents=True, exist_ok=True)
    for split, count in (("train", PARAGRAPHS), ("valid", 300)):
        # Short ones more often than long ones: from them it is learned what is asked.
        lengths = [0 if draw.random() < 0.3 else most * draw.random() ** 2 for _ in range(count)]
        lines = [json.dumps(_paragraph(draw, sentences, n)) for n in lengths]
        (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    distances = [round(most * share) for share in (0, 0.25, 0.5, 0.75, 1.0)]
    tests = {n: [_paragraph(draw, sentences, n) for _ in range(200)] for n in distances}
    right: dict[str, list[int]] = {}
    notes = []
    for cell in CELLS:
        name = find_cell(cell).display_name
        made = yield from _train(wish, cell, name, _classifier(folder, cell))
        yield f"{name}: testing …"
        right[name] = _answers(made.loaded, tests)
        if made.steps < 100:
            notes.append(f"{name} took only {made.steps} steps: `--budget 40s` gives it more time")
    # Wilson's interval, since shares near 0 and 1 are what is to be expected.
    found = {name: [wilson(count, 200) for count in counts] for name, counts in right.items()}
    shares = {name: [one.estimate for one in values] for name, values in found.items()}
    chance = 1 / len(COLOURS)
    enough = chance + KNOWS * (1 - chance)
    knows = {name: values[-1] >= enough for name, values in shares.items()}
    gated = [name for name in ("LSTM", "GRU") if knows[name]]
    answer = ", ".join(f"{name} {percent(values[-1], 0)}" for name, values in shares.items())
    return Measured(
        right=_letter(not any(knows.values()), bool(gated) and not knows["RNN"]),
        answer=f"With {most} words in between, the right colour was named for: {answer} of 200 "
        "paragraphs. Guessing reaches 12 %.",
        shown=bool(gated) and not knows["RNN"],
        verdict=_who_knows(knows),
        picture=[
            f"{name:<6}" + "  ".join(f"{_bar(value)} {percent(value, 0):>5}" for value in values)
            for name, values in shares.items()
        ],
        caption="Share of right answers with, from left to right, "
        f"{', '.join(map(str, distances))} words in between. A full bar means all of 200.",
        columns=("", *(f"{n} words" for n in distances)),
        rows=[
            (name, *(f"{percent(one.estimate, 0)} [{100 * one.lo:.0f}, {100 * one.hi:.0f}]"
                     for one in values))
            for name, values in found.items()
        ],
        numbers={
            f"{name}, {n} words": Estimate(
                estimate=one.estimate, ci95=(one.lo, one.hi), n=200, unit="share"
            )
            for name, values in found.items()
            for n, one in zip(distances, values, strict=True)
        },
        text=f"sentences of {_read(wish)}, with 'The key is red.' before them, 'The key is' after "
        "them, and the colours of other things in between",
        settings={"words": str(most), "budget_s": f"{wish.budget_s:g}"},
        notes=notes,
        again=_again(2, wish, f"--words {most // 3 if most > 20 else 3 * most}"),
        look_for="does the plain RNN know the colour when the paragraph is shorter?",
        terms=("what still counts", "hidden state", "initial weights"),
        runs={cell: str(wish.out / cell) for cell in CELLS},
    )  # fmt: skip


def _sentences(wish: Wish) -> list[str]:
    """Sentences of 3 to 16 words of the text. Raises DataError where there are too few."""
    path = wish.text if wish.text is not None else bundled() / "train.txt"
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(400_000)
    except UnicodeDecodeError:
        raise DataError(
            f"{path} is not UTF-8 text", hint="convert it, or use another text"
        ) from None
    found = [s for s in re.split(r"(?<=[.!?])\s+", text) if 3 <= len(s.split()) <= 16]
    if len(found) < 50:
        raise DataError(
            f"{path} has {len(found)} sentences of 3 to 16 words; lesson 2 needs 50",
            hint="name a longer text",
        )
    return found


def _paragraph(draw: np.random.Generator, sentences: Sequence[str], words: float) -> dict[str, str]:
    """A colour, about so many words with the colours of other things among them, the question."""
    thing, colour = _one(draw, THINGS), _one(draw, COLOURS)
    between: list[str] = []
    count = 0
    while count < words:
        if len(between) % 3 == 2:
            other = _one(draw, [one for one in THINGS if one != thing])
            sentence = f"The {other} is {_one(draw, COLOURS)}."
        else:
            sentence = _one(draw, sentences)
        between.append(sentence)
        count += len(sentence.split())
    text = " ".join([f"The {thing} is {colour}.", *between, f"The {thing} is"])
    return {"text": " ".join(text.split()), "label": colour}


def _one(draw: np.random.Generator, among: Sequence[str]) -> str:
    return among[int(draw.integers(len(among)))]


def _classifier(folder: Path, cell: str) -> dict[str, dict[str, Any]]:
    """Of the last state alone, in one direction, without dropout."""
    return {
        "corpus": {"sources": (str(folder),), "text_field": "text", "label_field": "label"},
        "tokenizer": {"level": "word"},
        "model": {
            "task": "classify", "cell": cell, "hidden_size": 64, "embedding_size": 32,
            "num_layers": 1, "pool": "last", "bidirectional": False, "dropout_output": 0.0,
            "dropout_input": 0.0, "dropout_embedding": 0.0,
        },
        "training": {
            "batch_size": 64, "patience": 1000, "lr": 0.01 * find_cell(cell).rate_factor,
        },
    }  # fmt: skip


def _answers(loaded: Loaded, tests: Mapping[int, Sequence[Mapping[str, str]]]) -> list[int]:
    """How many of the texts of each distance get the right label."""
    from rnnctl.inference.classify import Predictor

    predictor = Predictor(loaded)
    return [
        sum(
            answer.label == one["label"]
            for answer, one in zip(predictor.predict([t["text"] for t in some]), some, strict=True)
        )
        for some in tests.values()
    ]


def _who_knows(knows: Mapping[str, bool]) -> str:
    yes = [name for name, does in knows.items() if does]
    if not yes:
        return "no cell learned it in this time"
    no = [name for name, does in knows.items() if not does]
    return f"{' and '.join(yes)} still know{'s' * (len(yes) == 1)} the colour" + (
        f", {' and '.join(no)} {'does' if len(no) == 1 else 'do'} not" if no else ""
    )


def _bar(share: float, width: int = 6) -> str:
    """A bar of block characters, empty places as dots."""
    full = round(share * width)
    return "█" * full + "·" * (width - full)


# -- 3: gates, one at a time -----------------------------------------------------------------------


def gates(wish: Wish) -> Doing:
    """An LSTM as it was trained, and with a gate held at a value while it reads.

    Raises DataError where the text is too short.
    """
    settings = _characters(wish, cell="lstm", hidden_size=128)
    made = yield from _train(wish, "lstm", "LSTM", settings)
    model = made.loaded.model
    assert isinstance(model, LanguageModel)
    conditions: dict[str, dict[str, float]] = {"as trained": {}}
    for one in ({"forget": 1.0}, {"forget": 0.0}, {"input": 1.0}, dict(wish.hold)):
        if one:
            conditions[" ".join(f"{gate}={value:g}" for gate, value in one.items())] = one
    sample = Material(made.loaded, heldout(made.loaded), wish.seed).sample
    windows = sample.blocks(WINDOW + 1).ids[:64]
    if len(windows) < 4:
        raise DataError("the text is too short for lesson 3", hint="it needs 20,000 characters")
    ids = torch.from_numpy(np.stack(windows, axis=1))  # (T + 1, B)
    losses: dict[str, float] = {}
    traces: dict[str, Any] = {}
    for name, hold in conditions.items():
        yield f"LSTM, {name}: reading …"
        changed = _held(model, hold)
        with torch.no_grad():
            nats, _ = changed.loss(ids[:-1], ids[1:])
            traces[name] = changed.recurrent.trace(changed.embed(ids[:-1])).layers[0].values
        losses[name] = float(nats) / ids[1:].numel()
    sizes = {
        name: [float(values["c"][t].abs().mean()) for t in (0, 9, 49, WINDOW - 1)]
        for name, values in traces.items()
    }
    learned, opened = losses["as trained"], losses["forget=1"]
    shown_as = next(reversed(conditions)) if wish.hold else "forget=1"
    # By the mean logarithm, as GATES does: a gate that shuts now and then keeps nothing for long.
    unit = int(traces["as trained"]["forget"].log().mean(dim=(0, 1)).argmax())
    rise = opened - learned
    return Measured(
        right=_letter(rise < -SAME * learned, abs(rise) <= SAME * learned),
        answer=f"The loss goes from {learned:.3f} to {opened:.3f} nats per character. The mean "
        f"size of the cell state after {WINDOW} characters goes from "
        f"{number(sizes['as trained'][-1], 2)} to {number(sizes['forget=1'][-1], 2)}.",
        shown=rise > SAME * learned,
        verdict=f"without forgetting the loss {'rises' if rise > 0 else 'falls'} by "
        f"{abs(rise):.3f} nats; always forgetting (forget=0) gives {losses['forget=0']:.3f} nats",
        picture=_cell_picture(made.loaded, ids, traces, unit, shown_as),
        caption=f"Unit {unit}, whose forget gate is open longest, along a text. Gates are drawn "
        f"from 0 (▁) to 1 (█), c from its smallest to its largest value. Last line: c with "
        f"{shown_as}.",
        columns=("gate held", "nats/char", "|c| after 1", "after 10", "after 50",
                 f"after {WINDOW}"),
        rows=[
            (name, f"{losses[name]:.3f}", *(number(size, 2) for size in sizes[name]))
            for name in conditions
        ],
        numbers={
            **{f"loss, {n}": Estimate(estimate=v, unit="nats") for n, v in losses.items()},
            **{f"|c| after {WINDOW}, {n}": Estimate(estimate=v[-1]) for n, v in sizes.items()},
        },
        text=_read(wish),
        settings={"hold": shown_as, "budget_s": f"{wish.budget_s:g}"},
        notes=["a held gate has this one value in every step c' = f c + i g, for all units, "
               "whatever is read; the weights stay as they were trained"],
        again=_again(3, wish, "--hold output=1" if wish.hold else "--hold input=0"),
        look_for="what happens to c, and to the loss, when this gate no longer decides?",
        terms=("forget gate", "input gate", "cell state"),
        runs={"lstm": str(wish.out / "lstm")},
    )  # fmt: skip


def _held(model: LanguageModel, hold: Mapping[str, float]) -> LanguageModel:
    changed = copy.deepcopy(model).eval()
    if hold:
        changed.recurrent.cell = held(changed.recurrent.cell, hold)
        changed.recurrent.engine = "closed"
    return changed


def _cell_picture(
    loaded: Loaded, ids: Any, traces: Mapping[str, Any], unit: int, other: str
) -> list[str]:
    """One unit over the first characters of a text: three gates and c; and c with a gate held."""
    shown = 48
    tokens = (loaded.tokenizer.token_text(int(one)) for one in ids[:shown, 0])
    text = "".join(one if len(one) == 1 and one.isprintable() else " " for one in tokens)
    rows = [("text", text, "")]
    for name in ("forget", "input", "output"):
        found = _values(traces["as trained"], name, unit, shown)
        rows.append((name, sparkline(found, low=0, high=1), ""))
    for name, which in (("c", "as trained"), ("c, held", other)):
        found = _values(traces[which], "c", unit, shown)
        ends = f"  {number(min(found), 2)} to {number(max(found), 2)}"
        rows.append((name, sparkline(found), ends))
    return [f"{name:<9}{drawn}{ends}" for name, drawn, ends in rows]


def _values(values: Mapping[str, Any], name: str, unit: int, shown: int) -> list[float]:
    return [float(one) for one in values[name][:shown, 0, unit]]


# -- 4: LSTM against GRU ---------------------------------------------------------------------------


def against(wish: Wish) -> Doing:
    """Operations, speed and memory of both at one hidden size."""
    from rnnctl.compare import speed
    from rnnctl.compare.verdicts.gru import busy_in_words
    from rnnctl.diagnostics.diagnose import headline
    from rnnctl.results.comparison import SpeedResult

    size = 192 if wish.hidden_size is None else wish.hidden_size
    cells, made = ("lstm", "gru"), {}
    for cell in cells:
        settings = _characters(wish, cell=cell, hidden_size=size)
        made[cell] = yield from _train(wish, cell, find_cell(cell).display_name, settings)
    heads = {}
    for cell in cells:
        yield f"{find_cell(cell).display_name}: memory horizon …"
        heads[cell] = headline(made[cell].loaded, seconds=2)
    paths = {cell: wish.out / cell for cell in cells}
    threads = torch.get_num_threads()
    yield "measuring the speed of both in turns …"
    for _ in speed.measure(paths, threads=threads, rounds=ROUNDS, seconds=ROUND_S):
        pass
    records = {
        cell: SpeedResult.model_validate(made[cell].loaded.run.read_result("speed"))
        for cell in cells
    }
    per_round = [
        g / one
        for one, g in zip(
            records["lstm"].train_tokens_per_s, records["gru"].train_tokens_per_s, strict=True
        )
    ]
    # The median over rounds in which both were measured: other work slows single rounds down.
    ratio = sorted(per_round)[len(per_round) // 2]
    busy = next(filter(None, map(busy_in_words, records.values())), "")
    rough = " (rough)" if busy else ""
    operations = {c: find_cell(c).macs_per_token(64, size) for c in cells}
    tokens = {c: float(np.median(records[c].train_tokens_per_s)) for c in cells}
    losses = {c: made[c].loss for c in cells}
    most = {"ops": max(operations.values()), "speed": max(tokens.values())}
    picture = []
    for cell in cells:
        name = find_cell(cell).display_name
        picture.append(f"{name:<6}operations {_bar(operations[cell] / most['ops'], 24)}")
        picture.append(f"      speed      {_bar(tokens[cell] / most['speed'], 24)}")
    return Measured(
        right=_letter(ratio < 1.05, ratio <= 1.25),
        answer=f"The GRU trains {ratio:.2f} times as fast as the LSTM at {size} units "
        f"({number(tokens['gru'])} against {number(tokens['lstm'])} tokens/s"
        f"{', rough' if busy else ''}), with "
        f"{operations['gru'] / operations['lstm']:.2f} times the operations.",
        shown=None if busy else ratio >= 1.05,
        verdict=(
            "the machine was busy during the measurement, so its speed says little"
            if busy
            else f"{ratio:.2f} times as fast"
        ),
        picture=picture,
        caption="Multiply-adds per token, and training tokens per second. The larger value fills "
        "the bar.",
        columns=("", "multiply-adds", "parameters", f"tokens/s{rough}", "steps", "loss", "horizon"),
        rows=[
            (find_cell(c).display_name, f"{operations[c]:,}",
             f"{find_cell(c).parameters(64, size):,}", number(tokens[c]), f"{made[c].steps:,}",
             f"{losses[c]:.3f}", horizon(heads[c]))
            for c in cells
        ],
        numbers={
            "speed, GRU over LSTM": Estimate(
                estimate=ratio, ci95=(min(per_round), max(per_round)), n=len(per_round),
                unit="ratio", note="the ends are the smallest and largest of the rounds",
            ),
            **{f"horizon, {c}": heads[c].alone() for c in cells},
            **{f"multiply-adds per token, {c}": Estimate(estimate=float(operations[c]))
               for c in cells},
        },
        text=_read(wish),
        settings={"hidden_size": str(size), "budget_s": f"{wish.budget_s:g}",
                  "threads": str(threads)},
        notes=[*_rough(busy), "each cell was trained once, so a difference in memory may come from "
               "the seed (`rnnctl explain seed`)"],
        again=_again(4, wish, "--hidden-size 384" if size != 384 else "--hidden-size 96"),
        look_for="is the ratio of speeds nearer to 4/3 with larger matrices?",
        terms=("multiply-adds", "speed", "GRU", "horizon"),
        runs={cell: str(path) for cell, path in paths.items()},
    )  # fmt: skip


def _rough(busy: str) -> list[str]:
    """What to think of speeds that were measured on a busy machine."""
    if not busy:
        return []
    return [f"the speeds are rough: the machine was busy ({busy}). The answer may change when "
            "nothing else runs"]  # fmt: skip


# -- 5: counting -----------------------------------------------------------------------------------


def counting(wish: Wish) -> Doing:
    """a^n b^n: does the end come exactly after the n-th b, also for longer n than were read?"""
    longest = 12 if wish.length is None else wish.length
    folder = wish.out / "strings"
    folder.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(wish.seed)
    for split, count in (("train", 4000), ("valid", 200)):
        lengths = [int(draw.integers(1, longest + 1)) for _ in range(count)]
        text = "\n".join("a" * n + "b" * n for n in lengths)
        (folder / f"{split}.txt").write_text(text + "\n", encoding="utf-8")
    tested = list(range(1, 2 * longest + 1))
    right: dict[str, list[bool]] = {}
    for cell in CELLS:
        name = find_cell(cell).display_name
        settings: Settings = {
            "corpus": {"sources": (str(folder),), "documents": "line"},
            "tokenizer": {"level": "char"},
            "model": {"cell": cell, "hidden_size": 16, "embedding_size": 8, "num_layers": 1},
            "training": {"lr": 0.01, "bptt": 64, "batch_size": 32},
        }
        made = yield from _train(wish, cell, name, settings)
        right[name] = [_counts(made.loaded, n) for n in tested]
    upto = {name: sum(1 for _ in itertools.takewhile(bool, found)) for name, found in right.items()}
    said = ", ".join(f"{name} {count}" for name, count in upto.items())
    furthest = max(upto.values())
    lstm = upto["LSTM"] == furthest and list(upto.values()).count(furthest) == 1
    return Measured(
        right=_letter(furthest <= longest, lstm),
        answer=f"Trained on n up to {longest}, the cells count without a mistake up to: {said}.",
        shown=upto["LSTM"] > longest,
        verdict=f"the LSTM counts up to {upto['LSTM']}, the GRU to {upto['GRU']} and the plain RNN "
        f"to {upto['RNN']}",
        picture=[
            " " * (5 + longest) + "|",
            *(f"{name:<6}" + "".join("✓" if one else "x" for one in found)
              for name, found in right.items()),
        ],
        caption=f"n from 1 to {2 * longest}, from left to right. ✓: the end is expected exactly "
        "after the n-th b. x: it is not. | marks the longest n in the training.",
        columns=("", "counts up to", f"right up to {longest}", f"right beyond, of {longest}"),
        rows=[
            (name, str(upto[name]), str(sum(found[:longest])), str(sum(found[longest:])))
            for name, found in right.items()
        ],
        numbers={
            f"counts up to, {name}": Estimate(estimate=float(count)) for name, count in upto.items()
        },
        text="strings made by the lesson",
        settings={"length": str(longest), "budget_s": f"{wish.budget_s:g}"},
        again=_again(5, wish, "--length 24" if longest != 24 else "--length 6"),
        look_for="does a cell that was trained on longer strings count further beyond them?",
        terms=("cell state", "LSTM", "GRU"),
        runs={cell: str(wish.out / cell) for cell in CELLS},
    )  # fmt: skip


@torch.no_grad()
def _counts(loaded: Loaded, n: int) -> bool:
    """Whether b is expected after each of the first n − 1 b, and the end after the last."""
    model, tokenizer = loaded.model, loaded.tokenizer
    assert isinstance(model, LanguageModel)
    a, b = (int(one) for one in tokenizer.encode("ab"))
    read = torch.tensor([[tokenizer.boundary_id], *[[a]] * n, *[[b]] * n])
    features, _ = model.eval().features(read)
    expected = model.logits(features).argmax(-1)[n + 1 :, 0].tolist()
    return expected == [b] * (n - 1) + [tokenizer.boundary_id]


LABS: dict[int, Callable[[Wish], Doing]] = {
    1: vanishing, 2: forgetting, 3: gates, 4: against, 5: counting,
}  # fmt: skip
