"""Renames and recycled tickers: what is found out about them, and what a person's word changes."""
