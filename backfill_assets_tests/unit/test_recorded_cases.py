"""Faults of market data that were recorded with figures: what the rules do with each, by ticker and day.

Splits, spin-offs, renames and recycled tickers have recorded cases of their own (``test_market_split_proof``,
``test_market_spinoffs``, ``test_adjusted_bars_recorded``, ``test_renames``), and so have running totals.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, time, timedelta
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from backfill_assets.backfill.finding_ends import find_disproved_drift
from backfill_assets.market.actions.listed_actions import ListedSplit, merge_dividends, merge_splits
from backfill_assets.market.bars.calendar_drift import find_days_traded_outside
from backfill_assets.market.calendar.intervals import INTERVALS
from backfill_assets.market.calendar.sessions import (
    Session,
    find_previous_session_day,
    list_sessions,
)
from backfill_assets.market.calendar.slots import build_slot_grid
from backfill_assets.market.columns import Columns
from backfill_assets.market.exchanges.profile import CalendarOverrides
from backfill_assets.market.exchanges.registry import US, get_profile
from backfill_assets.market.gaps.daily_rows import find_skipped_days, skips_days_often
from backfill_assets.market.gaps.evidence import DayTrading, HaltedSlots
from backfill_assets.market.gaps.halts import HaltFacts, HaltKind, HaltState, find_enclosed, judge_halt
from backfill_assets.market.gaps.slot_states import SlotState, classify_slots
from backfill_assets.market.plausibility.day_figures import DayFigures
from backfill_assets.market.plausibility.day_volumes import find_volumes_exceeding_day
from backfill_assets.market.plausibility.other_feed import FeedBar, Verdict, has_like_prices, judge_bar
from backfill_assets.market.plausibility.price_doubts import find_price_doubts
from backfill_assets.market.plausibility.repeated_sessions import find_repeated_sessions
from backfill_assets.market.plausibility.rules import Rule
from backfill_assets.market.plausibility.session_panel import SessionPanel
from backfill_assets.market.vendor_actions import DividendRow, SplitRow
from backfill_assets_tests.frames import build_bars
from backfill_assets_tests.unit.gap_builders import (
    RULES,
    Entry,
    build_evidence,
    build_history,
    build_open_slots,
    classify,
)
from backfill_assets_tests.unit.market_builders import (
    NEW_YORK,
    build_grid,
    find_sessions,
    make_flat_row,
    make_row,
    make_row_table,
    make_session_rows,
    parse_epoch,
    parse_new_york,
)
from backfill_assets_tests.unit.session_panels import (
    build_days,
    build_full_panel,
    build_session_grid,
    change_days,
    change_panel,
    describe,
    judge_all,
)
from backfill_assets_tests.unit.simulated_panels import KINDS, aggregate_bars, change_prices, simulate_panel

PRICES = ("open", "high", "low", "close")
FIVE, ONE = INTERVALS["5m"], INTERVALS["1m"]

# Closes carried forward: USAS.PA, WLSC.PA and GAGH.PA, 2026-08-19.
# These were daily files of Paris. A session of bars that repeats the one before is judged the same way.
CARRIED_DAY, DAY_BEFORE = date(2026, 8, 19), date(2026, 8, 18)
REPEATED_CLOSE, TRUE_CLOSE = 5.007, 4.993


def carry_closes_forward() -> SessionPanel:
    """Three names near 5, in thousandths, whose closes of 2026-08-19 are those of the day before; volumes differ."""
    grid = build_session_grid("2026-08-03", str(CARRIED_DAY))
    walk = build_full_panel(grid, symbols=3, price=5000.0)
    clean = change_panel(walk, **{name: np.round(getattr(walk, name) / 1000, 3) for name in PRICES})
    closes, sessions = clean.close.copy(), len(grid.sessions)
    for last in range(sessions - 1, 3 * sessions, sessions):
        closes[last - 1, -1] = REPEATED_CLOSE
        closes[last] = closes[last - 1]
    return change_panel(clean, close=closes)


def test_closes_carried_forward_on_2026_08_19_are_doubted_whatever_their_volumes() -> None:
    panel = carry_closes_forward()
    doubts = find_repeated_sessions(panel, judge_all(panel))

    assert [(doubt.rule, doubt.symbol_id) for doubt in doubts] == [(Rule.SESSION_REPEATED, name) for name in (1, 2, 3)]
    for doubt in doubts:
        figures = describe(doubt.figures, "repeated_session", "sessions_back", "compared", "equal_rows")
        assert figures == [str(DAY_BEFORE), 1, "closes", 13]


def test_a_true_close_three_permille_from_the_repeated_one_does_not_confirm_it() -> None:
    repeated = FeedBar(REPEATED_CLOSE, REPEATED_CLOSE, REPEATED_CLOSE, REPEATED_CLOSE, 812)
    true = FeedBar(TRUE_CLOSE, TRUE_CLOSE, TRUE_CLOSE, TRUE_CLOSE, 790)
    assert has_like_prices(repeated, true)  # near enough for two venues of one second
    verdict = judge_bar(Rule.SESSION_REPEATED, repeated, true, other_is_consolidated=True, fires=True)
    assert verdict is Verdict.TAKEN


def test_both_days_are_sessions_of_paris() -> None:
    assert [one.day for one in list_sessions(get_profile("PA"), DAY_BEFORE, CARRIED_DAY)] == [DAY_BEFORE, CARRIED_DAY]


# ALKS, 2020-10-09: no trade in regular hours; the first trade was at 17:40, and the day's volume is above zero.
ALKS_DAY = "2020-10-09"
ALKS_TRADE = f"{ALKS_DAY} 17:40"
ALKS_SLOTS = [(0, ordinal, SlotState.MISSING) for ordinal in range(13)]


def classify_alks(halted: list[int]) -> list[SlotState]:
    """The states three days later, after an answer without any row in regular hours."""
    grid = build_grid(ALKS_DAY)
    keys = grid.get_slot_keys(np.zeros(len(halted), np.int64), np.array(halted, np.int64))
    halts = HaltedSlots(keys, np.ones(len(halted), bool), np.full(len(halted), np.inf))
    asked = Entry(requested_at=parse_epoch("2020-10-12 12:00"), published=True, not_returned=range(13))
    found = classify_slots(
        build_open_slots(ALKS_SLOTS),
        build_history([asked]),
        replace(build_evidence(1, grid, traded=[[DayTrading.TRADED]]), halts=halts),
        grid,
        RULES,
        parse_new_york("2020-10-12 13:00"),
    )
    return [SlotState(int(state)) for state in found.state]


def test_alks_2020_10_09_has_no_regular_bar_from_its_trade_at_17_40() -> None:
    built = build_bars(make_row_table([make_row(ALKS_TRADE, 300)]), build_grid(ALKS_DAY), ONE)
    assert len(built.bars) == len(built.rejects) == 0
    assert built.ignored_rows["extended_hours"] == 1


def test_alks_2020_10_09_is_no_trade_once_the_rows_hold_the_whole_volume_of_the_day() -> None:
    facts = HaltFacts(HaltKind.OUTSIDE_HOURS, tickers_seen=4, tickers_lacking=0, daily_volume=300)
    assert judge_halt(replace(facts, volume_share=1.0)) is HaltState.FOUND
    assert judge_halt(replace(facts, volume_share=0.0)) is HaltState.REFUTED  # traded, and the feed has none of it
    assert judge_halt(facts) is HaltState.PROPOSED

    assert set(classify_alks([*range(13)])) == {SlotState.NO_TRADE}
    assert set(classify_alks([])) == {SlotState.MISSING}  # a volume above zero alone proves no day without a trade


# SBNY, 2023-03-13 and 2023-03-14: halted all day.
SBNY_DAYS = ("2023-03-13", "2023-03-14")


def classify_sbny(traded: DayTrading) -> tuple[set[SlotState], bool]:
    """The states of both days and whether any slot is due again, two days later."""
    grid = build_grid(*SBNY_DAYS)
    slots = [(0, ordinal, SlotState.MISSING) for ordinal in range(26)]
    found = classify(slots, [], parse_new_york("2023-03-16 12:00"), grid, tickers=1, traded=[[traded, traded]])
    return {SlotState(int(state)) for state in found.state}, bool(found.due.any())


@pytest.mark.parametrize("proof", [DayTrading.NO_VOLUME, DayTrading.NOT_IN_MARKET_FILE])
def test_sbny_2023_03_13_and_14_are_no_trade_where_the_daily_data_say_so(proof: DayTrading) -> None:
    assert classify_sbny(proof) == ({SlotState.NO_TRADE}, False)


def test_sbny_2023_03_13_and_14_are_missing_while_nothing_is_known_of_the_days() -> None:
    assert classify_sbny(DayTrading.UNKNOWN) == ({SlotState.MISSING}, True)
    assert classify_sbny(DayTrading.TRADED) == ({SlotState.MISSING}, True)


def test_two_days_without_a_daily_row_are_no_habit_of_sbny() -> None:
    """So the market's file of the day is asked, and no row alone proves nothing."""
    days = [session.day for session in list_sessions(US, date(2022, 6, 1), date(2023, 3, 31))]
    rows = {day for day in days if str(day) not in SBNY_DAYS}
    assert [str(days[position]) for position in find_skipped_days(rows, days)] == [*SBNY_DAYS]
    assert not skips_days_often(rows, days)


def test_the_slots_of_sbny_lie_between_trades_of_both_sides_and_are_a_halt_in_a_market_that_traded() -> None:
    grid = build_grid("2023-03-10", *SBNY_DAYS, "2023-03-15")
    trades = np.array([parse_epoch("2023-03-10 15:59"), parse_epoch("2023-03-15 09:30")])
    enclosed = find_enclosed(grid.starts, grid.ends, trades)
    assert set(grid.session_index[enclosed].tolist()) == {1, 2}
    assert enclosed.sum() == 26
    assert judge_halt(HaltFacts(HaltKind.HALT, tickers_seen=500, tickers_lacking=1)) is HaltState.FOUND
    assert judge_halt(HaltFacts(HaltKind.HALT, 500, 1, daily_volume=0.0)) is HaltState.FOUND


# A low near zero: in an hour of a currency pair, and in a row of 5m. Currencies are not read; hours are judged alike.
@pytest.mark.parametrize("seconds", [300, 1800, 3600])
def test_a_low_near_zero_is_doubted_and_its_figures_are_kept(seconds: int) -> None:
    rows, days = simulate_panel(KINDS["liquid"], np.random.default_rng(2), 1, 3)
    columns = rows.close.shape[1] // 12 * 12
    rows = replace(rows, **{name: getattr(rows, name)[:, :columns] for name in (*PRICES, "volume")})
    panel = rows if seconds == 300 else aggregate_bars(rows, seconds)
    wrong = change_prices(panel, 1, 3, low=0.0001)
    for known in (DayFigures.create_unknown(3), days):
        (doubt,) = find_price_doubts(wrong, known, judge_all(panel))
        assert (doubt.rule, doubt.first_stamp) == (Rule.PRICE_SPIKE, panel.get_stamp(1, 3))
        assert describe(doubt.figures, "direction", "price", "close") == ["down", 0.0001, panel.close[1, 3]]
    true = FeedBar(*(float(getattr(panel, name)[1, 3]) for name in (*PRICES, "volume")))
    verdict = judge_bar(Rule.PRICE_SPIKE, replace(true, low=0.0001), true, other_is_consolidated=True, fires=True)
    assert verdict is Verdict.TAKEN


def test_a_low_of_zero_itself_is_rejected_and_the_row_is_kept_as_evidence() -> None:
    built = build_bars(make_row_table([make_row("2026-06-01 10:05", low=0.0)]), build_grid("2026-06-01"), FIVE)
    assert len(built.bars) == 0
    assert built.rejects[["reason", "low", "close"]].to_numpy().tolist() == [["price_not_positive", 0.0, 10.5]]


# Two feeds: 5m is of one venue and has windows without values in liquid names, 1m has every minute.
AAPL_DAYS = list_sessions(US, date(2026, 6, 1), date(2026, 6, 16))
SPHB_DAYS = list_sessions(US, date(2024, 6, 3), date(2026, 5, 29))[:496]
AAPL_DAY = str(AAPL_DAYS[0].day)


def make_rows_with_nulls(sessions: Sequence[Session], nulls: int) -> pd.DataFrame:
    """Full sessions of 5m rows; every fourth half hour, from the first on, is without values."""
    counts = [(session.close - session.open) // timedelta(minutes=5) for session in sessions]
    of_days = [make_session_rows(str(s.day), [100.0] * count) for s, count in zip(sessions, counts, strict=True)]
    rows = pd.concat(of_days, ignore_index=True)
    windows = np.flatnonzero(np.arange(len(rows)) // 6 % 4 == 0)
    rows.loc[windows[:nulls], [*PRICES, "volume"]] = np.nan
    return rows


@pytest.mark.parametrize(
    ("sessions", "count", "nulls"),
    [pytest.param(AAPL_DAYS, 12, 92, id="AAPL"), pytest.param(SPHB_DAYS, 496, 3284, id="SPHB")],
)
def test_rows_without_values_become_no_bars_and_no_rejects(sessions: Sequence[Session], count: int, nulls: int) -> None:
    assert len(sessions) == count
    grid = build_slot_grid(sessions, INTERVALS["30m"])
    built = build_bars(make_rows_with_nulls(sessions, nulls), grid, FIVE)
    assert (built.ignored_rows["null"], len(built.rejects)) == (nulls, 0)
    assert len(built.bars) == grid.size - nulls // 6
    assert built.bars["source_rows"].value_counts().to_dict() == {6: len(built.bars) - 1, 6 - nulls % 6: 1}
    assert (built.bars["volume"] == 100 * built.bars["source_rows"]).all()  # nothing is filled in


def test_a_window_without_values_in_aapl_is_missing_and_no_halt_because_1m_has_every_minute() -> None:
    day, noon = AAPL_DAY, 5
    grid = build_grid(day)
    rows = make_session_rows(day, [100.0] * 78)
    rows.loc[30:35, [*PRICES, "volume"]] = np.nan
    assert noon not in build_bars(rows, grid, FIVE).bars["ordinal"].tolist()
    asked = Entry(requested_at=parse_epoch(f"{day} 19:00"), published=True, not_returned=[noon])
    found = classify([(0, noon, SlotState.MISSING)], [asked], parse_new_york(f"{day} 20:00"), grid)
    assert SlotState(int(found.state[0])) is SlotState.MISSING

    five_minutes = rows["timestamp"][rows["volume"].notna()].to_numpy(np.int64)
    every_minute = make_session_rows(day, [100.0] * 390, "1m")
    assert np.flatnonzero(find_enclosed(grid.starts, grid.ends, five_minutes)).tolist() == [noon]
    assert not find_enclosed(grid.starts, grid.ends, every_minute["timestamp"].to_numpy(np.int64)).any()
    bars = build_bars(every_minute, grid, ONE).bars
    assert bars.loc[bars["ordinal"] == noon, ["volume", "source_rows"]].to_numpy().tolist() == [[3000, 30]]


@pytest.mark.parametrize(("day_volume", "is_doubted"), [(1.0, False), (0.99, True)])
def test_the_rows_of_one_venue_never_sum_to_more_than_the_day(day_volume: float, is_doubted: bool) -> None:
    """As a share of the rows' sum; the sum itself is allowed."""
    panel = build_full_panel(build_session_grid(AAPL_DAY, AAPL_DAY, "5m"))
    days = change_days(build_days(panel), volume=np.nansum(panel.volume, axis=1) * day_volume)
    doubts = find_volumes_exceeding_day(panel, days, judge_all(panel))
    assert [doubt.rule for doubt in doubts] == [Rule.VOLUME_EXCEEDS_DAY] * is_doubted


# Calendars.
BROKEN_OFF = "2005-06-01"  # the exchange closed at 15:56, the calendar has 16:00
LATE_TRADE = f"{BROKEN_OFF} 16:10"


def test_2005_06_01_has_all_its_bars_although_trading_ended_at_15_56() -> None:
    (session,) = find_sessions(BROKEN_OFF)
    assert session.close.astimezone(NEW_YORK).time() == time(16)
    grid = build_grid(BROKEN_OFF)
    for source, rows in ((ONE, 386), (FIVE, 78)):  # the last row of 1m is that of 15:55
        built = build_bars(make_session_rows(BROKEN_OFF, [100.0] * rows, source.name), grid, source)
        assert built.bars["ordinal"].tolist() == [*range(13)]
        assert built.bars["source_rows"].tolist()[-1] == {ONE: 26, FIVE: 6}[source]
        assert built.bars["is_final"].tolist() == [True] * 12 + [source is FIVE]
    rows_until_evening = [make_session_rows(BROKEN_OFF, [100.0] * 386, "1m"), make_row_table([make_row(LATE_TRADE)])]
    built = build_bars(pd.concat(rows_until_evening, ignore_index=True), grid, ONE)
    assert built.bars["is_final"].tolist() == [True] * 13  # the feed reaches beyond the last slot


def test_2005_06_01_can_be_corrected_to_the_minute() -> None:
    market = replace(US, overrides=CalendarOverrides(early_closes={date(2005, 6, 1): time(15, 56)}))
    (session,) = list_sessions(market, date(2005, 6, 1), date(2005, 6, 1))
    grid = build_slot_grid([session], INTERVALS["30m"])
    assert session.is_early_close
    assert (grid.ends - grid.starts).tolist() == [1800] * 12 + [1560]
    built = build_bars(make_session_rows(BROKEN_OFF, [100.0] * 386, "1m"), grid, ONE)
    assert built.bars["is_final"].tolist() == [True] * 13


def test_2025_01_09_is_closed_so_the_cum_day_of_an_ex_date_after_it_is_two_days_before() -> None:
    assert find_sessions("2025-01-09") == ()
    row = DividendRow("", date(2025, 1, 10), "", Decimal("0.25"), "USD")
    (dividend,) = merge_dividends([row], lambda day: find_previous_session_day(US, day))
    assert dividend.cum_day == date(2025, 1, 8)


HALF_DAY = date(2025, 7, 3)


def find_trading_on_half_day(overrides: CalendarOverrides) -> dict[date, int]:
    """What twelve names that traded on 2025-07-02 and until 13:00 on 2025-07-03 say about a calendar."""
    sessions = list_sessions(replace(US, overrides=overrides), date(2025, 7, 2), HALF_DAY)
    grid = build_slot_grid(sessions, INTERVALS["30m"])
    of_days = (("2025-07-02", 78), (str(HALF_DAY), 42))
    rows = [make_session_rows(day, [100.0] * count, symbol_id=n) for n in range(12) for day, count in of_days]
    return find_days_traded_outside(Columns(pd.concat(rows, ignore_index=True)), grid, FIVE)


def test_a_half_day_that_a_calendar_makes_a_holiday_is_contradicted_by_every_name() -> None:
    contradicted = find_trading_on_half_day(CalendarOverrides(closures=frozenset({HALF_DAY})))
    assert contradicted == {HALF_DAY: 12}
    spans = [(HALF_DAY - timedelta(days=1), HALF_DAY)] * 12
    assert find_disproved_drift([HALF_DAY], spans, contradicted) == []  # the finding stays open
    assert find_disproved_drift([HALF_DAY], spans, {}) == [HALF_DAY]


def test_a_half_day_that_ends_too_early_in_a_calendar_is_contradicted_and_the_right_one_is_not() -> None:
    assert find_trading_on_half_day(CalendarOverrides(early_closes={HALF_DAY: time(12)})) == {HALF_DAY: 12}
    assert find_trading_on_half_day(CalendarOverrides()) == {}


def test_rows_without_volume_do_not_contradict_a_holiday() -> None:
    rows = make_row_table([make_flat_row("2025-01-09 10:00", 10.0, 0), make_flat_row("2025-01-09 10:05", 10.0)])
    assert find_days_traded_outside(Columns(rows), build_grid("2025-01-08"), FIVE) == {}


# Records of splits that are listed twice: 216 of them, and of SOPA two of 2024-05-01.
def test_216_splits_that_are_listed_twice_are_216_splits() -> None:
    days = [session.day for session in list_sessions(US, date(2023, 1, 3), date(2024, 4, 30))][:216]
    rows = [SplitRow("", day, Decimal(1), Decimal(15)) for day in days]
    assert merge_splits(rows + rows) == [ListedSplit(day, Decimal(1), Decimal(15)) for day in days]


@pytest.mark.parametrize("again", [("1", "15"), ("2", "30"), ("1.0", "15.0")])
def test_sopa_2024_05_01_is_one_split_however_the_second_record_writes_it(again: tuple[str, str]) -> None:
    day = date(2024, 5, 1)
    records = [SplitRow("", day, Decimal(new), Decimal(old)) for new, old in (("1", "15"), again)]
    assert merge_splits(records) == [ListedSplit(day, Decimal(1), Decimal(15))]
