"""Puts symbols, bars and evidence into a store, and reads them with ``read_bars``."""

from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from psycopg import sql

from backfill_assets.backfill.engine import Engine
from backfill_assets.config.settings import Settings
from backfill_assets.market.calendar.intervals import INTERVALS
from backfill_assets.market.calendar.sessions import list_sessions
from backfill_assets.market.calendar.slots import build_slot_grid
from backfill_assets.market.calendar.timestamps import to_datetime
from backfill_assets.market.exchanges.profile import MarketProfile
from backfill_assets.market.exchanges.registry import US
from backfill_assets.reading import BarsResult, read_bars
from backfill_assets.store.postgres.connection import Database

MONDAY, TUESDAY, WEDNESDAY = date(2026, 6, 1), date(2026, 6, 2), date(2026, 6, 3)
FETCHED = datetime(2026, 6, 3, 1, tzinfo=UTC)
INSERT_AS_OF_THEN = "SET LOCAL session_replication_role = replica"  # what was stored at an earlier moment
OWN = {"source": "vendor", "source_interval": "5m", "source_rows": 6, "is_final": True, "fetched_at": FETCHED}
EXTERNAL: dict[str, Any] = dict.fromkeys(OWN)


def list_starts(first: date, last: date | None = None, market: MarketProfile = US) -> list[datetime]:
    """The starts of all slots of 30 minutes, UTC."""
    grid = build_slot_grid(list_sessions(market, first, last or first), INTERVALS["30m"])
    return [to_datetime(start) for start in grid.starts.tolist()]


@dataclass(frozen=True)
class ReadingStore:
    """A store to put bars into, and to read from."""

    database: Database
    settings: Settings

    def insert(self, table: str, **values: Any) -> Any:
        """Insert a row, and return its first column."""
        statement = sql.SQL("INSERT INTO {} ({}) VALUES ({}) RETURNING *").format(
            sql.Identifier(*table.split(".")),
            sql.SQL(", ").join(map(sql.Identifier, values)),
            sql.SQL(", ").join(sql.Placeholder() * len(values)),
        )
        with self.database.transaction() as connection:
            return connection.execute(statement, list(values.values())).fetchall()[0][0]

    def execute(self, statement: str, *values: Any) -> None:
        """Run a statement in a transaction of its own."""
        with self.database.transaction() as connection:
            connection.execute(statement.encode(), values)

    def add_symbol(self, symbol: str, **values: Any) -> int:
        """A ticker of the universe; returns its symbol_id."""
        return int(self.insert("market_symbols", **{"symbol": symbol, "exchange": "US"} | values))

    def add_bars(
        self,
        symbol_id: int,
        first: date,
        last: date | None = None,
        *,
        without: tuple[int, ...] = (),
        market: MarketProfile = US,
        **values: Any,
    ) -> None:
        """Final bars of all slots but those at the positions ``without``; ``values`` are of other columns."""
        starts = [start for at, start in enumerate(list_starts(first, last, market)) if at not in without]
        columns = {**OWN, "volume": 1000, "interval_type": "30m", **values}
        prices = {"open_price": 100, "high_price": 101, "low_price": 99, "close_price": 100.5}
        columns = {**prices, **columns}
        statement = sql.SQL("INSERT INTO market_data (symbol_id, timestamp, {}) VALUES (%s, %s, {})").format(
            sql.SQL(", ").join(map(sql.Identifier, columns)), sql.SQL(", ").join(sql.Placeholder() * len(columns))
        )
        with self.database.transaction() as connection:
            connection.execute(INSERT_AS_OF_THEN)
            connection.cursor().executemany(statement, [(symbol_id, start, *columns.values()) for start in starts])

    def add_complete_symbol(
        self, symbol: str, first: date, last: date, *, market: MarketProfile = US, **bars: Any
    ) -> int:
        """A ticker with all its bars, and the evidence that its sessions came whole; returns its symbol_id."""
        symbol_id = self.add_symbol(symbol, exchange=market.exchange)
        self.add_bars(symbol_id, first, last, market=market, **bars)
        for session in list_sessions(market, first, last):
            self.add_evidence(symbol_id, session.day)
        return symbol_id

    def replace_bar(self, symbol_id: int, start: datetime, **values: Any) -> None:
        """Change a stored bar."""
        assignments = sql.SQL(", ").join(sql.SQL("{} = %s").format(sql.Identifier(name)) for name in values)
        statement = sql.SQL("UPDATE market_data SET {} WHERE symbol_id = %s AND timestamp = %s").format(assignments)
        with self.database.transaction() as connection:
            connection.execute(statement, [*values.values(), symbol_id, start])

    def add_evidence(self, symbol_id: int, day: date, **values: Any) -> None:
        """That a session was requested and came whole, if nothing else is said."""
        known = {"requested_at": FETCHED, "source_rows": 78, "is_published": True, "not_returned": "{}"}
        key = {"symbol_id": symbol_id, "interval_type": "30m", "source_interval": "5m", "session_day": day}
        self.insert("backfill.session_evidence", **key, **known | values)

    def add_doubt(self, symbol_id: int, start: datetime, outcome: str | None = None, **values: Any) -> None:
        """A doubt that marks a bar."""
        doubt: dict[str, Any] = {
            **{"symbol_id": symbol_id, "interval_type": "30m", "source_interval": "5m", "rule": "price_spike"},
            **{"session_day": start.date(), "first_slot": start, "last_slot": start, "figures": "{}"},
            **{"values_hash": "", "from_rows": True, "opened_at": FETCHED, "seen_at": FETCHED},
            **{"outcome": outcome, "ended_at": FETCHED if outcome else None},
        }
        self.insert("backfill.doubts", **doubt | values)

    def read(self, symbols: Any = "AAPL", start: Any = MONDAY, end: Any = WEDNESDAY, **options: Any) -> BarsResult:
        """``read_bars`` of Monday and Tuesday."""
        return read_bars(symbols, start, end, **{"settings": Engine(self.database, self.settings), **options})
