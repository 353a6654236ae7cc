"""Late, empty, wrong and corrected data: stored evidence, calls spent, and final states."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.runner import run_backfill
from backfill_assets.market.gaps.slot_states import SlotState
from backfill_assets.sandbox.config import DataQuirks, Publication
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.store.postgres.connection import Database
from backfill_assets_tests.conftest import make_job, read_stored_bars
from backfill_assets_tests.integration.test_backfill_engine import (
    build_expected_bars,
    ignore_progress,
    list_sandbox_symbols,
)
from backfill_assets_tests.moving_clock import MovingClock, iter_times, parse_utc

pytestmark = pytest.mark.no_cover

MONDAY, TUESDAY, FRIDAY = date(2026, 6, 1), date(2026, 6, 2), date(2026, 6, 5)
WEEK = tuple(MONDAY + timedelta(days=n) for n in range(5))
MakeClock = Callable[..., MovingClock]


@pytest.fixture
def make_clock(make_engine: Callable[..., Engine], start_sandbox: Callable[..., Sandbox]) -> MakeClock:
    def make(tickers: tuple[str, ...], first: date = MONDAY, **config: object) -> MovingClock:
        sandbox = start_sandbox(per_minute=100_000, **config)
        return MovingClock(make_engine(sandbox, tickers, requests_per_minute=100_000), sandbox, first)

    return make


def count_requests(clock: MovingClock, ticker: str = "AAPL") -> int:
    return int(clock.sandbox.stats()["per_ticker"].get(f"{ticker}.US", 0))


def test_four_late_sessions_are_stored_within_twelve_requests(
    make_clock: MakeClock, start_sandbox: Callable[..., Sandbox]
) -> None:
    """The vendor has no AAPL data from Monday to Thursday, and all of it on Friday night (a second sandbox)."""
    clock = make_clock(
        ("AAPL", "MSFT", "AMZN"), publication=Publication(never_published=frozenset(("AAPL", d) for d in WEEK[:4]))
    )
    for now in iter_times(parse_utc("2026-06-01 20:00"), parse_utc("2026-06-05 22:00"), 60):
        clock.run(now)
    requests_before = count_requests(clock)
    assert read_stored_bars(clock.engine.database, "AAPL") == []
    vendor = start_sandbox(per_minute=100_000)
    settings = clock.engine.settings.model_copy(update={"base_url": vendor.base_url})
    late_clock = MovingClock(replace(clock.engine, settings=settings), vendor, MONDAY)
    stored_at = next(
        now
        for now in iter_times(parse_utc("2026-06-05 23:00"), parse_utc("2026-06-08 13:00"), 30)
        if late_clock.run(now).written.inserted and read_stored_bars(clock.engine.database, "AAPL")
    )
    assert read_stored_bars(clock.engine.database, "AAPL") == build_expected_bars(vendor, "AAPL", *WEEK)
    for now in iter_times(stored_at + timedelta(minutes=30), stored_at + timedelta(days=1), 60):
        late_clock.run(now)
    assert requests_before + count_requests(late_clock) <= 12


def test_new_rows_are_followed_by_a_request_within_the_hour(
    make_clock: MakeClock, start_sandbox: Callable[..., Sandbox]
) -> None:
    """Monday is published after three days; the other sessions, published soon after, are stored within the hour."""
    publication = Publication(never_published=frozenset(("AAPL", d) for d in WEEK[:4]))
    clock = make_clock(("AAPL", "MSFT", "AMZN"), publication=publication)
    for now in iter_times(parse_utc("2026-06-01 20:00"), parse_utc("2026-06-04 20:00"), 120):
        clock.run(now)
    first_sandbox = start_sandbox(
        per_minute=100_000, publication=Publication(never_published=frozenset(("AAPL", d) for d in WEEK[1:4]))
    )
    second_sandbox = start_sandbox(per_minute=100_000)
    database, stages = clock.engine.database, {first_sandbox: 13, second_sandbox: 52}
    stored_times: list[datetime] = []
    now = parse_utc("2026-06-04 23:00")
    for vendor, bars in stages.items():
        settings = clock.engine.settings.model_copy(update={"base_url": vendor.base_url})
        stage_clock = MovingClock(replace(clock.engine, settings=settings), vendor, MONDAY)
        while len(read_stored_bars(database, "AAPL")) < bars:
            assert now < parse_utc("2026-06-06 12:00")
            stage_clock.run(now)
            now += timedelta(minutes=30)
        stored_times.append(now)
    assert stored_times[1] - stored_times[0] <= timedelta(hours=1)


def test_probe_without_data_delays_other_tickers_for_one_round_at_most(make_clock: MakeClock) -> None:
    """One ticker per round is probed until one has data; each of the four tickers in turn has none."""
    tickers = ("AAPL", "MSFT", "AMZN", "TSLA")
    rounds_needed = []
    for ticker_without_data in tickers:
        clock = make_clock(
            tickers, first=TUESDAY, publication=Publication(never_published=frozenset({(ticker_without_data, TUESDAY)}))
        )
        with clock.engine.database.transaction() as connection:
            connection.execute(
                "TRUNCATE market_data, backfill.session_evidence, backfill.claims, backfill.listing_lives"
            )
        rounds_by_number = enumerate(iter_times(parse_utc("2026-06-02 23:00"), parse_utc("2026-06-03 02:00"), 30))
        rounds_needed.append(next(number for number, now in rounds_by_number if clock.run(now).after.present == 39))
    assert sorted(rounds_needed) == [0, 0, 0, 1]  # the ticker probed first delays the others by half an hour


def test_every_ticker_is_requested_by_sixteen_hours_after_the_close(make_clock: MakeClock) -> None:
    symbols = tuple(list_sandbox_symbols(40))
    publication = Publication(never_published=frozenset((s, TUESDAY) for s in symbols))
    clock = make_clock(symbols, first=TUESDAY, symbols=40, publication=publication)
    for now in iter_times(parse_utc("2026-06-02 20:00"), parse_utc("2026-06-03 11:00"), 60):
        assert len(clock.run(now).outcomes) <= 1  # at most one probe per round
    requests_by_ticker = clock.sandbox.stats()["per_ticker"]
    assert len(requests_by_ticker) == 13  # hourly from 19:00 New York time
    clock.run(parse_utc("2026-06-03 12:00"))
    assert len(clock.sandbox.stats()["per_ticker"]) == 40


def test_probe_blocks_grow_only_while_half_of_a_block_is_published(make_clock: MakeClock) -> None:
    """A third of the tickers is published: probe blocks stop doubling; published tickers are not requested again."""
    symbols = tuple(list_sandbox_symbols(60))
    published_symbols = symbols[::3]
    publication = Publication(never_published=frozenset((s, TUESDAY) for s in symbols if s not in published_symbols))
    clock = make_clock(symbols, first=TUESDAY, symbols=60, publication=publication)
    for now in iter_times(parse_utc("2026-06-02 23:00"), parse_utc("2026-06-03 11:00"), 60):
        clock.run(now)
    requests = clock.sandbox.stats()["per_ticker"]
    stored = {s for s in symbols if read_stored_bars(clock.engine.database, s)}
    assert stored <= set(published_symbols)
    assert all(requests[f"{s}.US"] == 1 for s in stored)
    clock.run(parse_utc("2026-06-03 12:00"))
    assert {s for s in symbols if read_stored_bars(clock.engine.database, s)} == set(published_symbols)


def test_cumulative_volumes_are_suspect_until_the_vendor_repairs_them(make_clock: MakeClock) -> None:
    """Every bar is stored; suspect bars are requested daily and become final once they are correct.

    The vendor's other feed, which would mend them on the second day, is switched off.
    """
    clock = make_clock(
        ("AAPL",), first=TUESDAY, quirks=DataQuirks(cumulative_volume_months=1.0, repaired_after_days=3.0)
    )
    settings = clock.engine.settings.model_copy(update={"cross_feed_calls": 0})
    clock.engine = replace(clock.engine, settings=settings)
    tuesday = {"end": TUESDAY}
    clock.run(parse_utc("2026-06-03 14:00"))
    first = clock.measure(parse_utc("2026-06-03 14:00"), **tuesday)
    suspect = first.count_slots(SlotState.SUSPECT)
    assert suspect > 0
    assert (int(first.missing.sum()), first.count_slots(SlotState.PRESENT) + suspect) == (0, 13)
    with clock.engine.database.transaction() as connection:
        (reject_count,) = connection.execute(
            "SELECT count(*) FROM backfill.rejects WHERE reason = 'volume_running_total' AND timestamp >= '2026-06-02'"
        ).fetchone() or (0,)
    assert 6 <= reject_count <= 12
    requests_before = count_requests(clock)
    for now in iter_times(parse_utc("2026-06-03 15:00"), parse_utc("2026-06-07 15:00"), 60):
        engine = clock.move_to(now)
        run_backfill(engine, make_job(engine, start=TUESDAY, end=TUESDAY), ignore_progress)
    assert count_requests(clock) - requests_before <= 4  # daily
    assert clock.measure(parse_utc("2026-06-07 15:00"), **tuesday).count_slots(SlotState.PRESENT) == 13
    assert read_stored_bars(clock.engine.database, "AAPL") == build_expected_bars(clock.sandbox, "AAPL", TUESDAY)


@pytest.mark.parametrize(
    ("source", "day", "close", "auction"),
    [("5m", "2026-06-01", 306.309997, None), ("1m", "2025-01-15", 237.87, 19_211_944)],
)
def test_official_close_and_auction_volume_are_stored(
    make_engine: Callable[..., Engine],
    start_sandbox: Callable[..., Sandbox],
    database: Database,
    replay_folder: Path,
    source: str,
    day: str,
    close: float,
    auction: int | None,
) -> None:
    engine = make_engine(start_sandbox(replay=replay_folder), source_interval=source)
    session = date.fromisoformat(day)
    run_backfill(engine, make_job(engine, start=session, end=session), ignore_progress)
    with database.transaction() as connection:
        rows = connection.execute(
            "SELECT request_count, is_published, official_close, auction_volume, not_returned::text"
            " FROM backfill.session_evidence WHERE session_day = %s",
            [session],
        ).fetchall()
    ((*request_state, stored_close, stored_auction, not_returned),) = rows
    assert (request_state, stored_close, not_returned) == ([1, True], pytest.approx(close, abs=1e-6), "{}")
    assert stored_auction is None if auction is None else stored_auction >= auction


def test_tickers_absent_from_the_bulk_file_are_requested_separately(make_clock: MakeClock) -> None:
    """Of 105 tickers without a bar, one is absent from the bulk file as well: it was delisted."""
    symbols = tuple(list_sandbox_symbols(105))
    publication = Publication(never_published=frozenset((s, d) for s in symbols for d in WEEK))
    delisted = {symbols[-1]: date(2026, 5, 20)}
    clock = make_clock(symbols, symbols=105, publication=publication, delisted=delisted)
    clock.run(parse_utc("2026-06-06 14:00"))
    coverage = clock.measure(parse_utc("2026-06-06 14:00"), end=FRIDAY)
    expected = dict(zip((s.ticker.symbol for s in coverage.symbols), coverage.expected.tolist(), strict=True))
    assert expected == dict.fromkeys(symbols[:-1], 65) | {symbols[-1]: 0}
    calls = clock.sandbox.stats()["calls_by_endpoint"]
    assert (calls["eod-bulk-last-day"], calls["eod"]) == (500, 1)
    with clock.engine.database.transaction() as connection:
        findings = connection.execute("SELECT kind, subject FROM backfill.findings").fetchall()
    assert findings == [("ended or renamed", f"{symbols[-1]}.US")]
    assert {s.tzinfo for s in coverage.askable_at} == {UTC}
