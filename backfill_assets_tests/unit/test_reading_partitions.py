"""Sessions as Dagster's partitions: one key for each session of the exchange, whatever its weekdays off are."""

from dataclasses import replace
from datetime import date, datetime, time, timedelta

import dagster as dg
import pytest
from dagster._core.definitions.partitions.context import partition_loading_context

from backfill_assets.config.settings import load_settings
from backfill_assets.errors import UsageError
from backfill_assets.market.calendar.sessions import list_sessions
from backfill_assets.market.exchanges.profile import CalendarOverrides, MarketProfile
from backfill_assets.market.exchanges.registry import US, get_profile
from backfill_assets.reading import dagster as reading_dagster
from backfill_assets.reading.dagster import build_session_days, list_closed_days, on_complete_session

FIRST, LAST = date(2026, 1, 1), date(2027, 12, 31)
SATURDAY = date(2026, 6, 6)
OPEN_SATURDAY = CalendarOverrides(
    extra_sessions={SATURDAY: (time(10), time(13))}, closures=frozenset({date(2026, 6, 8)})
)


def list_keys(market: MarketProfile, first: date, last: date) -> list[str]:
    partitions = dg.DailyPartitionsDefinition(
        start_date=first.isoformat(),
        end_date=(last + timedelta(days=1)).isoformat(),
        timezone=str(market.zone),
        exclusions=list_closed_days(market, first, last),
    )
    with partition_loading_context(effective_dt=datetime(2028, 6, 1, tzinfo=market.zone)):
        return list(partitions.get_partition_keys())


@pytest.mark.parametrize("market", [US, get_profile("AU"), get_profile("LSE"), replace(US, overrides=OPEN_SATURDAY)])
def test_keys_are_the_sessions(market: MarketProfile) -> None:
    sessions = [session.day.isoformat() for session in list_sessions(market, FIRST, LAST)]
    assert list_keys(market, FIRST, LAST) == sessions
    assert (SATURDAY.isoformat() in sessions) == bool(market.overrides.extra_sessions)


def test_exclusions_of_the_us_are_those_of_before() -> None:
    """Dagster compares definitions, and forgets what waits if they differ."""
    days = (FIRST + timedelta(days=n) for n in range((LAST - FIRST).days + 1))
    open_days = {session.day for session in list_sessions(US, FIRST, LAST)}
    holidays = [datetime.combine(day, time(), US.zone) for day in days if day.weekday() < 5 and day not in open_days]
    assert list_closed_days(US, FIRST, LAST) == ["0 0 * * 6", "0 0 * * 0", *holidays]


def test_a_calendar_that_ends_leaves_later_days_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes after it is not known; definitions load until that day."""
    monkeypatch.setattr(reading_dagster, "find_calendar_end", lambda *_: date(2026, 12, 31))
    closed = list_closed_days(US, FIRST, LAST)
    assert max(day for day in closed if isinstance(day, datetime)).date() == date(2026, 12, 25)


def test_days_of_an_exchange_are_in_its_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    """At 23:30 UTC on Sunday, Monday's session is open in Sydney, and none in New York."""
    settings = load_settings(as_of=datetime.fromisoformat("2026-02-01T23:30:00Z"))
    sydney, new_york = (build_session_days(settings, code, FIRST) for code in ("AU", "US"))
    assert (sydney.timezone, new_york.timezone) == ("Australia/Sydney", "America/New_York")
    assert sydney.get_last_partition_key() == "2026-02-02"
    assert new_york.get_last_partition_key() == "2026-01-30"
    monkeypatch.setenv("BACKFILL_AS_OF", "2026-02-01T23:30:00Z")
    assert on_complete_session(exchange="AU", start="2026-02-02").is_serializable
    with pytest.raises(UsageError, match="no session from then on has begun"):
        on_complete_session(start="2026-02-02")
