"""Late, empty, wrong and corrected answers: the evidence kept, the calls spent, and the final state."""

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
from backfill_assets_tests.conftest import bars_in, job
from backfill_assets_tests.integration.test_backfill_engine import (
    build_expected_bars,
    ignore_progress,
    list_sandbox_symbols,
)
from backfill_assets_tests.moving_clock import Clockwork, moments, utc

MONDAY, TUESDAY, FRIDAY = date(2026, 6, 1), date(2026, 6, 2), date(2026, 6, 5)
WEEK = tuple(MONDAY + timedelta(days=n) for n in range(5))
Clock = Callable[..., Clockwork]


@pytest.fixture
def clock_of(engine_on: Callable[..., Engine], sandboxed: Callable[..., Sandbox]) -> Clock:
    def make(tickers: tuple[str, ...], first: date = MONDAY, **config: object) -> Clockwork:
        sandbox = sandboxed(per_minute=100_000, **config)
        return Clockwork(engine_on(sandbox, tickers, requests_per_minute=100_000), sandbox, first)

    return make


def asks(clock: Clockwork, ticker: str = "AAPL") -> int:
    return int(clock.sandbox.stats()["per_ticker"].get(f"{ticker}.US", 0))


def test_four_late_sessions_are_stored_by_the_request_that_finds_them(
    clock_of: Clock, sandboxed: Callable[..., Sandbox]
) -> None:
    """The vendor has no data of AAPL from Monday to Thursday, and all of it on Friday night (another sandbox)."""
    clock = clock_of(
        ("AAPL", "MSFT", "AMZN"), publication=Publication(never_published=frozenset(("AAPL", d) for d in WEEK[:4]))
    )
    for now in moments(utc("2026-06-01 20:00"), utc("2026-06-05 22:00"), 60):
        clock.tick(now)
    in_vain = asks(clock)
    assert bars_in(clock.engine.database, "AAPL") == []
    vendor = sandboxed(per_minute=100_000)
    settings = clock.engine.settings.model_copy(update={"base_url": vendor.base_url})
    after = Clockwork(replace(clock.engine, settings=settings), vendor, MONDAY)
    seen = next(
        now
        for now in moments(utc("2026-06-05 23:00"), utc("2026-06-08 13:00"), 30)
        if after.tick(now).written.inserted and bars_in(clock.engine.database, "AAPL")
    )
    assert bars_in(clock.engine.database, "AAPL") == build_expected_bars(vendor, "AAPL", *WEEK)
    for now in moments(seen + timedelta(minutes=30), seen + timedelta(days=1), 60):
        after.tick(now)
    assert in_vain + asks(after) <= 12


def test_new_rows_bring_the_next_request_within_the_hour(clock_of: Clock, sandboxed: Callable[..., Sandbox]) -> None:
    """Monday is published after three days; rows that appear an hour later are not requested a day later."""
    late = Publication(never_published=frozenset(("AAPL", d) for d in WEEK[:4]))
    clock = clock_of(("AAPL", "MSFT", "AMZN"), publication=late)
    for now in moments(utc("2026-06-01 20:00"), utc("2026-06-04 20:00"), 120):
        clock.tick(now)
    some = sandboxed(
        per_minute=100_000, publication=Publication(never_published=frozenset(("AAPL", d) for d in WEEK[1:4]))
    )
    everything = sandboxed(per_minute=100_000)
    database, stages = clock.engine.database, {some: 13, everything: 52}
    reached: list[datetime] = []
    now = utc("2026-06-04 23:00")
    for vendor, bars in stages.items():
        settings = clock.engine.settings.model_copy(update={"base_url": vendor.base_url})
        then = Clockwork(replace(clock.engine, settings=settings), vendor, MONDAY)
        while len(bars_in(database, "AAPL")) < bars:
            assert now < utc("2026-06-06 12:00")
            then.tick(now)
            now += timedelta(minutes=30)
        reached.append(now)
    assert reached[1] - reached[0] <= timedelta(hours=1)


def test_probe_without_data_delays_other_tickers_for_one_round_at_most(clock_of: Clock) -> None:
    """One ticker a round is probed until one has data; the first of the four to be probed has none."""
    tickers = ("AAPL", "MSFT", "AMZN", "TSLA")
    rounds = []
    for unlucky in tickers:
        clock = clock_of(
            tickers, first=TUESDAY, publication=Publication(never_published=frozenset({(unlucky, TUESDAY)}))
        )
        with clock.engine.database.transaction() as connection:
            connection.execute(
                "TRUNCATE market_data, backfill.session_evidence, backfill.claims, backfill.listing_lives"
            )
        ticks = enumerate(moments(utc("2026-06-02 23:00"), utc("2026-06-03 02:00"), 30))
        rounds.append(next(number for number, now in ticks if clock.tick(now).after.present == 39))
    assert sorted(rounds) == [0, 0, 0, 1]  # the one who is drawn first costs the others half an hour


def test_every_ticker_is_requested_by_sixteen_hours_after_the_close(clock_of: Clock) -> None:
    symbols = tuple(list_sandbox_symbols(40))
    withheld = Publication(never_published=frozenset((s, TUESDAY) for s in symbols))
    clock = clock_of(symbols, first=TUESDAY, symbols=40, publication=withheld)
    for now in moments(utc("2026-06-02 20:00"), utc("2026-06-03 11:00"), 60):
        assert len(clock.tick(now).outcomes) <= 1  # a probe a round, or none
    before = clock.sandbox.stats()["per_ticker"]
    assert len(before) == 13  # from 19:00 in New York, an hour at a time
    clock.tick(utc("2026-06-03 12:00"))
    assert len(clock.sandbox.stats()["per_ticker"]) == 40


def test_probe_blocks_double_while_half_of_the_last_block_was_published(clock_of: Clock) -> None:
    """A third of the tickers is published: probe blocks stop doubling; published tickers are not requested again."""
    symbols = tuple(list_sandbox_symbols(60))
    lucky = symbols[::3]
    withheld = Publication(never_published=frozenset((s, TUESDAY) for s in symbols if s not in lucky))
    clock = clock_of(symbols, first=TUESDAY, symbols=60, publication=withheld)
    for now in moments(utc("2026-06-02 23:00"), utc("2026-06-03 11:00"), 60):
        clock.tick(now)
    asked = clock.sandbox.stats()["per_ticker"]
    stored = {s for s in symbols if bars_in(clock.engine.database, s)}
    assert stored <= set(lucky)
    assert all(asked[f"{s}.US"] == 1 for s in stored)
    clock.tick(utc("2026-06-03 12:00"))
    assert {s for s in symbols if bars_in(clock.engine.database, s)} == set(lucky)


def test_cumulative_volumes_make_suspect_bars_until_the_vendor_repairs_them(clock_of: Clock) -> None:
    """Every bar is stored; the doubtful ones are suspect, requested daily, and final once they are right."""
    clock = clock_of(("AAPL",), first=TUESDAY, quirks=DataQuirks(cumulative_volume_months=1.0, repaired_after_days=3.0))
    tuesday = {"end": TUESDAY}
    clock.tick(utc("2026-06-03 14:00"))
    first = clock.survey(utc("2026-06-03 14:00"), **tuesday)
    suspect = first.count_slots(SlotState.SUSPECT)
    assert suspect > 0
    assert (int(first.missing.sum()), first.count_slots(SlotState.PRESENT) + suspect) == (0, 13)
    with clock.engine.database.transaction() as connection:
        (kept,) = connection.execute(
            "SELECT count(*) FROM backfill.rejects WHERE reason = 'volume_cumulative' AND timestamp >= '2026-06-02'"
        ).fetchone() or (0,)
    assert 6 <= kept <= 12
    spent = asks(clock)
    for now in moments(utc("2026-06-03 15:00"), utc("2026-06-07 15:00"), 60):
        engine = clock.at(now)
        run_backfill(engine, job(engine, start=TUESDAY, end=TUESDAY), ignore_progress)
    assert asks(clock) - spent <= 4  # daily
    assert clock.survey(utc("2026-06-07 15:00"), **tuesday).count_slots(SlotState.PRESENT) == 13
    assert bars_in(clock.engine.database, "AAPL") == build_expected_bars(clock.sandbox, "AAPL", TUESDAY)


@pytest.mark.parametrize(
    ("source", "day", "close", "auction"),
    [("5m", "2026-06-01", 306.309997, None), ("1m", "2025-01-15", 237.87, 19_211_944)],
)
def test_official_close_and_auction_volume_are_stored(
    engine_on: Callable[..., Engine],
    sandboxed: Callable[..., Sandbox],
    database: Database,
    replay_folder: Path,
    source: str,
    day: str,
    close: float,
    auction: int | None,
) -> None:
    engine = engine_on(sandboxed(replay=replay_folder), source_interval=source)
    session = date.fromisoformat(day)
    run_backfill(engine, job(engine, start=session, end=session), ignore_progress)
    with database.transaction() as connection:
        kept = connection.execute(
            "SELECT request_count, is_published, official_close, auction_volume, not_returned::text"
            " FROM backfill.session_evidence WHERE session_day = %s",
            [session],
        ).fetchall()
    ((*seen, kept_close, kept_auction, withheld),) = kept
    assert (seen, kept_close, withheld) == ([1, True], pytest.approx(close, abs=1e-6), "{}")
    assert kept_auction is None if auction is None else kept_auction >= auction


def test_tickers_absent_from_the_bulk_file_are_looked_up_alone(clock_of: Clock) -> None:
    """Of 105 tickers without a bar, one is absent from the bulk file as well: it was delisted."""
    symbols = tuple(list_sandbox_symbols(105))
    withheld = Publication(never_published=frozenset((s, d) for s in symbols for d in WEEK))
    delisted = {symbols[-1]: date(2026, 5, 20)}
    clock = clock_of(symbols, symbols=105, publication=withheld, delisted=delisted)
    clock.tick(utc("2026-06-06 14:00"))
    coverage = clock.survey(utc("2026-06-06 14:00"), end=FRIDAY)
    expected = dict(zip((s.ticker.symbol for s in coverage.symbols), coverage.expected.tolist(), strict=True))
    assert expected == dict.fromkeys(symbols[:-1], 65) | {symbols[-1]: 0}
    calls = clock.sandbox.stats()["calls_by_endpoint"]
    assert (calls["eod-bulk-last-day"], calls["eod"]) == (500, 1)
    with clock.engine.database.transaction() as connection:
        found = connection.execute("SELECT kind, subject FROM backfill.findings").fetchall()
    assert found == [("ended or renamed", f"{symbols[-1]}.US")]
    assert {s.tzinfo for s in coverage.askable_at} == {UTC}
