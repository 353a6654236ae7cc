"""Read and change the universe, the rows of ``market_symbols``.

Other programs may have written the rows in their own spelling. What a row means is decided in
``market.calendar.tickers``; the rows stay as they are. Several rows can mean one ticker. Then one of them is used: an
active one before an inactive one, then one with a listing (``store.listings``), then the row in this program's spelling
(``AAPL``, ``US``), then the oldest.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
from typing import NamedTuple

from backfill_assets.market.calendar.tickers import Symbol, Ticker, recognize_ticker
from backfill_assets.market.exchanges.names import list_exchange_names
from backfill_assets.market.exchanges.registry import PROFILES
from backfill_assets.store.exchanges import IS_OF_EXCHANGE, list_names
from backfill_assets.store.postgres.connection import Connection
from backfill_assets.store.symbol_counts import count_other_exchanges
from backfill_assets.store.symbol_rows import explain_missing_rows, insert_rows
from backfill_assets.store.universe_changes import (
    UniverseAt,
    begin_universe_change,
    read_universe_at,
    record_universe_changes,
)

_SET_ACTIVE = """
UPDATE market_symbols SET is_active = %(is_active)s, updated_at = now()
WHERE symbol_id = ANY (%(ids)s) AND coalesce(is_active, true) <> %(is_active)s
"""
_SELECT_ROWS = f"""
SELECT symbol_id, symbol, exchange, coalesce(is_active, true),
       symbol_id IN (SELECT l.symbol_id FROM backfill.listings l WHERE l.withdrawn_at IS NULL)
FROM market_symbols WHERE {IS_OF_EXCHANGE} ORDER BY symbol_id
"""  # noqa: S608 - a constant is inserted
# Any spelling of a ticker contains the letters and digits of its name: this reads a few rows of 20,000.
_SELECT_SIMILAR_ROWS = f"""
SELECT * FROM ({_SELECT_ROWS}) r
WHERE EXISTS (SELECT FROM unnest(%(parts)s::text[]) AS part WHERE strpos(upper(r.symbol COLLATE "C"), part) > 0)
"""  # noqa: S608 - a constant is inserted
_MAX_SIMILAR = 20  # tickers; for more of them it is quicker to read all rows
_NAME_PARTS = re.compile(r"[A-Z0-9]+")


class SymbolRow(NamedTuple):  # faster to create than a dataclass, and there may be 20,000
    """A row of ``market_symbols`` as it is stored; ``ticker`` is what it means, None if that is not recognized."""

    symbol_id: int
    symbol: str | None
    exchange: str | None
    is_active: bool
    ticker: Ticker | None
    has_listing: bool = False

    @property
    def is_own_spelling(self) -> bool:
        """Whether the row is spelled as this program spells it."""
        return self.ticker is not None and (self.symbol, self.exchange) == (self.ticker.symbol, self.ticker.exchange)


@dataclass(frozen=True, slots=True)
class Universe:
    """The rows of ``market_symbols`` and what they mean.

    Attributes:
        symbols: one for each ticker of the exchange, ordered by ticker; inactive ones, too.
        duplicates: active rows of a ticker for which another row is used, with the symbol_id of that one.
        unrecognized: active rows with a symbol that the vendor cannot have.
        other_exchanges: how many active rows each other exchange has, by its name in the table.
    """

    symbols: tuple[Symbol, ...]
    duplicates: tuple[tuple[SymbolRow, int], ...]
    unrecognized: tuple[SymbolRow, ...]
    other_exchanges: Mapping[str, int]


def read_universe(connection: Connection, exchange: str, enabled: Collection[str] = ()) -> Universe:
    """Every row of ``market_symbols``, as seen from ``exchange``; rows of ``enabled`` exchanges are no others."""
    rows_by_ticker, unrecognized = _group_rows(_read_rows(connection, exchange))
    duplicates = [(row, used.symbol_id) for used, *others in rows_by_ticker.values() for row in others if row.is_active]
    return Universe(
        tuple(_sort_symbols(rows_by_ticker)),
        tuple(duplicates),
        tuple(row for row in unrecognized if row.is_active),
        count_other_exchanges(connection, {exchange, *enabled}),
    )


def list_symbols(connection: Connection, exchange: str, *, only_active: bool = True) -> list[Symbol]:
    """The symbols of ``exchange``, ordered by name; only active ones by default."""
    symbols = _sort_symbols(_group_rows(_read_rows(connection, exchange))[0])
    return [symbol for symbol in symbols if symbol.is_active] if only_active else symbols


def list_all_symbols(connection: Connection, *, only_active: bool = True) -> list[Symbol]:
    """The symbols of every exchange that has a profile, ordered by name; only active ones by default."""
    names = sorted(frozenset().union(*map(list_exchange_names, PROFILES)))
    rows = [_recognize(*row) for row in connection.execute(_SELECT_ROWS.encode(), {"names": names})]
    symbols = _sort_symbols(_group_rows(rows)[0])
    return [symbol for symbol in symbols if symbol.is_active] if only_active else symbols


def find_symbols_by_ticker(connection: Connection, exchange: str, tickers: Collection[Ticker]) -> dict[Ticker, Symbol]:
    """The symbols of tickers, inactive ones, too; tickers that the store does not have are left out."""
    if len(tickers) > _MAX_SIMILAR:
        rows = _read_rows(connection, exchange)
    else:
        parts = [max(_NAME_PARTS.findall(ticker.symbol.upper()), key=len) for ticker in tickers]
        values = {**list_names(exchange), "parts": parts}
        rows = [_recognize(*row) for row in connection.execute(_SELECT_SIMILAR_ROWS.encode(), values)]
    wanted = frozenset(tickers)
    return {symbol.ticker: symbol for symbol in _sort_symbols(_group_rows(rows)[0]) if symbol.ticker in wanted}


def list_symbols_at(connection: Connection, exchange: str, moment: datetime) -> UniverseAt:
    """The symbols of ``exchange`` at ``moment`` (aware), inactive ones, too, as far as changes are recorded."""
    recorded = read_universe_at(connection, moment)
    if recorded.rows is None:
        symbols, deleted = list_symbols(connection, exchange, only_active=False), 0
    else:
        rows = [
            (row, _recognize(row.symbol_id, row.symbol, row.exchange, row.is_active, row.has_listing))
            for row in recorded.rows
        ]
        of_exchange = [(was, row) for was, row in rows if row.ticker is not None and row.ticker.exchange == exchange]
        deleted = sum(row.is_active and not was.is_there_now for was, row in of_exchange)
        symbols = _sort_symbols(_group_rows(row for was, row in of_exchange if was.is_there_now)[0])
    return UniverseAt(moment, tuple(symbols), recorded.first_record, deleted, recorded.is_assumed)


def add_symbols(
    connection: Connection, tickers: Sequence[Ticker], *, reactivate: bool = True, is_active: bool = True
) -> int:
    """Add tickers, or activate them again; returns how many were added or activated.

    A ticker whose row another program spelled differently is that row. Works with a unique key on ``symbol`` alone as
    well as on (symbol, exchange).

    Args:
        connection: with a transaction open.
        tickers: without repeats.
        reactivate: whether inactive symbols become active; without it they are left as they are.
        is_active: whether new ones are.

    Raises:
        UsageError: the table refuses a row, such as a symbol that it has for another exchange.
    """
    begin_universe_change(connection)
    rows_by_ticker = _read_rows_by_ticker(connection, tickers)
    new = [ticker for ticker in tickers if ticker not in rows_by_ticker]
    inactive = [rows[0].symbol_id for rows in rows_by_ticker.values() if not rows[0].is_active]
    changed = insert_rows(connection, new, is_active=is_active)
    if changed < len(new):
        _require_stored(connection, new)
    changed += _set_active(connection, inactive, is_active=True) if reactivate else 0
    record_universe_changes(connection)
    return changed


def deactivate_symbols(connection: Connection, tickers: Sequence[Ticker]) -> list[Ticker]:
    """Deactivate tickers, every row of them; their bars stay. Returns those that were active, in order."""
    active = {
        ticker: [row.symbol_id for row in rows if row.is_active]
        for ticker, rows in _read_rows_by_ticker(connection, tickers).items()
        if rows[0].is_active
    }
    deactivate_rows(connection, [symbol_id for ids in active.values() for symbol_id in ids])
    return sorted(active)


def list_active_rows(connection: Connection, tickers: Sequence[Ticker]) -> list[int]:
    """The symbol_ids of every active row of the tickers; several rows may mean one ticker."""
    rows_by_ticker = _read_rows_by_ticker(connection, tickers)
    return sorted(row.symbol_id for rows in rows_by_ticker.values() for row in rows if row.is_active)


def activate_rows(connection: Connection, symbol_ids: Sequence[int]) -> int:
    """Activate rows by their keys; returns how many were not active."""
    return _change_active(connection, symbol_ids, is_active=True)


def deactivate_rows(connection: Connection, symbol_ids: Sequence[int]) -> int:
    """Deactivate rows by their keys; returns how many were active."""
    return _change_active(connection, symbol_ids, is_active=False)


def _change_active(connection: Connection, symbol_ids: Sequence[int], *, is_active: bool) -> int:
    begin_universe_change(connection)
    changed = _set_active(connection, symbol_ids, is_active=is_active)
    record_universe_changes(connection)
    return changed


def _require_stored(connection: Connection, tickers: Sequence[Ticker]) -> None:
    """Make sure that each ticker has a row now; another process may have added it in the meantime.

    Raises:
        UsageError: the table has a symbol for another exchange, and its key does not allow both.
    """
    stored = _read_rows_by_ticker(connection, tickers)
    missing = [ticker for ticker in tickers if ticker not in stored]
    if missing:
        raise explain_missing_rows(connection, missing)


def _set_active(connection: Connection, symbol_ids: Sequence[int], *, is_active: bool) -> int:
    values = {"ids": list(symbol_ids), "is_active": is_active}
    return connection.execute(_SET_ACTIVE, values).rowcount if symbol_ids else 0


def _read_rows_by_ticker(connection: Connection, tickers: Sequence[Ticker]) -> dict[Ticker, list[SymbolRow]]:
    """The rows of each of ``tickers`` that has some, the one to use first."""
    wanted = set(tickers)
    rows_by_ticker: dict[Ticker, list[SymbolRow]] = {}
    for exchange in sorted({ticker.exchange for ticker in tickers}):
        rows_by_ticker |= _group_rows(_read_rows(connection, exchange))[0]
    return {ticker: rows for ticker, rows in rows_by_ticker.items() if ticker in wanted}


def _read_rows(connection: Connection, exchange: str) -> list[SymbolRow]:
    """The rows of ``exchange`` under any of its names, the oldest first."""
    rows = connection.execute(_SELECT_ROWS.encode(), list_names(exchange)).fetchall()  # at once: there may be thousands
    return [_recognize(*row) for row in rows]


def _recognize(
    symbol_id: int, symbol: str | None, exchange: str | None, is_active: bool, has_listing: bool = False
) -> SymbolRow:
    return SymbolRow(symbol_id, symbol, exchange, is_active, recognize_ticker(symbol, exchange), has_listing)


def _sort_symbols(rows_by_ticker: Mapping[Ticker, Sequence[SymbolRow]]) -> list[Symbol]:
    used = [Symbol(rows[0].symbol_id, ticker, rows[0].is_active) for ticker, rows in rows_by_ticker.items()]
    return sorted(used, key=attrgetter("ticker.symbol"))


def _group_rows(rows: Iterable[SymbolRow]) -> tuple[dict[Ticker, list[SymbolRow]], list[SymbolRow]]:
    """By ticker, its rows with the one to use first; and the rows that are not recognized."""
    rows_by_ticker: dict[Ticker, list[SymbolRow]] = {}
    unrecognized = []
    for row in rows:
        if row.ticker is None:
            unrecognized.append(row)
        else:
            rows_by_ticker.setdefault(row.ticker, []).append(row)
    for shared in rows_by_ticker.values():
        if len(shared) > 1:
            shared.sort(key=lambda r: (not r.is_active, not r.has_listing, not r.is_own_spelling, r.symbol_id))
    return rows_by_ticker, unrecognized
