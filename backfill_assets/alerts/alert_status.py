"""What fails and how far each address has got, as plain values for ``alerts list``."""

from datetime import datetime
from typing import Any

from backfill_assets.alerts.delivery import addresses_of, fingerprint, scheme_of
from backfill_assets.config.settings import Settings
from backfill_assets.store.alert_outbox import EndpointState, endpoint_states, failing
from backfill_assets.store.postgres.connection import Database


def overview_of(database: Database, settings: Settings, now: datetime) -> dict[str, Any]:
    """What fails, and the state of each address of the settings; stamps ISO 8601 UTC."""
    urls = addresses_of(settings)
    with database.transaction() as connection:
        states = failing(connection)
        known = endpoint_states(connection, [fingerprint(url) for url in urls], now)
    return {
        "failing": [
            {
                "name": state.name,
                "severity": state.severity,
                "since": _stamp(state.failing_since),
                "told": _stamp(state.told_at),
                "meaning": state.meaning,
            }
            for state in states
        ],
        "addresses": [
            {"number": number, "scheme": scheme_of(url), **_progress(known.get(fingerprint(url)))}
            for number, url in enumerate(urls, 1)
        ],
    }


def _progress(state: EndpointState | None) -> dict[str, Any]:
    if state is None:
        return {"waiting": 0, "delivered": None, "failures": 0, "next_attempt": None, "error": None}
    return {
        "waiting": state.waiting,
        "delivered": _stamp(state.delivered_at),
        "failures": state.failures,
        "next_attempt": _stamp(state.next_attempt_at) if state.failures else None,
        "error": state.last_error,
    }


def _stamp(moment: datetime | None) -> str | None:
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z") if moment else None
