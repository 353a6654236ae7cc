"""Which names a universe may have; they are part of asset keys, options and folders."""

import re

RULE = "small letters, digits, - and _, at most 40, the first a letter or digit"
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")


ALL = "all"  # every active symbol of an exchange


def split_universe_name(name: str) -> tuple[str | None, str]:
    """The exchange and the universe that ``LSE/model`` names; None for the exchange of ``model`` alone."""
    exchange, separator, universe = name.rpartition("/")
    return (exchange, universe) if separator else (None, name)


def is_universe_name(name: str) -> bool:
    """Whether ``name`` may be the name of a universe."""
    return _NAME.fullmatch(name) is not None
