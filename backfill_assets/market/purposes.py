"""What a request to the vendor is made for, and which purpose comes first when the day's calls get short."""

from collections.abc import Mapping
from enum import StrEnum


class Purpose(StrEnum):
    """What a request is made for, in order of precedence; stored with every attempt and with the day's calls.

    ``account`` requests cost nothing and have no place in the order. A new purpose needs a place in it, and its share
    in ``KEPT_SHARES``.
    """

    ACCOUNT = "account"  # the vendor's count of the day's calls
    LIVE = "live"  # quotes of the current day, from a budget of its own
    GAP = "gap"  # bars that are absent, and what a person asks for
    REFERENCE = "reference"  # the symbol list of an exchange, one call
    DAILY = "daily"  # daily data and renames, which explain absence and which bars are compared with
    SPLITS = "splits"  # splits, without which daily volumes cannot be compared
    DIVIDENDS = "dividends"  # dividends, and the closes before them, for adjusted prices
    CROSS_FEED = "cross_feed"  # doubtful and absent bars in the vendor's other feed
    REVIEW = "review"  # bars that are read again for corrections
    HISTORY = "history"  # bars of older sessions that were not watched before


# The share of the day's calls, as far as this program may use them, that a purpose leaves to those before it.
KEPT_SHARES: Mapping[Purpose, float] = {
    Purpose.ACCOUNT: 0.0,
    Purpose.LIVE: 0.0,
    Purpose.GAP: 0.0,
    Purpose.REFERENCE: 0.0,
    Purpose.DAILY: 0.05,
    Purpose.SPLITS: 0.05,
    Purpose.DIVIDENDS: 0.05,
    Purpose.CROSS_FEED: 0.1,
    Purpose.REVIEW: 0.15,
    Purpose.HISTORY: 0.25,
}
