"""Fewer columns made of many: principal components, a random matrix, or the code of a small autoencoder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays
from threadpoolctl import threadpool_limits

from pipelines.errors import ModelError
from pipelines.settings.preparation import Project

FILE = "projection.safetensors"
# Every block is multiplied at this size, filled up with zeros: the kernels' last bits depend on the number of rows.
_BLOCK_ROWS = 4096
# Prepared numbers beyond this say no more to an autoencoder; an absurd one must not govern the code.
FARTHEST = 20.0


@dataclass(frozen=True)
class Projection:
    """Layers `x @ weights.T + offset`, between them what is below zero becomes zero; of PCA and random there is one.

    `weights_<i>`: `(n_out, n_in)`, `offset_<i>`: `(n_out,)`.
    """

    settings: Project
    arrays: Mapping[str, np.ndarray]

    @property
    def names(self) -> list[str]:
        return [f"{self.settings.method} {number + 1}" for number in range(self.settings.components)]

    @property
    def matrix(self) -> np.ndarray | None:
        """`(n_components, n_inputs)`; None when a component is no sum of its inputs."""
        return self.arrays["weights_0"] if len(self.arrays) == 2 else None

    def apply(self, matrix: np.ndarray) -> np.ndarray:
        """`(n_rows, n_inputs)` to `(n_rows, n_components)`; a row's components do not depend on the rows around it."""
        result = np.empty((len(matrix), self.settings.components))
        with threadpool_limits(1):
            for start in range(0, len(matrix), _BLOCK_ROWS):
                block = matrix[start : start + _BLOCK_ROWS]
                filled = np.zeros((_BLOCK_ROWS, matrix.shape[1]))
                filled[: len(block)] = block
                result[start : start + len(block)] = self._layers(filled)[: len(block)]
        return result

    def shares(self) -> np.ndarray:
        """`(n_components, n_inputs)` how much of each component is each input's, rows summing to 1.

        By the size of the weights; through several layers by their products (Garson 1991).
        """
        found = np.abs(self.arrays["weights_0"])
        for number in range(1, len(self.arrays) // 2):
            found = np.abs(self.arrays[f"weights_{number}"]) @ found
        whole = found.sum(axis=1, keepdims=True)
        return np.where(whole > 0, found / np.where(whole > 0, whole, 1), 1 / found.shape[1])

    def to_bytes(self) -> bytes:
        return bytes(save_arrays(dict(self.arrays)))

    def to_dict(self) -> dict[str, Any]:
        """Without the arrays, which have a file of their own."""
        return self.settings.model_dump(mode="json")

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any], files: Mapping[str, bytes]) -> Projection:
        """Raises ModelError E-MODEL-FORMAT when the file does not hold the arrays."""
        try:
            return cls(Project.model_validate(saved), load_arrays(files[FILE]))
        except SafetensorError as error:
            raise ModelError("E-MODEL-FORMAT", FILE, str(error)[:300]) from error

    def _layers(self, block: np.ndarray) -> np.ndarray:
        if len(self.arrays) > 2:
            block = np.clip(block, -FARTHEST, FARTHEST)
        for number in range(len(self.arrays) // 2):
            block = np.maximum(block, 0) if number else block
            block = block @ self.arrays[f"weights_{number}"].T + self.arrays[f"offset_{number}"]
        return block


def fit_projection(settings: Project, matrix: np.ndarray, seed: int) -> tuple[Projection, dict[str, Any]]:
    """Learns from prepared training rows `(n_rows, n_inputs)`; also what to tell of it.

    Raises:
        ModelError: E-TRAIN-PROJECT when there are fewer columns or rows than components.
    """
    most = min(matrix.shape) if settings.method == "pca" else matrix.shape[1]
    if settings.components > most:
        raise ModelError(
            "E-TRAIN-PROJECT",
            "training.project.components",
            f"must be at most {most}, for {matrix.shape[1]:,} columns of {len(matrix):,} rows, "
            f"got {settings.components}",
        )
    facts = {"method": settings.method, "inputs": matrix.shape[1], "components": settings.components}
    with threadpool_limits(1):
        if settings.method == "pca":
            projection, shares = _components(settings, matrix)
            facts |= {"explained_variance": shares, "explained": float(f"{sum(shares):.5g}")}
        elif settings.method == "random":
            projection = _random(settings, matrix.shape[1], seed)
        else:
            from pipelines.models.autoencoder import fit_autoencoder

            arrays, explained = fit_autoencoder(matrix, settings.components, seed)
            projection, facts = Projection(settings, arrays), facts | {"explained": float(f"{explained:.5g}")}
    return projection, facts


def _components(settings: Project, matrix: np.ndarray) -> tuple[Projection, list[float]]:
    from sklearn.decomposition import PCA

    fitted = PCA(settings.components, svd_solver="full" if len(matrix) < matrix.shape[1] else "covariance_eigh")
    fitted.fit(matrix)
    weights = np.ascontiguousarray(fitted.components_)
    shares = [float(f"{share:.5g}") for share in np.nan_to_num(fitted.explained_variance_ratio_).tolist()]
    return Projection(settings, {"weights_0": weights, "offset_0": -weights @ fitted.mean_}), shares


def _random(settings: Project, inputs: int, seed: int) -> Projection:
    from sklearn.random_projection import GaussianRandomProjection

    fitted = GaussianRandomProjection(settings.components, random_state=seed).fit(np.zeros((1, inputs)))
    weights = np.ascontiguousarray(fitted.components_)
    return Projection(settings, {"weights_0": weights, "offset_0": np.zeros(settings.components)})
