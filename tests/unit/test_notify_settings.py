"""Settings of messages and of approval: what would leak a secret or mean nothing is refused."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from pipelines.settings.notify import Notify
from pipelines.settings.training import Retrain


@pytest.mark.parametrize(
    ("given", "message"),
    [
        pytest.param({"to": ["https://hooks.slack.com/services/T0/B0/x"]}, "by their ids", id="a token in the file"),
        pytest.param({"to": []}, "at least 1", id="nobody"),
        pytest.param({"to": ["slack", "slack"]}, "'to' must name each connection once", id="twice"),
        pytest.param({"to": ["smtp"], "email_to": ["ops"]}, "pattern", id="no address"),
        pytest.param({"to": ["smtp"], "email_to": ["a@b, c@d"]}, "pattern", id="two addresses in one"),
        pytest.param({"to": ["smtp"], "late_after_minutes": 0}, "greater than 0", id="late at once"),
    ],
)
def test_senseless_settings_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Notify.model_validate(given)


def test_sensible_settings_pass() -> None:
    given = {"to": ["slack_default", "smtp-ops", "hooks.night"], "email_to": ["ops@example.com"]}
    assert Notify.model_validate(given).late_after_minutes is None


def test_a_time_out_without_a_question_is_refused() -> None:
    with pytest.raises(ValidationError, match="'auto' asks nobody"):
        Retrain.model_validate({"approve_timeout_hours": 2})
    kept = Retrain().model_dump()  # as a model version keeps its settings, with every key
    assert Retrain.model_validate(kept) == Retrain()
    assert Retrain.model_validate({"approve": "on_risk", "approve_timeout_hours": 2}).approve_timeout_hours == 2
