"""Exchanges: a profile of each, their names, and what a user corrects of them."""
