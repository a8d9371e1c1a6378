"""`rnnctl classify`: a text per line in, a label and its probability per line out."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

from rnnctl.cli import console, inputs
from rnnctl.cli import filter_options as f
from rnnctl.cli.answered import Answered
from rnnctl.cli.idle import Idle, idle, missing
from rnnctl.cli.options import (
    Format,
    FormatOption,
    OutputOption,
    QuietOption,
    RunArgument,
    may_stand_alone,
    option,
    takes_groups,
)
from rnnctl.errors import word

if TYPE_CHECKING:
    from rnnctl.inference.classify import Answer, Prediction
    from rnnctl.reports.explained import ExplainedText
    from rnnctl.results.inference import ExplainedWords, ExplanationMethod
    from rnnctl.tasks.loading import Loaded

MOST_ON_A_PAGE = 1_000  # texts
WHY: Final = "Explanation"

Input = Annotated[
    f.LineFormat, option(f.INPUT, "The same as --as; auto decides by the content.", "--input")
]
Documents = Annotated[
    f.Unit | None,
    option(
        f.INPUT,
        "For plain text: what counts as one text.",
        show_default="a line, or a file if the run was trained on whole files",
    ),
]
Explain = Annotated[
    Literal["gradients", "occlusion"] | None,
    option(
        WHY,
        "Say what each word contributed to the log-odds of the answer against the second "
        "most probable label; where a text may have several labels, to each label that it is "
        "given, against its absence. METHOD is gradients (integrated gradients, the default) or "
        "occlusion (leaving the word out).",
        metavar="[METHOD]",
        show_default=False,
    ),
]
WordsOverall = Annotated[
    bool,
    option(
        WHY, "Print the 30 words that speak most for each label, over all texts.", "--words-overall"
    ),
]
ExplainHtml = Annotated[
    Path | None,
    option(
        WHY,
        "Also write a page with the explained texts (at most 1,000) to this file.",
        metavar="FILE",
        show_default=False,
    ),
]


@idle(
    Idle("words_overall html", missing("explain"), "without --explain", "add --explain"),
    f.rows_only(
        lambda values: (
            not (values["words_overall"] or (values["explain"] and values["format"] == "html"))
        )
    ),
)
@may_stand_alone("--explain", ("gradients", "occlusion"))
@takes_groups
def classify(
    run: RunArgument,
    files: f.Files = None,
    *,
    documents: Documents = None,
    reads: f.Reading,
    input_format: Input = "auto",
    explain: Explain = None,
    words_overall: WordsOverall = False,
    html: ExplainHtml = None,
    format: FormatOption = "table",
    output: OutputOption = None,
    machine: f.MachineOptions,
    quiet: QuietOption = False,
) -> None:
    """Give every input text a label.

    Reads what `train` reads: text, tables and JSON, also compressed. Each line of plain text is
    one text, or each file if the run was trained on files. Answers come in the order of the
    input, each as soon as its text has been read.

    `--format table` writes LABEL<tab>PROBABILITY, and <tab>FILE after it for the files of a
    folder. A record without a text gets <tab><tab>ERROR. `--format json` writes one object for
    each text. It has all fields of the input, and `prediction`, `probability`, `probabilities`,
    `tokens` and `unknown`, or `error` and `line`. If the input already has a field of such a
    name, the answer's field is called rnnctl_NAME. If a text may have several labels, the table
    separates them with commas, and JSON has the list `predictions`.

    In a terminal, without a FILE, you type texts and get an answer to each.

    With --explain, each answer is followed by the contribution of each word; together they add up
    to the log-odds. In JSON this is the field `explanation`. If a text may have several labels,
    each label that it is given is explained, or the most probable one if it is given none; JSON
    has the list `explanations`.
    """
    as_page = explain is not None and format == "html" and not words_overall
    kind = reads.kind(input_format)
    sources, command = files or [], f"classify {word(run)}"
    about_files = sources or kind or documents or reads != f.Reading()
    by_hand = not about_files and inputs.at_a_terminal()
    inputs.check(sources, command, by_hand=by_hand)
    from rnnctl.inference.classify import Predictor, answers

    loaded = machine.load(run)
    predictor = Predictor(loaded)
    wanted = reads.wanted(loaded, kind, documents)
    answered = Answered("file" if wanted.unit == "file" else "line")
    explainer, reasons = None, None
    if explain is not None:
        from rnnctl.inference.explain import Explainer

        explainer = Explainer(loaded, predictor, explain)
        reasons = _Reasons(loaded, explain)
    # Then the answers themselves are not the output, only what is counted of them.
    silent = words_overall or as_page
    with inputs.output(None if silent else output) as write:
        if silent:
            write = _nowhere
        lines_as = "table" if silent else format
        writer = _Writer(write, lines_as, predictor.labels, answered, reads.fail_fast, reasons)
        typed = [(inputs.STDIN, inputs.typed("its label"))] if by_hand else None
        for name, windows in typed or inputs.windows(inputs.opened(sources, command), wanted):
            for window in answers(predictor, windows, explainer):
                writer.add(window, name)
    if reasons is not None and words_overall:
        console.emit(reasons.overall(), format, output)
    if reasons is not None and as_page:
        console.write(reasons.page(), output)
    if reasons is not None and html is not None:
        console.write_file(html, reasons.page(), "--html")
    writer.report()


def _nowhere(text: str) -> None:
    """Where answers go that are only counted."""


class _Reasons:
    """The explanations of all answers: words over all texts, and the texts of a page."""

    def __init__(self, loaded: Loaded, method: ExplanationMethod) -> None:
        from rnnctl.inference.explain import WordsOverall

        self._loaded = loaded
        self._method = method
        self._words = WordsOverall()
        self._texts: list[ExplainedText] = []

    def add(self, answer: Answer) -> None:
        """One answer more."""
        from rnnctl.reports.explained import ExplainedText

        found = answer.prediction
        if not answer.why or found is None:
            return
        self._words.add(answer.why)
        if len(self._texts) < MOST_ON_A_PAGE:
            chances = dict(zip(self._loaded.labels, found.probabilities, strict=True))
            reasons = tuple((chances[why.label], why) for why in answer.why)
            place, text = answer.record.where, answer.record.text
            self._texts.append(ExplainedText(place, text, reasons, given=found.given != ()))

    def overall(self) -> ExplainedWords:
        """The words over all texts."""
        from rnnctl.results.inference import ExplainedWords
        from rnnctl.tasks.loading import environment

        return ExplainedWords(
            environment=environment(self._loaded),
            run=str(self._loaded.run.path),
            method=self._method,
            texts=self._words.texts,
            labels=self._loaded.labels,
            several_labels=self._loaded.calibration.several,
            words=self._words.strongest(self._loaded.labels),
        )

    def page(self) -> str:
        """All texts with their words, as HTML."""
        from rnnctl.reports.explained import page

        left_out = self._words.texts - len(self._texts)
        title = f"Why {self._loaded.run.path.name} answers so"
        return page(title, self._texts, self.overall(), left_out=left_out)


class _Writer:
    """Writes answers as they come, and counts what was wrong."""

    def __init__(
        self,
        write: inputs.Write,
        format: Format,
        labels: Sequence[str],
        answered: Answered,
        fail_fast: bool,
        reasons: _Reasons | None,
    ) -> None:
        self._reasons = reasons
        self._width = console.stdout_width() - 1
        self._color = console.wants_color(sys.stdout)
        self._write = write
        self._labels = labels
        self._fail_fast = fail_fast
        lines = {"table": self._as_table, "json": self._as_json, "markdown": self._as_markdown}
        self._line = lines[format]
        self._answered = answered
        if format == "markdown":
            from rnnctl.reports.as_markdown import table_head

            why = reasons is not None
            columns = ("line", "label", "probability", *(["words that decide"] if why else []))
            write(table_head(columns, "rlr" + "l" * why) + "\n")

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
            if self._reasons is not None:
                self._reasons.add(answer)
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
        label, probability = _said(answer.prediction, self._labels, 6)
        line = f"{inputs.one_line(label)}\t{probability}{file}"
        if not answer.why:
            return line
        from rnnctl.reports.explained import lines

        each = [lines(why, width=self._width, color=self._color) for why in answer.why]
        return f"{line}\n{''.join(each)}".rstrip("\n")

    def _as_json(self, answer: Answer) -> str:
        return self._answered.as_json(answer.record, answer.fields(self._labels))

    def _as_markdown(self, answer: Answer) -> str:
        from rnnctl.reports.as_markdown import table_row
        from rnnctl.reports.explained import named

        place, found = answer.record.file or str(answer.record.line), answer.prediction
        why = [named(answer.why)] if self._reasons is not None else []
        if found is None:
            return table_row((place, "", answer.record.error, *why))
        return table_row((place, *_said(found, self._labels, 4), *why))


def _said(found: Prediction, labels: Sequence[str], places: int) -> tuple[str, str]:
    """The label and its probability; or all labels that the text is given, and theirs."""
    if found.given is None:
        return found.label, f"{found.probability:.{places}f}"
    chances = dict(zip(labels, found.probabilities, strict=True))
    each = ", ".join(f"{chances[name]:.{places}f}" for name in found.given)
    return ", ".join(found.given) or "(none)", each or f"{found.probability:.{places}f}"
