"""The morning of each exchange: after its bars are overdue, on the days after its sessions, in its own time zone."""

from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import dagster as dg
import pytest

from backfill_assets.config.settings import load_settings
from backfill_assets.market.exchanges.profile import CalendarOverrides, MarketProfile
from backfill_assets.market.exchanges.registry import get_profile
from backfill_assets.orchestration.timetable import Morning, build_morning

NOW = datetime(2026, 6, 3, 14, 0, tzinfo=UTC)


def build(market: MarketProfile, **settings: Any) -> Morning:
    return build_morning(load_settings(as_of=NOW, **settings), market)


@pytest.mark.parametrize(
    ("exchange", "deadline", "report"),
    [
        ("US", "0 8 * * 2-6", "15 8 * * 2-6"),
        ("LSE", "30 8 * * 2-6", "45 8 * * 2-6"),  # closes at 16:30
        ("AU", "0 8 * * 2-6", "15 8 * * 2-6"),
    ],
)
def test_the_deadline_is_the_close_and_the_hours_until_bars_are_overdue(
    exchange: str, deadline: str, report: str
) -> None:
    assert build(get_profile(exchange)) == Morning(deadline, report, timedelta(hours=13))


def test_other_hours_move_it_to_another_day_but_not_in_new_york() -> None:
    later = build(get_profile("LSE"), overdue_hours=40)
    assert later == Morning("30 8 * * 0,3-6", "45 8 * * 0,3-6", timedelta(hours=23))
    assert build(get_profile("LSE"), overdue_hours=0.1).reach == timedelta(hours=1)
    assert build(get_profile("US"), overdue_hours=40) == build(get_profile("US"))
    for morning in (later, build(get_profile("LSE"), overdue_hours=240)):
        dg.FreshnessPolicy.cron(
            deadline_cron=morning.deadline_cron, lower_bound_delta=morning.reach, timezone="Europe/London"
        )


def test_an_extra_session_on_a_saturday_changes_no_weekday() -> None:
    extra = CalendarOverrides(extra_sessions={date(2026, 5, 30): (time(9), time(12))})
    market = replace(get_profile("LSE"), overrides=extra)
    assert build(market).deadline_cron == "30 8 * * 2-6"
