"""Which listings a rename changes, and what of the recorded listings and stored bars contradicts it; no I/O.

Carrying it out is in ``rename``. What the closes show is in ``market.identity.renames``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from backfill_assets.errors import UsageError
from backfill_assets.market.calendar.listings import Listing, find_listing, sort_listings
from backfill_assets.market.calendar.sessions import Session
from backfill_assets.market.calendar.tickers import Ticker
from backfill_assets.store.bars.listing_bars import NO_BARS, BarsAround
from backfill_assets.store.listings import NewListing


class RenameRefused(UsageError):  # noqa: N818 - names what happened to the rename
    """A rename that what is recorded or stored contradicts; the message says what (exit code 2)."""


@dataclass(frozen=True, slots=True)
class Rename:
    """A change of ticker.

    Attributes:
        old: the ticker until ``last_session``.
        new: the ticker from ``first_session`` on.
        last_session: the last one under the old ticker.
        first_session: the first one under the new ticker, the next after ``last_session``.
        other_until: until when the new ticker named another instrument before; None if that is not known.
        is_carried: whether the vendor gives the old ticker's history under the new one, too, or may do so.
        is_insisted: whether later bars of the old ticker are another instrument's, which took the ticker over.
    """

    old: Ticker
    new: Ticker
    last_session: Session
    first_session: Session
    other_until: date | None = None
    is_carried: bool = False
    is_insisted: bool = False

    @property
    def first_day(self) -> date:
        """The first day under the new ticker."""
        return self.first_session.day

    @property
    def last_day(self) -> date:
        """The last day under the old one."""
        return self.last_session.day

    def __str__(self) -> str:
        return f"{self.old} was renamed to {self.new} on {self.first_day}"


@dataclass(frozen=True, slots=True)
class RecordedLives:
    """What is stored about both tickers before the rename.

    Attributes:
        old_id: the symbol_id of the old ticker.
        new_id: that of the new ticker; None if it is not in the universe.
        listings: of both tickers, and of every instrument that they named.
        old_bars: the old ticker's bars around the first session of the new one.
        new_bars: the new ticker's.
    """

    old_id: int
    new_id: int | None
    listings: Sequence[Listing] = ()
    old_bars: BarsAround = NO_BARS
    new_bars: BarsAround = NO_BARS

    def list_of(self, symbol_id: int | None) -> list[Listing]:
        """The listings of one ticker, the oldest first."""
        return sort_listings(one for one in self.listings if one.symbol_id == symbol_id)

    def list_mates(self, instrument_id: int | None) -> list[Listing]:
        """The listings of one instrument, the oldest first."""
        return sort_listings(one for one in self.listings if one.instrument_id == instrument_id)


@dataclass(frozen=True, slots=True)
class ListingChanges:
    """Which listings a rename withdraws and records.

    Attributes:
        withdrawn: listings that get other days or another instrument.
        instrument_id: the renamed instrument; None if it has no listing so far.
        old: what the old ticker gets; None if its listing stays.
        new: what the new ticker and those after it get.
        others: lives of both tickers that are instruments of their own.
        is_old_continued: whether the old ticker names another instrument from the rename on.
    """

    withdrawn: tuple[Listing, ...]
    instrument_id: int | None
    old: NewListing | None
    new: tuple[NewListing, ...]
    others: tuple[NewListing, ...]
    is_old_continued: bool


# In place of the symbol_id of a new ticker that is not in the universe yet.
NOT_ADDED = 0


def plan_listings(rename: Rename, lives: RecordedLives) -> ListingChanges:
    """Which listings change.

    Raises:
        RenameRefused: what is recorded or stored contradicts the rename.
    """
    before, after = _find_old_life(rename, lives), _find_new_life(rename, lives)
    instrument = before.instrument_id if before else after.instrument_id if after else None
    _require_free_days(rename, lives, before, after)
    joined = _list_joined(rename, lives, instrument, after)
    is_old_changed = before is None or before.listed_until != rename.last_day
    old = NewListing(lives.old_id, before.listed_from if before else None, rename.last_day) if is_old_changed else None
    new = [
        NewListing(one.symbol_id, rename.first_day if one == after else one.listed_from, one.listed_until)
        for one in joined
    ]
    if after is None:
        new.append(NewListing(lives.new_id or NOT_ADDED, rename.first_day, None))
    if old is None and not new:
        raise RenameRefused(f"it is recorded already that {rename}")
    later, is_continued = _find_later_life(rename, lives)
    return ListingChanges(
        withdrawn=(*([before] if before and is_old_changed else []), *joined),
        instrument_id=instrument,
        old=old,
        new=tuple(new),
        others=(*_find_earlier_life(rename, lives, after), *later),
        is_old_continued=is_continued,
    )


def _find_old_life(rename: Rename, lives: RecordedLives) -> Listing | None:
    """The old ticker's listing on its last day; None if it has no listing at all."""
    own = lives.list_of(lives.old_id)
    life = find_listing(own, lives.old_id, rename.last_day)
    if own and life is None:
        days = ", ".join(one.describe() for one in own)
        raise RenameRefused(f"{rename.old} was not listed on {rename.last_day}; its recorded listings: {days}")
    return life


def _find_new_life(rename: Rename, lives: RecordedLives) -> Listing | None:
    """The new ticker's listing from the first day on, if one is recorded: then it is the same instrument's."""
    later = [one for one in lives.list_of(lives.new_id) if not one.has_ended_before(rename.first_day)]
    if not later:
        return None
    if later[0].listed_from not in {None, rename.first_day}:
        raise RenameRefused(
            f"{rename.new} has a recorded listing that contradicts a begin on {rename.first_day}:"
            f" {later[0].describe()}; see: backfill-assets symbols show {rename.new}"
        )
    return later[0]


def _require_free_days(rename: Rename, lives: RecordedLives, before: Listing | None, after: Listing | None) -> None:
    """Make sure that the old ticker's instrument has no other ticker from the first day on."""
    if before is None or (after is not None and after.instrument_id == before.instrument_id):
        return
    later = [one for one in lives.list_mates(before.instrument_id) if _begins_from(one, rename.first_day)]
    if later:
        raise RenameRefused(
            f"{rename.old} is recorded as renamed already: its instrument has another ticker {later[0].describe()};"
            f" see: backfill-assets symbols show {rename.old}"
        )


def _list_joined(rename: Rename, lives: RecordedLives, instrument: int | None, after: Listing | None) -> list[Listing]:
    """The listings to record anew: those of the new ticker's instrument, if it had another one or another begin."""
    if after is None:
        return []
    if after.instrument_id == instrument:
        return [] if after.listed_from == rename.first_day else [after]
    mates = lives.list_mates(after.instrument_id)
    if not all(one == after or _begins_from(one, rename.first_day) for one in mates):
        raise RenameRefused(
            f"{rename.new} is recorded as another instrument, which had another ticker before {rename.first_day};"
            f" see: backfill-assets symbols show {rename.new}"
        )
    return mates


def _find_earlier_life(rename: Rename, lives: RecordedLives, after: Listing | None) -> list[NewListing]:
    """What the new ticker named before, as far as it is known and not recorded; it is an instrument of its own."""
    has_earlier = any(one != after for one in lives.list_of(lives.new_id))
    days = [day for day in (rename.other_until, lives.new_bars.before) if day is not None]
    if rename.is_carried or has_earlier or not days:
        return []
    return [NewListing(lives.new_id or NOT_ADDED, None, min(max(days), rename.last_day))]


def _find_later_life(rename: Rename, lives: RecordedLives) -> tuple[list[NewListing], bool]:
    """What the old ticker names after the rename, and whether it names anything."""
    is_recorded = any(_begins_from(one, rename.first_day) for one in lives.list_of(lives.old_id))
    begin = lives.old_bars.after
    if is_recorded or begin is None:
        return [], is_recorded
    if not rename.is_insisted:
        raise RenameRefused(
            f"{rename.old} has bars of {begin}, after its last day {rename.last_day}: they would belong to no"
            " instrument any more. If another instrument has taken the ticker over, record both: backfill-assets"
            f" symbols rename {rename.old} {rename.new} --on {rename.first_day} --insist"
        )
    return [NewListing(lives.old_id, begin, None)], True


def _begins_from(listing: Listing, day: date) -> bool:
    return listing.listed_from is not None and listing.listed_from >= day
