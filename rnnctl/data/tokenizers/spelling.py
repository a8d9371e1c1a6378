"""What an unknown word costs beyond its ``<unk>``: its spelling, under the training text's letters.

A model that may say ``<unk>`` would otherwise look better the less it knows. The charge is
``-sum(ln p(c))`` over the characters and an end symbol, with `p` the unigram of the training
split's tokens; a character that never occurred there costs 21 bits (all of Unicode has 2^20.1
code points).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

NEVER_SEEN_NATS = 21 * math.log(2)
_REMEMBERED = 200_000


@dataclass
class Spelling:
    """Character counts of the training split's tokens, and how many tokens ended."""

    chars: Mapping[str, int]
    ends: int
    _nats: dict[str, float] = field(default_factory=dict, repr=False)
    _charges: dict[str, float] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        total = sum(self.chars.values()) + self.ends
        self._nats = {c: math.log(total / n) for c, n in self.chars.items() if n > 0}
        self._end = math.log(total / self.ends) if self.ends else NEVER_SEEN_NATS

    def charge(self, token: str) -> float:
        """Nats for spelling `token`, end symbol included."""
        known = self._charges.get(token)
        if known is None:
            known = math.fsum(self._nats.get(c, NEVER_SEEN_NATS) for c in token) + self._end
            if len(self._charges) < _REMEMBERED:
                self._charges[token] = known
        return known

    def charge_character(self, character: str) -> float:
        """Nats for naming one unknown character: its length is known, so there is no end."""
        return self._nats.get(character, NEVER_SEEN_NATS)
