"""A spike that many pairs have in one slot is the market's, unless no market can have the price."""

from datetime import UTC, date, datetime

import pytest

from backfill_assets.backfill.plausibility.shared_spikes import confirm_shared_spikes
from backfill_assets.market.calendar.intervals import INTERVALS
from backfill_assets.market.calendar.sessions import list_sessions
from backfill_assets.market.calendar.slots import build_slot_grid
from backfill_assets.market.calendar.tickers import Ticker
from backfill_assets.market.exchanges.registry import get_profile
from backfill_assets.market.plausibility.doubts import Doubt
from backfill_assets.market.plausibility.rules import Rule
from backfill_assets.store.evidence.doubts import record_doubts
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.symbols import add_symbols, list_symbols

NOW = datetime(2026, 11, 5, 12, tzinfo=UTC)
INSERT_BARS = """
INSERT INTO market_data (symbol_id, interval_type, timestamp, open_price, high_price, low_price, close_price, volume,
                         source, source_interval, source_rows, is_final, fetched_at)
SELECT id, '30m', to_timestamp(%(at)s), 1.1, 1.1, %(low)s, 1.1, 0, 'x', '1m', 30, true, now()
FROM unnest(%(ids)s::int[]) AS t (id)
"""


@pytest.mark.parametrize(
    ("exchange", "low", "confirmed"),
    [("FOREX", 0.0001, 0), ("FOREX", 0.54, 0), ("FOREX", 0.8, 6), ("CC", 0.0001, 6)],
)
def test_a_low_near_0_of_many_currencies_at_once_stays_in_doubt(
    database: Database, exchange: str, low: float, confirmed: int
) -> None:
    grid = build_slot_grid(list_sessions(get_profile(exchange), date(2026, 11, 3), date(2026, 11, 3)), INTERVALS["30m"])
    stamp = int(grid.starts[20])
    figures = {"direction": "down", "low": low, "high": 1.1, "close_before": 1.1, "low_after": 1.1}
    with database.transaction() as connection:
        add_symbols(connection, [Ticker(f"PAIR{number}", exchange) for number in range(6)])
        ids = [symbol.symbol_id for symbol in list_symbols(connection, exchange)]
        connection.execute(INSERT_BARS, {"at": stamp, "low": low, "ids": ids})
        doubts = [Doubt(Rule.PRICE_SPIKE, symbol_id, 0, stamp, stamp, figures) for symbol_id in ids]
        assert record_doubts(connection, doubts, grid=grid, now=NOW, from_rows=True) == 6
        assert confirm_shared_spikes(connection, grid, NOW) == confirmed
