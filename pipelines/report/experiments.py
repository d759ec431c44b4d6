"""What was tried and what came of it: versions and the trials of searches, from the ledger alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.errors import ConfigError, did_you_mean, names, quote
from pipelines.home import Home
from pipelines.ledger import Ledger, Row
from pipelines.training.metrics import direction
from pipelines.training.tuning_study import Studies


def experiments(
    home: Home, pipeline: str, sort: str | None = None, snapshot: str = "", code: str = ""
) -> dict[str, Any]:
    """`metric`, `versions` and `searches`, JSON-able; the best first by `sort`, by default the metric of the gate.

    Without a metric (None; models without labels) the newest comes first.
    `snapshot` and `code` keep those whose snapshot id or commit begins with it. Grain: one version; one search, with
    its `trials`. A version's metrics are those of its holdout, a trial's value is that of the last training partitions.

    Raises:
        ConfigError: E-CONFIG-METRIC when no version has the metric.
    """
    ledger = Ledger(home.ledger_url)
    versions = [one for one in _versions(ledger, pipeline) if _is_wanted(one, snapshot, code)]
    metric = _sorted_by(versions, sort)
    searches = [one for one in _searches(Studies(home.ledger_url), pipeline) if _is_wanted(one, snapshot, code)]
    return {
        "pipeline": pipeline,
        "metric": metric,
        "versions": _best_first(versions, metric) if metric else versions[::-1],
        "searches": searches,
    }


def version_row(ledger: Ledger, pipeline: str, version: int) -> dict[str, Any]:
    """One version as `experiments` lists it; raises ModelError E-MODEL-UNKNOWN when it was never registered."""
    row = ledger.model(pipeline, version)
    gates = ledger.decisions_about(pipeline, version, ["gate"])
    state = _states(gates, ledger.champions(pipeline)).get(version, "registered")
    seconds = _seconds(ledger, pipeline, row["run_id"])
    return _version(row, state, seconds) | {"against_champion": judged(gates).get(version)}


def _seconds(ledger: Ledger, pipeline: str, run_id: str) -> float | None:
    """How long the run's training took, as it says itself."""
    partitions = {row["partition"] for row in ledger.of_run(pipeline, run_id)}
    attempts = [row for key in partitions for row in ledger.attempts(pipeline, key)]
    trained = [row["summary"] or {} for row in attempts if (row["step"], row["run_id"]) == ("train", run_id)]
    return trained[-1].get("seconds") if trained else None


def judged(gates: Sequence[Row]) -> dict[int, dict[str, Any]]:
    """Per version: what the gate found last against the champion of that day, on the same rows: `over`, `gain`, `text`.

    `gates`: its decisions, oldest first. Without those that met no champion.
    """
    found = {}
    for row in gates:
        over = row["numbers"].get("champion")
        for check in row["numbers"].get("checks", []):
            if over and check["name"] == "champion":
                gain = (check.get("numbers") or {}).get("gain")
                found[row["model_version"]] = {"over": over, "gain": gain, "text": check["text"]}
    return found


def direction_of(metric: str) -> str | None:
    """'higher' or 'lower' is better; None for what a model without labels is described by."""
    try:
        return direction(metric)
    except ConfigError:
        return None


def _versions(ledger: Ledger, pipeline: str) -> list[dict[str, Any]]:
    gates = ledger.decisions(pipeline, "gate")
    states = _states(gates, ledger.champions(pipeline))
    trained = [row["summary"] or {} for row in ledger.attempts(pipeline) if row["step"] == "train"]
    seconds = {summary["version"]: summary.get("seconds") for summary in trained if "version" in summary}
    against = judged(gates)
    return [
        _version(row, states.get(row["version"], "registered"), seconds.get(row["version"]))
        | {"against_champion": against.get(row["version"])}
        for row in ledger.models(pipeline)
    ]


def _states(gates: Sequence[Row], changes: Sequence[Row]) -> dict[int, str]:
    """`champion`, `former` (champion), or what the gate decided last."""
    found = {row["model_version"]: str(row["outcome"]) for row in gates}
    champions = [row["version"] for row in changes]
    return found | dict.fromkeys(champions, "former") | dict.fromkeys(champions[-1:], "champion")


def _version(row: Row, state: str, seconds: float | None) -> dict[str, Any]:
    record = row["record"]
    tuning = record.get("tuning") or {}
    parent = (record.get("warm_start") or {}).get("parent") or {}
    return {
        "version": row["version"],
        "state": state,
        "as_of": row["as_of"].isoformat(),
        "created_at": row["created_at"].isoformat(timespec="seconds"),
        "family": record.get("family"),
        "model": record.get("estimator"),
        "parameters": tuning.get("parameters") or record.get("parameters") or {},
        "metrics": record.get("holdout_metrics") or {},
        "main_metric": _main_metric(record),
        "snapshot_id": record.get("snapshot_id"),
        "digests": record.get("digests") or {},
        "code": record.get("code_version"),
        "seconds": seconds,
        "parent": parent.get("version"),
        "search": tuning.get("study"),
        "mlflow_run_id": row["mlflow_run_id"],
    }


def _main_metric(record: Mapping[str, Any]) -> str | None:
    """What the gate compared, by the settings that the version was trained with."""
    from pipelines.training.metrics import default_metric

    training = ((record.get("made_from") or {}).get("settings") or {}).get("training") or {}
    if not training:
        return None
    name = training.get("metric") or default_metric(training["task"])
    return name if training.get("quantile") is None else f"{name}_{training['quantile']:g}"


def _sorted_by(versions: Sequence[Mapping[str, Any]], wanted: str | None) -> str | None:
    known = sorted({name for one in versions for name in one["metrics"]})
    if wanted is None:
        main = [one["main_metric"] for one in versions if one["main_metric"] in known]
        return main[-1] if main else next(filter(direction_of, known), None)
    if versions and wanted not in known:
        what = f"must be a metric of these versions ({names(known)}), got {quote(wanted)}"
        raise ConfigError("E-CONFIG-METRIC", "--sort", what, did_you_mean(wanted, known))
    return wanted


def _best_first(versions: Sequence[dict[str, Any]], metric: str) -> list[dict[str, Any]]:
    sign = -1 if direction_of(metric) == "higher" else 1

    def place(one: Mapping[str, Any]) -> tuple[bool, float, int]:
        value = one["metrics"].get(metric)
        return value is None, sign * (value or 0.0), one["version"]

    return sorted(versions, key=place)


def _searches(studies: Studies, pipeline: str) -> list[dict[str, Any]]:
    """Newest first."""
    return [_search(row, studies.trials(row["study"])) for row in reversed(studies.of(pipeline))]


def _search(study: Row, trials: Sequence[Row]) -> dict[str, Any]:
    sign = -1 if study["direction"] == "higher" else 1
    rows = [_trial(row, study["first"]) for row in trials]
    rows.sort(key=lambda row: (row["value"] is None, sign * (row["value"] or 0.0), row["trial"]))
    return {
        "study": study["study"],
        "partition": study["partition"],
        "created_at": study["created_at"].isoformat(timespec="seconds"),
        "snapshot_id": study["snapshot_id"],
        "code": study["code_version"],
        "metric": study["metric"],
        "wanted": study["trials"],
        "states": dict(sorted(Counter(row["state"] for row in rows).items())),
        "first": study["first"],
        "settings": study["settings"],
        "trials": rows,
    }


def _trial(row: Row, first: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    ended = row["ended_at"]
    return {
        "trial": row["number"],
        "state": row["state"],
        "value": row["value"],
        "seconds": round((ended - row["started_at"]).total_seconds(), 2) if ended else None,
        "parameters": row["parameters"] or {},
        "origin": first[row["number"]]["origin"] if row["number"] < len(first) else "sampled",
        "last_step": row["looks"][-1][0] if row["looks"] else None,
        "tries": row["tries"],
        "reason": row["reason"],
    }


def _is_wanted(one: Mapping[str, Any], snapshot: str, code: str) -> bool:
    return str(one["snapshot_id"]).startswith(snapshot) and str(one["code"]).startswith(code)
