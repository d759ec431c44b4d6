"""What was decided about a pipeline, and why: a page of decisions of one kind, or of all that is no routine."""

from __future__ import annotations

from typing import Any

from pipelines.approvals import KIND as APPROVAL
from pipelines.ledger import Ledger
from pipelines.shadows import KIND as SHADOW

KINDS = {
    "gate": "may a version replace the champion",
    APPROVAL: "what people answered",
    SHADOW: "challengers in shadow",
    "drift": "has the data changed",
    "audit": "may scores be released",
    "drill": "rollback drills",
}
MOST = 20
# What every ordinary night says; the kind's own list shows it, too.
QUIET = (("drift", "OK"), ("audit", "PASS"))


def decided(ledger: Ledger, name: str, kind: str | None, before: int | None) -> dict[str, Any]:
    """`rows`, newest first, at most 20, and `older`: the id before which the next page begins (None: there is none).

    Args:
        kind: one of KINDS; anything else shows every decision that is out of the ordinary.
    """
    is_known = kind in KINDS
    kinds = [str(kind)] if is_known else list(KINDS)
    rows = ledger.newest_decisions(name, kinds, MOST + 1, before, numbers=False, without=() if is_known else QUIET)
    return {
        "kind": kind if is_known else None,
        "kinds": KINDS,
        "rows": rows[:MOST],
        "older": rows[MOST - 1]["id"] if len(rows) > MOST else None,
    }
