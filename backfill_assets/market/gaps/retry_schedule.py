"""When to ask again for what the vendor did not give (DESIGN.md, decision 8).

After about 1, 3, 6, 12 and 24 h, then daily for ten days, then weekly. A step counts from the
previous ask; which step it is, is told by how long asking has brought nothing, so that asks that came
for free with another session's do not climb the ladder. For a fresh session that time counts from when
anybody was first seen published: a ticker that was probed early must not wait longer for it. And for a session
of which nothing came it counts from when an older one of the same ticker was seen: new rows restart the ladder.
"""

from dataclasses import dataclass
from datetime import timedelta
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from backfill_assets.market.gaps.evidence import RequestHistory

Int64 = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class RetrySchedule:
    """The pauses: ``steps`` first, then ``daily`` until ``days`` days have passed so, then ``weekly``.

    ``suspect_asks`` is how often a suspect bar is asked again daily before that becomes weekly too.
    """

    steps: tuple[timedelta, ...] = tuple(timedelta(hours=h) for h in (1, 3, 6, 12, 24))
    daily_delay: timedelta = timedelta(days=1)
    daily_phase_days: int = 10
    weekly_delay: timedelta = timedelta(days=7)
    max_daily_suspect_requests: int = 5

    @property
    def vendor_gap_after(self) -> timedelta:
        """How long asking must have brought nothing before the vendor is said to have a gap."""
        return sum(self.steps, timedelta()) + self.daily_phase_days * self.daily_delay

    def compute_delays(self, seconds_without_data: Floats) -> Floats:
        """Seconds to wait after an ask, by how many seconds asking had brought nothing then."""
        step_ends = list(accumulate(step.total_seconds() for step in self.steps))
        delays = [
            *(step.total_seconds() for step in self.steps),
            self.daily_delay.total_seconds(),
            self.weekly_delay.total_seconds(),
        ]
        thresholds = np.array([*step_ends, self.vendor_gap_after.total_seconds()])
        return np.array(delays)[np.searchsorted(thresholds, seconds_without_data, side="right")]


def adjust_no_new_data_since(history: RequestHistory, entry_index: Int64) -> Floats:
    """From when asking brought nothing, of each entry, a late older session of its ticker taken into account."""
    symbol_count, session_count = entry_index.shape
    if not len(history.row) or not session_count:
        return history.no_new_data_since
    published_at = np.full((symbol_count, session_count), -np.inf)
    published_at[history.row, history.session] = np.where(np.isnan(history.published_at), -np.inf, history.published_at)
    older_published_at = np.maximum.accumulate(
        np.column_stack([np.full(symbol_count, -np.inf), published_at[:, :-1]]), axis=1
    )
    restarted = np.maximum(history.no_new_data_since, older_published_at[history.row, history.session])
    return np.where(history.data_until == 0, restarted, history.no_new_data_since)


def compute_seconds_without_data(
    entry: Int64, session: Int64, history: RequestHistory, counting_starts_at: Floats
) -> Floats:
    """For how many seconds asking had brought nothing at the newest ask of each (known) entry."""
    since = np.maximum(history.no_new_data_since[entry], counting_starts_at[session])
    seconds: Floats = np.maximum(history.requested_at[entry] - since, 0.0)
    return seconds


def compute_next_request_at(
    row: Int64,
    session: Int64,
    entry: Int64,
    not_returned: Bools,
    suspect: Bools,
    history: RequestHistory,
    entry_index: Int64,
    counting_starts_at: Floats,
    schedule: RetrySchedule,
) -> Floats:
    """Epoch seconds from when each slot is to be asked; −inf for at once.

    ``counts_from`` is, per session, the moment before which silence does not count.

    At once: never asked, or came once and gone since. A ticker of which nothing at all came lately is
    silent: its newer sessions wait with the ones that it is silent about.
    """
    request_at = np.full(len(row), -np.inf)
    is_retried = not_returned & (entry >= 0)
    chosen_entry = entry[is_retried]
    request_at[is_retried] = history.requested_at[chosen_entry] + schedule.compute_delays(
        compute_seconds_without_data(chosen_entry, session[is_retried], history, counting_starts_at)
    )
    is_suspect_retried = suspect & (entry >= 0)
    chosen_entry = entry[is_suspect_retried]
    is_weekly = history.request_count[chosen_entry] > schedule.max_daily_suspect_requests
    request_at[is_suspect_retried] = history.requested_at[chosen_entry] + np.where(
        is_weekly, schedule.weekly_delay.total_seconds(), schedule.daily_delay.total_seconds()
    )
    return _delay_newer_sessions(row, session, entry, request_at, history, entry_index, counting_starts_at, schedule)


def _delay_newer_sessions(
    row: Int64,
    session: Int64,
    entry: Int64,
    request_at: Floats,
    history: RequestHistory,
    entry_index: Int64,
    counting_starts_at: Floats,
    schedule: RetrySchedule,
) -> Floats:
    symbol_count, session_count = entry_index.shape
    if not len(history.row) or not session_count:
        return request_at
    newest_with_data = np.where(
        (entry_index >= 0) & (history.data_until[entry_index] > 0), np.arange(session_count), -1
    ).max(axis=1)
    is_without_data = (
        (entry_index >= 0) & (np.arange(session_count) > newest_with_data[:, None]) & (counting_starts_at < np.inf)
    )
    without_data_since = np.where(
        is_without_data, np.maximum(history.no_new_data_since[entry_index], counting_starts_at), np.inf
    ).min(axis=1)
    last_requested_at = np.where(is_without_data, history.requested_at[entry_index], -np.inf).max(axis=1)
    is_symbol_without_data = np.isfinite(without_data_since) & np.isfinite(last_requested_at)
    resume_at = np.full(symbol_count, -np.inf)
    resume_at[is_symbol_without_data] = last_requested_at[is_symbol_without_data] + schedule.compute_delays(
        np.maximum(last_requested_at[is_symbol_without_data] - without_data_since[is_symbol_without_data], 0.0)
    )
    is_delayed = (session > newest_with_data[row]) & ((entry < 0) | ~np.isneginf(request_at))
    return np.where(is_delayed, np.maximum(request_at, resume_at[row]), request_at)
