"""Servers of one folder each, on loopback, and the child processes that they are."""
