"""How strange a row is to a model that knows normal rows, as a score from 0 to 1."""

from __future__ import annotations

from typing import Any

import numpy as np


def strangeness(detector: Any, matrix: np.ndarray) -> np.ndarray:
    """`(n_rows,)` from 0 up, larger for stranger rows, in the unit of the fitted scikit-learn detector.

    A distance from the nearest centre (KMeans), a squared Mahalanobis distance (EllipticEnvelope), the local outlier
    factor, or the score of an isolation forest.
    """
    if hasattr(detector, "cluster_centers_"):
        return np.asarray(detector.transform(matrix).min(axis=1), dtype=np.float64)
    if hasattr(detector, "mahalanobis"):
        return np.asarray(detector.mahalanobis(matrix), dtype=np.float64)
    return np.asarray(-detector.score_samples(matrix), dtype=np.float64)


def anomaly_score(strange: np.ndarray, typical: float) -> np.ndarray:
    """`(n_rows,)` in [0, 1], in the same order: 0.5 is the median training row, 2/3 one twice as strange."""
    return strange / (strange + max(typical, np.finfo(np.float64).tiny))
