"""Late fusion: members that each see one kind of columns, joined so that a row may lack some of these kinds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipelines.models.committee import Committee, meta_inputs, meta_scores_of
from pipelines.models.prepared_column import missing_values


@dataclass(frozen=True)
class Fused(Committee):
    """`meta` sees what the members say, and for each member whether it says nothing; `neutral` `(n_inputs,)` stands for
    what a silent member would have said: the mean of what it says of the training rows."""

    neutral: tuple[float, ...] = ()

    def scores(self, table: pa.Table, task: str) -> np.ndarray:
        """As `Model.predict`. A row that no member can score is refused; one that some can is not."""
        found = [scores_where_present(member.types, member.predict, table) for member in self.members.values()]
        result = meta_scores_of(self.meta, fused_inputs(found, task, self.neutral), found[0], task)
        result[np.all([is_silent(one) for one in found], axis=0)] = np.nan
        return result

    def importance(self) -> dict[str, float]:
        """Share of each feature: its share in the members that see it, by their weights."""
        shares = [member.importance() for member in self.members.values()]
        totals = {name: 0.0 for share in shares for name in share}
        for weight, share in zip(self.weights, shares, strict=True):
            for name, value in share.items():
                totals[name] += weight * value
        return totals


def present(table: pa.Table, types: Mapping[str, str]) -> np.ndarray:
    """`(n_rows,)` True where at least one of these features has a value."""
    missing = [missing_values(table.column(name), kind) for name, kind in types.items()]
    return np.asarray(~np.all(missing, axis=0))


def scores_where_present(
    types: Mapping[str, str], predict: Callable[[pa.Table], np.ndarray], table: pa.Table
) -> np.ndarray:
    """`(n,)` or `(n, k)` scores of the rows that have any of the member's features; NaN in the others."""
    here = present(table, types)
    own = predict(table.filter(pa.array(here)))
    result = np.full((table.num_rows, *own.shape[1:]), np.nan)
    result[here] = own
    return result


def is_silent(scores: np.ndarray) -> np.ndarray:
    """`(n,)` True where there is no score."""
    return ~np.isfinite(scores).reshape(len(scores), -1).all(axis=1)


def fused_inputs(scores: list[np.ndarray], task: str, neutral: tuple[float, ...]) -> np.ndarray:
    """`(n_rows, n_inputs + n_members)`: the scores as `meta_inputs` has them, then 1 where a member is silent."""
    said = meta_inputs(scores, task)
    filled = np.where(np.isnan(said), np.asarray(neutral), said)
    return np.column_stack([filled, *(is_silent(one).astype(float) for one in scores)])


def neutral_of(scores: list[np.ndarray], task: str) -> tuple[float, ...]:
    """The mean of each of `meta_inputs` over the rows in which its member says something; 0 without any."""
    said = meta_inputs(scores, task)
    return tuple(float(column[~np.isnan(column)].mean()) if (~np.isnan(column)).any() else 0.0 for column in said.T)
