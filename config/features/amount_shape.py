"""How an amount is written: people pay odd sums, somebody who tries a stolen card often pays round ones.

A feature function takes the rows of one partition as an Ibis table (the clean columns and the features made so far,
without the label) and returns them with exactly the columns that its group promises. It must keep `row_id`, neither
add nor drop rows, and use nothing that happened after a row: rows of the same day that come later are in the table.
"""

from __future__ import annotations

import ibis.expr.types as ir


def amount_shape(table: ir.Table) -> ir.Table:
    """Adds `amount_is_round` (1 for whole multiples of 10 EUR, else 0) and `amount_cents` (0 to 99)."""
    cents = (table.amount_eur * 100).round().cast("float64")  # a float: no amount overflows it
    return table.mutate(amount_is_round=(cents % 1000 == 0), amount_cents=cents % 100)
