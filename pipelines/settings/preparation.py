"""Settings of how features become the numbers of a model: encoding, scaling, selection, projection."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from pipelines.settings.base import Settings

TextUnit = Literal["word", "character"]
Scale = Literal["standard", "robust", "minmax"]
# The prepared matrix is dense: each of these is a column of every training row.
MOST_TEXT_FEATURES = 5_000
MOST_COMPONENTS = 1_000


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


class Target(Settings):
    """The mean label of the category's training rows, drawn towards the mean of all; of several classes each share.

    A training row is encoded by the rows of the other folds: its own label would leak into its features.
    """

    encoder: Literal["target"]
    smoothing: float = Field(20, ge=0, description="weight of the mean of all rows, in rows of the category")
    folds: int = Field(5, ge=2, le=20, description="blocks of time, or whole groups with `training.group`")


class Frequency(Settings):
    """The share of the training rows that have the category; 0 for one that they do not have."""

    encoder: Literal["frequency"]


Encoder = Annotated[Tfidf | Hashing | Target | Frequency, Field(discriminator="encoder")]


class ByVariance(Settings):
    """Drops columns that hardly vary."""

    by: Literal["variance"]
    min: float = Field(0, ge=0, description="of the prepared (scaled) column; it must vary more than this")


class ByCorrelation(Settings):
    """Drops the later one of two columns that say the same."""

    by: Literal["correlation"]
    max: float = Field(0.95, gt=0, le=1, description="largest absolute correlation (Pearson) with a column before it")


class ByMutualInformation(Settings):
    """Keeps the columns that each tell most about the label, by nearest neighbours (Kraskov 2004; Ross 2014)."""

    by: Literal["mutual_information"]
    keep: PositiveInt = Field(description="columns that are kept")


class ByL1(Settings):
    """Keeps the columns to which a linear model with an L1 penalty gives a weight."""

    by: Literal["l1"]
    alpha: float = Field(0.001, gt=0, description="weight of the penalty against the mean loss; larger keeps fewer")


class ByElimination(Settings):
    """Fits a linear model, drops the tenth of the columns with the least weight, and so on (Guyon et al. 2002)."""

    by: Literal["recursive"]
    keep: PositiveInt = Field(description="columns that are kept")


Selection = Annotated[
    ByVariance | ByCorrelation | ByMutualInformation | ByL1 | ByElimination, Field(discriminator="by")
]
# These look at the label.
SUPERVISED_SELECTIONS = (ByMutualInformation, ByL1, ByElimination)


class Project(Settings):
    """Fewer columns made of all that were selected."""

    method: Literal["pca", "random", "autoencoder"] = Field(
        description="principal components; a random matrix (Gaussian, from `training.seed`), which keeps distances; or "
        "the code of a small network that gives its inputs back"
    )
    components: PositiveInt = Field(le=MOST_COMPONENTS, description="columns that come out")
    keep_inputs: bool = Field(False, description="the model sees the columns that went in, too")
