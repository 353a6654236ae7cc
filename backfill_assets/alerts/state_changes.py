"""From observations to queued messages: one for each change of state, in the same transaction as the state.

The text of a message is in ``messages``; sending is in ``delivery``.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from itertools import groupby

from backfill_assets.alerts.answers import Effect, apply_answer
from backfill_assets.alerts.messages import ChangeKind, StateChange, format_body, format_title
from backfill_assets.alerts.observation import Observation, VendorGap
from backfill_assets.alerts.owners import OwnedUniverse, select_concerned
from backfill_assets.store import alert_outbox
from backfill_assets.store.alert_answers import end_answer
from backfill_assets.store.alert_outbox import AlertState
from backfill_assets.store.postgres.connection import Connection

SEVERITY_RANK = {None: 0, "warning": 1, "error": 2}


def record_observations(
    connection: Connection,
    observations: Iterable[Observation],
    now: datetime,
    *,
    repeat_after: timedelta = timedelta(hours=24),
    owned: Sequence[OwnedUniverse] = (),
) -> int:
    """Record observations and queue a message for each kind of change; returns the number of messages.

    Reported are: a failure that begins, or rises from warning to error; a failure that lasts, every ``repeat_after``
    (only with news, where it has such); new vendor gaps; and recovery. That the missing session has left the window is
    no recovery, and that a failed check has nothing to compare any more is told in other words. Changes of the same
    kind in one call become one message. A repeated observation, or one older than the last of its name, changes
    nothing.
    The owners of ``owned`` get messages of their own, also of a failure that reaches their symbols later.
    Everything happens in the caller's transaction.
    """
    alert_outbox.lock_alerts(connection)
    failing_names = {state.name for state in alert_outbox.list_failing(connection)}  # reported first
    changes: list[StateChange] = []
    standing: list[StateChange] = []
    for observation in sorted(observations, key=lambda o: (o.observed_at, o.name not in failing_names)):
        change, is_news = _record_observation(connection, observation, now, repeat_after)
        if change is not None:
            (changes if is_news else standing).append(change)
    alert_outbox.delete_old_alerts(connection, now)
    for universe in owned:
        _enqueue(connection, select_concerned(connection, changes, standing, universe), now, universe.audience)
    return _enqueue(connection, changes, now)


def _enqueue(
    connection: Connection, changes: Sequence[StateChange], now: datetime, audience: str = alert_outbox.EVERYTHING
) -> int:
    """Queue a message for each kind of change; returns how many."""
    messages = [(kind, list(group)) for kind, group in groupby(changes, key=lambda c: c.kind)]
    for kind, group in messages:
        alert_outbox.enqueue(connection, kind, format_title(group), format_body(group), now, audience)
    return len(messages)


def _record_observation(
    connection: Connection, observation: Observation, now: datetime, repeat_after: timedelta
) -> tuple[StateChange | None, bool]:
    """What is to be told, and whether it is news; else only owners are told, of a failure that they do not know yet."""
    if not alert_outbox.record_event(connection, observation.event_id, observation.observed_at):
        return None, False
    previous = alert_outbox.load_state(connection, observation.name)
    if previous is not None and observation.observed_at < previous.observed_at:
        return None, False
    was_failing = previous is not None and previous.failing_since is not None
    is_failing = not observation.passed or (was_failing and observation.lingering > 0)
    has_risen = SEVERITY_RANK[observation.severity] > SEVERITY_RANK[previous.severity if previous else None]
    effect = apply_answer(connection, observation, now, is_failing=is_failing, has_risen=has_risen)
    given_up = () if effect == "silent" else observation.given_up  # they are news when the snooze is over
    new_slots, is_new_to_all = alert_outbox.record_given_up(connection, observation.name, given_up)
    new_gaps = tuple(VendorGap(*gap) for gap in new_slots)
    if new_gaps and effect == "repeat not":
        end_answer(connection, observation.name, "it got worse", now)
    if is_failing:
        kind = _classify_failure(previous, observation, new_gaps, now, repeat_after)
    else:
        kind = _classify_success(observation, new_gaps, was_failing=was_failing, is_new_to_all=is_new_to_all)
    kind = _apply_effect(kind, effect)
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
    if kind is None and (not is_failing or effect == "silent"):
        return None, False
    return StateChange(kind or "failing", observation, since, new_gaps), kind is not None


def _apply_effect(kind: ChangeKind | None, effect: Effect) -> ChangeKind | None:
    """What is told after somebody answered the alert."""
    if effect == "silent" or (effect == "repeat not" and kind == "still failing"):
        return None
    return kind or ("still failing" if effect == "tell now" else None)


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
