"""Entry point of the alert sensor: build observations from check results, record them, send queued messages."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from backfill_assets.alerts.causes import Diagnostics, find_likely_cause
from backfill_assets.alerts.delivery import DeliveryResult, deliver
from backfill_assets.alerts.observation import Observation, build_observation, find_vendor_gaps
from backfill_assets.alerts.owners import read_owned_universes
from backfill_assets.alerts.state_changes import record_observations
from backfill_assets.config.settings import Settings
from backfill_assets.market.gaps.coverage import Coverage
from backfill_assets.quality.checks import find_check, get_command
from backfill_assets.quality.criteria import Criterion
from backfill_assets.store.postgres.connection import Database


def build_observations(
    criteria: Iterable[Criterion],
    observed_at: datetime,
    diagnostics: Diagnostics,
    retained_coverage: Coverage | None = None,
) -> list[Observation]:
    """One observation for each check result, with the likely cause of a failure and the command that shows more.

    Args:
        criteria: the results of checks over a window.
        observed_at: when they were computed, UTC.
        diagnostics: what the likely causes are derived from (``causes.read_diagnostics``).
        retained_coverage: the state of all retained sessions, which reach back further than the window. A check that
            covers them has not recovered while bars are missing there, and reports new vendor gaps there.
    """
    retained_fields: dict[str, Any] = {}
    if retained_coverage is not None:
        retained_fields = {
            "given_up": find_vendor_gaps(retained_coverage),
            "lingering": int(retained_coverage.missing.sum()),
        }
    return [_build_observation(criterion, observed_at, diagnostics, retained_fields) for criterion in criteria]


def _build_observation(
    criterion: Criterion, observed_at: datetime, diagnostics: Diagnostics, retained_fields: dict[str, Any]
) -> Observation:
    check = find_check(criterion.name)
    return build_observation(
        criterion,
        observed_at,
        severity=check.severity if check else "error",
        go_to=get_command(criterion.name, diagnostics.coverage.grid.interval.name, diagnostics.exchange),
        exchange=diagnostics.exchange if check is None or check.is_of_exchange else "",
        cause="" if criterion.passed else find_likely_cause(criterion.name, diagnostics),
        **(retained_fields if check and check.covers_retained_sessions else {}),
    )


def process_observations(
    database: Database, settings: Settings, observations: Iterable[Observation], now: datetime
) -> DeliveryResult:
    """Queue messages about changes in one transaction, then send what is due; without observations it only sends.

    Takes at most about 15 seconds, however many destinations are down, and milliseconds if nothing is queued.

    Raises:
        DatabaseUnavailable: nothing was recorded; call again with the same observations.
    """
    repeat_after = timedelta(hours=settings.alert_repeat_hours)
    with database.transaction() as connection:
        owned = read_owned_universes(connection, settings)
        record_observations(connection, observations, now, repeat_after=repeat_after, owned=owned)
    return deliver(database, settings, now)
