"""The columns of a comparison: what each number is called, its scale, and which way is better."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rnnctl.results.comparison import Scale

Better = Literal["less", "more", "neither"]


@dataclass(frozen=True, slots=True)
class Measure:
    """One column. `scale` says whether seeds are averaged as they are or as logarithms."""

    key: str
    label: str
    scale: Scale
    better: Better
    unit: str = ""
    most: float | None = None  # largest possible value; the smallest is 0 then


MEASURES: dict[str, Measure] = {
    measure.key: measure
    for measure in (
        Measure("bits_per_byte", "bits per byte", "linear", "less"),
        Measure("perplexity", "perplexity", "log", "less"),
        Measure("accuracy", "accuracy", "linear", "more", most=1.0),
        Measure("macro_f1", "macro-F1", "linear", "more", most=1.0),
        Measure("horizon", "memory horizon", "log", "more"),
        Measure("early_gain_50", "gain from beyond 50 words", "linear", "more", "% perplexity"),
        Measure("effect_half", "EFFECT half-distance", "log", "more", "words"),
        Measure("retention_start", "first sentence still counts", "linear", "more"),
        Measure("hold_half", "HOLD half-distance", "log", "more", "words"),
        Measure("gradient_half_life", "gradient half-life", "log", "more", "tokens"),
        Measure("reach_1pct", "gradient falls to 1 %", "log", "more", "tokens"),
        Measure("tau_p50", "gates' median time constant", "log", "neither", "tokens"),
        Measure("first_over_last", "first fifth against last", "linear", "more"),
        Measure("train_tokens_per_s", "training", "log", "more", "tokens/s"),
        Measure("generate_tokens_per_s", "generation", "log", "more", "tokens/s"),
        Measure("generate_ms_per_token", "generation", "log", "less", "ms/token"),
        Measure("train_seconds", "training time", "log", "neither", "s"),
    )
}

QUALITY = {"lm": "bits_per_byte", "sentiment": "accuracy"}
EXPLORATORY = tuple(
    key
    for key in MEASURES
    if key not in ("horizon", "train_tokens_per_s", "generate_ms_per_token", "train_seconds")
)
