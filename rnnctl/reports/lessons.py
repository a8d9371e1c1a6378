"""A lesson on paper: question, prediction, answer, one picture, one thing to change."""

from __future__ import annotations

from rnnctl.reports.blocks import Block, Chart, Heading, KeyValues, Paragraph, table
from rnnctl.results.teaching import LessonOutline, LessonResult, LessonsResult


def listed(result: LessonsResult) -> list[Block]:
    """All lessons, with what they ask."""
    made: list[Block] = [Heading("Lessons", 1)]
    made.append(KeyValues(tuple((str(one.number), one.question) for one in result.lessons)))
    text = "`rnnctl lesson N` asks what you expect, measures it in one to two minutes, and answers"
    return [*made, Paragraph(text, "hint")]


def question(outline: LessonOutline) -> list[Block]:
    """What is asked before anything is measured."""
    answers = KeyValues(tuple((f"  {letter}", text) for letter, text in outline.answers.items()))
    return [
        Heading(f"Lesson {outline.number}: {outline.title}", 1),
        Paragraph(outline.question),
        answers,
    ]


def lesson(result: LessonResult) -> list[Block]:
    """A lesson that was measured."""
    outline = result.outline
    made = question(outline)  # again: the answer stands beside what was asked and expected
    said = f"Measured: {result.right}. {result.answer}"
    made.append(Paragraph(_predicted(result), "plain"))
    made.append(Paragraph(said, "strong"))
    made.append(Chart(result.picture, result.caption))
    if result.rows:
        made.append(table(result.columns, result.rows))
    outcome = {True: "Shown here", False: "Not shown here", None: "Not judged here"}
    made.append(
        Paragraph(f"The lecture says: {outline.claim}. {outcome[result.shown]}: {result.verdict}.")
    )
    made += [Paragraph(note, "note") for note in result.notes]
    made.append(Paragraph(f"Text: {result.text}. Terms: {_terms(result)}.", "note"))
    made.append(Paragraph(f"Change one thing: `{result.again}` — {result.look_for}", "hint"))
    return made


def _predicted(result: LessonResult) -> str:
    if result.prediction is None:
        return "Your prediction: none (--predict a gives one)"
    verdict = "right" if result.prediction == result.right else "not what was measured"
    text = result.outline.answers[result.prediction]
    return f"Your prediction: {result.prediction}, {text} — {verdict}"


def _terms(result: LessonResult) -> str:
    return ", ".join(f"`rnnctl explain {term}`" for term in result.terms)
