"""What a sensor calls: take note of what was observed, then send what is queued."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from backfill_assets.alerts.delivering import Delivered, deliver
from backfill_assets.alerts.observation import Observation
from backfill_assets.alerts.observing import observe
from backfill_assets.settings import Settings
from backfill_assets.store.connection import Database


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
