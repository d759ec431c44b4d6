"""The one place that touches tables and files."""
