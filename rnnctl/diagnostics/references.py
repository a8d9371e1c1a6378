"""What models without a recurrent memory make of the same text: an n-gram, a bag of words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from rnnctl.baselines.linear import NaiveBayesLinear
from rnnctl.baselines.ngram import trained_on
from rnnctl.data.documents import Document
from rnnctl.data.tokenizers import Tokenizer
from rnnctl.diagnostics.use import Reference
from rnnctl.inference.training_text import NOT_KNOWN, training_store
from rnnctl.tasks.loading import Loaded
from rnnctl.wording import plural

MOST_TOKENS = 2_500_000  # of the training text: the n-gram model takes seconds and 500 MB at most


def n_gram(loaded: Loaded) -> Reference | str:
    """An n-gram model of the text that the run was trained on; or why there is none."""
    store = training_store(loaded)
    if store is None:
        return NOT_KNOWN
    split = store.split("train")
    if not split.tokens:
        return "the store of the training text is empty"
    model = trained_on(split, loaded.tokenizer, most_tokens=MOST_TOKENS)
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
