"""The glossary explains every word that a report prints, briefly, under each of its names."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, get_args

import pytest

import rnnctl as package
from rnnctl import catalog
from rnnctl.cli.app import load_command
from rnnctl.compare.verdicts import CLAIMS
from rnnctl.diagnostics.panel import QUALITY
from rnnctl.reports import glossary
from rnnctl.reports.as_table import as_table
from rnnctl.results.base import Environment, Status
from rnnctl.results.comparison import ContrastOutcome, Outcome
from rnnctl.results.teaching import GlossaryResult

CommandLine = Callable[..., Any]
SOURCE = Path(package.__file__).parent
NAMES_OF_COLUMNS = ("columns", "heads", "first", "_COLUMNS", "wanted", "headings")
# Headings that divide a report and name nothing; words of ordinary English.
PLAIN = {
    ".png",
    "curves", "terms", "by distance", "by place in the text its first fifth to its last",
    "memory in other measures not tested", "id", "cell", "summary", "expected", "state",
}  # fmt: skip


def entries() -> list[Any]:
    return list(glossary.entries())


# -- what reports print ---------------------------------------------------------------------------


def _strings(node: ast.AST) -> Iterator[str]:
    """Constants of a literal tuple or list, also inside a conditional or a sum."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.Tuple | ast.List):
        for part in node.elts:
            yield from _strings(part)
    elif isinstance(node, ast.Starred):
        yield from _strings(node.value)


def _first(node: ast.AST) -> Iterator[str]:
    """The name of a pair that is written as a literal."""
    if isinstance(node, ast.Tuple) and len(node.elts) == 2:
        name = node.elts[0]
        if isinstance(name, ast.Constant) and isinstance(name.value, str):
            yield name.value


def _printed(tree: ast.AST) -> Iterator[str]:
    """Headings, column names and names of values that a module of reports writes as literals."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            if node.func.id in ("Heading", "table") and node.args:
                yield from _strings(node.args[0])
            elif node.func.id == "KeyValues":
                for pair in ast.walk(node):
                    yield from _first(pair)
        elif isinstance(node, ast.Yield) and node.value is not None:
            yield from _first(node.value)
        elif isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            named = isinstance(target, ast.Name) and target.id in NAMES_OF_COLUMNS
            if named and node.value is not None:
                yield from _strings(node.value)
        elif isinstance(node, ast.Tuple) and len(node.elts) == 3:  # (key, heading, digits)
            key, heading, digits = node.elts
            numeric = isinstance(digits, ast.Constant | ast.UnaryOp | ast.Attribute)
            both = [one.value for one in (key, heading) if isinstance(one, ast.Constant)]
            if numeric and len(both) == 2 and all(isinstance(one, str) for one in both):
                yield str(both[1])


def _of_reports() -> set[str]:
    files = [*(SOURCE / "reports").rglob("*.py"), SOURCE / "cli" / "score_words.py"]
    files = [file for file in files if file.name != "glossary.py"]
    return {name for file in files for name in _printed(ast.parse(file.read_text("utf-8")))}


def _of_diagnostics() -> set[str]:
    found: set[str] = set()
    for name in catalog.DIAGNOSTICS:
        about = catalog.load("diagnostic", name)
        found |= {name, about.title, about.short, *about.numbers.values(), *about.spoken.values()}
    return found | {said for said, _ in QUALITY.values()}


def _of_cells() -> set[str]:
    found: set[str] = set()
    for name in catalog.CELLS:
        cell = catalog.load("cell", name)
        gates = [gate if gate == "candidate" else f"{gate} gate" for gate in cell.gate_names]
        found |= {name, cell.display_name, *gates, *cell.state_names}
    return found


def _codes() -> set[str]:
    """Codes of warnings: constants in capitals that stand first in a pair, or as `code`."""
    found: set[str] = set()
    for file in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            made: list[str] = []
            if isinstance(node, ast.keyword) and node.arg == "code":
                made = list(_strings(node.value))
            elif isinstance(node, ast.Yield) and node.value is not None:
                made = list(_first(node.value))
            found |= {one for one in made if re.fullmatch(r"[A-Z]{3,}(_[A-Z]+)*", one)}
    return found


def _panels() -> set[str]:
    return {
        panel
        for name in catalog.COMMANDS
        for parameter in load_command(name).params
        if (panel := getattr(parameter, "rich_help_panel", None))
    }


SOURCES: dict[str, Callable[[], set[str]]] = {
    "reports": _of_reports,
    "diagnostics": _of_diagnostics,
    "cells and gates": _of_cells,
    "outcomes": lambda: {*get_args(Outcome), *get_args(ContrastOutcome)},
    "claims": lambda: {claim.text for claim in CLAIMS} | {claim.id for claim in CLAIMS},
    "statuses": lambda: {one for one in get_args(Status) if one != "ok"},
    "codes": _codes,
    "groups of options": _panels,
}


@pytest.mark.parametrize("source", SOURCES)
def test_every_word_of_a_report_is_explained(source: str) -> None:
    words = {word for word in SOURCES[source]() if word.strip()}
    assert len(words) > 3, "nothing was found: the search is wrong"
    missing = [
        word for word in sorted(words)
        if glossary.find(word) is None and glossary.key(word) not in PLAIN
    ]  # fmt: skip
    assert not missing, f"rnnctl/docs/glossary.md has no entry for {missing}"


# -- the entries ----------------------------------------------------------------------------------


def test_entries_are_short_and_whole() -> None:
    assert len(entries()) > 60
    for term in entries():
        assert list(term.parts) == list(glossary.PARTS), term.term
        asked = GlossaryResult(
            environment=Environment(rnnctl="0", python="3"), asked=term.term, terms=(term,)
        )
        text = as_table(glossary.blocks(asked), width=80)
        assert text.count("\n") <= 25 and max(map(len, text.splitlines())) <= 80, term.term
        assert "**" not in text and "Also:" not in text


def test_titles_lead_to_themselves_and_no_name_has_two_meanings() -> None:
    meanings: dict[str, set[str]] = {}
    for term in entries():
        assert glossary.entry(term.term) == term
        for name in (term.term, *term.also):
            meanings.setdefault(name, set()).add(term.term)
    assert not {name: of for name, of in meanings.items() if len(of) > 1}


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("F1", "macro-F1"), ("forget gate", "forget gate"), ("P(more)", "P(first > second)"),
        ("tau", "GATES"), ("τ", "GATES"), ("Holm", "corrected p"), ("excess", "USE"),
        ("foreign text", "foreign text"), ("nats", "loss"), ("horizon", "memory horizon"),
        ("jackknife", "jackknife"), ("BITS PER BYTE", "bits per byte"),
        ("accuracy at lag 60", "recall"), ("gates' τ (tokens)", "GATES"),
        ("gain from beyond 50 words", "early gain"), ("HOLD half (words)", "HOLD"),
        ("early gain (% ppl)", "early gain"), ("update gate", "keep gate"), ("c", "cell state"),
    ],
)  # fmt: skip
def test_other_names_and_units(name: str, title: str) -> None:
    assert glossary.entry(name).term == title


class _Words(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_entries_as_html_hold_every_word_and_close_their_tags() -> None:
    ids = [glossary.anchor(term) for term in entries()]
    assert len(set(ids)) == len(ids)
    for term in entries():
        read = _Words()
        read.feed(glossary.html(term))
        assert not read.open
        for text in (term.summary, *term.parts.values()):
            assert glossary.plain(text).replace("`", "") in read.text, term.term


# -- the command ----------------------------------------------------------------------------------


def test_one_term(rnnctl: CommandLine) -> None:
    done = rnnctl("explain", "forget", "gate")
    assert done.code == 0 and not done.err
    assert done.out.startswith("forget gate") and "not said" in done.out
    done = rnnctl("explain", "tau", "--format", "json")
    found = json.loads(done.out)
    assert (found["asked"], [one["term"] for one in found["terms"]]) == ("tau", ["GATES"])
    assert "τ = −1/ℓ" in found["terms"][0]["parts"]["Measured"]
    assert rnnctl("explain", "tau", "--format", "markdown").out.startswith("# GATES")


def test_all_terms(rnnctl: CommandLine) -> None:
    done = rnnctl("explain")
    assert done.code == 0
    flat = " ".join(done.out.split())
    assert all(term.term in flat for term in entries())
    found = json.loads(rnnctl("explain", "--format", "json").out)
    assert len(found["terms"]) == len(entries())


def test_an_unknown_term_suggests_near_ones(rnnctl: CommandLine) -> None:
    done = rnnctl("explain", "horizn")
    assert done.code == 2 and not done.out
    assert "the glossary has no 'horizn'" in done.err and "`horizon`" in done.err
    done = rnnctl("explain", "qqqqq")
    assert done.code == 2 and "`rnnctl explain` lists them" in done.err


def test_terms_are_completed() -> None:
    from rnnctl.cli.explain import _completed

    assert "memory horizon" in _completed("mem") and "USE" in _completed("us")
