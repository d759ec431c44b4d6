"""What a model is asked for: the tasks, and what some of them have in common."""

from __future__ import annotations

from typing import Literal

Task = Literal["binary", "multiclass", "regression", "quantile", "anomaly", "segments"]
# Tasks whose score is in units of the label, and tasks whose label is 0 or 1.
VALUE_TASKS: frozenset[str] = frozenset({"regression", "quantile"})
TWO_VALUED_TASKS: frozenset[str] = frozenset({"binary", "anomaly"})
# Tasks whose scores are probabilities.
CLASS_TASKS: frozenset[str] = frozenset({"binary", "multiclass"})
# Tasks with one score per class, and tasks that need no label.
WIDE_TASKS: frozenset[str] = frozenset({"multiclass", "segments"})
UNLABELLED_TASKS: frozenset[str] = frozenset({"anomaly", "segments"})
