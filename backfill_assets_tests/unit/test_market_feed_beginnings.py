"""The first day of each of the vendor's feeds (docs/vendor.md §2.5, §8.2)."""

from datetime import date, timedelta

import pytest

from backfill_assets.errors import UsageError
from backfill_assets.market.exchanges.feed_beginnings import find_feed_beginning, require_within_feed
from backfill_assets.market.exchanges.registry import PROFILES


@pytest.mark.parametrize(
    ("exchange", "interval", "day"),
    [
        ("US", "5m", date(2020, 10, 12)),
        ("US", "1m", date(2004, 1, 1)),
        ("LSE", "5m", date(2020, 10, 12)),
        ("TW", "5m", date(2025, 1, 1)),
        ("CC", "5m", date(2020, 10, 12)),
        ("CC", "1m", date(2009, 1, 1)),
        ("FOREX", "1m", date(2009, 1, 1)),
    ],
)
def test_a_day_before_the_feed_is_refused_by_name_and_its_first_day_is_not(
    exchange: str, interval: str, day: date
) -> None:
    market = PROFILES[exchange]
    assert find_feed_beginning(market, interval) == day
    require_within_feed(market, interval, day, "--start")
    before = day - timedelta(days=1)
    with pytest.raises(UsageError) as caught:
        require_within_feed(market, interval, before, "--start")
    assert str(caught.value) == (
        f"--start {before} is before the vendor's first {interval} rows of {exchange}; give {day} or a later day"
    )
