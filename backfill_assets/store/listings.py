"""Listings in the store: which tickers an instrument had, and when. A person confirms each; none is made by itself.

Values and questions about them are in ``market.calendar.listings``; what a rename or a recycled ticker changes besides
is in ``backfill.identity``. A listing is never rewritten: other days of it are another row, and the earlier one is
withdrawn. The lives of one ticker do not overlap, nor do the tickers of one instrument.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from typing import Any

from backfill_assets.errors import UsageError
from backfill_assets.market.calendar.listings import Listing, find_overlap, sort_listings
from backfill_assets.store.postgres.connection import Connection

_LOCK = 0x6C697374  # "list" in ASCII: one process at a time changes listings
_TAKE_LOCK = "SELECT pg_advisory_xact_lock(%(lock)s)"
_COLUMNS = "listing_id, instrument_id, symbol_id, listed_from, listed_until"
_SELECT_ALL = f"SELECT {_COLUMNS} FROM backfill.listings WHERE withdrawn_at IS NULL"  # noqa: S608 - constants
_SELECT_OF_SYMBOLS = f"{_SELECT_ALL} AND symbol_id = ANY (%(ids)s::int[])"
# The instrument of the ticker's listing that holds the day; without a day, of its newest one.
_SELECT_OF_INSTRUMENT = f"""
{_SELECT_ALL} AND instrument_id = (
    SELECT instrument_id FROM backfill.listings
    WHERE withdrawn_at IS NULL AND symbol_id = %(symbol_id)s
      AND (%(day)s::date IS NULL OR %(day)s BETWEEN coalesce(listed_from, '-infinity')
                                                AND coalesce(listed_until, 'infinity'))
    ORDER BY listed_from DESC NULLS LAST LIMIT 1)
"""  # noqa: S608 - only constants are inserted
_SELECT_OF_GROUPS = f"""
{_SELECT_ALL} AND (symbol_id = ANY (%(symbols)s::int[]) OR instrument_id = ANY (%(instruments)s::bigint[]))
"""
_INSERT = f"""
INSERT INTO backfill.listings (listing_id, instrument_id, symbol_id, listed_from, listed_until, source, recorded_by,
                               recorded_at)
OVERRIDING SYSTEM VALUE
SELECT id, coalesce(%(instrument_id)s, id), %(symbol_id)s, %(listed_from)s, %(listed_until)s, %(source)s, %(by)s,
       %(now)s
FROM (SELECT nextval(pg_get_serial_sequence('backfill.listings', 'listing_id')) AS id) AS next
RETURNING {_COLUMNS}
"""  # noqa: S608 - only constants are inserted
_WITHDRAW = """
UPDATE backfill.listings SET withdrawn_by = %(by)s, withdrawn_at = %(now)s
WHERE listing_id = ANY (%(ids)s::bigint[]) AND withdrawn_at IS NULL
"""
_RESTORE = f"""
UPDATE backfill.listings SET withdrawn_by = NULL, withdrawn_at = NULL
WHERE listing_id = ANY (%(ids)s::bigint[]) AND withdrawn_at IS NOT NULL RETURNING {_COLUMNS}
"""  # noqa: S608 - only constants are inserted


_SELECT_RECORDS = """
SELECT listing_id, source, recorded_by, recorded_at FROM backfill.listings WHERE listing_id = ANY (%(ids)s::bigint[])
"""


class ListingRefused(UsageError):  # noqa: N818 - names what happened to the listing
    """A listing that contradicts the recorded ones; the message says which (exit code 2)."""


@dataclass(frozen=True, slots=True)
class NewListing:
    """A listing to record; ``instrument_id`` None makes a new instrument of it."""

    symbol_id: int
    listed_from: date | None
    listed_until: date | None
    instrument_id: int | None = None


@dataclass(frozen=True, slots=True)
class ListingRecord:
    """What a listing rests on, in words, and who recorded it when (UTC)."""

    source: str
    recorded_by: str
    recorded_at: datetime


def read_listing_records(connection: Connection, listing_ids: Collection[int]) -> dict[int, ListingRecord]:
    """By listing_id, what listings rest on and who recorded them; withdrawn ones, too."""
    rows = connection.execute(_SELECT_RECORDS, {"ids": sorted(listing_ids)})
    return {key: ListingRecord(source, by, at.astimezone(UTC)) for key, source, by, at in rows}


def list_listings(connection: Connection, symbol_ids: Collection[int] | None = None) -> list[Listing]:
    """The listings that count, of these symbols if given, by symbol and the oldest first."""
    if symbol_ids is None:
        found = [Listing(*row) for row in connection.execute(_SELECT_ALL.encode())]
    else:
        found = [Listing(*row) for row in connection.execute(_SELECT_OF_SYMBOLS.encode(), {"ids": sorted(symbol_ids)})]
    return sorted(sort_listings(found), key=lambda listing: listing.symbol_id)


def list_instrument_listings(connection: Connection, symbol_id: int, day: date | None = None) -> list[Listing]:
    """Every listing of the instrument that a symbol named on ``day`` (without it: last), the oldest first.

    Empty if the symbol has no listing, or none on ``day``: without any it is one instrument on all days.
    """
    rows = connection.execute(_SELECT_OF_INSTRUMENT.encode(), {"symbol_id": symbol_id, "day": day})
    return sort_listings(Listing(*row) for row in rows)


def list_related_listings(connection: Connection, symbol_ids: Collection[int]) -> list[Listing]:
    """The listings of symbols, and all others of the instruments that these named, the oldest first."""
    instruments = {one.instrument_id for one in list_listings(connection, symbol_ids)}
    values = {"symbols": sorted(symbol_ids), "instruments": sorted(instruments)}
    rows = connection.execute(_SELECT_OF_GROUPS.encode(), values)
    return sort_listings(Listing(*row) for row in rows)


def lock_listings(connection: Connection) -> None:
    """Wait until no other process changes listings; holds until the end of the transaction."""
    connection.execute(_TAKE_LOCK, {"lock": _LOCK})


def record_listings(
    connection: Connection, new: Iterable[NewListing], *, source: str, by: str, now: datetime
) -> list[Listing]:
    """Record listings, and return them as they are stored.

    Args:
        connection: with a transaction open; what is recorded is rolled back with it.
        new: the listings, each with an instrument that is there or a new one of its own.
        source: what they rest on, in words.
        by: user and machine.
        now: the moment, UTC.

    Raises:
        ListingRefused: two listings of one ticker, or of one instrument, would have a day in common.
    """
    lock_listings(connection)
    recorded = []
    for listing in new:
        values: dict[str, Any] = {**asdict(listing), "source": source, "by": by, "now": now}
        row = connection.execute(_INSERT.encode(), values).fetchall()[0]
        recorded.append(Listing(*row))
    _require_no_overlap(connection, recorded)
    return recorded


def withdraw_listings(connection: Connection, listing_ids: Collection[int], *, by: str, now: datetime) -> int:
    """Let listings count no more; returns how many did. The rows stay."""
    lock_listings(connection)
    return connection.execute(_WITHDRAW, {"ids": sorted(listing_ids), "by": by, "now": now}).rowcount


def restore_listings(connection: Connection, listing_ids: Collection[int]) -> int:
    """Let withdrawn listings count again; returns how many did not.

    Raises:
        ListingRefused: one of them would have a day in common with another one that was recorded since.
    """
    lock_listings(connection)
    rows = connection.execute(_RESTORE.encode(), {"ids": sorted(listing_ids)}).fetchall()
    _require_no_overlap(connection, [Listing(*row) for row in rows])
    return len(rows)


def _require_no_overlap(connection: Connection, changed: Sequence[Listing]) -> None:
    symbols, instruments = {one.symbol_id for one in changed}, {one.instrument_id for one in changed}
    rows = connection.execute(
        _SELECT_OF_GROUPS.encode(), {"symbols": sorted(symbols), "instruments": sorted(instruments)}
    )
    overlap = find_overlap([Listing(*row) for row in rows])
    if overlap:
        one, other = overlap
        what = "ticker" if one.symbol_id == other.symbol_id else "instrument"
        raise ListingRefused(
            f"listings of one {what} would overlap: symbol {one.symbol_id} {one.describe()}, symbol {other.symbol_id}"
            f" {other.describe()}"
        )
