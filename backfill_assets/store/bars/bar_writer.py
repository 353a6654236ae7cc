"""Writes bars: COPY into a temporary table, then one statement that compares each bar with the stored one and writes.

The same SQL works with the table that this program creates and with one that another program created
(docs/decisions/0030). What may replace what (docs/decisions/0022):

- a final bar replaces a provisional one;
- a final bar is revised only by a final one of the same source interval that has at least as many source rows and was
  requested after the stored one was written; the old values go to ``backfill.revisions``. With ``replace_other_feed``,
  it is also revised by a final one of another source interval, and with ``replace_more_rows`` whatever its rows;
- of an equal bar the number of source rows follows the newest answer, without a revision;
- a bar without provenance belongs to another program and stays; ``external_bars`` verifies it on request.

Prices are compared as the table stores them (``column_precision``). Where a volume is not known, the column holds null,
or 0 where another program's table allows no null, and ``volume_known`` is false (``stored_values``). Bars that the
table refuses are left out and returned (``refused_bars``).

The values of a provisional bar are stored beside those of the final bar that replaces it
(``backfill.live_reconciliations``).
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from psycopg.errors import CardinalityViolation

from backfill_assets.errors import DatabaseUnavailable
from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.market.columns import Columns
from backfill_assets.store.bars.bar_staging import drop_staged_bars, stage_bars
from backfill_assets.store.bars.column_precision import round_to_columns
from backfill_assets.store.bars.new_bars import insert_new_bars
from backfill_assets.store.bars.refused_bars import RefusedBar, describe_dropped_bar, may_drop_rows, write_accepted_bars
from backfill_assets.store.bars.revisions import delete_unchanged_revisions
from backfill_assets.store.bars.stored_values import choose_volume_marks, compare_bars, mark_volume, select_volume
from backfill_assets.store.postgres.connection import Connection

LIVE_SOURCE_INTERVAL = "live"  # the source interval of bars made from live samples
_REPLACES_OTHER_FEED = """
    m.source_interval <> %(source_interval)s AND %(replace_other_feed)s AND s.is_final AND s.may_insert
    AND m.fetched_at <= %(requested_at)s
"""
_EVALUATE_STAGED_BARS = f"""
    SELECT s.*, coalesce(m.interval_type, %(spelling)s) AS spelling,
           m.open_price AS old_open, m.high_price AS old_high, m.low_price AS old_low,
           m.close_price AS old_close, {select_volume("m")} AS old_volume, m.source_interval AS old_source_interval,
           m.source_rows AS old_source_rows, m.fetched_at AS old_fetched_at,
           CASE
               WHEN m.symbol_id IS NULL THEN CASE WHEN s.may_insert THEN 'inserted' ELSE 'outside' END
               WHEN m.source IS NULL OR m.source <> %(source)s THEN 'protected'
               WHEN m.is_final IS FALSE AND s.is_final THEN 'updated'
               WHEN {compare_bars("m", "s", ("open_price", "high_price", "low_price", "close_price"))}
               THEN CASE WHEN {_REPLACES_OTHER_FEED} THEN 'relabeled'
                         WHEN m.source_interval = %(source_interval)s AND s.is_final AND s.source_rows <> m.source_rows
                              AND m.fetched_at <= %(requested_at)s THEN 'recounted'
                         ELSE 'unchanged' END
               WHEN {_REPLACES_OTHER_FEED} THEN 'revised'
               WHEN m.source_interval <> %(source_interval)s OR m.fetched_at > %(requested_at)s THEN 'protected'
               WHEN m.is_final IS FALSE THEN 'updated'
               WHEN s.is_final AND (s.source_rows >= m.source_rows OR %(replace_more_rows)s) THEN 'revised'
               ELSE 'protected'
           END AS outcome
    FROM staged_bars s
    LEFT JOIN LATERAL (
        SELECT * FROM market_data d WHERE d.symbol_id = s.symbol_id AND d.timestamp = s.stamp
           AND d.interval_type = ANY (%(spellings)s) ORDER BY d.source IS NULL LIMIT 1
    ) m ON true
"""  # noqa: S608 - only constants are inserted
_STORED_VOLUME, _VOLUME_MARK = mark_volume("evaluated")
_WRITTEN_OUTCOMES = "('inserted', 'updated', 'revised', 'relabeled', 'recounted')"
_FILL_CANDIDATES = f"""
INSERT INTO candidate_bars
SELECT row_number() OVER (ORDER BY stamp, symbol_id), symbol_id, spelling, stamp, open_price, high_price, low_price,
       close_price, {_STORED_VOLUME}, %(source)s::text, %(source_interval)s::text, source_rows, is_final
FROM ({_EVALUATE_STAGED_BARS}) evaluated WHERE outcome IN {_WRITTEN_OUTCOMES}
"""  # noqa: S608 - only constants are inserted
_MERGE_STAGED_BARS = f"""
WITH evaluated AS MATERIALIZED ({_EVALUATE_STAGED_BARS}), archived AS (
    INSERT INTO backfill.revisions (symbol_id, interval_type, timestamp, open_price, high_price, low_price,
                                    close_price, volume, source_interval, source_rows, fetched_at)
    SELECT symbol_id, spelling, stamp, old_open, old_high, old_low, old_close, old_volume,
           old_source_interval, old_source_rows, old_fetched_at
    FROM evaluated WHERE outcome = 'revised'
), replaced_live_bars AS (
    SELECT * FROM evaluated WHERE outcome = 'updated' AND is_final AND old_source_interval = %(live)s
), removed_live_slots AS (
    DELETE FROM backfill.live_slots l USING replaced_live_bars r
    WHERE l.symbol_id = r.symbol_id AND l.interval_type = %(interval)s AND l.timestamp = r.stamp
    RETURNING l.*
), reconciliations AS (
    INSERT INTO backfill.live_reconciliations AS c (symbol_id, interval_type, timestamp, live_open, live_high, live_low,
        live_close, live_volume, sample_count, exact_fields, final_open, final_high, final_low, final_close,
        final_volume, source_interval)
    SELECT r.symbol_id, %(interval)s, r.stamp, r.old_open, r.old_high, r.old_low, r.old_close, r.old_volume,
           l.sample_count, l.exact_fields, r.open_price, r.high_price, r.low_price, r.close_price,
           greatest(r.volume, 0), %(source_interval)s
    FROM replaced_live_bars r LEFT JOIN removed_live_slots l ON l.symbol_id = r.symbol_id AND l.timestamp = r.stamp
    ON CONFLICT (symbol_id, interval_type, timestamp) DO UPDATE SET
        live_open = EXCLUDED.live_open, live_high = EXCLUDED.live_high, live_low = EXCLUDED.live_low,
        live_close = EXCLUDED.live_close, live_volume = EXCLUDED.live_volume, sample_count = EXCLUDED.sample_count,
        exact_fields = EXCLUDED.exact_fields, final_open = EXCLUDED.final_open, final_high = EXCLUDED.final_high,
        final_low = EXCLUDED.final_low, final_close = EXCLUDED.final_close, final_volume = EXCLUDED.final_volume,
        source_interval = EXCLUDED.source_interval, reconciled_at = EXCLUDED.reconciled_at
), written AS (
    INSERT INTO market_data AS m (symbol_id, interval_type, timestamp, open_price, high_price, low_price,
                                  close_price, volume, source, source_interval, source_rows, is_final, fetched_at,
                                  volume_known)
    SELECT symbol_id, spelling, stamp, open_price, high_price, low_price, close_price, {_STORED_VOLUME},
           %(source)s, %(source_interval)s, source_rows, is_final, clock_timestamp(),
           {_VOLUME_MARK}
    FROM evaluated WHERE outcome IN {_WRITTEN_OUTCOMES} ORDER BY symbol_id, stamp
    ON CONFLICT (symbol_id, interval_type, timestamp) DO UPDATE SET
        open_price = EXCLUDED.open_price, high_price = EXCLUDED.high_price, low_price = EXCLUDED.low_price,
        close_price = EXCLUDED.close_price, volume = EXCLUDED.volume, source = EXCLUDED.source,
        source_interval = EXCLUDED.source_interval, source_rows = EXCLUDED.source_rows,
        is_final = EXCLUDED.is_final, fetched_at = EXCLUDED.fetched_at, volume_known = EXCLUDED.volume_known
    WHERE m.source = %(source)s AND (m.is_final IS FALSE OR EXCLUDED.is_final AND m.fetched_at <= %(requested_at)s)
)
SELECT symbol_id, outcome, count(*) FROM evaluated GROUP BY symbol_id, outcome
"""  # noqa: S608 - only constants are inserted
# After writing, with the staged bars: what would still be written was dropped. An old number of rows is no loss.
_SELECT_DROPPED_BARS = f"""
SELECT symbol_id, extract(epoch FROM stamp)::bigint, outcome
FROM ({_EVALUATE_STAGED_BARS}) evaluated WHERE outcome IN {_WRITTEN_OUTCOMES} AND outcome <> 'recounted'
"""  # noqa: S608 - only constants are inserted
_SELECT_SERVER_TIME = "SELECT clock_timestamp()"
_DELETE_BARS = """
DELETE FROM market_data
WHERE symbol_id = %(symbol_id)s AND interval_type = ANY (%(spellings)s) AND timestamp = ANY (%(timestamps)s)
"""
_SAME_KEY = (
    "a trigger or a rule of market_data changes bars so that several have the same symbol_id, interval_type and"
    " timestamp; see what it changes"
)


@dataclass(frozen=True, slots=True)
class WriteCounts:
    """What was done with the bars of a batch; each bar is counted once.

    Attributes:
        inserted: new bars.
        updated: bars that replaced a provisional one.
        unchanged: bars equal to the stored one; its source interval or number of source rows may be another now.
        revised: final bars that replaced a final one, whose values are in ``backfill.revisions``.
        protected: bars that may not replace the stored one.
        outside: bars before the window without a stored bar to compare with; not written.
        verified: bars equal to one of another program, which has the vendor's provenance now.
        replaced: bars that replaced a different one of another program, whose values are in ``backfill.revisions``.
        refused: bars that ``market_data`` refused; not written.
    """

    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    revised: int = 0
    protected: int = 0
    outside: int = 0
    verified: int = 0
    replaced: int = 0
    refused: int = 0

    @property
    def stored(self) -> int:
        """Bars that the table did not have before with these values."""
        return self.inserted + self.updated + self.revised + self.replaced

    def __add__(self, other: "WriteCounts") -> "WriteCounts":
        return WriteCounts(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))


@dataclass(frozen=True, slots=True)
class WrittenBars:
    """What was done with the bars of each symbol_id, and the bars that ``market_data`` refused."""

    counts: dict[int, WriteCounts]
    refused: list[RefusedBar]


def read_server_time(connection: Connection) -> datetime:
    """The server's clock, which also sets ``fetched_at``."""
    moment: datetime = connection.execute(_SELECT_SERVER_TIME).fetchall()[0][0]
    return moment


def write_bars(
    connection: Connection,
    bars: Columns,
    *,
    interval: Interval,
    spelling: str,
    source: str,
    source_interval: str,
    requested_at: datetime,
    replace_other_feed: bool = False,
    replace_more_rows: bool = False,
) -> WrittenBars:
    """Write ``bars`` within the caller's transaction.

    Args:
        connection: with a transaction open.
        bars: ``symbol_id``, ``timestamp`` (epoch seconds UTC), ``open high low close``, ``volume`` (NaN where it is not
            known), ``source_rows``, ``is_final``, and ``may_insert``: False for bars before the window, which only
            revise stored bars.
        interval: of the bars.
        spelling: the ``interval_type`` of new rows.
        source: the vendor's host.
        source_interval: the interval of the rows that the bars were built from.
        requested_at: the server's clock before the request; bars that changed since are not replaced.
        replace_other_feed: whether final bars also replace those of another source interval.
        replace_more_rows: whether final bars also replace those of more source rows.

    Raises:
        DatabaseUnavailable: a trigger of another program gives several bars the same key.
    """
    values = {
        "spelling": spelling,
        "spellings": list(interval.spellings),
        "source": source,
        "source_interval": source_interval,
        "requested_at": requested_at,
        "replace_other_feed": replace_other_feed,
        "replace_more_rows": replace_more_rows,
        "live": LIVE_SOURCE_INTERVAL,
        "interval": interval.name,
        **choose_volume_marks(connection, bars),
    }
    is_dropping = may_drop_rows(connection)

    def write(accepted_bars: Columns) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
        if is_dropping:
            return merge(accepted_bars)
        return insert_new_bars(connection, accepted_bars, values, lambda others: merge(others)[0]), []

    def merge(accepted_bars: Columns) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
        stage_bars(connection, accepted_bars)
        try:
            outcomes = connection.execute(_MERGE_STAGED_BARS, values).fetchall()
        except CardinalityViolation:  # our bars have keys of their own
            if not is_dropping:
                raise
            raise DatabaseUnavailable(_SAME_KEY) from None
        dropped = connection.execute(_SELECT_DROPPED_BARS, values).fetchall() if is_dropping else []
        drop_staged_bars(connection)
        return outcomes, dropped

    def fill_candidates(tried_bars: Columns) -> None:
        stage_bars(connection, tried_bars)
        connection.execute(_FILL_CANDIDATES, values)

    rounded, refused = round_to_columns(connection, bars)
    (outcomes, dropped), refused_by_table = write_accepted_bars(connection, rounded, write, fill_candidates)
    refused += refused_by_table
    refused += [describe_dropped_bar(key, stamp, is_new=outcome == "inserted") for key, stamp, outcome in dropped]
    counts = _count_outcomes(outcomes, dropped, refused)
    kept = Counter(key for key, _, outcome in dropped if outcome == "revised")
    for symbol_id, bar_count in delete_unchanged_revisions(
        connection, [key for key in counts if counts[key].revised or kept[key]]
    ).items():
        unchanged = bar_count - kept[symbol_id]
        counts[symbol_id] += WriteCounts(revised=-unchanged, unchanged=unchanged)
    return WrittenBars(counts, refused)


def _count_outcomes(
    outcomes: Sequence[tuple[Any, ...]], dropped: Sequence[tuple[Any, ...]], refused: Sequence[RefusedBar]
) -> dict[int, WriteCounts]:
    """What was done with the bars of each symbol_id; bars that a trigger dropped are taken off their outcome."""
    counts: dict[int, WriteCounts] = {}
    for symbol_id, outcome, bar_count in [*outcomes, *((key, outcome, -1) for key, _, outcome in dropped)]:
        name = "unchanged" if outcome in {"relabeled", "recounted"} else outcome
        counts[symbol_id] = counts.get(symbol_id, WriteCounts()) + WriteCounts(**{name: bar_count})
    for bar in refused:
        counts[bar.symbol_id] = counts.get(bar.symbol_id, WriteCounts()) + WriteCounts(refused=1)
    return counts


def delete_bars(connection: Connection, symbol_id: int, interval: Interval, timestamps: Sequence[datetime]) -> int:
    """Delete bars; returns how many. Only for demonstrations and tests: nothing else deletes bars."""
    values = {"symbol_id": symbol_id, "spellings": list(interval.spellings), "timestamps": list(timestamps)}
    return connection.execute(_DELETE_BARS, values).rowcount
