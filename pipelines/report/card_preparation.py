"""What a model card says of encoding, scaling, selection and projection."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

MOST_DROPPED = 40
MOST_FACTORS = 20
_HIGH = 10  # the rule of thumb from which a linear model's weights stand on little (Marquardt 1970)


def preparation_facts(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One entry per model that was prepared as the settings said, of an ensemble per member.

    `member` (None for a single model), `said`: sentences, `dropped` and `factors`: table rows, each with how many more
    there are.
    """
    return [
        {"member": member, "said": list(_sentences(facts)), **_dropped(facts), **_factors(facts)}
        for member, facts in _by_member(record.get("facts") or {})
    ]


def _by_member(facts: Mapping[str, Any]) -> Iterator[tuple[str | None, Mapping[str, Any]]]:
    if facts.get("preparation"):
        yield None, facts["preparation"]
    for name, member in (facts.get("members") or {}).items():
        if member.get("preparation"):
            yield name, member["preparation"]


def _sentences(facts: Mapping[str, Any]) -> Iterator[str]:
    for name, encoder in (facts.get("encoders") or {}).items():
        learnt = f" of {encoder['categories']:,} categories" if "categories" in encoder else ""
        how = {"target": f" by the mean label{learnt}, out of fold", "frequency": f" by frequency{learnt}"}
        kind = how.get(encoder["encoder"], f" as {encoder['encoder']} of its terms")
        yield f"{name} is encoded{kind}: {_columns(encoder['columns'])}."
    if facts.get("scale"):
        yield f"Numbers are scaled: {facts['scale']}."
    for step in (facts.get("selection") or {}).get("steps", []):
        yield f"Selection by {step['by'].replace('_', ' ')} left {step['after']:,} of {_columns(step['before'])}."
    projection = facts.get("projection")
    if projection:
        kept = " beside them" if projection["keep_inputs"] else ""
        count = projection["components"]
        made = f"{count:,} component{'s' if count != 1 else ''} ({projection['method']})"
        text = f"{made} of {_columns(projection['inputs'])}{kept}"
        explained = projection.get("explained")
        yield text + ("." if explained is None else f", which hold {100 * explained:.3g} % of their variance.")
        each = projection.get("explained_variance") or []
        if each:
            shares = ", ".join(f"{100 * share:.3g} %" for share in each[:10])
            yield f"Of single components: {shares}{', ...' if len(each) > 10 else ''}."
    if facts.get("vif"):
        high = sum(row["vif"] is None or row["vif"] > _HIGH for row in facts["vif"]["rows"])
        every = _columns(len(facts["vif"]["rows"]))
        yield f"Of {every} {high:,} are inflated (VIF above {_HIGH}): others say the same."


def _dropped(facts: Mapping[str, Any]) -> dict[str, Any]:
    steps = (facts.get("selection") or {}).get("steps", [])
    rows = [{"by": step["by"].replace("_", " "), **one} for step in steps for one in step["dropped"]]
    gone = sum(step["before"] - step["after"] for step in steps)
    return {"dropped": rows[:MOST_DROPPED], "more_dropped": gone - len(rows[:MOST_DROPPED])}


def _factors(facts: Mapping[str, Any]) -> dict[str, Any]:
    rows = (facts.get("vif") or {}).get("rows", [])
    more = len(rows) + (facts.get("vif") or {}).get("left_out", 0) - len(rows[:MOST_FACTORS])
    return {"factors": rows[:MOST_FACTORS], "more_factors": more}


def _columns(count: int) -> str:
    return f"{count:,} column{'s' if count != 1 else ''}"
