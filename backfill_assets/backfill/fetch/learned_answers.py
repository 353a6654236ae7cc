"""Counts the rows of an experimental exchange's answers, in the transaction that stores their bars.

What is counted is in ``market.learning.learned_rows``. Verified exchanges are never here.
"""

from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.market.calendar.slots import SlotGrid
from backfill_assets.market.columns import Columns
from backfill_assets.market.learning.learned_rows import count_learned_rows
from backfill_assets.store.learning import add_learned_rows, find_published
from backfill_assets.store.postgres.connection import Connection


def learn_from_answers(
    connection: Connection,
    rows: Columns,
    rejects: Columns,
    evidence: Columns,
    grid: SlotGrid,
    source: Interval,
) -> None:
    """Count the rows of the sessions that these answers show published for the first time, before they are recorded.

    Args:
        connection: with the transaction open that stores the bars.
        rows: the answers as a row table.
        rejects: those of them that broke a rule.
        evidence: one row for each symbol and session requested, with ``day`` and ``published``.
        grid: the slots.
        source: the interval of the rows.
    """
    published = evidence.take(evidence["published"])
    keys = list(zip(*(published[name].tolist() for name in ("symbol_id", "session", "day")), strict=True))
    known = find_published(connection, [(key, day) for key, _, day in keys], source) if keys else set()
    counted = [(key, session) for key, session, day in keys if (key, day) not in known]
    if counted:
        add_learned_rows(connection, grid.sessions, count_learned_rows(rows, rejects, counted, grid), source)
