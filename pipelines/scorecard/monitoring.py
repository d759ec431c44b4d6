"""Section 4 of the rubric, monitoring tests: one function per test."""

from __future__ import annotations

from statistics import median
from typing import Any

from pipelines.ledger import Row
from pipelines.scorecard.evidence import Evidence, checks
from pipelines.scorecard.found import Found, day, half, listed, nothing, several, span, whole

_REPEATED = 2
_TIMED = ("build_features", "score")


def dependency_changes(known: Evidence) -> Found:
    """A changed file is refused with a reason; whole where somebody is told about it."""
    judged = {row["partition"] for row in known.of_step("ingest") if row["state"] not in ("running", "skipped")}
    refused = [row for row in known.of_step("ingest") if row["state"] == "refused" and row["error"]]
    step = f"name a connection under 'notify.to' in {known.file}"
    if len(judged) < _REPEATED:
        return nothing(missing="too few partitions were read yet", step=_run(known))
    evidence = f"columns and types of {several(len(judged), 'partition')} were compared with the declared ones"
    if refused:
        evidence += f"; {refused[0]['partition']} was refused: {_short(refused[0]['error'])}"
    if known.pipeline.notify is None:
        return half(evidence, missing="nobody is told unless they look", step=step)
    if not known.messages:
        step = f"look at it with 'nightshift notify {known.name}'; the next night sends it"
        return half(evidence, missing="no message went out yet", step=step)
    newest = known.messages[0]
    return whole(evidence, f"told through '{newest['connection']}' on {day(newest['sent_at'])}: {newest['title']}")


def input_invariants(known: Evidence) -> Found:
    """Rows in quarantine and partitions refused: the suite and the standing checks at work."""
    judged = {row["partition"] for row in known.of_step("validate") if row["state"] in ("done", "unchanged", "refused")}
    if len(judged) < _REPEATED:
        return nothing(missing="no two partitions were validated yet", step=_run(known))
    rows = [row for row in known.partitions if row["partition"] in judged]
    held = sum(row["quarantined"] for row in rows)
    refused = [row["partition"] for row in rows if row["state"] == "refused"]
    evidence = (
        f"{several(len(judged), 'partition')} validated, {span(list(judged))}: {held:,} of "
        f"{sum(row['read'] for row in rows):,} rows in quarantine, {several(len(refused), 'partition')} refused"
    )
    if not known.rules:
        step = f"add rules: 'nightshift suggest {known.name}' proposes some"
        return half(evidence, missing="only the standing checks look, the suite is empty", step=step, effort="an hour")
    return whole(evidence)


def training_serving_skew(known: Evidence) -> Found:
    """Each night's features against those that the champion learnt from, by every row."""
    compared = [row for row in known.drifts if row["numbers"].get("columns")]
    if len(compared) < _REPEATED:
        return nothing(missing="no two nights were compared with the training data yet", step=_run(known))
    newest = compared[0]
    columns: dict[str, dict[str, Any]] = newest["numbers"]["columns"]
    apart = [name for name, one in columns.items() if one["grade"] != "quiet"]
    evidence = (
        f"{len(columns)} columns compared on {several(len(compared), 'partition')}; newest {newest['partition']}: "
        f"{newest['outcome']}, {f'apart: {listed(apart)}' if apart else 'none apart'}"
    )
    return whole(evidence)


def model_age(known: Evidence) -> Found:
    """The age is written down each night; whole where a limit holds scores of too old a model back."""
    ages = [
        (row["partition"], age) for row in known.audits if (age := row["numbers"].get("model_age_days")) is not None
    ]
    limit = known.pipeline.audit.max_model_age_days
    step = f"set 'audit.max_model_age_days' in {known.file}"
    if not ages:
        return nothing(missing="no scores were audited yet", step=_run(known))
    evidence = f"the model was {ages[0][1]:g} days old on {ages[0][0]}, at most {max(age for _, age in ages):g} days"
    if limit is None:
        return half(evidence, missing="no limit: a forgotten model would go on scoring", step=step)
    return whole(evidence, f"scores of a model older than {limit} days are held back")


def numerically_stable(known: Evidence) -> Found:
    """NaN and infinity hold a release back; so does a score out of its range."""
    counted = [row for row in known.audits if isinstance(row["numbers"].get("score"), dict)]
    if len(counted) < _REPEATED:
        return nothing(missing="no two partitions of scores were audited yet", step=_run(known))
    bad = sum(row["numbers"]["score"].get("not_finite") or 0 for row in counted)
    rows = sum(row["numbers"].get("scored") or 0 for row in counted)
    return whole(f"{bad:,} of {rows:,} scores in {several(len(counted), 'partition')} were not finite")


def computing_performance(known: Evidence) -> Found:
    """A model that became slow is held back by the gate; a night that became slow only by limits on its steps."""
    speed = next((check for gate in known.gates[:1] for check in checks(gate) if check["name"] == "speed"), None)
    times = [text for step in _TIMED if (text := _time_text(known, step))]
    if not times:
        return nothing(missing="nothing ran yet", step=_run(known))
    limits = {step: known.pipeline.resources_of(step).time_limit_minutes for step in _TIMED}
    evidence = [*times, *([f"version {known.gates[0]['model_version']}: {speed['text']}"] if speed else [])]
    unlimited = [step for step, minutes in limits.items() if minutes is None]
    if unlimited:
        step = f"set 'resources.{unlimited[0]}.time_limit_minutes' in {known.file} (or 'resources.default')"
        missing = f"no limit on the time of {listed(unlimited)}"
        return (half if speed else nothing)(*evidence, missing=missing, step=step)
    return whole(*evidence, ", ".join(f"{step} is stopped after {limits[step]:g} minutes" for step in _TIMED))


def _time_text(known: Evidence, step: str) -> str:
    """Median of the newer and of the older half of the nights; empty with fewer than four."""
    rows = [row for row in known.of_step(step) if row["state"] == "done" and row["ended_at"]]
    seconds = [(row["ended_at"] - row["started_at"]).total_seconds() for row in rows]
    if len(seconds) < 4:
        return ""
    newer, older = seconds[: len(seconds) // 2], seconds[len(seconds) // 2 :]
    return f"{step}: median {median(newer):.2f} s lately, {median(older):.2f} s before"


def prediction_quality(known: Evidence) -> Found:
    """The metric on matured labels, night by night, with a limit that asks for a new model."""
    realised = [row for row in known.drifts if row["numbers"].get("realised")]
    if len(realised) < _REPEATED:
        if any(row["numbers"].get("estimated") for row in known.drifts):
            missing = "quality is only estimated from the scores: no labels came back yet"
            return half(f"estimated on {known.drifts[0]['partition']}", missing=missing, effort="weeks")
        return nothing(missing="no released score was compared with its label yet", effort="weeks")
    evidence = f"{_quality_text(realised[0])}; told on {several(len(realised), 'night')}"
    monitor = known.pipeline.monitor
    if monitor.max_drop is None and monitor.loss_rise is None:
        step = f"set 'monitor.max_drop' in {known.file}"
        return half(evidence, missing="no loss of quality asks for a new model", step=step)
    return whole(evidence)


def _quality_text(row: Row) -> str:
    one = row["numbers"]["realised"]
    return (
        f"{row['partition']}: {one['metric']} {one['value']:.4g} on {one['rows']:,} matured labels of "
        f"{span(one['partitions'])}, {one['holdout']:.4g} on the holdout"
    )


def _short(error: str) -> str:
    """An error without its code and place, its first sentence."""
    return error.partition(": ")[2].split(". ")[0] or error


def _run(known: Evidence) -> str:
    return f"run two nights: nightshift run {known.name} --from D --to D"
