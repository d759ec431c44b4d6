"""Names, types and problems of features follow from the settings alone."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from pipelines.errors import ConfigError
from pipelines.features import feature_names, feature_problems, feature_types
from pipelines.features.names import group_versions, looks_back
from pipelines.home import REPOSITORY
from pipelines.settings import load_pipeline, pipeline_names
from pipelines.settings.pipeline import Pipeline
from tests.builders import PAYMENTS, pipeline

CONFIG = REPOSITORY / "config"
COUNT = {"kind": "window", "statistics": ["count"], "windows": ["24h"]}
CARDS = {
    "key": ["card_id"],
    "valid_from": "valid_from",
    "source": {
        "format": "csv",
        "path": "cards.csv",
        "columns": {
            "card_id": {"type": "id"},
            "valid_from": {"type": "timestamp"},
            "limit_eur": {"type": "number"},
            "card_type": {"type": "category"},
        },
    },
}


def group(*features: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {"name": "cards", "owner": "tests", "entity": ["card_id"], "features": list(features)} | changes


def with_features(*features: dict[str, Any], columns: tuple[str, ...] = (), **changes: Any) -> Pipeline:
    settings = {"groups": [group(*features)] if features else [], "columns": list(columns)}
    return pipeline(**{"features": settings, "dimensions": {"cards": CARDS}} | changes)


def test_names_follow_the_rules_in_the_order_of_the_settings() -> None:
    settings = pipeline(
        dimensions={"cards": CARDS},
        features={
            "columns": ["amount_eur", "country"],
            "groups": [
                group(
                    {"kind": "window", "statistics": ["count"], "windows": ["1h", "7d"]},
                    {"kind": "window", "statistics": ["seconds_since_last"]},
                    {"kind": "window", "column": "amount_eur", "statistics": ["mean", "std"], "windows": ["24h"]},
                    {"kind": "window", "column": "country", "statistics": ["last"]},
                    {"kind": "join", "dimension": "cards", "columns": ["limit_eur", "card_type"]},
                    {"kind": "ratio", "name": "to_limit", "numerator": "amount_eur", "denominator": "card_limit_eur"},
                    {"kind": "calendar", "column": "paid_at", "parts": ["hour"]},
                    {"kind": "lag", "columns": ["amount_eur"], "steps": 2},
                    {
                        "kind": "function",
                        "module": "shape",
                        "function": "shape",
                        "columns": ["shape", "size", "remark"],
                        "categories": ["shape"],
                        "texts": ["remark"],
                    },
                    prefix="card",
                )
            ],
        },
    )
    assert feature_types(settings) == {
        "amount_eur": "number",
        "country": "category",
        "card_count_1h": "number",
        "card_count_7d": "number",
        "card_seconds_since_last": "number",
        "card_amount_eur_mean_24h": "number",
        "card_amount_eur_std_24h": "number",
        "card_country_last": "category",
        "card_limit_eur": "number",
        "card_card_type": "category",
        "to_limit": "number",
        "paid_at_hour": "number",
        "card_amount_eur_lag_1": "number",
        "card_amount_eur_lag_2": "number",
        "card_seconds_lag_1": "number",
        "card_seconds_lag_2": "number",
        "shape": "category",
        "size": "number",
        "remark": "text",
    }
    assert feature_names(settings) == list(feature_types(settings))


def test_a_declared_text_is_a_text_as_a_feature_too() -> None:
    columns = pipeline().source.model_dump(exclude_none=True) | {}
    columns["columns"]["note"] = {"type": "text"}
    assert feature_types(pipeline(source=columns, features={"columns": ["note", "country"]})) == {
        "note": "text",
        "country": "category",
    }


def test_version_of_a_group_changes_with_its_definition_only() -> None:
    one, same = with_features(COUNT), with_features(COUNT, columns=("country",))
    other = with_features(COUNT | {"windows": ["48h"]})
    assert group_versions(one) == group_versions(same)
    assert group_versions(one) != group_versions(other)


def test_shared_group_is_taken_from_the_loaded_ones() -> None:
    settings = pipeline(features={"groups": ["cards"]})
    with pytest.raises(ConfigError, match=r"E-FEATURE-GROUP .*'cards'"):
        feature_names(settings)
    loaded = with_features(COUNT).features.groups[0]
    assert feature_names(settings.model_copy(update={"feature_groups": (loaded,)})) == ["count_24h"]


RATIO = {"kind": "ratio", "name": "share", "numerator": "amount_eur", "denominator": "amount_eur"}
JOIN = {"kind": "join", "dimension": "cards", "columns": ["limit_eur"]}
LAG = {"kind": "lag", "columns": ["amount_eur"], "steps": 3}
NO_TIME = {"event_time": None}
DELAYED = {"label": {"column": "is_fraud", "delay_days": 2}}
FILL = {"strategy": "forward_fill", "entity": ["card_id"]}


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        pytest.param(with_features(COUNT, COUNT), "E-FEATURE-DUPLICATE .*'count_24h'", id="same-feature-twice"),
        pytest.param(
            with_features(RATIO | {"name": "country"}, columns=("country",)),
            r"E-FEATURE-DUPLICATE .*'country' .*'features.columns'.* group 'cards'",
            id="feature-named-like-a-column",
        ),
        pytest.param(
            with_features(RATIO | {"name": "row_id"}), "E-FEATURE-DUPLICATE .*'row_id'", id="feature-named-row_id"
        ),
        pytest.param(
            with_features(COUNT | {"column": "amount_er"}),
            "E-FEATURE-COLUMN .*'amount_er'.* Did you mean 'amount_eur'",
            id="typo-in-a-window",
        ),
        pytest.param(
            with_features(RATIO | {"denominator": "share_of"}), "E-FEATURE-COLUMN .*'share_of'", id="typo-in-a-ratio"
        ),
        pytest.param(
            with_features(RATIO | {"denominator": "count_24h"}, COUNT),
            "E-FEATURE-COLUMN .*'count_24h'",
            id="ratio-of-a-feature-that-is-only-made-later",
        ),
        pytest.param(
            with_features(RATIO | {"denominator": "country"}), "E-FEATURE-COLUMN .*'country'", id="ratio-of-text"
        ),
        pytest.param(
            with_features({"kind": "window", "column": "country", "statistics": ["mean"], "windows": ["1h"]}),
            "E-FEATURE-COLUMN .*'mean' of 'country' need a number",
            id="mean-of-text",
        ),
        pytest.param(
            with_features({"kind": "window", "column": "paid_at", "statistics": ["last"]}),
            "E-FEATURE-COLUMN .*'paid_at' as a feature, which is a timestamp",
            id="moment-as-a-feature",
        ),
        pytest.param(with_features(columns=("paid_at",)), "E-FEATURE-COLUMN .*'paid_at'", id="moment-passed-through"),
        pytest.param(
            with_features({"kind": "calendar", "column": "country", "parts": ["hour"]}),
            "E-FEATURE-COLUMN .*'country' need a timestamp",
            id="calendar-of-text",
        ),
        pytest.param(
            with_features(JOIN | {"columns": ["limit"]}), "E-FEATURE-COLUMN .*'limit'", id="unknown-joined-column"
        ),
        pytest.param(with_features(JOIN | {"dimension": "card"}), "Did you mean 'cards'", id="unknown-dimension"),
        pytest.param(
            with_features(COUNT | {"windows": ["31d"]}),
            "E-FEATURE-WINDOW .*'31d' must not be longer than 'features.lookback', got '30d'",
            id="window-longer-than-the-look-back",
        ),
        pytest.param(with_features(COUNT, **NO_TIME), "E-FEATURE-TIME .*windows", id="window-without-time"),
        pytest.param(with_features(LAG, **NO_TIME), "E-FEATURE-TIME .*lags", id="lags-without-time"),
        pytest.param(
            with_features(LAG | {"columns": ["country"]}),
            "E-FEATURE-COLUMN .*lags of 'country' need a number, got a category",
            id="lags-of-text",
        ),
        pytest.param(
            with_features(LAG | {"columns": ["is_fraud"]}, **DELAYED),
            "E-FEATURE-LABEL .*'is_fraud', which is known only 2.0 days later",
            id="lags-of-a-label-that-is-not-known-yet",
        ),
        pytest.param(
            with_features(LAG, LAG | {"columns": ["is_fraud"], "steps": 1}),
            "E-FEATURE-DUPLICATE .*'seconds_lag_1'.*give one group a 'prefix'",
            id="lags-twice-in-a-group",
        ),
        pytest.param(with_features(JOIN, **NO_TIME), "E-FEATURE-TIME .*'cards'", id="join-as-of-without-time"),
        pytest.param(
            with_features(columns=("is_fraud",)),
            "E-FEATURE-LABEL .*'is_fraud' must not be a feature",
            id="label-copied",
        ),
        pytest.param(
            with_features(RATIO | {"numerator": "is_fraud"}), "E-FEATURE-LABEL .*'is_fraud'", id="ratio-of-the-label"
        ),
        pytest.param(
            with_features(COUNT | {"column": "is_fraud"}, **DELAYED),
            "E-FEATURE-LABEL .*'is_fraud', which is known only 2.0 days later",
            id="window-over-a-label-that-is-not-known-yet",
        ),
        pytest.param(
            with_features({"kind": "function", "module": "amount_shap", "function": "f", "columns": ["x"]}),
            "E-FEATURE-FUNCTION .*amount_shap.py.* Did you mean 'amount_shape'",
            id="module-missing",
        ),
        pytest.param(
            with_features({"kind": "function", "module": "amount_shape", "function": "shape", "columns": ["x"]}),
            "E-FEATURE-FUNCTION .*no function 'shape'",
            id="function-missing",
        ),
        pytest.param(
            with_features(COUNT, training={"task": "binary", "missing": {"count_24h": FILL}}),
            "E-FEATURE-FILL .*'count_24h'",
            id="forward-fill-of-a-built-feature",
        ),
    ],
)
def test_problem_is_reported(settings: Pipeline, expected: str) -> None:
    found = feature_problems(settings, CONFIG)
    assert len(found) == 1, found
    assert re.search(expected, found[0])


def test_all_problems_are_reported_at_once() -> None:
    found = feature_problems(
        with_features(COUNT | {"windows": ["90d"]}, COUNT | {"column": "amont"}, columns=("is_fraud",)), CONFIG
    )
    assert [text.split()[0] for text in found] == ["E-FEATURE-WINDOW", "E-FEATURE-COLUMN", "E-FEATURE-LABEL"]


def test_names_raise_the_first_problem_of_names() -> None:
    with pytest.raises(ConfigError, match="E-FEATURE-DUPLICATE"):
        feature_names(with_features(COUNT, COUNT))
    with pytest.raises(ConfigError, match="E-FEATURE-COLUMN"):
        feature_names(with_features({"kind": "window", "column": "amont", "statistics": ["last"]}))


def test_lags_need_an_entity_and_read_earlier_partitions() -> None:
    with pytest.raises(ValueError, match="feature group 'cards' has lags and therefore needs 'entity'"):
        pipeline(features={"groups": [group(LAG, entity=[])]})
    assert looks_back(with_features(LAG))
    assert not looks_back(with_features(RATIO))


def test_what_slices_groups_and_weighs_rows_is_a_column_or_a_feature() -> None:
    settings = with_features(
        COUNT, gate={"slices": ["contry", "count_24h"]}, training={"task": "binary", "group": ["card"], "weight": "w"}
    )
    assert [text.partition(" ")[2] for text in feature_problems(settings, CONFIG)] == [
        "payments: 'training.group' names the unknown column 'card'. Did you mean 'card_id'?",
        "payments: 'training.weight' names the unknown column 'w'.",
        "payments: 'gate.slices' names the unknown column 'contry'. Did you mean 'country'?",
    ]


def test_a_label_is_named_as_its_source_brings_it() -> None:
    source = {"format": "csv", "path": "{partition}.csv", "columns": {"payment_id": {"type": "id"}}}
    source["columns"] |= {"is_charged_back": {"type": "integer"}}
    brought = {"chargebacks": {"source": source, "column": "is_charged_back"}}
    with pytest.raises(ValueError, match=r"'label.column' must be 'is_charged_back', which label source 'chargebacks'"):
        pipeline(label_sources=brought, label={"column": "is_fraud", "source": "chargebacks"})


def test_window_over_a_label_without_delay_is_a_lag_and_fair() -> None:
    assert feature_problems(with_features(COUNT | {"column": "is_fraud"}), CONFIG) == []


def test_module_with_broken_python_is_a_problem_and_never_run(tmp_path: Path) -> None:
    (tmp_path / "features").mkdir()
    (tmp_path / "features" / "broken.py").write_text("def f(table):\n  raise SystemExit('executed')\n  return (\n")
    function = {"kind": "function", "module": "broken", "function": "f", "columns": ["x"]}
    assert "is not valid Python" in feature_problems(with_features(function), tmp_path)[0]


@pytest.mark.parametrize("name", pipeline_names(CONFIG))
def test_shipped_pipelines_have_no_problem(name: str) -> None:
    assert feature_problems(load_pipeline(name, CONFIG), CONFIG) == []


def test_builder_pipeline_stays_without_problem() -> None:
    assert feature_problems(pipeline(), CONFIG) == []
    assert feature_names(pipeline()) == PAYMENTS["features"]["columns"]
