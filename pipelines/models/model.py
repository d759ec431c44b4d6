"""A trained model: `predict(table)`, and native files for `save` and `load`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.errors import ModelError
from pipelines.models.anomalies import anomaly_score, strangeness
from pipelines.models.artifact import artifact_sha256, read_artifact, write_artifact
from pipelines.models.calibration import Calibrator
from pipelines.models.committee import Committee, files_of
from pipelines.models.device import CPU, Device, booster_device, confirm, for_family, gpu_trouble, smaller_if_needed
from pipelines.models.estimators import ESTIMATORS
from pipelines.models.fusion import Fused
from pipelines.models.intervals import Conformal
from pipelines.models.preprocess import Preprocess
from pipelines.models.segments import memberships
from pipelines.models.skops_files import dump, load
from pipelines.settings.families import NETWORKS
from pipelines.settings.tasks import VALUE_TASKS, WIDE_TASKS

FORMAT = 1
# One block of rows is prepared and scored at a time, so that memory stays flat whatever the caller passes.
_BLOCK_ROWS = 131_072
_IMAGE_CELLS = 1 << 26  # of pixels, which are many columns
_SMALL_ROWS = 16_384  # when a GPU has no room for a block


@dataclass(frozen=True)
class Model:
    """`types`: 'number', 'category' or 'text' per feature, in training order. `classes`: labels, smallest first.

    `facts`: what else the manifest keeps (parameters, rounds, seed, library versions). `version` is 0 until the
    model is loaded from the ledger; `device` is where a loaded model scores. `calibrator` and `conformal` are what
    was learnt on rows that were kept back, when `training.calibration` or `training.intervals` ask for it.
    """

    family: str
    estimator_name: str
    task: str
    types: dict[str, str]
    classes: list[str]
    preprocess: Preprocess
    estimator: Any
    facts: dict[str, Any]
    version: int = 0
    device: Device = CPU
    calibrator: Calibrator | None = None
    conformal: Conformal | None = None

    @property
    def features(self) -> list[str]:
        return list(self.types)

    def predict(self, table: pa.Table) -> np.ndarray:
        """`(n,)` P(positive) for binary, the value for regression and quantiles, how strange for anomalies; `(n, k)`
        probabilities for multiclass, memberships for segments.

        Rows that lack a feature with strategy 'drop', or a value that the estimator cannot do without, are NaN:
        refused, not guessed. Columns are taken by name.

        Raises:
            DataError: E-SCORE-SCHEMA when a feature is absent or of another type.
        """
        return self.calibrated(self.uncalibrated(table))

    def uncalibrated(self, table: pa.Table) -> np.ndarray:
        """As `predict`, before calibration."""
        self.preprocess.check(table)
        rows = self._block_rows
        blocks = [self._block(table.slice(start, rows)) for start in range(0, table.num_rows, rows)]
        if blocks:
            return np.concatenate(blocks)
        return np.empty((0, len(self.classes)) if self.task in WIDE_TASKS else 0)

    def calibrated(self, scores: np.ndarray) -> np.ndarray:
        """What `predict` makes of its uncalibrated scores."""
        return scores if self.calibrator is None else self.calibrator.apply(scores)

    def with_version(self, version: int) -> Model:
        return replace(self, version=version)

    def importance(self) -> dict[str, float]:
        """Share of each feature, summing to 1: gain for XGBoost, impurity or absolute weight elsewhere.

        All zero where the estimator offers none of these.
        """
        if self.family == "ensemble":
            shares: dict[str, float] = self.estimator.importance()
            return shares
        totals = self.preprocess.by_feature(self._output_importance())
        whole = sum(totals.values())
        return {name: value / whole if whole else 0.0 for name, value in totals.items()}

    def to_files(self) -> dict[str, bytes]:
        """File name to content; equal models give equal bytes."""
        is_ensemble = self.family == "ensemble"
        files = {} if is_ensemble else self.preprocess.to_files()
        if is_ensemble:
            files = self.estimator.to_files()
            files |= {"estimator.skops": dump(self.estimator.meta)} if self.estimator.meta is not None else {}
        elif self.family == "xgboost":
            files["model.ubj"] = bytes(self.estimator.save_raw("ubj"))
        elif self.family in NETWORKS:
            files["network.safetensors"] = self.estimator.to_bytes()
        else:
            files["estimator.skops"] = dump(self.estimator)
        manifest = {
            "format": FORMAT,
            "family": self.family,
            "estimator": self.estimator_name,
            "task": self.task,
            "features": self.types,
            "classes": self.classes,
            "preprocess": None if is_ensemble else self.preprocess.to_dict(),  # each member has its own
            "facts": self.facts,
            **({"calibration": self.calibrator.to_dict()} if self.calibrator else {}),
            **({"intervals": self.conformal.to_dict()} if self.conformal else {}),
            "files": {name: hashlib.sha256(content).hexdigest() for name, content in sorted(files.items())},
        }
        # Not sorted by key: the order of the features is the order of training.
        return {**files, "model.json": json.dumps(manifest, indent=1, allow_nan=False).encode()}

    @classmethod
    def from_files(cls, files: Mapping[str, bytes], threads: int = 1, device: Device = CPU) -> Model:
        """`threads` are those that XGBoost and PyTorch predict with; `device` is where.

        Raises:
            ModelError: E-MODEL-FORMAT or E-MODEL-UNSAFE. Check the artifact's digest before calling this.
                E-GPU-MISSING or E-GPU-FALLBACK when this family of models cannot use the device.
        """
        try:
            saved = json.loads(files["model.json"])
            if saved["format"] != FORMAT:
                raise ModelError("E-MODEL-FORMAT", "model.json", f"format must be {FORMAT}, got {saved['format']}")
            device = for_family(device, saved["family"], "model")
            estimator = _load_estimator(saved, files, threads, device)
            if isinstance(estimator, Committee):
                preprocess = next(iter(estimator.members.values())).preprocess
            else:
                preprocess = Preprocess.from_dict(saved["preprocess"], files)
            calibrator = Calibrator.from_dict(saved["calibration"]) if "calibration" in saved else None
            conformal = Conformal.from_dict(saved["intervals"]) if "intervals" in saved else None
        except (KeyError, TypeError, json.JSONDecodeError) as error:
            raise ModelError("E-MODEL-FORMAT", "model", f"not a model of this product: {error!r}") from error
        return cls(
            family=saved["family"],
            estimator_name=saved["estimator"],
            task=saved["task"],
            types=saved["features"],
            classes=saved["classes"],
            preprocess=preprocess,
            estimator=estimator,
            facts=saved["facts"],
            device=device,
            calibrator=calibrator,
            conformal=conformal,
        )

    def save(self, folder: Path) -> str:
        """Writes the folder (whole or not at all) and returns its artifact sha256."""
        files = self.to_files()
        write_artifact(files, folder)
        return artifact_sha256(files)

    @classmethod
    def load(cls, folder: Path) -> Model:
        return cls.from_files(read_artifact(folder))

    def used_device(self) -> dict[str, str]:
        """The device that scores are computed on, and why it is another than was wanted, if it is.

        Raises:
            ModelError: E-GPU-FALLBACK when the estimator says that it is elsewhere; ask again after scoring.
        """
        if self.family == "xgboost":
            confirm(self.device, booster_device(self.estimator), "'XGBoost'")
        elif self.family in NETWORKS:
            confirm(self.device, str(self.estimator.device), "'torch'")
        elif self.family == "ensemble":
            for member in self.estimator.members.values():
                member.used_device()
        return self.device.facts

    def _block(self, table: pa.Table) -> np.ndarray:
        if self.family == "ensemble":
            together: np.ndarray = self.estimator.scores(table, self.task)
            return together
        matrix = self.preprocess.transform(table, np.float64 if self.family == "sklearn" else np.float32)
        refused = self.preprocess.refused(table)
        if not self._takes_missing or self.preprocess.projection is not None:
            # A category that is missing or unseen is a code of NaN, which a network takes.
            kinds, masked = enumerate(self.preprocess.output_types), self._masked
            numbers = [index for index, kind in kinds if kind == "q" and index not in masked]
            refused |= np.isnan(matrix[:, numbers]).any(axis=1)
            matrix[:, numbers] = np.nan_to_num(matrix[:, numbers])
        scores = smaller_if_needed(
            lambda is_small: self._in_parts(matrix, _SMALL_ROWS if is_small else len(matrix)), "score"
        )
        scores[refused] = np.nan
        return scores

    def _in_parts(self, matrix: np.ndarray, rows: int) -> np.ndarray:
        parts = [self._raw(matrix[start : start + rows]) for start in range(0, len(matrix), max(rows, 1))]
        return np.concatenate(parts)

    def _raw(self, matrix: np.ndarray) -> np.ndarray:
        if self.family == "xgboost":
            scores = self._boosted(matrix)
        elif self.family in NETWORKS:
            scores = self.estimator.scores(matrix, self.task)
        elif self.task in VALUE_TASKS:
            scores = self.estimator.predict(matrix)
        elif self.task == "anomaly":
            scores = strangeness(self.estimator, matrix)
        elif self.task == "segments":
            scores = memberships(self.estimator, matrix)[:, self.facts["order"]]
        else:
            scores = self._probabilities(matrix)
            scores = scores[:, 1] if self.task == "binary" else scores
        if self.task == "anomaly":
            scores = anomaly_score(scores, self.facts["typical"])
        return np.asarray(scores, dtype=np.float64).copy()

    def _boosted(self, matrix: np.ndarray) -> np.ndarray:
        import xgboost

        if self.device.kind == "cpu":
            scores: np.ndarray = self.estimator.inplace_predict(matrix)
            return scores
        types = self.preprocess.output_types
        try:
            found: np.ndarray = self.estimator.predict(
                xgboost.DMatrix(matrix, feature_types=types, enable_categorical=True)
            )
        except xgboost.core.XGBoostError as error:
            raise gpu_trouble(str(error), "'XGBoost'") or error from error
        return found

    def _probabilities(self, matrix: np.ndarray) -> np.ndarray:
        """`(n, k)`, one column per class of the model: a class without training rows has probability 0.

        scikit-learn leaves such a class out, and every column behind it would stand for another class.
        """
        found = self.estimator.predict_proba(matrix)
        scores = np.zeros((len(found), 2 if self.task == "binary" else len(self.classes)))
        scores[:, np.asarray(self.estimator.classes_, dtype=int)] = found
        return scores

    @property
    def _block_rows(self) -> int:
        if self.family == "ensemble":
            return _BLOCK_ROWS  # each member has its own
        pixels = sum(column.pixels.length for column in self.preprocess.columns if column.pixels)
        return max(1, min(_BLOCK_ROWS, _IMAGE_CELLS // pixels)) if pixels else _BLOCK_ROWS

    @property
    def _masked(self) -> frozenset[int]:
        """Prepared columns whose missing values mean something to the network."""
        masked: frozenset[int] = self.estimator.shape.masked if self.family in NETWORKS else frozenset()
        return masked

    @property
    def _takes_missing(self) -> bool:
        return self.family == "xgboost" or (self.family == "sklearn" and ESTIMATORS[self.estimator_name].takes_missing)

    def _output_importance(self) -> np.ndarray:
        outputs = self.preprocess.output_names
        if self.family == "xgboost":
            gains = self.estimator.get_score(importance_type="total_gain")
            return np.array([gains.get(f"f{index}", 0.0) for index in range(len(outputs))])
        if self.family in NETWORKS:
            return np.asarray(self.estimator.importance())
        fitted = self.estimator
        if hasattr(fitted, "calibrated_classifiers_"):
            fitted = fitted.calibrated_classifiers_[0].estimator
        if hasattr(fitted, "feature_importances_"):
            return np.asarray(fitted.feature_importances_, dtype=float)
        if hasattr(fitted, "coef_"):
            return np.abs(np.atleast_2d(np.asarray(fitted.coef_, dtype=float))).mean(axis=0)
        return np.zeros(len(outputs))


def _load_estimator(saved: Mapping[str, Any], files: Mapping[str, bytes], threads: int, device: Device) -> Any:
    if saved["family"] == "ensemble":
        weights = saved["facts"]["weights"]
        members = {
            name: Model.from_files(files_of(files, number), threads, device) for number, name in enumerate(weights)
        }
        meta = load(files["estimator.skops"], "estimator.skops", ()) if saved["facts"]["stacked"] else None
        if saved["facts"]["combine"] == "fusion":
            return Fused(members, tuple(weights.values()), meta, tuple(saved["facts"]["neutral"]))
        return Committee(members, tuple(weights.values()), meta)
    if saved["family"] == "xgboost":
        import xgboost

        booster = xgboost.Booster({"nthread": threads, "device": device.kind})
        booster.load_model(bytearray(files["model.ubj"]))
        return booster
    if saved["family"] in NETWORKS:
        import torch

        from pipelines.models.torch_network import Network, Shape

        torch.set_num_threads(1 if device.kind == "cpu" else threads)  # more would change the last bits of scores
        return Network.from_bytes(Shape.from_dict(saved["facts"]["network"]), files["network.safetensors"]).to(
            device.kind
        )
    return load(files["estimator.skops"], "estimator.skops", ESTIMATORS[saved["estimator"]].trusted)
