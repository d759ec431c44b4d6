"""Settings of how features become the numbers of a model: encoding, scaling, selection, projection."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from pipelines.settings.base import Settings

TextUnit = Literal["word", "character"]
# The prepared matrix is dense: each of these is a column of every training row.
MOST_TEXT_FEATURES = 5_000


class Tfidf(Settings):
    """How often a text holds a term, times how rare the term is in the training rows; each text has length 1."""

    encoder: Literal["tfidf"] = "tfidf"
    max_features: PositiveInt = Field(500, le=MOST_TEXT_FEATURES, description="terms kept, the most frequent ones")
    unit: TextUnit = Field("word", description="what a term is made of; `character`: runs within words")
    max_ngram: PositiveInt = Field(1, le=5, description="longest term, in units")
    min_rows: PositiveInt = Field(2, description="training rows that must hold a term")


class Hashing(Settings):
    """Terms counted in a fixed number of columns that their hash chooses: nothing is learnt, terms can collide."""

    encoder: Literal["hashing"]
    features: int = Field(256, ge=2, le=MOST_TEXT_FEATURES, description="columns")
    unit: TextUnit = Field("word", description="what a term is made of; `character`: runs within words")
    max_ngram: PositiveInt = Field(1, le=5, description="longest term, in units")


Encoder = Annotated[Tfidf | Hashing, Field(discriminator="encoder")]
