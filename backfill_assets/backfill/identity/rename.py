"""Records that a ticker became another one, and takes that back: one instrument, whose new ticker takes over.

One function for the command ``symbols rename`` and for the inbox. No bar is moved or changed: bars stay under the
ticker that they were stored for, and the listings say which of them are one instrument. Which listings change is
decided in ``rename_plan``; what speaks for a rename is in ``rename_evidence``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from backfill_assets.backfill.identity.activation import deactivate_ticker, reactivate_ticker
from backfill_assets.backfill.identity.rename_plan import (
    NOT_ADDED,
    ListingChanges,
    RecordedLives,
    Rename,
    RenameRefused,
    plan_listings,
)
from backfill_assets.market.calendar.listings import Listing
from backfill_assets.market.calendar.tickers import Ticker
from backfill_assets.market.exchanges.registry import get_profile
from backfill_assets.store.bars.listing_bars import NO_BARS, find_bars_around
from backfill_assets.store.listings import (
    NewListing,
    list_related_listings,
    lock_listings,
    record_listings,
    restore_listings,
    withdraw_listings,
)
from backfill_assets.store.postgres.connection import Connection
from backfill_assets.store.symbols import add_symbols, deactivate_symbols, list_active_rows, list_symbols


def read_recorded_lives(connection: Connection, rename: Rename) -> RecordedLives:
    """What is stored about both tickers.

    Raises:
        RenameRefused: the old ticker is not in the universe, or both are one.
    """
    if rename.old == rename.new:
        raise RenameRefused(f"{rename.old} cannot be renamed to itself")
    ids = {s.ticker: s.symbol_id for s in list_symbols(connection, rename.old.exchange, only_active=False)}
    old_id, new_id = ids.get(rename.old), ids.get(rename.new)
    if old_id is None:
        raise RenameRefused(
            f"{rename.old} is not in the universe, so there is nothing to rename; add the new ticker:"
            f" backfill-assets symbols add {rename.new}"
        )
    opened, market = rename.first_session.open, get_profile(rename.old.exchange)
    return RecordedLives(
        old_id,
        new_id,
        list_related_listings(connection, [old_id, *([] if new_id is None else [new_id])]),
        find_bars_around(connection, old_id, opened, market),
        NO_BARS if new_id is None else find_bars_around(connection, new_id, opened, market),
    )


def record_rename(connection: Connection, rename: Rename, source: str, by: str, now: datetime) -> dict[str, Any]:
    """Record a rename: listings, the old ticker ended, the new one active; all in the open transaction.

    Args:
        connection: with a transaction open.
        rename: the rename.
        source: what it rests on, in words.
        by: user and machine.
        now: the moment, UTC.

    Returns:
        What was changed, as JSON values for ``undo_rename``.

    Raises:
        RenameRefused: what is recorded or stored contradicts it; then nothing is changed.
        UsageError: the table refuses the new ticker.
    """
    lock_listings(connection)
    lives = read_recorded_lives(connection, rename)
    plan = plan_listings(rename, lives)
    is_new_active = bool(list_active_rows(connection, [rename.new]))
    add_symbols(connection, [rename.new])
    new_id = next(s.symbol_id for s in list_symbols(connection, rename.new.exchange) if s.ticker == rename.new)
    recorded = _change_listings(connection, plan, new_id, f"{rename}: {source}", by, now)
    changes: dict[str, Any] = {
        "renamed": str(rename.old),
        "renamed_to": str(rename.new),
        "on": rename.first_day.isoformat(),
        "withdrawn": sorted(one.listing_id for one in plan.withdrawn),
        "recorded": sorted(one.listing_id for one in recorded),
        "activated": None if is_new_active else str(rename.new),
        "symbols": [lives.old_id, new_id],
    }
    if not plan.is_old_continued:
        changes |= deactivate_ticker(connection, rename.old, now)
    related = list_related_listings(connection, changes["symbols"])
    return {**changes, "listings": sorted(one.listing_id for one in related)}


def undo_rename(connection: Connection, changes: Mapping[str, Any], by: str, now: datetime) -> None:
    """Take a rename back: listings, activation and findings are as before; rows of the universe stay.

    Raises:
        RenameRefused: a listing of one of the tickers, or whether one of them is active, has changed since.
    """
    lock_listings(connection)
    old, new = _parse_ticker(changes["renamed"]), _parse_ticker(changes["renamed_to"])
    _require_as_left(connection, changes, old, new)
    withdraw_listings(connection, changes["recorded"], by=by, now=now)
    restore_listings(connection, changes["withdrawn"])
    if changes["activated"]:
        deactivate_symbols(connection, [new])
    if "deactivated" in changes:
        reactivate_ticker(connection, changes)


def _require_as_left(connection: Connection, changes: Mapping[str, Any], old: Ticker, new: Ticker) -> None:
    """Make sure that nothing has changed since the rename.

    Raises:
        RenameRefused: something has; the message names it.
    """
    present = [one.listing_id for one in list_related_listings(connection, changes["symbols"])]
    if sorted(present) != changes["listings"]:
        what = "the listings of these tickers have"
    elif not list_active_rows(connection, [new]):
        what = f"{new} is not active any more, so the universe has"
    elif "deactivated" in changes and list_active_rows(connection, [old]):
        what = f"{old} is active again, so the universe has"
    else:
        return
    raise RenameRefused(
        f"the rename of {old} to {new} on {changes['on']} cannot be undone: {what} changed since; see: backfill-assets"
        f" symbols show {old} {new}"
    )


def _parse_ticker(name: str) -> Ticker:
    """The ticker that ``str`` made the text of."""
    symbol, _, exchange = name.rpartition(".")
    return Ticker(symbol, exchange)


def _change_listings(
    connection: Connection, plan: ListingChanges, new_id: int, source: str, by: str, now: datetime
) -> list[Listing]:
    def record(listings: Sequence[NewListing], instrument_id: int | None) -> list[Listing]:
        known = [replace(one, symbol_id=new_id) if one.symbol_id == NOT_ADDED else one for one in listings]
        of_instrument = [replace(one, instrument_id=instrument_id) for one in known]
        return record_listings(connection, of_instrument, source=source, by=by, now=now)

    withdraw_listings(connection, [one.listing_id for one in plan.withdrawn], by=by, now=now)
    recorded = record([plan.old], plan.instrument_id) if plan.old else []
    instrument_id = recorded[0].instrument_id if recorded else plan.instrument_id
    return recorded + record(plan.new, instrument_id) + record(plan.others, None)
