"""How much is measured: the presets. Counts are of items, distances of tokens."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

Bins = Literal["half_octave", "each"]
Arm = Literal["foreign", "zero", "shuffle", "reverse", "replace"]


@dataclass(frozen=True)
class Settings:
    """What every `measure` takes beside a subject and a sample.

    `seed` decides every draw; equal settings on equal input give equal records.
    """

    seed: int = 0
    resamples: int = 1000
    # USE: the longest context is what a large word model needs (150 tokens on Penn Treebank, 250 on
    # WikiText-2), and ε the threshold by which that was found (Khandelwal et al. 2018): 1 % of the
    # perplexity per word.
    # In this order: resets, longest context (tokens), scored targets per bin and reset, extra arms,
    # whether to train an n-gram model to hold the loss against, and whether the text between two
    # resets is read once: not of models that are given the whole context with every question
    resets: int = 384
    n_max: int = 256
    per_bin: int = 4
    bins: Bins = "half_octave"
    epsilon: float = 0.01
    arms: tuple[Arm, ...] = ("foreign", "zero")
    reference: bool = True
    together: bool = True
    # FIRST→LAST: documents whose first sentence is exchanged
    exchanges: int = 512
    # EFFECT: swaps (language models, whose near effects are hundredths of a nat) or evidence pairs
    # (classifiers), longest distance in words
    swaps: int = 800
    distance_words: int = 128
    evidence: int = 64
    filler_words: int = 200
    # HOLD: planted words, as many for each number in the state, but between the two bounds, so that
    # small and large states are read equally well; choices, longest lag (tokens)
    plants_per_dimension: float = 2.0
    planted: int = 256
    most_planted: int = 2048
    choices: int = 16
    hold_lag: int = 128
    hold_lags: tuple[int, ...] = ()  # in the place of half octaves
    # REACH, Lyapunov and GATES
    sequences: int = 64
    reach_lags: int = 128
    exponents: int = 16
    lyapunov_steps: int = 600
    lyapunov_burn_in: int = 100
    gate_tokens: int = 8_192
    # POSITION: reviews
    reviews: int = 256


QUICK = Settings()
FULL = Settings(
    resets=1536,
    n_max=512,
    per_bin=6,
    exchanges=2048,
    swaps=4000,
    distance_words=256,
    evidence=256,
    plants_per_dimension=4.0,
    planted=512,
    most_planted=4096,
    hold_lag=256,
    sequences=256,
    reach_lags=200,
    lyapunov_steps=2000,
    gate_tokens=65_536,
    reviews=600,
)
PRESETS = {"quick": QUICK, "full": FULL}


def for_spelled(settings: Settings, units_per_token: float) -> Settings:
    """The same preset for characters, bytes and subwords, whose words are several tokens long.

    Longer contexts and lags, so that they reach about as many words; fewer items, and no distance
    beyond 64 words for EFFECT, which spells every word at every distance.
    """
    longer = min(4.0, max(1.0, 0.5 / units_per_token))
    return replace(
        settings,
        n_max=round(settings.n_max * min(2.0, longer)),
        swaps=settings.swaps // 4,
        distance_words=max(32, settings.distance_words // 4),
        plants_per_dimension=settings.plants_per_dimension / 2,
        hold_lag=max(settings.hold_lag, min(800, round(105 / units_per_token))),
    )
