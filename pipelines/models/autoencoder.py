"""A small network that gives its inputs back through a narrow layer, whose values stand for them (Hinton 2006)."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from pipelines.models.projection import FARTHEST
from pipelines.models.torch_threads import computing_with

_EPOCHS = 40
_BATCH_ROWS = 256
_LEARNING_RATE = 0.003


def fit_autoencoder(matrix: np.ndarray, components: int, seed: int) -> tuple[dict[str, np.ndarray], float]:
    """Weights and offsets of the encoder's two layers, and the share of the inputs' variance that comes back.

    Always on a CPU, with one thread and a seed of its own: the same rows give the same bytes.
    """
    inputs = matrix.shape[1]
    hidden = max(components, min(64, 2 * inputs))
    values = torch.from_numpy(np.clip(matrix, -FARTHEST, FARTHEST).astype(np.float32))
    with computing_with(1), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, components))
        decoder = nn.Sequential(nn.Linear(components, hidden), nn.ReLU(), nn.Linear(hidden, inputs))
        explained = _train(encoder, decoder, values)
    weights = {name: value.double().numpy() for name, value in encoder.state_dict().items()}
    arrays: dict[str, np.ndarray] = {}
    for number, layer in enumerate(("0", "2")):
        arrays |= {f"weights_{number}": weights[f"{layer}.weight"], f"offset_{number}": weights[f"{layer}.bias"]}
    return arrays, explained


def _train(encoder: nn.Module, decoder: nn.Module, values: torch.Tensor) -> float:
    parameters = [*encoder.parameters(), *decoder.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=_LEARNING_RATE)
    for _epoch in range(_EPOCHS):
        for batch in torch.randperm(len(values)).split(_BATCH_ROWS):
            optimizer.zero_grad()
            loss = ((decoder(encoder(values[batch])) - values[batch]) ** 2).mean()
            loss.backward()
            optimizer.step()
    with torch.inference_mode():
        left = ((decoder(encoder(values)) - values) ** 2).sum()
        whole = ((values - values.mean(dim=0)) ** 2).sum()
    return float(1 - left / whole) if whole > 0 else 0.0
