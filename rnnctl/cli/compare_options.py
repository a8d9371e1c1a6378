"""From the options of `rnnctl compare` to a plan."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal, get_args

import typer

from rnnctl import catalog
from rnnctl.cli.options import dry_run, option
from rnnctl.cli.setting_options import of_setting
from rnnctl.compare import plan
from rnnctl.compare.plan import Planned, Settings, hidden_sizes
from rnnctl.config import Init
from rnnctl.errors import UsageError
from rnnctl.machine import available_cores

if TYPE_CHECKING:
    from rnnctl.compare.experiment import Machine
    from rnnctl.config import RunConfig

USUAL: Final = Settings()
BUNDLED_SEEDS = 2
# Parameters of `rnnctl train` that the plan sets for each member -> what says it to `compare`.
OURS: Final[Mapping[str, str]] = {
    "sources": "name the corpus outside of --train",
    "task": "use --task",
    "cell": "use --cells",
    "init": "use --inits",
    "hidden_size": "use --hidden-size outside of --train",
    "embedding_size": "use --embedding-size outside of --train",
    "layers": "use --layers outside of --train",
    "lr": "use --rates grid, which searches them",
    "steps": "use --steps outside of --train",
    "epochs": "use --epochs outside of --train",
    "budget": "use --budget outside of --train",
    "seed": "use --seeds",
    "threads": "use --jobs",
    "workers": "use --jobs",
    "run": "use --run-root",
    "resume": "leave it out; the same command continues a comparison that was stopped",
    "overwrite": "leave it out; another --run-root starts a new comparison",
    "folds": "leave it out; compare trains each row once per seed",
    "config": "name its options one by one",
    "output": "use -o outside of --train",
}


GRID, SIZES, WORK, REPORT = "What is compared", "Sizes and training", "Work", "Report"
# Outside of the class, where the name `dry_run` is the field's.
DryRun = Annotated[bool, dry_run(WORK, "Prints one command per line.")]


@dataclass(frozen=True)
class Design:
    """What is compared, and how it is trained, in the order of the help of ``rnnctl compare``."""

    what: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="CORPUS|RUN",
            help="A corpus to train on, as for `train`; or finished runs (or folders of runs) to "
            "compare without training.  [default: the bundled paragraphs]",
        ),
    ] = None
    cells: Annotated[
        str, option(GRID, "Cells to compare, separated by commas.", metavar="NAMES")
    ] = ",".join(USUAL.cells)
    inits: Annotated[
        str,
        option(
            GRID,
            "Initial weights to train each cell with, separated by commas: torch, good or chrono "
            '(with --train "--horizon N"; a plain RNN then takes good).',
            metavar="NAMES",
        ),
    ] = ",".join(USUAL.inits)
    match: Annotated[
        plan.Match,
        option(
            GRID,
            "What the cells are matched on: equal numbers of recurrent parameters, equal training "
            "time, equal optimizer steps, or equal hidden sizes. All train on the same text.",
        ),
    ] = USUAL.match
    seeds: Annotated[
        int | None,
        option(
            GRID,
            "Trainings for each row (a cell with its initial weights), each with its own seed.  "
            "[default: 5, or 2 on the bundled paragraphs]",
            min=1,
        ),
    ] = None
    rates: Annotated[
        Literal["shipped", "grid"],
        option(
            GRID, "Learning rates: from rnnctl's table (shipped), or searched for each row (grid)."
        ),
    ] = USUAL.rates
    recall: Annotated[
        bool,
        option(
            GRID,
            "Also train and test each row on a recall task: name the symbol that stood at the "
            "beginning.",
            "--recall/--no-recall",
            show_default="yes",
        ),
    ] = True
    recall_lags: Annotated[
        str,
        option(
            GRID,
            "Distances over which the symbol must be recalled, in tokens, separated by commas.",
            metavar="N,…",
        ),
    ] = "20"
    recall_seeds: Annotated[
        int, option(GRID, "Trainings of each row on the recall task.", min=1)
    ] = USUAL.recall_seeds
    pairs: Annotated[
        list[Path] | None,
        option(
            GRID,
            "Also test every language model, and an n-gram model, on these minimal pairs (a file "
            "that `rnnctl pairs` reads). Can be given several times.",
            metavar="FILE",
        ),
    ] = None
    task: Annotated[str, of_setting("task", SIZES)] = USUAL.task
    hidden_size: Annotated[
        str,
        option(
            SIZES,
            "Units in each recurrent layer of the LSTM; the other cells are matched to it. With "
            "--match steps you can also give one size for each cell: rnn=N,lstm=N,gru=N.",
            metavar="N",
        ),
    ] = "128"
    embedding_size: Annotated[
        int, of_setting("embedding_size", SIZES, min=1, show_default=True)
    ] = USUAL.embedding_size
    layers: Annotated[int, of_setting("num_layers", SIZES, min=1)] = USUAL.layers
    steps: Annotated[
        int | None,
        option(
            SIZES,
            "Optimizer steps of each training.  [default: 300, unless --epochs or --budget is "
            "given]",
            min=1,
        ),
    ] = None
    epochs: Annotated[
        float | None,
        option(SIZES, "Passes of each training over the training text."),
    ] = None
    budget: Annotated[
        str | None,
        option(
            SIZES,
            "Total time for all trainings on the text, such as 20m or 2h.",
            metavar="TIME",
        ),
    ] = None
    train: Annotated[
        str,
        option(
            SIZES,
            "More options of `rnnctl train` for every training, in quotes: "
            '"--level word --dropout 0.2".',
            metavar="OPTIONS",
        ),
    ] = ""
    jobs: Annotated[
        int | None,
        option(
            WORK,
            "Trainings that run at the same time.  [default: one for each core]",
            min=1,
        ),
    ] = None
    run_root: Annotated[
        Path | None,
        option(
            WORK,
            "Folder for the runs of this comparison.  [default: a folder in runs/, named after the "
            "corpus and the options]",
            metavar="DIR",
        ),
    ] = None
    dry_run: DryRun = False
    measure: Annotated[
        bool,
        option(
            WORK,
            "For finished runs: also measure their speed, and which state carries the memory (by "
            "exchanging states between texts). Needs their corpus.",
            "--measure",
        ),
    ] = False


def read_settings(given: Design) -> Settings:
    """The plan that the options describe. UsageError for values that are not possible."""
    what = tuple(given.what or ())
    if "-" in what:
        raise UsageError(
            "compare trains several times and cannot read its corpus from standard input",
            hint="write it to a file first",
        )
    options = _options(given.train)
    settings = Settings(
        sources=what,
        task=given.task,
        cells=_list(given.cells, catalog.names("cell"), "--cells"),
        inits=_inits(given.inits, options),
        match=given.match,
        seeds=given.seeds or (USUAL.seeds if what else BUNDLED_SEEDS),
        sizes=_sizes(given.hidden_size),
        embedding_size=given.embedding_size,
        layers=given.layers,
        limit=_limit(given),
        rates=given.rates,
        options=options,
        recall_lags=_lags(given.recall_lags) if given.recall else (),
        recall_seeds=given.recall_seeds,
    )
    hidden_sizes(settings)
    return settings


def _options(text: str) -> tuple[str, ...]:
    """The words of `--train`. UsageError for what would undo the plan: its seeds, cells, sizes."""
    try:
        words = shlex.split(text)
    except ValueError:
        raise UsageError(
            f"--train {text}: a quotation mark is not closed",
            hint='for example: --train "--level word --dropout 0.2"',
        ) from None
    from rnnctl.cli.app import load_command

    command = load_command("train")
    context = command.make_context("train", list(words))
    for parameter in command.params:
        source = context.get_parameter_source(parameter.name)
        if parameter.name in OURS and source is not None and source.name == "COMMANDLINE":
            named = "a corpus" if parameter.name == "sources" else parameter.opts[0]
            raise UsageError(
                f"--train: {named} is set by compare itself, for each training",
                hint=OURS[parameter.name],
            )
    return tuple(words)


def _list(text: str, known: Sequence[str], option: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    for name in names:
        if name not in known:
            raise UsageError(
                f"{option}: {name!r} is not known", hint=f"choose from: {', '.join(known)}"
            )
    if not names:
        raise UsageError(f"{option} is empty", hint=f"for example: {','.join(known)}")
    return names


def _inits(text: str, options: Sequence[str]) -> tuple[str, ...]:
    inits = _list(text, get_args(Init), "--inits")
    if "chrono" in inits and not any(one.startswith("--horizon") for one in options):
        raise UsageError(
            "--inits chrono needs to know how many tokens the gates keep at first",
            hint='for example: --train "--horizon 100"',
        )
    return inits


def _lags(text: str) -> tuple[int, ...]:
    try:
        lags = tuple(sorted({int(part) for part in text.split(",")}))
    except ValueError:
        lags = (0,)
    if min(lags) < 1:
        raise UsageError(
            f"--recall-lags {text}: not a list of tokens", hint="for example: --recall-lags 20,40"
        )
    return lags


def _sizes(text: str) -> tuple[tuple[str, int], ...]:
    try:
        pairs = [part.split("=") if "=" in part else ["", part] for part in text.split(",")]
        sizes = tuple((cell.strip(), int(size)) for cell, size in pairs)
    except ValueError:
        sizes = ()
    if not sizes or any(size < 1 for _, size in sizes):
        raise UsageError(
            f"--hidden-size {text}: not a size", hint="for example: 128, or rnn=304,lstm=128"
        )
    return sizes


def _limit(given: Design) -> tuple[str, str]:
    from rnnctl.cli.setting_options import seconds

    named = [name for name in ("steps", "epochs", "budget") if getattr(given, name) is not None]
    if len(named) > 1:
        raise UsageError(
            "--steps, --epochs and --budget each say how long to train", hint="give one of them"
        )
    if not named:
        return ("--budget", "240s") if given.match == "time" else USUAL.limit
    if given.budget is not None:
        return "--budget", f"{seconds(given.budget, '--budget'):g}s"
    return f"--{named[0]}", f"{getattr(given, named[0]):g}"


def run_root(settings: Settings) -> Path:
    """runs/compare-<corpus>-<fingerprint>: the same command finds its runs again."""
    first = Path(settings.sources[0]).name.partition(".")[0] if settings.sources else "bundled"
    stem = "".join(char if char.isalnum() else "-" for char in first).strip("-")[:40] or "text"
    return Path("runs") / f"compare-{stem}-{settings.fingerprint()[:8]}"


def machine(settings: Settings, jobs: int | None) -> Machine:
    """How many members at a time, with how many threads each."""
    from rnnctl.compare.experiment import Machine
    from rnnctl.compare.grid import workers_and_threads

    available = available_cores()
    workers, threads = workers_and_threads(available, jobs=jobs, serial=settings.match == "time")
    return Machine(workers, threads, available)


def config_on_text(planned: Sequence[Planned]) -> RunConfig:
    """The settings of the first member on the text, which has its corpus in common with the others.

    Raises what `rnnctl train` would for settings that are not possible.
    """
    from rnnctl.cli.app import load_command
    from rnnctl.cli.setting_options import settings_given
    from rnnctl.tasks.recipes import resolve

    first = next(one for one in planned if one.stage != "recall")
    context = load_command("train").make_context("train", list(first.arguments))
    return resolve(settings_given(context.params))


def check_members(planned: Sequence[Planned], *, corpus: bool) -> None:
    """Find out before anything trains whether the members' options are possible.

    With `corpus` their corpus is opened too. Raises what `rnnctl train` would.
    """
    config = config_on_text(planned)
    if corpus:
        from rnnctl.data.cache import cache_directory
        from rnnctl.data.corpus import open_corpus

        open_corpus(config.corpus, task=config.model.task, cache=cache_directory())


# What becomes of the result.

Html = Annotated[
    Path | None,
    option(
        REPORT,
        "Also write the report as a page that works offline, with charts and a text word by word.",
        metavar="FILE",
    ),
]
Verbose = Annotated[
    bool,
    typer.Option(
        "--verbose",
        "-v",
        help="Print all tables, curves, reasons and warnings. Without it the table has at most 24 "
        "lines.",
    ),
]
Chart = Annotated[
    str | None,
    option(
        REPORT,
        "With --plot: draw only this chart. NAME is learning, context, effect, recall, gradient, "
        "speed or forest.",
        metavar="NAME",
    ),
]
