"""`rnnctl help`: the documentation that is installed with the package, and each command's help."""

from __future__ import annotations

import os
import re
import shutil
import sys
from importlib.resources import files
from typing import Annotated, Any

import typer

from rnnctl import catalog
from rnnctl.cli import console
from rnnctl.errors import UsageError

# Pages in reading order; each is rnnctl/docs/NAME.md and begins with a line "# Title: summary".
TOPICS = (
    "guide",
    "lessons",
    "memory",
    "scorer",
    "deploying",
    "compare",
    "corpora",
    "glossary",
    "promises",
    "extending",
    "architecture",
)

NameArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[TOPIC|COMMAND]",
        help="A topic or a command; after a topic, words from one of its headings. Without one, "
        "all topics and commands are listed.",
    ),
]


def help(name: NameArgument = None) -> None:
    """Show a page of the documentation, or the help of a command.

    In a terminal, pages are formatted, and long pages are shown by the program in PAGER (`less` by
    default). In a pipe, pages are plain Markdown.
    """
    words = name or []
    if not words:
        _show(contents(), formatted=False)
        return
    first, rest = words[0].lower(), " ".join(words[1:])
    if first in TOPICS:
        page = text_of(first)
        if rest:
            page = section(page, rest, topic=first)
        elif first in catalog.COMMANDS:  # `compare` is both
            page += f"\n## Options\n\n```text\n{command_help(first)}```\n"
        _show(page, formatted=True)
    elif first in catalog.COMMANDS and not rest:
        _show(command_help(first), formatted=False)
    else:
        names = [*TOPICS, *catalog.COMMANDS]
        raise UsageError(
            f"there is no topic or command {' '.join(words)!r}",
            hint=catalog.suggestion(first, names) + " (`rnnctl help` lists them)",
        )


def contents() -> str:
    """All topics and commands, one a line."""
    lines = ["Topics (`rnnctl help TOPIC`)", ""]
    lines += [f"  {topic:14}{summary_of(topic)}" for topic in TOPICS]
    lines += ["", "Commands (`rnnctl help COMMAND`)", ""]
    lines += [
        f"  {command:14}{catalog.summary('command', command)}" for command in catalog.COMMANDS
    ]
    return "\n".join(lines) + "\n"


def text_of(topic: str) -> str:
    """The Markdown of a page, without the comments that mark examples for the tests."""
    text = (files("rnnctl") / "docs" / f"{topic}.md").read_text("utf-8")
    return re.sub(r"^<!--.*?-->\n+", "", text, flags=re.MULTILINE)


def summary_of(topic: str) -> str:
    """What a page is about, from its first line."""
    title = text_of(topic).partition("\n")[0]
    return title.partition(": ")[2]


def section(page: str, wanted: str, *, topic: str) -> str:
    """The part of a page under the first heading that contains `wanted`, whatever the case.

    Raises UsageError, which lists the headings.
    """
    # A line that begins with # inside a code block is no heading.
    outside = re.sub(r"```.*?```", lambda code: " " * len(code[0]), page, flags=re.DOTALL)
    headings = list(re.finditer(r"^(##+) (.+)$", outside, re.MULTILINE))
    for heading in headings:
        if wanted.lower() in heading[2].lower():
            level = len(heading[1])
            after = (h for h in headings if h.start() > heading.start() and len(h[1]) <= level)
            end = next((h.start() for h in after), len(page))
            return page[heading.start() : end].rstrip() + "\n"
    titles = [heading[2] for heading in headings if len(heading[1]) == 2]
    raise UsageError(
        f"no heading of `rnnctl help {topic}` contains {wanted!r}",
        hint="its headings are: " + "; ".join(titles),
    )


def command_help(name: str) -> str:
    """What `rnnctl NAME --help` prints."""
    from rnnctl.cli.app import load_command

    command: Any = load_command(name)
    with command.make_context(f"rnnctl {name}", [], resilient_parsing=True) as context:
        return str(command.get_help(context)).rstrip() + "\n"


def _show(text: str, *, formatted: bool) -> None:
    """Write to standard output; in a terminal formatted, and through a pager where it is long."""
    if not console.stdout_is_terminal():
        console.stdout_write(text)
        return
    if formatted:
        text = _formatted(text)
    height = shutil.get_terminal_size().lines
    if text.count("\n") < height or not sys.stdin.isatty():
        console.stdout_write(text)
        return
    import pydoc

    # Colours pass through `less`, and its screen stays when it ends. A value of the user's wins.
    os.environ.setdefault("LESS", "-FRX")
    pydoc.pager(text)


def _formatted(page: str) -> str:
    """Markdown for a terminal of this width, without colours where they are not wanted."""
    import io

    from rich.console import Console
    from rich.markdown import Markdown
    from rich.theme import Theme

    # Links between pages lead nowhere in a terminal; their words stay.
    page = re.sub(r"\[([^\]]+)\]\((?!http)[^)]*\)", r"\1", page)
    color = console.wants_color(sys.stdout)
    screen = Console(
        file=io.StringIO(),
        width=min(console.stdout_width(), 100),
        force_terminal=True,
        no_color=not color,
        color_system="standard" if color else None,
        theme=Theme({"markdown.code": "bold"}),  # rich's has a black background
    )
    with screen.capture() as captured:
        screen.print(Markdown(page, code_theme="ansi_dark"))
    return captured.get()
