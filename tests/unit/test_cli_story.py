"""The page of `explain`: what moved the score is a short table beside the values, and adds up."""

from __future__ import annotations

from typing import Any

from pipelines.cli.story_page import row_story


def contributions(count: int, **changes: Any) -> dict[str, Any]:
    parts = {f"feature_{number}": 1.0 / (number + 1) for number in range(count)}
    return {"of": "1", "scale": "log-odds", "base": -1.0, "total": sum(parts.values()) - 1, "features": parts} | changes


def test_largest_contributions_stand_beside_values_and_the_rest_is_one_line(capsys) -> None:
    row_story({"features": {"feature_0": 3.5, "feature_1": None}, "contributions": contributions(12)})
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "contributions to '1', in log-odds" in lines
    assert "feature_0 3.5 +1.0000" in lines
    assert "feature_1 missing +0.5000" in lines
    assert "2 weaker features +0.1742" in lines  # 1/11 + 1/12
    assert "the row's raw score +2.1032" in lines


def test_a_model_without_contributions_says_why(capsys) -> None:
    row_story({"contributions": {"problem": "'Stub' does not split its scores"}, "release": None})
    assert "'Stub' does not split its scores" in capsys.readouterr().out
