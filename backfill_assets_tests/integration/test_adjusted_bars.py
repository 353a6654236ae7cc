"""What adjusted bars say of missing factors, points in time and session dates, and how the database reads them."""

import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest

from backfill_assets.market.actions.adjustment import Adjustment
from backfill_assets.market.actions.listed_actions import ListedDividend
from backfill_assets.store.actions.dividends import record_symbol_dividends
from backfill_assets.store.bars.adjusted_bars import MissingFactor
from backfill_assets.store.postgres.connection import Connection, Database
from backfill_assets.store.postgres.migrate import migrate
from backfill_assets_tests.external_tables import create_external_tables
from backfill_assets_tests.integration.stored_actions import READ, Store

BOTH = Adjustment.SPLITS_AND_DIVIDENDS
MONDAY, TUESDAY, WEDNESDAY = date(2024, 6, 3), date(2024, 6, 4), date(2024, 6, 5)
NEW_YEAR = date(2024, 1, 1)  # a holiday


@pytest.fixture
def store(database: Database) -> Iterator[Store]:
    with database.transaction() as connection:
        yield Store(connection)


def at(day: date, hour: int = 17, minute: int = 0) -> datetime:
    return datetime(day.year, day.month, day.day, hour, minute, tzinfo=UTC)


# --- factors -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("exchange", "amount", "currency", "factor"),
    [
        ("US", 1.0, "USD", 0.99),
        ("US", 1.0, None, 0.99),
        ("LSE", 1.0, None, 0.99),
        ("LSE", 1.0, "GBX", 0.99),
        ("LSE", 1.0, "GBp", 0.99),
        ("LSE", 0.02, "GBP", 0.98),
        ("JSE", 3.0, "ZAc", 0.97),
        ("JSE", 0.03, "ZAR", 0.97),
        ("TA", 0.04, "ILS", 0.96),
        ("TA", 4.0, "ILA", 0.96),
    ],
)
def test_a_dividend_is_its_share_of_the_last_close_with_a_claim_to_it(
    store: Store, exchange: str, amount: float, currency: str | None, factor: float
) -> None:
    symbol_id = store.add_symbol("A", exchange=exchange)
    store.add_closing_bars(symbol_id, {MONDAY: 200.0, TUESDAY: 200.0})
    store.add_daily_row(symbol_id, MONDAY, 100.0)
    store.add_dividend(symbol_id, TUESDAY, amount, currency=currency)
    assert store.read_closes(symbol_id, BOTH) == pytest.approx([200 * factor, 200.0], rel=1e-15)
    assert store.read_closes(symbol_id, Adjustment.SPLITS) == [200.0, 200.0]


@pytest.mark.parametrize(
    ("dividend", "daily_close", "reason"),
    [
        ({"currency": "EUR"}, 100.0, "it is paid in EUR, and prices are in USD"),
        ({"currency": "GBX"}, 100.0, "it is paid in GBX, and prices are in USD"),
        ({}, None, "the daily close of 2024-06-03 is not stored"),
        ({"amount": 100.0}, 100.0, "100 USD are not below the close of 2024-06-03, 100"),
        ({"contradiction": "1 USD, 2 USD"}, 100.0, "the vendor lists it as 1 USD, 2 USD"),
    ],
)
def test_a_dividend_without_a_factor_stops_exactly_the_bars_that_need_it(
    store: Store, dividend: dict[str, Any], daily_close: float | None, reason: str
) -> None:
    symbol_id, other = store.add_symbol("A"), store.add_symbol("B")
    for key in (symbol_id, other):
        store.add_closing_bars(key, {MONDAY: 200.0, TUESDAY: 200.0})
    if daily_close:
        store.add_daily_row(symbol_id, MONDAY, daily_close)
    store.add_dividend(symbol_id, TUESDAY, **{"amount": 1.0, **dividend})
    with pytest.raises(MissingFactor) as caught, store.connection.transaction():
        store.read([symbol_id, other], BOTH)
    error = caught.value
    assert (error.ticker, error.ex_date, error.kind, error.reason) == ("A", TUESDAY, "dividend", reason)
    assert "The adjustment 'splits' does without it." in str(error)
    assert store.read_closes(symbol_id, BOTH, first=TUESDAY) == [200.0]
    assert store.read_closes(other, BOTH) == [200.0, 200.0]
    assert store.read_closes(symbol_id, Adjustment.SPLITS) == [200.0, 200.0]
    volumes = "SELECT volume FROM backfill.adjusted_bars('splits_and_dividends') WHERE symbol_id = %s"
    assert store.connection.execute(volumes, [symbol_id]).fetchall() == [(1000.0,), (1000.0,)]
    factors = (
        "SELECT first_day, last_day, price_factor, volume_factor"
        " FROM backfill.adjustment_factors('splits_and_dividends') WHERE symbol_id = %s ORDER BY 2"
    )
    rows = store.connection.execute(factors, [symbol_id]).fetchall()
    assert rows == [(None, MONDAY, None, 1.0), (TUESDAY, None, 1.0, 1.0)]


def test_actions_that_were_never_read_are_not_taken_for_none(store: Store) -> None:
    never, later = store.add_symbol("A", known_after=None), store.add_symbol("B", known_after=TUESDAY)
    for key in (never, later):
        store.add_closing_bars(key, {MONDAY: 200.0, TUESDAY: 200.0})
    with pytest.raises(MissingFactor, match="its splits: they have not been read"), store.connection.transaction():
        store.read([never], Adjustment.SPLITS)
    with (
        pytest.raises(MissingFactor, match=r"B before 2024-06-04 .* splits: those up to 2024-06-04 have not been read"),
        store.connection.transaction(),
    ):
        store.read([later], Adjustment.SPLITS)
    assert store.read_closes(later, BOTH, first=TUESDAY) == [200.0]
    assert store.read_closes(never, Adjustment.NONE) == [200.0, 200.0]
    assert store.read_closes(never, BOTH, at(TUESDAY), first=TUESDAY) == [200.0]  # no action of a later day counts
    store.insert(
        "backfill.split_reads", symbol_id=never, known_after=date(1900, 1, 1), known_until=MONDAY, read_at=READ
    )
    assert store.read_closes(never, Adjustment.SPLITS) == [200.0, 200.0]
    with pytest.raises(MissingFactor, match="its dividends: they have not been read"), store.connection.transaction():
        store.read([never], BOTH)


def test_the_list_of_an_earlier_ticker_does_not_say_what_came_after_a_rename(store: Store) -> None:
    old, new = store.add_symbol("FB"), store.add_symbol("META", known_after=None)
    store.add_closing_bars(old, {MONDAY: 200.0})
    store.add_closing_bars(new, {WEDNESDAY: 200.0})
    store.add_listings((old, None, MONDAY), (new, TUESDAY, None))
    for symbol_id in (old, new):
        with pytest.raises(MissingFactor, match="its splits: they have not been read"), store.connection.transaction():
            store.read([symbol_id])
    days = {"known_after": MONDAY, "known_until": date(2099, 1, 1)}
    store.insert("backfill.split_reads", symbol_id=new, read_at=READ, **days)  # what came before is in the earlier list
    assert (store.read_closes(old), store.read_closes(new)) == ([200.0], [200.0])
    store.connection.execute("UPDATE backfill.split_reads SET known_until = '2024-05-31' WHERE symbol_id = %s", [old])
    assert store.read_closes(old) == [200.0]
    store.add_closing_bars(old, {date(2024, 5, 30): 200.0})
    with pytest.raises(MissingFactor, match="splits: those up to 2024-06-03 have not been read"):
        store.read([old])


def test_the_list_of_the_newest_ticker_says_what_took_effect_under_an_earlier_one(store: Store) -> None:
    old, new, gone = (store.add_symbol(name, known_after=None) for name in ("FB", "META", "GONE"))
    for symbol_id in (old, gone):
        store.add_closing_bars(symbol_id, {MONDAY: 200.0})
    store.add_listings((old, None, MONDAY), (new, TUESDAY, None))
    store.add_listings((gone, None, WEDNESDAY))
    for symbol_id in (new, gone):
        days = {"known_after": date(1900, 1, 1), "known_until": TUESDAY}
        store.insert("backfill.split_reads", symbol_id=symbol_id, read_at=READ, **days)
    assert (store.read_closes(old), store.read_closes(gone)) == ([200.0], [200.0])


def test_of_an_inactive_symbol_it_is_said_when_its_actions_are_read(store: Store) -> None:
    symbol_id = store.add_symbol("A", known_after=None)
    store.add_closing_bars(symbol_id, {MONDAY: 200.0})
    for is_active, remedy in ((True, "They are read with"), (False, "Of an inactive symbol they are read once with")):
        store.connection.execute("UPDATE market_symbols SET is_active = %s", [is_active])
        with pytest.raises(MissingFactor, match=remedy), store.connection.transaction():
            store.read([symbol_id])


def test_a_ticker_may_be_written_in_two_words(store: Store) -> None:
    symbol_id = store.add_symbol("BRK B", known_after=None)
    store.add_closing_bars(symbol_id, {MONDAY: 200.0})
    with pytest.raises(MissingFactor) as caught:
        store.read([symbol_id])
    assert caught.value.ticker == "BRK B"


def test_the_price_falls_by_the_sum_of_a_days_dividends(store: Store) -> None:
    symbol_id = store.add_symbol("A")
    store.add_closing_bars(symbol_id, {MONDAY: 50.0, TUESDAY: 45.0})
    store.add_daily_row(symbol_id, MONDAY, 50.0)
    store.add_dividend(symbol_id, TUESDAY, 0.5)  # 1 %
    store.add_dividend(symbol_id, TUESDAY, 4.5, period="special")  # 9 %
    assert store.read_closes(symbol_id, BOTH) == pytest.approx([45.0, 45.0], rel=1e-15)
    query = "SELECT period, price_factor, missing FROM backfill.counted_actions(%s) ORDER BY period"
    shares = store.connection.execute(query, [symbol_id]).fetchall()
    assert shares == [("quarterly", 0.99, None), ("special", pytest.approx(45 / 49.5, rel=1e-15), None)]
    store.connection.execute("UPDATE backfill.dividends SET amount = 49.5 WHERE period = 'special'")
    reason = "50 USD are not below the close of 2024-06-03, 50"
    lacking = store.connection.execute(query, [symbol_id]).fetchall()
    assert lacking == [("quarterly", None, reason), ("special", None, reason)]
    with pytest.raises(MissingFactor, match=f"A before 2024-06-04 .* dividend: {reason}"):
        store.read_closes(symbol_id, BOTH)


def test_the_dividend_of_a_split_day_is_per_share_before_the_split(store: Store) -> None:
    symbol_id = store.add_symbol("A")
    store.add_closing_bars(symbol_id, {MONDAY: 100.0, TUESDAY: 48.0})
    store.add_daily_row(symbol_id, MONDAY, 100.0)
    store.add_split(symbol_id, TUESDAY, 2)
    store.add_dividend(symbol_id, TUESDAY, 4.0)
    assert store.read_closes(symbol_id, BOTH) == pytest.approx([48.0, 48.0], rel=1e-15)


@pytest.mark.parametrize("adjustment", ["split", "SPLITS", "", None])
def test_an_unknown_adjustment_is_refused_even_where_there_is_nothing_to_read(
    store: Store, adjustment: str | None
) -> None:
    for function in ("adjusted_bars", "adjustment_factors"):
        with (
            pytest.raises(psycopg.errors.InvalidParameterValue, match="there is no adjustment") as caught,
            store.connection.transaction(),
        ):
            store.connection.execute(f"SELECT * FROM backfill.{function}(%s)".encode(), [adjustment])
        assert caught.value.diag.message_hint == "Use 'none', 'splits' or 'splits_and_dividends'."


def test_prices_adjusted_for_splits_are_exact(store: Store) -> None:
    symbol_id = store.add_symbol("A")
    store.add_closing_bars(symbol_id, {MONDAY: 1100.0})
    store.add_split(symbol_id, TUESDAY, 10)
    assert store.read_closes(symbol_id) == [110.0]
    store.add_split(symbol_id, WEDNESDAY, 1, 3)
    assert store.read_closes(symbol_id) == [330.0]
    store.add_split(symbol_id, date(2024, 6, 6), 1.05)  # a stock dividend of 5 %
    assert store.read_closes(symbol_id) == [1100 * 60 / 210]
    store.add_split(symbol_id, date(2024, 6, 7), 3)
    store.add_split(symbol_id, date(2024, 6, 10), 1, 10.5)
    assert store.read_closes(symbol_id) == [1100.0]  # they cancel out
    assert store.read([symbol_id]).volume.tolist() == [1000.0]


def test_a_split_read_before_its_shares_were_stored_has_them_from_its_ratio(store: Store) -> None:
    symbol_id = store.add_symbol("A")
    store.add_closing_bars(symbol_id, {MONDAY: 2.0})
    store.add_split(symbol_id, TUESDAY, 1, 15, new_shares=None, old_shares=None)
    assert store.read_closes(symbol_id) == [30.0]


# --- session dates -------------------------------------------------------------------------------------------------


def test_a_bar_counts_to_its_session_date_and_not_to_its_utc_date(store: Store) -> None:
    """In winter after-hours trading ends at 01:00 UTC of the next day."""
    symbol_id = store.add_symbol("A")
    moments = [
        at(date(2024, 1, 2), 21),
        at(date(2024, 1, 3), 0, 30),  # 19:30 in New York, the day before the ex-date
        at(date(2024, 1, 3), 4, 30),
        at(date(2024, 1, 3), 5, 0),  # midnight in New York
        at(date(2024, 1, 3), 9, 0),
    ]
    for moment in moments:
        store.add_bar(symbol_id, moment, 100.0)
    store.add_split(symbol_id, date(2024, 1, 3), 4)
    bars = store.read([symbol_id])
    assert bars.close.tolist() == [25.0, 25.0, 25.0, 100.0, 100.0]
    days = [date(2024, 1, 2)] * 3 + [date(2024, 1, 3)] * 2
    assert bars.session_day.tolist() == days
    assert bars.start.tolist() == [int(moment.timestamp()) for moment in moments]


def test_an_ex_date_without_a_session_affects_all_bars_before_it(store: Store) -> None:
    symbol_id = store.add_symbol("A")
    store.add_closing_bars(symbol_id, {date(2023, 12, 29): 100.0, date(2024, 1, 2): 50.0, date(2024, 6, 7): 50.0})
    store.add_split(symbol_id, NEW_YEAR, 2)
    store.add_split(symbol_id, date(2024, 6, 8), 5)  # a Saturday
    assert store.read_closes(symbol_id) == [10.0, 10.0, 10.0]


def test_the_bars_of_an_early_close_are_of_their_day(store: Store) -> None:
    symbol_id = store.add_symbol("A")
    store.add_bar(symbol_id, at(date(2024, 7, 3), 16, 30), 100.0)  # the last one, to 13:00 in New York
    store.add_bar(symbol_id, at(date(2024, 7, 5), 13, 30), 50.0)
    store.add_split(symbol_id, date(2024, 7, 5), 2)
    assert store.read_closes(symbol_id) == [50.0, 50.0]


# --- points in time --------------------------------------------------------------------------------------------------


def test_an_action_counts_from_its_ex_date_on(store: Store) -> None:
    symbol_id = store.add_symbol("A")
    store.add_closing_bars(symbol_id, {MONDAY: 100.0})
    store.add_split(symbol_id, WEDNESDAY, 4)
    store.add_split(symbol_id, date(2098, 1, 2), 2)  # announced
    before, after = at(WEDNESDAY, 3, 59), at(WEDNESDAY, 4, 0)  # midnight in New York
    assert [store.read_closes(symbol_id, point_in_time=moment) for moment in (before, after, None)] == [
        [100.0], [25.0], [25.0],
    ]  # fmt: skip


def test_a_point_in_time_in_the_future_is_like_now(store: Store) -> None:
    symbol_id = store.add_symbol("A")
    store.add_closing_bars(symbol_id, {MONDAY: 100.0})
    store.add_daily_row(symbol_id, MONDAY, 100.0)
    store.add_split(symbol_id, TUESDAY, 4)
    store.add_split(symbol_id, date(2999, 1, 2), 2)  # announced
    store.add_dividend(symbol_id, date(2999, 1, 3), 1.0)
    after = datetime(3000, 1, 1, tzinfo=UTC)
    for moment in (None, after):
        assert store.read_closes(symbol_id, BOTH, moment) == [25.0]
    unread = "SELECT kind, until_day <= backfill.session_day(now()) FROM backfill.unread_actions(%s, 'splits', %s)"
    never = store.add_symbol("B", known_after=None)
    assert store.connection.execute(unread, [never, after]).fetchall() == [("splits", True)]


def test_of_several_versions_the_one_known_at_the_point_in_time_counts(store: Store) -> None:
    symbol_id = store.add_symbol("A")
    store.add_closing_bars(symbol_id, {MONDAY: 120.0})
    listed, revised, withdrawn = at(MONDAY, 12), at(date(2024, 7, 1)), at(date(2024, 8, 1))
    store.insert(
        "backfill.split_revisions", symbol_id=symbol_id, ex_date=WEDNESDAY, ratio=4, new_shares=4, old_shares=1,
        source="/splits", known_from=listed, known_until=revised,
    )  # fmt: skip
    store.add_split(symbol_id, WEDNESDAY, 3, first_seen=listed, revised_at=revised, withdrawn_at=withdrawn)
    moments = [at(TUESDAY), at(WEDNESDAY), at(date(2024, 6, 30)), revised, at(date(2024, 7, 31)), withdrawn, None]
    closes = [store.read_closes(symbol_id, point_in_time=moment)[0] for moment in moments]
    assert closes == [120.0, 30.0, 30.0, 40.0, 40.0, 120.0, 120.0]


def test_an_action_first_loaded_after_its_ex_date_counts_as_it_was_loaded_first(store: Store) -> None:
    symbol_id, on_time = store.add_symbol("A"), store.add_symbol("B")
    loaded, revised = at(date(2024, 7, 1)), at(date(2024, 8, 1))
    for key, known_from in ((symbol_id, loaded), (on_time, at(WEDNESDAY, 20))):
        store.add_closing_bars(key, {MONDAY: 120.0})
        store.insert(
            "backfill.split_revisions", symbol_id=key, ex_date=WEDNESDAY, ratio=4, new_shares=4, old_shares=1,
            source="/splits", known_from=known_from, known_until=revised,
        )  # fmt: skip
        store.add_split(key, WEDNESDAY, 3, first_seen=known_from, revised_at=revised)
    moments = [at(TUESDAY), at(WEDNESDAY, 18), at(date(2024, 6, 15)), at(date(2024, 7, 15)), revised]
    late = [store.read_closes(symbol_id, point_in_time=moment)[0] for moment in moments]
    assert late == [120.0, 30.0, 30.0, 30.0, 40.0]
    known_on_the_day = [store.read_closes(on_time, point_in_time=moment)[0] for moment in moments]
    assert known_on_the_day == [120.0, 120.0, 30.0, 30.0, 40.0]


def test_a_dividend_under_another_date_needs_no_close_for_the_time_in_which_it_did_not_count(store: Store) -> None:
    symbol_id = store.add_symbol("A")
    store.add_closing_bars(symbol_id, {MONDAY: 200.0})
    store.add_daily_row(symbol_id, MONDAY, 100.0)
    listed, moved = at(date(2024, 5, 1)), at(date(2024, 7, 1))
    lists = {"source": "/div", "known_after": date(1900, 1, 1), "known_until": date(2099, 1, 1)}
    for now, ex_date in ((listed, TUESDAY), (moved, date(2024, 6, 7))):
        dividend = ListedDividend(ex_date, "quarterly", ex_date - timedelta(days=1), Decimal(1), "USD")
        record_symbol_dividends(store.connection, symbol_id, [dividend], now=now, **lists)
    assert store.read_closes(symbol_id, BOTH, at(date(2024, 6, 20))) == pytest.approx([198.0])
    with pytest.raises(MissingFactor, match="the daily close of 2024-06-06 is not stored"):
        store.read_closes(symbol_id, BOTH)


def test_a_correction_changes_exactly_the_bars_before_its_ex_date(store: Store) -> None:
    symbol_id = store.add_symbol("A")
    store.add_closing_bars(symbol_id, dict.fromkeys((MONDAY, TUESDAY, WEDNESDAY), 120.0))
    store.add_split(symbol_id, TUESDAY, 4)
    store.add_split(symbol_id, WEDNESDAY, 2)
    assert store.read_closes(symbol_id) == [15.0, 60.0, 120.0]
    store.connection.execute("UPDATE backfill.splits SET ratio = 3, new_shares = 3 WHERE ex_date = %s", [TUESDAY])
    assert store.read_closes(symbol_id) == [20.0, 60.0, 120.0]
    assert store.read_closes(symbol_id, Adjustment.NONE) == [120.0, 120.0, 120.0]


# --- the database ----------------------------------------------------------------------------------------------------


def list_nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", []):
        yield from list_nodes(child)


def explain(connection: Connection, query: str) -> list[dict[str, Any]]:
    """The nodes of a query's plan as it was executed."""
    found = connection.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {query}".encode()).fetchall()[0][0]
    plans = json.loads(found) if isinstance(found, str) else found
    return list(list_nodes(plans[0]["Plan"]))


_UNIVERSE = """
INSERT INTO market_symbols (symbol) SELECT 'S' || i FROM generate_series(1, 100) i;
INSERT INTO market_data (symbol_id, interval_type, "timestamp", open_price, high_price, low_price, close_price, volume)
SELECT s.symbol_id, '{spelling}', day + n * interval '30 min', 100, 101, 99, 100, 1000
FROM market_symbols s, generate_series('2024-01-01 14:30Z'::timestamptz, '2024-02-10', '1 day') day,
     generate_series(0, 12) n;
INSERT INTO backfill.split_reads SELECT symbol_id, '1900-01-01', '2024-04-01', now(), now() FROM market_symbols;
INSERT INTO backfill.splits (symbol_id, ex_date, ratio, new_shares, old_shares, source, first_seen)
SELECT symbol_id, '2024-02-01', 2, 2, 1, '/splits', '2024-01-01' FROM market_symbols;
"""
_QUERIES = {  # with the number of symbols of each
    "SELECT * FROM backfill.adjusted_bars('splits') WHERE symbol_id = 7": 1,
    "SELECT * FROM backfill.adjusted_bars('splits', '2024-03-01') WHERE symbol_id IN (7, 8)": 2,
    "SELECT b.* FROM backfill.adjusted_bars('splits') b JOIN market_symbols USING (symbol_id) WHERE symbol = 'S7'": 1,
}


@pytest.mark.parametrize("is_external", [False, True])
def test_symbol_and_time_are_looked_up_in_the_index(create_database: Callable[..., str], is_external: bool) -> None:
    database = Database(create_database(None if is_external else "template_bars"))
    if is_external:
        create_external_tables(database.url)
        migrate(database)
    spelling = "30min" if is_external else "30m"
    with database.transaction() as connection:
        connection.execute(_UNIVERSE.format(spelling=spelling).encode())
        for _ in ("without statistics", "with statistics"):
            for query, symbols in _QUERIES.items():
                condition = f"interval_type = '{spelling}' AND timestamp >= '2024-02-05'"
                require_index(explain(connection, f"{query} AND {condition}"), symbols)
            for table in ("market_symbols", "market_data", "backfill.splits"):
                connection.execute(f"ANALYZE {table}".encode())
    database.close()


def require_index(nodes: list[dict[str, Any]], symbols: int) -> None:
    """The bars of these symbols and days alone are read, and what adjusts them is computed once for each symbol."""
    scans = [
        node
        for node in nodes
        if node.get("Relation Name", "").startswith("market_data")  # a partition; an empty one may be read as a whole
        and node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
    ]
    assert {node["Node Type"] for node in scans} <= {"Index Scan", "Bitmap Heap Scan"}
    found = [node["Index Cond"] for node in nodes if "timestamp" in node.get("Index Cond", "")]
    assert found, nodes
    assert all("symbol_id" in text for text in found), nodes
    read = sum((node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"] for node in scans)
    assert read == symbols * 13 * 5
    (computed,) = [node for node in nodes if node.get("Function Name") == "adjustment_arrays"]
    assert computed["Actual Loops"] == symbols


def test_bars_of_another_programs_table_are_adjusted_alike(create_database: Callable[..., str]) -> None:
    database = Database(create_database(None))
    create_external_tables(database.url)
    migrate(database)
    with database.transaction() as connection:
        store = Store(connection)
        symbol_id = store.add_symbol("A")
        store.add_bar(symbol_id, at(MONDAY), 1100.123456, spelling="30min")
        store.add_split(symbol_id, TUESDAY, 10)
        store.add_daily_row(symbol_id, MONDAY, 1100.0)
        store.add_dividend(symbol_id, TUESDAY, 11.0)
        assert store.read_closes(symbol_id) == [1100.123456 / 10]
        assert store.read_closes(symbol_id, BOTH) == pytest.approx([1100.123456 / 10 * 0.99], rel=1e-15)
        assert store.read([symbol_id]).is_final.tolist() == [True]
    database.close()


def test_marked_and_provisional_bars_are_returned_as_they_are_stored(store: Store) -> None:
    symbol_id = store.add_symbol("A")
    store.add_bar(symbol_id, at(MONDAY), 100.0)
    store.connection.execute("UPDATE market_data SET is_final = false, source = 'live', source_interval = 'live'")
    store.add_split(symbol_id, TUESDAY, 2)
    bars = store.read([symbol_id])
    assert (bars.close.tolist(), bars.is_final.tolist()) == ([50.0], [False])
    assert len(store.read([])) == 0


def test_what_adjusted_bars_return_without_an_adjustment_is_what_is_stored(store: Store) -> None:
    symbol_id = store.add_symbol("A", known_after=None)
    rng = np.random.default_rng(3)
    for hour in range(24):
        store.add_bar(
            symbol_id, at(MONDAY, hour), float(rng.uniform(0.0001, 5000)), volume=int(rng.integers(0, 10**12))
        )
    columns = "symbol_id, interval_type, timestamp, open_price, high_price, low_price, close_price, volume::bigint"
    stored, returned = (
        store.connection.execute(f"SELECT {columns} FROM {source} ORDER BY timestamp".encode()).fetchall()
        for source in ("market_data", "backfill.adjusted_bars('none')")
    )
    assert returned == stored


def test_a_role_needs_the_actions_too(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        for role in ("bars_only", "bars_and_actions"):
            connection.execute(f"DROP ROLE IF EXISTS {role}".encode())
            connection.execute(f"CREATE ROLE {role}".encode())
            connection.execute(f"GRANT SELECT ON market_data, market_symbols TO {role}".encode())
        store = Store(connection)
        store.add_bar(store.add_symbol("A"), at(MONDAY), 100.0)
        query = "SELECT close_price FROM backfill.adjusted_bars('splits')"
        connection.execute("SET ROLE bars_only")
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="schema backfill"):
            connection.execute(query.encode())
        connection.execute("RESET ROLE")
        connection.execute("GRANT USAGE ON SCHEMA backfill TO bars_and_actions, bars_only")
        connection.execute("GRANT SELECT ON ALL TABLES IN SCHEMA backfill TO bars_and_actions")
        connection.execute("SET ROLE bars_and_actions")
        assert connection.execute(query.encode()).fetchall() == [(100.0,)]
        connection.execute("SET ROLE bars_only")
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="permission denied for table"):
            connection.execute(query.encode())
        connection.execute("RESET ROLE")
        for role in ("bars_only", "bars_and_actions"):
            connection.execute(f"DROP OWNED BY {role}; DROP ROLE {role}".encode())


def test_the_examples_of_the_documentation_can_be_executed(store: Store) -> None:
    """In the order of docs/adjusted_prices.md."""
    text = (Path(__file__).parents[2] / "docs" / "adjusted_prices.md").read_text("utf-8")
    by_splits, total_return, backtest, factors, actions = re.findall(r"```sql\n(.*?)```", text, re.DOTALL)
    symbol_id = store.add_symbol("NVDA")
    assert symbol_id == 1
    store.add_closing_bars(symbol_id, {date(2024, 6, 7): 1208.88, date(2024, 6, 10): 121.79})
    store.add_split(symbol_id, date(2024, 6, 10), 10)
    store.add_dividend(symbol_id, date(2024, 6, 11), 0.01, cum_day=date(2024, 6, 10))
    store.add_daily_row(symbol_id, date(2024, 6, 10), 121.79)

    def run(query: str) -> list[tuple[Any, ...]]:
        return store.connection.execute(query.encode()).fetchall()

    assert [row[5] for row in run(by_splits)] == [120.888, 121.79]
    share = 1 - 0.01 / 121.79
    assert [row[2] for row in run(total_return)] == pytest.approx([120.888 * share, 121.79 * share])
    assert [row[1] for row in run(backtest)] == [120.888, 121.79]
    assert [row[1:] for row in run(factors)] == [
        (None, date(2024, 6, 9), pytest.approx(0.1 * share), 10.0),
        (date(2024, 6, 10), date(2024, 6, 10), pytest.approx(share), 1.0),
        (date(2024, 6, 11), None, 1.0, 1.0),
    ]
    assert [(row[0], row[1], row[9]) for row in run(actions)] == [
        ("dividend", date(2024, 6, 11), pytest.approx(share)),
        ("split", date(2024, 6, 10), 1.0),
    ]
