"""When to request again what the vendor did not return (docs/decisions/0008).

After about 1, 3, 6, 12 and 24 h, then daily for ten days, then weekly. The delay starts at the previous request. The
step depends on how long requests have returned no new data; requests made for another session do not advance it.

Four rules determine from when that time counts:

- New rows for the session restart it.
- A session that was never seen published for any symbol: once it is overdue, time counts from its first request;
  before, it does not count at all. Once published for any symbol, time counts from then. So a symbol that was requested
  early, before the vendor published the session, does not wait longer than the others.
- A session without any rows restarts when an older session of the same symbol appears.
- It also restarts when a listing of its ticker is recorded: then another ticker may be asked for it. The store gives
  such a session as one without new data since then (``store.evidence.evidence_reader``).
"""

from dataclasses import dataclass, replace
from datetime import timedelta
from enum import IntEnum
from itertools import accumulate

import numpy as np

from backfill_assets.market.arrays import Bools, Floats, Int8, Int64
from backfill_assets.market.gaps.evidence import NO_ENTRY, RequestHistory, look_up

NEVER = timedelta(days=36_500)  # a delay that nobody lives to see


class Recheck(IntEnum):
    """How often a suspect bar is requested again."""

    BY_COUNT = 0  # daily for ``RetrySchedule.max_daily_suspect_requests`` requests of its session, then weekly
    DAILY = 1  # a doubt about it is open: daily for as many requests as an absent bar, then weekly
    WEEKLY = 2  # the vendor repeated the values in doubt
    NEVER = 3  # a person decided that it stays marked, or only an audit doubts it


@dataclass(frozen=True, slots=True)
class RetrySchedule:
    """The delays: ``steps`` first, then daily for ``daily_phase_days`` days, then weekly.

    A suspect bar is requested again daily for ``max_daily_suspect_requests`` requests, then weekly; what a doubt about
    it changes is in ``Recheck``.
    """

    steps: tuple[timedelta, ...] = tuple(timedelta(hours=h) for h in (1, 3, 6, 12, 24))
    daily_delay: timedelta = timedelta(days=1)
    daily_phase_days: int = 10
    weekly_delay: timedelta = timedelta(days=7)
    max_daily_suspect_requests: int = 5

    @property
    def max_daily_requests(self) -> int:
        """How many requests an absent bar gets before they are weekly."""
        return len(self.steps) + self.daily_phase_days

    @property
    def vendor_gap_after(self) -> timedelta:
        """How long requests must have returned no new data before a slot counts as a vendor gap."""
        return sum(self.steps, timedelta()) + self.daily_phase_days * self.daily_delay

    def ask_once_more(self) -> "RetrySchedule":
        """The schedule of old sessions: an absent bar is requested once more, when that makes it a vendor gap.

        A bar that is years old comes no sooner for being asked for often. Suspect bars are left to whoever reads it.
        """
        return replace(
            self,
            steps=(self.vendor_gap_after,),
            daily_phase_days=0,
            weekly_delay=NEVER,
            max_daily_suspect_requests=0,
        )

    def compute_delays(self, seconds_without_data: Floats) -> Floats:
        """Seconds from a request to the next one, by how long requests had returned no new data at the first."""
        step_ends = list(accumulate(step.total_seconds() for step in self.steps))
        delays = [
            *(step.total_seconds() for step in self.steps),
            self.daily_delay.total_seconds(),
            self.weekly_delay.total_seconds(),
        ]
        thresholds = np.array([*step_ends, self.vendor_gap_after.total_seconds()])
        return np.array(delays)[np.searchsorted(thresholds, seconds_without_data, side="right")]


@dataclass(frozen=True, eq=False)
class PastRequests:
    """The request history as the schedule sees it at one moment.

    Attributes:
        history: all entries; ``no_new_data_since`` already restarted by older sessions that appeared.
        entry_index: the entry of each symbol and session, ``NO_ENTRY`` for none; shape (symbols, sessions). Entries
            that lie in the future are left out.
        counting_starts_at: epoch seconds before which time without new data does not count, shape (sessions,);
            ∞ while it does not count at all, −∞ where it always counts.
    """

    history: RequestHistory
    entry_index: Int64
    counting_starts_at: Floats

    def compute_start(self, entry: Int64, session: Int64) -> Floats:
        """Epoch seconds from when time without new data counts, of existing entries of ``session``."""
        return np.maximum(self.history.no_new_data_since[entry], self.counting_starts_at[session])


def select_past_requests(
    history: RequestHistory, entry_index: Int64, counting_starts_at: Floats, now_epoch: float
) -> PastRequests:
    """The requests that the schedule counts at ``now_epoch`` (epoch seconds)."""
    # A request in the future comes from a mistaken --as-of. No slot waits for it.
    is_past = look_up(history.requested_at <= now_epoch, entry_index, default=False)
    return PastRequests(
        history=replace(history, no_new_data_since=_restart_after_older_sessions(history, entry_index)),
        entry_index=np.where(is_past, entry_index, NO_ENTRY),
        counting_starts_at=counting_starts_at,
    )


@dataclass(frozen=True, eq=False)
class SlotRetries:
    """The retry schedule of each open slot, shape (slots,).

    Attributes:
        seconds_without_data: for how long requests had returned no new data at the newest request; −∞ for a slot
            that the newest response held or that was never requested.
        next_request_at: epoch seconds from when the slot is to be requested; −∞ for at once.
    """

    seconds_without_data: Floats
    next_request_at: Floats


def compute_retries(
    row: Int64,
    session: Int64,
    unfilled: Bools,
    suspect: Bools,
    recheck: Int8,
    past: PastRequests,
    schedule: RetrySchedule,
    delayed_from: Floats | None = None,
) -> SlotRetries:
    """Apply ``schedule`` to open slots; all arrays of slots have the shape (slots,).

    ``unfilled`` slots were not in the newest response, or their bar was refused by the store. A slot is requested at
    once if it never was, or if it was returned once and its bar is gone from the store. ``recheck`` is a ``Recheck``
    each; it counts for suspect bars only. What was requested before ``delayed_from`` (epoch seconds; None: nothing)
    is requested then: around the clock an answer covers hours that the vendor cannot have yet.
    """
    entry = past.entry_index[row, session]
    history = past.history
    seconds_without_data, request_at = np.full(len(row), -np.inf), np.full(len(row), -np.inf)

    # Requested, and not returned or not stored: the delay grows with the time without new data.
    is_retried = unfilled & (entry != NO_ENTRY)
    retried = entry[is_retried]
    # fmax counts 0 where nothing was missing from the newest response
    seconds = np.fmax(history.requested_at[retried] - past.compute_start(retried, session[is_retried]), 0.0)
    seconds_without_data[is_retried] = seconds
    request_at[is_retried] = history.requested_at[retried] + schedule.compute_delays(seconds)
    if delayed_from is not None:
        is_early = history.requested_at[retried] < delayed_from[is_retried]
        request_at[is_retried] = np.where(is_early, delayed_from[is_retried], request_at[is_retried])

    # Returned, but with a suspect bar: daily at first, then weekly.
    is_checked_again = suspect & (entry != NO_ENTRY)
    checked = entry[is_checked_again]
    how_often = recheck[is_checked_again]
    # Answers that never hold the bar, or hold it with fewer rows, neither repeat nor end a doubt.
    max_daily = np.where(how_often == Recheck.DAILY, schedule.max_daily_requests, schedule.max_daily_suspect_requests)
    delay = np.where(
        (how_often == Recheck.WEEKLY) | (history.request_count[checked] > max_daily),
        schedule.weekly_delay.total_seconds(),
        schedule.daily_delay.total_seconds(),
    )
    request_at[is_checked_again] = history.requested_at[checked] + delay
    request_at[suspect & (recheck == Recheck.NEVER)] = np.inf

    # Never requested, or waiting already: not before the symbol's other sessions without data.
    may_wait = (entry == NO_ENTRY) | ~np.isneginf(request_at)
    return SlotRetries(seconds_without_data, _delay_newer_sessions(row, session, request_at, may_wait, past, schedule))


def _restart_after_older_sessions(history: RequestHistory, entry_index: Int64) -> Floats:
    """``no_new_data_since`` of each entry; without any rows, not before an older session of the symbol appeared."""
    if not len(history.row):
        return history.no_new_data_since
    first_seen = np.where(np.isnan(history.published_at), -np.inf, history.published_at)
    published_at = look_up(first_seen, entry_index, default=-np.inf)
    never = np.full(len(entry_index), -np.inf)  # before the first session there is none
    older_published_at = np.maximum.accumulate(np.column_stack([never, published_at[:, :-1]]), axis=1)
    restarted = np.maximum(history.no_new_data_since, older_published_at[history.row, history.session])
    return np.where(history.data_until == 0, restarted, history.no_new_data_since)


def _delay_newer_sessions(
    row: Int64, session: Int64, request_at: Floats, may_wait: Bools, past: PastRequests, schedule: RetrySchedule
) -> Floats:
    """``request_at``, but sessions newer than a symbol's newest data wait until the symbol is requested again."""
    if not len(past.history.row):
        return request_at
    newest_with_data = _find_newest_with_data(past)
    resume_at = _compute_resume_times(past, newest_with_data, schedule)
    is_delayed = may_wait & (session > newest_with_data[row])
    return np.where(is_delayed, np.maximum(request_at, resume_at[row]), request_at)


def _find_newest_with_data(past: PastRequests) -> Int64:
    """The newest session of which any row came, −1 without one; shape (symbols,)."""
    has_data = look_up(past.history.data_until, past.entry_index, default=0) > 0
    newest: Int64 = np.where(has_data, np.arange(has_data.shape[1]), -1).max(axis=1)
    return newest


def _compute_resume_times(past: PastRequests, newest_with_data: Int64, schedule: RetrySchedule) -> Floats:
    """Epoch seconds when a symbol is requested again for its newest sessions, of which no row came; shape (symbols,).

    −∞ for a symbol without such sessions.
    """
    history, entry_index = past.history, past.entry_index
    is_newer = np.arange(entry_index.shape[1]) > newest_with_data[:, None]
    is_without_data = (entry_index != NO_ENTRY) & is_newer & (past.counting_starts_at < np.inf)
    start = np.maximum(look_up(history.no_new_data_since, entry_index, default=np.inf), past.counting_starts_at)
    since = np.where(is_without_data, start, np.inf).min(axis=1)
    requested_at = look_up(history.requested_at, entry_index, default=0)
    last_requested_at = np.where(is_without_data, requested_at, -np.inf).max(axis=1)
    is_waiting = np.isfinite(since) & np.isfinite(last_requested_at)
    resume_at = np.full(len(entry_index), -np.inf)
    seconds = np.maximum(last_requested_at[is_waiting] - since[is_waiting], 0.0)
    resume_at[is_waiting] = last_requested_at[is_waiting] + schedule.compute_delays(seconds)
    return resume_at
