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
| `torch` | multilayer perceptron (PyTorch); of anomalies an autoencoder | all but segments | must be filled |
| `torch_sequence` | CNN or LSTM over an entity's last events, then as `torch` | binary, multiclass, regression, \
quantile | lags are masked, others must be filled |
| `torch_image` | convolutions over an image, then as `torch` ([images.md](images.md)) | binary, multiclass, \
regression, quantile | an image may be missing, others must be filled |
| `sklearn` | an estimator of the list below | see there | see there |
| `ensemble` | several models: `voting`, `weighted`, `stacking`, `bagging`, `fusion` | all but segments; \
see below | as its members |

Task `quantile` needs `training.quantile`; the gate compares the pinball loss, and holds a model whose share of labels
up to the score is further from the quantile than `gate.max_calibration_error`.

Task `anomaly` learns from the training rows whose label is 0 and scores how strange a row is: 0.5 is the median
training row, 2/3 one twice as strange, 1 infinitely so. The labels judge it on the holdout: by average precision
(`pr_auc`), against a constant and against the plain distance from the mean. It needs no labels: see below.

An ensemble's members may be of different families; each prepares the features as it needs them. `weighted` (selection
with replacement, Caruana et al. 2004) and `stacking` (logistic regression on log-odds, or non-negative least squares)
learn from out-of-fold scores of the training rows: each row is scored by a fit that has not seen its fold, which is a
block of time, or whole groups where `training.group` is set. `stacking` does classes and regression, `weighted`
quantiles as well, `voting` (the mean of the scores) and `bagging` every other task, too. `fusion` is stacking of
members that each see other columns, so that a row may lack some of them ([images.md](images.md)).

## An entity's last events

A feature of kind `lag` gives each row the last events of its entity, one by one, strictly before the row and within
`features.lookback`: `amount_eur_lag_1` (the newest) to `amount_eur_lag_8`, and `seconds_lag_1` ... for how long ago
they were. A row's own values stand beside them as ordinary features. Any family can use these columns;
`torch_sequence` reads them as a sequence:

```yaml
features:
  lookback: 30d
  columns: [amount_eur, country]
  groups:
    - {name: recent, owner: risk, entity: [card_id], features: [{kind: lag, columns: [amount_eur], steps: 8}]}
training:
  task: binary
  model: {family: torch_sequence, network: lstm, channels: 32}
  missing: {default: {strategy: median}}
```

`cnn` is two convolutions over three neighbouring events, of which the largest answer and the newest event's go on;
`lstm` reads from the oldest event to the newest. A step without an event leaves no trace, so that an entity with two
events is scored as one with two, not as one with six zeros; `training.missing` does not concern the lags. All numbers
named `<column>_lag_<step>` are taken, those of a feature function, too; every column must have the same steps.
Training, checkpoints, early stopping, devices, warm start and files are those of `torch`. Measured once past
the steps, on the latest 5,000 rows of elec2 with 8 lags of price and demand: ROC AUC 0.906 for `cnn` and 0.896 for
`lstm`, 0.905 for `torch` on the same columns, 0.893 for a logistic regression; 14 s of one busy core each against 5 s
for `torch`. Through the chain: [families.md](families.md). Where the order of events says nothing, a sequence costs
time and gains nothing.

## Without labels

Tasks `segments` and `anomaly` do without `label`: every accepted row counts at once, also today's. Without labels
nobody can measure quality, and nothing here pretends to. What the gate checks instead:

| | `segments` | `anomaly` |
|---|---|---|
| degenerate | no segment holds more than 95 % of the holdout | at most half of the rows have one and the same score |
| on its own | the mean silhouette reaches `gate.floor` (0.1) | at most `gate.max_flagged_share` (5 %) of the holdout \
lie above the score that `gate.flagged_share` (1 %) of the training rows exceed |
| against the champion | the mean silhouette is better by more than `gate.margin`, beyond doubt | - |
| agreement | adjusted Rand index with the champion's segments on the same rows | how far above the others the \
champion ranks what the challenger finds strangest (Somers' D) |

An agreement below `gate.min_agreement` (0.5; 1: alike, 0: as by chance) is a HOLD: scores or segments would change
their meaning over night, and somebody should look first. A first model needs no agreement. A detector that agrees is
promoted as the fresher one; segments must be better, unless `gate.margin` is below 0. A silhouette tells how far
segments are apart, not whether they exist: k-means cuts even noise into four pieces with a silhouette of 0.41 in two
columns, 0.14 in five and 0.07 in ten.

```yaml
training:
  task: segments
  model: {family: sklearn, estimator: KMeans, parameters: {n_clusters: 4}}
  missing: {default: {strategy: median}}
gate: {margin: -0.02}
```

Released rows have `predicted_label` (`segment_1`, the largest at first, and so on), `score`, how much the row belongs
to it, and `score_segment_<n>` for every segment: the shares of 1 / distance² to the centres. A segment keeps its
number over retrainings: it is that of the champion's segment with which it shares most rows (Hungarian assignment;
the champion is pinned with the training rows, and a replay takes the same one). A new segment gets a number that none
ever had.

Detectors learn from all rows, strange ones included, and some take to them: k-means with many centres gives a group
of anomalies a centre of its own, and an autoencoder with a wide code repeats everything. Monitor watches features and
scores, and tells no quality; `training.tuning`, `training.metric` and `gate.slices` need labels.

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
