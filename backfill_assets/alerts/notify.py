"""What whoever watches calls: make observations of judged criteria, take note of them, send what is queued."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from backfill_assets.alerts.causes import Clues, likely_cause
from backfill_assets.alerts.delivery import Delivered, deliver
from backfill_assets.alerts.messages import go_to_of
from backfill_assets.alerts.observation import Judged, Observation, Severity, given_up_in, observation_of
from backfill_assets.alerts.state_changes import observe
from backfill_assets.config.settings import Settings
from backfill_assets.store.coverage import Coverage
from backfill_assets.store.postgres.connection import Database

ABOUT_EVERY_BAR = "no_missing_bars"


def observations_of(
    criteria: Iterable[Judged],
    at: datetime,
    clues: Clues,
    every_session: Coverage | None = None,
    severities: Mapping[str, Severity] | None = None,
) -> list[Observation]:
    """What was judged at ``at``, with the likely cause of each failure and the command that shows more.

    Args:
        criteria: as judged over a window.
        at: when, UTC.
        clues: what is known then (``causes.read_clues``).
        every_session: the state of all sessions that are kept complete, wider than the window: ``no_missing_bars`` has
            not recovered while bars are missing there, or if they were given up.
        severities: of the criteria whose failure is not an error.
    """
    wider: dict[str, Any] = {}
    if every_session is not None:
        wider = {"given_up": given_up_in(every_session), "lingering": int(every_session.missing.sum())}
    interval = clues.coverage.grid.interval.name
    return [
        observation_of(
            criterion,
            at,
            severity=(severities or {}).get(criterion.name, "error"),
            go_to=go_to_of(criterion.name, interval),
            cause="" if criterion.passed else likely_cause(criterion.name, clues),
            **(wider if criterion.name == ABOUT_EVERY_BAR else {}),
        )
        for criterion in criteria
    ]


def tell(database: Database, settings: Settings, observations: Iterable[Observation], now: datetime) -> Delivered:
    """Queue what is news in one transaction, then send whatever is due; with no observations it only sends.

    Takes at most about 15 seconds, however many addresses are down; nearly nothing when there is nothing to send.

    Raises:
        DatabaseUnavailable: nothing was noted; the same observations may be given again.
    """
    repeat_after = timedelta(hours=settings.alert_repeat_hours)
    with database.transaction() as connection:
        observe(connection, observations, now, repeat_after=repeat_after)
    return deliver(database, settings, now)
