"""External bars: written by another program, and verified against the vendor's on request (docs/decisions/0022).

A bar equal to the vendor's gets our provenance; where the vendor's volume is not known, one without is equal. Any other
is replaced, and its values are kept as a revision. A bar that its writer changed since it was read stays as it
is. All other writing of bars is in ``bar_writer``.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from backfill_assets.market.bars.source_rows import PRICES
from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.market.calendar.slots import SlotGrid
from backfill_assets.market.calendar.tickers import Symbol
from backfill_assets.market.columns import Columns
from backfill_assets.market.gaps.coverage import ExternalBars
from backfill_assets.store.bars.bar_staging import mark_unknown_volumes
from backfill_assets.store.bars.bar_writer import WriteCounts, WrittenBars
from backfill_assets.store.bars.column_precision import round_to_columns
from backfill_assets.store.bars.refused_bars import describe_dropped_bar, may_drop_rows, write_accepted_bars
from backfill_assets.store.bars.revisions import delete_unchanged_revisions
from backfill_assets.store.bars.stored_values import choose_volume_marks, compare_prices, mark_volume
from backfill_assets.store.postgres.array_reader import read_columns, to_whole_unix_seconds
from backfill_assets.store.postgres.connection import Connection

_FINGERPRINT = "hashtextextended(row(m.open_price, m.high_price, m.low_price, m.close_price, m.volume)::text, 0)"
_IS_ONLY_EXTERNAL = """
m.source IS NULL AND NOT EXISTS (
    SELECT FROM market_data o WHERE o.symbol_id = m.symbol_id AND o.timestamp = m.timestamp
       AND o.interval_type = ANY (%(spellings)s) AND o.interval_type <> m.interval_type
       AND (o.source IS NOT NULL OR o.interval_type < m.interval_type))
"""
_SELECT_TEMPLATE = """
SELECT u.row, m.timestamp AS stamp, {fingerprint} AS fingerprint
FROM unnest(%(ids)s::int[]) WITH ORDINALITY AS u (symbol_id, row)
JOIN market_data m ON m.symbol_id = u.symbol_id AND m.interval_type = ANY (%(spellings)s)
     AND m.timestamp BETWEEN %(first)s AND %(last)s
WHERE {only_row}
"""
_COLUMN_TYPES = {"row": ">i8", "stamp": ">i8", "fingerprint": ">i8"}
_COMPARE_TEMPLATE = """
    SELECT s.*, m.interval_type, m.open_price AS old_open, m.high_price AS old_high, m.low_price AS old_low,
           m.close_price AS old_close, m.volume AS old_volume,
           ({same_prices} AND CASE WHEN s.volume >= 0 THEN m.volume = s.volume
                                   ELSE coalesce(m.volume, 0) = 0 END) IS TRUE AS equal  -- a null price is not equal
    FROM unnest(%(ids)s::int[], %(stamps)s::bigint[], %(open)s::float8[], %(high)s::float8[], %(low)s::float8[],
                %(close)s::float8[], %(volume)s::bigint[], %(rows)s::smallint[], %(fingerprints)s::bigint[])
           AS s (symbol_id, epoch, open, high, low, close, volume, source_rows, fingerprint)
    JOIN market_data m ON m.symbol_id = s.symbol_id AND m.timestamp = to_timestamp(s.epoch)
         AND m.interval_type = ANY (%(spellings)s)
    WHERE {only_row} AND {fingerprint} = s.fingerprint
    ORDER BY s.symbol_id, s.epoch FOR UPDATE OF m
"""
_FILL_CANDIDATES_TEMPLATE = """
INSERT INTO candidate_bars
SELECT row_number() OVER (ORDER BY epoch, symbol_id), symbol_id, interval_type, to_timestamp(epoch), open, high, low,
       close, {stored_volume}, %(source)s::text, %(source_interval)s::text, source_rows, true
FROM ({compared}) compared
"""
# After verifying: an external bar that is still there was kept by a trigger.
_KEPT_TEMPLATE = "SELECT symbol_id, epoch, equal FROM ({compared}) compared"
_VERIFY_TEMPLATE = """
WITH compared AS MATERIALIZED ({compared}), recorded AS (
    INSERT INTO backfill.revisions (symbol_id, interval_type, timestamp, open_price, high_price, low_price,
                                    close_price, volume)
    SELECT symbol_id, interval_type, to_timestamp(epoch), old_open, old_high, old_low, old_close, old_volume
    FROM compared WHERE NOT equal
), written AS (
    UPDATE market_data m SET
        open_price = CASE WHEN c.equal THEN m.open_price ELSE c.open END,
        high_price = CASE WHEN c.equal THEN m.high_price ELSE c.high END,
        low_price = CASE WHEN c.equal THEN m.low_price ELSE c.low END,
        close_price = CASE WHEN c.equal THEN m.close_price ELSE c.close END,
        volume = {stored_volume}, source = %(source)s, source_interval = %(source_interval)s,
        source_rows = c.source_rows, is_final = true, fetched_at = clock_timestamp(),
        volume_known = {volume_mark}
    FROM compared c WHERE m.symbol_id = c.symbol_id AND m.timestamp = to_timestamp(c.epoch)
      AND m.interval_type = c.interval_type
)
SELECT symbol_id, count(*) FILTER (WHERE equal), count(*) FILTER (WHERE NOT equal) FROM compared GROUP BY symbol_id
"""
_SELECT_EXTERNAL_BARS = _SELECT_TEMPLATE.format(fingerprint=_FINGERPRINT, only_row=_IS_ONLY_EXTERNAL)
_SAME_PRICES = " AND ".join(compare_prices(f"m.{name}_price", f"s.{name}") for name in PRICES)
_COMPARED = _COMPARE_TEMPLATE.format(fingerprint=_FINGERPRINT, only_row=_IS_ONLY_EXTERNAL, same_prices=_SAME_PRICES)
_FILL_CANDIDATES = _FILL_CANDIDATES_TEMPLATE.format(compared=_COMPARED, stored_volume=mark_volume("compared")[0])
_STORED_VOLUME, _VOLUME_MARK = mark_volume("c")
_VERIFY_EXTERNAL_BARS = _VERIFY_TEMPLATE.format(
    compared=_COMPARED, stored_volume=_STORED_VOLUME, volume_mark=_VOLUME_MARK
)
_SELECT_KEPT_BARS = _KEPT_TEMPLATE.format(compared=_COMPARED)


def read_external_bars(connection: Connection, symbols: Sequence[Symbol], grid: SlotGrid) -> ExternalBars:
    """The slots of ``grid`` with an external bar and no bar of this package; rows are positions in ``symbols``."""
    if not grid.size or not symbols:
        return ExternalBars.create_empty()
    values = {
        "ids": [s.symbol_id for s in symbols],
        "spellings": list(grid.interval.spellings),
        "first": grid.first_start,
        "last": grid.last_start,
    }
    found = read_columns(connection, _SELECT_EXTERNAL_BARS, values, _COLUMN_TYPES)
    ordinal = grid.find_ordinals(to_whole_unix_seconds(found["stamp"]))
    in_grid = ordinal >= 0
    slot_key = grid.get_slot_keys(found["row"] - 1, ordinal)[in_grid]
    order = np.argsort(slot_key)
    return ExternalBars(slot_key[order], found["fingerprint"][in_grid][order])


def verify_external_bars(
    connection: Connection, bars: Columns, *, interval: Interval, source: str, source_interval: str
) -> WrittenBars:
    """Verify external bars against final ``bars``, within the caller's transaction; replace those that differ.

    Args:
        connection: with a transaction open.
        bars: as for ``write_bars``, with the column ``fingerprint`` of the external bar that was read.
        interval: the interval of the bars.
        source: the vendor's host, written as the bars' provenance.
        source_interval: the interval of the vendor's rows that the bars were built from.

    Returns:
        Per symbol_id, how many bars were verified, replaced, and refused by the table.
    """
    if not len(bars):
        return WrittenBars({}, [])
    constants = {
        "spellings": list(interval.spellings),
        "source": source,
        "source_interval": source_interval,
        **choose_volume_marks(connection, bars),
    }

    def verify(accepted_bars: Columns) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
        values = _to_arrays(accepted_bars) | constants
        rows = connection.execute(_VERIFY_EXTERNAL_BARS, values).fetchall()
        return rows, connection.execute(_SELECT_KEPT_BARS, values).fetchall() if may_drop_rows(connection) else []

    def fill_candidates(tried_bars: Columns) -> None:
        connection.execute(_FILL_CANDIDATES, _to_arrays(tried_bars) | constants)

    rounded, refused = round_to_columns(connection, bars)
    (rows, kept), refused_by_table = write_accepted_bars(connection, rounded, verify, fill_candidates)
    refused += refused_by_table
    refused += [describe_dropped_bar(key, stamp, is_new=False) for key, stamp, _ in kept]
    refused_counts = Counter(bar.symbol_id for bar in refused)
    counts = {key: WriteCounts(verified=equal, replaced=other) for key, equal, other in rows}
    for key, _, is_equal in kept:
        counts[key] += WriteCounts(verified=-1) if is_equal else WriteCounts(replaced=-1)
    kept_unequal = Counter(key for key, _, is_equal in kept if not is_equal)
    for symbol_id, deleted in delete_unchanged_revisions(connection, list(counts)).items():
        count = deleted - kept_unequal[symbol_id]
        counts[symbol_id] += WriteCounts(verified=count, replaced=-count)
    for symbol_id, count in refused_counts.items():
        counts[symbol_id] = counts.get(symbol_id, WriteCounts()) + WriteCounts(refused=count)
    return WrittenBars(counts, refused)


def _to_arrays(bars: Columns) -> dict[str, Any]:
    bars = mark_unknown_volumes(bars)
    return {
        "ids": bars["symbol_id"].tolist(),
        "stamps": bars["timestamp"].tolist(),
        **{name: bars[name].tolist() for name in ("open", "high", "low", "close", "volume")},
        "rows": bars["source_rows"].tolist(),
        "fingerprints": bars["fingerprint"].tolist(),
    }
