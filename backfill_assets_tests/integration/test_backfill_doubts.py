"""The life of doubts: opened by an answer or the judge, ended by answers, days and the market; and what they mark."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from backfill_assets.backfill.engine import BackfillJob, Engine
from backfill_assets.backfill.fetch.batch_writer import FetchedRows, WriteContext, write_batch
from backfill_assets.backfill.findings import record_bars_outside_listing
from backfill_assets.backfill.job_request import JobRequest, build_job
from backfill_assets.backfill.planner import Plan
from backfill_assets.backfill.plausibility.judge import JudgeResult, judge_job
from backfill_assets.config.settings import Settings
from backfill_assets.market.calendar.slots import SlotGrid, build_slot_grid
from backfill_assets.market.calendar.tickers import parse_tickers
from backfill_assets.market.daily_prices import DailyPrices
from backfill_assets.market.gaps.retry_schedule import Recheck
from backfill_assets.market.gaps.slot_states import SlotState
from backfill_assets.market.plausibility.doubts import Doubt
from backfill_assets.market.plausibility.rules import Rule
from backfill_assets.market.vendor import IntradayRows
from backfill_assets.store.actions.splits import find_adjusted_symbols
from backfill_assets.store.bars.revisions import read_revisions
from backfill_assets.store.evidence.confirmed_lives import confirm_life
from backfill_assets.store.evidence.daily_data import ListingLife, record_listing_lives
from backfill_assets.store.evidence.daily_prices import record_daily_rows
from backfill_assets.store.evidence.doubts import Outcome, StoredDoubt, end_doubts, list_doubts, record_doubts
from backfill_assets.store.evidence.findings import BARS_OUTSIDE_LISTING, COMMON_PRICE_FACTOR, list_findings
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.symbols import add_symbols, list_symbols

MONDAY = date(2026, 6, 1)
OPEN = int(datetime(2026, 6, 1, 13, 30, tzinfo=UTC).timestamp())
REQUESTED_AT = datetime.now(UTC) + timedelta(days=1)  # after anything that is stored
SPIKE_ROW, SPIKE_SLOT = 20, 3
SPIKE = 99.0
FIGURES = {"row": "15:10 UTC", "volume": 100}  # of the row of the spike, as the rule of running totals has them


def build_rows(*, spike: float | None = None, phase: int = 0) -> IntradayRows:
    """Monday's 78 rows of 5 minutes around 10 dollars, and the print at the close; ``spike`` is one row's high."""
    steps = np.arange(79)
    close = 10 + 0.02 * np.sin(steps + phase)
    high = close + 0.01
    if spike:
        high[SPIKE_ROW] = spike
    volumes = np.r_[110.0, np.full(77, 100.0), np.nan]
    return IntradayRows(OPEN + 300 * steps, close, high, close - 0.01, close, volumes)


@pytest.fixture
def engine(database: Database, settings: Settings) -> Engine:
    """An engine over a store with one symbol and no bars."""
    with database.transaction() as connection:
        add_symbols(connection, parse_tickers(["AAPL"]))
    return Engine(database, settings)


def build_monday_job(engine: Engine) -> BackfillJob:
    return build_job(engine, JobRequest(start=MONDAY, end=MONDAY))[0]


def get_grid(engine: Engine) -> SlotGrid:
    job = build_monday_job(engine)
    return build_slot_grid(job.window.sessions, job.interval)


def answer(engine: Engine, *rows: IntradayRows, plan: Plan | None = None) -> Plan:
    """Store one answer for each symbol, as a run does; returns the plan that it was requested by."""
    job = build_monday_job(engine)
    plan = plan or engine.plan(replace(job, force=True), engine.measure(job))
    context = WriteContext(plan, job.source_interval, "30m", engine.settings.vendor_host, engine.settings.now())
    fetched = [FetchedRows(request, part) for request, part in zip(plan.requests, rows, strict=True)]
    with engine.database.transaction() as connection:
        write_batch(connection, context, fetched, REQUESTED_AT)
    return plan


def judge(engine: Engine) -> JudgeResult:
    return judge_job(engine, build_monday_job(engine))


def get_symbol_ids(engine: Engine) -> list[int]:
    with engine.database.transaction() as connection:
        return [symbol.symbol_id for symbol in list_symbols(connection, "US")]


def read_day(
    engine: Engine, *, low: float = 9.9, high: float = 10.1, volume: float = 1e6, symbol_id: int | None = None
) -> None:
    """Monday's daily row, read now; its adjusted close shows that no split took effect since."""
    ids = np.array([symbol_id or get_symbol_ids(engine)[0]], np.int64)
    prices = {name: np.array([value]) for name, value in {"open": 10.0, "high": high, "low": low}.items()}
    close = np.array([10.0])
    volumes = np.array([volume])
    rows = DailyPrices(
        symbol_id=ids,
        day=np.array([MONDAY], "datetime64[D]"),
        **prices,
        close=close,
        adjusted_close=close,
        volume=volumes,
        traded_volume=volumes.astype(np.int64),
    )
    with engine.database.transaction() as connection:
        record_daily_rows(connection, rows, engine.settings.now())


def list_all(engine: Engine) -> list[StoredDoubt]:
    grid = get_grid(engine)
    with engine.database.transaction() as connection:
        return list_doubts(connection, get_symbol_ids(engine), grid.interval, MONDAY, MONDAY, with_ended=True)


def list_outcomes(engine: Engine) -> list[tuple[Rule, Outcome | None, bool]]:
    return [(doubt.rule, doubt.outcome, doubt.marks_bar) for doubt in list_all(engine)]


def open_doubt(engine: Engine, rule: Rule = Rule.VOLUME_RUNNING_TOTAL, *, figures: Any = None, **options: Any) -> None:
    """Open a doubt about the bar of the spike, as rules do that find it."""
    stamp = OPEN + 300 * SPIKE_ROW
    doubt = Doubt(rule, get_symbol_ids(engine)[0], 0, stamp, stamp, figures or FIGURES)
    values = {"now": engine.settings.now(), "from_rows": True, **options}
    with engine.database.transaction() as connection:
        record_doubts(connection, [doubt], grid=get_grid(engine), **values)


def end(engine: Engine, outcome: Outcome, *, marks_bar: bool) -> None:
    ids = [doubt.doubt_id for doubt in list_all(engine)]
    with engine.database.transaction() as connection:
        end_doubts(connection, ids, outcome, "because", engine.settings.now(), marks_bar=marks_bar)


def measure_suspect(engine: Engine) -> list[tuple[int, Recheck]]:
    """The suspect slots of Monday, and how often each is requested again."""
    coverage = engine.measure(build_monday_job(engine))
    slots = coverage.open_slots
    assert slots.recheck is not None
    is_suspect = coverage.slot_states.state == SlotState.SUSPECT
    return [
        (ordinal, Recheck(recheck))
        for ordinal, recheck in zip(slots.ordinal[is_suspect].tolist(), slots.recheck[is_suspect].tolist(), strict=True)
    ]


def query(engine: Engine, statement: str) -> list[tuple[Any, ...]]:
    with engine.database.transaction() as connection:
        return connection.execute(statement.encode()).fetchall()


def test_a_spike_in_the_rows_makes_its_bar_suspect_until_the_day_bears_it_out(engine: Engine) -> None:
    answer(engine, build_rows(spike=SPIKE))
    (doubt,) = list_all(engine)
    assert (doubt.rule, doubt.is_open, doubt.from_rows, doubt.repeats) == (Rule.PRICE_SPIKE, True, True, 0)
    assert measure_suspect(engine) == [(SPIKE_SLOT, Recheck.DAILY)]
    assert query(engine, "SELECT max(high_price) FROM market_data") == [(SPIKE,)]  # the price stays

    judge(engine)
    assert list_outcomes(engine) == [(Rule.PRICE_SPIKE, None, True)]  # nothing is known of the day
    read_day(engine, high=100.0)
    assert judge(engine).ended == 1
    assert list_outcomes(engine) == [(Rule.PRICE_SPIKE, Outcome.CONFIRMED, False)]
    assert measure_suspect(engine) == []


def test_a_corrected_answer_mends_a_doubt(engine: Engine) -> None:
    plan = answer(engine, build_rows(spike=SPIKE))
    answer(engine, build_rows(), plan=plan)
    assert list_outcomes(engine) == [(Rule.PRICE_SPIKE, Outcome.MENDED, False)]
    assert measure_suspect(engine) == []
    assert query(engine, "SELECT high_price FROM backfill.revisions") == [(SPIKE,)]
    answer(engine, build_rows(spike=SPIKE), plan=plan)  # and wrong again
    assert list_outcomes(engine) == [(Rule.PRICE_SPIKE, Outcome.MENDED, False), (Rule.PRICE_SPIKE, None, True)]


def test_a_doubt_of_a_session_before_the_window_ends_when_a_request_reads_it_again(engine: Engine) -> None:
    """The window of a job moves on, and requests read earlier sessions again."""
    plan = answer(engine, build_rows(spike=SPIKE))
    read_day(engine)
    judge(engine)
    assert (Rule.PRICE_OUTSIDE_DAY, None, True) in list_outcomes(engine)
    answer(engine, build_rows(), plan=plan)
    later, _ = build_job(engine, JobRequest(start=MONDAY + timedelta(days=1), end=MONDAY + timedelta(days=1)))
    judge_job(engine, later)
    assert {outcome for _, outcome, _ in list_outcomes(engine)} == {Outcome.MENDED}
    assert measure_suspect(engine) == []


def test_the_same_values_end_a_doubt_only_of_a_rule_that_needs_no_other_session(engine: Engine) -> None:
    """An answer may lack the sessions beside: what it does not show is not thereby right."""
    plan = answer(engine, build_rows())
    open_doubt(engine, Rule.VOLUME_RUNNING_TOTAL)
    open_doubt(engine, Rule.SCALE_BREAK)
    answer(engine, build_rows(), plan=plan)
    assert sorted((doubt.rule, doubt.outcome, doubt.repeats) for doubt in list_all(engine)) == [
        (Rule.SCALE_BREAK, None, 1),
        (Rule.VOLUME_RUNNING_TOTAL, Outcome.CONFIRMED, 0),
    ]


def test_a_bar_that_the_answer_does_not_replace_keeps_its_doubt(engine: Engine) -> None:
    plan = answer(engine, build_rows(spike=SPIKE))
    rows = build_rows()
    answer(engine, rows.filter_rows(np.arange(79) != SPIKE_ROW), plan=plan)  # fewer rows: the bar is protected
    answer(engine, rows.filter_rows(np.arange(79) < SPIKE_ROW - 5), plan=plan)  # ends before the bar
    answer(engine, rows.filter_rows(np.arange(79) < 0), plan=plan)
    assert [(doubt.is_open, doubt.repeats) for doubt in list_all(engine)] == [(True, 0)]


def test_a_doubt_about_a_bar_that_is_not_replaced_is_not_opened(engine: Engine) -> None:
    plan = answer(engine, build_rows())
    rows = build_rows(spike=SPIKE)
    answer(engine, rows.filter_rows(np.arange(79) != SPIKE_ROW + 1), plan=plan)
    assert list_all(engine) == []


def test_values_that_the_vendor_repeats_stand_until_they_change(engine: Engine) -> None:
    plan = answer(engine, build_rows(spike=SPIKE))
    for _ in range(4):
        answer(engine, build_rows(spike=SPIKE), plan=plan)
    judge(engine)
    assert [(doubt.is_open, doubt.repeats) for doubt in list_all(engine)] == [(True, 4)]
    answer(engine, build_rows(spike=SPIKE), plan=plan)
    judge(engine)
    assert [(doubt.is_open, doubt.repeats) for doubt in list_all(engine)] == [(True, 5)]  # all on one day
    query(engine, "UPDATE backfill.doubts SET opened_at = opened_at - interval '5 days' RETURNING 1")
    answer(engine, build_rows(spike=SPIKE), plan=plan)
    judge(engine)
    assert list_outcomes(engine) == [(Rule.PRICE_SPIKE, Outcome.STANDS, True)]
    assert measure_suspect(engine) == [(SPIKE_SLOT, Recheck.WEEKLY)]

    answer(engine, build_rows(spike=SPIKE + 1), plan=plan)  # other values: open again, and counted anew
    assert [(doubt.outcome, doubt.repeats) for doubt in list_all(engine)] == [(None, 0)]


def test_what_a_person_decided_against_a_bar_holds_for_its_values_and_costs_no_request(engine: Engine) -> None:
    plan = answer(engine, build_rows(spike=SPIKE))
    end(engine, Outcome.DECIDED, marks_bar=True)
    assert measure_suspect(engine) == [(SPIKE_SLOT, Recheck.NEVER)]
    job = build_monday_job(engine)
    assert engine.plan(job, engine.measure(job)).requests == ()

    answer(engine, build_rows(spike=SPIKE), plan=plan)
    read_day(engine, high=100.0)
    judge(engine)
    assert list_outcomes(engine) == [(Rule.PRICE_SPIKE, Outcome.DECIDED, True)]
    answer(engine, build_rows(), plan=plan)
    assert list_outcomes(engine) == [(Rule.PRICE_SPIKE, Outcome.MENDED, False)]


def test_an_audit_costs_no_request_and_leaves_bars_of_others_alone(engine: Engine) -> None:
    answer(engine, build_rows())
    open_doubt(engine, from_rows=False, from_audit=True)
    assert measure_suspect(engine) == [(SPIKE_SLOT, Recheck.NEVER)]
    query_count = "UPDATE market_data SET close_price = close_price + 0.001 RETURNING 1"
    assert len(query(engine, query_count)) == 13  # by another program: they are no longer ours
    assert measure_suspect(engine) == []
    assert int(engine.measure(build_monday_job(engine)).counts[0, SlotState.UNVERIFIED]) == 13
    open_doubt(engine, Rule.FROZEN)  # only an audit doubts them
    assert [doubt.from_audit for doubt in list_all(engine)] == [True]


def test_a_doubt_about_a_bar_that_another_program_changed_ends(engine: Engine) -> None:
    answer(engine, build_rows(spike=SPIKE))
    query(engine, "UPDATE market_data SET close_price = close_price + 0.001 RETURNING 1")
    assert judge(engine).ended == 1
    assert list_outcomes(engine) == [(Rule.PRICE_SPIKE, Outcome.MENDED, False)]


def test_a_volume_that_a_person_decided_for_is_kept(engine: Engine) -> None:
    rows = replace(build_rows(), volume=build_rows().volume * 1000)  # blocks of shares would be usual in a thin name
    totals = np.cumsum(np.nan_to_num(rows.volume))
    is_total = np.isin(np.arange(79), (30, 50))
    wrong = replace(rows, volume=np.where(is_total, totals, rows.volume))
    plan = answer(engine, wrong)
    assert {doubt.withheld_volume for doubt in list_all(engine)} == {3_110_000, 5_110_000}
    withheld_sum = query(engine, "SELECT sum(volume) FROM market_data")
    end(engine, Outcome.DECIDED, marks_bar=False)
    answer(engine, wrong, plan=plan)
    assert list_outcomes(engine) == [(Rule.VOLUME_RUNNING_TOTAL, Outcome.DECIDED, False)] * 2
    assert (withheld_sum, query(engine, "SELECT sum(volume) FROM market_data")) == ([(7_610_000,)], [(15_830_000,)])


def test_a_volume_that_the_day_disproves_is_withheld_from_the_stored_bar(engine: Engine) -> None:
    answer(engine, build_rows())
    open_doubt(engine, figures=FIGURES)
    open_doubt(engine, Rule.FROZEN, from_audit=True)  # about the same bar: still about its present values
    judge(engine)
    assert query(engine, "SELECT min(volume), sum(volume) FROM market_data") == [(600, 7810)]

    read_day(engine, volume=7760)
    judge(engine)
    assert query(engine, "SELECT volume, source_rows FROM market_data ORDER BY volume LIMIT 1") == [(500, 5)]
    assert query(engine, "SELECT volume, source_rows FROM backfill.revisions") == [(600, 6)]
    assert sorted(doubt.withheld_volume for doubt in list_all(engine)) == [0, 100]
    assert measure_suspect(engine) == [(SPIKE_SLOT, Recheck.DAILY)]
    query(engine, "UPDATE backfill.session_evidence SET judged_as = NULL RETURNING 1")
    judge(engine)
    assert query(engine, "SELECT sum(volume) FROM market_data") == [(7710,)]  # once
    assert all(doubt.is_open for doubt in list_all(engine))
    with engine.database.transaction() as connection:
        symbols = list_symbols(connection, "US")
        assert read_revisions(connection, symbols, get_grid(engine), 9) == (0, [])  # the vendor corrected nothing


def test_a_withheld_volume_is_put_back_when_the_day_is_revised(engine: Engine) -> None:
    answer(engine, build_rows())
    open_doubt(engine, figures=FIGURES)
    read_day(engine, volume=7760)
    judge(engine)
    assert query(engine, "SELECT sum(volume) FROM market_data") == [(7710,)]
    read_day(engine, volume=7900)
    judge(engine)
    assert query(engine, "SELECT sum(volume), sum(source_rows) FROM market_data") == [(7810, 78)]
    (doubt,) = list_all(engine)
    assert (doubt.is_open, doubt.withheld_volume, doubt.figures) == (True, 0, FIGURES)
    read_day(engine, volume=7760)
    judge(engine)
    assert query(engine, "SELECT sum(volume) FROM market_data") == [(7710,)]
    assert query(engine, "SELECT volume FROM backfill.revisions ORDER BY replaced_at") == [(600,), (500,), (600,)]


def test_a_volume_that_the_day_disproved_as_the_bar_was_built_is_put_back_with_its_row(engine: Engine) -> None:
    rows = replace(build_rows(), volume=build_rows().volume * 1000)
    totals = np.cumsum(np.nan_to_num(rows.volume))
    wrong = replace(rows, volume=np.where(np.arange(79) == 50, totals, rows.volume))
    read_day(engine, volume=8e6)
    plan = answer(engine, wrong)
    (doubt,) = list_all(engine)
    assert (doubt.withheld_volume, doubt.figures["day_volume"]) == (5_110_000, 8_000_000)
    assert query(engine, "SELECT sum(volume) FROM market_data") == [(7_710_000,)]
    read_day(engine, volume=13e6)
    judge(engine)
    assert query(engine, "SELECT sum(volume), sum(source_rows) FROM market_data") == [(12_820_000, 78)]
    assert query(engine, "SELECT superseded_intervals FROM backfill.rejects") == [(["30m"],)]
    answer(engine, wrong, plan=plan)  # the same bar
    assert [(d.withheld_volume, d.is_open, d.repeats) for d in list_all(engine)] == [(0, True, 1)]


def test_prices_outside_the_day_are_doubted_and_judged_again_when_the_day_is_revised(engine: Engine) -> None:
    answer(engine, build_rows(spike=10.3))
    read_day(engine)
    assert judge(engine) == JudgeResult(sessions=1, opened=1)
    assert list_outcomes(engine) == [(Rule.PRICE_OUTSIDE_DAY, None, True)]
    assert judge(engine) == JudgeResult()  # nothing changed
    read_day(engine)
    assert judge(engine) == JudgeResult()  # read again, and the same

    read_day(engine, high=10.3)
    assert judge(engine) == JudgeResult(sessions=1, ended=1)
    assert list_outcomes(engine) == [(Rule.PRICE_OUTSIDE_DAY, Outcome.CONFIRMED, False)]
    read_day(engine)
    assert judge(engine).opened == 1  # the day that bore the values out no longer does


def test_two_processes_that_judge_at_once_double_nothing(engine: Engine) -> None:
    answer(engine, build_rows(spike=10.3))
    open_doubt(engine, figures=FIGURES)
    read_day(engine, volume=7760)
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: judge(engine), range(4)))
    assert sum(results, JudgeResult()) == JudgeResult(sessions=1, opened=1)
    assert query(engine, "SELECT sum(volume) FROM market_data") == [(7710,)]
    assert query(engine, "SELECT count(*) FROM backfill.revisions") == [(1,)]


def test_a_spike_that_the_market_shares_is_confirmed(engine: Engine) -> None:
    with engine.database.transaction() as connection:
        add_symbols(connection, parse_tickers([f"S{number}" for number in range(5)]))
    answer(engine, build_rows(), *(build_rows(spike=20.0 + number) for number in range(5)))
    assert list_outcomes(engine) == [(Rule.PRICE_SPIKE, None, True)] * 5
    assert judge(engine).ended == 5
    assert list_outcomes(engine) == [(Rule.PRICE_SPIKE, Outcome.CONFIRMED, False)] * 5


def test_one_factor_for_all_days_is_one_finding(engine: Engine) -> None:
    job, _ = build_job(engine, JobRequest(start=date(2026, 5, 26), end=MONDAY))
    plan = engine.plan(job, engine.measure(job))
    days = [session.day for session in job.window.sessions]
    opens = [int(session.open.timestamp()) for session in job.window.sessions]
    shifted = [build_rows(phase=100 * day) for day in range(len(days))]  # no session repeats another
    week = [replace(rows, timestamp=rows.timestamp - OPEN + at) for rows, at in zip(shifted, opens, strict=True)]
    names = ("timestamp", "open", "high", "low", "close", "volume")
    answer(engine, IntradayRows(*(np.concatenate([getattr(part, name) for part in week]) for name in names)), plan=plan)
    record_week(engine, days, 5.0)
    assert judge_job(engine, job).opened == 0
    assert [(f.kind, f.subject) for f in list_open_findings(engine)] == [(COMMON_PRICE_FACTOR, "AAPL.US")]
    record_week(engine, days, 10.0)
    judge_job(engine, job)
    assert list_open_findings(engine) == []


def record_week(engine: Engine, days: Sequence[date], price: float) -> None:
    count = len(days)
    prices, volume = np.full(count, price), np.full(count, 1e6)
    ids = np.full(count, get_symbol_ids(engine)[0], np.int64)
    stamps = np.array(days, "datetime64[D]")
    rows = DailyPrices(
        ids, stamps, prices, prices * 1.005, prices * 0.995, prices, prices, volume, volume.astype(np.int64)
    )
    with engine.database.transaction() as connection:
        record_daily_rows(connection, rows, engine.settings.now())


def list_open_findings(engine: Engine) -> list[Any]:
    with engine.database.transaction() as connection:
        return list_findings(connection)


def record_life(engine: Engine, first_day: date) -> None:
    life = ListingLife(get_symbol_ids(engine)[0], first_day, date(2026, 6, 2), has_ended=False)
    with engine.database.transaction() as connection:
        record_listing_lives(connection, [life], engine.settings.now())


def test_bars_outside_a_listing_that_becomes_known_later_are_doubted_and_found(engine: Engine) -> None:
    answer(engine, build_rows())
    assert judge(engine) == JudgeResult(sessions=1)
    record_life(engine, date(2026, 5, 1))
    assert judge(engine) == JudgeResult()  # Monday is inside
    record_life(engine, date(2026, 6, 2))
    assert judge(engine) == JudgeResult(sessions=1, opened=1)
    assert list_outcomes(engine) == [(Rule.OUTSIDE_LISTING, None, True)]
    record_bars_outside_listing(engine.database, engine.settings.now())
    (finding,) = list_open_findings(engine)
    assert (finding.kind, finding.subject) == (BARS_OUTSIDE_LISTING, "AAPL.US")
    assert finding.detail.startswith(
        "bars of 1 session from 2026-06-01 to 2026-06-01 lie outside its listing (from 2026-06-02)"
    )

    record_life(engine, date(2026, 5, 1))
    judge(engine)
    record_bars_outside_listing(engine.database, engine.settings.now())
    assert list_outcomes(engine) == [(Rule.OUTSIDE_LISTING, Outcome.CONFIRMED, False)]
    assert list_open_findings(engine) == []


def test_rows_outside_a_listing_that_a_person_confirmed_feed_no_bar(engine: Engine) -> None:
    record_life(engine, date(2026, 6, 2))
    with engine.database.transaction() as connection:
        (symbol_id,) = [symbol.symbol_id for symbol in list_symbols(connection, "US")]
        confirm_life(connection, symbol_id, "me", engine.settings.now())
    plan = answer(engine, build_rows())
    assert query(engine, "SELECT count(*) FROM market_data") == [(0,)]
    assert query(engine, "SELECT reason, count(*) FROM backfill.rejects GROUP BY 1") == [("outside_listing", 78)]
    coverage = engine.measure(build_monday_job(engine))
    assert int(coverage.counts[0, SlotState.MISSING]) == 0  # nothing is expected there
    job = build_monday_job(engine)
    assert engine.plan(job, coverage).requests == ()

    record_life(engine, date(2026, 6, 1))  # other days than those that were confirmed
    answer(engine, build_rows(), plan=plan)
    assert query(engine, "SELECT count(*) FROM market_data") == [(13,)]
    assert measure_suspect(engine) == []


def test_daily_figures_far_beyond_any_price_do_not_stop_the_judge(engine: Engine) -> None:
    answer(engine, build_rows())
    read_day(engine)
    query(engine, "UPDATE backfill.daily_prices SET close_price = 1e-300, adjusted_close = 1e300 RETURNING 1")
    with engine.database.transaction() as connection:
        assert find_adjusted_symbols(connection, get_symbol_ids(engine), (MONDAY, MONDAY), REQUESTED_AT)
    judge(engine)


def test_a_spike_of_the_symbols_of_a_run_is_not_one_of_the_market(engine: Engine) -> None:
    with engine.database.transaction() as connection:
        add_symbols(connection, parse_tickers([f"S{number}" for number in range(5)]))
    answer(engine, build_rows(), *(build_rows(spike=20.0 + number) for number in range(5)))
    with engine.database.transaction() as connection:
        others = [f"X{number}" for number in range(600)]
        add_symbols(connection, parse_tickers(others))
        ids = [s.symbol_id for s in list_symbols(connection, "US") if s.ticker.symbol in others]
        connection.execute(
            "INSERT INTO market_data (symbol_id, interval_type, timestamp, open_price, high_price, low_price,"
            " close_price, volume) SELECT t.id, '30m', m.timestamp, 10, 10, 10, 10, 100"
            " FROM unnest(%s::int[]) AS t (id), (SELECT DISTINCT timestamp FROM market_data) m",
            (ids,),
        )
    job = build_monday_job(engine)
    named = tuple(symbol for symbol in job.symbols if symbol.ticker.symbol.startswith("S"))
    assert judge_job(engine, replace(job, symbols=named)).ended == 0  # five of 606 names are no part of the market


def test_sessions_after_a_window_are_judged_with_it(engine: Engine) -> None:
    """Tuesday is stored first; the days before come later, and Tuesday repeats Monday."""
    tuesday = date(2026, 6, 2)
    rows = build_rows()
    names = ("open", "high", "low", "close")
    drift = 1 + 1e-3 * np.arange(79)  # at least ten different prices
    rows = replace(rows, **{name: np.round(getattr(rows, name) * drift, 2) for name in names})
    job, _ = build_job(engine, JobRequest(start=tuesday, end=tuesday))
    plan = engine.plan(job, engine.measure(job))
    answer(engine, replace(rows, timestamp=rows.timestamp + 86_400), plan=plan)
    assert judge_job(engine, job) == JudgeResult(sessions=1)
    answer(engine, rows)
    assert judge(engine).opened == 1
    with engine.database.transaction() as connection:
        (doubt,) = list_doubts(connection, get_symbol_ids(engine), job.interval, MONDAY, tuesday)
    assert (doubt.rule, doubt.session_day) == (Rule.SESSION_REPEATED, tuesday)
