"""What a training's display shows beside the loss: a line the model writes, and how far its
gradient reaches. And the headline of the quick diagnosis at its end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rnnctl.diagnostics import reach
from rnnctl.inference.sampling import Sampling, Uniforms, choose
from rnnctl.nn.models import LanguageModel
from rnnctl.tasks.loading import load
from rnnctl.training.events import GradientShare, Sample
from rnnctl.workflow.preparation import Prepared

SAMPLE_TOKENS = 70
SAMPLING = Sampling(temperature=0.8)
PROBE_STREAMS = 4
MOST_DOCUMENTS, MOST_TOKENS = 64, 20_000
HEADLINE_S = 10.0


def probe(prepared: Prepared, step: int) -> Iterator[Sample | GradientShare]:
    """A sample line of a language model; the gradient shares of any model."""
    if isinstance(prepared.model, LanguageModel):
        yield Sample(step, sample_line(prepared))
    shares = gradient_shares(prepared)
    if shares:
        yield GradientShare(step, shares)


@torch.no_grad()
def sample_line(prepared: Prepared) -> str:
    """Text of SAMPLE_TOKENS tokens that the model writes, in one line."""
    model, tokenizer = prepared.model, prepared.tokenizer
    assert isinstance(model, LanguageModel)
    uniforms = Uniforms(prepared.config.training.seed, 1)
    said = np.zeros((1, 0), dtype=np.int64)
    ids, state = [tokenizer.boundary_id], None
    for _ in range(SAMPLE_TOKENS):
        last = torch.tensor([[ids[-1]]], device=prepared.arithmetic.device)
        features, state = model.features(last, state)
        logits = model.logits(features)[0].float().numpy(force=True)
        ids.append(int(choose(logits, SAMPLING, said, uniforms.next())[0]))
    return " ".join(tokenizer.decode(ids[1:]).split())


def gradient_shares(prepared: Prepared) -> dict[int, float]:
    """Γ(k) of REACH on a few fixed validation passages; lags beyond the text are left out.

    The gradient of one step's loss with respect to the state (c of an LSTM) so many steps back,
    relative to one step back. Nothing for a model that reads in both directions.
    """
    if prepared.config.model.bidirectional:
        return {}
    windows = _passages(prepared)
    return {} if windows is None else reach.gradient_share(prepared.model, windows)


def _passages(prepared: Prepared) -> reach.Windows | None:
    split = prepared.store.split("valid")
    count = min(MOST_DOCUMENTS, len(split.offsets) - 1)
    documents = [split.document(d)[:MOST_TOKENS] for d in range(count)]
    labels = None if split.labels is None else [int(label) for label in split.labels[:count]]
    return reach.share_windows(
        documents, labels=labels, running=prepared.corpus.running, count=PROBE_STREAMS
    )


def headline(path: Path) -> dict[str, Any] | None:
    """The quick diagnosis of a finished run: what it says in one line, as JSON."""
    from rnnctl.workflow import diagnose

    return diagnose.headline(load(path), seconds=HEADLINE_S).model_dump(mode="json")
