"""`--format html`: a page of every report by one mechanism; none where lines are written."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

CommandLine = Callable[..., Any]
TEXT = "".join(
    f"Cat {k} sat on the mat. It ate rat {k % 7} with a hat, and then it left. \n\n"
    for k in range(90)
)


class _Page(HTMLParser):
    """Titles, what is loaded from elsewhere, and the JSON elements of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.titles: list[str] = []
        self.loads: list[str] = []
        self.held: dict[str, Any] = {}
        self._in = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        links = [str(given.get(name) or "") for name in ("src", "href")]
        self.loads += [one for one in links if one and not one.startswith(("#", "data:"))]
        self._in = f"json {given['id']}" if given.get("type") == "application/json" else tag

    def handle_endtag(self, tag: str) -> None:
        self._in = ""

    def handle_data(self, data: str) -> None:
        if self._in == "h1":
            self.titles.append(data)
        elif self._in.startswith("json "):
            self.held[self._in.removeprefix("json ")] = json.loads(data)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from rnnctl.api import train

    folder = tmp_path_factory.mktemp("trained")
    (folder / "text.txt").write_text(TEXT)
    small = {"steps": 2, "hidden_size": 8, "batch_size": 4, "bptt": 8, "threads": 1}
    train(folder / "text.txt", run=folder / "run", level="word", documents="paragraph", **small)
    return folder / "run"


@pytest.fixture(scope="module")
def classifier(make_run: Callable[..., Path]) -> Path:
    return make_run(TEXT, level="word", labels=("bad", "good"))


CALLS: dict[str, tuple[str, ...]] = {
    "info": ("info", "{run}"),
    "runs": ("runs", "{run}"),
    "evaluate": ("evaluate", "{run}"),
    "score": ("score", "{run}"),
    "generate": ("generate", "{run}", "the cat", "--length", "5"),
    "explain one": ("explain", "horizon"),
    "explain all": ("explain",),
    "lessons": ("lesson",),
    "diagnose": ("diagnose", "{run}", "gates"),
    "compare": ("compare", "{run}"),
    "words that decide": ("classify", "{classifier}", "--explain", "--words-overall"),
    "a text": ("diagnose", "{run}", "--show", "the cat ate the rat"),
}


def call(name: str, run: Path, classifier: Path) -> list[str]:
    return [part.format(run=run, classifier=classifier) for part in CALLS[name]]


@pytest.mark.parametrize("name", CALLS)
def test_a_report_is_a_page_too(
    name: str, rnnctl: CommandLine, run: Path, classifier: Path, tmp_path: Path
) -> None:
    """One file that loads nothing, with a title; -o takes it."""
    command = [*call(name, run, classifier), "--format", "html"]
    done = rnnctl(*command, stdin="the cat sat on the mat.\n")
    assert done.code == 0, done.err
    assert done.out.startswith("<!DOCTYPE html>") and done.out.endswith("\n")
    page = _Page(done.out)
    assert len(page.titles) == 1 and page.titles[0].strip() and not page.loads
    assert page.held
    file = tmp_path / "page.html"
    written = rnnctl(*command, "-o", file, stdin="the cat sat on the mat.\n")
    assert written.code == 0 and not written.out
    assert _Page(file.read_text()).titles == page.titles


@pytest.mark.parametrize("name", ["info", "explain one", "lessons"])
def test_the_page_holds_the_record(
    name: str, rnnctl: CommandLine, run: Path, classifier: Path
) -> None:
    command = call(name, run, classifier)
    page = _Page(rnnctl(*command, "--format", "html").out)
    assert page.held["result"] == json.loads(rnnctl(*command, "--format", "json").out)


@pytest.mark.parametrize("name", ["diagnose", "compare", "a text"])
def test_it_is_what_html_writes(
    name: str, rnnctl: CommandLine, run: Path, classifier: Path, tmp_path: Path
) -> None:
    command, file = call(name, run, classifier), tmp_path / "page.html"
    both = rnnctl(*command, "--format", "html", "--html", file)
    assert both.code == 0, both.err
    assert both.out == file.read_text()


def test_reasons_are_a_page_in_place_of_the_answers(
    rnnctl: CommandLine, classifier: Path, tmp_path: Path
) -> None:
    command, file = ("classify", classifier, "--explain"), tmp_path / "page.html"
    done = rnnctl(*command, "--format", "html", "--html", file, stdin="the cat sat\nit left\n")
    assert done.code == 0, done.err
    assert done.out == file.read_text()
    said = unescape(re.sub(r"<[^>]*>", " ", done.out))
    assert "the cat sat" in " ".join(said.split()) or "cat" in said
    lines = rnnctl(*command, stdin="the cat sat\nit left\n").out
    assert lines.count("\t") == 2 and not lines.startswith("<")


@pytest.mark.parametrize(
    "arguments",
    [
        ("classify", "{classifier}"), ("generate", "{run}", "--lines"),
        ("score", "{run}", "--per-token"), ("score", "{run}", "--words"),
        ("score", "{run}", "--documents", "line"),
    ],
)  # fmt: skip
def test_lines_are_no_page(
    rnnctl: CommandLine, run: Path, classifier: Path, arguments: tuple[str, ...]
) -> None:
    command = [part.format(run=run, classifier=classifier) for part in arguments]
    done = rnnctl(*command, "--format", "html", stdin="the cat\n")
    assert done.code == 2 and not done.out
    assert "--format has no effect of this name" in done.err
    assert "hint: leave it out, or use table, json" in done.err
