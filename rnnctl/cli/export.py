"""`rnnctl export`: a run for programs without rnnctl."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from rnnctl.cli import console
from rnnctl.cli.options import Output, RunArgument, option, takes_groups

MODEL = "Model"

Onnx = Annotated[
    Path,
    option(
        MODEL,
        "Write the model to this file, with tokenizer.json and README.md in the same folder.",
        metavar="FILE",
    ),
]
Int8 = Annotated[
    bool,
    option(
        MODEL,
        "Store weights in one byte instead of four (onnxruntime's dynamic quantisation). The "
        "loss in quality is measured on the held-out text that the run keeps.",
        "--int8",
    ),
]
Overwrite = Annotated[bool, option(MODEL, "Replace existing files.", "--overwrite")]


@takes_groups
def export(
    run: RunArgument,
    *,
    onnx: Onnx,
    int8: Int8 = False,
    overwrite: Overwrite = False,
    to: Output,
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
    shown = result.model_copy(update={"warnings": ()}) if to.format == "table" else result
    to.emit(shown)
