"""Nightshift: batch machine learning that a team can trust in the morning. Nothing in this package imports airflow."""

__version__ = "0.1.0"
