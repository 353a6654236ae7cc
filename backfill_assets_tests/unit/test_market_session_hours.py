"""Hours of sessions: breaks, corrections, regular closes in force on a day, and calendars that end."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta

import pytest

from backfill_assets.errors import UsageError
from backfill_assets.market.calendar import calendar_tables
from backfill_assets.market.calendar.calendar_tables import (
    CalendarTable,
    TableReader,
    build_calendar_table,
    read_calendar_table,
    use_table_reader,
)
from backfill_assets.market.calendar.session_fingerprint import compute_session_fingerprint
from backfill_assets.market.calendar.sessions import (
    CalendarEnded,
    SessionsUnknown,
    find_calendar_end,
    find_day_start,
    find_last_known_day,
    find_previous_session_day,
    list_next_sessions,
    list_overlapping_sessions,
    list_previous_sessions,
    list_sessions,
)
from backfill_assets.market.calendar.windows import build_date_window, build_session_window
from backfill_assets.market.exchanges.profile import CalendarOverrides, MarketProfile
from backfill_assets.market.exchanges.registry import US, get_profile
from backfill_assets_tests.unit.exchange_profiles import (
    BANGKOK,
    HONG_KONG,
    KARACHI,
    ROUND_THE_CLOCK,
    SANTIAGO,
    SHANGHAI,
    TOKYO,
    correct,
    find_session,
    list_local_segments,
    make_profile,
    read_regular_close,
)


@pytest.mark.parametrize(
    ("market", "day", "segments"),
    [
        (US, "2026-06-01", ["09:30-16:00"]),
        (TOKYO, "2026-06-01", ["09:00-11:30", "12:30-15:30"]),
        (TOKYO, "2024-11-01", ["09:00-11:30", "12:30-15:00"]),
        (HONG_KONG, "2024-12-23", ["09:30-12:00", "13:00-16:00"]),
        (HONG_KONG, "2024-12-24", ["09:30-12:00"]),
        (SHANGHAI, "2026-06-01", ["09:30-11:30", "13:00-15:00"]),
        (BANGKOK, "2026-06-02", ["10:00-12:30", "14:00-16:30"]),
    ],
)
def test_breaks_of_the_calendar_and_of_the_profile_cut_sessions(
    market: MarketProfile, day: str, segments: list[str]
) -> None:
    assert list_local_segments(find_session(market, day)) == segments


@pytest.mark.parametrize(
    ("market", "day", "close", "is_early"),
    [
        (TOKYO, "2024-11-01", "01 15:00", False),
        (TOKYO, "2024-11-05", "05 15:30", False),
        (SANTIAGO, "2024-07-02", "02 16:00", False),
        (SANTIAGO, "2024-12-03", "03 17:00", False),
        (ROUND_THE_CLOCK, "2024-07-02", "03 00:00", False),
        (HONG_KONG, "2024-12-24", "24 16:00", True),
        (US, "2026-11-27", "27 16:00", True),
    ],
)
def test_the_regular_close_is_the_one_in_force_on_the_day(
    market: MarketProfile, day: str, close: str, is_early: bool
) -> None:
    session = find_session(market, day)
    assert (read_regular_close(session), session.is_early_close) == (close, is_early)


@pytest.mark.parametrize("market", [TOKYO, SANTIAGO, ROUND_THE_CLOCK])
def test_no_session_of_ten_years_is_an_early_close_by_mistake(market: MarketProfile) -> None:
    sessions = list_sessions(market, date(2020, 1, 1), date(2029, 12, 31))
    early = [s for s in sessions if s.is_early_close]
    assert len(early) == {"XSGO": 30}.get(market.calendar, 0)  # at noon, three days a year
    assert all(s.regular_close >= s.close for s in sessions)


def test_days_round_the_clock_touch_and_never_overlap() -> None:
    sessions = list_sessions(ROUND_THE_CLOCK, date(2024, 2, 26), date(2024, 3, 3))
    assert [s.close for s in sessions[:-1]] == [s.open for s in sessions[1:]]
    assert len(sessions) == 7


LONDON_DAY = date(2026, 6, 3)


@pytest.mark.parametrize(
    ("corrections", "segments", "regular_close"),
    [
        ({}, ["08:00-16:30"], "03 16:30"),
        ({"early_closes": {LONDON_DAY: time(12, 30)}}, ["08:00-12:30"], "03 16:30"),
        ({"early_closes": {LONDON_DAY: time(18)}}, ["08:00-16:30"], "03 16:30"),
        ({"late_opens": {LONDON_DAY: time(9, 40)}}, ["09:40-16:30"], "03 16:30"),
        ({"late_opens": {LONDON_DAY: time(7)}}, ["08:00-16:30"], "03 16:30"),
        (
            {"late_opens": {LONDON_DAY: time(10)}, "early_closes": {LONDON_DAY: time(12)}},
            ["10:00-12:00"],
            "03 16:30",
        ),
        ({"extra_sessions": {LONDON_DAY: (time(9), time(17, 30))}}, ["09:00-17:30"], "03 17:30"),
    ],
)
def test_corrections_change_the_hours_of_one_day(
    corrections: dict[str, object], segments: list[str], regular_close: str
) -> None:
    market = correct("LSE", **corrections)
    session = find_session(market, str(LONDON_DAY))
    assert (list_local_segments(session), read_regular_close(session)) == (segments, regular_close)
    before, _, after = list_sessions(market, LONDON_DAY - timedelta(1), LONDON_DAY + timedelta(1))
    assert {tuple(list_local_segments(s)) for s in (before, after)} == {("08:00-16:30",)}


def test_a_closure_removes_a_day_and_an_extra_session_adds_one() -> None:
    saturday = date(2026, 6, 6)
    market = correct(
        "LSE",
        closures=frozenset({LONDON_DAY}),
        extra_sessions={saturday: (time(10), time(12)), date(2025, 1, 4): (time(9), time(10))},
    )
    days = [s.day.day for s in list_sessions(market, date(2026, 6, 1), date(2026, 6, 8))]
    assert days == [1, 2, 4, 5, 6, 8]
    session = find_session(market, str(saturday))
    assert (list_local_segments(session), read_regular_close(session)) == (["10:00-12:00"], "06 16:30")
    assert find_previous_session_day(market, date(2026, 6, 8)) == saturday
    assert find_previous_session_day(market, date(2026, 6, 4)) == date(2026, 6, 2)


@pytest.mark.parametrize(("day", "opens"), [("2009-12-30", "09:00"), ("2010-01-04", "10:00"), ("2019-12-30", "09:00")])
def test_the_first_session_of_a_year_opens_late_in_seoul_and_the_last_of_ten_years_does_not(
    day: str, opens: str
) -> None:
    assert list_local_segments(find_session(get_profile("KO"), day))[0].startswith(opens)


def test_an_extra_day_has_late_opens_early_closes_and_closures_like_any_other() -> None:
    saturday = date(2026, 6, 6)
    hours = {saturday: (time(10), time(14))}
    market = correct("LSE", extra_sessions=hours, late_opens={saturday: time(11)}, early_closes={saturday: time(12)})
    assert list_local_segments(find_session(market, str(saturday))) == ["11:00-12:00"]
    closed = correct("LSE", extra_sessions=hours, closures=frozenset({saturday}))
    assert list_sessions(closed, saturday, saturday) == ()


@pytest.mark.parametrize(
    ("extra_sessions", "message"),
    [
        ({date(2026, 1, 1): (time(12), time(10))}, "2026-01-01 opens on 2025-12-31 12:00, before that of 2025-12-31"),
        ({date(2026, 6, 6): (time(16, 29), time(10)), date(2026, 6, 5): (time(8), time(16, 28))}, "the same 5 minutes"),
        ({date(2026, 3, 29): (time(1, 30), time(2, 15))}, "it is put forward in between"),
        ({date(2026, 6, 6): (time(10, 0, 0, 1), time(10, 0, 0, 9))}, "they are the same second"),
    ],
    ids=["over the turn of the year", "in one row", "while the clock is put forward", "in one second"],
)
def test_hours_that_no_grid_can_hold_are_refused(extra_sessions: dict[date, tuple[time, time]], message: str) -> None:
    market = correct("LSE", extra_sessions=extra_sessions)
    with pytest.raises(UsageError, match=message):
        list_sessions(market, date(2025, 12, 1), date(2026, 7, 1))


def test_a_break_is_left_out_where_the_clock_is_put_forward_over_it() -> None:
    market = correct("LSE", extra_sessions={date(2026, 3, 29): (time(0, 30), time(5))})
    market = replace(market, breaks=((time(1, 30), time(2, 15)),))
    assert list_local_segments(find_session(market, "2026-03-29")) == ["00:30-05:00"]


def test_an_early_close_within_the_second_of_the_open_changes_nothing() -> None:
    market = correct("US", early_closes={date(2026, 6, 1): time(9, 30, 0, 5)})
    assert list_local_segments(find_session(market, "2026-06-01")) == ["09:30-16:00"]


def test_an_extra_session_that_overlaps_another_is_refused() -> None:
    """Hours in the wrong order are those of a night, and slots of two sessions would be mixed."""
    market = correct("LSE", extra_sessions={date(2026, 6, 6): (time(12), time(10))})
    with pytest.raises(UsageError, match="session of 2026-06-06 opens on 2026-06-05 12:00, before that of 2026-06-05"):
        list_sessions(market, date(2026, 6, 1), date(2026, 6, 8))


def test_an_evening_session_on_a_holiday_closes_regularly_when_it_closes() -> None:
    muhurat = date(2024, 11, 1)
    market = replace(
        make_profile("NSE", "XBOM", "Asia/Kolkata", "09:15"),
        overrides=CalendarOverrides(extra_sessions={muhurat: (time(18), time(19))}),
    )
    session = find_session(market, str(muhurat))
    assert (list_local_segments(session), read_regular_close(session)) == (["18:00-19:00"], "01 19:00")


def test_a_correction_within_a_break_leaves_the_other_segment() -> None:
    overrides = CalendarOverrides(
        early_closes={date(2026, 6, 1): time(12)},
        late_opens={date(2026, 6, 2): time(12)},
        extra_sessions={date(2026, 6, 6): (time(12, 45), time(13, 15))},
    )
    market = replace(BANGKOK, breaks=((time(11, 30), time(13, 30)),), overrides=overrides)
    segments = {s.day.day: list_local_segments(s) for s in list_sessions(market, date(2026, 6, 1), date(2026, 6, 6))}
    assert segments.get(1, ["10:00-11:30"]) == ["10:00-11:30"]
    assert segments[2] == ["13:30-16:30"]
    assert segments[6] == ["12:45-13:15"]


END = date(2026, 12, 31)


def test_a_calendar_that_ends_serves_until_its_last_day() -> None:
    assert find_calendar_end(SHANGHAI, END) is None
    assert find_calendar_end(SHANGHAI, END + timedelta(1)) == END
    assert find_calendar_end(SHANGHAI, date(2028, 2, 1)) == END
    assert [find_calendar_end(market, date(2028, 2, 1)) for market in (US, get_profile("LSE"))] == [None, None]
    assert find_calendar_end(HONG_KONG, date(2060, 1, 1)) == date(2049, 12, 31)
    last_evening = datetime(2026, 12, 31, 15, 59, tzinfo=UTC)  # 23:59 in Shanghai
    assert list_overlapping_sessions(SHANGHAI, last_evening - timedelta(hours=24), last_evening)[-1].day == END
    assert build_date_window(SHANGHAI, date(2026, 12, 30), date(2027, 2, 1), last_evening).sessions[-1].day == END
    assert build_session_window(SHANGHAI, last_evening, 3).sessions[-1].day == END
    session = find_session(SHANGHAI, "2026-12-30")
    assert [s.day for s in list_next_sessions(session, 5, last_evening)] == [END]


def test_the_session_that_opened_on_the_day_before_in_utc_comes_next() -> None:
    session = find_session(get_profile("AU"), "2026-01-13")
    opened = datetime(2026, 1, 13, 23, 30, tzinfo=UTC)  # 10:30 of the 14th in Sydney
    assert [s.day for s in list_next_sessions(session, 5, opened)] == [date(2026, 1, 14)]


def test_after_its_last_day_a_calendar_is_an_error_that_names_it() -> None:
    next_year = datetime(2026, 12, 31, 16, 0, tzinfo=UTC)  # midnight in Shanghai
    message = r"exchange SHG \(XSHG of the package exchange_calendars\) ends on 2026-12-31.*newer exchange_calendars"
    with pytest.raises(CalendarEnded, match=message) as caught:
        list_overlapping_sessions(SHANGHAI, next_year - timedelta(hours=24), next_year)
    assert isinstance(caught.value, UsageError)
    for first, last in ((END, END + timedelta(1)), (date(2030, 1, 1), date(2030, 2, 1))):
        with pytest.raises(CalendarEnded):
            list_sessions(SHANGHAI, first, last)
    with pytest.raises(CalendarEnded):
        build_date_window(SHANGHAI, END, date(2027, 1, 5), next_year)


def test_extra_sessions_after_its_end_carry_a_calendar_on() -> None:
    first, last = date(2027, 1, 4), date(2027, 1, 5)
    hours = (time(9, 30), time(15))
    market = replace(SHANGHAI, overrides=CalendarOverrides(extra_sessions={first: hours, last: hours}))
    assert [s.day for s in list_sessions(market, date(2026, 12, 30), last)] == [date(2026, 12, 30), END, first, last]
    assert (find_last_known_day(market, END), find_last_known_day(US, END)) == (last, None)
    with pytest.raises(CalendarEnded, match="ends on 2027-01-05, and 2027-01-06 is after it"):
        list_sessions(market, first, last + timedelta(1))


def test_days_before_a_calendar_begins_are_an_error_that_names_it() -> None:
    riyadh = make_profile("SAU", "XSAU", "Asia/Riyadh", "10:00")
    with pytest.raises(UsageError, match="begins on 2021-01-01, and 2020-12-01 is before it"):
        list_sessions(riyadh, date(2020, 12, 1), date(2021, 2, 1))
    first, second, *_ = list_sessions(riyadh, date(2021, 1, 1), date(2021, 1, 8))
    assert list_previous_sessions(second, 20) == (first,)


@pytest.fixture
def asked_tables(shared_calendars: TableReader) -> Iterator[list[tuple[str, int]]]:
    asked: list[tuple[str, int]] = []

    def read(calendar: str, year: int) -> CalendarTable:
        asked.append((calendar, year))
        return build_calendar_table(calendar, year)

    use_table_reader(read)
    yield asked
    use_table_reader(shared_calendars)


def test_tables_are_read_once_a_year_by_the_reader_in_use(asked_tables: list[tuple[str, int]]) -> None:
    market = correct("LSE")  # another profile than the one whose sessions are known
    for _ in range(2):
        list_sessions(market, date(2025, 12, 1), date(2026, 1, 31))
    assert sorted(asked_tables) == [("XLON", 2025), ("XLON", 2026)]
    assert read_calendar_table("XLON", 2026).days[0] == date(2026, 1, 2)


def test_a_calendar_that_the_installed_pandas_cannot_build_is_named_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(**_: str) -> None:
        raise NotImplementedError("weekmask")

    fail.bound_min = fail.bound_max = lambda: None  # type: ignore[attr-defined]
    monkeypatch.setattr(calendar_tables, "_find_factory", lambda _: fail)
    calendar_tables._build_decade.cache_clear()
    use_table_reader(build_calendar_table)
    try:
        with pytest.raises(SessionsUnknown) as caught:
            list_sessions(correct("TA"), date(2026, 6, 1), date(2026, 6, 5))
    finally:
        use_table_reader(None)
    message = str(caught.value)
    assert message.startswith("the sessions of exchange TA cannot be told: exchange_calendars 4.")
    assert "cannot build the calendar XTAE (NotImplementedError('weekmask'))" in message
    assert "install the versions in constraints.txt (pandas below 3.1), set another TA.calendar" in message


def test_a_table_has_the_sessions_of_its_year() -> None:
    table = build_calendar_table("XHKG", 2024)
    assert (table.first_day, table.last_day) == (date(1960, 1, 1), date(2049, 12, 31))
    columns = (table.days, table.opens, table.closes, table.regular_closes, table.break_starts, table.break_ends)
    assert {len(column) for column in columns} == {len(set(table.days))}
    assert {day.year for day in table.days} == {2024}
    assert table.break_starts.count(-1) == table.break_ends.count(-1) == 3  # half days
    assert build_calendar_table("XSHG", 2027).days == ()


def test_a_fingerprint_is_of_hours_and_slots_alone_and_the_same_for_ever() -> None:
    session = find_session(TOKYO, "2026-06-01")
    assert compute_session_fingerprint(session) == "5cdbc952cdffd46b"
    of_another = replace(US, grid_anchor=time(16))  # Tokyo opens at 20:00 of New York
    renamed = replace(session, exchange="ABC", market=of_another, regular_close=session.close + timedelta(1))
    assert compute_session_fingerprint(renamed) == compute_session_fingerprint(session)
    beside = replace(session, market=replace(TOKYO, grid_anchor=time(9, 15)))
    assert compute_session_fingerprint(beside) != compute_session_fingerprint(session)
    fewer = replace(session, segments=((session.open, session.close),))
    assert compute_session_fingerprint(fewer) != compute_session_fingerprint(session)
    sessions = list_sessions(KARACHI, date(2026, 1, 1), date(2026, 12, 31))
    assert len({compute_session_fingerprint(s) for s in sessions}) == len(sessions)


@pytest.mark.parametrize(
    ("exchange", "day", "start"),
    [
        ("US", date(2026, 11, 10), "2026-11-10T00:00"),
        ("CC", date(2026, 11, 10), "2026-11-10T00:00"),
        ("FOREX", date(2026, 11, 9), "2026-11-08T17:00"),  # Monday begins on Sunday, clocks changed or not
        ("FOREX", date(2026, 11, 2), "2026-11-01T17:00"),
        ("FOREX", date(2026, 11, 7), "2026-11-07T00:00"),  # no session
        ("FOREX", date(2026, 12, 25), "2026-12-25T00:00"),
        ("FOREX", date.min, "0001-01-01T00:00"),
    ],
)
def test_a_day_begins_at_midnight_or_when_its_session_opens_before(exchange: str, day: date, start: str) -> None:
    assert f"{find_day_start(get_profile(exchange), day):%Y-%m-%dT%H:%M}".zfill(16) == start
