"""How an amount is written: people pay odd sums, somebody who tries a stolen card often pays round ones.

A feature function takes the rows of one partition as an Ibis table (the clean columns and the features made so far,
without the label) and returns them with exactly the columns that its group promises. It must keep `row_id`, neither
add nor drop rows, and use nothing that happened after a row: rows of the same day that come later are in the table.
"""

from __future__ import annotations

import ibis
import ibis.expr.types as ir


def amount_shape(table: ir.Table) -> ir.Table:
    """Adds `amount_is_round` (1 for whole multiples of 10 EUR, else 0) and `amount_cents` (0 to 99).

    Both are null without an amount, and for one beyond a million millions.
    """
    payable = (table.amount_eur.abs() < 1e12).ifelse(table.amount_eur, ibis.null("float64"))  # whole cents fit int64
    cents = (payable * 100).round().cast("int64")
    return table.mutate(amount_is_round=(cents % 1000 == 0), amount_cents=cents % 100)
