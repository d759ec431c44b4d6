"""A ledger as years of nights would leave it: rows and JSON of the sizes that real runs write (see the demo's ledger).

Everything follows from the numbers given; nothing was trained, and no table of rows exists.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from sqlalchemy import insert

from pipelines.ledger import Ledger, schema

DAILY = ("ingest", "validate", "deduplicate", "build_features", "score", "score", "audit", "release", "monitor")
RETRAIN = ("snapshot", "tune", "train", "evaluate", "gate", "promote")
TABLES = ("raw", "quarantine/ingest", "quarantine/validate", "clean", "duplicates", "dimension_cards", "features")
COLUMNS = [f"card_amount_eur_{index:02d}_7d" for index in range(29)]
_LOOKBACK = 8
_SAMPLE_BYTES = 6_400


Settings = dict[str, Any]  # of one pipeline, as every version keeps them


def fill(ledger: Ledger, settings: dict[str, Settings], newest: date, partitions: int, versions: int) -> None:
    """Writes `partitions` nights that end with `newest`, and `versions` models, of each pipeline."""
    with ledger._engine.begin() as connection:
        for number, (pipeline, own) in enumerate(settings.items()):
            days = [newest - timedelta(days=back) for back in range(partitions - 1, -1, -1)]
            rows: dict[str, list[dict[str, Any]]] = {}
            for table, row in _rows(pipeline, number, days, versions, own):
                rows.setdefault(table, []).append({"pipeline": pipeline, **row})
            for table, found in rows.items():
                connection.execute(insert(schema.metadata.tables[table]), found)


def _rows(
    pipeline: str, number: int, days: list[date], versions: int, settings: Settings
) -> Iterator[tuple[str, dict[str, Any]]]:
    every = max(1, len(days) // versions)
    for place, day in enumerate(days):
        version = min(versions, place // every + 1)
        is_refused = (place + 3 * number) % 97 == 50
        yield from _night(pipeline, day, place, version, is_refused)
    for version in range(1, versions + 1):
        day = days[min(len(days) - 1, (version - 1) * every)]
        yield from _retrain(pipeline, day, version, settings)


def _night(
    pipeline: str, day: date, place: int, version: int, is_refused: bool
) -> Iterator[tuple[str, dict[str, Any]]]:
    key, run = day.isoformat(), f"scheduled__{day.isoformat()}T02:00:00+00:00"
    begun = datetime.combine(day + timedelta(days=1), time(2), UTC)
    known = {"partition": key, "run_id": run}
    read = 50_000 + 5_000 * (place % 7)
    steps = DAILY[:2] if is_refused else DAILY
    for order, step in enumerate(steps):
        is_last = is_refused and order == 1
        yield (
            "attempts",
            {
                **known,
                "step": step,
                "state": "refused" if is_last else "done",
                "started_at": begun + timedelta(minutes=order),
                "ended_at": begun + timedelta(minutes=order, seconds=40),
                "error": f"E-DQ-SHARE {pipeline} {key}: 31% of the rows fail 'amount_eur', 10% allowed. Look at them."
                if is_last
                else None,
                "summary": {"state": "done", "rows": read, "notes": "x" * 200},
                "code_version": "abcdef0123",
                "peak_rss_mib": 412,
            },
        )
    counts = {"read": read, "clean": read - 130, "quarantined": 100, "duplicate": 30}
    counts = {"read": read, "clean": 0, "quarantined": read, "duplicate": 0} if is_refused else counts
    moment = begun + timedelta(minutes=9)
    yield (
        "accounting",
        {
            "partition": key,
            "run_id": run,
            "state": "refused" if is_refused else "clean",
            "reason": None,
            "updated_at": moment,
            **counts,
        },
    )
    for source in ("payments", "cards", "chargebacks"):
        content = _digest(pipeline, key, source)
        yield (
            "inputs",
            {
                "partition": key,
                "source": f"inbox/{source}/{key}.csv.gz",
                "sha256": content,
                "bytes": 900_000,
                "records": read,
                "first_seen_at": begun,
            },
        )
    for table in () if is_refused else (*TABLES, "labels_chargebacks", "predictions"):
        yield "publications", _publication(pipeline, table, day, place, read, run, moment)
    if not is_refused:
        yield "releases", _release(pipeline, known, version, read, moment)
        yield (
            "decisions",
            _decision(known, "audit", "PASS", version, [], {"rows": read, "score": {"min": 0.01}}, moment),
        )
        outcome = "RETRAIN" if place % 40 == 39 else "WATCH" if place % 9 == 8 else "OK"
        reasons = [f"SHIFT '{COLUMNS[place % 29]}' (3% of the model's importance) shifted: PSI 0.31, limit 0.24."]
        numbers = _drift_numbers(day, place)
        yield "decisions", _decision(known, "drift", outcome, version, reasons, numbers, moment)


def _publication(
    pipeline: str, table: str, day: date, place: int, rows: int, run: str, moment: datetime
) -> dict[str, Any]:
    key = day.isoformat()
    facts: dict[str, Any] = {"read": rows, "clean": rows, "notes": "x" * 100}
    if table in ("features", "duplicates"):
        before = [day - timedelta(days=back) for back in range(min(place, _LOOKBACK - 1), -1, -1)]
        facts["inputs"] = {"clean": {one.isoformat(): _digest(pipeline, one.isoformat(), "clean") for one in before}}
    if table == "features":
        facts |= {"features": COLUMNS, "groups": dict.fromkeys(("a", "b", "c", "d"), "e2a54a4277ce34e9")}
    return {
        "table_name": table,
        "partition": key,
        "generation": 1,
        "run_id": run,
        "delta_version": place,
        "input_digest": _digest(pipeline, key, "input"),
        "content_digest": _digest(pipeline, key, table),
        "row_count": rows,
        "facts": facts,
        "published_at": moment,
    }


def _release(pipeline: str, known: dict[str, Any], version: int, rows: int, moment: datetime) -> dict[str, Any]:
    digest = _digest(pipeline, known["partition"], "release")
    return {
        **known,
        "seq": 1,
        "release_id": digest[:20],
        "model_version": version,
        "row_count": rows,
        "digest": digest,
        "path": f"exports/{pipeline}/_releases/{known['partition']}/{digest[:20]}",
        "state": "released",
        "is_hindsight": False,
        "reason": None,
        "released_at": moment,
    }


def _drift_numbers(day: date, place: int) -> dict[str, Any]:
    value = round(0.9 + 0.03 * math.sin(place / 9), 6)
    shares = [round(abs(math.sin(place * (column + 1) / 7)) * 0.25, 4) for column in range(len(COLUMNS))]
    return {
        "grade": "quiet",
        "rows": 50_000,
        "volume_ratio": 1.01,
        "reference": [(day - timedelta(days=back)).isoformat() for back in range(30, 9, -1)],
        "reference_digest": "1ba832b71d2749864fcaa75858968d47",
        "columns": {
            name: {
                "grade": "alarm" if share > 0.24 else "quiet",
                "importance": round(1 / (column + 2), 4),
                "psi": share,
                "psi_retrain": 0.24,
                "null_share": 0.01792,
                "new_share": 0.0,
            }
            for column, (name, share) in enumerate(zip(COLUMNS, shares, strict=True))
        },
        "not_judged": [],
        "score_psi": 0.02,
        "label_rate": {"rate": 0.05, "reference": 0.06, "z": -0.98, "limit": 5.154},
        "new_labels": 50_000,
        "realised": {
            "metric": "roc_auc",
            "value": value,
            "holdout": 0.91,
            "drop": round(0.91 - value, 6),
            "drop_low": round(0.90 - value, 6),
            "drop_high": round(0.92 - value, 6),
            "rows": 100_000,
            "partitions": [(day - timedelta(days=back)).isoformat() for back in (2, 1)],
            "covers_newest": False,
        },
        "estimated": {"accuracy": 0.958713, "roc_auc": round(value + 0.01, 6), "log_loss": 0.159739},
        "input_digest": "87a7cbcf8600fe37e61a140e8de4e758",
        "trigger": False,
    }


def _retrain(pipeline: str, day: date, version: int, settings: Settings) -> Iterator[tuple[str, dict[str, Any]]]:
    key, run = day.isoformat(), f"asset_triggered__{day.isoformat()}T05:00:00+00:00__{version}"
    begun = datetime.combine(day + timedelta(days=1), time(5), UTC)
    known = {"partition": key, "run_id": run}
    for order, step in enumerate(RETRAIN):
        yield (
            "attempts",
            {
                **known,
                "step": step,
                "state": "done",
                "started_at": begun + timedelta(minutes=order),
                "ended_at": begun + timedelta(minutes=order, seconds=40),
                "error": None,
                "summary": {"state": "done", "version": version, "trigger": "schedule", "notes": "x" * 300},
                "code_version": "abcdef0123",
                "peak_rss_mib": 900,
            },
        )
    yield (
        "models",
        {
            "version": version,
            "run_id": run,
            "as_of": datetime.combine(day, time(), UTC),
            "mlflow_run_id": _digest(pipeline, key, str(version))[:32],
            "artifact_uri": f"models/{pipeline}/{version}",
            "artifact_sha256": _digest(pipeline, "model", str(version)),
            "record": _record(pipeline, day, version, settings),
            "created_at": begun,
        },
    )
    is_promoted = version % 2 == 1
    reasons = ["roc_auc 0.9113 against 0.9025: gain +0.0088, at least +0.0021 with 95% confidence, more than 0 needed"]
    checks = {"checks": [_check(name) for name in ("champion", "baseline constant", "baseline linear", *COLUMNS[:22])]}
    yield "decisions", _decision(known, "gate", "PROMOTE" if is_promoted else "HOLD", version, reasons, checks, begun)
    if is_promoted:
        yield (
            "champions",
            {
                "seq": version // 2 + 1,
                "version": version,
                "effective_from": datetime.combine(day + timedelta(days=1), time(), UTC),
                "action": "promote",
                "reason": reasons[0],
                "actor": "gate",
                "run_id": run,
                "decided_at": begun,
            },
        )


def _record(pipeline: str, day: date, version: int, settings: Settings) -> dict[str, Any]:
    trained = [(day - timedelta(days=back)).isoformat() for back in range(23, 2, -1)]
    return {
        "snapshot_id": "0c207f0b4fb0a79d",
        "features": dict.fromkeys(COLUMNS, "number"),
        "task": "binary",
        "family": "xgboost",
        "estimator": "XGBoost",
        "parameters": {"max_depth": 4, "learning_rate": 0.1, "min_child_weight": 2},
        "facts": {"rounds": 150, "libraries": {"xgboost": "3.0"}},
        "training_partitions": trained,
        "holdout_partitions": [(day - timedelta(days=back)).isoformat() for back in (2, 1)],
        "rows": {"train": 1_000_000, "holdout": 100_000},
        "tables": {table: _read_table(pipeline, table, version) for table in ("clean", "features", "raw")},
        "settings": dict.fromkeys(("training", "label", "pipeline"), "fda6cf7bbea6c096"),
        "classes": ["0", "1"],
        "positive_rate": 0.06,
        "unlabelled": 51,
        "incomplete": 0,
        "row_digests": dict.fromkeys(trained, "918eb2a0f0b5a1232e3696c0aacd32f5"),
        "code_version": "abcdef0123",
        "seed": 1,
        "device": "cpu",
        "holdout_metrics": {"roc_auc": 0.9113, "log_loss": 0.1213, "brier": 0.031, "calibration_error": 0.011},
        "importance": {name: round(1 / (column + 2), 4) for column, name in enumerate(COLUMNS)},
        "sample": {"rows": "x" * _SAMPLE_BYTES},
        "made_from": {
            "settings": settings,
            "python": "3.11.2",
            "machine": "Linux x86_64",
            "lock": "4681765a8bd8c44b",
            "libraries": {"numpy": "2.4.6", "xgboost": "3.2.0"},
            "code": {"pipelines/engine.py": "d2f46dc01f823385"},
            "feature_code": {"amount_shape": "ffd54bc3dab7d342"},
        },
    }


def _read_table(pipeline: str, table: str, version: int) -> dict[str, Any]:
    contents = _digest(pipeline, table, str(version))[:32]
    return {"contents": contents, "partitions": 21, "uri": f"tables/{pipeline}/{table}", "version": version}


def _check(name: str) -> dict[str, Any]:
    numbers = {"metric": "roc_auc", "challenger": 0.9113, "other": 0.9025, "gain": 0.0088, "lower": 0.0021}
    more = {"upper": 0.0162, "confidence": 0.95, "resamples": 2000, "rows": 100_000, "standard_error": 0.0041}
    text = "roc_auc 0.9113 against 0.9025: gain +0.0088, at least +0.0021 with 95% confidence"
    return {"name": name, "passed": True, "text": text, "verdict": "HOLD", "numbers": numbers | more}


def _decision(
    known: dict[str, Any],
    kind: str,
    outcome: str,
    version: int,
    reasons: list[str],
    numbers: dict[str, Any],
    moment: datetime,
) -> dict[str, Any]:
    said = {"outcome": outcome, "model_version": version, "reasons": reasons, "numbers": numbers}
    return {**known, "kind": kind, **said, "decided_at": moment}


def _digest(*parts: str) -> str:
    return hashlib.sha256("/".join(parts).encode()).hexdigest()
