"""Sets of slots as Postgres integer multiranges: their text form to and from arrays."""

from collections.abc import Sequence

import numpy as np

from backfill_assets.market.arrays import Bools, Int64

NO_POSITIONS = "{}"


def parse_multirange(multirange: str | None) -> list[tuple[int, int]]:
    """Read ``{[0,13),[20,21)}``; half-open, as Postgres normalises integer ranges."""
    if not multirange or multirange == NO_POSITIONS:
        return []
    parts = (part.split(",") for part in multirange[2:-2].split("),["))
    return [(int(first), int(last)) for first, last in parts]


def expand_multiranges(multiranges: Sequence[str | None]) -> tuple[Int64, Int64]:
    """All values of all multiranges, as parallel arrays: position of the multirange, value."""
    owners, bounds = [], []
    for position, text in enumerate(multiranges):
        for pair in parse_multirange(text):
            owners.append(position)
            bounds.append(pair)
    if not bounds:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    ranges = np.array(bounds, np.int64)
    sizes = ranges[:, 1] - ranges[:, 0]
    ends = np.cumsum(sizes)
    values = np.arange(ends[-1]) - np.repeat(ends - sizes, sizes) + np.repeat(ranges[:, 0], sizes)
    return np.repeat(np.array(owners, np.int64), sizes), values


def format_multirange(absent: Bools) -> str:
    """The positions that are True, as the text of an int4multirange."""
    edges = np.flatnonzero(np.diff(np.r_[False, absent, False].astype(np.int8)))
    return "{" + ",".join(f"[{first},{last})" for first, last in edges.reshape(-1, 2).tolist()) + "}"
