"""What is risky about a promotion that the gate allows, as plain sentences; with `retrain.approve: on_risk` a person
is asked about them.

A risk is no doubt about the gate's rules: each was kept. It says that one was kept narrowly, by an exception, or under
circumstances which a person may know more about. What cannot be told counts as a risk.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

# A bound is kept narrowly when the lower bound of the gain is less than half a standard error above it: were the true
# gain just what was measured, three in ten other holdouts of this size would have said no.
_NARROW_ERRORS = 0.5
# A limit is nearly reached from four fifths on.
_NEARLY = 0.8
# What is left to a perfect score, or to nothing of a loss, is nearly what nobody believes within five times as much.
_NEARLY_PERFECT = 5.0
_MOST_NAMED = 3


@dataclass(frozen=True)
class Promotion:
    """What the rules look at. `mine` and `theirs`: records of challenger and champion; `theirs` is None without one.

    `warned` and `drifted`: partitions of training or holdout on which the data gate warned (None: not every day says
    so), or drift asked for a retrain.
    """

    numbers: Mapping[str, Any]
    mine: Mapping[str, Any]
    theirs: Mapping[str, Any] | None
    warned: Sequence[str] | None = ()
    drifted: Sequence[str] = ()

    def checks(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        for check in self.numbers.get("checks") or []:
            yield check["name"], check["numbers"]

    def check(self, name: str) -> Mapping[str, Any] | None:
        """The numbers of a check by its name; None when it was not made."""
        return next((numbers for found, numbers in self.checks() if found == name), None)


def risks(promotion: Promotion) -> list[str]:
    """What a person should know before this promotion, the weightiest first; empty when nothing is risky."""
    rules = (_gain, _too_good, _gaps, _slices, _calibration, _agreement, _other_model, _days)
    return [sentence for rule in rules for sentence in rule(promotion)]


def _gain(promotion: Promotion) -> Iterator[str]:
    if promotion.theirs is None:
        yield "it would be the first champion: from then on scores are released, and no earlier model can stand in"
        tested = promotion.check("baseline constant")
    else:
        tested = promotion.check("champion")
    if promotion.theirs is None and tested is None:  # models without labels have nothing to beat
        return
    yield from _narrow(tested or {}, promotion)
    linear = promotion.check("baseline linear")
    if linear is not None and (gain := _number(linear, "gain")) is not None and gain < 0:
        yield f"a plain linear model did better on the holdout, by {-gain:.4f}"
    if promotion.check("delong") == {}:
        yield "one class has too few rows for the second test: the bootstrap alone decided"


def _narrow(tested: Mapping[str, Any], promotion: Promotion) -> Iterator[str]:
    """A gain that was not shown, or hardly. `agreement` alone decides where nothing is compared."""
    if not tested and promotion.check("agreement") is not None:
        return
    lower, error, gain = (_number(tested, name) for name in ("lower", "standard_error", "gain"))
    needed = _number(tested, "margin") or 0.0
    if lower is None or error is None or gain is None:
        yield "how sure its gain is cannot be told"
    elif tested.get("test") == "not_inferior" and lower <= 0:
        why = "because the champion is stale" if promotion.check("age") is not None else "as 'gate.test' has it"
        yield f"it was not shown to be better, only hardly worse, {why}: gain {gain:+.4f}, at least {lower:+.4f}"
    elif error > 0 and lower - needed < _NARROW_ERRORS * error:
        no = 100 * NormalDist().cdf(-(lower - needed) / error)
        yield (
            f"its gain lies just above what is needed: at least {lower:+.4f}, {needed:.4f} needed; were the gain what "
            f"was measured, {no:.0f} of 100 other holdouts of this size would have said no"
        )


def _too_good(promotion: Promotion) -> Iterator[str]:
    numbers = promotion.check("too good")
    if numbers is not None:
        yield from _nearly_perfect(numbers, _is_higher_better(promotion))
    alone = promotion.check("features alone")
    found, limit = (alone or {}).get("found") or {}, _number(alone or {}, "limit")
    if found and limit is not None:
        name, value = max(found.items(), key=lambda entry: entry[1] if entry[1] is not None else -1.0)
        if value is not None and 1 - value <= _NEARLY_PERFECT * (1 - limit):
            yield f"feature '{name}' alone nearly tells the label: {value:.4f}, held back from {limit:g} on"


def _nearly_perfect(numbers: Mapping[str, Any], is_higher_better: bool) -> Iterator[str]:
    value, limit = _number(numbers, "challenger"), _number(numbers, "limit")
    if limit is None:  # a metric without an upper bound
        return
    champion = _number(numbers.get("others") or {}, "champion")
    if value is None:
        yield "whether it is too good to be true cannot be told"
    elif is_higher_better:
        nearly = 1 - _NEARLY_PERFECT * (1 - limit)
        if limit < 1 and value >= nearly and not (champion is not None and champion >= nearly):
            yield f"it is nearly too good to be true: {value:.4f}, believed up to {limit:g}"
    elif value < _NEARLY_PERFECT * limit:
        yield f"it is nearly too good to be true: {value:.4g}, believed down to {limit:.4g}"


def _is_higher_better(promotion: Promotion) -> bool:
    from pipelines.training.metrics import direction

    return direction(str(promotion.numbers.get("metric"))) == "higher"


def _gaps(promotion: Promotion) -> Iterator[str]:
    for name, numbers in promotion.checks():
        if not name.startswith(("selection gap ", "error gap ")):
            continue
        value, limit = _number(numbers, "challenger"), _number(numbers, "limit")
        if value is None or limit is None:
            yield f"the {name} cannot be told"
        elif value > limit:
            yield f"the {name} is {value:.4f}, above its limit of {limit:g}; it passed since the champion's is as large"
        elif value >= _NEARLY * limit:
            yield f"the {name} is {value:.4f}, close to its limit of {limit:g}"


def _slices(promotion: Promotion) -> Iterator[str]:
    slices = [(name, numbers) for name, numbers in promotion.checks() if name.startswith("slice ")]
    # Asked only where there are slices: what is found without labels has no metric of the usual kind.
    sign = 1 if slices and _is_higher_better(promotion) else -1
    for name, numbers in slices:
        before, now, allowed = (_number(numbers, key) for key in ("champion", "challenger", "allowed_loss"))
        if before is None or now is None or allowed is None:
            yield f"{name} cannot be told"
        elif (loss := sign * (before - now)) > 0 and loss >= _NEARLY * allowed:
            yield f"{name} gets worse by {loss:.4f}, {allowed:.4f} is allowed: {before:.4f} -> {now:.4f}"


def _calibration(promotion: Promotion) -> Iterator[str]:
    """Nearly at the limit, or a fifth of the limit worse than the champion on the same rows."""
    for name, what in (("calibration", "the calibration error"), ("coverage", "the error of the quantile")):
        numbers = promotion.check(name)
        if numbers is None:
            continue
        error, limit, theirs = (_number(numbers, key) for key in ("error", "limit", "champion"))
        if error is None or limit is None:
            yield f"{what} cannot be told"
        elif error >= _NEARLY * limit:
            yield f"{what} is {error:.4f}, close to its limit of {limit:g}"
        elif theirs is not None and error - theirs >= (1 - _NEARLY) * limit:
            yield f"{what} is worse than the champion's on the same rows: {theirs:.4f} -> {error:.4f}"
    held = promotion.check("intervals")
    if held is not None:
        promised, realised, limit = (_number(held, key) for key in ("promised", "realised", "limit"))
        if promised is None or realised is None or limit is None:
            yield "what the intervals hold cannot be told"
        elif promised - realised >= _NEARLY * limit:
            yield f"the intervals hold {realised:.4f} of the labels, {promised:g} were promised"


def _agreement(promotion: Promotion) -> Iterator[str]:
    """Of models without labels: how much of what the champion says stays as it was."""
    numbers = promotion.check("agreement")
    if numbers is None:
        return
    value, limit = _number(numbers, "value"), _number(numbers, "limit")
    if value is None or limit is None:
        yield "how much it agrees with the champion cannot be told"
    elif 1 - value >= _NEARLY * (1 - limit):
        yield f"it agrees little with the champion: {value:.4f}, at least {limit:g} needed"


def _other_model(promotion: Promotion) -> Iterator[str]:
    """Another kind of model, other columns or other settings than the champion's: nothing of it has been seen live."""
    theirs, mine = promotion.theirs, promotion.mine
    if theirs is None:
        return
    if theirs.get("estimator") != mine.get("estimator") or theirs.get("family") != mine.get("family"):
        yield f"it is another kind of model than the champion: {_kind(theirs)} -> {_kind(mine)}"
    before, now = theirs.get("features") or {}, mine.get("features") or {}
    added, gone = sorted(set(now) - set(before)), sorted(set(before) - set(now))
    changed = sorted(name for name in set(now) & set(before) if now[name] != before[name])
    words = (("new features", added), ("features that are gone", gone), ("features of another type", changed))
    for what, names in words:
        if names:
            yield f"{what}: {_named(names)}"
    for key, what in (("training", "training"), ("label", "label")):
        if (theirs.get("settings") or {}).get(key) != (mine.get("settings") or {}).get(key):
            yield f"the settings under '{what}' are not those that the champion was trained with"


def _days(promotion: Promotion) -> Iterator[str]:
    if promotion.warned is None:
        yield "whether the data gate warned on a day of its training or holdout cannot be told"
    words = ((promotion.warned or (), "the data gate warned"), (promotion.drifted, "drift asked for a retrain"))
    for days, what in words:
        if days:
            yield f"{what} on {len(days)} of the partitions that it learnt from or was judged on: {_named(days)}"


def _kind(record: Mapping[str, Any]) -> str:
    return str(record.get("estimator") or record.get("family") or "unknown")


def _named(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMED
    return ", ".join(f"'{name}'" for name in names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _number(numbers: Mapping[str, Any], name: str) -> float | None:
    """A finite number, else None: records hold None where a number was NaN."""
    value = numbers.get(name)
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None
