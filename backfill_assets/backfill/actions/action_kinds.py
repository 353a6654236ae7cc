"""The kinds of corporate actions that the vendor lists: how each is requested, told apart and stored.

When they are read is in ``action_reading``.
"""

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from functools import partial
from typing import Generic, Protocol, TypeVar

from backfill_assets.backfill.actions.contradictions import resolve_splits
from backfill_assets.backfill.optional_endpoints import DIVIDENDS, DIVIDENDS_FILE, SPLITS, SPLITS_FILE
from backfill_assets.market.actions.listed_actions import (
    ListedDividend,
    ListedSplit,
    merge_dividends,
    merge_splits,
)
from backfill_assets.market.calendar.sessions import find_previous_session_day
from backfill_assets.market.calendar.tickers import Symbol
from backfill_assets.market.exchanges.profile import MarketProfile
from backfill_assets.market.purposes import Purpose
from backfill_assets.market.vendor import VendorClient
from backfill_assets.market.vendor_actions import ActionRows, DividendRow, SplitRow
from backfill_assets.market.vendor_prices import CallPrices
from backfill_assets.store.actions.action_reads import MarketFile, ReadsTable
from backfill_assets.store.actions.dividends import record_market_dividends, record_symbol_dividends
from backfill_assets.store.actions.splits import record_market_splits, record_symbol_splits
from backfill_assets.store.evidence.daily_reads import FileKind
from backfill_assets.store.evidence.findings import (
    ADJUSTED_CLOSES_DIFFER,
    COMMON_PRICE_FACTOR,
    DIVIDEND_IN_OTHER_CURRENCY,
    DIVIDENDS_CONTRADICT,
    SPLIT_WITHOUT_STEP,
    SPLITS_CONTRADICT,
)
from backfill_assets.store.postgres.connection import Connection

RowT = TypeVar("RowT", SplitRow, DividendRow)
ListedT = TypeVar("ListedT", ListedSplit, ListedDividend)
_RecordedT = TypeVar("_RecordedT", ListedSplit, ListedDividend, contravariant=True)


class _RecordList(Protocol[_RecordedT]):
    def __call__(
        self,
        connection: Connection,
        symbol_id: int,
        listed: Collection[_RecordedT],
        /,
        source: str,
        now: datetime,
        *,
        known_after: date,
        known_until: date,
    ) -> None: ...


class _RecordFile(Protocol[_RecordedT]):
    def __call__(
        self, connection: Connection, listed: Mapping[int, Collection[_RecordedT]], /, file: MarketFile
    ) -> None: ...


@dataclass(frozen=True)
class ActionKind(Generic[RowT, ListedT]):
    """A kind of corporate action.

    Attributes:
        name: for messages, and of the column of ``backfill.bulk_files``.
        purpose: of its requests.
        list_endpoint: of one symbol's list.
        file_endpoint: of the market's file.
        reads_table: for which symbols and days all are known.
        contradiction: the finding about versions that cannot be told apart.
        reread_findings: the kinds of findings about a symbol that let its own list be read again: it may have what was
            corrected since.
        get_prices: what a list and a file cost.
        fetch_list: requests a ticker's list.
        fetch_file: requests an exchange's file of a day.
        merge: tells duplicates of one symbol apart.
        record_list: stores a symbol's list.
        record_file: stores a market's file.
    """

    name: FileKind
    purpose: Purpose
    list_endpoint: str
    file_endpoint: str
    reads_table: ReadsTable
    contradiction: str
    reread_findings: frozenset[str]
    get_prices: Callable[[CallPrices], tuple[int, int]]
    fetch_list: Callable[[VendorClient, str], Awaitable[ActionRows[RowT]]]
    fetch_file: Callable[[VendorClient, str, date], Awaitable[ActionRows[RowT]]]
    merge: Callable[[Connection, Symbol, Iterable[RowT], MarketProfile], list[ListedT]]
    record_list: _RecordList[ListedT]
    record_file: _RecordFile[ListedT]


def _merge_splits(
    connection: Connection, symbol: Symbol, rows: Iterable[SplitRow], _: MarketProfile
) -> list[ListedSplit]:
    return resolve_splits(connection, symbol, merge_splits(rows))


def _merge_dividends(
    _: Connection, __: Symbol, rows: Iterable[DividendRow], market: MarketProfile
) -> list[ListedDividend]:
    return merge_dividends(rows, partial(find_previous_session_day, market))


SPLIT_KIND: ActionKind[SplitRow, ListedSplit] = ActionKind(
    name="splits",
    purpose=Purpose.SPLITS,
    list_endpoint=SPLITS,
    file_endpoint=SPLITS_FILE,
    reads_table="split_reads",
    contradiction=SPLITS_CONTRADICT,
    reread_findings=frozenset({SPLITS_CONTRADICT, SPLIT_WITHOUT_STEP, ADJUSTED_CLOSES_DIFFER, COMMON_PRICE_FACTOR}),
    get_prices=lambda prices: (prices.splits, prices.bulk_splits),
    fetch_list=lambda client, ticker: client.fetch_splits(ticker),
    fetch_file=lambda client, exchange, day: client.fetch_bulk_splits(exchange, day),
    merge=_merge_splits,
    record_list=record_symbol_splits,
    record_file=record_market_splits,
)
DIVIDEND_KIND: ActionKind[DividendRow, ListedDividend] = ActionKind(
    name="dividends",
    purpose=Purpose.DIVIDENDS,
    list_endpoint=DIVIDENDS,
    file_endpoint=DIVIDENDS_FILE,
    reads_table="dividend_reads",
    contradiction=DIVIDENDS_CONTRADICT,
    reread_findings=frozenset({DIVIDENDS_CONTRADICT, DIVIDEND_IN_OTHER_CURRENCY, ADJUSTED_CLOSES_DIFFER}),
    get_prices=lambda prices: (prices.dividends, prices.bulk_dividends),
    fetch_list=lambda client, ticker: client.fetch_dividends(ticker),
    fetch_file=lambda client, exchange, day: client.fetch_bulk_dividends(exchange, day),
    merge=_merge_dividends,
    record_list=record_symbol_dividends,
    record_file=record_market_dividends,
)
