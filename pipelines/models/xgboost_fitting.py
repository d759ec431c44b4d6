"""Fits XGBoost: stops early on a later slice, then learns from all rows; goes on from checkpoints."""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import xgboost

from pipelines.errors import ModelError
from pipelines.failpoints import reach
from pipelines.models.allowed import INTEGER_PARAMETERS, default_objective
from pipelines.models.checkpoints import Checkpoints
from pipelines.models.device import booster_device, confirm, gpu_trouble, smaller_if_needed
from pipelines.models.model import Model
from pipelines.models.preparation import prepare
from pipelines.models.preprocess import Preprocess
from pipelines.models.recipe import Recipe, Rows
from pipelines.settings.families import XGBoost

# Rows per block of a matrix that is built on disk.
_BLOCK_ROWS = 262_144
_EVAL_METRIC = {"binary": "logloss", "multiclass": "mlogloss", "regression": "rmse", "quantile": "quantile"}
_WHERE = "'XGBoost'"


def fit_xgboost(recipe: Recipe, rows: Rows, validation: np.ndarray | None, checkpoints: Checkpoints | None) -> Model:
    """`validation`: mask of the latest rows, on which the number of rounds is found before all rows are learnt from."""
    rounds, stopped = _settings(recipe).rounds, None
    if validation is not None and _settings(recipe).early_stopping_rounds:
        search = checkpoints.at("search") if checkpoints else None
        stopped = fit_stopping_early(recipe, rows, validation, search).facts["rounds"]
        rounds = stopped
    preprocess, rows = prepare(recipe, rows)
    final = checkpoints.at("final") if checkpoints else None

    def boosted(is_small: bool) -> tuple[Any, int]:
        with _named_errors():
            return _boost(recipe, _matrix(recipe, preprocess, rows, is_small), None, rounds, final)

    booster, _ = smaller_if_needed(boosted, _WHERE)
    return _model(recipe, preprocess, booster, rounds, early_stopped=stopped is not None)


def fit_further(recipe: Recipe, rows: Rows, checkpoints: Checkpoints | None, parent: Model) -> Model:
    """Adds trees to the parent's, on what it makes of these rows: prepared as it prepares them.

    The parent's margins come from the values themselves. A quantised matrix of other rows has other bins than its
    trees, and boosting that goes on from a loaded booster takes the margins from the bins: on 12 % new rows four in
    ten were wrong, by up to the spread of all margins.
    """
    warm = recipe.training.warm_start
    if warm is None:
        raise TypeError("no warm start is wanted")
    rounds, first = warm.more("xgboost"), parent.estimator.num_boosted_rounds()
    place = checkpoints.at("further") if checkpoints else None

    def boosted(is_small: bool) -> tuple[Any, int]:
        with _named_errors():
            matrix = _matrix(recipe, parent.preprocess, rows, is_small, parent=parent.estimator)
            return _boost(recipe, matrix, None, rounds, place, first)

    more, _ = smaller_if_needed(boosted, _WHERE)
    model = _model(recipe, parent.preprocess, _joined(parent.estimator, more), first + rounds, early_stopped=False)
    return replace(model, facts={**model.facts, "rounds_of_parent": first})


def _joined(booster: Any, more: Any) -> Any:
    """The trees of both; `more` were boosted on the margins of `booster`, whose base score counts for both."""
    documents = [json.loads(one.save_raw("json")) for one in (booster, more)]
    trees, added = (document["learner"]["gradient_booster"]["model"] for document in documents)
    count = len(trees["trees"])
    trees["trees"] += [{**tree, "id": count + number} for number, tree in enumerate(added["trees"])]
    trees["tree_info"] += added["tree_info"]
    trees["iteration_indptr"] += [count + end for end in added["iteration_indptr"][1:]]
    trees["gbtree_model_param"]["num_trees"] = str(len(trees["trees"]))
    whole = xgboost.Booster()
    whole.load_model(bytearray(json.dumps(documents[0]).encode()))
    return whole


def fit_stopping_early(
    recipe: Recipe, rows: Rows, validation: np.ndarray, checkpoints: Checkpoints | None = None
) -> Model:
    """Fits on the earlier rows only, at most `rounds`, and keeps the rounds up to the best one."""
    early, late = rows.take(~validation), rows.take(validation)
    preprocess, early = prepare(recipe, early)

    def boosted(is_small: bool) -> tuple[Any, int]:
        with _named_errors():
            train = _matrix(recipe, preprocess, early, is_small)
            in_blocks = isinstance(train, xgboost.ExtMemQuantileDMatrix)  # both then lie where the blocks lie
            watched = _matrix(recipe, preprocess, late, in_blocks, reference=train)
            return _boost(recipe, train, watched, _settings(recipe).rounds, checkpoints)

    booster, best = smaller_if_needed(boosted, _WHERE)
    rounds = best if _settings(recipe).early_stopping_rounds else _settings(recipe).rounds
    return _model(recipe, preprocess, booster[:rounds], rounds, early_stopped=True)


def xgboost_parameters(recipe: Recipe) -> dict[str, Any]:
    parameters: dict[str, Any] = {
        "objective": default_objective(recipe.training.task),
        "eval_metric": _EVAL_METRIC[recipe.training.task],
        **{
            name: int(value) if name in INTEGER_PARAMETERS else value
            for name, value in _settings(recipe).parameters.items()
        },
        "tree_method": "hist",
        "device": recipe.device.kind,
        "nthread": recipe.threads,
        "seed": recipe.training.seed,
    }
    if recipe.training.quantile is not None:
        parameters["quantile_alpha"] = recipe.training.quantile
    if recipe.training.task == "multiclass":
        parameters["num_class"] = len(recipe.classes)
    return parameters


@dataclass
class _Progress:
    """`best_rounds`: those with the least loss so far; `ended`: early stopping has spoken."""

    rounds: int = 0
    best: float = math.inf
    best_rounds: int = 1
    ended: bool = False

    def is_done(self, rounds: int) -> bool:
        return self.ended or self.rounds >= rounds

    def judged(self, loss: float, patience: int | None) -> None:
        if loss < self.best:
            self.best, self.best_rounds = loss, self.rounds
        self.ended = patience is not None and self.rounds - self.best_rounds >= patience


def _boost(
    recipe: Recipe, train: Any, watched: Any, rounds: int, checkpoints: Checkpoints | None, first: int = 0
) -> tuple[Any, int]:
    """The booster after all its rounds, and the number of rounds with the least loss on `watched`.

    `first`: how many rounds another booster has gone before; their random numbers are not drawn again.

    XGBoost keeps the state of its random numbers nowhere (`seed_per_iteration` does not reach the samplers), so a
    new booster with a seed of its own begins after every checkpoint, whether or not anything was interrupted.
    """
    settings = _settings(recipe)
    progress, raw = _unpacked(checkpoints.latest() if checkpoints else None)
    matrices = [train] if watched is None else [train, watched]
    booster = _booster(recipe, matrices, first + progress.rounds, raw)
    while not progress.is_done(rounds):
        before, stop = progress.rounds, min(progress.rounds + settings.checkpoint_rounds, rounds)
        while progress.rounds < stop and not progress.ended:
            booster.update(train, progress.rounds)
            progress.rounds += 1
            if watched is not None:
                loss = _loss(booster, watched, progress.rounds)
                progress.judged(loss, settings.early_stopping_rounds)
                if recipe.look:
                    recipe.look(progress.rounds, loss)
            if progress.rounds == 2:
                reach("train.round_n")
        confirm(recipe.device, booster_device(booster), _WHERE)
        raw = bytes(booster.save_raw("ubj"))
        _save(checkpoints, progress, raw, is_best=watched is not None and progress.best_rounds > before)
        if not progress.is_done(rounds):
            booster = _booster(recipe, matrices, first + progress.rounds, raw)
    return booster, progress.best_rounds


def _booster(recipe: Recipe, matrices: list[Any], rounds: int, raw: bytes) -> Any:
    booster = xgboost.Booster({**xgboost_parameters(recipe), "seed": recipe.training.seed + rounds}, matrices)
    if raw:
        booster.load_model(bytearray(raw))
    return booster


def _loss(booster: Any, watched: Any, rounds: int) -> float:
    return float(booster.eval_set([(watched, "validation")], rounds).rpartition(":")[2])


def _save(checkpoints: Checkpoints | None, progress: _Progress, raw: bytes, is_best: bool) -> None:
    if checkpoints is not None:
        checkpoints.save(progress.rounds, json.dumps(asdict(progress)).encode() + b"\n" + raw, is_best)
        reach("train.after_checkpoint")


def _unpacked(content: bytes | None) -> tuple[_Progress, bytes]:
    if content is None:
        return _Progress(), b""
    head, _, raw = content.partition(b"\n")
    return _Progress(**json.loads(head)), raw


def _matrix(
    recipe: Recipe, preprocess: Preprocess, rows: Rows, is_small: bool, reference: Any = None, parent: Any = None
) -> Any:
    """The quantised matrix: in memory, or on disk, built block by block (the values are the same).

    On disk are those above `max_rows_in_memory`, and all when memory was short before. With the booster `parent`
    rows begin with its margins.
    """
    bins = recipe.training.model.parameters.get("max_bin") if isinstance(recipe.training.model, XGBoost) else None
    options = {"enable_categorical": True, "max_bin": None if bins is None else int(bins), "ref": reference}
    if is_small or recipe.is_small or len(rows) > recipe.training.max_rows_in_memory:
        blocks = _blocks(preprocess, rows, parent, on_gpu=recipe.device.kind == "cuda")
        matrix = xgboost.ExtMemQuantileDMatrix(blocks, **options)
        # The cache folder must live as long as the matrix, which does not hold its iterator.
        matrix.blocks = blocks  # type: ignore[attr-defined]
        return matrix
    values = preprocess.transform(rows.table, np.float32)
    return xgboost.QuantileDMatrix(
        values,
        label=rows.target,
        weight=rows.weight,
        base_margin=_margins(parent, values),
        feature_types=preprocess.output_types,
        **options,
    )


def _margins(parent: Any, values: np.ndarray) -> np.ndarray | None:
    """`(n,)` or `(n, k)`; None without a parent."""
    return None if parent is None else parent.inplace_predict(values, predict_type="margin")


def _blocks(preprocess: Preprocess, rows: Rows, parent: Any, on_gpu: bool) -> Any:
    """XGBoost's iterator over blocks of rows; its cache lies in a temporary folder that goes with the iterator."""

    class Blocks(xgboost.DataIter):
        def __init__(self) -> None:
            self.folder = tempfile.TemporaryDirectory(prefix="nightshift-xgboost-")
            self.start = 0
            # On a GPU the cache lies in the host's memory; on disk it would be read again in every round.
            super().__init__(cache_prefix=os.path.join(self.folder.name, "rows"), on_host=on_gpu)

        def next(self, input_data: Any) -> bool:
            if self.start >= len(rows):
                return False
            block = slice(self.start, self.start + _BLOCK_ROWS)
            values = preprocess.transform(rows.table.slice(self.start, _BLOCK_ROWS), np.float32)
            input_data(
                data=_on_gpu(values) if on_gpu else values,
                label=rows.target[block],
                weight=None if rows.weight is None else rows.weight[block],
                base_margin=_margins(parent, values),
                feature_types=preprocess.output_types,
            )
            self.start += _BLOCK_ROWS
            return True

        def reset(self) -> None:
            self.start = 0

    return Blocks()


def _on_gpu(values: np.ndarray) -> Any:
    """XGBoost trains on the GPU from blocks only if they lie there; PyTorch brings them, as the GPU image has it."""
    import torch

    if not torch.cuda.is_available():
        raise ModelError(
            "E-GPU-MISSING",
            _WHERE,
            "training on a GPU from more rows than its memory takes needs 'torch' with CUDA beside 'xgboost'",
            "Install it, or raise training.max_rows_in_memory.",
        )
    block = torch.from_numpy(values).to("cuda")
    torch.cuda.synchronize()
    return block


def _model(recipe: Recipe, preprocess: Preprocess, booster: Any, rounds: int, early_stopped: bool) -> Model:
    facts = {
        "rounds": int(rounds),
        "early_stopped": early_stopped,
        "seed": recipe.training.seed,
        "parameters": dict(sorted(_settings(recipe).parameters.items())),
        "device": recipe.device.kind,
        "libraries": {"xgboost": xgboost.__version__},
    }
    booster.feature_names = None
    return Model(
        "xgboost", "XGBoost", recipe.training.task, dict(recipe.types), recipe.classes, preprocess, booster, facts
    )


@contextmanager
def _named_errors() -> Iterator[None]:
    """What XGBoost refuses (a parameter out of range, a label that its objective cannot have) is final."""
    try:
        yield
    except xgboost.core.XGBoostError as error:
        if trouble := gpu_trouble(str(error), _WHERE):
            raise trouble from error
        # The first line says it; behind it come a stack trace and before it the time and a place in C++.
        said = str(error).strip().splitlines()[0].rpartition("Check failed: ")[2]
        raise ModelError("E-TRAIN-FIT", _WHERE, said[:400]) from error


def _settings(recipe: Recipe) -> XGBoost:
    model = recipe.training.model
    if not isinstance(model, XGBoost):
        raise TypeError("not an XGBoost model")
    return model
