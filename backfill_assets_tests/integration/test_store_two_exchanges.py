"""Two exchanges in one store: what is known of one never explains, judges or dates what belongs to the other."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import numpy as np
import psycopg
import pytest

from backfill_assets.market.calendar.tickers import parse_tickers
from backfill_assets.market.exchanges.registry import US
from backfill_assets.quality.bar_validity import check_bars_are_valid
from backfill_assets.store.bars.bar_checks import find_bar_faults
from backfill_assets.store.bars.bar_stats import read_publications
from backfill_assets.store.bars.symbol_index import SymbolIndex
from backfill_assets.store.evidence.daily_data import (
    claim_bulk_file,
    delete_closure,
    read_bulk_file_size,
    record_bulk_file,
    record_closure,
)
from backfill_assets.store.evidence.daily_reads import claim_actions_file, find_read_files, read_file_days
from backfill_assets.store.evidence.evidence_reader import read_evidence
from backfill_assets.store.evidence.finding_ends import delete_answered_closures, find_closures
from backfill_assets.store.evidence.requested_days import read_requested_days
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.symbol_counts import count_other_exchanges
from backfill_assets.store.symbols import add_symbols, list_symbols
from backfill_assets_tests.integration.two_exchanges import (
    AU,
    INTERVAL,
    NOW,
    SOURCE,
    THURSDAY,
    WITH_BOTH_IN_THE_KEY,
    Market,
    add_bars,
    execute,
    get_market,
    open_store,
    publish,
)
from backfill_assets_tests.unit.gap_builders import RULES, build_open_slots

REJECT_CLOSURE = """
INSERT INTO backfill.decisions (kind, subject, refers_to, proposal, evidence, fingerprint, shown_fingerprint, opened_at,
                                decision, decided_by, decided_at)
VALUES ('closure', 'AU 2026-01-15 was a closed day', '{AU 2026-01-15}', '', '[]', '', '', now(), 'rejected', 'test',
        now())
"""


@pytest.fixture
def store(create_database: Callable[..., str]) -> Iterator[Database]:
    """A store with symbols of New York and Sydney in this program's own form."""
    yield from open_store(create_database())


@pytest.fixture(params=["own", "external"])
def both_forms(request: pytest.FixtureRequest, create_database: Callable[..., str]) -> Iterator[Database]:
    """The same in each form of the tables."""
    if request.param == "own":
        yield from open_store(create_database())
        return
    url = create_database(None)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(WITH_BOTH_IN_THE_KEY.encode())
    yield from open_store(url)


def read_half_seen(database: Database, market: Market) -> tuple[list[float], list[float]]:
    """When the first and when half of the symbols of an exchange were seen published, by session; −1 before."""
    index = SymbolIndex(np.array(sorted(market.ids.values()), np.int64))
    with database.transaction() as connection:
        _, evidence = read_evidence(connection, index, market.grid, SOURCE, build_open_slots([]), RULES, NOW)
    return tuple(
        np.nan_to_num(at, nan=-1.0).tolist() for at in (evidence.first_published_at, evidence.half_published_at)
    )


def test_symbols_with_the_same_name_are_two(both_forms: Database) -> None:
    us, au = get_market(both_forms, US), get_market(both_forms, AU)
    assert sorted(us.ids) == ["AAPL", "BHP"]
    assert sorted(au.ids) == ["BHP", "CBA", "RIO"]
    assert us.ids["BHP"] != au.ids["BHP"]
    with both_forms.transaction() as connection:
        assert count_other_exchanges(connection, ["US"]) == {"AU": 3}
        assert count_other_exchanges(connection, ["US", "AU"]) == {}
        assert add_symbols(connection, parse_tickers(["BHP.AU"])) == 0


def test_half_of_an_exchange_is_seen_without_the_others(store: Database) -> None:
    us, au = get_market(store, US), get_market(store, AU)
    first, later = NOW - timedelta(hours=9), NOW - timedelta(hours=8)
    publish(store, au, ["BHP"], first)  # one of three
    assert read_half_seen(store, us) == ([-1, -1, -1], [-1, -1, -1])
    assert read_half_seen(store, au) == ([-1, -1, first.timestamp()], [-1, -1, -1])
    publish(store, au, ["CBA"], later)  # two of three
    assert read_half_seen(store, us) == ([-1, -1, -1], [-1, -1, -1])
    assert read_half_seen(store, au)[1] == [-1, -1, later.timestamp()]
    publish(store, us, ["BHP"], NOW)  # one of two
    assert read_half_seen(store, us) == ([-1, -1, NOW.timestamp()],) * 2
    with store.transaction() as connection:
        assert read_publications(connection, INTERVAL, SOURCE, us.sessions) == {THURSDAY: (1, NOW, NOW)}
        assert read_publications(connection, INTERVAL, SOURCE, au.sessions) == {THURSDAY: (2, first, later)}
        assert read_publications(connection, INTERVAL, SOURCE, []) == {}


def test_a_closed_day_of_one_exchange_is_a_session_of_the_other(store: Database) -> None:
    us, au = get_market(store, US), get_market(store, AU)
    with store.transaction() as connection:
        assert record_closure(connection, "AU", THURSDAY, "no file", NOW)
        assert record_closure(connection, "AU", THURSDAY, "no rows", NOW + timedelta(days=1))  # the first stays
    for market, is_closed in ((us, False), (au, True)):
        index = SymbolIndex(np.array(sorted(market.ids.values()), np.int64))
        with store.transaction() as connection:
            _, evidence = read_evidence(connection, index, market.grid, SOURCE, build_open_slots([]), RULES, NOW)
            known = read_requested_days(connection, list_symbols(connection, market.profile.exchange), INTERVAL,
                                        market.sessions)  # fmt: skip
            assert find_closures(connection, market.profile.exchange, [THURSDAY]) == (
                {THURSDAY} if is_closed else set()
            )
        assert evidence.closed.tolist() == [False, False, is_closed]
        assert known.listed[:, -1].tolist() == [not is_closed] * len(market.ids)
    publish(store, us, ["AAPL", "BHP"], NOW)
    with store.transaction() as connection:
        assert delete_answered_closures(connection, "AU", [THURSDAY], 1.5) == set()  # answers of New York
    publish(store, au, ["BHP", "CBA"], NOW)
    with store.transaction() as connection:
        assert delete_answered_closures(connection, "AU", [THURSDAY], 1.5) == {THURSDAY}
        assert delete_closure(connection, "AU", THURSDAY) is None


def test_a_rejected_closure_is_not_found_again_at_its_exchange_only(store: Database) -> None:
    execute(store, REJECT_CLOSURE)
    with store.transaction() as connection:
        assert not record_closure(connection, "AU", THURSDAY, "no file", NOW)
        assert record_closure(connection, "US", THURSDAY, "no file", NOW)


def test_daily_files_of_one_day_are_of_two_exchanges(store: Database) -> None:
    us, au = get_market(store, US), get_market(store, AU)
    age = timedelta(minutes=5)
    with store.transaction() as connection:
        assert claim_bulk_file(connection, "US", THURSDAY, age)
        assert claim_bulk_file(connection, "AU", THURSDAY, age)
        assert not claim_bulk_file(connection, "AU", THURSDAY, age)
        record_bulk_file(connection, "AU", THURSDAY, 2_425, [au.ids["BHP"]], NOW)
        assert (read_bulk_file_size(connection, "US", THURSDAY), read_bulk_file_size(connection, "AU", THURSDAY)) == (
            0,
            2_425,
        )
        assert find_read_files(connection, us.sessions, NOW) == set()
        assert find_read_files(connection, au.sessions, NOW) == {THURSDAY}
        assert read_file_days(connection, "AU", NOW - age) == (THURSDAY, 1)
        assert claim_actions_file(connection, "splits", "US", THURSDAY, NOW, NOW - age)
        assert claim_actions_file(connection, "splits", "AU", THURSDAY, NOW, NOW - age)
        assert not claim_actions_file(connection, "splits", "AU", THURSDAY, NOW, NOW - age)


@pytest.mark.parametrize("exchange", ["US", "AU"])
def test_of_two_processes_that_claim_a_file_at_once_one_does(store: Database, exchange: str) -> None:
    with ThreadPoolExecutor(1) as threads, store.transaction() as connection:
        assert claim_bulk_file(connection, exchange, THURSDAY, timedelta(minutes=5))

        def claim() -> bool:
            with store.transaction() as other:
                return claim_bulk_file(other, exchange, THURSDAY, timedelta(minutes=5))

        second = threads.submit(claim)  # waits for the end of the first
        connection.commit()
        assert second.result(30) is False


def test_bars_are_judged_by_the_grid_of_their_exchange(both_forms: Database) -> None:
    us, au = get_market(both_forms, US), get_market(both_forms, AU)
    add_bars(both_forms, us.ids["BHP"], us.sessions[0].open)
    add_bars(both_forms, au.ids["BHP"], au.sessions[1].open, au.sessions[1].open + timedelta(minutes=30))
    execute(both_forms, "ALTER TABLE market_data DROP CONSTRAINT IF EXISTS market_data_symbol_id_fkey")
    add_bars(both_forms, 77, us.sessions[0].open)
    with both_forms.transaction() as connection:
        faults, rows = find_bar_faults(connection, us.grid)
        assert [(fault.kind, fault.subject) for fault in faults] == [("no symbol", "symbol_id 77")]
        assert rows == 2
        assert find_bar_faults(connection, au.grid, with_unknown=False) == ([], 2)
    add_bars(both_forms, au.ids["CBA"], au.sessions[1].open + timedelta(minutes=7))
    with both_forms.transaction() as connection:
        (fault,), _ = find_bar_faults(connection, au.grid, with_unknown=False)
        assert (fault.kind, fault.subject, fault.rows) == ("off the grid", "CBA.AU", 1)
        assert not check_bars_are_valid(*find_bar_faults(connection, au.grid)).passed
        assert len(find_bar_faults(connection, us.grid, with_unknown=False)[0]) == 0


def test_dates_of_bars_are_those_of_their_exchange(both_forms: Database) -> None:
    us, au = get_market(both_forms, US), get_market(both_forms, AU)
    add_bars(both_forms, us.ids["BHP"], us.sessions[-1].open)
    add_bars(both_forms, au.ids["BHP"], au.sessions[-1].open)
    assert au.sessions[-1].open.date() == THURSDAY - timedelta(days=1)
    found = execute(
        both_forms, "SELECT symbol_id, session_day FROM backfill.adjusted_bars('none') ORDER BY \"timestamp\""
    )
    assert found == [(au.ids["BHP"], THURSDAY), (us.ids["BHP"], THURSDAY)]
    assert execute(
        both_forms,
        "SELECT backfill.session_day(%s, 'ASX'), backfill.session_day(%s, 'NASDAQ'), backfill.session_day(%s)",
        [au.sessions[-1].open] * 3,
    ) == [(THURSDAY, THURSDAY - timedelta(days=1), THURSDAY - timedelta(days=1))]
    (begin,) = execute(both_forms, "SELECT backfill.session_day_begin(%s, 'AU')", [THURSDAY])[0]
    assert begin == datetime(2026, 1, 15, tzinfo=AU.zone)


def test_a_split_counts_from_the_begin_of_the_exchange_s_day(both_forms: Database) -> None:
    au = get_market(both_forms, AU)
    key = au.ids["BHP"]
    add_bars(both_forms, key, au.sessions[-2].open, au.sessions[-1].open)
    execute(
        both_forms,
        "INSERT INTO backfill.splits (symbol_id, ex_date, ratio, new_shares, old_shares, source, first_seen)"
        " VALUES (%s, %s, 2, 2, 1, '/splits', '2025-01-01')",
        [key, THURSDAY],
    )
    execute(
        both_forms,
        "INSERT INTO backfill.split_reads (symbol_id, known_after, known_until, read_at)"
        " VALUES (%s, '1900-01-01', '2099-01-01', now())",
        [key],
    )
    adjusted = execute(both_forms, "SELECT session_day, close_price FROM backfill.adjusted_bars('splits') ORDER BY 1")
    assert adjusted == [(THURSDAY - timedelta(days=1), 5.0), (THURSDAY, 10.0)]
