"""What numbers of inference depend on beside their inputs."""

from __future__ import annotations

import platform

import torch

from rnnctl import __version__
from rnnctl.results.base import Environment
from rnnctl.tasks.loading import Loaded


def environment(loaded: Loaded, dtype: str = "float32") -> Environment:
    """Versions, threads, device and precision."""
    return Environment(
        rnnctl=__version__,
        python=platform.python_version(),
        torch=str(torch.__version__),
        threads=torch.get_num_threads(),
        device=str(next(loaded.model.parameters()).device),
        dtype=dtype,
        engine=loaded.model.recurrent.engine,
        platform=f"{platform.system()} {platform.machine()}",
    )
