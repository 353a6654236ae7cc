"""What the rows of each symbol and session show: how far they reach, whether it is published, its official close.

Bars are built in ``bar_builder``, rows are classified in ``source_rows``.
"""

import numpy as np

from backfill_assets.market.arrays import Bools, Floats, Int64
from backfill_assets.market.bars.source_rows import ValidatedRows
from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.market.calendar.slots import SlotGrid
from backfill_assets.market.columns import Columns
from backfill_assets.market.equal_runs import find_run_ends, find_run_starts

_PUBLISHED_SECONDS = 1800  # a row in a session's last half hour, or at its close, shows that it is published


def summarize_sessions(validated: ValidatedRows, grid: SlotGrid, source: Interval) -> Columns:
    """One row per symbol and session with rows (see ``BuiltBars.sessions``).

    Rows before the close are absent if nothing came for longer than the symbol was silent anywhere else in the session.
    So quiet minutes at the end of a thinly traded session, which the vendor leaves out at 1m, are not taken for it.
    A market that never closes has no publication of a session at once: there, a session is published once the symbol's
    rows reach its end, in the same answer those of the next session, and ends before the close until then.
    """
    table, closes = validated.table, grid.session_closes
    session, stamp = table["session"], table["timestamp"]
    in_session = (session >= 0) & (stamp < closes[session] + grid.sessions[0].market.closing_seconds)
    symbol_id, session = table["symbol_id"][in_session], session[in_session]
    start = find_run_starts(symbol_id, session)
    data_until = np.minimum(stamp[in_session] + source.seconds, closes[session])
    reached = np.maximum.reduceat(data_until, start)
    published = np.logical_or.reduceat(_is_published(table, grid, source)[in_session], start)
    is_late = closes[session[start]] - reached > _find_longest_silence(data_until, start, grid, source)
    official_close, auction_volume = _find_official_closes(validated, in_session, start)
    return Columns(
        {
            "symbol_id": symbol_id[start],
            "session": session[start],
            "source_rows": np.diff(start, append=len(session)),
            "data_until": reached,
            "published": published,
            "ends_before_close": ~published if grid.is_around_the_clock else is_late,
            "official_close": official_close,
            "auction_volume": auction_volume,
        }
    )


def _find_longest_silence(data_until: Int64, start: Int64, grid: SlotGrid, source: Interval) -> Int64:
    """The longest time without a row in each symbol's session, in seconds; a break is no silence."""
    traded_until = data_until - grid.count_paused_seconds(data_until)
    silence = np.diff(traded_until, prepend=0) - source.seconds  # since the row before
    silence[start] = 0
    longest: Int64 = np.maximum.reduceat(silence, start)
    return longest


def _is_published(table: Columns, grid: SlotGrid, source: Interval) -> Bools:
    """Whether each row shows that its session is published to its end; shape (rows,).

    Of a market that never closes, only if the symbol's rows reach that end: nothing comes all at once.
    """
    close, stamp = grid.session_closes[table["session"]], table["timestamp"]
    if grid.is_around_the_clock:
        last = find_run_ends(table["symbol_id"])
        reached: Bools = np.repeat(stamp[last], np.diff(last, prepend=-1)) + source.seconds >= close
        return reached
    published: Bools = stamp >= close - _PUBLISHED_SECONDS
    return published


def _find_official_closes(validated: ValidatedRows, in_session: Bools, start: Int64) -> tuple[Floats, Floats]:
    """Official close and auction volume of each symbol's session, NaN where no closing row shows them.

    At 5m the close print is a flat row without volume. At 1m the auction is the largest row of the first five minutes
    (AAPL on 2025-01-15: 19.2 M shares in the row of 16:00, whose close of 237.87 was the official one).

    Args:
        validated: the rows.
        in_session: those of sessions, closing rows included.
        start: where each symbol's session begins among them.
    """
    line = np.searchsorted(start, np.flatnonzero(validated.is_closing[in_session]), side="right") - 1
    rows = np.flatnonzero(in_session & validated.is_closing)
    newest = find_run_ends(line, validated.table["timestamp"][rows])  # of rows with the same stamp the last counts
    line, close, volume = line[newest], *(validated.table[name][rows[newest]] for name in ("close", "volume"))
    order = np.lexsort((-np.nan_to_num(volume, nan=-1.0), line))  # stable: of equal volumes the first row
    first = order[find_run_starts(line[order])]
    official_close, auction_volume = np.full(len(start), np.nan), np.full(len(start), np.nan)
    official_close[line[first]] = close[first]
    known = ~np.isnan(volume)
    auction_volume[line[known]] = 0.0
    np.add.at(auction_volume, line[known], volume[known])
    return official_close, auction_volume
