"""Release: what readers get, what a repeat changes (nothing), and what is refused."""

from __future__ import annotations

import hashlib
import json

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.audit import audit
from pipelines.errors import ConfigError, DataError, StorageError
from pipelines.release import release, retract, sweep
from pipelines.score import plan_shards, score
from pipelines.verify import require_sound, verify, verify_release
from tests.builders import context
from tests.scoring import ARTIFACT, Stub, again, champion, features, file_digests, run_all, use_models


@pytest.fixture
def run(tmp_path, monkeypatch):
    use_models(monkeypatch, Stub(1), Stub(2, divisor=1000.0))
    run = context(tmp_path, partition="2026-03-05")
    champion(run)
    return run


def exported(run) -> list[dict]:
    """What a consumer reads of this partition; nothing when there is no pointer."""
    files = sorted((run.home.root / "exports" / run.name).glob(f"partition={run.key}/*.parquet"))
    return [row for path in files for row in pq.ParquetFile(path).read().to_pylist()]


def predictions(run) -> list[dict]:
    return run.snapshot("predictions").read([run.key]).sort_by("row_id").to_pylist()


def test_release_gives_every_row_its_key_partition_score_model_and_release(run):
    features(run, [10.0, 25.0])
    summary = run_all(run)
    shared = {
        "partition": "2026-03-05",
        "model_version": 1,
        "is_hindsight": False,
        "release_id": summary["release_id"],
    }
    # By row id: p1 has the smaller one.
    assert exported(run) == [
        {"payment_id": "p1", "score": 0.25, **shared},
        {"payment_id": "p0", "score": 0.10, **shared},
    ]
    assert predictions(run) == [
        {"row_id": "f:000000001", "payment_id": "p1", "score": 0.25, **shared},
        {"row_id": "f:000000002", "payment_id": "p0", "score": 0.10, **shared},
    ]
    assert verify_release(run) == []


def test_manifest_accounts_for_rows_inputs_and_model(run):
    features(run, [10.0, 25.0, None])
    run = again(run, "run-1", audit={"max_refused_share": 0.5})
    summary = run_all(run)
    folder = run.home.root / summary["path"]
    manifest = json.loads((folder / "_manifest.json").read_text())
    assert manifest["rows"] == {"features": 3, "scored": 2, "refused": 1}
    assert (manifest["model_version"], manifest["artifact_sha256"]) == (1, ARTIFACT)
    assert manifest["inputs"]["features"] == run.ledger.publication(run.name, "features", run.key)["content_digest"]
    assert [(entry["name"], entry["rows"]) for entry in manifest["files"]] == [("part-00000.parquet", 2)]
    assert "run" not in " ".join(manifest)


def test_release_carries_columns_of_clean(run):
    features(run, [10.0, 25.0], table="clean")
    features(run, [10.0, 25.0])
    run = again(run, "run-1", export={"columns": ["country", "amount_eur", "payment_id"]})
    run_all(run)
    assert [(row["payment_id"], row["country"], row["amount_eur"]) for row in exported(run)] == [
        ("p1", "DE", 25.0),
        ("p0", "DE", 10.0),
    ]
    assert "amount_eur" not in predictions(run)[0]


def test_without_a_business_key_the_row_id_identifies_a_row(run):
    features(run, [10.0])
    run = again(run, "run-1", key=[])
    run_all(run)
    assert exported(run)[0]["row_id"] == "f:000000001"


def test_export_columns_must_not_hide_the_score(run, tmp_path):
    columns = {name: {"type": "id"} for name in ("payment_id", "card_id")} | {
        "paid_at": {"type": "timestamp"},
        "amount_eur": {"type": "number"},
        "country": {"type": "category"},
        "is_fraud": {"type": "integer"},
        "score": {"type": "number"},
    }
    source = {"format": "csv", "path": str(tmp_path / "{partition}.csv"), "columns": columns}
    features(run, [10.0], table="clean")
    features(run, [10.0])
    run = again(run, "run-1", source=source, export={"columns": ["score"]})
    with pytest.raises(ConfigError, match=r"E-CONFIG-EXPORT .*'score'"):
        run_all(run)


def test_the_same_again_changes_no_byte(run):
    features(run, [10.0, 25.0])
    first = run_all(run)
    before = file_digests(run.home.root / "exports") | file_digests(run.home.root / "tables")
    second = run_all(again(run))
    assert (first["state"], second["state"]) == ("done", "unchanged")
    assert first["release_id"] == second["release_id"]
    assert file_digests(run.home.root / "exports") | file_digests(run.home.root / "tables") == before
    assert [row["state"] for row in run.ledger.releases(run.name)] == ["released"]


def test_changed_features_supersede_and_keep_the_old_release(run):
    features(run, [10.0])
    old = run_all(run)
    features(run, [20.0])
    new = run_all(again(run))
    assert [row["score"] for row in exported(run)] == [0.20]
    states = [(row["release_id"], row["state"]) for row in run.ledger.releases(run.name)]
    assert states == [(old["release_id"], "superseded"), (new["release_id"], "released")]
    assert pq.ParquetFile(run.home.root / old["path"] / "part-00000.parquet").read()["score"].to_pylist() == [0.10]
    assert verify_release(run) == []


def test_a_new_model_makes_a_new_release_id_even_with_equal_scores(run, monkeypatch):
    use_models(monkeypatch, Stub(1), Stub(2))
    features(run, [10.0])
    first = run_all(run)
    champion(run, 2, days_before=0.5)
    second = run_all(again(run))
    assert first["release_id"] != second["release_id"]
    assert {row["model_version"] for row in exported(run)} == {2}


def test_hindsight_is_marked_on_every_row(run):
    champion(run, 2, days_before=-3)
    run = again(run, "run-1", score={"model": "current"})
    features(run, [10.0, 20.0])
    assert run_all(run)["is_hindsight"] is True
    assert [(row["model_version"], row["is_hindsight"]) for row in exported(run)] == [(2, True), (2, True)]


def test_an_empty_day_is_released_as_empty(run):
    features(run, [])
    summary = run_all(run)
    assert (summary["state"], summary["rows"]) == ("done", 0)
    assert exported(run) == []
    assert (run.home.root / summary["path"] / "part-00000.parquet").exists()
    assert verify_release(run) == []


def test_release_refuses_scores_that_no_audit_saw(run):
    features(run, [10.0])
    score(run)
    with pytest.raises(DataError, match=r"E-RELEASE-UNAUDITED .*no audit has seen"):
        release(run)
    assert exported(run) == []


def test_release_refuses_scores_that_failed(run):
    features(run, [1000.0])
    score(run)
    with pytest.raises(DataError, match="E-AUDIT-RANGE"):
        audit(run)
    with pytest.raises(DataError, match=r"E-RELEASE-UNAUDITED .*said FAIL"):
        release(run)


def test_release_refuses_scores_that_changed_after_their_audit(run):
    features(run, [10.0])
    score(run)
    audit(run)
    features(run, [20.0])
    score(run)
    with pytest.raises(DataError, match="E-RELEASE-UNAUDITED"):
        release(run)


def test_release_skips_without_champion(tmp_path):
    run = context(tmp_path / "other")
    features(run, [1.0])
    assert release(run) == {"state": "skipped", "reason": "no champion"}
    assert not (run.home.root / "exports" / run.name).exists()


def test_release_refuses_a_full_disk_before_writing(run, monkeypatch):
    features(run, [10.0])
    score(run)
    audit(run)
    monkeypatch.setattr("pipelines.storage.durable.shutil.disk_usage", lambda _path: type("Usage", (), {"free": 100})())
    with pytest.raises(StorageError, match=r"E-IO-NOSPACE .*exports/payments: at least 0\.\d MiB") as caught:
        release(run)
    assert caught.value.retryable
    assert list((run.home.root / "exports" / run.name).iterdir()) == []


@pytest.mark.slow
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    amounts=st.lists(st.floats(0, 100), min_size=0, max_size=9),
    shards=st.integers(2, 5),
    batch_rows=st.integers(1, 4),
)
def test_shards_and_batches_leave_no_trace(tmp_path_factory, monkeypatch, amounts, shards, batch_rows):
    """Property: the exports of one shard and of many are equal, byte by byte."""
    use_models(monkeypatch, Stub(1))
    digests = []
    for score_settings in ({}, {"shards": shards, "batch_rows": batch_rows}):
        run = context(tmp_path_factory.mktemp("home"), score=score_settings, audit={"allow_constant": True})
        champion(run)
        features(run, amounts)
        run_all(run)
        digests.append(
            (
                file_digests(run.home.root / "exports"),
                run.ledger.publication(run.name, "predictions", run.key)["content_digest"],
            )
        )
    assert digests[0] == digests[1]


# -- retract --------------------------------------------------------------------------------------------------------


def test_retract_takes_the_scores_from_readers_and_keeps_history(run):
    features(run, [10.0])
    summary = run_all(run)
    assert retract(run, "wrong prices", "ann")["state"] == "done"
    assert exported(run) == []
    assert predictions(run) == []
    row = run.ledger.releases(run.name)[0]
    assert (row["state"], row["reason"]) == ("retracted", "wrong prices (by ann)")
    assert (run.home.root / summary["path"] / "part-00000.parquet").exists()
    tombstone = run.home.root / "exports" / run.name / "_releases" / run.key / "retracted.json"
    assert json.loads(tombstone.read_text()) == {
        "release_id": summary["release_id"],
        "model_version": 1,
        "reason": "wrong prices",
        "actor": "ann",
    }
    assert verify_release(run) == []


def test_retract_again_changes_nothing(run):
    features(run, [10.0])
    run_all(run)
    retract(run, "wrong prices", "ann")
    before = file_digests(run.home.root / "exports") | file_digests(run.home.root / "tables")
    assert retract(run, "another reason", "bob")["state"] == "unchanged"
    assert file_digests(run.home.root / "exports") | file_digests(run.home.root / "tables") == before


def test_retract_refuses_what_was_never_released(run):
    with pytest.raises(DataError, match="E-RETRACT-NOTHING"):
        retract(run, "reason", "ann")


def test_a_retracted_release_does_not_come_back_by_itself(run):
    features(run, [10.0])
    run_all(run)
    retract(run, "wrong prices", "ann")
    repeated = run_all(again(run))
    assert (repeated["state"], repeated["reason"]) == ("skipped", "retracted: wrong prices (by ann)")
    assert exported(run) == []


def test_a_retracted_partition_is_released_again_when_its_content_changed(run):
    features(run, [10.0])
    run_all(run)
    retract(run, "wrong prices", "ann")
    features(run, [12.0])
    assert run_all(again(run))["state"] == "done"
    assert [row["score"] for row in exported(run)] == [0.12]
    assert [row["state"] for row in run.ledger.releases(run.name)] == ["retracted", "released"]


def test_force_releases_retracted_content(run):
    features(run, [10.0])
    run_all(run)
    retract(run, "by mistake", "ann")
    assert release(run, force=True)["state"] == "done"
    assert [row["score"] for row in exported(run)] == [0.10]
    assert verify_release(run) == []
    assert run_all(again(run))["state"] == "unchanged"


# -- verify and sweep -----------------------------------------------------------------------------------------------


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def forge(folder):
    """A manifest that agrees with the changed file: only the ledger knows better."""
    path = folder / "part-00000.parquet"
    pq.write_table(pq.ParquetFile(path).read().slice(0, 1), path)
    manifest = json.loads((folder / "_manifest.json").read_text())
    content = path.read_bytes()
    manifest["files"][0] |= {"rows": 1, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (folder / "_manifest.json").write_text(json.dumps(manifest))


DAMAGE = {
    "forged": (forge, "the manifest of release"),
    "one bit": (lambda folder: flip(folder / "part-00000.parquet"), "must have sha256"),
    "cut": (lambda folder: (folder / "part-00000.parquet").write_bytes(b"PAR1"), "must have sha256"),
    "lost": (lambda folder: (folder / "part-00000.parquet").unlink(), "is missing"),
    "added": (lambda folder: (folder / "part-00001.parquet").touch(), "is not in the manifest"),
    "manifest changed": (lambda folder: (folder / "_manifest.json").write_text("{}"), "does not list its files"),
    "manifest lost": (lambda folder: (folder / "_manifest.json").unlink(), "missing or unreadable"),
}


@pytest.mark.parametrize(("damage", "text"), DAMAGE.values(), ids=DAMAGE.keys())
def test_verify_finds_damage_and_a_new_run_repairs_it(run, damage, text):
    features(run, [10.0, 25.0])
    summary = run_all(run)
    sound = file_digests(run.home.root / "exports")
    damage(run.home.root / summary["path"])
    assert text in verify_release(run)[0]
    assert verify(run)["problems"][0].startswith("2026-03-05: ")
    with pytest.raises(DataError, match=r"E-DATA-HASH .*nightshift run payments --from 2026-03-05"):
        require_sound(run)
    run_all(again(run))
    assert file_digests(run.home.root / "exports") == sound
    assert verify_release(run) == []


def test_verify_finds_a_pointer_that_was_turned_by_hand(run):
    features(run, [10.0])
    run_all(run)
    (run.home.root / "exports" / run.name / "partition=2026-03-05").unlink()
    assert "but see nothing" in verify_release(run)[0]


def test_verify_finds_rows_that_were_changed_in_the_table(run):
    features(run, [10.0])
    run_all(run)
    table = run.snapshot("predictions").delta()
    table.update(predicate="partition = '2026-03-05'", updates={"score": "0.9"})
    assert "rows of 'predictions' must have digest" in verify_release(run)[0]


def test_verify_counts_every_table_and_balance(run):
    features(run, [10.0, 20.0], table="clean")
    features(run, [10.0, 20.0])
    run_all(run)
    counts = {"read": 3, "clean": 2, "quarantined": 1, "duplicate": 0, "run_id": "run-1"}
    run.ledger.set_accounting(run.name, run.key, state="clean", **counts)
    sound = {"pipeline": "payments", "released_partitions": 1, "balanced_partitions": 1, "counted_partitions": 3}
    assert verify(run) == {**sound, "problems": []}
    run.ledger.set_accounting(run.name, run.key, state="clean", **counts | {"clean": 1, "duplicate": 2})
    assert verify(run)["problems"] == [
        "2026-03-05: 3 rows were read, but 4 are clean, quarantined or duplicate",
        "2026-03-05: 'clean' must hold 1 rows, got 2",
    ]


def test_verify_finds_a_table_that_lost_rows(run):
    features(run, [10.0, 20.0])
    run.snapshot("features").delta().delete("payment_id = 'p0'")
    assert verify(run)["problems"] == ["2026-03-05: 'features' must hold 2 rows, its files have 1"]


def test_sweep_removes_only_what_nobody_names(run):
    features(run, [10.0])
    run_all(run)
    exports = run.home.root / "exports" / run.name
    kept = file_digests(run.home.root / "exports")
    (exports / "_releases" / run.key / ".deadbeef.77.writing").mkdir()
    (exports / "_releases" / run.key / "orphan").mkdir()
    (exports / "_releases" / run.key / "orphan" / "part-00000.parquet").touch()
    (exports / ".partition=2026-03-05.77.writing").symlink_to("nowhere")
    assert sweep(run)["removed"] == []  # a run may still be at work on them
    listed = sweep(run, older_than_hours=-1, dry_run=True)["removed"]
    assert [path.rsplit("/", 1)[-1] for path in listed[:3]] == [
        ".partition=2026-03-05.77.writing",
        ".deadbeef.77.writing",
        "orphan",
    ]
    sweep(run, older_than_hours=-1)
    assert file_digests(run.home.root / "exports") == kept
    assert run_all(again(run))["state"] == "unchanged"


def test_plan_and_release_agree_over_shards(run):
    run = again(run, "run-1", score={"shards": 2})
    features(run, [10.0, 20.0, 30.0])
    for shard in reversed(plan_shards(run)):
        score(run, shard)
    audit(run)
    assert release(run)["rows"] == 3
