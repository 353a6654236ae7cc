"""Dividends in the store, and for which symbols and days all of them are known.

When they are read is decided in ``backfill.actions.action_reading``; what they do to prices is in the schema's
functions.
"""

from collections.abc import Collection, Mapping
from dataclasses import asdict, replace
from datetime import date, datetime, timedelta
from typing import Any

from backfill_assets.market.actions.corporate_actions import Dividend
from backfill_assets.market.actions.listed_actions import ListedDividend
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

_DIVIDENDS = ActionTable(
    name="dividends",
    revisions="dividend_revisions",
    keys={"period": "text"},
    values={"cum_day": "date", "amount": "numeric", "currency": "text", "contradiction": "text"},
    details={"declared_on": "date", "record_on": "date", "paid_on": "date"},
    is_changed="(p.cum_day, p.amount, p.currency, p.contradiction) IS DISTINCT FROM"
    " ({new}.cum_day, {new}.amount, {new}.currency, {new}.contradiction)",
    is_same_action="p.amount = i.amount AND p.period = i.period AND p.currency IS NOT DISTINCT FROM i.currency",
    without_effect={"cum_day": "i.cum_day", "amount": "0", "currency": "i.currency", "contradiction": "NULL"},
)
_SELECT_PERIODS = """
SELECT symbol_id, ex_date, period, amount, withdrawn_at IS NULL FROM backfill.dividends
WHERE (symbol_id, ex_date) IN (SELECT * FROM unnest(%(ids)s::int[], %(days)s::date[])) ORDER BY 1, 2, 3 FOR UPDATE
"""
_RENAME_PERIOD = """
UPDATE backfill.dividends SET period = %(new)s WHERE symbol_id = %(id)s AND ex_date = %(day)s AND period = %(old)s
"""
_RENAME_PERIOD_OF_REVISIONS = """
UPDATE backfill.dividend_revisions SET period = %(new)s
WHERE symbol_id = %(id)s AND ex_date = %(day)s AND period = %(old)s
"""
_Listed = list[tuple[int, ListedDividend]]


def record_symbol_dividends(
    connection: Connection,
    symbol_id: int,
    dividends: Collection[ListedDividend],
    source: str,
    now: datetime,
    *,
    known_after: date,
    known_until: date,
) -> None:
    """Store the vendor's list of one symbol's dividends; a stored one that it lacks counts no more.

    Args:
        connection: with a transaction open.
        symbol_id: the symbol.
        dividends: one of each ex-date and period.
        source: the vendor's endpoint.
        now: when they were read, UTC.
        known_after: the list has every dividend after this day …
        known_until: … up to this one.
    """
    listed = _match_periods(connection, [(symbol_id, dividend) for dividend in dividends])
    record_moves(connection, _DIVIDENDS, symbol_id, _build_rows(listed), now, known_after)
    _record(connection, listed, source, now)
    withdraw_actions(
        connection, _DIVIDENDS, [symbol_id], (known_after + timedelta(days=1), date.max), _list_keys(listed), now
    )
    record_own_read(connection, "dividend_reads", symbol_id, known_after, known_until, now)


def record_market_dividends(
    connection: Connection, dividends: Mapping[int, Collection[ListedDividend]], file: MarketFile
) -> None:
    """Store the dividends that a market's file lists for its session: symbol_id → those of the session."""
    listed = _match_periods(connection, [(symbol_id, d) for symbol_id, of in dividends.items() for d in of])
    _record(connection, listed, file.source, file.read_at)
    if file.is_complete:
        days = (file.day, file.day)
        withdraw_actions(connection, _DIVIDENDS, file.symbol_ids, days, _list_keys(listed), file.read_at)
    record_file_reads(connection, "dividend_reads", file)


def list_dividends(
    connection: Connection, symbol_ids: Collection[int] | None = None, *, with_versions: bool = False
) -> list[Dividend]:
    """The dividends of some symbols, or of all, by symbol, ex-date and period; as ``splits.list_splits``."""
    rows = select_actions(connection, _DIVIDENDS, symbol_ids, with_versions=with_versions)
    return [_build_dividend(row) for row in rows]


def _build_dividend(row: tuple[Any, ...]) -> Dividend:
    symbol_id, ex_date, period, cum_day, amount, currency, contradiction, *days = row[:10]
    listed = build_listed(*row[10:])
    return Dividend(symbol_id, ex_date, period, cum_day, amount, currency, listed, contradiction, *days)


def _record(connection: Connection, listed: _Listed, source: str, now: datetime) -> None:
    record_actions(connection, _DIVIDENDS, _build_rows(listed), source, now)


def _build_rows(listed: _Listed) -> list[dict[str, Any]]:
    return [{"symbol_id": symbol_id, **asdict(dividend)} for symbol_id, dividend in listed]


def _list_keys(listed: _Listed) -> list[tuple[int, date, str]]:
    return [(symbol_id, dividend.ex_date, dividend.period) for symbol_id, dividend in listed]


def _match_periods(connection: Connection, listed: _Listed) -> _Listed:
    """The dividends under the periods that their stored rows have; those rows get a period that is new.

    One that is listed under another period than before is the same dividend, not a second one: else both would count
    at moments between.
    """
    ids, days = [symbol_id for symbol_id, _ in listed], [dividend.ex_date for _, dividend in listed]
    stored: dict[tuple[int, date], dict[str, tuple[Any, bool]]] = {}
    for symbol_id, day, period, amount, is_listed in connection.execute(_SELECT_PERIODS, {"ids": ids, "days": days}):
        stored.setdefault((symbol_id, day), {})[period] = (amount, is_listed)
    incoming: dict[tuple[int, date], list[ListedDividend]] = {}
    for symbol_id, dividend in listed:
        incoming.setdefault((symbol_id, dividend.ex_date), []).append(dividend)
    matched: _Listed = []
    for (symbol_id, day), dividends in incoming.items():
        of_day = stored.get((symbol_id, day), {})
        for dividend in dividends:
            old = _find_old_period(dividend, dividends, of_day)
            if old and not dividend.period:
                dividend = replace(dividend, period=old)
            elif old is not None:
                values = {"id": symbol_id, "day": day, "old": old, "new": dividend.period}
                connection.execute(_RENAME_PERIOD, values)
                connection.execute(_RENAME_PERIOD_OF_REVISIONS, values)
            matched.append((symbol_id, dividend))
    return matched


def _find_old_period(
    dividend: ListedDividend, listed: list[ListedDividend], stored: Mapping[str, tuple[Any, bool]]
) -> str | None:
    """The period that the same dividend is stored under; None if it is the same one, or not stored.

    The stored row that is not listed any more and has the amount, or the only one if only one dividend is new.
    """
    if dividend.period in stored:
        return None
    periods = {other.period for other in listed}
    gone = {period: amount for period, (amount, is_listed) in stored.items() if is_listed and period not in periods}
    new = [other for other in listed if other.period not in stored]
    same_amount = [period for period, amount in gone.items() if amount == dividend.amount]
    if len(same_amount) == 1 and sum(other.amount == dividend.amount for other in new) == 1:
        return same_amount[0]
    return next(iter(gone)) if len(gone) == len(new) == 1 else None
