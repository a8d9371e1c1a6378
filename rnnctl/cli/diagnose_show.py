"""`rnnctl diagnose RUN… --show TEXT`: a text coloured by what each run's gates keep of it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from rnnctl.cli import console


def show_text(runs: Sequence[Path], text: str, output: Path | None) -> None:
    """Print `text` with the gates of every run under it. Raises UsageError for an empty text."""
    from rich.console import Console

    from rnnctl.diagnostics import show
    from rnnctl.diagnostics.traceable import ExactModel
    from rnnctl.errors import UsageError
    from rnnctl.tasks.loading import load

    views = []
    for path in runs:
        loaded = load(path)
        if loaded.config.model.bidirectional:
            raise UsageError(
                f"{path} reads in both directions: its gates are not about a past",
                hint="look at a run that was trained with --no-bidirectional",
            )
        ids = loaded.tokenizer.encode(text)
        if len(ids) == 0:
            raise UsageError("there is no text to show", hint="write it after --show")
        view = show.look(
            ExactModel(loaded.model), ids, loaded.tokenizer.token_bytes, name=path.name
        )
        views.append(view)
    screen = output is None
    width, color = console.stdout_width(), screen and console.wants_color(sys.stdout)
    canvas = Console(width=width, force_terminal=color, no_color=not color, highlight=False)
    with canvas.capture() as written:
        for line in show.render(views, width=width, color=color):
            canvas.print(line, soft_wrap=True)
    if output is None:
        console.stdout_write(written.get(), flush=True)
    else:
        console.write_file(output, written.get())
