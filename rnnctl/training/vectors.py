"""Begin a training with word vectors (``--vectors``): of a file, or learnt from its own text.

The run keeps the rows that were taken (VECTORS_NAME), so that it can be resumed, and repeated with
``--config``, where the file is no longer at hand.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors
import safetensors.torch
import torch

from rnnctl import integrity
from rnnctl.config import RunConfig
from rnnctl.data.cache import cache_directory
from rnnctl.data.cooccurrence import kept_vectors
from rnnctl.data.ids import SplitIds
from rnnctl.data.store import Store
from rnnctl.data.tokenizers import Tokenizer
from rnnctl.data.tokenizers.base import BOUNDARY_ID
from rnnctl.data.vectors import Vectors, find_vectors
from rnnctl.errors import CorruptRunError, DataError, RunError, UsageError
from rnnctl.nn.models import Classifier, LanguageModel
from rnnctl.results.training import VectorsRecord
from rnnctl.runs import Run
from rnnctl.tasks.loading import check_header
from rnnctl.wording import plural

VECTORS_NAME = "vectors.safetensors"
_BOUNDARY_WORD = "</s>"  # what word2vec and fastText call the end of a line


@dataclass(frozen=True, slots=True)
class Begun:
    """What a training begins with: settings that know the file's hash, and what the run keeps."""

    config: RunConfig
    record: VectorsRecord
    kept: bytes = b""


def begin_with_file(
    config: RunConfig,
    model: LanguageModel | Classifier,
    tokenizer: Tokenizer,
    train: SplitIds,
    *,
    beside: Path | None = None,
) -> Begun:
    """Put the rows of a file into the embedding of a new `model`, as they are.

    beside: the folder of a run that is repeated, whose rows are taken if the file is gone.

    Raises DataError for a file that cannot be used, UsageError where its size is not the model's.
    """
    path = Path(str(config.model.vectors))
    kept = None if path.exists() else _kept_in(beside, config, tokenizer)
    found = kept or find_vectors(path, words_of(tokenizer))
    if config.model.vectors_sha256 not in (None, found.sha256):
        raise DataError(
            f"{path} is not the file that the repeated training began with: its content changed",
            hint="restore the old file, or give the new one another name and name it with "
            "--vectors",
        )
    size = model.embedding.weight.shape[1]
    if found.rows.shape[1] != size:
        has = plural(found.rows.shape[1], "number")
        raise UsageError(
            f"--embedding-size {size}: the vectors of {path} have {has} each",
            hint="leave out --embedding-size: it is that of the file",
        )
    changed = config.model.model_copy(update={"vectors_sha256": found.sha256})
    return _begin(config.model_copy(update={"model": changed}), model, tokenizer, train, found)


def begin_with_texts(
    config: RunConfig, model: LanguageModel | Classifier, tokenizer: Tokenizer, store: Store
) -> Begun:
    """Put rows that are learnt from the training texts into the embedding of a new `model`.

    They have the deviation that random vectors have. The settings keep no hash of them: they are
    those of any corpus, of whose text the vectors are.
    """
    size = model.embedding.weight.shape[1]
    rows, found = kept_vectors(store, model.vocab_size, size, cache=cache_directory())
    rows *= np.float32(model.input_std)
    learnt = Vectors(rows, found, 0, integrity.digest(rows.tobytes()))
    return _begin(config, model, tokenizer, store.split("train"), learnt)


def _begin(
    config: RunConfig,
    model: LanguageModel | Classifier,
    tokenizer: Tokenizer,
    train: SplitIds,
    found: Vectors,
) -> Begun:
    """Fill the embedding with what was found, and freeze that where it is asked for.

    Tokens without a row get random vectors of the rows' mean and spread, from PyTorch's generator.
    A tied model multiplies its embedding: there the layers' inputs are the rows.
    """
    if found.found.any():  # else no two words stand side by side, and all stay random
        # float64, so that the draws are the same whatever the model is computed in.
        draws = torch.randn(found.rows.shape, dtype=torch.float64)
        rows = torch.from_numpy(found.filled(draws.numpy()))
        with torch.no_grad():
            model.embedding.weight.copy_(rows / model.input_scale)
    if config.model.freeze_vectors:
        model.freeze_rows(np.flatnonzero(found.found))
    counts = np.bincount(np.asarray(train.ids), minlength=len(found.found))
    record = VectorsRecord(
        file=str(Path(str(config.model.vectors))),
        sha256=found.sha256,
        size=found.rows.shape[1],
        tokens=len(found.found),
        found=int(found.found.sum()),
        lowered=found.lowered,
        covered=float(counts[found.found].sum() / max(1, counts.sum())),
        frozen=config.model.freeze_vectors,
    )
    return Begun(config, record, _packed(found, record, tokenizer))


def go_on_with_vectors(run: Run, model: LanguageModel | Classifier) -> VectorsRecord:
    """What a run that is resumed began with; its frozen rows are frozen again.

    Raises CorruptRunError.
    """
    found, record, _ = _unpacked(run.file(VECTORS_NAME))
    if record.frozen:
        if len(found.found) != model.vocab_size:
            raise CorruptRunError(f"{run.path}: {VECTORS_NAME} is of another vocabulary")
        model.freeze_rows(np.flatnonzero(found.found))
    return record


def words_of(tokenizer: Tokenizer) -> list[str]:
    """What is looked for in the file for each token; "" for nothing: space is no word."""
    words = [
        tokenizer.token_bytes(number).decode("utf-8", "replace").strip()
        for number in range(tokenizer.vocab_size)
    ]
    words[BOUNDARY_ID] = _BOUNDARY_WORD
    return words


# -- what the run keeps ----------------------------------------------------------------------------


def _packed(found: Vectors, record: VectorsRecord, tokenizer: Tokenizer) -> bytes:
    # Only these: of a large vocabulary a file of vectors may know few.
    places = np.flatnonzero(found.found)
    tensors = {
        "places": torch.from_numpy(places.astype(np.int32)),
        "rows": torch.from_numpy(found.rows[places]),
    }
    facts = {"record": record.model_dump_json(), "tokenizer": tokenizer.fingerprint}
    return safetensors.torch.save(tensors, metadata=facts)


def _unpacked(path: Path) -> tuple[Vectors, VectorsRecord, str]:
    """The vectors, what is known of them, and of which tokenizer they are. CorruptRunError."""
    check_header(path)
    try:
        with safetensors.safe_open(path, framework="np") as file:
            facts = file.metadata()
            places, kept = file.get_tensor("places"), file.get_tensor("rows")
        record = VectorsRecord.model_validate(json.loads(facts["record"]))
        rows = np.zeros((record.tokens, record.size), np.float32)
        rows[places] = kept
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError, IndexError) as problem:
        raise CorruptRunError(f"{path} holds no vectors: {problem}") from problem
    found = np.zeros(record.tokens, bool)
    found[places] = True
    return Vectors(rows, found, record.lowered, record.sha256), record, facts["tokenizer"]


def _kept_in(folder: Path | None, config: RunConfig, tokenizer: Tokenizer) -> Vectors | None:
    """What the run in `folder` keeps, where it is of the same file and the same tokens."""
    if folder is None or config.model.vectors_sha256 is None:
        return None
    try:
        found, _, of = _unpacked(Run.open(folder).file(VECTORS_NAME))
    except RunError:
        return None
    same = of == tokenizer.fingerprint and found.sha256 == config.model.vectors_sha256
    return found if same else None
