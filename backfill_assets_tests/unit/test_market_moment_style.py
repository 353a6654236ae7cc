"""Moments as people see them: UTC for the US alone, else in the zone of the exchange, which is named."""

from datetime import UTC, datetime

import pytest

from backfill_assets.market.calendar.moment_style import UTC_STYLE, MomentStyle, choose_moment_style
from backfill_assets.market.exchanges.registry import PROFILES, US

WINTER, SUMMER = datetime(2024, 3, 8, 16, 30, tzinfo=UTC), datetime(2024, 6, 3, 23, 0, 5, tzinfo=UTC)


def test_us_alone_is_shown_in_utc() -> None:
    style = choose_moment_style(US, ["US"])
    assert style is UTC_STYLE
    assert style.format_minute(WINTER) == "2024-03-08 16:30 UTC"
    assert style.format_moment(WINTER) == style.format_without_zone(WINTER) == "2024-03-08T16:30:00Z"
    assert style.zone_name == "UTC"


@pytest.mark.parametrize(
    ("exchange", "enabled", "moment", "text"),
    [
        ("LSE", ["LSE"], WINTER, "2024-03-08 16:30 London (LSE)"),
        ("LSE", ["US", "LSE"], SUMMER, "2024-06-04 00:00:05 London (LSE)"),
        ("US", ["US", "LSE"], WINTER, "2024-03-08 11:30 New York (US)"),
        ("AU", ["AU"], SUMMER, "2024-06-04 09:00:05 Sydney (AU)"),
        ("SA", ["AU", "SA"], WINTER, "2024-03-08 13:30 Sao Paulo (SA)"),
    ],
)
def test_others_are_shown_in_their_zone(exchange: str, enabled: list[str], moment: datetime, text: str) -> None:
    assert choose_moment_style(PROFILES[exchange], enabled).format_moment(moment) == text


def test_a_heading_names_zone_and_exchange() -> None:
    style = MomentStyle(PROFILES["KO"])
    assert style.zone_name == "Seoul, KO"
    assert style.format_without_zone(WINTER) == "2024-03-09 01:30"
    assert style.format_minute(SUMMER) == "2024-06-04 08:00 Seoul (KO)"
    assert style.format_optional_moment(None) is None
