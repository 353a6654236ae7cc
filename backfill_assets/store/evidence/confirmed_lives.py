"""Listing lives that a person or two sources confirmed, and what is proposed otherwise.

The daily data of a symbol propose since when and until when it was listed (``daily_data``). A person confirms both
days; two sources that agree confirm the last one. A confirmation is of these days: when a later reading has others, it
no longer counts. Two sources never replace what a person confirmed, nor count against what a person rejected.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from backfill_assets.store.postgres.connection import Connection

_TWO_SOURCES = "daily data and list of renamed symbols: "  # begins confirmed_by; a person is user@machine
_IS_BY_SOURCES = f"starts_with(coalesce(l.confirmed_by, ''), '{_TWO_SOURCES}')"
# The last day of a listing that goes on moves with every reading; it is no end.
_END_DAY = "CASE WHEN l.has_ended THEN l.last_day END"
# Conditions about a row l of listing_lives: both days are a person's; the end is, or two sources still agree on it.
IS_CONFIRMED = f"""
(l.confirmed_at IS NOT NULL AND NOT {_IS_BY_SOURCES} AND l.confirmed_first_day IS NOT DISTINCT FROM l.first_day
 AND l.confirmed_last_day IS NOT DISTINCT FROM {_END_DAY})
"""
_IS_AGREED = f"""
(l.confirmed_last_day = {_END_DAY} AND {_IS_BY_SOURCES}
 AND NOT EXISTS (SELECT FROM backfill.daily_prices later
                 WHERE later.symbol_id = l.symbol_id AND later.day > l.last_day AND later.no_row_reason IS NULL)
 AND NOT EXISTS (SELECT FROM backfill.decisions refused WHERE refused.decision = 'rejected' AND (
     (refused.kind = 'listing_life' AND split_part(refused.refers_to[1], ' ', 1) = l.symbol_id::text)
     OR (refused.kind = 'rename' AND starts_with(l.confirmed_by, '{_TWO_SOURCES}' || refused.refers_to[1] || ' ')))))
"""  # noqa: S608 - only constants are inserted
IS_END_CONFIRMED = f"({IS_CONFIRMED} OR coalesce({_IS_AGREED}, false))"
_SELECT_LIVES = f"""
SELECT l.symbol_id, l.first_day, {_END_DAY}, l.read_at, {IS_CONFIRMED}, CASE WHEN {_IS_AGREED} THEN l.confirmed_by END
FROM backfill.listing_lives l
WHERE l.symbol_id = ANY (%(ids)s) AND (l.first_day IS NOT NULL OR {_END_DAY} IS NOT NULL)
"""  # noqa: S608 - only constants are inserted
_SELECT_CONFIRMATION = """
SELECT confirmed_first_day, confirmed_last_day, confirmed_at, confirmed_by FROM backfill.listing_lives
WHERE symbol_id = %(id)s FOR UPDATE
"""
_CONFIRM = f"""
UPDATE backfill.listing_lives l
SET confirmed_first_day = first_day, confirmed_last_day = {_END_DAY}, confirmed_at = %(now)s, confirmed_by = %(by)s
WHERE symbol_id = %(id)s
"""  # noqa: S608 - only constants are inserted
_SET_AGREEMENT = f"""
UPDATE backfill.listing_lives l
SET confirmed_first_day = NULL, confirmed_last_day = CASE WHEN %(by)s::text IS NOT NULL THEN l.last_day END,
    confirmed_at = CASE WHEN %(by)s::text IS NOT NULL THEN %(now)s::timestamptz END, confirmed_by = %(by)s
WHERE l.symbol_id = %(id)s AND (l.confirmed_at IS NULL OR {_IS_BY_SOURCES})
"""  # noqa: S608 - only constants are inserted
_RESTORE = """
UPDATE backfill.listing_lives
SET confirmed_first_day = %(first_day)s, confirmed_last_day = %(last_day)s, confirmed_at = %(at)s, confirmed_by = %(by)s
WHERE symbol_id = %(id)s
"""


@dataclass(frozen=True, slots=True)
class ProposedLife:
    """Since when and until when a symbol was listed by its daily data.

    Attributes:
        symbol_id: the symbol.
        first_day: the first day; None if it is unknown.
        end_day: the last day; None if the listing goes on.
        read_at: when the daily data were read, UTC.
        is_confirmed: whether a person confirmed these days.
        agreement: the two sources that agree on the last day, in words; None without.
    """

    symbol_id: int
    first_day: date | None
    end_day: date | None
    read_at: datetime
    is_confirmed: bool
    agreement: str | None

    def describe(self) -> str:
        """The days in words: ``from 2020-01-02 to 2026-05-29``, ``from 2020-01-02 on``, ``until 2026-05-29``."""
        if self.first_day is None:
            return f"until {self.end_day}"
        return f"from {self.first_day} on" if self.end_day is None else f"from {self.first_day} to {self.end_day}"


def read_proposed_lives(connection: Connection, symbol_ids: Collection[int]) -> dict[int, ProposedLife]:
    """The listing lives of symbols by symbol_id, those of which a day is known."""
    rows = connection.execute(_SELECT_LIVES.encode(), {"ids": sorted(symbol_ids)})
    return {
        key: ProposedLife(key, first, end, read_at.astimezone(UTC), confirmed, agreement)
        for key, first, end, read_at, confirmed, agreement in rows
    }


def confirm_life(connection: Connection, symbol_id: int, by: str, now: datetime) -> dict[str, Any] | None:
    """Confirm a symbol's listing life as it is; returns the confirmation before, None if there is no life."""
    row = connection.execute(_SELECT_CONFIRMATION, {"id": symbol_id}).fetchone()
    if row is None:
        return None
    connection.execute(_CONFIRM.encode(), {"id": symbol_id, "by": by, "now": now})
    return dict(zip(("first_day", "last_day", "at", "by"), row, strict=True))


def record_agreement(connection: Connection, symbol_id: int, rename: str | None, now: datetime) -> None:
    """Confirm the end of a life that was just read, or withdraw that; what a person confirmed stays.

    ``rename`` is the entry of the list of renamed symbols that agrees, the old ticker first; None if none does.
    """
    by = None if rename is None else f"{_TWO_SOURCES}{rename}"
    connection.execute(_SET_AGREEMENT.encode(), {"id": symbol_id, "by": by, "now": now})


def restore_confirmation(connection: Connection, symbol_id: int, before: Mapping[str, Any]) -> None:
    """Give a life back the confirmation that ``confirm_life`` returned, or none."""
    connection.execute(_RESTORE, {**before, "id": symbol_id})
