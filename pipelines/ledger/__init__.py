"""The SQL database of facts. One class, small methods; every write is one transaction."""

from pipelines.ledger.ledger import Ledger, Row

__all__ = ["Ledger", "Row"]
