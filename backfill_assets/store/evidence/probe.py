"""Chooses the symbol of a market around the clock that is requested every half hour (``market.gaps.ask_times``)."""

from datetime import UTC, datetime, timedelta
from typing import Any

from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.store.exchanges import IS_OF_EXCHANGE, list_names
from backfill_assets.store.postgres.connection import Connection

_RECENT = timedelta(days=3)  # rows of every symbol that the vendor still has are newer
_SELECT_PROBE = f"""
SELECT e.symbol_id FROM backfill.session_evidence e JOIN market_symbols USING (symbol_id)
WHERE e.interval_type = %(interval)s AND e.source_interval = %(source)s AND e.session_day BETWEEN %(first)s AND %(last)s
  AND e.data_until IS NOT NULL AND e.requested_at <= %(now)s AND coalesce(is_active, true) AND {IS_OF_EXCHANGE}
GROUP BY e.symbol_id ORDER BY max(e.data_until) DESC, e.symbol_id LIMIT 1
"""  # noqa: S608 - a constant is inserted


def find_probe(
    connection: Connection, exchange: str, interval: Interval, source: Interval, now: datetime
) -> int | None:
    """The active symbol of an exchange whose rows reached furthest; the first of several. None: there are no rows yet.

    The probe is requested more often than others, so its rows reach furthest, and it stays the probe until they end.
    """
    values: dict[str, Any] = {
        **list_names(exchange),
        "interval": interval.name,
        "source": source.name,
        "first": (now - _RECENT).astimezone(UTC).date(),
        "last": now.astimezone(UTC).date(),
        "now": now,
    }
    found = connection.execute(_SELECT_PROBE.encode(), values).fetchone()
    return None if found is None else int(found[0])
