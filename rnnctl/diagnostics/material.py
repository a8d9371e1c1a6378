"""What a diagnosis is made on: the text, evidence and filler, and what it is held against.

The text is what the run kept, or what the user names. Evidence sentences for EFFECT on classifiers
are shipped, mined from the text, or the user's own. A file of them is JSON: `{"labels":
["positive", "negative"], "pairs": [["I loved it .", "I hated it ."], …], "neutral": ["The river
flows south .", …]}`; `neutral` may be missing. Held against: what models without a recurrent memory
make of the same text, an n-gram or a bag of words.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rnnctl.baselines.linear import NaiveBayesLinear
from rnnctl.baselines.ngram import trained_on
from rnnctl.data.cache import cache_directory
from rnnctl.data.corpus import Corpus, open_corpus, sample_documents, sample_places
from rnnctl.data.documents import Document
from rnnctl.data.tokenizers import Tokenizer
from rnnctl.diagnostics.effect import Evidence, batched_logits
from rnnctl.diagnostics.sample import Ids, Sample, from_texts, split_sentences
from rnnctl.diagnostics.subject import ClassifierModelSubject, LanguageModelSubject
from rnnctl.diagnostics.use import Reference
from rnnctl.errors import DataError, word
from rnnctl.inference.judged_text import choose
from rnnctl.inference.training_text import NOT_KNOWN, by_document, training_store
from rnnctl.nn.models import Classifier, LanguageModel
from rnnctl.reports.numbers import percent
from rnnctl.results.base import Warning_
from rnnctl.tasks.loading import Loaded
from rnnctl.wording import plural

# -- the text ------------------------------------------------------------------------------------

MOST_CHARS = 5_000_000
MOST_DOCUMENTS = 4000  # that are measured on


@dataclass(frozen=True)
class Text:
    """Documents to measure on, and what they are called.

    `reference`: other labelled documents, to train the bag of words on. `warnings`: what was read
    otherwise than in the training.
    """

    documents: Sequence[Document]
    running: bool
    name: str
    reference: Sequence[Document] = ()
    warnings: tuple[Warning_, ...] = ()


def heldout(loaded: Loaded) -> Text:
    """The documents that the run keeps: validation text first, test text for the reference.

    Running text of both splits is joined; of many documents it is a sample. Raises DataError where
    the run keeps none.
    """
    run = loaded.run
    valid, test = run.heldout("valid"), run.heldout("test")
    if not valid and not test:
        hint = f"name a text: `rnnctl diagnose {word(run.path)} --text FILE`"
        raise DataError(f"{run.path} keeps no held-out text", hint=hint)
    running = run.heldout_running("valid" if valid else "test")
    # Two splits of one text follow each other, and one long text has room for longer contexts.
    if running:
        return Text([*valid, *test], True, "held-out text")
    if not loaded.labels:
        return _sampled([*valid, *test], "held-out text")
    if valid and test:
        return _sampled(valid, "validation text", test)
    # The bag of words must not be trained on what it is asked about.
    return _halves(valid or test, "held-out text")


def read_text(
    loaded: Loaded,
    source: str,
    stdin: BinaryIO | None = None,
    columns: Mapping[str, str] | None = None,
) -> Text:
    """Documents of a corpus: its test part where it is the run's own, else all of it.

    At most 5 million characters: the beginning of a running text, an even sample of documents.
    `columns`: what to read otherwise than in the training (`text_field`, `label_field`,
    `encoding`). Without labels a classifier is still measured, line by line, as far as that goes.
    Raises what opening a corpus raises.
    """
    settings = loaded.config.corpus.model_copy(update={"sources": (source,), **(columns or {})})
    in_documents = not loaded.labels and by_document(loaded)
    if in_documents and settings.documents == "none":
        # the run read a table or the bundled text; documents of plain text are its paragraphs
        settings = settings.model_copy(update={"documents": "paragraph"})
    try:
        found = choose(loaded, settings, None, stdin, other_labels=True)
    except DataError:
        if not loaded.labels or source == "-":
            raise
        plain = settings.model_copy(update={"documents": "line", "split": "100/0/0"})
        corpus = open_corpus(plain, task="lm", cache=cache_directory())
        documents, total = _all_over(corpus, "train")
        return _sampled(documents, corpus.description, total=total)
    name = f"{found.corpus.description} ({found.part})"
    if found.corpus.running:
        return Text(_first_parts(found.corpus.documents(found.split)), True, name)
    documents, total = _all_over(found.corpus, found.split)
    if loaded.labels:
        return _halves(documents, name, total=total)
    read = _sampled(documents, name, total=total)
    if in_documents and total == 1:
        text = (
            f"{name} has no blank lines and is read as one running text; the run was trained on "
            "documents, and resets its state at the start of each"
        )
        return replace(read, warnings=(Warning_(code="RUNNING_TEXT", text=text),))
    return read


def beginning_of(corpus: Corpus) -> Text:
    """All of an undivided corpus; as much of it as `read_text` reads."""
    if corpus.running:
        return Text(_first_parts(corpus.documents("train")), True, corpus.description)
    documents, total = _all_over(corpus, "train")
    return _sampled(documents, corpus.description, total=total)


def _first_parts(parts: Iterable[Document]) -> list[Document]:
    """The first parts of a running text."""
    kept, chars = [], 0
    for part in parts:
        kept.append(part)
        chars += len(part.text)
        if chars > MOST_CHARS:
            break
    return kept


def _all_over(corpus: Corpus, split: str) -> tuple[list[Document], int]:
    """The documents, or where they are too many a share of them from everywhere; and of how many.

    A corpus may be sorted by label, or by anything else.
    """
    count = chars = 0
    for document in corpus.documents(split):
        count, chars = count + 1, chars + len(document.text)
    most = math.ceil(count * min(1, MOST_CHARS / max(1, chars)))
    return sample_documents(corpus, split, most), count


def _halves(documents: Sequence[Document], name: str, *, total: int = 0) -> Text:
    """Every other document of each label is measured on, the others are for the reference."""
    seen: dict[str | None, int] = {}
    halves: tuple[list[Document], list[Document]] = ([], [])
    for document in documents:
        count = seen[document.label] = seen.get(document.label, -1) + 1
        halves[count % 2].append(document)
    return _sampled(halves[0], name, halves[1], total=total or len(documents))


def _sampled(
    documents: Sequence[Document],
    name: str,
    reference: Sequence[Document] = (),
    *,
    total: int = 0,
) -> Text:
    """So many of the documents that they can be measured on, from everywhere.

    `total`: of how many they are, if not of themselves; the name says if it is not all of these.
    """
    kept = [documents[k] for k in sample_places(len(documents), MOST_DOCUMENTS)]
    total = total or len(documents)
    if len(kept) < total:
        name = f"{name}, a sample of its {plural(total, 'document')}"
    return Text(kept, False, name, reference)


# -- evidence sentences --------------------------------------------------------------------------

BARE = frozenset({"+", "-", "1", "0"})  # labels of anything
POSITIVE = frozenset({"pos", "positive", "good", "+", "1"})
NEGATIVE = frozenset({"neg", "negative", "bad", "-", "0"})
SHIPPED_ITEMS = Path(__file__).parent / "evidence_en.json"


@dataclass(frozen=True)
class Items:
    """Sentences that speak for the first and for the second of two labels, and for neither."""

    labels: tuple[str, str]
    pairs: tuple[tuple[str, str], ...]
    neutral: tuple[str, ...] = ()
    source: str = ""


def read_items(path: Path) -> Items:
    """A file of items. Raises DataError where it is not what the module's docstring shows."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        labels, pairs = content["labels"], content["pairs"]
        items = Items(
            (str(labels[0]), str(labels[1])),
            tuple((str(a), str(b)) for a, b in pairs),
            tuple(str(text) for text in content.get("neutral", ())),
            str(path),
        )
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise DataError(
            f"{path} is not a file of items: {error}",
            hint='it must look like {"labels": ["a", "b"], "pairs": [["for a", "for b"], …]}',
        ) from error
    if not items.pairs:
        raise DataError(f"{path} holds no pairs of sentences")
    return items


def shipped_items(labels: Sequence[str]) -> Items | None:
    """The shipped English pairs, if two of `labels` mean positive and negative."""
    named = {label.strip().casefold(): label for label in labels}
    positive = [named[key] for key in named if key in POSITIVE]
    negative = [named[key] for key in named if key in NEGATIVE]
    if len(labels) != 2 or not (positive and negative):
        return None
    found = read_items(SHIPPED_ITEMS)
    return Items((positive[0], negative[0]), found.pairs, found.neutral, "shipped (English)")


def bare_labels(labels: Sequence[str]) -> bool:
    """Whether `labels` do not say what they are about: 0 and 1 may be opinions, or spam or not."""
    return all(label.strip() in BARE for label in labels)


def mined_items(
    sentences: Sequence[str],
    odds: NDArray[np.float64],
    words: Sequence[int],
    labels: tuple[str, str],
    *,
    most: int = 64,
) -> Items:
    """The sentences that a reference finds most telling, paired by their number of words.

    `odds` (N,): the reference's log-odds of the first label against the second. `words` (N,): how
    many each sentence has; those of 4 to 24 are taken.
    """
    size = np.asarray(words)
    # Shorter ones are headings or exclamations, longer ones say more than one thing.
    usable = np.flatnonzero((size >= 4) & (size <= 24))
    order = usable[np.argsort(odds[usable], kind="stable")]
    second = [int(k) for k in order[: 2 * most] if odds[k] < 0]
    first = [int(k) for k in order[::-1][: 2 * most] if odds[k] > 0]
    pairs = []
    for k in first:
        # Evidence of unequal length would shift everything behind it, in one arm only.
        same = [j for j in second if abs(int(size[j]) - int(size[k])) <= 1]
        if same:
            second.remove(same[0])
            pairs.append((sentences[k], sentences[same[0]]))
    return Items(labels, tuple(pairs[:most]), (), "mined from held-out text by a bag of words")


# -- references ----------------------------------------------------------------------------------

MOST_TOKENS = 2_500_000  # of the training text: the n-gram model takes seconds and 500 MB at most


PAIRS_ORDER = 5
"""Of the model that is asked minimal pairs: BLiMP's own is a 5-gram (Warstadt et al. 2020)."""


def n_gram(loaded: Loaded, least_order: int = 1) -> Reference | str:
    """An n-gram model of the text that the run was trained on; or why there is none."""
    store = training_store(loaded)
    if store is None:
        return NOT_KNOWN
    split = store.split("train")
    if not split.tokens:
        return "the store of the training text is empty"
    model = trained_on(split, loaded.tokenizer, most_tokens=MOST_TOKENS, least_order=least_order)
    kind = f"interpolated Kneser-Ney {model.order}-gram"
    amount = f"{plural(model.tokens, 'token')} of the training text"
    return Reference(f"{kind}, {amount}", model.losses)


def bag_of_words(documents: Sequence[Document], loaded: Loaded) -> BagSubject | None:
    """A bag of words trained on labelled documents; None where these have one label only."""
    number = {name: k for k, name in enumerate(loaded.labels)}
    usable = [d for d in documents if d.label in number and d.text.strip()]
    truth = [number[str(d.label)] for d in usable]
    if len(set(truth)) < 2:
        return None
    bag = NaiveBayesLinear([d.text for d in usable], truth, classes=len(loaded.labels), pairs=False)
    return BagSubject(bag, loaded.tokenizer, loaded.labels)


class BagSubject:
    """A bag of words as a `ClassifierSubject`: it reads ids by writing them out."""

    def __init__(
        self, bag: NaiveBayesLinear, tokenizer: Tokenizer, labels: tuple[str, ...]
    ) -> None:
        self.bag, self.tokenizer, self.labels = bag, tokenizer, labels
        self.vocab_size, self.boundary_id = tokenizer.vocab_size, tokenizer.boundary_id

    def logits(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """See `ClassifierSubject`."""
        columns = ids.T.numpy()
        texts = [
            self.tokenizer.decode(row[: int(n)].astype(np.int32))
            for row, n in zip(columns, lengths, strict=True)
        ]
        return torch.from_numpy(self.bag.logits(texts))


# -- everything together -------------------------------------------------------------------------

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
        """The text in ids, for classifiers cut as in training. Raises DataError if it is empty."""
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
                f"{percent(sample.unknown / sample.tokens, 0)} of the tokens are unknown to the "
                "run's vocabulary: the text is probably in another language than the training text",
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
    def language_model(self) -> LanguageModelSubject | None:
        """The model as diagnostics see it, if it is a language model; None of a classifier."""
        model = self.loaded.model
        if not isinstance(model, LanguageModel):
            return None
        return LanguageModelSubject(model, boundary_id=self.loaded.tokenizer.boundary_id)

    @cached_property
    def classifier(self) -> ClassifierModelSubject:
        """The model as diagnostics see it; only of a classifier, see `language_model`."""
        model = self.loaded.model
        assert isinstance(model, Classifier), "ask `language_model` first: it is None of these"
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
            for part in split_sentences(self.sample.ids[int(k)], self.sample):
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
            # Without sentences of another kind: the own ones as a heap of words, which say even
            # less.
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
    def _items(self) -> Items | None:
        labels = self.loaded.labels
        if self.items is not None:
            found = read_items(self.items)
            if not set(found.labels) <= set(labels):
                raise DataError(
                    f"{self.items} speaks of labels {found.labels}, the run of {labels}"
                )
            self._check_words(found)
            return found
        shipped = shipped_items(labels)
        if shipped is not None:
            encoded = [self._encode_sentence(a) for pair in shipped.pairs for a in pair]
            known = _known(encoded, self.sample) > 1 - STRANGE
            # Labels 0 and 1 may stand for anything: only if the sentences rank as opinions do are
            # they that.
            if known and (not bare_labels(labels) or self._ranked(shipped.labels, encoded)):
                return shipped
        return self._mined()

    def _ranked(self, names: tuple[str, str], encoded: Sequence[Ids]) -> bool:
        """Whether of most pairs the first sentence speaks more for the first label.

        As the bag of words has it; the model, where there is none.
        """
        labels = (self.loaded.labels.index(names[0]), self.loaded.labels.index(names[1]))
        margins = _margin(batched_logits(self.reference or self.classifier, encoded), labels)
        return float(np.mean(margins[::2] > margins[1::2])) >= AGREED

    def _check_words(self, found: Items) -> None:
        """Warn of evidence that the model cannot read: both of a pair would look the same to it."""
        encoded = [self._encode_sentence(text) for pair in found.pairs for text in pair]
        known = _known(encoded, self.sample) if encoded else 1.0
        if known < 1 - STRANGE:
            self._warn(
                "UNKNOWN_ITEMS",
                f"{percent(1 - known, 0)} of the words in {self.items} are unknown to the run's "
                "vocabulary: much of that evidence looks the same to this model",
            )

    def _mined(self) -> Items | None:
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
        return mined_items(texts, logits[:, first] - logits[:, second], words, names)

    def _neutral(self, labels: tuple[int, int]) -> list[Ids]:
        """Sentences that neither the model nor the bag of words finds telling.

        Those with a margin below 0.2 under both; the nearest to that where there are too few.
        """
        parts = self._sentences
        if not parts:
            return []
        # Neutral to the model, or filler would be evidence; neutral to the bag of words too, or a
        # model that has forgotten how to read would choose its own filler.
        margins = [_margin(batched_logits(self.classifier, parts), labels)]
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
        # Spelled tokens bring their space along, and the next sentence begins behind one.
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
