"""Runs a suite in Great Expectations on one partition and says what each rule found, by row position."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa

from pipelines.validate.suites import Rule, Suite

if TYPE_CHECKING:
    import pandas as pd

Status = Literal["passed", "quarantined", "failed", "warning", "info", "error"]
_RESULT_FORMAT = {"result_format": "COMPLETE", "return_unexpected_index_query": False}


@dataclass(frozen=True)
class RuleResult:
    """What one rule found. `rows` are positions in the judged table, ascending; `error` says why it could not judge."""

    rule: Rule
    success: bool
    rows: tuple[int, ...] = ()
    unexpected_count: int | None = None
    unexpected_percent: float | None = None
    observed: Any = None
    error: str | None = None

    @property
    def quarantines(self) -> bool:
        """Whether its bad rows leave the partition."""
        return self.rule.severity == "critical" and self.rule.is_row_level and self.error is None

    @property
    def refuses(self) -> bool:
        """Whether it refuses the whole partition.

        A table rule that failed, fewer good rows than `mostly`, bad rows that nobody can name, or no judgement at all.
        """
        if self.error is not None:
            return True
        if self.success or self.rule.severity != "critical":
            return False
        return not self.rule.is_row_level or self.rule.mostly is not None or not self.rows

    @property
    def status(self) -> Status:
        if self.error is not None:
            return "error"
        if self.refuses:
            return "failed"
        if self.quarantines and self.rows:
            return "quarantined"
        if self.success:
            return "passed"
        return "warning" if self.rule.severity == "warning" else "info"


def run_suite(suite: Suite, rows: pa.Table) -> list[RuleResult]:
    """One result per rule, in the order of the suite.

    Args:
        suite: the rules.
        rows: the declared columns of one partition; positions in the results refer to it.

    A rule that raised, or for which Great Expectations returned nothing, has an `error`: it is never clean.
    """
    import great_expectations as gx

    batch = _batch_definition().get_batch({"dataframe": frame(rows)})
    expectations = gx.ExpectationSuite(suite.name, expectations=[rule.expectation for rule in suite.rules])
    outcome = batch.validate(expectations, result_format=_RESULT_FORMAT)
    found = {
        result.expectation_config.meta["rule_id"]: result  # results come back in another order
        for result in outcome.results
        if result.expectation_config is not None
    }
    return [_result(rule, found.get(rule.rule_id)) for rule in suite.rules]


def frame(rows: pa.Table) -> pd.DataFrame:
    """The table as pandas with a fresh index: ids stay text, integers with nulls stay integers.

    Times are without zone, in UTC, and dates are midnights: so both compare with the texts of a suite.
    """
    import pandas as pd

    plain = [
        column.cast(pa.timestamp("us"))
        if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type)
        else column
        for column in rows.columns
    ]
    nullable = {pa.int64(): pd.Int64Dtype(), pa.bool_(): pd.BooleanDtype()}
    return pa.table(plain, names=rows.column_names).to_pandas(types_mapper=nullable.get).reset_index(drop=True)


@lru_cache(maxsize=1)
def _batch_definition() -> Any:
    """One in-memory context per process: making it costs more than judging a small partition."""
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    asset = context.data_sources.add_pandas("nightshift").add_dataframe_asset("partition")
    return asset.add_batch_definition_whole_dataframe("whole")


def _result(rule: Rule, found: Any) -> RuleResult:
    if found is None:
        return RuleResult(rule, False, error="Great Expectations returned no result for this rule")
    message = next(_exceptions(found.exception_info or {}), None)
    if message is not None:
        return RuleResult(rule, False, error=message)
    details: Mapping[str, Any] = found.result or {}
    if not details and not found.success:
        return RuleResult(rule, False, error="Great Expectations could not judge this rule and gave no reason")
    positions = details.get("unexpected_index_list") if rule.is_row_level else None
    count = details.get("unexpected_count")
    if rule.is_row_level and count and len(set(positions or [])) != count:
        return RuleResult(rule, False, error=f"{count} unexpected values, but {len(positions or [])} rows are named")
    percent = details.get("unexpected_percent")
    return RuleResult(
        rule,
        bool(found.success),
        rows=tuple(sorted(set(map(int, positions or [])))),
        unexpected_count=None if count is None else int(count),
        unexpected_percent=None if percent is None else float(percent),
        observed=_plain(details.get("observed_value")),
    )


def _exceptions(info: Mapping[str, Any]) -> Iterator[str]:
    """Messages of raised exceptions; the information is flat, or one level deeper by metric."""
    for entry in [info, *(value for value in info.values() if isinstance(value, Mapping))]:
        if entry.get("raised_exception"):
            yield str(entry.get("exception_message") or "an exception without a message")[:300].rstrip(". ")


def _plain(value: Any) -> Any:
    """Numpy scalars as Python ones."""
    return value.item() if hasattr(value, "item") and not isinstance(value, str) else value
