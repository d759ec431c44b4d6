"""The 28 tests as a table: section, key, who must be asked where no run can know, and the function that looks.

Names and sections: Breck, Cai, Nielsen, Salib, Sculley (2017), "The ML Test Score: A Rubric for ML Production Readiness
and Technical Debt Reduction", IEEE International Conference on Big Data.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pipelines.scorecard import data, infrastructure, model, monitoring
from pipelines.scorecard.evidence import Evidence
from pipelines.scorecard.found import Found

SECTIONS = ("data", "model", "infrastructure", "monitoring")
# What the paper says of a score: the first row whose bound the score does not exceed.
INTERPRETATION = (
    (0.0, "more of a research project than a productionized system"),
    (1.0, "not totally untested, but serious holes in reliability are to be expected"),
    (2.0, "a first pass at basic productionization; more investment may be needed"),
    (3.0, "reasonably tested; more of the tests and procedures may be automated"),
    (5.0, "strong levels of automated testing and monitoring, appropriate for mission-critical systems"),
    (7.0, "exceptional levels of automated testing and monitoring"),
)


@dataclass(frozen=True)
class Test:
    """One test. `ask` is what a person's statement has to tell."""

    section: str
    key: str
    ask: str
    look: Callable[[Evidence], Found]


TESTS = (
    Test(
        "data", "expectations_in_schema", "who compared each input with what it should be", data.expectations_in_schema
    ),
    Test(
        "data", "features_beneficial", "which features were tried without, and what was lost", data.features_beneficial
    ),
    Test("data", "feature_cost", "what each feature costs in time, memory and upkeep", data.feature_cost),
    Test(
        "data",
        "meta_level_requirements",
        "which columns must not be used, and who looked",
        data.meta_level_requirements,
    ),
    Test(
        "data", "privacy_controls", "who may read raw rows, scores and reports, and who checked", data.privacy_controls
    ),
    Test("data", "features_added_quickly", "how long the last new feature took", data.features_added_quickly),
    Test(
        "data",
        "feature_code_tested",
        "which tests cover the feature code, and when they passed",
        data.feature_code_tested,
    ),
    Test("model", "specs_reviewed", "who reviews changes of settings, suite and features", model.specs_reviewed),
    Test(
        "model",
        "offline_online_metrics",
        "how the metric goes with what it is meant to move",
        model.offline_online_metrics,
    ),
    Test("model", "hyperparameters_tuned", "what was searched, and where the result lies", model.hyperparameters_tuned),
    Test("model", "staleness_known", "what an old model was seen to lose", model.staleness_known),
    Test(
        "model",
        "simpler_model_not_better",
        "which simpler model was tried, and its metric",
        model.simpler_model_not_better,
    ),
    Test(
        "model", "quality_on_slices", "which groups of rows were looked at, and how they fared", model.quality_on_slices
    ),
    Test("model", "inclusion", "for whom scores could be unfair, and who looked", model.inclusion),
    Test(
        "infrastructure",
        "training_reproducible",
        "who trained twice, and what came out",
        infrastructure.training_reproducible,
    ),
    Test(
        "infrastructure",
        "specs_unit_tested",
        "which tests cover the training code, and when they passed",
        infrastructure.specs_unit_tested,
    ),
    Test(
        "infrastructure",
        "pipeline_integration_tested",
        "where the whole chain is tested before it goes live",
        infrastructure.pipeline_integration_tested,
    ),
    Test(
        "infrastructure",
        "validated_before_serving",
        "who compares a model before it goes live, and how",
        infrastructure.validated_before_serving,
    ),
    Test(
        "infrastructure",
        "model_debuggable",
        "how somebody finds out why a row got its score",
        infrastructure.model_debuggable,
    ),
    Test(
        "infrastructure",
        "models_canaried",
        "how a new model is tried on some rows first",
        infrastructure.models_canaried,
    ),
    Test(
        "infrastructure",
        "rollback_possible",
        "who practised going back to the model before, and when",
        infrastructure.rollback_possible,
    ),
    Test(
        "monitoring",
        "dependency_changes",
        "who is told before an upstream system changes",
        monitoring.dependency_changes,
    ),
    Test(
        "monitoring",
        "input_invariants",
        "who looks at incoming data, and what they look for",
        monitoring.input_invariants,
    ),
    Test(
        "monitoring",
        "training_serving_skew",
        "how features of training and scoring were compared",
        monitoring.training_serving_skew,
    ),
    Test("monitoring", "model_age", "who notices that a model has become old", monitoring.model_age),
    Test("monitoring", "numerically_stable", "who looks for NaN and infinity", monitoring.numerically_stable),
    Test(
        "monitoring", "computing_performance", "who notices that a night takes longer", monitoring.computing_performance
    ),
    Test("monitoring", "prediction_quality", "who compares scores with what came true", monitoring.prediction_quality),
)


def interpretation(score: float) -> str:
    """The paper's words for a score of 0 to 7."""
    return next(words for bound, words in INTERPRETATION if score <= bound)
