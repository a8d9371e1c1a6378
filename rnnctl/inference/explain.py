"""Why this label: what each word of a text contributes to the log-odds of the answer.

The log-odds are those of the label that the model answers against the one that it finds second
most probable, ln(p₁ / p₂); where a text may have several labels, those of each label that it is
given, or else of the most probable one, against its absence, ln(p / (1 − p)). A word is what stands
between whitespace, and has the sum of its tokens.

* ``gradients``: integrated gradients (Sundararajan, Taly & Yan, "Axiomatic attribution for deep
  networks", 2017). Every word's vector is faded in from zero together, and the derivative of the
  log-odds by each is integrated along the way. The shares and what the model says of the text with
  all words blank (`rest`) add up to the log-odds. What the shares must add up to is known for any
  part of the way, so the parts where their sum is most wrong are halved until that is within
  TOLERANCE or, where the shares are large, within RELATIVE of their sizes. With a maximum over
  time the derivative jumps wherever another token becomes the largest, hundreds of times on the
  way, and each further digit costs ten times as many points.
* ``occlusion``: the log-odds of the text less those of the text without the word. What the words
  do only together, and the blank text, is the `rest`.

T tokens, W words, N points on the way, E embedding.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from rnnctl.data.tokenizers import Tokenizer
from rnnctl.errors import NotFiniteError, UsageError
from rnnctl.inference.classify import Ids, Prediction, Predictor, part_read
from rnnctl.inference.words import bytes_before
from rnnctl.nn.models import Classifier, weights_held
from rnnctl.results.inference import (
    ABSENT,
    ExplainedWord,
    Explanation,
    ExplanationMethod,
    WordPull,
)
from rnnctl.tasks.loading import Loaded

TOLERANCE = 5e-4  # of the sum of all shares, in log-odds
RELATIVE = 1e-3  # of the sum of the shares' sizes
_NODES = 6  # points of Gauss and Legendre in each part of the way
_MOST_PARTS = 100
_REFINED_AT_ONCE = 8
_TOKENS_AT_ONCE = 16_384
MOST_WORDS = 30  # of each label, over a corpus
_EDGES = re.compile(r"^\W+|\W+$")

Floats = NDArray[np.float64]
# The label that is explained, and the other one; None for the first one's absence.
Pair = tuple[int, int | None]


class _Part(NamedTuple):
    """A part of the way: shares of tokens, and by how much their sum is wrong."""

    begin: float
    end: float
    shares: Floats
    missed: float


def _wrongness(part: _Part) -> float:
    return part.missed


class Explainer:
    """Explains the answers of a classifier. Raises UsageError for one that knows one label only."""

    def __init__(self, loaded: Loaded, predictor: Predictor, method: ExplanationMethod) -> None:
        assert isinstance(loaded.model, Classifier)
        self._several = loaded.calibration.several
        if len(loaded.labels) < 2 and not self._several:
            raise UsageError(
                f"{loaded.run.path} has only one label, so there is nothing to explain",
                hint="leave out --explain",
            )
        if method not in get_args(ExplanationMethod):
            raise UsageError(
                f"there is no explanation by {method!r}", hint="use gradients or occlusion"
            )
        self.method = method
        self._labels = loaded.labels
        self._model = loaded.model
        self._predictor = predictor
        self._tokenizer = loaded.tokenizer
        self._corpus = loaded.config.corpus
        self._temperature = loaded.calibration.temperature

    def explain(self, text: str, prediction: Prediction) -> tuple[Explanation, ...]:
        """Why the label of `prediction`, which is that of `text`, is the answer.

        Where a text may have several labels: of each that it is given; where it is given none, of
        the most probable one.
        """
        ranked = np.argsort(-np.array(prediction.probabilities), kind="stable").tolist()
        if not self._several:
            return (self._explained(text, (ranked[0], ranked[1])),)
        given = [self._labels.index(name) for name in prediction.given or ()]
        return tuple(self._explained(text, (label, None)) for label in given or ranked[:1])

    def _explained(self, text: str, pair: Pair) -> Explanation:
        best, second = pair
        ids, places, owner = self._read(text)
        work = self._gradients if self.method == "gradients" else self._occlusion
        log_odds, shares = work(ids, owner, len(places), pair)
        words = tuple(
            ExplainedWord(word=text[start:end], share=float(share), start=start, end=end)
            for (start, end), share in zip(places, shares, strict=True)
        )
        return Explanation(
            method=self.method,
            label=self._labels[best],
            against=ABSENT if second is None else self._labels[second],
            log_odds=log_odds,
            rest=log_odds - float(shares.sum()),
            words=words,
        )

    def _read(self, text: str) -> tuple[Ids, list[tuple[int, int]], NDArray[np.int64]]:
        """Ids as the model reads them, the boundary at the end; the characters of each word that
        is among them; the word (T - 1,) of each token.
        """
        ids = self._tokenizer.encode(text)
        places, owner = words_of_tokens(self._tokenizer, text, ids)
        read = part_read(self._corpus)
        ids, owner = np.append(ids[read], np.int32(self._tokenizer.boundary_id)), owner[read]
        if not places:
            return ids, [], owner
        seen, owner = np.unique(owner, return_inverse=True)
        return ids, [places[word] for word in seen.tolist()], owner

    # -- integrated gradients --------------------------------------------------------------------

    def _gradients(
        self, ids: Ids, owner: NDArray[np.int64], words: int, pair: Pair
    ) -> tuple[float, Floats]:
        """The log-odds, and the share of each word (W,)."""
        device = next(self._model.parameters()).device
        with torch.no_grad():
            at = torch.from_numpy(ids.astype(np.int64)).to(device).unsqueeze(1)
            vectors = self._model.embed(at)  # (T, 1, E)
        if words == 0:
            return float(self.along(vectors, np.ones(1), pair)[0][0]), np.zeros(0)
        way = _Way(self, vectors, pair)
        parts = way.halves(way.integrated([(0.0, 0.5), (0.5, 1.0)]))
        while len(parts) < _MOST_PARTS:
            sizes = np.abs(np.sum([part.shares for part in parts], 0)).sum()
            tolerance = max(TOLERANCE, RELATIVE * float(sizes))
            if sum(part.missed for part in parts) <= tolerance:
                break
            allowed = tolerance / 2 / len(parts)
            wrong = sorted((part for part in parts if part.missed > allowed), key=_wrongness)
            wrong = wrong[-_REFINED_AT_ONCE:]
            parts = [part for part in parts if not any(part is one for one in wrong)]
            parts += way.halves(wrong)
        shares = np.sum([part.shares for part in parts], 0)
        log_odds, blank = way.odds[1.0], way.odds[0.0]
        # What is left of an error goes to the words by the size of their shares.
        sizes = np.abs(shares) + 1e-12
        shares += (log_odds - blank - shares.sum()) * sizes / sizes.sum()
        return log_odds, np.bincount(owner, shares, minlength=words).astype(np.float64)

    def along(self, vectors: torch.Tensor, points: Floats, pair: Pair) -> tuple[Floats, Floats]:
        """The log-odds (N,) where the words' vectors have these sizes, and for each token (T, N)
        the derivative by the size of its vector; the text's end is always whole."""
        step = max(1, _TOKENS_AT_ONCE // len(vectors))
        # Forwards and back: three times the products of reading.
        self._predictor.engine.note(3 * len(points) * len(vectors))
        found = [
            self._at(vectors, points[begin : begin + step], pair)
            for begin in range(0, len(points), step)
        ]
        return np.concatenate([odds for odds, _ in found]), np.concatenate(
            [slopes for _, slopes in found], 1
        )

    def _at(self, vectors: torch.Tensor, points: Floats, pair: Pair) -> tuple[Floats, Floats]:
        sizes = torch.from_numpy(points).to(vectors).view(1, -1, 1).repeat(len(vectors), 1, 1)
        sizes[-1] = 1.0
        inputs = (sizes * vectors).requires_grad_()
        lengths = torch.full((len(points),), len(vectors), dtype=torch.int64)
        # cuDNN differentiates recurrent layers only while they are trained.
        with (
            torch.enable_grad(),
            torch.backends.cudnn.flags(enabled=False),
            weights_held(self._model),
        ):
            logits = self._model.of_vectors(inputs, lengths.to(vectors.device))
            odds = logits[:, pair[0]]
            odds = (odds if pair[1] is None else odds - logits[:, pair[1]]) / self._temperature
            (gradient,) = torch.autograd.grad(odds.sum(), inputs)
        slopes = (gradient.double() * vectors.double()).sum(-1)
        return odds.detach().double().cpu().numpy(), slopes.cpu().numpy()

    # -- leaving words out -----------------------------------------------------------------------

    def _occlusion(
        self, ids: Ids, owner: NDArray[np.int64], words: int, pair: Pair
    ) -> tuple[float, Floats]:
        """The log-odds, and what they lose without each word (W,)."""
        odds = [self._odds([ids], pair)]
        for some in self._without(ids, owner, words):
            odds.append(self._odds(some, pair))
        found = np.concatenate(odds)
        return float(found[0]), found[0] - found[1:]

    def _without(self, ids: Ids, owner: NDArray[np.int64], words: int) -> Iterator[list[Ids]]:
        """The text without each word in turn, as many at once as are read well together."""
        step = max(1, 4 * _TOKENS_AT_ONCE // len(ids))
        for begin in range(0, words, step):
            last = range(begin, min(begin + step, words))
            yield [np.append(ids[:-1][owner != word], ids[-1]) for word in last]

    def _odds(self, documents: list[Ids], pair: Pair) -> Floats:
        logits = self._predictor.logits(documents)
        against = 0.0 if pair[1] is None else logits[:, pair[1]]
        odds: Floats = (logits[:, pair[0]] - against) / self._temperature
        return odds


class _Way:
    """The way from blank words to whole ones; odds: the log-odds at the ends of its parts."""

    def __init__(self, explainer: Explainer, vectors: torch.Tensor, pair: Pair) -> None:
        self._explainer, self._vectors, self._pair = explainer, vectors, pair
        self.odds: dict[float, float] = {}

    def halves(self, parts: Sequence[_Part]) -> list[_Part]:
        """Each part in two. What that changes in the shares shows how good they are: the error of
        Gauss and Legendre's points falls by far more than the tenth that is counted."""
        ways = [
            way
            for one in parts
            for middle in [(one.begin + one.end) / 2]
            for way in ((one.begin, middle), (middle, one.end))
        ]
        made = self.integrated(ways)
        for i, whole in enumerate(parts):
            both = made[2 * i : 2 * i + 2]
            changed = float(np.abs(whole.shares - both[0].shares - both[1].shares).sum()) / 20
            made[2 * i : 2 * i + 2] = [
                one._replace(missed=max(one.missed, changed)) for one in both
            ]
        return made

    def integrated(self, ways: Sequence[tuple[float, float]]) -> list[_Part]:
        """These parts of the way."""
        nodes, weights = np.polynomial.legendre.leggauss(_NODES)
        new = sorted({end for way in ways for end in way} - set(self.odds))
        begins, widths = np.array(ways)[:, :1], np.diff(ways)  # (P, 1)
        inner = begins + widths * (nodes + 1) / 2
        points = np.append(np.array(new), inner)
        odds, slopes = self._explainer.along(self._vectors, points, self._pair)
        if not np.isfinite(odds).all():
            raise NotFiniteError("the explanation")
        self.odds.update(zip(new, odds.tolist(), strict=False))
        within = slopes[:-1, len(new) :].reshape(len(slopes) - 1, len(ways), _NODES)
        shares = (within @ weights).T * widths / 2  # (P, T - 1)
        return [
            _Part(begin, end, share, abs(float(share.sum()) - self.odds[end] + self.odds[begin]))
            for (begin, end), share in zip(ways, shares, strict=True)
        ]


def words_of_tokens(
    tokenizer: Tokenizer, text: str, ids: Ids
) -> tuple[list[tuple[int, int]], NDArray[np.int64]]:
    """The characters of each word of a text, and for each of its tokens the word that it is in.

    A token between two words belongs to the one behind it, those at the end to the last.
    """
    places = [match.span() for match in re.finditer(r"\S+", text)]
    if not places:
        return [], np.zeros(len(ids), np.int64)
    ends = bytes_before(text)[np.array(places)[:, 1]]
    begins = tokenizer.spans(text, ids)[:, 0]
    # A token that begins with the space before a word ends in it, and begins before its end.
    owner = np.searchsorted(ends, begins, side="right")
    return places, np.minimum(owner, len(places) - 1)


class WordsOverall:
    """What words pull to each label, summed over texts.

    A word that speaks for the answer pulls to it, and away from the second most probable label;
    words are told apart without their case and without marks at their edges. Where a text may have
    several labels, a word pulls to each that is explained, and away from none.
    """

    def __init__(self) -> None:
        self.texts = 0
        self._pulls: defaultdict[tuple[str, str], list[float]] = defaultdict(list)

    def add(self, explanations: Sequence[Explanation]) -> None:
        """One text more, with its explanations."""
        self.texts += 1
        for found in explanations:
            for word in found.words:
                name = _EDGES.sub("", word.word).casefold()
                if name:
                    self._pulls[found.label, name].append(word.share)
                    if found.against != ABSENT:
                        self._pulls[found.against, name].append(-word.share)

    def strongest(self, labels: Sequence[str]) -> tuple[WordPull, ...]:
        """The words with the largest sums, of each label in turn."""
        made: list[WordPull] = []
        for label in labels:
            pulls = {word: found for (owner, word), found in self._pulls.items() if owner == label}
            sums = [
                WordPull(label=label, word=word, pull=sum(found), mean=np.mean(found), n=len(found))
                for word, found in pulls.items()
                if sum(found) > 0
            ]
            made += sorted(sums, key=lambda one: (-one.pull, one.word))[:MOST_WORDS]
        return tuple(made)
