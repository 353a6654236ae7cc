"""From observations to queued messages: one for each change of state, in the same transaction as the state.

The text of a message is in ``messages``; sending is in ``delivery``.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from itertools import groupby

from backfill_assets.alerts.messages import ChangeKind, StateChange, format_body, format_title
from backfill_assets.alerts.observation import Observation, VendorGap
from backfill_assets.store import alert_outbox
from backfill_assets.store.alert_outbox import AlertState
from backfill_assets.store.postgres.connection import Connection

SEVERITY_RANK = {None: 0, "warning": 1, "error": 2}


def record_observations(
    connection: Connection,
    observations: Iterable[Observation],
    now: datetime,
    *,
    repeat_after: timedelta = timedelta(hours=24),
) -> int:
    """Record observations and queue a message for each kind of change; returns the number of messages.

    Reported are: a failure that begins, or rises from warning to error; a failure that lasts, every ``repeat_after``
    (only with news, where it has such); new vendor gaps; and recovery. That the missing session has left the window is
    no recovery, and that a failed check has nothing to compare any more is told in other words. Changes of the same
    kind in one call become one message. A repeated observation, or one older than the last of its name, changes
    nothing.
    Everything happens in the caller's transaction.
    """
    alert_outbox.lock_alerts(connection)
    failing_names = {state.name for state in alert_outbox.list_failing(connection)}  # reported first
    changes = []
    for observation in sorted(observations, key=lambda o: (o.observed_at, o.name not in failing_names)):
        change = _record_observation(connection, observation, now, repeat_after)
        if change is not None:
            changes.append(change)
    alert_outbox.delete_old_alerts(connection, now)
    messages = [(kind, list(group)) for kind, group in groupby(changes, key=lambda c: c.kind)]
    for kind, group in messages:
        alert_outbox.enqueue(connection, kind, format_title(group), format_body(group), now)
    return len(messages)


def _record_observation(
    connection: Connection, observation: Observation, now: datetime, repeat_after: timedelta
) -> StateChange | None:
    if not alert_outbox.record_event(connection, observation.event_id, observation.observed_at):
        return None
    previous = alert_outbox.load_state(connection, observation.name)
    if previous is not None and observation.observed_at < previous.observed_at:
        return None
    new_slots, is_new_to_all = alert_outbox.record_given_up(connection, observation.name, observation.given_up)
    new_gaps = tuple(VendorGap(*gap) for gap in new_slots)
    was_failing = previous is not None and previous.failing_since is not None
    is_failing = not observation.passed or (was_failing and observation.lingering > 0)
    if is_failing:
        kind = _classify_failure(previous, observation, new_gaps, now, repeat_after)
    else:
        kind = _classify_success(observation, new_gaps, was_failing=was_failing, is_new_to_all=is_new_to_all)
    since = previous.failing_since if previous and previous.failing_since else observation.observed_at
    notified_at = now if kind else previous.notified_at if previous else None
    alert_outbox.save_state(
        connection,
        AlertState(
            name=observation.name,
            observed_at=observation.observed_at,
            failing_since=since if is_failing else None,
            severity=observation.severity if is_failing else None,
            notified_at=notified_at,
            meaning=observation.meaning,
            is_judged=observation.judged,
        ),
    )
    return StateChange(kind, observation, since, new_gaps) if kind else None


def _classify_failure(
    previous: AlertState | None,
    observation: Observation,
    new_gaps: Sequence[VendorGap],
    now: datetime,
    repeat_after: timedelta,
) -> ChangeKind | None:
    if previous is None or SEVERITY_RANK[observation.severity] > SEVERITY_RANK[previous.severity]:
        return "failing"
    if new_gaps:
        return "given up"
    if previous.notified_at is None:
        return "still failing"
    has_news = observation.news_at is None or observation.news_at > previous.notified_at
    return "still failing" if has_news and now - previous.notified_at >= repeat_after else None


def _classify_success(
    observation: Observation, new_gaps: Sequence[VendorGap], *, was_failing: bool, is_new_to_all: bool
) -> ChangeKind | None:
    """``is_new_to_all``: no check has reported these gaps yet, so report them although no check failed."""
    if was_failing:
        return "given up" if new_gaps else "recovered" if observation.judged else "no longer judged"
    return "given up" if is_new_to_all else None
