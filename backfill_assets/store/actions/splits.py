"""Splits in the store, and for which symbols and days all of them are known.

What they do to volumes is in ``market.actions.splits``; when they are read is decided in
``backfill.actions.split_reading``.
"""

from collections.abc import Collection, Iterable, Mapping
from datetime import date, datetime, timedelta

import numpy as np

from backfill_assets.market.actions.splits import MAX_UNADJUSTED_DIFFERENCE, SplitHistory
from backfill_assets.market.arrays import Int64
from backfill_assets.store.postgres.connection import Connection

FIRST_POSSIBLE_DAY = date(1900, 1, 1)  # of a whole history
_UPSERT_SPLITS = """
INSERT INTO backfill.splits AS s (symbol_id, ex_date, ratio, source, first_seen)
SELECT t.*, %(source)s, %(now)s
FROM unnest(%(ids)s::int[], %(ex_dates)s::date[], %(ratios)s::float8[]) AS t (symbol_id, ex_date, ratio)
ORDER BY 1, 2
ON CONFLICT (symbol_id, ex_date) DO UPDATE SET ratio = EXCLUDED.ratio, withdrawn_at = NULL
WHERE s.ratio <> EXCLUDED.ratio OR s.withdrawn_at IS NOT NULL
"""
_WITHDRAW_SPLITS = """
UPDATE backfill.splits SET withdrawn_at = %(now)s
WHERE symbol_id = ANY (%(ids)s::int[]) AND ex_date BETWEEN %(first)s AND %(last)s AND withdrawn_at IS NULL
  AND (symbol_id, ex_date) NOT IN (SELECT * FROM unnest(%(found_ids)s::int[], %(found_dates)s::date[]))
"""
_UPSERT_OWN_READ = """
INSERT INTO backfill.split_reads (symbol_id, known_after, known_until, read_at, requested_at)
VALUES (%(id)s, %(known_after)s, %(known_until)s, %(now)s, %(now)s)
ON CONFLICT (symbol_id) DO UPDATE SET
    known_after = EXCLUDED.known_after, known_until = EXCLUDED.known_until, read_at = EXCLUDED.read_at,
    requested_at = EXCLUDED.requested_at
"""
# What a file says goes on from what is known up to the session before it; after a gap it begins anew.
_UPSERT_FILE_READS = """
INSERT INTO backfill.split_reads AS r (symbol_id, known_after, known_until, read_at)
SELECT id, %(previous)s, %(day)s, %(now)s FROM unnest(%(ids)s::int[]) AS t (id) ORDER BY 1
ON CONFLICT (symbol_id) DO UPDATE SET
    known_after = CASE WHEN r.known_until >= %(previous)s THEN r.known_after ELSE EXCLUDED.known_after END,
    known_until = EXCLUDED.known_until, read_at = EXCLUDED.read_at
WHERE r.known_until IS NULL OR r.known_until < EXCLUDED.known_until
"""
_CLAIM_REQUESTS = """
INSERT INTO backfill.split_reads AS r (symbol_id, requested_at)
SELECT id, %(now)s FROM unnest(%(ids)s::int[]) AS t (id) ORDER BY 1
ON CONFLICT (symbol_id) DO UPDATE SET requested_at = EXCLUDED.requested_at
WHERE r.requested_at IS NULL OR r.requested_at <= %(before)s
RETURNING symbol_id
"""
_RELEASE_REQUESTS = "UPDATE backfill.split_reads SET requested_at = NULL WHERE symbol_id = ANY (%(ids)s::int[])"
_SELECT_SPLITS = """
SELECT symbol_id, ex_date, ratio FROM backfill.splits
WHERE symbol_id = ANY (%(ids)s::int[]) AND withdrawn_at IS NULL ORDER BY 1, 2
"""
_SELECT_READS = """
SELECT symbol_id, known_after, known_until, floor(extract(epoch FROM read_at))::bigint FROM backfill.split_reads
WHERE symbol_id = ANY (%(ids)s::int[]) AND read_at IS NOT NULL ORDER BY 1
"""
# A row whose adjusted close differs from its close knows of an action since; it may be a split.
_SELECT_ADJUSTED = """
SELECT DISTINCT d.symbol_id
FROM backfill.daily_prices d LEFT JOIN backfill.split_reads r USING (symbol_id)
WHERE d.symbol_id = ANY (%(ids)s::int[]) AND d.day BETWEEN %(first)s AND %(last)s
  AND abs(ln(d.adjusted_close) - ln(d.close_price)) > ln(1 + %(difference)s::float8)
  AND (r.read_at IS NULL OR r.read_at < d.read_at OR r.known_after > d.day)
ORDER BY 1
"""
# Splits of a symbol without daily rows are of no use.
_SELECT_UNREAD = """
SELECT t.id FROM unnest(%(ids)s::int[]) AS t (id) LEFT JOIN backfill.split_reads r ON r.symbol_id = t.id
WHERE (r.requested_at IS NULL OR r.requested_at <= %(before)s)
  AND EXISTS (SELECT FROM backfill.daily_prices d WHERE d.symbol_id = t.id AND d.read_at IS NOT NULL)
ORDER BY r.requested_at NULLS FIRST, t.id LIMIT %(limit)s
"""
_COUNT_REQUESTS = "SELECT count(*) FROM backfill.split_reads WHERE requested_at >= %(since)s"


def record_symbol_splits(
    connection: Connection,
    symbol_id: int,
    splits: Mapping[date, float],
    source: str,
    now: datetime,
    *,
    known_after: date,
    known_until: date,
) -> None:
    """Store the vendor's list of one symbol's splits; a stored one that it lacks counts no more.

    Args:
        connection: with a transaction open.
        symbol_id: the symbol.
        splits: ex-date → new shares for an old one.
        source: the vendor's endpoint.
        now: when they were read, UTC.
        known_after: the list has every split after this day …
        known_until: … up to this one.
    """
    _record(connection, {(symbol_id, day): ratio for day, ratio in splits.items()}, source, now)
    _withdraw(connection, [symbol_id], (known_after + timedelta(days=1), known_until), now, splits.keys())
    values = {"id": symbol_id, "known_after": known_after, "known_until": known_until, "now": now}
    connection.execute(_UPSERT_OWN_READ, values)


def record_market_splits(
    connection: Connection,
    symbol_ids: Collection[int],
    splits: Mapping[int, float],
    source: str,
    now: datetime,
    *,
    previous_day: date,
    day: date,
) -> None:
    """Store the splits that a market's file lists for a session.

    Args:
        connection: with a transaction open.
        symbol_ids: the symbols that were looked for; those with a row that cannot be read are none of them.
        splits: symbol_id → new shares for an old one.
        source: the vendor's endpoint.
        now: when the file was read, UTC.
        previous_day: the session before.
        day: the session.
    """
    _record(connection, {(symbol_id, day): ratio for symbol_id, ratio in splits.items()}, source, now)
    values = {"ids": sorted(symbol_ids), "previous": previous_day, "day": day, "now": now}
    connection.execute(_UPSERT_FILE_READS, values)


def read_splits(connection: Connection, symbol_ids: Collection[int]) -> SplitHistory:
    """The known splits of some symbols, and for which days all of them are known."""
    ids = {"ids": sorted(symbol_ids)}
    splits = connection.execute(_SELECT_SPLITS, ids).fetchall()
    reads = connection.execute(_SELECT_READS, ids).fetchall()
    return SplitHistory(
        symbol_id=_to_ints(row[0] for row in splits),
        ex_date=np.array([row[1] for row in splits], "datetime64[D]"),
        ratio=np.array([row[2] for row in splits], np.float64),
        read_symbol_id=_to_ints(row[0] for row in reads),
        known_after=np.array([row[1] for row in reads], "datetime64[D]"),
        known_until=np.array([row[2] for row in reads], "datetime64[D]"),
        read_at=_to_ints(row[3] for row in reads),
    )


def claim_split_requests(
    connection: Connection, symbol_ids: Collection[int], now: datetime, before: datetime
) -> list[int]:
    """The symbols whose list may be requested now: none that was requested after ``before``, by whichever process."""
    rows = connection.execute(_CLAIM_REQUESTS, {"ids": sorted(symbol_ids), "now": now, "before": before})
    return sorted(symbol_id for (symbol_id,) in rows)


def release_split_requests(connection: Connection, symbol_ids: Collection[int]) -> None:
    """Give up claims on lists that were not requested after all."""
    connection.execute(_RELEASE_REQUESTS, {"ids": sorted(symbol_ids)})


def find_adjusted_symbols(connection: Connection, symbol_ids: Collection[int], first: date, last: date) -> list[int]:
    """The symbols with daily rows of these days that know of an action since, read after their splits."""
    values = {"ids": sorted(symbol_ids), "first": first, "last": last, "difference": MAX_UNADJUSTED_DIFFERENCE}
    return [symbol_id for (symbol_id,) in connection.execute(_SELECT_ADJUSTED, values)]


def find_unread_symbols(connection: Connection, symbol_ids: Collection[int], before: datetime, limit: int) -> list[int]:
    """At most ``limit`` symbols with daily rows whose list was not requested after ``before``, oldest request first."""
    values = {"ids": sorted(symbol_ids), "before": before, "limit": limit}
    return [symbol_id for (symbol_id,) in connection.execute(_SELECT_UNREAD, values)]


def count_split_requests(connection: Connection, since: datetime) -> int:
    """For how many symbols the list was last requested since a moment."""
    return int(connection.execute(_COUNT_REQUESTS, {"since": since}).fetchall()[0][0])


def _record(connection: Connection, splits: Mapping[tuple[int, date], float], source: str, now: datetime) -> None:
    values = {
        "ids": [symbol_id for symbol_id, _ in splits],
        "ex_dates": [day for _, day in splits],
        "ratios": list(splits.values()),
        "source": source,
        "now": now,
    }
    connection.execute(_UPSERT_SPLITS, values)


def _withdraw(
    connection: Connection, ids: list[int], days: tuple[date, date], now: datetime, found: Collection[date]
) -> None:
    values = {
        "ids": ids,
        "first": days[0],
        "last": days[1],
        "now": now,
        "found_ids": ids * len(found),
        "found_dates": sorted(found),
    }
    connection.execute(_WITHDRAW_SPLITS, values)


def _to_ints(values: Iterable[int]) -> Int64:
    return np.fromiter(values, np.int64)
