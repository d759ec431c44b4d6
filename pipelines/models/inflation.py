"""How far each prepared column can be told from the others: variance inflation factors."""

from __future__ import annotations

from typing import Any

import numpy as np

MOST_COLUMNS = 200
MOST_ROWS = 10_000
_NONE_LEFT = 1e-10


def inflation(matrix: np.ndarray, names: list[str]) -> dict[str, Any]:
    """`rows`: column and `vif`, the largest first; None is infinite, for a sum of other columns.

    1 / (1 - R²) of the column's regression on the others, from the inverse of the correlations (Marquardt 1970);
    above 10 a linear model's weights stand on little. The first `MOST_COLUMNS` columns that vary; gaps count as means.
    """
    means = np.nan_to_num(np.nanmean(matrix, axis=0)) if len(matrix) else np.zeros(len(names))
    filled = np.where(np.isnan(matrix), means, matrix)
    varies = np.flatnonzero(filled.std(axis=0) > _NONE_LEFT)
    chosen = varies[:MOST_COLUMNS]
    columns = filled[:, chosen]
    standard = (columns - columns.mean(axis=0)) / columns.std(axis=0)
    values, vectors = np.linalg.eigh(standard.T @ standard / max(1, len(standard)))
    singular = values <= _NONE_LEFT * len(chosen)
    factors = (vectors**2 / np.where(singular, np.inf, values)).sum(axis=1)
    is_sum = (vectors[:, singular] ** 2).sum(axis=1) > 1e-6
    rows = [
        {"column": names[place], "vif": None if endless else float(f"{factor:.4g}")}
        for place, factor, endless in zip(chosen.tolist(), factors.tolist(), is_sum.tolist(), strict=True)
    ]
    rows.sort(key=lambda row: (-(np.inf if row["vif"] is None else row["vif"]), row["column"]))
    return {"rows": rows, "constant": len(names) - len(varies), "left_out": len(varies) - len(chosen)}
