"""Failing checks and the delivery state of each destination, as plain values for ``alerts list``."""

from datetime import datetime
from typing import Any

from backfill_assets.alerts.delivery import fingerprint_address, get_scheme, list_addresses
from backfill_assets.config.settings import Settings
from backfill_assets.market.calendar.timestamps import format_optional_timestamp
from backfill_assets.store.alert_outbox import EndpointState, list_failing, list_not_judged, read_endpoint_states
from backfill_assets.store.postgres.connection import Database


def read_alert_status(database: Database, settings: Settings, now: datetime) -> dict[str, Any]:
    """What fails, what had nothing to compare, and the state of each address in BACKFILL_ALERT_URLS.

    Times are ISO 8601 UTC.
    """
    urls = list_addresses(settings)
    with database.transaction() as connection:
        states, not_judged = list_failing(connection), list_not_judged(connection)
        endpoint_by_fingerprint = read_endpoint_states(connection, [fingerprint_address(url) for url in urls], now)
    return {
        "failing": [
            {
                "name": state.name,
                "severity": state.severity,
                "since": format_optional_timestamp(state.failing_since),
                "told": format_optional_timestamp(state.notified_at),
                "meaning": state.meaning,
            }
            for state in states
        ],
        **({"not_judged": [{"name": s.name, "meaning": s.meaning} for s in not_judged]} if not_judged else {}),
        "addresses": [
            {
                "number": number,
                "scheme": get_scheme(url),
                **_describe_endpoint(endpoint_by_fingerprint.get(fingerprint_address(url))),
            }
            for number, url in enumerate(urls, 1)
        ],
    }


def _describe_endpoint(state: EndpointState | None) -> dict[str, Any]:
    if state is None:
        return {"waiting": 0, "delivered": None, "failures": 0, "next_attempt": None, "error": None}
    return {
        "waiting": state.pending_messages,
        "delivered": format_optional_timestamp(state.delivered_at),
        "failures": state.failures,
        "next_attempt": format_optional_timestamp(state.next_attempt_at) if state.failures else None,
        "error": state.last_error,
    }
