"""Where the bars of a symbol lie around a day, and their last closes; for questions about its listings."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from zoneinfo import ZoneInfo

from backfill_assets.store.postgres.connection import Connection

_SELECT_BARS_AROUND = """
SELECT (SELECT max(timestamp) FROM market_data WHERE symbol_id = %(id)s AND timestamp < %(at)s),
       (SELECT min(timestamp) FROM market_data WHERE symbol_id = %(id)s AND timestamp >= %(at)s)
"""
_SELECT_LAST_CLOSES = """
SELECT DISTINCT ON (1) (timestamp AT TIME ZONE %(zone)s)::date, close_price::float8 FROM market_data
WHERE symbol_id = %(id)s AND interval_type = ANY (%(spellings)s) AND timestamp >= %(first)s AND timestamp < %(end)s
  AND close_price > 0
ORDER BY 1, timestamp DESC
"""


@dataclass(frozen=True, slots=True)
class BarsAround:
    """The days of the last bar before a moment and of the first one from it on; None where there is none."""

    before: date | None
    after: date | None


NO_BARS = BarsAround(None, None)


def find_bars_around(connection: Connection, symbol_id: int, moment: datetime, zone: ZoneInfo) -> BarsAround:
    """The bars of a symbol, of any interval, around ``moment`` (aware); days are those of the time zone ``zone``."""
    before, after = connection.execute(_SELECT_BARS_AROUND, {"id": symbol_id, "at": moment}).fetchall()[0]
    return BarsAround(
        before.astimezone(zone).date() if before else None, after.astimezone(zone).date() if after else None
    )


def read_last_closes(
    connection: Connection, symbol_id: int, spellings: Sequence[str], first: datetime, end: datetime, zone: ZoneInfo
) -> dict[date, float]:
    """The close of the last bar of each day (time zone ``zone``) from ``first`` to before ``end`` (both aware)."""
    values = {"id": symbol_id, "spellings": list(spellings), "first": first, "end": end, "zone": zone.key}
    return dict(connection.execute(_SELECT_LAST_CLOSES, values))
