"""Gates over a text: what stands under which character, without colour and in 80 columns."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from rich.cells import cell_len

from rnnctl.diagnostics import show
from rnnctl.diagnostics.known_answers.derivatives import frozen
from rnnctl.diagnostics.subject import ExactModel
from rnnctl.nn.models import LanguageModel

TEXT = "Nobody remembered 日本 how it began;\nit ended well. " * 3


def view(cell: str, text: str = TEXT, name: str = "runs/a") -> show.GateView:
    torch.manual_seed(9)
    model = ExactModel(
        LanguageModel(vocab_size=256, embedding_size=6, cell=cell, hidden_size=5, num_layers=1)
    )
    return show.look(model, list(text.encode()), lambda token: bytes([token]), name=name)


def plain(views: list[show.GateView], width: int = 80, *, color: bool = False) -> list[str]:
    return [line.plain for line in show.render(views, width=width, color=color)]


def rows(lines: list[str], label: str) -> str:
    """The digits of one row, all its pieces joined."""
    start = max(len(line) - len(line.lstrip()) for line in lines if line.strip().startswith(label))
    width = next(i for i, c in enumerate(lines[0]) if lines[0][i:].startswith("Nobody"))
    found = [line[width:] for line in lines if line[:width].strip() == label]
    assert start >= 0
    return "".join(found)


@pytest.mark.parametrize("width", [40, 80, 120])
@pytest.mark.parametrize("cells", [["lstm"], ["gru", "rnn"], ["lstm", "gru", "rnn"]])
def test_no_line_is_wider_than_the_terminal(width: int, cells: list[str]) -> None:
    views = [view(cell, name=f"runs/{cell}-with-a-rather-long-name") for cell in cells]
    for line in plain(views, width):
        assert cell_len(line.rstrip()) <= width


def test_without_colour_there_is_no_style_and_the_same_text() -> None:
    views = [view("lstm"), view("gru")]
    colourless = show.render(views, width=80, color=False)
    assert not any(line.spans or line.style for line in colourless)
    coloured = show.render(views, width=80, color=True)
    assert any(line.spans for line in coloured)
    assert [line.plain for line in coloured] == [line.plain for line in colourless]


def test_every_gate_has_a_row_and_one_entry_that_says_what_it_does() -> None:
    text = "\n".join(plain([view("lstm"), view("gru", name="runs/b")]))
    for gate in ("forget", "input", "output", "keep", "reset", "kept"):
        assert f"\n  {gate} " in text
        assert f"\n{gate}: " in text


def test_digits_are_the_gates_under_their_characters() -> None:
    text = "abc def"
    model = frozen("lstm", (0.55, 0.55))
    found = show.look(model, [1, 2], lambda token: [b"", b"abc ", b"def"][token], name="r")
    lines = plain([found])
    assert found.text == text
    column = lines[0].index(text)
    (forget,) = [line for line in lines if line.startswith("  forget ")]
    assert forget[column:].rstrip() == "5   5"
    (kept,) = [line for line in lines if line.startswith("  kept ")]
    # the input gate is ½; one more step multiplies by 0.55: a half is 9, a quarter is 8
    assert kept[column:].rstrip() == "8   9"


def test_kept_is_the_product_of_the_gates_after_it() -> None:
    found = view("lstm", "abcdef")
    torch.manual_seed(9)
    model = ExactModel(
        LanguageModel(vocab_size=256, embedding_size=6, cell="lstm", hidden_size=5, num_layers=1)
    )
    values = model.trace(torch.tensor([[c] for c in b"abcdef"])).layers[0].values
    forget, write = values["forget"][:, 0], values["input"][:, 0]
    for t in range(6):
        expected = (write[t] * forget[t + 1 :].prod(0)).mean()
        assert found.rows["kept"][t] == pytest.approx(float(expected))
    gru = view("gru", "abcdef")
    assert np.all(gru.rows["kept"] <= 1)


def test_a_plain_rnn_says_why_there_is_nothing() -> None:
    lines = plain([view("rnn", "ab")])
    assert "runs/a: a plain RNN has no gates: every step rewrites the whole state" in lines
    assert not any(line.startswith("  kept") for line in lines)


def test_wide_and_split_characters_keep_their_columns() -> None:
    found = view("gru", "日本x")
    assert found.pieces == ("", "", "日", "", "", "本", "x")
    lines = plain([found])
    at = lines[0].index("日")
    (keep,) = [line for line in lines if line.startswith("  keep ")]
    assert [char.isdigit() for char in keep[at : at + 5]] == [True, False, True, False, True]


def test_control_characters_do_not_reach_the_terminal() -> None:
    found = view("gru", "a\x1b[31m\tb\n\x00c")
    assert all(char.isprintable() for char in found.text)
    assert "⏎" in found.text
    assert "→" in found.text


def test_runs_of_different_tokens_stand_one_after_the_other() -> None:
    model = frozen("gru", (0.5,))
    one = show.look(model, [1, 2], lambda token: [b"", b"the ", b"<unk>"][token], name="words")
    lines = plain([one, view("gru", "the x", name="bytes")])
    first = next(i for i, line in enumerate(lines) if line.startswith("words (GRU)"))
    second = next(i for i, line in enumerate(lines) if line.startswith("bytes (GRU)"))
    assert "<unk>" in lines[first]
    assert second - first == 5  # text, three rows, an empty line


def test_an_empty_text_gives_no_picture() -> None:
    assert not any("kept" in line for line in plain([view("lstm", "")]))


def test_the_unit_is_shown_in_which_most_is_erased_at_once() -> None:
    """By hand from a trace: the largest product of c before and of how far the forget gate falls,
    behind the first word; and how much the states change while that word is read.
    """
    text = "Ann met Bob in\nthe rain"
    views = [view("rnn", text, "r"), view("lstm", text, "l"), view("gru", text, "g")]
    torch.manual_seed(9)
    model = ExactModel(
        LanguageModel(vocab_size=256, embedding_size=6, cell="lstm", hidden_size=5, num_layers=1)
    )
    values = model.trace(torch.tensor([[c] for c in text.encode()])).layers[0].values
    forget, state = values["forget"][:, 0], values["c"][:, 0]
    most, unit, token = max(
        (float((forget[t - 1, k] - forget[t, k]) * state[t - 1, k].abs()), k, t)
        for t in range(3, len(text))
        for k in range(5)
    )
    assert most > 0
    lines = plain(views)
    (first,) = [k for k, line in enumerate(lines) if line.startswith("at “")]
    ends = [3, 7, 11, 14, 18, 23]  # behind the last letter of each word
    word = next(k for k, end in enumerate(ends) if token < end)
    told = " ".join(" ".join(lines[first : first + 6]).split())
    fall = f"from {forget[token - 1, unit]:.2f} to {forget[token, unit]:.2f}"
    assert told.startswith(
        f"at “{text.split()[word]}”: the forget gate of unit {unit + 1} of l falls {fall}; it held "
        f"c = {state[token - 1, unit]:.2f}"
    )
    before, after = state[ends[word - 1] - 1], state[ends[word] - 1]
    change = float((after - before).norm() / before.norm())
    assert f"; l c {100 * change:.0f} %, h " in told
    assert "change of the state while it is read: r h " in told and "; g h " in told
    (shown,) = [line for line in lines if line.startswith("  forget ")]
    digits = "".join(str(int(10 * value)) for value in forget[:, unit])
    assert shown.split()[1] == digits
    assert f"l unit {unit + 1}, g unit " in " ".join(" ".join(lines).split())
    assert not any(line.startswith("at “") for line in plain([view("lstm", "o")]))
    assert any("state of r changes most" in line for line in plain([view("rnn", text, "r")]))


def test_a_text_is_read_after_the_documents_start() -> None:
    """As the page reads it, and as it was trained: not from a state that no document begins in."""
    torch.manual_seed(9)
    model = ExactModel(
        LanguageModel(vocab_size=256, embedding_size=6, cell="gru", hidden_size=5, num_layers=2)
    )
    bare = show.look(model, [7, 8, 9], lambda token: b"ab ", name="r")
    after = show.look(model, [8, 9], lambda token: b"ab ", name="r", start=7)
    assert bare.pieces[1:] == after.pieces
    for name in ("h",):
        np.testing.assert_allclose(bare.states[name][1:], after.states[name])
    np.testing.assert_allclose(bare.rows["kept"][1:], after.rows["kept"])
    assert after.erased is not None and after.erased.unit.split(" of ")[1] in ("layer 1", "layer 2")


def test_of_a_text_without_spaces_each_token_is_looked_at() -> None:
    """All of it is one word: the last token is not the only one where something may be erased."""
    torch.manual_seed(3)
    model = ExactModel(
        LanguageModel(vocab_size=20, embedding_size=6, cell="lstm", hidden_size=5, num_layers=1)
    )
    ids = [4, 11, 7, 2, 9, 15, 3, 8]
    found = show.look(model, ids, lambda token: chr(0x4E00 + token).encode(), name="r")
    values = model.trace(torch.tensor([[one] for one in ids])).layers[0].values
    forget, state = values["forget"][:, 0], values["c"][:, 0]
    sizes = (forget[:-1] - forget[1:]).clamp(min=0) * state[:-1].abs()
    assert found.erased is not None
    assert found.erased.token == 1 + int(sizes.max(1).values.argmax())
    lines = plain([found])
    assert any(line.startswith(f"at “{found.pieces[found.erased.token]}”: ") for line in lines)
