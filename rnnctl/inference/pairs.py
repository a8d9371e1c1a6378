"""Minimal pairs: does the model find the right sentence likelier than the wrong one?

A pair is two sentences that differ in what makes one of them wrong (Linzen et al. 2016; BLiMP,
Warstadt et al. 2020), or a beginning with the right and the wrong word to go on with. The
difference of a pair is nats(wrong) − nats(right): positive where the model is right. A tie counts
as half right.

Either whole sentences are compared, or the words that differ (`critical`): those between the common
beginning and the common end, given all that stands before them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from itertools import chain, islice
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from rnnctl.config import SourceKind
from rnnctl.data.cache import cache_directory
from rnnctl.data.columns import find_column
from rnnctl.data.packing import Reads
from rnnctl.data.records import Entry, entries
from rnnctl.data.tables import text_table
from rnnctl.data.text import lines, spool_stream
from rnnctl.errors import DataError, UsageError
from rnnctl.inference.lines import UTF_8, Encoding, read_text
from rnnctl.inference.score import Scorer
from rnnctl.inference.words import Plan, WordScorer
from rnnctl.integrity import digest_of as digest_of_parts
from rnnctl.results.base import Estimate
from rnnctl.results.inference import PairGroup, PairProblem, PairsResult
from rnnctl.statistics import wilson
from rnnctl.tasks.loading import Loaded, environment
from rnnctl.wording import plural

What = Literal["sentence", "critical"]
Losses = Callable[[NDArray[np.int64]], NDArray[np.float64]]
Floats = NDArray[np.float64]

GOOD = ("sentence_good", "good", "good_sentence", "grammatical", "acceptable", "right_sentence")
BAD = ("sentence_bad", "bad", "bad_sentence", "ungrammatical", "unacceptable", "wrong_sentence")
CONTEXT = ("context", "prefix", "prompt", "preamble", "stem")
RIGHT = ("right", "right_word", "correct", "correct_word", "good_word", "good")
WRONG = ("wrong", "wrong_word", "incorrect", "incorrect_word", "bad_word", "bad")
ATTRACTORS = ("attractors", "n_attractors", "num_attractors", "number_of_attractors", "n_attr")
PHENOMENON = ("UID", "phenomenon", "paradigm", "condition", "construction", "type", "category")
SAME = 1e-6  # two sums of nats that differ by less, relatively, are a tie: float32 holds no more
RESAMPLES = 1000
BATCH = 4096  # sentences scored at once
LENGTH_GROUPS = 4
LOOKED_AT = 1000  # records that say which fields there are


@dataclass(frozen=True)
class Pair:
    """One pair, and where it stands."""

    source: str
    line: int
    good: str
    bad: str
    phenomenon: str = ""
    attractors: int | None = None


@dataclass(frozen=True)
class Scored:
    """A pair and what the model says: nats of both sides, and unknown tokens in both sentences.

    `baseline`: the same two sums of the n-gram model, where there is one.
    """

    pair: Pair
    good: float
    bad: float
    unknown: int
    baseline: tuple[float, float] | None = None

    @property
    def difference(self) -> float:
        """nats(wrong) − nats(right); 0 where they are the same within rounding."""
        return _difference(self.good, self.bad)


@dataclass(frozen=True)
class Layout:
    """Which columns hold what. With a context, `good` and `bad` hold the words that follow it."""

    good: str
    bad: str
    context: str | None = None
    phenomenon: str | None = None
    attractors: str | None = None


@dataclass(frozen=True)
class Chosen:
    """Columns that the user names, in the place of the usual names."""

    good: str | None = None
    bad: str | None = None
    context: str | None = None
    by: str | None = None


NOTHING = Chosen()

# -- reading -------------------------------------------------------------------------------------


class Source(Protocol):
    """A stream of bytes, unpacked, what to call it, and how its name ends (".csv")."""

    @property
    def name(self) -> str: ...
    @property
    def stream(self) -> Reads: ...
    @property
    def suffix(self) -> str: ...


def read_pairs(
    sources: Iterable[Source],
    chosen: Chosen = NOTHING,
    *,
    encoding: Encoding = UTF_8,
    kind: SourceKind | None = None,
) -> tuple[list[Pair], list[PairProblem], list[str]]:
    """The pairs of all sources, what is wrong with those that are none, and how each was read.

    kind: how they are written; None: as their content looks.

    Raises: DataError for a source that cannot be read or is no table, UsageError for a column that
    is not there.
    """
    pairs: list[Pair] = []
    problems: list[PairProblem] = []
    ways: dict[str, list[str]] = {}
    for source in sources:
        layout, found, way = _opened(source, chosen, encoding, kind)
        ways.setdefault(way, []).append(source.name)
        for entry in found:
            one = _pair(source.name, entry, layout)
            if isinstance(one, Pair):
                pairs.append(one)
            else:
                problems.append(PairProblem(source=source.name, line=entry.line, error=one))
    notes = [
        f"{names[0] if len(names) == 1 else plural(len(names), 'file')}: {way}"
        for way, names in ways.items()
    ]
    return pairs, problems, notes


def _opened(
    source: Source, chosen: Chosen, encoding: Encoding, kind: SourceKind | None
) -> tuple[Layout, Iterator[Entry], str]:
    cache, name, suffix = cache_directory(), source.name, source.suffix
    text = BytesIO(b"".join(read_text(source.stream, name, encoding)))
    file = spool_stream(text, name=name, codec="utf-8", cache=cache)
    # Names by which a first line is known to be a header.
    fields = [one for one in (chosen.good, chosen.bad, chosen.context, chosen.by) if one]
    fields += [*GOOD, *BAD, *CONTEXT, *RIGHT, *WRONG]
    first = next((text for _, text in lines(file) if text.strip()), "")
    if not first:
        raise DataError(f"{name} is empty: it holds no pairs", hint="check the file")
    table = text_table(file, cache, suffix=suffix, given=kind, fields=fields)
    separated = kind is None and ("\t" in first or "," in first)
    if table is None and separated:  # a few lines do not look like a table
        table = text_table(file, cache, given="tsv" if "\t" in first else "csv", fields=fields)
    if table is None or table.format.kind == "lines":
        raise DataError(
            f"{name} is not a table of pairs",
            hint="write JSON lines with sentence_good and sentence_bad, or csv or tsv with two "
            "columns, good and bad",
        )
    columns = table.format.columns
    if table.format.kind in ("json", "jsonl"):
        # of several records: one that lacks a field must not decide for the others
        some = (e.cells for e in islice(entries(file, table.format), LOOKED_AT) if e.cells)
        columns = tuple(dict.fromkeys(name for cells in some for name in cells))
    layout = find_layout(columns, chosen, name)
    way = f"{table.format}; right = {layout.good}, wrong = {layout.bad}"
    if layout.context:
        way += f", context = {layout.context}"
    return layout, entries(file, table.format), way


def find_layout(columns: Sequence[str], chosen: Chosen, name: str) -> Layout:
    """Which columns hold what: those that were named, or those of the usual names.

    Raises: UsageError for a column that is not there, DataError where none is evident.
    """

    def pick(option: str, wanted: str | None, usual: Iterable[str]) -> str | None:
        if wanted is not None:
            found = find_column(columns, wanted)
            if found is None:
                raise UsageError(
                    f"{option} {wanted!r}: {name} has no such column",
                    hint="it has " + ", ".join(map(repr, columns)),
                )
            return found
        return next((found for one in usual if (found := find_column(columns, one))), None)

    context = pick("--context", chosen.context, CONTEXT)
    good = pick("--good", chosen.good, RIGHT if context else (*GOOD, *RIGHT))
    bad = pick("--bad", chosen.bad, WRONG if context else (*BAD, *WRONG))
    if good is None and bad is None and context is None and len(columns) == 2:
        good, bad = columns
    if good is None or bad is None:
        missing = "right" if good is None else "wrong"
        raise DataError(
            f"{name}: which column holds the {missing} sentence? It has "
            + ", ".join(map(repr, columns)),
            hint="name both: --good COLUMN --bad COLUMN; with --context COLUMN they hold words",
        )
    return Layout(
        good,
        bad,
        context,
        pick("--by", chosen.by, PHENOMENON),
        pick("--attractors", None, ATTRACTORS),
    )


def _pair(name: str, entry: Entry, layout: Layout) -> Pair | str:
    """The pair of a record, or what is wrong with it."""
    if entry.cells is None:
        return entry.problem
    texts = []
    for column in (layout.good, layout.bad):
        value = entry.cells.get(column)
        if not isinstance(value, str):
            return f"no {column!r}" if value is None else f"{column!r} holds no text"
        if not value.strip():
            return f"{column!r} is empty"
        texts.append(value.strip())
    if texts[0] == texts[1]:
        return f"{layout.good!r} and {layout.bad!r} are the same"
    if layout.context is not None:
        context = entry.cells.get(layout.context)
        if not isinstance(context, str) or not context.strip():
            return f"{layout.context!r} is empty"
        texts = [f"{context.strip()} {text}" for text in texts]
    return Pair(
        name,
        entry.line,
        texts[0],
        texts[1],
        phenomenon=_text(entry.cells, layout.phenomenon),
        attractors=_count(entry.cells, layout.attractors),
    )


def _text(cells: Mapping[str, Any], column: str | None) -> str:
    value = None if column is None else cells.get(column)
    return "" if value is None else str(value).strip()


def _count(cells: Mapping[str, Any], column: str | None) -> int | None:
    text = _text(cells, column)
    return int(text) if text.isdecimal() else None


# -- scoring -------------------------------------------------------------------------------------


def score_pairs(
    scorer: Scorer, pairs: Sequence[Pair], what: What, baseline: Losses | None = None
) -> tuple[list[Scored], list[PairProblem]]:
    """What the model, and the baseline where there is one, says of each pair; and why it does not.

    Each sentence is read from an empty state.
    """
    scored: list[Scored] = []
    problems: list[PairProblem] = []
    for begin in range(0, len(pairs), BATCH // 2):
        some = pairs[begin : begin + BATCH // 2]
        measure = _whole if what == "sentence" else _critical
        for pair, found in zip(some, measure(scorer, some, baseline), strict=True):
            if isinstance(found, Scored):
                scored.append(found)
            else:
                problems.append(PairProblem(source=pair.source, line=pair.line, error=found))
    return scored, problems


def _whole(
    scorer: Scorer, pairs: Sequence[Pair], baseline: Losses | None
) -> Iterator[Scored | str]:
    tallies = scorer.tally_texts([text for pair in pairs for text in (pair.good, pair.bad)])
    for pair, good, bad in zip(pairs, tallies[::2], tallies[1::2], strict=True):
        if not (math.isfinite(good.nats) and math.isfinite(bad.nats)):
            yield "the model's numbers overflow"
            continue
        found = Scored(pair, good.nats, bad.nats, good.unknown + bad.unknown)
        if baseline is not None:
            sums = (_baseline_nats(scorer, text, baseline) for text in (pair.good, pair.bad))
            found = replace(found, baseline=(next(sums), next(sums)))
        yield found


def _baseline_nats(
    scorer: Scorer, text: str, baseline: Losses, tokens: slice | None = None
) -> float:
    """The n-gram's nats of a text, or of some tokens of it; unknown ones charged as the model's."""
    tokenizer = scorer.tokenizer
    ids = tokenizer.encode(text)
    nats = baseline(ids.astype(np.int64)) + tokenizer.spelling_by_token(text)
    return float(nats[tokens].sum()) if tokens is not None else float(nats.sum())


def _critical(
    scorer: Scorer, pairs: Sequence[Pair], baseline: Losses | None
) -> Iterator[Scored | str]:
    texts = [text for pair in pairs for text in (pair.good, pair.bad)]
    words = WordScorer(scorer, Plan(entropy=False)).score(texts)
    for index, pair in enumerate(pairs):
        sides = words[2 * index : 2 * index + 2]
        problem = next((side for side in sides if isinstance(side, DataError)), None)
        if problem is not None:
            yield problem.message
            continue
        good, bad = (side for side in sides if not isinstance(side, DataError))
        spans = differing([word.text for word in good], [word.text for word in bad])
        if spans is None:
            yield "one sentence only adds words to the other: compare whole sentences"
            continue
        parts = [side[slice(*span)] for side, span in zip((good, bad), spans, strict=True)]
        sums = [math.fsum(word.nats or 0.0 for word in part) for part in parts]
        unknown = sum(word.unknown for part in parts for word in part)
        found = Scored(pair, sums[0], sums[1], unknown)
        if baseline is not None:
            found = replace(
                found,
                baseline=(
                    _baseline_nats(scorer, pair.good, baseline, _tokens(good, spans[0])),
                    _baseline_nats(scorer, pair.bad, baseline, _tokens(bad, spans[1])),
                ),
            )
        yield found


def _tokens(words: Sequence[Any], span: tuple[int, int]) -> slice:
    """The tokens of words `span`, which come in order: each word's follow those before it."""
    ends = np.cumsum([word.tokens for word in words])
    first = int(ends[span[0] - 1]) if span[0] else 0
    return slice(first, int(ends[span[1] - 1]))


def differing(
    good: Sequence[str], bad: Sequence[str]
) -> tuple[tuple[int, int], tuple[int, int]] | None:
    """The words between the common beginning and the common end, as first and end in each.

    None where one of the two has none there: it lacks words and has no others in their place.
    """
    shortest = min(len(good), len(bad))
    same = 0
    while same < shortest and good[same] == bad[same]:
        same += 1
    behind = 0
    while behind < shortest - same and good[-1 - behind] == bad[-1 - behind]:
        behind += 1
    spans = (same, len(good) - behind), (same, len(bad) - behind)
    return None if any(first == end for first, end in spans) else spans


def _difference(good: float, bad: float) -> float:
    near = SAME * max(1.0, abs(good), abs(bad))
    return 0.0 if abs(bad - good) <= near else bad - good


# -- summing up ----------------------------------------------------------------------------------


def digest_of(pairs: Iterable[Pair], what: What) -> str:
    """SHA-256 of what is asked, whatever file it comes from: two runs that were asked the same."""
    asked = ([one.good, one.bad, one.phenomenon, one.attractors] for one in pairs)
    return digest_of_parts(chain([what.encode()], (json.dumps(one).encode() for one in asked)))


def summarise(
    loaded: Loaded,
    pairs: Sequence[Pair],
    scored: Sequence[Scored],
    problems: Sequence[PairProblem],
    *,
    what: What,
    seed: int = 0,
    baseline: str = "",
) -> PairsResult:
    """Accuracies and mean differences of all pairs, by phenomenon, length and attractors.

    `pairs` are those that were read, `scored` those of them that have an answer.
    """
    by_phenomenon = _grouped(scored, lambda one: one.pair.phenomenon)
    named = {name: some for name, some in by_phenomenon.items() if name}
    by_attractors = _grouped(scored, lambda one: one.pair.attractors)
    counted = sorted((k, some) for k, some in by_attractors.items() if k is not None)
    phenomena = tuple(_group(str(k), some, seed) for k, some in sorted(named.items()))
    shares = [one.accuracy.estimate for one in phenomena if one.accuracy.estimate is not None]
    return PairsResult(
        environment=environment(loaded),
        seed=seed,
        run=str(loaded.run.path),
        digest=digest_of(pairs, what),
        sources=tuple(dict.fromkeys(one.source for one in pairs)),
        what=what,
        total=_group("all", scored, seed),
        mean_of_phenomena=sum(shares) / len(shares) if len(shares) > 1 else None,
        phenomena=phenomena,
        lengths=tuple(_group(name, some, seed) for name, some in _by_length(scored)),
        attractors=tuple(_group(str(k), some, seed) for k, some in counted),
        unknown=sum(one.unknown > 0 for one in scored),
        baseline=baseline,
        problems=tuple(problems),
    )


def _grouped(scored: Iterable[Scored], key: Callable[[Scored], Any]) -> dict[Any, list[Scored]]:
    found: dict[Any, list[Scored]] = {}
    for one in scored:
        found.setdefault(key(one), []).append(one)
    return found


def _by_length(scored: Sequence[Scored]) -> Iterator[tuple[str, list[Scored]]]:
    """At most four groups of about equal size, by the words of the right sentence."""
    lengths = np.array([len(one.pair.good.split()) for one in scored])
    if len(set(lengths.tolist())) < 2:
        return
    shares = np.linspace(0, 1, LENGTH_GROUPS + 1)[1:-1]
    cuts = sorted({int(c) for c in np.quantile(lengths, shares, method="lower")} - {lengths.max()})
    cuts = cuts or [int(lengths[lengths < lengths.max()].max())]  # most are as long as the longest
    place = np.searchsorted(cuts, lengths, side="left")  # a cut is the last length of its group
    for group in range(len(cuts) + 1):
        members = np.flatnonzero(place == group)
        if len(members):
            low, high = lengths[members].min(), lengths[members].max()
            name = f"{low} words" if low == high else f"{low} to {high} words"
            yield name, [scored[i] for i in members.tolist()]


def _group(name: str, scored: Sequence[Scored], seed: int) -> PairGroup:
    own = np.array([one.difference for one in scored])
    beside = [_difference(*one.baseline) for one in scored if one.baseline is not None]
    return PairGroup(
        name=name,
        n=len(scored),
        ties=int((own == 0).sum()),
        accuracy=_accuracy(own),
        difference=_mean(own, seed),
        baseline_accuracy=_accuracy(np.array(beside)) if beside else None,
        baseline_difference=_mean(np.array(beside), seed) if beside else None,
    )


def _accuracy(differences: Floats) -> Estimate:
    """The share of right pairs, a tie counting half, with Wilson's interval."""
    right = float((differences > 0).sum() + 0.5 * (differences == 0).sum())
    found = wilson(right, len(differences))
    if not len(differences):
        return Estimate(estimate=None, status="insufficient_data", note="there is no pair")
    return Estimate(estimate=found.estimate, ci95=(found.lo, found.hi), n=len(differences))


def _mean(differences: Floats, seed: int) -> Estimate:
    """The mean with a percentile bootstrap interval over pairs."""
    if not len(differences):
        return Estimate(estimate=None, status="insufficient_data", note="there is no pair")
    mean = float(differences.mean())
    if len(differences) < 2:
        return Estimate(estimate=mean, n=1, unit="nats", note="one pair has no interval")
    # scipy takes long to import, and nothing else here needs it.
    from scipy.stats import bootstrap

    found = bootstrap(
        (differences,),
        np.mean,
        n_resamples=RESAMPLES,
        batch=max(1, (1 << 22) // len(differences)),
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    ends = (float(found.low), float(found.high))
    return Estimate(estimate=mean, ci95=ends, n=len(differences), unit="nats")
