"""What a training's display shows beside the loss: a line the model writes, and how far its
gradient reaches. And the headline of the quick diagnosis at its end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rnnctl.nn.models import LanguageModel
from rnnctl.tasks.loading import load
from rnnctl.training.events import GradientShare, Sample
from rnnctl.workflow.preparation import Prepared

SAMPLE_TOKENS = 70
LAGS = (10, 30, 100)
PROBE_STREAMS = 4
HEADLINE_S = 10.0


def probe(prepared: Prepared, step: int) -> Iterator[Sample | GradientShare]:
    """A sample line and the gradient shares of a language model; shares only of a classifier."""
    if isinstance(prepared.model, LanguageModel):
        yield Sample(step, sample_line(prepared))
        yield GradientShare(step, gradient_shares(prepared))


@torch.no_grad()
def sample_line(prepared: Prepared) -> str:
    """Text of SAMPLE_TOKENS tokens that the model writes, in one line."""
    model, tokenizer = prepared.model, prepared.tokenizer
    assert isinstance(model, LanguageModel)
    generator = torch.Generator().manual_seed(prepared.config.training.seed)
    ids, state = [tokenizer.boundary_id], None
    for _ in range(SAMPLE_TOKENS):
        last = torch.tensor([[ids[-1]]], device=prepared.arithmetic.device)
        features, state = model.features(last, state)
        shares = torch.softmax(model.logits(features)[0, 0].float().cpu() / 0.8, 0)
        ids.append(int(torch.multinomial(shares, 1, generator=generator)))
    return " ".join(tokenizer.decode(ids[1:]).split())


def gradient_shares(prepared: Prepared) -> dict[int, float]:
    """Norm of the last step's loss gradient at the state so many steps back, over that at lag 0.

    Averaged (geometrically) over a few validation passages; lags beyond the text are left out.
    """
    model, split = prepared.model, prepared.store.split("valid")
    assert isinstance(model, LanguageModel)
    length = max(LAGS) + 2
    if len(split.ids) < PROBE_STREAMS * length:
        return {}
    begins = np.linspace(0, len(split.ids) - length, PROBE_STREAMS).astype(int)
    ids = np.stack([split.ids[b : b + length] for b in begins], 1).astype(np.int64)
    norms = _gradient_norms(model, torch.from_numpy(ids).to(prepared.arithmetic.device))
    last = len(norms) - 1
    return {lag: float((norms[last - lag] / norms[last]).log().mean().exp()) for lag in LAGS}


def _gradient_norms(model: LanguageModel, ids: torch.Tensor) -> torch.Tensor:
    """(T, B) norm of d(loss of the last target)/d(state after step t), all layers and parts."""
    with torch.no_grad():
        trace = model.recurrent.trace(model.embed(ids[:-1]))
    outputs = trace.outputs.detach().requires_grad_(True)
    loss, _ = _last_loss(model, outputs, ids[-1])
    (gradient,) = torch.autograd.grad(loss, outputs)
    with torch.no_grad():
        parts = trace.state_gradients(gradient)
        square = sum(parts[k].square().sum((0, -1)) for k in parts if k in ("h", "c"))
    return torch.as_tensor(square).sqrt().clamp_min(1e-30)


def _last_loss(
    model: LanguageModel, outputs: torch.Tensor, targets: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    logits = model.logits(model.projection(outputs[-1]))
    loss = torch.nn.functional.cross_entropy(logits.float(), targets, reduction="sum")
    return loss, logits


def headline(path: Path) -> dict[str, Any] | None:
    """The quick diagnosis of a finished run: what it says in one line, as JSON."""
    from rnnctl.workflow import diagnose

    found = diagnose.headline(load(path), seconds=HEADLINE_S)
    if found is None:
        return None
    return dict(found) if isinstance(found, dict) else found.model_dump(mode="json")
