"""A network's target and its loss. A target that is a value is learnt in deviations from its mean.

Mean and deviation are those of the training rows. They lie among the weights: a loaded model and one that goes on from
a parent have them, and scores are values again wherever the network answers.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from pipelines.models.torch_network import Network
from pipelines.models.torch_plan import Arrays, Plan
from pipelines.settings.tasks import VALUE_TASKS

_ROUNDING = 1e-12  # of the mean: a constant's deviation is not always 0 in floating point


def target_scale(plan: Plan, rows: Arrays) -> tuple[float, float]:
    """Weighted mean and deviation of a target that is a value; a constant keeps scale 1."""
    if plan.task not in VALUE_TASKS:
        return 0.0, 1.0
    center = float(np.average(rows.y, weights=rows.weight))
    deviation = float(np.sqrt(np.average((rows.y - center) ** 2, weights=rows.weight)))
    return center, deviation if deviation > _ROUNDING * abs(center) else 1.0


def target_of(plan: Plan, y: np.ndarray, network: Network) -> torch.Tensor:
    if plan.task == "multiclass":
        return torch.from_numpy(y.astype(np.int64))
    if plan.task in VALUE_TASKS:
        y = (y - float(network.center)) / float(network.scale)
    return torch.from_numpy(y.astype(np.float32))


def losses_of_rows(plan: Plan, raw: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """`(n,)` loss of each row: log loss, or the squared error or pinball loss of the standardised target."""
    task = plan.task
    if plan.quantile is not None:
        above = y - raw[:, 0]
        return torch.maximum(plan.quantile * above, (plan.quantile - 1) * above)
    if task == "anomaly":
        return ((raw - y) ** 2).mean(dim=1)
    if task == "multiclass":
        return nn.functional.cross_entropy(raw, y, reduction="none")
    if task == "binary":
        return nn.functional.binary_cross_entropy_with_logits(raw[:, 0], y, reduction="none")
    return (raw[:, 0] - y) ** 2


def mean_loss(plan: Plan, network: Network, rows: Arrays) -> float:
    """Weighted mean loss of the rows, in float64 from the scores that the model would give."""
    scores = network.scores(rows.x, plan.task)
    if plan.task == "anomaly":
        each = scores
    elif plan.quantile is not None:
        each = np.maximum(plan.quantile * (rows.y - scores), (plan.quantile - 1) * (rows.y - scores))
    elif plan.task == "regression":
        each = (scores - rows.y) ** 2
    else:
        own = (
            scores[np.arange(len(scores)), rows.y.astype(int)]
            if plan.task == "multiclass"
            else (np.where(rows.y > 0.5, scores, 1 - scores))
        )
        each = -np.log(np.clip(own, 1e-15, None))
    weight = np.ones(len(each)) if rows.weight is None else rows.weight
    return float((each * weight).sum() / max(weight.sum(), 1e-12))
