"""The first day of each of the vendor's intraday feeds, by source interval (docs/vendor.md §2.5, §8.2).

When a single exchange's data begin later is its profile's ``data_from``. When a ticker's own begin is its listing's.
"""

from datetime import date

from backfill_assets.errors import UsageError
from backfill_assets.market.exchanges.profile import MarketProfile

FEED_BEGINNINGS = {"1m": date(2004, 1, 1), "5m": date(2020, 10, 12)}


def find_feed_beginning(market: MarketProfile, source_interval: str) -> date:
    """The first day of which the vendor has rows of ``source_interval`` (such as ``5m``) for any symbol."""
    return max(FEED_BEGINNINGS[source_interval], market.data_from or date.min)


def require_within_feed(market: MarketProfile, source_interval: str, first: date, name: str) -> None:
    """Make sure that a day from which bars are to be requested is not before the feed's first one.

    Args:
        market: the exchange.
        source_interval: the interval of the vendor's rows, such as ``5m``.
        first: the day.
        name: the option or setting that it comes from, for the message.

    Raises:
        UsageError: it is; the message names the feed and its first day.
    """
    beginning = find_feed_beginning(market, source_interval)
    if first < beginning:
        raise UsageError(
            f"{name} {first} is before the vendor's first {source_interval} rows of {market.exchange}; give {beginning}"
            " or a later day"
        )
