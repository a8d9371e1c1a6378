"""Word by word: what each word of a text costs the model, whatever the model's tokens are.

A *word* is what stands between whitespace, punctuation included (``noon.`` is one word). The nats
of a word are the sum over its tokens, and each token of a text belongs to exactly one word, so that
the words add up to the text.

The space between two words belongs to one of them:

* ``before``: to the word behind it. A word's nats are then those of " word".
* ``after``: to the word before it. A word's nats are those of "word ", with the space that says
  that the word is over (Pimentel & Meister 2024, "How to compute the probability of a word"). Where
  tokens bring their space along (words and subwords: " bell"), the probability that any token
  comes that begins with whitespace is what says so, and the rest belongs to the next word:
  −ln p(" bell") = −ln P(whitespace) − ln p(" bell" | whitespace).

Whitespace before the first word belongs to the first, whitespace behind the last to the last. The
end of the text is a row of its own.

T tokens, W words, V vocabulary. Sums are float64.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rnnctl.data.tokenizers import Tokenizer
from rnnctl.errors import DataError
from rnnctl.inference.score import CHUNK, LONG_TEXT, Ids, Scorer
from rnnctl.nn import softmax
from rnnctl.nn.reading import can_read, in_groups

Space = Literal["before", "after"]
Floats = NDArray[np.float64]
END = "<eos>"
_LOGITS_AT_ONCE = 1 << 22  # numbers: 16 MB


@dataclass(frozen=True, slots=True)
class Word:
    """One word of a text.

    `start`, `end`: its characters in the text. `nats`: of all its tokens, the spelling of unknown
    ones included; None for a first word that is left out. `tokens`, `unknown`: how many it has.
    `entropy`: nats, of the distribution over the next token at the token that the word begins with.
    `top`: the likeliest tokens there, with their probabilities.
    """

    text: str
    start: int
    end: int
    nats: float | None
    tokens: int
    unknown: int
    entropy: float | None
    top: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """How words are scored: whose the space is, whether the first word counts, and the text's end,
    how many of the likeliest tokens are wanted before each word, and whether the entropy is."""

    space: Space = "before"
    first: bool = True
    end: bool = False
    top: int = 0
    entropy: bool = True


@dataclass(frozen=True)
class _Text:
    """A text ready to be read. `words` (W, 2) are character offsets; `owner` (T,): each token's
    word, W for the text's end; `heads` (W,): the first token with a character of each word;
    `gaps` (W − 1,): the first token behind each word but the last, where it is to be divided."""

    text: str
    ids: Ids
    spelling: Floats
    words: NDArray[np.int64]
    owner: NDArray[np.int64]
    heads: NDArray[np.int64]
    gaps: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _Seen:
    """What the model says along a text: nats (T,); at the words' heads, and the text's end where it
    is wanted (P,), the entropy and the N likeliest tokens (P, N) with their probabilities; at the
    gaps (W − 1,) the nats of any token that begins with whitespace."""

    nats: Floats
    entropy: Floats
    top: NDArray[np.int64]
    chances: Floats
    space: Floats


class WordScorer:
    """Scores texts word by word. Raises RunError if the run is no language model."""

    def __init__(self, scorer: Scorer, plan: Plan) -> None:
        self._scorer = scorer
        self._plan = plan
        self._tokenizer: Tokenizer = scorer.tokenizer
        self._model = scorer.model

    def score(self, texts: Sequence[str]) -> list[list[Word] | DataError]:
        """The words of each text, read from an empty state; or why it has none.

        With `end` in the plan the last of them is the text's end, ``<eos>``.
        """
        found: list[_Text | DataError] = []
        for text in texts:
            try:
                found.append(self._prepared(text))
            except DataError as problem:
                found.append(problem)
        # What cannot be scored is left out here, and keeps its place in the answer.
        whole = [one for one in found if isinstance(one, _Text)]
        seen = iter(self._read(whole))
        return [self._words(one, next(seen)) if isinstance(one, _Text) else one for one in found]

    def _prepared(self, text: str) -> _Text:
        tokenizer = self._tokenizer
        ids = tokenizer.encode(text)
        places = [match.span() for match in re.finditer(r"\S+", text)]
        if not places:
            raise DataError("the text holds no word", hint="leave it out")
        words = np.array(places, dtype=np.int64)
        spans = tokenizer.spans(text, ids)
        before = bytes_before(text)
        starts, ends = before[words[:, 0]], before[words[:, 1]]
        # The first word that ends behind the token's beginning: the token's own, or the next one.
        nearest = np.searchsorted(ends, spans[:, 0], side="right")
        known = np.minimum(nearest, len(words) - 1)
        inside = (nearest < len(words)) & (starts[known] < spans[:, 1])
        after = self._plan.space == "after"
        divided = after and self._brings_spaces
        between = np.maximum(nearest - 1, 0) if after and not divided else known
        owner = np.where(inside, known, between)
        heads = np.full(len(words), -1)
        inside_places = np.flatnonzero(inside)
        heads[owner[inside_places[::-1]]] = inside_places[::-1]  # backwards: the first one stays
        if (heads < 0).any():
            lost = words[int(np.flatnonzero(heads < 0)[0])]
            raise DataError(
                f"the word {text[lost[0] : lost[1]]!r} has no token in this model",
                hint="leave it out, or use a model of characters, bytes or subwords",
            )
        spelling = tokenizer.spelling_by_token(text)
        if self._plan.end:
            ids = np.append(ids, np.int32(tokenizer.boundary_id))
            spelling = np.append(spelling, 0.0)
            owner = np.append(owner, len(words))
        last = np.full(len(words), -1)
        last[owner[inside_places]] = inside_places
        gaps = last[:-1] + 1 if divided else heads[:0]
        return _Text(text, ids, spelling, words, owner, heads, gaps)

    def _words(self, text: _Text, seen: _Seen) -> list[Word]:
        plan, count = self._plan, len(text.words)
        nats = text.spelling + seen.nats
        sums = np.bincount(text.owner, nats, minlength=count + plan.end).astype(np.float64)
        if len(seen.space):
            # A space of several bytes may begin with a token that is no whitespace by itself.
            known = np.isin(text.ids[text.gaps], self._spaces.numpy())
            # The probability of the space belongs to the word before it, though the model says it
            # with the token of the next (Pimentel & Meister 2024).
            moved = np.where(known, seen.space, 0.0)
            sums[: count - 1] += moved
            sums[1:count] -= moved
        tokens = np.bincount(text.owner, minlength=len(sums))
        unknown = self._tokenizer.unknown_id
        unknowns = np.zeros(len(sums), dtype=np.int64)
        if unknown is not None:
            unknowns = np.bincount(text.owner[text.ids == unknown], minlength=len(sums))
        tops = [self._named(*both) for both in zip(seen.top, seen.chances, strict=True)]
        spans = [*text.words.tolist(), [len(text.text), len(text.text)]]
        return [
            Word(
                text=text.text[spans[w][0] : spans[w][1]] if w < count else END,
                start=spans[w][0],
                end=spans[w][1],
                nats=None if w == 0 and not plan.first else float(sums[w]),
                tokens=int(tokens[w]),
                unknown=int(unknowns[w]),
                entropy=float(seen.entropy[w]) if plan.entropy else None,
                top=tops[w],
            )
            for w in range(len(sums))
        ]

    def _named(self, tokens: NDArray[np.int64], chances: Floats) -> tuple[tuple[str, float], ...]:
        texts = map(self._tokenizer.token_text, tokens.tolist())
        return tuple(zip(texts, chances.tolist(), strict=True))

    # -- reading ---------------------------------------------------------------------------------

    def _read(self, texts: Sequence[_Text]) -> list[_Seen]:
        """What the model says along each text; many short texts go through at once."""
        lengths = np.array([len(text.ids) for text in texts], dtype=np.int64)
        seen: list[_Seen | None] = [None] * len(texts)
        short = np.flatnonzero(lengths <= LONG_TEXT)
        self._scorer.engine.note(int(lengths.sum()))
        if can_read(self._model.recurrent) and len(short):

            def read(some: NDArray[np.int64]) -> list[_Seen]:
                return self._side_by_side([texts[i] for i in short[some].tolist()])

            for some, found in in_groups(self._model.recurrent, lengths[short], read):
                for i, one in zip(short[some].tolist(), found, strict=True):
                    seen[i] = one
        return [one or self._alone(text) for one, text in zip(seen, texts, strict=True)]

    def _side_by_side(self, texts: Sequence[_Text]) -> list[_Seen]:
        lengths = np.array([len(text.ids) for text in texts], dtype=np.int64)
        ends = np.cumsum(lengths)
        targets = np.concatenate([text.ids for text in texts])
        inputs = np.roll(targets, 1)
        inputs[ends - lengths] = self._tokenizer.boundary_id
        features, _ = self._model.text_features(inputs, lengths)
        return [
            self._seen(features[end - len(text.ids) : end], text)
            for text, end in zip(texts, ends.tolist(), strict=True)
        ]

    def _alone(self, text: _Text) -> _Seen:
        """A text of any length, in pieces that hand on their state."""
        inputs = np.append(np.int32(self._tokenizer.boundary_id), text.ids[:-1])
        features: list[Tensor] = []
        state = None
        for begin in range(0, len(inputs), CHUNK):
            some, state = self._model.features_along(inputs[begin : begin + CHUNK], state)
            features.append(some)
        return self._seen(torch.cat(features), text)

    def _seen(self, features: Tensor, text: _Text) -> _Seen:
        """features (T, F): what the decoder reads before each token of the text."""
        decoder = self._model.decoder
        targets = torch.from_numpy(text.ids.astype(np.int64)).to(features.device)
        wanted = text.heads.tolist() + ([len(text.ids) - 1] if self._plan.end else [])
        entropy, chances = np.full(len(wanted), np.nan), np.zeros((len(wanted), 0))
        top = np.zeros((len(wanted), 0), dtype=np.int64)
        nats = torch.empty(len(targets), dtype=torch.float64)
        others = np.ones(len(targets), dtype=np.bool_)
        if wanted and (self._plan.entropy or self._plan.top):
            # Where the whole distribution is looked at, the token's own nats come with it.
            found = softmax.token_distributions(
                features[wanted], decoder.weight, decoder.bias, targets[wanted], top=self._plan.top
            )
            here, entropy, top, chances = (part.numpy(force=True) for part in found)
            nats[wanted] = torch.from_numpy(here).double()
            others[wanted] = False
        rest = torch.from_numpy(np.flatnonzero(others))
        if len(rest):
            nats[rest] = softmax.token_losses(
                features[rest], decoder.weight, decoder.bias, targets[rest], compiled=True
            ).to("cpu", torch.float64)
        space = np.zeros(0)
        if len(text.gaps):
            space = np.concatenate(list(self._whitespace(features[text.gaps])))
        return _Seen(nats.numpy(), entropy, top, chances, space)

    def _whitespace(self, features: Tensor) -> Iterator[Floats]:
        """features (P, F) -> −ln of the probability that whitespace comes (P,)."""
        rows = max(1, _LOGITS_AT_ONCE // self._model.vocab_size)
        with torch.no_grad():
            for some in torch.split(features, rows):
                log = torch.log_softmax(self._model.logits(some).double(), dim=-1)
                yield -torch.logsumexp(log[:, self._spaces.to(log.device)], dim=-1).cpu().numpy()

    @cached_property
    def _texts(self) -> list[str]:
        """What each token writes; "" for a document's end."""
        tokenizer = self._tokenizer
        texts = [
            tokenizer.token_bytes(i).decode("utf-8", "replace") for i in range(tokenizer.vocab_size)
        ]
        texts[tokenizer.boundary_id] = ""
        return texts

    @cached_property
    def _brings_spaces(self) -> bool:
        """Whether there are tokens with a space before something else, as a part of the text."""
        # Between the tokens of WikiText spaces are dropped.
        spans = self._tokenizer.spans("a a", self._tokenizer.encode("a a"))
        whole = int((spans[:, 1] - spans[:, 0]).sum()) == len("a a")
        return whole and any(text[:1].isspace() and text.strip() for text in self._texts)

    @cached_property
    def _spaces(self) -> Tensor:
        """The tokens that begin with whitespace, and the unknown one, which may."""
        unknown = self._tokenizer.unknown_id
        ids = [i for i, text in enumerate(self._texts) if i == unknown or text[:1].isspace()]
        return torch.tensor(ids, dtype=torch.long)


def bytes_before(text: str) -> NDArray[np.int64]:
    """How many bytes of UTF-8 stand before each character, and before the end: (N + 1,)."""
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")
    sizes = 1 + (codes >= 0x80) + (codes >= 0x800) + (codes >= 0x10000).astype(np.int64)
    return np.concatenate([[0], np.cumsum(sizes)])


# -- regions -------------------------------------------------------------------------------------


def unmarked(marked: str) -> str:
    """A text whose regions are divided by ``|``, without these marks."""
    return " ".join(part.strip() for part in marked.split("|"))


def find_regions(text: str, marked: str) -> list[tuple[int, int]]:
    """Which words each region holds, as first and end: (R,).

    `marked` is the text with ``|`` between its regions, or the words of one region. Raises
    DataError for a region that is not in the text, or is there more than once.
    """
    words = text.split()
    parts = [part.split() for part in marked.split("|")]
    empty = next((i for i, part in enumerate(parts, 1) if not part), None)
    if empty is not None:
        raise DataError(f"region {empty} holds no word", hint="leave out one `|`")
    if len(parts) > 1:
        if [word for part in parts for word in part] != words:
            raise DataError("the regions are not the words of the text", hint="check the column")
        ends = np.cumsum([len(part) for part in parts]).tolist()
        return list(zip([0, *ends[:-1]], ends, strict=True))
    size = len(parts[0])
    places = [i for i in range(len(words) - size + 1) if words[i : i + size] == parts[0]]
    if len(places) != 1:
        count = f"{len(places)} times" if places else "not"
        raise DataError(
            f"the region {marked.strip()!r} is {count} in the text",
            hint="mark regions in the text itself, with `|` between them",
        )
    return [(places[0], places[0] + size)]
