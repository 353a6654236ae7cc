"""What requests to a vendor cost and how much one may cover; the figures belong to the vendor's package.

It imports no array library, so that ``--help`` can show prices at once.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta


@dataclass(frozen=True, slots=True)
class CallPrices:
    """What requests cost, in the vendor's calls.

    Attributes:
        intraday: one ``fetch_intraday`` request, whatever its span.
        quote: each ticker of ``fetch_quotes``.
        exchange_quotes: one ``fetch_exchange_quotes``.
        daily: one ``fetch_daily``, whatever its span.
        bulk_daily: one ``fetch_bulk_daily``.
        splits: one ``fetch_splits``, whatever its span.
        bulk_splits: one ``fetch_bulk_splits``.
        dividends: one ``fetch_dividends``, whatever its span.
        bulk_dividends: one ``fetch_bulk_dividends``.
        symbol_list: one ``fetch_symbols``.
        symbol_changes: one ``fetch_symbol_changes``.
        exchange_list: one list of the vendor's exchanges.
        exchange_hours: one request for the hours of an exchange; None: unknown.
        account: one ``fetch_account``.
    """

    intraday: int
    quote: int
    exchange_quotes: int
    daily: int
    bulk_daily: int
    splits: int
    bulk_splits: int
    dividends: int
    bulk_dividends: int
    symbol_list: int
    symbol_changes: int
    exchange_list: int
    exchange_hours: int | None
    account: int


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """How much one request may cover.

    Attributes:
        max_intraday_spans: longest span of one intraday request, by name of the source interval.
        default_max_span: the same for intervals that are not listed.
        max_rows: the most rows that one answer is asked for.
        symbol_changes_since: the first day that ``fetch_symbol_changes`` knows of; None: there is no first one.
    """

    max_intraday_spans: Mapping[str, timedelta]
    default_max_span: timedelta
    max_rows: int
    symbol_changes_since: date | None = None

    def get_max_span(self, interval_name: str) -> timedelta:
        """The longest span of one intraday request of a source interval."""
        return self.max_intraday_spans.get(interval_name, self.default_max_span)

    def get_max_trading(self, interval_seconds: int) -> timedelta:
        """The longest time of which one answer may have rows that are ``interval_seconds`` apart."""
        return timedelta(seconds=self.max_rows * interval_seconds)
