"""A trained model as an ONNX graph, written node by node.

PyTorch's own exporter fails on recurrent layers of variable length, and what is needed is short: a
look-up, one operator a layer, a pooling and a product. How a cell stands in ONNX is said by the
cell itself (`Cell.onnx`).

A classifier reads `ids` (batch, time) int64, padded at the end with any id, and `lengths`
(batch,) int64; it gives `logits` and `probabilities` (batch, classes), which add up to 1 unless a
text may have several labels. A language model reads
`ids` (batch, time) and a state, (layers, batch, hidden) each: `h`, and `c` of an LSTM; it gives
the `logits` of the next token (batch, time, vocabulary) and the state after the last token,
`h_out` and `c_out`.

Axes: T time, B batch, E inputs, H hidden, D directions, g gates, F features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from rnnctl.errors import UsageError
from rnnctl.nn.cells import Cell, LayerWeights, OnnxForm
from rnnctl.nn.models import Classifier, LanguageModel
from rnnctl.nn.recurrent import Recurrent, suffixes

if TYPE_CHECKING:
    from onnx import ModelProto

OPSET = 17  # 2022: read by every onnxruntime since 1.12, in the browser too
_IR_VERSION = 8  # the file format of that time
_FLOAT, _INT32 = 1, 6  # types of values, as ONNX numbers them

Names = list[str]


def write_graph(
    model: LanguageModel | Classifier,
    facts: Mapping[str, str],
    *,
    shared: bool = True,
    several: bool = False,
) -> ModelProto:
    """The model in `eval` mode, float32, with `facts` as the graph's metadata.

    shared: whether tied weights stand once in the file, and not twice. several: each label of a
    classifier has a probability of its own. Raises UsageError for a cell that has no form in ONNX.
    """
    graph = _Graph()
    if isinstance(model, Classifier):
        _classifier(graph, model, several=several)
    else:
        _language_model(graph, model, shared=shared)
    return graph.model(facts)


class _Graph:
    """Nodes and constants as they are added. A node's outputs get names of their own."""

    def __init__(self) -> None:
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []

    def input(self, name: str, kind: str, axes: Sequence[str | int]) -> str:
        self._inputs.append(_value(name, kind, axes))
        return name

    def output(self, name: str, value: str, axes: Sequence[str | int]) -> None:
        """What is called `value` inside is an output of the whole, under a name."""
        self.add("Identity", value, called=name)
        self._outputs.append(_value(name, "FLOAT", axes))

    def constant(self, name: str, value: Tensor | NDArray[Any]) -> str:
        """A weight or another fixed value; one of that name is there once."""
        from onnx import numpy_helper

        if all(name != one.name for one in self._constants):
            array = value.detach().cpu().numpy() if isinstance(value, Tensor) else value
            self._constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def numbers(self, *values: int) -> str:
        """Whole numbers as a constant: axes, shapes."""
        return self.constant(f"numbers_{'_'.join(map(str, values))}", np.array(values, np.int64))

    def add(self, operator: str, *inputs: str, called: str = "", **attributes: Any) -> str:
        """A node with one output, whose name is returned."""
        return self.add_many(operator, inputs, 1, called, **attributes)[0]

    def add_many(
        self, operator: str, inputs: Sequence[str], count: int, called: str = "", **attributes: Any
    ) -> Names:
        """A node with `count` outputs."""
        from onnx import helper

        name = called or f"{operator.lower()}_{len(self._nodes)}"
        outputs = [name] if count == 1 else [f"{name}_{i}" for i in range(count)]
        self._nodes.append(helper.make_node(operator, list(inputs), outputs, **attributes))
        return outputs

    def model(self, facts: Mapping[str, str]) -> ModelProto:
        from onnx import checker, helper

        graph = helper.make_graph(
            self._nodes, "rnnctl", self._inputs, self._outputs, self._constants
        )
        made = helper.make_model(
            graph,
            producer_name="rnnctl",
            producer_version=facts.get("rnnctl", ""),
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=_IR_VERSION,
        )
        helper.set_model_props(made, dict(facts))
        checker.check_model(made)
        return made


def _value(name: str, kind: str, axes: Sequence[str | int]) -> Any:
    from onnx import TensorProto, helper

    return helper.make_tensor_value_info(name, getattr(TensorProto, kind), list(axes))


def _language_model(graph: _Graph, model: LanguageModel, *, shared: bool) -> None:
    recurrent = model.recurrent
    shape = (recurrent.num_layers, "batch", recurrent.hidden_size)
    ids = graph.input("ids", "INT64", ("batch", "time"))
    state = [graph.input(name, "FLOAT", shape) for name in recurrent.cell.state_names]
    outputs, after = _layers(graph, recurrent, _embedded(graph, model, ids), state, "")
    if not isinstance(model.projection, nn.Identity):
        weight = graph.constant("projection.weight.T", model.projection.weight.T)
        bias = graph.constant("projection.bias", model.projection.bias)
        outputs = graph.add("Add", graph.add("MatMul", outputs, weight), bias)
    # A tied decoder is the embedding turned round; a file that needs both ways has it twice.
    if shared and model.decoder.weight is model.embedding.weight:
        weight = graph.add("Transpose", "embedding.weight", perm=[1, 0])
    else:
        weight = graph.constant("decoder.weight.T", model.decoder.weight.T)
    logits = graph.add("MatMul", graph.add("Transpose", outputs, perm=[1, 0, 2]), weight)
    bias = graph.constant("decoder.bias", model.decoder.bias)
    graph.output("logits", graph.add("Add", logits, bias), ("batch", "time", model.vocab_size))
    for name, part in zip(recurrent.cell.state_names, after, strict=True):
        graph.output(f"{name}_out", part, shape)


def _classifier(graph: _Graph, model: Classifier, *, several: bool) -> None:
    ids = graph.input("ids", "INT64", ("batch", "time"))
    lengths = graph.input("lengths", "INT64", ("batch",))
    sizes = graph.add("Cast", lengths, to=_INT32)
    outputs, after = _layers(graph, model.recurrent, _embedded(graph, model, ids), [], sizes)
    readout = _readout(graph, model, outputs, after[0], ids, lengths)
    weight = graph.constant("output.weight.T", model.output.weight.T)
    bias = graph.constant("output.bias", model.output.bias)
    logits = graph.add("Add", graph.add("MatMul", readout, weight), bias)
    graph.output("logits", logits, ("batch", model.num_classes))
    chances = graph.add("Sigmoid", logits) if several else graph.add("Softmax", logits, axis=-1)
    graph.output("probabilities", chances, ("batch", model.num_classes))


def _embedded(graph: _Graph, model: LanguageModel | Classifier, ids: str) -> str:
    """ids (B, T) -> vectors (T, B, E)."""
    weight = graph.constant("embedding.weight", model.embedding.weight)
    vectors = graph.add("Gather", weight, graph.add("Transpose", ids, perm=[1, 0]), axis=0)
    if model.input_scale == 1.0:
        return vectors
    scale = graph.constant("input_scale", np.array(model.input_scale, np.float32))
    return graph.add("Mul", vectors, scale)


def _layers(
    graph: _Graph, recurrent: Recurrent, inputs: str, state: Names, lengths: str
) -> tuple[str, Names]:
    """inputs (T, B, E) -> outputs (T, B, DH), and the state after the last step (LD, B, H) each.

    state: the one before, or none; lengths (B,) int32, or "" for all of T.
    """
    form = _form_of(recurrent.cell)
    count, directions = len(recurrent.cell.state_names), recurrent.directions
    finals: list[Names] = []
    for layer in range(recurrent.num_layers):
        ways = [recurrent.weights(suffix) for suffix in suffixes(layer, directions)]
        weights = _stacked(form, ways)
        named = [graph.constant(f"layer{layer}.{name}", value) for name, value in weights.items()]
        before = [_of_layer(graph, part, layer) for part in state]
        attributes: dict[str, Any] = {
            "hidden_size": recurrent.hidden_size,
            "direction": "bidirectional" if directions == 2 else "forward",
            **form.attributes,
        }
        if form.activations:
            attributes["activations"] = list(form.activations) * directions
        outputs, *after = graph.add_many(
            form.operator, [inputs, *named, lengths, *before], 1 + count, **attributes
        )  # (T, D, B, H) and (D, B, H)
        finals.append(after)
        # The next layer, and the readout, take both directions side by side, as in `torch.nn`.
        turned = graph.add("Transpose", outputs, perm=[0, 2, 1, 3])  # (T, B, D, H)
        inputs = graph.add("Reshape", turned, graph.numbers(0, 0, -1))
    return inputs, [_joined(graph, list(parts), axis=0) for parts in zip(*finals, strict=True)]


def _form_of(cell: Cell) -> OnnxForm:
    if cell.onnx is None:
        raise UsageError(
            f"the cell {cell.name!r} has no form in ONNX",
            hint="only a cell that ONNX has an operator for can be exported; a Cell names it in "
            "its field `onnx` (`rnnctl help extending`)",
        )
    return cell.onnx


def _stacked(form: OnnxForm, directions: Sequence[LayerWeights]) -> dict[str, NDArray[Any]]:
    """The weights of a layer as the operator takes them: W (D, gH, E), R (D, gH, H), B (D, 2gH)."""

    def ordered(value: Tensor) -> NDArray[Any]:
        blocks = np.split(value.detach().float().cpu().numpy(), len(form.order))
        return np.concatenate([blocks[place] for place in form.order])

    return {
        "W": np.stack([ordered(one.w_ih) for one in directions]),
        "R": np.stack([ordered(one.w_hh) for one in directions]),
        "B": np.stack(
            [np.concatenate([ordered(one.b_ih), ordered(one.b_hh)]) for one in directions]
        ),
    }


def _of_layer(graph: _Graph, part: str, layer: int) -> str:
    """(L, B, H) -> (1, B, H)."""
    return graph.add("Gather", part, graph.numbers(layer), axis=0)


def _joined(graph: _Graph, parts: Names, axis: int) -> str:
    return parts[0] if len(parts) == 1 else graph.add("Concat", *parts, axis=axis)


def _readout(
    graph: _Graph, model: Classifier, outputs: str, after: str, ids: str, lengths: str
) -> str:
    """outputs (T, B, DH), final h (LD, B, H) -> one vector per text (B, R); as the model's own."""
    recurrent = model.recurrent
    if model.pool == "last":
        first = (recurrent.num_layers - 1) * recurrent.directions
        rows = [_of_layer(graph, after, first + one) for one in range(recurrent.directions)]
        flat = [graph.add("Squeeze", row, graph.numbers(0)) for row in rows]
        return _joined(graph, flat, axis=1)
    # Padding is told by its place: what stands there in `outputs` is arbitrary.
    time = graph.add("Gather", graph.add("Shape", ids), _scalar(graph, 1), axis=0)
    steps = graph.add("Range", _scalar(graph, 0), time, _scalar(graph, 1))
    column = graph.add("Unsqueeze", steps, graph.numbers(1))
    inside = graph.add("Less", column, lengths)  # (T, B)
    inside = graph.add("Unsqueeze", inside, graph.numbers(2))
    parts = []
    if model.pool != "max":
        nothing = graph.constant("nothing", np.array(0.0, np.float32))
        kept = graph.add("Where", inside, outputs, nothing)
        summed = graph.add("ReduceSum", kept, graph.numbers(0), keepdims=0)
        count = graph.add("Unsqueeze", graph.add("Cast", lengths, to=_FLOAT), graph.numbers(1))
        parts.append(graph.add("Div", summed, count))
    if model.pool != "mean":
        least = graph.constant("least", np.array(-np.inf, np.float32))
        kept = graph.add("Where", inside, outputs, least)
        parts.append(graph.add("ReduceMax", kept, axes=[0], keepdims=0))
    return _joined(graph, parts, axis=1)


def _scalar(graph: _Graph, value: int) -> str:
    return graph.constant(f"scalar_{value}", np.array(value, np.int64))
