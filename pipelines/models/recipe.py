"""What a training is made from: the rows, and everything else that determines the model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.models.device import CPU, Device
from pipelines.models.prepared_column import missing_values
from pipelines.settings.families import Ensemble, Model, TorchMLP, XGBoost
from pipelines.settings.missing import Drop
from pipelines.settings.training import Training


@dataclass(frozen=True)
class Rows:
    """Features with their targets: 0/1, class numbers or values; `weight` is None for equal weights."""

    table: pa.Table
    target: np.ndarray
    weight: np.ndarray | None = None

    def take(self, chosen: np.ndarray) -> Rows:
        """`chosen`: a boolean mask `(n_rows,)`."""
        weight = None if self.weight is None else self.weight[chosen]
        return Rows(self.table.filter(pa.array(chosen)), self.target[chosen], weight)

    def __len__(self) -> int:
        return self.table.num_rows


@dataclass(frozen=True)
class Recipe:
    """Everything but the rows that determines a model. `is_small`: memory was short, the same with less of it.

    `look` is told the loss on the validation rows after each round or epoch, and ends the fit by raising (tuning).
    """

    training: Training
    types: Mapping[str, str]
    classes: list[str]
    threads: int
    device: Device = CPU
    is_small: bool = False
    look: Callable[[int, float], None] | None = None

    def with_parameters(self, chosen: Mapping[str, Any]) -> Recipe:
        """The recipe with tuned parameters."""
        model = self.training.model
        if not chosen:
            return self
        return replace(self, training=self.training.model_copy(update={"model": _tuned(model, chosen)}))


def _tuned(model: Model, chosen: Mapping[str, Any]) -> Model:
    """The model with these parameters; those of an ensemble are called `member.parameter`."""
    if isinstance(model, Ensemble):
        own = {
            member: {name.partition(".")[2]: value for name, value in chosen.items() if name.startswith(f"{member}.")}
            for member in model.members
        }
        members = {name: _tuned(member, own[name]) for name, member in model.members.items()}
        return model.model_copy(update={"members": members})
    if isinstance(model, TorchMLP):
        return model.model_copy(update=dict(chosen))
    given = dict(chosen)
    # 'rounds' belongs to the model itself, the others are the library's.
    rounds = {"rounds": int(given.pop("rounds"))} if isinstance(model, XGBoost) and "rounds" in given else {}
    return model.model_copy(update={"parameters": {**model.parameters, **given}, **rounds})


def lacking(recipe: Recipe, table: pa.Table) -> np.ndarray:
    """`(n_rows,)` True where a feature of strategy 'drop' is missing."""
    found = np.zeros(table.num_rows, dtype=bool)
    for name, kind in recipe.types.items():
        if isinstance(recipe.training.missing.get(name) or recipe.training.missing.get("default"), Drop):
            found |= missing_values(table.column(name), kind)
    return found
