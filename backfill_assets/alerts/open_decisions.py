"""The alert that decisions wait: one for all of them, told again at most daily and only if more have come."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from backfill_assets.alerts.observation import Observation
from backfill_assets.backfill.decisions.inbox import refresh_inbox
from backfill_assets.backfill.decisions.kinds import KINDS
from backfill_assets.config.counts import format_count
from backfill_assets.store.evidence.decisions import list_open_decisions
from backfill_assets.store.evidence.proposals import Decision, compute_fingerprint
from backfill_assets.store.postgres.connection import Database

NAME = "decisions"
COMMAND = "backfill-assets decisions list"


def observe_decisions(database: Database, now: datetime) -> Observation:
    """Bring the inbox up to date, and tell what waits for an answer at ``now`` (UTC)."""
    refresh_inbox(database, now)
    with database.transaction() as connection:
        waiting = [decision for decision in list_open_decisions(connection) if decision.is_waiting(now)]
    return build_decisions_observation(waiting, now)


def build_decisions_observation(waiting: Sequence[Decision], now: datetime) -> Observation:
    """The observation of the decisions that wait; it fails while there is one.

    What is the same for an hour is one event, so that a sensor that looks every minute records little.
    """
    title = format_count(len(waiting), "decision waits", "decisions wait") if waiting else "no decision waits"
    fingerprint = compute_fingerprint(sorted(decision.decision_id for decision in waiting))
    return Observation(
        event_id=f"{NAME} {now:%Y-%m-%dT%H} {fingerprint}",
        name=NAME,
        observed_at=now,
        passed=not waiting,
        figure=len(waiting),
        meaning=f"{title}: {_describe_kinds(waiting)}" if waiting else title,
        severity="warning",
        go_to=COMMAND,
        title=title,
        news_at=max((d.waits_since for d in waiting if d.waits_since), default=None),
    )


def _describe_kinds(waiting: Sequence[Decision]) -> str:
    """How many there are of each kind, and the oldest: ``2 doubts, 1 listing life; oldest: AAPL.US frozen …``."""
    counts = Counter(decision.proposal.kind for decision in waiting)
    kinds = ", ".join(format_count(count, KINDS[kind].one, KINDS[kind].many) for kind, count in counts.most_common())
    return f"{kinds}; oldest: {waiting[0].proposal.subject}"
