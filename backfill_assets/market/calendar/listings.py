"""Which tickers an instrument had, and when. Values and questions about them; the store is in ``store.listings``.

A listing is one life of one ticker; a person confirmed it. An instrument is what was listed: it may have had several
tickers in turn (a rename), and a ticker may have named several instruments in turn (a recycled ticker). Days are
sessions in the exchange's time zone. A ticker without listings is one instrument on all days.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise


@dataclass(frozen=True, slots=True)
class Listing:
    """One life of one ticker.

    Attributes:
        listing_id: its key in the store.
        instrument_id: the instrument; the listing_id of the first listing recorded of it.
        symbol_id: the ticker, a row of ``market_symbols``.
        listed_from: the first session under this ticker; None: as far back as there is.
        listed_until: the last one; None: it goes on.
    """

    listing_id: int
    instrument_id: int
    symbol_id: int
    listed_from: date | None
    listed_until: date | None

    def is_listed_on(self, day: date) -> bool:
        """Whether the ticker named this instrument on ``day``."""
        return (self.listed_from is None or self.listed_from <= day) and not self.has_ended_before(day)

    def has_ended_before(self, day: date) -> bool:
        """Whether the last session lies before ``day``."""
        return self.listed_until is not None and self.listed_until < day

    def describe(self) -> str:
        """The days in words: ``from 2022-06-09 on``, ``until 2022-06-08``, ``2021-06-30 to 2022-01-28``."""
        return describe_days(self.listed_from, self.listed_until)


def describe_days(first: date | None, last: date | None) -> str:
    """A period in words, both days inclusive; None where it has no end."""
    if first is None:
        return "on all days" if last is None else f"until {last}"
    return f"from {first} on" if last is None else f"{first} to {last}"


def sort_listings(listings: Iterable[Listing]) -> list[Listing]:
    """The oldest first; of one ticker, or of one instrument, no two have the same days."""
    return sorted(listings, key=lambda listing: (listing.listed_from or date.min, listing.listing_id))


def find_newest_listing(listings: Iterable[Listing], symbol_id: int) -> Listing | None:
    """The last listing of a ticker; None if it has none."""
    own = sort_listings(listing for listing in listings if listing.symbol_id == symbol_id)
    return own[-1] if own else None


def find_listing(listings: Iterable[Listing], symbol_id: int, day: date) -> Listing | None:
    """The listing of a ticker that holds a day; None if it has none on it."""
    own = (listing for listing in listings if listing.symbol_id == symbol_id)
    return next((listing for listing in own if listing.is_listed_on(day)), None)


def find_instrument(listings: Iterable[Listing], symbol_id: int, day: date) -> int | None:
    """The instrument that a ticker named on a day; None if it named none, or has no listings at all."""
    listing = find_listing(listings, symbol_id, day)
    return listing.instrument_id if listing else None


def is_overlapping(one: Listing, other: Listing) -> bool:
    """Whether two listings have a day in common."""
    starts_before_other_ends = one.listed_from is None or not other.has_ended_before(one.listed_from)
    return starts_before_other_ends and (other.listed_from is None or not one.has_ended_before(other.listed_from))


def find_overlap(listings: Collection[Listing]) -> tuple[Listing, Listing] | None:
    """Two listings with a day in common, of one ticker or of one instrument, the older first; None if there are none.

    A ticker names one instrument at a time, and an instrument has one ticker at a time.
    """
    for group in (*_group(listings, "symbol_id"), *_group(listings, "instrument_id")):
        for older, newer in pairwise(group):
            if is_overlapping(older, newer):
                return older, newer
    return None


def _group(listings: Iterable[Listing], key: str) -> list[Sequence[Listing]]:
    groups: dict[int, list[Listing]] = {}
    for listing in sort_listings(listings):
        groups.setdefault(getattr(listing, key), []).append(listing)
    return list(groups.values())
