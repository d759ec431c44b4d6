"""What the morning report tells in sentences: what was out of the ordinary, and what explains the state."""

import pytest

from pipelines.report.story import notes, story, without_repeats


def test_story_tells_what_was_out_of_the_ordinary_newest_first() -> None:
    quiet = {"error": None, "step": None, "state": "released", "release": "released", "release_reason": None}
    quiet |= {"repaired": None, "read": 100, "quarantined": 1}  # 1 of 100 is an ordinary night
    partitions = [
        quiet
        | {"partition": "2026-03-04", "drift": "OK", "drift_reasons": [], "quarantined": 2}
        | {"repaired": "E-SCHEMA-MISSING payments 2026-03-04: column 'amount' is missing. Fix the file."},
        quiet | {"partition": "2026-03-03", "drift": "RETRAIN", "drift_reasons": ["DEAD_COLUMN 'a'.", "VOTES 2."]},
        quiet
        | {"partition": "2026-03-02", "state": "refused", "step": "validate", "drift": None, "drift_reasons": []}
        | {"error": "E-DQ-EMPTY payments 2026-03-02: no rows. Send the file again."},
        quiet
        | {"partition": "2026-03-01", "drift": None, "drift_reasons": []}
        | {"release": "retracted", "release_reason": "wrong prices"},
    ]
    gates = [{"partition": "2026-03-03", "outcome": "HOLD", "version": 2, "reasons": ["not better"]}]
    gates = [gate | {"decided_at": "2026-05-01T10:00:00+00:00"} for gate in gates]
    gates.append(gates[0] | {"partition": "2026-03-01", "outcome": "PROMOTE", "version": 3, "reasons": ["better"]})
    started = {"partition": "2026-03-01", "outcome": "START", "version": 3, "reasons": ["version 3 scores beside"]}
    shadows = [started | {"decided_at": "2026-05-01T10:01:00+00:00"}]
    rollback = {"since": "2026-03-04T00:00:00+00:00", "action": "rollback", "version": 1, "actor": "anna"}
    rollback |= {"decided_at": "2026-05-01T11:00:00+00:00"}
    champions = [rollback | {"action": "promote", "reason": "first"}, rollback | {"reason": "scores too high"}]
    told = story({"partitions": partitions, "gates": gates, "shadows": shadows, "champions": champions})
    assert [(event["date"], event["kind"], event["text"]) for event in told] == [
        ("2026-03-04", "repaired", "had stopped, a later run went well: column 'amount' is missing. Fix the file."),
        ("2026-03-04", "quarantined", "2 of 100 rows, see 'checks' below"),
        ("2026-03-03", "rollback", "version 1 is back (anna): scores too high"),
        ("2026-03-03", "HOLD", "version 2 was held back, the champion stays: not better"),
        ("2026-03-03", "RETRAIN", "DEAD_COLUMN 'a'. (1 more reason)"),
        ("2026-03-02", "refused", "stopped at validate: no rows. Send the file again."),
        ("2026-03-01", "shadow START", "version 3 scores beside"),
        ("2026-03-01", "PROMOTE", "version 3 passed the gate: better"),
        ("2026-03-01", "retracted", "scores withdrawn: wrong prices"),
    ]


@pytest.mark.parametrize(
    ("drift", "said"),
    [
        pytest.param("WATCH", ["The monitor says WATCH of 2026-03-02: SHIFT 'a' shifted."], id="worth a look"),
        pytest.param("OK", [], id="all is well"),
    ],
)
def test_notes_are_not_calm_about_what_the_monitor_watches(drift: str, said: list[str]) -> None:
    unseen = {"partition": "2026-03-03", "drift": None, "drift_reasons": []}
    seen = {"partition": "2026-03-02", "drift": drift, "drift_reasons": ["SHIFT 'a' shifted.", "VOTES 1 of 3."]}
    one = {"champion": {"version": 1}, "shadow": None, "partitions": [unseen, seen]}
    assert notes(one) == said


def test_story_ends_with_the_decision_that_holds() -> None:
    """A rollback from the 4th on and a later promotion on the 3rd: the promotion is what holds, so it comes first."""
    day = {"error": None, "repaired": None, "state": "released", "release": "released", "drift": "OK"}
    day |= {"read": 1, "quarantined": 0}
    promoted = {"partition": "2026-03-03", "outcome": "PROMOTE", "version": 4, "reasons": ["better"]}
    rollback = {"since": "2026-03-04T00:00:00+00:00", "action": "rollback", "version": 1, "actor": "anna"}
    told = story(
        {
            "partitions": [day | {"partition": "2026-03-03"}],
            "gates": [promoted | {"decided_at": "2026-05-02T00:00:00+00:00"}],
            "shadows": [],
            "champions": [rollback | {"reason": "why", "decided_at": "2026-05-01T00:00:00+00:00"}],
        }
    )
    assert [(event["date"], event["kind"]) for event in told] == [("2026-03-03", "PROMOTE"), ("2026-03-03", "rollback")]


def test_what_is_said_of_several_partitions_is_told_once() -> None:
    def event(day: int, text: str, kind: str = "WATCH") -> dict[str, str]:
        return {"date": f"2026-03-{day:02d}", "kind": kind, "text": text}

    told = without_repeats(
        [
            event(5, "DEAD_COLUMN 'a' (30% of it)"),
            event(4, "other"),
            event(3, "DEAD_COLUMN 'a' (34% of it) (2 more reasons)"),
            event(2, "DEAD_COLUMN 'a' (34% of it)", "RETRAIN"),
        ]
    )
    assert [(one["date"], one["kind"], one["text"]) for one in told] == [
        ("2026-03-05", "WATCH", "DEAD_COLUMN 'a' (30% of it); 2 times since 2026-03-03"),
        ("2026-03-04", "WATCH", "other"),
        ("2026-03-02", "RETRAIN", "DEAD_COLUMN 'a' (34% of it)"),
    ]
