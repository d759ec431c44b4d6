"""Section 1 of the rubric, tests for features and data: one function per test."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from statistics import median
from typing import Any

from pipelines.features.names import feature_names, modules_of
from pipelines.scorecard.evidence import Evidence, checks
from pipelines.scorecard.found import HALF, Found, half, listed, nothing, several, span, whole

_COLUMN_KEYS = ("column", "column_A", "column_B", "column_list", "column_set")


def expectations_in_schema(known: Evidence) -> Found:
    """Rules of the suite on the columns that the model sees as they come, judged again each night."""
    judged = {row["partition"] for row in known.of_step("validate") if row["state"] in ("done", "unchanged", "refused")}
    suite = f"expectations/{known.pipeline.suite}.json"
    if not known.rules:
        step = f"take over what 'nightshift suggest {known.name}' proposes into {suite}"
        return nothing(missing="the suite holds no rule", step=step, effort="an hour")
    columns = several(len(known.pipeline.source.columns), "typed column")
    evidence = f"{several(len(known.rules), 'rule')} in {suite} and {columns}"
    if len(judged) < 2:
        return nothing(evidence, missing="no two partitions were judged yet", step=_run(known))
    evidence += f", judged on {several(len(judged), 'partition')}, {span(list(judged))}"
    bare = sorted(set(known.pipeline.features.columns) - _columns(known.rules))
    if bare:
        step = f"add a rule for {listed(bare)} to {suite}; 'nightshift suggest {known.name}' proposes some"
        return half(evidence, missing=f"no rule says what to expect of {listed(bare)}", step=step)
    return whole(evidence)


def _columns(rules: Iterable[Mapping[str, Any]]) -> set[str]:
    """The columns that the rules name."""
    found: set[str] = set()
    for rule in rules:
        for key in _COLUMN_KEYS:
            value = rule.get("kwargs", {}).get(key)
            found |= {value} if isinstance(value, str) else set(value or ())
    return found


def features_beneficial(known: Evidence) -> Found:
    """Each feature of the champion was shuffled on the holdout; without an idle one nothing is lost."""
    measured = (known.explanation or {}).get("permutation", {})
    losses = {row["feature"]: row["loss"] for row in measured.get("features", []) if row["loss"] is not None}
    if not losses:
        return nothing(missing="no feature of the champion was ever tried without", step=known.retrain)
    best = max(losses, key=lambda name: losses[name])
    evidence = (
        f"version {known.champion}: {several(len(losses), 'feature')} shuffled one by one on {measured['rows']:,} "
        f"holdout rows; without '{best}' {measured['metric']} loses {losses[best]:.4g}"
    )
    idle = [name for name, loss in losses.items() if loss <= 0]
    if not idle:
        return whole(evidence)
    missing = f"{several(len(idle), 'feature')} of {len(losses)} can go without a loss: {listed(idle)}"
    step = "leave them out of 'features', or let 'training.select' do it, and compare in 'nightshift experiments'"
    return half(evidence, missing=missing, step=step, effort="an hour")


def feature_cost(known: Evidence) -> Found:
    """A limit on the time of the whole step bounds what any feature may cost; memory is always limited."""
    rows = [row for row in known.of_step("build_features") if row["state"] == "done" and row["ended_at"]]
    limit = known.pipeline.resources_of("build_features").time_limit_minutes
    if not rows:
        return nothing(missing="no features were built yet", step=_run(known))
    seconds = [(row["ended_at"] - row["started_at"]).total_seconds() for row in rows]
    peak = max(row["peak_rss_mib"] or 0 for row in rows)
    evidence = (
        f"all {len(feature_names(known.pipeline))} features together took {median(seconds):.1f} s, at most "
        f"{max(seconds):.1f} s, and {peak:,} MiB in {several(len(rows), 'partition')}"
    )
    if limit is None:
        step = f"set 'resources.build_features.time_limit_minutes' in {known.file}: a night that takes longer stops"
        return nothing(evidence, missing="nothing stops a feature that became slow", step=step)
    return whole(evidence, f"the step is stopped after {limit:g} minutes")


def meta_level_requirements(known: Evidence) -> Found:
    """Only one requirement is enforced by the product: no feature may know the label."""
    gate = known.gates[0] if known.gates else None
    found = next((check for check in checks(gate) if check["name"] == "features alone"), None)
    if gate is None or found is None:
        return nothing(
            missing="no requirement on features is enforced", step="leave 'gate.leakage' on, and retrain", after=HALF
        )
    evidence = f"version {gate['model_version']} on {gate['partition']}: {found['text']}"
    return half(evidence, missing="other rules (forbidden or expiring columns) are enforced by nobody but a reviewer")


def privacy_controls(_known: Evidence) -> Found:
    return nothing(missing="who may read raw rows, scores and reports cannot be seen from here")


def features_added_quickly(known: Evidence) -> Found:
    groups = several(len(known.pipeline.features.groups), "group")
    evidence = f"{len(feature_names(known.pipeline))} features, {groups}, all declared in YAML"
    return nothing(evidence, missing="how long the last new feature took from idea to production is not recorded")


def feature_code_tested(known: Evidence) -> Found:
    modules = modules_of(known.pipeline)
    own = f"own code: {', '.join(f'config/features/{name}.py' for name in modules)}" if modules else "no own code"
    return nothing(own, missing="whether tests of this code passed is not recorded here")


def _run(known: Evidence) -> str:
    return f"run two nights: nightshift run {known.name} --from D --to D"
