"""Delivery of queued messages to every address; an address that is down delays neither the caller nor the others.

Each address receives the messages in order. After a failure it is retried after 1, 2, 4 … 60 minutes. A message older
than three days is dropped. A message that the address itself rejects for half an hour is skipped, so that it does not
block later ones. A lease keeps two processes from sending to one address at once. A message is delivered twice only
after a crash between the response and its record, after a lost response, or if one part of a split message failed.
"""

import hashlib
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from backfill_assets.alerts.owners import list_audiences
from backfill_assets.config.settings import Settings
from backfill_assets.store import alert_outbox
from backfill_assets.store.alert_outbox import LeasedEndpoint
from backfill_assets.store.postgres.connection import Connection, Database

SEND_TIMEOUT_SECONDS = 15.0  # of all addresses together
LEASE_SECONDS = 4 * SEND_TIMEOUT_SECONDS
MAX_MESSAGES_PER_LEASE = 10  # to one address
MAX_TRIES = 6  # of a rejected message; the last is half an hour after the first
REFUSAL_ERRORS = frozenset(
    {"HTTP status 400", "HTTP status 413", "HTTP status 422"}
)  # about the message, not the service
FIRST_RETRY_DELAY, MAX_RETRY_DELAY = timedelta(minutes=1), timedelta(hours=1)
TEST_MESSAGE = {
    "kind": "test",
    "title": "backfill_assets: TEST",
    "body": "Alerts of backfill_assets reach this address.",
}


@dataclass(frozen=True, slots=True)
class DeliveryResult:
    """The outcome of one delivery.

    Attributes:
        sent: messages that an address accepted.
        failed: the addresses that did not accept one: number in the setting → error.
        skipped: how many of those messages will not be sent again.
    """

    sent: int
    failed: dict[int, str]
    skipped: int = 0


@dataclass(frozen=True, slots=True)
class _SendOutcome:
    """How many messages an address accepted, and why not the next; None if it accepted all."""

    accepted: int
    error: str | None


def fingerprint_address(url: str) -> str:
    """A hash that identifies an address without revealing it."""
    return hashlib.blake2b(url.encode(), digest_size=8, person=b"alerts").hexdigest()


def get_scheme(url: str) -> str:
    """The part of an address that may be shown: ``slack``, ``mailto`` …; the rest may hold a secret."""
    return url.partition("://")[0]


def deliver(
    database: Database, settings: Settings, now: datetime, *, timeout_seconds: float = SEND_TIMEOUT_SECONDS
) -> DeliveryResult:
    """Send what is queued and due to the addresses of the settings; takes at most about ``timeout_seconds``.

    If nothing is due this is one query and no process is started.
    """
    audiences = list_audiences(settings)
    urls = {fingerprint_address(url): (number, url) for number, url in enumerate(audiences, 1)}
    if not urls:
        return DeliveryResult(0, {})
    with database.transaction() as connection:
        leased = alert_outbox.lease_endpoints(
            connection,
            list_endpoints(settings),
            now,
            seconds=LEASE_SECONDS,
            max_messages=MAX_MESSAGES_PER_LEASE,
        )
    if not leased:
        return DeliveryResult(0, {})
    outcomes = _send_in_subprocess([(urls[one.endpoint][1], _to_payload(one)) for one in leased], timeout_seconds)
    failed, skipped = {}, 0
    with database.transaction() as connection:
        for one, outcome in zip(leased, outcomes, strict=True):
            error, is_skipped = _record_outcome(connection, one, outcome, now)
            if error is not None:
                failed[urls[one.endpoint][0]] = error
            skipped += is_skipped
    return DeliveryResult(sum(outcome.accepted for outcome in outcomes), failed, skipped)


def _record_outcome(
    connection: Connection, leased: LeasedEndpoint, outcome: _SendOutcome, now: datetime
) -> tuple[str | None, bool]:
    """Store what an address accepted, and skip or postpone the rest; returns the error and whether one was skipped."""
    accepted, error = outcome.accepted, outcome.error
    if accepted:
        alert_outbox.record_delivery(connection, leased.endpoint, leased.messages[accepted - 1].message_id, now)
    if error is None:
        return None, False
    if not accepted and _is_permanently_refused(leased, error):
        error = f"{error} repeatedly: the message was skipped"
        alert_outbox.skip_message(connection, leased.endpoint, leased.messages[0].message_id, error, now)
        return error, True
    delay = compute_retry_delay(0 if accepted else leased.failures)
    alert_outbox.postpone(connection, leased.endpoint, error, now + delay)
    return error, False


def _is_permanently_refused(leased: LeasedEndpoint, error: str) -> bool:
    """Whether the first message itself is at fault: rejected now and the last time, ``MAX_TRIES`` times in all."""
    return leased.failures + 1 >= MAX_TRIES and error in REFUSAL_ERRORS and leased.last_error in REFUSAL_ERRORS


def compute_retry_delay(failures: int) -> timedelta:
    """How long to wait after a failure that follows ``failures`` others in a row."""
    return min(MAX_RETRY_DELAY, FIRST_RETRY_DELAY * (1 << min(failures, 10)))


def send_test(settings: Settings, *, timeout_seconds: float = SEND_TIMEOUT_SECONDS) -> list[tuple[str, str | None]]:
    """Send one message to each address now, without the outbox; returns (scheme, error or None) for each."""
    urls = list_addresses(settings)
    outcomes = _send_in_subprocess([(url, [TEST_MESSAGE]) for url in urls], timeout_seconds)
    return [(get_scheme(url), outcome.error) for url, outcome in zip(urls, outcomes, strict=True)]


def list_addresses(settings: Settings) -> list[str]:
    """The addresses of the settings without duplicates, those of owners last; they are secrets."""
    return list(list_audiences(settings))


def list_endpoints(settings: Settings) -> dict[str, tuple[str, ...]]:
    """The fingerprint of each address, with whose messages it gets."""
    return {fingerprint_address(url): heard for url, heard in list_audiences(settings).items()}


def count_unreachable(database: Database, settings: Settings, now: datetime) -> int:
    """How many addresses do not accept what waits for them, also between two attempts."""
    with database.transaction() as connection:
        states = alert_outbox.read_endpoint_states(connection, list_endpoints(settings), now).values()
    return sum(state.failures > 0 and state.pending_messages > 0 for state in states)


def _to_payload(leased: LeasedEndpoint) -> list[dict[str, str]]:
    return [{"kind": m.kind, "title": m.title, "body": m.body} for m in leased.messages]


def _send_in_subprocess(
    work: Sequence[tuple[str, Sequence[dict[str, str]]]], timeout_seconds: float
) -> list[_SendOutcome]:
    """Send the messages of each (address, messages) in a separate process; one outcome for each address."""
    if not work:
        return []
    payload = json.dumps([{"url": url, "messages": list(messages)} for url, messages in work])
    command = [sys.executable, "-m", "backfill_assets.alerts.apprise_worker"]
    try:
        process = subprocess.run(  # noqa: S603 - our own module
            command,
            input=payload.encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=timeout_seconds,
            check=False,
        )
        output, fallback_error = process.stdout, f"sending ended with code {process.returncode}"
    except subprocess.TimeoutExpired as late:
        output, fallback_error = late.output or b"", "no answer in time"
    lines = [json.loads(line) for line in output.splitlines()]
    return [
        _parse_outcome([line for line in lines if line["address"] == n], len(work[n][1]), fallback_error)
        for n in range(len(work))
    ]


def _parse_outcome(lines: Sequence[dict[str, Any]], messages: int, fallback_error: str) -> _SendOutcome:
    accepted = sum(line["error"] is None for line in lines)
    error = next((str(line["error"]) for line in lines if line["error"] is not None), None)
    return _SendOutcome(accepted, error or (None if accepted == messages else fallback_error))
