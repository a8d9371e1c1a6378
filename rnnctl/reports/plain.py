"""Text that any terminal can show: control characters made visible, ASCII in place of symbols."""

from __future__ import annotations

from rnnctl.reports.numbers import SPARKS

_CONTROLS = {
    code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if code not in (9, 10)
}
# They turn the direction of what follows, or break a line: a path may look like another one.
_TURNING = (0x61C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A))
_CONTROLS |= {code: f"\\u{code:04x}" for code in _TURNING}

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

    Those that turn the direction of writing, too: ``\\u202e``.
    Texts, labels and paths come from users; none of them may steer the terminal.
    """
    return text.translate(_CONTROLS)


def ascii_only(text: str) -> str:
    """`text` in ASCII: known symbols spelt out, everything else ``?``."""
    return text.translate(_ASCII).encode("ascii", "replace").decode("ascii")
