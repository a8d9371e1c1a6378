"""The records that commands return: typed, versioned, JSON in and out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import import_module
from typing import Any

# What a run may keep: its name there -> its class, imported when one is read.
KEPT = {
    "train": "training:TrainResult",
    "evaluate": "inference:EvaluateResult",
    "diagnose": "diagnostics:DiagnosticsResult",
    "snapshots": "diagnostics:SnapshotsResult",
    "speed": "comparison:SpeedResult",
    "exchange": "comparison:ExchangeResult",
    "baselines": "comparison:BaselinesResult",
    "pairs": "inference:PairsResult",
}


def check(name: str, content: Mapping[str, Any]) -> None:
    """ValueError unless `content` is a complete record of the class that `name` stands for.

    Runs are sent around, and whoever seals a record can write anything into it. Names that no
    command of ours reads are free.
    """
    if name in KEPT:
        module, kind = KEPT[name].split(":")
        found = getattr(import_module(f"rnnctl.results.{module}"), kind)
        found.model_validate_json(json.dumps(content))  # its ValidationError is a ValueError
