"""rnnctl: train, use and compare recurrent text models, and measure what they remember.

`rnnctl.load(run)` opens a run, `rnnctl.train(corpus, …)` makes one; see `rnnctl.api`, which is
loaded, and torch with it, when one of its names is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rnnctl.api import Model, States, load, train

__version__ = "0.1.0"
__all__ = ["Model", "States", "__version__", "load", "train"]


def __getattr__(name: str) -> Any:
    """Load the library when one of its names is asked for."""
    if name in __all__:
        return getattr(import_module("rnnctl.api"), name)
    raise AttributeError(f"module 'rnnctl' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
