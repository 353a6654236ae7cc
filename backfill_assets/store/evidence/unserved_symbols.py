"""Symbols that the vendor does not serve: who may be one, who is one, and when that ended.

When a symbol is taken for one is decided in ``backfill.absence``; ``evidence_reader`` reads the rest for a coverage.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

from backfill_assets.store.postgres.connection import Connection

# One index probe per symbol; as EXISTS it might become a join that reads the whole table.
_JOIN_FINAL_BAR = """
LEFT JOIN LATERAL (SELECT true AS found FROM market_data d
                   WHERE d.symbol_id = {symbol_id} AND d.is_final IS NOT FALSE LIMIT 1) bar ON true
"""
_JOIN_SOURCE_ROWS = """
LEFT JOIN LATERAL (SELECT true AS found FROM backfill.session_evidence s
                   WHERE s.symbol_id = {symbol_id} AND s.data_until IS NOT NULL LIMIT 1) rows ON true
"""
_SELECT_UNANSWERED = f"""
WITH candidates AS MATERIALIZED (
    SELECT l.symbol_id, l.first_day, l.last_day, l.refusal, max(u.ended_at) AS ended_at
    FROM backfill.listing_lives l LEFT JOIN backfill.unserved_symbols u USING (symbol_id)
    {_JOIN_SOURCE_ROWS.format(symbol_id="l.symbol_id")} {_JOIN_FINAL_BAR.format(symbol_id="l.symbol_id")}
    WHERE l.symbol_id = ANY (%(ids)s) AND NOT l.has_ended AND rows.found IS NULL AND bar.found IS NULL
      AND (l.last_day IS NOT NULL OR l.refusal IS NOT NULL)  -- version 0.2.0 did not record why there are no days
    GROUP BY l.symbol_id HAVING count(u.symbol_id) = count(u.ended_at)
)
SELECT c.symbol_id, c.first_day, c.last_day, c.refusal, min(e.no_new_data_since)
FROM candidates c JOIN backfill.session_evidence e
  ON e.symbol_id = c.symbol_id AND e.session_day <= %(last)s AND e.no_new_data_since > coalesce(c.ended_at, '-infinity')
GROUP BY c.symbol_id, c.first_day, c.last_day, c.refusal
HAVING count(DISTINCT (e.no_new_data_since AT TIME ZONE %(zone)s)::date) >= %(min_days)s ORDER BY c.symbol_id
"""  # noqa: S608 - only constants are inserted
_COUNT_UNIVERSE = f"""
SELECT count(*), count(bar.found),
       (SELECT count(*) FROM backfill.unserved_symbols
        WHERE ended_at IS NULL AND found_at > %(since)s AND symbol_id = ANY (%(ids)s::int[]))
FROM unnest(%(ids)s::int[]) AS t (symbol_id) {_JOIN_FINAL_BAR.format(symbol_id="t.symbol_id")}
"""  # noqa: S608 - only constants are inserted
_INSERT_UNSERVED = """
INSERT INTO backfill.unserved_symbols (symbol_id, found_at, asked_since, reason)
SELECT id, %(now)s, since, reason
FROM unnest(%(ids)s::int[], %(since)s::timestamptz[], %(reasons)s::text[]) AS t (id, since, reason)
ON CONFLICT DO NOTHING
"""
_END_ANSWERED = f"""
WITH answered AS MATERIALIZED (
    SELECT u.symbol_id FROM backfill.unserved_symbols u
    {_JOIN_SOURCE_ROWS.format(symbol_id="u.symbol_id")} {_JOIN_FINAL_BAR.format(symbol_id="u.symbol_id")}
    WHERE u.ended_at IS NULL AND (rows.found OR bar.found OR u.symbol_id <> ALL (%(active_ids)s))
)
UPDATE backfill.unserved_symbols u SET ended_at = greatest(%(now)s, u.found_at)
FROM answered a WHERE u.symbol_id = a.symbol_id AND u.ended_at IS NULL
RETURNING u.symbol_id
"""  # noqa: S608 - only constants are inserted
_CONTINUE_UNSERVED = """
UPDATE backfill.unserved_symbols u SET ended_at = NULL
WHERE symbol_id = ANY (%(ids)s)
  AND found_at = (SELECT max(found_at) FROM backfill.unserved_symbols n WHERE n.symbol_id = u.symbol_id)
"""
_SELECT_UNSERVED = """
SELECT symbol_id, asked_since, reason FROM backfill.unserved_symbols WHERE ended_at IS NULL
"""
_SELECT_WITHOUT_BARS = f"""
SELECT u.symbol_id FROM backfill.unserved_symbols u {_JOIN_FINAL_BAR.format(symbol_id="u.symbol_id")}
WHERE u.ended_at IS NULL AND bar.found IS NULL
"""  # noqa: S608 - only constants are inserted


@dataclass(frozen=True, slots=True)
class UnansweredSymbol:
    """A symbol that never had a final bar, and of which the vendor never returned an intraday row.

    Attributes:
        symbol_id: the symbol.
        first_day: of its daily data; None without any, or if the token's plan limits them.
        last_day: of its daily data; None without any.
        refusal: what the vendor said when it refused the daily data; None or empty if it did not.
        asked_since: the first request in vain, UTC.
    """

    symbol_id: int
    first_day: date | None
    last_day: date | None
    refusal: str | None
    asked_since: datetime


@dataclass(frozen=True, slots=True)
class UniverseCounts:
    """Active symbols, those of them with a final bar, and how many symbols were found unserved since a moment."""

    active: int
    with_bars: int
    newly_unserved: int


@dataclass(frozen=True, slots=True)
class UnservedSymbol:
    """A symbol that the vendor does not serve: since when it is requested in vain (UTC), and what the vendor said."""

    asked_since: datetime
    reason: str

    def __str__(self) -> str:
        return f"no intraday data since {self.asked_since:%Y-%m-%d}: {self.reason}"


def find_unanswered_symbols(
    connection: Connection, symbol_ids: Sequence[int], last: date, zone: str, min_days: int
) -> list[UnansweredSymbol]:
    """Those of ``symbol_ids`` that never had an intraday row or a final bar, and that do not count as unserved.

    Their daily data were looked up, and on at least ``min_days`` days of the time zone ``zone`` a further session up to
    ``last`` was requested in vain, since the symbol last counted as unserved.
    """
    values = {"ids": list(symbol_ids), "last": last, "zone": zone, "min_days": min_days}
    return [
        UnansweredSymbol(key, first_day, last_day, refusal, since.astimezone(UTC))
        for key, first_day, last_day, refusal, since in connection.execute(_SELECT_UNANSWERED, values)
    ]


def count_universe(connection: Connection, active_ids: Sequence[int], since: datetime) -> UniverseCounts:
    """Count the active symbols."""
    row = connection.execute(_COUNT_UNIVERSE, {"ids": list(active_ids), "since": since}).fetchall()[0]
    return UniverseCounts(*map(int, row))


def record_unserved(connection: Connection, symbols: Sequence[tuple[UnansweredSymbol, str]], now: datetime) -> None:
    """Record symbols that the vendor does not serve, each with the reason in words."""
    values = {
        "now": now,
        "ids": [symbol.symbol_id for symbol, _ in symbols],
        "since": [symbol.asked_since for symbol, _ in symbols],
        "reasons": [reason for _, reason in symbols],
    }
    connection.execute(_INSERT_UNSERVED, values)


def end_unserved(connection: Connection, active_ids: Sequence[int], now: datetime) -> set[int]:
    """End what no longer holds: symbols with a row or a bar since, and those that are not active; returns them."""
    return {row[0] for row in connection.execute(_END_ANSWERED, {"active_ids": list(active_ids), "now": now})}


def continue_unserved(connection: Connection, symbol_ids: Sequence[int]) -> None:
    """Take back that symbols ended being unserved: what was found of each last holds again."""
    connection.execute(_CONTINUE_UNSERVED, {"ids": list(symbol_ids)})


def list_unserved_without_bars(connection: Connection) -> set[int]:
    """The symbols whose absent bars are no alarm of their own: not served, and without a final bar of anybody."""
    return {symbol_id for (symbol_id,) in connection.execute(_SELECT_WITHOUT_BARS.encode())}


def list_unserved(connection: Connection) -> dict[int, UnservedSymbol]:
    """The symbols that the vendor does not serve, by symbol_id."""
    rows = connection.execute(_SELECT_UNSERVED)
    return {symbol_id: UnservedSymbol(since.astimezone(UTC), reason) for symbol_id, since, reason in rows}
