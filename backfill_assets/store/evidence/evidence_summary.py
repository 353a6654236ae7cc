"""What the evidence of whole sessions says in a few numbers, for certificates. Slots are explained elsewhere."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.store.postgres.connection import Connection

_SELECT_SUMMARY = """
SELECT e.session_day, count(DISTINCT e.symbol_id), coalesce(sum(e.request_count), 0)::bigint, max(e.requested_at),
       count(DISTINCT e.symbol_id) FILTER (WHERE e.is_published), array_agg(DISTINCT e.source_interval),
       (SELECT count(*) FROM backfill.doubts d WHERE d.session_day = e.session_day AND d.marks_bar
          AND d.interval_type = %(interval)s AND d.ended_at IS NOT NULL
          AND (%(ids)s::int[] IS NULL OR d.symbol_id = ANY (%(ids)s::int[])))
FROM backfill.session_evidence e
WHERE e.session_day = ANY (%(days)s::date[]) AND e.interval_type = %(interval)s
  AND (%(ids)s::int[] IS NULL OR e.symbol_id = ANY (%(ids)s::int[])) GROUP BY e.session_day
"""


@dataclass(frozen=True, slots=True)
class SessionEvidence:
    """What was requested for a session, of any symbol.

    Attributes:
        requested_symbols: for how many symbols it was requested.
        requests: how many requests there were.
        requested_at: the newest one, UTC.
        published_symbols: of how many symbols the whole session was seen.
        source_intervals: the vendor's intervals that were asked for.
        standing_doubts: doubts that ended and still mark bars.
    """

    requested_symbols: int
    requests: int
    requested_at: datetime
    published_symbols: int
    source_intervals: tuple[str, ...]
    standing_doubts: int

    def as_dict(self) -> dict[str, Any]:
        """The fields in JSON's types."""
        return {
            "requested_symbols": self.requested_symbols,
            "requests": self.requests,
            "requested_at": self.requested_at.isoformat(),
            "published_symbols": self.published_symbols,
            "source_intervals": list(self.source_intervals),
            "standing_doubts": self.standing_doubts,
        }


def read_session_evidence(
    connection: Connection, interval: Interval, days: Sequence[date], symbol_ids: Sequence[int] | None = None
) -> dict[date, SessionEvidence]:
    """The evidence of sessions of which anything was requested; of some symbols, such as an exchange's, or of any."""
    values = {"interval": interval.name, "days": list(days), "ids": None if symbol_ids is None else list(symbol_ids)}
    rows = connection.execute(_SELECT_SUMMARY, values)
    return {
        day: SessionEvidence(symbols, requests, at.astimezone(UTC), published, tuple(sorted(sources)), standing)
        for day, symbols, requests, at, published, sources, standing in rows
    }
