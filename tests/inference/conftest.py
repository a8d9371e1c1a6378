"""An oracle for models: `torch.nn`, one token and one document at a time, in float64."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from rnnctl.nn.models import Classifier, LanguageModel
from rnnctl.nn.recurrent import Recurrent

Oracle = Callable[[LanguageModel | Classifier, list[int]], Tensor]


def _torch_layers(recurrent: Recurrent) -> nn.Module:
    kind = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn_tanh": nn.RNN, "rnn_relu": nn.RNN}
    options = {} if recurrent.cell.name in ("lstm", "gru") else {"nonlinearity": "tanh"}
    layers = kind[recurrent.cell.name](
        recurrent.input_size,
        recurrent.hidden_size,
        recurrent.num_layers,
        bidirectional=recurrent.directions == 2,
        **options,  # type: ignore[arg-type]
    )
    layers.load_state_dict(recurrent.state_dict())
    return layers.double()


@pytest.fixture(scope="session")
def oracle_logits() -> Oracle:
    """Logits (T, V) after each id of a language model, or (C,) of a classifier, in float64."""

    @torch.no_grad()
    def compute(model: LanguageModel | Classifier, ids: list[int]) -> Tensor:
        vectors = model.embedding.weight[torch.tensor(ids)].double().unsqueeze(1)
        layers = _torch_layers(model.recurrent)
        if isinstance(model, LanguageModel):
            state, rows = None, []
            for step in vectors * model.input_scale:
                output, state = layers(step.unsqueeze(0), state)
                rows.append(output[0, 0])
            if isinstance(model.projection, nn.Linear):
                weight, bias = model.projection.weight.double(), model.projection.bias.double()
                rows = [weight @ row + bias for row in rows]
            decoder = model.decoder.weight.double(), model.decoder.bias.double()
            return torch.stack([decoder[0] @ row + decoder[1] for row in rows])
        outputs, state = layers(vectors)
        hidden = state[0] if isinstance(state, tuple) else state
        read = {
            "last": lambda: torch.cat(tuple(hidden[-model.recurrent.directions :, 0])),
            "mean": lambda: outputs.mean(0)[0],
            "max": lambda: outputs.amax(0)[0],
            "meanmax": lambda: torch.cat([outputs.mean(0)[0], outputs.amax(0)[0]]),
        }[model.pool]()
        return model.output.weight.double() @ read + model.output.bias.double()

    return compute
