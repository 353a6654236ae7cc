"""Counts what the vendor's rows of an experimental exchange show that its profile only assumes. Pure.

Which sessions of which symbols are counted is decided by the caller: each once. The counts are kept by
``store.learning``; what follows from them is in ``proposed_settings``.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np

from backfill_assets.market.arrays import Bools, Floats, Int64
from backfill_assets.market.calendar.slots import SlotGrid
from backfill_assets.market.columns import Columns

AFTER_CLOSE_SECONDS = 7_200  # auctions end within half an hour; 1m has rows of later trading, too


@dataclass(frozen=True, slots=True)
class ClosingRows:
    """Rows of a session at one time after its close.

    Attributes:
        seconds: from the close to the row's time.
        prints: how many have no volume.
        auctions: how many have one.
        volume: the sum of these.
    """

    seconds: int
    prints: int
    auctions: int
    volume: float


@dataclass(frozen=True, slots=True)
class SessionRows:
    """The rows of one session of an exchange.

    Attributes:
        session: position in the grid's sessions.
        symbols: of how many symbols.
        source_rows: rows within the session.
        without_prices: rows of nulls among them.
        null_flat: rows without volume at one price.
        null_moving: rows without volume at several prices.
        off_grid: rows at a time that is not one of the interval.
        fractional: rows with a fraction of a share.
        closing: the rows from the close on, by time; none of a market that has no close, or trades on after it.
    """

    session: int
    symbols: int
    source_rows: int
    without_prices: int
    null_flat: int
    null_moving: int
    off_grid: int
    fractional: int
    closing: tuple[ClosingRows, ...]


@dataclass(frozen=True, slots=True)
class LearnedRows:
    """What the rows of an exchange have shown, summed over its sessions.

    Attributes:
        sessions: how many sessions were seen.
        first_day: the oldest of them; None without any.
        last_day: the newest.
        symbol_sessions: sessions of symbols.
        source_rows: rows within sessions.
        without_prices: rows of nulls.
        null_flat: rows without volume at one price.
        null_moving: rows without volume at several prices.
        off_grid: rows at a time that is not one of the interval.
        fractional: rows with a fraction of a share.
        closing: rows from the close on, by time.
    """

    sessions: int
    first_day: date | None
    last_day: date | None
    symbol_sessions: int
    source_rows: int
    without_prices: int
    null_flat: int
    null_moving: int
    off_grid: int
    fractional: int
    closing: tuple[ClosingRows, ...] = ()


@dataclass(frozen=True, slots=True)
class SeenPublication:
    """How long after its regular close a session was first seen published: for one symbol, and for half of them."""

    day: date
    first_after: timedelta
    half_after: timedelta
    symbols: int


def count_learned_rows(
    rows: Columns, rejects: Columns, counted: Collection[tuple[int, int]], grid: SlotGrid
) -> list[SessionRows]:
    """Count the rows of some symbols' sessions, the oldest session first.

    Args:
        rows: a row table (see ``market.bars.source_rows``) as received.
        rejects: the rows that broke a rule (see ``BuiltBars``).
        counted: (symbol_id, session of the grid) each; rows of others are left out.
        grid: the slots.
    """
    session = _locate(rows, counted, grid)
    rejected = rejects.take(rejects["reason"] == "off_grid")
    off_grid = np.bincount(_locate(rejected, counted, grid) + 1, minlength=len(grid.sessions) + 1)[1:]
    symbols = np.bincount([at for _, at in counted], minlength=len(grid.sessions))
    order = np.argsort(session, kind="stable")
    stamp, prices, volume = (
        rows["timestamp"][order],
        np.column_stack([rows[name] for name in ("open", "high", "low", "close")])[order],
        rows["volume"][order],
    )
    begins = np.searchsorted(session[order], np.arange(len(grid.sessions) + 1))
    parts = {at: slice(begins[at], begins[at + 1]) for at in np.flatnonzero(symbols).tolist()}
    return [
        _count_session(stamp[part], prices[part], volume[part], at, int(symbols[at]), int(off_grid[at]), grid)
        for at, part in parts.items()
    ]


def sum_learned_rows(counted: Sequence[SessionRows], grid: SlotGrid) -> LearnedRows:
    """The counts of several sessions as one, where they are not kept in the store."""
    figures = ("source_rows", "without_prices", "null_flat", "null_moving", "off_grid", "fractional")
    by_seconds: dict[int, list[ClosingRows]] = {}
    for row in (row for session in counted for row in session.closing):
        by_seconds.setdefault(row.seconds, []).append(row)
    days = [grid.sessions[session.session].day for session in counted]
    return LearnedRows(
        sessions=len(counted),
        first_day=min(days, default=None),
        last_day=max(days, default=None),
        symbol_sessions=sum(session.symbols for session in counted),
        **{name: sum(getattr(session, name) for session in counted) for name in figures},
        closing=tuple(_sum_closing(seconds, rows) for seconds, rows in sorted(by_seconds.items())),
    )


def _sum_closing(seconds: int, rows: Sequence[ClosingRows]) -> ClosingRows:
    return ClosingRows(
        seconds,
        sum(row.prints for row in rows),
        sum(row.auctions for row in rows),
        sum(row.volume for row in rows),
    )


def _locate(rows: Columns, counted: Collection[tuple[int, int]], grid: SlotGrid) -> Int64:
    """The session of each row, up to two hours after its close; −1 for rows that are not counted."""
    stamp, symbol_id = rows["timestamp"], rows["symbol_id"]
    session = np.searchsorted(grid.session_opens, stamp, side="right").astype(np.int64) - 1
    is_near = (session >= 0) & (stamp < grid.session_closes[session] + AFTER_CLOSE_SECONDS)
    chosen = np.array([key * len(grid.sessions) + at for key, at in counted], np.int64)
    is_counted = is_near & np.isin(symbol_id * len(grid.sessions) + session, chosen)
    return np.where(is_counted, session, -1)


def _count_session(
    stamp: Int64, prices: Floats, volume: Floats, session: int, symbols: int, off_grid: int, grid: SlotGrid
) -> SessionRows:
    """Counts of one session's rows; ``prices`` have the shape (rows, 4)."""
    after = stamp - int(grid.session_closes[session])
    is_inside = after < 0
    has_prices: Bools = np.logical_not(np.isnan(prices).all(axis=1))
    is_null = is_inside & has_prices & np.isnan(volume)
    is_closing = ~is_inside & has_prices & grid.sessions[session].market.has_closing_rows
    is_flat = prices.max(axis=1, initial=-np.inf) == prices.min(axis=1, initial=np.inf)
    return SessionRows(
        session=session,
        symbols=symbols,
        source_rows=int(is_inside.sum()),
        without_prices=int((is_inside & ~has_prices).sum()),
        null_flat=int((is_null & is_flat).sum()),
        null_moving=int((is_null & ~is_flat).sum()),
        off_grid=off_grid,
        fractional=int((volume != np.floor(volume))[~np.isnan(volume)].sum()),
        closing=tuple(_count_closing(after[is_closing], volume[is_closing])),
    )


def _count_closing(after: Int64, volume: Floats) -> list[ClosingRows]:
    traded = np.nan_to_num(volume) > 0
    return [
        ClosingRows(
            seconds=seconds,
            prints=int((~traded & (after == seconds)).sum()),
            auctions=int((traded & (after == seconds)).sum()),
            volume=float(volume[traded & (after == seconds)].sum()),
        )
        for seconds in np.unique(after).tolist()
    ]
