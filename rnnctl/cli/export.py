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
        help="Write the model to this file, and tokenizer.json and README.md beside it.",
        show_default=False,
        rich_help_panel=MODEL,
    ),
]
Int8 = Annotated[
    bool,
    typer.Option(
        "--int8",
        help="Weights of one byte instead of four (onnxruntime's dynamic quantisation). What that "
        "costs is measured on the held-out text that the run keeps.",
        rich_help_panel=MODEL,
    ),
]
Overwrite = Annotated[
    bool,
    typer.Option(
        "--overwrite", help="Replace files that are there already.", rich_help_panel=MODEL
    ),
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

    A classifier reads ids and lengths, and gives logits and probabilities. A language model reads
    ids and a state, and gives logits and the state after them. README.md has the lines of Python
    and JavaScript that use it. The file is run by onnxruntime and compared with the model before it
    is written. Needs the extra `export`: pip install 'rnnctl[export]'.
    """
    from rnnctl.inference.export import export as write
    from rnnctl.tasks.loading import load

    result = write(load(run), onnx, int8=int8, overwrite=overwrite)
    for warning in result.warnings:
        console.warn(warning.text)
    shown = result.model_copy(update={"warnings": ()}) if format == "table" else result
    console.emit(shown, format, output)
