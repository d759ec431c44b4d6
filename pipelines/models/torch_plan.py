"""What determines a network's weights besides the arrays, the arrays themselves, and what comes of them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from pipelines.models.torch_network import Network, Shape


@dataclass(frozen=True)
class Plan:
    """Everything but the arrays that determines the weights. `is_small`: less GPU memory, the same arithmetic.

    `first_epoch`: how many a parent had before; their random numbers are not drawn again.
    """

    shape: Shape
    task: str
    seed: int
    epochs: int
    patience: int | None
    batch_rows: int
    learning_rate: float
    weight_decay: float
    precision: str
    deterministic: bool
    device: str
    threads: int
    checkpoint_epochs: int
    is_small: bool = False
    quantile: float | None = None
    first_epoch: int = 0

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "shape": self.shape.to_dict()}

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> Plan:
        return cls(**{**saved, "shape": Shape.from_dict(saved["shape"])})


@dataclass(frozen=True)
class Arrays:
    """`x` `(n, n_columns)` float32; `y` `(n,)` float64: 0/1, class numbers or values; `weight` None or `(n,)`."""

    x: np.ndarray
    y: np.ndarray
    weight: np.ndarray | None = None


@dataclass(frozen=True)
class Trained:
    """`epochs`: those that the network learnt from; `device`: the one its parameters lay on."""

    network: Network
    epochs: int
    device: str
