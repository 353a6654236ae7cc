"""Every calendar that a profile names is built and walked, and its hours are those known of its exchange."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime, time
from itertools import pairwise

import numpy as np
import pytest

from backfill_assets.market.calendar.intervals import INTERVALS, Interval
from backfill_assets.market.calendar.sessions import Session, find_calendar_end, list_sessions
from backfill_assets.market.calendar.slots import build_slot_grid, count_seconds_beside_clock
from backfill_assets.market.exchanges.registry import PROFILES

ASIA_WITHOUT_CHRISTMAS = {"SHG", "SHE", "TSE", "TA", "BK"}
ROW = 300  # seconds
FIRST, LAST = date(2020, 1, 1), date(2029, 12, 31)
# Open, close, slots of 30 minutes, minutes of the last slot; opens and closes of other days from 2024-01 to 2026-11.
FACTS = {
    "US": ("09:30", "16:00", 13, 30, {"13:00"}),
    "LSE": ("08:00", "16:30", 17, 30, {"12:30"}),
    "XETRA": ("09:00", "17:30", 17, 30, {"14:00"}),
    "PA": ("09:00", "17:30", 17, 30, {"14:05"}),
    "AS": ("09:00", "17:30", 17, 30, {"14:05"}),
    "BR": ("09:00", "17:30", 17, 30, {"14:05"}),
    "LS": ("08:00", "16:30", 17, 30, {"13:05"}),
    "MC": ("09:00", "17:30", 17, 30, {"14:00"}),
    "SW": ("09:00", "17:30", 17, 30, set()),
    "ST": ("09:00", "17:30", 17, 30, {"13:00"}),
    "OL": ("09:00", "16:20", 15, 20, {"13:00"}),
    "CO": ("09:00", "17:00", 16, 30, set()),
    "HE": ("10:00", "18:30", 17, 30, set()),
    "VI": ("09:00", "17:30", 17, 30, {"14:15"}),
    "WAR": ("09:00", "17:00", 16, 30, set()),
    "TO": ("09:30", "16:00", 13, 30, {"13:00"}),
    "V": ("09:30", "16:00", 13, 30, {"13:00"}),
    "AU": ("10:00", "16:00", 12, 30, {"14:10"}),
    "KO": ("09:00", "15:30", 13, 30, {"10:00"}),
    "KQ": ("09:00", "15:30", 13, 30, {"10:00"}),
    "SA": ("10:00", "18:00", 16, 30, {"13:00"}),
    "MX": ("08:30", "15:00", 13, 30, set()),
    "JSE": ("09:00", "17:00", 16, 30, set()),
    "IC": ("09:30", "15:30", 12, 30, set()),
    "IR": ("08:00", "16:28", 17, 28, {"12:28"}),
    "TW": ("09:00", "13:30", 9, 30, set()),
    "TWO": ("09:00", "13:30", 9, 30, set()),
    "SHG": ("09:30", "15:00", 8, 30, set()),
    "SHE": ("09:30", "15:00", 8, 30, set()),
    "HK": ("09:30", "16:00", 11, 30, {"12:00"}),
    "TSE": ("09:00", "15:30", 11, 30, {"15:00"}),
    "NSE": ("09:15", "15:30", 13, 15, set()),
    "KAR": ("09:32", "15:30", 12, 30, {"09:17", "16:30"}),
    "TA": ("09:59", "17:15", 16, 15, {"13:50", "14:15", "15:40"}),
    "JK": ("09:00", "15:50", 11, 20, set()),
    "BK": ("10:00", "16:30", 10, 30, set()),
    "KLSE": ("09:00", "17:00", 12, 30, {"12:30"}),
    "PSE": ("09:30", "15:30", 10, 30, set()),
    "CC": ("00:00", "00:00", 48, 30, set()),
    "FOREX": ("17:00", "17:00", 48, 30, set()),
}
WEEKDAYS = {"CC": set(range(7)), "NSE": {*range(6)}, "TA": {0, 1, 2, 3, 4, 6}}
REGULAR_CLOSES = {"TSE": {"15:00", "15:30"}, "KAR": {"15:30", "16:30"}}
# Breaks that the library's calendars lack, as a user gives them.
BREAKS = {
    "JK": ((time(12), time(13, 30)),),
    "BK": ((time(12, 30), time(14)),),
    "KLSE": ((time(12, 30), time(14, 30)),),
    "PSE": ((time(12), time(13)),),
}
MARKETS = {
    code: replace(profile, breaks=BREAKS.get(code, profile.breaks), needs_breaks=False)
    for code, profile in PROFILES.items()
}


def read_clock(moment: datetime, session: Session) -> str:
    return moment.astimezone(session.market.zone).time().isoformat("minutes")


def list_closes(exchange: str, first: date, last: date) -> dict[str, str]:
    return {str(s.day): read_clock(s.close, s) for s in list_sessions(MARKETS[exchange], first, last)}


def check_slots(sessions: Sequence[Session], interval: Interval) -> None:
    """Slots lie in their segment, cover it without a hole and never overlap, nor do segments."""
    segments = np.array([[at.timestamp() for at in part] for s in sessions for part in s.segments]).astype(np.int64)
    assert (segments[:, 0] < segments[:, 1]).all()
    assert (segments[1:, 0] >= segments[:-1, 1]).all()
    grid = build_slot_grid(sessions, interval)
    assert ((grid.starts < grid.ends) & (grid.ends - grid.starts <= interval.seconds)).all()
    assert (grid.ends[:-1] <= grid.starts[1:]).all()
    rows_from = segments[:, 0] // ROW * ROW  # the first slot begins with the row in which the segment opens
    segment = np.searchsorted(rows_from, grid.starts, side="right") - 1
    opens, closes = segments[segment].T
    assert ((grid.starts > opens - ROW) & (grid.ends <= closes)).all()
    traded = np.bincount(segment, grid.ends - np.maximum(grid.starts, opens))
    assert traded.tolist() == (segments[:, 1] - segments[:, 0]).tolist()
    assert grid.session_opens.tolist() == [int(s.rows_from.timestamp()) for s in sessions]


@pytest.mark.no_cover
@pytest.mark.parametrize("exchange", PROFILES)
def test_a_calendar_is_built_and_walked_to_its_bound(exchange: str) -> None:
    market = MARKETS[exchange]
    sessions = list_sessions(market, FIRST, find_calendar_end(market, LAST) or LAST)
    opens, closes, slots, minutes, other_days = FACTS[exchange]
    days = [s.day for s in sessions]
    assert days == sorted(set(days))
    years = (days[-1] - days[0]).days / 365.25
    assert 230 < len(days) / years < (366 if exchange == "CC" else 261)
    assert {day.weekday() for day in days} == WEEKDAYS.get(exchange, set(range(5)))
    assert all(before.close <= after.open for before, after in pairwise(sessions))
    recent = [s for s in sessions if date(2024, 1, 1) <= s.day <= date(2026, 11, 30)]
    hours = Counter((read_clock(s.open, s), read_clock(s.close, s)) for s in recent)
    assert hours.most_common(1)[0][0] == (opens, closes)
    assert {time for pair in hours for time in pair} - {opens, closes} == other_days
    regular_closes = REGULAR_CLOSES.get(exchange, {closes})
    assert {read_clock(s.regular_close, s) for s in recent} == regular_closes
    early = sum(count for pair, count in hours.items() if pair[1] not in regular_closes)
    assert sum(s.is_early_close for s in recent) == early
    full = next(s for s in recent if (read_clock(s.open, s), read_clock(s.close, s)) == (opens, closes))
    grid = build_slot_grid([full], INTERVALS["30m"])
    assert (grid.size, int(grid.ends[-1] - grid.starts[-1]) // 60) == (slots, minutes)
    for name in ("5m", "30m", "1h"):
        check_slots(recent, INTERVALS[name])
    beside = count_seconds_beside_clock(full, INTERVALS["5m"])
    assert grid.session_opens.tolist() == [int(full.open.timestamp()) - beside]


def test_seoul_trades_an_hour_later_on_the_day_of_the_examination_that_the_library_knows() -> None:
    (session,) = list_sessions(PROFILES["KO"], date(2020, 12, 3), date(2020, 12, 3))
    assert [read_clock(at, session) for at in (session.open, session.close, session.regular_close)] == [
        *("10:00", "16:30", "16:30")
    ]


@pytest.mark.parametrize("exchange", PROFILES)
def test_which_exchanges_trade_on_good_friday(exchange: str) -> None:
    is_open = bool(list_sessions(MARKETS[exchange], date(2024, 3, 29), date(2024, 3, 29)))
    assert is_open == (exchange in {*"KO KQ TW TWO SHG SHE TSE KAR BK KLSE CC FOREX".split()})  # noqa: SIM905


@pytest.mark.parametrize(
    ("exchange", "day", "opens", "closes"),
    [
        ("US", "2024-03-08", "14:30", "21:00"),  # America's clocks change on 10 March
        ("US", "2024-03-11", "13:30", "20:00"),
        ("TO", "2024-03-11", "13:30", "20:00"),
        ("MX", "2024-03-11", "14:30", "21:00"),
        ("LSE", "2024-03-28", "08:00", "16:30"),  # Europe's on 31 March
        ("LSE", "2024-04-02", "07:00", "15:30"),
        ("XETRA", "2024-04-02", "07:00", "15:30"),
        ("HE", "2024-04-02", "07:00", "15:30"),
        ("IC", "2024-04-02", "09:30", "15:30"),
        ("KO", "2024-04-02", "00:00", "06:30"),
        ("JSE", "2024-04-02", "07:00", "15:00"),
        ("AU", "2024-04-08", "00:00", "06:00"),  # Sydney's on 7 April
    ],
)
def test_hours_in_utc_follow_each_zones_clock(exchange: str, day: str, opens: str, closes: str) -> None:
    (session,) = list_sessions(MARKETS[exchange], date.fromisoformat(day), date.fromisoformat(day))
    assert (f"{session.open:%H:%M}", f"{session.close:%H:%M}") == (opens, closes)
    assert str(session.open.date()) == day


def test_sydney_opens_on_the_day_before_in_utc_until_its_clocks_change() -> None:
    sessions = list_sessions(PROFILES["AU"], date(2024, 4, 4), date(2024, 4, 8))
    assert [(str(s.day), f"{s.open:%d %H:%M}") for s in sessions] == [
        ("2024-04-04", "03 23:00"),
        ("2024-04-05", "04 23:00"),
        ("2024-04-08", "08 00:00"),
    ]


@pytest.mark.parametrize(
    ("exchange", "closes"),
    [
        ("US", {"2024-12-24": "13:00", "2024-12-26": "16:00", "2024-12-31": "16:00"}),
        ("LSE", {"2024-12-24": "12:30", "2024-12-27": "16:30", "2024-12-31": "12:30"}),
        ("XETRA", {"2024-12-23": "17:30", "2024-12-27": "17:30", "2024-12-30": "14:00"}),
        ("PA", {"2024-12-24": "14:05", "2024-12-27": "17:30", "2024-12-31": "14:05"}),
        ("TO", {"2024-12-24": "13:00", "2024-12-27": "16:00", "2024-12-31": "16:00"}),
        ("AU", {"2024-12-24": "14:10", "2024-12-27": "16:00", "2024-12-31": "14:10"}),
        ("KO", {"2024-12-24": "15:30", "2024-12-26": "15:30", "2024-12-30": "15:30"}),
        ("IR", {"2024-12-24": "12:28", "2024-12-27": "16:28", "2024-12-31": "12:28"}),
    ],
)
def test_closes_around_christmas(exchange: str, closes: dict[str, str]) -> None:
    found = list_closes(exchange, date(2024, 12, 20), date(2025, 1, 3))
    assert {day: found[day] for day in closes} == closes


def test_days_around_christmas_that_only_some_exchanges_have() -> None:
    days = {code: set(list_closes(code, date(2024, 12, 23), date(2025, 1, 3))) for code in PROFILES}
    assert {code for code, of in days.items() if "2024-12-24" in of} == set(PROFILES) - {
        *("XETRA", "SW", "ST", "OL", "CO", "HE", "VI", "WAR", "SA", "IC", "PSE")
    }
    trades_on_26 = {"US", "SA", "MX", "KO", "KQ", "TW", "TWO", "CC", "FOREX"} | ASIA_WITHOUT_CHRISTMAS
    assert {code for code, of in days.items() if "2024-12-26" in of} == trades_on_26 | {"NSE", "KAR", "KLSE", "PSE"}
    assert {code for code, of in days.items() if "2025-01-02" in of} == set(PROFILES) - {"SW", "TSE"}
    assert {code for code, of in days.items() if "2024-12-25" in of} == {"TW", "TWO", "CC"} | ASIA_WITHOUT_CHRISTMAS


@pytest.mark.parametrize(
    ("exchange", "day", "slots", "minutes"),
    [
        ("PA", "2024-12-24", 11, 5),
        ("AS", "2024-12-31", 11, 5),
        ("LS", "2024-12-24", 11, 5),
        ("IR", "2024-12-24", 9, 28),
        ("IR", "2024-12-23", 17, 28),
        ("OL", "2024-12-23", 15, 20),
        ("AU", "2024-12-24", 9, 10),
        ("VI", "2024-12-30", 11, 15),
        ("LSE", "2024-12-24", 9, 30),
        ("XETRA", "2024-12-30", 10, 30),
    ],
)
def test_the_last_slot_of_a_session_may_be_short(exchange: str, day: str, slots: int, minutes: int) -> None:
    sessions = list_sessions(MARKETS[exchange], date.fromisoformat(day), date.fromisoformat(day))
    grid = build_slot_grid(sessions, INTERVALS["30m"])
    lengths = (grid.ends - grid.starts) // 60
    assert lengths.tolist() == [30] * (slots - 1) + [minutes]
    assert not len(grid.pauses)
