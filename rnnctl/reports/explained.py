"""Why a classifier gave its answers: lines for a terminal, cells of a table, one page for all.

A share is shown by its number and its sign; colour only repeats the sign.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from rnnctl.reports.as_html import as_html, text
from rnnctl.reports.blocks import Block, Heading, Paragraph, Table, table, visible
from rnnctl.reports.numbers import count
from rnnctl.reports.page import document
from rnnctl.results.base import Result
from rnnctl.results.inference import ExplainedWord, ExplainedWords, Explanation, WordPull
from rnnctl.wording import plural

_FOR = "\x1b[1;32m"
_AGAINST = "\x1b[1;31m"
_PLAIN = "\x1b[0m"
_SHOWN = 0.1  # shares from this part of the largest one on have their number in the text
MOST_NAMED = 5  # words in a cell of a table


def share(value: float) -> str:
    """``+2.31``, ``−0.05``: a share of the log-odds; less than a hundredth is ``0.00``."""
    rounded = round(value, 2) + 0.0
    return f"{rounded:+.2f}".replace("-", "−") if rounded else "0.00"


def strongest(found: Explanation) -> list[ExplainedWord]:
    """The words by falling size of their shares."""
    return sorted(found.words, key=lambda one: -abs(one.share))


def named(explanations: Sequence[Explanation]) -> str:
    """The strongest words in a few words: ``terrible +2.31, great −1.52``.

    With the label before them where a text may have several.
    """
    return "; ".join(_named(one) for one in explanations if one.words)


def _named(found: Explanation) -> str:
    some = strongest(found)[:MOST_NAMED]
    words = ", ".join(f"{visible(one.word)} {share(one.share)}" for one in some)
    return words if found.against else f"{visible(found.label)}: {words}"


def summary(found: Explanation) -> str:
    """The sum in a sentence."""
    odds = f"log-odds against {found.against}" if found.against else f"log-odds of {found.label}"
    if not found.words:
        return f"there is no word that could explain it; {odds} {share(found.log_odds)}"
    words = sum(one.share for one in found.words)
    rest = "rest" if found.method == "occlusion" else "blank text"
    return f"{odds} {share(found.log_odds)}: words {share(words)}, {rest} {share(found.rest)}"


def lines(found: Explanation, *, width: int, color: bool) -> str:
    """The sum, and the text with the shares of its strongest words; each line ends in a newline."""
    # Marks of one character for colours, so that no line is cut inside a word with its number.
    pieces = list(_marked(found))
    body = textwrap.fill(
        " ".join(word for word, _ in pieces),
        width=max(30, width),
        initial_indent="  ",
        subsequent_indent="  ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    if color and pieces:
        body = _coloured(body, pieces)
    head = f"  {visible(summary(found))}\n"
    return head + (f"{body}\n" if pieces else "")


def _marked(found: Explanation) -> Iterator[tuple[str, float]]:
    """Each word, with its share where that is large, and 0 where it is not."""
    least = _SHOWN * max((abs(one.share) for one in found.words), default=0.0)
    for one in found.words:
        large = abs(one.share) >= max(least, 0.005)  # smaller ones would be written as 0.00
        word = visible(one.word)
        yield (f"{word}[{share(one.share)}]", one.share) if large else (word, 0.0)


def _coloured(body: str, pieces: Sequence[tuple[str, float]]) -> str:
    # Only now: textwrap would count the codes of colours as characters of a line.
    made, at = [], 0
    for word, value in pieces:
        begin = body.index(word, at)
        made.append(body[at:begin])
        style = _FOR if value > 0 else _AGAINST
        made.append(f"{style}{word}{_PLAIN}" if value else word)
        at = begin + len(word)
    return "".join(made) + body[at:]


# -- words over a corpus -------------------------------------------------------------------------


def blocks(result: Result) -> list[Block]:
    """The words that pull most to each label."""
    assert isinstance(result, ExplainedWords)
    made: list[Block] = [Heading(f"Words that decide, in {plural(result.texts, 'text')}", level=1)]
    made += _pulls(result.labels, result.words)
    made.append(Paragraph(_how_words(result), kind="note"))
    return made


def _how_words(result: ExplainedWords) -> str:
    texts = "whose answer or second most probable label it is"
    if result.several_labels:
        texts = "that are given it, or that are given none and have it as their most probable one"
    return (
        "pull: the word's shares of the log-odds of a label, summed over the texts "
        f"{texts}; mean: the share of one occurrence"
    )


def _pulls(labels: Sequence[str], words: Sequence[WordPull]) -> Iterator[Block]:
    for label in labels:
        yield Heading(f"To {label}", level=2)
        some = [one for one in words if one.label == label]
        yield _pull_table(some) if some else Paragraph("No word speaks for it.")


def _pull_table(words: Sequence[WordPull]) -> Table:
    rows = [[one.word, share(one.pull), share(one.mean), count(one.n)] for one in words]
    return table(("word", "pull", "mean", "occurrences"), rows)


# -- a page --------------------------------------------------------------------------------------


class ExplainedText(NamedTuple):
    """A text of a page: where it stands, its explanations with the probability of each label, and
    whether it is given these labels: one that is given none is explained by the most probable."""

    place: str
    text: str
    reasons: tuple[tuple[float, Explanation], ...]
    given: bool = True


def page(
    title: str, found: Sequence[ExplainedText], overall: ExplainedWords, *, left_out: int = 0
) -> str:
    """A page of texts.

    overall: the words over all texts; left_out: how many texts more there were.
    """
    parts = [_one(one) for one in found]
    if left_out:
        more = f"{plural(left_out, 'text')} more {'is' if left_out == 1 else 'are'} not shown."
        parts.append(as_html([Paragraph(more, kind="note")]))
    words = "".join(
        f'<div class="words">{as_html(list(_pulls([label], overall.words)))}</div>'
        for label in overall.labels
    )
    several = overall.several_labels
    how_read = _HOW[overall.method].format(_AGAINST_WHAT[several])
    legend = (
        f"<p>{text(how_read)} {text(_ODDS[several])}</p><p>"
        '<span class="for" style="--size:1">Underlined<sub>+1.00</sub></span>: speaks for the '
        f'{"label" if several else "answer"}; <span class="against" style="--size:1">dashed'
        "<sub>−1.00</sub></span>: speaks "
        "against it. Point at another word for its number.</p>"
    )
    how = as_html([Paragraph(_how_words(overall), kind="note")])
    over = f'<h2>Words that decide, over all texts</h2>{how}<div class="overall">{words}</div>'
    body = "\n".join([legend, *parts, over])
    data = {
        "texts": [
            {"text": one.text, "probability": chance, **why.model_dump()}
            for one in found
            for chance, why in one.reasons
        ],
        "words": [one.model_dump() for one in overall.words],
    }
    return document(title, body, data, version=overall.environment.rnnctl)


_AGAINST_WHAT = {
    False: "the answer against the second most probable label",
    True: "the label against not having it",
}
_HOW = {
    "gradients": "The number of a word is what it adds to the log-odds of {}. The text is changed "
    "in small steps from a blank text to the real one, and the number of a word is the sum of what "
    "it adds in these steps (integrated gradients). All words and the log-odds of the blank text "
    "add up to the log-odds.",
    "occlusion": "The number of a word is what the log-odds of {} lose when this word is left out. "
    "The rest is the effect of several words together, and the log-odds of a blank text.",
}
_ODDS = {
    False: "Log-odds say how clear the answer is: at 0 both labels are equally probable, at +1 the "
    "answer is 2.7 times as probable, at +2 7.4 times, at +3 20 times.",
    True: "Log-odds say how clear a label is: at 0 having it and not having it are equally "
    "probable, at +1 having it is 2.7 times as probable, at +2 7.4 times, at +3 20 times. Each "
    "label that a text is given is explained, or the most probable one if it is given none.",
}


def _one(one: ExplainedText) -> str:
    return f"<article>{''.join(_reason(one, *reason) for reason in one.reasons)}</article>"


def _reason(about: ExplainedText, chance: float, found: Explanation) -> str:
    whole = about.text
    most = max((abs(one.share) for one in found.words), default=0.0) or 1.0
    made, at = [], 0
    for one in found.words:
        made.append(text(whole[at : one.start]))
        made.append(_word(one, abs(one.share) / most))
        at = one.end
    made.append(f'<span class="unread">{text(whole[at:])}</span>' if whole[at:].strip() else "")
    body = "".join(made) if found.words else '<span class="unread">(no word)</span>'
    below = "" if about.given else ", not given"
    return (
        f'<h3><span class="place">{text(about.place)}</span> {text(found.label)} '
        f'<span class="chance">probability {chance:.4f}{below}</span></h3><p class="text">{body}'
        f'</p><p class="note">{text(summary(found))}</p>'
    )


def _word(one: ExplainedWord, size: float) -> str:
    if size < _SHOWN or abs(one.share) < 0.005:
        return f'<span title="{share(one.share)}">{text(one.word)}</span>'
    kind = "for" if one.share > 0 else "against"
    return (
        f'<span class="{kind}" style="--size:{size:.2f}">{text(one.word)}'
        f"<sub>{share(one.share)}</sub></span>"
    )
