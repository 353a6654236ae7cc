"""Which of one ticker's gaps go into one request: as many as its longest span and the rows of an answer allow.

Pure functions; ``planner`` decides which gaps are requested.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

import numpy as np

from backfill_assets.market.arrays import Int64
from backfill_assets.market.calendar.slots import SlotGrid


@dataclass(frozen=True, slots=True)
class SpanLimits:
    """How much one request covers at most.

    Attributes:
        overlap: sessions before the gaps that are read again.
        max_span: from its first to its last second.
        max_trading: time in it of which an answer has rows, at most: that of sessions, or all of it where sessions are
            whole days.
    """

    overlap: int
    max_span: timedelta
    max_trading: timedelta


def split_runs(values: Int64) -> Iterator[tuple[int, int]]:
    """Begin and end of each run of equal values; ``values`` ascending."""
    edges = np.flatnonzero(np.diff(values, prepend=-1))
    yield from zip(edges.tolist(), [*edges[1:].tolist(), len(values)], strict=False)


class RequestSpans:
    """The spans of requests over a grid; ``opens`` and ``closes`` are epoch seconds of its sessions."""

    def __init__(self, grid: SlotGrid, limits: SpanLimits) -> None:
        opens, closes = grid.session_opens, grid.session_closes
        self._overlap = limits.overlap
        self.opens, self.closes = opens.tolist(), closes.tolist()
        self._traded = [0, *np.cumsum(closes - opens).tolist()]  # seconds of all sessions before each one
        # Where sessions are whole days the vendor has rows on closed days, too: currencies have them on weekends.
        self._has_rows_always = any(session.is_whole_day for session in grid.sessions)
        closing = grid.sessions[0].market.closing_seconds if grid.sessions else 0
        self._longest_span = limits.max_span.total_seconds() - closing
        self._longest_trading = limits.max_trading.total_seconds()

    def split(self, sessions: Int64) -> Iterator[tuple[int, int, slice]]:
        """Split one ticker's gap sessions (ascending, one entry per slot) into (first, last, slice of the entries).

        The span of a request includes the overlap before it and the closing minutes after it.
        """
        gap_sessions, entry_indices = np.unique(sessions, return_index=True)
        first, first_entry, last = int(gap_sessions[0]), 0, int(gap_sessions[0])
        for gap_session, entry_index in zip(gap_sessions.tolist(), entry_indices.tolist(), strict=True):
            if gap_session > first and self._is_too_long(max(0, first - self._overlap), gap_session):
                yield first, last, slice(first_entry, entry_index)
                first, first_entry = gap_session, entry_index
            last = gap_session
        yield first, last, slice(first_entry, len(sessions))

    def _is_too_long(self, first: int, last: int) -> bool:
        span = self.closes[last] - self.opens[first]
        trading = span if self._has_rows_always else self._traded[last + 1] - self._traded[first]
        return bool(span > self._longest_span or trading > self._longest_trading)
