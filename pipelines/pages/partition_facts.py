"""What is known of one partition, as plain data: from the ledger, and of its newest releases from their manifests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from pipelines.errors import ConfigError, NightshiftError, quote
from pipelines.home import Home
from pipelines.ledger import Ledger, Row
from pipelines.pages.known import ledger_of, settings_of
from pipelines.report.nights import DAILY_STEPS, nights

_MOST_FILES = 200
_NOT_AIRFLOW = ("local__", "cli__")  # run ids of `nightshift run` and of commands: Airflow's pages do not know them
_FEEDS = (("dimension_", "dimension"), ("labels_", "labels"))


def partition_facts(home: Home, name: str, key: str) -> dict[str, Any]:
    """Everything but the quarantined rows; what is not known is None or empty.

    Raises:
        ConfigError: E-RUN-PARTITION for a key that can be no partition, or of which a pipeline that is configured no
            more knows nothing.
    """
    ledger = ledger_of(home)
    span = _span(home, ledger, name, key)
    tables, attempts = ledger.tables_of(name, key), ledger.attempts(name, key)
    night = next(iter(nights(ledger, {name: (key, key)}).get(name, [])), None)
    before, after = ledger.neighbours(name, key)
    releases = ledger.releases(name, key)
    return {
        "pipeline": name,
        "partition": key,
        "span": span,
        "night": night,
        "before": before,
        "after": after,
        "stopped": _stopped(night, attempts),
        "inputs": _inputs(ledger.inputs(name, key), tables),
        "warnings": warnings(tables.get("quarantine/validate")),
        "anomaly": anomaly(tables.get("quarantine/validate")),
        "rules": _rules(tables.get("quarantine/validate")),
        "features": _features(tables.get("features")),
        "tables": [_table(row) for _, row in sorted(tables.items())],
        "scores": _scores(tables.get("predictions"), attempts),
        "releases": [_release(home, row) for row in reversed(releases)],
        "decisions": [_decision(row) for row in reversed(ledger.decisions(name, None, key))],
        "attempts": [_attempt(row) for row in attempts],
        "reports": _reports(home, name, key),
        "daily_run": _daily_run(attempts),
    }


def is_of_airflow(run_id: str) -> bool:
    return not run_id.startswith(_NOT_AIRFLOW)


def warnings(validated: Row | None) -> list[str]:
    """What validation noticed without refusing anything."""
    return [str(text) for text in (validated["facts"].get("warnings") or [])] if validated else []


def anomaly(validated: Row | None) -> dict[str, Any]:
    """What the data gate measured; `findings` are those beyond their limit."""
    facts = (validated["facts"].get("anomaly") or {}) if validated else {}
    return {**facts, "findings": list(facts.get("findings") or [])}


def _span(home: Home, ledger: Ledger, name: str, key: str) -> tuple[datetime, datetime] | None:
    pipeline, wrong = settings_of(home, name)
    if pipeline is not None:
        partition = pipeline.parse(key)
        return partition.start, partition.end
    if not ledger.attempts(name, key):
        what = f"nothing is known of a partition {quote(key)}"
        raise ConfigError("E-RUN-PARTITION", quote(name), what, wrong)
    return None


def _stopped(night: Mapping[str, Any] | None, attempts: Sequence[Row]) -> dict[str, Any] | None:
    """Where it stopped and what to do, as the error itself says it; None where nothing is open."""
    if night is None or not night["error"]:
        return None
    row = next(row for row in reversed(attempts) if row["step"] == night["step"] and row["error"] == night["error"])
    return {"step": row["step"], "state": row["state"], "at": row["ended_at"], "error": row["error"], **_attempt(row)}


def _inputs(rows: Sequence[Row], tables: Mapping[str, Row]) -> list[dict[str, Any]]:
    """One row per content, newest last; `feed`: what it was read for, `is_current`: whether the tables hold it."""
    current = {row["facts"].get("sha256"): name for name, row in tables.items() if "sha256" in row["facts"]}
    return [
        {
            "source": row["source"],
            "feed": _feed(current.get(row["sha256"])),
            "sha256": row["sha256"],
            "bytes": row["bytes"],
            "records": row["records"],
            "first_seen_at": row["first_seen_at"],
            "is_current": row["sha256"] in current,
        }
        for row in rows
    ]


def _feed(table: str | None) -> str:
    if table is None:
        return ""
    named = [f"{word} '{table.removeprefix(prefix)}'" for prefix, word in _FEEDS if table.startswith(prefix)]
    return named[0] if named else "events"


def _rules(validated: Row | None) -> dict[str, Any] | None:
    """How many rules there were, and the rows that each failed one refused."""
    if validated is None:
        return None
    facts = validated["facts"]
    failed = sorted((facts.get("reasons") or {}).items(), key=lambda item: (-item[1], item[0]))
    return {"count": facts.get("rules"), "failed": failed, "refused": bool(facts.get("refused"))}


def _features(published: Row | None) -> dict[str, Any] | None:
    if published is None:
        return None
    facts = published["facts"]
    return _table(published) | {"names": list(facts.get("features") or []), "groups": dict(facts.get("groups") or {})}


def _table(row: Row) -> dict[str, Any]:
    names = ("table_name", "row_count", "delta_version", "generation", "content_digest", "published_at")
    return {name: row[name] for name in names}


def _scores(published: Row | None, attempts: Sequence[Row]) -> dict[str, Any] | None:
    """What was published, or, where the audit holds it back, what the newest attempts of `score` computed."""
    if published is not None and not published["facts"].get("retracted"):
        facts = published["facts"]
        return {
            "rows": published["row_count"],
            "model_version": facts.get("model_version"),
            "is_hindsight": bool(facts.get("is_hindsight")),
            "is_published": True,
        }
    done = [row for row in attempts if row["step"] == "score" and row["state"] in ("done", "unchanged")]
    mine = [row["summary"] or {} for row in done if row["run_id"] == done[-1]["run_id"]]
    if not mine:
        return None
    return {
        "rows": sum(summary.get("rows") or 0 for summary in mine),
        "model_version": mine[-1].get("model_version"),
        "is_hindsight": bool(mine[-1].get("is_hindsight")),
        "is_published": False,
    }


def _release(home: Home, row: Row) -> dict[str, Any]:
    """One release with its files; of one whose manifest is gone or damaged `files` is None."""
    files = home.files(*row["path"].split("/"))
    manifest = _manifest(home, row)
    listed = None if manifest is None else manifest.get("files", [])
    names = ("seq", "release_id", "model_version", "row_count", "digest", "state", "is_hindsight", "reason", "run_id")
    return {name: row[name] for name in names} | {
        "released_at": row["released_at"],
        "address": files.root,
        "files": None if listed is None else [_file(entry) for entry in listed[:_MOST_FILES]],
        "more_files": max(0, len(listed or []) - _MOST_FILES),
    }


def _manifest(home: Home, row: Row) -> dict[str, Any] | None:
    import json

    from pipelines.storage.exports import MANIFEST

    try:
        content = home.files(*row["path"].split("/")).read(MANIFEST)
        found = None if content is None else json.loads(content)
    except (NightshiftError, OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _file(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {name: entry.get(name) for name in ("name", "rows", "bytes", "sha256")}


def _decision(row: Row) -> dict[str, Any]:
    return {
        "kind": row["kind"],
        "outcome": row["outcome"],
        "version": row["model_version"],
        "reasons": list(row["reasons"]),
        "numbers": dict(row["numbers"]),
        "decided_at": row["decided_at"],
        "run_id": row["run_id"],
    }


def _attempt(row: Row) -> dict[str, Any]:
    ended = row["ended_at"]
    summary = row["summary"] or {}
    return {
        "step": row["step"],
        "part": next((f"{name} {summary[name]}" for name in ("shard", "worker") if name in summary), ""),
        "state": row["state"],
        "is_daily": row["step"] in DAILY_STEPS,
        "started_at": row["started_at"],
        "seconds": (ended - row["started_at"]).total_seconds() if ended else None,
        "peak_rss_mib": row["peak_rss_mib"],
        "error": row["error"],
        "reason": summary.get("reason") if row["state"] == "skipped" else None,
        "run_id": row["run_id"],
        "is_of_airflow": is_of_airflow(row["run_id"]),
    }


def _daily_run(attempts: Sequence[Row]) -> str | None:
    """The newest run of the daily DAG that Airflow's own pages know."""
    mine = (row["run_id"] for row in reversed(attempts) if row["step"] in DAILY_STEPS)
    return next((run_id for run_id in mine if is_of_airflow(run_id)), None)


def _reports(home: Home, name: str, key: str) -> list[tuple[str, str]]:
    """(text, path below the reports) of those that were written."""
    files = home.files("reports", name)
    candidates = (("Data Docs", f"data_docs/{key}.html"), ("Drift report", f"drift/{key}.html"))
    written = [(text, path) for text, path in candidates if any(entry.name == path for entry in files.entries(path))]
    return [(text, f"{name}/{path}") for text, path in written]
