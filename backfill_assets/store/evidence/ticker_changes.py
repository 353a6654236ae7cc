"""Changes of tickers: those that the vendor's list of renamed symbols has, and what the closes under both names show.

What they say is in ``market.identity.renames``. What a person decided is in ``store.listings``.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from backfill_assets.market.calendar.tickers import Ticker, parse_ticker
from backfill_assets.market.identity.closes import DayClose
from backfill_assets.market.identity.renames import ComparedCloses, RenameFacts
from backfill_assets.store.postgres.connection import Connection

_UPSERT_LISTED = """
INSERT INTO backfill.ticker_changes AS c (old_ticker, new_ticker, first_day, company, listed_at)
SELECT old, new, day, company, %(now)s
FROM unnest(%(old)s::text[], %(new)s::text[], %(days)s::date[], %(companies)s::text[]) AS t (old, new, day, company)
ORDER BY old, new, day
ON CONFLICT (old_ticker, new_ticker, first_day) DO UPDATE
SET listed_at = EXCLUDED.listed_at, company = coalesce(EXCLUDED.company, c.company) WHERE c.listed_at IS NULL
"""
_UPSERT_CLOSES = """
INSERT INTO backfill.ticker_changes AS c (old_ticker, new_ticker, first_day, read_at, last_day, last_close, begin_day,
                                          begin_close, other_until, is_carried)
VALUES (%(old)s, %(new)s, %(day)s, %(now)s, %(last_day)s, %(last_close)s, %(begin_day)s, %(begin_close)s,
        %(other_until)s, %(is_carried)s)
ON CONFLICT (old_ticker, new_ticker, first_day) DO UPDATE
SET read_at = EXCLUDED.read_at, last_day = EXCLUDED.last_day, last_close = EXCLUDED.last_close,
    begin_day = EXCLUDED.begin_day, begin_close = EXCLUDED.begin_close, other_until = EXCLUDED.other_until,
    is_carried = EXCLUDED.is_carried
"""
_SELECT = """
SELECT old_ticker, new_ticker, first_day, company, listed_at, read_at, last_day, last_close, begin_day, begin_close,
       other_until, is_carried,
       (SELECT isin FROM backfill.listed_isins WHERE symbol || '.' || exchange = old_ticker AND isin <> ''
        ORDER BY last_read_at DESC LIMIT 1),
       (SELECT isin FROM backfill.listed_isins WHERE symbol || '.' || exchange = new_ticker AND isin <> ''
        ORDER BY last_read_at DESC LIMIT 1)
FROM backfill.ticker_changes WHERE old_ticker = ANY (%(old)s::text[]) ORDER BY first_day, new_ticker
"""


@dataclass(frozen=True, slots=True)
class ListedChange:
    """A change in the vendor's list of renamed symbols; ``first_day`` is the first session under the new ticker."""

    old: Ticker
    new: Ticker
    first_day: date
    company: str | None


@dataclass(frozen=True, slots=True)
class TickerChange:
    """A change of ticker, and what is known about it; ``read_at`` is when its closes were read (UTC), None if never."""

    facts: RenameFacts
    read_at: datetime | None

    @property
    def is_listed(self) -> bool:
        """Whether the vendor's list has it."""
        return self.facts.listed_on is not None


def record_listed_changes(connection: Connection, changes: Sequence[ListedChange], now: datetime) -> None:
    """Store changes of the vendor's list; those that are known stay."""
    unique = {(str(c.old), str(c.new), c.first_day): c.company for c in changes}
    columns = {name: [key[position] for key in unique] for position, name in enumerate(("old", "new", "days"))}
    if unique:
        connection.execute(_UPSERT_LISTED, {**columns, "companies": list(unique.values()), "now": now})


def record_compared_closes(
    connection: Connection, old: Ticker, new: Ticker, first_day: date, closes: ComparedCloses, now: datetime
) -> None:
    """Store what the closes under both names show, read at ``now``."""
    last, first = closes.last, closes.first
    values = {
        "old": str(old),
        "new": str(new),
        "day": first_day,
        "last_day": last.day if last else None,
        "last_close": last.price if last else None,
        "begin_day": first.day if first else None,
        "begin_close": first.price if first else None,
        "other_until": closes.other_until,
        "is_carried": closes.is_carried,
        "now": now,
    }
    connection.execute(_UPSERT_CLOSES, values)


def read_ticker_changes(connection: Connection, old_tickers: Collection[str]) -> list[TickerChange]:
    """What is known about changes of these tickers (``FB.US``) to others, the oldest first."""
    rows = connection.execute(_SELECT, {"old": sorted(old_tickers)}).fetchall()
    return _tell_listed_days([_build_change(*row) for row in rows])


def _tell_listed_days(changes: Sequence[TickerChange]) -> list[TickerChange]:
    """A change that a person named has another day than the vendor's list may have it on."""
    listed = {(c.facts.old, c.facts.new): c.facts for c in changes if c.is_listed}
    told = []
    for change in changes:
        facts, other = change.facts, listed.get((change.facts.old, change.facts.new))
        if other is not None and facts.listed_on is None:
            facts = RenameFacts(
                facts.old, facts.new, facts.first_day, facts.closes, other.first_day, other.company, facts.isins
            )
        told.append(TickerChange(facts, change.read_at))
    return told


def _build_change(*row: Any) -> TickerChange:
    old, new, day, company, listed_at, read_at, last_day, last_close, begin_day, begin_close, until, carried, *isins = (
        row
    )
    closes = ComparedCloses(
        DayClose(last_day, last_close) if last_day else None,
        DayClose(begin_day, begin_close) if begin_day else None,
        until,
        carried,
    )
    facts = RenameFacts(
        parse_ticker(old), parse_ticker(new), day, closes, day if listed_at else None, company, (isins[0], isins[1])
    )
    return TickerChange(facts, read_at.astimezone(UTC) if read_at else None)
