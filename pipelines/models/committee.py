"""The fitted members of an ensemble and how their scores become one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from pipelines.settings.tasks import VALUE_TASKS

if TYPE_CHECKING:
    from pipelines.models.model import Model

_SMALLEST_PROBABILITY = 1e-6


@dataclass(frozen=True)
class Committee:
    """`weights` sum to 1, in the order of the members; with `meta`, a fitted scikit-learn model, they are not used."""

    members: dict[str, Model]
    weights: tuple[float, ...]
    meta: Any = None

    def scores(self, table: pa.Table, task: str) -> np.ndarray:
        """As `Model.predict`; a row that a member refuses is refused by all."""
        found = [member.predict(table) for member in self.members.values()]
        if self.meta is None:
            return weighted_mean(found, self.weights)
        return meta_scores(self.meta, found, task)

    def importance(self) -> dict[str, float]:
        """Share of each feature: the mean of the members', by their weights."""
        shares = [member.importance() for member in self.members.values()]
        return {
            name: sum(weight * share[name] for weight, share in zip(self.weights, shares, strict=True))
            for name in shares[0]
        }

    def to_files(self) -> dict[str, bytes]:
        return {
            f"{_prefix(number)}{name}": content
            for number, member in enumerate(self.members.values())
            for name, content in member.to_files().items()
        }


def files_of(files: Mapping[str, bytes], number: int) -> dict[str, bytes]:
    """The files of one member, as they would lie without the others."""
    prefix = _prefix(number)
    return {name.removeprefix(prefix): content for name, content in files.items() if name.startswith(prefix)}


def weighted_mean(scores: list[np.ndarray], weights: tuple[float, ...]) -> np.ndarray:
    """Of probabilities they are probabilities again."""
    return np.einsum("m...,m->...", np.stack(scores), np.asarray(weights))


def meta_scores(meta: Any, scores: list[np.ndarray], task: str) -> np.ndarray:
    """What the second level makes of the members' scores; NaN where one of them is NaN."""
    inputs = meta_inputs(scores, task)
    refused = np.isnan(inputs).any(axis=1)
    result = meta_scores_of(meta, np.nan_to_num(inputs), scores[0], task)
    result[refused] = np.nan
    return result


def meta_scores_of(meta: Any, inputs: np.ndarray, like: np.ndarray, task: str) -> np.ndarray:
    """Of `inputs` without gaps; in the form of the scores `like`."""
    if not len(inputs):
        return np.empty(like.shape)
    if task in VALUE_TASKS:
        result = np.asarray(meta.predict(inputs), dtype=np.float64)
    else:
        shape = (len(inputs), like.shape[1] if like.ndim == 2 else 2)
        result = np.zeros(shape)
        result[:, np.asarray(meta.classes_, dtype=int)] = meta.predict_proba(inputs)
        result = result[:, 1] if task == "binary" else result
    return result


def meta_inputs(scores: list[np.ndarray], task: str) -> np.ndarray:
    """`(n_rows, n_members)` values or log-odds; for several classes `(n_rows, n_members * k)` log probabilities."""
    if task in VALUE_TASKS:
        return np.column_stack(scores)
    clipped = [np.clip(one, _SMALLEST_PROBABILITY, 1 - _SMALLEST_PROBABILITY) for one in scores]
    if task == "binary":
        return np.column_stack([np.log(one / (1 - one)) for one in clipped])
    return np.column_stack([np.log(one) for one in clipped])


def _prefix(number: int) -> str:
    return f"member_{number:03d}."
