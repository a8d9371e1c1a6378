"""What a training shows of its model on the way, and the quick diagnosis at its end.

The display of a training shows beside the loss a line that the model writes, and how far its
gradient reaches. `rnnctl.training` lies below and is given these functions.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from rnnctl.diagnostics import diagnose, reach
from rnnctl.inference.sampling import Sampling, Uniforms, choose
from rnnctl.nn.models import Classifier, LanguageModel
from rnnctl.tasks.loading import load
from rnnctl.training.events import GradientShare, SampleLine

if TYPE_CHECKING:
    from rnnctl.data.ids import SplitIds
    from rnnctl.data.tokenizers import Tokenizer

SAMPLE_TOKENS = 70
SEED = 0  # the same draws each time, so that lines differ by what the model has learnt
PROBE_STREAMS = 4
MOST_DOCUMENTS, MOST_TOKENS = 64, 20_000
HEADLINE_S = 20.0


def probe(
    model: LanguageModel | Classifier, tokenizer: Tokenizer, valid: SplitIds, step: int
) -> Iterator[SampleLine | GradientShare]:
    """A sample line of a language model; the gradient shares of any model."""
    # What a reader sees of a loss that falls: first words, then sentences.
    if isinstance(model, LanguageModel):
        yield SampleLine(step, sample_line(model, tokenizer))
    shares = {} if model.recurrent.directions == 2 else gradient_shares(model, valid)
    if shares:
        yield GradientShare(step, shares)


def sample_line(model: LanguageModel, tokenizer: Tokenizer) -> str:
    """Text of SAMPLE_TOKENS tokens that the model writes, in one line."""
    uniforms, sampling = Uniforms(SEED, 1), Sampling(temperature=0.8)
    said = np.zeros((1, 0), dtype=np.int64)
    ids, state = [tokenizer.boundary_id], None
    device = model.embedding.weight.device
    with torch.no_grad():
        for _ in range(SAMPLE_TOKENS):
            features, state = model.features(torch.tensor([[ids[-1]]], device=device), state)
            logits = model.logits(features)[0].float().numpy(force=True)
            ids.append(int(choose(logits, sampling, said, uniforms.next())[0]))
    return " ".join(tokenizer.decode(ids[1:]).split())


def gradient_shares(model: LanguageModel | Classifier, valid: SplitIds) -> dict[int, float]:
    """Γ(k) of REACH on a few fixed validation passages; lags beyond the text are left out.

    The gradient of one step's loss with respect to the state (c of an LSTM) so many steps back,
    relative to one step back.
    """
    count = min(MOST_DOCUMENTS, len(valid.offsets) - 1)
    windows = reach.share_windows(
        [valid.document(d)[:MOST_TOKENS] for d in range(count)],
        labels=None if valid.labels is None else [int(label) for label in valid.labels[:count]],
        running=valid.running,
        count=PROBE_STREAMS,
    )
    return {} if windows is None else reach.gradient_share(model, windows)


def headline(path: Path) -> dict[str, Any] | None:
    """The quick diagnosis of a finished run: what it says in one line, as JSON."""
    return diagnose.headline(load(path), seconds=HEADLINE_S).model_dump(mode="json")
