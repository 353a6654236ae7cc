"""What whoever watches calls: make observations of judged criteria, take note of them, send what is queued."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from backfill_assets.alerts.causes import Diagnostics, find_likely_cause
from backfill_assets.alerts.delivery import DeliveryResult, deliver
from backfill_assets.alerts.messages import get_command
from backfill_assets.alerts.observation import CriterionLike, Observation, Severity, build_observation, find_vendor_gaps
from backfill_assets.alerts.state_changes import record_observations
from backfill_assets.config.settings import Settings
from backfill_assets.market.gaps.coverage import Coverage
from backfill_assets.store.postgres.connection import Database

RETAINED_SESSIONS_CHECK = "no_missing_bars"


def build_observations(
    criteria: Iterable[CriterionLike],
    observed_at: datetime,
    diagnostics: Diagnostics,
    retained_coverage: Coverage | None = None,
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
    retained_fields: dict[str, Any] = {}
    if retained_coverage is not None:
        retained_fields = {
            "given_up": find_vendor_gaps(retained_coverage),
            "lingering": int(retained_coverage.missing.sum()),
        }
    interval = diagnostics.coverage.grid.interval.name
    return [
        build_observation(
            criterion,
            observed_at,
            severity=(severities or {}).get(criterion.name, "error"),
            go_to=get_command(criterion.name, interval),
            cause="" if criterion.passed else find_likely_cause(criterion.name, diagnostics),
            **(retained_fields if criterion.name == RETAINED_SESSIONS_CHECK else {}),
        )
        for criterion in criteria
    ]


def process_observations(
    database: Database, settings: Settings, observations: Iterable[Observation], now: datetime
) -> DeliveryResult:
    """Queue what is news in one transaction, then send whatever is due; with no observations it only sends.

    Takes at most about 15 seconds, however many addresses are down; nearly nothing when there is nothing to send.

    Raises:
        DatabaseUnavailable: nothing was noted; the same observations may be given again.
    """
    repeat_after = timedelta(hours=settings.alert_repeat_hours)
    with database.transaction() as connection:
        record_observations(connection, observations, now, repeat_after=repeat_after)
    return deliver(database, settings, now)
