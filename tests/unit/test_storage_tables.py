import itertools
from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.errors import StorageError
from pipelines.storage.digests import RowDigest, table_digest
from pipelines.storage.tables import PublishConflict, Snapshot, last_publication, publish
from tests.builders import context, payments, put

ROWS = payments([{"row_id": "a", "amount_eur": 1.0}, {"row_id": "b"}])


def uri(tmp_path: Path) -> str:
    return str(tmp_path / "clean")


def test_publish_replaces_only_its_partition(tmp_path: Path) -> None:
    for key in ("2026-03-01", "2026-03-02"):
        publish(Snapshot.latest(uri(tmp_path)), key, payments([{"row_id": key}], key), {"partition": key})
    publish(Snapshot.latest(uri(tmp_path)), "2026-03-01", ROWS, {"partition": "2026-03-01"})
    snapshot = Snapshot.latest(uri(tmp_path))
    assert sorted(snapshot.read(["2026-03-01", "2026-03-02"])["row_id"].to_pylist()) == ["2026-03-02", "a", "b"]


def test_snapshot_keeps_its_version_while_others_publish(tmp_path: Path) -> None:
    publish(Snapshot.latest(uri(tmp_path)), "2026-03-01", ROWS, {})
    before = Snapshot.latest(uri(tmp_path))
    publish(before, "2026-03-01", ROWS.slice(0, 1), {})
    assert before.read(["2026-03-01"]).num_rows == 2
    assert Snapshot.latest(uri(tmp_path)).read(["2026-03-01"]).num_rows == 1


@pytest.mark.parametrize("rows_before", [pytest.param(True, id="replace"), pytest.param(False, id="new partition")])
def test_stale_writer_is_refused(tmp_path: Path, rows_before: bool) -> None:
    before = "2026-03-01" if rows_before else "2026-02-01"
    publish(Snapshot.latest(uri(tmp_path)), before, payments([{"row_id": "z"}], before), {})
    stale = Snapshot.latest(uri(tmp_path))
    publish(stale, "2026-03-01", ROWS.slice(0, 1), {"partition": "2026-03-01"})
    with pytest.raises(PublishConflict, match="E-PUB-CONFLICT"):
        publish(stale, "2026-03-01", ROWS, {"partition": "2026-03-01"})
    assert Snapshot.latest(uri(tmp_path)).read(["2026-03-01"]).num_rows == 1


def test_stale_writer_of_another_partition_goes_through(tmp_path: Path) -> None:
    publish(Snapshot.latest(uri(tmp_path)), "2026-03-01", ROWS, {})
    stale = Snapshot.latest(uri(tmp_path))
    publish(stale, "2026-03-02", payments([{"row_id": "c"}], "2026-03-02"), {})
    publish(stale, "2026-03-03", payments([{"row_id": "d"}], "2026-03-03"), {})
    assert Snapshot.latest(uri(tmp_path)).partitions() == ["2026-03-01", "2026-03-02", "2026-03-03"]


def test_publish_of_no_rows_empties_the_partition(tmp_path: Path) -> None:
    publish(Snapshot.latest(uri(tmp_path)), "2026-03-01", ROWS, {})
    publish(Snapshot.latest(uri(tmp_path)), "2026-03-01", ROWS.slice(0, 0), {"partition": "2026-03-01", "n": "0"})
    assert Snapshot.latest(uri(tmp_path)).partitions() == []
    assert last_publication(uri(tmp_path), "2026-03-01") == {"partition": "2026-03-01", "n": "0"}


def test_stages_of_one_partition_are_replaced_apart(tmp_path: Path) -> None:
    def rows(stage: str, *ids: str) -> pa.Table:
        return pa.table({"row_id": list(ids), "stage": [stage] * len(ids), "partition": ["p"] * len(ids)})

    for stage in ("ingest", "validate"):
        publish(Snapshot.latest(uri(tmp_path)), "p", rows(stage, stage), {}, {"stage": stage})
    publish(Snapshot.latest(uri(tmp_path)), "p", rows("validate", "x", "y"), {}, {"stage": "validate"})
    assert sorted(Snapshot.latest(uri(tmp_path)).read(["p"])["row_id"].to_pylist()) == ["ingest", "x", "y"]


def test_racing_runs_with_equal_inputs_share_one_publication(tmp_path: Path) -> None:
    first, second = context(tmp_path, run_id="one"), context(tmp_path, run_id="two")
    put(first, "clean", payments([{"row_id": "z"}]))
    base = second.snapshot("clean")
    winner = first.publish("clean", base, ROWS, "same inputs", {})
    late = second.publish("clean", base, ROWS, "same inputs", {})
    assert late["generation"] == winner["generation"]


def test_late_run_with_older_inputs_is_fenced(tmp_path: Path) -> None:
    slow, fast = context(tmp_path, run_id="slow"), context(tmp_path, run_id="fast")
    put(slow, "clean", payments([{"row_id": "z"}]))
    base = slow.snapshot("clean")
    fast.publish("clean", base, ROWS, "newer inputs", {})
    with pytest.raises(OSError, match="E-PUB-FENCED"):
        slow.publish("clean", base, ROWS.slice(0, 1), "older inputs", {})
    assert slow.snapshot("clean").read(["2026-03-01"]).num_rows == 2


@given(
    st.lists(st.tuples(st.text(), st.none() | st.floats(), st.lists(st.text()) | st.none()), max_size=40),
    st.lists(st.integers(0, 40), max_size=5),
)
def test_digest_ignores_chunking(rows: list[tuple[str, float | None, list[str] | None]], cuts: list[int]) -> None:
    schema = pa.schema([("a", pa.string()), ("b", pa.float64()), ("c", pa.list_(pa.string()))])
    table = pa.Table.from_pylist([dict(zip("abc", row, strict=True)) for row in rows], schema=schema)
    bounds = sorted({0, table.num_rows, *(cut for cut in cuts if cut < table.num_rows)})
    digest = RowDigest(schema)
    for start, end in itertools.pairwise(bounds):
        for batch in table.slice(start, end - start).to_batches():
            digest.update(batch)
    assert digest.hexdigest() == table_digest(table)


def test_digest_of_days_tells_a_missing_one_from_the_first_of_all() -> None:
    days = [date(2026, 3, 1), None, date(1970, 1, 1)]
    digests = {table_digest(pa.table({"day": pa.array([day], pa.date32())})) for day in days}
    assert len(digests) == 3


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param([{"row_id": "a"}], [{"row_id": "b"}], id="value"),
        pytest.param([{"row_id": "a", "amount_eur": 0.0}], [{"row_id": "a"}], id="null is not zero"),
        pytest.param([{"row_id": "a"}, {"row_id": "b"}], [{"row_id": "b"}, {"row_id": "a"}], id="order"),
    ],
)
def test_digest_tells_rows_apart(one: list[dict[str, object]], other: list[dict[str, object]]) -> None:
    assert table_digest(payments(one)) != table_digest(payments(other))


def test_rows_of_another_partition_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="E-STORE-WRITE"):
        publish(Snapshot.latest(uri(tmp_path)), "2026-02-01", ROWS, {})
    assert Snapshot.latest(uri(tmp_path)).partitions() == []
