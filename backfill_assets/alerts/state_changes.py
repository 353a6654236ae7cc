"""From observations to messages: one for each change of state, in the same transaction as the state.

What a message says is in ``wording``; sending is ``delivering``'s, later and elsewhere.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from itertools import groupby

from backfill_assets.alerts.messages import Change, Kind, body_of, title_of
from backfill_assets.alerts.observation import GivenUp, Observation
from backfill_assets.store import alert_outbox
from backfill_assets.store.alert_outbox import AlertState
from backfill_assets.store.postgres.connection import Connection

RANK = {None: 0, "warning": 1, "error": 2}


def observe(
    connection: Connection,
    observations: Iterable[Observation],
    now: datetime,
    *,
    repeat_after: timedelta = timedelta(hours=24),
) -> int:
    """Take note of observations and queue what people should know; returns how many messages that is.

    Told are: a failure that begins or becomes an error, one that goes on ``repeat_after`` after it was
    last told, slots that were given up, and recovery; a session that only left the window is none. What
    changes the same way at once is one message. A replayed observation, or one older than the last known
    of its name, changes nothing. All of it belongs to the caller's transaction.
    """
    alert_outbox.lock_alerts(connection)
    fail = {state.name for state in alert_outbox.failing(connection)}  # these first
    changes = []
    for observation in sorted(observations, key=lambda o: (o.observed_at, o.name not in fail)):
        change = _take_note(connection, observation, now, repeat_after)
        if change is not None:
            changes.append(change)
    alert_outbox.forget_old_alerts(connection, now)
    messages = [(kind, list(together)) for kind, together in groupby(changes, key=lambda c: c.kind)]
    for kind, together in messages:
        alert_outbox.queue(connection, kind, title_of(together), body_of(together), now)
    return len(messages)


def _take_note(
    connection: Connection, observation: Observation, now: datetime, repeat_after: timedelta
) -> Change | None:
    if not alert_outbox.is_first_time(connection, observation.event_id, observation.observed_at):
        return None
    before = alert_outbox.recall(connection, observation.name)
    if before is not None and observation.observed_at < before.observed_at:
        return None
    unseen, untold = alert_outbox.note_given_up(connection, observation.name, observation.given_up)
    gone = tuple(GivenUp(*gap) for gap in unseen)
    was_failing = before is not None and before.failing_since is not None
    fails = not observation.passed or (was_failing and observation.lingering > 0)
    if fails:
        kind = _kind_of_failure(before, observation, gone, now, repeat_after)
    else:
        kind = _kind_of_success(gone, was_failing=was_failing, untold=untold)
    since = before.failing_since if before and before.failing_since else observation.observed_at
    told = now if kind else before.told_at if before else None
    alert_outbox.remember(
        connection,
        AlertState(
            name=observation.name,
            observed_at=observation.observed_at,
            failing_since=since if fails else None,
            severity=observation.severity if fails else None,
            told_at=told,
            meaning=observation.meaning,
        ),
    )
    return Change(kind, observation, since, gone) if kind else None


def _kind_of_failure(
    before: AlertState | None, observation: Observation, gone: Sequence[GivenUp], now: datetime, repeat_after: timedelta
) -> Kind | None:
    if before is None or RANK[observation.severity] > RANK[before.severity]:
        return "failing"
    if gone:
        return "given up"
    return "still failing" if before.told_at is None or now - before.told_at >= repeat_after else None


def _kind_of_success(gone: Sequence[GivenUp], *, was_failing: bool, untold: bool) -> Kind | None:
    """``untold`` is whether ``gone`` is news to every check: then it is told although nothing failed."""
    if was_failing:
        return "given up" if gone else "recovered"
    return "given up" if untold else None
