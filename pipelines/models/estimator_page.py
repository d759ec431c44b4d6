"""`docs/models.md`: the families of models and, of scikit-learn, every allowed estimator with its defaults."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

from pipelines.models.estimator_parameters import defaults_of
from pipelines.models.estimators import ESTIMATORS, Estimator
from pipelines.models.sklearn_fitting import build_estimator
from pipelines.settings.training import Training

_HEAD = """# Models

`training.model` names one family; its keys are in [configuration.md](configuration.md). Every model carries its own
preparation of the features, is stored without pickle and scores the same after it was loaded.
This page is made by `nightshift schema --models`.

| family | what it is | tasks | missing values |
|---|---|---|---|
| `xgboost` | gradient boosted trees (XGBoost) | binary, multiclass, regression, quantile | may stay |
| `torch` | multilayer perceptron (PyTorch); of anomalies an autoencoder | all | must be filled |
| `sklearn` | an estimator of the list below | see there | see there |
| `ensemble` | several models: `voting`, `weighted`, `stacking`, `bagging` | all; see below | as its members |

Task `quantile` needs `training.quantile`; the gate compares the pinball loss, and holds a model whose share of labels
up to the score is further from the quantile than `gate.max_calibration_error`.

Task `anomaly` learns from the training rows whose label is 0 and scores how strange a row is: 0.5 is the median
training row, 2/3 one twice as strange, 1 infinitely so. The labels judge it on the holdout: by average precision
(`pr_auc`), against a constant and against the plain distance from the mean.

An ensemble's members may be of different families; each prepares the features as it needs them. `weighted` (selection
with replacement, Caruana et al. 2004) and `stacking` (logistic regression on log-odds, or non-negative least squares)
learn from out-of-fold scores of the training rows: each row is scored by a fit that has not seen its fold, which is a
block of time, or whole groups where `training.group` is set. `stacking` does classes and regression, `weighted`
quantiles as well, `voting` (the mean of the scores) and `bagging` every task.

## Estimators of scikit-learn

Numbers are standardised where distances or weights of features need it ("scaled"); categories become 0/1 columns.
"weights": `training.weight` can be used. `random_state` is `training.seed`, `n_jobs` is `resources.train.cpus`; what is
fixed cannot be set. SVC and LinearSVC only rank: their probabilities are a sigmoid of the decision, learnt on five
folds of the training rows. LogisticRegression has an L2 penalty; `l1_ratio: 1` with `solver: saga` makes it L1, a
ratio between makes it an elastic net. `nightshift check --deep` asks scikit-learn whether it takes the parameters.
"""


def models_page() -> str:
    kinds = dict.fromkeys(one.kind for one in ESTIMATORS.values())
    return "\n".join([_HEAD, *(part for kind in kinds for part in _section(kind))]).rstrip() + "\n"


def _section(kind: str) -> Iterator[str]:
    yield f"### {kind[0].upper()}{kind[1:]}\n"
    yield "| estimator | tasks | | parameters and their defaults |"
    yield "|---|---|---|---|"
    for name, own in ESTIMATORS.items():
        if own.kind == kind:
            yield f"| `{name}` | {', '.join(own.tasks)} | {', '.join(_traits(name, own))} | {_parameters(name, own)} |"
    yield ""


def _traits(name: str, own: Estimator) -> Iterator[str]:
    if own.scaled:
        yield "scaled"
    if own.takes_missing:
        yield "takes missing values"
    unfitted = build_estimator(_training(name, own), threads=1)
    if "sample_weight" in inspect.signature(unfitted.fit).parameters:
        yield "weights"


def _training(name: str, own: Estimator) -> Training:
    task = own.tasks[0]
    settings: dict[str, Any] = {"task": task, "model": {"family": "sklearn", "estimator": name}}
    return Training.model_validate(settings | ({"quantile": 0.5} if task == "quantile" else {}))


def _parameters(name: str, own: Estimator) -> str:
    told = [f"`{parameter}` {_shown(value)}" for parameter, value in defaults_of(name).items()]
    return ", ".join([*told, *(f"`{parameter}` fixed to {_shown(value)}" for parameter, value in own.fixed.items())])


def _shown(value: Any) -> str:
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
