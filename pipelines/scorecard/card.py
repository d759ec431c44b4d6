"""The scorecard of one pipeline as plain data."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

from pipelines.home import Home
from pipelines.scorecard.evidence import Evidence, gather
from pipelines.scorecard.found import EFFORTS, HALF, WHOLE, Found
from pipelines.scorecard.rubric import SECTIONS, TESTS, Test, interpretation
from pipelines.settings.loader import load_pipeline, load_statements
from pipelines.settings.scorecard import VALID_DAYS, rubric_names

Entry = dict[str, Any]


def scorecard(home: Home, name: str, today: date) -> dict[str, Any]:
    """JSON-able: `score` (the smallest of the four `sections`), the paper's `interpretation`, `tests`, `next`.

    Grain of `tests`: one of the 28, as `judged` describes, in the paper's order. `next` is the cheapest step that
    raises the lowest section (None when nothing is left).

    Raises:
        ConfigError: the pipeline's file or its statements are wrong.
    """
    known = gather(home, load_pipeline(name, home.config), load_statements(name, home.config, today), today)
    return card(known)


def card(known: Evidence) -> dict[str, Any]:
    tests = [judged(test, known) for test in TESTS]
    sections = {name: sum(one["points"] for one in tests if one["section"] == name) for name in SECTIONS}
    score = min(sections.values())
    return {
        "pipeline": known.name,
        "on": known.today.isoformat(),
        "score": score,
        "interpretation": interpretation(score),
        "sections": sections,
        "next": cheapest(tests, sections),
        "tests": tests,
    }


def judged(test: Test, known: Evidence) -> Entry:
    """One test: `points`, `evidence` (sentences), what is `missing`, the cheapest `step` with its `effort` and `gain`.

    A person's statement gives half a point for a year; it never lowers what the runs show.
    """
    found, spoken = test.look(known), _statement(test, known)
    points = max(found.points, HALF if spoken["counts"] else 0.0)
    return {
        "section": test.section,
        "test": test.key,
        "name": rubric_names()[test.key],
        "points": points,
        "evidence": [*found.evidence, *([spoken["text"]] if spoken["text"] else [])],
        "missing": found.missing,
        **_step(test, known, found, points),
    }


def _statement(test: Test, known: Evidence) -> Entry:
    said = known.statements.of(test.key)
    if said is None:
        return {"counts": False, "text": ""}
    text = f"{said.who}, {said.when}: {' '.join(said.what.split())}"
    if said.is_out_of_date(known.today):
        return {"counts": False, "text": f"out of date, more than {VALID_DAYS} days old: {text}"}
    return {"counts": True, "text": text}


def _step(test: Test, known: Evidence, found: Found, points: float) -> Entry:
    """The pipeline's own step if it earns something, else a statement; nothing once neither can."""
    if points == WHOLE:
        return {"step": "", "effort": "", "gain": 0.0}
    if found.step and found.after > points:
        return {"step": found.step, "effort": found.effort, "gain": max(found.after - points, 0.0)}
    if points == 0.0:
        step = f"say in config/scorecards/{known.name}.yaml under '{test.key}': {test.ask}"
        return {"step": step, "effort": "an hour", "gain": HALF}
    return {"step": "", "effort": "", "gain": 0.0}


def cheapest(tests: Sequence[Entry], sections: dict[str, float]) -> Entry | None:
    """The step of least effort in the lowest section (then the greatest gain, then the paper's order)."""
    lowest = min(sections.values())
    open_tests = [one for one in tests if one["step"] and sections[one["section"]] == lowest]
    return min(open_tests, key=lambda one: (EFFORTS.index(one["effort"]), -one["gain"]), default=None)
