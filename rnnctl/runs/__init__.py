"""The run directory: create, read, list, verify. Atomic, checksummed, without torch.

Why a directory of plain files and not one archive: each file can be opened by other people's tools
(`safetensors`, `tokenizers`, any JSON reader), and a checkpoint of a large model is renamed into
place instead of being copied. The price is that several files must agree; `current.json`, sealed
with its own checksum and renamed last, says which ones do.
"""

from __future__ import annotations

from rnnctl.runs.checkpoints import Snapshot
from rnnctl.runs.run import Problem, Run, RunSummary, find_runs, summarize

__all__ = ["Problem", "Run", "RunSummary", "Snapshot", "find_runs", "summarize"]
