"""How a cell is called and drawn in reports, as the cell itself says."""

from __future__ import annotations

from typing import Any

from rnnctl import catalog


def display_name(cell: str) -> str:
    """``LSTM`` for ``lstm``; of a cell that is not installed here its name in capitals."""
    found = listed(cell)
    return cell.upper() if found is None else str(found.display_name)


GREY = "#808080"  # of what is no cell, or none that is installed here


def color(cell: str) -> str:
    """The hue that a cell is drawn in, in charts and pictures alike."""
    found = listed(cell)
    return GREY if found is None else str(found.color)


def listed(cell: str) -> Any:
    """The `rnnctl.nn.cells.Cell` of that name; None for a cell that is not installed here.

    A report outlives the package that added a cell. The catalog imports the cell, so that reports
    need nothing of `rnnctl.nn` by themselves.
    """
    return catalog.load("cell", cell) if cell in catalog.names("cell") else None
