"""What a diagnosis is made on: the text of a run, its evidence, filler and reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rnnctl.data.tokenizers import Tokenizer
from rnnctl.diagnostics import items as item_files
from rnnctl.diagnostics import sentences
from rnnctl.diagnostics.evidence import Evidence, batched_logits
from rnnctl.diagnostics.model_subject import ClassifierModelSubject
from rnnctl.diagnostics.references import BagSubject, bag_of_words, n_gram
from rnnctl.diagnostics.sample import Sample, from_texts
from rnnctl.diagnostics.text import Text
from rnnctl.diagnostics.use import Reference
from rnnctl.errors import DataError
from rnnctl.nn.models import Classifier
from rnnctl.results.base import Warning_
from rnnctl.tasks.loading import Loaded

Ids = NDArray[np.int64]
MOST_SENTENCES = 3000
NEUTRAL = 0.2  # nats: a sentence with a smaller margin speaks for neither label
FEWEST_NEUTRAL = 20
AGREED = 0.75  # share of shipped pairs that must be ranked as expected where labels say nothing
STRANGE = 0.3  # share of unknown tokens from which on a text is in another language


@dataclass
class Material:
    """Everything that the measurements are handed."""

    loaded: Loaded
    text: Text
    seed: int
    items: Path | None = None
    warnings: list[Warning_] = field(default_factory=list)

    @cached_property
    def sample(self) -> Sample:
        """The text in ids; for classifiers cut as in training."""
        labels = self.loaded.labels
        documents = self.text.documents
        cut = self.loaded.config.corpus.max_tokens
        texts = [_cut(document.text, cut, self.loaded) for document in documents]
        classes = None
        if labels and all(document.label is not None for document in documents):
            number = {name: k for k, name in enumerate(labels)}
            strange = {d.label for d in documents} - set(labels)
            if not strange:
                classes = [number[str(document.label)] for document in documents]
            else:
                unknown = ", ".join(sorted(map(str, strange)))
                text = f"labels the run does not know: {unknown}; it knows {', '.join(labels)}"
                self._warn("LABELS", text)
        sample = encode(
            self.loaded.tokenizer,
            texts,
            labels=classes,
            running=self._running,
            pieces=self.text.running,
        )
        if sample.tokens == 0:
            raise DataError("there is no text to measure on", hint="name a text: `--text FILE`")
        if sample.unknown / sample.tokens > STRANGE:
            self._warn(
                "FOREIGN_TEXT",
                f"{sample.unknown / sample.tokens:.0%} of the tokens are unknown to the run's "
                "vocabulary: this is hardly the language it was trained on",
            )
        return sample

    @property
    def _running(self) -> bool:
        """Running text, or documents that the model reads on through without a new beginning."""
        if self.loaded.labels:
            return False
        carried = not self.loaded.config.training.reset
        return self.text.running or carried or len(self.text.documents) == 1

    def _warn(self, code: str, text: str) -> None:
        self.warnings.append(Warning_(code=code, text=text))

    @cached_property
    def subject(self) -> ClassifierModelSubject:
        """The classifier as diagnostics see it."""
        model = self.loaded.model
        assert isinstance(model, Classifier)
        boundary = self.loaded.tokenizer.boundary_id
        return ClassifierModelSubject(model, boundary_id=boundary, labels=self.loaded.labels)

    @cached_property
    def reference(self) -> BagSubject | None:
        """A bag of words trained on other documents; None where these have one label only."""
        return bag_of_words(self.text.reference, self.loaded)

    @cached_property
    def n_gram(self) -> Reference | str:
        """An n-gram model of the training text; or a sentence that says why there is none."""
        return n_gram(self.loaded)

    @cached_property
    def _sentences(self) -> list[Ids]:
        """Sentences of 4 to 30 words from the measured text, in random order."""
        draw = np.random.default_rng((self.seed, 60))
        found: list[Ids] = []
        per_token = self.sample.words_per_token
        for k in draw.permutation(len(self.sample.ids)):
            for part in sentences.split(self.sample.ids[int(k)], self.sample):
                if 4 <= len(part) * per_token <= 30:
                    found.append(part)
            if len(found) >= MOST_SENTENCES:
                break
        return found

    @cached_property
    def evidence(self) -> Evidence | None:
        """Evidence sentences and filler; None where no two labels can be told apart."""
        found = self._items
        if found is None:
            return None
        encode_one = self._encode_sentence
        pairs = [(encode_one(a), encode_one(b)) for a, b in found.pairs]
        number = {name: k for k, name in enumerate(self.loaded.labels)}
        labels = (number[found.labels[0]], number[found.labels[1]])
        own = self._neutral(labels)
        fillers = {"own neutral sentences": own}
        given = [encode_one(text) for text in found.neutral]
        if given and _known(given, self.sample) > 1 - STRANGE:
            fillers["encyclopaedic sentences"] = given
        else:
            draw = np.random.default_rng((self.seed, 61))
            fillers["own neutral words, shuffled"] = [draw.permutation(part) for part in own]
        return Evidence(labels, pairs, fillers, found.source)

    @cached_property
    def filler(self) -> list[Ids]:
        """Neutral sentences of the text's own kind, for POSITION."""
        if self.evidence is None:
            return []
        return list(next(iter(self.evidence.fillers.values())))

    @cached_property
    def _items(self) -> item_files.Items | None:
        labels = self.loaded.labels
        if self.items is not None:
            found = item_files.read(self.items)
            if not set(found.labels) <= set(labels):
                raise DataError(
                    f"{self.items} speaks of labels {found.labels}, the run of {labels}"
                )
            self._check_words(found)
            return found
        shipped = item_files.shipped(labels)
        if shipped is not None:
            encoded = [self._encode_sentence(a) for pair in shipped.pairs for a in pair]
            known = _known(encoded, self.sample) > 1 - STRANGE
            if known and (not item_files.bare(labels) or self._ranked(shipped.labels, encoded)):
                return shipped
        return self._mined()

    def _ranked(self, names: tuple[str, str], encoded: Sequence[Ids]) -> bool:
        """Whether of most pairs the first sentence speaks more for the first label.

        As the bag of words has it; the model, where there is none.
        """
        labels = (self.loaded.labels.index(names[0]), self.loaded.labels.index(names[1]))
        margins = _margin(batched_logits(self.reference or self.subject, encoded), labels)
        return float(np.mean(margins[::2] > margins[1::2])) >= AGREED

    def _check_words(self, found: item_files.Items) -> None:
        """Warn of evidence that the model cannot read: both of a pair would look the same to it."""
        encoded = [self._encode_sentence(text) for pair in found.pairs for text in pair]
        known = _known(encoded, self.sample) if encoded else 1.0
        if known < 1 - STRANGE:
            self._warn(
                "UNKNOWN_ITEMS",
                f"{1 - known:.0%} of the words in {self.items} are unknown to the run's "
                "vocabulary: to this model much of that evidence looks alike",
            )

    def _mined(self) -> item_files.Items | None:
        """The most telling sentences for the two most frequent labels, by the bag of words."""
        if self.reference is None or self.sample.labels is None or not self._sentences:
            return None
        counts = np.bincount(self.sample.labels, minlength=len(self.loaded.labels))
        first, second = (int(k) for k in np.argsort(-counts, kind="stable")[:2])
        if counts[second] == 0:
            return None
        logits = batched_logits(self.reference, self._sentences)
        texts = [self.loaded.tokenizer.decode(part) for part in self._sentences]
        names = (self.loaded.labels[first], self.loaded.labels[second])
        words = [len(text.split()) for text in texts]
        return item_files.mined(texts, logits[:, first] - logits[:, second], words, names)

    def _neutral(self, labels: tuple[int, int]) -> list[Ids]:
        """Sentences that neither the model nor the bag of words finds telling.

        Those with a margin below 0.2 under both; the nearest to that where there are too few.
        """
        parts = self._sentences
        if not parts:
            return []
        margins = [_margin(batched_logits(self.subject, parts), labels)]
        if self.reference is not None:
            margins.append(_margin(batched_logits(self.reference, parts), labels))
        worst = np.max(np.abs(margins), axis=0)
        order = np.argsort(worst, kind="stable")
        count = max(FEWEST_NEUTRAL, int((worst < NEUTRAL).sum()))
        if worst[order[min(count, len(order)) - 1]] >= NEUTRAL:
            self._warn(
                "FILLER",
                f"few sentences are neutral: the filler's margins go up to "
                f"{worst[order[min(count, len(order)) - 1]]:.1f} nats",
            )
        return [parts[int(k)] for k in order[:count]]

    def _encode_sentence(self, text: str) -> Ids:
        spaced = text if self.loaded.tokenizer.level == "word" else text + " "
        return np.asarray(self.loaded.tokenizer.encode(spaced), dtype=np.int64)


def encode(
    tokenizer: Tokenizer,
    texts: Sequence[str],
    *,
    labels: Sequence[int] | None = None,
    running: bool = False,
    pieces: bool = False,
) -> Sample:
    """Texts as a sample that knows its tokenizer.

    `running`: read on from one to the next; `pieces` of one text, or else documents, between which
    training read their boundary.
    """
    return from_texts(
        texts,
        lambda text: np.asarray(tokenizer.encode(text), dtype=np.int64),
        labels=labels,
        running=running,
        between=None if pieces else tokenizer.boundary_id,
        unknown_id=tokenizer.unknown_id,
        token_bytes=tokenizer.token_bytes,
        spelled=tokenizer.level != "word",
    )


def _cut(text: str, most: int | None, loaded: Loaded) -> str:
    if most is None:
        return text
    return loaded.tokenizer.cut(text, most, loaded.config.corpus.keep)


def _known(parts: Sequence[Ids], sample: Sample) -> float:
    """Share of tokens that the vocabulary knows."""
    joined = np.concatenate(parts)
    return 1.0 if sample.unknown_id is None else float(np.mean(joined != sample.unknown_id))


def _margin(logits: NDArray[np.float64], labels: tuple[int, int]) -> NDArray[np.float64]:
    return logits[:, labels[0]] - logits[:, labels[1]]
