"""What an experimental exchange shows is counted once, and its daily data judge nothing before twenty sessions."""

import tomllib
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backfill_assets.backfill.actions.action_proof import prove_actions
from backfill_assets.backfill.actions.spinoff_derivation import SpinOffChanges
from backfill_assets.backfill.engine import BackfillJob, Engine
from backfill_assets.backfill.fetch.batch_writer import FetchedRows, WriteContext, write_batch
from backfill_assets.backfill.job_request import JobRequest, build_job
from backfill_assets.backfill.learning import compare_with_daily_data
from backfill_assets.backfill.market_overview import list_markets, report_market
from backfill_assets.backfill.plausibility.judge import judge_job
from backfill_assets.config.markets_file import correct_profile
from backfill_assets.config.settings import Settings
from backfill_assets.market.calendar.intervals import INTERVALS
from backfill_assets.market.calendar.sessions import Session
from backfill_assets.market.calendar.tickers import Symbol, parse_tickers
from backfill_assets.market.daily_prices import DailyPrices
from backfill_assets.market.exchanges.learned import DailyComparison
from backfill_assets.market.exchanges.profile import NullVolume
from backfill_assets.market.exchanges.registry import get_profile
from backfill_assets.market.gaps.slot_states import SlotState
from backfill_assets.market.learning.learned_rows import ClosingRows, LearnedRows, SeenPublication
from backfill_assets.market.learning.proposed_settings import SeenMarket, format_settings, list_seen
from backfill_assets.market.vendor import IntradayRows
from backfill_assets.store.evidence.daily_prices import record_daily_rows
from backfill_assets.store.learning import has_unclear_rows, read_daily_comparison, read_learned_rows
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.symbols import add_symbols
from backfill_assets_tests.conftest import NOW

FIRST, LAST = date(2026, 5, 1), date(2026, 6, 1)  # 20 sessions of London: 4 and 25 May are holidays
ROWS = 102  # of 5 minutes, from 8:00 to 16:30


@pytest.fixture
def engine(database: Database, settings: Settings) -> Engine:
    """An engine over a store with two symbols of London and one of New York, which has the name of one of them."""
    with database.transaction() as connection:
        add_symbols(connection, parse_tickers(["VOD.LSE", "BP.LSE", "BP"]))
    return Engine(database, settings.model_copy(update={"exchanges": ("US", "LSE")}))


def make_london_job(engine: Engine, first: date = FIRST, *symbols: str) -> BackfillJob:
    request = JobRequest(start=first, end=LAST, exchange="LSE", symbols=symbols)
    return build_job(engine, request)[0]


def build_rows(sessions: Sequence[Session]) -> IntradayRows:
    """Full sessions at prices from 100 to 102, with a print at the close and an auction ten minutes later.

    Of the first session one row is a quote that stands still, one a quote that moves, one off the grid, and one volume
    has a fraction.
    """
    stamps = [int(session.open.timestamp()) + 300 * np.arange(ROWS) for session in sessions]
    closes = [np.array([session.close.timestamp(), session.close.timestamp() + 600], np.int64) for session in sessions]
    stamp = np.concatenate([part for pair in zip(stamps, closes, strict=True) for part in pair])
    is_print = np.tile(np.r_[np.zeros(ROWS, bool), True, False], len(sessions))
    is_close = is_print | np.roll(is_print, 1)
    opened, high, low = np.full(len(stamp), 101.0), np.full(len(stamp), 102.0), np.full(len(stamp), 100.0)
    high[is_close] = low[is_close] = 101.0
    volume = np.where(is_print, np.nan, 100.0)
    volume[[10, 20]], volume[30] = np.nan, 100.5
    high[10] = low[10] = 101.0
    stamp[40] += 60
    return IntradayRows(stamp, opened, high, low, opened, volume)


def write(engine: Engine, job: BackfillJob) -> None:
    plan = engine.plan(job, engine.measure(job))
    host, now = engine.settings.vendor_host, engine.settings.now()
    context = WriteContext(plan, job.source_interval, "30m", host, now, replace_other_feed=job.replace_other_feed)
    fetched = [FetchedRows(request, build_rows(job.window.sessions)) for request in plan.requests]
    with engine.database.transaction() as connection:
        write_batch(connection, context, fetched, datetime.now(UTC) + timedelta(days=1))


def record_days(engine: Engine, symbol: Symbol, sessions: Sequence[Session], **changed: float) -> None:
    values = {"open": 101.0, "high": 102.0, "low": 100.0, "close": 101.0, "adjusted_close": 101.0, "volume": 9e3}
    columns: dict[str, Any] = {name: np.full(len(sessions), value) for name, value in (values | changed).items()}
    days = np.array([session.day for session in sessions], "datetime64[D]")
    traded = np.nan_to_num(columns["volume"]).astype(np.int64)
    rows = DailyPrices(np.full(len(sessions), symbol.symbol_id), days, **columns, traded_volume=traded)
    with engine.database.transaction() as connection:
        record_daily_rows(connection, rows, NOW)


def read_comparison(engine: Engine, exchange: str = "LSE") -> DailyComparison:
    with engine.database.transaction() as connection:
        return read_daily_comparison(connection, exchange)


def move_clock(engine: Engine, span: timedelta) -> Engine:
    return replace(engine, settings=engine.settings.model_copy(update={"as_of": NOW + span}))


def count_rows_of_first_bars(engine: Engine) -> list[int]:
    """How many rows the bars of the first four slots are made of."""
    with engine.database.transaction() as connection:
        found = connection.execute('SELECT source_rows FROM market_data ORDER BY "timestamp" LIMIT 4').fetchall()
    return [rows for (rows,) in found]


def count_doubts(engine: Engine) -> dict[str, int]:
    with engine.database.transaction() as connection:
        return dict(connection.execute("SELECT rule, count(*) FROM backfill.doubts WHERE marks_bar GROUP BY 1"))


def test_rows_are_counted_with_the_bars_and_once(engine: Engine) -> None:
    job = make_london_job(engine, LAST, "VOD.LSE", "BP.LSE")
    write(engine, job)
    forced = build_job(engine, JobRequest(start=LAST, end=LAST, exchange="LSE", force=True))[0]
    write(engine, forced)
    with engine.database.transaction() as connection:
        seen = read_learned_rows(connection, "LSE")
        other = read_learned_rows(connection, "US")
    assert (seen.sessions, seen.symbol_sessions, seen.source_rows) == (1, 2, 2 * ROWS)
    assert (seen.null_flat, seen.null_moving, seen.off_grid, seen.fractional) == (2, 2, 2, 2)
    assert seen.closing == (ClosingRows(0, 2, 0, 0.0), ClosingRows(600, 0, 2, 200.0))
    assert (seen.first_day, seen.last_day) == (LAST, LAST)
    assert other.symbol_sessions == 0


def test_a_daily_volume_of_0_judges_nothing_before_twenty_sessions_and_then_as_elsewhere(engine: Engine) -> None:
    job = make_london_job(engine)
    vod, bp = (next(s for s in job.symbols if s.ticker.symbol == name) for name in ("VOD", "BP"))
    assert len(job.window.sessions) == 20
    write(engine, make_london_job(engine, FIRST, "VOD.LSE"))
    record_days(engine, vod, job.window.sessions[1:])
    record_days(engine, bp, job.window.sessions, volume=0.0)
    compare_with_daily_data(engine, job)
    seen = read_comparison(engine)
    assert (seen.sessions, seen.days, seen.untraded, seen.untraded_with_bars) == (19, 19, 20, 0)
    assert (seen.ranged, seen.outside_range, seen.closes, seen.closes_equal) == (19, 0, 19, 19)
    row = [symbol.ticker.symbol for symbol in job.symbols].index("BP")
    assert engine.measure(job).counts[row, SlotState.NO_TRADE] == 0
    record_days(engine, vod, job.window.sessions[:1])
    compare_with_daily_data(engine, job)
    assert read_comparison(engine).sessions == 20
    assert engine.measure(job).counts[row, SlotState.NO_TRADE] == engine.measure(job).grid.size


def test_no_bar_is_doubted_for_its_day_before_twenty_sessions(engine: Engine) -> None:
    job = make_london_job(engine, FIRST, "VOD.LSE")
    (vod,), sessions = job.symbols, job.window.sessions
    write(engine, job)
    record_days(engine, vod, sessions[:1], high=101.0, close=100.5)
    record_days(engine, vod, sessions[1:-1])
    compare_with_daily_data(engine, job)
    assert (read_comparison(engine).sessions, read_comparison(engine).outside_range) == (19, 1)
    assert judge_job(engine, job).opened == 0
    assert prove_actions(engine, job) == SpinOffChanges()
    record_days(engine, vod, sessions[-1:])
    compare_with_daily_data(engine, job)
    assert judge_job(engine, job).opened > 0  # about the first session, too, which has not changed


def test_bars_that_come_after_the_daily_data_are_compared_with_them(engine: Engine) -> None:
    job = make_london_job(engine, FIRST, "VOD.LSE")
    (vod,) = job.symbols
    record_days(engine, vod, job.window.sessions, volume=0.0)
    compare_with_daily_data(move_clock(engine, timedelta(minutes=1)), job)
    assert (read_comparison(engine).sessions, read_comparison(engine).untraded_with_bars) == (0, 0)
    later = move_clock(engine, timedelta(minutes=2))
    write(later, make_london_job(later, FIRST, "VOD.LSE"))
    compare_with_daily_data(later, job)
    assert (read_comparison(engine).sessions, read_comparison(engine).untraded_with_bars) == (20, 20)


def test_doubts_end_when_daily_data_may_not_judge_any_more_and_are_back_when_they_may(engine: Engine) -> None:
    job = make_london_job(engine, FIRST, "VOD.LSE")
    (vod,), sessions = job.symbols, job.window.sessions
    write(engine, job)
    for wrong, is_judged in ((1, True), (6, False), (1, True)):
        record_days(engine, vod, sessions, volume=1.2e4)
        record_days(engine, vod, sessions[:wrong], high=101.0, close=100.5, volume=1.2e4)
        compare_with_daily_data(engine, job)
        assert judge_job(engine, job).opened == is_judged
        assert count_doubts(engine) == ({"price_outside_day": 1} if is_judged else {})


def test_volumes_of_days_that_are_less_than_the_bars_doubt_no_volume(engine: Engine) -> None:
    job = make_london_job(engine, FIRST, "VOD.LSE")
    (vod,), sessions = job.symbols, job.window.sessions
    write(engine, job)
    record_days(engine, vod, sessions, volume=1.2e4)
    record_days(engine, vod, sessions[:1], volume=9e3)
    compare_with_daily_data(engine, job)
    judge_job(engine, job)
    assert count_doubts(engine) == {"volume_exceeds_day": 1}
    record_days(engine, vod, sessions[:4], volume=9e3)
    compare_with_daily_data(engine, job)
    judge_job(engine, job)
    assert (read_comparison(engine).exceeding_volume, count_doubts(engine)) == (4, {})
    assert "bear prices out, and not volumes" in report_market(engine, "LSE").judging


def test_rows_that_are_set_to_be_quotes_leave_bars_when_they_are_forced(engine: Engine, tmp_path: Path) -> None:
    """Fewer rows replace more: the answer is the same, and a person changed what it means."""
    file = tmp_path / "markets.toml"
    rows = [count_rows_of_first_bars(engine)]
    for meaning in ("trade", "quote"):
        file.write_text(f'[LSE]\nnull_volume = "{meaning}"\n')
        settings = engine.settings.model_copy(update={"markets_file": file})
        changed = replace(engine, settings=settings)
        options = {"start": LAST, "end": LAST, "exchange": "LSE", "symbols": ("VOD.LSE",), "force": True}
        write(changed, build_job(changed, JobRequest(**options))[0])
        rows.append(count_rows_of_first_bars(engine))
    assert rows == [[], [6, 6, 6, 6], [6, 5, 6, 5]]


def test_daily_data_that_bars_contradict_never_judge_and_a_missing_volume_is_no_volume_of_0(engine: Engine) -> None:
    job = make_london_job(engine)
    vod, bp = (next(s for s in job.symbols if s.ticker.symbol == name) for name in ("VOD", "BP"))
    write(engine, make_london_job(engine, FIRST, "VOD.LSE"))
    record_days(engine, vod, job.window.sessions, volume=0.0)
    record_days(engine, bp, job.window.sessions, volume=0.0)
    compare_with_daily_data(engine, job)
    assert (read_comparison(engine).sessions, read_comparison(engine).untraded_with_bars) == (20, 20)
    assert engine.measure(job).counts[:, SlotState.NO_TRADE].sum() == 0
    record_days(engine, vod, job.window.sessions)
    record_days(engine, bp, job.window.sessions, volume=np.nan)
    compare_with_daily_data(engine, job)
    assert (read_comparison(engine).sessions, read_comparison(engine).untraded) == (20, 0)
    assert engine.measure(job).counts[:, SlotState.NO_TRADE].sum() == 0


def test_the_report_says_what_was_seen_and_proposes_settings_that_the_program_accepts(
    engine: Engine, tmp_path: Path
) -> None:
    before = report_market(engine, "LSE")
    assert before.settings == ""
    assert {item.seen for item in before.attributes} == {""}
    job = make_london_job(engine)
    write(engine, job)
    for symbol in job.symbols:
        record_days(engine, symbol, job.window.sessions)
    compare_with_daily_data(engine, job)
    report = report_market(engine, "LSE")
    proposed = tomllib.loads(report.settings)["LSE"]
    assert proposed == {"closing_seconds": 900, "null_volume": "quote"}  # no day had a volume of 0
    (closing, null_volume, published, daily) = report.attributes
    of_symbols = "(of 40 sessions of symbols since 2026-05-01)"
    assert closing.seen == f"+0:00: 40 without volume; +10:00: 40 with, 4,000 in all {of_symbols}"
    assert null_volume.seen.startswith("4 of 4,080 rows have no volume, 2 of them at moving prices")
    assert "19 of" not in daily.seen
    assert published.proposed is None
    assert report.as_dict()["proposed_settings"] == report.settings
    file = tmp_path / "markets.toml"
    file.write_text(report.settings)
    market = engine.settings.model_copy(update={"markets_file": file}).get_market("LSE")
    assert (market.closing_seconds, market.null_volume) == (900, NullVolume.QUOTE)
    assert market.assumed == {"askable_after", "daily_volume_tells"}


def test_a_single_compared_session_is_one_session() -> None:
    seen = SeenMarket(
        LearnedRows(0, None, None, 0, 0, 0, 0, 0, 0, 0, ()), DailyComparison(1, 2, ranged=2, closes=2, closes_equal=2)
    )
    daily = list_seen(get_profile("LSE"), seen)[-1]
    assert daily.seen.endswith("2 of 2 closes equal the daily close (1 session, 2 days of symbols)")


def test_publication_is_proposed_when_it_was_seen_and_every_proposal_can_be_read_back(tmp_path: Path) -> None:
    rows = LearnedRows(20, FIRST, LAST, 800, 80_000, 0, 10, 8_000, 0, 0, (ClosingRows(600, 790, 0, 0.0),))
    late = [SeenPublication(FIRST, timedelta(minutes=100 + at), timedelta(minutes=130 + at), 40) for at in range(20)]
    daily = DailyComparison(20, 800, 20, 20, ranged=800)
    attributes = list_seen(get_profile("LSE"), SeenMarket(rows, daily, late))
    text = format_settings(get_profile("LSE"), attributes)
    file = tmp_path / "markets.toml"
    file.write_text(text)
    market = correct_profile("LSE", None, file)
    assert market.askable_after == timedelta(hours=2)
    assert (market.closing_seconds, market.null_volume, market.daily_volume_tells) == (900, NullVolume.TRADE, False)
    assert market.assumed == set()
    assert "first seen published 1:40 h to 1:59 h after the close" in attributes[2].seen


def test_the_list_has_enabled_exchanges_with_their_symbols_hours_and_slots(engine: Engine) -> None:
    lines = list_markets(engine, only_enabled=True)
    assert [(line.market.exchange, line.is_enabled, line.symbols) for line in lines] == [
        ("US", True, 1),
        ("LSE", True, 2),
    ]
    assert (lines[1].hours, lines[1].slots) == ("08:00-16:30 London", 17)
    sydney = report_market(engine, "AU").line
    assert (sydney.is_enabled, sydney.hours, sydney.slots) == (False, "10:00-16:00 Sydney", 12)
    assert report_market(engine, "US").attributes == ()


@pytest.mark.parametrize(("moving", "expected"), [(0, False), (20, False), (21, True)])
def test_rows_that_move_without_volume_are_unclear_while_what_they_mean_is_assumed(
    database: Database, moving: int, expected: bool
) -> None:
    london, five_minutes = get_profile("LSE"), INTERVALS["5m"]
    with database.transaction() as connection:
        assert not has_unclear_rows(connection, london, five_minutes)
        connection.execute(
            "INSERT INTO backfill.learned_sessions (exchange, session_day, source_interval, symbols, source_rows,"
            " without_prices, null_flat, null_moving, off_grid, fractional)"
            " VALUES ('LSE', '2026-06-01', '5m', 20, 2000, 0, 500, %s, 0, 0)",
            [moving],
        )
        assert has_unclear_rows(connection, london, five_minutes) is expected
        set_by_a_person = replace(london, assumed=london.assumed - {"null_volume"})
        assert not has_unclear_rows(connection, set_by_a_person, five_minutes)
