"""`rnnctl classify`: a text per line in, a label and its probability per line out."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

from rnnctl.cli import console, inputs
from rnnctl.cli import filter_options as f
from rnnctl.cli.answered import Answered
from rnnctl.cli.idle import Idle, idle, missing
from rnnctl.cli.options import (
    Format,
    Output,
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
        "Show what each word contributed to the log-odds of the answer against the second most "
        "probable label. If a text may have several labels: to the log-odds of each label that it "
        "is given, against not having it. METHOD is gradients (integrated gradients, the default) "
        "or occlusion (leaving the word out).",
        metavar="[METHOD]",
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
    to: Output,
    machine: f.MachineOptions,
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

    With --explain, each answer is followed by the contribution of each word. Together with the
    part that no word explains, they add up to the log-odds. In JSON this is the field
    `explanation`. If a text may have several labels, each label that it is given is explained, or
    the most probable one if it is given none; JSON has the list `explanations`.
    """
    as_page = explain is not None and to.format == "html" and not words_overall
    kind = reads.kind(input_format)
    sources, command = files or [], f"classify {word(run)}"
    about_files = sources or kind or documents or reads != f.Reading()
    by_hand = not about_files and inputs.at_a_terminal()
    inputs.check(sources, command, by_hand=by_hand)
    from rnnctl.inference.classify import Predictor, answers
    from rnnctl.inference.records import until_failure

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
    printer = _Printer(to.format, predictor.labels, answered, explain is not None)
    typed = [(inputs.STDIN, inputs.typed("its label"))] if by_hand else None
    with inputs.output(None if silent else to.output) as write:
        if printer.head and not silent:
            write(printer.head)
        for name, windows in typed or inputs.windows(inputs.opened(sources, command), wanted):
            found = answers(predictor, windows, explainer)
            for window in until_failure(found, name, fail_fast=reads.fail_fast):
                if not silent:
                    write("".join(map(printer.line, window)))
                for one in window:
                    tokens = one.prediction.tokens - 1 if one.prediction else 0  # without the end
                    unknown = one.prediction.unknown if one.prediction else 0
                    answered.count(one.record, tokens=tokens, unknown=unknown)
                    if reasons is not None:
                        reasons.add(one)
    if reasons is not None and words_overall:
        to.emit(reasons.overall())
    if reasons is not None and as_page:
        console.write(reasons.page(), to.output)
    if reasons is not None and html is not None:
        console.write_file(html, reasons.page(), "--html")
    if answered.records == 0:
        console.note("the input is empty: nothing to classify")
    answered.report()


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
        title = f"Why {self._loaded.run.path.name} gives these answers"
        return page(title, self._texts, self.overall(), left_out=left_out)


@dataclass(frozen=True, slots=True)
class _Printer:
    """Answers as lines of a format."""

    format: Format
    labels: Sequence[str]
    answered: Answered
    explains: bool

    @property
    def head(self) -> str:
        """What comes before the first row."""
        if self.format != "markdown":
            return ""
        from rnnctl.reports.as_markdown import table_head

        columns = ("line", "label", "probability", *(["words that decide"] * self.explains))
        return table_head(columns, "rlr" + "l" * self.explains) + "\n"

    def line(self, answer: Answer) -> str:
        """A line for each text, with its explanation."""
        if self.format == "json":
            return self.answered.as_json(answer.record, answer.fields(self.labels)) + "\n"
        if self.format == "markdown":
            return self._markdown(answer) + "\n"
        record, found = answer.record, answer.prediction
        if found is None:
            return f"\t\t{inputs.one_line(f'{record.where}: {record.error}')}\n"
        label, probability = _said(found, self.labels, 6)
        file = f"\t{inputs.one_line(record.file)}" if record.file else ""
        line = f"{inputs.one_line(label)}\t{probability}{file}"
        if not answer.why:
            return f"{line}\n"
        from rnnctl.reports.explained import lines

        width, color = console.stdout_width() - 1, console.wants_color(sys.stdout)
        each = [lines(why, width=width, color=color) for why in answer.why]
        return f"{line}\n{''.join(each)}".rstrip("\n") + "\n"

    def _markdown(self, answer: Answer) -> str:
        from rnnctl.reports.as_markdown import table_row
        from rnnctl.reports.explained import named

        place, found = answer.record.file or str(answer.record.line), answer.prediction
        why = [named(answer.why)] if self.explains else []
        if found is None:
            return table_row((place, "", answer.record.error, *why))
        return table_row((place, *_said(found, self.labels, 4), *why))


def _said(found: Prediction, labels: Sequence[str], places: int) -> tuple[str, str]:
    """The label and its probability; or all labels that the text is given, and theirs."""
    if found.given is None:
        return found.label, f"{found.probability:.{places}f}"
    chances = dict(zip(labels, found.probabilities, strict=True))
    each = ", ".join(f"{chances[name]:.{places}f}" for name in found.given)
    return ", ".join(found.given) or "(none)", each or f"{found.probability:.{places}f}"
