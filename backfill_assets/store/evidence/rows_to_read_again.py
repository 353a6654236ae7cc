"""Which symbols' daily rows must be read again, because only rows that are read since an action show it.

The vendor adjusts all earlier rows of a symbol for a spin-off, which it does not list, and for a split; the rows that
are stored were read before. Both are derived or judged from rows that were read since (``market.actions``).
"""

from collections.abc import Collection, Sequence
from datetime import date, datetime
from itertools import islice

from backfill_assets.market.actions.overnight_steps import MIN_SPLIT
from backfill_assets.market.actions.spinoffs import MIN_DIFFERENCE
from backfill_assets.market.calendar.sessions import Session
from backfill_assets.store.evidence.daily_reads import find_unread_days
from backfill_assets.store.exchanges import get_zone_name
from backfill_assets.store.postgres.connection import Connection

RECENT_SESSIONS = 20  # what is older was found when it was new
# A spin-off that takes less, or a ratio that is wrong by less, is found when rows are read again for another reason.
MIN_FALL = 0.1

# An answer since ends it, whatever it says: rows that the vendor does not give again are not requested forever.
_SELECT_SYMBOLS = """
WITH days AS (
    SELECT day, lag(day) OVER (ORDER BY day) AS day_before FROM unnest(%(days)s::date[]) AS t (day)
), answers AS (
    SELECT t.id AS symbol_id, coalesce(r.answered_at, '-infinity') AS answered_at
    FROM unnest(%(ids)s::int[]) AS t (id) LEFT JOIN backfill.daily_reads r ON r.symbol_id = t.id
    WHERE r.requested_at IS NULL OR r.requested_at <= %(before)s OR r.answered_at >= r.requested_at
)
-- a reading has changed a close, and earlier rows were read before it
SELECT a.symbol_id FROM answers a JOIN backfill.daily_revisions v USING (symbol_id)
JOIN backfill.daily_prices p ON p.symbol_id = v.symbol_id AND p.day = v.day
JOIN backfill.daily_prices e ON e.symbol_id = v.symbol_id AND e.day = (SELECT max(day) FROM days WHERE day < v.day)
WHERE v.day = ANY (%(days)s::date[]) AND v.close_price > 0 AND p.close_price > 0
  AND abs(ln(p.close_price) - ln(v.close_price)) > %(min_difference)s
  AND e.read_at < v.replaced_at AND a.answered_at <= v.replaced_at
UNION
-- the price moved overnight beyond its splits, and the row before was read before that; without a split it rises by a
-- tenth for other reasons, but hardly by half
SELECT a.symbol_id FROM days
JOIN backfill.daily_prices p ON p.day = days.day JOIN answers a USING (symbol_id)
JOIN backfill.daily_prices e ON e.symbol_id = p.symbol_id AND e.day = days.day_before
LEFT JOIN backfill.splits s ON s.symbol_id = p.symbol_id AND s.ex_date = p.day AND s.withdrawn_at IS NULL
WHERE p.open_price > 0 AND e.close_price > 0
  AND ln(p.open_price) - ln(e.close_price) + coalesce(ln(s.ratio), 0) NOT BETWEEN ln(1 - %(min_fall)s::float8)
      AND CASE WHEN s.ratio IS NULL THEN %(min_split)s ELSE -ln(1 - %(min_fall)s::float8) END
  AND (e.read_at AT TIME ZONE %(zone)s)::date <= p.day AND a.answered_at < p.read_at
UNION
-- a split that only the factor in the daily data shows
SELECT a.symbol_id FROM days JOIN backfill.splits s ON s.ex_date = days.day JOIN answers a USING (symbol_id)
JOIN backfill.daily_prices e ON e.symbol_id = s.symbol_id AND e.day = days.day_before
WHERE s.withdrawn_at IS NULL AND abs(ln(s.ratio)) < %(min_split)s
  AND (e.read_at AT TIME ZONE %(zone)s)::date <= s.ex_date
  AND (a.answered_at = '-infinity' OR (a.answered_at AT TIME ZONE %(zone)s)::date <= s.ex_date)
ORDER BY 1
"""


def find_first_days(
    connection: Connection,
    symbol_ids: Collection[int],
    sessions: Sequence[Session],
    before: datetime,
    limit: int,
    *,
    with_rows: bool,
) -> dict[int, date]:
    """From which session on each symbol's daily rows are requested: symbol_id → day, at most ``limit``.

    The oldest one that it lacks (``find_unread_days``, with the same arguments); the first of all if it is read again.
    """
    unread = find_unread_days(connection, symbol_ids, sessions, before, limit, with_rows=with_rows)
    has_actions = bool(sessions) and sessions[0].market.has_actions  # else nothing adjusts earlier rows
    again = find_symbols_to_read_again(connection, symbol_ids, sessions, before) if has_actions else ()
    return dict(islice((unread | dict.fromkeys(again, sessions[0].day)).items(), limit))


def find_symbols_to_read_again(
    connection: Connection, symbol_ids: Collection[int], sessions: Sequence[Session], before: datetime
) -> list[int]:
    """The symbols of which all rows should be read again, for what the newest of these settled sessions show.

    A symbol whose newest request failed is left out if it was sent after ``before``.
    """
    values = {
        "ids": sorted(symbol_ids),
        "days": [session.day for session in sessions[-RECENT_SESSIONS:]],
        "min_difference": MIN_DIFFERENCE,
        "min_fall": MIN_FALL,
        "min_split": float(MIN_SPLIT),
        "zone": get_zone_name(sessions),
        "before": before,
    }
    return [symbol_id for (symbol_id,) in connection.execute(_SELECT_SYMBOLS, values)]
