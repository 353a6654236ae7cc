"""What was told to people about failures, and what is still to be told.

Addresses are secrets: they appear here as fingerprints only. What is worth telling is decided in
``alerts.state_changes``, sending is ``alerts.delivery``'s.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from backfill_assets.store.postgres.connection import Connection

MESSAGE_TTL = timedelta(days=3)  # an older message is not sent any more
NEW_ENDPOINT_BACKLOG = timedelta(days=1)  # what an address gets that was not there before
RETENTION = timedelta(days=30)
_SELECT_STATES = "SELECT name, observed_at, failing_since, severity, notified_at, meaning FROM backfill.alert_states"
_SELECT_NEW_VENDOR_GAPS = """
SELECT s.ticker, s.day, s.slots - coalesce(mine.slots, 0), others.slots
FROM unnest(%(tickers)s::text[], %(days)s::date[], %(slots)s::int[]) AS s (ticker, day, slots)
LEFT JOIN backfill.alert_vendor_gaps mine ON (mine.name, mine.ticker, mine.day) = (%(name)s, s.ticker, s.day)
LEFT JOIN LATERAL (
    SELECT max(o.slots) AS slots FROM backfill.alert_vendor_gaps o
    WHERE o.ticker = s.ticker AND o.day = s.day AND o.slots >= s.slots
) others ON true
WHERE s.slots > coalesce(mine.slots, 0) ORDER BY 3 DESC, 1, 2
"""
_UPSERT_VENDOR_GAPS = """
INSERT INTO backfill.alert_vendor_gaps AS g (name, ticker, day, slots)
SELECT %(name)s, * FROM unnest(%(tickers)s::text[], %(days)s::date[], %(slots)s::int[])
ON CONFLICT (name, ticker, day) DO UPDATE SET slots = EXCLUDED.slots WHERE EXCLUDED.slots > g.slots
"""
_LOCK = 0x616C7274  # "alrt": one observer at a time, so that ids of messages are committed in order


@dataclass(frozen=True, slots=True)
class AlertState:
    """A check or run as last observed, UTC; ``failing_since`` is None while it holds."""

    name: str
    observed_at: datetime
    failing_since: datetime | None
    severity: str | None
    notified_at: datetime | None
    meaning: str


@dataclass(frozen=True, slots=True)
class Message:
    """One message to people; ``kind`` is failing, still failing, given up or recovered."""

    message_id: int
    kind: str
    title: str
    body: str


@dataclass(frozen=True, slots=True)
class LeasedEndpoint:
    """An address that is ours to send to for a while, and what it is to get, in order."""

    endpoint: str
    failures: int
    last_error: str | None
    messages: tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class EndpointState:
    """How far an address has got."""

    endpoint: str
    pending_messages: int
    delivered_at: datetime | None
    failures: int
    next_attempt_at: datetime
    last_error: str | None


def lock_alerts(connection: Connection) -> None:
    """Wait until nobody else observes; until the end of the transaction."""
    connection.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])


def record_event(connection: Connection, event_id: str, observed_at: datetime) -> bool:
    """Note an observation; False if it was noted before."""
    inserted = connection.execute(
        "INSERT INTO backfill.alert_events (event_id, observed_at) VALUES (%s, %s) ON CONFLICT DO NOTHING",
        [event_id, observed_at],
    )
    return inserted.rowcount == 1


def load_state(connection: Connection, name: str) -> AlertState | None:
    """The state of a check or run as last observed."""
    row = connection.execute(f"{_SELECT_STATES} WHERE name = %s", [name]).fetchone()
    return _build_state(row) if row else None


def list_failing(connection: Connection) -> list[AlertState]:
    """Everything that fails, the longest first."""
    rows = connection.execute(f"{_SELECT_STATES} WHERE failing_since IS NOT NULL ORDER BY failing_since, name")
    return [_build_state(row) for row in rows.fetchall()]


def _build_state(row: tuple[Any, ...]) -> AlertState:
    name, observed_at, failing_since, severity, notified_at, meaning = row
    return AlertState(
        name, _to_utc(observed_at), _to_utc_or_none(failing_since), severity, _to_utc_or_none(notified_at), meaning
    )


def save_state(connection: Connection, state: AlertState) -> None:
    """Keep a state until the next observation."""
    connection.execute(
        "INSERT INTO backfill.alert_states (name, observed_at, failing_since, severity, notified_at, meaning)"
        " VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (name) DO UPDATE SET observed_at = EXCLUDED.observed_at,"
        " failing_since = EXCLUDED.failing_since, severity = EXCLUDED.severity, notified_at = EXCLUDED.notified_at,"
        " meaning = EXCLUDED.meaning",
        [state.name, state.observed_at, state.failing_since, state.severity, state.notified_at, state.meaning],
    )


def record_given_up(
    connection: Connection, name: str, gaps: Sequence[tuple[str, date, int]]
) -> tuple[list[tuple[str, date, int]], bool]:
    """Note (ticker, day, slots) that the check ``name`` sees given up.

    Returns:
        What it had not seen, with the slots that are new; and whether that is new to every check.
    """
    columns = list(zip(*gaps, strict=True)) or [(), (), ()]
    values = {"name": name, **dict(zip(("tickers", "days", "slots"), map(list, columns), strict=True))}
    new_gaps = connection.execute(_SELECT_NEW_VENDOR_GAPS, values).fetchall()
    connection.execute(_UPSERT_VENDOR_GAPS, values)
    return [(ticker, day, slots) for ticker, day, slots, _ in new_gaps], any(
        seen_by_others is None for *_, seen_by_others in new_gaps
    )


def enqueue(connection: Connection, kind: str, title: str, body: str, now: datetime) -> None:
    """Put a message into the outbox; under ``lock_alerts``."""
    connection.execute(
        "INSERT INTO backfill.alert_messages (kind, title, body, queued_at) VALUES (%s, %s, %s, %s)",
        [kind, title, body, now],
    )


def lease_endpoints(
    connection: Connection, endpoints: Sequence[str], now: datetime, *, seconds: float, max_messages: int
) -> list[LeasedEndpoint]:
    """Take those addresses to which something may be sent now, for at most ``seconds``; ``most`` messages each.

    Nobody else gets them meanwhile. A new address begins with the messages of the past day.
    """
    connection.execute(
        "INSERT INTO backfill.alert_endpoints (endpoint, last_delivered_id, next_attempt_at)"
        " SELECT e, coalesce((SELECT max(message_id) FROM backfill.alert_messages WHERE queued_at <= %s), 0), %s"
        " FROM unnest(%s::text[]) AS t (e) ON CONFLICT DO NOTHING",
        [now - NEW_ENDPOINT_BACKLOG, now, list(endpoints)],
    )
    rows = connection.execute(
        "UPDATE backfill.alert_endpoints e SET leased_until = clock_timestamp() + make_interval(secs => %s)"
        " WHERE endpoint = ANY (%s) AND next_attempt_at <= %s"
        " AND coalesce(leased_until, '-infinity') < clock_timestamp()"
        " AND EXISTS (SELECT FROM backfill.alert_messages WHERE message_id > e.last_delivered_id AND queued_at > %s)"
        " RETURNING endpoint, failures, last_error, last_delivered_id",
        [seconds, list(endpoints), now, now - MESSAGE_TTL],
    ).fetchall()
    return [
        LeasedEndpoint(endpoint, failures, error, _read_messages(connection, after, now, max_messages))
        for endpoint, failures, error, after in rows
    ]


def _read_messages(connection: Connection, after_id: int, now: datetime, max_messages: int) -> tuple[Message, ...]:
    rows = connection.execute(
        "SELECT message_id, kind, title, body FROM backfill.alert_messages"
        " WHERE message_id > %s AND queued_at > %s ORDER BY message_id LIMIT %s",
        [after_id, now - MESSAGE_TTL, max_messages],
    )
    return tuple(Message(*row) for row in rows)


def record_delivery(connection: Connection, endpoint: str, message_id: int, now: datetime) -> None:
    """An address got everything up to ``message_id``; it is free for the next."""
    connection.execute(
        "UPDATE backfill.alert_endpoints SET last_delivered_id = greatest(last_delivered_id, %s), delivered_at = %s,"
        " failures = 0, next_attempt_at = %s, last_error = NULL, leased_until = NULL WHERE endpoint = %s",
        [message_id, now, now, endpoint],
    )


def postpone(connection: Connection, endpoint: str, error: str, until: datetime) -> None:
    """An address did not take a message: it waits ``until``, and is free then."""
    connection.execute(
        "UPDATE backfill.alert_endpoints SET failures = failures + 1, next_attempt_at = %s, last_error = %s,"
        " leased_until = NULL WHERE endpoint = %s",
        [until, error, endpoint],
    )


def skip_message(connection: Connection, endpoint: str, message_id: int, error: str, now: datetime) -> None:
    """An address will not get ``message_id``; it is free for the next, and ``error`` is seen until it takes one."""
    connection.execute(
        "UPDATE backfill.alert_endpoints SET last_delivered_id = greatest(last_delivered_id, %s), failures = 0,"
        " next_attempt_at = %s, last_error = %s, leased_until = NULL WHERE endpoint = %s",
        [message_id, now, error, endpoint],
    )


def read_endpoint_states(connection: Connection, endpoints: Sequence[str], now: datetime) -> dict[str, EndpointState]:
    """How far each of the addresses has got; one that was never sent to is left out."""
    rows = connection.execute(
        "SELECT endpoint, (SELECT count(*) FROM backfill.alert_messages"
        " WHERE message_id > e.last_delivered_id AND queued_at > %s), delivered_at, failures, next_attempt_at, last_error"
        " FROM backfill.alert_endpoints e WHERE endpoint = ANY (%s)",
        [now - MESSAGE_TTL, list(endpoints)],
    )
    return {
        row[0]: EndpointState(row[0], row[1], _to_utc_or_none(row[2]), row[3], _to_utc(row[4]), row[5])
        for row in rows.fetchall()
    }


def delete_old_alerts(connection: Connection, now: datetime) -> None:
    """Drop messages and noted observations that are older than a month."""
    connection.execute("DELETE FROM backfill.alert_messages WHERE queued_at < %s", [now - RETENTION])
    connection.execute("DELETE FROM backfill.alert_events WHERE observed_at < %s", [now - RETENTION])


def _to_utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC)


def _to_utc_or_none(moment: datetime | None) -> datetime | None:
    return moment.astimezone(UTC) if moment else None
