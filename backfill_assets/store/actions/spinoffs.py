"""Derived spin-offs in the store, and the values that held before. What shows one is in ``market.actions.spinoffs``."""

from collections.abc import Collection, Sequence
from datetime import UTC, date, datetime

from backfill_assets.market.actions.corporate_actions import Listed, SpinOff
from backfill_assets.store.postgres.connection import Connection

DERIVED_FROM = "derived from daily closes, which the vendor adjusts for it, and closes as traded"
SAME_FACTOR = 1e-4  # a basis point: a factor that differs by less is the same, derived from other sessions

_WITH_INCOMING = """
WITH incoming AS (
    SELECT * FROM unnest(%(ids)s::int[], %(ex_dates)s::date[], %(factors)s::float8[], %(sessions)s::int[])
      AS t (symbol_id, ex_date, factor, sessions)
)
"""
_IS_CHANGED = "(s.withdrawn_at IS NOT NULL OR abs(ln(s.factor) - ln({incoming}.factor)) > %(same)s)"
_INSERT_REVISIONS = f"""
{_WITH_INCOMING} INSERT INTO backfill.spinoff_revisions (symbol_id, ex_date, factor, source, known_from, known_until)
SELECT s.symbol_id, s.ex_date, s.factor, s.source, coalesce(s.revised_at, s.first_seen),
       coalesce(s.withdrawn_at, %(now)s)
FROM backfill.spinoffs s JOIN incoming i USING (symbol_id, ex_date)
WHERE {_IS_CHANGED.format(incoming="i")} ORDER BY 1, 2 FOR UPDATE OF s
"""  # noqa: S608 - only constants are inserted
_UPSERT = f"""
{_WITH_INCOMING} INSERT INTO backfill.spinoffs AS s (symbol_id, ex_date, factor, sessions, source, first_seen)
SELECT i.*, %(source)s, %(now)s FROM incoming i ORDER BY 1, 2
ON CONFLICT (symbol_id, ex_date) DO UPDATE SET
    factor = EXCLUDED.factor, sessions = EXCLUDED.sessions, source = EXCLUDED.source, revised_at = %(now)s,
    withdrawn_at = NULL
WHERE {_IS_CHANGED.format(incoming="EXCLUDED")}
"""  # noqa: S608 - only constants are inserted
_WITHDRAW = """
UPDATE backfill.spinoffs SET withdrawn_at = %(now)s
WHERE (symbol_id, ex_date) IN (SELECT * FROM unnest(%(ids)s::int[], %(ex_dates)s::date[])) AND withdrawn_at IS NULL
"""
_SELECT = """
SELECT symbol_id, ex_date, factor, sessions, source, first_seen, revised_at, withdrawn_at FROM backfill.spinoffs
WHERE symbol_id = ANY (%(ids)s::int[]) AND withdrawn_at IS NULL ORDER BY 1, 2
"""


def list_spinoffs(connection: Connection, symbol_ids: Collection[int]) -> list[SpinOff]:
    """The spin-offs of some symbols that hold, by symbol and date."""
    rows = connection.execute(_SELECT, {"ids": sorted(symbol_ids)})
    return [
        SpinOff(symbol_id, ex_date, factor, sessions, Listed(source, *(at and at.astimezone(UTC) for at in times)))
        for symbol_id, ex_date, factor, sessions, source, *times in rows
    ]


def record_spinoffs(connection: Connection, found: Sequence[tuple[int, date, float, int]], now: datetime) -> int:
    """Store what was derived at ``now``: symbol_id, ex-date, factor and number of sessions of each.

    A factor that differs from the stored one by at most a basis point is the same. Another one replaces it, and so does
    one that was withdrawn; the values before are kept as a revision.

    Returns:
        How many are new or have another factor.
    """
    values = {
        "ids": [symbol_id for symbol_id, *_ in found],
        "ex_dates": [ex_date for _, ex_date, *_ in found],
        "factors": [factor for *_, factor, _ in found],
        "sessions": [sessions for *_, sessions in found],
        "source": DERIVED_FROM,
        "same": SAME_FACTOR,
        "now": now,
    }
    connection.execute(_INSERT_REVISIONS, values)
    return connection.execute(_UPSERT, values).rowcount


def withdraw_spinoffs(connection: Connection, gone: Collection[tuple[int, date]], now: datetime) -> int:
    """Let spin-offs (symbol_id, ex-date) count no more from ``now`` on; returns how many did."""
    values = {"ids": [key for key, _ in gone], "ex_dates": [day for _, day in gone], "now": now}
    return connection.execute(_WITHDRAW, values).rowcount
