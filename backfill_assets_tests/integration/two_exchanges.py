"""A store with symbols of New York and Sydney, in this program's own form of the tables and in that of another one.

They have a symbol with the same name, and a session of Sydney opens on the day before in UTC.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pandas as pd

from backfill_assets.market.calendar.intervals import INTERVALS
from backfill_assets.market.calendar.sessions import Session, list_sessions
from backfill_assets.market.calendar.slots import SlotGrid, build_slot_grid
from backfill_assets.market.calendar.tickers import parse_tickers
from backfill_assets.market.columns import Columns
from backfill_assets.market.exchanges.profile import MarketProfile
from backfill_assets.market.exchanges.registry import PROFILES
from backfill_assets.store.evidence.evidence_writer import record_evidence
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.postgres.migrate import migrate
from backfill_assets.store.symbols import add_symbols, list_symbols
from backfill_assets_tests import external_tables

AU = PROFILES["AU"]
INTERVAL, SOURCE = INTERVALS["30m"], INTERVALS["5m"]
DAYS = (date(2026, 1, 13), date(2026, 1, 15))  # Tuesday to Thursday; Sydney opens at 23:00 UTC of the day before
THURSDAY = date(2026, 1, 15)
NOW = datetime(2026, 1, 16, 12, tzinfo=UTC)
TICKERS = ("BHP.US", "AAPL.US", "BHP.AU", "CBA.AU", "RIO.AU")
# Another program's tables, with its spellings and numeric prices; several exchanges need both columns in the key.
WITH_BOTH_IN_THE_KEY = external_tables.TABLES.replace("varchar(10) NOT NULL UNIQUE", "varchar(10) NOT NULL").replace(
    "house_rating text", "house_rating text, UNIQUE (symbol, exchange)"
)
COLUMNS = "(symbol_id, interval_type, timestamp, open_price, high_price, low_price, close_price, volume)"


@dataclass(frozen=True)
class Market:
    """The symbols of an exchange in the store, and the grid of its sessions."""

    profile: MarketProfile
    ids: dict[str, int]

    @property
    def sessions(self) -> tuple[Session, ...]:
        return list_sessions(self.profile, *DAYS)

    @property
    def grid(self) -> SlotGrid:
        return build_slot_grid(self.sessions, INTERVAL)


def open_store(url: str) -> Iterator[Database]:
    database = Database(url)
    migrate(database)
    with database.transaction() as connection:
        assert add_symbols(connection, parse_tickers(TICKERS)) == len(TICKERS)
    yield database
    database.close()


def get_market(database: Database, profile: MarketProfile) -> Market:
    with database.transaction() as connection:
        symbols = list_symbols(connection, profile.exchange)
    return Market(profile, {symbol.ticker.symbol: symbol.symbol_id for symbol in symbols})


def execute(database: Database, statement: str, values: Sequence[Any] | None = None) -> list[tuple[Any, ...]]:
    with database.transaction() as connection:
        cursor = connection.execute(statement.encode(), values)
        return cursor.fetchall() if cursor.description else []


def publish(database: Database, market: Market, names: Sequence[str], at: datetime) -> None:
    """Store that the vendor returned all of Thursday for these symbols, as first seen ``at``."""
    rows = [
        {
            **{"symbol_id": market.ids[name], "day": THURSDAY, "source_rows": 78, "published": True, "refused": False},
            **{"data_until": market.sessions[-1].close.timestamp(), "not_returned": "{}", "ends_before_close": False},
            **{"official_close": np.nan, "auction_volume": np.nan},
        }
        for name in names
    ]
    with database.transaction() as connection:
        record_evidence(
            connection,
            Columns(pd.DataFrame(rows)),
            interval=INTERVAL,
            source=SOURCE,
            now=at,
            calendar=market.sessions,
        )


def add_bars(database: Database, symbol_id: int, *starts: datetime, price: float = 10.0, volume: float = 5) -> None:
    for start in starts:
        values = [symbol_id, INTERVAL.name, start, *[price] * 4, volume]
        execute(database, f"INSERT INTO market_data {COLUMNS} VALUES (%s, %s, %s, %s, %s, %s, %s, %s)", values)
