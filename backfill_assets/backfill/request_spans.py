"""Which of one ticker's gaps go into one request: the fewest requests that the vendor's limits allow.

Pure functions; ``planner`` decides which gaps are requested.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

import numpy as np

from backfill_assets.market.arrays import Bools, Int64
from backfill_assets.market.calendar.slots import SlotGrid

# Gaps that are not due are read again at the same price, but only while the answer stays short: a request is longer
# than this only where that saves another one.
TAKEN_ALONG = timedelta(days=120)


@dataclass(frozen=True, slots=True)
class SpanLimits:
    """How much one request covers at most.

    Attributes:
        overlap: sessions before the gaps that are read again, as far as the request's span has room for them.
        max_span: from its first to its last second.
        max_trading: time in it of which an answer has rows, at most: that of sessions, or all of it where sessions are
            whole days.
    """

    overlap: int
    max_span: timedelta
    max_trading: timedelta


@dataclass(frozen=True, slots=True)
class RequestSpan:
    """One request of a ticker; sessions are positions in the grid.

    Attributes:
        begin: the first session that is read, overlap included.
        first: the first session with a gap.
        last: the last one.
        entries: which of the ticker's gaps it covers.
    """

    begin: int
    first: int
    last: int
    entries: slice


def split_runs(values: Int64) -> Iterator[tuple[int, int]]:
    """Begin and end of each run of equal values; ``values`` ascending."""
    edges = np.flatnonzero(np.diff(values, prepend=-1))
    yield from zip(edges.tolist(), [*edges[1:].tolist(), len(values)], strict=False)


class RequestSpans:
    """The spans of requests over a grid; ``opens`` and ``closes`` are epoch seconds of its sessions."""

    def __init__(self, grid: SlotGrid, limits: SpanLimits, first_session: int = 0) -> None:
        """Prepare the spans; no request begins before ``first_session``."""
        self._opens, self._closes = grid.session_opens, grid.session_closes
        self._traded = np.concatenate([self._opens[:0], [0], np.cumsum(self._closes - self._opens)])
        # Where sessions are whole days the vendor has rows on closed days, too: currencies have them on weekends.
        self._has_rows_always = any(session.is_whole_day for session in grid.sessions)
        self._closing = grid.sessions[0].market.closing_seconds if grid.sessions else 0
        self._limits, self._first_session = limits, first_session
        self._newest = self._find_newest(limits.max_span)
        self._newest_along = self._find_newest(min(limits.max_span, TAKEN_ALONG))
        self.opens, self.closes = self._opens.tolist(), self._closes.tolist()

    def _find_newest(self, max_span: timedelta) -> Int64:
        """By session, the last one that a request from it may reach: at least itself."""
        longest, trading = max_span.total_seconds() - self._closing, self._limits.max_trading.total_seconds()
        if self._has_rows_always:
            longest = min(longest, trading)
        by_span = np.searchsorted(self._closes, self._opens + longest, side="right") - 1
        by_rows = np.searchsorted(self._traded, self._traded[:-1] + trading, side="right") - 2
        return np.maximum(np.arange(len(self._opens)), np.minimum(by_span, by_rows))

    def split(self, sessions: Int64, due: Bools) -> Iterator[RequestSpan]:
        """The fewest requests that cover one ticker's due gaps, with those of its other gaps that cost no more.

        Args:
            sessions: the session of each gap, ascending; one entry per slot.
            due: which of them are due, at least one.

        Yields:
            requests whose spans, with the closing minutes after them, keep to the limits; oldest first.
        """
        gaps, begins = np.unique(sessions, return_index=True)
        ends = [*begins[1:].tolist(), len(sessions)]
        previous = -1
        groups = [(gaps[0], gaps[-1])] if gaps[-1] <= self._newest_along[gaps[0]] else self._cover(sessions[due])
        for (first, last), (following, _) in zip(groups, [*groups[1:], (len(self._opens), 0)], strict=True):
            newest = min(max(last, self._newest_along[first]), following - 1)
            end = int(np.searchsorted(gaps, newest, side="right")) - 1
            oldest = min(first, max(previous + 1, self._find_oldest(self._newest_along, gaps[end])))
            begin = int(np.searchsorted(gaps, oldest))
            room = max(self._first_session, previous + 1, self._find_oldest(self._newest, gaps[end]))
            reread = min(gaps[begin], max(room, gaps[begin] - self._limits.overlap))
            yield RequestSpan(int(reread), int(gaps[begin]), int(gaps[end]), slice(int(begins[begin]), ends[end]))
            previous = int(gaps[end])

    def count(self, sessions: Int64) -> int:
        """The fewest requests that cover gaps of these sessions (ascending)."""
        return len(self._cover(sessions))

    def _cover(self, sessions: Int64) -> list[tuple[int, int]]:
        """First and last session of each request, as few as possible.

        The oldest gap needs a request, and one that begins there covers what any other with it covers; so each request
        begins at the oldest gap that is left and takes all that it may.
        """
        gaps, groups, position = np.unique(sessions), [], 0
        while position < len(gaps):
            first = gaps[position]
            position = int(np.searchsorted(gaps, self._newest[first], side="right"))
            groups.append((int(first), int(gaps[position - 1])))
        return groups

    def find_first(self, last: int) -> int:
        """The oldest session that one request to the end of session ``last`` may begin with."""
        return self._find_oldest(self._newest, last)

    @staticmethod
    def _find_oldest(newest: Int64, session: int) -> int:
        """The first session from which a request may reach ``session``."""
        return int(np.searchsorted(newest, session))
