from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.errors import ConfigError
from pipelines.partitions import parse_partition, partition_at, partitions_between


@pytest.mark.parametrize(
    ("key", "grain", "zone", "hours"),
    [
        pytest.param("2026-03-08", "day", "America/New_York", 23, id="clocks forward"),
        pytest.param("2026-11-01", "day", "America/New_York", 25, id="clocks back"),
        pytest.param("2026-03-02", "week", "UTC", 168, id="week starts on monday"),
        pytest.param("2028-02-01", "month", "UTC", 29 * 24, id="leap february"),
        pytest.param("2026-12-31T23", "hour", "UTC", 1, id="last hour of the year"),
    ],
)
def test_partition_has_length(key: str, grain: str, zone: str, hours: int) -> None:
    partition = parse_partition(key, grain, zone)
    assert partition.end - partition.start == timedelta(hours=hours)
    assert partition.key == key


@pytest.mark.parametrize(
    ("key", "grain"),
    [("2026-3-1", "day"), ("2026-02-30", "day"), ("2026-03-03", "week"), ("2026-03-02", "month"), ("today", "day")],
)
def test_partition_refuses_key(key: str, grain: str) -> None:
    with pytest.raises(ConfigError, match="E-RUN-PARTITION"):
        parse_partition(key, grain)


@given(
    st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1)),
    st.sampled_from(["day", "week", "month"]),
    st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"]),
)
def test_partition_tiles_time(moment: datetime, grain: str, zone: str) -> None:
    moment = moment.replace(tzinfo=UTC)
    partition = partition_at(moment, grain, zone)
    assert partition.start <= moment < partition.end
    assert partition.shift(1).start == partition.end
    assert partition.shift(1).shift(-1) == partition
    assert parse_partition(partition.key, grain, zone) == partition


def test_partitions_between_includes_both_ends() -> None:
    first, last = parse_partition("2026-02-27"), parse_partition("2026-03-02")
    assert [p.key for p in partitions_between(first, last)] == ["2026-02-27", "2026-02-28", "2026-03-01", "2026-03-02"]
    assert list(partitions_between(last, first)) == []
