"""Alerts in the database: what fails since when, which messages wait for delivery, how far each address has got.

Addresses are secrets; only their fingerprints are stored. ``alerts.state_changes`` decides which messages to send, and
``alerts.delivery`` sends them. All times are UTC.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, TypeAlias

from backfill_assets.store.postgres.connection import Connection

MESSAGE_TTL = timedelta(days=3)  # older messages are not sent any more
NEW_ENDPOINT_BACKLOG = timedelta(days=1)  # a new address gets the messages of this time
RETENTION = timedelta(days=30)
EVERYTHING = ""  # the audience of addresses that are told of everything
Audiences: TypeAlias = Mapping[str, Sequence[str]]  # of each address, by its fingerprint: whose messages it gets
_LOCK = 0x616C7274  # "alrt" in ASCII: one observer at a time, so that ids of messages are committed in order
_TAKE_LOCK = "SELECT pg_advisory_xact_lock(%(lock)s)"
_INSERT_EVENT = """
INSERT INTO backfill.alert_events (event_id, observed_at) VALUES (%(event_id)s, %(observed_at)s)
ON CONFLICT DO NOTHING
"""
_SELECT_STATE = """
SELECT name, observed_at, failing_since, severity, notified_at, meaning, is_judged
FROM backfill.alert_states WHERE name = %(name)s
"""
_SELECT_FAILING = """
SELECT name, observed_at, failing_since, severity, notified_at, meaning, is_judged
FROM backfill.alert_states WHERE failing_since IS NOT NULL ORDER BY failing_since, name
"""
_SELECT_NOT_JUDGED = """
SELECT name, observed_at, failing_since, severity, notified_at, meaning, is_judged
FROM backfill.alert_states WHERE failing_since IS NULL AND NOT is_judged ORDER BY name
"""
_UPSERT_STATE = """
INSERT INTO backfill.alert_states (name, observed_at, failing_since, severity, notified_at, meaning, is_judged)
VALUES (%(name)s, %(observed_at)s, %(failing_since)s, %(severity)s, %(notified_at)s, %(meaning)s, %(is_judged)s)
ON CONFLICT (name) DO UPDATE SET
    observed_at = EXCLUDED.observed_at, failing_since = EXCLUDED.failing_since, severity = EXCLUDED.severity,
    notified_at = EXCLUDED.notified_at, meaning = EXCLUDED.meaning, is_judged = EXCLUDED.is_judged
"""
_SELECT_NEW_VENDOR_GAPS = """
SELECT s.ticker, s.day, s.slots - coalesce(own.slots, 0), other.slots
FROM unnest(%(tickers)s::text[], %(days)s::date[], %(slots)s::int[]) AS s (ticker, day, slots)
LEFT JOIN backfill.alert_vendor_gaps own ON (own.name, own.ticker, own.day) = (%(name)s, s.ticker, s.day)
LEFT JOIN LATERAL (
    SELECT max(o.slots) AS slots FROM backfill.alert_vendor_gaps o
    WHERE o.ticker = s.ticker AND o.day = s.day AND o.slots >= s.slots
) other ON true
WHERE s.slots > coalesce(own.slots, 0) ORDER BY 3 DESC, 1, 2
"""
_UPSERT_VENDOR_GAPS = """
INSERT INTO backfill.alert_vendor_gaps AS g (name, ticker, day, slots)
SELECT %(name)s, * FROM unnest(%(tickers)s::text[], %(days)s::date[], %(slots)s::int[])
ON CONFLICT (name, ticker, day) DO UPDATE SET slots = EXCLUDED.slots WHERE EXCLUDED.slots > g.slots
"""
_INSERT_MESSAGE = """
INSERT INTO backfill.alert_messages (kind, title, body, queued_at, audience)
VALUES (%(kind)s, %(title)s, %(body)s, %(now)s, %(audience)s)
"""
_INSERT_NEW_ENDPOINTS = """
INSERT INTO backfill.alert_endpoints (endpoint, last_delivered_id, next_attempt_at)
SELECT e, coalesce((SELECT max(message_id) FROM backfill.alert_messages WHERE queued_at <= %(backlog_from)s), 0),
       %(now)s
FROM unnest(%(endpoints)s::text[]) AS t (e)
ON CONFLICT DO NOTHING
"""
_LEASE_ENDPOINTS = """
UPDATE backfill.alert_endpoints e SET leased_until = clock_timestamp() + make_interval(secs => %(seconds)s)
WHERE endpoint = ANY (%(endpoints)s) AND next_attempt_at <= %(now)s
  AND coalesce(leased_until, '-infinity') < clock_timestamp()
  AND EXISTS (SELECT FROM backfill.alert_messages m
              JOIN unnest(%(listeners)s::text[], %(audiences)s::text[]) AS l (endpoint, audience)
                  ON coalesce(m.audience, '') = l.audience
              WHERE l.endpoint = e.endpoint AND message_id > e.last_delivered_id AND queued_at > %(oldest)s)
RETURNING endpoint, failures, last_error, last_delivered_id
"""
_SELECT_MESSAGES = """
SELECT message_id, kind, title, body FROM backfill.alert_messages
WHERE message_id > %(after_id)s AND queued_at > %(oldest)s
  AND coalesce(audience, '') = ANY (%(audiences)s::text[]) ORDER BY message_id LIMIT %(max_messages)s
"""
_RECORD_DELIVERY = """
UPDATE backfill.alert_endpoints SET
    last_delivered_id = greatest(last_delivered_id, %(message_id)s), delivered_at = %(now)s, failures = 0,
    next_attempt_at = %(now)s, last_error = NULL, leased_until = NULL
WHERE endpoint = %(endpoint)s
"""
_POSTPONE = """
UPDATE backfill.alert_endpoints SET
    failures = failures + 1, next_attempt_at = %(until)s, last_error = %(error)s, leased_until = NULL
WHERE endpoint = %(endpoint)s
"""
_SKIP_MESSAGE = """
UPDATE backfill.alert_endpoints SET
    last_delivered_id = greatest(last_delivered_id, %(message_id)s), failures = 0, next_attempt_at = %(now)s,
    last_error = %(error)s, leased_until = NULL
WHERE endpoint = %(endpoint)s
"""
_SELECT_ENDPOINT_STATES = """
SELECT endpoint,
       (SELECT count(*) FROM backfill.alert_messages m
        JOIN unnest(%(listeners)s::text[], %(audiences)s::text[]) AS l (endpoint, audience)
            ON coalesce(m.audience, '') = l.audience
        WHERE l.endpoint = e.endpoint AND message_id > e.last_delivered_id AND queued_at > %(oldest)s),
       delivered_at, failures, next_attempt_at, last_error
FROM backfill.alert_endpoints e WHERE endpoint = ANY (%(endpoints)s)
"""
_DELETE_OLD_MESSAGES = "DELETE FROM backfill.alert_messages WHERE queued_at < %(before)s"
_DELETE_OLD_EVENTS = "DELETE FROM backfill.alert_events WHERE observed_at < %(before)s"


@dataclass(frozen=True, slots=True)
class AlertState:
    """A check or run as last observed; ``failing_since`` is None while it passes or has nothing to compare."""

    name: str
    observed_at: datetime
    failing_since: datetime | None
    severity: str | None
    notified_at: datetime | None
    meaning: str
    is_judged: bool = True


@dataclass(frozen=True, slots=True)
class Message:
    """One message to people; ``kind`` is failing, still failing, given up, recovered or no longer judged."""

    message_id: int
    kind: str
    title: str
    body: str


@dataclass(frozen=True, slots=True)
class LeasedEndpoint:
    """An address that only this process sends to until the lease ends, and its messages in order."""

    endpoint: str
    failures: int
    last_error: str | None
    messages: tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class EndpointState:
    """The delivery state of an address."""

    endpoint: str
    pending_messages: int
    delivered_at: datetime | None
    failures: int
    next_attempt_at: datetime
    last_error: str | None


def lock_alerts(connection: Connection) -> None:
    """Wait until no other process observes; holds until the end of the transaction."""
    connection.execute(_TAKE_LOCK, {"lock": _LOCK})


def record_event(connection: Connection, event_id: str, observed_at: datetime) -> bool:
    """Record an observation as processed; False if it was recorded before."""
    inserted = connection.execute(_INSERT_EVENT, {"event_id": event_id, "observed_at": observed_at})
    return inserted.rowcount == 1


def load_state(connection: Connection, name: str) -> AlertState | None:
    """The state of a check or run as last observed."""
    row = connection.execute(_SELECT_STATE, {"name": name}).fetchone()
    return _build_state(row) if row else None


def list_failing(connection: Connection) -> list[AlertState]:
    """Every check and run that fails, in the order in which they began to."""
    return [_build_state(row) for row in connection.execute(_SELECT_FAILING).fetchall()]


def list_not_judged(connection: Connection) -> list[AlertState]:
    """Every check that had nothing to compare when it was last observed."""
    return [_build_state(row) for row in connection.execute(_SELECT_NOT_JUDGED).fetchall()]


def _build_state(row: tuple[Any, ...]) -> AlertState:
    name, observed_at, failing_since, severity, notified_at, meaning, is_judged = row
    failing_since, notified_at = _to_utc_or_none(failing_since), _to_utc_or_none(notified_at)
    return AlertState(name, _to_utc(observed_at), failing_since, severity, notified_at, meaning, is_judged)


def save_state(connection: Connection, state: AlertState) -> None:
    """Store a state until the next observation."""
    connection.execute(_UPSERT_STATE, asdict(state))


def record_given_up(
    connection: Connection, name: str, gaps: Sequence[tuple[str, date, int]]
) -> tuple[list[tuple[str, date, int]], bool]:
    """Record vendor gaps (ticker, day, slots) that the check ``name`` reports.

    Returns:
        Those that the check had not reported, with the number of new slots; and whether any of them is new to every
        check.
    """
    columns = list(zip(*gaps, strict=True)) or [(), (), ()]
    values = {"name": name, **dict(zip(("tickers", "days", "slots"), map(list, columns), strict=True))}
    new_gaps = connection.execute(_SELECT_NEW_VENDOR_GAPS, values).fetchall()
    connection.execute(_UPSERT_VENDOR_GAPS, values)
    return [(ticker, day, slots) for ticker, day, slots, _ in new_gaps], any(
        seen_by_others is None for *_, seen_by_others in new_gaps
    )


def enqueue(
    connection: Connection, kind: str, title: str, body: str, now: datetime, audience: str = EVERYTHING
) -> None:
    """Put a message for an audience into the outbox; under ``lock_alerts``."""
    values = {"kind": kind, "title": title, "body": body, "now": now, "audience": audience or None}
    connection.execute(_INSERT_MESSAGE, values)


def lease_endpoints(
    connection: Connection, endpoints: Audiences, now: datetime, *, seconds: float, max_messages: int
) -> list[LeasedEndpoint]:
    """Lease the addresses that messages may be sent to now, for at most ``seconds``; ``max_messages`` messages each.

    No other process gets them meanwhile. A new address begins with the messages of the past day.
    """
    values = {
        **_list_listeners(endpoints),
        "now": now,
        "seconds": seconds,
        "backlog_from": now - NEW_ENDPOINT_BACKLOG,
        "oldest": now - MESSAGE_TTL,
    }
    connection.execute(_INSERT_NEW_ENDPOINTS, values)
    rows = connection.execute(_LEASE_ENDPOINTS, values).fetchall()
    return [
        LeasedEndpoint(
            endpoint, failures, error, _read_messages(connection, endpoints[endpoint], after_id, now, max_messages)
        )
        for endpoint, failures, error, after_id in rows
    ]


def _list_listeners(endpoints: Audiences) -> dict[str, list[str]]:
    """The addresses, and each pair of an address and an audience of it as two columns."""
    pairs = [(endpoint, audience) for endpoint, audiences in endpoints.items() for audience in audiences]
    listeners, audiences = ([pair[column] for pair in pairs] for column in (0, 1))
    return {"endpoints": list(endpoints), "listeners": listeners, "audiences": audiences}


def _read_messages(
    connection: Connection, audiences: Sequence[str], after_id: int, now: datetime, max_messages: int
) -> tuple[Message, ...]:
    limits = {"after_id": after_id, "oldest": now - MESSAGE_TTL, "max_messages": max_messages}
    values = {**limits, "audiences": list(audiences)}
    return tuple(Message(*row) for row in connection.execute(_SELECT_MESSAGES, values))


def record_delivery(connection: Connection, endpoint: str, message_id: int, now: datetime) -> None:
    """An address received everything up to ``message_id``; ends the lease."""
    connection.execute(_RECORD_DELIVERY, {"endpoint": endpoint, "message_id": message_id, "now": now})


def postpone(connection: Connection, endpoint: str, error: str, until: datetime) -> None:
    """An address did not accept a message: no attempt before ``until``; ends the lease."""
    connection.execute(_POSTPONE, {"endpoint": endpoint, "error": error, "until": until})


def skip_message(connection: Connection, endpoint: str, message_id: int, error: str, now: datetime) -> None:
    """Give up ``message_id`` for an address; ends the lease. ``error`` is shown until the address accepts another."""
    values = {"endpoint": endpoint, "message_id": message_id, "error": error, "now": now}
    connection.execute(_SKIP_MESSAGE, values)


def read_endpoint_states(connection: Connection, endpoints: Audiences, now: datetime) -> dict[str, EndpointState]:
    """The delivery state of each address; addresses that nothing was ever sent to are left out."""
    values = {**_list_listeners(endpoints), "oldest": now - MESSAGE_TTL}
    rows = connection.execute(_SELECT_ENDPOINT_STATES, values)
    return {
        row[0]: EndpointState(row[0], row[1], _to_utc_or_none(row[2]), row[3], _to_utc(row[4]), row[5])
        for row in rows.fetchall()
    }


def delete_old_alerts(connection: Connection, now: datetime) -> None:
    """Delete messages and processed observations that are older than 30 days."""
    connection.execute(_DELETE_OLD_MESSAGES, {"before": now - RETENTION})
    connection.execute(_DELETE_OLD_EVENTS, {"before": now - RETENTION})


def _to_utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC)


def _to_utc_or_none(moment: datetime | None) -> datetime | None:
    return moment.astimezone(UTC) if moment else None
