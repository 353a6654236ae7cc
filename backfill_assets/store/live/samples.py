"""Live samples as evidence: what the vendor gave for the day so far, with its own stamps."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd

from backfill_assets.market.calendar.sessions import Session
from backfill_assets.market.live.samples import MAX_STAMP_AFTER_CLOSE, SAMPLE_COLUMNS
from backfill_assets.store.postgres.connection import Connection

RETENTION_DAYS = 30
RECONCILIATION_RETENTION_DAYS = 400


def read_samples(connection: Connection, symbol_ids: Sequence[int], session: Session) -> pd.DataFrame:
    """The session's samples of these symbols as a table of ``market.live.samples``."""
    rows = connection.execute(
        "SELECT symbol_id, extract(epoch FROM vendor_timestamp)::bigint, open_price, high_price, low_price, close_price,"
        " volume::float8 FROM backfill.live_samples"
        " WHERE vendor_timestamp > %s AND vendor_timestamp <= %s AND symbol_id = ANY (%s)"
        " ORDER BY symbol_id, vendor_timestamp",
        [session.open, session.close + MAX_STAMP_AFTER_CLOSE, list(symbol_ids)],
    ).fetchall()
    table = pd.DataFrame(rows, columns=list(SAMPLE_COLUMNS))
    return table.astype({name: np.int64 if name in ("symbol_id", "stamp") else np.float64 for name in SAMPLE_COLUMNS})


def record_samples(connection: Connection, samples: pd.DataFrame, now: datetime) -> None:
    """Keep fresh samples read at ``now``; one takes the place of an earlier reading of its stamp."""
    connection.execute(
        "INSERT INTO backfill.live_samples (vendor_timestamp, symbol_id, open_price, high_price, low_price, close_price,"
        " volume, sampled_at)"
        " SELECT to_timestamp(stamp), id, o, h, l, c, v, %(now)s FROM unnest(%(stamp)s::bigint[], %(symbol_id)s::int[],"
        " %(open)s::float8[], %(high)s::float8[], %(low)s::float8[], %(close)s::float8[], %(volume)s::bigint[])"
        " AS t (stamp, id, o, h, l, c, v)"
        " ON CONFLICT (vendor_timestamp, symbol_id) DO UPDATE SET open_price = EXCLUDED.open_price,"
        " high_price = EXCLUDED.high_price, low_price = EXCLUDED.low_price, close_price = EXCLUDED.close_price,"
        " volume = EXCLUDED.volume, sampled_at = EXCLUDED.sampled_at",
        {
            "now": now.astimezone(UTC),
            **{name: samples[name].tolist() for name in ("open", "high", "low", "close")},
            **{name: samples[name].astype(np.int64).tolist() for name in ("stamp", "symbol_id", "volume")},
        },
    )


def delete_old_live_data(connection: Connection, now: datetime) -> None:
    """Drop samples, rounds and slots older than a month, and reconciliations older than a year and a bit."""
    month, year = now - timedelta(days=RETENTION_DAYS), now - timedelta(days=RECONCILIATION_RETENTION_DAYS)
    for statement, before in (
        ("DELETE FROM backfill.live_samples WHERE vendor_timestamp < least(%s, clock_timestamp())", month),
        ("DELETE FROM backfill.live_rounds WHERE due_at < least(%s, clock_timestamp())", month),
        ("DELETE FROM backfill.live_slots WHERE timestamp < least(%s, clock_timestamp())", month),
        ("DELETE FROM backfill.live_reconciliations WHERE timestamp < least(%s, clock_timestamp())", year),
    ):
        connection.execute(statement, [before])
