"""Holdouts on which the truth is known: two models whose scores follow the label equally well, or one better.

Scores are drawn, not trained: the models share most of their errors (correlation 0.9), as the models of two nights do.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

CHAMPION_AUC = 0.80
CORRELATION = 0.9
ROWS_PER_GROUP = 10
_OF_GROUP = 0.5  # share of the errors' variance that all rows of a group have in common
_HEAVY = 4.0  # degrees of freedom of the labels' noise in a regression


@dataclass(frozen=True)
class Setting:
    """What the holdouts of one line of the table are like."""

    name: str
    metric: str = "roc_auc"
    positive_share: float = 0.1
    is_grouped: bool = False


@dataclass(frozen=True)
class Night:
    labels: np.ndarray
    challenger: np.ndarray
    champion: np.ndarray
    groups: np.ndarray | None = None


def separation(auc: float) -> float:
    """Distance of the means of two unit normals whose ROC AUC is `auc`."""
    return math.sqrt(2) * NormalDist().inv_cdf(auc)


def night(random: np.random.Generator, setting: Setting, rows: int, gain: float = 0.0) -> Night:
    """One holdout; `gain` is the challenger's true lead in ROC AUC."""
    if setting.metric == "rmse":
        return _numbers(random, rows)
    groups = random.permutation(np.arange(rows) // ROWS_PER_GROUP) if setting.is_grouped else None
    chances = random.random(rows)
    labels = ((chances if groups is None else chances[groups]) < setting.positive_share).astype(float)
    challenger, champion = errors(random, rows, groups)
    return Night(
        labels,
        separation(CHAMPION_AUC + gain) * labels + challenger,
        separation(CHAMPION_AUC) * labels + champion,
        groups,
    )


def errors(random: np.random.Generator, rows: int, groups: np.ndarray | None = None) -> np.ndarray:
    """`(2, rows)` of both models, of unit variance and correlated."""
    drawn = random.standard_normal((3, rows))
    if groups is not None:
        common = random.standard_normal((3, rows))[:, groups]
        drawn = math.sqrt(_OF_GROUP) * common + math.sqrt(1 - _OF_GROUP) * drawn
    shared, *own = drawn
    return np.stack([math.sqrt(CORRELATION) * shared + math.sqrt(1 - CORRELATION) * one for one in own])


def _numbers(random: np.random.Generator, rows: int) -> Night:
    truth = random.standard_normal(rows)
    labels = truth + random.standard_t(_HEAVY, rows)
    challenger, champion = truth + 0.5 * errors(random, rows)
    return Night(labels, challenger, champion)
