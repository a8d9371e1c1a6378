"""A linear text classifier: naive-Bayes log-count ratios × logistic regression.

Wang & Manning (2012): the presence of each word and pair of words, scaled by how much more often it
occurs with one label than with the rest, then a regularised linear model. It has no memory to lose
(a word counts the same wherever it stands), which is what makes it the reference for POSITION and
the miner of evidence sentences. Order enters through pairs of neighbouring words only.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
TOKENS = r"(?u)\w+|[^\w\s]"


class NaiveBayesLinear:
    """Trained on texts (N) with labels (N) in 0 … classes − 1; deterministic.

    `pairs` False leaves single words only: a pure bag. Raises ValueError where the texts have no
    word in common or only one label.
    """

    def __init__(
        self,
        texts: Sequence[str],
        labels: Sequence[int] | NDArray[np.int64],
        *,
        classes: int,
        pairs: bool = True,
        most_features: int = 200_000,
    ) -> None:
        from sklearn.feature_extraction.text import CountVectorizer
        from sklearn.linear_model import LogisticRegression

        truth = np.asarray(labels)
        self.classes = classes
        self._words = CountVectorizer(
            binary=True,
            ngram_range=(1, 2 if pairs else 1),
            token_pattern=TOKENS,
            min_df=2 if len(texts) >= 50 else 1,
            max_features=most_features,
            dtype=np.float64,
        )
        try:
            counts = self._words.fit_transform(texts)
        except ValueError:  # no word is in two of the texts
            counts = self._words.set_params(min_df=1).fit_transform(texts)
        self._present = [k for k in range(classes) if 0 < (truth == k).sum() < len(truth)]
        if not self._present:
            raise ValueError("texts of one label only")
        self._ratios: dict[int, Floats] = {}
        self._models = {}
        for k in self._one_sided():
            inside = np.asarray(counts[truth == k].sum(0)).ravel() + 1.0
            outside = np.asarray(counts[truth != k].sum(0)).ravel() + 1.0
            self._ratios[k] = np.log(inside / inside.sum()) - np.log(outside / outside.sum())
            model = LogisticRegression(C=1.0, solver="liblinear", max_iter=200, random_state=0)
            self._models[k] = model.fit(counts.multiply(self._ratios[k]).tocsr(), truth == k)

    def _one_sided(self) -> list[int]:
        """The labels that need a model of their own: one is enough for two labels."""
        return self._present[1:] if self.classes == 2 and len(self._present) == 2 else self._present

    def logits(self, texts: Sequence[str]) -> Floats:
        """(N, classes): the log-odds of each label against the rest; −20 for one never seen."""
        counts = self._words.transform(texts)
        out = np.full((len(texts), self.classes), -20.0)
        for k, model in self._models.items():
            odds = model.decision_function(counts.multiply(self._ratios[k]).tocsr())
            out[:, k] = odds
            if self._one_sided() != self._present:
                out[:, self._present[0]] = 0.0
        return out

    def predict(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """The likeliest label of each text: (N,)."""
        best: NDArray[np.int64] = np.argmax(self.logits(texts), axis=1)
        return best
