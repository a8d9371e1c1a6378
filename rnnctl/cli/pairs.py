"""`rnnctl pairs`: minimal pairs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rnnctl.cli import console, inputs
from rnnctl.cli import filter_options as f
from rnnctl.cli.answered import Problems
from rnnctl.cli.options import Output, RunArgument, option, takes_groups
from rnnctl.cli.setting_options import SeedOption
from rnnctl.errors import DataError, UsageError, word

if TYPE_CHECKING:
    from rnnctl.inference.pairs import Scored, What
    from rnnctl.results.inference import PairProblem

PAIRS = "Pairs"

Files = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="[FILE]...",
        help="Files of JSON lines, csv or tsv (may be compressed), or folders and archives of "
        "them. `-` is standard input, which is also read if no FILE is given in a pipe.",
    ),
]
Critical = Annotated[
    bool,
    option(
        PAIRS,
        "Compare only the words that differ, given the words before them, instead of whole "
        "sentences.",
        "--critical",
    ),
]
Good = Annotated[
    str | None,
    option(
        PAIRS,
        "Column with the right sentence (or word).",
        metavar="COLUMN",
        show_default="found by its name",
    ),
]
Bad = Annotated[
    str | None,
    option(
        PAIRS,
        "Column with the wrong sentence (or word).",
        metavar="COLUMN",
        show_default="found by its name",
    ),
]
Context = Annotated[
    str | None,
    option(
        PAIRS,
        "Column with the beginning of the sentence, before the right or the wrong word.",
        metavar="COLUMN",
        show_default="found by its name",
    ),
]
By = Annotated[
    str | None,
    option(
        PAIRS,
        "Column with the phenomenon: results are also given for each.",
        metavar="COLUMN",
        show_default="UID, phenomenon, condition or a similar name",
    ),
]
Baseline = Annotated[
    bool, option(PAIRS, "Also test an n-gram model of the run's training text.", "--baseline")
]
Each = Annotated[
    Path | None,
    option(
        PAIRS,
        "Also write one row for each pair to this csv file.",
        metavar="FILE",
    ),
]


@takes_groups
def pairs(
    run: RunArgument,
    files: Files = None,
    *,
    critical: Critical = False,
    good: Good = None,
    bad: Bad = None,
    context: Context = None,
    by: By = None,
    baseline: Baseline = False,
    each: Each = None,
    read_as: f.ReadAs = None,
    encoding: f.EncodingOption = None,
    to: Output,
    seed: SeedOption = 0,
    machine: f.MachineOptions,
) -> int:
    """Ask which of two sentences a model finds likelier (minimal pairs).

    Reads the JSON lines of BLiMP (sentence_good, sentence_bad, UID), tables with two columns, and
    tables with a context, the right and the wrong word, and the number of attractors. Prints the
    share of right pairs with 95 % intervals, and the mean difference in nats, for all pairs, by
    phenomenon, by length and by attractors. A tie counts as half right. Each sentence is read from
    an empty state.

    A record that is not a pair is reported and left out; the exit code is then 1.
    """
    sources, command = files or [], f"pairs {word(run)}"
    inputs.check(sources, command)
    from rnnctl.inference.pairs import Chosen, read_pairs, score_pairs, summarise
    from rnnctl.inference.score import Scorer
    from rnnctl.inference.training_text import by_document

    what: What = "critical" if critical else "sentence"
    loaded = machine.load(run)
    found, problems, notes = read_pairs(
        inputs.opened(sources, command),
        Chosen(good, bad, context, by),
        encoding=f.encoding_of(loaded, encoding),
        kind=read_as,
    )
    for note in notes:
        console.note(console.from_here(note))
    scorer = Scorer(loaded, ends=by_document(loaded))
    losses, name = None, ""
    if baseline:
        from rnnctl.diagnostics.material import PAIRS_ORDER, n_gram

        reference = n_gram(loaded, least_order=PAIRS_ORDER)
        if isinstance(reference, str):
            raise UsageError(
                f"--baseline: {reference}",
                hint="leave it out; training the run once more brings its text back",
            )
        losses, name = reference.losses, reference.name
    scored, unscored = score_pairs(scorer, found, what, losses)
    problems += unscored
    tell(problems)
    if not scored:
        raise DataError("no pair could be scored", hint="see the messages above, or the input")
    result = summarise(loaded, found, scored, problems, what=what, seed=seed, baseline=name)
    if each is not None:
        from rnnctl.reports.rows import separated

        console.write_file(each, separated([_COLUMNS, *_rows(scored)]), "--each")
    to.emit(result)
    return 1 if problems else 0


def tell(problems: Sequence[PairProblem]) -> None:
    """Each problem in a line of its own; the rest of very many in one."""
    told = Problems()
    for problem in problems:
        told.tell(f"{problem.source}:{problem.line}: {problem.error}")
    told.report("more record", "; --format json lists all of them")


_COLUMNS = (
    "source", "line", "phenomenon", "attractors", "good", "bad", "nats_good", "nats_bad",
    "difference", "unknown", "baseline_difference",
)  # fmt: skip


def _rows(scored: Sequence[Scored]) -> Iterator[list[object]]:
    for one in scored:
        pair = one.pair
        beside = "" if one.baseline is None else one.baseline[1] - one.baseline[0]
        attractors = "" if pair.attractors is None else pair.attractors
        yield [
            pair.source, pair.line, pair.phenomenon, attractors, pair.good, pair.bad,
            one.good, one.bad, one.difference, one.unknown, beside,
        ]  # fmt: skip
