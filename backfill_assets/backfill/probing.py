"""Probe before spending: whom to ask first while a fresh session may not be published at all.

A request that waits for nothing but such a session is *tentative*. Tentative ones go out in blocks:
a few probes, then twice as many as long as at least half of the last block had it; the next round comes
half an hour later at the earliest. From 16 hours after the close nothing is tentative, so everybody is
asked by then, and each round draws its probes anew, so that one in a hole blocks nobody for long.
"""

from collections.abc import Sequence
from random import Random

import numpy as np

from backfill_assets.backfill.planner import Ask
from backfill_assets.store.coverage import Coverage

TICKERS_PER_PROBE = 150
MOST_PROBES = 3
SECONDS_BETWEEN_ROUNDS = 1800


def split(asks: Sequence[Ask], coverage: Coverage) -> tuple[list[Ask], list[Ask]]:
    """The asks that are certainly worth their price, and the tentative ones in the order to try them."""
    fresh = _fresh_sessions(coverage)
    certain = [ask for ask in asks if ask.newest_due not in fresh or ask.oldest_due not in fresh]
    tentative = [ask for ask in asks if ask.newest_due in fresh and ask.oldest_due in fresh]
    return certain, _in_order(tentative, coverage)


def may_probe(coverage: Coverage) -> bool:
    """Whether the last ask about a fresh session is long enough ago for another round."""
    about = np.isin(coverage.asked.session, list(_fresh_sessions(coverage)))
    newest = coverage.asked.asked_at[about].max(initial=0)
    return bool(coverage.now.timestamp() - newest >= SECONDS_BETWEEN_ROUNDS)


def first_block(coverage: Coverage) -> int:
    """How many to try first: some probes, or as many as were already seen to have the newest session."""
    probes = min(MOST_PROBES, max(1, len(coverage.symbols) // TICKERS_PER_PROBE))
    return max(probes, max((_seen(coverage, session) for session in _fresh_sessions(coverage)), default=0))


def _fresh_sessions(coverage: Coverage) -> set[int]:
    """Sessions not yet overdue that less than half of the universe was seen to have."""
    return {
        session
        for session, overdue_at in enumerate(coverage.overdue_at)
        if coverage.now < overdue_at and 2 * _seen(coverage, session) < len(coverage.symbols)
    }


def _seen(coverage: Coverage, session: int) -> int:
    return int((coverage.asked.published & (coverage.asked.session == session)).sum())


def _in_order(asks: list[Ask], coverage: Coverage) -> list[Ask]:
    """At random, but who was asked longest ago first, and liquid ones before those that often skip slots."""
    draw = Random(coverage.now.isoformat())  # noqa: S311 - a draw that can be repeated
    position = {s.symbol_id: row for row, s in enumerate(coverage.symbols)}
    asked_at = np.zeros(len(coverage.symbols), np.int64)
    newest = coverage.asked.session == len(coverage.grid.sessions) - 1
    asked_at[coverage.asked.row[newest]] = coverage.asked.asked_at[newest]

    def key(ask: Ask) -> tuple[int, int]:
        row = position[ask.symbol.symbol_id]
        return int(asked_at[row]), int(coverage.facts.skips[row])

    return sorted(draw.sample(asks, len(asks)), key=key)
