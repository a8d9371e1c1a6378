"""What is averaged over seeds, and how; `rnnctl.reports.comparison` says what it is called."""

from __future__ import annotations

from dataclasses import dataclass

from rnnctl.results.comparison import Scale


@dataclass(frozen=True, slots=True)
class Measure:
    """One number. `scale` says whether seeds are averaged as they are or as logarithms.

    `in_tokens`: it counts in tokens or per token, so that other tokens make another number of it.
    """

    scale: Scale
    unit: str = ""
    most: float | None = None  # largest possible value; the smallest is 0 then
    in_tokens: bool = False


MEASURES: dict[str, Measure] = {
    "bits_per_byte": Measure("linear"),
    "perplexity": Measure("log", in_tokens=True),
    "accuracy": Measure("linear", most=1.0),
    "macro_f1": Measure("linear", most=1.0),
    "horizon": Measure("log"),
    "early_gain_50": Measure("linear", "% perplexity"),
    "first_last": Measure("linear", "% perplexity", in_tokens=True),
    "effect_half": Measure("log", "words"),
    "retention_start": Measure("linear"),
    "hold_half": Measure("log", "words"),
    "gradient_half_life": Measure("log", "tokens", in_tokens=True),
    "reach_1pct": Measure("log", "tokens", in_tokens=True),
    "tau_p50": Measure("log", "tokens", in_tokens=True),
    "first_over_last": Measure("linear"),
    "train_tokens_per_s": Measure("log", "tokens/s"),
    "generate_ms_per_token": Measure("log", "ms/token"),
    "train_seconds": Measure("log", "s"),
}
TOKEN_CURVES = ("learning", "gradient")
"""Curves against a number of tokens, or of nats per token."""

QUALITY = {"lm": "bits_per_byte", "sentiment": "accuracy"}
