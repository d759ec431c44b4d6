"""The SQL database of facts. One class, small methods; every write is one transaction."""

from pipelines.ledger.ledger import Ledger
from pipelines.ledger.transactions import Row

__all__ = ["Ledger", "Row"]
