"""Texts as numbers, with scikit-learn's vectorizers: TF-IDF over learnt terms, or hashing, which learns nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.errors import ModelError
from pipelines.settings.preparation import Hashing, Tfidf


@dataclass(frozen=True)
class TextEncoder:
    """`terms` in order, with their inverse document frequencies `(n_terms,)`; both empty for hashing."""

    settings: Tfidf | Hashing
    terms: tuple[str, ...] = ()
    weights: tuple[float, ...] = ()

    def names(self, feature: str) -> list[str]:
        """Names of the columns that it makes of the feature."""
        if isinstance(self.settings, Hashing):
            return [f"{feature}#{number}" for number in range(self.settings.features)]
        return [f"{feature}~{term}" for term in self.terms]

    def transform(self, texts: pa.ChunkedArray) -> np.ndarray:
        """`(n_rows, n_columns)`; a missing text is all zero, as is one without a known term."""
        known = [text or "" for text in texts.to_pylist()]
        return np.asarray(self._vectorizer.transform(known).toarray(), dtype=np.float64)

    @cached_property
    def _vectorizer(self) -> Any:
        from sklearn.feature_extraction.text import HashingVectorizer, TfidfVectorizer

        if isinstance(self.settings, Hashing):
            return HashingVectorizer(n_features=self.settings.features, **_terms(self.settings))
        made = TfidfVectorizer(vocabulary=list(self.terms), **_terms(self.settings))
        made.idf_ = np.array(self.weights)
        return made

    def to_dict(self) -> dict[str, Any]:
        return {
            "settings": self.settings.model_dump(mode="json"),
            "terms": list(self.terms),
            "weights": list(self.weights),
        }

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> TextEncoder:
        kind = Hashing if saved["settings"]["encoder"] == "hashing" else Tfidf
        return cls(kind.model_validate(saved["settings"]), tuple(saved["terms"]), tuple(saved["weights"]))


def fit_text(feature: str, texts: pa.ChunkedArray, settings: Tfidf | Hashing) -> TextEncoder:
    """Learns terms and weights from the training rows.

    Raises:
        ModelError: E-TRAIN-TEXT when no term occurs in enough rows.
    """
    if isinstance(settings, Hashing):
        return TextEncoder(settings)
    from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer

    known = [text or "" for text in texts.to_pylist()]
    counter = CountVectorizer(min_df=settings.min_rows, **_terms(settings))
    try:
        counts = np.asarray(counter.fit_transform(known).sum(axis=0)).ravel()
    except ValueError as error:  # an empty vocabulary
        raise ModelError(
            "E-TRAIN-TEXT",
            f"feature '{feature}'",
            f"no term occurs in {settings.min_rows} of {len(known):,} training texts",
            f"Lower training.encode.{feature}.min_rows, or leave the feature out.",
        ) from error
    # Chosen here: scikit-learn leaves the order of equally frequent terms to a sort that differs between processors.
    ranked = sorted(zip((-counts).tolist(), counter.get_feature_names_out().tolist(), strict=True))
    terms = sorted(term for _count, term in ranked[: settings.max_features])
    fitted = TfidfVectorizer(vocabulary=terms, **_terms(settings)).fit(known)
    return TextEncoder(settings, tuple(terms), tuple(fitted.idf_.tolist()))


def _terms(settings: Tfidf | Hashing) -> dict[str, Any]:
    analyzer = "word" if settings.unit == "word" else "char_wb"
    return {"analyzer": analyzer, "ngram_range": (1, settings.max_ngram), "lowercase": True}
