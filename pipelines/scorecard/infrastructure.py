"""Section 3 of the rubric, tests for ML infrastructure: one function per test."""

from __future__ import annotations

from datetime import timedelta

from pipelines.ledger import Row
from pipelines.scorecard.evidence import Evidence, checks
from pipelines.scorecard.found import HALF, Found, day, half, listed, nothing, several, span, told, whole

_DRILL_DAYS = 62  # it is done each month; two missed ones mean that nobody does it
_NIGHT = ("ingest", "validate", "build_features", "score", "release")
_MECHANICAL = ("scores", "spread", "speed", "size")


def training_reproducible(known: Evidence) -> Found:
    """Replays that made the same model again, byte for byte; whole with two days and the champion among them."""
    rows = [row for row in known.of_step("replay") if row["state"] == "done" and row["summary"]]
    if not rows:
        step = f"nightshift replay {known.name} {known.champion or 1}"
        return nothing(missing="no version was ever made again", step=step, after=HALF)
    replays = (f"replay of version {r['summary']['version']} on {day(r['started_at'])}: {_verdict(r)}" for r in rows)
    evidence = told(replays)
    if _verdict(rows[0]) != "equal":
        step = f"look at what differs: nightshift replay {known.name} {rows[0]['summary']['version']}"
        return nothing(evidence, missing="the newest replay made another model", step=step, effort="a day")
    equal = [row for row in rows if _verdict(row) == "equal"]
    if known.champion not in {row["summary"]["version"] for row in equal}:
        step = f"nightshift replay {known.name} {known.champion}"
        return half(evidence, missing=f"the champion, version {known.champion}, was not made again", step=step)
    if len({day(row["started_at"]) for row in equal}) < 2:
        step = f"trigger '{known.name}__replay' again on another day, best each month"
        return half(evidence, missing="done on one day only", step=step)
    return whole(evidence)


def _verdict(row: Row) -> str:
    return str(row["summary"]["verdict"])


def specs_unit_tested(known: Evidence) -> Found:
    """What the gate does with each model (loads it, scores, times it) is no unit test of the code that trains it."""
    gate = known.gates[0] if known.gates else None
    found = [check["name"] for check in checks(gate) if check["name"] in _MECHANICAL]
    evidence = (
        (f"version {gate['model_version']} was loaded and scored with before the gate ({listed(found)})",)
        if gate and found
        else ()
    )
    return nothing(*evidence, missing="whether the tests of the training code passed is not recorded here")


def pipeline_integration_tested(known: Evidence) -> Found:
    """Half: the newest code went through a whole night and a whole retrain, though only in production."""
    night = [row for row in known.of_step("release") if row["state"] == "done"]
    trained = [row for row in known.of_step("train") if row["state"] == "done"]
    if not night or not trained:
        step = f"nightshift run {known.name} --from D --to D, then {known.retrain}"
        return nothing(missing="no whole night and whole retrain ran yet", step=step, after=HALF)
    code = night[0]["code_version"]
    whole_way = all(any(row["code_version"] == code for row in known.of_step(step)) for step in _NIGHT)
    evidence = f"code {code} ran from file to release for {night[0]['partition']}"
    if not whole_way or not any(row["code_version"] == code for row in trained):
        step = known.retrain
        return nothing(evidence, missing="this code was never trained with", step=step, after=HALF)
    retrain = next(row for row in trained if row["code_version"] == code)
    evidence += f" and trained a model on {retrain['partition']}"
    return half(evidence, missing="a test on a copy, before new code comes to the nights, is not recorded here")


def validated_before_serving(known: Evidence) -> Found:
    """The gate's decision on the version that is champion now."""
    gate = known.gate_of_champion()
    if gate is None:
        step = known.retrain
        return nothing(missing="the champion did not come through the gate", step=step)
    failed = [row for row in known.gates if row["outcome"] != "PROMOTE"]
    evidence = (
        f"version {known.champion} on {gate['partition']}: {several(len(checks(gate)), 'check')} before it became "
        f"champion; {len(failed)} of the last {several(len(known.gates), 'challenger')} not let in"
    )
    return whole(evidence)


def model_debuggable(known: Evidence) -> Found:
    """What drives the champion's scores was measured and lies in its card; single rows: `nightshift explain`."""
    measured = known.explanation or {}
    rows = (measured.get("contributions") or {}).get("rows")
    if known.champion is None or not measured.get("permutation"):
        step = f"{known.retrain}: the card is written with each version"
        return nothing(missing="the champion has no explanation", step=step)
    parts = [f"what each feature adds to {rows:,} scores"] if rows else []
    parts += [f"how scores follow {several(len(measured.get('dependence') or []), 'feature')}"]
    return whole(f"the card of version {known.champion} shows {' and '.join(parts)}")


def models_canaried(known: Evidence) -> Found:
    """A challenger in shadow is judged on released days; the audit alone sees all rows of a new one at once."""
    step = f"set 'gate.shadow' in {known.file}: a challenger scores beside the champion for that many partitions"
    judged = [row for row in known.shadows if row["outcome"] in ("PROMOTE", "DROP")]
    if judged:
        verdicts = (f"version {row['model_version']} on {row['partition']}: {row['outcome']}" for row in judged)
        evidence = f"judged in shadow: {told(verdicts)}"
        if any(row["model_version"] == known.champion and row["outcome"] == "PROMOTE" for row in judged):
            return whole(evidence)
        return half(evidence, missing="the champion itself came without a shadow", step=step)
    passed = [row["partition"] for row in known.audits if row["outcome"] == "PASS"]
    if not passed:
        return nothing(missing="no scores were looked at before their release", step=step)
    evidence = f"scores of {several(len(passed), 'partition')} ({span(passed)}) were audited before readers saw them"
    return half(evidence, missing="a new champion scores all rows at once", step=step)


def rollback_possible(known: Evidence) -> Found:
    """The monthly drill, or a rollback that somebody did."""
    step = "nightshift maintenance, or switch on the DAG 'nightshift__maintenance', which does the drill each month"
    back = [row for row in known.champions if row["action"] == "rollback"]
    done = f"version {back[0]['version']} was put back on {day(back[0]['decided_at'])}" if back else ""
    if not known.drills:
        missing = "no rollback drill ran"
        return half(done, missing=missing, step=step) if back else nothing(missing=missing, step=step)
    drill = known.drills[0]
    practised = f"drill of {day(drill['decided_at'])}, version {drill['model_version']}: {'; '.join(drill['reasons'])}"
    evidence = tuple(text for text in (practised, done) if text)
    if drill["outcome"] != "PASS":
        return nothing(
            *evidence, missing="the newest drill failed", step="retrain, or restore the files", effort="a day"
        )
    if known.today - drill["decided_at"].date() > timedelta(days=_DRILL_DAYS):
        return half(*evidence, missing=f"that is more than {_DRILL_DAYS} days ago", step=step)
    return whole(*evidence)
