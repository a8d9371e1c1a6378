"""Text that any terminal can show: control characters made visible, ASCII in place of symbols."""

from __future__ import annotations

from rnnctl.reports.numbers import SPARKS

_CONTROLS = {
    code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if code not in (9, 10)
}

# A terminal without UTF-8 still sees the shape of a curve: darker characters are higher.
_ASCII = str.maketrans(
    dict(zip(SPARKS, "_.-:=+*#", strict=True))
    | {
        "−": "-", "–": "-", "—": "-", "×": "x", "±": "+/-", "…": "...", "·": ".", "•": "*",
        "≤": "<=", "≥": ">=", "≈": "~", "≠": "!=", "→": "->", "←": "<-", "✓": "ok", "✗": "x",
        "’": "'", "‘": "'", "“": '"', "”": '"', "½": "1/2", "∞": "inf", "σ": "sigma",
        "τ": "tau", "λ": "lambda", "Γ": "Gamma", "δ": "delta", "Δ": "Delta", "ε": "epsilon",
        "²": "^2", "³": "^3", "█": "#", "▏": "|", "│": "|", "─": "-", "┼": "+", "└": "+",
        "├": "+", "┤": "+", "┌": "+", "┐": "+", "┘": "+", "●": "o", "░": ".", "▒": ":", "▓": "#",
        "\u00a0": " ", "\u202f": " ", "\u2009": " ",
    }
)  # fmt: skip


def visible(text: str) -> str:
    """`text` with control characters other than newline and tab written as ``\\x1b``.

    Texts, labels and paths come from users; none of them may steer the terminal.
    """
    return text.translate(_CONTROLS)


def ascii_only(text: str) -> str:
    """`text` in ASCII: known symbols spelt out, everything else ``?``."""
    return text.translate(_ASCII).encode("ascii", "replace").decode("ascii")
