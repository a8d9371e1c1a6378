"""`rnnctl export`: a run for programs without rnnctl."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rnnctl.cli import console
from rnnctl.cli.options import FormatOption, OutputOption, QuietOption, RunArgument

MODEL = "Model"

Onnx = Annotated[
    Path,
    typer.Option(
        "--onnx",
        metavar="FILE",
        help="Write the model to this file, with tokenizer.json and README.md in the same folder.",
        show_default=False,
        rich_help_panel=MODEL,
    ),
]
Int8 = Annotated[
    bool,
    typer.Option(
        "--int8",
        help="Store weights in one byte instead of four (onnxruntime's dynamic quantisation). The "
        "loss in quality is measured on the held-out text that the run keeps.",
        rich_help_panel=MODEL,
    ),
]
Overwrite = Annotated[
    bool,
    typer.Option("--overwrite", help="Replace existing files.", rich_help_panel=MODEL),
]


def export(
    run: RunArgument,
    onnx: Onnx,
    int8: Int8 = False,
    overwrite: Overwrite = False,
    format: FormatOption = "table",
    output: OutputOption = None,
    quiet: QuietOption = False,
) -> None:
    """Write a run as an ONNX file, for programs without rnnctl and PyTorch.

    A classifier takes ids and lengths, and returns logits and probabilities. A language model takes
    ids and a state, and returns logits and the new state. A README.md beside it shows how to use it
    from Python and JavaScript. Before the file is written, onnxruntime runs it and its outputs are
    compared with the model's. Needs the extra `export`: pip install 'rnnctl[export]'.
    """
    from rnnctl.inference.export import export as write
    from rnnctl.tasks.loading import load

    result = write(load(run), onnx, int8=int8, overwrite=overwrite)
    for warning in result.warnings:
        console.warn(warning.text)
    shown = result.model_copy(update={"warnings": ()}) if format == "table" else result
    console.emit(shown, format, output)
