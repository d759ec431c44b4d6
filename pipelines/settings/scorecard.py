"""What people say about a pipeline where no run can know: `config/scorecards/<pipeline>.yaml`.

The keys are the 28 tests of Breck, Cai, Nielsen, Salib and Sculley (2017), "The ML Test Score: A Rubric for ML
Production Readiness and Technical Debt Reduction", IEEE Big Data, in its order and words (docs/scorecard.md).
"""

from __future__ import annotations

from datetime import date, timedelta

from pydantic import Field

from pipelines.settings.base import Settings

VALID_DAYS = 365


class Statement(Settings):
    """A person's word that one of the tests was done by hand: half a point, for a year."""

    who: str = Field(min_length=2, description="who says it and can be asked")
    when: date = Field(description="the day on which it was done; after a year it counts no more")
    what: str = Field(min_length=20, description="what was done, what came out, and where that is written down")

    def is_out_of_date(self, today: date) -> bool:
        return today - self.when > timedelta(days=VALID_DAYS)


def _test(name: str) -> Statement | None:
    found: Statement | None = Field(None, description=name)
    return found


class Statements(Settings):
    """One statement per test at most; tests that runs prove need none."""

    expectations_in_schema: Statement | None = _test("Feature expectations are captured in a schema")
    features_beneficial: Statement | None = _test("All features are beneficial")
    feature_cost: Statement | None = _test("No feature's cost is too much")
    meta_level_requirements: Statement | None = _test("Features adhere to meta-level requirements")
    privacy_controls: Statement | None = _test("The data pipeline has appropriate privacy controls")
    features_added_quickly: Statement | None = _test("New features can be added quickly")
    feature_code_tested: Statement | None = _test("All input feature code is tested")

    specs_reviewed: Statement | None = _test("Model specs are reviewed and submitted")
    offline_online_metrics: Statement | None = _test("Offline and online metrics correlate")
    hyperparameters_tuned: Statement | None = _test("All hyperparameters have been tuned")
    staleness_known: Statement | None = _test("The impact of model staleness is known")
    simpler_model_not_better: Statement | None = _test("A simpler model is not better")
    quality_on_slices: Statement | None = _test("Model quality is sufficient on important data slices")
    inclusion: Statement | None = _test("The model is tested for considerations of inclusion")

    training_reproducible: Statement | None = _test("Training is reproducible")
    specs_unit_tested: Statement | None = _test("Model specs are unit tested")
    pipeline_integration_tested: Statement | None = _test("The ML pipeline is integration tested")
    validated_before_serving: Statement | None = _test("Model quality is validated before serving")
    model_debuggable: Statement | None = _test("The model is debuggable")
    models_canaried: Statement | None = _test("Models are canaried before serving")
    rollback_possible: Statement | None = _test("Serving models can be rolled back")

    dependency_changes: Statement | None = _test("Dependency changes result in notification")
    input_invariants: Statement | None = _test("Data invariants hold for inputs")
    training_serving_skew: Statement | None = _test("Training and serving are not skewed")
    model_age: Statement | None = _test("Models are not too stale")
    numerically_stable: Statement | None = _test("Models are numerically stable")
    computing_performance: Statement | None = _test("Computing performance has not regressed")
    prediction_quality: Statement | None = _test("Prediction quality has not regressed")

    def of(self, test: str) -> Statement | None:
        found: Statement | None = getattr(self, test)
        return found


def rubric_names() -> dict[str, str]:
    """Name in the paper's words by key, in its order."""
    return {key: str(field.description) for key, field in Statements.model_fields.items()}
