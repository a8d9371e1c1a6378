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
MOST_FEATURES = 200_000  # words and pairs, the most frequent ones


class NaiveBayesLinear:
    """Trained on texts (N) with labels (N) in 0 … classes − 1; deterministic.

    Where a text may have several labels they are (N, classes), true for each that it has; every
    label then has a classifier of its own, against all texts without it.

    `pairs` False leaves single words only: a pure bag. Raises ValueError where the texts have no
    word in common or only one label.
    """

    def __init__(
        self,
        texts: Sequence[str],
        labels: Sequence[int] | NDArray[np.int64] | NDArray[np.bool_],
        *,
        classes: int,
        pairs: bool = True,
    ) -> None:
        from sklearn.feature_extraction.text import CountVectorizer
        from sklearn.linear_model import LogisticRegression

        truth = np.asarray(labels)
        self.several = truth.ndim == 2
        has = truth.astype(bool) if self.several else truth[:, None] == np.arange(classes)
        self.classes = classes
        self._words = CountVectorizer(
            binary=True,
            ngram_range=(1, 2 if pairs else 1),
            token_pattern=TOKENS,
            min_df=2 if len(texts) >= 50 else 1,
            max_features=MOST_FEATURES,
            dtype=np.float64,
        )
        try:
            counts = self._words.fit_transform(texts)
        except ValueError:  # no word is in two of the texts
            counts = self._words.set_params(min_df=1).fit_transform(texts)
        share = has.mean(0)
        self._present = [k for k in range(classes) if 0 < share[k] < 1]
        # A label that all texts have, or none, has no other side to learn from: as good as certain.
        self._constant = np.where(share == 1, 20.0, -20.0)
        if not self._present:
            raise ValueError("texts of one label only")
        self._ratios: dict[int, Floats] = {}
        self._models = {}
        for k in self._one_sided():
            # 1 is added to every count, as in the paper: a word of one label only is no proof.
            inside = np.asarray(counts[has[:, k]].sum(0)).ravel() + 1.0
            outside = np.asarray(counts[~has[:, k]].sum(0)).ravel() + 1.0
            self._ratios[k] = np.log(inside / inside.sum()) - np.log(outside / outside.sum())
            model = LogisticRegression(C=1.0, solver="liblinear", max_iter=200, random_state=0)
            self._models[k] = model.fit(counts.multiply(self._ratios[k]).tocsr(), has[:, k])

    def _one_sided(self) -> list[int]:
        """The labels that need a model of their own: one is enough for two labels."""
        both = self.classes == 2 and len(self._present) == 2 and not self.several
        return self._present[1:] if both else self._present

    def logits(self, texts: Sequence[str]) -> Floats:
        """(N, classes): the log-odds of each label against the rest; −20 for one never seen, 20 for
        one that every text has beside others."""
        counts = self._words.transform(texts)
        out = np.tile(self._constant, (len(texts), 1))
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

    def given(self, texts: Sequence[str]) -> NDArray[np.bool_]:
        """Which labels each text has, where it may have several: (N, classes)."""
        likely: NDArray[np.bool_] = self.logits(texts) > 0
        return likely
