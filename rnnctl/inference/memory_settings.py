"""What a model may be given beside its weights and state: settings, without PyTorch.

The only place of their defaults: the options of the commands are made from these, and the help of a
command must not wait for `rnnctl.inference.memory`, which does the work.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from rnnctl.errors import UsageError
from rnnctl.wording import plural

if TYPE_CHECKING:
    from rnnctl.inference.memory import Gradients

Rule = Literal["rms", "sgd"]


@dataclass(frozen=True)
class Cache:
    """Size in tokens, θ (how much alike a place must be), λ (weight of the cache, 0 to 1).

    Raises: UsageError for a value out of its range.
    """

    size: int = 2000
    theta: float = 0.3
    weight: float = 0.1

    def __post_init__(self) -> None:
        if self.size < 1 or not 0 <= self.weight < 1 or not 0 <= self.theta < math.inf:
            raise UsageError(
                "a cache has at least 1 token, a weight of 0 to below 1 and a theta from 0 on",
                hint="`rnnctl evaluate RUN --tune-cache` finds values",
            )

    def __str__(self) -> str:
        size = plural(self.size, "token")
        return f"cache of {size}, theta {self.theta:g}, weight {self.weight:g}"

    @property
    def options(self) -> str:
        """The options that ask for it."""
        return f"--cache {self.size} --cache-theta {self.theta:g} --cache-weight {self.weight:g}"


@dataclass(frozen=True)
class Dynamic:
    """Rate η, decay δ (share of the way back after each step), tokens of a segment, the rule.

    Raises: UsageError for a value out of its range.
    """

    rate: float
    decay: float = 0.0
    segment: int = 20
    rule: Rule = "rms"

    def __post_init__(self) -> None:
        if not 0 < self.rate < math.inf or not 0 <= self.decay <= 1 or self.segment < 1:
            raise UsageError(
                "dynamic evaluation has a rate above 0, a decay of 0 to 1 and a segment of at "
                "least 1 token",
                hint="`rnnctl evaluate RUN --tune-dynamic` finds values",
            )

    def __str__(self) -> str:
        every = plural(self.segment, "token")
        return f"dynamic ({self.rule}) at rate {self.rate:g}, decay {self.decay:g}, every {every}"

    @property
    def options(self) -> str:
        """The options that ask for it, as far as they differ from the defaults."""
        said = [f"--dynamic {self.rate:g}"]
        said += [f"--dynamic-decay {self.decay:g}"] if self.decay != Dynamic.decay else []
        said += [f"--dynamic-rule {self.rule}"] if self.rule != Dynamic.rule else []
        return " ".join(said)


@dataclass(frozen=True)
class Memory:
    """What a model is given beside its weights and state; nothing by default.

    `gradients`: what the rule ``rms`` of dynamic evaluation needs.
    """

    cache: Cache | None = None
    dynamic: Dynamic | None = None
    gradients: Gradients | None = field(default=None, compare=False, repr=False)

    def __bool__(self) -> bool:
        return self.cache is not None or self.dynamic is not None

    def __str__(self) -> str:
        return "; ".join(str(one) for one in (self.cache, self.dynamic) if one is not None)

    @property
    def options(self) -> str:
        """The options that ask for it."""
        return " ".join(one.options for one in (self.cache, self.dynamic) if one is not None)


NOTHING = Memory()
