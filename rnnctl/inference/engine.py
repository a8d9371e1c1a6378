"""A quick start first, speed later.

The compiled passes need numba, whose import takes longer than answering some lines without it. So a
model begins with PyTorch's own kernels, and goes over to the fastest way (`nn.reading`) once so
much has been read that this pays. They agree within rounding.
"""

from __future__ import annotations

from rnnctl.nn.models import Classifier, LanguageModel

WORTH_IT = 3e10  # products of a token with a weight: about as long as the import takes


class EngineChoice:
    """Of a model with engine "auto"; one that was asked for is left alone.

    `worth`: how many tokens pay for the import; None: as many as make `WORTH_IT` products.
    """

    def __init__(self, model: LanguageModel | Classifier, worth: int | None = None) -> None:
        self._recurrent = model.recurrent
        self._waits = self._recurrent.engine == "auto"
        self._weights = sum(weight.numel() for weight in self._recurrent.parameters())
        self._worth = worth
        self._done = 0.0
        if self._waits:
            self._recurrent.engine = "torch"

    def note(self, tokens: float) -> None:
        """Say that so many more tokens are about to be read."""
        self._done += tokens * self._weights
        worth = WORTH_IT if self._worth is None else self._worth * self._weights
        if self._waits and self._done > worth:
            self._recurrent.engine = "auto"
            self._waits = False
