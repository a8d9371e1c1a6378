"""A task that another package adds: a classifier that is trained towards softened labels.

The entry point in the group ``rnnctl.task`` is all that makes ``--task smoothed`` work.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from rnnctl.tasks.base import Carry, StepLoss, TaskKind
from rnnctl.tasks.classification import ClassificationTask

SHARE = 0.1  # of the probability, spread over all labels (Szegedy et al. 2016)


class SmoothedTask(ClassificationTask):
    """As its parent, but the loss: cross entropy with a share of every label in the target."""

    def loss(self, batch: Any, carry: Carry) -> StepLoss:
        """(1 - SHARE) × the parent's loss + SHARE × the mean over the labels."""
        found = super().loss(batch, carry)
        ids = torch.from_numpy(batch.ids[: int(batch.lengths.max())])
        logits = self.model(ids, torch.from_numpy(batch.lengths))
        evenly = -torch.log_softmax(logits, 1).mean(1).sum()
        return replace(found, total=(1 - SHARE) * found.total + SHARE * evenly)


SMOOTHED = TaskKind(
    "smoothed",
    "smoothed_labels:SmoothedTask",
    labelled=True,
    level="char",
    budget_s=9.0,
    recipes={"char": {"model": {"hidden_size": 6, "embedding_size": 4, "pool": "mean"}}},
)
