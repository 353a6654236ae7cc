"""The pinned pandas and exchange_calendars build every calendar, weekend sessions included.

pandas 3.1 breaks five calendars (Orthodox Easter, special week masks) and drops weekend sessions of two others.
"""

import exchange_calendars
import pytest

SPAN = {"start": "2021-01-01", "end": "2026-06-30"}


@pytest.mark.parametrize("name", ["ASEX", "XBEL", "XBSE", "XCYS", "XTAE"])
def test_calendars_with_orthodox_easter_or_special_week_masks_can_be_built(name: str) -> None:
    calendar = exchange_calendars.get_calendar(name, **SPAN)

    assert 1_300 < len(calendar.sessions) < 1_450


@pytest.mark.parametrize(
    ("name", "weekend_sessions"),
    [("XBOM", {"2024-01-20", "2025-02-01"}), ("XMOS", {"2024-04-27", "2024-11-02", "2024-12-28"})],
)
def test_weekend_sessions_are_included(name: str, weekend_sessions: set[str]) -> None:
    calendar = exchange_calendars.get_calendar(name, **SPAN)

    assert weekend_sessions <= {day.date().isoformat() for day in calendar.sessions if day.weekday() >= 5}
