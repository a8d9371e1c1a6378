"""What the words of the reports mean: the entries of ``docs/glossary.md``, found by any name.

The page is the only place where a term is explained; `rnnctl explain`, the pages and the tables of
terms in reports take it from here. An entry is a section of the third level under its kind; it
holds a line of other names (``Also: …``), one sentence, and the parts that `PARTS` names.
"""

from __future__ import annotations

import re
from functools import cache
from html import escape
from importlib.resources import files

from rnnctl import catalog
from rnnctl.errors import UsageError
from rnnctl.reports.blocks import Block, Heading, KeyValues, Paragraph
from rnnctl.results.base import Result
from rnnctl.results.teaching import GlossaryResult, Term

PARTS = {
    "Measured": "how it is measured",
    "Read it": "how to read it",
    "Example": "example",
    "It does not say": "what it does not say",
}
"""How a part begins in the page, and what it is called in a report."""
NARROW = {
    "Measured": "measured",
    "Read it": "read it",
    "Example": "example",
    "It does not say": "not said",
}
_PART = re.compile(r"^\*\*(.+?)\.\*\* (.+)$")


def entry(name: str) -> Term:
    """The entry that has this title or other name, as a report prints it, with unit or without.

    Raises UsageError with the nearest names where there is none.
    """
    found = find(name)
    if found is None:
        near = catalog.suggestion(key(name), _names())
        hint = near if near.startswith("did you mean") else "`rnnctl explain` lists them"
        raise UsageError(f"the glossary has no {name!r}", hint=hint)
    return found


def find(name: str) -> Term | None:
    """As `entry`; None where there is none."""
    names = _names()
    bare = re.sub(r"\s*[(\[][^()\[\]]*[)\]]\s*$", "", name)  # a column's unit
    # From the whole name to ever less of it, so that an entry of just this name goes first.
    for shown in (name, key(name), bare, key(bare), key(name.partition(":")[0])):
        if shown in names:
            return names[shown]
    return _of_another_package(name)


def _of_another_package(name: str) -> Term | None:
    """A diagnostic that another package has added explains itself."""
    listed = {one.casefold(): one for one in catalog.names("diagnostic")}
    added = listed.get(name.casefold())
    if added is None or added in catalog.DIAGNOSTICS:
        return None
    about = catalog.load("diagnostic", added)
    if not about.glossary:
        return None
    return Term(term=added, kind="Measurements", summary=about.title, parts={"": about.glossary})


def entries() -> tuple[Term, ...]:
    """All entries, by kind, in the order of the page."""
    return _parsed((files("rnnctl") / "docs" / "glossary.md").read_text("utf-8"))


@cache
def _parsed(page: str) -> tuple[Term, ...]:
    found: list[Term] = []
    kind = ""
    for section in re.split(r"^(?=##)", page, flags=re.MULTILINE)[1:]:
        title, _, body = section.partition("\n")
        if title.startswith("## "):
            kind = title.removeprefix("## ").strip()
            continue
        paragraphs = [one for one in body.strip().split("\n\n") if one]
        also: tuple[str, ...] = ()
        if paragraphs and paragraphs[0].startswith("Also: "):
            listed = paragraphs.pop(0).removeprefix("Also: ").removesuffix(".")
            also = tuple(name.strip() for name in listed.split(", "))
        parts = [(m[1], m[2]) for one in paragraphs[1:] if (m := _PART.match(one))]
        found.append(
            Term(
                term=title.removeprefix("### ").strip(),
                kind=kind,
                also=also,
                summary=paragraphs[0],
                parts=dict(parts),
            )
        )
    return tuple(found)


@cache
def _names() -> dict[str, Term]:
    """Every name as it is written and as `key` makes it."""
    names: dict[str, Term] = {}
    # What is written exactly so goes before what is merely alike, and titles before other names.
    for make in (str, key):
        for of in (lambda term: (term.term,), lambda term: term.also):
            for term in entries():
                for name in of(term):
                    names.setdefault(make(name), term)
    return names


def key(name: str) -> str:
    """What two spellings of a name have in common: no case, no numbers, no punctuation."""
    text = re.sub(r"(?<![\w-])[\d.,]*\d(?![\w-])", "n", name.casefold())
    text = re.sub(r"[\s_*`:,()\[\]✓…-]+", " ", text)
    return text.strip() or name.casefold()


def plain(text: str) -> str:
    """A part without Markdown's marks."""
    return re.sub(r"\*(\S(?:[^*]*\S)?)\*", r"\1", text)


def html(term: Term) -> str:
    """An entry as HTML: a definition list under a heading of level 3, with an id to link to."""
    listed = "".join(
        f"<dt>{escape(PARTS.get(head, head))}</dt><dd>{_inline(text)}</dd>"
        for head, text in term.parts.items()
    )
    return (
        f'<section class="term" id="{anchor(term)}"><h3>{escape(term.term)}</h3>'
        f"<p>{_inline(term.summary)}</p><dl>{listed}</dl></section>"
    )


def anchor(term: Term) -> str:
    """The id of an entry on a page: ``term-memory-horizon``."""
    return "term-" + re.sub(r"\W+", "-", term.term.casefold()).strip("-")


def _inline(text: str) -> str:
    """Markdown's code and emphasis as HTML, the rest escaped."""
    text = re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text, quote=False))
    return re.sub(r"\*(\S(?:[^*<]*\S)?)\*", r"<em>\1</em>", text)


def blocks(result: Result) -> list[Block]:
    """One entry in full, or all terms by kind with what they are."""
    assert isinstance(result, GlossaryResult)
    if result.asked is not None:
        return [block for term in result.terms for block in _full(term)]
    made: list[Block] = []
    for kind in dict.fromkeys(term.kind for term in result.terms):
        made.append(Heading(kind))
        made.append(Paragraph(", ".join(t.term for t in result.terms if t.kind == kind) + "."))
    made.append(Paragraph("`rnnctl explain TERM` explains one, under any of its names", "hint"))
    return made


def _full(term: Term) -> list[Block]:
    pairs = [(NARROW.get(head, head), plain(text)) for head, text in term.parts.items()]
    made: list[Block] = [Heading(f"{term.term} ({term.kind.lower()})", 1)]
    made += [Paragraph(plain(term.summary), "strong"), KeyValues(tuple(pairs))]
    return made
