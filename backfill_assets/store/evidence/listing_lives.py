"""Reads the lives of listings, aligned with the lines of a panel, and which bars lie outside of them.

Lives are written with the daily data.
"""

from dataclasses import dataclass
from datetime import date

import numpy as np

from backfill_assets.market.arrays import Int64
from backfill_assets.market.plausibility.listing import ListingLives
from backfill_assets.market.plausibility.rules import Rule
from backfill_assets.store.evidence.confirmed_lives import IS_CONFIRMED, IS_END_CONFIRMED
from backfill_assets.store.evidence.known_lives import NEWEST_LISTINGS
from backfill_assets.store.postgres.connection import Connection

_SELECT_LIVES = f"""
SELECT coalesce(n.symbol_id, l.symbol_id), coalesce(n.listed_from, l.first_day),
       coalesce(n.listed_until, CASE WHEN l.has_ended AND (n.listed_from IS NULL OR l.last_day >= n.listed_from)
                                     THEN l.last_day END),
       n.listed_from IS NOT NULL OR {IS_CONFIRMED}, n.listed_until IS NOT NULL OR {IS_END_CONFIRMED},
       n.symbol_id IS NOT NULL
FROM (SELECT * FROM backfill.listing_lives WHERE symbol_id = ANY (%(ids)s::int[])) l
FULL JOIN (SELECT * FROM {NEWEST_LISTINGS} c WHERE symbol_id = ANY (%(ids)s::int[])) n ON n.symbol_id = l.symbol_id
"""  # noqa: S608 - only constants are inserted
_SUMMARIZE_OUTSIDE = f"""
SELECT d.symbol_id, count(DISTINCT d.session_day), min(d.session_day), max(d.session_day), l.first_day,
       CASE WHEN l.has_ended THEN l.last_day END
FROM backfill.doubts d JOIN backfill.listing_lives l USING (symbol_id)
WHERE d.rule = '{Rule.OUTSIDE_LISTING}' AND d.marks_bar AND d.outcome IS DISTINCT FROM 'decided'
  AND NOT EXISTS (SELECT FROM backfill.listings n WHERE n.symbol_id = d.symbol_id AND n.withdrawn_at IS NULL)
GROUP BY d.symbol_id, l.symbol_id ORDER BY 1
"""  # noqa: S608 - only a constant is inserted


@dataclass(frozen=True, slots=True)
class OutsideListing:
    """Sessions with bars outside the life of their symbol, about which no person decided.

    ``listed_from`` and ``listed_until`` are the days of the life, None where one is unknown or the listing goes on.
    """

    symbol_id: int
    sessions: int
    first_session: date
    last_session: date
    listed_from: date | None
    listed_until: date | None


def summarize_outside_listing(connection: Connection) -> list[OutsideListing]:
    """The undecided sessions with bars outside a listing life, one entry a symbol."""
    return [OutsideListing(*row) for row in connection.execute(_SUMMARIZE_OUTSIDE.encode())]


def read_listing_lives(connection: Connection, symbol_id: Int64, *, of_stored: bool = False) -> ListingLives:
    """The life of the symbol of each line or row, shape (lines,): by the daily data, or confirmed.

    With ``of_stored``, for bars that are stored, it is unknown of a ticker with listings: about those a person has
    said which instrument its bars are of, and none is in doubt for its day.
    """
    ids = np.unique(symbol_id)
    first, last = (np.full(len(ids), np.datetime64("NaT"), "datetime64[D]") for _ in range(2))
    first_confirmed, last_confirmed = np.zeros(len(ids), bool), np.zeros(len(ids), bool)
    found = connection.execute(_SELECT_LIVES.encode(), {"ids": ids.tolist()})
    for key, first_day, last_day, is_confirmed, is_end_confirmed, has_listing in found:
        if of_stored and has_listing:
            continue
        at = int(np.searchsorted(ids, key))
        first[at], last[at] = np.datetime64(first_day or "NaT", "D"), np.datetime64(last_day or "NaT", "D")
        first_confirmed[at], last_confirmed[at] = is_confirmed, is_end_confirmed
    position = np.searchsorted(ids, symbol_id)
    return ListingLives(first[position], last[position], first_confirmed[position], last_confirmed[position])
