"""Records that a ticker named several instruments in turn, and takes that back.

What shows it is in ``market.identity.recycled``. Bars stay under the ticker; the listings say whose they are.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from backfill_assets.errors import UsageError
from backfill_assets.market.calendar.listings import Listing, sort_listings
from backfill_assets.market.identity.recycled import TickerBreak
from backfill_assets.store.listings import (
    NewListing,
    list_listings,
    list_related_listings,
    lock_listings,
    record_listings,
    restore_listings,
    withdraw_listings,
)
from backfill_assets.store.postgres.connection import Connection


class RecycledRefused(UsageError):  # noqa: N818 - names what happened
    """Lives of a ticker that cannot be recorded or taken back; the message says why (exit code 2)."""


def select_unrecorded(listings: Sequence[Listing], breaks: Sequence[TickerBreak]) -> list[TickerBreak]:
    """Breaks of a ticker that its recorded listings do not tell of: both sides would be one instrument."""
    if not listings:
        return list(breaks)
    return [
        one
        for one in breaks
        if any(life.is_listed_on(one.last.day) and life.is_listed_on(one.first.day) for life in listings)
    ]


def record_lives(
    connection: Connection, symbol_id: int, breaks: Sequence[TickerBreak], by: str, now: datetime
) -> dict[str, Any]:
    """Record the lives that breaks part a ticker into, each as an instrument of its own.

    A listing that a break parts is withdrawn; its instrument keeps the last part, or the first one if it had another
    ticker before.

    Returns:
        What was changed, as JSON values for ``undo_lives``.

    Raises:
        RecycledRefused: the breaks are recorded already, or the instrument had another ticker before and after.
    """
    lock_listings(connection)
    own = list_listings(connection, [symbol_id])
    to_part = select_unrecorded(own, breaks)
    if not to_part:
        raise RecycledRefused("the lives of this ticker are recorded already")
    parted = next((one for one in own if one.is_listed_on(to_part[0].last.day)), None)
    within = [one for one in to_part if parted is None or parted.is_listed_on(one.first.day)]
    lives = _build_lives(symbol_id, within, parted)
    keeper = _find_keeper(connection, parted)
    withdraw_listings(connection, [parted.listing_id] if parted else [], by=by, now=now)
    recorded = []
    for position, life in enumerate(lives):
        is_keeper = parted is not None and position == (keeper % len(lives))
        instrument = parted.instrument_id if parted and is_keeper else None
        new = NewListing(life.symbol_id, life.listed_from, life.listed_until, instrument)
        source = f"recycled ticker: daily history {'; '.join(map(str, within))}"
        recorded += record_listings(connection, [new], source=source, by=by, now=now)
    return {
        "symbol_id": symbol_id,
        "withdrawn": [parted.listing_id] if parted else [],
        "recorded": [one.listing_id for one in recorded],
        "listings": _list_ids(connection, symbol_id),
    }


def undo_lives(connection: Connection, changes: Mapping[str, Any], ticker: str, by: str, now: datetime) -> None:
    """Take back what ``record_lives`` recorded.

    Raises:
        RecycledRefused: the ticker's listings have changed since.
    """
    lock_listings(connection)
    if _list_ids(connection, changes["symbol_id"]) != changes["listings"]:
        raise RecycledRefused(
            f"the lives of {ticker} cannot be taken back: its listings have changed since; see: backfill-assets symbols"
            f" show {ticker}"
        )
    withdraw_listings(connection, changes["recorded"], by=by, now=now)
    restore_listings(connection, changes["withdrawn"])


def _build_lives(symbol_id: int, breaks: Sequence[TickerBreak], parted: Listing | None) -> list[NewListing]:
    begins = [parted.listed_from if parted else None, *(one.first.day for one in breaks)]
    ends = [*(one.last.day for one in breaks), parted.listed_until if parted else None]
    return [NewListing(symbol_id, begin, end) for begin, end in zip(begins, ends, strict=True)]


def _find_keeper(connection: Connection, parted: Listing | None) -> int:
    """Which part keeps the instrument: the last (−1), or the first (0) if the instrument had another ticker before."""
    if parted is None:
        return -1
    mates = sort_listings(list_related_listings(connection, [parted.symbol_id]))
    mates = [one for one in mates if one.instrument_id == parted.instrument_id]
    position = mates.index(parted)
    if 0 < position < len(mates) - 1:
        raise RecycledRefused("the instrument had another ticker before and another one after: undo one rename first")
    return 0 if position else -1


def _list_ids(connection: Connection, symbol_id: int) -> list[int]:
    """The listings of the ticker, and of its instruments under other tickers."""
    return sorted(one.listing_id for one in list_related_listings(connection, [symbol_id]))
