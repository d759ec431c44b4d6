"""Encoders of an entity's last events in PyTorch: a convolution over the steps, or an LSTM.

Both are made of matrix products and cells whose bits depend neither on the rows around a row nor on the number of
threads, and which a GPU computes in float32. A step without an event leaves no trace.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from pipelines.errors import ModelError, names
from pipelines.models.sequences import lags_of


@dataclass(frozen=True)
class SequenceShape:
    """`columns`: for each step, the oldest first, the input column of every channel. `width`: numbers per step."""

    network: str
    width: int
    columns: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, network: str, width: int, outputs: Sequence[str], types: Mapping[str, str]) -> SequenceShape:
        """`outputs`: the prepared columns.

        Raises:
            ModelError: E-MODEL-SEQUENCE when a lag is not among them (a projection took it).
        """
        places = {name: index for index, name in enumerate(outputs)}
        lags = list(lags_of(types).values())
        absent = [name for channel in lags for name in channel if name not in places]
        if absent or not lags:
            what = f"every lag must reach the network as it is, but these do not: {names(absent)}"
            raise ModelError(
                "E-MODEL-SEQUENCE", "training.model", what, "Leave lags out of projections and selections."
            )
        steps = [tuple(places[name] for name in step) for step in zip(*lags, strict=True)]
        return cls(network, width, tuple(reversed(steps)))

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> SequenceShape:
        return cls(saved["network"], int(saved["width"]), tuple(tuple(step) for step in saved["columns"]))

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "columns": [list(step) for step in self.columns]}

    @property
    def inputs(self) -> frozenset[int]:
        """All columns that it reads."""
        return frozenset(column for step in self.columns for column in step)


class Events(nn.Module):
    """`forward(x, farthest)`: `(n, n_columns)` to `(n, outputs)`. Subclasses encode values and masks of the steps."""

    shape: SequenceShape
    outputs: int

    def __init__(self, shape: SequenceShape) -> None:
        super().__init__()
        self.shape = shape
        self.channels = len(shape.columns[0])
        self.flat = [column for step in shape.columns for column in step]

    def forward(self, x: torch.Tensor, farthest: float) -> torch.Tensor:
        found = x[:, self.flat].reshape(len(x), -1, self.channels)
        known = ~torch.isnan(found)
        values = torch.nan_to_num(found).clamp(-farthest, farthest)
        # Whether there is a value goes beside it: an event may lack one.
        return self.encode(torch.cat([values, known.to(values.dtype)], dim=2), known.any(dim=2, keepdim=True))

    def encode(self, steps: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
        """`steps` `(n, n_steps, 2 * channels)`, `present` `(n, n_steps, 1)`, the oldest step first."""
        raise NotImplementedError

    def first_weights(self) -> torch.Tensor:
        """`(m, channels)` of the values into the first layer."""
        raise NotImplementedError


class Convolution(Events):
    """Two convolutions over three neighbouring steps; out of it the largest answer of all steps and the newest's."""

    def __init__(self, shape: SequenceShape) -> None:
        super().__init__(shape)
        self.first = nn.Linear(3 * 2 * self.channels, shape.width)
        self.second = nn.Linear(3 * shape.width, shape.width)
        self.outputs = 2 * shape.width

    def encode(self, steps: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
        for layer in (self.first, self.second):
            steps = torch.relu(layer(_neighbours(steps))) * present
        # Nothing is below 0 here, so that a masked step is never the largest.
        return torch.cat([steps.amax(dim=1), steps[:, -1]], dim=1)

    def first_weights(self) -> torch.Tensor:
        return self.first.weight.reshape(-1, 2 * self.channels)[:, : self.channels]


class Recurrence(Events):
    """An LSTM from the oldest event to the newest; out of it its last state."""

    def __init__(self, shape: SequenceShape) -> None:
        super().__init__(shape)
        self.cell = nn.LSTMCell(2 * self.channels, shape.width)
        self.outputs = shape.width

    def encode(self, steps: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
        state = memory = steps.new_zeros(len(steps), self.shape.width)
        for number in range(steps.shape[1]):
            after, remembered = self.cell(steps[:, number], (state, memory))
            here = present[:, number]
            state = torch.where(here, after.to(state.dtype), state)
            memory = torch.where(here, remembered.to(memory.dtype), memory)
        return state

    def first_weights(self) -> torch.Tensor:
        return self.cell.weight_ih[:, : self.channels]


def encoder_of(shape: SequenceShape) -> Events:
    return Convolution(shape) if shape.network == "cnn" else Recurrence(shape)


def _neighbours(steps: torch.Tensor) -> torch.Tensor:
    """`(n, n_steps, c)` to `(n, n_steps, 3 * c)`: the step before, the step, the step after; zeros beyond the ends."""
    around = nn.functional.pad(steps, (0, 0, 1, 1))
    return torch.cat([around[:, :-2], around[:, 1:-1], around[:, 2:]], dim=2)
