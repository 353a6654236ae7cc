"""Sessions and slots compared with recorded files: seasons, clock changes, holidays, early closes, 1h."""

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backfill_assets.errors import UsageError
from backfill_assets.market.calendar.intervals import INTERVALS
from backfill_assets.market.calendar.sessions import list_overlapping_sessions, list_previous_sessions, list_sessions
from backfill_assets.market.calendar.slots import build_slot_grid
from backfill_assets.market.calendar.timestamps import format_timestamp
from backfill_assets.market.exchanges.registry import US
from backfill_assets_tests.unit.market_builders import (
    NEW_YORK,
    build_grid,
    find_sessions,
    parse_epoch,
    parse_new_york,
    read_expected_rows,
)


def format_clock_time(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%H:%MZ")


def list_expected_days(name: str) -> list[str]:
    return sorted({line["session"] for line in read_expected_rows(name)})


@pytest.mark.parametrize("day", list_expected_days("slots_30m.csv"))
def test_a_session_has_the_expected_slots(day: str) -> None:
    expected = [line for line in read_expected_rows("slots_30m.csv") if line["session"] == day]
    grid = build_grid(day)
    assert [format_clock_time(at) for at in grid.starts.tolist()] == [line["utc"] for line in expected]
    assert grid.starts.tolist() == [parse_epoch(f"{day} {line['new_york']}") for line in expected]
    assert (grid.ends - grid.starts).tolist() == [1800] * len(expected)


@pytest.mark.parametrize("day", list_expected_days("slots_1h.csv"))
def test_the_last_slot_of_an_hourly_session_is_short(day: str) -> None:
    expected = [line for line in read_expected_rows("slots_1h.csv") if line["session"] == day]
    grid = build_grid(day, interval="1h")
    assert [
        (format_clock_time(a), format_clock_time(b))
        for a, b in zip(grid.starts.tolist(), grid.ends.tolist(), strict=True)
    ] == [(line["utc"], line["utc_end"]) for line in expected]
    assert (grid.ends - grid.starts).tolist() == [60 * int(line["minutes"]) for line in expected]


@pytest.mark.parametrize("line", read_expected_rows("days_off.csv"), ids=lambda line: line["day"])
def test_days_off_and_early_closes(line: dict[str, str]) -> None:
    found = find_sessions(line["day"])
    closes = [s.close.astimezone(NEW_YORK).strftime("%H:%M") for s in found]
    assert closes == ([] if line["new_york_close"] == "closed" else [line["new_york_close"]])
    assert [s.is_early_close for s in found] == [close == "13:00" for close in closes]
    assert [s.regular_close for s in found] == [parse_new_york(f"{line['day']} 16:00") for _ in found]


def test_a_year_has_exactly_its_sessions() -> None:
    found = list_sessions(US, date(2026, 1, 1), date(2026, 12, 31))
    assert len(found) == 251
    assert [s.day for s in found] == sorted({s.day for s in found})
    assert {s.open.astimezone(NEW_YORK).strftime("%H:%M") for s in found} == {"09:30"}
    assert {s.open.tzinfo for s in found} == {UTC}


@pytest.mark.parametrize(
    ("interval", "regular", "early"), [("1m", 390, 210), ("5m", 78, 42), ("15m", 26, 14), ("30m", 13, 7), ("1h", 7, 4)]
)
def test_slots_per_session(interval: str, regular: int, early: int) -> None:
    grid = build_grid("2026-11-25", "2026-11-27", interval=interval)
    assert grid.session_offsets.tolist() == [0, regular, regular + early]


@given(st.dates(date(2004, 1, 1), date(2030, 12, 1)), st.integers(0, 20), st.sampled_from(sorted(INTERVALS)))
@settings(max_examples=30, derandomize=True, deadline=None)
def test_a_grid_covers_each_session_once_without_gaps(first: date, days: int, interval: str) -> None:
    found = list_sessions(US, first, first + timedelta(days=days))
    grid = build_slot_grid(found, INTERVALS[interval])
    seconds = sum(int((s.close - s.open).total_seconds()) for s in found)
    assert int((grid.ends - grid.starts).sum()) == seconds
    assert bool((grid.starts[1:] >= grid.ends[:-1]).all())
    for at, session in enumerate(found):
        ordinals = slice(int(grid.session_offsets[at]), int(grid.session_offsets[at + 1]))
        assert grid.starts[ordinals][0] == session.open.timestamp()
        assert grid.ends[ordinals][-1] == session.close.timestamp()
        assert set(grid.session_index[ordinals].tolist()) == {at}


def test_ordinals_are_found_only_for_exact_starts_of_slots() -> None:
    grid = build_grid("2026-06-01", "2026-06-02")
    timestamps = [grid.starts[0], grid.starts[0] + 1, grid.starts[13], grid.ends[12], grid.starts[-1], grid.ends[-1], 0]
    assert grid.find_ordinals(np.array(timestamps, np.int64)).tolist() == [0, -1, 13, -1, 25, -1, -1]


def test_no_sessions_make_an_empty_grid() -> None:
    grid = build_grid()
    assert (grid.size, grid.session_offsets.tolist()) == (0, [0])
    assert grid.find_ordinals(np.array([5], np.int64)).tolist() == [-1]


@pytest.mark.parametrize(
    ("day", "count", "before"),
    [
        ("2026-06-08", 2, ["2026-06-04", "2026-06-05"]),
        ("2026-11-30", 2, ["2026-11-25", "2026-11-27"]),
        ("2026-01-05", 2, ["2025-12-31", "2026-01-02"]),
        ("2026-06-08", 0, []),
    ],
)
def test_previous_sessions_skip_days_off(day: str, count: int, before: list[str]) -> None:
    (session,) = find_sessions(day)
    assert [str(s.day) for s in list_previous_sessions(session, count)] == before


def test_as_many_previous_sessions_are_listed_as_requested() -> None:
    (session,) = find_sessions("2026-01-05")
    assert len(list_previous_sessions(session, 60)) == 60


def test_the_first_sessions_of_the_calendar_have_fewer_previous_ones() -> None:
    (session,) = find_sessions("2004-01-05")
    assert [str(s.day) for s in list_previous_sessions(session, 2)] == ["2004-01-02"]


@pytest.mark.parametrize(
    ("start", "end", "days"),
    [
        ("2026-06-01 16:00", "2026-06-02 09:30", []),
        ("2026-06-01 15:59", "2026-06-02 09:31", ["2026-06-01", "2026-06-02"]),
        ("2026-06-01 12:00", "2026-06-01 12:01", ["2026-06-01"]),
        ("2026-11-27 13:00", "2026-11-27 16:00", []),
        ("2026-06-05 18:00", "2026-06-08 08:00", []),
    ],
)
def test_sessions_overlap_a_range_only_if_they_share_time(start: str, end: str, days: list[str]) -> None:
    assert [str(s.day) for s in list_overlapping_sessions(US, parse_new_york(start), parse_new_york(end))] == days


@pytest.mark.parametrize(
    ("first", "last"),
    [(date(2003, 12, 31), date(2026, 6, 2)), (date(2026, 6, 1), date(2100, 1, 2))],
)
def test_dates_without_data_are_usage_errors(first: date, last: date) -> None:
    with pytest.raises(UsageError, match="must lie between 2004-01-01 and 2100-01-01"):
        list_sessions(US, first, last)


def test_a_reversed_range_has_no_sessions() -> None:
    assert list_sessions(US, date(2026, 6, 2), date(2026, 6, 1)) == ()


def test_slot_keys_are_unique_and_split_into_row_and_ordinal() -> None:
    grid = build_slot_grid(list_sessions(US, date(2026, 6, 1), date(2026, 6, 2)), INTERVALS["30m"])
    row, ordinal = np.repeat(np.arange(3), grid.size), np.tile(np.arange(grid.size), 3)
    keys = grid.get_slot_keys(row, ordinal)
    assert keys.tolist() == list(range(3 * grid.size))
    assert [part.tolist() for part in grid.split_slot_keys(keys)] == [row.tolist(), ordinal.tolist()]


def test_a_grid_has_the_opens_and_closes_of_its_sessions() -> None:
    days = list_sessions(US, date(2026, 11, 25), date(2026, 11, 27))  # the last one closes early
    grid = build_slot_grid(days, INTERVALS["1h"])
    assert grid.session_opens.tolist() == [int(s.open.timestamp()) for s in days]
    assert grid.session_closes.tolist() == [int(s.close.timestamp()) for s in days]
    assert grid.session_sizes.tolist() == [7, 4]
    assert (grid.first_start, grid.last_start) == (days[0].open, days[-1].open + timedelta(hours=3))


def test_timestamps_are_shown_in_utc_to_the_second() -> None:
    moment = parse_new_york("2026-06-01 09:30").astimezone(NEW_YORK) + timedelta(milliseconds=1)
    assert format_timestamp(moment) == "2026-06-01T13:30:00Z"
