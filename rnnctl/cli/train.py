"""``rnnctl train``: from text to a run."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rnnctl.cli import console, inputs
from rnnctl.cli.idle import Idle, given, idle, missing
from rnnctl.cli.options import Output, dry_run, option, takes_groups
from rnnctl.cli.progress import follow, is_live
from rnnctl.cli.setting_options import Given, settings_given, takes_settings
from rnnctl.errors import CorruptRunError, RunError, UsageError, word
from rnnctl.storage import storing

if TYPE_CHECKING:
    from rnnctl.config import RunConfig
    from rnnctl.data.ids import SplitIds
    from rnnctl.data.tokenizers import Tokenizer
    from rnnctl.nn.models import Classifier, LanguageModel
    from rnnctl.results.training import TrainResult
    from rnnctl.training.events import Event
    from rnnctl.training.train import Options

RUN = "Run"
CONFIG_HINT = "it takes the config.json of a run, or the folder of a run"

Sources = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[CORPUS]...",
        help="Text to train on: files, folders, hub:NAME[:SPLIT], task:NAME, or - for standard "
        "input.",
        show_default="the bundled paragraphs",
    ),
]
RunFolder = Annotated[
    Path | None,
    option(RUN, "Folder to save the run in.", metavar="DIR", show_default="runs/CORPUS-CELL-TIME"),
]
Resume = Annotated[
    str | None,
    option(
        RUN,
        "Continue the training of this run. auto continues the run at --run if it exists, and "
        "otherwise starts it.",
        metavar="RUN|auto",
    ),
]
ConfigFile = Annotated[
    Path | None,
    option(
        RUN,
        "Repeat the training of a run: take all settings from this config.json or run. "
        "Other options on the command line take precedence.",
        metavar="FILE",
    ),
]
Overwrite = Annotated[bool, option(RUN, "Replace the run at --run if it exists.", "--overwrite")]
DryRun = Annotated[bool, dry_run(RUN)]
Diagnose = Annotated[
    bool,
    option(
        RUN,
        "Measure the memory horizon at the end (about 10 seconds).",
        "--diagnose/--no-diagnose",
        show_default="yes",
    ),
]


Folds = Annotated[
    int | None,
    option(
        RUN,
        "Cross-validation: train K classifiers, each tested on a different K-th of the "
        "documents, and report the mean. Limits such as --budget hold for each classifier.",
        min=2,
        max=1000,
        metavar="K",
    ),
]


@idle(
    Idle(
        "run config",
        lambda values: values["resume"] not in (None, "auto"),
        "with --resume RUN, which knows its place and its settings",
        "leave out --resume",
    ),
    Idle(
        "overwrite",
        given("resume"),
        "with --resume, which continues a run and replaces none",
        "leave out --resume",
    ),
    Idle(
        "overwrite",
        missing("run"),
        "without --run: every training gets a new folder",
        "name the run to replace with --run DIR",
    ),
    Idle(
        "resume",
        given("folds"),
        "with --folds, which continues by itself where its runs were stopped",
        "name the folder of the folds with --run",
    ),
    Idle(
        "dry_run",
        given("resume"),
        "with --resume, which continues a training that is known",
        "leave out --resume",
    ),
    Idle(
        "diagnose",
        given("dry_run"),
        "with --dry-run, which trains nothing that could be measured",
        "leave out --dry-run",
    ),
)
@takes_groups
@takes_settings
def train(
    sources: Sources = None,
    *,
    run: RunFolder = None,
    resume: Resume = None,
    config: ConfigFile = None,
    overwrite: Overwrite = False,
    dry_run: DryRun = False,
    diagnose: Diagnose = True,
    folds: Folds = None,
    to: Output,
    **given: Any,
) -> None:
    """Train a model on text and keep it as a run.

    Without a corpus it trains for a minute on the bundled paragraphs. Progress goes to standard
    error, the result to standard output. Ctrl-C stops the training and keeps the best weights;
    `--resume RUN` continues exactly where it stopped.
    """
    if _follows(dry_run=dry_run):
        return
    asked = settings_given({**given, "sources": sources})
    _check_sources(sources or ())
    # Who pipes a text in expects it to be read, and the bundled one would be trained on instead.
    if not sources and resume is None and config is None and inputs.stdin_has_text():
        console.hint("standard input is ignored; `rnnctl train -` trains on it")
    settings, path, options = _plan(asked, run, config, resume, overwrite, diagnose)
    from rnnctl.cli.training_display import Picture
    from rnnctl.training.train import train as work

    if dry_run:
        from rnnctl.training.dry_run import dry_run as plan

        to.emit(follow(plan(settings, path, options, folds), Picture()).result)
        return

    if folds is not None:
        from rnnctl.training.folds import train_folds

        if path is not None and not overwrite and _is_run(path):
            raise UsageError(f"{path} is a run, not a folder of folds", hint="choose another --run")
        with run_folder(settings, path) as folder:
            # The K models differ by their text only: to diagnose each would take long and say
            # little.
            each = replace(options, headline=None)
            folded = follow(train_folds(settings, folder, folds, each), Picture())
        to.emit(folded)
        console.hint(f"`{folded.next_command}` uses the model of the first fold")
        return
    with run_folder(settings, path) as folder:
        result: TrainResult = follow(work(settings, folder, options), Picture()).result
    from rnnctl.reports.training import brief

    to.emit(result, blocks=brief if to.format == "table" else None)
    for warning in result.warnings:
        if warning.code == "not_diagnosed" and (to.format != "table" or to.output is not None):
            console.warn(warning.text)
    run_word = word(result.run)
    if settings.training.snapshots is not None:
        console.hint(
            f"`rnnctl diagnose {run_word} --snapshots` measures when the model began to remember"
        )
    console.hint(
        f"`{result.next_command}` uses it, `rnnctl diagnose {run_word}` measures how much context "
        f"it retains, `rnnctl compare {run_word} RUN…` compares it with other runs"
    )


def _check_sources(sources: Sequence[str]) -> None:
    """DataError for a path that does not exist, in a tenth of the time that torch takes to load."""
    from rnnctl.data.readers import scheme
    from rnnctl.data.sources import check_there

    check_there([Path(s) for s in sources if s != "-" and not scheme(s)])


def _follows(*, dry_run: bool) -> bool:
    """Whether `torchrun` started this process to help another one; then that is done here.

    In a dry run there is nothing to help with.
    """
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return False
    if dry_run:
        return os.environ.get("RANK", "0") != "0"
    from rnnctl.training.workers import follow_torchrun

    return follow_torchrun()


def _plan(
    given: Given,
    run: Path | None,
    config: Path | None,
    resume: str | None,
    overwrite: bool,
    diagnose: bool,
) -> tuple[RunConfig, Path | None, Options]:
    """Settings, folder (None where none was named) and options from what was called for."""
    from rnnctl.tasks.recipes import leaves_level_open, leaves_size_open, resolve
    from rnnctl.training.resume import resumed
    from rnnctl.training.train import Options

    if "TORCHELASTIC_RUN_ID" in os.environ:  # as many workers as `torchrun` started
        given.setdefault("training", {})["workers"] = int(os.environ["WORLD_SIZE"])
    if resume == "auto" and run is None:
        raise UsageError(
            "--resume auto needs to know which run to continue",
            hint="name it: --run DIR",
        )
    options = Options(
        overwrite=overwrite,
        stdin=_stdin(given),
        given=given,
        # It costs time, and shows what only a display has room for.
        probe=_probe if is_live() else None,
        headline=_headline if diagnose else None,
    )
    path = run if resume in (None, "auto") else Path(str(resume))
    if resume is not None and path is not None and (resume != "auto" or _is_run(path)):
        settings, options = resumed(path, given, options)
        return settings, path, options
    if config is None:
        settings = resolve(given)
        options = replace(
            options,
            size_is_open=leaves_size_open(given, settings),
            level_is_open=leaves_level_open(given, settings),
        )
    else:
        settings, options = _repeated(config, given, options)
    return settings, path, options


def _repeated(config: Path, given: Given, options: Options) -> tuple[RunConfig, Options]:
    """What `--config` names: a `config.json`, or the run that holds one. RunError for neither."""
    from rnnctl.training.resume import repeated

    path = config / "config.json" if config.is_dir() else config
    what = f"the folder holds no {path.name}" if config.is_dir() else "there is no such file"
    try:
        if path.exists():
            return repeated(path, given, options)
    except CorruptRunError as problem:
        raise RunError(f"--config {config}: {problem.message}", hint=CONFIG_HINT) from problem
    raise RunError(f"--config {config}: {what}", hint=CONFIG_HINT)


def _is_run(path: Path) -> bool:
    return (path / "current.json").is_file()


def _stdin(given: Given) -> Any:
    return inputs.stdin("train -") if "-" in given.get("corpus", {}).get("sources", ()) else None


def _probe(
    model: LanguageModel | Classifier, tokenizer: Tokenizer, valid: SplitIds, step: int
) -> Iterator[Event]:
    """Sample lines and gradient shares, for a display that somebody looks at."""
    from rnnctl.diagnostics.while_training import probe

    return probe(model, tokenizer, valid, step)


def _headline(path: Path) -> dict[str, Any] | None:
    """The quick diagnosis; what it needs is loaded at the end of the training."""
    from rnnctl.diagnostics.while_training import headline

    return headline(path)


@contextmanager
def run_folder(settings: RunConfig, named: Path | None) -> Iterator[Path]:
    """The folder that was named, or runs/CORPUS-CELL-TIME, which is this training's alone.

    It is made at once, empty: several trainings that start in the same second get a folder each.
    What is still empty at the end goes, for then no run was made.
    """
    if named is not None:
        yield named
        return
    first = settings.corpus.sources[0] if settings.corpus.sources else "bundled"
    stem = "".join(c if c.isalnum() else "-" for c in Path(first).name.partition(".")[0])
    stamp = time.strftime("%Y%m%d-%H%M%S")
    name = f"{stem.strip('-')[:40] or 'text'}-{settings.model.cell}-{stamp}"
    path, number, root = Path("runs") / name, 1, Path("runs")
    with storing(root, "choose another place with --run DIR"):
        root.mkdir(exist_ok=True)
    # Whoever makes the folder has it: asking first whether it exists would let two begin at once.
    while True:
        with storing(path, "choose another place with --run DIR"), suppress(FileExistsError):
            path.mkdir()
            break
        number += 1
        path = root / f"{name}-{number}"
    try:
        yield path
    finally:
        # A folder that holds something is not removed, which is how a run that was made stays.
        for folder in (path, root):
            with suppress(OSError):
                folder.rmdir()
