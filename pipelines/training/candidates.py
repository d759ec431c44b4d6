"""What the gate judges: each model's scores on one holdout, with what else is known of the holdout's rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from pipelines.training.unlabelled import Measured

CHALLENGER, CHAMPION, CONSTANT, LINEAR = "challenger", "champion", "constant", "linear"


@dataclass(frozen=True)
class Candidate:
    """One model on the holdout. `scores` is `(n,)` or `(n, k)`; None with a `problem` when it could not score."""

    name: str
    scores: np.ndarray | None
    version: int | None = None
    problem: str | None = None
    seconds_per_1000_rows: float | None = None
    megabytes: float | None = None
    holdout_digest: str = ""
    coverage: tuple[float, float] | None = None  # of its intervals: promised and realised


@dataclass(frozen=True)
class Evaluation:
    """Everything the gate looks at. Arrays are aligned with the holdout's rows; `groups` are integer codes.

    `sensitive`: the columns whose values must be treated alike. `champion_age_days`: from the moment that its training
    set was taken to the one of the challenger's; None without a champion.
    """

    task: str
    metric: str
    labels: np.ndarray
    candidates: Mapping[str, Candidate]
    holdout_digest: str
    partitions: list[str]
    groups: np.ndarray | None = None
    slices: Mapping[str, np.ndarray] = field(default_factory=dict)
    champion_overlap: float = 0.0
    quantile: float | None = None
    is_labelled: bool = True
    unlabelled: Mapping[str, Measured] = field(default_factory=dict)
    sensitive: Mapping[str, np.ndarray] = field(default_factory=dict)
    champion_age_days: float | None = None

    def is_usable(self, candidate: Candidate) -> bool:
        """Whether it has a finite score for every row of a holdout that is not empty."""
        scores = candidate.scores
        return scores is not None and len(scores) == len(self.labels) > 0 and bool(np.isfinite(scores).all())
