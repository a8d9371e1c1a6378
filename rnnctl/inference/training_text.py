"""The ids that a run was trained on, if their store is still in the cache."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnctl.data.cache import cache_directory
from rnnctl.data.documents import Reading
from rnnctl.data.store import Store, open_store
from rnnctl.errors import CorruptRunError
from rnnctl.inference.copied import longest_copy
from rnnctl.results.inference import CopiedStretch
from rnnctl.runs import seal
from rnnctl.tasks.loading import CORPUS_NAME, Loaded

NOT_KNOWN = "the store of the training text is no longer in the cache"


def corpus_facts(loaded: Loaded) -> dict[str, Any]:
    """What the run knows of its corpus: fingerprint, description, running. {} for bare weights."""
    if CORPUS_NAME not in loaded.run.current.files:
        return {}
    path = loaded.run.file(CORPUS_NAME)
    facts: dict[str, Any] = seal.parse_json(seal.read_limited(path, seal.MAX_SMALL), path)
    return facts


def trained(loaded: Loaded) -> Reading:
    """How the run's corpus was read; what an older run does not say is left open."""
    settings = loaded.config.corpus
    facts = corpus_facts(loaded).get("reading")
    if isinstance(facts, dict):
        return replace(Reading.from_facts(facts), encoding=settings.encoding)
    return Reading(unit=settings.documents, text=settings.text_field, encoding=settings.encoding)


def heldout_size(loaded: Loaded, split: str) -> tuple[int, int] | None:
    """Documents and bytes of all of "valid" or "test" when the run was made; None if not noted."""
    noted = corpus_facts(loaded).get("heldout")
    if noted is None:
        return None
    try:
        return int(noted[split]["documents"]), int(noted[split]["bytes"])
    except (TypeError, KeyError, ValueError, OverflowError):
        raise CorruptRunError(
            f"{loaded.run.path / CORPUS_NAME} does not say how much was held out"
        ) from None


def by_document(loaded: Loaded) -> bool:
    """Whether the model was trained on documents, and so knows where they end, by `<eos>`."""
    return not corpus_facts(loaded).get("running", True)


def training_store(loaded: Loaded) -> Store | None:
    """The id store that the run was trained on; None when it is gone or altered."""
    wanted = corpus_facts(loaded).get("fingerprint"), loaded.tokenizer.fingerprint
    for manifest in sorted((cache_directory() / "stores").glob("[!.]*/manifest.json")):
        if _made_of(manifest) == wanted:
            store = open_store(manifest.parent)
            if store is not None:
                return store
    return None


def _made_of(manifest: Path) -> tuple[object, object]:
    try:
        content = json.loads(manifest.read_bytes())
        return content["corpus"], content["tokenizer"]
    except (OSError, ValueError, KeyError, TypeError):
        return None, None


class CopyFinder:
    """Finds what was copied from the training text. `known` is False where that text is gone."""

    def __init__(self, loaded: Loaded) -> None:
        self._tokenizer = loaded.tokenizer
        store = training_store(loaded)
        self._text = None if store is None else store.split("train").ids
        self.known = self._text is not None

    def find(self, text: str) -> CopiedStretch | None:
        """The longest stretch of `text` that stands in the training text; None if not known."""
        if self._text is None:
            return None
        return stretch_of(self._tokenizer.encode(text), self._text, self._tokenizer.decode)


def stretch_of(ids: NDArray[np.int32], text: Any, decode: Any) -> CopiedStretch:
    """The longest common stretch of a sample's ids and the training text's, as a record."""
    found = longest_copy(ids, text)
    words = decode(ids[found.start : found.start + found.length])
    return CopiedStretch(tokens=found.length, chars=len(words), text=words, position=found.position)
