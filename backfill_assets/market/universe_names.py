"""Which names a universe may have; they are part of asset keys, options and folders."""

import re

RULE = "small letters, digits, - and _, at most 40, the first a letter or digit"
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")


def is_universe_name(name: str) -> bool:
    """Whether ``name`` may be the name of a universe."""
    return _NAME.fullmatch(name) is not None
