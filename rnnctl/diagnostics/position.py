"""POSITION (D6): does a sentence count the same wherever it stands in a text?

P1: the sentences of held-out texts are put in random order, which removes "the conclusion comes
last"; one of them is put into each fifth of the text in turn, and replaced by neutral filler of
equal length: the drop of the true label's margin, by fifth. Score: first fifth over last.
P2: the first (or last) quarter of a text is replaced by neutral filler, or by the same quarter of a
text with another label. A bag of words goes through the same as a reference: its true ratio is 1.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import logsumexp

from rnnctl import statistics
from rnnctl.diagnostics import curves
from rnnctl.diagnostics.effect import batched_logits
from rnnctl.diagnostics.sample import Floats, Ids, Sample, split_sentences
from rnnctl.diagnostics.settings import Settings
from rnnctl.diagnostics.subject import ClassifierSubject
from rnnctl.results.base import Curve, Estimate
from rnnctl.results.diagnostics import PositionRecord, Sampling
from rnnctl.wording import plural

FIFTHS = 5
FEWEST_SENTENCES = 8
"""Of a text: with fewer of them a fifth is one sentence or none."""
FEWEST_TEXTS = 8
"""Behind an interval; of fewer than six a bootstrap is too narrow whatever percentile is taken."""


def measure(
    subject: ClassifierSubject,
    sample: Sample,
    settings: Settings,
    filler: Sequence[Ids],
    reference: ClassifierSubject | None = None,
) -> PositionRecord:
    """P1 and P2 on the labelled texts of `sample`, with the same of `reference` beside.

    filler: neutral sentences, ids (T,) each.
    """
    if sample.labels is None or len(np.unique(sample.labels)) < 2:
        return _nothing("POSITION needs texts of at least two labels")
    if not filler:
        return _nothing("there is no neutral filler")
    draw = np.random.default_rng((settings.seed, 50))
    parts = [split_sentences(ids, sample) for ids in sample.ids]
    long_enough = [k for k, cut in enumerate(parts) if len(cut) >= FEWEST_SENTENCES]
    if len(long_enough) < FEWEST_TEXTS:
        return _nothing(
            f"{plural(len(long_enough), 'text has', 'texts have')} {FEWEST_SENTENCES} sentences; "
            f"{FEWEST_TEXTS} are needed"
        )
    chosen = draw.permutation(long_enough)[: settings.reviews]
    truth = sample.labels[chosen]
    # One long neutral text, of which every piece of filler is cut.
    stream = np.concatenate([filler[int(k)] for k in draw.permutation(len(filler))])
    texts, shown = _occluded([parts[int(k)] for k in chosen], stream, draw)
    quarters, givers = _quarters([sample.ids[int(k)] for k in chosen], truth, stream, draw)
    scalars: dict[str, Estimate] = {}
    drawn: dict[str, Curve] = {}
    for prefix, model in (("", subject), ("reference_", reference)):
        if model is not None:
            found, name = _first_over_last(model, texts, shown, truth, settings)
            scalars[f"{prefix}first_over_last"], drawn[f"{prefix}occlusion"] = found, name
            scalars |= _early_value(model, quarters, givers, truth, settings, prefix)
    ratio = scalars["first_over_last"]
    return PositionRecord(
        status=ratio.status,
        note=ratio.note,
        sampling=Sampling(
            unit="document",
            n=len(chosen),
            items=len(chosen),
            documents_long_enough=len(long_enough),
        ),
        scalars=scalars,
        curves=drawn,
        text_length=sample.distance(float(np.median(sample.lengths[chosen]))),
    )


def _nothing(note: str) -> PositionRecord:
    return PositionRecord(status="insufficient_data", note=note)


def _occluded(
    texts: list[list[Ids]], stream: Ids, draw: np.random.Generator
) -> tuple[list[Ids], int]:
    """One sentence of each text in each fifth of the others in random order, and filler there.

    Returns 2 * FIFTHS versions of every text after each other, and that number. The same sentence
    and the same filler serve every fifth, so that a bag of words has a ratio of exactly 1.
    """
    versions: list[Ids] = []
    for parts in texts:
        # Order is drawn anew: in reviews the last sentence is the verdict, and its place would seem
        # to matter where only its content does.
        first, *rest = (parts[int(k)] for k in draw.permutation(len(parts)))
        # Filler of the same length, so that what is behind it stays where it is.
        neutral = _piece(stream, len(first), draw)
        for fifth in range(FIFTHS):
            low = fifth * (len(rest) + 1) // FIFTHS
            high = max(low + 1, (fifth + 1) * (len(rest) + 1) // FIFTHS)
            k = int(draw.integers(low, high))
            for piece in (first, neutral):
                versions.append(np.concatenate([*rest[:k], piece, *rest[k:]]))
    return versions, 2 * FIFTHS


def _piece(stream: Ids, length: int, draw: np.random.Generator) -> Ids:
    """`length` tokens of the neutral text, from anywhere."""
    start = int(draw.integers(len(stream)))
    return np.take(stream, np.arange(start, start + length), mode="wrap")


def _margins(logits: Floats, truth: Ids) -> Floats:
    """The true label's log-odds against all others together: (N,)."""
    rows = np.arange(len(truth))
    others = logits.copy()
    # The log-sum-exp of the others and not the strongest alone: with many labels that one changes.
    others[rows, truth] = -np.inf
    margins: Floats = logits[rows, truth] - logsumexp(others, axis=1)
    return margins


def _first_over_last(
    model: ClassifierSubject, texts: list[Ids], versions: int, truth: Ids, settings: Settings
) -> tuple[Estimate, Curve]:
    margins = _margins(batched_logits(model, texts), np.repeat(truth, versions))
    table = margins.reshape(len(truth), versions)
    # With the sentence minus with filler in its place, in the same text: all else cancels.
    drops = table[:, 0::2] - table[:, 1::2]  # (N, FIFTHS)
    means = curves.Sums(drops, np.ones_like(drops), settings).means
    shown = curves.curve(
        (np.arange(FIFTHS) + 0.5) / FIFTHS,
        means,
        [len(drops)] * FIFTHS,
        x_unit="share of the text",
        y_unit="nats of margin",
    )
    if means.lo[-1] <= 0:  # a ratio to something that may be 0 has no interval
        note = "a sentence in the last fifth has no measurable effect: the ratio is not defined"
        return curves.missing("undefined", note), shown
    # First and last fifth of the same texts, in the same resamples: their errors partly cancel.
    ratio = means.estimate[0] / means.estimate[-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        replicates = means.replicates[:, 0] / means.replicates[:, -1]
    return curves.estimate(float(ratio), replicates, n=len(drops), unit="ratio"), shown


def _quarters(
    texts: list[Ids], truth: Ids, stream: Ids, draw: np.random.Generator
) -> tuple[dict[str, list[Ids]], dict[str, Ids]]:
    """The texts as they are, and with a quarter replaced in four ways.

    Also which texts (N,) the quarters are of, in those ways in which they are of another text.
    """
    versions: dict[str, list[Ids]] = {"whole": texts}
    givers: dict[str, Ids] = {}
    for end in ("first", "last"):
        partners = _partners(truth, draw)
        filled, opposed = [], []
        for ids, partner in zip(texts, partners, strict=True):
            length = len(ids) // 4
            filled.append(_replaced(ids, end, _piece(stream, length, draw)))
            # at the same end: an opening is replaced by an opening
            other = texts[int(partner)]
            other = other[:length] if end == "first" else other[max(0, len(other) - length) :]
            opposed.append(_replaced(ids, end, np.resize(other, length)))
        versions |= {f"{end}_filler": filled, f"{end}_opposite": opposed}
        givers[f"{end}_opposite"] = partners
    return versions, givers


def _partners(truth: Ids, draw: np.random.Generator) -> Ids:
    """For each text one of another label (N,).

    Each serves as often as any other: what one text does to many would be a large error of all.
    """
    found = np.empty(len(truth), dtype=np.int64)
    for label in np.unique(truth):
        mine, others = np.flatnonzero(truth == label), np.flatnonzero(truth != label)
        found[mine] = np.resize(draw.permutation(others), len(mine))
    return found


def _replaced(ids: Ids, end: str, other: Ids) -> Ids:
    rest = len(ids) - len(other)
    parts = [other, ids[len(other) :]] if end == "first" else [ids[:rest], other]
    return np.concatenate(parts)


def _early_value(
    model: ClassifierSubject,
    versions: dict[str, list[Ids]],
    givers: dict[str, Ids],
    truth: Ids,
    settings: Settings,
    prefix: str,
) -> dict[str, Estimate]:
    """Change of loss (nats) and accuracy, and share of flipped answers, per replacement.

    `givers`: the texts (N,) that a replacement takes its quarters from. A telling quarter that is
    gone from one text weighs in another, which then are no independent errors.
    """
    every, ones = np.arange(len(truth)), np.ones(len(truth))
    logits = {name: batched_logits(model, texts) for name, texts in versions.items()}
    whole = logits.pop("whole")
    found = {}
    for name, changed in logits.items():
        measures = {
            "loss": (_nats(changed, truth) - _nats(whole, truth), "nats"),
            "accuracy": (_right(changed, truth) - _right(whole, truth), "share"),
        }
        flips = (changed.argmax(1) != whole.argmax(1)).astype(np.float64)
        found[f"{prefix}{name}_flips"] = _share(flips, givers.get(name))
        for measure_name, (values, unit) in measures.items():
            if name in givers:
                weights = statistics.dyadic_weights(
                    values, every, givers[name], resamples=settings.resamples, seed=settings.seed
                )
                mean = statistics.ratio_of_means(values, ones, weights)
            else:
                mean = curves.Sums(values, ones, settings).means
            found[f"{prefix}{name}_{measure_name}"] = curves.first(mean, n=len(truth), unit=unit)
    return found


def _share(flips: Floats, givers: Ids | None) -> Estimate:
    """The share of flips (N,), with Wilson's interval of so many independent ones as vary so."""
    found = curves.share(flips, np.ones(len(flips)))
    if givers is None:
        return found
    alike = len(flips) / statistics.dyadic_excess(flips, np.arange(len(flips)), givers)
    wider = statistics.wilson(float(flips.mean()) * alike, alike)
    return found.model_copy(update={"ci95": (wider.lo, wider.hi)})


def _nats(logits: Floats, truth: Ids) -> Floats:
    return np.logaddexp(0.0, -_margins(logits, truth))  # −ln σ(margin), which cannot overflow


def _right(logits: Floats, truth: Ids) -> Floats:
    right: Floats = (logits.argmax(1) == truth).astype(np.float64)
    return right
