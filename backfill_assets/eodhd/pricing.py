"""What EODHD charges for a request and how much one request may cover (docs/vendor.md §1.4, §2.3).

The only place with these numbers. It imports no library, because help texts and plans show prices.
"""

from datetime import date, timedelta

from backfill_assets.market.vendor_prices import CallPrices, RequestLimits

CALL_PRICES = CallPrices(
    intraday=5,
    quote=1,
    exchange_quotes=100,
    daily=1,
    bulk_daily=100,
    splits=1,
    bulk_splits=100,
    dividends=1,
    bulk_dividends=100,
    symbol_list=1,
    symbol_changes=5,
    exchange_list=1,
    exchange_hours=None,  # unknown (docs/vendor.md §6.13)
    account=0,  # measured; documented as 1 (docs/vendor.md §6.12)
)
ASSUMED_HOURS_CALLS = 5  # what budgets count for hours: the price of their first version
REQUEST_LIMITS = RequestLimits(
    max_intraday_spans={"1m": timedelta(days=120), "5m": timedelta(days=600), "1h": timedelta(days=7200)},
    max_rows=100_000,  # 120 days of 1m in New York are 80,000, extended hours included; no answer is longer
    default_max_span=timedelta(days=120),  # not documented for other intervals, therefore the shortest (§6.8)
    symbol_changes_since=date(2022, 7, 22),  # docs/vendor.md §5.8
)


def format_calls(count: int) -> str:
    """``1 call``, ``5 calls``."""
    return f"{count:,} call" + ("" if count == 1 else "s")
