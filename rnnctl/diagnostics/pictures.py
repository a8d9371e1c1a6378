"""What is to be seen of runs along one text, measured for a page or as data.

Which words moved which prediction, in two ways:

* *left out*: the text is read again without the word. Exact, and says in which direction.
* *gradient*: the length of the derivative of a word's log-probability with respect to the input
  vectors of an earlier word, as a share of all earlier words. This is the connectivity of Madsen,
  "Visualizing memorization in RNNs" (Distill 2019), for whole words instead of tokens.

Axes: T tokens, W words, N targets at once, E embedding, H hidden, L layers, V vocabulary.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rnnctl.data.batches import NO_TARGET, pad_documents
from rnnctl.data.tokenizers import Tokenizer
from rnnctl.data.tokenizers.base import BOUNDARY_ID
from rnnctl.diagnostics import units
from rnnctl.diagnostics.material import Text, heldout
from rnnctl.diagnostics.sample import Floats, Ids
from rnnctl.diagnostics.subject import ExactModel
from rnnctl.errors import DataError, NotFiniteError, UsageError
from rnnctl.inference.inside import find_places
from rnnctl.nn.models import Classifier, LanguageModel
from rnnctl.nn.trace import Trace
from rnnctl.reports.cells import display_name
from rnnctl.reports.pictures import times
from rnnctl.results.base import Warning_
from rnnctl.results.pictures import Influence, Pictures, SeenRun, SeenWord, Stage
from rnnctl.tasks.loading import Loaded, build_model, environment, load

WORD = re.compile(r"\s*\S+")
USUAL = (72, 360)
"""Words and tokens of a held-out passage, at most."""
LONG = (160, 900)
"""Of a text that is asked for."""
LONGER = 4000
"""Characters that units are measured on."""
MOST_BYTES = 1_000_000
"""Of all states and gates on a page, and of where units are active, a bit each."""
AT_ONCE = 1 << 24
"""Numbers of a gradient that exist at once, 8 bytes each."""
MOST_STAGES = 12
"""Of a training, that are looked at."""
BEFORE = "before training"
GUESSES = 4
FAR = 30
"""Words from which on a word counts no further back."""
BEHIND = 8
"""Words behind the first sentence from which on what depends on it needs a memory."""
FELT = math.log(1.2)
"""Nats that a word must gain by the first sentence, to be what a page begins with."""
CANDIDATES = 16
"""Passages among which the one is chosen that is shown."""
FEW = 24
"""Words of a passage, at least."""
RUNNING = 60_000
"""Characters of a running text among which passages are looked for."""
ENDS = ("\n\n", "\n", ". ")
"""Behind what a passage of running text may begin: the first of these that the text has."""
MOST_GAIN = 3.0
"""Nats: one word more does not make a passage."""


@dataclass(frozen=True)
class Reading:
    """A text as one run reads it: ids (T,), the word (T,) that each token belongs to, and what
    spelling it costs (T,) in nats where it is unknown.
    """

    ids: Ids
    owner: Ids
    spelling: Floats
    pieces: tuple[str, ...]

    @property
    def inputs(self) -> Ids:
        """(T,) what stands before each token; before the first one, the document's start."""
        return np.concatenate([[BOUNDARY_ID], self.ids[:-1]])

    def only(self, kept: NDArray[np.bool_]) -> tuple[Ids, Ids]:
        """The ids of some of the tokens (T,), and the word that each belongs to."""
        return self.ids[kept], self.owner[kept]

    @property
    def whole(self) -> Ids:
        """(T + 1,) the tokens and the text's end, as a classifier reads them."""
        return np.append(self.ids, BOUNDARY_ID)


def words_of(text: str) -> tuple[SeenWord, ...]:
    """The words of a text, each with the whitespace before it; what is behind the last is cut."""
    found = WORD.findall(text)
    return tuple(SeenWord(space=one[: len(one) - len(one.lstrip())], text=one.lstrip())
                 for one in found)  # fmt: skip


def reading(tokenizer: Tokenizer, words: Sequence[SeenWord]) -> Reading:
    """The words as tokens; a token belongs to the first word that ends behind its beginning."""
    parts = [word.space + word.text for word in words]
    text = "".join(parts)
    encoded = tokenizer.encode(text)
    starts = tokenizer.spans(text, encoded)[:, 0]
    ids = encoded.astype(np.int64)
    ends = np.cumsum([len(part.encode("utf-8")) for part in parts])
    owner = np.minimum(np.searchsorted(ends, starts, side="right"), len(parts) - 1)
    pieces = tuple(tokenizer.token_text(int(token)) for token in ids)
    return Reading(ids, owner.astype(np.int64), tokenizer.spelling_by_token(text), pieces)


# -- the text -------------------------------------------------------------------------------------


def passage(found: Text, runs: Sequence[Loaded]) -> tuple[SeenWord, ...]:
    """The passage of a held-out text in which the beginning matters most, for all runs the same.

    Of up to `CANDIDATES` documents, or paragraphs of a running text, each cut to what a picture
    shows: every run reads it with and without its first sentence. What that sentence is worth to
    a run is the log-probability that the words of the last third gain by it, at most `MOST_GAIN`
    nats each; to a classifier, by how much the answer's log-odds change. Taken is the passage to
    which the runs give the most different worths; of one run alone, the one of the greatest.
    () where no text has two words.
    """
    texts = [words for text in _candidates(found) if len(words := words_of(text)) > 1]
    if not texts:
        return ()
    candidates = [_cut(words, runs, *USUAL) for words in texts]
    worths = np.array([_worths(run, candidates) for run in runs]).clip(min=0)  # (R, C)
    least = worths.min(axis=0) if len(runs) > 1 else 0.0
    return candidates[int(np.argmax(worths.max(axis=0) - least))]


def _candidates(found: Text) -> list[str]:
    """Documents of at least `FEW` words, evenly chosen, or what begins at paragraphs of a text."""
    if found.running:
        text = "".join(document.text for document in found.documents)[:RUNNING]
        starts = next((at for sign in ENDS if len(at := _behind(text, sign)) > 1), [0])
        texts = [text[start : start + 100 * USUAL[0]] for start in starts]
    else:
        texts = [document.text for document in found.documents]
    full = [text for text in texts if len(text[: 40 * FEW].split()) >= FEW]
    full = full or sorted(texts, key=lambda text: -len(text.split()))[:1]
    # Evenly over the text, and not its first ones: a book begins with its table of contents.
    step = -(-len(full) // CANDIDATES)
    return full[::step]


def _behind(text: str, sign: str) -> list[int]:
    """Where something begins behind `sign`, far enough from the text's end to fill a picture."""
    last = len(text) - 8 * USUAL[0]
    return [at.end() for at in re.finditer(re.escape(sign), text) if at.end() < last]


def _worths(run: Loaded, passages: Sequence[Sequence[SeenWord]]) -> Floats:
    """What the first sentence of each passage is worth to a run, in nats: (C,)."""
    firsts = [_first_sentence(words) for words in passages]
    reads = [reading(run.tokenizer, words) for words in passages]
    model = run.model
    if isinstance(model, Classifier):
        pairs = []
        for read, first in zip(reads, firsts, strict=True):
            pairs += [read.whole, np.append(read.ids[read.owner >= first], BOUNDARY_ID)]
        chances = answers(model, pairs)
        odds = chances - torch.log1p(-chances.exp().clamp(max=1 - 1e-9))
        read_whole, cut = odds[::2], odds[1::2]
        answer = read_whole.argmax(1, keepdim=True)
        return np.asarray((read_whole - cut).gather(1, answer)[:, 0].abs().numpy())
    # One pass for both: a step of a large model takes about as long for twice as many texts.
    since = [0] * len(reads) + firsts
    parts = [read.only(read.owner >= first) for read, first in zip(reads * 2, since, strict=True)]
    late = [2 * len(words) // 3 for words in passages] * 2
    whole, without = np.split(word_losses(model, parts, late, max(map(len, passages))), 2)
    # What a word loses counts too, or noise of many words would add up to a worth.
    gains = np.clip(without - whole, -MOST_GAIN, MOST_GAIN)
    return np.asarray(np.nan_to_num(gains).sum(axis=1))


def _first_sentence(words: Sequence[SeenWord]) -> int:
    """How many words the first sentence has: at least one, at most a third of all."""
    most = max(1, len(words) // 3)
    ends = (k for k, word in enumerate(words[:most], 1) if word.text.rstrip("\"')”’")[-1:] in ".!?")
    return next(ends, most)


def _cut(
    words: Sequence[SeenWord], runs: Sequence[Loaded], most_words: int, most_tokens: int
) -> tuple[SeenWord, ...]:
    """The first words, as many as every run reads in few enough tokens."""
    kept = len(words[:most_words])
    for run in runs:
        owner = reading(run.tokenizer, words[:kept]).owner
        kept = min(kept, int(owner[most_tokens]) if len(owner) > most_tokens else kept)
    if kept < 2:
        raise UsageError(
            f"the first two words have more than {most_tokens:,} tokens",
            hint="begin with ordinary words, without long rows of signs",
        )
    return tuple(words[:kept])


# -- the pictures ---------------------------------------------------------------------------------


def pictures(runs: Sequence[Loaded], text: str | Text | None = None) -> Pictures:
    """Read `text`, or a passage of one, with every run; None: of the first run's held-out text.

    Each run reads from an empty state. Raises UsageError for a text without two words or runs of
    two kinds, DataError where there is no held-out text.
    """
    if len({bool(run.labels) for run in runs}) > 1:
        raise UsageError(
            "classifiers and language models cannot be shown together",
            hint="name runs of one kind only",
        )
    own = isinstance(text, str)
    found = heldout(runs[0]) if text is None else text
    words = words_of(found) if isinstance(found, str) else passage(found, runs)
    if len(words) < 2:
        raise UsageError("the text has fewer than two words", hint="write more text after --show")
    kept = _cut(words, runs, *(LONG if own else USUAL))
    warnings: tuple[Warning_, ...] = ()
    if own and len(kept) < len(words):
        said = f"the text has {len(words):,} words; the first {len(kept):,} are shown"
        warnings = (Warning_(code="CUT", text=said),)
    longer = _longer(runs[0], found)
    names = _names(runs)
    tokens = max(len(reading(run.tokenizer, kept).ids) for run in runs)
    sizes = [_size(run) for run in runs]
    most = units.quota(sizes, tokens, len(longer), MOST_BYTES)
    seen = tuple(
        _seen(run, name, kept, longer, count)
        for run, name, count in zip(runs, names, most, strict=True)
    )
    focus, why_focus = _focus(runs, seen, kept)
    return Pictures(
        environment=environment(runs[0], "float32; gradients on their way back in float64"),
        warnings=warnings,
        text="".join(word.space + word.text for word in kept),
        source="the one that was given"
        if isinstance(found, str)
        else f"{found.name} of {runs[0].run.path.name}, the passage in which the beginning matters "
        f"most{' to one run and least to another' if len(runs) > 1 else ''}",
        words=kept,
        runs=seen,
        longer=longer,
        focus=focus,
        why_focus=why_focus,
    )


def _names(runs: Sequence[Loaded]) -> list[str]:
    """The folders' names, and as much of their paths as tells them apart."""
    paths = [run.run.path.resolve().parts for run in runs]
    for size in range(1, max(map(len, paths)) + 1):
        names = ["/".join(parts[-size:]) for parts in paths]
        if len(set(names)) == len(names):
            return names
    return [f"{run.run.path} ({k})" for k, run in enumerate(runs, 1)]


def _size(run: Loaded) -> tuple[int, int]:
    """Units of all layers, and arrays that are kept of each."""
    cell = run.model.recurrent.cell
    settings = run.config.model
    arrays = len(cell.state_names) + len(cell.gate_names)
    return settings.hidden_size * settings.num_layers, arrays


def _longer(run: Loaded, found: str | Text) -> str:
    """Held-out text that units are measured on; the shown text where there is no other."""
    if isinstance(found, str):
        try:
            source = heldout(run)
        except DataError:
            return found[:LONGER]
    else:
        source = found
    parts: list[str] = []
    for document in source.documents:
        parts.append(document.text if source.running else document.text.strip() + "\n\n")
        if sum(map(len, parts)) >= LONGER:
            break
    return "".join(parts)[:LONGER]


def _seen(run: Loaded, name: str, words: Sequence[SeenWord], longer: str, most: int) -> SeenRun:
    model = run.model
    read = reading(run.tokenizer, words)
    settings = run.config.model
    more, ends = _encoded(run.tokenizer, longer)
    with np.errstate(over="ignore", invalid="ignore"):
        answer: str | None = None
        if isinstance(model, Classifier):
            moved, answer = answer_influence(run, read, len(words))
        else:
            moved = influence(run, read, len(words))
    causal = model.recurrent.directions == 1
    return SeenRun(
        path=str(run.run.path),
        name=name,
        cell=settings.cell,
        nonlinearity=settings.nonlinearity,
        level=run.config.tokenizer.level,
        hidden=settings.hidden_size,
        layers=settings.num_layers,
        tokens=read.pieces,
        owner=tuple(read.owner.tolist()),
        answer=answer,
        influence=moved,
        units=units.observe(model, read.ids, more, longer, ends, most=most) if causal else None,
        gradient=tuple(_stages(run, read)) if causal else (),
    )


def _encoded(tokenizer: Tokenizer, text: str) -> tuple[Ids, Ids]:
    """The ids of a text (S,), and the character behind each of them (S,)."""
    ids = tokenizer.encode(text)
    ends = find_places(tokenizer, text, ids)[:, 1]
    return ids.astype(np.int64), np.maximum(ends, 1)


# -- the gradient on its way back -----------------------------------------------------------------


def _stages(run: Loaded, read: Reading) -> Iterator[Stage]:
    """The gradient before the training, on the way where there are snapshots, and after it."""
    snapshots = run.run.snapshots()
    chosen = snapshots[:: max(1, len(snapshots) // MOST_STAGES)]
    for snapshot in chosen[: -1 if snapshots and chosen[-1] is snapshots[-1] else None]:
        model = load(run.run.path, snapshot=snapshot).model
        title = f"after {snapshot.tokens:,} tokens" if snapshot.tokens else BEFORE
        yield _stage(model, read, snapshot.tokens, title)
    if not snapshots and run.config.training.start_from is None:
        yield _stage(drawn_again(run), read, 0, BEFORE)
    yield _stage(run.model, read, None, "after training")


def drawn_again(run: Loaded) -> LanguageModel | Classifier:
    """The weights that the run began with, drawn from its seed as the training drew them.

    All but the output layer's bias, which the training sets to the frequencies of its text.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(run.config.training.seed)
        return build_model(
            run.config.model, vocab_size=run.tokenizer.vocab_size, num_classes=len(run.labels)
        ).eval()


def _stage(
    model: LanguageModel | Classifier, read: Reading, tokens: int | None, title: str
) -> Stage:
    exact = ExactModel(model)
    classifies = isinstance(model, Classifier)
    trace = exact.trace(torch.from_numpy(read.whole if classifies else read.inputs)[:, None])
    found = answer_gradient(exact, trace) if classifies else loss_gradient(exact, trace, read)
    norms = {
        name: tuple(float(f"{value:.4g}") for value in np.nan_to_num(values))
        for name, values in found.items()
    }
    return Stage(tokens=tokens, title=title, norms=norms, keeps=_keeps(trace))


def _keeps(trace: Trace) -> tuple[float, float] | None:
    """The gate that keeps, over all units: its mean, and what a tenth of the units are above."""
    if not trace.cell.has_gates:
        return None
    gate = trace.cell.shown_gates[0]
    units = np.concatenate(
        [layer.values[gate][:, 0].double().mean(0).numpy(force=True) for layer in trace.layers]
    )
    return round(float(units.mean()), 4), round(float(np.quantile(units, 0.9)), 4)


def loss_gradient(exact: ExactModel, trace: Trace, read: Reading) -> dict[str, Floats]:
    """‖∂ −ln p(last word) / ∂ state‖ (T,) by state, after the model has read each input."""
    of_last = torch.from_numpy(read.owner == read.owner[-1])
    given = exact.readout_gradient(trace.outputs[:, 0], torch.from_numpy(read.ids))
    given = (given * of_last[:, None])[:, None]
    return _lengths(trace, given)


def answer_gradient(exact: ExactModel, trace: Trace) -> dict[str, Floats]:
    """‖∂ −ln p(answer) / ∂ state‖ (T + 1,) by state, after each token and the text's end."""
    model = exact.model
    assert isinstance(model, Classifier)
    outputs = trace.outputs.clone().requires_grad_()
    with torch.enable_grad():
        pooled = model.readout(outputs, (outputs[-1:],), torch.tensor([len(outputs)]))
        chances = model.head(pooled).log_softmax(-1)[0]
        (given,) = torch.autograd.grad(-chances.max(), outputs)
    return _lengths(trace, given)


def _lengths(trace: Trace, given: Tensor) -> dict[str, Floats]:
    """Lengths (T,) of the gradient of each state, all layers together."""
    found = trace.state_gradients(given)
    return {
        name: np.asarray(found[name][:, :, 0].square().sum((0, 2)).sqrt().numpy())
        for name in trace.cell.state_names
    }


# -- which word moved which prediction ------------------------------------------------------------


def answer_influence(run: Loaded, read: Reading, words: int) -> tuple[Influence, str]:
    """How much each of so many words moved a classifier's answer; and the answer."""
    model = run.model
    assert isinstance(model, Classifier)
    texts = [read.whole]
    texts += [np.append(read.ids[read.owner != i], BOUNDARY_ID) for i in range(words)]
    chances = answers(model, texts)
    answer = int(chances[0].argmax())
    change = (chances[0, answer] - chances[1:, answer]).numpy()
    lengths_of = answer_lengths(ExactModel(model).model, read, words, answer)
    total = lengths_of.sum()
    order = chances[0].argsort(descending=True)[:GUESSES].tolist()
    found = Influence(
        log_chance=(round(float(chances[0, answer]), 4),),
        guesses=(tuple((run.labels[k], round(float(chances[0, k].exp()), 4)) for k in order),),
        left_out=(tuple(change.round(4).tolist()),),
        share=(tuple((lengths_of / (total or 1.0)).round(5).tolist()),),
        length=(float(f"{total:.4g}"),),
    )
    return found, run.labels[answer]


@torch.no_grad()
def answers(model: Classifier, texts: Sequence[Ids]) -> Tensor:
    """ln p of each answer (N, K) after each of N texts, which end with the boundary."""
    ids, lengths = map(torch.from_numpy, pad_documents(texts, BOUNDARY_ID))
    chances: Tensor = model(ids, lengths).double().log_softmax(-1)
    return chances


def answer_lengths(
    model: LanguageModel | Classifier, read: Reading, words: int, answer: int
) -> Floats:
    """(W,): ‖∂ ln p(answer) / ∂ (input vectors of word i)‖, through all directions and poolings."""
    assert isinstance(model, Classifier)
    whole = torch.from_numpy(read.whole)[:, None]
    length = torch.tensor([len(whole)])
    vectors = model.embed(whole).detach().requires_grad_()
    with torch.enable_grad():
        outputs, state = model.recurrent(vectors, lengths=length, hidden_only=True)
        chances = model.head(model.readout(outputs, state, length)).log_softmax(-1)
        (gradient,) = torch.autograd.grad(chances[0, answer], vectors)
    squares = gradient[:-1, 0].square().sum(-1)
    sums = torch.zeros(words, dtype=squares.dtype).index_add(
        0, torch.from_numpy(read.owner), squares
    )
    return np.asarray(sums.sqrt().numpy(), dtype=np.float64)


def influence(run: Loaded, read: Reading, words: int) -> Influence:
    """How much each of so many words moved the prediction of every later one.

    Raises NotFiniteError where the model's numbers overflow.
    """
    model = run.model
    assert isinstance(model, LanguageModel)
    # Shares are drawn to a tenth of a per cent: float32 does, but where a gradient explodes.
    for precision in (torch.float32, torch.float64):
        exact = ExactModel(model, precision)
        trace = exact.trace(torch.from_numpy(read.inputs)[:, None])
        share, length = gradient_shares(exact, trace, read, words)
        if np.isfinite(share).all() and np.isfinite(length).all():
            break
    if not (np.isfinite(share).all() and np.isfinite(length).all()):
        raise NotFiniteError(str(run.run.path))
    nats, change = left_out(model, read, words)
    if not (np.isfinite(nats).all() and np.isfinite(change).all()):
        raise NotFiniteError(str(run.run.path))
    nats = nats + np.bincount(read.owner, read.spelling, minlength=words)
    return Influence(
        log_chance=tuple((-nats).round(4).tolist()),
        guesses=_guesses(exact, trace, read, words, run.tokenizer),
        left_out=tuple(tuple(change[:j, j].round(4).tolist()) for j in range(words)),
        share=tuple(tuple(share[:j, j].round(5).tolist()) for j in range(words)),
        length=tuple(float(f"{value:.4g}") for value in length),
    )


def gradient_shares(
    exact: ExactModel, trace: Trace, read: Reading, words: int
) -> tuple[Floats, Floats]:
    """Shares (W, W) of word i (row) in the gradient of word j's log-probability, and lengths (W,).

    Shares of a column add up to 1 over the earlier words, and are 0 for the others.
    """
    lengths = gradient_lengths(exact, trace, read, words)
    earlier = np.triu(lengths, 1)
    total = earlier.sum(axis=0)
    return earlier / np.where(total > 0, total, 1.0), total


def gradient_lengths(exact: ExactModel, trace: Trace, read: Reading, words: int) -> Floats:
    """(W, W): ‖∂ ln p(word j) / ∂ (input vectors of word i)‖, in row i and column j."""
    targets = torch.from_numpy(read.ids)
    at_output = -exact.readout_gradient(trace.outputs[:, 0], targets)  # (T, H), of ln p
    steps, hidden = at_output.shape
    owner = torch.from_numpy(read.owner)
    # A few words at once: the products stay large, and each goes no further back than it must.
    at_once = max(1, min(-(-words // 4), AT_ONCE // (steps * hidden * (1 + len(trace.layers)))))
    found = torch.zeros(words, words, dtype=torch.float64)
    for first in range(0, words, at_once):
        chosen = torch.arange(first, min(words, first + at_once))
        end = int(np.searchsorted(read.owner, int(chosen[-1]), side="right"))  # S tokens
        of_target = (owner[:end, None] == chosen).to(at_output.dtype)  # (S, N)
        given = at_output[:end, None, :] * of_target[:, :, None]
        lengths = torch.linalg.vector_norm(trace.input_gradients(given), dim=-1)  # (S, N)
        # The input of step t is the token before it, which belongs to the word of step t - 1.
        squares = lengths[1:].double().square()
        found[:, chosen] = found[:, chosen].index_add(0, owner[: end - 1], squares)
    return np.asarray(found.sqrt().numpy())


def left_out(model: LanguageModel, read: Reading, words: int) -> tuple[Floats, Floats]:
    """Nats (W,) of each word, and by how much those of word j rise without word i: (W, W)."""
    kept = [np.ones(len(read.ids), dtype=bool), *(read.owner != i for i in range(words))]
    parts = [read.only(keep) for keep in kept]
    losses = word_losses(model, parts, [0, *range(1, words + 1)], words)
    return losses[0], np.triu(losses[1:] - losses[0], 1)


@torch.no_grad()
def word_losses(
    model: LanguageModel, texts: Sequence[tuple[Ids, Ids]], since: Sequence[int], words: int
) -> Floats:
    """Nats (N, W) of the words of N texts, each read from a document's start.

    A text is the ids of its tokens, and the word that each belongs to; words before `since` (N,)
    are not asked for, and 0.
    """
    steps = max(len(text) for text, _ in texts)
    ids = torch.full((steps, len(texts)), BOUNDARY_ID)
    targets = torch.full_like(ids, NO_TARGET)
    for column, (text, owner) in enumerate(texts):
        ids[1 : len(text), column] = torch.from_numpy(text[:-1])
        wanted = np.where(owner >= since[column], text, NO_TARGET)
        targets[: len(text), column] = torch.from_numpy(wanted)
    losses = model.token_losses(ids, targets)[0].double().numpy()
    sums = np.zeros((len(texts), words))
    for column, (_, owner) in enumerate(texts):
        np.add.at(sums[column], owner, losses[: len(owner), column])
    return sums


def _guesses(
    exact: ExactModel, trace: Trace, read: Reading, words: int, tokenizer: Tokenizer
) -> tuple[tuple[tuple[str, float], ...], ...]:
    """The likeliest tokens where each word begins, behind the space where that is a token."""
    heads = [int(np.flatnonzero(read.owner == j)[0]) if (read.owner == j).any() else 0
             for j in range(words)]  # fmt: skip
    blank = [not tokenizer.token_bytes(int(token)).strip() for token in read.ids]
    for j, head in enumerate(heads):
        inside = range(head, len(read.ids))
        heads[j] = next((t for t in inside if read.owner[t] != j or not blank[t]), head)
    heads = [min(head, len(read.ids) - 1) for head in heads]
    chances = exact.log_chances(trace.outputs[heads, 0]).exp()
    best, top = chances.topk(min(GUESSES, chances.shape[1]), dim=-1)
    return tuple(
        tuple(
            (tokenizer.token_text(token), round(chance, 4))
            for token, chance in zip(*row, strict=True)
        )
        for row in zip(top.tolist(), best.tolist(), strict=True)
    )


def _focus(
    runs: Sequence[Loaded], shown: Sequence[SeenRun], words: Sequence[SeenWord]
) -> tuple[int, str]:
    """The word that a picture begins with, and why, in a sentence; of classifiers the answer.

    It is the word, in the later two thirds and not just behind the first sentence, that becomes
    least likely to any run when the first sentence is left out. Where none does, it is the one
    whose prediction rests most on words far back: a word that is twice as far back counts twice, a
    change of more than a nat as one.
    """
    if shown[0].answer is not None:
        return len(words), ""
    first, count = _first_sentence(words), len(words)
    later = range(max(1, count // 3), count)
    behind = [j for j in later if j >= first + BEHIND]
    gains = np.array([_gains(run, words, first) for run in runs])[:, behind]  # (R, J)
    if gains.size and gains.max() >= FELT:
        row, column = np.unravel_index(int(gains.argmax()), gains.shape)
        focus, run = behind[int(column)], shown[int(row)]
        cell = display_name(run.cell)
        name = cell if run.name.upper() == cell else f"{cell} ({run.name})"
        return focus, (
            f"It opens at “{words[focus].text}”: without the first sentence, this word would be "
            f"{times(float(gains.max()))} times less likely for the {name}. No other word "
            "that far from the first sentence depends on it more."
        )

    def worth(j: int) -> float:
        back = np.minimum(np.arange(j, 0, -1), FAR)
        return max(
            float((np.minimum(np.abs(run.influence.left_out[j]), 1.0) * back).sum())
            for run in shown
        )

    focus = max(later, key=worth)
    return focus, (
        f"It opens at “{words[focus].text}”, the word whose prediction depends most on words far "
        "back. The first sentence makes no word far behind it more than 1.2 times likelier."
    )


def _gains(run: Loaded, words: Sequence[SeenWord], first: int) -> Floats:
    """(W,) nats by which each word becomes less likely without the first words, so many of them."""
    assert isinstance(run.model, LanguageModel)
    read = reading(run.tokenizer, words)
    parts = [read.only(read.owner >= since) for since in (0, first)]
    whole, without = word_losses(run.model, parts, [0, first], len(words))
    return np.asarray(np.nan_to_num(without - whole))
