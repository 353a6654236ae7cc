"""Counts of what the program has done, for metrics: runs by outcome, doubts, revisions and messages that wait.

Each is one cheap statement over the whole store. Lists of the same things, for people, are read where they are kept.
"""

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime

from backfill_assets.market.exchanges.names import find_exchange
from backfill_assets.store.postgres.connection import Connection
from backfill_assets.store.runs import LOST_AFTER_SECONDS

OPEN = "open"  # the state of a doubt that has not ended
_COUNT_RUNS = """
SELECT coalesce(outcome, 'unknown'), count(*), max(finished_at) FROM backfill.runs
WHERE finished_at IS NOT NULL GROUP BY outcome ORDER BY outcome
"""
# Names of exchanges in market_symbols are few, and what they mean is known to Python.
_COUNT_DOUBTS = """
SELECT s.exchange, coalesce(d.outcome, %(open)s), count(*)
FROM backfill.doubts d JOIN market_symbols s ON s.symbol_id = d.symbol_id GROUP BY 1, 2
"""
_COUNT_REVISIONS = """
SELECT s.exchange, count(*) FROM backfill.revisions r JOIN market_symbols s ON s.symbol_id = r.symbol_id
WHERE r.replaced_at > %(since)s AND r.replaced_at <= %(until)s AND r.decision_id IS NULL AND r.doubt_id IS NULL
GROUP BY 1
"""
_SELECT_SILENCE = """
SELECT max(extract(epoch FROM clock_timestamp() - heartbeat_at))::float8 FROM backfill.runs
WHERE finished_at IS NULL AND heartbeat_at > clock_timestamp() - make_interval(secs => %(lost_after)s)
"""
# Of processes whose runs were not given up. Those of 0.8.0 and older ones do not beat.
_SELECT_BEATS = """
SELECT count(*), max(extract(epoch FROM clock_timestamp() - beat_at))::float8 FROM backfill.run_beats
WHERE ended_at IS NULL AND (must_end_at IS NULL OR must_end_at > clock_timestamp())
"""


@dataclass(frozen=True, slots=True)
class EndedRuns:
    """How many runs ended with an outcome, and when the last of them did (UTC)."""

    outcome: str
    count: int
    last_at: datetime


def count_ended_runs(connection: Connection) -> list[EndedRuns]:
    """The runs that ended, by outcome. Runs are never deleted, so these counts only grow."""
    return [EndedRuns(name, count, at.astimezone(UTC)) for name, count, at in connection.execute(_COUNT_RUNS)]


def count_doubts(connection: Connection) -> Counter[tuple[str, str]]:
    """How many doubts there are by exchange (the vendor's code) and state: ``open``, or how they ended."""
    counts: Counter[tuple[str, str]] = Counter()
    for name, state, count in connection.execute(_COUNT_DOUBTS, {"open": OPEN}):
        if exchange := find_exchange(name):
            counts[exchange, state] += count
    return counts


def count_revisions(connection: Connection, since: datetime, until: datetime) -> Counter[str]:
    """How many bars the vendor changed from ``since`` (excluded) to ``until``, by exchange (the vendor's code)."""
    counts: Counter[str] = Counter()
    for name, count in connection.execute(_COUNT_REVISIONS, {"since": since, "until": until}):
        if exchange := find_exchange(name):
            counts[exchange] += count
    return counts


def read_beats(connection: Connection) -> tuple[int, float | None]:
    """How many processes carry out runs of Dagster, and seconds since the oldest of their beats; None without any."""
    count, silence = connection.execute(_SELECT_BEATS).fetchall()[0]
    return count, silence


def read_longest_silence(connection: Connection) -> float | None:
    """Seconds since the last heartbeat of the unfinished run that has been silent longest; None without one.

    Not of runs that are lost: nobody may be there to close them.
    """
    row = connection.execute(_SELECT_SILENCE, {"lost_after": LOST_AFTER_SECONDS}).fetchone()
    return row[0] if row else None
