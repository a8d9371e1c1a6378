"""Minimal pairs in a comparison: every language model is asked the same, and keeps its answers.

What a member answered stands in its run as ``results/pairs.json`` with the digest of the pairs, so
that comparing the runs later asks nothing again. The first member also keeps what an n-gram model
of its training text answers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rnnctl.compare.groups import Groups
from rnnctl.compare.summary import summarise
from rnnctl.errors import DataError
from rnnctl.results.base import Curve, Estimate, Warning_
from rnnctl.results.comparison import Member, PairRow, SeedSummary
from rnnctl.results.inference import PairGroup, PairProblem
from rnnctl.runs import Run
from rnnctl.wording import plural

if TYPE_CHECKING:
    from rnnctl.inference.pairs import Pair, Source


@dataclass(frozen=True)
class Asked:
    """The pairs that every member is asked, and the records that are none."""

    pairs: tuple[Pair, ...]
    problems: tuple[PairProblem, ...]
    digest: str


def read(sources: Iterable[Source], encoding: str) -> Asked:
    """The pairs of some sources in an encoding, or in UTF-8 where a source is that beyond doubt.

    Raises: DataError where there is none; UsageError for an encoding that does not exist.
    """
    from rnnctl.data.text import check_encoding
    from rnnctl.inference.lines import Encoding
    from rnnctl.inference.pairs import digest_of, read_pairs

    codec = check_encoding(encoding)
    found, problems, _ = read_pairs(sources, encoding=Encoding(codec, guessed=codec != "utf-8"))
    if not found:
        why = "".join(f": {one.source}:{one.line}: {one.error}" for one in problems[:1])
        raise DataError(
            f"there are no minimal pairs{why}", hint="`rnnctl pairs --help` describes the format"
        )
    return Asked(tuple(found), tuple(problems), digest_of(found, "sentence"))


def has_answered(path: Path, asked: Asked, *, baseline: bool) -> bool:
    """Whether a run keeps its answers to these pairs, given with the weights that it has.

    With `baseline` also those of an n-gram model, or why there is none.
    """
    kept = Run.open(path).present_result("pairs")
    if kept is None or kept.get("digest") != asked.digest:
        return False
    return not baseline or bool(kept.get("baseline") or kept.get("no_baseline"))


def measure(path: Path, asked: Asked, *, baseline: bool) -> None:
    """Ask a run, and with `baseline` an n-gram model of its text; write ``results/pairs.json``."""
    from rnnctl.inference.pairs import score_pairs, summarise
    from rnnctl.inference.score import Scorer
    from rnnctl.inference.training_text import by_document
    from rnnctl.tasks.loading import load

    loaded = load(path)
    # How far counting alone gets on these pairs, without any memory beyond a few words.
    losses, name, missing = None, "", ""
    if baseline:
        from rnnctl.diagnostics.material import PAIRS_ORDER, n_gram

        reference = n_gram(loaded, least_order=PAIRS_ORDER)
        if isinstance(reference, str):
            missing = reference
        else:
            losses, name = reference.losses, reference.name
    scorer = Scorer(loaded, ends=by_document(loaded))
    scored, unscored = score_pairs(scorer, asked.pairs, "sentence", losses)
    problems = [*asked.problems, *unscored]
    result = summarise(loaded, asked.pairs, scored, problems, what="sentence", baseline=name)
    loaded.run.keep_result("pairs", result.model_copy(update={"no_baseline": missing}))


def by_attractors(groups: Sequence[PairGroup]) -> Curve | None:
    """Accuracy against the number of attractors; None where pairs have no such number."""
    if not groups:
        return None
    found = [one.accuracy for one in groups]
    return Curve(
        x_unit="attractors",
        y_unit="share of right pairs",
        x=tuple(float(one.name) for one in groups),
        y=tuple(one.estimate for one in found),
        lo=tuple(one.ci95[0] for one in found),
        hi=tuple(one.ci95[1] for one in found),
        n=tuple(one.n for one in groups),
    )


def asked_alike(members: Sequence[Member], warnings: list[Warning_]) -> list[Member]:
    """The members with the answers of those left out that were asked other pairs than most."""
    digests = Counter(one.pairs.digest for one in members if one.pairs is not None)
    if not digests:
        return list(members)
    usual = digests.most_common(1)[0][0]  # so that as few answers as possible are left out
    others = [one for one in members if one.pairs is not None and one.pairs.digest != usual]
    silent = [one for one in members if one.pairs is None]
    if others:
        text = (
            f"{_named(others)} {'was' if len(others) == 1 else 'were'} tested on other minimal "
            "pairs than the other runs and left out there; `--pairs FILE` tests all on the same"
        )
        warnings.append(Warning_(code="PAIRS_APART", text=text))
    if noted := next((one.pairs.no_baseline for one in members if one.pairs is not None), ""):
        text = f"no n-gram model was tested on the minimal pairs: {noted}"
        warnings.append(Warning_(code="NO_BASELINE", text=text))
    if silent:
        text = f"not tested on minimal pairs: {_named(silent)}; `--pairs FILE` tests all runs"
        warnings.append(Warning_(code="PAIRS_MISSING", text=text))
    return [_without(one) if one in others else one for one in members]


def _named(members: Sequence[Member]) -> str:
    return members[0].path if len(members) == 1 else plural(len(members), "run")


def _without(member: Member) -> Member:
    values = {name: value for name, value in member.values.items() if name != "pairs"}
    curves = {name: curve for name, curve in member.curves.items() if name != "attractors"}
    return member.model_copy(update={"pairs": None, "values": values, "curves": curves})


def rows(groups: Groups) -> tuple[PairRow, ...]:
    """Accuracy of each row of a comparison, over all pairs and by phenomenon; the n-gram's last."""
    made: list[PairRow] = []
    beside: list[PairRow] = []
    for name, members in groups.items():
        answers = [one.pairs for one in members if one.pairs is not None]
        if not answers:
            continue
        kind = "untrained" if members[0].untrained else "trained"
        for number, phenomenon in enumerate(("", *(one.name for one in answers[0].phenomena))):
            found = [one.total if not number else one.phenomena[number - 1] for one in answers]
            # Over seeds, as every number of a row; each seed's own interval is over the pairs.
            over = summarise([one.accuracy for one in found], "linear", most=1.0)
            made.append(
                PairRow(
                    name=name, kind=kind, phenomenon=phenomenon, pairs=found[0].n, accuracy=over
                )
            )
        asked = next((one for one in answers if one.baseline), None)
        if asked is not None and not beside:
            for phenomenon, group in (("", asked.total), *((g.name, g) for g in asked.phenomena)):
                beside.append(_of_baseline(asked.baseline, phenomenon, group))
    return (*made, *beside)


def _of_baseline(name: str, phenomenon: str, group: PairGroup) -> PairRow:
    found = group.baseline_accuracy or Estimate(estimate=None, status="insufficient_data")
    known = () if found.estimate is None else (found.estimate,)
    over = SeedSummary(**{**found.model_dump(), "n": len(known)}, seeds=known)
    return PairRow(
        name=short_name(name), kind="baseline", phenomenon=phenomenon, pairs=group.n, accuracy=over
    )


def short_name(baseline: str) -> str:
    """``5-gram`` of its full description."""
    return next((word.strip(",") for word in baseline.split() if "-gram" in word), baseline)
