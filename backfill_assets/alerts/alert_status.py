"""Failing checks and the delivery state of each destination, as plain values for ``alerts list``."""

from datetime import datetime
from typing import Any

from backfill_assets.alerts.delivery import fingerprint_address, get_scheme, list_endpoints
from backfill_assets.alerts.owners import list_audiences
from backfill_assets.config.settings import Settings
from backfill_assets.market.calendar.timestamps import format_optional_timestamp
from backfill_assets.store.alert_answers import AlertAnswer, list_answers
from backfill_assets.store.alert_outbox import (
    EVERYTHING,
    EndpointState,
    list_failing,
    list_not_judged,
    read_endpoint_states,
)
from backfill_assets.store.postgres.connection import Database


def read_alert_status(database: Database, settings: Settings, now: datetime) -> dict[str, Any]:
    """What fails, what had nothing to compare, and the state of each address in BACKFILL_ALERT_URLS.

    Times are ISO 8601 UTC.
    """
    audiences = list_audiences(settings)
    with database.transaction() as connection:
        states, not_judged = list_failing(connection), list_not_judged(connection)
        answers = {answer.name: answer for answer in list_answers(connection)}
        endpoint_by_fingerprint = read_endpoint_states(connection, list_endpoints(settings), now)
    return {
        "failing": [
            {
                "name": state.name,
                "severity": state.severity,
                "since": format_optional_timestamp(state.failing_since),
                "told": format_optional_timestamp(state.notified_at),
                "meaning": state.meaning,
                **({"answer": describe_answer(answers[state.name])} if state.name in answers else {}),
            }
            for state in states
        ],
        **({"not_judged": [{"name": s.name, "meaning": s.meaning} for s in not_judged]} if not_judged else {}),
        "addresses": [
            {
                "number": number,
                "scheme": get_scheme(url),
                **({} if EVERYTHING in heard else {"universes": list(heard)}),
                **_describe_endpoint(endpoint_by_fingerprint.get(fingerprint_address(url))),
            }
            for number, (url, heard) in enumerate(audiences.items(), 1)
        ],
    }


def describe_answer(answer: AlertAnswer) -> dict[str, Any]:
    """An answer as a JSON object, without the name of its alert."""
    return {
        "kind": answer.kind,
        "by": answer.answered_by,
        "at": format_optional_timestamp(answer.answered_at),
        "until": format_optional_timestamp(answer.until),
        "note": answer.note,
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
