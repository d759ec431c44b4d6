"""Runs join steps: one call per task, each recorded in the ledger."""
