"""What numbers of inference depend on beside their inputs."""

from __future__ import annotations

import torch

from rnnctl import machine
from rnnctl.results.base import Environment
from rnnctl.tasks.loading import Loaded


def environment(loaded: Loaded, dtype: str = "float32") -> Environment:
    """Versions, threads, device and precision."""
    return Environment(
        threads=torch.get_num_threads(),
        device=str(next(loaded.model.parameters()).device),
        dtype=dtype,
        engine=loaded.model.recurrent.engine_in_use,
        **machine.facts(),
    )
