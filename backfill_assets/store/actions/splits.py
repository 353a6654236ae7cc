"""Splits in the store, and for which symbols and days all of them are known.

What they do to volumes is in ``market.actions.splits``; when they are read is decided in
``backfill.actions.action_reading``.
"""

import math
from collections.abc import Collection, Iterable, Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np

from backfill_assets.market.actions.corporate_actions import Split
from backfill_assets.market.actions.listed_actions import ListedSplit
from backfill_assets.market.actions.splits import MAX_UNADJUSTED_DIFFERENCE, SplitHistory
from backfill_assets.market.arrays import Int64
from backfill_assets.store.actions.action_reads import MarketFile, record_file_reads, record_own_read
from backfill_assets.store.actions.action_rows import (
    ActionTable,
    build_listed,
    record_actions,
    record_moves,
    select_actions,
    withdraw_actions,
)
from backfill_assets.store.postgres.connection import Connection

MAX_SHARES_OF_RATIO = 1_000_000  # the vendor writes shares with six places
# 4:2 is no other ratio than 2:1. A row of before migration 26 has no shares; it gets those of the same ratio.
_IS_CHANGED = """(p.contradiction IS DISTINCT FROM {new}.contradiction OR CASE WHEN p.new_shares IS NULL
    THEN p.ratio <> {new}.ratio ELSE p.new_shares * {new}.old_shares <> {new}.new_shares * p.old_shares END)"""
_SPLITS = ActionTable(
    name="splits",
    revisions="split_revisions",
    keys={},
    values={"ratio": "float8", "new_shares": "numeric", "old_shares": "numeric", "contradiction": "text"},
    details={},
    is_changed=_IS_CHANGED,
    is_same_action="p.ratio = i.ratio",
    without_effect={"ratio": "1", "new_shares": "1", "old_shares": "1", "contradiction": "NULL"},
)
_SELECT_SPLITS = """
SELECT symbol_id, ex_date, ratio FROM backfill.splits
WHERE symbol_id = ANY (%(ids)s::int[]) AND withdrawn_at IS NULL ORDER BY 1, 2
"""
_SELECT_READS = """
SELECT symbol_id, known_after, known_until, floor(extract(epoch FROM read_at))::bigint FROM backfill.split_reads
WHERE symbol_id = ANY (%(ids)s::int[]) AND read_at IS NOT NULL ORDER BY 1
"""
# A row whose adjusted close differs from its close knows of an action since; it may be a split. A row that was read
# before the last request says nothing new: a list that cannot be read would be requested every day.
_SELECT_ADJUSTED = """
SELECT DISTINCT d.symbol_id
FROM backfill.daily_prices d LEFT JOIN backfill.split_reads r USING (symbol_id)
WHERE d.symbol_id = ANY (%(ids)s::int[]) AND d.day BETWEEN %(first)s AND %(last)s
  AND abs(ln(d.adjusted_close) - ln(d.close_price)) > ln(1 + %(difference)s::float8)
  AND (r.read_at IS NULL OR r.read_at < d.read_at OR r.known_after > d.day)
  AND (r.requested_at IS NULL OR r.requested_at <= %(before)s AND r.requested_at < d.read_at)
ORDER BY 1
"""


def record_symbol_splits(
    connection: Connection,
    symbol_id: int,
    splits: Collection[ListedSplit],
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
        splits: one of each ex-date.
        source: the vendor's endpoint.
        now: when they were read, UTC.
        known_after: the list has every split after this day …
        known_until: … up to this one.
    """
    rows = [_build_row(symbol_id, split) for split in splits]
    record_moves(connection, _SPLITS, symbol_id, rows, now, known_after)
    record_actions(connection, _SPLITS, rows, source, now)
    found = [(symbol_id, split.ex_date) for split in splits]
    withdraw_actions(connection, _SPLITS, [symbol_id], (known_after + timedelta(days=1), date.max), found, now)
    record_own_read(connection, "split_reads", symbol_id, known_after, known_until, now)


def record_market_splits(
    connection: Connection, splits: Mapping[int, Collection[ListedSplit]], file: MarketFile
) -> None:
    """Store the splits that a market's file lists for its session: symbol_id → those of the session."""
    rows = [_build_row(symbol_id, split) for symbol_id, of_symbol in splits.items() for split in of_symbol]
    record_actions(connection, _SPLITS, rows, file.source, file.read_at)
    if file.is_complete:
        found = [(row["symbol_id"], file.day) for row in rows]
        withdraw_actions(connection, _SPLITS, file.symbol_ids, (file.day, file.day), found, file.read_at)
    record_file_reads(connection, "split_reads", file)


def list_splits(
    connection: Connection, symbol_ids: Collection[int] | None = None, *, with_versions: bool = False
) -> list[Split]:
    """The splits of some symbols, or of all, by symbol and ex-date.

    Args:
        connection: with a transaction open.
        symbol_ids: the symbols; None for all.
        with_versions: besides those that count also those that were withdrawn, and what each was before, oldest first:
            the ``listed`` of a version says from when to when it was known so.
    """
    rows = select_actions(connection, _SPLITS, symbol_ids, with_versions=with_versions)
    return [
        Split(symbol_id, ex_date, *_get_shares(ratio, new, old), build_listed(*listed), contradiction)
        for symbol_id, ex_date, ratio, new, old, contradiction, *listed in rows
    ]


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


def find_adjusted_symbols(
    connection: Connection, symbol_ids: Collection[int], days: tuple[date, date], before: datetime
) -> list[int]:
    """The symbols with daily rows of days from … to … that know of an action since, read after their splits.

    Those whose list was requested after ``before`` are none of them.
    """
    values = {"ids": sorted(symbol_ids), "first": days[0], "last": days[1], "before": before}
    values["difference"] = MAX_UNADJUSTED_DIFFERENCE
    return [symbol_id for (symbol_id,) in connection.execute(_SELECT_ADJUSTED, values)]


def _build_row(symbol_id: int, split: ListedSplit) -> dict[str, Any]:
    return {
        "symbol_id": symbol_id,
        "ex_date": split.ex_date,
        "ratio": float(split.new_shares / split.old_shares),
        "new_shares": split.new_shares,
        "old_shares": split.old_shares,
        "contradiction": split.contradiction,
    }


def _get_shares(ratio: float, new: Decimal | None, old: Decimal | None) -> tuple[Decimal, Decimal]:
    """The shares; of a row that has the ratio only, as whole numbers if they make it exactly.

    A program of before migration 26 writes the ratio alone; older shares may stand beside it.
    """
    if new is not None and old is not None and math.isclose(float(new / old), ratio, rel_tol=1e-9):
        return new, old
    fraction = Fraction(ratio).limit_denominator(MAX_SHARES_OF_RATIO)
    exact = fraction if float(fraction) == ratio else Fraction(repr(ratio))
    return Decimal(exact.numerator), Decimal(exact.denominator)


def _to_ints(values: Iterable[int]) -> Int64:
    return np.fromiter(values, np.int64)
