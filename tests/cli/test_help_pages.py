"""`rnnctl help`: topics, commands, sections, terminals and pipes, and names that do not exist."""

from __future__ import annotations

import os
import re
import select
import subprocess
import sys
from collections.abc import Callable
from importlib.resources import files
from typing import Any

import pytest

from rnnctl import catalog
from rnnctl.cli import help as pages

CommandLine = Callable[..., Any]


def test_every_page_is_a_topic_and_every_topic_a_page() -> None:
    found = {path.name.removesuffix(".md") for path in (files("rnnctl") / "docs").iterdir()}
    assert found == set(pages.TOPICS)


def test_it_lists_all_topics_and_commands(rnnctl: CommandLine) -> None:
    done = rnnctl("help")
    assert done.code == 0 and not done.err
    listed = re.findall(r"^  (\w+) +\w", done.out, re.MULTILINE)
    assert listed == [*pages.TOPICS, *catalog.COMMANDS]
    assert max(map(len, done.out.splitlines())) <= 100


@pytest.mark.parametrize("topic", pages.TOPICS)
def test_a_page_in_a_pipe_is_its_markdown(topic: str, rnnctl: CommandLine) -> None:
    done = rnnctl("help", topic)
    assert done.code == 0
    assert done.out.startswith(pages.text_of(topic))
    assert "\n<!--" not in done.out and "\x1b" not in done.out
    assert re.match(r"# [A-Z][a-z]+: \S.{20,}\n", done.out)  # a title and a summary


@pytest.mark.parametrize("command", [name for name in catalog.COMMANDS if name != "compare"])
def test_help_of_a_command_is_its_help_option(command: str, rnnctl: CommandLine) -> None:
    assert rnnctl("help", command).out.split() == rnnctl(command, "--help").out.split()


def test_what_is_topic_and_command_shows_both(rnnctl: CommandLine) -> None:
    out = rnnctl("help", "compare").out
    assert "## What is held equal" in out and "Usage: rnnctl compare" in out


def test_a_section_alone(rnnctl: CommandLine) -> None:
    out = rnnctl("help", "memory", "HOLD").out
    assert out.startswith("## HOLD\n") and out.count("\n## ") == 0
    assert rnnctl("help", "MEMORY", "memory", "horizon").out.startswith("## Memory horizon\n")


def test_a_section_ends_at_the_next_heading_and_not_inside_code() -> None:
    page = "# A: b\n\n## One\n\n```sh\n## no heading\n```\n\n### Part\n\n## Two\n\nend\n"
    found = pages.section(page, "one", topic="a")
    assert found == "## One\n\n```sh\n## no heading\n```\n\n### Part\n"


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["memry"], "no topic or command 'memry'", "`memory`"),
        (["trian"], "no topic or command 'trian'", "`train`"),
        (["memory", "holt"], "no heading of `rnnctl help memory` contains 'holt'", "EFFECT; HOLD"),
        (["train", "corpus"], "no topic or command 'train corpus'", "`train`"),
    ],
)
def test_a_name_that_does_not_exist(
    arguments: list[str], message: str, hint: str, rnnctl: CommandLine
) -> None:
    done = rnnctl("help", *arguments)
    assert done.code == 2 and not done.out
    assert message in done.err and hint in done.err


def test_links_between_pages_and_to_sections_lead_somewhere() -> None:
    for topic in pages.TOPICS:
        text = pages.text_of(topic)
        for page, anchor in re.findall(r"\]\((?!http)(\w+\.md)?(?:#([\w→-]+))?\)", text):
            target = pages.text_of(page.removesuffix(".md")) if page else text
            anchors = {_anchor(title) for title in re.findall(r"^##+ (.+)$", target, re.MULTILINE)}
            assert not anchor or anchor in anchors, f"{topic}: {page}#{anchor}"


def _anchor(title: str) -> str:
    """A heading's anchor as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def test_pages_name_only_commands_and_options_that_exist() -> None:
    """`rnnctl …` in running text is a command, and its options are that command's."""
    from rnnctl.cli.app import load_command

    for topic in pages.TOPICS:
        for words in re.findall(r"`rnnctl (\w[^`]*)`", pages.text_of(topic)):
            name, *rest = words.split()
            assert name in catalog.COMMANDS, f"{topic}: rnnctl {words}"
            known = {option for one in load_command(name).params for option in one.opts}
            known |= {option for one in load_command(name).params for option in one.secondary_opts}
            # what is in quotes is for another command: compare's --train hands it on
            own = re.sub(r"'[^']*'", "", " ".join(rest)).split()
            for option in (word for word in own if word.startswith("--")):
                assert option in {*known, "--help"}, f"{topic}: rnnctl {words}"


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
@pytest.mark.parametrize("no_color", ["", "1"])
def test_a_terminal_gets_formatted_text_that_fits(no_color: str) -> None:
    shown = _in_terminal("help", "memory", NO_COLOR=no_color, PAGER="cat")
    assert "**Question.**" not in shown and "| row |" not in shown
    assert ("\x1b[3" in shown) is (not no_color)  # a colour
    plain = re.sub(r"\x1b\[[0-9;]*m", "", shown)
    assert max(map(len, plain.replace("\r", "").splitlines())) <= 80


def _in_terminal(*arguments: str, **environment: str) -> str:
    """What a command writes to a terminal of 80 columns and 24 lines."""
    import fcntl
    import pty
    import struct
    import termios

    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    inherited = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "NO_COLOR")}
    child = subprocess.Popen(
        [sys.executable, "-m", "rnnctl", *arguments],
        stdin=follower, stdout=follower, stderr=follower,
        env={**inherited, "TERM": "xterm-256color", **environment},
    )  # fmt: skip
    os.close(follower)
    read = b""
    while select.select([leader], [], [], 60)[0]:
        try:
            piece = os.read(leader, 1 << 16)
        except OSError:  # the other end is closed
            break
        if not piece:
            break
        read += piece
    os.close(leader)
    assert child.wait() == 0, read
    return read.decode("utf-8")
