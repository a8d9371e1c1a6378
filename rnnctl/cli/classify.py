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
from rnnctl.errors import word

if TYPE_CHECKING:
    from rnnctl.inference.classify import Answer


def classify(
    run: RunArgument,
    files: f.Files = None,
    read_as: f.ReadAs = None,
    input_format: f.Input = "auto",
    jsonl: f.Jsonl = False,
    documents: f.ClassifiedDocuments = None,
    text_field: f.TextField = None,
    encoding: f.Encoding = None,
    max_line: f.MaxLine = f.MAX_LINE,
    fail_fast: f.FailFast = False,
    format: FormatOption = "table",
    output: OutputOption = None,
    device: DeviceOption = "cpu",
    threads: ThreadsOption = None,
    quiet: QuietOption = False,
) -> None:
    """Give every input text a label.

    Reads what `train` reads: text (by lines, or by files where the run was trained on files),
    tables, JSON, packed or not; of tables and JSON the fields are passed through. Answers come in
    the same order, as soon as their text is there. `--format table` writes LABEL<tab>PROBABILITY
    (and <tab>FILE for the files of a folder), and for a record without a text <tab><tab>ERROR;
    `--format json` one object per text with `prediction`, `probability`, `probabilities`, `tokens`
    and `unknown`, or `error` and `line`. A field of the input stays as it is: where it has such a
    name, the answer's is rnnctl_NAME.
    """
    console.configure(quiet=quiet)
    kind = f.source_kind(read_as, input_format, jsonl)
    sources = files or []
    command = f"classify {word(run)}"
    inputs.check(sources, command)
    from rnnctl.inference.classify import Predictor, answers
    from rnnctl.inference.records import RecordReader
    from rnnctl.machine import set_threads
    from rnnctl.tasks.loading import load

    set_threads(threads)
    loaded = load(run, device=device)
    predictor = Predictor(loaded)
    wanted = f.wanted(
        loaded,
        kind=kind,
        text_field=text_field,
        unit=documents,
        max_line=max_line,
        encoding=encoding,
    )
    with inputs.output(output) as write:
        answered = Answered("file" if wanted.unit == "file" else "line")
        writer = _Writer(write, format, predictor.labels, answered, fail_fast)
        for source in inputs.opened(sources, command):
            named = source.is_one_of_many or wanted.unit == "file"
            file = source.name if named else ""
            reader = RecordReader(wanted, source.name, source.suffix, file)
            with inputs.reading(source.name):
                for window in answers(predictor, reader.windows(source.stream)):
                    inputs.say_once(reader)
                    writer.add(window, source.name)
    writer.report()


class _Writer:
    """Writes answers as they come, and counts what was wrong."""

    def __init__(
        self,
        write: inputs.Write,
        format: Format,
        labels: Sequence[str],
        answered: Answered,
        fail_fast: bool,
    ) -> None:
        self._write = write
        self._labels = labels
        self._fail_fast = fail_fast
        self._line = {"table": self._as_table, "json": self._as_json, "markdown": _as_markdown}[
            format
        ]
        self._answered = answered
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
            found = answer.prediction
            tokens, unknown = (found.tokens - 1, found.unknown) if found else (0, 0)
            self._answered.count(answer.record, tokens=tokens, unknown=unknown)
        if good < len(window):
            from rnnctl.inference.records import failure

            raise failure(window[good].record, source)

    def report(self) -> None:
        """Say on stderr what a person should know at the end."""
        if self._answered.records == 0:
            console.note("the input is empty: nothing to classify")
        self._answered.report()

    def _as_table(self, answer: Answer) -> str:
        record = answer.record
        if answer.prediction is None:
            return f"\t\t{inputs.one_line(f'{record.where}: {record.error}')}"
        file = f"\t{inputs.one_line(record.file)}" if record.file else ""
        label = inputs.one_line(answer.prediction.label)
        return f"{label}\t{answer.prediction.probability:.6f}{file}"

    def _as_json(self, answer: Answer) -> str:
        return self._answered.as_json(answer.record, answer.fields(self._labels))


def _as_markdown(answer: Answer) -> str:
    from rnnctl.reports.as_markdown import table_row

    place, found = answer.record.file or str(answer.record.line), answer.prediction
    if found is None:
        return table_row((place, "", answer.record.error))
    return table_row((place, found.label, f"{found.probability:.4f}"))
