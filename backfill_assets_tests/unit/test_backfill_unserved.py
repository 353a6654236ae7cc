"""How many symbols may be set aside in a day, and what a finding says about them."""

from datetime import UTC, date, datetime, timedelta

import pytest

from backfill_assets.backfill.absence.unserved import (
    describe_reason,
    describe_too_many,
    find_newest_overdue_session,
    is_too_many,
)
from backfill_assets.store.evidence.unserved_symbols import UnansweredSymbol, UniverseCounts
from backfill_assets_tests.unit.around_the_clock_model import World

NOW = datetime(2026, 6, 3, 14, tzinfo=UTC)


@pytest.mark.parametrize(
    ("count", "active", "with_bars", "newly_unserved", "is_alarm"),
    [
        (1, 3, 2, 0, False),
        (2, 3, 1, 0, True),  # more without data than with bars
        (1, 1, 0, 0, True),  # nothing shows that the vendor answers at all
        (10, 30, 20, 0, False),
        (11, 30, 19, 0, True),
        (5, 30, 20, 6, True),  # eleven in a day
        (100, 5000, 4900, 0, False),  # 2 %
        (101, 5000, 4899, 0, True),
    ],
)
def test_more_than_two_percent_and_more_than_ten_are_an_alarm(
    count: int, active: int, with_bars: int, newly_unserved: int, is_alarm: bool
) -> None:
    assert is_too_many(count, UniverseCounts(active, with_bars, newly_unserved)) is is_alarm


def test_alarm_names_at_most_twenty_symbols() -> None:
    detail = describe_too_many([f"S{number}.US" for number in range(30)], UniverseCounts(100, 70, 0))
    assert "30 of 100 symbols never had a bar" in detail
    assert "S19.US, …" in detail
    assert "S20.US" not in detail


@pytest.mark.parametrize(
    ("last_day", "refusal", "reason"),
    [
        (date(2026, 6, 2), None, "the vendor has daily data only, until 2026-06-02"),
        (None, None, "the vendor answers without rows, intraday and daily"),
        (None, "HTTP status 404", "the vendor refuses it: HTTP status 404"),
    ],
)
def test_reason_is_what_the_vendor_said(last_day: date | None, refusal: str | None, reason: str) -> None:
    assert describe_reason(UnansweredSymbol(1, last_day, last_day, refusal, NOW)) == reason


@pytest.mark.parametrize(("minutes", "day"), [(29, date(2026, 11, 2)), (30, date(2026, 11, 3))])
def test_around_the_clock_a_session_counts_from_its_first_overdue_slot_on(minutes: int, day: date) -> None:
    """Not from its last one, a day later: a pair that is never served would alarm for so long."""
    world = World(datetime(2026, 11, 1, tzinfo=UTC), 4, 1, lambda *_: False)
    session = find_newest_overdue_session(world.measure(datetime(2026, 11, 4, tzinfo=UTC) + timedelta(minutes=minutes)))
    assert session is not None
    assert session.day == day
