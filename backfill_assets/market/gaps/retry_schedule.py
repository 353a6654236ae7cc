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

from backfill_assets.market.gaps.evidence import Asked

Int64 = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class Ladder:
    """The pauses: ``steps`` first, then ``daily`` until ``days`` days have passed so, then ``weekly``.

    ``suspect_asks`` is how often a suspect bar is asked again daily before that becomes weekly too.
    """

    steps: tuple[timedelta, ...] = tuple(timedelta(hours=h) for h in (1, 3, 6, 12, 24))
    daily: timedelta = timedelta(days=1)
    days: int = 10
    weekly: timedelta = timedelta(days=7)
    suspect_asks: int = 5

    @property
    def given_up_after(self) -> timedelta:
        """How long asking must have brought nothing before the vendor is said to have a gap."""
        return sum(self.steps, timedelta()) + self.days * self.daily

    def pauses(self, silent: Floats) -> Floats:
        """Seconds to wait after an ask, by how many seconds asking had brought nothing then."""
        reached = list(accumulate(step.total_seconds() for step in self.steps))
        pauses = [
            *(step.total_seconds() for step in self.steps),
            self.daily.total_seconds(),
            self.weekly.total_seconds(),
        ]
        edges = np.array([*reached, self.given_up_after.total_seconds()])
        return np.array(pauses)[np.searchsorted(edges, silent, side="right")]


def silent_since(asked: Asked, entries: Int64) -> Floats:
    """From when asking brought nothing, of each entry, a late older session of its ticker taken into account."""
    tickers, sessions = entries.shape
    if not len(asked.row) or not sessions:
        return asked.silent_since
    seen = np.full((tickers, sessions), -np.inf)
    seen[asked.row, asked.session] = np.where(np.isnan(asked.seen_at), -np.inf, asked.seen_at)
    older = np.maximum.accumulate(np.column_stack([np.full(tickers, -np.inf), seen[:, :-1]]), axis=1)
    restarted = np.maximum(asked.silent_since, older[asked.row, asked.session])
    return np.where(asked.reached == 0, restarted, asked.silent_since)


def silence(entry: Int64, session: Int64, asked: Asked, counts_from: Floats) -> Floats:
    """For how many seconds asking had brought nothing at the newest ask of each (known) entry."""
    since = np.maximum(asked.silent_since[entry], counts_from[session])
    seconds: Floats = np.maximum(asked.asked_at[entry] - since, 0.0)
    return seconds


def next_ask(
    row: Int64,
    session: Int64,
    entry: Int64,
    withheld: Bools,
    suspect: Bools,
    asked: Asked,
    entries: Int64,
    counts_from: Floats,
    ladder: Ladder,
) -> Floats:
    """Epoch seconds from when each slot is to be asked; −inf for at once.

    ``counts_from`` is, per session, the moment before which silence does not count.

    At once: never asked, or came once and gone since. A ticker of which nothing at all came lately is
    silent: its newer sessions wait with the ones that it is silent about.
    """
    at = np.full(len(row), -np.inf)
    climbing = withheld & (entry >= 0)
    chosen = entry[climbing]
    at[climbing] = asked.asked_at[chosen] + ladder.pauses(silence(chosen, session[climbing], asked, counts_from))
    again = suspect & (entry >= 0)
    chosen = entry[again]
    patient = asked.asks[chosen] > ladder.suspect_asks
    at[again] = asked.asked_at[chosen] + np.where(patient, ladder.weekly.total_seconds(), ladder.daily.total_seconds())
    return _wait_with_the_silent(row, session, entry, at, asked, entries, counts_from, ladder)


def _wait_with_the_silent(
    row: Int64,
    session: Int64,
    entry: Int64,
    at: Floats,
    asked: Asked,
    entries: Int64,
    counts_from: Floats,
    ladder: Ladder,
) -> Floats:
    tickers, sessions = entries.shape
    if not len(asked.row) or not sessions:
        return at
    spoke = np.where((entries >= 0) & (asked.reached[entries] > 0), np.arange(sessions), -1).max(axis=1)
    quiet = (entries >= 0) & (np.arange(sessions) > spoke[:, None]) & (counts_from < np.inf)
    since = np.where(quiet, np.maximum(asked.silent_since[entries], counts_from), np.inf).min(axis=1)
    last = np.where(quiet, asked.asked_at[entries], -np.inf).max(axis=1)
    silent = np.isfinite(since) & np.isfinite(last)
    resume = np.full(tickers, -np.inf)
    resume[silent] = last[silent] + ladder.pauses(np.maximum(last[silent] - since[silent], 0.0))
    waits = (session > spoke[row]) & ((entry < 0) | ~np.isneginf(at))
    return np.where(waits, np.maximum(at, resume[row]), at)
