"""Live samples: the vendor's quotes of the day so far, with the vendor's own timestamps."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np

from backfill_assets.market.calendar.sessions import Session
from backfill_assets.market.live.samples import MAX_STAMP_AFTER_CLOSE, SAMPLE_COLUMNS
from backfill_assets.store.postgres.connection import Connection

if TYPE_CHECKING:  # slow to load, and only what samples live quotes needs it
    import pandas as pd

RETENTION_DAYS = 30
RECONCILIATION_RETENTION_DAYS = 400

_SELECT_SAMPLES = """
SELECT symbol_id, extract(epoch FROM vendor_timestamp)::bigint, open_price, high_price, low_price, close_price,
       volume::float8
FROM backfill.live_samples
WHERE vendor_timestamp > %(after)s AND vendor_timestamp <= %(until)s AND symbol_id = ANY (%(ids)s)
ORDER BY symbol_id, vendor_timestamp
"""
_UPSERT_SAMPLES = """
INSERT INTO backfill.live_samples (vendor_timestamp, symbol_id, open_price, high_price, low_price, close_price, volume,
                                   sampled_at)
SELECT to_timestamp(stamp), id, open, high, low, close, volume, %(now)s
FROM unnest(%(stamp)s::bigint[], %(symbol_id)s::int[], %(open)s::float8[], %(high)s::float8[], %(low)s::float8[],
            %(close)s::float8[], %(volume)s::bigint[]) AS t (stamp, id, open, high, low, close, volume)
ON CONFLICT (vendor_timestamp, symbol_id) DO UPDATE SET
    open_price = EXCLUDED.open_price, high_price = EXCLUDED.high_price, low_price = EXCLUDED.low_price,
    close_price = EXCLUDED.close_price, volume = EXCLUDED.volume, sampled_at = EXCLUDED.sampled_at
"""
# The run's clock may stand in the future (--as-of): nothing is deleted that is not old by the server's clock, too.
_DELETE_OLD_SAMPLES = "DELETE FROM backfill.live_samples WHERE vendor_timestamp < least(%(before)s, clock_timestamp())"
_DELETE_OLD_ROUNDS = "DELETE FROM backfill.live_rounds WHERE due_at < least(%(before)s, clock_timestamp())"
_DELETE_OLD_SLOTS = "DELETE FROM backfill.live_slots WHERE timestamp < least(%(before)s, clock_timestamp())"
_DELETE_OLD_RECONCILIATIONS = """
DELETE FROM backfill.live_reconciliations WHERE timestamp < least(%(before)s, clock_timestamp())
"""


def read_samples(connection: Connection, symbol_ids: Sequence[int], session: Session) -> "pd.DataFrame":
    """The session's samples of these symbols, columns of ``market.live.samples.SAMPLE_COLUMNS``."""
    import pandas as pd

    values = {"after": session.open, "until": session.close + MAX_STAMP_AFTER_CLOSE, "ids": list(symbol_ids)}
    rows = connection.execute(_SELECT_SAMPLES, values).fetchall()
    table = pd.DataFrame(rows, columns=list(SAMPLE_COLUMNS))
    return table.astype({name: np.int64 if name in ("symbol_id", "stamp") else np.float64 for name in SAMPLE_COLUMNS})


def record_samples(connection: Connection, samples: "pd.DataFrame", now: datetime) -> None:
    """Store fresh samples that were read at ``now``; each replaces an earlier one of the same vendor timestamp."""
    connection.execute(
        _UPSERT_SAMPLES,
        {
            "now": now.astimezone(UTC),
            **{name: samples[name].tolist() for name in ("open", "high", "low", "close")},
            **{name: samples[name].astype(np.int64).tolist() for name in ("stamp", "symbol_id", "volume")},
        },
    )


def delete_old_live_data(connection: Connection, now: datetime) -> None:
    """Delete samples, rounds and slots older than 30 days, and reconciliations older than 400 days."""
    month, year = now - timedelta(days=RETENTION_DAYS), now - timedelta(days=RECONCILIATION_RETENTION_DAYS)
    connection.execute(_DELETE_OLD_SAMPLES, {"before": month})
    connection.execute(_DELETE_OLD_ROUNDS, {"before": month})
    connection.execute(_DELETE_OLD_SLOTS, {"before": month})
    connection.execute(_DELETE_OLD_RECONCILIATIONS, {"before": year})
