"""Sessions with breaks, and sessions that touch: their slots, windows, rows and panels.

That slots lie in segments and never overlap is shown of every calendar in ``test_market_calendars_of_exchanges``.
"""

from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from backfill_assets.errors import UsageError
from backfill_assets.market.bars.calendar_drift import find_days_traded_outside
from backfill_assets.market.bars.source_rows import validate_rows
from backfill_assets.market.calendar.intervals import INTERVALS
from backfill_assets.market.calendar.sessions import (
    Session,
    list_next_sessions,
    list_overlapping_sessions,
    list_sessions,
    select_regular_days,
)
from backfill_assets.market.calendar.slots import SlotGrid, build_slot_grid
from backfill_assets.market.calendar.windows import build_date_window, build_session_window
from backfill_assets.market.columns import Columns
from backfill_assets.market.exchanges.registry import get_profile
from backfill_assets.market.gaps.slot_states import SlotState
from backfill_assets.market.plausibility.session_panel import PANEL_VALUES, build_panel
from backfill_assets.market.plausibility.session_volumes import describe_volumes
from backfill_assets_tests.frames import build_bars
from backfill_assets_tests.unit.exchange_profiles import correct, find_session, list_local_segments
from backfill_assets_tests.unit.gap_builders import Entry, classify
from backfill_assets_tests.unit.market_builders import make_row_table
from backfill_assets_tests.unit.test_market_calendars_of_exchanges import MARKETS

TOKYO, FOREX, CRYPTO = get_profile("TSE"), get_profile("FOREX"), get_profile("CC")
FIVE = INTERVALS["5m"]
ROW = 300
DAY = "2026-06-04"


def make_grid(exchange: str, day: str = DAY, interval: str = "30m") -> SlotGrid:
    return build_slot_grid([find_session(MARKETS[exchange], day)], INTERVALS[interval])


def make_rows(stamps: np.ndarray, symbol_id: int = 1, volume: float = 100.0) -> pd.DataFrame:
    return make_row_table((symbol_id, int(stamp), 10.0, 10.0, 10.0, 10.0, volume) for stamp in stamps)


def list_row_stamps(session: Session, *, in_breaks: bool = False) -> np.ndarray:
    """A stamp every five minutes of a session, with those of its breaks or without."""
    parts = ((session.open, session.close),) if in_breaks else session.segments
    return np.concatenate(
        [np.arange(int(begin.timestamp()) // ROW * ROW, int(end.timestamp()), ROW) for begin, end in parts]
    )


@pytest.mark.parametrize(
    ("exchange", "day", "slots"),
    [
        ("TSE", "2024-11-01", "09:00 11:00 11:30 12:30 14:30 15:00"),
        ("TSE", "2024-11-05", "09:00 11:00 11:30 12:30 15:00 15:30"),
        ("HK", "2024-12-24", "09:30 11:30 12:00"),
        ("KAR", "2026-06-04", "09:30 15:00 15:30"),
        ("KAR", "2026-06-05", "09:15 11:30 12:00 14:30 16:00 16:30"),
        ("JK", "2026-06-04", "09:00 11:30 12:00 13:30 15:30 15:50"),
        ("NSE", "2026-06-04", "09:15 15:15 15:30"),
        ("TA", "2025-12-28", "09:55 15:30 15:40"),
        ("TA", "2026-06-05", "09:55 13:30 13:50"),
    ],
)
def test_each_part_of_a_day_begins_and_ends_with_its_slots(exchange: str, day: str, slots: str) -> None:
    """For each part: its first slot, its last one, and when that ends."""
    grid = make_grid(exchange, day)
    zone = grid.sessions[0].market.zone
    is_first = np.r_[True, grid.starts[1:] != grid.ends[:-1]]
    is_last = np.r_[is_first[1:], True]
    moments = [*grid.starts[is_first], *grid.starts[is_last], *grid.ends[is_last]]
    shown = sorted(f"{datetime.fromtimestamp(int(at), zone):%H:%M}" for at in moments)
    assert shown == slots.split()


def test_the_last_slot_before_a_break_may_be_short() -> None:
    market = replace(get_profile("KLSE"), breaks=((time(12, 40), time(14, 30)),), needs_breaks=False)
    grid = build_slot_grid([find_session(market, DAY)], INTERVALS["30m"])
    lengths = ((grid.ends - grid.starts) // 60).tolist()
    assert lengths == [30] * 7 + [10] + [30] * 5


def test_karachis_fridays_have_hours_of_their_own_and_an_early_close_cuts_them() -> None:
    friday = date(2026, 6, 5)
    assert list_local_segments(find_session(get_profile("KAR"), DAY)) == ["09:32-15:30"]
    assert list_local_segments(find_session(get_profile("KAR"), str(friday))) == ["09:17-12:00", "14:32-16:30"]
    week = list_sessions(get_profile("KAR"), date(2026, 6, 1), friday)
    assert select_regular_days(week) == list(week[:-1])
    early = find_session(correct("KAR", early_closes={friday: time(15)}), str(friday))
    assert (list_local_segments(early), early.is_early_close) == (["09:17-12:00", "14:32-15:00"], True)
    extra = correct("KAR", extra_sessions={date(2026, 6, 6): (time(10), time(12))})
    assert list_local_segments(find_session(extra, "2026-06-06")) == ["10:00-12:00"]


def test_a_weekdays_hours_leave_an_early_close_of_the_calendar() -> None:
    market = replace(MARKETS["HK"], weekday_hours={1: ((time(9), time(12)), (time(13), time(15)))})
    assert list_local_segments(find_session(market, "2024-12-24")) == ["09:00-12:00"]
    assert list_local_segments(find_session(market, "2024-12-17")) == ["09:00-12:00", "13:00-15:00"]


def test_a_trade_date_of_currencies_opens_on_the_day_before_its_label() -> None:
    friday, monday, tuesday = list_sessions(FOREX, date(2026, 6, 5), date(2026, 6, 9))
    assert [f"{s.open:%a %H:%M}-{s.close:%a %H:%M}" for s in (friday, monday, tuesday)] == [
        *("Thu 21:00-Fri 21:00", "Sun 21:00-Mon 21:00", "Mon 21:00-Tue 21:00")
    ]
    just_opened = monday.open + timedelta(minutes=1)
    assert list_next_sessions(friday, 5, just_opened) == (monday,)
    assert list_next_sessions(friday, 5, monday.open) == ()
    assert list_next_sessions(monday, 1, tuesday.open + timedelta(hours=5)) == (tuesday,)
    assert list_overlapping_sessions(FOREX, just_opened - timedelta(hours=1), just_opened) == (monday,)
    assert list_overlapping_sessions(FOREX, friday.close, monday.open) == ()
    assert build_session_window(FOREX, just_opened, 2).sessions == (friday, monday)
    assert build_date_window(FOREX, friday.day, tuesday.day, just_opened).sessions == (friday, monday)


def test_currencies_have_48_slots_a_day_and_none_on_two_holidays() -> None:
    sessions = list_sessions(FOREX, date(2025, 1, 1), date(2026, 12, 31))
    assert set(build_slot_grid(sessions, INTERVALS["30m"]).session_sizes.tolist()) == {48}
    assert len(sessions) == 261 * 2 - 4  # 522 days from Monday to Friday, without 1 January and 25 December
    assert all(before.close <= after.open for before, after in pairwise(sessions))


def test_windows_of_days_that_touch() -> None:
    first, second = list_sessions(CRYPTO, date(2026, 6, 6), date(2026, 6, 7))
    assert first.close == second.open
    assert list_overlapping_sessions(CRYPTO, first.open, first.close) == (first,)
    assert list_overlapping_sessions(CRYPTO, second.open, second.open + timedelta(seconds=1)) == (second,)
    assert build_session_window(CRYPTO, second.open + timedelta(minutes=1), 2).sessions == (first, second)
    assert list_next_sessions(first, 3, second.open + timedelta(minutes=1)) == (second,)
    assert list_next_sessions(first, 3, second.open) == ()


@pytest.mark.parametrize(("exchange", "source"), [("CC", "5m"), ("FOREX", "1m")])
def test_a_row_at_the_close_belongs_to_the_session_that_opens_then(exchange: str, source: str) -> None:
    sessions = list_sessions(get_profile(exchange), date(2026, 6, 9), date(2026, 6, 10))
    grid = build_slot_grid(sessions, INTERVALS["30m"])
    at = int(sessions[0].close.timestamp())
    validated = validate_rows(Columns(make_rows(np.array([at - 300, at, at + 86_400]))), grid, INTERVALS[source])
    assert validated.usable.tolist() == [True, True, False]
    assert validated.table["session"].tolist() == [0, 1, 1]
    assert (validated.ignored_rows["closing"], validated.ignored_rows["extended_hours"]) == (0, 1)
    bars = build_bars(make_rows(np.array([at - 300, at])), grid, INTERVALS[source]).bars
    assert bars["ordinal"].tolist() == [47, 48]


def test_a_panel_has_no_columns_in_a_break_and_finds_its_stamps_again() -> None:
    sessions = list_sessions(TOKYO, date(2024, 11, 1), date(2024, 11, 5))  # to 15:00, and to 15:30
    stamps = np.concatenate([list_row_stamps(session) for session in sessions])
    values = {name: np.arange(len(stamps), dtype=float) for name in PANEL_VALUES}
    grid = build_slot_grid(sessions, INTERVALS["30m"])
    panel, line, column = build_panel(np.ones(len(stamps), np.int64), stamps, values, grid, ROW)
    assert panel.sizes.tolist() == [60, 66]
    assert [panel.get_stamp(*cell) for cell in zip(line.tolist(), column.tolist(), strict=True)] == stamps.tolist()
    assert panel.find_columns(line, stamps).tolist() == column.tolist()
    assert panel.list_stamps(1).tolist() == stamps[60:].tolist()
    assert not np.isnan(panel.close[1]).any()  # nothing is absent at noon
    volumes = describe_volumes(np.ones((2, 66)), ROW, panel.starts)
    assert volumes.gap_before[1].tolist() == [0] * 30 + [3600] + [0] * 35  # but the afternoon opens after an hour
    assert (volumes.present_share == 1).all()


def test_a_panel_tells_a_short_first_bar_from_the_one_after_it() -> None:
    grid = make_grid("KAR", "2026-06-05")
    values = {name: np.arange(grid.size, dtype=float) for name in PANEL_VALUES}
    panel, line, column = build_panel(np.ones(grid.size, np.int64), grid.starts, values, grid, 1800)
    assert column.tolist() == list(range(10))
    assert [panel.get_stamp(0, at) for at in column.tolist()] == grid.starts.tolist()
    assert panel.find_columns(line, grid.starts + 60).tolist() == column.tolist()


@pytest.mark.parametrize(
    ("first", "last", "days"),
    [("11:30", "11:30", 0), ("11:30", "11:35", 1), ("12:25", "12:25", 1), ("11:25", "11:25", 0)],
)
def test_trading_in_a_break_shows_a_wrong_calendar_but_not_the_auction_at_its_start(
    first: str, last: str, days: int
) -> None:
    grid = make_grid("TSE")
    begin, end = (int(datetime.fromisoformat(f"{DAY}T{at}+09:00").timestamp()) for at in (first, last))
    found = find_days_traded_outside(Columns(make_rows(np.arange(begin, end + 1, ROW))), grid, FIVE)
    assert len(found) == days


def test_a_break_is_no_silence_that_excuses_an_absent_end() -> None:
    grid = make_grid("TSE")
    stamps = list_row_stamps(grid.sessions[0])
    sessions = build_bars(make_rows(stamps[:-6]), grid, FIVE).sessions
    assert sessions["ends_before_close"].tolist() == [True]
    assert build_bars(make_rows(stamps), grid, FIVE).sessions["ends_before_close"].tolist() == [False]


def test_twelve_tokyo_sessions_with_a_lost_half_hour_and_a_suspect_bar_are_told_as_exactly_that() -> None:
    sessions = list_sessions(TOKYO, date(2026, 6, 1), date(2026, 6, 16))
    grid = build_slot_grid(sessions, INTERVALS["30m"])
    assert (len(sessions), grid.size) == (12, 12 * 11)
    lost, suspect = grid.session_offsets[5] + 2, grid.session_offsets[8] + 7
    stamps = np.concatenate([list_row_stamps(session, in_breaks=True) for session in sessions])
    in_lost = (stamps >= grid.starts[lost]) & (stamps < grid.ends[lost])
    in_suspect = (stamps > grid.starts[suspect]) & (stamps < grid.ends[suspect])
    built = build_bars(make_rows(stamps[~in_lost & ~in_suspect], symbol_id=0), grid, FIVE)
    assert built.ignored_rows["extended_hours"] == 12 * 12  # the rows at noon feed no bar
    assert set(range(grid.size)) - set(built.bars["ordinal"]) == {lost}
    assert built.bars.loc[built.bars["source_rows"] != 6, "ordinal"].tolist() == [suspect]
    now = datetime(2026, 6, 18, tzinfo=UTC)
    entries = [
        Entry(
            session=at,
            requested_at=int((session.close + timedelta(hours=20)).timestamp()),
            published=True,
            data_until=int(session.close.timestamp()),
            not_returned=[lost] if at == 5 else [],
        )
        for at, session in enumerate(sessions)
    ]
    slots = [(0, int(lost), SlotState.MISSING), (0, int(suspect), SlotState.SUSPECT)]
    states = classify(slots, entries, now, grid, incomplete_sessions=[1, 0], published_sessions=[12, 0])
    assert [SlotState(state) for state in states.state.tolist()] == [SlotState.MISSING, SlotState.SUSPECT]


@pytest.mark.parametrize("hours", [(time(9), time(15, 30)), (time(8), time(16))])
def test_breaks_that_leave_nothing_of_a_session_are_refused(hours: tuple[time, time]) -> None:
    """They are a mistake: without them Tokyo's own break would have slots, which are missing for ever."""
    with pytest.raises(
        UsageError, match=r"breaks of TSE in BACKFILL_MARKETS_FILE leave nothing of the session of 2026"
    ):
        find_session(replace(get_profile("TSE"), breaks=(hours,)), "2026-06-04")
    at_noon = {date(2026, 6, 6): (time(12), time(12, 30))}
    extra = replace(correct("TSE", extra_sessions=at_noon), breaks=((time(12), time(13)),))
    assert list_local_segments(find_session(extra, "2026-06-06")) == ["12:00-12:30"]
