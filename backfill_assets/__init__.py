"""Keeps a Postgres store of 30-minute market bars complete, checks that it is, and alerts when it is not."""

__version__ = "0.11.0"
