"""Section 2 of the rubric, tests for model development: one function per test."""

from __future__ import annotations

from statistics import StatisticsError, correlation, fmean
from typing import Any

from pipelines.ledger import Row
from pipelines.scorecard.evidence import Evidence, checks
from pipelines.scorecard.found import HALF, Found, half, listed, nothing, several, told, whole

_RECENT = 5
_ENOUGH_VERSIONS = 3
_FAIRNESS = ("selection gap ", "error gap ")


def specs_reviewed(known: Evidence) -> Found:
    """Submitted: each recent training ran from a clean commit that holds the settings, too. Reviewed: people know."""
    trained = [row for row in known.of_step("train") if row["state"] == "done"][:_RECENT]
    if not trained:
        return nothing(missing="nothing was trained yet", step=known.retrain, after=HALF)
    commits = list(dict.fromkeys(row["code_version"] or "unknown" for row in trained))
    evidence = f"the last {several(len(trained), 'training')} ran code {listed(commits)}"
    if not known.is_config_committed:
        return nothing(evidence, missing="the settings lie outside the checkout whose commit is recorded")
    if any(commit == "unknown" or commit.endswith("+changes") for commit in commits):
        return nothing(
            evidence,
            missing="some ran code or settings that were never committed",
            step="commit, then retrain",
            after=HALF,
        )
    return half(evidence, missing="that somebody else reviewed these commits is not recorded here")


def offline_online_metrics(known: Evidence) -> Found:
    """The holdout's metric against that of released scores once their labels matured, per version."""
    by_version: dict[int, list[dict[str, Any]]] = {}
    for row in known.drifts:
        if realised := row["numbers"].get("realised"):
            by_version.setdefault(row["model_version"], []).append(realised)
    if not by_version:
        return nothing(missing="no released score was compared with its label yet", effort="weeks")
    pairs = {version: (rows[0]["holdout"], fmean(row["value"] for row in rows)) for version, rows in by_version.items()}
    metric = next(iter(by_version.values()))[0]["metric"]
    sentences = (
        f"version {v}: {metric} {off:.4g} offline, {on:.4g} on released scores" for v, (off, on) in pairs.items()
    )
    evidence = f"{told(sentences)} (newest {known.drifts[0]['partition']})"
    if len(pairs) < _ENOUGH_VERSIONS:
        missing = f"{several(len(pairs), 'version')} cannot show a correlation, {_ENOUGH_VERSIONS} can"
        return half(evidence, missing=missing, step="go on: each new champion adds a pair", effort="weeks")
    together = _correlation(list(pairs.values()))
    alike = f"correlation {together:+.2f} over {len(pairs)} versions"
    if together <= 0:
        return half(evidence, alike, missing="what looks better offline is not better on released scores")
    return whole(evidence, alike)


def _correlation(pairs: list[tuple[float, float]]) -> float:
    try:
        return correlation([offline for offline, _ in pairs], [online for _, online in pairs])
    except StatisticsError:  # one of both never changed
        return 0.0


def hyperparameters_tuned(known: Evidence) -> Found:
    """Whether the newest retrain looked for better parameters."""
    rows = [row for row in known.of_step("tune") if row["state"] in ("done", "unchanged") and row["summary"]]
    tuned = [row for row in rows if row["summary"].get("tuned")]
    step = f"add 'training.tuning' to {known.file} (docs/training_runs.md)"
    if not tuned:
        given = known.model["record"].get("parameters") if known.model else None
        evidence = (f"version {known.champion} uses the given parameters {given}",) if given else ()
        return nothing(*evidence, missing="no parameter was ever looked for", step=step)
    evidence_of = f"searched on {tuned[0]['partition']}: {tuned[0]['summary'].get('parameters')}"
    if tuned[0] is not rows[0]:
        missing = f"the newest retrain, on {rows[0]['partition']}, looked for none"
        return half(evidence_of, missing=missing, step=step)
    return whole(evidence_of)


def staleness_known(known: Evidence) -> Found:
    """Each gate judges the aged champion and a fresh model on the same new rows: what its age costs."""
    compared = [row for row in known.gates if row["numbers"].get("champion_age_days")]
    found = [text for row in compared if (text := _age_text(row))]
    if not found:
        step = f"{known.retrain}, some partitions after the first champion"
        return nothing(missing="no champion was compared with a younger model yet", step=step, after=HALF)
    evidence = told(found)
    if len(found) < 2:
        return half(evidence, missing="one comparison is no curve", step="retrain regularly: set 'retrain.schedule'")
    return whole(evidence)


def _age_text(gate: Row) -> str:
    """`champion 9 days old loses 0.35 of roc_auc to a new model (2026-03-24)`; empty where it was not comparable."""
    numbers: dict[str, Any] = next((one["numbers"] for one in checks(gate) if one["name"] == "champion"), {})
    if numbers.get("gain") is None:
        return ""
    age, metric = gate["numbers"]["champion_age_days"], gate["numbers"].get("metric", "the metric")
    return f"{gate['partition']}: champion {age:.0f} days old, a new model gains {numbers['gain']:+.4f} of {metric}"


def simpler_model_not_better(known: Evidence) -> Found:
    """The champion against a constant and a linear model on its holdout, as each challenger is judged."""
    gate = known.gate_of_champion()
    found = [check for check in checks(gate) if check["name"].startswith("baseline ")]
    if gate is None or not found:
        step = known.retrain
        return nothing(missing="the champion was not compared with a simpler model", step=step)
    evidence = tuple(f"version {known.champion} on {gate['partition']}: {check['text']}" for check in found)
    beaten = [check["name"].removeprefix("baseline ") for check in found if not check["passed"]]
    if beaten:
        return nothing(*evidence, missing=f"the simpler model wins: {listed(beaten)}", effort="a day")
    return whole(*evidence)


def quality_on_slices(known: Evidence) -> Found:
    """Slices that `gate.slices` names, judged apart; those with too few rows to notice a loss prove little."""
    if not known.pipeline.gate.slices:
        step = f"name the columns that matter in 'gate.slices' of {known.file}"
        return nothing(missing="no slice is judged apart", step=step)
    named = ((gate, [check for check in checks(gate) if check["name"].startswith("slice ")]) for gate in known.gates)
    gate, found = next(((gate, found) for gate, found in named if found), (None, []))
    if gate is None:
        step = f"{known.retrain}: slices are judged against a champion"
        return nothing(missing="no slice was judged yet", step=step)
    evidence = tuple(f"version {gate['model_version']} on {gate['partition']}: {check['text']}" for check in found[:3])
    weak = [check["name"].removeprefix("slice ") for check in found if check["numbers"].get("is_weak")]
    if weak:
        step = f"more rows per slice: raise 'training.holdout_partitions' in {known.file}"
        return half(*evidence, missing=f"too few rows to notice a loss on {listed(weak)}", step=step)
    return whole(*evidence)


def inclusion(known: Evidence) -> Found:
    """Whether people of different groups are treated alike: only where `gate.sensitive` says what a group is."""
    gate = known.gates[0] if known.gates else None
    found = [check for check in checks(gate) if check["name"].startswith(_FAIRNESS)]
    if gate and found:
        return whole(*(f"version {gate['model_version']} on {gate['partition']}: {check['text']}" for check in found))
    step = f"name the columns in 'gate.sensitive' of {known.file}, with 'gate.max_selection_gap' or 'max_error_gap'"
    return nothing(missing="no sensitive column is named, so nothing is compared between groups", step=step)
