"""Which symbol of a market around the clock is requested every half hour."""

from datetime import UTC, date, datetime, timedelta

from backfill_assets.market.calendar.intervals import INTERVALS
from backfill_assets.market.calendar.sessions import list_sessions
from backfill_assets.market.calendar.slots import build_slot_grid
from backfill_assets.market.calendar.tickers import parse_tickers
from backfill_assets.market.exchanges.registry import get_profile
from backfill_assets.store.coverage import measure_coverage
from backfill_assets.store.evidence.probe import find_probe
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.symbols import add_symbols, deactivate_symbols, list_symbols
from backfill_assets_tests.unit.gap_builders import RULES

NOW = datetime(2026, 11, 3, 9, tzinfo=UTC)
SOURCE, INTERVAL = INTERVALS["5m"], INTERVALS["30m"]
PAIRS = ["BTC-USD.CC", "ETH-USD.CC", "SHIB-USD.CC"]
INSERT = """
INSERT INTO backfill.session_evidence (symbol_id, interval_type, source_interval, session_day, requested_at,
    request_count, source_rows, data_until, is_published, not_returned)
SELECT symbol_id, '30m', '5m', %s, %s, 1, 0, %s, false, '{}' FROM market_symbols WHERE symbol = %s
"""


def find(database: Database, now: datetime = NOW) -> str | None:
    with database.transaction() as connection:
        names = {s.symbol_id: s.ticker.symbol for s in list_symbols(connection, "CC", only_active=False)}
        found = find_probe(connection, "CC", INTERVAL, SOURCE, now)
    return None if found is None else names[found]


def record(database: Database, symbol: str, data_until: datetime | None, requested_at: datetime = NOW) -> None:
    with database.transaction() as connection:
        connection.execute(INSERT, [requested_at.date(), requested_at, data_until, symbol])


def test_the_probe_is_the_active_pair_whose_rows_reach_furthest(database: Database) -> None:
    with database.transaction() as connection:
        add_symbols(connection, parse_tickers([*PAIRS, "AAPL"]))
    assert find(database) is None
    record(database, "AAPL", NOW)
    record(database, "BTC-USD", None)
    assert find(database) is None  # rows of another exchange, and none of the pair
    record(database, "ETH-USD", NOW - timedelta(hours=8))
    record(database, "SHIB-USD", NOW - timedelta(hours=8))
    assert find(database) == "ETH-USD"  # the first of several
    record(database, "SHIB-USD", NOW + timedelta(hours=8), NOW + timedelta(days=1))
    assert find(database) == "ETH-USD"  # a request in the future comes from a mistaken --as-of
    assert find(database, NOW + timedelta(days=1)) == "SHIB-USD"
    assert find(database, NOW + timedelta(days=9)) is None  # all rows ended
    with database.transaction() as connection:
        deactivate_symbols(connection, parse_tickers(["ETH-USD.CC"]))
    assert find(database) == "SHIB-USD"


def test_only_the_probe_is_due_half_an_hour_after_a_request(database: Database) -> None:
    with database.transaction() as connection:
        add_symbols(connection, parse_tickers(PAIRS))
        symbols = list_symbols(connection, "CC")
    for pair in PAIRS:
        record(database, pair.removesuffix(".CC"), NOW - timedelta(hours=8))
    sessions = list_sessions(get_profile("CC"), date(2026, 11, 3), date(2026, 11, 3))
    grid = build_slot_grid(sessions, INTERVAL)

    def list_due(now: datetime, chosen: range) -> set[str]:
        with database.transaction() as connection:
            coverage = measure_coverage(connection, [symbols[at] for at in chosen], grid, SOURCE, RULES, now)
        rows = coverage.open_slots.row[coverage.slot_states.due]
        return {coverage.symbols[row].ticker.symbol for row in rows.tolist()}

    before = NOW + timedelta(minutes=29)
    assert list_due(before, range(3)) == set()
    assert list_due(before + timedelta(minutes=1), range(3)) == {"BTC-USD"}
    assert list_due(NOW + timedelta(hours=3), range(1, 3)) == set()  # neither is the probe of all pairs
    assert list_due(NOW + timedelta(hours=6), range(3)) == {"BTC-USD", "ETH-USD", "SHIB-USD"}
