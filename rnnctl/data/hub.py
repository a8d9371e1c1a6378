"""``hub:NAME[:SPLIT]``: data sets of the Hugging Face hub, data only, never their code."""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

from rnnctl.data.readers import SchemeReader
from rnnctl.data.sources import exact_split
from rnnctl.data.tables import DatasetTable, import_datasets
from rnnctl.errors import DataError, UsageError

_PART = r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}"
_SPEC = re.compile(rf"hub:({_PART}(?:/{_PART})?)(?::([A-Za-z0-9][A-Za-z0-9_.-]{{0,95}}))?")


def parse(spec: str) -> tuple[str, str | None]:
    """Name and split. Raises: UsageError unless it reads hub:NAME or hub:OWNER/NAME[:SPLIT]."""
    match = _SPEC.fullmatch(spec)
    # The hub allows neither in a name, and in the cache "--" stands for a slash.
    if not match or ".." in spec or "--" in spec:
        raise UsageError(
            f"{spec!r:.120} is not hub:NAME[:SPLIT]",
            hint="for example hub:stanfordnlp/imdb or hub:stanfordnlp/imdb:train",
        )
    return match[1], match[2]


def location(name: str) -> str:
    """What `datasets.load_dataset` is asked for; a folder of the same name is not meant.

    Raises: UsageError if there is one, because `datasets` would take it.
    """
    if Path(name).exists():
        raise UsageError(
            f"hub:{name}: there is a folder of that name here",
            hint=f"leave out hub: to use it (./{name}), or run from somewhere else",
        )
    return name


def load(spec: str, cache: Path) -> dict[str, list[DatasetTable]]:
    """Tables by split ("train", "valid", "test"), or "all" for a single split.

    Raises: DataError if the hub has no such data set or split, or cannot be reached.
    """
    name, split = parse(spec)
    found = _load(name, cache)
    if split is not None:
        if split not in found:
            raise DataError(
                f"hub:{name} has no split {split!r}", hint=f"it has {', '.join(map(str, found))}"
            )
        chosen = {"all": found[split]}
    else:
        named = {exact_split(str(key)): data for key, data in found.items()}
        chosen = {key: data for key, data in named.items() if key}
        if "train" not in chosen:
            if len(found) != 1:
                raise DataError(
                    f"hub:{name} has no training split, only {', '.join(map(str, found))}",
                    hint=f"name one: hub:{name}:SPLIT",
                )
            chosen = {"all": next(iter(found.values()))}
    return {key: [DatasetTable(data, f"hub:{name}")] for key, data in chosen.items()}


HUB = SchemeReader(lambda spec, task, cache: load(spec, cache))


def stay_offline_without_names() -> None:
    """Where no name can be looked up, take what is in the cache, and miss the rest at once.

    The hub's client would try for half a minute. A proxy looks names up by itself.
    """
    host = urlsplit(os.environ.get("HF_ENDPOINT", "https://huggingface.co")).hostname
    if getproxies() or host is None:
        return
    try:
        socket.getaddrinfo(host, None)
    except OSError:
        os.environ.setdefault("HF_HUB_OFFLINE", "1")  # read when `datasets` is imported


def _load(name: str, cache: Path) -> Any:
    stay_offline_without_names()
    datasets = import_datasets()
    try:
        return datasets.load_dataset(location(name), cache_dir=str(cache / "datasets"))
    except (datasets.exceptions.DatasetsError, ValueError, OSError, RuntimeError) as error:
        reason = " ".join(str(error.__cause__ or error).split())
        raise DataError(
            f"hub:{name} cannot be loaded: {reason[:300]}",
            hint="check name and network; data sets that run their own code are not supported",
        ) from error
