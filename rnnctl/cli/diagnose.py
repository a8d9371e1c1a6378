"""`rnnctl diagnose`: how much early context does a model retain?"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from rnnctl.cli import console, diagnose_kept, inputs
from rnnctl.cli.diagnose_options import (
    BeyondOption,
    EncodingOption,
    ItemsOption,
    LabelFieldOption,
    NamesArgument,
    PresetOption,
    ShowOption,
    TextFieldOption,
    TextOption,
    VerboseOption,
)
from rnnctl.cli.options import (
    FormatOption,
    OutputOption,
    QuietOption,
    RunArgument,
    SeedOption,
    ThreadsOption,
)
from rnnctl.errors import UsageError, word
from rnnctl.wording import diagnostic


def diagnose(
    run: RunArgument,
    names: NamesArgument = None,
    preset: PresetOption = "quick",
    text: TextOption = None,
    text_field: TextFieldOption = None,
    label_field: LabelFieldOption = None,
    encoding: EncodingOption = None,
    items: ItemsOption = None,
    beyond: BeyondOption = None,
    show: ShowOption = None,
    format: FormatOption = "table",
    output: OutputOption = None,
    seed: SeedOption = 0,
    threads: ThreadsOption = None,
    verbose: VerboseOption = False,
    quiet: QuietOption = False,
) -> None:
    """Measure how much early context a run retains.

    Gives one number, the memory horizon in words with a 95 % interval, and one line for each
    question: USE (how much text the loss needs), FIRST→LAST (whether the first sentence of a
    document still counts in its last), EFFECT (whether early evidence still pushes the answer),
    HOLD (what can be read out of the state), REACH (whether the learning signal gets back), GATES
    (what the gates suggest), POSITION (classifiers: whether a sentence counts the same wherever it
    stands). `--verbose` prints all numbers, curves and warnings. A diagnosis of the run's own
    held-out text is kept in the run, for `rnnctl compare`.
    """
    console.configure(quiet=quiet)
    console.check_output(output)
    from rnnctl.machine import set_threads

    set_threads(threads)
    columns = _columns(text, text_field=text_field, label_field=label_field, encoding=encoding)
    if show is not None:
        from rnnctl.cli.diagnose_show import show_text

        measuring = {"--text": text, "--items": items, "--beyond": beyond}
        changed = {"--preset": preset != "quick", "--seed": seed != 0}
        _check_show(format, {**measuring, **changed})
        show_text([run, *(Path(name) for name in names or ())], show, output)
        return
    from rnnctl.diagnostics.diagnose import diagnose as measure
    from rnnctl.diagnostics.text import read_text
    from rnnctl.reports.diagnostics import brief
    from rnnctl.tasks.loading import load

    stdin = inputs.stdin(f"diagnose {word(run)} --text -") if text == "-" else None
    loaded = load(run)
    why_not = diagnose_kept.why_not(loaded.run, text, seed, items, bool(beyond))
    result = measure(
        loaded,
        names=[name.lower() for name in names or ()],
        preset=preset,
        text=None if text is None else read_text(loaded, text, stdin, columns),
        seed=seed,
        items=items,
        arms=("foreign", "zero", *(way.value for way in beyond or ())),
        tell=lambda name: console.note(f"measuring {diagnostic(name)} …"),
    )
    try:
        console.emit(result, format, output, blocks=None if verbose else brief)
    finally:  # shown first: keeping it may fail, and nobody measures twice for a full disk
        diagnose_kept.keep(loaded.run, result, why_not)


def _check_show(format: str, given: Mapping[str, object]) -> None:
    """UsageError for what --show cannot be, or does not do."""
    if format != "table":
        raise UsageError(
            f"--show is a picture in text, and cannot be written as {format}",
            hint="leave out --format; `-o FILE` writes the picture",
        )
    for option, value in given.items():
        if value:
            raise UsageError(
                f"{option} is for measuring, and --show measures nothing",
                hint=f"leave out {option}, or --show",
            )


def _columns(text: str | None, **asked: str | None) -> dict[str, str]:
    """How to read --text, as far as it was said. UsageError where there is no --text."""
    columns = {name: value for name, value in asked.items() if value is not None}
    if columns and text is None:
        option = "--" + next(iter(columns)).replace("_", "-")
        raise UsageError(
            f"{option} is about --text, which is not given",
            hint=f"add --text CORPUS, or leave out {option}",
        )
    return columns
