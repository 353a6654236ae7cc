"""Keeps a Postgres store of 30-minute market bars complete, proves it, and says so when it can't."""

__version__ = "0.2.0"
