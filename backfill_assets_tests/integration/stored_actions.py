"""Puts bars, daily rows, corporate actions and listings into a store, in few words."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from psycopg import sql

from backfill_assets.market.actions.adjustment import Adjustment
from backfill_assets.market.calendar.intervals import INTERVALS
from backfill_assets.store.bars.adjusted_bars import AdjustedBars, read_adjusted_bars
from backfill_assets.store.postgres.connection import Connection

NEW_YORK = ZoneInfo("America/New_York")
LISTED = datetime(1999, 1, 1, tzinfo=UTC)  # before every ex-date of a test: such actions were known in time
READ = datetime(2026, 1, 2, 14, tzinfo=UTC)


@dataclass(frozen=True)
class Store:
    """What a test stores, within a transaction."""

    connection: Connection

    def insert(self, table: str, **values: Any) -> Any:
        """Insert a row into ``table`` and return its first column."""
        statement = sql.SQL("INSERT INTO {} ({}) VALUES ({}) RETURNING *").format(
            sql.Identifier(*table.split(".")),
            sql.SQL(", ").join(map(sql.Identifier, values)),
            sql.SQL(", ").join(sql.Placeholder() * len(values)),
        )
        return self.connection.execute(statement, list(values.values())).fetchall()[0][0]

    def add_symbol(self, symbol: str, *, exchange: str = "US", known_after: date | None = date(1900, 1, 1)) -> int:
        """A ticker whose actions after ``known_after`` are known; None: they were never read."""
        symbol_id = int(self.insert("market_symbols", symbol=symbol, exchange=exchange))
        if known_after:
            for table in ("split_reads", "dividend_reads"):
                days = {"known_after": known_after, "known_until": date(2099, 1, 1)}
                self.insert(f"backfill.{table}", symbol_id=symbol_id, read_at=READ, **days)
        return symbol_id

    def add_bar(
        self, symbol_id: int, start: datetime, close: float, *, volume: int = 1000, spelling: str = "30m"
    ) -> None:
        """A bar whose four prices are ``close``."""
        prices = dict.fromkeys(("open_price", "high_price", "low_price", "close_price"), close)
        key = {"symbol_id": symbol_id, "interval_type": spelling, "timestamp": start}
        self.insert("market_data", **key, **prices, volume=volume)

    def add_closing_bars(self, symbol_id: int, closes: dict[date, float], *, volume: int = 1000) -> None:
        """The last bar of each session."""
        for day, close in closes.items():
            self.add_bar(symbol_id, datetime.combine(day, time(15, 30), NEW_YORK), close, volume=volume)

    def add_daily_row(self, symbol_id: int, day: date, close: float, read_at: datetime | None = READ) -> None:
        """A daily row."""
        self.insert("backfill.daily_prices", symbol_id=symbol_id, day=day, close_price=close, volume=1, read_at=read_at)

    def add_split(self, symbol_id: int, ex_date: date, new: float, old: float = 1, **values: Any) -> None:
        """A split of ``new`` shares for ``old`` ones."""
        shares = {"ratio": new / old, "new_shares": new, "old_shares": old}
        listed = {"source": "/splits", "first_seen": LISTED}
        self.insert("backfill.splits", symbol_id=symbol_id, ex_date=ex_date, **{**shares, **listed, **values})

    def add_dividend(self, symbol_id: int, ex_date: date, amount: float, **values: Any) -> None:
        """A dividend of dollars whose cum day is the day before, if nothing else is said."""
        listed = {"source": "/div", "first_seen": LISTED, "period": "quarterly", "currency": "USD"}
        day = {"symbol_id": symbol_id, "ex_date": ex_date, "cum_day": ex_date - timedelta(days=1)}
        self.insert("backfill.dividends", amount=amount, **{**day, **listed, **values})

    def add_spinoff(self, symbol_id: int, ex_date: date, factor: float, **values: Any) -> None:
        """A spin-off."""
        listed = {"source": "daily data", "first_seen": LISTED, "sessions": 20}
        self.insert("backfill.spinoffs", symbol_id=symbol_id, ex_date=ex_date, factor=factor, **{**listed, **values})

    def add_listings(self, *listings: tuple[int, date | None, date | None]) -> int:
        """One instrument with these tickers, each with its first and last day."""
        recorded = {"source": "test", "recorded_by": "test", "recorded_at": READ}
        instrument_id = 0
        for symbol_id, first, last in listings:
            days = {"symbol_id": symbol_id, "listed_from": first, "listed_until": last}
            key = self.insert("backfill.listings", instrument_id=instrument_id, **days, **recorded)
            instrument_id = instrument_id or key
            self.connection.execute(
                "UPDATE backfill.listings SET instrument_id = %s WHERE listing_id = %s", [instrument_id, key]
            )
        return instrument_id

    def read(
        self,
        symbol_ids: Sequence[int],
        adjustment: Adjustment = Adjustment.SPLITS,
        point_in_time: datetime | None = None,
        *,
        first: date = date(1990, 1, 1),
        last: date = date(2098, 1, 1),
    ) -> AdjustedBars:
        """All bars of 30 minutes."""
        return read_adjusted_bars(
            self.connection, symbol_ids, INTERVALS["30m"], first, last, adjustment, point_in_time
        )  # fmt: skip

    def read_closes(
        self,
        symbol_id: int,
        adjustment: Adjustment = Adjustment.SPLITS,
        point_in_time: datetime | None = None,
        *,
        first: date = date(1990, 1, 1),
    ) -> list[float]:
        """The closes of all bars of a symbol from a day on, oldest first."""
        closes: list[float] = self.read([symbol_id], adjustment, point_in_time, first=first).close.tolist()
        return closes
