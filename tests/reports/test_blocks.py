"""Blocks as tables, Markdown and HTML: nothing is cut, nothing breaks out."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rnnctl.reports.as_html import as_html
from rnnctl.reports.as_markdown import as_markdown
from rnnctl.reports.as_table import as_table, column_widths, split_columns
from rnnctl.reports.blocks import (
    Block,
    Bullets,
    Chart,
    Heading,
    KeyValues,
    Paragraph,
    Table,
    Verbatim,
    table,
)

WIDE = table(
    [
        "cell",
        "bits per byte",
        "memory horizon (words)",
        "gradient half-life",
        "training (tokens/s)",
    ],
    [
        ["rnn torch", "2.512 [2.401, 2.600]", "38 [31, 47]", "1.23 [1.01, 1.5]", "12,345,678"],
        ["lstm good", "2.2 [2.1, 2.3]", "> 256", "-", "987,654 [900,000, 1,000,000]"],
    ],
    caption="two rows",
)


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_no_number_of_a_table_is_ever_cut(width: int) -> None:
    text = as_table([WIDE], width=width)
    assert max(map(len, text.splitlines())) <= width
    for row in WIDE.rows:
        for cell in row:
            for part in re.findall(r"\[[^]]*\]|[^\s\[\]]+", cell):
                assert part in text, (part, text)


cells = st.text("abc123,. []-", max_size=18)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(cells, cells, cells, cells), min_size=1, max_size=4),
    st.integers(30, 100),
)
@example([("", "", "1" * 12, " " + "1" * 16)], 46)
@example([("", "", "11112", "1" * 14), ("1" * 15, "", "", "")], 30)
def test_every_word_of_any_table_comes_out_whole(
    rows: list[tuple[str, str, str, str]], width: int
) -> None:
    made = table(["first", "second heading", "third", "a fourth one"], rows)
    text = as_table([made], width=width)
    lines = text.splitlines()
    assert max(map(len, lines)) <= width
    for row in rows:
        for cell in row if width >= 40 else row[1:]:  # two words of 18 and a gap: a name gives way
            for word in cell.split():
                assert word in text


def test_rows_of_a_part_stay_indented() -> None:
    made = table(["", "measured"], [["HOLD: what the state holds", ""], ["  half", "1.2 words"]])
    assert "\n  half " in as_table([made], width=80)


def test_columns_that_do_not_fit_are_continued_below_with_the_first_one_repeated() -> None:
    parts = split_columns(WIDE, 45)
    assert len(parts) > 1
    assert {part.columns[0] for part in parts} == {"cell"}
    assert [name for part in parts for name in part.columns[1:]] == list(WIDE.columns[1:])
    assert split_columns(WIDE, 200) == [WIDE]


def test_headings_wrap_before_cells_do() -> None:
    made = table(["", "a very long heading over little"], [["x", "12 345"], ["y", "6"]])
    widths = column_widths(made, 20)
    assert sum(widths) + 2 <= 20
    assert widths[1] >= len("12 345")


def test_a_long_path_is_cut_and_nothing_else() -> None:
    """One long name took the room of all other columns, whose headings were cut in two."""
    path = "experiments/2026-11-23/wikitext2-words-lstm-hidden-1024-layers-2-seed-17"
    rows = [(path, "unfinished", "classify", "12,345"), ("runs/b", "finished", "lm", "7")]
    made = table(("run", "state", "task", "steps"), rows, align="lllr")
    text = as_table([made], width=60)
    assert all(len(line) <= 60 for line in text.splitlines())
    for word in ("unfinished", "classify", "12,345", "steps"):
        assert re.search(rf"(^|\s){word}(\s|$)", text, re.MULTILINE), text
    first = [line.split("  ")[0].strip() for line in text.splitlines()[2:]]
    assert "".join(first).startswith(path)
    assert all(part.endswith(("/", "-")) for part in first[: first.index("runs/b") - 1])


def test_a_path_that_is_longer_than_a_line_stands_on_a_line_of_its_own() -> None:
    path = "/home/someone/experiments/2026-11-23/wikitext2-words-lstm-hidden-1024-layers-2"
    blocks: list[Block] = [
        Paragraph(f"kept in {path} for good", "note"),
        KeyValues((("corpus", path), ("short", "runs/a")), caption=f"read from {path}"),
        Bullets((f"run {path}",)),
    ]
    lines = as_table(blocks, width=40).splitlines()
    assert [line for line in lines if "/home" in line] == [path] * 4
    assert lines[:3] == ["note: kept in", path, "for good"]
    assert lines[4:7] == ["corpus", path, "short   runs/a"]
    assert lines[-2:] == ["- run", path]


def test_equal_headings_are_different_columns() -> None:
    text = as_table([table(["", "n", "n"], [["a", "1", "22222222"]])], width=40)
    assert "22222222" in text


EVERYTHING: list[Block] = [
    Heading("A <b>title</b>", 1),
    Paragraph("plain | text"),
    Paragraph("look here", "strong"),
    Paragraph("mind this", "warning"),
    Paragraph("mind that", "warning"),
    Paragraph("do this next", "hint"),
    KeyValues((("name", "value"), ("longer name", "x"))),
    Bullets(("one", "two [1, 2]")),
    WIDE,
    Chart(("▁▂▃█", "  ×"), "drawn"),
    Verbatim("rnnctl train --run a | b"),
]


def test_the_same_blocks_come_out_in_every_form() -> None:
    for text in (as_table(EVERYTHING), as_markdown(EVERYTHING), as_html(EVERYTHING)):
        for word in ("title", "look here", "mind this", "do this next", "longer name", "38"):
            assert word in text
    assert as_table(EVERYTHING).endswith("\n")
    assert as_markdown(EVERYTHING).endswith("\n")


def test_warnings_and_hints_are_named_in_words_and_colour_is_only_added() -> None:
    plain = as_table(EVERYTHING)
    colored = as_table(EVERYTHING, color=True)
    assert "warning: mind this\nwarning: mind that" in plain
    assert "hint: do this next" in plain
    assert "\x1b" not in plain
    assert "\x1b[" in colored
    stripped = re.sub(r"\x1b\[[0-9;]*m", "", colored)
    assert [line.rstrip() for line in stripped.splitlines()] == plain.splitlines()


HOSTILE = "\x1b[31mred\x07 <script>alert(1)</script> a|b `c` [d](e)\n# x"


def test_text_of_users_cannot_steer_a_terminal() -> None:
    for block in (Paragraph(HOSTILE), Heading(HOSTILE), table([HOSTILE], [[HOSTILE]])):
        text = as_table([block], color=False)
        assert "\x1b" not in text
        assert "\x07" not in text
        assert "\\x1b[31mred" in text.replace("\n", "").replace(" ", "")


def test_text_of_users_cannot_break_out_of_html_or_markdown() -> None:
    blocks: list[Block] = [Paragraph(HOSTILE), table(["a", "b"], [[HOSTILE, "1"]])]
    html = as_html(blocks)
    assert "<script>" not in html
    assert "&lt;script&gt;" in html
    markdown = as_markdown(blocks)
    assert "\n# x" not in markdown
    assert "<script>" not in markdown.replace("\\<", "")
    rows = [line for line in markdown.splitlines() if line.startswith("|")]
    assert len(rows) == 3
    assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows}) == 1


@pytest.mark.parametrize("turning", ["\u202e", "\u2066", "\u061c", "\u200f"])
def test_text_of_users_cannot_turn_the_direction_of_writing(turning: str) -> None:
    for block in (Paragraph(f"a{turning}b"), Verbatim(f"a{turning}b")):
        for text in (as_table([block]), as_markdown([block]), as_html([block])):
            assert turning not in text
            assert f"\\u{ord(turning):04x}" in text.replace("\\\\", "\\")


def test_pages_show_commands_as_code_and_raise_exponents() -> None:
    html = as_html([
        Paragraph("run `rnnctl info <a>`: 2·10^-15, 3·10^5 and 10^7", "hint"),
        table(["x", "y"], [["`word`", "4·10^-9"]]),
    ])  # fmt: skip
    assert "<code>rnnctl info &lt;a&gt;</code>" in html
    assert "2·10<sup>−15</sup>, 3·10<sup>5</sup> and 10^7" in html
    assert "4·10<sup>−9</sup>" in html
    assert "`word`" in html  # a cell may hold the text of a user


def test_markdown_shows_entities_and_strokes_as_they_are() -> None:
    text = as_markdown([table(["a &lt;b&gt;", "~~x~~"], [["&copy;", "1"]])])
    assert re.search(r"(?<!\\)[&~]", text) is None


@pytest.mark.parametrize("color", [False, True])
def test_verbatim_text_keeps_its_tabs_and_spaces(color: bool) -> None:
    text = "a\tb   \n  c \ue000 d  \n\n"
    assert as_table([Verbatim(text)], color=color) == text
    both = as_table([Verbatim(text.rstrip()), Paragraph("end")], color=color)
    assert both.startswith(text.rstrip() + "\n\n") and "end" in both


def test_a_fence_is_longer_than_any_inside() -> None:
    text = as_markdown([Verbatim("a\n```\nb")])
    assert text.startswith("````text\n")


def test_a_row_with_too_few_cells_is_a_mistake() -> None:
    with pytest.raises(AssertionError):
        table(["a", "b"], [["1"]])


def test_alignment_defaults_to_left_then_right() -> None:
    assert Table(("a", "b", "c"), ()).alignment() == "lrr"
    assert Table(("a", "b", "c"), (), "ll").alignment() == "llr"
