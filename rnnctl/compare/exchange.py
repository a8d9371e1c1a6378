"""Exchange `c` against `h` in a trained LSTM's run, and keep what was measured with the run."""

from __future__ import annotations

from pathlib import Path

from rnnctl import machine
from rnnctl.data.corpus import sample_places
from rnnctl.nn.cells import find_cell
from rnnctl.results.base import Environment
from rnnctl.results.comparison import ExchangeRecord, ExchangeResult
from rnnctl.runs import Run

MOST_DOCUMENTS = 4000


def can_be_exchanged(path: Path) -> bool:
    """Whether the state of a run has two parts that can be exchanged apart."""
    return find_cell(Run.open(path).config.model.cell).has_cell_state


def measure(path: Path, *, seed: int = 0) -> bool:
    """Measure one run on the held-out text it keeps, and write ``results/exchange.json``.

    False where nothing can be measured: no text, too short documents, another readout.
    """
    from rnnctl.tasks.loading import load

    loaded = load(path)
    record = _of_labels(loaded, seed) if loaded.labels else _of_language(loaded, seed)
    if record is None:
        return False
    environment = Environment(**machine.facts())
    kept = ExchangeResult(environment=environment, seed=seed, **dict(record))
    return loaded.run.keep_result("exchange", kept)


def _texts(run: Run) -> tuple[list[str], list[str | None]]:
    found = run.heldout("valid") or run.heldout("test")
    documents = [found[k] for k in sample_places(len(found), MOST_DOCUMENTS)]
    return [document.text for document in documents], [document.label for document in documents]


def _of_language(loaded: object, seed: int) -> ExchangeRecord | None:
    import numpy as np

    from rnnctl.diagnostics.exchange import exchange_language, language_pairs
    from rnnctl.nn.models import LanguageModel
    from rnnctl.tasks.loading import Loaded

    assert isinstance(loaded, Loaded)
    assert isinstance(loaded.model, LanguageModel)
    texts, _ = _texts(loaded.run)
    boundary = loaded.tokenizer.boundary_id
    ids = [np.array([boundary, *loaded.tokenizer.encode(text)], dtype=np.int64) for text in texts]
    pairs = language_pairs(ids, seed=seed)
    return None if pairs is None else exchange_language(loaded.model, pairs)


def _of_labels(loaded: object, seed: int) -> ExchangeRecord | None:
    import numpy as np

    from rnnctl.diagnostics.exchange import classifier_pairs, exchange_classifier
    from rnnctl.nn.models import Classifier
    from rnnctl.tasks.loading import Loaded

    assert isinstance(loaded, Loaded)
    assert isinstance(loaded.model, Classifier)
    texts, labels = _texts(loaded.run)
    boundary = loaded.tokenizer.boundary_id
    known = [k for k, label in enumerate(labels) if label in loaded.labels]
    ids = [np.array([*loaded.tokenizer.encode(texts[k]), boundary], np.int64) for k in known]
    found = classifier_pairs(ids, [loaded.labels.index(str(labels[k])) for k in known], seed=seed)
    return None if found is None else exchange_classifier(loaded.model, *found)
