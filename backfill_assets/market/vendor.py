"""What the pipeline needs of a market-data vendor: one protocol and the values it returns.

The values are plain columns and records, as the vendor sent them: absent numbers are NaN or None, and nothing is
checked for plausibility. Corporate actions are in ``market.vendor_actions``. How to talk to a vendor (HTTP, retries,
parsing) belongs to that vendor's package. What requests cost is in ``market.vendor_prices``, the errors that a client
raises are in ``market.vendor_errors``.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, time
from typing import Protocol, Self, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from backfill_assets.market.arrays import Bools, Floats, Int64
from backfill_assets.market.purposes import Purpose
from backfill_assets.market.vendor_actions import DividendRows, SplitRows
from backfill_assets.market.vendor_prices import CallPrices, RequestLimits

DateArray: TypeAlias = NDArray[np.datetime64]
RecordT = TypeVar("RecordT")
DAILY_COLUMNS = ("date", "open", "high", "low", "close", "adjusted_close", "volume")
INTRADAY_COLUMNS = ("timestamp", "open", "high", "low", "close", "volume")


@dataclass(frozen=True, eq=False)
class IntradayRows:
    """An intraday response as columns of one length, in the vendor's order; absent numbers are NaN.

    Attributes:
        timestamp: open of each row, epoch seconds UTC.
        warning: the vendor's remark, for example that the plan limits the data.
    """

    timestamp: Int64
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    warning: str | None = None

    def __len__(self) -> int:
        return len(self.timestamp)

    def filter_rows(self, mask: Bools) -> "IntradayRows":
        """The rows where ``mask`` is true."""
        return replace(self, **{name: getattr(self, name)[mask] for name in INTRADAY_COLUMNS})


@dataclass(frozen=True, eq=False)
class DailyRows:
    """One ticker's daily rows in the vendor's order; absent numbers are NaN.

    Attributes:
        date: session dates (``datetime64[D]``).
        warning: the vendor's remark, for example that the plan limits the data.
    """

    date: DateArray
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    adjusted_close: Floats
    volume: Floats
    warning: str | None = None

    def __len__(self) -> int:
        return len(self.date)

    def filter_rows(self, mask: Bools) -> "DailyRows":
        """The rows where ``mask`` is true."""
        return replace(self, **{name: getattr(self, name)[mask] for name in DAILY_COLUMNS})


@dataclass(frozen=True, eq=False)
class BulkDailyRows:
    """One day of a whole exchange.

    Attributes:
        code: the symbol without its exchange suffix.
        date: session dates (``datetime64[D]``).
        unparsable_rows: number of rows that cannot be read; they are not in the columns.
        unreadable_codes: the symbols of those rows, as far as they can be read.
        unnamed_rows: number of those rows whose symbol cannot be read either.
        warning: the vendor's remark, for example that the plan limits the data.
    """

    code: NDArray[np.object_]
    date: DateArray
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    adjusted_close: Floats
    volume: Floats
    unparsable_rows: int = 0
    unreadable_codes: frozenset[str] = frozenset()
    unnamed_rows: int = 0
    warning: str | None = None

    def __len__(self) -> int:
        return len(self.code)


@dataclass(frozen=True)
class Quote:
    """The day so far of one ticker; absent values are None.

    Attributes:
        code: the ticker as the vendor writes it, for example ``AMD.US``.
        timestamp: of the last trade, epoch seconds UTC.
        open: of the day; ``high``, ``low`` and ``volume`` cover the day so far, too.
        close: the last price.
    """

    code: str
    timestamp: int | None = None
    open: float | None = None
    high: float | None = None
    low: float | None = None
    close: float | None = None
    volume: float | None = None


@dataclass(frozen=True)
class AccountUsage:
    """The account that a token belongs to.

    Attributes:
        api_requests: calls used on ``api_requests_date`` (UTC day, vendor's clock). Both stay on the previous day until
            the first billed call of a day.
        daily_rate_limit: calls a day.
        extra_limit: purchased calls left; the vendor spends them without notice when the day's calls are used up.
    """

    api_requests: int | None
    api_requests_date: date | None
    daily_rate_limit: int | None
    extra_limit: int | None


@dataclass(frozen=True)
class ListedSymbol:
    """A line of an exchange's symbol list; ``code`` is the symbol without its exchange suffix."""

    code: str
    name: str | None
    country: str | None
    exchange: str | None
    currency: str | None
    symbol_type: str | None
    isin: str | None


@dataclass(frozen=True)
class SymbolChange:
    """A renamed symbol; both symbols without exchange suffix."""

    exchange: str | None
    old_symbol: str
    new_symbol: str
    company_name: str | None
    effective_date: date | None


@dataclass(frozen=True)
class ExchangeHours:
    """The hours of an exchange as the vendor has them; times are local, absent ones are None.

    Attributes:
        name: of the exchange.
        zone: name of the time zone.
        opens: of a regular session.
        closes: of a regular session.
        lunch: start and end of the break at noon; None: there is none.
        holidays: days without a session, as the vendor says. On a bank's holiday an exchange may be open.
        bank_holidays: days that are holidays of banks.
        early_closes: day → the close.
    """

    name: str | None
    zone: str | None
    opens: time | None
    closes: time | None
    lunch: tuple[time, time] | None
    holidays: frozenset[date]
    bank_holidays: frozenset[date]
    early_closes: Mapping[date, time]


class RecordList(list[RecordT]):
    """The records of a response in the vendor's order, with the vendor's remark if there is one."""

    def __init__(self, records: Iterable[RecordT] = (), warning: str | None = None) -> None:
        super().__init__(records)
        self.warning = warning


class VendorClient(Protocol):
    """A vendor's endpoints. Every ``fetch_`` method may raise a ``VendorError``; tickers look like ``AAPL.US``."""

    @property
    def prices(self) -> CallPrices:
        """What each request costs."""
        ...

    @property
    def limits(self) -> RequestLimits:
        """How much one request may cover."""
        ...

    def for_purpose(self, purpose: Purpose) -> Self:
        """The same client, connections and rate limiter included, for requests of another purpose."""
        ...

    async def fetch_intraday(self, ticker: str, interval: str, start: int, end: int) -> IntradayRows:
        """Rows from ``start`` to ``end`` (epoch seconds UTC, both inclusive)."""
        ...

    async def fetch_daily(self, ticker: str, first: date | None = None, last: date | None = None) -> DailyRows:
        """Daily rows from ``first`` to ``last``, both inclusive; without bounds the whole history."""
        ...

    async def fetch_bulk_daily(self, exchange: str, day: date | None = None) -> BulkDailyRows:
        """The daily rows of a whole exchange for one day; without ``day`` the newest one."""
        ...

    async def fetch_splits(self, ticker: str, first: date | None = None) -> SplitRows:
        """The splits of a ticker from ``first`` on; without it all of them."""
        ...

    async def fetch_bulk_splits(self, exchange: str, day: date) -> SplitRows:
        """The splits of a whole exchange that take effect on ``day``."""
        ...

    async def fetch_dividends(self, ticker: str, first: date | None = None) -> DividendRows:
        """The cash dividends of a ticker with an ex-date from ``first`` on; without it all of them."""
        ...

    async def fetch_bulk_dividends(self, exchange: str, day: date) -> DividendRows:
        """The cash dividends of a whole exchange whose ex-date is ``day``."""
        ...

    async def fetch_quotes(self, tickers: Sequence[str]) -> list[Quote]:
        """The day so far of each ticker; a ticker that the vendor does not know comes without values."""
        ...

    async def fetch_exchange_quotes(self, exchange: str) -> list[Quote]:
        """The day so far of every ticker of an exchange."""
        ...

    def split_quote_batches(self, tickers: Sequence[str]) -> Iterable[list[str]]:
        """Batches of tickers that fit one ``fetch_quotes`` request each."""
        ...

    async def fetch_symbols(
        self, exchange: str, *, delisted: bool = False, symbol_type: str | None = None
    ) -> RecordList[ListedSymbol]:
        """The listed symbols of an exchange, or the delisted ones."""
        ...

    async def fetch_symbol_changes(self, first: date, last: date) -> RecordList[SymbolChange]:
        """Symbols renamed from ``first`` to ``last``, both inclusive."""
        ...

    async def fetch_account(self) -> AccountUsage:
        """Calls used and allowed."""
        ...
