"""`rnnctl classify`: a text per line in, a label and its probability per line out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rnnctl.cli import console, inputs
from rnnctl.cli import filter_options as f
from rnnctl.cli.answered import Answered
from rnnctl.cli.options import (
    DeviceOption,
    Format,
    FormatOption,
    OutputOption,
    QuietOption,
    RunArgument,
    ThreadsOption,
)
from rnnctl.errors import UsageError, word

if TYPE_CHECKING:
    from rnnctl.inference.classify import Answer


def classify(
    run: RunArgument,
    files: f.Files = None,
    input_format: f.Input = "auto",
    jsonl: f.Jsonl = False,
    text_field: f.TextField = None,
    max_line: f.MaxLine = f.MAX_LINE,
    fail_fast: f.FailFast = False,
    format: FormatOption = "table",
    output: OutputOption = None,
    device: DeviceOption = "cpu",
    threads: ThreadsOption = None,
    quiet: QuietOption = False,
) -> None:
    """Give every input text a label.

    One text per line, or one JSON object per line, whose fields are passed through. Answers come
    in the same order, as soon as their line is there. `--format table` writes
    LABEL<tab>PROBABILITY, and for a line without a text <tab><tab>ERROR; `--format json` one
    object per line with `prediction`, `probability` and `probabilities`, or `error` and `line`. A
    field of the input stays as it is: where it has such a name, the answer's is rnnctl_NAME.
    """
    console.configure(quiet=quiet)
    if jsonl and input_format == "text":
        raise UsageError(
            "--jsonl and --input text exclude each other", hint="leave one of them out"
        )
    sources = files or []
    inputs.check(sources, f"classify {word(run)}")
    from rnnctl.inference.classify import Predictor, answers
    from rnnctl.inference.lines import read_lines
    from rnnctl.inference.records import RecordReader
    from rnnctl.machine import set_threads
    from rnnctl.tasks.loading import load

    set_threads(threads)
    predictor = Predictor(load(run, device=device))
    as_lines: f.LineFormat = "jsonl" if jsonl else input_format
    with inputs.output(output) as write:
        writer = _Writer(write, format, predictor.labels, fail_fast)
        for source in inputs.opened(sources, f"classify {word(run)}"):
            reader = RecordReader(as_lines, text_field or predictor.text_field)
            with inputs.reading(source.name):
                lines = read_lines(source.stream, max_line=max_line)
                for window in answers(predictor, lines, reader):
                    writer.add(window, source.name)
    writer.report()


class _Writer:
    """Writes answers as they come, and counts what was wrong."""

    def __init__(
        self, write: inputs.Write, format: Format, labels: Sequence[str], fail_fast: bool
    ) -> None:
        self._write = write
        self._labels = labels
        self._fail_fast = fail_fast
        self._line = {"table": self._as_table, "json": self._as_json, "markdown": _as_markdown}[
            format
        ]
        self._answered = Answered("line")
        if format == "markdown":
            from rnnctl.reports.as_markdown import table_head

            write(table_head(("line", "label", "probability"), "rlr") + "\n")

    def add(self, window: Sequence[Answer], source: str) -> None:
        """Write a window at once. With --fail-fast, raises DataError at its first error."""
        good = len(window)
        if self._fail_fast:
            good = next((i for i, a in enumerate(window) if a.record.error), good)
        self._write("".join(self._line(answer) + "\n" for answer in window[:good]))
        for answer in window[:good]:
            self._answered.count(answer.record)
        if good < len(window):
            from rnnctl.inference.records import failure

            raise failure(window[good].record, source)

    def report(self) -> None:
        """Say on stderr what a person should know at the end."""
        if self._answered.records == 0:
            console.note("the input is empty: nothing to classify")
        if self._answered.problem:
            console.warn(self._answered.problem)

    def _as_table(self, answer: Answer) -> str:
        if answer.prediction is None:
            return f"\t\tline {answer.record.line}: {inputs.one_line(answer.record.error)}"
        return f"{inputs.one_line(answer.prediction.label)}\t{answer.prediction.probability:.6f}"

    def _as_json(self, answer: Answer) -> str:
        return self._answered.as_json(answer.record, answer.fields(self._labels))


def _as_markdown(answer: Answer) -> str:
    from rnnctl.reports.as_markdown import table_row

    line, found = answer.record.line, answer.prediction
    if found is None:
        return table_row((str(line), "", answer.record.error))
    return table_row((str(line), found.label, f"{found.probability:.4f}"))
