"""Listing lives that a person confirmed, and what is proposed otherwise.

The daily data of a symbol propose since when and until when it was listed (``daily_data``). A confirmation is of these
days: when a later reading has others, it no longer counts.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from backfill_assets.store.postgres.connection import Connection

# The last day of a listing that goes on moves with every reading; it is no end.
_END_DAY = "CASE WHEN has_ended THEN last_day END"
IS_CONFIRMED = f"""
(confirmed_at IS NOT NULL AND confirmed_first_day IS NOT DISTINCT FROM first_day
 AND confirmed_last_day IS NOT DISTINCT FROM {_END_DAY})
"""
_SELECT_LIVES = f"""
SELECT symbol_id, first_day, {_END_DAY}, read_at, {IS_CONFIRMED} FROM backfill.listing_lives
WHERE symbol_id = ANY (%(ids)s) AND (first_day IS NOT NULL OR {_END_DAY} IS NOT NULL)
"""  # noqa: S608 - only constants are inserted
_SELECT_CONFIRMATION = """
SELECT confirmed_first_day, confirmed_last_day, confirmed_at, confirmed_by FROM backfill.listing_lives
WHERE symbol_id = %(id)s FOR UPDATE
"""
_CONFIRM = f"""
UPDATE backfill.listing_lives
SET confirmed_first_day = first_day, confirmed_last_day = {_END_DAY}, confirmed_at = %(now)s, confirmed_by = %(by)s
WHERE symbol_id = %(id)s
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
    """

    symbol_id: int
    first_day: date | None
    end_day: date | None
    read_at: datetime
    is_confirmed: bool

    def describe(self) -> str:
        """The days in words: ``from 2020-01-02 to 2026-05-29``, ``from 2020-01-02 on``, ``until 2026-05-29``."""
        if self.first_day is None:
            return f"until {self.end_day}"
        return f"from {self.first_day} on" if self.end_day is None else f"from {self.first_day} to {self.end_day}"


def read_proposed_lives(connection: Connection, symbol_ids: Collection[int]) -> dict[int, ProposedLife]:
    """The listing lives of symbols by symbol_id, those of which a day is known."""
    rows = connection.execute(_SELECT_LIVES.encode(), {"ids": sorted(symbol_ids)})
    return {
        key: ProposedLife(key, first, end, read_at.astimezone(UTC), confirmed)
        for key, first, end, read_at, confirmed in rows
    }


def confirm_life(connection: Connection, symbol_id: int, by: str, now: datetime) -> dict[str, Any] | None:
    """Confirm a symbol's listing life as it is; returns the confirmation before, None if there is no life."""
    row = connection.execute(_SELECT_CONFIRMATION, {"id": symbol_id}).fetchone()
    if row is None:
        return None
    connection.execute(_CONFIRM.encode(), {"id": symbol_id, "by": by, "now": now})
    return dict(zip(("first_day", "last_day", "at", "by"), row, strict=True))


def restore_confirmation(connection: Connection, symbol_id: int, before: Mapping[str, Any]) -> None:
    """Give a life back the confirmation that ``confirm_life`` returned, or none."""
    connection.execute(_RESTORE, {**before, "id": symbol_id})
