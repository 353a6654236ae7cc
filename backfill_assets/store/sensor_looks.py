"""The last successful look of each gap sensor: when it was, and what was missing. One row an exchange and interval.

The sensor writes it at each tick; whoever watches from outside notices by its age that nobody looks any more.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from backfill_assets.market.calendar.timestamps import to_datetime
from backfill_assets.market.gaps.coverage import Coverage
from backfill_assets.store.postgres.connection import Connection, Database

_UPSERT_LOOK = """
INSERT INTO backfill.sensor_looks AS l (exchange, interval_type, looked_at, symbols, sessions, missing,
                                        oldest_missing_at)
VALUES (%(exchange)s, %(interval)s, clock_timestamp(), %(symbols)s, %(sessions)s, %(missing)s, %(oldest)s)
ON CONFLICT (exchange, interval_type) DO UPDATE SET
    looked_at = EXCLUDED.looked_at, symbols = EXCLUDED.symbols, sessions = EXCLUDED.sessions,
    missing = EXCLUDED.missing, oldest_missing_at = EXCLUDED.oldest_missing_at
"""
_SELECT_LOOKS = """
SELECT exchange, interval_type, looked_at, symbols, sessions, missing, oldest_missing_at
FROM backfill.sensor_looks WHERE exchange = ANY (%(exchanges)s) ORDER BY exchange, interval_type
"""


@dataclass(frozen=True, slots=True)
class SensorLook:
    """What a gap sensor saw when it last looked.

    Attributes:
        exchange: the vendor's code.
        interval: of the bars, this program's name.
        looked_at: UTC, by the database server's clock.
        symbols: how many it looked at.
        sessions: over how many sessions.
        missing: how many bars were missing (``estimated_missing_bars``).
        oldest_missing_at: the open of the oldest missing slot, UTC; None if none was missing.
    """

    exchange: str
    interval: str
    looked_at: datetime
    symbols: int
    sessions: int
    missing: int
    oldest_missing_at: datetime | None


def record_look(database: Database, exchange: str, interval: str, coverage: Coverage) -> None:
    """Store that a sensor has just measured ``coverage``, the retained sessions of an exchange."""
    oldest = coverage.find_oldest_missing()
    values = {
        "exchange": exchange,
        "interval": interval,
        "symbols": len(coverage.symbols),
        "sessions": len(coverage.grid.sessions),
        "missing": int(coverage.missing.sum()),
        "oldest": to_datetime(oldest) if oldest >= 0 else None,
    }
    database.retry_transaction(lambda connection: connection.execute(_UPSERT_LOOK, values))


def list_looks(connection: Connection, exchanges: tuple[str, ...]) -> list[SensorLook]:
    """The last look of each sensor of these exchanges; those that never looked are left out."""
    rows = connection.execute(_SELECT_LOOKS, {"exchanges": list(exchanges)}).fetchall()
    return [
        SensorLook(
            exchange, interval, at.astimezone(UTC), symbols, sessions, missing, oldest and oldest.astimezone(UTC)
        )
        for exchange, interval, at, symbols, sessions, missing, oldest in rows
    ]
