"""Fits the requests of a plan to the listings of its tickers: which days they cover, and which ticker is asked.

Outside its newest listing a ticker is not requested: its earlier bars are another instrument's, or stand under the
ticker before. The vendor gives the history of a renamed ticker under the new name. So the bars of the old one are
requested under its own name while the vendor knows it, and then under the present one; they are stored under the old.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np

from backfill_assets.backfill.planner import Plan, PlannedRequest
from backfill_assets.market.calendar.tickers import Ticker
from backfill_assets.market.gaps.coverage import Coverage
from backfill_assets.market.vendor_errors import UnknownTicker
from backfill_assets.store.listing_bounds import ListingBounds

T = TypeVar("T")


def fit_to_listings(plan: Plan, coverage: Coverage, bounds: Mapping[int, ListingBounds]) -> Plan:
    """The plan without days outside the newest listing of a ticker, each request with the tickers to ask.

    Args:
        plan: as it was made for the coverage.
        coverage: the state of every slot of the window.
        bounds: by symbol_id, of the tickers that have listings.
    """
    if not bounds:
        return plan
    fitted = [
        request if (bound := bounds.get(request.symbol.symbol_id)) is None else _fit(request, plan, coverage, bound)
        for request in plan.requests
    ]
    return replace(
        plan,
        requests=tuple(request for request in fitted if request is not None),
        slot_keys=_select_slot_keys(plan, coverage, bounds),
    )


async def ask_one_of(tickers: Sequence[Ticker], send: Callable[[str], Awaitable[T]]) -> T:
    """The answer for the first of the tickers that the vendor knows; ``send`` makes the request for one.

    Raises:
        VendorError: as ``send``; UnknownTicker only if the vendor knows none.
    """
    for ticker in tickers[:-1]:
        try:
            return await send(str(ticker))
        except UnknownTicker:
            continue
    return await send(str(tickers[-1]))


def _fit(request: PlannedRequest, plan: Plan, coverage: Coverage, bound: ListingBounds) -> PlannedRequest | None:
    days = [session.day for session in plan.grid.sessions[request.first_session : request.last_session + 1]]
    listed = [position for position, day in enumerate(days, request.first_session) if bound.holds(day)]
    if not listed:
        return None
    first, last = listed[0], listed[-1]
    closed = int(plan.grid.sessions[request.last_session].close.timestamp())
    return replace(
        request,
        start=int(plan.grid.sessions[first].rows_from.timestamp()),
        end=request.end - closed + int(plan.grid.sessions[last].close.timestamp()),
        first_session=first,
        last_session=last,
        tickers=bound.list_tickers(request.symbol.ticker, is_in_vain=_was_in_vain(request, coverage)),
    )


def _was_in_vain(request: PlannedRequest, coverage: Coverage) -> bool:
    """Whether the sessions that make the request due were requested when overdue, and no answer had a row of them."""
    history = coverage.request_history
    entries = history.build_entry_index(len(coverage.symbols), len(coverage.grid.sessions))
    due = range(request.oldest_due_session, request.newest_due_session + 1)
    found = [(session, int(entries[request.row, session])) for session in due]
    return all(
        entry >= 0
        and history.data_until[entry] == 0
        and history.requested_at[entry] >= coverage.overdue_at[session].timestamp()
        for session, entry in found
    )


def _select_slot_keys(
    plan: Plan, coverage: Coverage, bounds: Mapping[int, ListingBounds]
) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    """The requested slots within the listings."""
    evidence, grid = coverage.absence_evidence, coverage.grid
    row, ordinal = grid.split_slot_keys(plan.slot_keys)
    session = grid.session_index[ordinal]
    has_listing = np.array([symbol.symbol_id in bounds for symbol in coverage.symbols], bool)
    is_outside = (session < evidence.first_session[row]) | (session > evidence.last_session[row])
    return plan.slot_keys[~(has_listing[row] & is_outside)]
