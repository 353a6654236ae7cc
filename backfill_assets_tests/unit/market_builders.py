"""Builds grids of given days, and vendor rows at New York times, for tests."""

import csv
from collections.abc import Iterable
from datetime import UTC, date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from backfill_assets.market.bars.source_rows import ROW_COLUMNS
from backfill_assets.market.calendar.intervals import INTERVALS
from backfill_assets.market.calendar.sessions import Session, list_sessions
from backfill_assets.market.calendar.slots import SlotGrid, build_slot_grid
from backfill_assets.market.daily_prices import DailyPrices, build_daily_prices
from backfill_assets.market.exchanges.registry import US
from backfill_assets.market.vendor import DailyRows

NEW_YORK = ZoneInfo("America/New_York")
EXPECTED_FOLDER = Path(__file__).parent / "expected"
Row = tuple[float | None, ...]  # symbol_id, timestamp, open, high, low, close, volume


def read_expected_rows(name: str) -> list[dict[str, str]]:
    with (EXPECTED_FOLDER / name).open(newline="") as file:
        return list(csv.DictReader(file))


def parse_new_york(text: str) -> datetime:
    """Parse a New York time like ``2026-06-01 09:30``; returns it in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=NEW_YORK).astimezone(UTC)


def parse_epoch(text: str) -> int:
    return int(parse_new_york(text).timestamp())


def find_sessions(*days: str) -> tuple[Session, ...]:
    return tuple(s for day in days for s in list_sessions(US, date.fromisoformat(day), date.fromisoformat(day)))


def build_grid(*days: str, interval: str = "30m") -> SlotGrid:
    return build_slot_grid(find_sessions(*days), INTERVALS[interval])


def make_row(at: str, volume: float | None = 100, symbol_id: int = 0, **changed: float | None) -> Row:
    """A valid row at a New York time (open 10, high 11, low 9, close 10.5), except for ``changed``."""
    prices = {"open": 10.0, "high": 11.0, "low": 9.0, "close": 10.5} | changed
    return (symbol_id, parse_epoch(at), *prices.values(), volume)


def make_flat_row(at: str, price: float | None, volume: float | None = None, symbol_id: int = 0) -> Row:
    return (symbol_id, parse_epoch(at), price, price, price, price, volume)


def make_row_table(rows: Iterable[Row]) -> pd.DataFrame:
    frame = pd.DataFrame(list(rows), columns=list(ROW_COLUMNS))
    whole = dict.fromkeys(("symbol_id", "timestamp"), np.int64)
    return frame.astype(whole | dict.fromkeys(ROW_COLUMNS[2:], np.float64))


def make_session_rows(day: str, volumes: Iterable[float], source: str = "5m", symbol_id: int = 0) -> pd.DataFrame:
    """Rows from the open of ``day`` on, one for each volume, with prices that rise by a cent per row."""
    (session,) = find_sessions(day)
    volume = np.array(list(volumes), float)
    price = 10 + np.arange(len(volume)) / 100
    start = int(session.open.timestamp())
    return pd.DataFrame(
        {
            "symbol_id": symbol_id,
            "timestamp": start + INTERVALS[source].seconds * np.arange(len(volume)),
            "open": price,
            "high": price + 0.5,
            "low": price - 0.5,
            "close": price + 0.1,
            "volume": volume,
        }
    )


def make_daily_rows(*rows: tuple[date, *tuple[float | None, ...]]) -> DailyRows:
    """Daily rows as a client returns them: day, open, high, low, close, adjusted close, volume; None is absent."""
    figures = np.array([row[1:] for row in rows], np.float64).reshape(len(rows), 6).T
    return DailyRows(np.array([row[0] for row in rows], "datetime64[D]"), *figures)


def make_daily_prices(*rows: tuple[int, date, float | None, int]) -> DailyPrices:
    """Daily rows as they are stored: symbol_id, day, close, volume; the other prices are equal to the close."""
    vendor_rows = make_daily_rows(*((day, *[close] * 5, volume) for _, day, close, volume in rows))
    return build_daily_prices([row[0] for row in rows], vendor_rows, range(len(rows)))
