"""Fills gaps of numbers from the other numbers of the row: nearest neighbours, or iterated regressions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipelines.models.skops_files import dump, load
from pipelines.settings.missing import Iterative, Neighbours

# Both methods compare with all fitted rows; a seeded sample of this size bounds time and the model file.
MOST_FITTED_ROWS = 10_000
_TRUSTED = ("numpy.dtype", "sklearn.impute._iterative.IterativeImputer", "sklearn.impute._iterative._ImputerTriplet")


@dataclass(frozen=True)
class Imputer:
    """A fitted scikit-learn imputer over `inputs` (standardised), used for `targets` only."""

    file: str
    targets: tuple[str, ...]
    inputs: tuple[str, ...]
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    fitted: Any

    def fill(self, numbers: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The targets without gaps; values that were there stay exactly as they were."""
        matrix = np.column_stack([numbers[name] for name in self.inputs])
        gaps = np.isnan(np.column_stack([numbers[name] for name in self.targets])).any(axis=1)
        filled = {name: numbers[name].copy() for name in self.targets}
        if not gaps.any():
            return filled
        scaled = (matrix[gaps] - np.array(self.mean)) / np.array(self.scale)
        guesses = self.fitted.transform(scaled) * np.array(self.scale) + np.array(self.mean)
        for name in self.targets:
            guess = np.full(len(gaps), np.nan)
            guess[gaps] = guesses[:, self.inputs.index(name)]
            filled[name] = np.where(np.isnan(filled[name]), guess, filled[name])
        return filled

    def to_dict(self) -> dict[str, Any]:
        listed = ("targets", "inputs", "mean", "scale")
        return {"file": self.file, **{name: list(getattr(self, name)) for name in listed}}

    def to_bytes(self) -> bytes:
        return dump(self.fitted)

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any], files: Mapping[str, bytes]) -> Imputer:
        # The class is experimental in scikit-learn and cannot be found before this import.
        from sklearn.experimental import enable_iterative_imputer  # noqa: F401

        lists = {name: tuple(saved[name]) for name in ("targets", "inputs", "mean", "scale")}
        return cls(file=saved["file"], fitted=load(files[saved["file"]], saved["file"], _TRUSTED), **lists)


def fit_imputer(
    index: int, setting: Neighbours | Iterative, targets: list[str], numbers: Mapping[str, np.ndarray], seed: int
) -> Imputer:
    """Fits on at most 10,000 rows, drawn with `seed`. Columns without any value are kept, filled with 0."""
    from sklearn.experimental import enable_iterative_imputer  # noqa: F401
    from sklearn.impute import IterativeImputer, KNNImputer

    inputs = list(numbers)
    matrix = np.column_stack([numbers[name] for name in inputs])
    counts = np.maximum((~np.isnan(matrix)).sum(axis=0), 1)
    mean = np.nansum(matrix, axis=0) / counts
    deviation = np.sqrt(np.nansum((matrix - mean) ** 2, axis=0) / counts)
    scale = np.where(deviation > 1e-12, deviation, 1.0)
    if len(matrix) > MOST_FITTED_ROWS:
        matrix = matrix[np.sort(np.random.default_rng(seed).choice(len(matrix), MOST_FITTED_ROWS, replace=False))]
    if isinstance(setting, Neighbours):
        fitted = KNNImputer(n_neighbors=setting.neighbours, keep_empty_features=True)
    else:
        fitted = IterativeImputer(max_iter=setting.max_iter, random_state=seed, keep_empty_features=True)
    fitted.fit((matrix - mean) / scale)
    return Imputer(
        f"imputer_{index}.skops", tuple(targets), tuple(inputs), tuple(mean.tolist()), tuple(scale.tolist()), fitted
    )
